package pillow

// plane is one component of a picture, with the size it was sampled at.
type plane struct {
	pix           []byte
	stride        int // bytes from one row to the next
	width, height int
}

// row returns row y; above the first and below the last row those repeat.
func (p plane) row(y int) []byte {
	y = min(max(y, 0), p.height-1)
	return p.pix[y*p.stride:][:p.width]
}

// upsampler brings rows of a plane that was sampled once per h by v pixels to full size as libjpeg-turbo does:
// with a triangle filter where h and v are at most 2, by repetition otherwise.
// Source: libjpeg-turbo, src/jdsample.c, jinit_upsampler and the functions it chooses from.
type upsampler struct {
	plane
	h, v int
	buf  []byte
}

func newUpsampler(p plane, h, v int) *upsampler {
	return &upsampler{plane: p, h: h, v: v, buf: make([]byte, p.width*h)}
}

// at returns row y of the full-size plane, valid until the next call; its length is a multiple of h.
func (u *upsampler) at(y int) []byte {
	if u.h == 1 && u.v == 1 {
		return u.row(y)
	}
	near := u.row(y / u.v)
	if u.v == 2 && u.h <= 2 && (u.h == 1 || u.width > 2) {
		below := y & 1
		far := u.row(y/2 - 1 + 2*below)
		if u.h == 1 {
			for i, v := range near {
				u.buf[i] = byte((3*int(v) + int(far[i]) + 1 + below) >> 2)
			}
		} else {
			fast.triangle2x2(u.buf, near, far)
		}
		return u.buf
	}
	if u.h == 2 && u.v == 1 && u.width > 2 {
		fast.triangle2x1(u.buf, near)
		return u.buf
	}
	if u.h == 1 {
		return near
	}
	for i, v := range near {
		for j := range u.h {
			u.buf[i*u.h+j] = v
		}
	}
	return u.buf
}

// triangle2x1 writes twice as many samples as near has: three quarters of the nearer, one of the further.
// Halves are rounded down at even places and up at odd ones.
func triangle2x1(dst, near []byte) {
	n := len(near)
	dst = dst[:2*n]
	last := int(near[0])
	for i := range n {
		this, next := int(near[i]), int(near[min(i+1, n-1)])
		dst[2*i] = byte((3*this + last + 1) >> 2)
		dst[2*i+1] = byte((3*this + next + 2) >> 2)
		last = this
	}
}

// triangle2x2 does the same in both directions, near being the nearer row, far the further.
func triangle2x2(dst, near, far []byte) {
	n := len(near)
	dst, far = dst[:2*n], far[:n]
	last := 3*int(near[0]) + int(far[0])
	this := last
	for i := range n - 1 {
		next := 3*int(near[i+1]) + int(far[i+1])
		dst[2*i] = byte((3*this + last + 8) >> 4)
		dst[2*i+1] = byte((3*this + next + 7) >> 4)
		last, this = this, next
	}
	dst[2*n-2] = byte((3*this + last + 8) >> 4)
	dst[2*n-1] = byte((4*this + 7) >> 4)
}

// Products of the coefficients that lead from YCbCr to RGB, with 16 fractional bits.
// Source: libjpeg-turbo, src/jdcolor.c, build_ycc_rgb_table.
var (
	crToR, cbToB [256]int32 // rounded
	crToG, cbToG [256]int32 // with 16 fractional bits, one half added to the latter
)

func init() {
	for i := range int32(256) {
		x := i - 128
		crToR[i] = (91881*x + 1<<15) >> 16  // 1.40200
		cbToB[i] = (116130*x + 1<<15) >> 16 // 1.77200
		crToG[i] = -46802 * x               // 0.71414
		cbToG[i] = -22554*x + 1<<15         // 0.34414
	}
}

// ycc returns the colour of a YCbCr sample of JPEG's full range.
func ycc(y, cb, cr byte) (r, g, b byte) {
	return limit(int32(y) + crToR[cr]), limit(int32(y) + (cbToG[cb]+crToG[cr])>>16), limit(int32(y) + cbToB[cb])
}

func limit(v int32) byte {
	if uint32(v) <= 255 {
		return byte(v)
	}
	return byte(^v >> 31) // 0 below, 255 above
}

// yccRow writes a row of RGB.
func yccRow(out, y, cb, cr []byte) {
	out = out[:3*len(y)]
	cb, cr = cb[:len(y)], cr[:len(y)]
	for x, v := range y {
		b, r := cb[x], cr[x]
		o := out[3*x:][:3]
		o[0] = limit(int32(v) + crToR[r])
		o[1] = limit(int32(v) + (cbToG[b]+crToG[r])>>16)
		o[2] = limit(int32(v) + cbToB[b])
	}
}

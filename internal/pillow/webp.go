package pillow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/webp"
)

// webpFrame is what is needed of a WebP file: the chunks of its first picture and where that goes.
type webpFrame struct {
	canvas       image.Point // size of the whole
	at           image.Rectangle
	alpha        bool   // mode "RGBA" rather than "RGB"
	alpha8       []byte // chunk ALPH
	bits         []byte // chunk "VP8 " or VP8L
	lossless     bool
	animated     bool
	extended     bool
	flaggedAlpha bool
}

// decodeWebP decodes a still picture or the first frame of an animation, upsampled and converted as libwebp does.
// golang.org/x/image reads the bits.
func decodeWebP(data []byte) (*Image, error) {
	f, err := parseWebP(data)
	if err != nil {
		return nil, err
	}
	src, err := webp.Decode(bytes.NewReader(f.file()))
	if err != nil {
		return nil, err
	}
	if size := src.Bounds().Size(); size != f.at.Size() {
		return nil, fmt.Errorf("picture of %v in a frame of %v", size, f.at.Size())
	}
	var part *Image
	switch src := src.(type) {
	case *image.YCbCr:
		part = fromWebP(src, nil)
	case *image.NYCbCrA:
		part = fromWebP(&src.YCbCr, src.A)
	default:
		part = FromImage(src)
	}
	if !f.alpha {
		if part, err = part.RGB(); err != nil {
			return nil, err
		}
	} else if part.Mode == RGB { // flagged, but there is none
		part = opaque(part)
	}
	if f.at.Size() == f.canvas {
		return part, nil
	}
	return part.Crop(-f.at.Min.X, -f.at.Min.Y, f.canvas.X, f.canvas.Y), nil
}

// parseWebP finds the first picture. Source: https://developers.google.com/speed/webp/docs/riff_container and,
// for what has alpha, libwebp, src/dec/webp_dec.c, ParseHeadersInternal.
func parseWebP(data []byte) (*webpFrame, error) {
	if len(data) < 12 {
		return nil, io.ErrUnexpectedEOF
	}
	f := &webpFrame{}
	n := size(binary.LittleEndian.Uint32(data[4:])) + 8
	if n > len(data) { // libwebp's demuxer takes no part of a file
		return nil, io.ErrUnexpectedEOF
	}
	data = data[:n]
	if err := f.chunks(data[min(12, len(data)):]); err != nil {
		return nil, err
	}
	if f.bits == nil {
		return nil, io.ErrUnexpectedEOF
	}
	var extent image.Point
	if f.lossless { // signature, 14 bits of width less one, 14 of height less one, alpha
		if len(f.bits) < 5 {
			return nil, io.ErrUnexpectedEOF
		}
		v := binary.LittleEndian.Uint32(f.bits[1:])
		extent = image.Pt(int(v&0x3fff)+1, int(v>>14&0x3fff)+1)
		f.alpha = v>>28&1 == 1
		if f.animated {
			f.alpha = f.flaggedAlpha
		}
	} else { // frame tag of 3 bytes, signature of 3, 14 bits of width, 2 of scale, the same of height
		if len(f.bits) < 10 {
			return nil, io.ErrUnexpectedEOF
		}
		extent = image.Pt(int(binary.LittleEndian.Uint16(f.bits[6:])&0x3fff), int(binary.LittleEndian.Uint16(f.bits[8:])&0x3fff))
		f.alpha = f.flaggedAlpha || f.alpha8 != nil && !f.animated
	}
	if f.extended && !f.flaggedAlpha && !f.animated {
		f.alpha8 = nil // libwebp's demuxer drops it
	}
	if !f.extended {
		f.canvas = extent
	}
	if !f.animated {
		f.at = image.Rectangle{Max: f.canvas}
	}
	if err := checkSize(f.canvas.X, f.canvas.Y); err != nil {
		return nil, err
	}
	if extent != f.at.Size() || !f.at.In(image.Rectangle{Max: f.canvas}) {
		return nil, fmt.Errorf("picture of %v for a frame %v on a canvas of %v", extent, f.at, f.canvas)
	}
	return f, nil
}

// chunks reads chunks until there is a picture.
func (f *webpFrame) chunks(data []byte) error {
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	for len(data) >= 8 && f.bits == nil {
		name, n := string(data[:4]), size(binary.LittleEndian.Uint32(data[4:]))
		body := data[8:]
		if n > len(body) {
			return io.ErrUnexpectedEOF
		}
		data = body[min(n+n&1, len(body)):]
		body = body[:n]
		switch name {
		case "VP8X":
			if n < 10 || f.extended {
				return errors.New("bad chunk VP8X")
			}
			f.extended, f.animated, f.flaggedAlpha = true, body[0]&2 != 0, body[0]&16 != 0
			f.canvas = image.Pt(u24(body[4:])+1, u24(body[7:])+1)
		case "ANMF": // twice: offset and, less one, size; duration, flags; then the frame's chunks
			if !f.animated {
				continue
			}
			if n < 16 {
				return errors.New("bad chunk ANMF")
			}
			x, y := 2*u24(body), 2*u24(body[3:])
			f.at = image.Rect(x, y, x+u24(body[6:])+1, y+u24(body[9:])+1)
			if err := f.chunks(body[16:]); err != nil {
				return err
			}
			if f.bits == nil {
				return errors.New("frame without a picture")
			}
		case "ALPH":
			f.alpha8 = body
		case "VP8 ":
			f.bits = body
		case "VP8L":
			f.bits, f.lossless, f.alpha8 = body, true, nil
		}
	}
	return nil
}

// file returns a still WebP file of the picture.
func (f *webpFrame) file() []byte {
	size := f.at.Size()
	var body []byte
	chunk := func(name string, data []byte) {
		body = append(body, name...)
		body = binary.LittleEndian.AppendUint32(body, uint32(len(data)))
		body = append(body, data...)
		if len(data)%2 == 1 {
			body = append(body, 0)
		}
	}
	if f.alpha8 != nil {
		w, h := size.X-1, size.Y-1
		chunk("VP8X", []byte{16, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
		chunk("ALPH", f.alpha8)
	}
	if f.lossless {
		chunk("VP8L", f.bits)
	} else {
		chunk("VP8 ", f.bits)
	}
	head := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(body)+4))...)
	return append(append(head, "WEBP"...), body...)
}

// opaque returns m of mode "RGB" as "RGBA".
func opaque(m *Image) *Image {
	out := newImage(RGBA, m.Width, m.Height)
	for i := range m.Width * m.Height {
		copy(out.Pix[4*i:], m.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

// fromWebP converts VP8's YCbCr, which is of 16..235 rather than JPEG's full range, to RGB, or to RGBA with a plane of alpha.
// Source: libwebp, src/dsp/yuv.h and, for what is between two chroma samples, src/dsp/upsampling.c.
func fromWebP(src *image.YCbCr, alpha []byte) *Image {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	mode, n := RGB, 3
	if alpha != nil {
		mode, n = RGBA, 4
	}
	m := newImage(mode, w, h)
	u := plane{src.Cb, src.CStride, (w + 1) / 2, (h + 1) / 2}
	v := plane{src.Cr, src.CStride, (w + 1) / 2, (h + 1) / 2}
	parallel(h, 2, 8*w*h, func(lo, hi int) {
		us, vs := make([]byte, 2*u.width), make([]byte, 2*u.width)
		for y := lo; y < hi; y++ {
			near, far := y/2, y/2-1+2*(y&1)
			webpUpsample(us, u.row(near), u.row(far))
			webpUpsample(vs, v.row(near), v.row(far))
			out := m.Pix[y*w*n:][:w*n]
			for x, luma := range src.Y[y*src.YStride:][:w] {
				l, u, v := int32(luma)*19077>>8, int32(us[x]), int32(vs[x])
				o := out[x*n:][:n]
				o[0] = limit((l + v*26149>>8 - 14234) >> 6)
				o[1] = limit((l - u*6419>>8 - v*13320>>8 + 8708) >> 6)
				o[2] = limit((l + u*33050>>8 - 17685) >> 6)
				if n == 4 {
					o[3] = alpha[y*w+x]
				}
			}
		}
	})
	return m
}

// webpUpsample writes the row of full size whose nearer row of samples is near.
func webpUpsample(dst, near, far []byte) {
	n := len(near)
	far = far[:n]
	dst = dst[:2*n]
	dst[0] = byte((3*int(near[0]) + int(far[0]) + 2) >> 2)
	dst[2*n-1] = byte((3*int(near[n-1]) + int(far[n-1]) + 2) >> 2)
	for x := 1; x < n; x++ {
		a, b, c, d := int(near[x-1]), int(near[x]), int(far[x-1]), int(far[x])
		sum := a + b + c + d + 8
		dst[2*x-1] = byte(((sum+2*(b+c))>>3 + a) >> 1)
		dst[2*x] = byte(((sum+2*(a+d))>>3 + b) >> 1)
	}
}

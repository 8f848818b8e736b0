package pillow

// routines do the work of decoding JPEG and of resizing 8-bit samples. All sets of them give the same bytes.
type routines struct {
	// inverse writes a block's eight rows of eight pixels, stride bytes apart.
	inverse func(pix []byte, stride int, b *[64]int16, q *[64]uint16)
	// triangle2x1, triangle2x2 and yccRow write one row.
	triangle2x1 func(dst, near []byte)
	triangle2x2 func(dst, near, far []byte)
	yccRow      func(out, y, cb, cr []byte)
	// acrossRGB and down do what across and down of Image do of 8-bit samples, the former of mode "RGB" on both sides. They
	// return false if they do not take these sizes.
	acrossRGB func(m, src *Image, w *weights, left, top int) bool
	down      func(m, src *Image, w *weights, top, left int) bool
}

var generic = routines{
	inverse:     inverseGeneric,
	triangle2x1: triangle2x1,
	triangle2x2: triangle2x2,
	yccRow:      yccRow,
	acrossRGB:   func(*Image, *Image, *weights, int, int) bool { return false },
	down:        func(*Image, *Image, *weights, int, int) bool { return false },
}

// fast are the routines in use.
var fast = generic

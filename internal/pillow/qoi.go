package pillow

import (
	"encoding/binary"
	"io"
)

// decodeQOI decodes the Quite OK Image format. Source: qoiformat.org, specification 1.0.
func decodeQOI(data []byte) (*Image, error) {
	width, height, err := sizeQOI(data)
	if err != nil {
		return nil, err
	}
	if len(data) < 14 {
		return nil, io.ErrUnexpectedEOF
	}
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	mode, n := RGBA, 4
	if data[12] == 3 {
		mode, n = RGB, 3
	}
	b := &byteReader{data: data, pos: 14}
	// A byte stands for 62 pixels at the most.
	if err := checkHolds(62*int64(len(data)-b.pos), int64(width)*int64(height)); err != nil {
		return nil, err
	}
	m := newImage(mode, width, height)
	var seen [64][4]byte
	last := [4]byte{3: 255}
	for out := m.Pix; len(out) > 0; {
		op := b.byte()
		run := 1
		switch {
		case op == 0xfe:
			copy(last[:3], b.next(3))
		case op == 0xff:
			copy(last[:], b.next(4))
		case op>>6 == 0:
			last = seen[op]
		case op>>6 == 1:
			for c := range 3 {
				last[c] += op>>(4-2*c)&3 - 2
			}
		case op>>6 == 2:
			green, both := op&63-32, b.byte()
			last[0] += green + both>>4 - 8
			last[1] += green
			last[2] += green + both&15 - 8
		default:
			run = int(op&63) + 1
		}
		if b.short {
			return nil, io.ErrUnexpectedEOF
		}
		if op>>6 != 3 || op >= 0xfe {
			seen[(int(last[0])*3+int(last[1])*5+int(last[2])*7+int(last[3])*11)%64] = last
		}
		for ; run > 0 && len(out) > 0; run-- {
			out = out[copy(out[:n], last[:]):]
		}
	}
	return m, nil
}

func sizeQOI(data []byte) (width, height int, err error) {
	if len(data) < 12 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	return size(binary.BigEndian.Uint32(data[4:])), size(binary.BigEndian.Uint32(data[8:])), nil
}

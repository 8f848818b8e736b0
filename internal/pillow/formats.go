package pillow

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Format is a kind of picture file, known by name, though not each is decoded.
type Format struct {
	Name    string
	Endings []string // of files' names, small letters, without the dot
	Decodes bool     // Decode reads it
	is      func(head []byte) bool
	decode  func(data []byte) (*Image, error)
	size    func(data []byte) (width, height int, err error)
}

// formats are tried in turn. Raw files of cameras are TIFF by their first bytes: their endings stand apart.
var formats = []Format{
	{"JPEG", []string{"jpg", "jpeg", "jpe", "jfif", "mpo"}, true, magic("\xff\xd8\xff"), decodeJPEG, sizeJPEG},
	{"PNG", []string{"png", "apng"}, true, magic("\x89PNG\r\n\x1a\n"), decodePNG, sizePNG},
	{"GIF", []string{"gif"}, true, magic("GIF87a", "GIF89a"), decodeGIF, sizeGIF},
	{"WebP", []string{"webp"}, true, func(head []byte) bool {
		return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
	}, decodeWebP, sizeWebP},
	{"TIFF", []string{"tif", "tiff"}, true, magic("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), decodeTIFF, sizeTIFF},
	{"BMP", []string{"bmp"}, true, magic("BM"), decodeBMP, sizeBMP},
	{"ICO", []string{"ico"}, true, magic("\x00\x00\x01\x00"), decodeICO, sizeICO},
	{"PPM", []string{"ppm", "pgm", "pbm", "pnm", "pfm"}, true, func(head []byte) bool {
		return len(head) > 2 && head[0] == 'P' && (head[1] >= '1' && head[1] <= '6' || head[1] == 'f') && isSpace(head[2])
	}, decodeNetpbm, sizeNetpbm},
	{"QOI", []string{"qoi"}, true, magic("qoif"), decodeQOI, sizeQOI},

	named("AVIF", "avif avifs", brand("avif", "avis")),
	named("HEIC", "heic heif heics heifs hif", brand("heic", "heix", "hevc", "hevx", "heim", "heis", "hevm", "hevs", "mif1", "msf1")),
	named("JPEG XL", "jxl", magic("\xff\x0a", "\x00\x00\x00\x0cJXL \r\n\x87\n")),
	named("JPEG 2000", "jp2 j2k jpf jpx j2c jpc", magic("\x00\x00\x00\x0cjP  \r\n\x87\n", "\xff\x4f\xff\x51")),
	named("JPEG XR", "jxr wdp hdp", magic("II\xbc")),
	named("CUR", "cur", func(head []byte) bool { // not so a TGA: it has neither pictures to count nor a byte kept free
		return len(head) > 9 && magic("\x00\x00\x02\x00")(head) && (head[4] != 0 || head[5] != 0) && head[9] == 0
	}),
	named("PAM", "pam", magic("P7")),
	named("TGA", "tga icb vda vst", nil),
	named("PSD", "psd psb", magic("8BPS")),
	named("SVG", "svg svgz", func(head []byte) bool {
		return bytes.HasPrefix(bytes.TrimSpace(head), []byte("<")) && bytes.Contains(head, []byte("<svg"))
	}),
	named("PDF", "pdf", magic("%PDF")),
	named("PostScript", "eps ps", magic("%!PS", "\xc5\xd0\xd3\xc6")),
	named("DDS", "dds", magic("DDS ")),
	named("OpenEXR", "exr", magic("\x76\x2f\x31\x01")),
	named("Radiance HDR", "hdr rgbe", magic("#?RADIANCE", "#?RGBE")),
	named("FITS", "fits fit", magic("SIMPLE  =")),
	named("XCF", "xcf", magic("gimp xcf")),
	named("ICNS", "icns", magic("icns")),
	named("SGI", "sgi bw rgb rgba", magic("\x01\xda")),
	named("PCX", "pcx dcx", nil),
	named("WMF", "wmf emf", magic("\xd7\xcd\xc6\x9a", "\x01\x00\x00\x00\x6c\x00\x00\x00")),
	named("MNG", "mng jng", magic("\x8aMNG\r\n\x1a\n", "\x8bJNG\r\n\x1a\n")),
	named("camera raw", "cr2 cr3 crw nef nrw arw srf sr2 dng raf orf rw2 pef srw x3f raw 3fr iiq", func(head []byte) bool {
		return brand("crx ")(head) || magic("FUJIFILMCCD-RAW", "IIU\x00", "IIRO", "IIRS", "MMOR", "FOVb")(head) || len(head) > 10 && magic("II*\x00")(head) && string(head[8:10]) == "CR"
	}),
}

func named(name, endings string, is func(head []byte) bool) Format {
	if is == nil { // files say nothing of it
		is = func([]byte) bool { return false }
	}
	return Format{Name: name, Endings: strings.Fields(endings), is: is}
}

func magic(prefixes ...string) func(head []byte) bool {
	return func(head []byte) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return bytes.HasPrefix(head, []byte(p)) })
	}
}

// brand recognises files in ISO's container by its names for what they hold: the first that any format knows counts.
// Source: ISO/IEC 14496-12, FileTypeBox.
func brand(brands ...string) func(head []byte) bool {
	return func(head []byte) bool {
		if len(head) < 12 || string(head[4:8]) != "ftyp" {
			return false
		}
		// The first is the main one, the second a version; a general one gives way to the special ones behind it.
		all := []string{string(head[8:12])}
		for i := 16; i+4 <= min(len(head), int(head[3])); i += 4 {
			all = append(all, string(head[i:i+4]))
		}
		general := func(b string) bool { return b == "mif1" || b == "msf1" }
		special := slices.DeleteFunc(slices.Clone(all), func(b string) bool {
			return general(b) || !slices.Contains([]string{"avif", "avis", "heic", "heix", "hevc", "hevx", "heim", "heis", "hevm", "hevs", "crx "}, b)
		})
		if !general(all[0]) {
			return slices.Contains(brands, all[0])
		}
		if len(special) > 0 {
			return slices.Contains(brands, special[0])
		}
		return slices.Contains(brands, all[0])
	}
}

// FormatOf returns the format that a file has by its first bytes, of which 512 are enough.
func FormatOf(head []byte) (f Format, ok bool) {
	for _, f := range formats {
		if !f.Decodes && f.is(head) {
			return f, true
		}
	}
	for _, f := range formats {
		if f.Decodes && f.is(head) {
			return f, true
		}
	}
	return Format{}, false
}

// FormatOfEnding returns the format that files of that ending have, given in any case and without the dot.
func FormatOfEnding(ending string) (f Format, ok bool) {
	ending = strings.ToLower(ending)
	for _, f := range formats {
		if slices.Contains(f.Endings, ending) {
			return f, true
		}
	}
	return Format{}, false
}

// decoded lists the formats that Decode reads, in words.
func decoded() string {
	var names []string
	for _, f := range formats {
		if f.Decodes {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// unknown says what a file is that no decoder takes.
func unknown(head []byte) error {
	if f, ok := FormatOf(head); ok {
		return fmt.Errorf("pillow: %s is not supported, convert the file to PNG or JPEG first", f.Name)
	}
	if bytes.HasPrefix(head, []byte("version https://git-lfs.github.com/")) {
		return fmt.Errorf("pillow: not an image, but a pointer of Git LFS, whose place the file takes after git lfs pull")
	}
	return fmt.Errorf("pillow: not an image: the file starts with %q, want %s", head[:min(len(head), 16)], decoded())
}

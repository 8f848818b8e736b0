// Package pillow decodes and resizes pictures exactly as Python's imaging library Pillow 13.0.0 does, because
// CLIP's embeddings depend on it: OpenAI's preprocessing is Pillow's bicubic filter on what Pillow decodes.
//
//	m, err := pillow.Decode(file)   // PIL.Image.open(file); load()
//	m, err = m.Resize(448, 336, pillow.Bicubic)   // resize((448, 336), BICUBIC)
//
// # What is the same to the bit
//
// Resizing (nearest, box, bilinear, bicubic, Hamming, Lanczos) and conversion to RGB in every mode. Decoding of these;
// animations give their first frame:
//
//   - PNG, also with errors where Pillow does not look: checksums from the pixels on, rows too many or too few,
//     palettes too long or of no use.
//   - JPEG: baseline and progressive, Huffman and arithmetic-coded, grey, YCbCr, RGB, CMYK and YCCK, any subsampling
//     that libjpeg takes. It may lack Huffman tables as Motion JPEG does, scans, or restart markers, or have those
//     twice. Damaged data give what libjpeg-turbo makes of them on x86.
//   - TIFF and BigTIFF: strips, tiles, planes, predictors, fill orders, 1 to 32 bits, floating point; LZW, Deflate,
//     PackBits, CCITT, JPEG.
//   - GIF, BMP, WebP (lossy and lossless), ICO (the largest picture), PBM, PGM, PPM, grey PFM, QOI.
//
// The results do not depend on the processor.
//
// # What is refused with an error, though Pillow decodes it
//
//   - JPEG: lossless.
//   - TIFF: the compressions Zstandard, LZMA, old-style JPEG, CCITT group 3 in two dimensions or with fill bits, and
//     those that nobody writes any more; YCbCr without JPEG, CIELAB, a palette with alpha, planes of 2 or 4 bits.
//   - Other formats, such as AVIF, HEIC and JPEG 2000, by name. The one live library for AVIF without cgo,
//     gen2brain/avif 0.4.4, is up to 27 levels from Pillow where chroma is subsampled, and multiplies colours by
//     alpha.
//   - Files of more than MaxBytes, and files too small for the size that they claim.
//
// # What is decoded, though Pillow refuses it
//
//   - Arithmetic-coded JPEG of more than 64 KiB: Pillow hands libjpeg no more at a time, and its arithmetic decoder
//     cannot wait.
//   - TIFF: big-endian BigTIFF, and a few combinations of fill order, planes and extra samples.
//
// # Hostile input
//
// No size from a file is trusted before it is checked against MaxPixels, as Pillow checks it, and, where the format
// allows it, against the length of the file. CLIP computes no more than its square, whatever the aspect ratio.
package pillow

//go:generate go -C _asm run . -out ../simd_amd64.s -stubs ../simd_amd64.go -pkg pillow

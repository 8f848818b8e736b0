// Package clip is both towers of CLIP behind one value: pictures and texts become vectors that can be compared.
//
//	picture: file, bytes, reader, image.Image ──▶ Encode ─────▶ [B][E] ──┐
//	                                                                     ├──▶ Normalize, Cosine
//	text ────────────────────────────────────────▶ EncodeText ─▶ [B][E] ──┘
//
// [Open] finds the checkpoint and reads no weights: each tower is loaded when it is first used, once. Package clipvit and
// package cliptext have the towers themselves, with their gradients.
//
// # Errors
//
// An error is one of five kinds, for [errors.Is], and its text has one prefix. A handler of HTTP makes of them
//
//	ErrRequest   400  nothing to encode, features that the tower does not have
//	ErrNoText    400  a text for a model without a text tower
//	ErrTooLarge  413  a file of too many bytes, a picture of too many pixels
//	ErrImage     422  no picture, or one that is damaged
//	ErrText      422  a text that is longer than the context, or has a word that the vocabulary lacks
//
// All others are no fault of who asked: files that cannot be read, a damaged model, a context that has ended.
package clip

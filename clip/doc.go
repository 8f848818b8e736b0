// Package clip is both towers of CLIP behind one value: pictures and texts become vectors that can be compared.
//
//	File, Bytes, Reader, Opened, Image ─▶ decoded ahead ─▶ vision tower ─▶ Encode ─────▶ [B][E] ─┐
//	                                                                                            ├─▶ Normalize, Cosine
//	text ─▶ token ids, those of like length together ────▶ text tower ───▶ EncodeText ─▶ [B][E] ─┘
//
// [Open] finds the checkpoint and reads no weights: each tower is loaded when it is first used, once. A [Model] may be used
// by many goroutines at once. The vector of a picture or a text has the same bits on the same machine, whatever stands beside
// it, and however often a stream is ended and begun again.
//
// [Model.Encode] and [Model.EncodeText] return all vectors; [Model.Stream] and [Model.StreamText] yield them one after the
// other, of any number. [Model.Features] has what else a vision tower gives: class tokens, patches, layers. Package clipvit and
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
// All others are no fault of who asked: a file or a reader that cannot be read, a damaged model. When a context ends, the
// error is its cause, and the call returns at once, wherever it is.
package clip

// Package checkpoint reads and writes named tensors, in the containers in which weights are published. It
// knows nothing of the models that they are of.
//
//	container                     in                   out
//	TorchScript                   [Open]               [WriteTorchScript]
//	torch.save, zip               [Open]               [WriteTorch]
//	torch.save, legacy            [Open]
//	safetensors                   [Open]               [WriteSafetensors], [WriteTensors]
//	shards with an index          [OpenIndex]
//	NumPy's npz, npy              [Open]               [WriteNPZ], [WriteNPY]
//	GGUF                                               [WriteGGUF]
//
// [Open] tells containers apart by what they hold, never by their names. A [Tensor] stays in its file until
// its elements are read, whole or in part, as float32 or float64; what is written is asked for one [Entry]
// after the other. So a program needs no more memory than for the tensor it is at, and a [Copier] not even
// that.
//
// # Hostile input
//
// Input is hostile until proven otherwise. No size from a file is trusted before it has been compared with
// what the file holds; pickles are checked against a list of permitted operations and globals before they
// are run; tensors lie within their storages, share them within limits, and have names that can be shown.
// Checksums that a container has of its parts are verified by [File.SHA256], of everything, or by
// [File.Verify], of what is used.
package checkpoint

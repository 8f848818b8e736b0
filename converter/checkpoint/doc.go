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
// # What stands beside the weights
//
// A file of torch.save may hold anything that Python has: arguments, histories, states of optimizers. What is no
// tensor is skipped and never built; a class that is not known is a name, and no code of its is called.
//
// The weights are where the first of these keys leads, again and again: state_dict, model_state_dict, model, module,
// net, network, weights, params. Without any of them, those of one average or of one half of a distillation are taken:
// state_dict_ema, model_ema, ema, params_ema, student, teacher and the like; two of these are an error. So beside a
// state_dict its average is not read. A whole module that was pickled is read as its state_dict would be; what is made of
// a module, as torch.compile does, stands for it.
//
// Tensors of kinds that are not read, quantized or sparse ones, say, are [File.Unread]: only who wants one has an error.
// DeepSpeed's files of ZeRO stage 3, which have none of the weights, are refused.
//
// # Hostile input
//
// Input is hostile until proven otherwise. No size from a file is trusted before it has been compared with
// what the file holds; of pickles, only permitted operations are run, and only those that may lead to a
// tensor; tensors lie within their storages, share them within limits, and have names that can be shown.
// Checksums that a container has of its parts are verified by [File.SHA256], of everything, or by
// [File.Verify], of what is used.
package checkpoint

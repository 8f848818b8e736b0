// Package converter finds models in CLIP checkpoints: it loads them, converts them into directories that
// Hugging Face's transformers reads, and exports them to other software.
//
//	tower, err := converter.Load("ViT-L-14-336px.pt") // the vision tower, in one line
//
//	m, err := converter.Open(path)                            // all else; no weights are read yet
//	tower, err := m.Vision(ctx)                               // or
//	text, err := m.Text(ctx)                                  // the text tower, or
//	encoder, err := m.Encoder(ctx, "")                        // tower and projector of a vision-language model, or
//	report, err := m.Convert(ctx, dir, converter.Options{})   // for transformers, and for Open, or
//	report, err := m.Export(ctx, file, converter.ExportOptions{To: "openai"})
//
// [Save] writes models in memory, [Inspect] says what any checkpoint holds, and package compare how two are
// related.
//
// # Checkpoints
//
// A checkpoint is a set of named tensors, in any container that package checkpoint reads, and perhaps a
// config.json beside them. What the tensors are called is a dialect, and a dialect is a table that is read in both
// directions. Every parameter has a canonical name: the path of Go field names that leads to it, such as
// Blocks.3.Attn.QKV.W ([Parameter.Path]). Conversion goes from one dialect through the canonical names to another, tensor by tensor, so
// that no checkpoint is ever in memory as a whole.
//
// Programs wrap models, and the names with them. Module names of wrappers (_orig_mod, _fsdp_wrapped_module, …) are left out
// wherever they stand, and fields and roles (module, model, net, student, …) in front of all names, in any nesting. Two
// whole models in one file are an error that names both. A directory may be that of a training, with DeepSpeed or mmengine:
// the newest checkpoint in it is opened if a file says which that is, or the only one.
//
// # Families
//
// Beside CLIP itself, a checkpoint may be a vision-language model that has CLIP's tower inside: LLaVA,
// InternLM-XComposer2, xtuner's. Of these the tower and the projector are taken. The tensors of the
// language model are known by the beginning of their names, counted, and never read.
//
// # What nothing says
//
// OpenAI's names of tensors are those of OpenCLIP's models as well, most of which have another
// activation, and some other heads. Where neither the classes in an archive of OpenAI's nor a
// configuration nor the family tells, loading is [ErrActivation] rather than a guess; [Assume] tells it.
//
// # Errors
//
// Input is hostile until proven otherwise. What package checkpoint lets pass is a set of sound tensors; they
// are all claimed, filled exactly once and of the right shape, or else one [*MismatchError] lists all that is
// wrong. Outputs appear complete or not at all.
package converter

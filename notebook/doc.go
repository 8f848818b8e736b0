// Package notebook is what a notebook needs of Vitago: a model, pictures and words go in, and what comes back shows itself.
//
//	model := notebook.Open("builtin:demo")
//	photos := notebook.Demo()
//	notebook.Show(model.Classify(photos, "a red circle", "a blue square", "a green heart"))
//
// It works in both of Go's kernels for Jupyter, GoNB and gophernotes, and in a program. Its types are concrete: gophernotes has an
// interpreter, which knows no type parameters, and neither iterators nor channels are needed.
//
//	Open ─▶ Model ─┬─ Embed, EmbedTexts ─▶ Vectors ── Cosines ─▶ Table
//	               ├─ Classify ──────────▶ Answers: a contact sheet with the labels below
//	               ├─ Index ─▶ Index ── Find, FindLike ─▶ Hits: a contact sheet with the cosines below
//	               ├─ Look ──────────────▶ Looks: the picture, and where the model looks
//	               └─ Probe, LoRA, Tune ─▶ Run: curves; Run.Open ─▶ Tuned
//	Compare ─▶ Comparison: how far each block was moved
//	OpenEncoder ─▶ Encoder ── Tokens ─▶ Tokens: what a language model sees of a picture, tile by tile
//
// # What is shown
//
// Show shows pictures and tables below the cell. gophernotes shows the value of a cell's last line as well, since every type has
// the method SimpleRender, so that Show has to be the last line there. GoNB gets what is shown by a pipe, for which no package of its
// is needed.
//
// # Errors
//
// A call that cannot do what it was asked for panics with an [Error], whose text is a sentence. Both kernels print it below the cell,
// stop there, and live on. [Try] makes an ordinary error of it. What panics inside is an Error, too.
//
// # Interrupting
//
// While a call runs, an interrupt ends it, and nothing else: it panics with the Error "interrupted". Whatever was begun in a folder goes
// on there when the cell is run again. A call that takes longer than two seconds says on standard error how far it is.
package notebook

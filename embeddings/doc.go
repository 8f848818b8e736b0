// Package embeddings keeps vectors with names in files that are resumed: written row by row, whole or not at all, and read
// back.
//
//	folder, list, texts ──▶ Encode, EncodeText ──▶ photos.npy ──▶ Read ──▶ Set.Nearest
//	                          Create, Write, Commit
//
// A row is the vector of one picture or text, or the vectors of one. Three formats hold rows in the order of their names:
//
//	jsonl        {"image":"a.jpg","embedding":[...]} a line; of what failed {"image":"b.jpg","error":"..."}
//	npy          float32 [N,E] or [N,T,C]; what failed is NaN. The names are in FILE.names.jsonl, a JSON string a line
//	safetensors  one float32 tensor, with the name of the feature; what failed is NaN. The metadata has the names as a JSON
//	             list, "images" or "texts"
//
// A name that is no UTF-8 has \udc80 to \udcff for its bytes, as Python writes and reads the names of files.
//
// # What lies beside a file
//
// FILE.about.json says what the rows are made of: the model's fingerprint, the settings, and which rows failed and why. By
// it a file is known that is complete.
//
// Until then three files lie there. FILE.partial is what FILE will be, as far as it has come. FILE.partial.journal says
// what that is, and has the checksum of each row. FILE.partial.lock keeps a second process away. Every row is written at
// once, so that a process which is killed loses none that [Writer.Write] has taken. Every few seconds, and in
// [Writer.Close], all is brought onto the disk, for when the machine loses power. [Create] with Options.Resume cuts off what
// is torn or damaged, and goes on behind it. In the end the bytes are those of a run that nobody has interrupted.
package embeddings

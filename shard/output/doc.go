// Package output writes the vectors of a shard to files that other programs load, and reads them back to check them.
//
//	samples ──▶ Create, Write, Fail ──▶ DIR/img_emb/img_emb_N.npy, … ──▶ Close ──▶ files ──▶ Check, Rows
//
// A dataset is a folder of such files, and every shard of it has a number and the same [Spec]. Four formats hold a row for each sample:
//
//	npy      img_emb/img_emb_N.npy float16 or float32 [N,E], text_emb/text_emb_N.npy, and metadata/metadata_N.parquet, whose rows are
//	         in the same order: the layout of clip-retrieval, which embedding-reader and autofaiss read
//	parquet  parquet/part_N.parquet: all of a sample in one row, vectors as a LIST of FLOAT in three levels
//	csv      csv/part_N.csv: as COPY of Postgres reads it, vectors in the form of pgvector
//	jsonl    jsonl/part_N.jsonl: an object a line
//
// The columns are image_path, caption, key, width, height and sha256, those of the user, and embedding and text_embedding, except in npy.
// What could not be encoded has no row: it stands with its reason in vitago/errors/errors_N.jsonl, where no reader of the dataset looks.
// A shard without rows has no files, since embedding-reader pairs vectors with other pictures' metadata behind an empty one.
//
// The same rows make the same bytes: no time, name of a writer or other circumstance is written.
//
// Sources: rom1504/clip-retrieval 2.45.0, clip_inference/writer.py; apache/parquet-format, LogicalTypes.md, LIST; postgres, COPY, CSV
// format; pgvector/pgvector, src/vector.c, vector_in.
package output

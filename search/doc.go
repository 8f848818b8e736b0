// Package search keeps the vectors of pictures in an index on disk, and finds those nearest to a query.
//
//	pictures ──▶ Update, Writer ──▶ INDEX ──▶ Open ──▶ Index ──▶ Find
//
// Begin with [Update], which makes an index of folders and brings it up to date, and [Open], which reads it.
//
// An index is one folder. In its part dataset lies what the readers of clip-retrieval, embedding-reader and autofaiss take, and
// nothing else:
//
//	dataset/img_emb/img_emb_00000.npy              float16 [n,E] in C order, each row of length 1
//	dataset/metadata/metadata_00000.parquet        n rows: image_path, caption, width, height, sha256 and more
//
// Both are a shard. Beside dataset lie manifest.json, which says what is valid, codes/ with the vectors in 8 bits, what has been
// renamed and deleted since a shard was written, and while somebody writes a lock and the rows that are in no shard yet.
//
// Files that the manifest names never change, and the manifest is replaced at once. A reader sees the index as it was before a
// commit or after it. A row that has been added is kept when the process is killed.
//
// Source of the layout: rom1504/clip-retrieval, clip_retrieval/clip_inference/writer.py; rom1504/embedding-reader,
// embedding_reader/parquet_numpy_reader.py.
package search

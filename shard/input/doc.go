// Package input reads pictures by the ten million: what a sharded encode is given becomes parts, each of them what one shard is
// made of, and a part becomes samples.
//
// An input is a folder of pictures, a list of locations, a tar as WebDataset and img2dataset write it, or a parquet with a column
// of bytes; on this machine or, where the program imports shard/store/s3, in a bucket. [Parts] lists parts without reading pictures. A
// [Reader] streams those of a part once, in a fixed order: nothing is copied to a disk, and no more is in memory than a few pictures.
//
// What is wrong with one picture is the error of its [Sample]. What is wrong with a part ends it.
package input

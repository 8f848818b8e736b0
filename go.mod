module github.com/vitago/vitago

go 1.26.0

require (
	github.com/nlpodyssey/spago v1.1.0
	golang.org/x/image v0.47.0
	golang.org/x/sys v0.49.0
)

require github.com/google/flatbuffers v23.5.26+incompatible // indirect

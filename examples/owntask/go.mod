module github.com/vitago/vitago/examples/owntask

go 1.26.0

replace github.com/vitago/vitago => ../..

require (
	github.com/nlpodyssey/spago v1.1.0
	github.com/vitago/vitago v0.0.0
)

require (
	github.com/dlclark/regexp2 v1.4.0 // indirect
	github.com/gofrs/flock v0.13.2 // indirect
	github.com/google/flatbuffers v23.5.26+incompatible // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.19 // indirect
	github.com/nlpodyssey/cybertron v0.2.1 // indirect
	github.com/nlpodyssey/gopickle v0.3.0 // indirect
	github.com/nlpodyssey/gotokenizers v0.2.0 // indirect
	github.com/rs/zerolog v1.31.0 // indirect
	golang.org/x/image v0.47.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

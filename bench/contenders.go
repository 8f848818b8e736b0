package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/kernel"
)

// A contender is one way to compute the tower or a product.
type contender struct {
	name   string   // in tables
	kind   string   // of its worker
	python bool     // whether its worker is worker.py
	exe    string   // program of its worker, if it is neither worker.py nor this one
	files  []string // of the model's directory that it loads
	cosine float64  // the least to the reference that counts as right
	warmup int      // calls after which it is as fast as it gets, 1 if this is 0
}

// f32Cosine: what float32 in any order of operations keeps by far, and float16 or int8 do not.
const f32Cosine = 0.999999

// int8Cosine and bf16Cosine: what is promised of 8 bits and of bfloat16.
const (
	int8Cosine = 0.9997
	bf16Cosine = 0.9999
)

var weights = []string{"model.safetensors"}

// towers compute the tower. The first of Python's is the reference. The kernels that this processor
// does not run are left out.
var towers = available([]contender{
	{name: "vitago, AMX", kind: "amx", files: weights, cosine: f32Cosine},
	{name: "vitago, AVX-512", kind: "avx512", files: weights, cosine: f32Cosine},
	{name: "vitago, AVX2", kind: "avx2", files: weights, cosine: f32Cosine},
	{name: "vitago, NEON", kind: "neon", files: weights, cosine: f32Cosine},
	{name: "vitago, no assembly", kind: "generic", files: weights, cosine: f32Cosine},
	{name: "vitago, int8", kind: "int8", files: weights, cosine: int8Cosine},
	{name: "vitago, int8 by AVX2", kind: "int8-avx2", files: weights, cosine: int8Cosine},
	{name: "vitago, bf16", kind: "bf16", files: weights, cosine: bf16Cosine},
	{name: "PyTorch, eager", kind: "torch", python: true, files: weights, cosine: f32Cosine},
	{name: "PyTorch, frozen graph", kind: "torch-frozen", python: true, files: weights, cosine: f32Cosine, warmup: 3}, // it optimizes in the second call
	{name: "PyTorch, compiled", kind: "torch-compile", python: true, files: weights, cosine: f32Cosine},
	{name: "ONNX Runtime", kind: "ort", python: true, files: []string{"model.onnx"}, cosine: f32Cosine},
	{name: "OpenVINO", kind: "openvino", python: true, files: []string{"openvino.xml", "openvino.bin"}, cosine: f32Cosine},
})

// products compute x·wᵀ.
var products = available([]contender{
	{name: "vitago, AMX", kind: "amx", cosine: f32Cosine},
	{name: "vitago, AVX-512", kind: "avx512", cosine: f32Cosine},
	{name: "vitago, AVX2", kind: "avx2", cosine: f32Cosine},
	{name: "vitago, NEON", kind: "neon", cosine: f32Cosine},
	{name: "vitago, no assembly", kind: "generic", cosine: f32Cosine},
	{name: "vitago, packed ahead", kind: "packed", cosine: f32Cosine},
	{name: "vitago, int8, packed ahead", kind: "int8", cosine: int8Cosine},
	{name: "PyTorch", kind: "torch", python: true, cosine: f32Cosine},
	{name: "numpy (OpenBLAS)", kind: "numpy", python: true, cosine: f32Cosine},
	{name: "gonum", kind: "gonum", cosine: f32Cosine},
})

// avx2Kinds are the contenders that can be kept to AVX2: ONNX Runtime cannot.
var avx2Kinds = []string{"avx2", "int8-avx2", "torch", "torch-frozen", "torch-compile", "openvino", "numpy", "gonum", "train", "recompute", "torch-fused"}

// limitISA tells our kernels and the libraries of the peers, through the environment that their workers inherit,
// to use nothing beyond AVX2. Sources: oneDNN's and MKL's developer guides, pytorch/pytorch
// aten/src/ATen/native/DispatchStub.cpp, OpenMathLib/OpenBLAS driver/others/dynamic.c.
func limitISA() error {
	var errs []error
	for name, value := range map[string]string{
		"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell",
		kernel.Env: "avx2",
	} {
		errs = append(errs, os.Setenv(name, value))
	}
	return errors.Join(errs...)
}

// available leaves the kernels out that this processor does not run.
func available(all []contender) []contender {
	return slices.DeleteFunc(all, func(c contender) bool {
		_, implementation := precision(c.kind)
		return !c.python && implementation != "" && !slices.Contains(kernels(), implementation) || c.kind == "int8-avx2" && kernels()[0] == "avx2" || c.kind == "bf16" && !clipvit.BF16Pays()
	})
}

// precision returns what a kind computes with, "" for float32 or for none of towers, and the kernel it is kept to, "" for the best.
func precision(kind string) (name, implementation string) {
	switch name, implementation, _ = strings.Cut(kind, "-"); {
	case name == "int8" || name == "bf16":
		return name, implementation
	case slices.Contains(otherKinds, kind):
		return "", ""
	}
	return "", kind
}

// floatOf returns the name of the contender that computes in float32 what one of another precision does, with the same instruction set.
func floatOf(name string) string {
	i := slices.IndexFunc(towers, func(c contender) bool { return c.name == name })
	if i < 0 {
		return ""
	}
	_, implementation := precision(towers[i].kind)
	if implementation == "" {
		implementation = kernels()[0]
	}
	i = slices.IndexFunc(towers, func(c contender) bool { return c.kind == implementation })
	if i < 0 {
		return ""
	}
	return towers[i].name
}

// choose returns the contenders of the given kinds, all if there are none. The kind "best" is the best of our kernels.
func choose(all []contender, kinds []string) []contender {
	return slices.DeleteFunc(slices.Clone(all), func(c contender) bool {
		best := c.kind == kernels()[0] && slices.Contains(kinds, "best")
		return len(kinds) > 0 && !best && !slices.Contains(kinds, c.kind)
	})
}

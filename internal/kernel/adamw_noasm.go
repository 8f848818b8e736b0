//go:build !amd64 || purego

package kernel

func adamW(w, g, m, v []float32, s AdamWStep) { adamWGeneric(w, g, m, v, s) }

//go:build !poison

package kernel

// poisoned says that memory of the pool keeps what it held; see pool_poison.go.
const poisoned = false

func poisonGet([]float32) {}
func poisonPut([]float32) {}

package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxRows and maxColumns are those of the largest tile of any implementation, and maxTile its elements.
const (
	maxRows    = 14
	maxColumns = 32
	maxTile    = maxRows * maxColumns
)

// The generic tile. Six rows by sixteen columns is what sixteen registers of eight floats hold.
const genericMR, genericNR = 6, 16

// An impl is one of the implementations that this program carries. The first one that is on is used.
type impl struct {
	name      string
	on        *bool
	available bool // on this processor
}

var impls []impl

func register(name string, on *bool) {
	impls = append(impls, impl{name, on, *on})
}

// Name says which implementation is in use: "amx", "avx512", "avx2", "neon" or "generic".
func Name() string {
	for _, im := range impls {
		if *im.on {
			return im.name
		}
	}
	return "generic"
}

// Available lists the implementations that this program carries and this processor runs, best first. AMX is missing
// if [Env] names another: the program has not asked for permission then.
func Available() []string {
	var names []string
	for _, im := range impls {
		if im.available {
			names = append(names, im.name)
		}
	}
	return append(names, "generic")
}

// Use selects an implementation by name, for tests and benchmarks, and reports whether it is
// available; "" selects the best. It must not run beside any other call of this package.
func Use(name string) bool {
	if name != "" && !slices.Contains(Available(), name) {
		return false
	}
	found := name == ""
	for _, im := range impls {
		found = found || im.name == name
		*im.on = im.available && found
	}
	return true
}

// Env names the environment variable that chooses an implementation when a program starts, as [Use] does. In float32,
// all processors that run it then compute the same bits. Products in int8 choose among the instructions for VNNI
// besides.
const Env = "VITAGO_KERNEL"

// permitted reports whether [Env] permits an implementation.
func permitted(name string) bool {
	asked := os.Getenv(Env)
	return asked == "" || asked == name
}

func init() {
	if name := os.Getenv(Env); name != "" {
		Use(name)
	}
}

// known are the implementations that there are, on whatever processor.
var known = []string{"amx", "avx512", "avx2", "neon"}

// CheckEnv returns an error if [Env] names an implementation that is not available. The best is in use then.
func CheckEnv() error {
	name := os.Getenv(Env)
	if name == "" || slices.Contains(Available(), name) {
		return nil
	}
	why := ""
	switch lower := strings.ToLower(name); {
	case slices.Contains(Available(), lower):
		why = fmt.Sprintf(" (did you mean %q?)", lower)
	case slices.Contains(known, lower) && len(impls) == 0:
		why = ": this program has no assembly"
	case slices.Contains(known, lower):
		why = fmt.Sprintf(": this processor, or the system on it, has no %s", strings.ToUpper(lower))
	}
	return fmt.Errorf("kernel: %s is %.40q%s, want %s, or nothing", Env, name, why, strings.Join(Available(), ", "))
}

// Package golden helps tests to compare with what another implementation computed: arrays that
// Python wrote with numpy.savez, kept in testdata with the scripts that made them.
package golden

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// SharedEnv names the environment variable that says where the shared data of [SharedData] is.
const SharedEnv = "VITAGO_SHARED_DATA"

// Path returns the file rel, given from the root of this module ("testdata/tiny/ops.npz"),
// whatever package's folder the test runs in.
func Path(t testing.TB, rel string) string {
	t.Helper()
	return filepath.Join(root(t), filepath.FromSlash(rel))
}

// SharedData returns the file rel of the shared data, which is too big to be kept here: the folder
// that SharedEnv names, or else ../shared/data beside this module. It skips the test if rel is absent.
func SharedData(t testing.TB, rel string) string {
	t.Helper()
	dir := os.Getenv(SharedEnv)
	if dir == "" {
		dir = filepath.Join(root(t), "..", "shared", "data")
	}
	path := filepath.Join(dir, filepath.FromSlash(rel))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("golden: no shared data (set %s): %v", SharedEnv, err)
	}
	return path
}

// root returns the folder of this module's go.mod. Tests run in the folder of their package.
func root(t testing.TB) string {
	t.Helper()
	start, err := os.Getwd()
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("golden: no go.mod in %s or above it", start)
		}
	}
}

// Compare fails the test if got is not want: if their lengths differ, or if any element differs
// by more than tol times the largest finite |want|. A NaN agrees with a NaN only, an infinity with
// itself only. With tol 0 the values must be equal, though -0 equals 0. It reports the worst
// element and the cosine of the two, and whether they agree.
func Compare(t testing.TB, name string, got, want []float32, tol float64) bool {
	t.Helper()
	d, err := Diff(got, want)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	if !(d.Relative <= tol) {
		t.Errorf("%s: %v, want %.3g", name, d, tol)
		return false
	}
	return true
}

// A Difference says how far one array is from another.
type Difference struct {
	Relative  float64 // the largest |got-want|, divided by the largest finite |want|
	Index     int     // where that is
	Got, Want float32 // what stands there
	Cosine    float64 // between the two arrays
}

// String prints all of d on one line.
func (d Difference) String() string {
	return fmt.Sprintf("relative difference %.3g at [%d]: got %v, want %v (cosine %.9f)", d.Relative, d.Index, d.Got, d.Want, d.Cosine)
}

// Diff measures how far got is from want, as [Compare] judges it: where just one of the two is not
// finite, or where they are different infinities, the difference is infinite. If all of want is
// zero, the difference is absolute. It returns an error if the lengths differ or are zero.
func Diff(got, want []float32) (Difference, error) {
	if len(got) != len(want) || len(want) == 0 {
		return Difference{}, fmt.Errorf("golden: got %d values, want %d (at least 1)", len(got), len(want))
	}
	var scale float64
	for _, w := range want {
		if a := math.Abs(float64(w)); !math.IsInf(a, 0) {
			scale = max(scale, zeroIfNaN(a))
		}
	}
	if scale == 0 {
		scale = 1
	}
	d := Difference{Got: got[0], Want: want[0]}
	var gg, ww, gw float64
	for i, w := range want {
		g, w := float64(got[i]), float64(w)
		diff := math.Abs(g - w)
		switch {
		case g == w || g != g && w != w: // equal infinities too, whose difference is NaN
			diff = 0
		case diff != diff:
			diff = math.Inf(1)
		}
		if diff /= scale; diff > d.Relative {
			d.Relative, d.Index, d.Got, d.Want = diff, i, got[i], want[i]
		}
		gg, ww, gw = gg+g*g, ww+w*w, gw+g*w
	}
	d.Cosine = gw / math.Sqrt(gg*ww)
	return d, nil
}

func zeroIfNaN(x float64) float64 {
	if x != x {
		return 0
	}
	return x
}

#!/usr/bin/env bash
# cybertron v0.2.1 (github.com/nlpodyssey/cybertron): the converter of PyTorch checkpoints reads some tensors as other numbers,
# without an error. torch.save keeps a slice of a tensor as a view: the storage of the whole, an offset and strides.
# pkg/converter/pytorch knows two cases: a last stride of 1, which it takes for contiguous, and any other, which it
# takes for the whole of a transposed matrix.
#
#   w            [[0 1 2 3] [4 5 6 7]]   read as 0 1 2 3 4 5 6 7
#   w.t()        [[0 4] [1 5] ...]       read as 0 4 1 5 2 6 3 7
#   w[:, :2]     [[0 1] [4 5]]           read as 0 1 2 3    a slice of columns: the neighbours' values
#   w[:, ::2]    [[0 2] [4 6]]           read as 0 2 1 3
#   w.half()     [[0 1 2 3] [4 5 6 7]]   not there: half precision is passed over, and Get returns nothing
#
# A projection of q, k and v that was split by columns, or heads that were pruned, are such slices: save them with
# .contiguous(), in float32.
#
# The file is written by Python's own pickle and zipfile in the form that torch.save has (torch 2.9.1 loads it and has the
# values on the left), so that torch need not be installed. Seen on 2026-11-30, linux/amd64, go 1.26, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >write.py <<'PY'
import collections, pickle, struct, sys, types, zipfile

utils, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")
sys.modules.update({"torch": torch, "torch._utils": utils})


def _rebuild_tensor_v2(*args):
    raise NotImplementedError


class FloatStorage: pass
class HalfStorage: pass


_rebuild_tensor_v2.__module__ = "torch._utils"
FloatStorage.__module__ = HalfStorage.__module__ = "torch"
utils._rebuild_tensor_v2, torch.FloatStorage, torch.HalfStorage = _rebuild_tensor_v2, FloatStorage, HalfStorage


class Storage:
    def __init__(self, kind, key): self.id = ("storage", kind, key, "cpu", 8)


class View:
    def __init__(self, storage, shape, stride): self.args = (storage, 0, shape, stride, False, collections.OrderedDict())
    def __reduce__(self): return _rebuild_tensor_v2, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, x): return x.id if isinstance(x, Storage) else None


w, half = Storage(FloatStorage, "0"), Storage(HalfStorage, "1")
state = collections.OrderedDict([
    ("whole", View(w, (2, 4), (4, 1))), ("transposed", View(w, (4, 2), (1, 4))), ("columns", View(w, (2, 2), (4, 1))),
    ("every other", View(w, (2, 2), (4, 2))), ("half", View(half, (2, 4), (4, 1))),
])
with zipfile.ZipFile("weights.pt", "w") as z:
    with z.open("archive/data.pkl", "w") as f:
        Pickler(f, protocol=2).dump(state)
    z.writestr("archive/byteorder", "little")
    z.writestr("archive/data/0", struct.pack("<8f", *range(8)))
    z.writestr("archive/data/1", struct.pack("<8e", *range(8)))
    z.writestr("archive/version", "3\n")
PY
python3 write.py

cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/nlpodyssey/cybertron/pkg/converter/pytorch"
)

func main() {
	none := func(*pytorch.ParamsProvider[float32]) error { return nil }
	p := pytorch.NewParamsProvider[float32]().WithPreProcessing(none)
	if err := p.Load("weights.pt"); err != nil {
		panic(err)
	}
	for _, name := range []string{"whole", "transposed", "columns", "every other", "half"} {
		fmt.Println(name, p.Get(name))
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/cybertron@v0.2.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
whole [0 1 2 3 4 5 6 7]
transposed [0 4 1 5 2 6 3 7]
columns [0 1 2 3]
every other [0 2 1 3]
half []
TXT
diff want got || { echo "cybertron v0.2.1 reads the tensors in another way than was seen" >&2; exit 1; }
echo "as seen: cybertron v0.2.1 reads two slices as other numbers, and no half precision"

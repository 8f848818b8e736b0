#!/usr/bin/env bash
# gopickle v0.3.0 (github.com/nlpodyssey/gopickle): pytorch.Load reads a file of torch.save from a big-endian machine as other numbers,
# without an error. [1 2 0.5] in float32 is read as [4.6006e-41 8.9683e-44 8.8282e-44].
#
# Cause: torch.save has written an entry "byteorder" into its zip since 2.1, "little" or "big", and torch.load obeys it. gopickle
# does not look at it, and takes all for little-endian.
#
# Who meets it: who reads weights that were saved on IBM Z. Look at the entry first; on a little-endian machine torch.load and
# torch.save make a file that is read.
#
# The file is written by Python's own pickle and zipfile in the form that torch.save has (torch 2.9.1 loads both and has 1 2 0.5), so
# that torch need not be installed. Seen on 2026-11-30, linux/amd64, go 1.26, Python 3.11.
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


_rebuild_tensor_v2.__module__, FloatStorage.__module__ = "torch._utils", "torch"
utils._rebuild_tensor_v2, torch.FloatStorage = _rebuild_tensor_v2, FloatStorage


class Storage:
    id = ("storage", FloatStorage, "0", "cpu", 3)


class Tensor:
    def __reduce__(self): return _rebuild_tensor_v2, (Storage(), 0, (3,), (1,), False, collections.OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, x): return x.id if isinstance(x, Storage) else None


for order, mark in ("little", "<"), ("big", ">"):
    with zipfile.ZipFile(order + ".pt", "w") as z:
        with z.open("archive/data.pkl", "w") as f:
            Pickler(f, protocol=2).dump(Tensor())
        z.writestr("archive/byteorder", order)
        z.writestr("archive/data/0", struct.pack(mark + "3f", 1, 2, 0.5))
        z.writestr("archive/version", "3\n")
PY
python3 write.py

cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/nlpodyssey/gopickle/pytorch"
)

func main() {
	for _, order := range []string{"little", "big"} {
		t, err := pytorch.Load(order + ".pt")
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %.4e\n", order, t.(*pytorch.Tensor).Source.(*pytorch.FloatStorage).Data)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/gopickle@v0.3.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
little [1.0000e+00 2.0000e+00 5.0000e-01]
big [4.6006e-41 8.9683e-44 8.8282e-44]
TXT
diff want got || { echo "gopickle v0.3.0 reads big-endian files in another way than was seen" >&2; exit 1; }
echo "as seen: gopickle v0.3.0 reads a big-endian file as little-endian"

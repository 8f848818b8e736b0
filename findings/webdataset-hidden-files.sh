#!/usr/bin/env bash
# webdataset 1.0.2: a hidden file in a folder of a shard is a sample of its own, whose key is the folder. tar of macOS puts
# such a file, ._NAME, beside each file that has attributes: a folder of pictures that was packed there has twice as many
# samples as pictures. Packed without a folder, the same files are passed over.
#
#   ._0001.jpg 0001.jpg 0001.cls …                      samples "0001", …
#   train/._0001.jpg train/0001.jpg train/0001.cls …    samples "train/", "train/0001", …
#
# Cause: base_plus_ext's pattern wants a character in front of the first dot of a name, and the folder's slash is one:
# "train/._0001.jpg" has the key "train/" and the extension "_0001.jpg", "._0001.jpg" has neither.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q webdataset==1.0.2 numpy==2.4.3

cat >main.py <<'PY'
import io, tarfile

import webdataset as wds

for folder in "", "train/":
    with tarfile.open("shard.tar", "w") as tar:
        for name in "0001", "0002":
            for file, data in ("._" + name + ".jpg", b"attributes"), (name + ".jpg", b"picture"), (name + ".cls", b"0"):
                entry = tarfile.TarInfo(folder + file)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    for sample in wds.WebDataset("shard.tar", shardshuffle=False):
        print(repr(folder), sample["__key__"], sorted(k for k in sample if not k.startswith("__")))
PY
venv/bin/python main.py >got

cat >want <<'TXT'
'' 0001 ['cls', 'jpg']
'' 0002 ['cls', 'jpg']
'train/' train/ ['_0001.jpg']
'train/' train/0001 ['cls', 'jpg']
'train/' train/ ['_0002.jpg']
'train/' train/0002 ['cls', 'jpg']
TXT
diff want got || { echo "webdataset 1.0.2 reads this shard in another way than was seen" >&2; exit 1; }
echo "as seen: webdataset 1.0.2 makes a sample of each hidden file of a folder"

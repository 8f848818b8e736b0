#!/usr/bin/env bash
# pandas 3.1.1, read_csv with its C engine, which is the default: in a file whose lines end in \r, the row after a blank
# line loses its first field if that is empty. Every value of that row moves one column to the left, the last column is
# empty, and there is neither an error nor a warning.
#
#   path,caption\r\r,a cat\rb.jpg,a dog\r     path: "a cat", "b.jpg"     caption: NaN, "a dog"
#
# The same text with \n or \r\n is right, and so are engine="python" and Python's csv. The row after a line that is left out
# as a comment (comment="#") loses its first empty field in the same way.
#
# Cause (parser/tokenizer.c): after a \r that ends a line without content the state is EAT_CRNL_NOP, whose next character is
# read again only if it is no delimiter.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11; 3.0.6 does the same.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q pandas==3.1.1

cat >main.py <<'PY'
import csv, io

import pandas as pd

for end in "\n", "\r\n", "\r":
    text = end.join(["path,caption", "", ",a cat", "b.jpg,a dog", ""])
    rows = lambda **k: pd.read_csv(io.BytesIO(text.encode()), keep_default_na=False, **k).values.tolist()
    print(repr(end), "c     ", rows())
    print(repr(end), "python", rows(engine="python"))
    print(repr(end), "csv   ", [r for r in csv.reader(io.StringIO(text, newline="")) if r][1:])
    commented = text.replace(end * 2, end + "# checked" + end)
    print(repr(end), "# c   ", pd.read_csv(io.BytesIO(commented.encode()), keep_default_na=False, comment="#").values.tolist())
PY
venv/bin/python main.py >got

cat >want <<'TXT'
'\n' c      [['', 'a cat'], ['b.jpg', 'a dog']]
'\n' python [['', 'a cat'], ['b.jpg', 'a dog']]
'\n' csv    [['', 'a cat'], ['b.jpg', 'a dog']]
'\n' # c    [['', 'a cat'], ['b.jpg', 'a dog']]
'\r\n' c      [['', 'a cat'], ['b.jpg', 'a dog']]
'\r\n' python [['', 'a cat'], ['b.jpg', 'a dog']]
'\r\n' csv    [['', 'a cat'], ['b.jpg', 'a dog']]
'\r\n' # c    [['', 'a cat'], ['b.jpg', 'a dog']]
'\r' c      [['a cat', ''], ['b.jpg', 'a dog']]
'\r' python [['', 'a cat'], ['b.jpg', 'a dog']]
'\r' csv    [['', 'a cat'], ['b.jpg', 'a dog']]
'\r' # c    [['a cat', ''], ['b.jpg', 'a dog']]
TXT
diff want got || { echo "pandas 3.1.1 reads these files in another way than was seen" >&2; exit 1; }
echo "as seen: after a blank line that ends in \\r pandas 3.1.1 drops a row's first empty field"

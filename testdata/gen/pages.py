"""The blocks of Python that pages show, for the scripts that run them.

    python pages.py VITAGO     runs docs/embeddings.md's on what VITAGO, the program, writes; with numpy and safetensors

index_readers.py runs docs/search.md's, migration.py docs/migration.md's, server/wire/testdata/clients/clients.py docs/serving.md's.
"""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def python(page):
    """The blocks of Python of a page, which is given from the root."""
    with open(os.path.join(ROOT, *page.split("/")), encoding="utf-8") as f:
        found = re.findall(r"^```python\n(.*?)^```", f.read(), re.S | re.M)
    assert found, page
    return found


def run(page, code, given=None):
    """Runs a block, and returns the names that it has then."""
    given = {} if given is None else given
    exec(compile(code, page, "exec"), given)
    return given


def embeddings(vitago):
    import numpy

    page, pictures = "docs/embeddings.md", os.path.join(ROOT, "demo", "pictures")
    (code,) = python(page)
    for name in ("photos.npy", "photos.safetensors"):
        subprocess.run([vitago, "encode", "--model", "builtin:demo", "-o", name, pictures], check=True, stderr=subprocess.DEVNULL)
    got = run(page, code)
    rows = len(os.listdir(pictures))
    assert got["x"].shape == (rows, 64) and len(got["names"]) == rows and got["read"].all(), (got["x"].shape, got["names"], got["read"])
    assert (got["x"] == numpy.load("photos.npy")).all()
    print(f"{page}: {rows} rows, the same of both files")


if __name__ == "__main__":
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        embeddings(program)

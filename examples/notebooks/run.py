"""Runs notebooks in a kernel of Jupyter without a browser: run.py KERNEL OUT NOTEBOOK...

Each is run where it lies, and written to OUT with what its cells have shown. A cell with an error ends it with status 1.
"""

import pathlib
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

kernel, out = sys.argv[1], pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
failed = 0
for path in map(pathlib.Path, sys.argv[3:]):
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    client = NotebookClient(notebook, kernel_name=kernel, timeout=600, resources={"metadata": {"path": str(path.parent.resolve())}})
    try:
        client.execute()
    except CellExecutionError as e:
        failed = 1
        print(f"{path}: {e}", file=sys.stderr)
    cells = sum(c.cell_type == "code" for c in notebook.cells)
    print(f"{path.name}: {cells} cells in {time.monotonic() - started:.0f} s")
    nbformat.write(notebook, out / path.name)
sys.exit(failed)

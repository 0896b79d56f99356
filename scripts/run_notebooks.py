"""Runs the notebooks of the examples in a kernel and keeps what their cells show.

    python scripts/run_notebooks.py [NAME ...]

By default all of examples/notebooks. The outputs are committed with them; a test asserts that they
are there and stay small.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "examples" / "notebooks"
FRAME = "<iframe"
"""What begins the explorer's page, which is too large to be kept."""


def main(names: list[str]) -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.stem in names:
            began = time.monotonic()
            run(path)
            took = time.monotonic() - began
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {took:.0f} s", flush=True)


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        at = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, record_timing=False, resources=at).execute()
    for cell in notebook.cells:  # warnings of other packages, which name files of this machine
        outputs = cell.get("outputs", [])
        outputs[:] = [one for one in outputs if one.get("name") != "stderr"]
        for one in outputs:
            html = one.get("data", {}).get("text/html", "")
            if html:
                one["data"]["text/html"] = html.replace(f"{Path(folder).resolve()}/", "")
            if html.startswith(FRAME):
                one["data"]["text/html"] = "<p>Run this cell: the explorer is shown here.</p>"
    for name in set(notebook.metadata.language_info) - {"name"}:
        del notebook.metadata.language_info[name]  # the version of Python, which changes
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])

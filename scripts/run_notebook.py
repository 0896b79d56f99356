"""Runs the notebook of the examples in a kernel and keeps what its cells show.

    python scripts/run_notebook.py

The outputs are committed with it; a test asserts that they are there and stay small.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "study.ipynb"


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, record_timing=False, resources={"metadata": {"path": folder}}
        ).execute()
    for cell in notebook.cells:  # warnings of other packages, which name files of this machine
        outputs = cell.get("outputs", [])
        outputs[:] = [one for one in outputs if one.get("name") != "stderr"]
    for name in set(notebook.metadata.language_info) - {"name"}:
        del notebook.metadata.language_info[name]  # the version of Python, which changes
    nbformat.write(notebook, NOTEBOOK)
    print(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

"""Every example runs, in a small form, in an empty folder."""

from __future__ import annotations

import base64
import io
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from zspace.report.figures import registry

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with their first figures only: all are drawn in test_report.py."""
    monkeypatch.setattr(registry, "FIGURES", {"data": registry.FIGURES["data"]})


def marked(path: Path) -> Any:
    """A study takes minutes."""
    mark = pytest.mark.thorough if path.name == "compare.py" else pytest.mark.slow
    return pytest.param(path, marks=mark, id=path.name)


@pytest.mark.usefixtures("own_parts")
@pytest.mark.filterwarnings("default")  # those of Lightning and accelerate are not ours
@pytest.mark.parametrize("path", [marked(path) for path in sorted(EXAMPLES.glob("*.py"))])
def test_script_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for package in re.findall(r"^    pip install (.+)$", path.read_text(), re.MULTILINE):
        pytest.importorskip(package, reason=f"needs {package}: pip install {package}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), "--epochs", "1"])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_header_gives_command_and_duration(path: Path):
    header = path.read_text().split('"""')[1]
    assert f"python examples/{path.name}" in header
    assert "two cores" in header
    assert "Expect" in header


NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The kinds of what each code cell shows. A picture is not all of one colour.

    A kernel may send one printed text in several pieces, so texts in a row count as one.
    """
    for one in outputs(notebook):
        if "image/png" in one.get("data", {}):
            content = base64.b64decode(one["data"]["image/png"])
            with Image.open(io.BytesIO(content)) as picture:
                assert np.asarray(picture.convert("L")).std() > 5
    cells: list[list[str]] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds: list[str] = []
            for one in cell.outputs:
                new = sorted(one.get("data", {"text": ""}))
                kinds += new if new != ["text"] or kinds[-1:] != new else []
            cells.append(kinds)
    return cells


def test_a_text_in_pieces_counts_as_one():
    pieces = [nbformat.v4.new_output("stream", text=text) for text in ("a", "b")]
    whole = [nbformat.v4.new_output("stream", text="ab")]
    table = nbformat.v4.new_output("display_data", {"text/html": "<table>", "text/plain": "a"})
    notebooks = [
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
        for outputs in ([*pieces, table], [*whole, table], [*whole, table, table])
    ]
    first, second, third = map(shown, notebooks)
    assert first == second == [["text", "text/html", "text/plain"]]
    assert third != second


@pytest.mark.slow
@each_notebook
def test_the_notebook_runs_in_a_kernel(path: Path, tmp_path: Path, monkeypatch):
    """With short trainings; scripts/run_notebooks.py runs it as it is."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    kept = shown(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.source = re.sub(r'(\bepochs"?[=:] ?)\d+', r"\g<1>2", cell.source)
    run = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    run.execute()
    for cell in notebook.cells:  # warnings of other packages, which run_notebooks.py leaves out
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    assert shown(notebook) == kept
    if path.stem == "own_images":
        assert outputs(notebook)[-1]["data"]["text/html"].startswith("<iframe ")


@each_notebook
def test_the_notebook_is_kept_with_small_outputs(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    install, *others = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert install.source.startswith("from importlib.util import find_spec")
    assert "    %pip install" in install.source
    assert sum(map(bool, shown(notebook))) > len(others) / 2
    assert path.stat().st_size < 600_000
    text = path.read_text()
    for place in ("/home/", "/Users/", "/tmp", "site-packages"):
        assert place not in text

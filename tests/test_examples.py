"""Every example runs, in a small form, in an empty folder."""

from __future__ import annotations

import base64
import io
import re
import runpy
import sys
from pathlib import Path

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


@pytest.mark.slow
@pytest.mark.usefixtures("own_parts")
@pytest.mark.filterwarnings("default")  # those of Lightning and accelerate are not ours
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
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


NOTEBOOK = EXAMPLES / "study.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """What the last output of each code cell is, and that it holds a picture or a table."""
    kinds = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        found = cell.outputs[-1]["data"]
        if "image/png" in found:
            with Image.open(io.BytesIO(base64.b64decode(found["image/png"]))) as picture:
                assert np.asarray(picture.convert("L")).std() > 5
            kinds.append("picture")
        else:
            html = found["text/html"]
            kinds.append("table and picture" if "<img src=" in html else "table")
            assert "<table>" in html
    return kinds


SHOWN = ["table and picture", "table", "picture", "picture", "picture", "picture"]


@pytest.mark.slow
def test_the_notebook_shows_its_pictures_in_a_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("EPOCHS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    run = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    run.execute()
    assert shown(notebook) == SHOWN
    assert (tmp_path / "study-notebook" / "report.html").exists()


def test_the_notebook_is_kept_with_small_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert shown(notebook) == SHOWN
    assert NOTEBOOK.stat().st_size < 1_500_000
    text = NOTEBOOK.read_text()
    for place in ("/home/", "/Users/", "/tmp", "/work", "site-packages"):
        assert place not in text

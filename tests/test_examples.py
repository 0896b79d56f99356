"""Every example runs, in a small form, in an empty folder."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from zspace.report.html import page

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with their first figures only: all are drawn in test_report.py."""
    monkeypatch.setattr(page, "FIGURES", {"data": page.FIGURES["data"]})


@pytest.mark.slow
@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_script_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
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


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPOCHS", "1")
    notebook = json.loads((EXAMPLES / "study.ipynb").read_text())
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert (tmp_path / "study-notebook" / "report.html").exists()

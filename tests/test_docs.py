"""Every Python block of the README and the docs runs, page by page, in an empty folder."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zspace.runs.config import RESERVED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
"""Its blocks need each other, those of the shell included."""
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FROM_ELSEWHERE = ("benchmarks.md", "changelog.md", "contributing.md", "course.html")
"""What scripts/site_pages.py takes into the site."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.mark.slow
@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p) and p != TUTORIAL], ids=named)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page), page.name, "exec"), {"__name__": "example"})


@pytest.mark.slow
def test_the_tutorial_runs_word_for_word(tmp_path):
    script = [sys.executable, ROOT / "scripts" / "run_tutorial.py", TUTORIAL]
    done = subprocess.run([*script, "--keep", tmp_path / "new"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for picture in ("sevens.png", "pairs.png", "one-style.png", "mine.png"):
        assert (tmp_path / "new" / "digits" / picture).stat().st_size > 1000


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        taken_in = page.is_relative_to(DOCS) and target.split("/")[-1] in FROM_ELSEWHERE
        assert taken_in or target.startswith("http") or (page.parent / target).exists(), target


def test_the_reference_has_every_public_name():
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    shown = re.findall(r"^::: zspace[\w.]*\.(\w+)$", pages, re.MULTILINE)
    rooms = ("zspace", "zspace.models", "zspace.data", "zspace.analysis")
    public = {name for room in rooms for name in importlib.import_module(room).__all__}
    assert set(shown) == public - {"__version__"}


def test_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    installs = re.findall(r"^pip install .*$", readme, re.MULTILINE)
    assert len(installs) == 2
    assert "zspace train" in installs[0]
    assert "pytest" in installs[1]


def test_reserved_names_are_told():
    page = (DOCS / "extending.md").read_text()
    assert ", ".join(f"`{name}`" for name in RESERVED) in page

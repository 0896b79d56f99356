"""Every Python block of the README and the docs runs, page by page, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zspace.runs.config import RESERVED

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page), page.name, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    installs = re.findall(r"^pip install .*$", readme, re.MULTILINE)
    assert len(installs) == 2
    assert "zspace train" in installs[0]
    assert "pytest" in installs[1]


def test_reserved_names_are_told():
    page = (ROOT / "docs" / "extending.md").read_text()
    assert ", ".join(f"`{name}`" for name in RESERVED) in page

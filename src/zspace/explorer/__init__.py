"""The explorer: a latent space in the browser, served by `serve` or written by `export`.

Nothing heavy is imported here; starlette and uvicorn, which the extra `web` brings, only to serve.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from zspace.system.errors import UserError

STATIC = Path(__file__).parent / "static"
LESSON = Path(__file__).parent / "lesson"
EXAMPLES = Path(__file__).parent / "examples"
"""Small trained runs; scripts/train_examples.py makes them."""
IDS = "abcdefghijkl"
BESIDE = 2
"""Runs at most that are shown beside each other; more are a sweep of one weight."""
NEEDED = ("starlette", "uvicorn")


def check_installed() -> None:
    """Raise UserError where the packages that serve the explorer are missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        raise UserError(f'the explorer needs {needed}: pip install "zspace[web]"')


def page_files() -> dict[str, Path]:
    """Every file of the page by the name under which it is asked for: 'index.html', 'app.js'."""
    files = sorted(p for p in STATIC.rglob("*") if p.is_file() and not p.name.startswith("shelf."))
    return {path.relative_to(STATIC).as_posix(): path for path in files}

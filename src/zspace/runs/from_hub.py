"""Runs on the Hugging Face hub: ``zspace.load("hf://USER/NAME")``, of a revision with @REVISION.

The files of the run, and nothing else, are fetched by huggingface_hub, which keeps them in its own
cache, so that a second time needs no network. From there they are verified as those of a folder
are. Weights are safetensors, and no code is executed: a recipe that is not zspace's own must have
been imported before. Whoever made the run chose the names of its data, which are not opened.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from zspace.runs.record import PARTS, Place, is_part
from zspace.system import files
from zspace.system.errors import UserError

PREFIX = "hf://"
_NAMED = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")  # a Path has one stroke


def is_on_hub(path: str | Path) -> bool:
    """Whether that names a run on the hub.

    >>> is_on_hub("hf://somebody/digits"), is_on_hub(Path("hf://a/b")), is_on_hub("runs/digits")
    (True, True, False)
    """
    return bool(re.match(r"hf:/", str(path)))


def fetched(path: str | Path) -> Place:
    """The files of a run on the hub, in memory.

    Raises UserError where the name is none, huggingface_hub is not installed, or the hub does not
    give the files.
    """
    found = _NAMED.fullmatch(str(path))
    if found is None:
        raise UserError(f"'{path}' names no run on the hub: give hf://USER/NAME")
    name, revision = found.groups()
    try:
        folder = Path(hub().snapshot_download(name, revision=revision, allow_patterns=[*PARTS]))
    except UserError:
        raise
    except Exception as error:  # of the network, of the hub, of the cache
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot fetch '{PREFIX}{name}' ({type(error).__name__}: {first:.200}): check the "
            "name and the network, and log in (hf auth login) if it is private"
        ) from None
    content = {}
    for one in folder.rglob("*"):
        inner = one.relative_to(folder).as_posix()
        if is_part(inner) and one.is_file():
            whole = one.resolve()  # the hub's cache is of links to its own files
            large = inner.endswith((".safetensors", ".npz"))
            content[inner] = files.read(whole, files.room() if large else files.MOST)
    return Place(content=content)


def hub() -> Any:
    """huggingface_hub. Raises UserError where it is not installed."""
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise UserError(
            'the hub needs huggingface_hub, which is not installed: pip install "zspace[hub]"'
        ) from None

"""A lock on a folder, which the system releases when its holder dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zspace import files
from zspace.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Within, nobody else holds the lock on this file, which is made where it is not there.

    Raises UserError with the refusal where somebody does. Nothing is locked where the system or
    the file system knows no locks.
    """
    with files.explained(path):
        path.parent.mkdir(exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644) if fcntl else None
    try:
        if handle is not None:
            _take(handle, refusal)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _take(handle: int, refusal: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(refusal) from None
    except OSError:
        return  # a file system without locks

"""What this user wrote, told from what a stranger wrote: marks made with a secret of the user's.

The secret lies in a file that only the user can read, ~/.local/state/zspace/secret or below
XDG_STATE_HOME, and never leaves the machine. A mark is the HMAC of a text with it (Krawczyk,
Bellare, Canetti, RFC 2104), so nobody else can make one.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from zspace.system import files
from zspace.system.errors import UserError

SIZE = 32


def mark(text: str) -> str:
    """The user's mark of a text; "" where no secret can be kept.

    >>> is_mine("a text", mark("a text")), is_mine("another", mark("a text"))
    (True, False)
    """
    secret = _secret()
    return hmac.new(secret, text.encode(), "sha256").hexdigest() if secret else ""


def is_mine(text: str, given: str) -> bool:
    """Whether this user made that mark of the text."""
    return bool(given) and hmac.compare_digest(mark(text), given)


def _secret() -> bytes:
    """The user's secret, made where there is none yet; empty where none can be kept."""
    try:
        path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        path = path / "zspace" / "secret"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        found = files.read(path)
    except (OSError, RuntimeError, UserError):  # no home, or it cannot be written to
        return b""
    return found if len(found) == SIZE else b""


def _make(path: Path) -> None:
    """Put a new secret there, whole, unless another process was faster."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # only its owner can read it
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(SIZE))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)

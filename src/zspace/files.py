"""Durable files: written beside their place, flushed, fsynced, renamed; verified when read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from zspace.errors import UserError


class CannotWrite(UserError):
    """The operating system refused to write; the message says why and what to do."""


REASONS = {
    errno.ENOSPC: "no space is left on the device: free some, or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another place",
    errno.EFBIG: "the file is larger than this system allows: choose another place",
    errno.EACCES: "the folder may not be written to: choose another place",
    errno.EPERM: "the folder may not be written to: choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another place",
    errno.EEXIST: "a file of that name stands in the way: choose another place",
    errno.EISDIR: "it is a folder: give the name of a file",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence for the user, `CannotWrite`."""
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, f"{error.strerror}: choose another place")
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:60]}..."
        raise CannotWrite(f"cannot write {shown}: {why}") from None


PART = ".part"
"""How the names of half-written files end; one that a crash has left may be deleted."""


def write(path: Path, content: bytes) -> str:
    """Put content at path, whole or not at all, and return its SHA-256.

    Raises UserError where the disk is full or the folder is not writable; what was there stays.
    """
    with explained(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        _sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> str:
    """Like `write`, for a value that JSON can hold."""
    return write(path, (json.dumps(value, indent=2, allow_nan=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises UserError where it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise UserError(f"{path} is damaged: it is not valid JSON") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: str = "") -> str:
    """Like `write`, for named tensors in the safetensors format, with a text beside them."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return write(path, safetensors.torch.save(plain, {"note": note} if note else None))


def read_tensors(path: Path, sha256: str) -> tuple[dict[str, Tensor], str]:
    """Named tensors and their note. Raises UserError where the content is not what was written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path} is damaged: its SHA-256 is not the one noted when it was written")
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {error}") from None
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return tensors, header.get("__metadata__", {}).get("note", "")

"""Files that carry their own SHA-256, so that each can be verified without any other.

The digest is that of the file with 64 zeros in the digest's place. It stands in the field "sha256"
of a JSON object: the file itself, or the note of a safetensors file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zspace import files
from zspace.errors import UserError

FIELD = "sha256"
BLANK = "0" * 64


def write_json(path: Path, value: Mapping[str, Any]) -> str:
    """Write a JSON object with its seal, durably; return the SHA-256 of the whole file."""
    text = json.dumps({FIELD: BLANK, **value}, indent=2) + "\n"
    return files.write(path, *_sealed(text.encode()))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> str:
    """Write named tensors and a note with their seal; return the SHA-256 of the whole file."""
    content = files.packed(tensors, json.dumps({FIELD: BLANK, **note}))
    return files.write(path, *_sealed(content))


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises UserError where a bit of the file is another one now."""
    content = files.read(path)
    return opened(path, content, files.parsed(path, content))


def read_tensors(
    path: Path, sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote. Raises UserError where a bit of the file is another one now.

    sha256: what `write_tensors` returned, where it is known; then the file must be that one.
    """
    content = files.read(path)
    if sha256 is not None:
        files.verify(path, content, sha256)
    note = opened(path, content, files.parsed(path, files.note(path, content)))
    return files.unpacked(path, content), note


def opened(path: Path, content: bytes, value: Any) -> dict[str, Any]:
    """The object without its seal, which stands in the content of the file and is verified.

    Raises UserError where it is none, has no seal, or the seal is not that of the content.
    """
    digest = str(value.get(FIELD)) if isinstance(value, dict) else ""
    if not digest or digest != _digest(content, digest.encode(errors="replace")):
        raise UserError(
            f"{path} is damaged, or was changed by hand: it does not have the SHA-256 noted in it"
        )
    return {name: item for name, item in value.items() if name != FIELD}


def _sealed(content: bytes) -> tuple[bytes, bytes, memoryview]:
    """The parts of the file: its first 64 zeros, the place of the digest, are replaced."""
    at = content.index(BLANK.encode())
    return content[:at], _digest(content, BLANK.encode()).encode(), memoryview(content)[at + 64 :]


def _digest(content: bytes, found: bytes) -> str:
    """The SHA-256 with zeros where these 64 characters stand first; "" where they do not."""
    at = content.find(found) if len(found) == len(BLANK) else -1
    if at < 0:
        return ""
    digest = hashlib.sha256(content[:at])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[at + len(BLANK) :])
    return digest.hexdigest()

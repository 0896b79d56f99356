"""How `fuzz.py` changes bytes and JSON, and how it makes checksums right again."""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

NUMBERS = (0, 1, -1, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**30), 1e308, float("nan"), float("inf"), "", "a",
    "\0", "../..", "\ud800", "x" * 5000, [], {}, [[]], [None], {"": None}, [1, "a"], "NaN",
)  # fmt: skip
LONGEST = 1 << 14


def havoc(draw: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """One change: a bit, a byte, a number, a piece cut, doubled or taken from another seed."""
    at, to = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    to = min(to, at + 64)
    kind = draw.randrange(6)
    if kind == 0 and content:
        at = min(at, len(content) - 1)
        return content[:at] + bytes((content[at] ^ (1 << draw.randrange(8)),)) + content[at + 1 :]
    if kind == 1:
        number = draw.choice(NUMBERS) & (2**64 - 1)
        width, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
        piece = (number & (2 ** (8 * width) - 1)).to_bytes(width, order)
        return content[:at] + piece + content[at + width :]
    if kind == 2:
        return content[:at] + content[to:]
    if kind == 3:
        return (content[:to] + content[at:to] * draw.choice((1, 2, 50)) + content[to:])[:LONGEST]
    if kind == 4:
        return content[:at] + draw.randbytes(to - at) + content[to:]
    other = draw.choice(list(seeds))
    return (content[:at] + other[draw.randrange(len(other) + 1) :])[:LONGEST]


def restructured(draw: random.Random, content: bytes) -> bytes:
    """JSON, with one value at any depth replaced, dropped, doubled or buried."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(value, dict | list):
        return content
    places: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        level = todo.pop()
        keys = list(level) if isinstance(level, dict) else range(len(level))
        places += [(level, key) for key in keys]
        todo += [level[key] for key in keys if isinstance(level[key], dict | list)]
    if not places:
        return content
    level, key = draw.choice(places)
    kind = draw.randrange(10)
    if kind == 0:
        del level[key]
    elif kind == 1:
        other, name = draw.choice(places)
        level[key] = json.loads(json.dumps(other[name]))
    elif kind == 2:
        return json.dumps(value).replace('"', "[" * 3000 + '"', 1).encode()
    else:
        level[key] = draw.choice(STRANGE)
    return json.dumps(value).encode()


def mended(content: bytes) -> bytes:
    """A PNG with the right checksums, so that what lies behind them is reached."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    at, out = 8, [content[:8]]
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            break
        body = content[at + 4 : at + 8 + length]
        out += [content[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + length
    return b"".join([*out, content[at:]])


def sealed(content: bytes) -> bytes:
    """A file of `zspace.system.files` with the right SHA-256, if it still has a place for one."""
    found = re.search(
        rb"(?<=sha256.{4})[0-9a-f]{64}|(?<=sha256.{6})[0-9a-f]{64}", content[:4096], re.DOTALL
    )
    if found is None:
        return content
    start, end = found.span()
    digest = sha256(content[:start] + b"0" * 64 + content[end:]).hexdigest()
    return content[:start] + digest.encode() + content[end:]

"""The .npy format, in a file of its own or as a member of an .npz.

A header is a claim: it is read by itself and held against the bytes that are there, before
anything is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Generator
from io import BytesIO
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

MOST_HEADER = 1 << 14
MOST_MEMBERS = 1000
_PIECE = 1 << 20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """What the header of an .npy says. start: where the values begin, in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def nbytes(self) -> int:
        """What the values take."""
        return math.prod(self.shape) * self.dtype.itemsize


def header(file: IO[bytes], size: int) -> Header:
    """The header of an .npy of ``size`` bytes, from its start.

    Raises ValueError for one that is damaged, claims other than what is there, or holds objects.
    """
    first = file.read(12)
    major = first[6] if len(first) == 12 and first.startswith(npy.MAGIC_PREFIX) else 0
    if major not in (1, 2):
        raise ValueError("it does not start as an .npy of version 1 or 2 does")
    start = 8 + 2 * major + int.from_bytes(first[8 : 8 + 2 * major], "little")
    if start > MOST_HEADER:
        raise ValueError(f"its header claims {start:,} bytes")
    text = BytesIO(first + file.read(start - 12))
    text.seek(8)
    read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
    shape, _, dtype = read(text)
    found = Header(tuple(map(int, shape)), dtype, start)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(found.shape, default=0) < 0 or start + found.nbytes != size:
        raise ValueError(f"its header claims {dtype} {found.shape}, but {size:,} bytes are there")
    return found


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an .npz by name. Raises ValueError for what numpy would not have written."""
    found = archive.infolist()
    if len(found) > MOST_MEMBERS:
        raise ValueError(f"it holds {len(found):,} arrays")
    for member in found:
        if member.compress_type not in _PACKED or member.flag_bits & 1:
            raise ValueError(f"{member.filename!r:.60} is encrypted or packed in an unusual way")
    names = {member.filename.removesuffix(".npy"): member for member in found}
    if len(names) < len(found):
        raise ValueError("it holds two arrays of one name")
    return names


def member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    """What the header of a member says. Raises ValueError as `header` does."""
    with archive.open(member) as file:
        return header(file, member.file_size)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of a member whose header was found good. Raises for damaged bytes."""
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Generator[np.ndarray, None, None]:
    """The values of a member in the order of the file, (n,) at a time; none is kept."""
    about = member_header(archive, member)
    step = max(1, _PIECE // about.dtype.itemsize) * about.dtype.itemsize
    with archive.open(member) as file:
        file.read(about.start)
        while content := file.read(step):
            yield np.frombuffer(content, about.dtype)

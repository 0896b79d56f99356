"""Arrays by name, in files or in memory, each of which can be looked at before it is read.

A header is a claim: it is read by itself and compared with the bytes that are there, before
anything is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.lib import format as npy

from zspace.system.errors import UserError

MOST_HEADER = 1 << 14
MOST_MEMBERS = 1000
CHUNK = 1 << 24
"""Numbers that are looked at together."""
_PIECE = 1 << 20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """What the header of an .npy says. start: where the values begin, in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int


def npy_header(file: IO[bytes], size: int) -> Header:
    """The header of an .npy, read from its start.

    Arguments:
        file: The .npy, or a member of an .npz.
        size: Its length in bytes, which the claims of the header must agree with.

    Raises ValueError for a header that is damaged, claims other bytes than are there, or announces
    Python objects.
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
    claim = start + math.prod(found.shape) * dtype.itemsize
    if min(found.shape, default=0) < 0 or claim != size:
        raise ValueError(f"its header claims {dtype} {found.shape}, but {size:,} bytes are there")
    return found


def npz_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
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
    """What the header of a member says. Raises ValueError as `npy_header` does."""
    with archive.open(member) as file:
        return npy_header(file, member.file_size)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of a member whose header was found good; damaged bytes raise almost anything."""
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


Pieces = Generator[np.ndarray, None, None]


def member_pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Pieces:
    """The values of a member in the order of the file, (n,) at a time.

    About a megabyte is held at once, so that a member that unpacks to too much does no harm.
    """
    about = member_header(archive, member)
    step = max(1, _PIECE // about.dtype.itemsize) * about.dtype.itemsize
    with archive.open(member) as file:
        file.read(about.start)
        while content := file.read(step):
            yield np.frombuffer(content, about.dtype)


@dataclass(frozen=True)
class Alone:
    """The array of an .npy, memory-mapped; see `Shelf`."""

    path: Path

    @property
    def title(self) -> str:
        """The file's name."""
        return f"'{self.path.name}'"

    def headers(self) -> Mapping[str, Header]:
        """Shape and type."""
        array = self.read("x")
        return {"x": Header(array.shape, array.dtype, 0)}

    def pieces(self, name: str) -> Pieces:
        """The values in pieces."""
        array = self.read(name)
        step = max(1, CHUNK // max(1, array[0].size))
        return (array[at : at + step] for at in range(0, len(array), step))

    def read(self, name: str) -> np.ndarray:
        """The whole of it, where it lies."""
        return npy.open_memmap(self.path, mode="r")

    told = read


class Shelf(Protocol):
    """Arrays by name, each of which can be looked at before it is read."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    def headers(self) -> Mapping[str, Header]:
        """Shape and type of each array."""

    def pieces(self, name: str) -> Pieces:
        """The values of one in pieces."""

    def read(self, name: str) -> np.ndarray:
        """One of them, whole."""

    def told(self, name: str) -> Any:
        """Labels, whole: an array, or columns by name."""


@dataclass(frozen=True)
class Archive:
    """The arrays of an .npz; see `Shelf`."""

    file: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]
    title: str

    def headers(self) -> Mapping[str, Header]:
        """Shape and type of each array, as its header claims them."""
        found = {}
        for name, member in self.members.items():
            try:
                found[name] = member_header(self.file, member)
            except ValueError as error:
                if "Python objects" not in str(error):
                    raise
                raise UserError(
                    f"{name} of {self.title} holds Python objects, which zspace never loads: "
                    f"leave it out with --leave-out {name}, or save it as numbers or text"
                ) from None
        return found

    def pieces(self, name: str) -> Pieces:
        """The values of one in pieces of about a megabyte."""
        return member_pieces(self.file, self.members[name])

    def read(self, name: str) -> np.ndarray:
        """One of them, whole."""
        return read_member(self.file, self.members[name])

    told = read

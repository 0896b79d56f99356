"""Arrays in files: .npz and .npy, never with pickled objects.

Images x are (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3, in uint8 (0..255) or in floats
in [0, 1]; labels y are (N,) integers from 0. An .npz holds x, y and, if it has them, x_test,
y_test (or x_train, y_train, x_test, y_test, as Keras names them), or one array of any name. An
.npy holds x; one that does not fit the memory budget stays on disk, memory-mapped.

An .npz is a zip of .npy files. Each of these begins with a header, which is only a claim: it is
read by itself and held against the bytes that are there, before anything is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.lib.format import open_memmap
from torch import Tensor

from zspace.data.dataset import Data, Part, assemble, check
from zspace.system.errors import UserError

MOST_HEADER = 1 << 14
MOST_MEMBERS = 1000
MOST_CLASSES = 10_000
LARGE = 1 << 28
"""Members of more bytes are unpacked once before they are kept."""
_PIECE, _CHUNK = 1 << 20, 1 << 24
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


def npy_header(file: IO[bytes], size: int) -> Header:
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
    """What the header of a member says. Raises ValueError as `header` does."""
    with archive.open(member) as file:
        return npy_header(file, member.file_size)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of a member whose header was found good. Raises for damaged bytes."""
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def member_pieces(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Generator[np.ndarray, None, None]:
    """The values of a member in the order of the file, (n,) at a time; none is kept."""
    about = member_header(archive, member)
    step = max(1, _PIECE // about.dtype.itemsize) * about.dtype.itemsize
    with archive.open(member) as file:
        file.read(about.start)
        while content := file.read(step):
            yield np.frombuffer(content, about.dtype)


@dataclass(frozen=True)
class Mapped:
    """Images of an .npy file that is read row by row; see `zspace.data.dataset.Lazy`."""

    path: Path
    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        # Opened for each batch: a memory map would travel to a worker as a full copy.
        array = _images(open_memmap(self.path, mode="r"))
        return _tensor(array[rows.numpy()])


def load_npy(path: Path, memory: float) -> Data:
    """The images of an .npy file, without labels. Raises UserError for what is no image array."""
    what = f"'{path.name}'"
    with _readable(path):
        with path.open("rb") as file:
            about = npy_header(file, path.stat().st_size)
        check(path.stem, [_form(about, what)])
        array = open_memmap(path, mode="r")
    if array.dtype != np.uint8:
        _check_range(_slices(array), what)
    images = _images(array)
    fits = images.nbytes <= memory
    x = _tensor(images) if fits else Mapped(path.resolve(), images.shape)
    return assemble(path.stem, Part(x), provenance=f"The array file {path.name}.")


def load_npz(path: Path, memory: float) -> Data:
    """The arrays of an .npz file. Raises UserError for what is no labelled set of images."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        found = _renamed(npz_members(archive), path)
        wanted = [("x", "y"), *([("x_test", "y_test")] if "x_test" in found else [])]
        _check_size(
            path, sum(found[n].file_size for pair in wanted for n in pair if n in found), memory
        )
        if len({y in found for _, y in wanted}) > 1:
            raise UserError(
                f"'{path.name}' has labels for one split only; give y and y_test, or none"
            )
        parts = _Parts(archive, found, path)
        check(path.stem, [parts.form(x) for x, _ in wanted])
        train, *test = [parts.read(x, y) for x, y in wanted]
    count = max(
        (int(part.y.max()) + 1 for part in (train, *test) if part.y is not None), default=0
    )
    classes = tuple(map(str, range(count)))
    about = f"The array file {path.name}."
    return assemble(
        path.stem, train, test=test[0] if test else None, classes=classes, provenance=about
    )


@dataclass(frozen=True)
class _Parts:
    """The splits of an .npz whose members go by the names x, y, x_test and y_test."""

    archive: zipfile.ZipFile
    found: Mapping[str, zipfile.ZipInfo]
    path: Path

    def form(self, x: str) -> tuple[int, ...]:
        """The shape (N, C, H, W) of images as their header has it, checked."""
        return _form(member_header(self.archive, self.found[x]), self._what(x))

    def read(self, x: str, y: str) -> Part:
        """The images with their labels, if they have some; the labels first, as they are small."""
        labels = self._labels(y, self.form(x)[0]) if y in self.found else None
        member, what = self.found[x], self._what(x)
        with closing(member_pieces(self.archive, member)) as pieces:
            if member_header(self.archive, member).dtype != np.uint8:
                _check_range(pieces, what)
            elif member.file_size > LARGE:  # its last byte may be as wrong as its first
                for _ in pieces:
                    pass
        return Part(_tensor(_images(read_member(self.archive, member))), labels)

    def _labels(self, y: str, n: int) -> Tensor:
        """Labels (n,) int64, their header checked before they are read."""
        about, what = member_header(self.archive, self.found[y]), self._what(y)
        if about.shape not in ((n,), (n, 1)):
            raise UserError(
                f"{what} has shape {about.shape}, but there are {n} images; give one label each"
            )
        if about.dtype.kind not in "iu":
            raise UserError(f"{what} is of type {about.dtype}; labels are integers 0, 1, ...")
        labels = read_member(self.archive, self.found[y])
        if labels.min() < 0 or labels.max() >= MOST_CLASSES:
            raise UserError(
                f"{what} holds labels from {labels.min()} to {labels.max()}; number the classes "
                f"from 0 (at most {MOST_CLASSES:,})"
            )
        return torch.from_numpy(labels.reshape(n).astype(np.int64))

    def _what(self, name: str) -> str:
        return f"{name} of '{self.path.name}'"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what numpy and zipfile raise for a damaged file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make both raise almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        why = f"{why:.300}; save it again with numpy.save or numpy.savez"
        if "Python objects" in str(error):
            why = "it holds Python objects, which zspace never loads; save it with a number type"
        raise UserError(f"'{path}' cannot be read: {why}") from error


def _check_size(path: Path, size: int, memory: float) -> None:
    """An .npz cannot be memory-mapped, and a small one may unpack to anything."""
    if size > memory:
        raise UserError(
            f"'{path}' unpacks to {size / 1e9:.1f} GB, over the memory budget of "
            f"{memory / 1e9:.1f} GB; save x as .npy, which is read from disk"
        )


def _renamed(found: dict[str, zipfile.ZipInfo], path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members as x, y, x_test, y_test."""
    if "x" in found:
        return found
    if "x_train" in found:
        return {name.removesuffix("_train"): member for name, member in found.items()}
    if len(found) == 1:
        return {"x": next(iter(found.values()))}
    names = ", ".join(sorted(found)) or "no array"
    names = names if names.isprintable() else "arrays with names that cannot be shown"
    raise UserError(f"'{path.name}' holds {names:.200}; name the images x and the labels y")


def _images(x: np.ndarray) -> np.ndarray:
    """A view of the array as (N, C, H, W)."""
    if x.ndim == 3:
        return x[:, None]
    last = x.shape[3] in (1, 3) and x.shape[1] not in (1, 3)
    return np.moveaxis(x, 3, 1) if last else x


def _tensor(images: np.ndarray) -> Tensor:
    """uint8 and float32 as they are, other floats as float32; always in memory and contiguous."""
    dtype = np.uint8 if images.dtype == np.uint8 else np.float32
    # np.array, not asarray: a read-only or memory-mapped array must not stay behind the tensor.
    return torch.from_numpy(np.array(images, dtype, order="C"))


def _form(about: Header, what: str) -> tuple[int, ...]:
    """The shape (N, C, H, W) of images with this header. Raises UserError where it is none."""
    shape, dtype = about.shape, about.dtype
    if len(shape) not in (3, 4):
        raise UserError(f"{what} has shape {shape}; give (N, H, W), (N, C, H, W) or (N, H, W, C)")
    if 0 in shape:
        raise UserError(f"{what} is empty: its shape is {shape}")
    form = _images(np.broadcast_to(np.uint8(0), shape)).shape
    if form[1] not in (1, 3):
        raise UserError(f"{what} has shape {shape}; the channels must be 1 or 3, second or last")
    if dtype != np.uint8 and dtype.kind != "f":
        raise UserError(f"{what} is of type {dtype}; save uint8 in 0..255 or floats in [0, 1]")
    return form


def _slices(x: np.ndarray) -> Iterator[np.ndarray]:
    """An array along its first axis piece by piece, since it may be larger than the memory."""
    step = max(1, _CHUNK // x[0].size)
    return (x[start : start + step] for start in range(0, len(x), step))


def _check_range(pieces: Iterable[np.ndarray], what: str) -> None:
    """Raise UserError unless all floats lie in [0, 1]; at the first that does not."""
    low, high = 0.0, 0.0
    for piece in pieces:
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        if not np.isfinite(piece).all():
            raise UserError(f"{what} holds NaN or infinite values; clean it first")
        if low < 0 or high > 1:
            raise UserError(
                f"{what} holds values from {low:g} to {high:g}, but floats must lie in [0, 1]; "
                "divide by 255 or save as uint8"
            )

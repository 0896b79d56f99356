"""Arrays in files: .npz and .npy, never with pickled objects.

    .npy   images x; where they do not fit the memory budget, they stay on disk, memory-mapped
    .npz   x, y and, if it has them, x_test, y_test; or, as Keras names them, x_train, y_train,
           x_test, y_test; or one array of any name

Images are (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3, in uint8 (0..255) or in floats in
[0, 1]. Labels are (N,) integers from 0.

A header is a claim: it is read by itself and compared with the bytes that are there, before
anything is allocated.
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
from torch import Tensor

from zspace.data.dataset import Data, Part, assemble, check
from zspace.system.errors import UserError

MOST_HEADER = 1 << 14
MOST_MEMBERS = 1000
MOST_CLASSES = 10_000
LARGE = 1 << 28
"""Members of more bytes are unpacked once before they are kept."""
_PIECE = 1 << 20
_CHUNK = 1 << 24
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


def member_pieces(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Generator[np.ndarray, None, None]:
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
class Mapped:
    """Images (N, C, H, W) of an .npy that is read row by row; see `zspace.data.dataset.Lazy`."""

    path: Path
    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        """The images of rows (B,), uint8 or float32, in memory."""
        # Opened for each batch: a memory map would travel to a worker as a full copy.
        images = _images(npy.open_memmap(self.path, mode="r"))[rows.numpy()]
        return torch.from_numpy(np.ascontiguousarray(images, _dtype(images)))


def load_npy(path: Path, memory: float) -> Data:
    """The images of an .npy file, without labels.

    Arguments:
        path: The file. Floats are read once from end to end, to check their range.
        memory: Bytes that the images may take; larger ones stay on disk.

    Raises UserError for a damaged file and for what is no array of images.
    """
    what = f"'{path.name}'"
    with _readable(path):
        with path.open("rb") as file:
            about = npy_header(file, path.stat().st_size)
        check(path.stem, [_form(about, what)])
        array = npy.open_memmap(path, mode="r")
    if array.dtype != np.uint8:
        step = max(1, _CHUNK // array[0].size)
        _check_range((array[at : at + step] for at in range(0, len(array), step)), what)
    images = _images(array)
    fits = images.nbytes <= memory
    x = _tensor(images) if fits else Mapped(path.resolve(), images.shape)
    return assemble(path.stem, Part(x), provenance=f"The array file {path.name}.")


def load_npz(path: Path, memory: float) -> Data:
    """The arrays of an .npz file.

    Arguments:
        path: The file, packed or not.
        memory: Bytes that it may unpack to: an .npz cannot be memory-mapped, and a small one may
            unpack to anything.

    Raises UserError for a damaged file and for what is no set of images, labelled or not.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        found = _renamed(npz_members(archive), path)
        wanted = [("x", "y"), *([("x_test", "y_test")] if "x_test" in found else [])]
        size = sum(found[name].file_size for pair in wanted for name in pair if name in found)
        check_memory(path, size, memory)
        if len({y in found for _, y in wanted}) > 1:
            raise UserError(f"'{path.name}' has labels for one split only; give both or neither")
        parts = _Parts(archive, found, path)
        check(path.stem, [parts.form(x) for x, _ in wanted])
        read = [parts.read(x, y) for x, y in wanted]
    return numbered(path.stem, *read, provenance=f"The array file {path.name}.")


def check_memory(path: Path, size: int, memory: float) -> None:
    """Raise UserError where the images of a file or folder unpack to more than the budget."""
    if size > memory:
        raise UserError(
            f"'{path}' unpacks to {size / 1e9:.1f} GB, over the memory budget of "
            f"{memory / 1e9:.1f} GB; save x as .npy, which is read from disk"
        )


def numbered(name: str, train: Part, test: Part | None = None, *, provenance: str) -> Data:
    """Data whose classes have no names but their numbers, up to the largest label.

    >>> part = Part(torch.zeros(20, 1, 4, 4), torch.arange(20) % 3)
    >>> numbered("mine", part, provenance="Mine.").classes
    ('0', '1', '2')
    """
    labels = [part.y for part in (train, test) if part is not None and part.y is not None]
    count = max((int(y.max()) + 1 for y in labels), default=0)
    classes = tuple(map(str, range(count)))
    return assemble(name, train, test=test, classes=classes, provenance=provenance)


@dataclass(frozen=True)
class _Parts:
    """The splits of an .npz whose members are called x, y, x_test and y_test."""

    archive: zipfile.ZipFile
    found: Mapping[str, zipfile.ZipInfo]
    path: Path

    def form(self, x: str) -> tuple[int, ...]:
        """The shape (N, C, H, W) of images, from their header, checked."""
        return _form(member_header(self.archive, self.found[x]), self._what(x))

    def read(self, x: str, y: str) -> Part:
        """The images with their labels, if any. Labels are read first, because they are small."""
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
    """Turn what numpy and zipfile raise for a damaged file into a UserError that names it."""
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


def _dtype(images: np.ndarray) -> type[np.number]:
    """uint8 stays as it is, as does float32; other floats become float32."""
    return np.uint8 if images.dtype == np.uint8 else np.float32


def _tensor(images: np.ndarray) -> Tensor:
    """Always in memory and contiguous."""
    # np.array, not asarray: a read-only or memory-mapped array must not stay behind the tensor.
    return torch.from_numpy(np.array(images, _dtype(images), order="C"))


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

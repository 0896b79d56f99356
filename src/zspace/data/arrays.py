"""Arrays in files: .npz and .npy, never with pickled objects.

Images x are (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3, in uint8 (0..255) or in floats
in [0, 1]; labels y are (N,) integers from 0. An .npz holds x, y and, if it has them, x_test,
y_test (or x_train, y_train, x_test, y_test, as Keras names them), or one array of any name. An
.npy holds x; one that does not fit the memory budget stays on disk, memory-mapped.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from zspace.data.samples import Data, Part, assemble
from zspace.errors import UserError

MOST_CLASSES = 10_000
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Mapped:
    """Images of an .npy file that is read row by row; see `zspace.data.samples.Lazy`."""

    path: Path
    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        # Opened for each batch: a memory map would travel to a worker as a full copy.
        array = _images(open_memmap(self.path, mode="r"))
        return _tensor(array[rows.numpy()])

    def identity(self) -> Iterator[bytes]:
        yield f"{self.path.name}/{self.path.stat().st_size}\n".encode()


def load_npy(path: Path, memory: float) -> Data:
    """The images of an .npy file, without labels. Raises UserError for what is no image array."""
    with _readable(path):
        array = open_memmap(path, mode="r")
    images = _checked_images(array, f"'{path.name}'")
    fits = images.nbytes <= memory
    x = _tensor(images) if fits else Mapped(path.resolve(), images.shape)
    return assemble(path.stem, Part(x), provenance=f"The array file {path.name}.")


def load_npz(path: Path, memory: float) -> Data:
    """The arrays of an .npz file. Raises UserError for what is no labelled set of images."""
    with _readable(path):
        _check_size(path, memory)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    arrays = _renamed(arrays, path)
    train = _part(arrays, "x", "y", path)
    test = _part(arrays, "x_test", "y_test", path) if "x_test" in arrays else None
    if test is not None and (train.y is None) != (test.y is None):
        raise UserError(f"'{path.name}' has labels for one split only; give y and y_test, or none")
    labels = [part.y for part in (train, test) if part is not None and part.y is not None]
    count = max((int(y.max()) + 1 for y in labels), default=0)
    classes = tuple(map(str, range(count)))
    about = f"The array file {path.name}."
    return assemble(path.stem, train, test=test, classes=classes, provenance=about)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what numpy and zipfile raise for a damaged file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make both raise almost anything
        if "pickle" in str(error) or "Python objects" in str(error):
            why = "it holds Python objects, which zspace never loads; save it with a number type"
        else:
            why = f"{error or type(error).__name__}; save it again with numpy.save or numpy.savez"
        raise UserError(f"'{path}' cannot be read: {why}") from error


def _check_size(path: Path, memory: float) -> None:
    """An .npz cannot be memory-mapped, and a small one may unpack to anything."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > memory:
        raise UserError(
            f"'{path}' unpacks to {size / 1e9:.1f} GB, over the memory budget of "
            f"{memory / 1e9:.1f} GB; save x as .npy, which is read from disk"
        )


def _renamed(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays as x, y, x_test, y_test."""
    if "x" in arrays:
        return arrays
    if "x_train" in arrays:
        return {name.removesuffix("_train"): array for name, array in arrays.items()}
    if len(arrays) == 1:
        return {"x": next(iter(arrays.values()))}
    raise UserError(
        f"'{path.name}' holds {', '.join(sorted(arrays)) or 'no array'}; "
        "name the images x and the labels y"
    )


def _part(arrays: dict[str, np.ndarray], x: str, y: str, path: Path) -> Part:
    images = _tensor(_checked_images(arrays[x], f"{x} of '{path.name}'"))
    if y not in arrays:
        return Part(images)
    return Part(images, _checked_labels(arrays[y], len(images), f"{y} of '{path.name}'"))


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


def _checked_images(x: np.ndarray, what: str) -> np.ndarray:
    """The array as (N, C, H, W), its values checked."""
    if x.ndim not in (3, 4):
        raise UserError(
            f"{what} has shape {x.shape}; give (N, H, W), (N, C, H, W) or (N, H, W, C)"
        )
    if x.size == 0:
        raise UserError(f"{what} is empty: its shape is {x.shape}")
    images = _images(x)
    if images.shape[1] not in (1, 3):
        raise UserError(f"{what} has shape {x.shape}; the channels must be 1 or 3, second or last")
    if not (x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)):
        raise UserError(f"{what} is of type {x.dtype}; save uint8 in 0..255 or floats in [0, 1]")
    if x.dtype != np.uint8:
        _check_range(x, what)
    return images


def _check_range(x: np.ndarray, what: str) -> None:
    """All floats in [0, 1]; piece by piece, since the array may be larger than the memory."""
    step = max(1, _CHUNK // max(1, x[0].size))
    pieces = (x[start : start + step] for start in range(0, len(x), step))
    bounds = np.array([(piece.min(), piece.max()) for piece in pieces])
    low, high = bounds[:, 0].min(), bounds[:, 1].max()
    if not np.isfinite((low, high)).all():
        raise UserError(f"{what} holds NaN or infinite values; clean it first")
    if low < 0 or high > 1:
        raise UserError(
            f"{what} holds values from {low:g} to {high:g}, but floats must lie in [0, 1]; "
            "divide by 255 or save as uint8"
        )


def _checked_labels(y: np.ndarray, n: int, what: str) -> Tensor:
    """Labels (N,) int64, checked against the number of images."""
    if y.shape not in ((n,), (n, 1)):
        raise UserError(
            f"{what} has shape {y.shape}, but there are {n} images; give one label each"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise UserError(f"{what} is of type {y.dtype}; labels are integers 0, 1, ...")
    if y.min() < 0 or y.max() >= MOST_CLASSES:
        raise UserError(
            f"{what} holds labels from {y.min()} to {y.max()}; number the classes from 0 "
            f"(at most {MOST_CLASSES:,})"
        )
    return torch.from_numpy(y.reshape(n).astype(np.int64))

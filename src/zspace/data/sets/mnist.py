"""MNIST and its siblings: IDX files, plain or gzipped.

    0 0 8 n | n sizes, 4 bytes each, big endian | unsigned bytes, the last axis fastest

A header is a claim: nothing is allocated from it. The bytes that are there are read, never more
than one over the claim, and then compared with it; a large claim before anything is kept.

EMNIST has IDX files whose images are transposed, all of its sets in one zip.

References: LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied to document
recognition. Proceedings of the IEEE 86, 1998. Cohen, Afshar, Tapson, van Schaik. EMNIST: an
extension of MNIST to handwritten letters. 2017, arXiv 1702.05373.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from zspace.data.dataset import Part
from zspace.data.readers.fetch import Found, damaged, together
from zspace.system.errors import UserError

UBYTE = 0x08
MOST_BYTES = 1 << 32
LARGE = 1 << 27
"""Files that claim more bytes are counted once before anything is kept."""
_PIECE = 1 << 20
_ENDS = ("", ".gz")

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
EMNIST_ARCHIVE = "gzip.zip"
_EMNIST_PARTS = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
_AXES = (3, 1, 3, 1)


def find(folder: Path, names: Sequence[str] = NAMES) -> Found | None:
    """The four files of a set in this folder, gzipped or not; None unless all are there.

    Arguments:
        folder: Where to look.
        names: Train images, train labels, test images, test labels; the default is MNIST's.
    """
    found = []
    for name in names:
        # "-idx3" is also met as ".idx3": some unpackers and re-uploads rename so.
        forms = (f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in _ENDS)
        found += [path for form in forms if (path := folder / form).is_file()][:1]
    return tuple(found) if len(found) == len(names) else None


def pair(images: Path, labels: Path, classes: int) -> Part:
    """A storage (N, 1, H, W) with its labels, whose headers are compared before they are read.

    Raises UserError for unequal numbers, labels beyond the classes, and whatever `read` raises.
    """
    _check_counts(shape(images, axes=3)[0], shape(labels, axes=1)[0], images, labels)
    return joined(read(images, axes=3), read(labels, axes=1), images, labels, classes)


def read_set(files: Found, classes: int) -> tuple[Part, Part]:
    """Train and test of a set of four files. Raises UserError as `pair` does."""
    train_x, train_y, test_x, test_y = files
    return pair(train_x, train_y, classes), pair(test_x, test_y, classes)


def joined(x: np.ndarray, y: np.ndarray, images: Path, labels: Path, classes: int) -> Part:
    """Images (N, H, W) and labels (N,), checked against each other, as a storage (N, 1, H, W).

    The paths are those of the files, for the sentence.

    Raises UserError for unequal numbers, for no pixels, and for labels beyond the classes.
    """
    _check_counts(len(x), len(y), images, labels)
    if x.size == 0:
        raise damaged(images, f"holds no pixels, sizes {x.shape}")
    if y.max() >= classes:
        raise damaged(labels, f"holds the label {y.max()}, but there are {classes} classes")
    return Part(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y.astype(np.int64)))


def _check_counts(n: int, labelled: int, images: Path, labels: Path) -> None:
    if n != labelled:
        raise damaged(images, f"holds {n} images but '{labels}' {labelled} labels")


def shape(path: Path, *, axes: int) -> tuple[int, ...]:
    """The sizes that the header claims; nothing else is read. Raises UserError as `read` does."""
    with path.open("rb") as file, _content(file, path) as content:
        return _header(content, path, axes)


def read(path: Path, *, axes: int) -> np.ndarray:
    """The array of an IDX file of unsigned bytes with this many axes.

    Raises UserError, naming the file, for anything else: a wrong magic number, another type, a
    header that does not match the bytes, a damaged gzip stream.
    """
    with path.open("rb") as file:
        return parse(file, path, axes=axes)


def parse(file: IO[bytes], path: Path, *, axes: int) -> np.ndarray:
    """As `read`, from an open file that can be read again from its start, such as a zip's member.

    The path is only for the sentence.
    """
    with _content(file, path) as content:
        return _body(content, path, _header(content, path, axes))


@contextmanager
def _content(file: IO[bytes], path: Path) -> Iterator[Any]:
    """The content of a file that may be gzipped; what damage raises becomes a UserError."""
    try:
        # By content rather than by suffix: browsers unpack a .gz and keep its name.
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if gzipped else file
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"cannot be read as IDX: {error}") from error


def _header(file: IO[bytes], path: Path, axes: int) -> tuple[int, ...]:
    magic = file.read(4)
    if magic != bytes((0, 0, UBYTE, axes)):
        start = f"it starts with {magic.hex(' ') or 'nothing'} instead of 00 00 08 0{axes}"
        raise damaged(path, f"is not an IDX file of unsigned bytes with {axes} axes: {start}")
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise damaged(path, "ends within its header")
    return struct.unpack(f">{axes}I", sizes)


def _body(file: IO[bytes], path: Path, shape: tuple[int, ...]) -> np.ndarray:
    claim = math.prod(shape)
    if claim > MOST_BYTES:
        raise damaged(path, f"claims {claim:,} bytes, sizes {shape}: its header is damaged")
    if claim > LARGE:
        start = file.tell()
        _check_length(sum(map(len, _pieces(file, claim))), path, shape)
        file.seek(start)
    content = bytearray()
    for piece in _pieces(file, claim):
        content += piece
    _check_length(len(content), path, shape)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _pieces(file: IO[bytes], claim: int) -> Iterator[bytes]:
    """What is there, a megabyte at a time, until it is more than the claim."""
    there = 0
    while there <= claim and (piece := file.read(_PIECE)):
        there += len(piece)
        yield piece


def _check_length(there: int, path: Path, shape: tuple[int, ...]) -> None:
    claim = math.prod(shape)
    if there != claim:
        holds = f"{there:,}" if there < claim else "more"
        raise damaged(path, f"claims {claim:,} bytes, sizes {shape}, but holds {holds}")


class Emnist(NamedTuple):
    """One of the sets of EMNIST.

    Arguments:
        split: Its name in the names of the files: "balanced", "letters", "digits".
        first: Its lowest label; 1 for letters.
    """

    split: str
    first: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the four files, without .gz."""
        return tuple(f"emnist-{self.split}-{part}-ubyte" for part in _EMNIST_PARTS)

    def find(self, folder: Path) -> Found | None:
        """The four files, unpacked, else the zip; None where there is neither."""
        unpacked = find(folder, self.names) or find(folder / "gzip", self.names)
        return unpacked or together(folder, [EMNIST_ARCHIVE])

    def read_set(self, files: Found, classes: int) -> tuple[Part, Part]:
        """Train and test (N, 1, 28, 28), upright, with labels from 0.

        Raises UserError for a zip without the files, and whatever `read` raises.
        """
        if len(files) == 1:
            arrays = _packed(files[0], self.names)
            files = tuple(files[0] / name for name in self.names)
        else:
            arrays = [read(path, axes=axes) for path, axes in zip(files, _AXES, strict=True)]

        parts = []
        for i in (0, 2):
            x, y = arrays[i : i + 2]
            images, labels = files[i : i + 2]
            if y.size and y.min() < self.first:
                raise damaged(labels, f"holds the label {y.min()}")
            upright = np.ascontiguousarray(x.transpose(0, 2, 1))
            parts.append(joined(upright, y - self.first, images, labels, classes))
        return parts[0], parts[1]


def _packed(archive: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """The four arrays of the zip; nothing is unpacked onto the disk."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = {Path(name).name: name for name in content.namelist()}
            arrays = []
            for name, axes in zip(names, _AXES, strict=True):
                with content.open(members[f"{name}.gz"]) as file:
                    arrays.append(parse(file, archive / name, axes=axes))
            return arrays
    except UserError:
        raise
    except Exception as error:  # damaged archives make zipfile raise almost anything
        missing = isinstance(error, KeyError)
        why = f"holds no {error.args[0]}" if missing else f"cannot be read: {error}"
        raise damaged(archive, why) from error

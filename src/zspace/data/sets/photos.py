"""Small photographs in colour, 32 x 32: CIFAR-10 and SVHN.

CIFAR-10 in its binary version: records of one label byte and 3 x 32 x 32 bytes of pixels. Train is
five files, data_batch_1.bin to data_batch_5.bin, and test is one, test_batch.bin, with 10,000
records each. They are read unpacked or from the archive.

SVHN, house numbers cut to single digits: MATLAB files with X (32, 32, 3, N) and y (N, 1).

References: Krizhevsky. Learning multiple layers of features from tiny images. 2009. Netzer, Wang,
Coates, Bissacco, Wu, Ng. Reading digits in natural images with unsupervised feature learning. NIPS
workshop 2011.
"""

from __future__ import annotations

import gzip
import math
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from zspace.data.dataset import Part
from zspace.data.readers.fetch import Found, damaged, together

SHAPE = (3, 32, 32)
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR_FOLDER = "cifar-10-batches-bin"
CIFAR_TEST = "test_batch.bin"
CIFAR_NAMES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), CIFAR_TEST)
SVHN_NAMES = ("train_32x32.mat", "test_32x32.mat")
_RECORD = 1 + math.prod(SHAPE)
_MOST = 10_000 * _RECORD
_MOST_UNPACKED = 1 << 28
_MOST_SVHN = 1 << 31
"""Bytes of X; the largest set of SVHN, extra, has 1.6 GB."""


def find_cifar(folder: Path) -> Found | None:
    """The six files of the set, unpacked, else the archive; None where there is neither."""
    unpacked = together(folder / CIFAR_FOLDER, CIFAR_NAMES) or together(folder, CIFAR_NAMES)
    return unpacked or together(folder, [CIFAR_ARCHIVE])


def read_cifar(files: Found, classes: int) -> tuple[Part, Part]:
    """Train and test (N, 3, 32, 32) uint8 with labels.

    Arguments:
        files: What `find_cifar` gave, the six files or the archive.
        classes: Labels lie below it.

    Raises UserError for a file that cannot be read, does not hold whole records, or holds a label
    beyond the classes.
    """
    packed = len(files) == 1
    contents = _unpacked(files[0]) if packed else [_content(path) for path in files]
    folder = files[0] if packed else files[0].parent
    records = [
        _records(content, f"{folder}/{name}", classes)
        for content, name in zip(contents, CIFAR_NAMES, strict=True)
    ]
    train, test = np.concatenate(records[:-1]), records[-1]
    return _part(train[:, 1:], train[:, 0]), _part(test[:, 1:], test[:, 0])


def _content(path: Path) -> bytes:
    """The bytes of a file, or one more than it may have."""
    with path.open("rb") as file:
        return file.read(_MOST + 1)


def _unpacked(archive: Path) -> list[bytes]:
    """The six files of the archive; nothing is unpacked onto the disk."""
    found: dict[str, bytes] = {}
    try:
        # Unpacked by hand: tarfile would trust what a header says of its own length.
        with gzip.open(archive) as packed:
            content = packed.read(_MOST_UNPACKED + 1)
        if len(content) > _MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {_MOST_UNPACKED:,} bytes")
        with tarfile.open(fileobj=BytesIO(content)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and (name := Path(member.name).name) in CIFAR_NAMES:
                    found[name] = file.read(_MOST + 1)
    except Exception as error:  # damaged archives make tarfile raise almost anything
        raise damaged(archive, f"cannot be read: {error}") from error
    for name in CIFAR_NAMES:
        if name not in found:
            raise damaged(archive, f"holds no {name}")
    return [found[name] for name in CIFAR_NAMES]


def _records(content: bytes, name: str, classes: int) -> np.ndarray:
    """The records (N, 3073) of a file, checked."""
    if not content or len(content) % _RECORD or len(content) > _MOST:
        most = f"CIFAR-10 has up to 10,000 records of {_RECORD:,} bytes in each file"
        raise damaged(name, f"holds {len(content):,} bytes, but {most}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if (label := records[:, 0].max()) >= classes:
        raise damaged(name, f"holds the label {label}, but there are {classes} classes")
    return records


def _part(x: np.ndarray, y: np.ndarray) -> Part:
    images = np.array(x, order="C").reshape(-1, *SHAPE)  # a copy: bytes are read-only
    return Part(torch.from_numpy(images), torch.from_numpy(y.astype(np.int64)))


def find_svhn(folder: Path) -> Found | None:
    """The two files of the set; None unless both are there."""
    return together(folder, SVHN_NAMES)


def read_svhn(files: Found, classes: int) -> tuple[Part, Part]:
    """Train and test (N, 3, 32, 32) uint8 with labels; the files say 10 for the digit 0.

    Raises UserError for a file that is damaged, holds other arrays, or has labels beyond 1 to
    ``classes``.
    """
    train, test = (_house_numbers(path, classes) for path in files)
    return train, test


def _house_numbers(path: Path, classes: int) -> Part:
    from scipy.io import loadmat, whosmat  # slow to import

    try:
        claims = {name: shape for name, shape, _ in whosmat(path)}
        if math.prod(claims["X"]) > _MOST_SVHN or math.prod(claims["y"]) > _MOST_SVHN // 32**2:
            raise ValueError(f"it claims X {claims['X']} and y {claims['y']}")
        content = loadmat(path, variable_names=("X", "y"))
        x, y = content["X"], content["y"].reshape(-1)
    except Exception as error:  # damaged files make scipy raise almost anything
        why = f"it holds no {error}" if isinstance(error, KeyError) else str(error)
        raise damaged(path, f"cannot be read as a MATLAB file: {why}") from error
    if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not len(y):
        wanted = "SVHN has (32, 32, 3, N) of uint8 and N labels"
        raise damaged(path, f"holds X {x.shape} of {x.dtype} and {len(y)} labels, but {wanted}")
    if y.min() < 1 or y.max() > classes:
        labels = f"labels from {y.min()} to {y.max()}"
        raise damaged(path, f"holds {labels}, but SVHN has 1 to {classes}")
    return _part(x.transpose(3, 2, 0, 1), y % classes)

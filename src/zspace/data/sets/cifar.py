"""CIFAR-10 in its binary version: records of one label byte and 3 x 32 x 32 bytes of pixels.

Train is five files, data_batch_1.bin to data_batch_5.bin, and test is one, test_batch.bin, with
10,000 records each. They are read unpacked or from the archive.

Reference: Krizhevsky. Learning multiple layers of features from tiny images. 2009.
"""

from __future__ import annotations

import gzip
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from zspace.data.dataset import Part
from zspace.data.readers.fetch import Found, together
from zspace.system.errors import UserError

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
NAMES = (*TRAIN, TEST)
SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_MOST = 10_000 * _RECORD
_MOST_UNPACKED = 1 << 28


def find(folder: Path) -> Found | None:
    """The six files of the set, unpacked, else the archive; None where there is neither."""
    unpacked = together(folder / FOLDER, NAMES) or together(folder, NAMES)
    return unpacked or together(folder, [ARCHIVE])


def read_set(files: Found, classes: int) -> tuple[Part, Part]:
    """Train and test (N, 3, 32, 32) uint8 with labels.

    Arguments:
        files: What `find` gave, the six files or the archive.
        classes: Labels lie below it.

    Raises UserError for a file that cannot be read, does not hold whole records, or holds a label
    beyond the classes.
    """
    contents = _packed(files[0]) if len(files) == 1 else [_content(path) for path in files]
    folder = files[0] if len(files) == 1 else files[0].parent
    records = [
        _records(content, f"{folder}/{name}", classes)
        for content, name in zip(contents, NAMES, strict=True)
    ]
    return _part(np.concatenate(records[:-1])), _part(records[-1])


def _content(path: Path) -> bytes:
    """The bytes of a file, or one more than it may have."""
    with path.open("rb") as file:
        return file.read(_MOST + 1)


def _packed(archive: Path) -> list[bytes]:
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
                if file is not None and Path(member.name).name in NAMES:
                    found[Path(member.name).name] = file.read(_MOST + 1)
    except Exception as error:  # damaged archives make tarfile raise almost anything
        raise UserError(f"'{archive}' cannot be read: {error}; fetch it again") from error
    missing = [name for name in NAMES if name not in found]
    if missing:
        raise UserError(f"'{archive}' holds no {missing[0]}; fetch it again")
    return [found[name] for name in NAMES]


def _records(content: bytes, name: str, classes: int) -> np.ndarray:
    """The records (N, 3073) of a file, checked."""
    if not content or len(content) % _RECORD or len(content) > _MOST:
        raise UserError(
            f"'{name}' holds {len(content):,} bytes, but CIFAR-10 has up to 10,000 records of "
            f"{_RECORD:,} bytes in each file; fetch it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if records[:, 0].max() >= classes:
        raise UserError(
            f"'{name}' holds the label {records[:, 0].max()}, but there are {classes} classes; "
            "fetch it again"
        )
    return records


def _part(records: np.ndarray) -> Part:
    x = np.array(records[:, 1:]).reshape(-1, *SHAPE)  # a copy: the bytes are read-only
    return Part(torch.from_numpy(x), torch.from_numpy(records[:, 0].astype(np.int64)))

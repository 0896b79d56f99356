"""EMNIST: IDX files whose images are transposed, all sets of them in one zip.

Reference: Cohen, Afshar, Tapson, van Schaik. EMNIST: an extension of MNIST to handwritten letters.
2017, arXiv 1702.05373.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zspace.data import idx
from zspace.data.idx import Found
from zspace.data.samples import Part
from zspace.errors import UserError

ARCHIVE = "gzip.zip"
_PARTS = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")


class Emnist(NamedTuple):
    """One of the sets. split: its name in the files. first: its lowest label."""

    split: str
    first: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"emnist-{self.split}-{part}-ubyte" for part in _PARTS)

    def find(self, folder: Path) -> Found | None:
        """The four files, unpacked, else the zip; None where there is neither."""
        unpacked = idx.find(folder, self.names) or idx.find(folder / "gzip", self.names)
        archive = folder / ARCHIVE
        return unpacked or ((archive,) if archive.is_file() else None)

    def read_set(self, files: Found, classes: int) -> tuple[Part, Part]:
        """Train and test (N, 1, 28, 28), upright, with labels from 0.

        Raises UserError for a zip without the files, and whatever `idx.read` raises.
        """
        arrays = _packed(files[0], self.names) if len(files) == 1 else _unpacked(files)
        paths = [files[0] / name for name in self.names] if len(files) == 1 else list(files)
        parts = []
        for i in (0, 2):
            y = arrays[i + 1]
            if y.size and y.min() < self.first:
                raise UserError(f"'{paths[i + 1]}' holds the label {y.min()}; fetch it again")
            x = np.ascontiguousarray(arrays[i].transpose(0, 2, 1))
            parts.append(idx.joined(x, y - self.first, paths[i], paths[i + 1], classes))
        return parts[0], parts[1]


def _unpacked(files: Found) -> list[np.ndarray]:
    return [idx.read(path, axes=axes) for path, axes in zip(files, (3, 1, 3, 1), strict=True)]


def _packed(archive: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """The four arrays of the zip; nothing is unpacked onto the disk."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = {Path(name).name: name for name in content.namelist()}
            arrays = []
            for name, axes in zip(names, (3, 1, 3, 1), strict=True):
                with content.open(members[f"{name}.gz"]) as file:
                    arrays.append(idx.parse(file, archive / name, axes=axes))
            return arrays
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"'{archive}' holds no {error.args[0]}; fetch it again") from error
    except Exception as error:  # damaged archives make zipfile raise almost anything
        raise UserError(f"'{archive}' cannot be read: {error}; fetch it again") from error

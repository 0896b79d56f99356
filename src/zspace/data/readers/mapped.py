"""Samples in files that are read as memory maps, and what crashes leave of such files."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from zspace.data.kinds.image import Scale

PART = ".part"
"""How the names of folders end that are being filled."""
ABANDONED = 3600.0
"""Seconds after which one that nobody has written to may be deleted."""


@dataclass(frozen=True)
class Mapped:
    """Images (N, C, H, W), or rows (N, W), of an .npy, read row by row; see `dataset.Lazy`.

    Arguments:
        path: The file.
        shape: (N, C, H, W).
        scale: How its values become [0, 1]; None: they lie there as they are to be.
        last: Whether the channels are the last axis in the file.
    """

    path: Path
    shape: tuple[int, ...]
    scale: Scale | None = None
    last: bool = False

    def read(self, rows: Tensor) -> Tensor:
        """The samples of rows (B,), uint8 or float32, in memory."""
        # Opened for each batch: a memory map would travel to a worker as a full copy.
        raw = npy.open_memmap(self.path, mode="r")[rows.numpy()]
        scaled_ = raw if self.scale is None else self.scale(raw)
        images = np.moveaxis(scaled_, 3, 1) if self.last else scaled_
        return torch.from_numpy(np.ascontiguousarray(images).reshape(-1, *self.shape[1:]))


def sweep(folder: Path) -> None:
    """Delete what a crash has left half-written and nobody has written to for an hour."""
    for part in folder.glob(f"*{PART}"):
        with contextlib.suppress(OSError):
            last = max(path.stat().st_mtime for path in (part, *part.iterdir()))
            if time.time() - last > ABANDONED:
                shutil.rmtree(part)

"""SVHN, house numbers cut to single digits: MATLAB files X (32, 32, 3, N) and y (N, 1).

Reference: Netzer, Wang, Coates, Bissacco, Wu, Ng. Reading digits in natural images with
unsupervised feature learning. NIPS workshop 2011.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from zspace.data.dataset import Part
from zspace.data.readers.fetch import Found, together
from zspace.system.errors import UserError

NAMES = ("train_32x32.mat", "test_32x32.mat")
SIDE = 32
MOST_BYTES = 1 << 31
"""Of X; the largest set of SVHN, extra, has 1.6 GB."""


def find(folder: Path) -> Found | None:
    """The two files of the set; None unless both are there."""
    return together(folder, NAMES)


def read_set(files: Found, classes: int) -> tuple[Part, Part]:
    """Train and test (N, 3, 32, 32) uint8 with labels; the files say 10 for the digit 0.

    Raises UserError for a file that is damaged, holds other arrays, or has labels beyond 1 to
    ``classes``.
    """
    train, test = (_part(path, classes) for path in files)
    return train, test


def _part(path: Path, classes: int) -> Part:
    from scipy.io import loadmat, whosmat  # slow to import

    try:
        claims = {name: shape for name, shape, _ in whosmat(path)}
        if math.prod(claims["X"]) > MOST_BYTES or math.prod(claims["y"]) > MOST_BYTES // SIDE**2:
            raise ValueError(f"it claims X {claims['X']} and y {claims['y']}")
        content = loadmat(path, variable_names=("X", "y"))
        x, y = content["X"], content["y"].reshape(-1)
    except Exception as error:  # damaged files make scipy raise almost anything
        why = f"it holds no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"'{path}' cannot be read as a MATLAB file: {why}; fetch it again"
        ) from error
    if x.dtype != np.uint8 or x.shape != (SIDE, SIDE, 3, len(y)) or not len(y):
        raise UserError(
            f"'{path}' holds X {x.shape} of {x.dtype} and {len(y)} labels, but SVHN has "
            f"({SIDE}, {SIDE}, 3, N) of uint8 and N labels; fetch it again"
        )
    if y.min() < 1 or y.max() > classes:
        raise UserError(
            f"'{path}' holds labels from {y.min()} to {y.max()}, but SVHN has 1 to {classes}; "
            "fetch it again"
        )
    images = np.ascontiguousarray(x.transpose(3, 2, 0, 1))
    return Part(torch.from_numpy(images), torch.from_numpy(y.astype(np.int64) % classes))

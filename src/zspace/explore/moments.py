"""What a run kept of its training: codes and reconstructions of test images, epoch by epoch."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from zspace.errors import UserError
from zspace.explore.maps import principal
from zspace.explore.once import once
from zspace.runs import Run

FILE = "snapshots.npz"


@dataclass(frozen=True)
class Moments:
    """S moments of a training.

    epoch (S,); points (S, M, 2), codes of M test images on a plane that does not turn; labels y
    (M,) or None; images x (R, C, H, W) and their reconstructions (S, R, C, H, W), in [0, 1].
    """

    epoch: np.ndarray
    points: np.ndarray
    y: np.ndarray | None
    x: np.ndarray
    reconstructions: np.ndarray


@once
def moments(run: Run) -> Moments | None:
    """The snapshots of a run, or None where it kept none. Raises UserError for a damaged file."""
    path = run.path / FILE
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            arrays = dict(kept)
        return Moments(
            arrays["epoch"],
            flattened(arrays["codes"].astype(np.float32)),
            arrays.get("y"),
            arrays["x"].astype(np.float32) / 255,
            arrays["reconstructions"].astype(np.float32) / 255,
        )
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path} is damaged: train again with --snapshots") from None


def flattened(codes: np.ndarray) -> np.ndarray:
    """Codes (S, M, *Z) of all moments on one plane: that of the last one's main components."""
    codes = codes.reshape(*codes.shape[:2], -1)
    if codes.shape[2] == 1:
        return np.concatenate([codes, np.zeros_like(codes)], axis=2)
    if codes.shape[2] == 2 or codes.shape[1] < 2:
        return codes[:, :, :2]
    last = principal(codes[-1], 2)
    return np.stack([last.project(now) for now in codes])

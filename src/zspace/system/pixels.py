"""Arrays of images as picture files, without matplotlib."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from zspace.system import files
from zspace.system.errors import UserError


def tile(x: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] in rows of `columns` -> one uint8 picture (H', W', C)."""
    n, channels, height, width = x.shape
    rows = -(-n // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8
    )
    pixels = np.round(np.clip(x, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    for i, image in enumerate(pixels):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def save_png(path: Path, picture: np.ndarray, least: int = 0) -> None:
    """Write a picture (H, W, C) uint8, enlarged by a whole factor until it is `least` px wide.

    Raises UserError for another suffix, channels other than 1 or 3, and a place not writable.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"cannot write '{path}': pictures are PNG files, so end it in .png")
    if picture.shape[2] not in (1, 3):
        raise UserError(
            f"images of {picture.shape[2]} channels have no PNG: write an .npz instead"
        )
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    factor = max(1, round(least / image.width))
    content = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(
        content, "PNG", optimize=True
    )
    files.write(path, content.getvalue())

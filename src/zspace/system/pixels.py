"""Arrays of images as uint8 and as picture files, without matplotlib.

An image is (C, H, W) with values in [0, 1]; a picture is (H, W, C) uint8.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zspace.system import files
from zspace.system.errors import UserError

COLOURS = (
    "#2d89ff", "#d07a07", "#94000c", "#b19162", "#3a3cfa",
    "#f9d500", "#042fa4", "#e4e480", "#1f629a", "#23c9fe",
)  # fmt: skip
"""Ten colours of classes, in figures and on the explorer's page: every two are more than 30 apart
in CIE Lab in normal, deuteranope and protanope sight, and so is each from the greys of decodings
(scripts/find_palette.py).
"""

Array = TypeVar("Array", np.ndarray, Tensor)


def to_uint8(x: Array) -> Array:
    """Values in [0, 1] as ``round(255 x)``, a half to the even number; others are clipped first.

    `zspace.data.dataset.to_float` is its inverse.
    """
    if isinstance(x, Tensor):
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)


def tile(x: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] in rows of `columns` -> one uint8 picture (H', W', C)."""
    n, channels, height, width = x.shape
    rows = -(-n // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8
    )
    for i, picture in enumerate(to_uint8(x).transpose(0, 2, 3, 1)):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def enlarged(picture: np.ndarray, least: int = 0) -> Image.Image:
    """A picture (H, W, 1 or 3), enlarged by the smallest whole factor that makes it `least` px
    wide.
    """
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    factor = max(1, -(-least // image.width))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def save_png(path: Path, picture: np.ndarray, least: int = 0) -> None:
    """Write a picture (H, W, C) uint8, enlarged by a whole factor until it is `least` px wide.

    Raises UserError for another suffix, channels other than 1 or 3, and a place not writable.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"cannot write '{path}': pictures are PNG files: use FILE.png")
    if picture.shape[2] not in (1, 3):
        raise UserError(f"a PNG cannot hold {picture.shape[2]} channels: write an .npz instead")
    content = io.BytesIO()
    enlarged(picture, least).save(content, "PNG", optimize=True)
    files.write(path, content.getvalue())


def thumbnails(x: np.ndarray, columns: int = 10, most: int = 640) -> bytes:
    """Images (N, C, H, W) in [0, 1] as one PNG, at most so many pixels wide.

    Of images that have neither one channel nor three, the mean over channels is shown.
    """
    x = x if x.shape[1] in (1, 3) else x.mean(1, keepdims=True)
    image, content = enlarged(tile(x, min(columns, len(x))), most // 2), io.BytesIO()
    if image.width > most:
        image = image.resize((most, round(image.height * most / image.width)))
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def gif(
    frames: Sequence[Image.Image], milliseconds: int, *, hold: int = 1, colours: Sequence[int] = ()
) -> bytes:
    """Frames as an endless GIF, each shown for so many milliseconds.

    Frames in colour share one palette, so that nothing flickers; grey ones keep every grey.

    Arguments:
        frames: Images of one size, grey (mode L) or in colour (RGB).
        milliseconds: How long a frame stays.
        hold: How many times as long the last frame stays.
        colours: Red, green, blue, red, ... of colours that the palette must hold exactly.
    """
    if frames[0].mode != "L":
        few = [np.asarray(frames[i]) for i in np.linspace(0, len(frames) - 1, 4).astype(int)]
        found = Image.fromarray(np.concatenate(few)).quantize(200, Image.Quantize.FASTOCTREE)
        palette = Image.new("P", (1, 1))
        palette.putpalette([*colours, *(found.getpalette() or [])][: 3 * 256])
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [milliseconds] * (len(frames) - 1) + [hold * milliseconds]
    content = io.BytesIO()
    frames[0].save(
        content, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    return content.getvalue()

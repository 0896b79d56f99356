"""Sheets of images: many small pictures drawn as one, with names beside their rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zspace.figures.house import INK, SMALL, figure, short
from zspace.images import tile

LETTER = 0.085
"""Inches that a letter beside a sheet takes, at most."""


def pixels(x: np.ndarray, gap: int | None = None) -> np.ndarray:
    """Images (R, N, C, H, W) in [0, 1] -> one picture (H', W', 3) uint8, white between them."""
    x = np.asarray(x)
    if x.shape[2] not in (1, 3):
        x = x.mean(2, keepdims=True)  # no such channels on paper: their mean
    if gap is None:
        gap = max(1, x.shape[-1] // 14)
    sheet = tile(x.reshape(-1, *x.shape[2:]), x.shape[1], gap)
    return np.broadcast_to(sheet, (*sheet.shape[:2], 3))


def sheet(
    axes: Axes,
    x: np.ndarray,
    left: Sequence[str] = (),
    right: Sequence[str] = (),
    top: Sequence[str] = (),
) -> None:
    """Draw images (R, N, C, H, W) as one sheet; names left and right of rows, above columns."""
    picture = pixels(x)
    axes.imshow(picture, interpolation="nearest" if picture.shape[0] < 600 else "auto")
    axes.set_anchor("NW")
    axes.spines[:].set_visible(False)
    (rows, columns), (height, width) = x.shape[:2], picture.shape[:2]
    across = (np.arange(columns) + 0.5) * width / columns - 0.5
    axes.set_xticks(across if top else [], top)
    axes.xaxis.tick_top()
    middles = (np.arange(rows) + 0.5) * height / rows - 0.5
    axes.set_yticks(middles if left else [], [short(name, 24) for name in left])
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    for y, name in zip(middles, right, strict=False):
        axes.text(1.01 * width, y, name, va="center_baseline", fontsize=SMALL, color=INK)


def image_grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    title: str,
    note: str = "",
    right: Sequence[str] = (),
    top: Sequence[str] = (),
    tile: float = 0.6,
) -> Figure:
    """Rows of images, a name beside each: rows of (N, C, H, W) in [0, 1], one label a row.

    right: what stands at the other end of the rows. top: names of the columns. tile: inches that
    an image is wide.
    """
    x = np.stack(rows)
    names = LETTER * (
        max(len(short(name, 24)) for name in labels) + max(map(len, right), default=0)
    )
    high = tile * x.shape[0] * x.shape[-2] / x.shape[-1]
    width = max(tile * x.shape[1] + names + 0.2, LETTER * 1.35 * len(title))
    fig = figure(width, high + (0.75 if note else 0.45), title, note)
    sheet(fig.subplots(), x, labels if any(labels) else (), right, top)
    return fig


def lattice(axes: Axes, x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> None:
    """Draw decoded codes (len(ys), len(xs), C, H, W) edge to edge, some values along the axes.

    The largest of ys is the first row.
    """
    picture = pixels(x, gap=0 if x.shape[2] == 1 else 1)
    axes.imshow(picture, interpolation="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    ends = (xs, picture.shape[1], axes.set_xticks), (ys[::-1], picture.shape[0], axes.set_yticks)
    for values, long, set_ticks in ends:
        at = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
        middles = (at + 0.5) * long / len(values) - 0.5
        set_ticks(middles, [f"{values[i]:.1f}".replace("-0.0", "0.0") for i in at])

"""The plainest figures: grids of images, curves of one run, points of a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zspace.figures.house import COLOURS, INK, MUTED, figure, plain

SPLITS = ("train", "validation")


def _picture(axes: Axes, image: np.ndarray) -> None:
    """One image (C, H, W) in [0, 1] without any frame."""
    pixels = np.clip(image.transpose(1, 2, 0), 0, 1)
    grey = pixels.shape[2] == 1
    axes.imshow(pixels[:, :, 0] if grey else pixels, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()


def image_grid(rows: Sequence[np.ndarray], labels: Sequence[str], title: str) -> Figure:
    """Rows of images, a name beside each: rows of (N, C, H, W) in [0, 1], one label a row."""
    columns = len(rows[0])
    fig = figure(1.2 + 0.62 * columns, 0.5 + 0.66 * len(rows), title)
    grid = fig.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.05})
    for axes, images, label in zip(grid, rows, labels, strict=True):
        for one, image in zip(axes, images, strict=True):
            _picture(one, image)
        axes[0].text(
            -0.25, 0.5, label, transform=axes[0].transAxes, ha="right", va="center",
            fontsize=9, color=INK,
        )  # fmt: skip
    return fig


def _show_after_the_first(axes: Axes, values: Sequence[float]) -> None:
    """Limit the axis to what came after epoch 1, whose mean would flatten all that follows."""
    if len(values) > 8:
        margin = 0.05 * (max(values) - min(values))
        axes.set_ylim(min(values) - margin, max(values) + margin)


def curves(metrics: Sequence[dict[str, Any]], title: str) -> Figure:
    """A panel for each term: its mean on train and validation against the epoch."""
    names = [name for name in metrics[0]["train"] if name != "objective"]
    fig = figure(3.4 * len(names) + 0.6, 2.9, title)
    epochs = [line["number"] for line in metrics]
    for axes, name in zip(fig.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for split, colour in zip(SPLITS, (COLOURS[0], COLOURS[6]), strict=True):
            axes.plot(epochs, [line[split][name] for line in metrics], color=colour, label=split)
        plain(axes)
        _show_after_the_first(
            axes, [line[split][name] for line in metrics[1:] for split in SPLITS]
        )
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
    fig.axes[0].set_ylabel("sum over the image, mean over images", fontsize=8, color=MUTED)
    return fig


def scatter(
    points: np.ndarray, y: np.ndarray | None, classes: Sequence[str], title: str
) -> Figure:
    """Points (N, 2), coloured by label y (N,) if there is one."""
    fig = figure(5.4, 4.8, title)
    axes = fig.subplots()
    if y is None:
        axes.scatter(points[:, 0], points[:, 1], s=6, color=COLOURS[0], alpha=0.6, linewidths=0)
    for i, name in enumerate(classes if y is not None else ()):
        at = points[y == i]
        axes.scatter(
            at[:, 0], at[:, 1], s=7, color=COLOURS[i % 10], alpha=0.7, linewidths=0, label=name
        )
    plain(axes)
    axes.set_aspect("equal", adjustable="datalim")
    if y is not None and len(classes) <= 20:
        axes.legend(
            frameon=False, fontsize=8, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5)
        )
    return fig

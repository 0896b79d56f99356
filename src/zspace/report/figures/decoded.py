"""Figures of decoded planes: what a 2-D code space holds, point by point.

Figures of ways through code space: between two images, and away from one.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from zspace.analysis import latents, planes, projections
from zspace.analysis.projections import Window
from zspace.report.figures import needs
from zspace.report.figures.charts import points, run_title, spread
from zspace.report.figures.style import (
    COLOURS,
    INK,
    axis_names,
    class_legend,
    figure,
    frame,
    image_grid,
    lattice,
    panels,
    pixels,
    short,
    style_axes,
    title_of,
)
from zspace.runs.many import Study
from zspace.runs.run import Run

LINEAR = np.linspace(-3, 3, 21)


def draw_lattice(
    axes: Axes, run: Run, xs: np.ndarray, ys: np.ndarray, title: str, label: int | None = None
) -> None:
    """A decoded lattice of codes."""
    style_axes(axes, title)
    lattice(axes, planes.decoded_plane(run, xs, ys, label), xs, ys)


def plane(study: Study) -> Figure:
    """A decoded 2-D code space: at quantiles of N(0, 1), and evenly from -3 to 3."""
    run = needs.with_two(study, conditional=False, variational=True)
    assert run is not None
    fig = figure(9.6, 5.3, f"Decoded plane of codes: {run_title(run)}")
    left, right = fig.subplots(1, 2)
    even = planes.quantiles(21)
    draw_lattice(left, run, even, even, "each image the same mass of N(0, I)")
    draw_lattice(right, run, LINEAR, LINEAR, "evenly from -3 to 3")
    axis_names(left, "first dimension", "second dimension")
    axis_names(right, "first dimension")
    return fig


def plane_by_label(study: Study) -> Figure:
    """The decoded 2-D code space of a conditional model: up to ten labels, a panel each."""
    run = needs.with_two(study, conditional=True, variational=True)
    assert run is not None
    classes, even = run.spec.classes[:10], planes.quantiles(12)
    columns = min(5, len(classes))
    rows = -(-len(classes) // columns)
    note = f"every panel shows the same {len(even)} x {len(even)} codes, quantiles of N(0, 1)"
    title = f"Decoded planes, one a label: {run_title(run)}"
    fig = figure(2.1 * columns + 0.1, 2.3 * rows + 0.8, title, note)
    grid = fig.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for k, (axes, name) in enumerate(zip(grid, classes, strict=False)):
        axes.imshow(
            pixels(
                planes.decoded_plane(run, even, even, k), gap=0 if run.spec.shape[0] == 1 else 1
            )
        )
        axes.set_title(short(name), fontsize=10.5, color=INK, loc="left")
    return fig


def plane_labels(study: Study) -> list[Image.Image]:
    """The decoded 2-D code space of a conditional model, up to twenty labels one after another."""
    run = needs.with_two(study, conditional=True, variational=True)
    assert run is not None
    even, frames = planes.quantiles(13), []
    for k, name in enumerate(run.spec.classes[:20]):
        fig = figure(5.2, 5.4, f"{run_title(run)}: label {short(name)}")
        draw_lattice(fig.subplots(), run, even, even, "", k)
        frames.append(frame(fig, 100))
    return frames


def holes(study: Study) -> Figure:
    """Codes of an AE with a dense and a sparse window, and what is decoded inside each."""
    run = needs.with_two(study, conditional=False, variational=False)
    assert run is not None
    found = latents.plane(run, data=study.data)
    fig = figure(9.8, 5.6, f"Dense and empty parts: {run_title(run)}")
    grid = fig.subplot_mosaic([["codes", "dense"], ["codes", "sparse"]], width_ratios=[2.1, 1])
    axes = grid["codes"]
    points(axes, found.points, found.y, len(study.data.classes))
    spread(axes, found.points)
    style_axes(axes, "codes of test images")
    dense, sparse = projections.windows(found.points)
    for letter, window, name in (("A", dense, "dense"), ("B", sparse, "sparse")):
        _mark(axes, letter, window, sparse if window is dense else dense)
        title = f"{letter}: {window.count} of {len(found.points):,} codes in it"
        draw_lattice(grid[name], run, *window.ticks(9), title)
    if found.y is not None:
        class_legend(fig, study.data.classes)
    return fig


def _mark(axes: Axes, letter: str, window: Window, other: Window) -> None:
    """Frame a window, its letter at the corner that is farthest from the other window."""
    low, high = np.array(window.low), np.array(window.high)
    axes.add_patch(Rectangle(window.low, *(high - low), fill=False, color=INK, linewidth=2))
    x, y = np.where(low >= other.low, high, low)
    dx, dy = np.where(low >= other.low, 9, -9)
    axes.annotate(
        letter, (x, y), (dx, dy), textcoords="offset points", fontsize=13,
        color=INK, fontweight="bold", ha="center", va="center", zorder=6,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5},
    )  # fmt: skip


def interpolation(study: Study) -> Figure:
    """From one test image's code to another's: straight and spherical, two rows a family."""
    rows, left = [], []
    for name in study.families:
        walk = planes.walk(study.best(name), study.data)
        for way, decoded in (("straight", walk.straight), ("spherical", walk.spherical)):
            rows.append(np.concatenate([walk.x[:1], decoded, walk.x[1:]]))
            left.append(f"{title_of(name)} {way}")
    note = "between the two test images: decoded codes; for conditional models labels mix likewise"
    top = ["image", "t = 0", *(f"{t:.1f}" for t in np.linspace(0, 1, 11)[1:]), "image"]
    return image_grid(rows, left, "Between two unseen images", note, top=top)


def tweak(study: Study) -> Figure:
    """A test image's code, varied along its two most telling directions, a panel a family."""
    title = "One unseen image, its code varied"
    note = "axes: standard deviations of the test set's codes; framed: the image's own code"
    fig, grid = panels(len(study.families), title, note, ratio=1.08)
    for axes, name in zip(grid, study.families, strict=True):
        found = planes.tweak(study.best(name), study.data)
        style_axes(axes, needs.panel_title(study, name))
        upwards = found.offsets if len(found.names) == 2 else np.zeros(1)
        lattice(axes, found.x, found.offsets, upwards)
        axis_names(axes, *found.names)
        _frame(axes, found)
    return fig


def _frame(axes: Axes, found: planes.Tweak) -> None:
    """Mark the image in the middle, which nothing was done to."""
    rows, columns = found.x.shape[:2]
    right, left = axes.get_xlim()[::-1]
    bottom, top = axes.get_ylim()
    width, height = (right - left) / columns, (bottom - top) / rows
    corner = left + columns // 2 * width, top + rows // 2 * height
    axes.add_patch(Rectangle(corner, width, height, fill=False, color=COLOURS[1], linewidth=2))

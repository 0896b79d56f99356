"""Figures of ways through code space: between two images, and away from one."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zspace import explore
from zspace.figures import needs
from zspace.figures.basic import plain
from zspace.figures.house import COLOURS, axis_names, panels, title_of
from zspace.figures.sheets import image_grid, lattice
from zspace.study import Study


def interpolation(study: Study) -> Figure:
    """From one test image's code to another's: straight and spherical, two rows a family."""
    rows, left = [], []
    for name in study.families:
        walk = explore.walk(study.best(name), study.data)
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
        found = explore.tweak(study.best(name), study.data)
        plain(axes, needs.shown(study, name))
        upwards = found.offsets if len(found.names) == 2 else np.zeros(1)
        lattice(axes, found.x, found.offsets, upwards)
        axis_names(axes, *found.names)
        _frame(axes, found)
    return fig


def _frame(axes: Axes, found: explore.Tweak) -> None:
    """Mark the image in the middle, which nothing was done to."""
    rows, columns = found.x.shape[:2]
    right, left = axes.get_xlim()[::-1]
    bottom, top = axes.get_ylim()
    width, height = (right - left) / columns, (bottom - top) / rows
    corner = left + columns // 2 * width, top + rows // 2 * height
    axes.add_patch(Rectangle(corner, width, height, fill=False, color=COLOURS[1], linewidth=2))

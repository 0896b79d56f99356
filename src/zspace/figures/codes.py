"""Figures of where codes lie: principal components, t-SNE, a density against the prior."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator

from zspace import explore
from zspace.explore import Codes, Plane
from zspace.explore.latents import LINE
from zspace.figures import needs
from zspace.figures.basic import bare, points, spread, strips
from zspace.figures.house import (
    COLOURS,
    FAINT,
    INK,
    axis_names,
    class_legend,
    panels,
    plain,
    short,
    side_legend,
)
from zspace.study import Study

MAPPED = 5000  # a map for every family: half of the test images, a quarter of the time
CIRCLE = 2.0
"""Radius of the circle that holds 1 - exp(-2) = 86% of N(0, I) on any plane."""


def codes_pca(study: Study) -> Figure:
    """Codes of test images by label, a panel a family: 2-D codes themselves, or two components."""
    found = {name: explore.plane(study.best(name), data=study.data) for name in study.families}
    flat = [plane.axes != LINE for plane in found.values()]
    note = "circle: 86% of N(0, I) lie within; beyond two dimensions, two principal components"
    fig, grid = panels(len(found), "Codes of test images", note if any(flat) else "")
    for axes, (name, plane) in zip(grid, found.items(), strict=True):
        plain(axes, needs.shown(study, name))
        _codes(axes, plane, len(study.data.classes))
    if study.data.classes:
        class_legend(fig, study.data.classes)
    return fig


def _codes(axes: Axes, found: Plane, classes: int) -> None:
    """Points of a plane and the prior's circle; a code of one number is a strip a label."""
    at = strips(found.points, found.y)
    points(axes, at, found.y, classes)
    if found.axes == LINE:
        spread(axes, at)
        axes.set_yticks([])
        axis_names(axes, "code")
        return
    spread(axes, at, np.add(found.origin, [[-CIRCLE], [CIRCLE]]))
    axes.add_patch(Circle(found.origin, CIRCLE, fill=False, color=INK, linewidth=1.2, zorder=5))


def codes_tsne(study: Study) -> Figure:
    """The t-SNE map of test images' codes by label, a panel a family."""
    n = min(MAPPED, len(study.data.test))
    fig, grid = panels(len(study.families), f"t-SNE of codes of {n:,} test images")
    for axes, name in zip(grid, study.families, strict=True):
        found = explore.codes_map(study.best(name), study.data, MAPPED)
        points(axes, found.points, found.y, len(study.data.classes))
        bare(axes, found.points, needs.shown(study, name))
    if study.data.classes:
        class_legend(fig, study.data.classes)
    return fig


def codes_kde(study: Study) -> Figure:
    """Densities of draws of q(z|x) along the first principal component, and N(0, 1) behind."""
    note = "along the first principal component of draws of q(z|x), or of codes; z = 0 at 0"
    fig, grid = panels(len(study.families), "Density of the codes", note, ratio=0.85)
    for axes, name in zip(grid, study.families, strict=True):
        _densities(axes, explore.draws(study.best(name), study.data), len(study.data.classes))
        plain(axes, needs.shown(study, name))
        axis_names(axes, "first component")
    axis_names(grid[0], "first component", "density")
    _density_key(fig, study.data.classes)
    return fig


def _densities(axes: Axes, codes: Codes, classes: int) -> None:
    """All codes in ink, each class in colour, the prior as a shadow; each has the area 1."""
    direction = explore.principal(codes.z, 1).directions[0]
    values = codes.z @ direction  # not centred: that the mean is not 0 is to be seen
    low, high = np.quantile(values, [0.001, 0.999])
    margin = 0.2 * (high - low)
    at = np.linspace(min(low - margin, -3.5), max(high + margin, 3.5), 400)
    axes.fill_between(at, np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), color=FAINT, linewidth=0)
    if codes.y is not None and classes <= 10:
        for k in range(classes):
            density = explore.density(values[codes.y == k], at)
            axes.plot(at, density, color=COLOURS[k], linewidth=1.3)
    axes.plot(at, explore.density(values, at), color=INK, linewidth=2.4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _density_key(fig: Figure, classes: tuple[str, ...]) -> None:
    handles = [Patch(color=FAINT), Line2D([], [], color=INK, linewidth=2)]
    names = ["N(0, 1)", "all labels" if classes else "codes"]
    if 0 < len(classes) <= 10:
        handles += [Line2D([], [], color=COLOURS[k], linewidth=2) for k in range(len(classes))]
        names += [short(name) for name in classes]
    side_legend(fig, handles, names)

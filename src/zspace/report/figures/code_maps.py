"""Figures of where codes lie: principal components, t-SNE, a density against the prior.

A figure of what a regularised code space means: the codes measured against N(0, I).

The figure of what few labels can read from codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from zspace.analysis import latents, projections
from zspace.analysis.latents import ACTIVE, LINE, Codes, Plane, Summary
from zspace.analysis.measure import Measure
from zspace.analysis.representation import FEW, MOST
from zspace.report.figures import needs
from zspace.report.figures.charts import bare, points, spread, strips
from zspace.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    axis_names,
    class_legend,
    figure,
    panels,
    short,
    side_legend,
    style_axes,
)
from zspace.runs.many import Study
from zspace.runs.measured import measures_of, read

MAPPED = 5000  # a map for every family: half of the test images, a quarter of the time
CIRCLE = 2.0
"""Radius of the circle that holds 1 - exp(-2) = 86% of N(0, I) on any plane."""


def codes_pca(study: Study) -> Figure:
    """Codes of test images by label, a panel a family: 2-D codes themselves, or two components."""
    found = {name: latents.plane(study.best(name), data=study.data) for name in study.families}
    flat = [plane.axes != LINE for plane in found.values()]
    note = "circle: 86% of N(0, I) lie within; beyond two dimensions, two principal components"
    fig, grid = panels(len(found), "Codes of test images", note if any(flat) else "")
    for axes, (name, plane) in zip(grid, found.items(), strict=True):
        style_axes(axes, needs.panel_title(study, name))
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
        found = latents.codes_map(study.best(name), study.data, MAPPED)
        points(axes, found.points, found.y, len(study.data.classes))
        bare(axes, found.points, needs.panel_title(study, name))
    if study.data.classes:
        class_legend(fig, study.data.classes)
    return fig


def codes_kde(study: Study) -> Figure:
    """Densities of draws of q(z|x) along the first principal component, and N(0, 1) behind."""
    note = "along the first principal component of draws of q(z|x), or of codes; z = 0 at 0"
    fig, grid = panels(len(study.families), "Density of the codes", note, ratio=0.85)
    for axes, name in zip(grid, study.families, strict=True):
        _densities(axes, latents.draws(study.best(name), study.data), len(study.data.classes))
        style_axes(axes, needs.panel_title(study, name))
        axis_names(axes, "first component")
    axis_names(grid[0], "first component", "density")
    _density_key(fig, study.data.classes)
    return fig


def _densities(axes: Axes, codes: Codes, classes: int) -> None:
    """All codes in ink, each class in colour, the prior as a shadow; each has the area 1."""
    direction = projections.principal(codes.z, 1).directions[0]
    values = codes.z @ direction  # not centred: that the mean is not 0 is to be seen
    low, high = np.quantile(values, [0.001, 0.999])
    margin = 0.2 * (high - low)
    at = np.linspace(min(low - margin, -3.5), max(high + margin, 3.5), 400)
    axes.fill_between(at, np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), color=FAINT, linewidth=0)
    if codes.y is not None and classes <= 10:
        for k in range(classes):
            density = projections.density(values[codes.y == k], at)
            axes.plot(at, density, color=COLOURS[k], linewidth=1.3)
    axes.plot(at, projections.density(values, at), color=INK, linewidth=2.4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _density_key(fig: Figure, classes: tuple[str, ...]) -> None:
    handles = [Patch(color=FAINT), Line2D([], [], color=INK, linewidth=2)]
    names = ["N(0, 1)", "all labels" if classes else "codes"]
    if 0 < len(classes) <= 10:
        handles += [Line2D([], [], color=COLOURS[k], linewidth=2) for k in range(len(classes))]
        names += [short(name) for name in classes]
    side_legend(fig, handles, names)


BLUE, GREY = COLOURS[0], "#a9aeb8"
COLUMNS = ("variance of main axes", "KS distance to N(0, 1)", "KL to N(0, 1), nats")


def posterior(study: Study) -> Figure:
    """Variances of the covariance's axes, KS distance and KL of each dimension; a row a family."""
    found = {
        name: latents.posterior_summary(study.best(name), study.data) for name in study.families
    }
    note = (
        "Of draws of q(z|x) for test images (of the codes where there is no q); dimensions sorted "
        "in each panel.\nDashed: the variance of N(0, I), and the KS distance that 95% of true "
        f"samples stay below. Active: a KL above {ACTIVE} nats."
    )
    if any(len(summary.eigenvalues) < len(summary.mean) for summary in found.values()):
        note += "\nThere are more dimensions than images, which tell of fewer axes than images."
    fig = figure(10, 2.3 * len(found) + 1.1, "Codes of test images against N(0, I)", note)
    grid = fig.subplots(len(found), 3, squeeze=False, sharey="col")
    for line, (name, summary) in zip(grid, found.items(), strict=True):
        for axes, label in zip(line, COLUMNS, strict=True):
            style_axes(axes)
            axis_names(axes, y=label)
            axes.tick_params(labelleft=True)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.set_xlim(0.4, max(len(summary.mean), 6) + 0.6)
        line[0].set_title(
            needs.panel_title(study, name),
            loc="left",
            fontsize=NORMAL,
            color=INK,
            fontweight="bold",
        )
        _variances(line[0], summary)
        _distances(line[1], summary)
        _divergences(line[2], summary)
    for axes in grid[-1]:
        axes.set_xlabel("dimension, sorted", fontsize=SMALL, color=INK)
    _few_powers(grid[0, 0], np.concatenate([summary.eigenvalues for summary in found.values()]))
    return fig


def _few_powers(axes: Axes, values: np.ndarray) -> None:
    """Plain numbers along a logarithmic axis; within two decades also twos and fives."""
    narrow = values.max() < 100 * values.min()
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.45), max(high, 2.2))  # at least 0.5, 1 and 2 are there
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _dimension_bars(
    axes: Axes, values: np.ndarray, colours: str | list[str] = BLUE, bottom: float = 0
) -> None:
    wide = 0.8 if len(values) < 40 else 1.0
    axes.bar(np.arange(len(values)) + 1, values - bottom, wide, bottom=bottom, color=colours)


def _level(axes: Axes, y: float) -> None:
    axes.axhline(y, color=INK, linewidth=1.2, linestyle="--")


def _say(axes: Axes, text: str) -> None:
    """Numbers in the upper right corner, above the bars."""
    axes.text(
        1, 0.98, text, transform=axes.transAxes, ha="right", va="top", fontsize=SMALL, color=INK
    )
    axes.margins(y=0.25)


def _variances(axes: Axes, summary: Summary) -> None:
    """Eigenvalues of the covariance, bars up or down from 1 on a logarithmic axis."""
    axes.set_yscale("log")
    axes.use_sticky_edges = False
    _dimension_bars(axes, summary.eigenvalues.clip(1e-4), bottom=1)
    _level(axes, 1)
    _say(axes, f"norm of mean {np.linalg.norm(summary.mean):.2f}")


def _distances(axes: Axes, summary: Summary) -> None:
    _dimension_bars(axes, np.sort(summary.ks)[::-1])
    _level(axes, summary.critical)
    _say(axes, f"{summary.ks.mean():.3f} on average")


def _divergences(axes: Axes, summary: Summary) -> None:
    """Sorted KL; dimensions that say nothing are grey."""
    if summary.kl is None:
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, "no q(z|x), so no KL", transform=axes.transAxes, ha="center",
            fontsize=SMALL, color=MUTED,
        )  # fmt: skip
        return
    kl = np.sort(summary.kl)[::-1]
    _dimension_bars(axes, kl, [BLUE if value > ACTIVE else GREY for value in kl])
    _say(axes, f"{summary.active} of {len(kl)} active, {kl.sum():.1f} nats in all")


LOOKS: dict[str, tuple[str, str, Any]] = {
    "": (COLOURS[0], "o", "-"),
    "_pca": (COLOURS[1], "s", "--"),
    "_pixels": (COLOURS[3], "^", ":"),
}
"""The colour, the marker and the line of each space."""


def few_labels(study: Study) -> Figure:
    """Test accuracy of a linear probe against the number of labels: a panel a family."""
    found = {
        needs.panel_title(study, family): _representation(study, family)
        for family in study.families
        if _representation(study, family)
    }
    all_of_them = min(MOST, len(study.data.train))
    note = "share of test images; ± standard error"
    fig, grid = panels(
        len(found), "What few labels can read", note, side=4.2, ratio=0.7, sharey=True
    )
    for axes, (name, measures) in zip(grid, found.items(), strict=True):
        for space in LOOKS:
            _probe_line(axes, measures, space, all_of_them)
        axes.set_xscale("log")
        ticks = [n for n in FEW if n < all_of_them / 1.5] + [all_of_them]
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        style_axes(axes, name)
        axis_names(axes, x="labels", y="accuracy" if axes is grid[0] else "")
    handles = [Line2D([], [], color=c, marker=m, linestyle=s) for c, m, s in LOOKS.values()]
    names = ["codes", "as many principal\ncomponents", "pixels"]
    side_legend(fig, handles, names, "a probe of")
    return fig


def _probe_line(axes: Axes, measures: dict[str, Measure], space: str, most: int) -> None:
    colour, marker, line = LOOKS[space]
    points = {n: measures.get(f"probe_{n}{space}") for n in FEW if n < most}
    points[most] = measures.get(f"probe{space}")
    known = {n: measure for n, measure in points.items() if measure is not None}
    y = [measure.value for measure in known.values()]
    error = [measure.error or 0.0 for measure in known.values()]
    look: Any = {"color": colour, "marker": marker, "linestyle": line, "linewidth": 1.8}
    axes.errorbar(list(known), y, error, capsize=2, **look)


def _representation(study: Study, family: str) -> dict[str, Measure]:
    """What was measured of a family's chosen run; empty where that was not."""
    record = read(study.best(family))
    return measures_of(record).get("representation", {}) if record else {}


def evaluated(study: Study) -> str | None:
    """A run whose representation was measured."""
    if any(_representation(study, family) for family in study.families):
        return None
    return "no representation was measured: 'zspace evaluate RUN --sections representation' does"

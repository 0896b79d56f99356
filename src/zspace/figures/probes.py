"""The figure of what few labels can read from codes."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zspace.evaluate.evaluation import measures_of, read
from zspace.evaluate.measure import Measure
from zspace.evaluate.representation import FEW, MOST
from zspace.figures import needs
from zspace.figures.house import COLOURS, FAINT, axis_names, panels, plain, side_legend
from zspace.study import Study

LOOKS: dict[str, tuple[str, str, Any]] = {
    "": (COLOURS[0], "o", "-"),
    "_pca": (COLOURS[1], "s", "--"),
    "_pixels": (COLOURS[3], "^", ":"),
}
"""The colour, the marker and the line of each space."""


def few_labels(study: Study) -> Figure:
    """Test accuracy of a linear probe against the number of labels: a panel a family."""
    found = {
        needs.shown(study, family): _representation(study, family)
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
            _line(axes, measures, space, all_of_them)
        axes.set_xscale("log")
        ticks = [n for n in FEW if n < all_of_them / 1.5] + [all_of_them]
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        plain(axes, name)
        axis_names(axes, x="labels", y="accuracy" if axes is grid[0] else "")
    handles = [Line2D([], [], color=c, marker=m, linestyle=s) for c, m, s in LOOKS.values()]
    names = ["codes", "as many principal\ncomponents", "pixels"]
    side_legend(fig, handles, names, "a probe of")
    return fig


def _line(axes: Axes, measures: dict[str, Measure], space: str, most: int) -> None:
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

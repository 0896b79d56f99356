"""A figure of what a regularised code space means: the codes measured against N(0, I)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from zspace import explore
from zspace.explore import Summary
from zspace.explore.posterior import ACTIVE
from zspace.figures import needs
from zspace.figures.house import COLOURS, INK, MUTED, NORMAL, SMALL, axis_names, figure, plain
from zspace.study import Study

BLUE, GREY = COLOURS[0], "#a9aeb8"
COLUMNS = ("variance of main axes", "KS distance to N(0, 1)", "KL to N(0, 1), nats")


def posterior(study: Study) -> Figure:
    """Variances of the covariance's axes, KS distance and KL of each dimension; a row a family."""
    found = {
        name: explore.posterior_summary(study.best(name), study.data) for name in study.families
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
            plain(axes)
            axis_names(axes, y=label)
            axes.tick_params(labelleft=True)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.set_xlim(0.4, max(len(summary.mean), 6) + 0.6)
        line[0].set_title(
            needs.shown(study, name), loc="left", fontsize=NORMAL, color=INK, fontweight="bold"
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


def _bars(
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
    _bars(axes, summary.eigenvalues.clip(1e-4), bottom=1)
    _level(axes, 1)
    _say(axes, f"norm of mean {np.linalg.norm(summary.mean):.2f}")


def _distances(axes: Axes, summary: Summary) -> None:
    _bars(axes, np.sort(summary.ks)[::-1])
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
    _bars(axes, kl, [BLUE if value > ACTIVE else GREY for value in kl])
    _say(axes, f"{summary.active} of {len(kl)} active, {kl.sum():.1f} nats in all")

"""Figures of where codes lie: components, t-SNE, densities, the distance to the prior N(0, I), and
what few labels can read from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from zspace.analysis import latents, projections
from zspace.analysis.latents import ACTIVE, LINE, Codes, Summary
from zspace.analysis.measure import Measure
from zspace.analysis.numbers import number, percent
from zspace.analysis.representation import FEW, MOST, chance_alike, codes_alike
from zspace.report.facts import Family, Numbers, each, families, priors, short
from zspace.report.figures import needs, style
from zspace.report.figures.charts import bare, points, spread, strips
from zspace.report.figures.registry import figure
from zspace.runs.many import Study

MAPPED = 5000  # a map for every family: half of the test images, a quarter of the time
CIRCLE = 2.0
"""Radius of the circle that holds 1 - exp(-2) = 86% of N(0, I) on any plane."""


def shown_variance(study: Study) -> Numbers:
    """How much of the codes' variance a plane shows."""

    def share(family: Family) -> float | None:
        z = latents.codes(family.run, study.data).z
        return float(projections.principal(z, 2).share.sum()) if min(z.shape) > 2 else None

    found = each(families(study), share, percent)
    return {"Variance of the codes along the two components": found}


@figure("codes-pca", "Codes of unseen images", "codes", numbers=shown_variance)
def codes_pca(study: Study) -> Figure:
    """Scatter charts of codes on a plane, one for each family.

    Codes of test images; labels, where there are any, give the colours. A code of more than two
    dimensions is shown by its two principal components, and the rest is hidden; (0, 0) is where
    the code 0 lies. Where the prior is N(0, I), a circle holds 86% of it.
    """
    flat = {f.name: latents.plane(f.run, data=study.data) for f in families(study)}
    circled = [f for f in families(study) if f.compared and flat[f.name].axes != LINE]
    note = "circle: 86% of N(0, I) lie within" if circled else ""
    fig, grid = style.panels(len(flat), "Codes of test images", note)
    for axes, family in zip(grid, families(study), strict=True):
        found = flat[family.name]
        at = strips(np.subtract(found.points, found.origin), found.y)
        style.style_axes(axes, family.panel)
        points(axes, at, found.y, len(study.data.classes))
        if family not in circled:
            spread(axes, at)
        else:
            spread(axes, at, np.array([[-CIRCLE, -CIRCLE], [CIRCLE, CIRCLE]]))
            look: Any = {"fill": False, "color": style.INK, "linewidth": 1.2, "zorder": 5}
            axes.add_patch(Circle((0, 0), CIRCLE, **look))
        if found.axes == LINE:
            axes.set_yticks([])
            style.axis_names(axes, "code")
        else:
            what = "dimension" if family.run.model.latent == (2,) else "principal component"
            style.axis_names(axes, f"first {what}", "second" if axes is grid[0] else "")
    style.class_legend(fig, study.data.classes)
    return fig


def deviations(study: Study) -> Numbers:
    """How far codes spread along the direction in which they vary most."""

    def deviation(family: Family) -> float:
        z = latents.draws(family.run, study.data).z
        return float((z @ projections.principal(z, 1).directions[0]).std())

    shown = [family for family in families(study) if not family.traits.discrete]
    return {"Standard deviation of the codes along it": each(shown, deviation), **priors(shown)}


@figure("codes-kde", "Density of the codes", "why", needs.continuous, deviations)
def codes_kde(study: Study) -> Figure:
    """Density curves of the codes along one direction, one chart for each family.

    Density of draws of q(z|x), or of deterministic codes, along the direction in which they
    vary most. Where the prior is N(0, I), the grey hill is its density, the same in every
    direction.
    """
    shown = [family for family in families(study) if not family.traits.discrete]
    note = "along the first principal component of draws of q(z|x), or of codes; z = 0 at 0"
    fig, grid = style.panels(len(shown), "Density of the codes", note, ratio=0.85)
    for axes, family in zip(grid, shown, strict=True):
        codes = latents.draws(family.run, study.data)
        _densities(axes, codes, len(study.data.classes), hill=family.traits.standard)
        style.style_axes(axes, family.panel)
        style.axis_names(axes, "first component", "density" if axes is grid[0] else "")
    _density_key(fig, study.data.classes, hill=any(f.traits.standard for f in shown))
    return fig


def _densities(axes: Axes, codes: Codes, classes: int, *, hill: bool) -> None:
    """All codes in ink, each class in colour, N(0, 1) as a shadow; each has the area 1."""
    direction = projections.principal(codes.z, 1).directions[0]
    values = codes.z @ direction  # not centred: that the mean is not 0 is to be seen
    low, high = np.quantile(values, [0.001, 0.999])
    margin = max(0.2 * (high - low), 1e-3)
    low, high = low - margin, high + margin
    at = np.linspace(*((min(low, -3.5), max(high, 3.5)) if hill else (low, high)), 400)
    if hill:
        axes.fill_between(
            at, np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), color=style.FAINT, linewidth=0
        )
    if codes.y is not None and classes <= 10:
        for k in range(classes):
            density = projections.density(values[codes.y == k], at)
            axes.plot(at, density, color=style.COLOURS[k], linewidth=1.3)
    axes.plot(at, projections.density(values, at), color=style.INK, linewidth=2.4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _density_key(fig: Figure, classes: tuple[str, ...], *, hill: bool) -> None:
    many = range(len(classes) if len(classes) <= 10 else 0)
    handles: list[Any] = [Patch(color=style.FAINT)] if hill else []
    colours = [(style.INK, 2.4), *((style.COLOURS[k], 1.3) for k in many)]
    handles += [Line2D([], [], color=colour, linewidth=wide) for colour, wide in colours]
    names = ["N(0, 1)"] if hill else []
    names += ["all labels" if classes else "codes", *(short(classes[k]) for k in many)]
    style.side_legend(fig, handles, names)


def code_neighbours(study: Study) -> Numbers:
    """How often neighbours among codes have one label."""
    same = each(families(study), lambda f: codes_alike(f.run, study.data), percent)
    chance = percent(chance_alike(study.data))
    return {
        "Test codes whose nearest neighbour, in all dimensions, has their label": same,
        **({"By chance": chance} if same else {}),
    }


def maps_ahead(study: Study) -> Callable[[], object]:
    """The map of each family."""
    for family in families(study):
        latents.codes(family.run, study.data, MAPPED)
    return lambda: [latents.codes_map(f.run, study.data, MAPPED) for f in families(study)]


@figure(
    "codes-tsne", "A map of the codes", "codes", needs.test_images, code_neighbours,
    ahead=maps_ahead,
)  # fmt: skip
def codes_tsne(study: Study) -> Figure:
    """Scatter charts of codes mapped by t-SNE, one for each family.

    All dimensions of the code as t-SNE maps them: neighbours stay together; the size of a cluster
    and the distance between two clusters mean nothing. Nor do the gaps: t-SNE pulls neighbours
    together and pushes all else apart, so that it opens gaps where codes merely become thinner. A
    gap here is no empty place of the code space; the figures above show that space undistorted.
    """
    n = min(MAPPED, len(study.data.test))
    fig, grid = style.panels(len(families(study)), f"t-SNE of codes of {n:,} test images")
    for axes, family in zip(grid, families(study), strict=True):
        found = latents.codes_map(family.run, study.data, MAPPED)
        points(axes, found.points, found.y, len(study.data.classes))
        bare(axes, found.points, family.panel)
    style.class_legend(fig, study.data.classes)
    return fig


BLUE, GREY = style.COLOURS[0], "#a9aeb8"
COLUMNS = ("variance of main axes", "KS distance to N(0, 1)", "KL to N(0, 1), nats")


def summaries(study: Study) -> dict[str, Summary]:
    """The families whose codes can be compared with N(0, I), by the titles of their panels."""
    shown = [family for family in families(study) if family.compared]
    return {family.title: latents.posterior_summary(family.run, study.data) for family in shown}


def prior_distances(study: Study) -> Numbers:
    """How near codes are to N(0, I), and how many dimensions say something."""
    found = summaries(study)
    carrying = {title: (one, one.kl) for title, one in found.items() if one.kl is not None}
    return {
        "Kolmogorov–Smirnov distance to N(0, 1), mean over dimensions": {
            **{title: number(float(one.ks.mean())) for title, one in found.items()},
            "95% of true samples stay below": number(next(iter(found.values())).critical),
        },
        f"Dimensions that carry more than {ACTIVE} nats": {
            title: f"{one.active} of {len(one.mean)}" for title, (one, _) in carrying.items()
        },
        "Nats that all dimensions carry together": {
            title: number(float(kl.sum())) for title, (_, kl) in carrying.items()
        },
    }


@figure("posterior", "The distance to the prior", "why", needs.standard_prior, prior_distances)
def posterior(study: Study) -> Figure:
    """Bar charts of how the codes differ from the standard normal distribution, by dimension.

    The codes of all test images together, against the prior N(0, I): variances along the
    principal directions; the distance of each dimension's distribution to N(0, 1), where 0 is a
    perfect fit; and, where a code has a distribution q(z|x), what each dimension costs in nats.
    """
    shown, found = [f for f in families(study) if f.compared], summaries(study)
    note = (
        "Of draws of q(z|x) for test images (of the codes where there is no q); dimensions sorted "
        "in each panel.\nDashed: the variance of N(0, I), and the KS distance that 95% of true "
        f"samples stay below. Active: a KL above {ACTIVE} nats."
    )
    if any(len(summary.eigenvalues) < len(summary.mean) for summary in found.values()):
        note += "\nThere are more dimensions than images, which tell of fewer axes than images."
    fig = style.blank(10, 2.3 * len(found) + 1.1, "Codes of test images against N(0, I)", note)
    grid = fig.subplots(len(found), 3, squeeze=False, sharey="col")
    for line, family in zip(grid, shown, strict=True):
        summary = found[family.title]
        for axes, label in zip(line, COLUMNS, strict=True):
            style.style_axes(axes)
            style.axis_names(axes, "dimension, sorted" if line is grid[-1] else "", label)
            axes.tick_params(labelleft=True)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.set_xlim(0.4, max(len(summary.mean), 6) + 0.6)
        bold: Any = {"fontsize": style.NORMAL, "color": style.INK, "fontweight": "bold"}
        line[0].set_title(family.panel, loc="left", **bold)
        _variances(line[0], summary)
        _distances(line[1], summary)
        _divergences(line[2], summary)
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
    axes.axhline(y, color=style.INK, linewidth=1.2, linestyle="--")


def _say(axes: Axes, text: str) -> None:
    """Numbers in the upper right corner, above the bars."""
    place: Any = {"transform": axes.transAxes, "ha": "right", "va": "top"}
    axes.text(1, 0.98, text, fontsize=style.SMALL, color=style.INK, **place)
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
        place: Any = {"transform": axes.transAxes, "ha": "center", "fontsize": style.SMALL}
        axes.text(0.5, 0.5, "no q(z|x), so no KL", color=style.MUTED, **place)
        return
    kl = np.sort(summary.kl)[::-1]
    _dimension_bars(axes, kl, [BLUE if value > ACTIVE else GREY for value in kl])
    _say(axes, f"{summary.active} of {len(kl)} active, {kl.sum():.1f} nats in all")


LOOKS: dict[str, tuple[str, str, Any]] = {
    "": (style.COLOURS[0], "o", "-"),
    "_pca": (style.COLOURS[1], "s", "--"),
    "_pixels": (style.COLOURS[3], "^", ":"),
}
"""The colour, the marker and the line of each space."""


def hundred_labels(study: Study) -> Numbers:
    """What 100 labels give."""
    found = {family.title: needs.measured(family) for family in families(study)}
    known = {title: of for title, of in found.items() if "probe_100" in of}
    return {
        f"Accuracy with 100 labels, from {what}": {
            title: percent(of[f"probe_100{space}"].value) for title, of in known.items()
        }
        for what, space in (("codes", ""), ("pixels", "_pixels"))
    }


@figure("few-labels", "What few labels can read", "codes", needs.representation, hundred_labels)
def few_labels(study: Study) -> Figure:
    """Line charts of accuracy against the number of labels, one for each family.

    The share of test images that a linear classifier labels correctly, by the number of labels
    it was given: what little supervision can read from a code that was learned without labels.
    """
    shown = [family for family in families(study) if needs.measured(family)]
    all_of_them = min(MOST, len(study.data.train))
    note, title = "share of test images; ± standard error", "What few labels can read"
    fig, grid = style.panels(len(shown), title, note, side=4.2, ratio=0.7, sharey=True)
    for axes, family in zip(grid, shown, strict=True):
        for space in LOOKS:
            _probe_line(axes, needs.measured(family), space, all_of_them)
        axes.set_xscale("log")
        ticks = [n for n in FEW if n < all_of_them / 1.5] + [all_of_them]
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.grid(axis="y", color=style.FAINT, linewidth=0.6)
        style.style_axes(axes, family.panel)
        style.axis_names(axes, x="labels", y="accuracy" if axes is grid[0] else "")
    handles = [Line2D([], [], color=c, marker=m, linestyle=s) for c, m, s in LOOKS.values()]
    names = ["codes", "as many principal\ncomponents", "pixels"]
    style.side_legend(fig, handles, names, "a probe of")
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

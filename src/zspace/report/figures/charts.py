"""Figures of training: curves of every term and of quality, and an animation of the codes.

Also the parts that other charts are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from zspace.analysis.numbers import number
from zspace.data.kinds.image import QUALITY
from zspace.data.spec import Fact
from zspace.report.facts import Family, Numbers, families, means, panel
from zspace.report.figures import needs, style
from zspace.report.figures.registry import figure
from zspace.runs import many
from zspace.runs.many import Moments, Study
from zspace.runs.run import Run

MANY, ACROSS = 12, 4
MOMENTS, FEWEST = 14, 4
"""Frames of an animation of at most three panels; of more panels fewer, but so many at least."""
LINES: Any = {"validation": ("-", 1.8), "train": ("--", 1.0)}
"""How the lines of a split look."""


def term_names(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Every term of a training, those last that validation lacks."""
    return list({**metrics[-1]["validation"], **metrics[-1]["train"]})


def term_title(name: str, fact: Fact) -> str:
    """A term in words, and by its name in tables where that is another."""
    return fact.title if fact.title == name else f"{fact.title} ({name})"


def quality_title(name: str) -> str:
    """A measure, its unit, and which way is better."""
    fact = QUALITY.get(name, Fact(name, better="neither"))
    unit = f" in {fact.unit}" if fact.unit else ""
    better = {"low": ", lower is better", "high": ", higher is better", "neither": ""}
    return f"{fact.title}{unit}{better[fact.better]}"


def epochs_axis(axes: Axes) -> None:
    """Whole epochs along the x axis."""
    style.axis_names(axes, "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))


def settled(epochs: int) -> int:
    """How many epochs are left out of the height of a panel: they would flatten all that follows.

    The first, whose mean is over untrained weights, and the first thirtieth of a long training.
    """
    return max(1, round(epochs / 30))


def after_the_first(axes: Axes, values: Sequence[float]) -> None:
    """Limit the y axis to the values of settled epochs."""
    if len(values) > 8 and max(values) > min(values):
        margin = 0.05 * (max(values) - min(values))
        axes.set_ylim(min(values) - margin, max(values) + margin)


def draw_lines(
    axes: Axes, lines: Sequence[dict[str, Any]], name: str, colour: Any, key: str = ""
) -> list[float]:
    """A number of each epoch, validation solid and train dashed; returns those of settled epochs.

    key: where a line of the metrics holds the splits, if not at its top.
    """
    epochs, later = [line["number"] for line in lines], []
    for split, (dash, width) in LINES.items():
        y = [(line[key] if key else line)[split].get(name, np.nan) for line in lines]
        marker = "o" if len(epochs) == 1 else ""
        axes.plot(epochs, y, dash, color=colour, linewidth=width, marker=marker)
        later += [value for value in y[settled(len(y)) :] if not np.isnan(value)]
    return later


def test_dot(axes: Axes, run: Run, value: float | None, colour: Any) -> list[float]:
    """A ring at the epoch whose weights are kept: the value on test, where it was measured."""
    if value is None:
        return []
    look: Any = {"marker": "o", "markersize": 6, "markerfacecolor": "none", "linestyle": ""}
    axes.plot([run.result["best_epoch"]], [value], color=colour, **look)
    return [value]


def lines_legend(
    at: Figure | Axes,
    names: Mapping[Any, str],
    colours: Mapping[Any, Any],
    *,
    rings: bool = False,
) -> None:
    """A legend of the two kinds of lines, of rings, if any, and of colours by name."""
    handles = [
        Line2D([], [], color=style.INK, linewidth=w, linestyle=s) for s, w in LINES.values()
    ]
    ring: Any = {"marker": "o", "markerfacecolor": "none", "linestyle": ""}
    handles += [Line2D([], [], color=style.INK, **ring)] if rings else []
    handles += [Line2D([], [], color=colours[key], linewidth=3) for key in names]
    said = [*LINES, *(["test"] if rings else []), *names.values()]
    style.side_legend(at, handles, said)


def points(axes: Axes, at: np.ndarray, y: np.ndarray | None, classes: int) -> None:
    """Points (N, 2), coloured by label y (N,), pale without one; no class lies above others."""
    size = float(np.clip(14_000 / max(1, len(at)), 2.5, 14))
    look: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    if y is None:
        axes.scatter(at[:, 0], at[:, 1], color=style.COLOURS[0], **look)
        return
    missing = y < 0
    axes.scatter(at[missing, 0], at[missing, 1], color=style.FAINT, **look)
    at, y = at[~missing], y[~missing]
    second = (y >= 10) & (classes <= style.LEGEND)
    for marker, chosen in zip(style.MARKERS, (~second, second), strict=True):
        if chosen.any():
            colours = style.class_colours(y[chosen], classes)
            axes.scatter(at[chosen, 0], at[chosen, 1], c=colours, marker=marker, **look)


def spread(axes: Axes, at: np.ndarray, also: np.ndarray | None = None) -> None:
    """Limits that hold all but a few of points (N, 2), and also others, of one scale."""
    low, high = np.quantile(at, [0.0005, 0.9995], axis=0)
    if also is not None:
        low, high = np.minimum(low, also.min(0)), np.maximum(high, also.max(0))
    middle, reach = (low + high) / 2, max(0.55 * (high - low).max(), 1e-6)
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    axes.set_aspect("equal", adjustable="box")


def strips(at: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Points (..., N, 2) of a one-dimensional code, whose second coordinate is 0, set apart in a
    strip for each label; other points as they are.
    """
    if at[..., 1].any():
        return at
    row = np.zeros(at.shape[-2]) if y is None else y
    within = np.random.RandomState(0).uniform(0.1, 0.9, len(row))
    height = np.ptp(at[..., 0]) / (row.max() + 1)
    return np.stack([at[..., 0], np.broadcast_to((row + within) * height, at.shape[:-1])], axis=-1)


def bare(axes: Axes, at: np.ndarray, title: str = "") -> None:
    """A map of points (N, 2) whose axes mean nothing: no ticks, no spines."""
    style.style_axes(axes, title)
    spread(axes, at)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])


def terms(study: Study) -> dict[str, list[Family]]:
    """Term -> the families that have it; the objective where it is more than one term."""
    found: dict[str, list[Family]] = {}
    for family in families(study):
        names = term_names(family.run.metrics)
        for name in names if len(names) > 2 else names[:1]:
            found.setdefault(name, []).append(family)
    return dict(sorted(found.items(), key=lambda item: item[0] == "objective"))


def curve_numbers(study: Study) -> Numbers:
    """The objective of the finished models."""
    return {
        f"Objective, {split}": means(families(study), split, "objective")
        for split in ("train", "validation")
    }


@figure("curves", "Training and validation", "learning", needs.epochs, curve_numbers)
def curves(study: Study) -> Figure:
    """Line charts against the epoch, one for each term of each family.

    Each term against the epoch, one colour per code size. Solid lines are validation, thin
    dashed lines training, and a ring is the value on test images, measured once, of the weights
    that are kept, at their epoch. A training value is a mean over an epoch in which weights still
    move; a validation value is measured after it. An error is that of a drawn code where the model
    has a q(z|x), else that of its one code. The numbers below are of the finished models at the
    chosen code size.
    """
    rows, all_of = terms(study), families(study)
    sizes = sorted({size for family in all_of for size in family.sizes})
    colours = dict(zip(sizes, style.shades(len(sizes)), strict=True))
    note = "sum over an image, mean over images; the first epochs may lie outside"
    places, across = arranged(rows, all_of)
    width = {1: 6.6, 2: 7.8}.get(across[1], 3.1 * across[1])
    fig = style.blank(width, 2.6 * across[0] + 0.8, "Training and validation", note)
    grid = fig.subplots(*across, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for name, having in rows.items():
        later: list[float] = []
        beside = [grid[places[family.name, name]] for family in having]
        for family, axes in zip(having, beside, strict=True):
            axes.set_axis_on()
            for size, runs in family.sizes.items():
                for run in runs:
                    later += draw_lines(axes, run.metrics, name, colours[size])
                    later += test_dot(axes, run, run.result["test"].get(name), colours[size])
            style.style_axes(axes, f"{family.title}: {term_title(name, family.fact(name))}")
            epochs_axis(axes)
        for axes in beside[1:]:
            axes.sharey(beside[0])
        after_the_first(beside[0], later)
    size_legend(fig, grid, sizes, colours)
    return fig


Place = tuple[int, int]


def arranged(
    rows: dict[str, list[Family]], all_of: list[Family]
) -> tuple[dict[tuple[str, str], Place], Place]:
    """The panel (row, column) of each family's each term, and how many of them there are.

    Few terms are lined up: two or three families side by side, more of them below each other. Of
    many terms each family has rows of its own, with no gaps.
    """
    if len(rows) > ACROSS:
        places, top = {}, 0
        for family in all_of:
            own = [name for name, having in rows.items() if family in having]
            for i, name in enumerate(own):
                places[family.name, name] = top + i // ACROSS, i % ACROSS
            top += -(-len(own) // ACROSS)
        return places, (top, ACROSS)
    beside = len(all_of) in (2, 3)
    places = {
        (family.name, name): (i, f) if beside else (f, i)
        for f, family in enumerate(all_of)
        for i, name in enumerate(rows)
    }
    return places, (len(rows), len(all_of)) if beside else (len(all_of), len(rows))


def size_legend(fig: Figure, grid: np.ndarray, sizes: list[int], colours: dict[int, Any]) -> None:
    """What colours and lines mean, in a free panel or else beside; some of many sizes."""
    places = np.arange(len(sizes))
    if len(sizes) > MANY:
        places = np.linspace(0, len(sizes) - 1, 6, dtype=int)
    few = {sizes[i]: f"code size {sizes[i]}" for i in places}
    free = [axes for axes in grid.ravel() if not axes.axison]
    lines_legend(free[0] if free else fig, few, colours, rings=True)


def quality_numbers(study: Study) -> Numbers:
    """What all test images' reconstructions measure."""
    cells = {f.title: many.quality_cells(f.sizes[f.chosen]) for f in families(study)}
    return {
        f"{fact.title} of all test images": {
            title: number(of[name].mean) for title, of in cells.items() if name in of
        }
        for name, fact in many.QUALITY.items()
    }


@figure(
    "quality",
    "Quality over training",
    "learning",
    needs.quality,
    quality_numbers,
    kinds=("image",),
)
def quality(study: Study) -> Figure:
    """Line charts of the measures of quality against the epoch, a row for each family.

    One colour per code size. Solid lines are validation images, thin dashed lines training images:
    at most 1,000 of each, the same after every epoch. A ring is the value on all test images,
    measured once, of the weights that are kept. Each image is encoded to its mean code and
    decoded.
    """
    shown = [family for family in families(study) if any(r.quality_epochs for r in family.runs)]
    lines = [line for family in shown for run in family.runs for line in run.quality_epochs]
    names = list(dict.fromkeys(name for line in lines for name in line["quality"]["validation"]))
    sizes = sorted({size for family in shown for size in family.sizes})
    colours = dict(zip(sizes, style.shades(len(sizes)), strict=True))
    note = "means over at most 1,000 images per split, encoded and decoded without a draw"
    fig = style.blank(3.2 * len(names), 2.5 * len(shown) + 0.8, "Quality of reconstructions", note)
    grid = fig.subplots(len(shown), len(names), squeeze=False, sharey="col")
    for row, family in zip(grid, shown, strict=True):
        for axes, name in zip(row, names, strict=True):
            for size, runs in family.sizes.items():
                for run in runs:
                    draw_lines(axes, run.quality_epochs, name, colours[size], "quality")
                    tested = run.result.get("quality", {}).get("test", {}).get(name)
                    test_dot(axes, run, tested, colours[size])
            style.style_axes(axes, f"{family.title}: {quality_title(name)}")
            axes.tick_params(labelleft=True)
            epochs_axis(axes)
    size_legend(fig, grid, sizes, colours)
    return fig


@figure("rate-distortion", "Rate and distortion", "kl", needs.several_weights)
def rate_distortion(study: Study) -> Figure:
    """Points, one for each family and code size: the KL to the prior across, the error upwards.

    Rate is the KL to the prior, what the code costs; distortion is the reconstruction error, both
    means over test images. A larger weight on the KL gives less of the first and more of the
    second. Large points are means over seeds, small ones single runs; a line joins one code size.
    Lower and further to the left is better at every weight (Alemi and others. Fixing a broken
    ELBO. 2018, arXiv 1711.00464).
    """
    rated = needs.rated(study)
    sizes = sorted({size for of in rated.values() for family in of for size in family.sizes})
    colours = dict(zip(sizes, style.shades(len(sizes)), strict=True))
    note = "test images; large points are means over seeds"
    fig, grid = style.panels(len(rated), "Rate and distortion", note, ratio=0.8)
    for axes, (error, having) in zip(grid, rated.items(), strict=True):
        weights = [family.kl_weight for family in having]
        own = len(set(weights)) == len(weights) and 0 not in weights
        for size in sizes:
            at = [(*_rate(f.sizes[size], error), f) for f in having if size in f.sizes]
            at.sort(key=lambda point: point[0].mean())
            middle = np.array([[rate.mean(), worth.mean()] for rate, worth, _ in at])
            axes.plot(*middle.T, "-o", color=colours[size], linewidth=1.2, markersize=6)
            for (rate, worth, family), place in zip(at, middle, strict=True):
                axes.plot(rate, worth, "o", color=colours[size], markersize=2.5, alpha=0.6)
                name = f"β = {family.kl_weight:g}" if own else family.title
                look: Any = {"fontsize": style.SMALL, "color": style.INK}
                axes.annotate(name, place, (5, 5), textcoords="offset points", **look)
        style.style_axes(axes, having[0].fact(error).title)
        style.axis_names(
            axes, "rate: KL to the prior, nats", f"distortion: {having[0].named(error)}"
        )
        axes.margins(0.16)
    if len(sizes) > 1:
        handles = [Line2D([], [], color=colours[size], marker="o") for size in sizes]
        style.side_legend(fig, handles, [str(size) for size in sizes], "code size")
    return fig


def _rate(runs: Sequence[Run], error: str) -> tuple[np.ndarray, np.ndarray]:
    """The KL and the error of each run on test images."""
    kl = runs[0].objective.of_role("divergence")[0]
    values = np.array([[run.result["test"][name] for run in runs] for name in (kl, error)])
    return values[0], values[1]


def half_way(values: Mapping[int, float]) -> int | None:
    """The first epoch at which half of the fall from the first to the best value is done.

    None where nothing fell.
    """
    start, best = next(iter(values.values())), min(values.values())
    if not best < start:
        return None
    return next(epoch for epoch, value in values.items() if value <= (start + best) / 2)


def training_numbers(study: Study) -> Numbers:
    """How far and how fast the validation objective fell."""
    falls = {
        f.title: {line["number"]: line["validation"]["objective"] for line in f.run.metrics}
        for f in families(study)
        if f.run.metrics
    }
    halves = {title: half_way(values) for title, values in falls.items()}
    return {
        "Validation objective after the first epoch": {
            title: number(next(iter(values.values()))) for title, values in falls.items()
        },
        "Its lowest value": {title: number(min(of.values())) for title, of in falls.items()},
        "Epoch by which it had fallen half of the way": {
            title: f"{half} of {len(falls[title])}" for title, half in halves.items() if half
        },
    }


@figure(
    "training",
    "While training",
    "learning",
    needs.snapshots,
    training_numbers,
    milliseconds=350,
    kinds=("image",),
)
def training(study: Study) -> list[Image.Image]:
    """An animation: a scatter of codes, and reconstructions, from epoch to epoch.

    Codes of the same test images, and reconstructions of some of them, as training goes on, for
    every code size whose training was watched. Moments lie closer together at the start, where
    most happens.
    """
    films = _films(study)
    columns = _columns(study, len(films))
    bands = -(-len(films) // columns)
    note = "above: codes of test images; below: test images and their reconstructions"
    wide = 3.3 if columns <= 3 else 10 / columns
    high = 1.4 * wide * bands + 0.6
    fig = style.blank(max(wide * columns, 4.6), high, "While training", note)
    grid = fig.subplots(2 * bands, columns, squeeze=False, height_ratios=[2.4, 1] * bands)
    for axes in grid.ravel():
        axes.set_axis_off()
    style.class_legend(fig, study.data.classes)
    frames, longest = [], max(len(film.epoch) for film in films.values())
    moments = max(FEWEST, 3 * MOMENTS // max(3, len(films)))  # as many pictures in all
    for step in np.unique(np.linspace(0, longest - 1, min(moments, longest)).round().astype(int)):
        for i, (title, film) in enumerate(films.items()):
            now, band, column = min(step, len(film.epoch) - 1), 2 * (i // columns), i % columns
            _moment(grid[band, column], film, now, title, len(study.data.classes))
            _pictures(grid[band + 1, column], film, now)
        frames.append(style.frame(fig))
    return frames


def _columns(study: Study, films: int) -> int:
    """Panels beside each other: the code sizes of a family, or families where each has one."""
    sizes = max(len(family.sizes) for family in families(study))
    return min(films, sizes if sizes > 1 else 3)


def _films(study: Study) -> dict[str, Moments]:
    """The snapshots of each family at each code size that has some, by the title of its panel."""
    films = {}
    for family in families(study):
        for runs in family.sizes.values():
            film = many.read_moments(runs[0])
            if film is not None:
                name = panel(family, runs[0])
                films[name] = replace(film, points=strips(film.points, film.y))
    return films


def _moment(axes: Axes, film: Moments, step: int, title: str, classes: int) -> None:
    """Codes at one step; the limits are those of the last one, and of most codes before."""
    axes.clear()
    axes.set_axis_on()
    points(axes, film.points[step], film.y, classes)
    most = np.quantile(film.points, [0.02, 0.98], axis=1).reshape(-1, 2)
    spread(axes, film.points[-1], most)
    style.style_axes(axes, f"{title}: epoch {film.epoch[step]}")


def _pictures(axes: Axes, film: Moments, step: int) -> None:
    """Up to five images, and their reconstructions at one step."""
    axes.clear()
    few = np.linspace(0, len(film.x) - 1, min(5, len(film.x))).round().astype(int)
    axes.imshow(style.pixels(np.stack([film.x, film.reconstructions[step]])[:, few]))
    axes.set_axis_off()

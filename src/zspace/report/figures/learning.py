"""Figures of training: curves of every term, and an animation of codes and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from zspace.report.figures import needs
from zspace.report.figures.charts import (
    after_the_first,
    epochs_axis,
    points,
    settled,
    spread,
    strips,
    term_names,
    term_title,
)
from zspace.report.figures.style import (
    COLOURS,
    INK,
    class_legend,
    figure,
    frame,
    panels,
    pixels,
    shades,
    side_legend,
    style_axes,
    title_of,
)
from zspace.runs import many
from zspace.runs.many import Moments, Study
from zspace.runs.run import Run

MANY, ACROSS = 12, 4
SPLITS: Any = ("train", "--", 1.0), ("validation", "-", 1.8)
MEASURES = {
    "mse": "MSE, lower is better",
    "ssim": "SSIM, higher is better",
    "psnr": "PSNR in dB, higher is better",
}


def terms(study: Study) -> dict[str, list[str]]:
    """Term -> the families that have it; the objective where it is more than one term."""
    found: dict[str, list[str]] = {}
    for family in study.families:
        names = term_names(study.best(family).metrics)
        for name in names if len(names) > 2 else names[:1]:
            found.setdefault(name, []).append(family)
    return dict(sorted(found.items(), key=lambda item: item[0] == "objective"))


def curves(study: Study) -> Figure:
    """Each term against the epoch: a colour a code size, a panel for each term of each family."""
    rows, families = terms(study), list(study.families)
    sizes = sorted({size for family in families for size in study.families[family]})
    colours = dict(zip(sizes, shades(len(sizes)), strict=True))
    note = "sum over an image, mean over images; the first epochs may lie outside"
    places, shape = arranged(rows, families)
    width = {1: 6.6, 2: 7.8}.get(shape[1], 3.1 * shape[1])
    fig = figure(width, 2.6 * shape[0] + 0.8, "Training and validation", note)
    grid = fig.subplots(*shape, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for name, having in rows.items():
        _term({family: grid[places[family, name]] for family in having}, study, name, colours)
    _key(fig, grid, sizes, colours)
    return fig


def arranged(
    rows: dict[str, list[str]], families: list[str]
) -> tuple[dict[tuple[str, str], tuple[int, int]], tuple[int, int]]:
    """The panel (row, column) of each family's each term, and how many of them there are.

    Few terms are lined up: two or three families side by side, more of them below each other. Of
    many terms each family has rows of its own, with no gaps.
    """
    if len(rows) > ACROSS:
        places, top = {}, 0
        for family in families:
            own = [name for name, having in rows.items() if family in having]
            for i, name in enumerate(own):
                places[family, name] = top + i // ACROSS, i % ACROSS
            top += -(-len(own) // ACROSS)
        return places, (top, ACROSS)
    both = [(f, name) for f in range(len(families)) for name in range(len(rows))]
    names, beside = list(rows), len(families) in (2, 3)
    places = {(families[f], names[i]): (i, f) if beside else (f, i) for f, i in both}
    return places, (len(rows), len(families)) if beside else (len(families), len(rows))


def _term(panels: dict[str, Axes], study: Study, name: str, colours: dict[int, Any]) -> None:
    """One term of all families that have it, on axes of the same height."""
    values: list[float] = []
    first, *others = panels.values()
    for family, axes in panels.items():
        axes.set_axis_on()
        values += _lines(axes, study.families[family], name, colours)
        style_axes(axes, f"{title_of(family)}: {term_title(name)}")
        epochs_axis(axes)
    for axes in others:
        axes.sharey(first)
    after_the_first(first, values)


def _lines(
    axes: Axes, sizes: dict[int, list[Run]], term: str, colours: dict[int, Any]
) -> list[float]:
    """Validation solid, train dashed, a line a seed; returns the values after the first epochs."""
    values: list[float] = []
    for size, runs in sizes.items():
        for metrics in (run.metrics for run in runs):
            epochs = [line["number"] for line in metrics]
            for split, style, width in SPLITS:
                y = [line[split].get(term, np.nan) for line in metrics]
                marker = "o" if len(y) == 1 else ""
                axes.plot(epochs, y, style, color=colours[size], linewidth=width, marker=marker)
                values += [value for value in y[settled(len(y)) :] if not np.isnan(value)]
    return values


def _key(fig: Figure, grid: np.ndarray, sizes: list[int], colours: dict[int, Any]) -> None:
    """What colours and lines mean, in a free panel or else beside; some of many sizes."""
    places = np.arange(len(sizes))
    if len(sizes) > MANY:
        places = np.linspace(0, len(sizes) - 1, 6, dtype=int)
    few = {sizes[i]: f"code size {sizes[i]}" for i in places}
    free = [axes for axes in grid.ravel() if not axes.axison]
    _styles(free[0] if free else fig, few, colours)


def quality(study: Study) -> Figure:
    """MSE, SSIM and PSNR of reconstructions against the epoch: a colour a family, at its chosen
    code size, a line a seed.
    """
    shown = {name: study.families[name][study.chosen[name]] for name in study.families}
    shown = {name: runs for name, runs in shown.items() if runs[0].quality_epochs}
    lines = [line for runs in shown.values() for line in runs[0].quality_epochs]
    names = list(dict.fromkeys(name for line in lines for name in line["quality"]["validation"]))
    few = len(shown) <= len(COLOURS)
    colours = dict(zip(shown, COLOURS if few else shades(len(shown)), strict=False))
    note = "means over at most 1,000 images a split, encoded and decoded without a draw"
    fig, grid = panels(len(names), "How near reconstructions come", note, ratio=0.85)
    for axes, name in zip(grid, names, strict=True):
        for family, runs in shown.items():
            for run in runs:
                _measure(axes, run.quality_epochs, name, colours[family])
        style_axes(axes, MEASURES.get(name, name))
        epochs_axis(axes)
    titles = {name: needs.panel_title(study, name) for name in shown}
    _styles(fig, titles if len(shown) > 1 else {}, colours)
    return fig


def _measure(axes: Axes, lines: Sequence[dict[str, Any]], name: str, colour: Any) -> None:
    """One measure of one run: validation solid, train dashed."""
    epochs = [line["number"] for line in lines]
    marker = "o" if len(epochs) == 1 else ""
    for split, style, width in SPLITS:
        y = [line["quality"][split].get(name, np.nan) for line in lines]
        axes.plot(epochs, y, style, color=colour, linewidth=width, marker=marker)


def _styles(at: Figure | Axes, names: Mapping[Any, str], colours: Mapping[Any, Any]) -> None:
    """A legend of the two kinds of lines, and of colours by name."""
    handles = [Line2D([], [], color=INK, linewidth=w, linestyle=s) for _, s, w in SPLITS[::-1]]
    handles += [Line2D([], [], color=colours[key], linewidth=3) for key in names]
    side_legend(at, handles, [split for split, *_ in SPLITS[::-1]] + list(names.values()))


def training(study: Study) -> list[Image.Image]:
    """Codes of test images and fixed reconstructions, epoch by epoch; three families a row."""
    films = _films(study)
    columns, bands = min(3, len(films)), -(-len(films) // 3)
    note = "above: codes of test images; below: test images and their reconstructions"
    fig = figure(max(3.3 * columns, 4.6), 4.6 * bands + 0.6, "While training", note)
    grid = fig.subplots(2 * bands, columns, squeeze=False, height_ratios=[2.4, 1] * bands)
    for axes in grid.ravel():
        axes.set_axis_off()
    if study.data.classes:
        class_legend(fig, study.data.classes)
    frames = []
    for step in range(max(len(film.epoch) for film in films.values())):
        for i, (title, film) in enumerate(films.items()):
            now, band, column = min(step, len(film.epoch) - 1), 2 * (i // 3), i % 3
            _moment(grid[band, column], film, now, title, len(study.data.classes))
            _pictures(grid[band + 1, column], film, now)
        frames.append(frame(fig))
    return frames


def _films(study: Study) -> dict[str, Moments]:
    """The snapshots of each family that has some, by the title of its panel."""
    films = {}
    for family, run in needs.recorded(study).items():
        film = many.read_moments(run)
        assert film is not None
        points = strips(film.points, film.y)
        films[needs.panel_title(study, family, run)] = replace(film, points=points)
    return films


def _moment(axes: Axes, film: Moments, step: int, title: str, classes: int) -> None:
    """Codes at one step; the limits are those of the last one, and of most codes before."""
    axes.clear()
    axes.set_axis_on()
    points(axes, film.points[step], film.y, classes)
    most = np.quantile(film.points, [0.02, 0.98], axis=1).reshape(-1, 2)
    spread(axes, film.points[-1], most)
    style_axes(axes, f"{title}: epoch {film.epoch[step]}")


def _pictures(axes: Axes, film: Moments, step: int) -> None:
    """Up to five images, and their reconstructions at one step."""
    axes.clear()
    few = np.linspace(0, len(film.x) - 1, min(5, len(film.x))).round().astype(int)
    axes.imshow(pixels(np.stack([film.x, film.reconstructions[step]])[:, few]))
    axes.set_axis_off()

"""Figures of training: curves of every term, and an animation of codes and reconstructions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from zspace import explore
from zspace.explore import Moments
from zspace.figures import needs
from zspace.figures.basic import after_the_first, epochs_axis, points, spread, strips, term_title
from zspace.figures.house import (
    INK,
    class_legend,
    figure,
    frame,
    plain,
    shades,
    side_legend,
    title_of,
)
from zspace.figures.sheets import pixels
from zspace.runs import Run
from zspace.study import Study

MANY = 12


def terms(study: Study) -> dict[str, list[str]]:
    """Term -> the families that have it; the objective where it is more than one term."""
    found: dict[str, list[str]] = {}
    for family in study.families:
        names = list(study.best(family).metrics[0]["train"])
        for name in names if len(names) > 2 else names[:1]:
            found.setdefault(name, []).append(family)
    return dict(sorted(found.items(), key=lambda item: item[0] == "objective"))


def curves(study: Study) -> Figure:
    """Each term against the epoch: a colour a code size; two or three families stand side by
    side, more of them below each other.
    """
    rows, families = terms(study), list(study.families)
    sizes = sorted({size for family in families for size in study.families[family]})
    colours = dict(zip(sizes, shades(len(sizes)), strict=True))
    note = "sum over an image, mean over images; the first epoch may lie outside"
    beside = len(families) in (2, 3)
    shape = (len(rows), len(families)) if beside else (len(families), len(rows))
    width = {1: 6.6, 2: 7.8}.get(shape[1], 3.1 * shape[1])
    fig = figure(width, 2.6 * shape[0] + 0.8, "Training and validation", note)
    grid = fig.subplots(*shape, squeeze=False)
    by_term = grid if beside else grid.T
    for line, (name, having) in zip(by_term, rows.items(), strict=True):
        _term(dict(zip(families, line, strict=True)), study, name, having, colours)
    _key(fig, grid, sizes, colours)
    return fig


def _term(
    panels: dict[str, Axes], study: Study, name: str, having: list[str], colours: dict[int, Any]
) -> None:
    """One term of all families that have it, on axes of the same height."""
    values: list[float] = []
    for family, axes in panels.items():
        if family in having:
            values += _lines(axes, study.families[family], name, colours)
            plain(axes, f"{title_of(family)}: {term_title(name)}")
            epochs_axis(axes)
        else:
            axes.set_axis_off()
    for family in having[1:]:
        panels[family].sharey(panels[having[0]])
    after_the_first(panels[having[0]], values)


def _lines(
    axes: Axes, sizes: dict[int, list[Run]], term: str, colours: dict[int, Any]
) -> list[float]:
    """Validation solid, train dashed, a line a seed; returns all values after the first epoch."""
    values: list[float] = []
    for size, runs in sizes.items():
        for metrics in (run.metrics for run in runs):
            epochs = [line["number"] for line in metrics]
            for split, style, width in (("train", "--", 1.0), ("validation", "-", 1.8)):
                y = [line[split][term] for line in metrics]
                marker = "o" if len(y) == 1 else ""
                axes.plot(epochs, y, style, color=colours[size], linewidth=width, marker=marker)
                values += y[1:]
    return values


def _key(fig: Figure, grid: np.ndarray, sizes: list[int], colours: dict[int, Any]) -> None:
    """What colours and lines mean, in a free panel or else beside; some of many sizes."""
    places = np.arange(len(sizes))
    if len(sizes) > MANY:
        places = np.linspace(0, len(sizes) - 1, 6, dtype=int)
    few = [sizes[i] for i in places]
    styles = [
        Line2D([], [], color=INK, linewidth=1.8),
        Line2D([], [], color=INK, linewidth=1.0, linestyle="--"),
    ]
    handles = [Line2D([], [], color=colours[size], linewidth=3) for size in few]
    names = ["validation", "train", *(f"code size {size}" for size in few)]
    free = [axes for axes in grid.ravel() if not axes.axison]
    side_legend(free[0] if free else fig, [*styles, *handles], names)


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
        film = explore.moments(run)
        assert film is not None
        points = strips(film.points, film.y)
        films[needs.shown(study, family, run)] = replace(film, points=points)
    return films


def _moment(axes: Axes, film: Moments, step: int, title: str, classes: int) -> None:
    """Codes at one step; the limits are those of the last one, and of most codes before."""
    axes.clear()
    axes.set_axis_on()
    points(axes, film.points[step], film.y, classes)
    most = np.quantile(film.points, [0.02, 0.98], axis=1).reshape(-1, 2)
    spread(axes, film.points[-1], most)
    plain(axes, f"{title}: epoch {film.epoch[step]}")


def _pictures(axes: Axes, film: Moments, step: int) -> None:
    """Up to five images, and their reconstructions at one step."""
    axes.clear()
    few = np.linspace(0, len(film.x) - 1, min(5, len(film.x))).round().astype(int)
    axes.imshow(pixels(np.stack([film.x, film.reconstructions[step]])[:, few]))
    axes.set_axis_off()

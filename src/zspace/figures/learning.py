"""Figures of training: curves of every term, and an animation of codes and reconstructions."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from PIL import Image

from zspace import explore
from zspace.explore import Moments
from zspace.figures import needs
from zspace.figures.basic import after_the_first, epochs_axis, points, spread, term_title
from zspace.figures.house import (
    INK,
    MUTED,
    SMALL,
    axis_names,
    figure,
    frame,
    plain,
    shades,
    side_legend,
    title_of,
)
from zspace.figures.registry import drawing
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


@drawing("curves", "Training and validation curves")
def curves(study: Study) -> Figure:
    """Each term against the epoch: a column a family, a row a term, a colour a code size."""
    rows, families = terms(study), list(study.families)
    sizes = sorted({size for family in families for size in study.families[family]})
    colours = dict(zip(sizes, shades(len(sizes)), strict=True))
    note = "sum over an image, mean over images; the first epoch may lie outside"
    width = 3.1 * len(families) + (1.6 if len(families) > 1 else 3.0)
    fig = figure(width, 2.6 * len(rows) + 0.8, "Training and validation", note)
    grid = fig.subplots(len(rows), len(families), squeeze=False, sharex="col", sharey="row")
    for line, name in zip(grid, rows, strict=True):
        panel: list[float] = []
        for axes, family in zip(line, families, strict=True):
            if family not in rows[name]:
                axes.set_axis_off()
                continue
            panel += _lines(axes, study.families[family], name, colours)
            plain(axes, f"{title_of(family)}: {term_title(name)}")
            epochs_axis(axes)
            axes.tick_params(labelbottom=True, labelleft=True)
        after_the_first(next(a for a in line if a.axison), panel)
    _key(fig, sizes, colours)
    return fig


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
                axes.plot(
                    epochs, y, style, color=colours[size], linewidth=width, marker=marker
                )
                values += y[1:]
    return values


def _key(fig: Figure, sizes: list[int], colours: dict[int, Any]) -> None:
    """What colours and line styles mean; of many code sizes some stand for all."""
    few = sizes if len(sizes) <= MANY else [sizes[i] for i in np.linspace(0, len(sizes) - 1, 6, dtype=int)]
    styles = [
        Line2D([], [], color=INK, linewidth=1.8),
        Line2D([], [], color=INK, linewidth=1.0, linestyle="--"),
    ]
    handles = [Line2D([], [], color=colours[size], linewidth=3) for size in few]
    names = ["validation", "train", *(f"code size {size}" for size in few)]
    side_legend(fig, [*styles, *handles], names)


@drawing("training", "Codes and reconstructions while training", needs.snapshots, 350)
def training(study: Study) -> list[Image.Image]:
    """Codes of test images and fixed reconstructions, epoch by epoch."""
    runs = needs.recorded(study)
    kept = {family: explore.moments(run) for family, run in runs.items()}
    films = {family: film for family, film in kept.items() if film is not None}
    fig = figure(3.3 * len(films) + (1.2 if len(films) == 1 else 0), 5.4, "While training")
    grid = fig.subplots(2, len(films), squeeze=False, height_ratios=[2.5, 1])
    scenes = [
        _Scene(grid[:, i], film, needs.shown(study, family, runs[family]), len(study.data.classes))
        for i, (family, film) in enumerate(films.items())
    ]
    steps = max(len(film.epoch) for film in films.values())
    return [_frame(fig, scenes, step) for step in range(steps)]


def _frame(fig: Figure, scenes: list[_Scene], step: int) -> Image.Image:
    for scene in scenes:
        scene.show(step)
    return frame(fig)


class _Scene:
    """One family in the animation: codes above, images and reconstructions below."""

    def __init__(self, grid: np.ndarray, film: Moments, title: str, classes: int) -> None:
        self.film, self.codes, self.below, self.title = film, grid[0], grid[1], title
        points(self.codes, film.points[-1], film.y, classes)
        spread(self.codes, film.points.reshape(-1, 2))
        self.chosen = np.linspace(0, len(film.x) - 1, min(5, len(film.x))).round().astype(int)
        self.below.imshow(self._pair(0))
        self.below.set_axis_off()

    def _pair(self, step: int) -> np.ndarray:
        return pixels(np.stack([self.film.x, self.film.reconstructions[step]])[:, self.chosen])

    def show(self, step: int) -> None:
        """Move to a step; a film that is over shows its end."""
        ...

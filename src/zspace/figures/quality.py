"""Figures of what a model makes: errors, reconstructions, samples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zspace import explore
from zspace.figures import needs
from zspace.figures.basic import term_title
from zspace.figures.house import (
    FAINT,
    INK,
    NORMAL,
    axis_names,
    code_of,
    figure,
    panels,
    plain,
    shades,
    short,
    side_legend,
    title_of,
)
from zspace.figures.sheets import LETTER, image_grid, sheet
from zspace.runs import Run
from zspace.study import Study


def errors(study: Study, runs: list[Run]) -> np.ndarray:
    """The reconstruction error of each class of test images, a mean over runs: (classes,)."""
    y = study.data.test.labels()
    assert y is not None
    classes = len(study.data.classes)
    of_runs = [
        explore.per_class(
            explore.per_sample_terms(run, "test", study.data)[explore.error_name(run)],
            y.numpy(),
            classes,
        )
        for run in runs
    ]
    return np.mean(of_runs, axis=0)


def error_per_class(study: Study) -> Figure:
    """Bars: the error of each class of unseen images, a shade a code size, a panel a family."""
    families, classes = study.families, [short(name, 12) for name in study.data.classes]
    sizes = sorted({size for of_family in families.values() for size in of_family})
    most = max(map(len, families.values()))
    colours = dict(zip(sizes, shades(len(sizes)), strict=True))
    note = "mean over test images of the class; the bars of a class are the code sizes, in order"
    width = float(np.clip(0.16 * len(classes) * most + 2, 7, 10))
    height = 2.2 * len(families) + 0.9
    fig = figure(width, height, "Reconstruction error of each class", note)
    grid = fig.subplots(len(families), 1, squeeze=False, sharey=_alike(study))[:, 0]
    for axes, (family, of_family) in zip(grid, families.items(), strict=True):
        values = {size: errors(study, runs) for size, runs in of_family.items()}
        _bars(axes, values, most, colours)
        name = explore.error_name(study.best(family))
        plain(axes, title_of(family))
        axis_names(axes, y=term_title(name))
        axes.tick_params(axis="x", length=0)
        axes.set_xticks(range(len(classes)), classes, color=INK)
    if sum(len(name) + 1 for name in classes) > 9 * width:
        _turn(grid)
    handles = [Patch(color=colours[size]) for size in sizes]
    side_legend(fig, handles, [str(size) for size in sizes], "code size")
    return fig


def _turn(grid: np.ndarray) -> None:
    """Names that would run into each other stand aslant, below the last panel only."""
    for axes in grid:
        axes.tick_params(axis="x", labelbottom=axes is grid[-1])
    for name in grid[-1].get_xticklabels():
        name.set(rotation=40, ha="right", rotation_mode="anchor")


def _alike(study: Study) -> bool:
    """Whether all families measure the same error, so that one axis serves them."""
    return len({explore.error_name(study.best(family)) for family in study.families}) == 1


def _bars(axes: Axes, values: dict[int, np.ndarray], most: int, colours: dict) -> None:
    """Groups of bars, a group a class; bars are as wide as those of the family with most sizes."""
    wide = 0.84 / most
    for i, (size, of_class) in enumerate(values.items()):
        middles = np.arange(len(of_class)) + (i - (len(values) - 1) / 2) * wide
        axes.bar(middles, np.nan_to_num(of_class), 0.92 * wide, color=colours[size])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)


def test_error(run: Run) -> str:
    """The error over the whole test set, as it stands beside a row."""
    name = explore.error_name(run)
    value = run.result["test"][name]
    return f"{name} {value:.1f}" if abs(value) >= 10 else f"{name} {value:.2f}"


def reconstructions(study: Study) -> Figure:
    """Ten test images, and below them what each family makes of them at its chosen code size."""
    best = {name: study.best(name) for name in study.families}
    pairs = {name: explore.reconstructions(run, 10, study.data) for name, run in best.items()}
    first = next(iter(pairs.values()))
    rows = [first.x, *(pair.decoded for pair in pairs.values())]
    sizes = {name: code_of(run.model.latent).removeprefix("code ") for name, run in best.items()}
    left = ["test image", *(f"{title_of(name)}, {size}" for name, size in sizes.items())]
    right = ["", *(test_error(run) for run in best.values())]
    note = "right: the error over the whole test set"
    return image_grid(rows, left, "Unseen images and their reconstructions", note, right)


def reconstructions_by_size(study: Study) -> Figure:
    """The same test images; a block a family, a row a code size, the test error beside it."""
    families = study.families
    rows = [len(sizes) + 1 for sizes in families.values()]
    tile, note = 0.48, "right: the error over the whole test set"
    height, width = study.data.spec.shape[1:]
    high = tile * sum(rows) * height / width + 0.42 * len(rows) + 0.8
    fig = figure(tile * 10 + 36 * LETTER, high, "Reconstructions by code size", note)
    grid = fig.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (family, sizes) in zip(grid, families.items(), strict=True):
        runs = {size: seeds[0] for size, seeds in sizes.items()}
        pairs = [explore.reconstructions(run, 10, study.data) for run in runs.values()]
        x = np.stack([pairs[0].x, *(pair.decoded for pair in pairs)])
        left = ["test image", *(code_of(run.model.latent) for run in runs.values())]
        sheet(axes, x, left, ["", *(test_error(run) for run in runs.values())])
        axes.set_title(title_of(family), loc="left", fontsize=NORMAL, color=INK, fontweight="bold")
    return fig


def samples(study: Study) -> Figure:
    """Decoded draws z ~ N(0, I); for conditional models a row a label, the same z in a column."""
    best = {name: study.best(name) for name in study.families}
    told = study.data.classes or study.data.attributes
    labelled = bool(told) and any(run.model.context for run in best.values())
    rows = min(10, len(told)) if labelled else 6
    what = "label" if study.data.classes else "attribute"
    note = f"a row for each {what}, the same z down each column, where the model takes {what}s"
    height, width = study.data.spec.shape[1:]
    fig, grid = panels(
        len(best), "Decoded draws of N(0, I)", note if labelled else "",
        ratio=rows / 10 * height / width + 0.08,
    )  # fmt: skip
    for axes, (name, run) in zip(grid, best.items(), strict=True):
        x, names = explore.sample_rows(run, 10, rows=rows)
        sheet(axes, np.stack(x), [short(label, 12) for label in names] if any(names) else ())
        axes.set_title(needs.shown(study, name), loc="left", fontsize=NORMAL, color=INK)
    return fig

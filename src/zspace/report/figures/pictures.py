"""Figures of the data: what they look like, and a map of them.

Figures of what a model makes: errors, reconstructions, samples.

Figures of what a model did not expect, and where in an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zspace.analysis import latents, reconstruction, trained
from zspace.analysis.numbers import fixed
from zspace.analysis.reconstruction import Surprises, least_expected
from zspace.analysis.reconstruction import surprises as surprises_of
from zspace.report.figures import needs
from zspace.report.figures.charts import bare, points, run_title, term_title
from zspace.report.figures.style import (
    FAINT,
    INK,
    LETTER,
    NORMAL,
    STILL,
    STYLE,
    axis_names,
    class_legend,
    code_of,
    figure,
    image_grid,
    panels,
    save,
    shades,
    sheet,
    short,
    side_legend,
    style_axes,
    tighten,
    title_of,
)
from zspace.runs.many import Study
from zspace.runs.run import Run
from zspace.system import files
from zspace.system.errors import UserError


def data(study: Study) -> Figure:
    """Images drawn at random from the training set, a row a class where there are labels."""
    classes = study.data.classes
    x, of_row = trained.class_rows(study.data.train, len(classes))
    names = [classes[k] if not i or of_row[i - 1] != k else "" for i, k in enumerate(of_row)] or [
        ""
    ] * len(x)
    more = len(classes) - len(set(of_row))
    note = f"{more} further classes are not shown" if more > 0 else ""
    return image_grid(list(x), names, f"{short(study.data.name)}: training images", note)


def data_tsne(study: Study) -> Figure:
    """The t-SNE map of up to 10,000 raw training images by label."""
    found = latents.data_map(study.data)
    title = f"{short(study.data.name)}: t-SNE of {len(found.points):,} raw training images"
    fig = figure(7.6, 6.2, title)
    axes = fig.subplots()
    points(axes, found.points, found.y, len(study.data.classes))
    bare(axes, found.points)
    if found.y is not None:
        class_legend(fig, study.data.classes)
    return fig


def errors(study: Study, runs: list[Run]) -> np.ndarray:
    """The reconstruction error of each class of test images, a mean over runs: (classes,)."""
    y = study.data.test.labels()
    assert y is not None
    classes = len(study.data.classes)
    of_runs = [
        reconstruction.per_class(
            reconstruction.per_sample_terms(run, study.data)[run.error],
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
        name = study.best(family).error
        style_axes(axes, title_of(family))
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
    return len({study.best(family).error for family in study.families}) == 1


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
    name = run.error
    value = run.result["test"][name]
    return f"{name} {fixed(value, 1 if abs(value) >= 10 else 2)}"


def reconstructions(study: Study) -> Figure:
    """Ten test images, and below them what each family makes of them at its chosen code size."""
    best = {name: study.best(name) for name in study.families}
    pairs = {
        name: reconstruction.reconstructions(run, study.data, 10) for name, run in best.items()
    }
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
        pairs = [reconstruction.reconstructions(run, study.data, 10) for run in runs.values()]
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
        x, names = reconstruction.sample_rows(run, 10, rows=rows)
        sheet(axes, np.stack(x), [short(label, 12) for label in names] if any(names) else ())
        axes.set_title(needs.panel_title(study, name), loc="left", fontsize=NORMAL, color=INK)
    return fig


TILE, HEAD = 0.56, 0.55
ROWS = ["image", "decoded", "where"]


def surprises(study: Study) -> Figure:
    """The test images with the highest error under each family, with maps of where it lies."""
    found = {
        needs.panel_title(study, name): least_expected(study.best(name), study.data)
        for name in study.families
    }
    return heat_maps(found, "Unseen images that were expected least")


def heat_maps(found: Mapping[str, Surprises], title: str) -> Figure:
    """A panel for each name: images, what the model made of them, and the error pixel by pixel."""
    first = next(iter(found.values()))
    columns, (height, width) = first.x.shape[0], first.x.shape[-2:]
    high = (3 * TILE * height / width + HEAD) * len(found) + 0.7
    note = "above: the squared error. where: the difference at each pixel, black is none, "
    fig = figure(TILE * max(columns, 8) + 12 * LETTER, high, title, note + "yellow most")
    grid = fig.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (name, one) in zip(grid, found.items(), strict=True):
        colour = (len(one.x), 3, height, width)  # as the maps are, whatever the images are
        images = [_coloured(part, colour) for part in (one.x, one.decoded)]
        digits = 1 if one.error[-1] >= 1 else 3
        top = [f"{error:.{digits}f}" for error in one.error]
        sheet(axes, np.stack([*images, _heat(one.maps)]), ROWS, top=top)
        mean = f"{name}; the mean error of {one.images:,} images is {one.usual:.3g}"
        axes.set_title(mean, loc="left", fontsize=NORMAL, color=INK)
    return fig


def _coloured(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images (N, C, H, W) with three channels."""
    x = x if x.shape[1] in (1, 3) else x.mean(1, keepdims=True)
    return np.broadcast_to(x, shape)


def _heat(maps: np.ndarray) -> np.ndarray:
    """Maps (N, H, W) of squared errors as images (N, 3, H, W): brighter where they differ more.

    What is drawn is the root, the distance itself: squares leave a few pixels and black.
    """
    distance = np.sqrt(maps)
    scaled = distance / max(float(distance.max()), 1e-12)
    return matplotlib.colormaps["inferno"](scaled)[..., :3].transpose(0, 3, 1, 2)


def write_heat(run: Run, data: str | None, data_dir: Path | None, path: Path) -> Path:
    """Draw the images of a data set with the highest error, of all its splits, into a file.

    data: a name or a path; None: the run's own. Raises UserError for a suffix that is none of
    .png, .svg, .pdf, before anything is computed.
    """
    if path.suffix.lower() not in STILL:
        raise UserError(f"cannot write '{path}': it is a figure, use {' or '.join(STILL)}")
    source = run.data(data, data_dir=data_dir)
    found = surprises_of(run, *source.splits.values())
    with matplotlib.rc_context(STYLE):
        drawn = heat_maps({run_title(run): found}, f"{short(source.name)}: images expected least")
        fig = tighten(drawn)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return save(fig, path)

"""Figures of the data and of what a model makes: errors, reconstructions, samples, surprises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from zspace.analysis import latents, reconstruction, trained
from zspace.analysis.generation import COMPARED, prior_novelty
from zspace.analysis.numbers import number, percent
from zspace.analysis.reconstruction import Surprises, least_expected
from zspace.analysis.reconstruction import surprises as surprises_of
from zspace.analysis.representation import chance_alike, pixels_alike
from zspace.report import facts
from zspace.report.facts import Numbers, each, families, short
from zspace.report.figures import charts, needs, style
from zspace.report.figures.registry import figure
from zspace.runs.many import QUALITY, Study, test_quality
from zspace.runs.run import Run
from zspace.system.errors import UserError

MAPPED = 2000  # more take a page's time, and hide each other


def class_counts(study: Study) -> Numbers:
    """How many training images each class has."""
    y = study.data.train.labelled().labels()
    if y is None:
        return {}
    counts = np.bincount(y.numpy(), minlength=len(study.data.classes))
    ends = dict.fromkeys((f"{counts.min():,}", f"{counts.max():,}"))
    return {"Classes": f"{len(counts):,}", "Training images per class": " to ".join(ends)}


@figure("data", "A sample of the data", "data", numbers=class_counts, kinds=("image",))
def data(study: Study) -> Figure:
    """A sheet of training images, ten in a row.

    Training images drawn at random, class by class where there are labels."""
    classes = study.data.classes
    x, of_row = trained.class_rows(study.data.train, len(classes))
    names = [classes[k] if not i or of_row[i - 1] != k else "" for i, k in enumerate(of_row)]
    more = len(classes) - len(set(of_row))
    note = f"{more} further classes are not shown" if more > 0 else ""
    title = f"{short(study.data.name)}: training images"
    return style.image_grid(list(x), names or [""] * len(x), title, note)


def pixel_neighbours(study: Study) -> Numbers:
    """How often neighbours among raw images have one label."""
    same = pixels_alike(study.data)
    if same is None:
        return {}
    return {
        "Images whose nearest neighbour, by pixels, has their label": percent(same),
        "By chance": percent(chance_alike(study.data)),
    }


def map_ahead(study: Study) -> Callable[[], object]:
    """The map, which needs no model."""
    return lambda: latents.data_map(study.data, MAPPED)


@figure(
    "data-tsne", "A map of the raw images", "data", needs.training_images, pixel_neighbours,
    ahead=map_ahead, kinds=("image",),
)  # fmt: skip
def data_tsne(study: Study) -> Figure:
    """A scatter of points, one for each image.

    Each point is a raw image, one of at most 2,000. t-SNE keeps neighbours together; the size of a
    cluster and the distance between two clusters mean nothing. Labels, where there are any, give
    the colours only.
    """
    found = latents.data_map(study.data, MAPPED)
    title = f"{short(study.data.name)}: t-SNE of {len(found.points):,} raw training images"
    fig = style.blank(7.6, 6.2, title)
    axes = fig.subplots()
    charts.points(axes, found.points, found.y, len(study.data.classes))
    charts.bare(axes, found.points)
    style.class_legend(fig, study.data.classes)
    return fig


def test_error(family: facts.Family, run: Run) -> str:
    """The error over the whole test set, as it stands beside a row: that of mean codes, as the
    pictures are, where it was measured.
    """
    value = test_quality(run).get("mse_mean_code")
    if value is not None:
        return f"{QUALITY['mse_mean_code'].title} {number(value)}"
    value = run.result["test"].get(run.error)
    return "" if value is None else f"{family.named(run.error)} {number(value)}"


@figure(
    "reconstructions",
    "Unseen images, reconstructed",
    "copy",
    numbers=facts.errors,
    kinds=("image",),
)
def reconstructions(study: Study) -> Figure:
    """Rows of images: ten test images, and below them their reconstructions.

    The first row shows test images, which were neither trained on nor used to choose a model;
    below them is what each model makes of them at its chosen code size. An image is encoded to its
    mean code and decoded. The error on the right is over all test images, with their mean codes.
    """
    shown = families(study)
    pairs = [reconstruction.reconstructions(f.run, study.data, 10) for f in shown]
    rows = [pairs[0].x, *(pair.decoded for pair in pairs)]
    left = ["test image", *(f"{f.title}, {facts.shape(f.run)}" for f in shown)]
    right = ["", *(test_error(f, f.run) for f in shown)]
    note = "right: the error of mean codes over the whole test set"
    return style.image_grid(rows, left, "Unseen images and their reconstructions", note, right)


@figure(
    "reconstructions-by-size",
    "The same by code size",
    "size",
    needs.several_sizes,
    kinds=("image",),
)
def reconstructions_by_size(study: Study) -> Figure:
    """Rows of reconstructed images, one row per code size.

    The same test images, one row per code size, with the mean error of all test images, with
    their mean codes, on the right.
    """
    rows = [len(family.sizes) + 1 for family in families(study)]
    tile, note = 0.48, "right: the error of mean codes over the whole test set"
    height, width = study.data.spec.shape[1:]
    high = tile * sum(rows) * height / width + 0.42 * len(rows) + 0.8
    fig = style.blank(tile * 10 + 36 * style.LETTER, high, "Reconstructions by code size", note)
    grid = fig.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, family in zip(grid, families(study), strict=True):
        runs = [seeds[0] for seeds in family.sizes.values()]
        pairs = [reconstruction.reconstructions(run, study.data, 10) for run in runs]
        x = np.stack([pairs[0].x, *(pair.decoded for pair in pairs)])
        left = ["test image", *(facts.code_of(run.model.latent) for run in runs)]
        style.sheet(axes, x, left, ["", *(test_error(family, run) for run in runs)])
        axes.set_title(
            family.title, loc="left", fontsize=style.NORMAL, color=style.INK, fontweight="bold"
        )
    return fig


def multiples(study: Study) -> Numbers:
    """How far the highest error stands out."""
    found = {f.name: least_expected(f.run, study.data) for f in families(study)}
    highest = each(families(study), lambda f: found[f.name].error[0] / found[f.name].usual)
    return {"Highest error, in multiples of the mean": highest}


@figure(
    "surprises",
    "Images expected least, and where",
    "hard",
    numbers=multiples,
    kinds=("image",),
)
def surprises(study: Study) -> Figure:
    """For each family, rows of test images, their reconstructions, and maps of the difference.

    The test images with the highest squared error, their reconstructions, and the distance
    between the two at each pixel: where the model did not expect what it saw.
    """
    found = {f.panel: least_expected(f.run, study.data) for f in families(study)}
    return heat_maps(found, "Unseen images that were expected least")


TILE, HEAD = 0.56, 0.55
ROWS = ["image", "decoded", "where"]


def heat_maps(found: Mapping[str, Surprises], title: str) -> Figure:
    """A panel for each name: images, what the model made of them, and the error pixel by pixel."""
    first = next(iter(found.values()))
    columns, (height, width) = first.x.shape[0], first.x.shape[-2:]
    longest = min(LONGEST_ID, max(len(name) for one in found.values() for name in one.ids))
    foot = 0.2 if longest <= 6 else 0.1 + 0.05 * longest
    high = (3 * TILE * height / width + HEAD + foot) * len(found) + 0.7
    note = "above: squared error; below: id; where: difference at each pixel, black none, "
    fig = style.blank(
        TILE * max(columns, 8) + 12 * style.LETTER, high, title, note + "yellow most"
    )
    grid = fig.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (name, one) in zip(grid, found.items(), strict=True):
        colour = (len(one.x), 3, height, width)  # as the maps are, whatever the images are
        images = [_coloured(part, colour) for part in (one.x, one.decoded)]
        digits = 1 if one.error[-1] >= 1 else 3
        top = [f"{error:.{digits}f}" for error in one.error]
        style.sheet(axes, np.stack([*images, _heat(one.maps)]), ROWS, top=top)
        _ids(axes, one.ids)
        mean = f"{name}; the mean error of {one.images:,} images is {one.usual:.3g}"
        axes.set_title(mean, loc="left", fontsize=style.NORMAL, color=style.INK)
    return fig


LONGEST_ID = 24


def _ids(axes: Axes, ids: Sequence[str]) -> None:
    """What each column is called, below it; the ends of long names, which differ."""
    left, right = axes.get_xlim()
    low = axes.get_ylim()[0]
    across = left + (np.arange(len(ids)) + 0.5) * (right - left) / len(ids)
    names = [name if len(name) <= LONGEST_ID else f"…{name[1 - LONGEST_ID :]}" for name in ids]
    upright = max(map(len, names)) <= 6
    turn = (
        {"ha": "center"} if upright else {"ha": "right", "rotation": 40, "rotation_mode": "anchor"}
    )
    for x, name in zip(across, names, strict=True):
        axes.text(x, low, name, va="top", fontsize=style.SMALL, color=style.INK, **turn)


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


def write_heat(run: Run, data: Any, data_dir: Path | None, path: Path) -> Path:
    """Draw the images of a data set with the highest error, of all its splits, into a file.

    data: a name or a path; None: the run's own. Raises UserError for a suffix that is none of
    .png, .svg, .pdf, before anything is computed.
    """
    if path.suffix.lower() not in style.STILL:
        raise UserError(f"cannot write '{path}': it is a figure, use {' or '.join(style.STILL)}")
    source = run.data(data, data_dir=data_dir)
    found = surprises_of(run, *source.splits.values())
    with matplotlib.rc_context(style.STYLE):
        name = families(Study(run.path, [run]))[0].panel
        fig = style.tighten(
            heat_maps({name: found}, f"{short(source.name)}: images expected least")
        )
    return style.save(fig, path)


def class_numbers(study: Study) -> Numbers:
    """Which classes are hard, and whether they are those that vary most."""
    shown, variety = needs.with_errors(study), reconstruction.variety(study.data)
    of = {f.name: reconstruction.class_errors(f.run, f.run.error, study.data) for f in shown}
    numbers: dict[str, dict[str, str]] = {"Hardest class": {}, "Easiest class": {}}
    for family in shown:
        errors = of[family.name]
        for title, end in zip(numbers, (max, min), strict=True):
            name = end(errors, key=errors.__getitem__)
            numbers[title][family.title] = f"{name} ({number(errors[name])})"
    many = [f for f in shown if len(of[f.name]) > 3]
    title = "Rank correlation of a class's error with its images' distance to their mean"
    return {
        **numbers,
        title: each(many, lambda f: reconstruction.rank_correlation(of[f.name], variety)),
    }


@figure("error-per-class", "The error of each class", "hard", needs.class_errors, class_numbers)
def error_per_class(study: Study) -> Figure:
    """Bar charts of the error of each class, one for each family.

    Reconstruction error of test images, a mean over each class. A drawn code is a draw of
    q(z|x); a model without one has its mean code alone. The bars of a class are the
    code sizes, in order. The numbers below are for the chosen size.
    """
    shown, names = needs.with_errors(study), [short(name, 12) for name in study.data.classes]
    sizes = sorted({size for family in shown for size in family.sizes})
    most = max(len(family.sizes) for family in shown)
    colours = dict(zip(sizes, style.shades(len(sizes)), strict=True))
    note = "mean over test images of the class; the bars of a class are the code sizes, in order"
    width = float(np.clip(0.16 * len(names) * most + 2, 7, 10))
    alike = len({family.run.error for family in shown}) == 1
    title = "Reconstruction error of each class"
    fig = style.blank(width, 2.2 * len(shown) + 0.9, title, note)
    grid = fig.subplots(len(shown), 1, squeeze=False, sharey=alike)[:, 0]
    for axes, family in zip(grid, shown, strict=True):
        _bars(axes, [_errors(study, runs) for runs in family.sizes.values()], most,
              [colours[size] for size in family.sizes])  # fmt: skip
        style.style_axes(axes, family.title)
        style.axis_names(axes, y=family.named(family.run.error))
        axes.tick_params(axis="x", length=0)
        axes.set_xticks(range(len(names)), names, color=style.INK)
    if sum(len(name) + 1 for name in names) > 9 * width:
        _turn(grid)
    handles = [Patch(color=colours[size]) for size in sizes]
    style.side_legend(fig, handles, [str(size) for size in sizes], "code size")
    return fig


def _errors(study: Study, runs: list[Run]) -> np.ndarray:
    """The reconstruction error of each class of test images, a mean over runs: (classes,)."""
    y = study.data.test.labels()
    assert y is not None
    terms = [reconstruction.per_sample_terms(run, study.data)[run.error] for run in runs]
    classes = len(study.data.classes)
    return np.mean([reconstruction.per_class(of, y.numpy(), classes) for of in terms], axis=0)


def _turn(grid: np.ndarray) -> None:
    """Names that would run into each other stand aslant, below the last panel only."""
    for axes in grid:
        axes.tick_params(axis="x", labelbottom=axes is grid[-1])
    for name in grid[-1].get_xticklabels():
        name.set(rotation=40, ha="right", rotation_mode="anchor")


def _bars(axes: Axes, values: list[np.ndarray], most: int, colours: list) -> None:
    """Groups of bars, a group a class; bars are as wide as those of the family with most sizes."""
    wide = 0.84 / most
    for i, (of_class, colour) in enumerate(zip(values, colours, strict=True)):
        middles = np.arange(len(of_class)) + (i - (len(values) - 1) / 2) * wide
        axes.bar(middles, np.nan_to_num(of_class), 0.92 * wide, color=colour)
    axes.grid(axis="y", color=style.FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)


def sample_numbers(study: Study) -> Numbers:
    """How near samples come to real images, and whether they are what was asked for."""
    shown, data = families(study), study.data
    told = [family for family in shown if family.traits.conditional]
    return {
        **facts.priors(shown),
        f"Median distance of {min(COMPARED, len(data.test)):,} samples to the nearest training "
        "image, where that of test images is 1": each(shown, lambda f: prior_novelty(f.run, data)),
        "Read by a classifier as the class asked for": facts.asked(told, data),
        "Test images that it reads correctly": facts.asked(told, data, "judge_accuracy"),
    }


@figure(
    "samples", "Images from the prior alone", "invent", numbers=sample_numbers, kinds=("image",)
)
def samples(study: Study) -> Figure:
    """Rows of images decoded from random codes.

    No image went in: a code is drawn from the prior and decoded. A model that was told nothing of
    where codes should lie, such as an AE, was never asked to decode draws of N(0, I): these are
    shown beside its samples, which are drawn from a mixture of Gaussians fitted to its codes.
    Where rows are labelled, each asks for one class or attribute, with the same draw down each
    column.
    """
    told = study.data.classes or study.data.attributes
    labelled = bool(told) and any(family.traits.conditional for family in families(study))
    rows = min(10, len(told)) if labelled else 6
    what = "label" if study.data.classes else "attribute"
    note = f"one row per {what}, the same z down each column, where the model takes {what}s"
    height, width = study.data.spec.shape[1:]
    shown = [
        (family, sampler)
        for family in families(study)
        for sampler in dict.fromkeys((family.run.sampler, "prior"))
    ]
    fig, grid = style.panels(
        len(shown), "Decoded random codes", note if labelled else "",
        ratio=rows / 10 * height / width + 0.08,
    )  # fmt: skip
    for axes, (family, sampler) in zip(grid, shown, strict=True):
        run = family.run
        x, names = reconstruction.sample_rows(run, 10, rows=rows, sampler=sampler)
        style.sheet(axes, np.stack(x), [short(label, 12) for label in names] if any(names) else ())
        where = run.mixture().title if sampler == "mixture" else run.traits.prior
        strange = ": noise to this model" if run.sampler != sampler else ""
        title = f"{family.panel}\nfrom {where}{strange}"
        axes.set_title(title, loc="left", fontsize=style.NORMAL, color=style.INK)
    return fig

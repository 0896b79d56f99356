"""Figures of decoded codes: planes of a 2-D code space, paths between images, variants of one."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from zspace.analysis import latents, planes, projections
from zspace.analysis.generation import COMPARED, half_way_novelty
from zspace.analysis.numbers import count, number, percent
from zspace.analysis.projections import Window
from zspace.analysis.representation import chance_alike, codes_alike
from zspace.report import facts
from zspace.report.facts import Numbers, each, families, short
from zspace.report.figures import needs, style
from zspace.report.figures.charts import points, spread
from zspace.report.figures.registry import figure
from zspace.runs.many import Study
from zspace.runs.run import Run

LINEAR = np.linspace(-3, 3, 15)


def draw_lattice(
    axes: Axes, run: Run, xs: np.ndarray, ys: np.ndarray, title: str, label: int | None = None
) -> None:
    """A decoded style.lattice of codes."""
    style.style_axes(axes, title)
    style.lattice(axes, planes.decoded_plane(run, xs, ys, label), xs, ys)


def title_of(study: Study, run: Run) -> str:
    """A run by its family and code size."""
    return next(facts.panel(family, run) for family in families(study) if run in family.runs)


def _plane(study: Study, *, conditional: bool = False, placed: bool = True) -> Run:
    run = needs.plane_of(study, conditional=conditional, placed=placed)
    assert run is not None
    return run


def codes_in_plane(study: Study) -> Numbers:
    """How many codes the plane holds."""
    z = latents.codes(_plane(study), study.data).z
    return {"Codes of test images within the right square": percent(planes.in_plane(z, 3.0))}


@figure("plane", "A decoded plane", "codes", needs.plain_plane, codes_in_plane, kinds=("image",))
def plane(study: Study) -> Figure:
    """Two square sheets of decoded images that change gradually across each sheet.

    Points of a two-dimensional code space, decoded. On the left they lie at quantiles of
    N(0, 1), so that each image stands for the same share of the prior; on the right they are
    evenly spaced.
    """
    run, even = _plane(study), planes.quantiles(len(LINEAR))
    fig = style.blank(9.6, 5.3, f"Decoded plane of codes: {title_of(study, run)}")
    left, right = fig.subplots(1, 2)
    draw_lattice(left, run, even, even, "each image the same mass of N(0, I)")
    draw_lattice(right, run, LINEAR, LINEAR, "evenly from -3 to 3")
    style.axis_names(left, "first dimension", "second dimension")
    style.axis_names(right, "first dimension")
    return fig


def told_neighbours(study: Study) -> Numbers:
    """How often neighbours among codes have one label, where the model is told it."""
    same = codes_alike(_plane(study, conditional=True), study.data)
    if same is None:
        return {}
    return {
        "Codes whose nearest neighbour has their label": percent(same),
        "By chance": percent(chance_alike(study.data)),
    }


@figure(
    "plane-by-label",
    "One plane per label",
    "label",
    needs.labelled_plane,
    told_neighbours,
    kinds=("image",),
)
def plane_by_label(study: Study) -> Figure:
    """A square sheet of decoded images for each label.

    The same codes decoded once for each label, at most ten of them: the label says what is
    shown, and the code is left to say how.
    """
    run = _plane(study, conditional=True)
    classes, even = run.spec.classes[:10], planes.quantiles(8)
    columns = min(5, len(classes))
    rows = -(-len(classes) // columns)
    note = f"every panel shows the same {len(even)} x {len(even)} codes, quantiles of N(0, 1)"
    title = f"Decoded planes, one per label: {title_of(study, run)}"
    fig = style.blank(2.1 * columns + 0.1, 2.3 * rows + 0.8, title, note)
    grid = fig.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    gap = 0 if run.spec.shape[0] == 1 else 1
    for k, (axes, name) in enumerate(zip(grid, classes, strict=False)):
        axes.imshow(style.pixels(planes.decoded_plane(run, even, even, k), gap=gap))
        axes.set_title(short(name), fontsize=10.5, color=style.INK, loc="left")
    return fig


@figure(
    "plane-labels",
    "Label after label",
    "label",
    needs.labelled_plane,
    milliseconds=700,
    kinds=("image",),
)
def plane_labels(study: Study) -> list[Image.Image]:
    """An animated square sheet of decoded images, one label after another.

    The same plane, one label after another, at most twenty. One place keeps its code while the
    label changes.
    """
    run, even, frames = _plane(study, conditional=True), planes.quantiles(13), []
    for k, name in enumerate(run.spec.classes[:20]):
        fig = style.blank(5.2, 5.4, f"{title_of(study, run)}: label {short(name)}")
        draw_lattice(fig.subplots(), run, even, even, "", k)
        frames.append(style.frame(fig))
    return frames


def _free_plane(study: Study) -> tuple[Run, latents.Plane, dict[str, Window]]:
    """The run, its codes, and a dense and a sparse window."""
    run = _plane(study, placed=False)
    found = latents.plane(run, data=study.data)
    dense, sparse = projections.windows(found.points)
    return run, found, {"A": dense, "B": sparse}


def returns(study: Study) -> Numbers:
    """How far codes of the two windows come back."""
    run, _, windows = _free_plane(study)
    far = zip(windows, planes.windows_return(run, study.data), strict=True)
    return {
        "Codes of test images in it": {name: f"{one.count:,}" for name, one in windows.items()},
        "Distance that a code moves when it is decoded and encoded again, in window widths": {
            name: number(moved) for name, moved in far
        },
    }


@figure(
    "holes",
    "Dense and empty parts of a plane",
    "why",
    needs.free_plane,
    returns,
    kinds=("image",),
)
def holes(study: Study) -> Figure:
    """A scatter of codes with two marked windows, and sheets of what they decode to.

    This model minimises a reconstruction error alone: no term says where codes should lie, and
    the decoder is trained only where codes of images lie. Codes are dense in window A; there are
    hardly any in window B.
    """
    run, found, windows = _free_plane(study)
    fig = style.blank(9.8, 5.6, f"Dense and empty parts: {title_of(study, run)}")
    grid = fig.subplot_mosaic([["codes", "A"], ["codes", "B"]], width_ratios=[2.1, 1])
    axes = grid["codes"]
    points(axes, found.points, found.y, len(study.data.classes))
    spread(axes, found.points)
    style.style_axes(axes, "codes of test images")
    for letter, window in windows.items():
        _mark(axes, letter, window, windows["B" if letter == "A" else "A"])
        title = f"{letter}: {window.count} of {len(found.points):,} codes in it"
        draw_lattice(grid[letter], run, *window.ticks(9), title)
    style.class_legend(fig, study.data.classes)
    return fig


def _mark(axes: Axes, letter: str, window: Window, other: Window) -> None:
    """Frame a window, its letter at the corner that is farthest from the other window."""
    low, high = np.array(window.low), np.array(window.high)
    axes.add_patch(Rectangle(window.low, *(high - low), fill=False, color=style.INK, linewidth=2))
    x, y = np.where(low >= other.low, high, low)
    dx, dy = np.where(low >= other.low, 9, -9)
    axes.annotate(
        letter, (x, y), (dx, dy), textcoords="offset points", fontsize=13,
        color=style.INK, fontweight="bold", ha="center", va="center", zorder=6,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5},
    )  # fmt: skip


def half_way_distances(study: Study) -> Numbers:
    """How near to real images the middle between two codes is decoded."""
    far = each(families(study), lambda f: half_way_novelty(f.run, study.data))
    pairs = count(min(COMPARED, len(study.data.test)), "random pair")
    title = "Median distance to the nearest training image, where that of test images is 1"
    return {f"{title}, half-way on the straight line of {pairs}": far}


@figure(
    "interpolation",
    "Between two images",
    "codes",
    needs.two_test_images,
    half_way_distances,
    kinds=("image",),
)
def interpolation(study: Study) -> Figure:
    """Rows of images that change from one test image into another.

    From one test image's code to another's, in a straight line and on an arc along which the
    distance from 0 changes evenly.
    """
    rows, left = [], []
    for family in families(study):
        walk = planes.walk(family.run, study.data)
        for way, decoded in (("straight", walk.straight), ("spherical", walk.spherical)):
            rows.append(np.concatenate([walk.x[:1], decoded, walk.x[1:]]))
            left.append(f"{family.title} {way}")
    note = "between the two test images: decoded codes; for conditional models labels mix likewise"
    top = ["image", "t = 0", *(f"{t:.1f}" for t in np.linspace(0, 1, 11)[1:]), "image"]
    return style.image_grid(rows, left, "Between two unseen images", note, top=top)


def varied(study: Study) -> Numbers:
    """Which directions are varied, and why those."""

    def why(family: facts.Family) -> str:
        if len(family.run.model.latent) > 1:
            z = latents.codes(family.run, study.data).z
            share = projections.principal(z, min(2, z.shape[1])).share.sum()
            return f"two principal directions, {percent(share)} of the variance"
        kl = latents.posterior_summary(family.run, study.data).kl
        names = " and ".join(planes.tweak(family.run, study.data).names)
        return f"{names}, largest {'variance' if kl is None else 'KL'}"

    return {"Directions": {family.title: why(family) for family in families(study)}}


@figure("tweak", "One code, varied", "codes", needs.test_images, varied, kinds=("image",))
def tweak(study: Study) -> Figure:
    """Square sheets of variants of one image, which is framed in the middle.

    One test image, framed, is encoded; then its code is moved along the two directions that
    tell most, by up to 2 standard deviations either way, and decoded.
    """
    title = "One unseen image, its code varied"
    note = "axes: standard deviations of the test set's codes; framed: the image's own code"
    fig, grid = style.panels(len(families(study)), title, note, ratio=1.08)
    for axes, family in zip(grid, families(study), strict=True):
        found = planes.tweak(family.run, study.data)
        style.style_axes(axes, family.panel)
        upwards = found.offsets if len(found.names) == 2 else np.zeros(1)
        style.lattice(axes, found.x, found.offsets, upwards)
        style.axis_names(axes, *found.names)
        _frame(axes, found)
    return fig


def _frame(axes: Axes, found: planes.Tweak) -> None:
    """Mark the image in the middle, which nothing was done to."""
    rows, columns = found.x.shape[:2]
    right, left = axes.get_xlim()[::-1]
    bottom, top = axes.get_ylim()
    width, height = (right - left) / columns, (bottom - top) / rows
    corner = left + columns // 2 * width, top + rows // 2 * height
    axes.add_patch(
        Rectangle(corner, width, height, fill=False, color=style.COLOURS[1], linewidth=2)
    )

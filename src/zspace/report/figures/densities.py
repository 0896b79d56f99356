"""Figures of distributions over codes, and of the surface of images that codes decode to."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from zspace.analysis import latents, projections
from zspace.analysis.numbers import number
from zspace.analysis.trained import subset
from zspace.report.facts import Family, Numbers, each, families
from zspace.report.figures import needs, style
from zspace.report.figures.charts import points, spread
from zspace.report.figures.decoded import title_of
from zspace.report.figures.registry import figure
from zspace.runs.many import Study
from zspace.runs.run import Run

CLOUDS, REACH, CELLS, LEVELS = 80, 3.2, 160, 12
"""Images whose q(z|x) is drawn; how far the maps reach; cells along a side of a map;
shades of it, few so that a file of it is small."""


def clouded(study: Study) -> list[Family]:
    """The families whose q(z|x) are drawn towards N(0, I) by a KL, of two dimensions or more."""
    return [
        family
        for family in families(study)
        if family.compared
        and family.kl_weight > 0
        and latents.posteriors(family.run, study.data) is not None
        and np.prod(family.run.model.latent) > 1
    ]


def clouds_needed(study: Study) -> str | None:
    """A VAE, say, of two dimensions or more."""
    text = "it needs a model with a Gaussian q(z|x) of two dimensions or more, and a KL to N(0, I)"
    return needs.test_images(study) if clouded(study) else text


def two_dimensions(study: Study, family: Family) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and deviations (N, 2) in the two dimensions of the largest KL, and which these are."""
    found = latents.posteriors(family.run, study.data)
    kl = latents.posterior_summary(family.run, study.data).kl
    assert found is not None
    assert kl is not None
    most = np.sort(np.argsort(-kl, kind="stable")[:2])
    return found[0][:, most], found[1][:, most], most


def widths(study: Study) -> Numbers:
    """How wide one cloud is, and how wide all of them are together."""

    def one(family: Family) -> float:
        return float(two_dimensions(study, family)[1].mean())

    def together(family: Family) -> float:
        mean, deviation, _ = two_dimensions(study, family)
        return float(np.sqrt(np.square(deviation).mean(0) + mean.var(0)).mean())

    shown = clouded(study)
    return {
        "Standard deviation of one q(z|x), mean over images": each(shown, one),
        "Of all of them together, where that of N(0, I) is 1": each(shown, together),
    }


@figure("aggregate", "Little Gaussians that add up", "kl", clouds_needed, widths)
def aggregate(study: Study) -> Figure:
    """For each family three panels: ellipses, a cloud that is their sum, and a round cloud.

    Left: the q(z|x) of some test images, each an ellipse of one standard deviation, coloured
    by label where there are labels. Middle: the mean of the densities of all of them, which is
    where a code may lie at all. Right: the prior N(0, I). The KL makes each ellipse a little
    like the prior. Where the sum and the prior differ, draws of the prior are codes that
    hardly an image has. Of a code of more dimensions the two with the largest KL are shown.
    """
    shown = clouded(study)
    title = "The q(z|x) of test images, their sum, and the prior"
    fig = style.blank(9.4, 3.2 * len(shown) + 0.7, title, "all panels have one scale")
    grid = fig.subplots(len(shown), 3, squeeze=False, sharex=True, sharey=True)
    for line, family in zip(grid, shown, strict=True):
        mean, deviation, dimensions = two_dimensions(study, family)
        _ellipses(line[0], study, mean, deviation)
        _density(line[1], mean, deviation)
        _density(line[2], np.zeros((1, 2)), np.ones((1, 2)))
        heads = (family.panel, f"mean of {len(mean):,} of them", "N(0, I)")
        for axes, head in zip(line, heads, strict=True):
            style.style_axes(axes, head)
            axes.set_xlim(-REACH, REACH)
            axes.set_ylim(-REACH, REACH)
            axes.set_aspect("equal", adjustable="box")
        style.axis_names(line[0], f"z[{dimensions[0]}]", f"z[{dimensions[1]}]")
    style.class_legend(fig, study.data.classes)
    return fig


def _ellipses(axes: Axes, study: Study, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Some q(z|x), evenly from all classes."""
    y = latents.labels(subset(study.data.test, latents.FEW))
    order = np.arange(len(mean)) if y is None else np.argsort(y, kind="stable")
    few = order[np.unique(np.linspace(0, len(order) - 1, CLOUDS).round().astype(int))]
    colours = [style.COLOURS[0]] * len(few)
    if y is not None:
        known = style.class_colours(y[few].clip(0), len(study.data.classes))
        colours = [c if k >= 0 else style.FAINT for c, k in zip(known, y[few], strict=True)]
    for i, colour in zip(few, colours, strict=True):
        look: Any = {"facecolor": (*to_rgb(colour), 0.25), "edgecolor": colour, "linewidth": 0.8}
        axes.add_patch(Ellipse(mean[i], *(2 * deviation[i]), **look))


def _density(axes: Axes, mean: np.ndarray, deviation: np.ndarray) -> None:
    """The mean of Gaussians on a grid, as one colour that is the less transparent the denser."""
    at = np.linspace(-REACH, REACH, CELLS)
    each_way = [
        np.exp(-0.5 * ((at[:, None] - mean[:, k]) / deviation[:, k]) ** 2) / deviation[:, k]
        for k in range(2)
    ]
    density = each_way[1] @ each_way[0].T / (2 * np.pi * len(mean))  # rows are the second one
    picture = np.ones((CELLS, CELLS, 4))
    picture[..., :3] = to_rgb(style.COLOURS[0])
    picture[..., 3] = np.round(np.clip(density * 2 * np.pi / 1.4, 0, 1) * LEVELS) / LEVELS
    extent = (-REACH, REACH, -REACH, REACH)
    axes.imshow(picture, origin="lower", extent=extent, interpolation="nearest")


LINES, STEPS, KEPT = 13, 49, 2000


def surfaces(study: Study) -> list[Run]:
    """Runs without labels whose codes have two dimensions: one of each family."""
    found = []
    for family in families(study):
        flat = [run for run in family.runs if run.model.latent == (2,)]
        plain = not (family.traits.conditional or family.traits.discrete)
        found += flat[:1] if plain else []
    return found


def surface_needed(study: Study) -> str | None:
    """A code that is a plane, and images that have distances."""
    if not study.data.spec.has_distances:
        return "it needs images without missing values"
    text = "it needs a run without labels whose codes have two dimensions (recipe vae, --latent 2)"
    return needs.test_images(study) if surfaces(study) else text


def reach(study: Study) -> Numbers:
    """How much of the way to the images the surface goes."""
    return {
        "Spread of decoded test images, where that of the images is 1": {
            title_of(study, run): number(_spread(study, run)) for run in surfaces(study)
        }
    }


def _spread(study: Study, run: Run) -> float:
    some = subset(study.data.test, KEPT)
    x = some.images()
    made = run.reconstructed(x.numpy()).reshape(len(x), -1)
    return float(np.sqrt(made.var(0).sum() / x.flatten(1).numpy().var(0).sum()))


@figure(
    "manifold", "The surface of decoded images", "codes", surface_needed, reach, kinds=("image",)
)
def manifold(study: Study) -> Figure:
    """A scatter of test images with a bent net of lines, one chart for each run.

    Each image is a point in a space with one axis for each pixel, seen here along the two
    directions in which test images vary most. The lines are a square grid of codes, decoded: a
    code of two dimensions can only reach a surface in that space, which the model has bent so that
    it passes near the images. What lies off the surface is lost when an image is encoded. Of a
    model whose codes are drawn towards N(0, I) the grid reaches to 2 in each dimension, else as
    far as its codes do.
    """
    shown = surfaces(study)
    test = subset(study.data.test, KEPT)
    x, y = test.images().flatten(1).numpy(), latents.labels(test)
    plane = projections.principal(x, 2)
    note = "axes: the two principal components of test images"
    fig, grid = style.panels(len(shown), "Decoded codes among test images", note, side=4.2)
    for axes, run in zip(grid, shown, strict=True):
        at = plane.project(x)
        points(axes, at, y, len(study.data.classes))
        for collection in axes.collections:
            collection.set_alpha(0.45)
        lines = [plane.project(way) for way in _net(study, run)]
        look: Any = {"colors": style.INK, "linewidths": 0.9, "zorder": 5}
        axes.add_collection(LineCollection(lines, **look))
        spread(axes, at)
        style.style_axes(axes, title_of(study, run))
    style.class_legend(fig, study.data.classes)
    return fig


def _net(study: Study, run: Run) -> list[np.ndarray]:
    """Decoded lines (STEPS, D) of a grid of codes, along and across."""
    low, high = np.full(2, -2.0), np.full(2, 2.0)
    if not (run.traits.standard and run.traits.placed):
        low, high = np.quantile(latents.codes(run, study.data).z, [0.02, 0.98], axis=0)
    ways = []
    for k in range(2):
        z = np.empty((LINES, STEPS, 2), np.float32)
        z[..., k] = np.linspace(low[k], high[k], LINES)[:, None]
        z[..., 1 - k] = np.linspace(low[1 - k], high[1 - k], STEPS)
        ways.append(z)
    codes = np.concatenate(ways)
    decoded = run.decoded(codes.reshape(-1, 2)).reshape(len(codes), STEPS, -1)
    return list(decoded)

"""The plainest figures: curves of one run, points of a plane, and what a training leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zspace.analysis import latents, reconstruction
from zspace.report.figures.style import (
    COLOURS,
    LEGEND,
    MARKERS,
    SMALL,
    axis_names,
    class_colours,
    class_legend,
    code_of,
    figure,
    image_grid,
    panels,
    save,
    style_axes,
    title_of,
)
from zspace.runs.run import Run

SPLITS = ("train", "validation")
TERMS = {
    "mse": "squared error (mse)",
    "bce": "cross-entropy (bce)",
    "nll": "-log p(x|z) (nll)",
    "kl": "KL to the prior (kl)",
    "iwae": "K-sample bound (iwae)",
    "perceptual": "perceptual distance (perceptual)",
    "generator_loss": "adversarial term (generator_loss)",
    "generator_loss_weight": "weight of generator_loss",
    "discriminator_loss": "discriminator's loss (discriminator_loss)",
    "objective": "objective (weighted sum)",
}


def term_title(name: str) -> str:
    """A term in words, and by its name in tables."""
    return TERMS.get(name, name)


def term_names(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Every term of a training, those last that validation lacks."""
    return list({**metrics[-1]["validation"], **metrics[-1]["train"]})


def run_title(run: Run) -> str:
    """A run by its recipe and code size."""
    return f"{title_of(run.config.recipe.replace('_', '-'))}, {code_of(run.model.latent)}"


def epochs_axis(axes: Axes) -> None:
    """Whole epochs along the x axis."""
    axis_names(axes, "epoch")
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


def curves(metrics: Sequence[dict[str, Any]], title: str) -> Figure:
    """A panel for each term: its mean on train and validation against the epoch."""
    names = [name for name in term_names(metrics) if name != "objective"]
    fig, grid = panels(len(names), title, "sum over an image, mean over images", ratio=0.8)
    epochs = [line["number"] for line in metrics]
    marker = "o" if len(epochs) == 1 else ""
    for axes, name in zip(grid, names, strict=True):
        for split, colour in zip(SPLITS, (COLOURS[0], COLOURS[6]), strict=True):
            values = [line[split].get(name, np.nan) for line in metrics]
            if not np.isnan(values).all():
                axes.plot(epochs, values, color=colour, label=split, marker=marker)
        style_axes(axes, term_title(name))
        later = [line[split] for line in metrics[settled(len(metrics)) :] for split in SPLITS]
        after_the_first(axes, [terms[name] for terms in later if name in terms])
        epochs_axis(axes)
        axes.legend(frameon=False, fontsize=SMALL)
    return fig


def points(axes: Axes, at: np.ndarray, y: np.ndarray | None, classes: int) -> None:
    """Points (N, 2), coloured by label y (N,); no class lies on top of the others."""
    size = float(np.clip(14_000 / max(1, len(at)), 2.5, 14))
    look: dict[str, Any] = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": True}
    if y is None:
        axes.scatter(at[:, 0], at[:, 1], color=COLOURS[0], **look)
        return
    second = (y >= 10) & (classes <= LEGEND)
    for marker, chosen in zip(MARKERS, (~second, second), strict=True):
        if chosen.any():
            colours = class_colours(y[chosen], classes)
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
    style_axes(axes, title)
    spread(axes, at)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])


def scatter(
    points_at: np.ndarray, y: np.ndarray | None, classes: Sequence[str], title: str
) -> Figure:
    """Points (N, 2), coloured by label y (N,) if there is one."""
    fig = figure(6.4, 5.2, title)
    axes = fig.subplots()
    points(axes, points_at, y, len(classes))
    style_axes(axes)
    axes.set_aspect("equal", adjustable="datalim")
    if y is not None:
        class_legend(fig, classes)
    return fig


def overview(run: Run) -> list[Path]:
    """Draw a run's pictures into its folder: reconstructions, samples, codes, curves."""
    folder, name = run.path / "figures", run.config.name
    folder.mkdir(exist_ok=True)
    data = run.data()
    pairs, plane = reconstruction.reconstructions(run, data, 12), latents.plane(run, data=data)
    titles = ["test image", "decoded"]
    rows, labels = reconstruction.sample_rows(run, 12)
    drawn = {
        "reconstructions": image_grid([pairs.x, pairs.decoded], titles, f"{name}: unseen images"),
        "samples": image_grid(rows, labels, f"{name}: decoded draws of N(0, I)"),
        "codes": scatter(
            plane.points, plane.y, run.spec.classes, f"{name}: {plane.axes}, test set"
        ),
        "curves": curves(run.metrics, f"{name}: training"),
    }
    return [save(fig, folder / f"{key}.png") for key, fig in drawn.items()]

"""Figures of what a model did not expect, and where in an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from zspace import explore, files
from zspace.errors import UserError
from zspace.evaluate.where import Surprises, least_expected
from zspace.evaluate.where import surprises as surprises_of
from zspace.figures import needs
from zspace.figures.basic import run_title
from zspace.figures.house import INK, NORMAL, STILL, STYLE, figure, save, short, tighten
from zspace.figures.sheets import LETTER, sheet
from zspace.runs import Run
from zspace.study import Study

TILE, HEAD = 0.56, 0.55
ROWS = ["image", "decoded", "where"]


def surprises(study: Study) -> Figure:
    """The test images with the highest error under each family, with maps of where it lies."""
    found = {
        needs.shown(study, name): least_expected(study.best(name), study.data)
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
    source = explore.open_data(run, data, data_dir)
    found = surprises_of(run, source.train, source.validation, source.test)
    with matplotlib.rc_context(STYLE):
        drawn = heat_maps({run_title(run): found}, f"{short(source.name)}: images expected least")
        fig = tighten(drawn)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return save(fig, path)

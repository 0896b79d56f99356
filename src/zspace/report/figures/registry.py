"""Every figure by its name: what it is called, what it needs, how it is drawn and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from zspace.report.figures import code_maps, decoded, learning, needs, pictures
from zspace.report.figures.style import COLOURS, INK, MUTED, STILL, STYLE, save, tighten
from zspace.runs.many import Study
from zspace.system import files
from zspace.system.errors import UserError, unknown
from zspace.system.pixels import gif, to_uint8

Drawn = Figure | list[Image.Image]
Draw = Callable[[Study], Drawn]
Needs = Callable[[Study], str | None]
HOLD = 6
"""How many times as long as the others the last frame of an animation stays."""


def nothing(study: Study) -> None:
    """For a figure that any study has."""


@dataclass(frozen=True)
class Drawing:
    """A figure of a study.

    needs: why it cannot be drawn for a study, as a sentence, or None where it can.
    milliseconds: how long a frame of an animation stays; 0: it stands still.
    """

    name: str
    title: str
    draw: Draw
    needs: Needs = nothing
    milliseconds: int = 0


_ALL = (
    Drawing("data", "A sample of the data", pictures.data),
    Drawing("data-tsne", "A map of the raw images", pictures.data_tsne, needs.training_images),
    Drawing("curves", "Training and validation", learning.curves),
    Drawing("quality", "How near reconstructions come", learning.quality, needs.needs_quality),
    Drawing("reconstructions", "Unseen images, reconstructed", pictures.reconstructions),
    Drawing("reconstructions-by-size", "The same by code size", pictures.reconstructions_by_size),
    Drawing("error-per-class", "The error of each class", pictures.error_per_class, needs.labels),
    Drawing("surprises", "Images expected least, and where", pictures.surprises),
    Drawing("samples", "Images from the prior alone", pictures.samples),
    Drawing("codes-pca", "Codes of unseen images", code_maps.codes_pca, needs.test_images),
    Drawing("codes-tsne", "A map of the codes", code_maps.codes_tsne, needs.test_images),
    Drawing("codes-kde", "Codes against the prior", code_maps.codes_kde, needs.test_images),
    Drawing("posterior", "The distance to the prior", code_maps.posterior, needs.test_images),
    Drawing("plane", "A decoded plane", decoded.plane, needs.plain_plane),
    Drawing("plane-by-label", "A plane a label", decoded.plane_by_label, needs.labelled_plane),
    Drawing("plane-labels", "Label after label", decoded.plane_labels, needs.labelled_plane, 700),
    Drawing("holes", "Dense and empty parts of a plane", decoded.holes, needs.point_plane),
    Drawing("interpolation", "Between two images", decoded.interpolation, needs.two_test_images),
    Drawing("tweak", "One code, varied", decoded.tweak, needs.test_images),
    Drawing("few-labels", "What few labels can read", code_maps.few_labels, code_maps.evaluated),
    Drawing("training", "While training", learning.training, needs.snapshots, 350),
)
FIGURES = {drawing.name: drawing for drawing in _ALL}
"""Every figure by its name, in the order in which a report shows them."""


def draw(name: str, study: Study) -> Drawn:
    """A figure, or the frames of an animation.

    Raises UserError for an unknown name, and where the study has not what the figure needs.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    missing = FIGURES[name].needs(study)
    if missing:
        raise UserError(f"figure '{name}' cannot be drawn: {missing}")
    with matplotlib.rc_context(STYLE):
        drawn = FIGURES[name].draw(study)
        return tighten(drawn) if isinstance(drawn, Figure) else drawn


def write(name: str, study: Study, path: Path) -> Path:
    """Draw a figure into a .png, .svg or .pdf file, or an animation into a .gif.

    Raises UserError as `draw` does, and for another suffix; nothing is drawn then.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    duration = FIGURES[name].milliseconds
    known = (".gif",) if duration else STILL
    if path.suffix.lower() not in known:
        kind = "is an animation" if duration else "is a figure"
        raise UserError(f"cannot write '{path}': '{name}' {kind}, use {' or '.join(known)}")
    drawn = draw(name, study)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(drawn, Figure):
        return save(drawn, path)
    files.write(path, animated(drawn, duration))
    return path


def animated(frames: list[Image.Image], milliseconds: int) -> bytes:
    """Frames as an endless GIF whose last one stays for longer, with the colours of classes."""
    return gif(frames, milliseconds, hold=HOLD, colours=_house_colours())


def _house_colours() -> list[int]:
    """Red, green, blue of ink, paper and classes, these also as points that let paper through."""
    solid = np.array([to_rgb(colour) for colour in (INK, MUTED, "white", "black", *COLOURS)])
    light = 0.75 * solid + 0.25
    return to_uint8(np.concatenate([solid, light])).ravel().tolist()

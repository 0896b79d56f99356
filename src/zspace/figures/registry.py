"""Every figure by its name: what it is called, what it needs, how it is drawn and written."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from zspace import files
from zspace.errors import UserError, unknown
from zspace.figures.house import STYLE, save
from zspace.study import Study

Drawn = Figure | list[Image.Image]
Draw = Callable[[Study], Drawn]
Needs = Callable[[Study], str | None]
STILL = (".png", ".svg", ".pdf")
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


FIGURES: dict[str, Drawing] = {}


def drawing(
    name: str, title: str, needs: Needs = nothing, milliseconds: int = 0
) -> Callable[[Draw], Draw]:
    """Register a function Study -> Figure, or frames, as the figure of that name."""

    def register(function: Draw) -> Draw:
        FIGURES[name] = Drawing(name, title, function, needs, milliseconds)
        return function

    return register


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
        return FIGURES[name].draw(study)


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
    files.write(path, gif(drawn, duration))
    return path


def gif(frames: list[Image.Image], milliseconds: int) -> bytes:
    """Frames as an endless GIF whose last one stays for longer."""
    colours = [image.quantize(256, dither=Image.Dither.NONE) for image in frames]
    durations = [milliseconds] * (len(frames) - 1) + [HOLD * milliseconds]
    content = io.BytesIO()
    colours[0].save(
        content, "GIF", save_all=True, append_images=colours[1:], duration=durations, loop=0
    )
    return content.getvalue()

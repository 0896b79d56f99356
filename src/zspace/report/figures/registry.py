"""Every figure by its name: what it shows, what it needs, how it is drawn and written.

A figure is one function, registered with all that a page says of it. The first paragraph of its
docstring says what is seen, for people who do not see it; the others are the caption, fixed
sentences that are true for whatever is shown:

    @figure("norms", "Norms of the codes", "codes", needs.test_images)
    def norms(study: Study) -> Figure:
        \"\"\"Histograms, one for each family.

        How far the codes of test images lie from 0.
        \"\"\"
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from zspace.models.likelihoods import plural
from zspace.report.facts import Numbers, of_samples
from zspace.report.figures.style import (
    COLOURS,
    INK,
    MUTED,
    STILL,
    STYLE,
    png,
    rendered,
    save,
    tighten,
)
from zspace.runs.many import Study
from zspace.runs.run import Run
from zspace.system import files, notebook
from zspace.system.errors import UserError, unknown
from zspace.system.pixels import gif, to_uint8


class Still(Figure):
    """A figure that shows itself in a notebook."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        with Image.open(io.BytesIO(rendered(self, dpi=SHARP))) as image:
            size = {"width": image.width // 2, "height": image.height // 2}
            return png(image.convert("RGB")), size


class Film(list[Image.Image]):
    """Frames of an animation, which shows itself in a notebook."""

    milliseconds = 0

    def _repr_html_(self) -> str:
        return notebook.image(animated(self, self.milliseconds), "An animation", "image/gif")


Drawn = Still | Film
Draw = Callable[[Study], Figure | list[Image.Image]]
D = TypeVar("D", bound=Callable[[Study], Figure | list[Image.Image]])
SHARP = 176
"""Dots an inch of a figure in a notebook, which shows it at half of that."""
HOLD = 6
"""How many times as long as the others the last frame of an animation stays."""

PARTS = {
    "data": ("What was it trained on?", "Data"),
    "models": ("How do these models work?", "Models"),
    "copy": ("Can it copy?", "Copy"),
    "invent": ("Can it invent?", "Invent"),
    "why": ("Why, or why not?", "The hole"),
    "kl": ("What does the KL term buy, and what does it cost?", "KL term"),
    "label": ("What does the label take over?", "Label"),
    "size": ("How large a code?", "Code size"),
    "hard": ("What is hard, and why?", "Hard cases"),
    "codes": ("What does the code know?", "Codes"),
    "learning": ("How did it learn?", "Learning"),
    "results": ("All results", "Results"),
    "evaluated": ("What else was measured?", "Measured"),
    "more": ("More figures", "More"),
    "made": ("How was this made?", "How made"),
}
"""The parts of the page, most of them questions: a heading, and a short one for the contents."""


Ahead = Callable[[Study], Callable[[], object]]
Needs = Callable[[Study], str | None]
Told = Callable[[Study], Numbers]


@dataclass(frozen=True)
class Drawing:
    """A figure of a study, and all that is said of it; see `figure`."""

    name: str
    title: str
    part: str
    alt: str
    caption: str
    draw: Draw
    needs: Needs
    numbers: Told
    milliseconds: int
    ahead: Ahead | None = None
    kinds: tuple[str, ...] = ()

    def suits(self, study: Study) -> bool:
        """Whether it shows this kind of samples."""
        return not self.kinds or study.data.spec.kind in self.kinds


FIGURES: dict[str, Drawing] = {}
"""Every figure by its name, in the order in which a part of the page shows them."""


def figure(
    name: str,
    title: str,
    part: str = "more",
    needs: Needs = lambda study: None,
    numbers: Told = lambda study: {},
    milliseconds: int = 0,
    ahead: Ahead | None = None,
    kinds: tuple[str, ...] = (),
) -> Callable[[D], D]:
    """Register the function that draws a figure; a page and the command `figure` then have it.

    Arguments:
        name: By which it is asked for.
        title: In a few words.
        part: A key of `PARTS`, the part of the page that it stands in.
        needs: Says of a study why the figure cannot be drawn, or None where it can.
        numbers: This study's numbers that belong beside it.
        milliseconds: How long a frame of an animation stays; 0: it stands still.
        ahead: Makes the passes through models that a slow figure needs, and returns what is left
            to compute, without a draw of torch's: a page does that beside other figures.
        kinds: Of the samples that it can show, such as "image"; by default of every kind. It
            is absent from the pages of others.

    Raises UserError for an unknown part.
    """
    if part not in PARTS:
        raise unknown("part", part, PARTS)

    def register(draw: D) -> D:
        alt, _, caption = (inspect.getdoc(draw) or "").partition("\n\n")
        said = " ".join(alt.split()), " ".join(caption.split())
        FIGURES[name] = Drawing(
            name, title, part, *said, draw, needs, numbers, milliseconds, ahead, kinds
        )  # fmt: skip
        return draw

    return register


def find(name: str) -> Drawing:
    """A figure. Raises UserError for an unknown name."""
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    return FIGURES[name]


def draw(name: str, study: Study) -> Drawn:
    """A figure, or the frames of an animation.

    Raises UserError for an unknown name, and where the study has not what the figure needs.
    """
    found = find(name)
    missing = found.needs(study) if found.suits(study) else _other_kind(found, study)
    if missing:
        raise UserError(f"figure '{name}' cannot be drawn: {missing}")
    with matplotlib.rc_context(STYLE):
        drawn = found.draw(study)
        if not isinstance(drawn, Figure):
            film = Film(drawn)
            film.milliseconds = found.milliseconds
            return film
        drawn.__class__ = Still  # the user's own functions return plain ones
        for text in (drawn._suptitle, drawn._supxlabel):  # type: ignore[attr-defined]
            if text is not None:
                text.set_text(of_samples(text.get_text(), study.runs[0].spec.kind))
        tighten(drawn)
        assert isinstance(drawn, Still)
        return drawn


def _other_kind(found: Drawing, study: Study) -> str:
    return f"it shows {plural(found.kinds)}, but these data are {plural([study.data.spec.kind])}"


def shown_of(study: Study) -> dict[str, Drawing]:
    """The figures that show this kind of samples."""
    return {name: one for name, one in FIGURES.items() if one.suits(study)}


def write(name: str, study: Study, path: Path) -> Path:
    """Draw a figure into a .png, .svg or .pdf file, or an animation into a .gif.

    Raises UserError as `draw` does, and for another suffix; nothing is drawn then.
    """
    duration = find(name).milliseconds
    known = (".gif",) if duration else STILL
    if path.suffix.lower() not in known:
        kind = "is an animation" if duration else "is a figure"
        raise UserError(f"cannot write '{path}': '{name}' {kind}, use {' or '.join(known)}")
    drawn = draw(name, study)
    if isinstance(drawn, Figure):
        return save(drawn, path)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, animated(drawn, duration))
    return path


OVERVIEW = {
    "reconstructions": "reconstructions",
    "samples": "samples",
    "rows": "reconstructions",
    "sampled-rows": "samples",
    "window-reconstructions": "reconstructions",
    "sampled-windows": "samples",
    "text-reconstructions": "reconstructions",
    "sampled-texts": "samples",
    "codes-pca": "codes",
    "curves": "curves",
}
"""The figures that a training leaves in its folder, and their files."""


def overview(run: Run) -> list[Path]:
    """Draw a run's pictures into its folder, those that it has what they need for."""
    study = Study(run.path, [run])
    here = shown_of(study)
    can = [name for name in OVERVIEW if name in here and here[name].needs(study) is None]
    return [write(name, study, run.path / "figures" / f"{OVERVIEW[name]}.png") for name in can]


def animated(frames: list[Image.Image], milliseconds: int) -> bytes:
    """Frames as an endless GIF whose last one stays for longer, with the colours of classes."""
    return gif(frames, milliseconds, hold=HOLD, colours=_house_colours())


def _house_colours() -> list[int]:
    """Red, green, blue of ink, paper and classes, these also as points that let paper through."""
    solid = np.array([to_rgb(colour) for colour in (INK, MUTED, "white", "black", *COLOURS)])
    light = 0.75 * solid + 0.25
    return to_uint8(np.concatenate([solid, light])).ravel().tolist()

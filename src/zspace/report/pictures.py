"""Figures as data URIs: PNG with a palette, GIF for animations, each with its text."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from zspace.figures import FIGURES, draw, save
from zspace.figures.catalogue import gif
from zspace.report.captions import CAPTIONS
from zspace.report.facts import Facts

DPI, SHOWN = 150, 104
"""Dots an inch of the file, and of the page: sharp on fine screens too."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    src: a data URI. still: the last frame of an animation, for who wants no motion, else "".
    """

    name: str
    title: str
    caption: str
    src: str
    width: int
    height: int
    still: str = ""

    @property
    def broad(self) -> bool:
        """Whether it would be too small to read on a telephone, and is scrolled there."""
        return self.width > BROAD

    @property
    def alt(self) -> str:
        """What is seen, for who does not see it."""
        return f"{self.title}. {ALT.get(self.name, '')}".strip()


BROAD = 700
TITLE = 0.3
"""Inches that a figure's title took."""

ALT = {
    "data": "A sheet of training images, ten in a row.",
    "data-tsne": "A scatter of points, one an image, gathered in groups.",
    "curves": "Line charts against the epoch, one for each term of each family.",
    "quality": "Line charts of MSE, SSIM and PSNR against the epoch, a line a family.",
    "error-per-class": "Bar charts of the error of each class, one for each family.",
    "reconstructions": "Rows of images: ten test images, and below them their reconstructions.",
    "reconstructions-by-size": "Rows of reconstructed images, one row a code size.",
    "samples": "Rows of images decoded from random codes.",
    "codes-pca": "Scatter charts of codes on a plane, one for each family.",
    "codes-kde": "Density curves of the codes over the bell curve of N(0, 1).",
    "codes-tsne": "Scatter charts of codes mapped by t-SNE, one for each family.",
    "plane": "Two square sheets of decoded images that change gradually across each sheet.",
    "plane-by-label": "A square sheet of decoded images for each label.",
    "plane-labels": "An animated square sheet of decoded images, one label after another.",
    "holes": "A scatter of codes with two marked windows, and sheets of what they decode to.",
    "interpolation": "Rows of images that change from one test image into another.",
    "tweak": "Square sheets of variants of one image, which is framed in the middle.",
    "training": "An animation: a scatter of codes, and reconstructions, from epoch to epoch.",
    "posterior": "Bar charts of how the codes stand to the normal distribution, by dimension.",
}


def uri(content: bytes, kind: str) -> str:
    """Content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def missing(facts: Facts) -> list[str]:
    """Names of figures that cannot be drawn for this study."""
    return [name for name, drawing in FIGURES.items() if drawing.needs(facts.study) is not None]


def picture(name: str, facts: Facts) -> Picture:
    """Draw a figure, and say what it shows."""
    drawing = FIGURES[name]
    text = CAPTIONS[name](facts) if name in CAPTIONS else ""
    drawn = draw(name, facts.study)
    if not isinstance(drawn, list):
        image = _painted(drawn)
        width, height = (side * SHOWN // DPI for side in image.size)
        return Picture(name, drawing.title, text, uri(png(image), "image/png"), width, height)
    film, still = gif(drawn, drawing.milliseconds), uri(png(drawn[-1]), "image/png")
    size = drawn[0].size
    return Picture(name, drawing.title, text, uri(film, "image/gif"), *size, still=still)


def _painted(fig: Any) -> Image.Image:
    """A figure as it is saved, without its title, which the page says itself."""
    fig.suptitle("")
    width, height = fig.get_size_inches()
    fig.set_size_inches(width, height - TITLE)
    with TemporaryDirectory() as folder, Image.open(save(fig, Path(folder) / "f.png", DPI)) as f:
        return f.convert("RGB")


def png(image: Image.Image) -> bytes:
    """As a PNG of 256 colours, a third of the size and the same to the eye."""
    content = io.BytesIO()
    few = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(content, "PNG", optimize=True)
    return content.getvalue()

"""Figures as data URIs: PNG with a palette, GIF for animations, each with its text.

The interactive scatter: points of codes, and one sprite of images and reconstructions.

What the script of the page reads:

    tile, columns, count   the sprite's tiles: width and height, how many in a row, test images;
                           tile i is image i, tile (f + 1) count + i what family f makes of it
    sprite                 a PNG as data URI
    classes, colours, y    names and colours of labels, the label of each point; empty without
    families               label, axes, x and y of each point, error of each point, the prior's
                           circle or null

The page: its parts in the order of the story, and the one file they become.
"""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from rich.console import Console

from zspace._version import __version__
from zspace.analysis import latents, projections
from zspace.analysis.trained import subset
from zspace.report.facts import Facts, Family, curly
from zspace.report.figures import needs
from zspace.report.figures.code_maps import CIRCLE
from zspace.report.figures.registry import FIGURES, animated, draw
from zspace.report.figures.style import class_colours, save
from zspace.report.html import prose, tables
from zspace.report.html.captions import CAPTIONS
from zspace.runs.many import Study
from zspace.system import files
from zspace.system.errors import UserError
from zspace.system.pixels import tile, to_uint8

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


def missing_figures(facts: Facts) -> list[str]:
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
    film, still = animated(drawn, drawing.milliseconds), uri(png(drawn[-1]), "image/png")
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


MOST_POINTS = 2000
MOST_VALUES = 7_000_000
LARGEST = 32


def explorer(facts: Facts) -> dict[str, Any] | None:
    """All that the script needs; None where there are too few test images."""
    if needs.test_images(facts.study) is not None:
        return None
    x = facts.data.test.images(torch.arange(1)).numpy()
    each = thumbnails(x).size * (len(facts.families) + 1)
    few = subset(facts.data.test, max(10, min(MOST_POINTS, MOST_VALUES // each)))
    x, y, c = few.images().numpy(), few.labels(), few.conditions()
    shown, clouds = [thumbnails(x)], []
    for family in facts.families:
        made = family.run.reconstruct(x, c if family.conditional else None)
        shown.append(thumbnails(made))
        clouds.append(cloud(facts, family, x, c, made))
    tiles = np.concatenate(shown)
    columns = max(1, 2000 // tiles.shape[-1])
    return {
        "tile": [tiles.shape[-1], tiles.shape[-2]],
        "columns": columns,
        "count": len(x),
        "sprite": uri(sprite(tiles, columns), "image/png"),
        "classes": list(facts.data.classes),
        "colours": class_hex(len(facts.data.classes)),
        "y": [] if y is None else y.tolist(),
        "families": clouds,
    }


def cloud(
    facts: Facts, family: Family, x: np.ndarray, c: torch.Tensor | None, made: np.ndarray
) -> dict[str, Any]:
    """Where a family puts the images, on the plane of its figure, and how well it keeps them."""
    z = family.run.encode(x, c if family.conditional else None).reshape(len(x), -1)
    plane = latents.plane(family.run, data=facts.data)
    if z.shape[1] == 1:
        z = np.c_[z, np.random.RandomState(0).uniform(-0.35, 0.35, len(z))]
    elif z.shape[1] > 2:
        z = projections.principal(latents.codes(family.run, facts.data).z, 2).project(z)
    error = np.square(x - made).reshape(len(x), -1).sum(1)
    return {
        "label": family.label,
        "size": family.chosen,
        "axes": plane.axes,
        "x": rounded(z[:, 0]),
        "y": rounded(z[:, 1]),
        "error": rounded(error, 1),
        "origin": [float(round(value, 3)) for value in plane.origin],
        "circle": CIRCLE,
    }


def rounded(values: np.ndarray, digits: int = 3) -> list[float]:
    """As short as JSON may hold them."""
    return [round(float(value), digits) for value in values]


def class_hex(n: int) -> list[str]:
    """A colour for each class, those of the figures."""
    if not n:
        return []
    rows = to_uint8(class_colours(np.arange(n), n)[:, :3])
    return ["#" + "".join(f"{value:02x}" for value in row) for row in rows]


def thumbnails(x: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) of one or three channels, at most 32 high and wide."""
    if x.shape[1] not in (1, 3):
        x = x.mean(1, keepdims=True)
    factor = -(-max(x.shape[-2:]) // LARGEST)
    if factor == 1:
        return x
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(x), factor, ceil_mode=True)
    return small.numpy()


def sprite(tiles: np.ndarray, columns: int) -> bytes:
    """Tiles (N, C, H, W) as one PNG of few colours, without gaps."""
    picture = np.asarray(tile(tiles, columns, 0))
    grey = picture.ndim == 2 or picture.shape[-1] == 1
    content = io.BytesIO()
    if grey:
        levels = (picture.reshape(picture.shape[:2]).astype(np.uint16) + 8) // 17
        image = Image.fromarray(levels.clip(0, 15).astype(np.uint8), "P")
        image.putpalette([17 * level for level in range(16) for _ in range(3)])
        image.save(content, "PNG", optimize=True, bits=4)
    else:
        image = Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE)
        image.save(content, "PNG", optimize=True)
    return content.getvalue()


@dataclass(frozen=True)
class Part:
    """A part of the page: its anchor, its heading, a shorter one for the contents, its figures."""

    name: str
    title: str
    short: str
    figures: tuple[str, ...] = ()
    fixed: bool = False


PARTS = (
    Part("data", "What it was trained on", "Data", ("data", "data-tsne")),
    Part("models", "The parts, and the maths", "Models", fixed=True),
    Part("results", "What came out", "Results", fixed=True),
    Part("learning", "Learning", "Learning", ("curves",)),
    Part("quality", "How near the images come back", "Quality", ("quality",)),
    Part("classes", "Which classes are hard", "Classes", ("error-per-class",)),
    Part(
        "reconstructions",
        "In and out again",
        "Reconstructions",
        ("reconstructions", "reconstructions-by-size", "surprises"),
    ),
    Part("samples", "Images from nothing but a draw", "Samples", ("samples",)),
    Part(
        "codes",
        "Where the codes lie",
        "Codes",
        ("codes-pca", "codes-kde", "codes-tsne"),
    ),
    Part(
        "plane",
        "A code space, decoded",
        "Code space",
        ("plane", "plane-by-label", "plane-labels", "holes"),
    ),
    Part("paths", "Ways through it", "Ways", ("interpolation", "tweak")),
    Part("training", "Watching it learn", "Training", ("training",)),
    Part("regularised", "What regularised means, measured", "Regularised", ("posterior",)),
    Part("evaluated", "Measured on test images", "Measured", ("few-labels",), fixed=True),
    Part("made", "How this was made", "How made", fixed=True),
)


@dataclass
class Shown:
    """A part with its figures drawn and numbered."""

    part: Part
    pictures: list[tuple[int, Picture]] = field(default_factory=list)


def write_report(study: Study, path: Path, console: Console | None = None) -> Path:
    """Write a study, or a run, as one HTML file that needs no network.

    console: is told of each figure as it is drawn. Raises UserError where the place cannot be
    written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"cannot write '{path}': a report is an HTML file, so end it in .html")
    console = console or Console(quiet=True)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    facts = Facts.of(study)
    numbers = tables.evaluated(facts)
    parts = [one for one in _drawn(facts, console) if numbers or one.part.name != "evaluated"]
    console.print("  interactive codes", markup=False)
    page = _render(facts, parts, explorer(facts), numbers)
    files.write(path, page.encode())
    return path


def _drawn(facts: Facts, console: Console) -> list[Shown]:
    """Every part that has something to show, with its figures."""
    names = [n for part in PARTS for n in part.figures if n in FIGURES]
    names = [name for name in names if FIGURES[name].needs(facts.study) is None]
    if all(len(family.sizes) == 1 for family in facts.families):
        names.remove("reconstructions-by-size")  # would show again what stands above it
    shown = [Shown(part) for part in PARTS]
    for i, name in enumerate(names, 1):
        console.print(f"  figure {i}/{len(names)}  {name}", markup=False)
        home = next(one for one in shown if name in one.part.figures)
        home.pictures.append((i, picture(name, facts)))
    return [one for one in shown if one.pictures or one.part.fixed]


def _render(
    facts: Facts,
    parts: list[Shown],
    scatter: dict[str, Any] | None,
    numbers: tables.Evaluated | None,
) -> str:
    environment = Environment(
        loader=PackageLoader("zspace.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["curly"] = curly
    style, script = (_source(environment, f"report.{kind}") for kind in ("css", "js"))
    return environment.get_template("report.html").render(
        facts=facts,
        families=facts.families,
        parts=parts,
        prose=prose,
        intros=prose,
        wanted=prose.maths_wanted(facts),
        tables=tables,
        scatter=scatter,
        evaluated=numbers,
        missing=missing_figures(facts),
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )


def _source(environment: Environment, name: str) -> str:
    """A file of the templates as it stands."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def policy(style: str, script: str) -> str:
    """A content security policy: nothing from anywhere but this style, this script, these data."""
    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; "
        f"script-src {digest(script)}; base-uri 'none'; form-action 'none'"
    )


def digest(source: str) -> str:
    """The hash by which a policy names what stands between two tags."""
    made = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
    return f"'sha256-{made}'"

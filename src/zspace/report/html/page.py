"""The page: figures as data URIs, the interactive scatter, and the one file they become.

What the script of the page reads:

    tile, columns, count   the sprite's tiles: width and height, how many in a row, test images;
                           tile i is image i, tile (f + 1) count + i what family f makes of it
    sprite                 a PNG as data URI
    classes, colours, y    names and colours of labels, the label of each point; empty without
    families               label, axes, x and y of each point, error of each point, and the
                           prior's circle or null
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from rich.console import Console

from zspace._version import __version__
from zspace.analysis import latents, projections
from zspace.analysis.numbers import count
from zspace.analysis.trained import subset
from zspace.report import facts, reasons
from zspace.report.facts import Family, Numbers, families
from zspace.report.figures import needs
from zspace.report.figures.code_maps import CIRCLE
from zspace.report.figures.registry import PARTS, Drawing, Still, draw, shown_of
from zspace.report.figures.style import at_night, class_colours, rendered
from zspace.report.html import tables, workings
from zspace.runs.many import Study
from zspace.system import files
from zspace.system.errors import UserError
from zspace.system.notebook import uri
from zspace.system.pixels import tile, to_uint8

DPI, SHOWN = 130, 104
"""Dots an inch of the file, and of the page: sharp on fine screens too."""
BROAD = 400
TITLE = 0.3
"""Inches that a figure's title took."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    frames: data URIs on light and on dark paper, one pair for each moment of an animation.
    """

    drawing: Drawing
    numbers: Numbers
    frames: list[tuple[str, str]]
    width: int
    height: int

    @property
    def broad(self) -> bool:
        """Whether it is wider than a telephone, and is scrolled there."""
        return self.width > BROAD

    @property
    def alt(self) -> str:
        """What is seen, for who does not see it."""
        return f"{self.drawing.title}. {self.drawing.alt}".strip()


def picture(drawing: Drawing, study: Study, pool: Executor) -> Future[Picture]:
    """Draw a figure, and say what it shows; its files are made in a thread."""
    kind = study.data.spec.kind
    drawn = draw(drawing.name, study)
    numbers = {facts.of_samples(k, kind): v for k, v in drawing.numbers(study).items()}
    title, alt, caption = (
        facts.of_samples(said, kind) for said in (drawing.title, drawing.alt, drawing.caption)
    )
    said = replace(drawing, title=title, alt=alt, caption=caption)
    if isinstance(drawn, Still):
        pairs = [painted(drawn)]
        width, height = (side * SHOWN // DPI for side in pairs[0][0].size)
    else:
        pairs = [(image, image.info.get("night", image)) for image in drawn]
        width, height = drawn[0].size

    def made() -> Picture:
        frames = [(webp(day), webp(night)) for day, night in pairs]
        return Picture(said, numbers, frames, width, height)

    return pool.submit(made)


def painted(fig: Still) -> tuple[Image.Image, Image.Image]:
    """A figure by day and by night, without its title, which the page says itself."""
    fig.suptitle("")
    width, height = fig.get_size_inches()
    fig.set_size_inches(width, height - TITLE)

    def seen() -> Image.Image:
        with Image.open(io.BytesIO(rendered(fig, dpi=DPI))) as image:
            return image.convert("RGB")

    day = seen()
    fig.set_layout_engine("none")
    with at_night(fig):
        return day, seen()


def webp(image: Image.Image) -> str:
    """A picture as a data URI: exact in 256 colours, or nearly so in all of them, the shorter."""
    few = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).convert("RGB")
    exact, near = io.BytesIO(), io.BytesIO()
    few.save(exact, "WEBP", lossless=True, quality=50)
    image.save(near, "WEBP", quality=88)
    return uri(min(exact.getvalue(), near.getvalue(), key=len), "image/webp")


MOST_POINTS = 2000
MOST_VALUES = 7_000_000
LARGEST = 32


def explorer(study: Study) -> dict[str, Any] | None:
    """All that the script needs; None where there are too few test images, or no images."""
    if study.data.spec.kind != "image":
        return None
    if needs.test_images(study) is not None:
        return None
    x = study.data.test.images(torch.arange(1)).numpy()
    each = thumbnails(x).size * (len(families(study)) + 1)
    few = subset(study.data.test, max(10, min(MOST_POINTS, MOST_VALUES // each)))
    x, y, c = few.images().numpy(), few.labels(), few.conditions()
    shown, clouds = [thumbnails(x)], []
    for family in families(study):
        made = family.run.reconstructed(x, c if family.traits.conditional else None)
        shown.append(thumbnails(made))
        clouds.append(cloud(study, family, x, c, made))
    tiles = np.concatenate(shown)
    columns = max(1, 2000 // tiles.shape[-1])
    return {
        "tile": [tiles.shape[-1], tiles.shape[-2]],
        "columns": columns,
        "count": len(x),
        "sprite": uri(sprite(tiles, columns), "image/png"),
        "classes": list(study.data.classes),
        "colours": class_hex(len(study.data.classes)),
        "y": [] if y is None else y.tolist(),
        "ids": few.names(),
        "families": clouds,
    }


def cloud(
    study: Study, family: Family, x: np.ndarray, c: torch.Tensor | None, made: np.ndarray
) -> dict[str, Any]:
    """Where a family puts the images, on the plane of its figure, and how well it keeps them."""
    z = family.run.encoded(x, c if family.traits.conditional else None).reshape(len(x), -1)
    plane = latents.plane(family.run, data=study.data)
    if z.shape[1] == 1:
        z = np.c_[z, np.random.RandomState(0).uniform(-0.35, 0.35, len(z))]
    elif z.shape[1] > 2:
        z = projections.principal(latents.codes(family.run, study.data).z, 2).project(z)
    error = np.square(x - made).reshape(len(x), -1).sum(1)
    return {
        "label": family.title,
        "code": facts.code_of(family.run.model.latent),
        "axes": plane.axes,
        "x": rounded(z[:, 0]),
        "y": rounded(z[:, 1]),
        "error": rounded(error, 1),
        "origin": [float(round(value, 3)) for value in plane.origin],
        "circle": CIRCLE if family.compared and plane.axes != latents.LINE else None,
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


FIXED = ("data", "models", "results", "evaluated", "made")
"""Parts that have more than figures."""


@dataclass
class Shown:
    """A part with its figures drawn and numbered."""

    name: str
    title: str
    short: str
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
    lacking = {one.name: one.needs(study) for one in shown_of(study).values()}
    missing = {name: reason for name, reason in lacking.items() if reason is not None}
    numbers = tables.evaluated(study)
    parts = _drawn(study, missing, console)
    parts = [one for one in parts if numbers or one.name != "evaluated"]
    console.print("  interactive codes", markup=False)
    files.write(
        path, worded(_render(study, parts, missing, numbers), study.data.spec.kind).encode()
    )
    return path


MARKUP = re.compile(r"(<script.*?</script>|<style.*?</style>|<[^>]*>)", re.DOTALL)


def worded(page: str, kind: str) -> str:
    """The page with what it says of images said of this kind of samples; tags stay as they are."""
    pieces = MARKUP.split(page)
    pieces[::2] = [facts.of_samples(text, kind) for text in pieces[::2]]
    return "".join(pieces)


def _drawn(study: Study, missing: dict[str, str], console: Console) -> list[Shown]:
    """Every part that has something to show, with its figures."""
    able = [one for one in shown_of(study).values() if one.name not in missing]
    can = [one for part in PARTS for one in able if one.part == part]
    with ThreadPoolExecutor(2) as pool:
        waits = {one.name: pool.submit(one.ahead(study)) for one in can if one.ahead}
        coming: dict[str, Future[Picture]] = {}
        for drawing in sorted(can, key=lambda one: one.name in waits):  # these last
            console.print(f"  figure {len(coming) + 1}/{len(can)}  {drawing.name}", markup=False)
            if drawing.name in waits:
                waits[drawing.name].result()
            coming[drawing.name] = picture(drawing, study, pool)
        drawn = {name: one.result() for name, one in coming.items()}
    shown, number = [Shown(name, *titles) for name, titles in PARTS.items()], 0
    for part in shown:
        for drawing in (one for one in can if one.part == part.name):
            number += 1
            part.pictures.append((number, drawn[drawing.name]))
    return [one for one in shown if one.pictures or one.name in FIXED or told(study, one.name)]


def told(study: Study, part: str) -> bool:
    """Whether a part has answers beyond the words that introduce it."""
    return any(one.numbers for one in reasons.given(study, part))


def _render(
    study: Study, parts: list[Shown], missing: dict[str, str], numbers: tables.Evaluated | None
) -> str:
    templates = environment()
    style, script = (source(templates, f"report.{kind}") for kind in ("css", "js"))
    return templates.get_template("report.html").render(
        study=study,
        families=families(study),
        parts=parts,
        tables=tables,
        count=count,
        workings=workings,
        given=reasons.given,
        wanted=workings.maths(study),
        scatter=explorer(study),
        evaluated=numbers,
        missing=missing,
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )


def flags(text: str) -> Markup:
    """Text in which no flag of a command is broken over two lines."""
    kept = Markup('<span class="flag">{}</span>')
    parts = re.split(r"((?<![\w/-])--?[A-Za-z][\w.-]*)", text)
    return Markup().join(kept.format(part) if i % 2 else part for i, part in enumerate(parts))


def environment() -> Environment:
    """The templates, in which everything is escaped and nothing may be missing."""
    found = Environment(
        loader=PackageLoader("zspace.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"zip": zip, "curly": facts.curly, "sentence": facts.sentence, "flags": flags}
    found.tests["text"] = lambda value: isinstance(value, str)
    return found


def source(templates: Environment, name: str) -> str:
    """A file of the templates as it stands."""
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


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

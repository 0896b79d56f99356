"""The page: its parts in the order of the story, and the one file they become."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console

from zspace import files
from zspace._version import __version__
from zspace.errors import UserError
from zspace.figures import FIGURES
from zspace.report import evaluated, intros, prose, tables, words
from zspace.report.facts import Facts
from zspace.report.pictures import Picture, missing, picture
from zspace.report.scatter import explorer
from zspace.study import Study


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
    numbers = evaluated.evaluated(facts)
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
    numbers: evaluated.Evaluated | None,
) -> str:
    environment = Environment(
        loader=PackageLoader("zspace", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["curly"] = words.curly
    style, script = (_source(environment, f"report.{kind}") for kind in ("css", "js"))
    return environment.get_template("report.html").render(
        facts=facts,
        families=facts.families,
        parts=parts,
        prose=prose,
        intros=intros,
        wanted=intros.maths_wanted(facts),
        tables=tables,
        scatter=scatter,
        evaluated=numbers,
        missing=missing(facts),
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

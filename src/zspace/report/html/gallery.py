"""Every recipe on one page: its diagram, its sentence, its sources."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from zspace._version import __version__
from zspace.models import recipes
from zspace.models.recipes import hyphenated
from zspace.report import diagrams
from zspace.report.html import page
from zspace.system import files
from zspace.system.errors import UserError


def entries() -> list[tuple[str, str, list[str], str, Markup]]:
    """Of each recipe its command name, its title, its paragraphs, its sources and its diagram."""
    found = []
    for name in recipes.known():
        text = recipes.about(name).replace("`", "")
        *said, sources = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
        if not sources.startswith("Reference"):  # one of the user's own may have none
            said, sources = [*said, sources], ""
        made = diagrams.drawn(name)
        found.append((hyphenated(name), made.title, said, sources, Markup(made.svg(name))))
    return found


def write_gallery(path: Path) -> Path:
    """Write all recipes as one HTML file that needs no network.

    Raises UserError where the place cannot be written, and for a name that does not end in .html.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"cannot write '{path}': the page is an HTML file, so end it in .html")
    environment = page.environment()
    style = page.source(environment, "report.css")
    made = environment.get_template("recipes.html").render(
        entries=entries(), version=__version__, style=Markup(style), policy=page.policy(style, "")
    )
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, made.encode())
    return path

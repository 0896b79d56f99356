"""What the site takes from outside docs/: a hook of mkdocs (mkdocs.yml names it).

- The course, which `zspace learn --to` writes, becomes course.html.
- Pages that lie elsewhere in the repository (`TAKEN`) become pages of the site.
- A link to any other file of the repository leads to a copy of it below files/.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from zspace.explorer.learn import course

ROOT = Path(__file__).parent.parent
COURSE = "course.html"
TAKEN = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",  # no page of its own: links to it lead to the first page
}
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
"""The path in a Markdown link to a file."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, target in TAKEN.items():
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, COURSE, content=written_course()))
    places = {target: source for source, target in TAKEN.items() if target != "index.md"}
    for file in list(files.documentation_pages()):
        home = places.get(file.src_uri, f"docs/{file.src_uri}")
        for link in LINK.findall(file.content_string):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
            uri = site_uri(path)
            if uri.startswith("files/") and not files.get_file_from_path(uri):
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between places in the repository become links between places in the site."""
    uri = page.file.src_uri
    home = next((s for s, t in TAKEN.items() if t == uri != "index.md"), f"docs/{uri}")

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), match[0]))
        return posixpath.relpath(site_uri(path), posixpath.dirname(uri) or ".")

    return LINK.sub(moved, markdown)


def site_uri(path: str) -> str:
    """Where a file of the repository lies in the site; the course is made, and lies in docs/."""
    if path in TAKEN:
        return TAKEN[path]
    return path[5:] if path.startswith("docs/") else f"files/{path}"


def written_course() -> str:
    global _course
    _course = _course or course()
    return _course


_course = ""

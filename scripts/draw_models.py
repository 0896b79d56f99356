"""Draw docs/models.md and its pictures from the recipes themselves: python scripts/draw_models.py

Writes docs/images/models/NAME.svg, the diagram of each recipe with its default parts, and the page
that shows them. Run it after a recipe was added or changed; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from zspace.models.recipes import hyphenated
from zspace.models.zoo import __all__ as names
from zspace.report import diagrams
from zspace.report.html.gallery import entries

DOCS = Path(__file__).parent.parent / "docs"
FIRST = """# Models

A model is a choice of parts. Every picture here is drawn from the parts of a recipe by
`scripts/draw_models.py`. `zspace recipes --html` writes the same as a page, with your own recipes.

Data go from top to bottom. The encoder narrows, the decoder widens. μ and σ are the mean and the
standard deviation of q(z|x); ε is noise, which makes z a draw that gradients pass through. A
dashed arrow is a prior, towards which a term draws the codes. What is minimised stands below: one
tag for each term, with its weight where that is not 1.
"""


def pictures() -> dict[str, str]:
    """File -> content, of every recipe of the package."""
    shown = [hyphenated(name) for name in names]
    return {f"{n}.svg": diagrams.drawn(n).svg(n, alone=True) + "\n" for n in shown}


def page() -> str:
    """The page, one section for each recipe of the package."""
    shown, parts = [hyphenated(name) for name in names], [FIRST]
    known = {name: one for name, *one in entries()}
    for name in sorted(shown, key=list(known).index):
        title, said, sources, _ = known[name]
        text = "\n\n".join([f"`zspace train {name}`", *said, sources])
        parts.append(f"## {title}\n\n![Diagram of {title}](images/models/{name}.svg)\n\n{text}\n")
    return "\n".join(parts)


def main() -> None:
    folder = DOCS / "images" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures().items():
        (folder / name).write_text(content)
        print(folder / name)
    (DOCS / "models.md").write_text(page())


if __name__ == "__main__":
    main()

"""A card of a model, as the Hugging Face hub shows it: YAML for machines, then text for people."""

from __future__ import annotations

import json
import re

from zspace.analysis.numbers import number_text
from zspace.models.recipes import about, hyphenated
from zspace.runs.run import Run

_FRONT = re.compile(r"---\n.*?\n---\n", re.DOTALL)


def with_metadata(run: Run, text: str) -> str:
    """A card with the YAML in front that the hub reads; what has some is left as it is.

    The licence is for the owner to say: none is claimed.

    >>> with_metadata(run, "# Digits").splitlines()[:3]
    ['---', 'library_name: zspace', 'tags:']
    """
    if _FRONT.match(text):
        return text
    tags = ["zspace", "autoencoder", hyphenated(run.name), run.spec.kind]
    tags += ["conditional"] if run.model.context else []
    lines = ["---", "library_name: zspace", "tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    return "\n".join([*lines, "---", "", text])


def short_card(run: Run, name: str) -> str:
    """A card of few lines: what it is, how to use it, its numbers.

    >>> print(short_card(run, "somebody/digits").splitlines()[0])
    # somebody/digits
    """
    data = run.record["data"]
    result = run.record.get("result", {})
    terms = [
        f"| {term} | {number_text(value)} |" for term, value in result.get("test", {}).items()
    ]
    label = ", label=..." if run.model.context else ""
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{run.recipe.title or run.name}, trained with zspace on "
            f"{data['train']:,} samples of {data['name']}. {_sentence(run)}",
            "",
            "```python",
            "import zspace",
            "",
            f'run = zspace.load("hf://{name}")',
            f"samples = run.sample(16{label})",
            "```",
            *(["", "| term on test | value |", "|---|---|", *terms] if terms else []),
            "",
        ]
    )


def _sentence(run: Run) -> str:
    return " ".join(about(run.config.recipe).partition("\n\n")[0].split())

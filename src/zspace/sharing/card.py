"""The card of a run: what it is, how it is used, its numbers, its data and its limits.

It is the README.md of the run's folder, in the form of a model card (Mitchell et al. Model cards
for model reporting. 2019, arXiv 1810.03993), and what `zspace show` prints. All of it is read
from run.json, so that it takes no time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zspace.analysis.numbers import number_text
from zspace.analysis.reconstruction import reconstructions
from zspace.data.kinds.image import by
from zspace.models import recipes
from zspace.runs.record import CARD, PICTURE, Place
from zspace.runs.run import Run
from zspace.system import pixels
from zspace.system.bars import time_text
from zspace.system.errors import UserError

SHOWN = 8
PICTURES = (PICTURE, "figures/reconstructions.png", "figures/samples.png")
CALLED = {"image": "images", "table": "rows", "series": "series", "tokens": "sequences"}
OF_TERMS = {
    "mse": "Squared error is no normalised likelihood: it compares runs on the same data only.",
    "bce": "Binary cross-entropy is a likelihood of binary pixels only.",
}


def title(record: Mapping[str, Any]) -> str:
    """What a run is, in a few words."""
    name = recipes.hyphenated(record["config"]["recipe"])
    return f"{name} trained on {record['data']['name']}"


def facts(record: Mapping[str, Any]) -> dict[str, str]:
    """What a run is and how it was trained, by name."""
    config, data, result = record["config"], record["data"], record.get("result", {})
    training, kind = config["training"], data.get("kind", "image")
    own = {**config["recipe_options"], **config["network"]}
    told = {
        "state": record["status"],
        "model": f"{recipes.hyphenated(config['recipe'])}, {record['parameters']:,} parameters",
        "options": ", ".join(f"{n} {_text(v)}" for n, v in own.items() if v is not None),
        "data": f"{data['name']}: {CALLED[kind]} of {by(data['shape'])}",
        "splits": ", ".join(
            f"{data[s]:,} {s}" for s in ("train", "validation", "test") if s in data
        ),
        "training": ", ".join(
            f"{n} {_text(training[n])}" for n in ("epochs", "batch", "lr", "schedule", "seed")
        ),
        "began with": f"the weights of {config['from_run']['path']}"
        if config.get("from_run")
        else "",
        "best epoch": f"{result['best_epoch']} of {result['epochs']}" if result else "",
        "time": f"{time_text(result['seconds'])} on {record['environment'].get('processor', '')}"
        if result
        else "",
        "zspace": record["zspace"],
    }
    return {name: value for name, value in told.items() if value}


def _text(value: Any) -> str:
    return " ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def numbers(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each measure in words, and what it came to on validation and on test."""
    result = record.get("result", {})
    about = result.get("about", {})
    rows = []
    for name in result.get("test", {}):
        words = about.get("terms", {}).get(name, "")
        rows.append((name, words, result["validation"][name], result["test"][name]))
    for name, value in result.get("quality", {}).get("test", {}).items():
        rows.append((name, about.get("quality", {}).get(name, ""), None, value))
    called = ((f"{words} (`{name}`)" if words else name, *both) for name, words, *both in rows)
    return [(name, *("" if v is None else number_text(v) for v in both)) for name, *both in called]


def limits(record: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers are believed, a sentence each."""
    data, result = record["data"], record.get("result", {})
    return [
        f"The numbers are of {data['name']} alone, from one training with one seed; nothing says "
        "how the model does on other data.",
        "The epoch was chosen on validation samples, so that numbers of these are too good.",
        *(sentence for term, sentence in OF_TERMS.items() if term in result.get("test", {})),
        *(f"{one[:1].upper()}{one[1:]}." for one in result.get("warnings", [])),
    ]


def text(record: Mapping[str, Any], place: Place | None = None, conditional: bool = False) -> str:
    """The card as Markdown.

    Arguments:
        record: The content of run.json.
        place: Of the run's files, where a picture may be.
        conditional: Whether the model is told a label, which its use then names.

    >>> print(text(run.record).partition("## Numbers")[0])
    # vae trained on ...
    """
    kind = record["data"].get("kind", "image")
    name = place.folder.name if place and place.folder else "FOLDER"
    picture = next((one for one in PICTURES if place and one in place), None)
    what = " ".join(recipes.about(record["config"]["recipe"]).partition("\n\n")[0].split())
    labels = [*record["data"]["classes"], *record["data"]["attributes"], "..."]
    label = f"label={labels[0]!r}" if conditional else ""
    lines = [f"# {title(record)}", ""]
    if picture:
        lines += [
            f"![{CALLED[kind].capitalize()}, and what the model makes of them]({picture})",
            "",
        ]
    lines += [
        what, "",
        "## Use", "",
        "```python", "import zspace", "",
        f'run = zspace.load("{name}")  # this folder',
        f"x = run.sample({', '.join(filter(None, ['16', label]))})  # new {CALLED[kind]}",
        f"z = run.encode({', '.join(filter(None, ['x', label]))})  # their codes",
        "```", "",
        "## Numbers", "",
        "| | validation | test |", "|---|---|---|",
        *(f"| {row[0]} | {row[1]} | {row[2]} |" for row in numbers(record)), "",
        "## Data", "",
        *(f"- {line}" for line in record["data"].get("read", {}).get("lines", [])),
        *([f"- {record['data']['provenance']}"] if record["data"]["provenance"] else []), "",
        "## Training", "",
        *(f"- {key}: {value}" for key, value in facts(record).items()), "",
        "`zspace train --config config.toml` trains it again.", "",
        "## Limits", "",
        *(f"- {one}" for one in limits(record)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write(run: Run) -> Path | None:
    """Write the card of a run, with a picture where its data are images that were read already.

    Returns its path, or None for a run in memory, whose card goes with it when it is saved.
    """
    if run.held is not None and run.spec.kind == "image":
        with contextlib.suppress(UserError):  # the card is whole without it
            run.place.write(PICTURE, _picture(run))
    run.place.write(CARD, text(run.record, run.place, bool(run.model.context)).encode())
    return run.place.folder and run.place.folder / CARD


def _picture(run: Run) -> bytes:
    """Some test images, and below each of them its reconstruction, as PNG."""
    pairs = reconstructions(run, run.data(), SHOWN)
    both = np.concatenate([pairs.x, pairs.decoded])
    return pixels.thumbnails(both, columns=len(pairs.x))

"""What was read of a data set, and what was not: said before training and kept in run.json.

The reader of a source fills in a `Read`; sizes and counts are those of the samples themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from zspace.data.spec import FLAG

if TYPE_CHECKING:
    from zspace.data.dataset import Data, Samples

MOST_NAMED = 12
"""More classes are told by their number and the first of their names."""


@dataclass(frozen=True)
class Read:
    """What only the reader of a source knows.

    Arguments:
        kind: Of the samples, in the plural: "images".
        values: How values were taken: "uint8 values, 0 to 255 as 0 to 1".
        scale: The raw values that became 0 and 1, where they were declared or found.
        origins: Split -> where its samples are from: "x_train", "train/", "cut from x by class".
        labels: Where labels or attributes are from: "y", "folders"; "" where there are none.
        left_out: What was there and was not read, each with its reason.
        notes: Further sentences: what an ambiguous name was taken for, for example.

    >>> Read(origins={"train": "x"}).kind
    'images'
    """

    kind: str = "images"
    values: str = ""
    scale: tuple[float, float] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    labels: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


NOTHING_READ = Read()


CALLED = {
    "image": ("image", "images"),
    "table": ("row", "rows"),
    "series": ("window", "windows"),
    "tokens": ("sequence", "sequences"),
}
"""What one sample of a kind is called, and several."""


def of_samples(text: str, kind: str) -> str:
    """A sentence about images as one about what the samples are instead.

    >>> of_samples("Images and their codes: an image is a point.", "table")
    'Rows and their codes: a row is a point.'
    >>> of_samples("An image and others", "series")
    'A window and others'
    """
    if kind == "image":
        return text
    one, many = CALLED[kind]
    text = re.sub(r"\b([Aa])n image\b", rf"\1 {one}", text)
    words = {"image": one, "images": many, "Image": one.title(), "Images": many.title()}
    return re.sub(r"\b[Ii]mages?\b", lambda found: words[found.group()], text)


def lines(data: Data) -> list[str]:
    """Two or three lines for people: what was read, how it is split, what was left out.

    >>> print(*lines(zspace.data.load("mnist5k", quiet=True)), sep="\\n")
    mnist5k: images of 1×28×28, uint8 values, 0 to 255 as 0 to 1; classes in training: 0 408, ...
    train 4,050, validation 450, test 500: cut from all samples
    """
    read, shape = data.read, "×".join(map(str, data.spec.shape))
    if data.encoding is not None:
        shape = data.encoding.size
    first = ", ".join(filter(None, (f"{data.name}: {read.kind} of {shape}", read.values)))
    found = [f"{first}; {_labels(data)}", _splits(data)]
    rest = [*read.notes]
    if read.left_out:
        rest.insert(0, f"left out: {', '.join(read.left_out)}")
    return [*found, *(["; ".join(rest)] if rest else [])]


def facts(data: Data) -> dict[str, Any]:
    """The same as plain JSON, for run.json."""
    read = data.read
    return {
        "kind": read.kind,
        "values": read.values,
        "scale": None if read.scale is None else list(read.scale),
        "splits": {
            name: {
                "samples": len(samples),
                "from": read.origins.get(name, ""),
                **({"classes": counts(samples, data.classes)} if data.classes else {}),
            }
            for name, samples in data.splits.items()
        },
        "labels": read.labels,
        "left_out": list(read.left_out),
        "notes": list(read.notes),
        "lines": lines(data),
    }


def counts(samples: Samples, classes: Sequence[str]) -> dict[str, int]:
    """Class -> how many of the samples; "" for those without a label, where there are some."""
    y = samples.labels()
    if y is None:
        return {}
    found = torch.bincount(y + 1, minlength=len(classes) + 1).tolist()
    known = {name: n for name, n in zip(classes, found[1:], strict=True) if n}
    return {**known, **({"": found[0]} if found[0] else {})}


def _splits(data: Data) -> str:
    """Sizes and origins: in one phrase where all are of the same origin."""
    origins = data.read.origins
    sizes = [(name, f"{name} {len(samples):,}") for name, samples in data.splits.items()]
    told = [origins.get(name, "") for name, _ in sizes]
    if len(set(told)) == 1 and len(told) > 1:
        return f"{', '.join(size for _, size in sizes)}: {told[0]}"
    pairs = zip((size for _, size in sizes), told, strict=True)
    return ", ".join(f"{size} ({where})" if where else size for size, where in pairs)


def _labels(data: Data) -> str:
    if data.attributes:
        names = data.attributes
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        where = f" from {data.read.labels}" if data.read.labels else ""
        scales = data.spec.scales or (FLAG,) * len(names)
        said = [
            name if s == FLAG else f"{name} {s.low:.4g} to {s.high:.4g} (mean {s.mean:.4g})"
            for name, s in zip(names[:MOST_NAMED], scales, strict=False)
        ]
        lacking = sum(int(s.unlabelled().sum()) for s in data.splits.values())
        gaps = f"; {lacking:,} samples lack a value" if lacking else ""
        if len(names) == 1:
            return f"label {said[0]}{gaps}"
        return f"{len(names)} attributes{where}: {', '.join(said)}{more}{gaps}"
    if not data.classes:
        return "no labels"
    where = f" ({data.read.labels})" if data.read.labels else ""
    first = next(iter(data.splits.values()))
    known = counts(first, data.classes)
    missing = known.pop("", 0)
    place = "in training" if data.splits.keys() >= {"train"} else "with counts"
    if len(known) <= MOST_NAMED:
        told = f"classes {place}{where}: {', '.join(f'{k} {n:,}' for k, n in known.items())}"
    else:
        shown = ", ".join(list(known)[:MOST_NAMED])
        told = (
            f"{len(known)} classes of {min(known.values()):,} to {max(known.values()):,} samples "
            f"{place}{where}: {shown}, ..."
        )
    others = [name for name in data.classes if name not in known]
    told += f"; only elsewhere: {', '.join(others)}" if others and len(others) < 20 else ""
    return told + (f"; {missing:,} without a label" if missing else "")

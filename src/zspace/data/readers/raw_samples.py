"""Raw samples of a table, a series or tokens become x: what was learned of those for training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from zspace.data.dataset import Data, Joined, Samples, Storage
from zspace.data.kinds.encoding import Encoding, Unencoded
from zspace.data.read_options import ReadOptions
from zspace.data.readers import spill
from zspace.data.splits import SPLITS


def encode_raw(data: Data, options: ReadOptions, encoding: Encoding | None = None) -> Data:
    """Data whose raw samples have become x, learned of their training samples; others as they are.

    Arguments:
        data: Split already.
        options: Of reading; what else is chosen of a kind, such as kinds of columns.
        encoding: What a finished run has learned; it is used as it is.

    Raises UserError for choices that do not fit, and for samples that cannot be encoded.
    """
    store = data.train.x
    if not isinstance(store, Unencoded):
        return data
    held = [s.x for s in [data.train, *data.splits.values()]]
    held += [x for one in held if isinstance(one, Joined) for x, _ in one.parts]
    stores = list({id(one): one for one in held if isinstance(one, Unencoded)}.values())
    notes: list[str] = []
    new = encoding is None
    if encoding is None:
        encoding, notes = store.fitted(data.train.index.numpy(), options, data.attributes)
    splits = {split: _of(samples) for split, samples in data.splits.items()}
    encoding, more = store.settled(encoding, stores, splits, options)
    notes += more
    made, missing = dict[int, Storage](), encoding.missing
    numbers = math.prod(encoding.spec().shape) * sum(one.shape[0] for one in stores)
    large = 8 * numbers > options.memory
    for raw in stores:
        made[id(raw)], gaps = raw.encoded(encoding, checked=not new, on_disk=large and raw.spills)
        missing |= gaps
    if missing != encoding.missing:
        encoding = replace(encoding, missing=missing)  # type: ignore[type-var] # all are dataclasses
    notes += _kept(stores, made.values())

    def moved(samples: Samples) -> Samples:
        if isinstance(samples.x, Joined):
            parts = tuple((made[id(x)], rows) for x, rows in samples.x.parts)
            return replace(samples, x=Joined(parts), ids=_named(samples, encoding))
        raw: Any = samples.x
        return replace(samples, x=made[id(raw)], ids=raw.named(encoding, samples.ids))

    one, two, three = (moved(getattr(data, split)) for split in SPLITS)
    whole = None if data.whole is None else {k: moved(s) for k, s in data.whole.items()}
    out = tuple(f"{name} ({why})" for name, why in getattr(encoding, "left_out", {}).items())
    read = replace(
        data.read,
        kind=encoding.plural,
        values=encoding.said() if not options.whole else "",
        left_out=(*data.read.left_out, *out) if not options.whole else data.read.left_out,
        notes=(*data.read.notes, *notes),
    )
    return replace(
        data, train=one, validation=two, test=three, whole=whole, encoding=encoding, read=read
    )


def _of(samples: Samples) -> list[tuple[Any, Any]]:
    """The storages of some samples, and which rows of each they are."""
    if isinstance(samples.x, Joined):
        rows = samples.index
        return [
            (x, own[rows[(rows >= start) & (rows < start + len(own))] - start].numpy())
            for (x, own), start in zip(samples.x.parts, _starts(samples.x), strict=True)
        ]
    return [(samples.x, samples.index.numpy())]


def _named(samples: Samples, encoding: Encoding) -> Sequence[str] | None:
    """What samples of several storages are called."""
    assert isinstance(samples.x, Joined)
    parts: Any = samples.x.parts
    names = [raw.named(encoding, None) for raw, _ in parts]
    if samples.named or not any(names):
        return samples.ids
    return [
        str(i) if called is None else called[i]
        for (_, rows), called in zip(parts, names, strict=True)
        for i in rows.tolist()
    ]


def _starts(x: Joined) -> list[int]:
    return [0, *itertools.accumulate(len(rows) for _, rows in x.parts)][:-1]


def _kept(stores: Sequence[Any], found: Iterable[Storage]) -> list[str]:
    """Where on disk what does not fit the memory is."""
    folders = {one.folder for one in stores if one.folder}
    folders |= {one.path.parent for one in found if isinstance(one, spill.Numbers)}
    if not folders:
        return []
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    names = " and ".join(sorted(folder.name for folder in folders))
    where = next(iter(folders)).parent
    told = f"it does not fit the memory and was written once to '{where}'"
    return [f"{told}: {names}, {size / 1e9:.2g} GB"]

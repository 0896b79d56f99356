"""Tables as data sets: splits, labels and groups of raw rows, then what is learned of them.

    a DataFrame, an array (N, D)   `from_tables`: rows with their labels, ids and own splits
    CSV, TSV, Parquet              `load_file`, through `zspace.data.readers.delimited`
    Data of raw rows               `tabulated`: training rows are learned from, all become x

A column `split` (train, val, test) is honoured; `--labels COLUMN` takes a column for labels, out
of x; `--group COLUMN` keeps all rows of one group in one split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.account import Read
from zspace.data.attributes import parse_columns
from zspace.data.dataset import Data, Part, Samples, Unsplit
from zspace.data.kinds.columns import as_kind
from zspace.data.kinds.table import Encoding, check_kinds, fit
from zspace.data.labels import label_columns, read_splits
from zspace.data.readers import delimited
from zspace.data.readers.frames import Raw, Table, columns_of, is_table
from zspace.data.readers.images import ReadOptions
from zspace.data.selection import read_weights
from zspace.data.splits import SPLIT_SEED, SPLITS, by_order, left_out, role, split_of
from zspace.system.errors import UserError, unknown

PIECE = 1 << 16
"""Rows that are encoded at once."""
FREQUENT, FAR = 0.01, 1.0
"""How often an extreme must occur to be asked about, and how many ranges of the rest away."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw rows of a table, before anything is learned of them; see `dataset.Lazy`."""

    table: Table
    made: str
    names: tuple[Any, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D): rows and columns."""
        return len(next(iter(self.table.values())).missing), len(self.table)

    def read(self, rows: Tensor) -> Tensor:
        """Never: rows are encoded before any is read as x."""
        raise AssertionError("raw rows were not encoded")

    def taken(self, rows: Any) -> Rows:
        """Some of them."""
        return replace(self, table={name: raw.rows(rows) for name, raw in self.table.items()})


def load_file(path: Path, options: ReadOptions) -> Unsplit:
    """The rows of a CSV, TSV or Parquet file. Raises UserError for what cannot be read."""
    parquet = path.suffix.lower() in delimited.PARQUET
    if parquet:
        table, made, names = delimited.read_parquet(path, options.memory)
    else:
        table, made, names = delimited.read_text(path, options)
    rows = Rows(table, made, tuple(names))
    about = f"The file {path.name}."
    told: tuple[dict, dict] = {}, {}
    title = f"'{path.name}'"
    return _unsplit(path.stem, {"train": rows}, told, options, title, path.name, about)


def from_tables(
    name: str, arrays: Mapping[str, Any], options: ReadOptions, title: str, provenance: str
) -> Unsplit:
    """Tables by name, as an .npz or a dict has them: X and y, or x_train, y_train, x_test, ...

    Raises UserError for a name that says neither, and for labels of other rows.
    """
    parts: dict[str, Rows] = {}
    labels: dict[str, Any] = {}
    weights: dict[str, tuple[Any, str]] = {}
    ids: dict[str, list[str]] = {}
    called: dict[str, str] = {}
    for key, value in arrays.items():
        found = role(key)
        what, split = found or ("x" if is_table(value) and len(arrays) == 1 else "", "")
        if key in (options.labels, options.weight):
            what, split = "y" if key == options.labels else "w", split or ""
        if what == "x":
            table, made = columns_of(value)
            names = tuple(value.columns) if made == "pandas" else ()
            parts[split or "train"] = Rows(table, made, names)
            called[split or "train"] = key
            if made == "pandas" and not _is_range(value.index):
                ids[split or "train"] = [str(one) for one in value.index]
        elif what == "y":
            labels[split or "train"] = value
        elif what == "w":
            weights[split or "train"] = (value, key)
        else:
            raise UserError(
                f"{title} holds {', '.join(map(str, arrays)):.200}, and nothing says what "
                f"{key!r:.60} is: leave it out with --leave-out, or name the rows x, x_val or "
                "x_test and the labels y"
            )
    if "train" not in parts and not options.whole:
        raise UserError(f"{title} holds no rows to train on: name them x_train")
    origin = next(iter(called.values())) if len(called) == 1 else ""
    told = (labels, weights)
    found_parts = _unsplit(name, parts, told, options, title, origin, provenance)
    named = {split: replace(part, ids=ids.get(split)) for split, part in found_parts.parts.items()}
    return replace(found_parts, parts=named) if len(parts) == len(named) else found_parts


def _is_range(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex"


def _unsplit(
    name: str,
    stores: Mapping[str, Rows],
    told_apart: tuple[Mapping[str, Any], Mapping[str, tuple[Any, str]]],
    options: ReadOptions,
    title: str,
    origin: str,
    provenance: str,
) -> Unsplit:
    """The parts, with labels and weights of their own or from a column, columns left out, splits
    found. told_apart: labels and weights by split that are no columns.
    """
    labels, weights = told_apart[0], dict(told_apart[1])
    parts: dict[str, Part] = {}
    notes: list[str] = []
    gone: list[str] = []
    told_by = ""
    raw_labels: dict[str, tuple[Any, int, str]] = {}
    for split, store in stores.items():
        kept = {n: raw for n, raw in store.table.items() if not left_out(n, options.leave_out)}
        gone += [f"{n} (as asked)" for n in store.table if n not in kept and n not in gone]
        kept = {n: _marked(raw, options.missing) for n, raw in kept.items()}
        columns = label_columns(options.labels, kept)
        if split in labels:
            raw_labels[split], told_by = (labels[split], store.shape[0], "y"), "y"
        elif columns:
            told_by = options.labels
            given = {name: _plain(kept.pop(name)) for name in columns}
            raw_labels[split] = (given, store.shape[0], options.labels)
        elif options.labels and not labels and not options.whole:
            raise unknown(f"column of labels of {title}; column", options.labels, kept)
        if options.weight in kept:
            weights[split] = (_plain(kept.pop(options.weight)), options.weight)
        elif options.weight and split not in weights and not options.whole:
            raise unknown(f"column of weights of {title}; column", options.weight, kept)
        if not kept:
            raise UserError(f"{title} has no column that is neither left out nor labels")
        where = origin or f"{split} rows"
        parts[split] = Part(replace(store, table=kept), origin=where)
    told = read_splits(raw_labels, title, **options.of_labels)
    for split, one in told.items():
        parts[split] = replace(
            parts[split], y=one.y, attributes=one.attributes, classes=one.classes
        )
    sizes = {split: store.shape[0] for split, store in stores.items()}
    for split, w in read_weights(weights, sizes, title).items():
        parts[split] = replace(parts[split], weights=w)
    attributes = next((one.names for one in told.values() if one.attributes is not None), ())
    if len(parts) == 1 and not options.whole:
        (part,) = parts.values()
        parts, how, cuts = _own_splits(part, options, title)
        if how:
            notes.append(f"split by column '{how}'{cuts and ': '}{cuts}")
            if how not in (options.group, options.split_by):
                gone.append(f"{how} (it says the splits)")
    elif options.split_by and not options.whole:
        raise UserError(
            f"{title} has splits of its own ({', '.join(parts)}), so --split-by "
            f"{options.split_by} has nothing to do: leave it out"
        )
    elif options.group and options.group not in next(iter(stores.values())).table:
        raise unknown("column of groups; column", options.group, next(iter(stores.values())).table)
    read = Read("rows", labels=told_by, left_out=tuple(gone), notes=tuple(notes))
    return Unsplit(name, parts, read, {"provenance": provenance, "attributes": attributes})


def _plain(raw: Raw) -> np.ndarray:
    """Values as labels are read: None where missing."""
    values = raw.values.astype(object)
    values[raw.missing] = None
    return values


def _marked(raw: Raw, markers: Sequence[str]) -> Raw:
    """The same with further values that mean missing."""
    if not markers:
        return raw
    if raw.values.dtype.kind == "O":
        said = {marker.strip() for marker in markers}
        unseen = np.array([str(value).strip() in said for value in raw.values.tolist()], bool)
    elif raw.values.dtype.kind in "iuf":
        numbers = [float(marker) for marker in markers if _is_number(marker)]
        unseen = np.isin(raw.values.astype(np.float64), numbers)
    else:
        return raw
    return Raw(raw.values, raw.missing | unseen, raw.dtype)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _own_splits(part: Part, options: ReadOptions, title: str) -> tuple[dict[str, Part], str, str]:
    """Parts by a column 'split', by groups or by order; the column that says them; the cuts."""
    store, group, order = part.x, options.group, options.split_by
    assert isinstance(store, Rows)
    if group and order:
        raise UserError(
            f"--group {group} and --split-by {order} both say how rows are split: give one of them"
        )
    if order:
        if order not in store.table:
            raise unknown(f"column to split {title} by; column", order, store.table)
        raw = as_kind(store.table[order], parse_columns(options.columns).get(order, ""), order)
        names, cuts = by_order(raw.values, raw.missing, order, title)
        return _rows_of(part, names, order), order, cuts
    if group:
        if group not in store.table:
            raise unknown(f"column of groups of {title}; column", group, store.table)
        return _rows_of(part, _by_group(store.table[group], title), group), group, ""
    column = next((name for name in store.table if name.lower() == "split"), "")
    if not column:
        return {"train": part}, "", ""
    said = [split_of(str(value).strip()) for value in store.table[column].values.tolist()]
    if None in said or store.table[column].missing.any() or "train" not in said:
        return {"train": part}, "", ""  # a column like any other
    kept = {name: raw for name, raw in store.table.items() if name != column}
    part = replace(part, x=replace(store, table=kept))
    names = np.array(["train" if one == "unlabelled" else one for one in said])
    return _rows_of(part, names, column), column, ""


def _by_group(raw: Raw, title: str) -> np.ndarray:
    """The split of each row: whole groups go to test, then to validation, up to a tenth each."""
    import pandas as pd

    if raw.missing.any():
        raise UserError(f"the column of groups of {title} has missing values: fill them in")
    codes, different = pd.factorize(raw.values)
    if len(different) < 3:
        raise UserError(
            f"the column of groups of {title} has {len(different)} groups, but three splits need "
            "3: choose another --group, or none"
        )
    counts, of = np.bincount(codes), np.full(len(different), "train     ")
    order = np.random.RandomState(SPLIT_SEED).permutation(len(different))
    for split in ("test", "validation"):
        free = order[of[order] == "train     "]
        room, taken = max(1, len(codes) // 10), 0
        for i in free[: max(1, len(free) - (2 if split == "test" else 1))]:
            if taken == 0 or taken + counts[i] <= room:
                of[i], taken = split, taken + counts[i]
    return np.char.strip(of[codes])


def _rows_of(part: Part, names: np.ndarray, column: str) -> dict[str, Part]:
    """One part for each split; ids stay the positions in the whole table."""
    store, found = part.x, {}
    assert isinstance(store, Rows)
    for split in SPLITS:
        rows = np.flatnonzero(names == split)
        if not len(rows):
            continue
        ids = [str(i) if part.ids is None else part.ids[i] for i in rows.tolist()]
        y, attributes, weights = (
            None if told is None else told[torch.from_numpy(rows)]
            for told in (part.y, part.attributes, part.weights)
        )
        origin = f"{part.origin} by {column}"
        found[split] = replace(
            part,
            x=store.taken(rows),
            y=y,
            attributes=attributes,
            weights=weights,
            ids=ids,
            origin=origin,
        )
    return found


def tabulated(data: Data, options: ReadOptions, encoding: Encoding | None = None) -> Data:
    """Data whose raw rows have become x, learned of their training rows; others as they are.

    Arguments:
        data: Split already.
        options: Its `columns` are kinds that are set: "age=number".
        encoding: What a finished run has learned; it is used as it is.

    Raises UserError for a kind that does not fit, and for rows that cannot be encoded.
    """
    store = data.train.x
    if not isinstance(store, Rows):
        return data
    every = {id(s.x): s.x for s in [data.train, *data.splits.values()]}
    stores = [one for one in every.values() if isinstance(one, Rows)]
    notes: tuple[str, ...] = ()
    if encoding is None:
        encoding, notes = _learned(data, store, stores, options)
    tensors = {id(one): _encoded(one, encoding) for one in stores}

    def moved(samples: Samples) -> Samples:
        return replace(samples, x=tensors[id(samples.x)])

    one, two, three = (moved(getattr(data, split)) for split in SPLITS)
    whole = None if data.whole is None else {k: moved(s) for k, s in data.whole.items()}
    out = tuple(f"{name} ({why})" for name, why in encoding.left_out.items())
    said = f"columns {', '.join(_said(entry) for entry in encoding.entries[:MOST_SAID])}"
    more = len(encoding.entries) - MOST_SAID
    said += f" and {more:,} more" if more > 0 else ""
    read = replace(
        data.read,
        values=said if not options.whole else "",
        left_out=(*data.read.left_out, *out) if not options.whole else data.read.left_out,
        notes=(*data.read.notes, *notes),
    )
    return replace(
        data, train=one, validation=two, test=three, whole=whole, encoding=encoding, read=read
    )


MOST_SAID = 20
"""Columns that are said by name."""


def _said(entry: Any) -> str:
    return f"{entry.name} ({entry.said()})"


def _learned(
    data: Data, store: Rows, stores: Sequence[Rows], options: ReadOptions
) -> tuple[Encoding, tuple[str, ...]]:
    """What the training rows teach, and what is to be asked about them."""
    kinds = parse_columns(options.columns)
    for name in ("y", *label_columns(options.labels, kinds), *data.attributes):
        if name not in store.table:
            kinds.pop(name.rpartition("=")[0] or name, None)  # said of labels, not of x
    check_kinds(kinds, store.table)
    index = data.train.index.numpy()
    pieces = (store.taken(index[i : i + PIECE]).table for i in range(0, len(index), PIECE))
    encoding = fit(pieces, len(index), made=store.made, names=store.names, kinds=kinds)
    kept = [entry.name for entry in encoding.entries]
    gaps = any(one.table[name].missing.any() for one in stores for name in kept)
    unseen = not encoding.missing and any(
        np.isnan(encoding.encoded(one.table, checked=False)).any() for one in stores
    )
    encoding = replace(encoding, missing=encoding.missing or gaps or unseen)
    notes = questions({name: store.table[name] for name in kept})
    if encoding.missing:
        cells = sum(int(store.table[name].missing.sum()) for name in kept)
        notes.insert(0, f"{cells:,} values are missing")
    return encoding, tuple(notes)


def _encoded(store: Rows, encoding: Encoding) -> Tensor:
    n = store.shape[0]
    x = np.empty((n, encoding.width), np.float32)
    for i in range(0, n, PIECE):
        x[i : i + PIECE] = encoding.encoded(store.taken(slice(i, i + PIECE)).table)
    return torch.from_numpy(x)


SUSPECTS = {"?", "na", "n/a", "null", "none", "-", "--", ".", "unknown", "missing", "#n/a"}


def questions(table: Mapping[str, Raw]) -> list[str]:
    """Questions about values that may mean missing: a text such as '?', or a frequent extreme that
    is far from all other numbers, such as -200. Nothing is taken for missing unasked.

    >>> table, _ = columns_of(np.r_[np.arange(50.0), np.full(9, -200.0)][:, None])
    >>> questions(table)
    ['is -200 in 0 a missing value? then add --missing -200']
    """
    found: dict[str, list[str]] = {}
    for name, raw in table.items():
        if marker := _suspect(raw):
            found.setdefault(marker, []).append(name)
    told = {k: ", ".join(v[:5]) + " and others" * (len(v) > 5) for k, v in found.items()}
    return [f"is {k} in {v} a missing value? then add --missing {k}" for k, v in told.items()]


def _suspect(raw: Raw) -> str:
    """A value that may mean missing, as it would be given; "" for none."""
    import pandas as pd

    values = raw.values[~raw.missing]
    if values.dtype.kind == "O":
        texts = (str(value).strip() for value in pd.unique(values)[:10_000])
        return next((f"'{text}'" for text in texts if text.lower() in SUSPECTS), "")
    if values.dtype.kind not in "iuf" or len(values) < 20:
        return ""
    numbers = values.astype(np.float64)
    for end in (numbers.min(), numbers.max()):
        rest = numbers[numbers != end]
        if len(rest) < 10 or len(numbers) - len(rest) < FREQUENT * len(numbers) or abs(end) < 9:
            continue
        span = rest.max() - rest.min()
        if 0 < FAR * span < np.abs(rest - end).min():
            return f"{end:g}"
    return ""

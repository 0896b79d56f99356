"""Tables as data sets: splits, labels and groups of raw rows, then what is learned of them.

    a DataFrame, an array (N, D)   `from_tables`: rows with their labels, ids and own splits
    CSV, TSV, Parquet              `load_file`, through `zspace.data.readers.delimited`
    raw rows                       `Rows`: those for training are learned from, all become x

What does not fit the memory is written to files of the cache, column by column, as is the x made
of it (`zspace.data.readers.spill`); all is then done in pieces, with the same result.

A column `split` (train, val, test) is honoured; `--labels COLUMN` takes a column for labels, out
of x; `--group COLUMN` keeps all rows of one group in one split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from zspace.data.account import Read
from zspace.data.attributes import parse_columns
from zspace.data.dataset import Part, Storage, Unsplit
from zspace.data.kinds import columns
from zspace.data.kinds.columns import as_kind
from zspace.data.kinds.encoding import Unencoded
from zspace.data.kinds.table import TableEncoding, check_kinds, fit
from zspace.data.labels import label_columns, read_splits
from zspace.data.naming import Positions
from zspace.data.read_options import ReadOptions
from zspace.data.readers import delimited, spill, token_samples
from zspace.data.readers.doubts import Doubts
from zspace.data.readers.frames import Raw, Table, columns_of, is_table
from zspace.data.selection import read_weights
from zspace.data.splits import SPLIT_SEED, SPLITS, by_order, left_out, role, split_of
from zspace.system.errors import UserError, unknown

PIECE, NUMBERS = 1 << 16, 1 << 20
"""Rows, and numbers in them, that are encoded at once at most."""


@dataclass(frozen=True, eq=False)
class Rows(Unencoded):
    """Raw rows of a table, before anything is learned of them; see `dataset.Lazy`.

    Arguments:
        table: Columns by name, in memory or in files.
        made: What made the table; see `frames.columns_of`.
        names: What its columns are called there.
        index: (n,) which rows of the columns these are; None: all.
        folder: Of the columns, where they are in files.
        out: Columns that are not in the files, with the reason.
    """

    kind: ClassVar[str] = "table"
    table: Mapping[str, Raw | spill.Stored]
    made: str
    names: tuple[Any, ...] = ()
    index: np.ndarray | None = None
    folder: Path | None = None
    out: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D): rows and columns."""
        n = next(iter(self.table.values())).size
        return n if self.index is None else len(self.index), len(self.table)

    def taken(self, rows: np.ndarray) -> Rows:
        """Some of them."""
        return replace(self, index=rows if self.index is None else self.index[rows])

    def pieces(self, width: int = 1) -> Iterator[Table]:
        """All rows in memory, piece by piece: of at most `NUMBERS` of so many numbers in x."""
        n, columns = self.shape
        step = max(1, min(PIECE, NUMBERS // max(width, columns)))
        for at in range(0, n, step):
            i: Any = slice(at, at + step)
            i = i if self.index is None else self.index[i]
            yield {name: raw.rows(i) for name, raw in self.table.items()}

    def column(self, name: str) -> Raw:
        """All of one column, in memory."""
        return self.table[name].rows(slice(None) if self.index is None else self.index)

    def fitted(
        self, rows: np.ndarray, options: ReadOptions, told: tuple[str, ...]
    ) -> tuple[TableEncoding, list[str]]:
        """What the rows for training teach, and what is to be asked about all rows."""
        return _learned(self, rows, options, told)

    def named(self, encoding: TableEncoding, ids: Sequence[str] | None) -> Sequence[str] | None:
        """By the column that identifies rows, unless the table has named them itself."""
        nameless = ids is None or isinstance(ids, Positions)
        if nameless and encoding.identifier in self.table:
            return Called(self.column(encoding.identifier))
        return ids

    def encoded(
        self, encoding: TableEncoding, *, checked: bool, on_disk: bool
    ) -> tuple[Storage, bool]:
        """x of the rows, and whether any of it is missing; on disk, it is written there once."""
        return _encoded(self, encoding, checked, on_disk)


def load_file(path: Path, options: ReadOptions) -> Unsplit:
    """The rows of a CSV, TSV or Parquet file. Raises UserError for what cannot be read."""
    rows = rows_of_file(path, options)
    about = f"The file {path.name}."
    told: tuple[dict, dict, dict] = {}, {}, {}
    title = f"'{path.name}'"
    return _unsplit(path.stem, {"train": rows}, told, options, title, path.name, about)


def rows_of_file(path: Path, options: ReadOptions) -> Rows:
    """All columns of such a file, in memory or in files of the cache."""
    file: delimited.Text | delimited.Parquet
    if path.suffix.lower() in delimited.PARQUET:
        file = delimited.Parquet.of(path)
    else:
        file = delimited.Text.of(path, options.missing)
    if file.fits(options.memory):
        table, names = file.at_once()
        return Rows(table, file.made, tuple(names))
    return _on_disk(path.stem, path, file.pieces, file.made, options)


def _on_disk(
    name: str,
    path: Path,
    pieces: Callable[[], Iterable[Table]],
    made: str,
    options: ReadOptions,
    view: tuple[object, ...] = (),
) -> Rows:
    """Rows whose columns lie in files, written there if need be from pieces of what path holds.

    view: Which part of it that is, where it is not all.
    """
    key = (path.suffix.lower(), spill.digest_of(path), options.missing, *view)
    folder = spill.folder_of(name, *key)

    def ready() -> Iterator[Table]:
        for piece in pieces():
            yield {one: marked(raw, options.missing) for one, raw in piece.items()}

    found = spill.columns(folder, ready)
    there = {one: column for one, column in found.items() if not isinstance(column, str)}
    out = {one: why for one, why in found.items() if isinstance(why, str)}
    if not there:
        raise UserError(
            f"'{name}' has no column to learn from: each has {next(iter(out.values()))}"
        )
    names = tuple(there) if made == "pandas" else ()
    return Rows(there, made, names, folder=folder, out=out)


def _of_array(name: str, value: np.memmap, options: ReadOptions) -> Rows:
    """Rows of an array (N, D) in a file, in files of columns if they do not fit the memory."""
    if value.size * (8 + 4) <= options.memory:
        return Rows(*columns_of(value))
    step = max(1, NUMBERS // max(1, value.shape[1]))
    path = Path(str(value.filename))
    first: Any = value
    while isinstance(first.base, np.ndarray):  # a part of a map knows neither where it begins
        first = first.base
    begins = value.ctypes.data - first.ctypes.data + value.offset
    view = (value.dtype.str, value.shape, value.strides, begins)
    plain, whole = value.flags.c_contiguous, (value.dtype, value.shape)

    def pieces() -> Iterator[Table]:
        for at in range(0, whole[1][0], step):
            # Mapped for each piece: pages of a map that stays open count as memory.
            some = np.memmap(path, whole[0], "r", begins, whole[1]) if plain else value
            yield columns_of(np.array(some[at : at + step]))[0]

    return _on_disk(name, path, pieces, "array", options, view)


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
        samples = is_table(value) or token_samples.holds(value, options)
        what, split = found or ("x" if samples and len(arrays) == 1 else "", "")
        if key in (options.labels, options.weight):
            what, split = "y" if key == options.labels else "w", split or ""
        if what == "x":
            if (column := token_samples.column_of(key, value, options, title)) is not None:
                made = token_samples.MADE
                rows = Rows(column, made)
            elif isinstance(value, np.memmap):
                rows, made = _of_array(name, value, options), "array"
            else:
                table, made = columns_of(value)
                rows = Rows(table, made, tuple(value.columns) if made == "pandas" else ())
            parts[split or "train"] = rows
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
    return _unsplit(name, parts, (labels, weights, ids), options, title, origin, provenance)


def _is_range(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex"


def _unsplit(
    name: str,
    stores: Mapping[str, Rows],
    told_apart: tuple[Mapping[str, Any], Mapping[str, tuple[Any, str]], Mapping[str, list[str]]],
    options: ReadOptions,
    title: str,
    origin: str,
    provenance: str,
) -> Unsplit:
    """The parts, with labels and weights of their own or from a column, columns left out, splits
    found. told_apart: labels, weights and ids by split that are no columns.
    """
    labels, weights, ids = told_apart[0], dict(told_apart[1]), told_apart[2]
    parts: dict[str, Part] = {}
    notes: list[str] = []
    gone: list[str] = []
    told_by = ""
    raw_labels: dict[str, tuple[Any, int, str]] = {}
    for split, store in stores.items():
        kept = {n: raw for n, raw in store.table.items() if not left_out(n, options.leave_out)}
        gone += [f"{n} (as asked)" for n in store.table if n not in kept and n not in gone]
        kept = {n: marked(raw, options.missing) for n, raw in kept.items()}
        named = (options.group, options.split_by, options.weight)
        for asked in (*_several(options.labels), *named, *parse_columns(options.columns)):
            if asked in store.out:
                raise UserError(
                    f"column '{asked:.60}' of {title} has {store.out[asked]}, which is more than "
                    "is kept of a table that does not fit the memory: write numbers there instead"
                )
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
        parts[split] = Part(replace(store, table=kept), ids=ids.get(split), origin=where)
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
    unsplit = Unsplit(name, parts, read, {"provenance": provenance, "attributes": attributes})
    made = next(iter(stores.values())).made
    if made == token_samples.MADE or options.kind == "tokens":
        return token_samples.of_rows(unsplit, options, title)
    return unsplit


def _several(names: str) -> list[str]:
    return [names, *(name.strip() for name in names.split(","))]


def _plain(raw: Raw | spill.Stored) -> np.ndarray:
    """Values as labels are read: None where missing."""
    if not isinstance(raw, Raw):
        at, different = raw.places()
        return np.concatenate([different, np.full(1, None)])[at]  # the last one is missing
    values = raw.values.astype(object)
    values[raw.missing] = None
    return values


def marked(raw: Any, markers: Sequence[str]) -> Any:
    """The same with further values that mean missing; a column in files is so already."""
    if not markers or not isinstance(raw, Raw):
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
        raw = as_kind(store.column(order), parse_columns(options.columns).get(order, ""), order)
        names, cuts = by_order(raw.values, raw.missing, order, title)
        return _rows_of(part, names, order), order, cuts
    if group:
        if group not in store.table:
            raise unknown(f"column of groups of {title}; column", group, store.table)
        return _rows_of(part, _by_group(store.column(group), title), group), group, ""
    column = next((name for name in store.table if name.lower() == "split"), "")
    if not column:
        return {"train": part}, "", ""
    raw = store.column(column)
    codes, different = _factorized(raw.values)
    said = [split_of(str(value).strip()) for value in different]
    if None in said or raw.missing.any() or "train" not in said:
        return {"train": part}, "", ""  # a column like any other
    kept = {name: raw for name, raw in store.table.items() if name != column}
    part = replace(part, x=replace(store, table=kept))
    names = np.array(["train" if one == "unlabelled" else one for one in said])
    return _rows_of(part, names[codes], column), column, ""


def _factorized(values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    import pandas as pd

    codes, different = pd.factorize(values)
    return codes, different.tolist()


@dataclass(frozen=True, eq=False)
class Called(Sequence[str]):
    """The ids of rows (n,) by a column of theirs, "" where it has no value.

    Attributes:
        numbers: Whether each is a whole number.
    """

    raw: Raw

    def __len__(self) -> int:
        return self.raw.size

    def __getitem__(self, i: Any) -> Any:
        return "" if self.raw.missing[i] else columns.key(self.raw.values[i])

    @property
    def numbers(self) -> bool:
        return self.raw.values.dtype.kind in "iu" and not self.raw.missing.any()


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
        ids = Positions(rows) if part.ids is None else [part.ids[i] for i in rows.tolist()]
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


def _learned(
    store: Rows, rows: np.ndarray, options: ReadOptions, told: tuple[str, ...]
) -> tuple[TableEncoding, list[str]]:
    """What the training rows teach, and what is to be asked about the rows of their storage."""
    kinds = parse_columns(options.columns)
    for name in ("y", *label_columns(options.labels, kinds), *told):
        if name not in store.table:
            kinds.pop(name.rpartition("=")[0] or name, None)  # said of labels, not of x
    check_kinds(kinds, store.table)
    train = store.taken(rows)
    about: dict[str, Any] = {
        "made": store.made,
        "names": store.names,
        "kinds": kinds,
        "left_out": store.out,
    }
    encoding = fit(train.pieces(), train.shape[0], **about)
    kept = {entry.name for entry in encoding.entries}
    doubts, cells = Doubts(kinds), 0
    for piece in store.pieces():
        asked = {n: raw for n, raw in piece.items() if n in kept or raw.values.dtype == object}
        doubts.add(asked)
        cells += sum(int(raw.missing.sum()) for n, raw in asked.items() if n in kept)
    notes = doubts.questions()
    if cells:
        notes.insert(0, f"{cells:,} values are missing" if cells > 1 else "1 value is missing")
    return replace(encoding, missing=encoding.missing or cells > 0), notes


def _encoded(
    store: Rows, encoding: TableEncoding, checked: bool, on_disk: bool
) -> tuple[Storage, bool]:
    """x of the rows, and whether any of it is missing; on disk, it is written there once."""
    shape = (store.shape[0], encoding.width)

    def pieces() -> Iterator[np.ndarray]:
        for piece in store.pieces(encoding.width):
            yield encoding.encoded(piece, checked=checked)

    if on_disk:
        rows = "" if store.index is None else hashlib.sha256(store.index.tobytes()).hexdigest()
        facts, tensors = encoding.to_files()
        knots = [(name, tensors[name].numpy().tobytes()) for name in sorted(tensors)]
        del facts["missing"]
        key = (store.folder, rows, checked and not encoding.missing, facts, knots)
        return spill.array(spill.folder_of("x", *key), shape, pieces)
    x, at, missing = np.empty(shape, np.float32), 0, False
    for piece in pieces():
        x[at : at + len(piece)] = piece
        at += len(piece)
        missing |= bool(np.isnan(piece).any())
    return torch.from_numpy(x), missing

"""Long series from tables: a CSV, TSV or Parquet file, a DataFrame, or a folder of such files.

    numbers             channels
    dates               the time of each step: out of x; it must not go back
    --group COLUMN      each value is a series of its own
    a folder            each file is a series of its own, with the same columns

All of them are cut into windows of --window T steps; see `zspace.data.readers.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.account import Read
from zspace.data.attributes import parse_columns
from zspace.data.dataset import Part, Unsplit
from zspace.data.kinds.columns import as_kind
from zspace.data.read_options import ReadOptions
from zspace.data.readers.delimited import PARQUET, TEXT
from zspace.data.readers.frames import Raw, columns_of
from zspace.data.readers.series_arrays import cut_note, cut_starts, markers, stride_of
from zspace.data.readers.tabular import Rows, marked, rows_of_file
from zspace.data.readers.windows import Named, Sources, Steps, Windows
from zspace.data.splits import SPLITS, left_out, role
from zspace.system.errors import UserError, unknown

KINDS = ("number", "date", "id")
"""What a column of a series may be said to be; id: it is left out."""


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of one source, sorted by what they are.

    Arguments:
        rows: As they were read.
        channels: The columns that are numbers, or have no values at all, by name.
        empty: Those that have no values.
        out: The others, with the reason.
        times: (L,) of the steps, datetime64; None where no column holds dates.
        clock: What that column is called.
        title: For sentences.
    """

    rows: Rows
    channels: Mapping[str, Any]
    empty: frozenset[str]
    out: Mapping[str, str]
    times: np.ndarray | None
    clock: str
    title: str


def load_table(path: Path, options: ReadOptions) -> Unsplit:
    """The long series of a CSV, TSV or Parquet file, cut into windows.

    Raises UserError for what cannot be read, and where it is not said how long windows are.
    """
    title = f"'{path.name}'"
    table = sorted_columns(rows_of_file(path, options), options, title)
    part, read = _cut([table], [], options, title, path.name)
    return Unsplit(path.stem, {"train": part}, read, {"provenance": f"The file {path.name}."})


def load_frames(name: str, frames: Mapping[str, Any], options: ReadOptions) -> Unsplit:
    """Long series from DataFrames: one, or one of each split (x_train, x_test).

    Raises UserError for labels, and as `load_table` does.
    """
    parts: dict[str, Part] = {}
    read = Read("windows")
    for key, frame in frames.items():
        what = role(key)
        if what is None or what.what != "x":
            raise UserError(
                f"{key} of the data cannot go with windows that are cut out of a series: leave it "
                "out, or give windows (N, T, D) with labels"
            )
        if type(getattr(frame, "index", None)).__name__ == "DatetimeIndex":
            frame = frame.reset_index()
        table, made = columns_of(frame)
        title = "the data" if len(frames) == 1 else f"{key} of the data"
        told = sorted_columns(Rows(table, made), options, title)
        parts[what.split or "train"], read = _cut([told], [], options, title, key)
    if "train" not in parts and not options.whole:
        raise UserError("the data hold no series to train on: name it x_train")
    ordered = {split: parts[split] for split in SPLITS if split in parts}
    return Unsplit(name, ordered, read, {"provenance": f"Given in Python, as {name}."})


def holds_tables(folder: Path) -> bool:
    """Whether a folder holds files of tables, beside whatever else."""
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    ends = (*TEXT, *PARQUET)
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ends and path.is_file() and not path.name.startswith(".")
    )


def load_tables(folder: Path, options: ReadOptions) -> Unsplit:
    """A folder of CSV, TSV or Parquet files, each a series of its own, cut into windows.

    Raises UserError for files that differ in their columns, and as `load_table` does.
    """
    every = _files(folder)
    files = [path for path in every if not left_out(path.name, options.leave_out)]
    gone = [f"{path.name} (as asked)" for path in every if path not in files]
    if options.group:
        raise UserError(
            f"--group {options.group}: each file of '{folder.name}' is a series already: leave it "
            "out"
        )
    if not files:
        raise UserError(f"'{folder}' holds no file of a series that is not left out")
    each = replace(options, memory=options.memory / len(files))
    tables = [sorted_columns(rows_of_file(p, each), options, f"'{p.name}'") for p in files]
    _check_alike(tables)
    title = f"'{folder.name}'"
    part, read = _cut(tables, [path.name for path in files], options, title, folder.name)
    read = replace(read, left_out=(*gone, *read.left_out))
    about = {"provenance": f"The files of the folder {folder.name}."}
    return Unsplit(folder.resolve().name, {"train": part}, read, about)


def _check_alike(tables: Sequence[Table]) -> None:
    """Raise UserError where files differ in the names of their columns, or in having a time."""
    first = tables[0]
    for other in tables[1:]:
        names = [{*table.channels, *table.out} for table in (first, other)]
        if names[0] != names[1]:
            odd = sorted(names[0] ^ names[1])[0]
            has, lacks = (first, other) if odd in names[0] else (other, first)
            raise UserError(
                f"{has.title} has a column '{odd:.60}', but {lacks.title} has none: give all "
                "files the same columns"
            )
        if first.clock != other.clock:
            raise UserError(
                f"the time of {first.title} is column '{first.clock:.60}', that of {other.title} "
                f"is '{other.clock:.60}': give all files the same columns"
            )


def sorted_columns(rows: Rows, options: ReadOptions, title: str) -> Table:
    """Columns of a table by what they are in a series.

    Raises UserError for kinds that no column of a series has, and for several columns of dates.
    """
    if not options.window:
        raise UserError(
            f"{title} is one long series: say how many steps a sample has, with --window 24 for "
            "example" + (", as the model reads windows of arrays" if options.whole else "")
        )
    for flag, given in (("--labels", options.labels), ("--weight", options.weight)):
        if given and not options.whole:
            raise UserError(
                f"{flag} {given:.60}: windows that are cut out of a series have no labels or "
                "weights of their own: leave it out"
            )
    kinds = parse_columns(options.columns)
    for name, kind in kinds.items():
        if name not in rows.table and name not in rows.out:
            raise unknown("column", name, rows.table)
        if kind not in KINDS:
            raise unknown(f"kind of column '{name:.60}' of a series", kind, KINDS)
    channels, empty, out = dict[str, Any](), set[str](), dict(rows.out)
    dates: dict[str, Raw] = {}
    for name, column in rows.table.items():
        kind = kinds.get(name, "")
        if left_out(name, options.leave_out):
            out[name] = "as asked"
        elif name == options.group:
            out[name] = "it says the series"
        elif kind == "id":
            out[name] = "by --columns"
        elif kind == "date" or (not kind and _is_date(column)):
            whole = marked(column.rows(slice(None)), options.missing)
            dates[name] = as_kind(whole, "date", name)
        else:
            _sort(name, column, kind, options, (channels, empty, out))
    times, clock = _clock(dates, kinds, title)
    for name in dates:
        out[name] = "it is the time" if name == clock else "dates"
    if not channels or channels.keys() == empty:
        reasons = ", ".join(f"{name} ({why})" for name, why in [*out.items()][:5])
        raise UserError(f"{title} has no column of numbers to learn from: {reasons}")
    return Table(rows, channels, frozenset(empty), out, times, clock, title)


def _is_date(column: Any) -> bool:
    return column.rows(slice(0, 1)).values.dtype.kind == "M"


def _sort(
    name: str,
    column: Any,
    kind: str,
    options: ReadOptions,
    found: tuple[dict[str, Any], set[str], dict[str, str]],
) -> None:
    """A column that holds no dates as a channel, as one without values, or as none."""
    channels, empty, out = found
    values = column.rows(slice(0, 1)).values
    if values.dtype.kind in "iufb" and kind != "number":
        channels[name] = column
        if column.rows(slice(None)).missing.all():
            empty.add(name)
        return
    whole = marked(column.rows(slice(None)), options.missing)
    if whole.missing.all():
        channels[name] = Raw(np.zeros(whole.size), whole.missing, whole.dtype)
        empty.add(name)
    elif kind == "number":
        channels[name] = as_kind(whole, "number", name)
    elif values.dtype.kind == "m":
        out[name] = "durations"
    else:
        first = whole.values[~whole.missing][0]
        out[name] = f"texts, such as {first!r:.30}"


def _clock(
    dates: Mapping[str, Raw], kinds: Mapping[str, str], title: str
) -> tuple[np.ndarray | None, str]:
    """The times of the steps, and the column that holds them."""
    told = [name for name in dates if kinds.get(name) == "date"] or list(dates)
    if not told:
        return None, ""
    if len(told) > 1:
        raise UserError(
            f"columns {' and '.join(told[:5])} of {title} hold dates: say which is the time with "
            f"--columns {told[0]:.60}=date, or leave the others out with --leave-out"
        )
    raw = dates[told[0]]
    if raw.missing.any():
        at = int(raw.missing.argmax())
        raise UserError(
            f"column '{told[0]:.60}' of {title} is the time, and has {int(raw.missing.sum()):,} "
            f"missing values, the first in row {at:,}: fill them in, or leave it out with "
            f"--leave-out {told[0]:.60}"
        )
    return raw.values, told[0]


def _cut(
    tables: Sequence[Table],
    called: Sequence[str],
    options: ReadOptions,
    title: str,
    origin: str,
) -> tuple[Part, Read]:
    """The windows of one table, or of several that are a series each, and what to say of them."""
    first = tables[0]
    names = [
        name
        for name in first.channels
        if all(name in table.channels for table in tables)
        and (options.whole or not all(name in table.empty for table in tables))
    ]
    out: dict[str, str] = {}
    for table in tables:
        for name, why in table.out.items():
            out.setdefault(name, why if len(tables) == 1 or name in first.out else
                           f"{why} in {table.title}")  # fmt: skip
    out |= {n: "no values" for n in first.channels if n not in names and n not in out}
    sizes, order, groups = [table.rows.shape[0] for table in tables], None, tuple(called)
    times = (
        None if first.times is None else _joined([t.times for t in tables if t.times is not None])
    )
    if options.group:
        sizes, order, groups = _groups(first, options.group)
        times = times if times is None else times[order]
    bounds = np.cumsum([0, *sizes])
    sources = Sources(bounds, groups, times, stride_of(options), bool(options.group))
    notes = [cut_note(options)]
    if times is not None:
        notes += _irregular(sources, first.clock, title)
    starts = cut_starts(sizes, options, title)
    short = [i for i, n in enumerate(sizes) if n < options.window]
    asked = [name for name, why in out.items() if why == "as asked"]
    gone = [f"{name} (as asked)" for name in asked]
    gone += [f"{groups[i]} ({sizes[i]:,} steps, fewer than a window)" for i in short[:5]]
    gone += [f"{len(short) - 5:,} more that are too short"] * (len(short) > 5)
    windows = Windows(
        Steps(
            tuple(tuple(table.channels[name] for name in names) for table in tables),
            tuple(names),
            markers(options.missing),
            order,
        ),
        starts,
        options.window,
        title,
        "float64",
        sources,
        {name: why for name, why in out.items() if name not in asked},
        first.rows.folder,
    )
    read = Read("windows", left_out=tuple(gone), notes=tuple(notes))
    return Part(windows, ids=Named(starts, sources), origin=origin), read


def _joined(times: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([one.astype("datetime64[us]") for one in times])


def _groups(table: Table, name: str) -> tuple[list[int], np.ndarray, tuple[str, ...]]:
    """How long each group is, the order of the rows by group, and what the groups are called."""
    import pandas as pd

    if name not in table.rows.table:
        raise unknown(f"column of groups of {table.title}; column", name, table.rows.table)
    raw = table.rows.column(name)
    if raw.missing.any():
        raise UserError(f"the column of groups of {table.title} has missing values: fill them in")
    codes, different = pd.factorize(raw.values)
    order = np.argsort(codes, kind="stable")
    return np.bincount(codes).tolist(), order, tuple(str(one) for one in different.tolist())


def _irregular(sources: Sources, clock: str, title: str) -> list[str]:
    """A note on steps that are not as long as most. Raises UserError where the time goes back."""
    assert sources.times is not None
    ticks = sources.times.astype("datetime64[us]").astype(np.int64)
    gaps = np.diff(ticks)
    inside = np.ones(len(gaps), bool)
    inside[sources.bounds[1:-1] - 1] = False
    back = np.flatnonzero((gaps < 0) & inside)
    if len(back):
        at = int(back[0]) + 1
        own = int(sources.of(np.array(at)))
        of = f" of {sources.called[own]}" if sources.called else ""
        raise UserError(
            f"the time of {title}{of} goes back: column '{clock:.60}' has "
            f"{sources.place(at - 1)} before {sources.place(at)} (row "
            f"{at - int(sources.bounds[own]):,}): sort the rows by it, or, if they are several "
            "series, say which with --group"
        )
    gaps = gaps[inside]
    if not len(gaps):
        return []
    values, counts = np.unique(gaps, return_counts=True)
    usual = int(values[counts.argmax()])
    odd, same = int((gaps != usual).sum()), int((gaps == 0).sum()) if usual else 0
    if not usual:
        return [f"{len(gaps) - odd:,} of {len(gaps):,} steps have the time of the one before"]
    told = f"a step is {_span(usual)}"
    if odd:
        told += f", but {odd:,} of {len(gaps):,} steps are not"
    if same:
        told += f", {same:,} of them at the same time as the one before"
    return [told]


def _span(ticks: int) -> str:
    """Microseconds as people say them.

    >>> _span(3_600_000_000), _span(90_000_000), _span(1_500)
    ('1 hour', '90 seconds', '0.0015 seconds')
    """
    units = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000}
    for name, size in units.items():
        if ticks and ticks % size == 0:
            n = ticks // size
            return f"{n:,} {name}{'s' * (n != 1)}"
    seconds = ticks / 1e6
    return f"{seconds:,g} second{'s' * (seconds != 1)}"

"""Tables: how columns become x (N, W) float32 and come back, and how near two rows are.

    number, count, date   one entry. ``u = (v - low) / (high - low)`` in float64, and x is a map of
                          u that is linear between knots: the normal score of the share of
                          training rows below v, plus u. So heavy tails and skew become nearly
                          Gaussian, and x rises with u by a slope of at least 1: an error of
                          float32 in x is below 3e-7 of the column's range, wherever it is dense.
                          A value that one row in 20 has holds the whole interval of x between
                          the scores of the shares below and up to it
    category              a block of 0 and 1, one for each value and one for any other
    boolean               one entry, 0 or 1
    id                    left out

What is missing is NaN, over a whole block. Everything is learned of the training rows only. A
value outside their range goes on along a straight line; coming back, it is the nearest end of the
range.

Reference for the normal scores: van der Waerden. Order tests for the two-sample problem and their
power. Indagationes Mathematicae 14, 1952.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from zspace.data.kinds.columns import (
    PER_DAY,
    Chosen,
    Entry,
    Scaled,
    as_kind,
    key,
    normal_knots,
    rounded_to,
)
from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.tally import MOST_DIFFERENT, Tally, hashed
from zspace.data.readers.frames import Raw, Table, columns_of, table_of
from zspace.data.spec import ColumnKind, Fact, Spec
from zspace.system.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd

Sort = Literal[ColumnKind, "id"]
SORTS: tuple[str, ...] = (*get_args(ColumnKind), "id")
SAMPLE, SAMPLE_SEED = 1_000_000, 20261101
MOST_VALUES = 5e6
MOST_CATEGORIES = 1_000
MOST_COUNT = 255
DIGITS = 6
LONGEST_NAME = 60
"""Letters of a value by which a row is called."""
MOST_SAID = 20
"""Columns that are said by name."""
_ID = re.compile(r"(^|[_\W])(id|uuid|guid)$|^index$|^Unnamed: 0$", re.IGNORECASE)


@dataclass(frozen=True)
class TableEncoding(Encoding):
    """How rows of a table become x and come back: what was learned of the training rows.

    Arguments:
        entries: The columns that x holds, in their order.
        made: What made the table: "pandas", "polars", "pyarrow" or "array".
        names: What the columns are called in the table, in order; numbers for those of arrays.
        left_out: Columns that x does not hold, with the reason.
        missing: Whether values may be missing.
        identifier: The column left out by which rows are called; "" where there is none.

    >>> rows = np.array([[1, 20], [0, 30], [0, 25], [1, 70], [0, 31]])
    >>> encoding = fit([columns_of(rows)[0]], len(rows), made="array")
    >>> [entry.said() for entry in encoding.entries]
    ['boolean 0 or 1', 'number 20 to 70']
    >>> encoding.decode(encoding.encode(rows)).tolist() == rows.tolist()
    True
    """

    entries: tuple[Entry, ...]
    made: str
    names: tuple[Any, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    missing: bool = False
    identifier: str = ""
    kind: ClassVar[str] = "table"
    plural: ClassVar[str] = "rows"
    row: ClassVar[str] = "row"

    @property
    def size(self) -> str:
        """Columns, and numbers of one row."""
        return f"{len(self.entries):,} columns, {self.width:,} numbers"

    @property
    def usual(self) -> dict[str, float | None]:
        """Column -> the error, or the rate, of who always gives the same value."""
        return {entry.name: entry.usual for entry in self.entries}

    @property
    def whole(self) -> set[str]:
        """Those of whole numbers."""
        return {entry.name for entry in self.entries if entry.is_whole}

    def said(self) -> str:
        """Each column, as what it was taken."""
        told = [f"{entry.name} ({entry.said()})" for entry in self.entries[:MOST_SAID]]
        more = len(self.entries) - MOST_SAID
        return f"columns {', '.join(told)}" + (f" and {more:,} more" if more > 0 else "")

    @property
    def width(self) -> int:
        """W, how many numbers one row is."""
        return sum(entry.width for entry in self.entries)

    def spec(self, **more: Any) -> Spec:
        """What a recipe must know; more: classes and attributes."""
        columns = tuple(entry.column for entry in self.entries)
        return Spec((self.width,), missing=self.missing, kind="table", columns=columns, **more)

    def encode(self, raw: Any) -> Tensor:
        """x (N, W) float32 of a table that has these columns, in any order; NaN where missing.

        Raises UserError for columns that are missing or cannot be read, and for missing values
        where the training rows had none.
        """
        table, _ = (raw, "") if isinstance(raw, dict) else columns_of(raw)
        return torch.from_numpy(self.encoded(table))

    def encoded(self, table: Table, *, checked: bool = True) -> np.ndarray:
        """`encode`, of columns; not checked for missing values where they are to be found."""
        for entry in self.entries:
            if entry.name not in table:
                raise UserError(
                    f"the rows have no column '{entry.name}', which the model reads, but "
                    f"{', '.join(map(repr, table))}: add it, empty where it is not known"
                )
        n = len(next(iter(table.values())).missing)
        if n == 0:
            raise UserError("the table has no rows: give at least one")
        x = np.empty((n, self.width), np.float32)
        for entry, block in self._blocks(x):
            block[:] = entry.encode(table[entry.name])
            if checked and not self.missing and np.isnan(block).any():
                raise UserError(
                    f"column '{entry.name:.60}' has missing or unknown values, but this model was "
                    "trained on rows without any: fill them in, or train with some"
                )
            if checked and isinstance(entry, Chosen) and entry.kind == "category":
                _warn_of_strange(entry, table[entry.name])
        return x

    def decode(self, x: Any) -> Any:
        """The rows of x (N, W): a table of the sort that was read, computed in float64."""
        x = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, np.float64)
        table = {entry.name: entry.decode(block) for entry, block in self._blocks(x)}
        return table_of(table, self.made, self._names())

    def restored(self, x: Tensor, raw: Any) -> Any:
        """The rows of x, with what was there in the rows that they were made of: `decode` alone
        brings numbers beyond those of the training rows to their ends.
        """
        table = raw if isinstance(raw, dict) else columns_of(raw)[0]
        made: dict[str, Raw] = {}
        for entry, block in self._blocks(np.asarray(x, np.float64)):
            given, one = table[entry.name], entry.decode(block)
            here = ~given.missing & ~np.isnan(entry.encode(given)).any(1)
            values = one.values.copy()
            if given.values.dtype.kind in "iuf" and values.dtype.kind in "iuf":
                exact = given.values[here].astype(values.dtype)
                if (exact == given.values[here]).all():
                    values[here] = exact
            made[entry.name] = one._replace(values=values)
        return table_of(made, self.made, self._names())

    def _names(self) -> list[Any]:
        known = {str(name): name for name in self.names}
        return [known.get(entry.name, entry.name) for entry in self.entries]

    def _blocks(self, x: np.ndarray) -> Iterable[tuple[Entry, np.ndarray]]:
        start = 0
        for entry in self.entries:
            yield entry, x[:, start : start + entry.width]
            start += entry.width

    def frame(self, raw: Any) -> pd.DataFrame:
        """The rows themselves; those of an array have the numbers of their columns as names."""
        import pandas as pd

        if isinstance(raw, np.ndarray):
            raw = pd.DataFrame(raw, columns=[entry.name for entry in self.entries])
        return raw.to_pandas() if hasattr(raw, "to_pandas") else raw

    def show(self, x: Tensor) -> dict[str, Any]:
        """One row x (W,) as cells: a column, its value as JSON, and as people read it; of numbers
        and dates their place in the training range, of others the most likely values.

        >>> encoding = fit([columns_of(np.array([[1.5], [3.0], [2.0]]))[0]], 3, made="array")
        >>> encoding.show(encoding.encode(np.array([[3.0]]))[0])["cells"]
        [{'column': '0', 'value': 3.0, 'formatted': '3.0', 'place': 1.0}]
        """
        return {"shape": "cells", "cells": self.cells(x[None])[0]}

    def cells(self, x: Tensor) -> list[list[dict[str, Any]]]:
        """The cells of rows x (N, W), which may hold probabilities of categories; see `show`.

        >>> encoding = fit([columns_of(np.eye(3, dtype=int))[0]], 3, made="array")
        >>> encoding.cells(torch.tensor([[0.9, 0.0, 0.0]]))[0][0]["likely"]
        [['1', 0.9], ['0', 0.1]]
        """
        columns, more = [], list[dict[str, Any]]()
        for entry, block in self._blocks(x.detach().cpu().double().numpy()):
            raw, dated = entry.decode(block), _is_date(entry)
            if isinstance(entry, Scaled):
                more = [{"place": None if gone else round(float(place), 4)} for place, gone in
                        zip(entry.place(block), raw.missing, strict=True)]  # fmt: skip
            else:
                more = [{"likely": [[name, round(p, 3)] for name, p in row]}
                        for row in entry.likely(block)]  # fmt: skip
            column = []
            for value, gone, rest in zip(raw.values, raw.missing, more, strict=True):
                cell: dict[str, Any] = {
                    "column": entry.name,
                    "value": None,
                    "formatted": "missing",
                }
                if not gone:
                    plain = _number(value)
                    cell["formatted"] = entry.text(value)
                    is_json = isinstance(plain, str | bool | int | float) and not dated
                    cell["value"] = plain if is_json else cell["formatted"]
                column.append(cell | rest)
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def quality(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Column -> (B,): the error of y against x in the column's own unit, or 1 where a category
        is right and 0 where not. NaN where x is missing.
        """
        a, b = (part.detach().cpu().double().numpy() for part in (x, y))
        pairs = zip(self._blocks(a), self._blocks(b), strict=True)
        found = {entry.name: entry.error(left, right) for (entry, left), (_, right) in pairs}
        return {name: torch.from_numpy(values) for name, values in found.items()}

    @property
    def facts(self) -> dict[str, Fact]:
        """What each value of `quality` is."""
        return {entry.name: entry.fact for entry in self.entries}

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As JSON and tensors, from which `from_files` makes the same again."""
        entries, tensors = [], {}
        for i, entry in enumerate(self.entries):
            facts = {**vars(entry), "dtype": dict(entry.dtype)}
            if isinstance(entry, Scaled):
                tensors[f"knots.{i}"] = torch.from_numpy(facts.pop("knots"))
                facts |= {end: _number(facts[end]) for end in ("low", "high")}
            entries.append(facts)
        rest = {"made": self.made, "names": list(self.names), "left_out": dict(self.left_out)}
        more = {"missing": self.missing, "identifier": self.identifier, "entries": entries}
        return {"kind": "table", **rest, **more}, tensors

    @classmethod
    def from_files(cls, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TableEncoding:
        """The inverse of `to_files`. Raises UserError where they are not what it wrote."""
        try:
            entries: list[Entry] = []
            for i, one in enumerate(facts["entries"]):
                usual = one["usual"]
                if usual is not None and not 0 <= usual < math.inf:
                    raise ValueError(f"usual {usual}")
                if one["kind"] in ("category", "boolean"):
                    entries.append(Chosen(**{**one, "values": tuple(one["values"])}))
                else:
                    knots = tensors[f"knots.{i}"].numpy()
                    rising = knots.ndim == 2 and len(knots) == 2 and np.isfinite(knots).all()
                    if not rising or (np.diff(knots) < [[0], [5e-324]]).any():
                        raise ValueError(knots.shape)
                    entries.append(Scaled(**one, knots=knots))
            rest = (facts["made"], tuple(facts["names"]), facts["left_out"], facts["missing"])
            return cls(tuple(entries), *rest, facts.get("identifier", ""))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__} {error}"
            raise UserError(
                f"the encoding of the run cannot be read ({why}): train again"
            ) from None


def _warn_of_strange(entry: Chosen, raw: Raw) -> None:
    """Say which categories a model has never seen; with rare ones left out, it knows of others."""
    if not entry.left_out and (values := entry.strange(raw)):
        said = ", ".join(f"'{value!s:.30}'" for value in values[:3])
        more = f" and {len(values) - 3:,} more" if len(values) > 3 else ""
        warnings.warn(
            f"column '{entry.name:.60}' holds {said}{more}, which no training row had: what the "
            "model makes of such a row was never learned",
            stacklevel=4,
        )


def _is_date(entry: Entry) -> bool:
    return isinstance(entry, Scaled) and bool(entry.unit)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class _Seen:
    """What is gathered of one column, piece by piece."""

    def __init__(self, name: str) -> None:
        self.name, self.n, self.missing = name, 0, 0
        self.low: Any = None
        self.high: Any = None
        self.digits, self.dtype = 0, dict[str, Any]()
        self.tally = Tally()
        self.hashes: list[np.ndarray] = []
        self.sample: list[np.ndarray] = []
        self.steps: dict[int, bool] = {}
        self.values_dtype: np.dtype = np.dtype(object)

    def add(self, raw: Raw, sampled: np.ndarray) -> None:
        """Take in a piece; sampled: which rows serve for quantiles."""
        self.dtype, self.values_dtype = dict(raw.dtype), raw.values.dtype
        self.missing += int(raw.missing.sum())
        values = raw.values[~raw.missing]
        self.n += len(values)
        if not len(values):
            return
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(
                f"column '{self.name:.60}' holds infinite values: replace them, or name them as "
                "--missing inf"
            )
        if values.dtype != object:
            numbers = values.view(np.int64) if values.dtype.kind in "mM" else values
            if values.dtype.kind == "b":
                numbers = values.astype(np.int64)
            low, high = numbers.min().item(), numbers.max().item()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            self.sample.append(numbers[sampled[~raw.missing]])
            if values.dtype.kind == "f":
                while (
                    self.digits <= DIGITS and (rounded_to(numbers, self.digits) != numbers).any()
                ):
                    self.digits += 1
            if values.dtype.kind in "mM":
                for step in _steps(str(np.datetime_data(values.dtype)[0])):
                    self.steps[step] = self.steps.get(step, True) and not (numbers % step).any()
        self.tally.add(values)
        if _ID.search(self.name):
            self.hashes.append(hashed(values))

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        kind = self.values_dtype.kind
        return kind in "iubmM" or (kind == "f" and self.digits == 0)

    def found(self) -> tuple[str, str]:
        """The kind that the values suggest, and the reason why they are left out, if so."""
        different = self.n if self.tally.over else len(self.tally)
        kind = self.values_dtype.kind
        if not self.n:
            return "id", "no values"
        if kind == "O":
            if {type(value) for value, _ in self.tally.items()} == {bool}:
                return "boolean", ""
            if different == self.n > 9 or different > MOST_CATEGORIES:
                return "id", f"{different:,} different texts" + " or more" * self.tally.over
            return "category", ""
        if kind == "b":
            return "boolean", ""
        if kind in "mM":
            return "date", ""
        if self.whole and (self.low, self.high) == (0, 1):
            return "boolean", ""
        distinct = different == self.n > 9
        if kind in "iu" and distinct and self.high - self.low + 1 == self.n:
            return "id", "numbers of rows"
        if kind in "iu" and distinct and _ID.search(self.name):
            return "id", f"{different:,} different numbers"
        if kind in "iu" and self.low == 0 and 2 <= self.high <= MOST_COUNT:
            return "count", ""
        return "number", ""

    @property
    def identifies(self) -> bool:
        """Whether each row has a value, short and of its own."""
        if self.missing or not self.n:
            return False
        if self.tally.over:
            return bool(self.hashes) and len(np.unique(np.concatenate(self.hashes))) == self.n
        texts = (str(value) for value, _ in self.tally.items())
        return len(self.tally) == self.n and max(map(len, texts)) <= LONGEST_NAME

    def entry(self, kind: ColumnKind) -> Entry:
        """How the column is encoded."""
        if kind in ("category", "boolean"):
            return self._chosen(kind)
        if self.values_dtype.kind == "O":
            raise UserError(
                f"column '{self.name:.60}' holds texts, which are no {kind}s: use "
                f"--columns {self.name:.60}=category"
            )
        dated = self.values_dtype.kind in "mM"
        if dated != (kind == "date"):
            raise UserError(
                f"column '{self.name:.60}' holds {'dates' if dated else 'numbers'}, so it cannot "
                f"be a {kind}: use --columns {self.name:.60}={'date' if dated else 'number'}"
            )
        whole = self.whole
        if kind == "count" and not (whole and self.low >= 0):
            raise UserError(
                f"column '{self.name:.60}' holds values from {self.low:g} to {self.high:g}, but "
                f"counts are whole numbers from 0: use --columns {self.name:.60}=number"
            )
        low, high, digits = self.low, self.high, None
        if self.values_dtype.kind == "f":
            digits = self.digits if self.digits <= DIGITS else None
            whole = False
        step = max((s for s, fits in self.steps.items() if fits), default=1)
        unit = self.values_dtype.name if dated else ""  # datetime64[us]
        scaled = Scaled(self.name, kind, self.dtype, low, high, whole, digits, unit, step)
        values = np.concatenate(self.sample)
        knots = normal_knots(scaled._share(values), spikes=kind != "count")
        return replace(scaled, knots=knots, usual=scaled.deviation(values))

    def _chosen(self, kind: ColumnKind) -> Chosen:
        if self.tally.over:
            raise UserError(
                f"column '{self.name:.60}' has more than {MOST_DIFFERENT:,} different "
                "values: leave it out with --columns "
                f"{self.name:.60}=id, or keep its groups in a column of their own"
            )
        pairs = sorted(self.tally.items(), key=lambda pair: -pair[1])
        values = [value for value, _ in pairs[:MOST_CATEGORIES]]
        order = self.dtype.get("categories")
        if order:
            place = {key(value): i for i, value in enumerate(order)}
            values.sort(key=lambda value: place.get(key(value), len(place)))
        else:
            values.sort(key=lambda value: (isinstance(value, str), value))
        if kind == "boolean" and len(values) > 2:
            raise UserError(
                f"column '{self.name:.60}' has {len(values):,} different values, but a boolean "
                f"has two: use --columns {self.name:.60}=category"
            )
        rare = sum(times for _, times in pairs[MOST_CATEGORIES:])
        every = [times for _, times in pairs]
        usual = max(every, default=0) / max(1, sum(every))
        return Chosen(self.name, kind, self.dtype, tuple(values), rare, usual)


def _steps(unit: str) -> list[int]:
    """Ticks of the units that dates are usually given in, coarse ones first."""
    return [PER_DAY[unit] // per_day for per_day in PER_DAY.values() if per_day <= PER_DAY[unit]]


def fit(
    pieces: Iterable[Table],
    rows: int,
    *,
    made: str,
    names: Sequence[Any] = (),
    kinds: Mapping[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
    missing: bool = False,
) -> TableEncoding:
    """Learn from the training rows how columns become x, in one pass over them.

    Counts and ranges are exact; quantiles are those of at most 10^6 rows, drawn with a fixed seed.

    Arguments:
        pieces: Columns of some of the rows, one piece after the other.
        rows: How many there are in all.
        made: What made the table.
        names: What its columns are called there, if not by texts.
        kinds: Column -> kind, for those whose kind is not to be found.
        left_out: Columns that are none of x, with the reason.
        missing: Whether values may be missing even if these rows lack none.

    Raises UserError for a kind that does not fit its column, and where no column is left.
    """
    seen: dict[str, _Seen] = {}
    given, out, start = dict(kinds or {}), dict(left_out or {}), 0
    chosen: np.ndarray | None = None
    for piece in pieces:
        used = {name: raw for name, raw in piece.items() if name not in out}
        if chosen is None:
            chosen = _sampled(rows, len(used))
            check_kinds(given, {**used, **out})
        part = chosen[start : start + len(next(iter(piece.values())).missing)]
        start += len(part)
        for name, raw in used.items():
            as_given = as_kind(raw, given.get(name, ""), name)
            seen.setdefault(name, _Seen(name)).add(as_given, part)
    entries: list[Entry] = []
    for name, column in seen.items():
        kind, why = column.found()
        kind, why = (given[name], "by --columns") if name in given else (kind, why)
        if kind == "id" or not column.n:
            out[name] = why or "no values"
        else:
            entries.append(column.entry(cast(ColumnKind, kind)))
            missing |= column.missing > 0
    of_rows = sorted((n for n in out if n in seen and seen[n].identifies), key=_names_less)
    identifier = of_rows[0] if of_rows else ""
    if identifier:
        out[identifier] += "; it names the rows"
    if not entries:
        reasons = ", ".join(f"{name} ({why})" for name, why in list(out.items())[:5])
        raise UserError(f"no column is left to learn from: {reasons}; set one with --columns")
    return TableEncoding(tuple(entries), made, tuple(names), out, missing, identifier)


def _names_less(name: str) -> bool:
    """Whether a column's own name does not say that it identifies rows."""
    return not _ID.search(name)


def check_kinds(kinds: Mapping[str, str], columns: Iterable[str]) -> None:
    """Raise UserError for a column that there is not, and for a kind that there is not."""
    for name, kind in kinds.items():
        if name not in columns:
            raise unknown("column", name, columns)
        if kind not in SORTS:
            raise unknown(f"kind of column '{name:.60}'", kind, SORTS)


def _sampled(rows: int, columns: int) -> np.ndarray:
    """Which of the rows serve for quantiles: all, or 10^6 of them, fewer of a broad table."""
    most = min(SAMPLE, max(10_000, int(MOST_VALUES) // max(columns, 1)))
    chosen = np.zeros(rows, bool)
    # RandomState's stream is frozen by numpy's policy.
    order = (
        np.random.RandomState(SAMPLE_SEED).permutation(rows) if rows > most else np.arange(rows)
    )
    chosen[order[:most]] = True
    return chosen

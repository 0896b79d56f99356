"""Columns of a table: how each becomes entries of x and comes back; see `kinds.table`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from zspace.data.readers.frames import Dtype, Raw
from zspace.data.readers.texts import FORMS, is_of, parsed
from zspace.data.spec import Column, ColumnKind, Fact
from zspace.system.errors import UserError

LARGEST_SCORE, KNOTS = 4.0, 65
SPIKE = 0.05
"""The share of training rows from which on a value holds a whole interval of x."""
PER_DAY = {"D": 1, "h": 24, "m": 1_440, "s": 86_400}
PER_DAY |= {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
"""Ticks of a day, by the unit of dates."""
BEYOND = 4.0
"""How many ranges beyond the training range are still told apart."""


@dataclass(frozen=True)
class Scaled:
    """A column of numbers, counts or dates: one entry of x.

    Arguments:
        name: Of the column.
        kind: Its kind.
        dtype: Of its values in the table.
        low, high: The least and the largest training value; of dates, in ticks of their unit.
        whole: Whether values are whole numbers, which are added and subtracted as such.
        digits: Decimals that values have at most; None for any.
        unit: Of dates and durations, as numpy writes it: "datetime64[us]"; else "".
        step: Ticks of a date's own unit, for example those of a day.
        knots: (2, K): u in [0, 1] and x, which increases; u stays where a value is so frequent
            that an interval of x stands for it. The middle of the three is what it becomes.
        usual: What `error` is on average for who always gives the median of the training rows;
            None where that is not finite.
    """

    name: str
    kind: ColumnKind
    dtype: Dtype
    low: Any
    high: Any
    whole: bool
    digits: int | None = None
    unit: str = ""
    step: int = 1
    knots: np.ndarray = field(default_factory=lambda: np.array([[0.0], [0.0]]), repr=False)
    usual: float | None = None
    width: ClassVar[int] = 1

    def encode(self, raw: Raw) -> np.ndarray:
        """x (N, 1) float32."""
        at, x = self.knots
        u = self._share(self._values(raw))
        inside = np.interp(u, at, x)
        for i in self._spikes:
            inside[u == at[i]] = x[i]
        slope = max(1.0, float(x[-1] - x[0]))
        beyond = np.clip(u - 1, 0, BEYOND) + np.clip(u, -BEYOND, 0)
        found = np.where(raw.missing, np.nan, inside + slope * beyond)
        return found.astype(np.float32)[:, None]

    @property
    def _spikes(self) -> np.ndarray:
        """Which knots are the middle of an interval of x that stands for one value."""
        at = self.knots[0]
        return np.flatnonzero(at[2:] == at[:-2]) + 1

    def decode(self, x: np.ndarray) -> Raw:
        """Values of x (N, 1) float64, within the training range."""
        missing = np.isnan(x[:, 0])
        u = np.interp(np.where(missing, 0.0, x[:, 0]), self.knots[1], self.knots[0])
        if not self.whole:
            return Raw(self._floats(u), missing, self.dtype)
        span = int(self.high) - int(self.low)
        off = np.rint(u * (span / self.step)) * self.step
        ends = off >= span
        steps = np.where(ends, 0, off).astype(np.uint64)
        steps[ends] = np.uint64(span)
        base = np.uint64(int(self.low) % 2**64)
        signed = np.uint64 if int(self.high) >= 2**63 else np.int64
        values = (steps + base).view(signed)
        return Raw(values.view(self.unit) if self.unit else values, missing, self.dtype)

    def _floats(self, u: np.ndarray) -> np.ndarray:
        span = self.high - self.low
        far = not math.isfinite(span)
        values = self.low * (1 - u) + self.high * u if far else self.low + u * span
        rounded = values if self.digits is None else rounded_to(values, self.digits)
        return np.clip(rounded, self.low, self.high)

    def _share(self, values: np.ndarray) -> np.ndarray:
        """u of values (N,), float64."""
        if not self.whole or values.dtype.kind == "f":
            low, high = float(self.low), float(self.high)
            with np.errstate(over="ignore"):  # halves, since a range may exceed the largest float
                u = (values.astype(np.float64) / 2 - low / 2) / ((high / 2 - low / 2) or 0.5)
            return np.nan_to_num(u, posinf=1 + BEYOND, neginf=-BEYOND)
        base, bits = np.uint64(int(self.low) % 2**64), values.view(np.uint64)
        off = np.where(values >= self.low, (bits - base) * 1.0, -1.0 * (base - bits))
        return off / ((int(self.high) - int(self.low)) or 1)

    def _values(self, raw: Raw) -> np.ndarray:
        """Numbers, or ticks of this column's unit. Raises UserError where there are none."""
        wanted = "dates" if self.unit.startswith("d") else "numbers"
        own, form = raw.dtype.get("form", ""), self.dtype.get("form", "")
        if own and form and own[:2] != form[:2]:
            raise UserError(
                f"column '{self.name:.60}' is written as {own} here, but was {form} in the rows "
                "that this model was trained on: write the dates as 2026-11-30"
            )
        values = as_kind(raw, self.kind, self.name, form).values
        if bool(self.unit) != (values.dtype.kind in "mM"):
            raise UserError(
                f"column '{self.name:.60}' is of type {raw.dtype['name']}, but this model reads "
                f"{wanted} there: convert it"
            )
        return values.astype(self.unit).view(np.int64) if self.unit else values

    def error(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N,): how far the values are apart, in the column's own unit; of dates, in days."""
        apart = self._real(y) - self._real(x)
        if self.unit:
            apart = apart / self._day
        return np.where(np.isnan(x[:, 0]), np.nan, np.abs(apart))

    def deviation(self, values: np.ndarray) -> float | None:
        """The mean distance of values (N,) from their median, as `error` measures it."""
        with np.errstate(over="ignore", invalid="ignore"):
            far = np.abs(values.astype(np.float64) - float(np.median(values)))
            mean = float(far.mean()) / (self._day if self.unit else 1)
        return mean if math.isfinite(mean) else None

    def place(self, x: np.ndarray) -> np.ndarray:
        """(N,): where in the training range the values lie, from 0 to 1; NaN where missing."""
        u = np.interp(np.where(np.isnan(x[:, 0]), 0.0, x[:, 0]), self.knots[1], self.knots[0])
        return np.where(np.isnan(x[:, 0]), np.nan, u)

    def _real(self, x: np.ndarray) -> np.ndarray:
        """Values as far from the lowest as they are, before rounding."""
        u = self.place(x)
        return u * float(self.high) - u * float(self.low)

    @property
    def _day(self) -> int:
        """Ticks of a day."""
        return PER_DAY[self.unit.partition("[")[2][:-1]]

    @property
    def fact(self) -> Fact:
        """What `error` is."""
        unit = "days" if self.unit.startswith("d") else ""
        return Fact(f"mean absolute error of {self.name}", unit)

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers, floats or not."""
        return self.whole or self.digits == 0

    def text(self, value: Any) -> str:
        """A value as people read it."""
        if self.unit.startswith("d"):
            coarse = {self._day: 10, self._day // 1_440: 16, self._day // 86_400: 19}
            most = next((n for s, n in coarse.items() if s and self.step % s == 0), 26)
            return str(value)[:most].replace("T", " ")
        if self.unit:
            return str(value)
        if self.is_whole:
            return f"{value:,.0f}" if isinstance(value, float) else f"{int(value):,}"
        return f"{value:,.{self.digits}f}" if self.digits is not None else f"{value:.4g}"

    @property
    def ends(self) -> tuple[str, str]:
        """The least and the largest training value, as people read them."""
        ends = (np.array([end], np.int64).view(self.unit)[0] if self.unit else end
                for end in (self.low, self.high))  # fmt: skip
        low, high = map(self.text, ends)
        return low, high

    def said(self) -> str:
        """Its kind and range, for the lines before training."""
        return f"{self.kind} {' to '.join(self.ends)}"

    @property
    def column(self) -> Column:
        """What a likelihood must know of it."""
        if self.kind != "count":
            return Column(self.name, self.kind)
        u, x = self.knots
        values = float(self.low) + u * (float(self.high) - float(self.low))
        return Column(self.name, "count", 1, tuple(zip(x.tolist(), values.tolist(), strict=True)))


@dataclass(frozen=True)
class Chosen:
    """A column of categories, or of two values that are one entry of 0 or 1.

    Arguments:
        name: Of the column.
        kind: "category" or "boolean".
        dtype: Of its values in the table.
        values: Those of the training rows, in order; what they are in the table.
        left_out: Training rows whose value is not among them, since there were too many.
        usual: The share of training rows that have the most frequent value; None if not known.
    """

    name: str
    kind: ColumnKind
    dtype: Dtype
    values: tuple[Any, ...]
    left_out: int = 0
    usual: float | None = None

    @property
    def width(self) -> int:
        """How many entries of x stand for it."""
        return 1 if self.kind == "boolean" else len(self.values) + 1

    def encode(self, raw: Raw) -> np.ndarray:
        """x (N, width) float32. A boolean column has no entry for another value: it is missing."""
        place = {key(value): i for i, value in enumerate(self.values)}
        codes, different = _factorized(raw)
        at = np.array([place.get(key(value), len(self.values)) for value in different], int)
        codes = at[codes] if len(different) else np.zeros(len(codes), int)
        if self.kind == "boolean":
            x = codes.astype(np.float32)[:, None]
            x[codes >= len(self.values)] = np.nan
        else:
            x = np.eye(self.width, dtype=np.float32)[codes]
        x[raw.missing] = np.nan
        return x

    def strange(self, raw: Raw) -> list[Any]:
        """The different values that are none of the training rows'."""
        known = set(map(key, self.values))
        _, different = _factorized(raw)
        return [value for value in different.tolist() if key(value) not in known]

    def decode(self, x: np.ndarray) -> Raw:
        """The most likely values; the entry for any other value comes back missing."""
        missing = np.isnan(x).any(1)
        if self.kind == "boolean":
            codes = (x[:, 0] >= 0.5).astype(int)
        else:
            codes = np.where(missing[:, None], 0.0, x).argmax(1)
        values = np.empty(len(self.values) + 1, object)
        values[:-1] = self.values
        values[-1] = self.values[0] if self.values else ""
        missing |= codes >= len(self.values)
        return Raw(_narrowed(values[np.minimum(codes, len(self.values))]), missing, self.dtype)

    def likely(self, x: np.ndarray, most: int = 3) -> list[list[tuple[str, float]]]:
        """Of x (N, width), which may hold probabilities: the most likely values of each row, as
        people read them, each with its probability; none below a half per cent.
        """
        if self.kind == "boolean":
            x = np.concatenate([1 - x, x], 1)[:, : len(self.values)]
        names = [*map(self.text, self.values), "another value"]
        order = np.argsort(-x, 1, kind="stable")[:, :most]
        return [
            [(names[k], float(row[k])) for k in best if row[k] >= 0.005]
            for row, best in zip(x, order, strict=True)
        ]

    def error(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N,): 1 where the values are equal, else 0."""
        if self.kind == "boolean":
            same = (x[:, 0] >= 0.5) == (y[:, 0] >= 0.5)
        else:
            same = x.argmax(1) == y.argmax(1)
        return np.where(np.isnan(x).any(1), np.nan, same.astype(float))

    @property
    def fact(self) -> Fact:
        """What `error` is."""
        return Fact(f"accuracy of {self.name}", better="high")

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers, floats or not."""
        plain = [float(value) for value in self.values if isinstance(value, int | float)]
        return len(plain) == len(self.values) and all(map(float.is_integer, plain))

    def text(self, value: Any) -> str:
        """A value as people read it."""
        return str(value).strip()

    def said(self) -> str:
        """Its kind and values, for the lines before training."""
        if self.kind == "boolean":
            return f"boolean {' or '.join(map(self.text, self.values))}"
        rest = f", {self.left_out:,} rows with rarer ones" if self.left_out else ""
        return f"category of {len(self.values):,}{rest}"

    @property
    def column(self) -> Column:
        """What a likelihood must know of it."""
        return Column(self.name, self.kind, self.width)


def key(value: Any) -> str:
    """The same for a value whatever type it is kept in: 1, 1.0 and "1"."""
    if isinstance(value, np.generic):
        value = value.item()
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _factorized(raw: Raw) -> tuple[np.ndarray, np.ndarray]:
    """A code for each row (0 where missing), and the different values."""
    import pandas as pd

    if raw.missing.all():
        return np.zeros(len(raw.missing), int), np.empty(0, object)
    codes, different = pd.factorize(raw.values[~raw.missing])
    every = np.zeros(len(raw.missing), int)
    every[~raw.missing] = codes
    return every, different


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Objects that are all booleans, or all whole numbers, as such."""
    kinds = {type(value) for value in values.tolist()}
    if kinds == {bool}:
        return values.astype(bool)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in set(values.tolist())):
        return values.astype(np.int64)
    return values


Entry = Scaled | Chosen


def rounded_to(values: np.ndarray, digits: int) -> np.ndarray:
    """To so many decimals; what is too large to have any stays as it is."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.round(values, digits)
    return np.where(np.isfinite(rounded), rounded, values)


def normal_knots(u: np.ndarray, spikes: bool = True) -> np.ndarray:
    """(2, K): places in [0, 1] and their x, which rises by at least 1 from end to end of each.

    The share of rows below a value steps up there by its own share. Where that is at least
    `SPIKE`, all x between both ends of the step come back as this value, and three knots say so;
    else a draw near a value that most rows have would hardly ever be that value.

    >>> normal_knots(np.r_[np.zeros(8), 1, np.linspace(2, 3, 40)] / 3).round(2)[:, :4].tolist()
    [[0.0, 0.0, 0.0, 0.33], [-4.5, -1.89, -1.48, -1.11]]
    """
    from scipy.special import ndtri

    def scores(share: np.ndarray) -> np.ndarray:
        return np.clip(ndtri(share), -LARGEST_SCORE, LARGEST_SCORE)

    at, counts = np.unique(u, return_counts=True)
    above = counts.cumsum()
    score = scores((above - counts / 2) / len(u))
    frequent = np.flatnonzero((counts >= SPIKE * len(u)) & spikes & (len(at) > 1))
    ends = scores(np.stack([above - counts, above])[:, frequent] / len(u)), at[frequent]
    if len(at) > KNOTS:
        wanted = np.linspace(-LARGEST_SCORE, LARGEST_SCORE, KNOTS)
        places = np.searchsorted(score, wanted).clip(max=len(at) - 1)
        kept = np.unique(np.r_[0, places, frequent, len(at) - 1])
        at, score = at[kept], score[kept]
    score, at = np.r_[score, ends[0].ravel()], np.r_[at, np.tile(ends[1], 2)]
    unseen = [end for end in (0.0, 1.0) if end not in at and at.any()]  # not in the sample
    score = np.r_[score, [score.max() if end else score.min() for end in unseen]]
    at = np.r_[at, unseen]
    order = np.lexsort((score, at))
    return np.stack([at[order], (score + at - 0.5)[order]])


def as_kind(raw: Raw, kind: str, name: str, form: str = "") -> Raw:
    """Values that a column of this kind can hold. Raises UserError where they are not.

    Texts become numbers or dates, where they are some; everything becomes a category. form: how
    the dates of the training rows were written, where that was told by a day over 12.
    """
    import pandas as pd

    texts, seen = raw.values.dtype.kind == "O", ~raw.missing
    if raw.values.dtype.kind in "mM" and np.datetime_data(raw.values.dtype)[0] not in PER_DAY:
        return Raw(raw.values.astype(f"{raw.values.dtype.kind}8[s]"), raw.missing, raw.dtype)
    if kind in ("number", "count") and texts:
        numbers = pd.to_numeric(pd.Series(raw.values[seen]), errors="coerce").to_numpy(float)
        if np.isnan(numbers).any():
            bad = raw.values[seen][int(np.isnan(numbers).argmax())]
            raise UserError(
                f"column '{name:.60}' holds {bad!r:.60}, which is no number: correct it, name it "
                f"as --missing, or use --columns {name:.60}=category"
            )
        values = np.zeros(len(raw.missing))
        values[seen] = numbers
        return Raw(values, raw.missing, raw.dtype)
    if kind in ("number", "count") and raw.values.dtype.kind == "b":
        return Raw(raw.values.astype(np.int64), raw.missing, raw.dtype)
    if kind == "date" and texts:
        ticks = np.zeros(len(raw.missing), "datetime64[us]")
        ticks[seen] = _dates([str(value).strip() for value in raw.values[seen]], name, form)
        return Raw(ticks, raw.missing, raw.dtype)
    return raw


def _dates(texts: list[str], name: str, form: str) -> np.ndarray:
    """Ticks of texts (N,), datetime64[us]. Raises UserError where they are no dates."""
    forms = [one for one in FORMS if one.format == form or not one.ordered]
    if not texts:
        return np.zeros(0, "datetime64[us]")
    found = next((one for one in forms if is_of(texts, one)), None)
    if found is not None:
        return parsed(texts, found)
    if any(is_of(texts[:1], one) for one in FORMS if one.ordered):
        raise UserError(
            f"column '{name:.60}' holds {texts[0]}, and nothing tells its day and its month "
            f"apart, so --columns {name:.60}=date is not enough: write the dates as 2026-11-30"
        )
    raise UserError(
        f"column '{name:.60}' holds texts that are no dates, such as {texts[0]!r:.60}: write them "
        "as 2026-11-30 or 2026-11-30 18:45:00, all in one form"
    )

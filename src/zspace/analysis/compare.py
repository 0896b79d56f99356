"""Which of several groups of runs is better in one measure, beyond what other seeds would change.

A group is the same training with several seeds, n of them. Its mean has the t-interval
``mean +- t s / sqrt(n)``, s the sample standard deviation and t the quantile of Student's
distribution. Two groups that have the same seeds are compared seed by seed, with the paired
t-test; other groups with Welch's test, which does not assume equal variances.

`best` gives a row of a table one star at most. Its claim is "better than every other group", so
the p-value of the row is the largest of the two-sided tests of the group with the best mean
against each other group. That this group was chosen by its mean costs nothing more: the test
against the nearest other one is valid as it is (Hung, Fithian. Rank verification for exponential
families. 2019, arXiv 1610.03944). Over the rows of a table, p-values are corrected as Holm does (A
simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979),
whichever way rows depend on each other: where no group is better than another, at most one table
in twenty has a star.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from zspace.analysis.measure import LEVEL, Measure
from zspace.analysis.numbers import measure_text

FEWEST = 5
"""Seeds of each group below which nothing is marked: spreads of fewer say too little."""
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Cell:
    """One measure of a group of runs.

    Arguments:
        seeds: Seed -> what was measured. Definitions that differ are none, so that nothing is
            compared with them.
    """

    seeds: Mapping[int, Measure]

    @cached_property
    def measure(self) -> Measure:
        """Of one run its own measure; of several their mean, with its t-interval over seeds."""
        first, *others = self.seeds.values()
        if not others:
            return first
        alike = all(one.about == first.about for one in others)
        values = np.array([one.value for one in self.seeds.values()])
        return replace(
            first,
            value=float(values.mean()),
            error=None,
            interval=_interval(values),
            about=first.about if alike else "",
        )

    @property
    def spread(self) -> float | None:
        """The sample standard deviation over seeds; None of one run."""
        values = [one.value for one in self.seeds.values()]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def text(self) -> str:
        """The number as it is printed."""
        return measure_text(self.measure)


@dataclass(frozen=True)
class Difference:
    """How much higher the first of two groups is.

    Arguments:
        value: The difference of their means.
        interval: The ends of its 95% t-interval; None where a group has one seed only.
        p: Two-sided, of no difference; 1 where it cannot be tested.
        paired: Whether seeds were compared one by one.
    """

    value: float
    interval: tuple[float, float] | None
    p: float
    paired: bool

    @property
    def text(self) -> str:
        """The difference as it is printed."""
        return measure_text(Measure(self.value, "", interval=self.interval))


def difference(a: Cell, b: Cell) -> Difference:
    """Of two groups, by the paired t-test where they have the same seeds, else by Welch's.

    >>> a, b = (Cell({s: Measure(at + s % 2, "x") for s in range(4)}) for at in (3.0, 1.0))
    >>> difference(a, b).value, difference(a, b).paired
    (2.0, True)
    """
    from scipy import stats  # slow to import

    paired = a.seeds.keys() == b.seeds.keys()
    x = np.array([one.value for one in a.seeds.values()])
    y = np.array([b.seeds[seed].value for seed in (a.seeds if paired else b.seeds)])
    value, fewest = float(x.mean() - y.mean()), min(len(x), len(y))
    if fewest < 2 or not math.isfinite(value):
        return Difference(value, None, 1.0, paired)
    if _still(x - y) if paired else _still(x) and _still(y):
        return Difference(value, (value, value), float(value == 0), paired)
    found = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    low, high = found.confidence_interval(LEVEL)
    return Difference(value, (float(low), float(high)), float(found.pvalue), paired)


def _still(values: np.ndarray) -> bool:
    """Whether values are all the same, up to rounding."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    """The ends of the 95% t-interval of a mean; None where it has none."""
    from scipy import stats

    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(len(values))
    if not (math.isfinite(mean) and error > 0):
        return None
    low, high = stats.t.interval(LEVEL, len(values) - 1, mean, error)
    return float(low), float(high)


def comparable(cells: Sequence[Cell]) -> bool:
    """Whether two groups or more measured the same, and of it either more or less is better."""
    kinds = {(cell.measure.about, cell.measure.unit, cell.measure.better) for cell in cells}
    about, _, better = next(iter(kinds), ("", "", "neither"))
    return len(cells) > 1 and len(kinds) == 1 and bool(about) and better != "neither"


def testable(cells: Sequence[Cell]) -> bool:
    """Whether a row may get a star: comparable, and at least five seeds in each group."""
    return comparable(cells) and min(len(cell.seeds) for cell in cells) >= FEWEST


def best(table: Mapping[K, Mapping[str, Cell]]) -> dict[K, tuple[str, float]]:
    """Row -> the group with its best mean, and how likely so clear a lead is by chance.

    The second is the p-value of the row, corrected for the number of rows: a star stands where it
    is at most 0.05. Rows that cannot be tested (see `testable`) are left out, and count for none.

    >>> found = {"a": (1, 2, 3, 1, 2), "b": (11, 13, 12, 12, 11), "c": (5, 4, 5, 6, 4)}
    >>> row = {g: Cell({s: Measure(v, "accuracy", better="high") for s, v in enumerate(values)})
    ...        for g, values in found.items()}
    >>> group, p = best({"accuracy": row})["accuracy"]
    >>> group, p < 0.001
    ('b', True)
    """
    leads = {key: _lead(row) for key, row in table.items() if testable([*row.values()])}
    found: dict[K, tuple[str, float]] = {}
    most = 0.0
    for i, (key, (group, p)) in enumerate(sorted(leads.items(), key=lambda item: item[1][1])):
        most = max(most, min(1.0, p * (len(leads) - i)))
        found[key] = (group, most)
    return found


def _lead(row: Mapping[str, Cell]) -> tuple[str, float]:
    """The group with the best mean, and the largest p-value of it against another."""
    sign = 1 if next(iter(row.values())).measure.better == "high" else -1
    first = max(row, key=lambda group: sign * row[group].measure.value)
    return first, max(difference(row[first], row[key]).p for key in row if key != first)

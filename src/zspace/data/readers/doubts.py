"""What is asked about a table before training: values that may mean missing or be dates.

A text such as '?', or a frequent extreme that is far from all other numbers, such as -200, may
mean missing; 01/02/2024 is 1 February to some and 2 January to others; and texts of a DataFrame
may all be dates or numbers, which its library was not told. Nothing is taken for either unasked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from zspace.data.readers.frames import Table
from zspace.data.readers.texts import Looked

FREQUENT, FAR = 0.01, 1.0
"""How often an extreme must occur to be asked about, and how many ranges of the rest away."""
MOST_TEXTS = 10_000
"""Different texts of a column that are looked at."""
KINDS = {"d": "date", "i": "number", "f": "number"}
"""By the first letter of its type, what a column of texts may be instead of a category."""
SUSPECTS = {"?", "na", "n/a", "null", "none", "-", "--", ".", "unknown", "missing", "#n/a"}


class Doubts:
    """Takes in the rows of a table piece by piece.

    Arguments:
        settled: Names of columns whose kind was given, about which it is not asked.

    >>> from zspace.data.readers.frames import columns_of
    >>> doubts = Doubts()
    >>> doubts.add(columns_of(np.r_[np.arange(50.0), np.full(9, -200.0)][:, None])[0])
    >>> doubts.questions()
    ['is -200 in 0 a missing value? then add --missing -200']
    """

    def __init__(self, settled: Iterable[str] = ()) -> None:
        self.settled = frozenset(settled)
        self.numbers: dict[str, _Ends] = {}
        self.texts: dict[str, dict[str, None]] = {}

    def add(self, piece: Table) -> None:
        """Look at further rows."""
        import pandas as pd

        for name, raw in piece.items():
            values = raw.values[~raw.missing]
            if values.dtype.kind == "O":
                known = self.texts.setdefault(name, {})
                if len(known) < MOST_TEXTS:
                    several = [str(value).strip() for value in pd.unique(values)]
                    known.update(dict.fromkeys(several[: MOST_TEXTS - len(known)]))
            elif values.dtype.kind in "iuf":
                self.numbers.setdefault(name, _Ends()).add(values)

    def questions(self) -> list[str]:
        """One sentence for each value in doubt, and one for dates."""
        found: dict[str, list[str]] = {}
        marks: Mapping[str, str] = {
            **{name: _marker(known) for name, known in self.texts.items()},
            **{name: ends.odd() for name, ends in self.numbers.items()},
        }
        for name, marker in marks.items():
            if marker:
                found.setdefault(marker, []).append(name)
        told = {k: ", ".join(v[:5]) + " and others" * (len(v) > 5) for k, v in found.items()}
        said = [f"is {k} in {v} a missing value? then add --missing {k}" for k, v in told.items()]
        for name, known in self.texts.items():
            looked = Looked()
            looked.add(np.array([*known], object))
            if text := looked.ambiguous:
                said.append(
                    f"are the texts of {name} dates? nothing tells the day and the month of "
                    f"{text} apart, so --columns {name}=date is not enough: write 2026-11-30"
                )
            elif (kind := KINDS.get(looked.dtype[0])) and name not in self.settled:
                said.append(f"are the texts of {name} {kind}s? then add --columns {name}={kind}")
        return said


def _marker(known: Mapping[str, None]) -> str:
    return next((f"'{text}'" for text in known if text.lower() in SUSPECTS), "")


class _Ends:
    """Of numbers: how many, the two least and the two largest different ones, how often each."""

    def __init__(self) -> None:
        self.n = 0
        self.ends = np.zeros((2, 0))

    def add(self, values: np.ndarray) -> None:
        """Take in further numbers (N,)."""
        self.n += len(values)
        here = np.stack(np.unique(values.astype(np.float64), return_counts=True))
        every = np.concatenate([self.ends, here], 1)
        different, at = np.unique(every[0], return_inverse=True)
        counts = np.bincount(at, every[1], len(different))
        kept = sorted({*range(len(different))[:2], *range(len(different))[-2:]})
        self.ends = np.stack([different[kept], counts[kept]])

    def odd(self) -> str:
        """An extreme that may mean missing, as it would be given; "" for none."""
        values, counts = self.ends
        if self.n < 20 or len(values) < 3:
            return ""
        low, high = slice(None), slice(None, None, -1)
        for end, near, last in (values[low][[0, 1, -1]], values[high][[0, 1, -1]]):
            count = counts[values == end][0]
            if self.n - count < 10 or count < FREQUENT * self.n or abs(end) < 9:
                continue
            with np.errstate(over="ignore"):
                span, gap = abs(last - near), abs(near - end)
            if 0 < FAR * span < gap and math.isfinite(gap):
                return f"{end:g}"
        return ""

"""How often the values of a column occur, counted piece by piece."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from zspace.data.kinds.columns import key

MOST_DIFFERENT = 50_000
"""Values that are counted one by one: 50 times as many as a category may have."""


def hashed(values: np.ndarray) -> np.ndarray:
    """A number (N,) for each value, 64 bits: equal ones are those of equal values."""
    import pandas as pd

    plain = values.astype(str).astype(object) if values.dtype == object else values
    return pd.util.hash_array(plain)


class Tally:
    """How often each value occurs, until there are more than `MOST_DIFFERENT`."""

    def __init__(self) -> None:
        self.over = False
        self.texts: Counter[str] = Counter()
        self.known: dict[str, Any] = {}
        self.numbers: np.ndarray | None = None
        self.times = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.texts) + (0 if self.numbers is None else len(self.numbers))

    def add(self, values: np.ndarray) -> None:
        """Count further values (N,)."""
        if self.over:
            return
        if values.dtype == object:
            import pandas as pd

            codes, different = pd.factorize(values)
            for value, times in zip(different, np.bincount(codes), strict=True):
                self.texts[key(value)] += int(times)
                self.known.setdefault(key(value), value)
        else:
            here, counts = np.unique(values, return_counts=True)
            if self.numbers is not None:
                every = np.concatenate([self.numbers, here])
                here, at = np.unique(every, return_inverse=True)
                counts = np.bincount(at, np.concatenate([self.times, counts])).astype(np.int64)
            self.numbers, self.times = here, counts
        if len(self) > MOST_DIFFERENT:
            self.over, self.texts, self.known, self.numbers = True, Counter(), {}, None

    def items(self) -> list[tuple[Any, int]]:
        """Each value, as plain Python has it, and how often it occurs."""
        found = [(self.known[name], times) for name, times in self.texts.items()]
        if self.numbers is not None:
            numbers = (value.item() for value in self.numbers)
            found += zip(numbers, self.times.tolist(), strict=True)
        return found

"""Intervals by the bootstrap: how far a number would vary, had other samples been drawn.

Reference: Efron, Tibshirani. An introduction to the bootstrap. Chapman & Hall, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DRAWS = 1000
LEVEL = 0.95


def bootstrap(
    statistic: Callable[..., np.ndarray], *sizes: int, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """The ends (2, ...) of the 95% percentile interval of a statistic.

    Each group is drawn anew on its own, so that groups keep their sizes. What is drawn is how
    often each sample counts: a statistic of sorted values need not sort them again.

    statistic: from one array of counts (N,) a group, whole numbers that sum to N, to a number or
        an array of them. sizes: N of each group.
    """
    random = np.random.default_rng(seed)
    values = [statistic(*(_counts(random, n) for n in sizes)) for _ in range(draws)]
    tail = (1 - LEVEL) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0)


def _counts(random: np.random.Generator, n: int) -> np.ndarray:
    return np.bincount(random.integers(n, size=n), minlength=n)

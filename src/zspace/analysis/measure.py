"""One measured number: what it means, which way is better, and how sure it is.

A mean of N values x has the standard error ``s / sqrt(N)``, s their sample standard deviation. Any
other statistic has an interval by the bootstrap: the range that holds 95% of its values over sets
of N samples, drawn with replacement from those that there are.

Reference: Efron, Tibshirani. An introduction to the bootstrap. Chapman & Hall, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Better = Literal["high", "low", "neither"]
BOOTSTRAP_DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Measure:
    """A number.

    unit: "nats", "bits a dimension", "" for a plain number. about: its definition, a sentence.
    error: the standard error of the mean where the value is one; None where there is none.
    interval: a 95% interval, where one was made (by bootstrap, say). better: which values are, of
    two models measured on the same data; "neither" where that depends on what one wants.
    """

    value: float
    about: str
    unit: str = ""
    error: float | None = None
    interval: tuple[float, float] | None = None
    better: Better = "neither"


def mean(
    values: Sequence[float] | np.ndarray, about: str, unit: str = "", better: Better = "neither"
) -> Measure:
    """The mean of values (N,) with its standard error, for N > 1."""
    x = np.asarray(values, dtype=np.float64)
    error = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else None
    return Measure(float(x.mean()), about, unit, error, better=better)


Found = Callable[..., dict[str, Measure]]
F = TypeVar("F", bound=Found)


@dataclass(frozen=True)
class Metric:
    """A section of an evaluation; see `metric`."""

    of: Found
    place: int = 100
    asked_for: bool = False
    warning: Callable[[Mapping[str, Measure]], str] | None = None


METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    place: int = 100,
    asked_for: bool = False,
    warning: Callable[[Mapping[str, Measure]], str] | None = None,
) -> Callable[[F], F]:
    """Make a function a section of `zspace evaluate`, of tables and of reports.

    The function is called as ``f(trained, data, *, seed, quiet)``, and with keywords of its own
    where they are given. It returns its measures by name, and raises `NotMeasured`, with the
    reason, where it does not apply.

    Args:
        name: Of the section.
        place: Sections are shown in this order; those of zspace have 10, 20, ...
        asked_for: Measured only where it is named, because it takes long or needs a download.
        warning: The sentence that the numbers call for; empty where they call for none.

    Raises ValueError where another function has the name.

    Example:
        >>> @metric("sparsity")
        ... def sparsity(trained, data, *, seed=0, quiet=True):
        ...     z = codes(trained, data).z
        ...     return {"small": mean(abs(z) < 0.1, "share of coordinates near 0")}
        >>> METRICS.pop("sparsity").of is sparsity
        True
    """

    def add(of: F) -> F:
        if name in METRICS and METRICS[name].of.__module__ != of.__module__:
            raise ValueError(f"metric '{name}' is there already: choose another name")
        METRICS[name] = Metric(of, place, asked_for, warning)
        return of

    return add


def bootstrap(
    statistic: Callable[..., np.ndarray], *sizes: int, draws: int = BOOTSTRAP_DRAWS, seed: int = 0
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

"""One measured number: what it means, which way is better, and how sure it is.

A mean of N values x has the standard error ``s / sqrt(N)``, s their sample standard deviation. A
statistic of ranks has an interval by the bootstrap: the range that holds 95% of its values over
sets of N samples, drawn with replacement from those that there are.

A statistic of neighbours must not be drawn so, since a doubled sample has a neighbour at distance
0. Its error, like that of every other statistic here, comes from random halves of the samples: T
of a half, drawn without replacement, and T' of the rest. As these have no sample in common,
``E ((T - T') / 2)^2`` is half the variance of a half's statistic, which is that of the statistic
of all where variances fall as 1/N.

A smooth function of means, as the Frechet distance, has the variance ``L + Q`` to second order, L
proportional to 1/N and Q to 1/N^2, and then ``E ((T - T') / 2)^2 = L + 2 Q``. As the linear part
of T + T' is the same for every division, ``Var (T + T') / 2 = Q``, which is subtracted.

References: Efron, Tibshirani. An introduction to the bootstrap. Chapman & Hall, 1993, chapter 13;
Politis, Romano, Wolf. Subsampling. Springer, 1999 (halves).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Better = Literal["high", "low", "neither"]
BOOTSTRAP_DRAWS, HALVES = 1000, 50
LEVEL = 0.95


@dataclass(frozen=True)
class Measure:
    """A number, what it means, and how sure it is.

    Arguments:
        value: The number itself.
        about: Its definition, a sentence.
        unit: "nats", "bits per dimension" and so on; "" for a plain number.
        error: The standard error of the value, where it is a mean or near one, else None.
        interval: The ends of a 95% interval where one was made.
        better: Which values are better, of two models measured on the same data: "high", "low",
            or "neither" where that depends on what one wants.
        headline: Whether models are compared by it first. `zspace compare` tests these.

    >>> Measure(0.97, "test accuracy", better="high").error is None
    True
    """

    value: float
    about: str
    unit: str = ""
    error: float | None = None
    interval: tuple[float, float] | None = None
    better: Better = "neither"
    headline: bool = False


def mean(
    values: Sequence[float] | np.ndarray, about: str, unit: str = "", better: Better = "neither"
) -> Measure:
    """The mean of values (N,) with its standard error ``s / sqrt(N)``, for N > 1.

    Arguments:
        values: One number per sample, independent of each other.
        about: What the mean is, a sentence.
        unit: Of the values, "nats" for example.
        better: Whether high or low values are better, if either.

    >>> found = mean([1.0, 2.0, 3.0], "a small number")
    >>> found.value, round(found.error, 4)  # s = 1, so 1 / sqrt(3)
    (2.0, 0.5774)
    """
    x = np.asarray(values, dtype=np.float64)
    error = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else None
    return Measure(float(x.mean()), about, unit, error, better=better)


Found = Callable[..., dict[str, Measure]]
F = TypeVar("F", bound=Found)


@dataclass(frozen=True)
class Metric:
    """A section of an evaluation, as `metric` makes it.

    Arguments:
        of: The function that measures it.
        place: Sections are shown in the order of their places.
        asked_for: Whether it is measured only where it is named.
        warning: From its measures to the sentence that they call for, or to "".

    >>> METRICS["likelihood"].place, METRICS["inception"].asked_for
    (10, True)
    """

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

    Raises ValueError where another module has a metric of this name.

    Arguments:
        name: Of the section.
        place: Sections are shown in this order; those of zspace have 10, 20, ..., so that yours
            come last by default and fit between two of them.
        asked_for: Whether it is measured only where it is named, because it takes long or needs a
            download.
        warning: From its measures to the sentence that they call for; "" where they call for none.

    >>> @metric("sparsity")
    ... def sparsity(trained, data, *, seed=0, quiet=True):
    ...     z = zspace.analysis.codes(trained, data).z
    ...     return {"small": mean((abs(z) < 0.1).ravel(), "share of coordinates near 0")}
    >>> 0 <= METRICS.pop("sparsity").of(run, data)["small"].value <= 1
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

    Arguments:
        statistic: From one array of counts (N,) per group, whole numbers that sum to N, to an
            array of numbers.
        sizes: N of each group.
        draws: How many sets are drawn; 1,000 give ends that are sure to about 5% of the width.
        seed: Of the draws.

    >>> x = np.arange(100.0)
    >>> low, high = bootstrap(lambda counts: counts @ x / len(x), len(x))
    >>> bool(low < x.mean() < high)
    True
    """
    random = np.random.default_rng(seed)
    values = [statistic(*(_counts(random, n) for n in sizes)) for _ in range(draws)]
    tail = (1 - LEVEL) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0)


def _counts(random: np.random.Generator, n: int) -> np.ndarray:
    return np.bincount(random.integers(n, size=n), minlength=n)


def halves(*sizes: int, draws: int = HALVES, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
    """Positions in groups of samples: a random half of each group, then the other half, and so on.

    Arguments:
        sizes: N of each group. A half has N // 2 of them, and what follows it the rest.
        draws: How many times they are divided; an error from 50 is sure to a tenth.
        seed: Of the draws.

    >>> [(len(a), len(b)) for a, b in halves(10, 7, draws=2)]
    [(5, 3), (5, 4), (5, 3), (5, 4)]
    """
    random, found = np.random.default_rng(seed), []
    for _ in range(draws):
        orders = [random.permutation(n) for n in sizes]
        found.append(tuple(order[: len(order) // 2] for order in orders))
        found.append(tuple(order[len(order) // 2 :] for order in orders))
    return found


def error_of_halves(values: Sequence[float] | np.ndarray, *, smooth: bool = False) -> float:
    """The standard error of a statistic, from its values on `halves`, in their order.

    Arguments:
        values: Of a half, of the other half, and so on.
        smooth: Whether the statistic is a smooth function of means: its second order counts.

    >>> x = np.random.default_rng(0).normal(size=1000)  # the error of its mean is 1 / sqrt(1000)
    >>> round(error_of_halves([x[i].mean() for (i,) in halves(1000)]), 2)
    0.03
    """
    pairs = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    variance = np.square(pairs[:, 0] - pairs[:, 1]).mean() / 4
    if smooth:
        variance = max(variance - pairs.mean(1).var(ddof=1), variance / 2)
    return float(np.sqrt(variance))


def within(
    value: float, error: float, about: str, *, low: float = 0.0, high: float = 1.0, better: Better
) -> Measure:
    """A measure with the interval ``value +- 1.96 error``, cut to where values can lie.

    >>> within(0.9, 0.1, "a score", better="high").interval
    (0.704, 1.0)
    """
    least, most = value - 1.96 * error, value + 1.96 * error
    interval = (round(max(low, least), 12), round(min(high, most), 12))
    return Measure(value, about, interval=interval, better=better)

"""Schedules: weights of terms and learning rates as functions of training progress in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable

from zspace.system.errors import UserError


def starts_at(start: float, end: float = 1.0) -> Schedule:
    """A weight that is 0 before `start`, a fraction of training in [0, 1), and `end` after.

    >>> weight = starts_at(0.5)
    >>> weight(0.4), weight(0.5)
    (0.0, 1.0)
    """
    if not 0 <= start < 1:
        raise UserError(f"a term starts at {start} of training: use a fraction in [0, 1)")
    return lambda progress: end if progress >= start else 0.0


def warmup(until: float = 0.2, end: float = 1.0) -> Schedule:
    """A weight that grows linearly from 0 to `end` over the first part of training, then stays.

    Arguments:
        until: The fraction of training after which it is `end`, in (0, 1].
        end: The weight from then on.

    >>> weight = warmup(until=0.5, end=4.0)
    >>> weight(0.0), weight(0.25), weight(0.8)
    (0.0, 2.0, 4.0)
    """
    if not 0 < until <= 1:
        raise UserError(f"warm-up lasts until {until} of training: use a fraction in (0, 1]")
    return lambda progress: end * min(1.0, progress / until)


def fade(start: float, stop: float, begin: float = 1.0) -> Schedule:
    """A weight that is `begin` at first, and falls linearly to 0 from `start` to `stop`.

    Arguments:
        start: The fraction of training up to which it is `begin`, in [0, 1).
        stop: The fraction from which on it is 0, in (start, 1].
        begin: The weight before.

    >>> weight = fade(0.5, 0.9)
    >>> weight(0.2), round(weight(0.7), 6), weight(0.9)
    (1.0, 0.5, 0.0)
    """
    if not 0 <= start < stop <= 1:
        raise UserError(
            f"a weight fades from {start} to {stop} of training: use fractions with "
            "0 <= start < stop <= 1"
        )
    return lambda progress: begin * min(1.0, max(0.0, (stop - progress) / (stop - start)))


def cyclical(cycles: int = 4, ratio: float = 0.5, end: float = 1.0) -> Schedule:
    """A weight that grows from 0 to `end` again and again.

    Reference: Fu et al. Cyclical annealing schedule: a simple approach to mitigating KL
    vanishing. 2019, arXiv 1903.10145, whose defaults these are.

    Arguments:
        cycles: How often, >= 1.
        ratio: The part of a cycle in which it grows, in (0, 1]; in the rest it stays.
        end: The highest weight.

    >>> weight = cyclical(cycles=2)
    >>> weight(0.0), weight(0.125), weight(0.4), weight(0.5)
    (0.0, 0.5, 1.0, 0.0)
    """
    if cycles < 1 or not 0 < ratio <= 1:
        raise UserError(f"{cycles} cycles with ratio {ratio}: use >= 1 cycles, a ratio in (0, 1]")

    def weight(progress: float) -> float:
        within = 1.0 if progress >= 1 else progress * cycles % 1.0
        return end * min(1.0, within / ratio)

    return weight


def _cosine(progress: float, warmup: float) -> float:
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def _one_cycle(progress: float, warmup: float) -> float:
    """Smith, Topin. Super-convergence. 2017, arXiv 1708.07120; momentum is left alone."""
    return 0.04 + 0.96 * progress / 0.3 if progress < 0.3 else _cosine(progress, 0.3)


def _constant(progress: float, warmup: float) -> float:
    return min(1.0, progress / warmup) if warmup else 1.0


RATES: dict[str, Callable[[float, float], float]] = {
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "constant": _constant,
}

Schedule = Callable[[float], float]
"""A weight as a function of training progress in [0, 1]."""

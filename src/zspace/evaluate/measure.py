"""One measured number, with what it means and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zspace.errors import UserError


class NotMeasured(UserError):
    """A measure does not apply to this run: says why, and what to do."""


@dataclass(frozen=True)
class Measure:
    """A number.

    unit: "nats", "bits a dimension", "" for a plain number. about: its definition, a sentence.
    error: the standard error of the mean where the value is one; None where there is none.
    interval: a 95% interval, where one was made (by bootstrap, say).
    """

    value: float
    about: str
    unit: str = ""
    error: float | None = None
    interval: tuple[float, float] | None = None


def mean(values: Sequence[float] | np.ndarray, about: str, unit: str = "") -> Measure:
    """The mean of values (N,) with its standard error, for N > 1."""
    x = np.asarray(values, dtype=np.float64)
    error = float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else None
    return Measure(float(x.mean()), about, unit, error)

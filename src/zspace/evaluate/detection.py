"""How well one number a sample tells anomalies from ordinary samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zspace.evaluate.intervals import DRAWS, bootstrap

Pair = tuple[float, float]


@dataclass(frozen=True)
class Detection:
    """auroc: the area under the ROC curve, the chance that an anomaly scores above an ordinary
    sample, ties counting half. auprc: average precision, the mean precision over the recalls that
    are reached; chance gives the share of anomalies. fpr95: the share of ordinary samples above
    the highest threshold that finds at least 95% of the anomalies.

    Each has its 95% bootstrap interval, (low, high).
    """

    auroc: float
    auprc: float
    fpr95: float
    intervals: dict[str, Pair]


def detection(
    ordinary: np.ndarray, anomalous: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> Detection:
    """Of scores (N,) of ordinary samples and (M,) of anomalies, which should be the higher."""
    numbers = _counted(np.asarray(ordinary), np.asarray(anomalous))
    n, m = len(ordinary), len(anomalous)
    values = numbers(np.ones(n), np.ones(m))
    ends = bootstrap(numbers, n, m, draws=draws, seed=seed).T
    names = ("auroc", "auprc", "fpr95")  # as numbers gives them
    intervals = {k: (float(low), float(high)) for k, (low, high) in zip(names, ends, strict=True)}
    auroc, auprc, fpr95 = map(float, values)
    return Detection(auroc, auprc, fpr95, intervals)


def _counted(
    ordinary: np.ndarray, anomalous: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From counts (N,) and (M,) of the samples to (auroc, auprc, fpr95); sorts only once."""
    thresholds, place = np.unique(np.concatenate([ordinary, anomalous]), return_inverse=True)
    first, second = np.split(len(thresholds) - 1 - place.reshape(-1), [len(ordinary)])

    def numbers(n: np.ndarray, m: np.ndarray) -> np.ndarray:
        false = np.cumsum(np.bincount(first, n, len(thresholds)))  # at or above each threshold
        true = np.cumsum(np.bincount(second, m, len(thresholds)))
        fpr, recall = false / false[-1], true / true[-1]
        precision = true / np.maximum(true + false, 1)
        gained = np.diff(recall, prepend=0)
        auroc = (np.diff(fpr, prepend=0) * (recall - gained / 2)).sum()
        fpr95 = fpr[np.argmax(100 * true >= 95 * true[-1])]
        return np.array([auroc, (gained * precision).sum(), fpr95])

    return numbers

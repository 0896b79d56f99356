"""Precision, recall, density and coverage: two sets of features, each seen as balls.

The ball of a point reaches to its K-th nearest neighbour in its own set; the balls of a set
together stand for where its distribution lies.

References: Kynkäänniemi et al. Improved precision and recall metric for assessing generative
models. 2019, arXiv 1904.06991 (precision, recall); Naeem et al. Reliable fidelity and diversity
metrics for generative models. 2020, arXiv 2002.09797 (density, coverage, K = 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zspace.data.progress import bar
from zspace.evaluate.measure import NotMeasured

K = 5
CHUNK = 512


@dataclass(frozen=True)
class Manifold:
    """Values by sample, whose means are the four measures, for N real and M made samples.

    precision (M,): 1 where a made sample lies in some real ball. recall (N,): 1 where a real
    sample lies in some made ball. density (M,): real balls around a made sample, over K.
    coverage (N,): 1 where a real sample's ball holds a made sample.
    """

    precision: np.ndarray
    recall: np.ndarray
    density: np.ndarray
    coverage: np.ndarray


def manifold(real: np.ndarray, made: np.ndarray, k: int = K, quiet: bool = True) -> Manifold:
    """The four measures of features real (N, D) and made (M, D), in Euclidean distance.

    Memory is O(512 (N + M)). Raises NotMeasured where a set has no K + 1 samples.
    """
    from sklearn.metrics import pairwise_distances  # slow to import

    if min(len(real), len(made)) <= k:
        raise NotMeasured(
            f"precision and recall with K = {k} were asked for of {len(real)} real and "
            f"{len(made)} made samples: give at least {k + 1} of both"
        )
    real, made = (np.asarray(x, dtype=np.float64) for x in (real, made))
    with bar("comparing neighbours", 2 * len(real) + len(made), quiet) as did:
        of_real, of_made = _radii(real, k, did), _radii(made, k, did)
        inside = np.zeros(len(made))
        recall, coverage = [], []
        for start in range(0, len(real), CHUNK):
            rows = slice(start, start + CHUNK)
            distances = pairwise_distances(real[rows], made)
            within = distances < of_real[rows, None]
            inside += within.sum(0)
            recall.append((distances < of_made).any(1))
            coverage.append(within.any(1))
            did(len(distances))
    return Manifold(inside > 0, np.concatenate(recall), inside / k, np.concatenate(coverage))


def _radii(x: np.ndarray, k: int, did: Callable[[int], None]) -> np.ndarray:
    """The distance (N,) of each row of x (N, D) to its K-th nearest other row."""
    from sklearn.metrics import pairwise_distances

    found = []
    for start in range(0, len(x), CHUNK):
        distances = pairwise_distances(x[start : start + CHUNK], x)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0  # a row's distance to itself, but for rounding
        found.append(np.partition(distances, k, axis=1)[:, k])
        did(len(distances))
    return np.concatenate(found)

"""Many dimensions on a few: principal components, t-SNE, a density; none is written here.

Points are (N, D) and become (N, 2), or any n of principal components. On a plane of codes, two
windows are found: one where codes are dense, and one among them where there are hardly any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERPLEXITY = 30.0
FEWEST_MAPPED = 10
CELLS = 14
"""Windows along the longer side of the plane."""


@dataclass(frozen=True)
class Principal:
    """Principal components: points (N, n), the mean (Z,), directions (n, Z), and the share of
    the variance that each explains (n,).
    """

    points: np.ndarray
    mean: np.ndarray
    directions: np.ndarray
    share: np.ndarray

    def project(self, z: np.ndarray) -> np.ndarray:
        """Codes z (M, Z) in these components: (M, n)."""
        return (z - self.mean) @ self.directions.T


def principal(z: np.ndarray, n: int = 2) -> Principal:
    """The first n principal components of z (N, Z).

    >>> found = principal(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]), 1)  # on one line
    >>> np.abs(found.directions).round(4).tolist(), found.share.round(4).tolist()
    ([[0.6, 0.8]], [1.0])
    """
    from sklearn.decomposition import PCA  # slow to import

    if np.ptp(z, axis=0).max() == 0:
        return Principal(np.zeros((len(z), n)), z[0], np.eye(n, z.shape[1]), np.zeros(n))
    fitted = PCA(n, svd_solver="full" if z.shape[1] < 1000 else "auto", random_state=0)
    points = fitted.fit_transform(z)
    return Principal(points, fitted.mean_, fitted.components_, fitted.explained_variance_ratio_)


def tsne(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The t-SNE map (N, 2) of x (N, D): 50 principal components first, PCA-initialised.

    One thread: the map is the same again on any machine, and 10,000 points take half a minute.
    Reference: van der Maaten, Hinton. Visualizing data using t-SNE. JMLR 9, 2008; Poličar,
    Stražar, Zupan. openTSNE. 2019, doi 10.1101/731877.
    """
    from openTSNE import TSNE  # slow to import

    if np.ptp(x, axis=0).max() < 1e-7:
        return np.zeros((len(x), 2))  # one point
    if x.shape[1] > 50 and len(x) > 50:
        x = principal(x, 50).points
    if x.shape[1] == 1:
        x = np.c_[x, np.zeros(len(x))]  # two components are asked for at the start
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    fitted = TSNE(perplexity=perplexity, initialization="pca", random_state=seed, n_jobs=1).fit(x)
    return np.asarray(fitted)


def density(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A Gaussian kernel density estimate (M,) of values (N,), with Scott's bandwidth, at points.

    It is 0 everywhere for fewer than two different values: a point mass has no density.
    """
    from scipy.stats import gaussian_kde  # slow to import

    if len(values) < 2 or np.ptp(values) < 1e-9:
        return np.zeros(len(at))
    return gaussian_kde(values)(at)


@dataclass(frozen=True)
class Window:
    """A square part of the plane, from low (2,) to high (2,), with `count` codes in it."""

    low: tuple[float, float]
    high: tuple[float, float]
    count: int

    def ticks(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """n values across and n upwards, from edge to edge."""
        (x0, y0), (x1, y1) = self.low, self.high
        return np.linspace(x0, x1, n), np.linspace(y0, y1, n)


def windows(points: np.ndarray) -> tuple[Window, Window]:
    """The densest window of points (N, 2), and the emptiest one that lies among them.

    Candidates are squares that tile the box which holds 98% of each coordinate. The emptiest is
    looked for between the 5% and the 95% quantile of both coordinates; of several that are
    equally empty, the one nearest to the median: a hole, not the outside.
    """
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    side = max((high - low).max() / CELLS, 1e-6)
    cells = np.maximum(1, np.ceil((high - low) / side - 1e-9)).astype(int)
    edges = [a + side * np.arange(n + 1) for a, n in zip(low, cells, strict=True)]
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=edges)[0].astype(int)
    centres = [edge[:-1] + side / 2 for edge in edges]
    middles = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    dense = np.unravel_index(counts.argmax(), counts.shape)
    return _window(edges, counts, dense), _window(edges, counts, _hole(points, counts, middles))


def _hole(points: np.ndarray, counts: np.ndarray, middles: np.ndarray) -> tuple[int, ...]:
    """The cell among the points with the fewest of them, nearest to their median."""
    inner, outer = np.quantile(points, [0.05, 0.95], axis=0)
    within = ((middles >= inner) & (middles <= outer)).all(-1)
    distance = np.linalg.norm(middles - np.median(points, axis=0), axis=-1)
    order = np.lexsort((distance.ravel(), counts.ravel(), ~within.ravel()))
    return tuple(int(i) for i in np.unravel_index(order[0], counts.shape))


def _window(edges: list[np.ndarray], counts: np.ndarray, cell: tuple) -> Window:
    low = (float(edges[0][cell[0]]), float(edges[1][cell[1]]))
    high = (float(edges[0][cell[0] + 1]), float(edges[1][cell[1] + 1]))
    return Window(low, high, int(counts[cell]))

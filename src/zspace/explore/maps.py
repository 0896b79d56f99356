"""Many dimensions on a few: principal components, t-SNE, a density. None is written here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERPLEXITY = 30.0
FEWEST = 10


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
    """The first n principal components of z (N, Z)."""
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
    """A Gaussian kernel density estimate of values (N,), Scott's bandwidth, at points (M,)."""
    from scipy.stats import gaussian_kde  # slow to import

    if len(values) < 2 or np.ptp(values) < 1e-9:
        return np.zeros(len(at))  # a point mass has no density
    return gaussian_kde(values)(at)

"""The Frechet distance of two Gaussians, fitted to two sets of features."""

from __future__ import annotations

import numpy as np

from zspace.evaluate.measure import NotMeasured


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The squared Frechet distance of the Gaussians fitted to features a (N, D) and b (M, D).

    It falls as N and M grow, for the same two distributions: compare equal numbers only.
    Reference: Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium. 2017, arXiv 1706.08500. Raises NotMeasured for fewer than two samples.
    """
    if min(len(a), len(b)) < 2:
        raise NotMeasured(
            f"a Frechet distance was asked for of {len(a)} and {len(b)} samples: give at least 2"
        )
    return between(*_gaussian(a), *_gaussian(b))


def between(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """``|m_a - m_b|^2 + tr(A + B - 2 (A B)^{1/2})`` of means (D,) and covariances (D, D).

    The trace of the root is the sum of the singular values of ``A^{1/2} B^{1/2}``, whose roots
    are taken by eigenvalues: stable also for covariances without full rank.
    Reference: Dowson, Landau. The Frechet distance between multivariate normal distributions.
    Journal of Multivariate Analysis 12, 1982.
    """
    cross = np.linalg.svd(_root(covariance_a) @ _root(covariance_b), compute_uv=False).sum()
    apart = np.square(mean_a - mean_b).sum()
    return max(0.0, float(apart + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross))


def _gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x, dtype=np.float64)
    return x.mean(0), np.cov(x, rowvar=False).reshape(x.shape[1], -1)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T

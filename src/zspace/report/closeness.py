"""Numbers that the page states beside the figures: how near made images come to real ones.

What an image is like is measured against up to 10,000 training images, pixel by pixel: plain, and
enough to tell a digit from a blur between two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zspace.analysis import latents, planes, projections, reconstruction
from zspace.analysis.trained import once, subset
from zspace.data.conditions import columns
from zspace.data.dataset import Data
from zspace.runs.run import Run

MOST, VALUES = 10_000, 40_000_000
MADE = 500


@once
def _real(data: Data) -> tuple[np.ndarray, np.ndarray | None]:
    """Training images (N, D), fewer where they are large, and their labels."""
    few = subset(data.train, max(10, min(MOST, VALUES // int(np.prod(data.spec.shape)))))
    y = few.labels()
    return few.images().flatten(1).numpy(), None if y is None else y.numpy()


@once
def _index(data: Data) -> Any:
    from sklearn.neighbors import NearestNeighbors  # slow to import

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(_real(data)[0])


def to_real(data: Data, x: np.ndarray) -> float:
    """The mean squared distance of images (N, C, H, W) to the nearest training image of each."""
    distances, _ = _index(data).kneighbors(x.reshape(len(x), -1))
    return float(np.square(distances).mean())


@once
def test_to_real(data: Data) -> float:
    """The same for test images: how near a real image is to other real ones."""
    return to_real(data, subset(data.test, MADE).images().numpy())


@once
def samples_to_real(run: Run, data: Data) -> float:
    """The same for decoded draws of the prior."""
    return to_real(data, run.sample(MADE, seed=0))


@once
def middle_to_real(run: Run, data: Data) -> float:
    """The same for what lies half-way, on a straight line, between codes of two test images."""
    pairs = subset(data.test, MADE)
    x, y = pairs.images(), pairs.conditions() if run.model.context else None
    z = run.encode(x, y)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(z)))
    c = None
    if y is not None:
        told = columns(y, run.model.context)
        c = ((told + told[order]) / 2).to(run.device)
    with torch.no_grad():
        made = run.model.decode(((z + z[order]) / 2).to(run.device), c).mean
    return to_real(data, made.cpu().numpy())


@once
def windows_return(run: Run, data: Data) -> tuple[float, float]:
    """How far codes of a dense and of a sparse window come back, decoded and encoded again.

    In widths of the window. A decoder and an encoder that know a place return what lies there.
    """
    dense, sparse = projections.windows(latents.codes(run, data).z)
    return _return(run, dense), _return(run, sparse)


def _return(run: Run, window: projections.Window) -> float:
    xs, ys = window.ticks(8)
    made = planes.decoded_plane(run, xs, ys)
    back = run.encode(made.reshape(-1, *made.shape[2:]).clip(0, 1)).reshape(-1, 2)
    far = np.linalg.norm(back - planes.lattice(xs, ys), axis=1).mean()
    return float(far / (window.high[0] - window.low[0]))


def class_errors(run: Run, term: str, data: Data) -> dict[str, float]:
    """The mean of a term over the test images of each class that has some."""
    values, y = reconstruction.per_sample_terms(run, data), data.test.labels()
    if y is None or term not in values:
        return {}
    return _by_class(values[term], y.numpy(), data.classes)


@once
def variety(data: Data) -> dict[str, float]:
    """The mean squared distance of test images to the mean image of their class."""
    y = data.test.labels()
    if y is None:
        return {}
    x = data.test.images().flatten(1).numpy()
    means = np.zeros((len(data.classes), x.shape[1]), x.dtype)
    for k in np.unique(y.numpy()):
        means[k] = x[y.numpy() == k].mean(0)
    return _by_class(np.square(x - means[y.numpy()]).sum(1), y.numpy(), data.classes)


def _by_class(values: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    means = reconstruction.per_class(values, y, len(classes))
    named = zip(classes, means, strict=True)
    return {name: float(mean) for name, mean in named if np.isfinite(mean)}


def rank_correlation(a: dict[str, float], b: dict[str, float]) -> float:
    """Spearman's, over the names of the first; 0 where one of them does not vary."""
    from scipy.stats import spearmanr  # slow to import

    first, second = ([values[name] for name in a] for values in (a, b))
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return float(spearmanr(first, second).statistic)


def alike(x: np.ndarray, y: np.ndarray) -> float:
    """The share of points x (N, D) whose nearest other point has the same label y (N,)."""
    from sklearn.neighbors import NearestNeighbors  # slow to import

    nearest = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x, return_distance=False)
    own = np.arange(len(x))
    other = np.where(nearest[:, 0] == own, nearest[:, 1], nearest[:, 0])
    return float((y[other] == y).mean())


@once
def codes_alike(run: Run, data: Data) -> float | None:
    """The share of test codes whose nearest neighbour has their label."""
    found = latents.codes(run, data)
    return None if found.y is None or len(found.z) < 3 else alike(found.z, found.y)


def chance(data: Data) -> float:
    """The share of pairs of test images that have the same label."""
    y = data.test.labels()
    if y is None:
        return 0.0
    return float(np.square(np.bincount(y.numpy()) / len(y)).sum())


@once
def pixels_alike(data: Data) -> float | None:
    """The share of raw training images whose nearest neighbour has their label."""
    x, y = _real(data)
    return None if y is None or len(x) < 3 else alike(x, y)


@dataclass(frozen=True)
class Judge:
    """A classifier of real images, and the share of test images that it gets right."""

    classifier: Any
    right: float


@once
def judge(data: Data) -> Judge | None:
    """A support vector machine on 50 principal components; None without two classes or more."""
    from sklearn.decomposition import PCA  # slow to import
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    x, y = _real(data)
    if y is None or len(np.unique(y)) < 2:
        return None
    reduce = PCA(min(50, *x.shape), whiten=True, random_state=0)
    classifier = make_pipeline(reduce, SVC(C=10)).fit(x, y)
    test = subset(data.test, 2000)
    labels = test.labels()
    assert labels is not None
    right = classifier.predict(test.images().flatten(1).numpy()) == labels.numpy()
    return Judge(classifier, float(right.mean()))


@once
def as_asked(run: Run, data: Data) -> float | None:
    """The share of samples of a conditional model that the judge reads as the class asked for."""
    found = judge(data)
    if found is None:
        return None
    y = np.arange(2 * MADE) % len(data.classes)
    x = run.sample(len(y), label=y, seed=0)
    return float((found.classifier.predict(x.reshape(len(x), -1)) == y).mean())


def in_plane(z: np.ndarray, reach: float) -> float:
    """The share of 2-D codes (N, 2) with both coordinates within (-reach, reach)."""
    return float((np.abs(z) <= reach).all(axis=1).mean())

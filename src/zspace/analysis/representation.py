"""What codes know of the labels that training did not use, beside raw pixels and their PCA."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zspace.analysis.latents import codes, encoded, labels, pixels
from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.projections import principal
from zspace.analysis.trained import TrainedModel, once, subset
from zspace.data.dataset import Data, Samples
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured

MOST, VALUES = 10_000, 40_000_000
NEIGHBOURS = 5
FEW = (10, 100, 1000)
DRAWS = 5

SPACES = {
    "": "codes",
    "_pca": "as many principal components of the pixels",
    "_pixels": "pixels",
}
"""What measures are of, by the end of their names."""

Space = tuple[np.ndarray, np.ndarray]
"""Training and test points, (N, D) and (M, D)."""


@metric("representation", place=30)
def label_probes(
    trained: TrainedModel, data: Data, *, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """Accuracy on test images of 5 nearest neighbours and of a linear probe, the probe's with 10,
    100 and 1,000 labels, and how k-means clusters of test images match the classes.

    Each for the codes, the same number of principal components of the pixels ("_pca") and the
    pixels themselves ("_pixels"), of at most 10,000 images of each split.

    Raises NotMeasured for data without labels, and for conditional models.
    """
    if data.train.y is None or len(data.classes) < 2:
        raise NotMeasured(
            f"a representation is measured by what it tells of labels, but data '{data.name}' "
            "have none: give labelled data"
        )
    if trained.model.context:
        raise NotMeasured(
            "the encoder of a conditional model is told the label, so that its codes need not "
            "hold it and may copy it: measure an unconditional model"
        )
    splits = [subset(split, MOST, seed) for split in (data.train, data.test)]
    y, y_test = (np.asarray(labels(split)) for split in splits)
    if len(set(y)) < 2:
        raise NotMeasured(
            f"a representation is measured by what it tells of labels, but the training images "
            f"of '{data.name}' have one label alone: give two classes or more"
        )
    found: dict[str, Measure] = {}
    spaces = _spaces(trained, splits)
    with bar("probing codes", len(spaces), quiet) as did:
        for name, space in spaces.items():
            made = of_space(space, y, y_test, seed)
            for key, measure in made.items():
                about = f"{SPACES[name]}: {measure.about}"
                better = "neither" if name else measure.better  # pixels are not the model's merit
                found[f"{key}{name}"] = replace(measure, about=about, better=better)
            did(1)
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def of_space(space: Space, y: np.ndarray, y_test: np.ndarray, seed: int = 0) -> dict[str, Measure]:
    """Every measure of one space, with labels y (N,) and y_test (M,)."""
    from sklearn.neighbors import KNeighborsClassifier  # slow to import

    x, x_test = scaled(space)
    k = min(NEIGHBOURS, len(x))
    near = KNeighborsClassifier(k).fit(x, y).predict(x_test)
    about = f"test accuracy of {k} nearest neighbours among {len(x):,} training images"
    found = {
        "neighbours": mean(near == y_test, about, better="high"),
        "probe": mean(
            probe(x, y, x_test) == y_test,
            f"test accuracy of a logistic regression on {len(x):,} training images",
            better="high",
        ),
    }
    for n in FEW:
        if len(set(y)) <= n <= len(x):
            found[f"probe_{n}"] = _few(x, y, x_test, y_test, n, seed)
    return found | clusters(x_test, y_test, seed)


def probe(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """The labels (M,) that a logistic regression on x (N, D), y (N,) gives x_test (M, D)."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left after 300 steps moved accuracy by 0.001
        return LogisticRegression(max_iter=300).fit(x, y).predict(x_test)


def clusters(x: np.ndarray, y: np.ndarray, seed: int = 0) -> dict[str, Measure]:
    """How k-means of x (N, D), with as many clusters as classes, matches labels y (N,)."""
    from sklearn import metrics
    from sklearn.cluster import KMeans

    count = len(set(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters
        found = KMeans(count, n_init=4, random_state=seed).fit_predict(x)
    about = f"{{}} of {count} k-means clusters of test images and their classes; 1 is a match"
    nmi = metrics.normalized_mutual_info_score(y, found)
    ari = metrics.adjusted_rand_score(y, found)
    return {
        "nmi": Measure(float(nmi), about.format("normalised mutual information"), better="high"),
        "ari": Measure(
            float(ari), about.format("adjusted Rand index") + ", 0 chance", better="high"
        ),
    }


def alike(x: np.ndarray, y: np.ndarray) -> float:
    """The share of points x (N, D) whose nearest other point has the same label y (N,)."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x, return_distance=False)
    own = np.arange(len(x))
    other = np.where(nearest[:, 0] == own, nearest[:, 1], nearest[:, 0])
    return float((y[other] == y).mean())


@once
def codes_alike(trained: TrainedModel, data: Data) -> float | None:
    """The share of test codes whose nearest neighbour has their label; None without labels."""
    found = codes(trained, data)
    return None if found.y is None or len(found.z) < 3 else alike(found.z, found.y)


@once
def pixels_alike(data: Data) -> float | None:
    """The share of raw training images whose nearest neighbour has their label.

    At most 10,000 of them, fewer where they are large; None without labels.
    """
    few = subset(data.train, max(10, min(MOST, VALUES // math.prod(data.spec.shape))))
    y = labels(few)
    return None if y is None or len(y) < 3 else alike(few.images().flatten(1).numpy(), y)


def chance_alike(data: Data) -> float:
    """The share of pairs of test images that have the same label; 0 without labels."""
    y = labels(data.test)
    return 0.0 if y is None else float(np.square(np.bincount(y) / len(y)).sum())


def scaled(space: Space) -> Space:
    """Both sets centred and divided by one number, the training points' standard deviation.

    Distances keep their proportions, and a probe's penalty means the same in every space.
    """
    x, x_test = (np.asarray(part, dtype=np.float64) for part in space)
    centre = x.mean(0)
    scale = float(np.sqrt(np.square(x - centre).mean())) or 1.0
    return (x - centre) / scale, (x_test - centre) / scale


def balanced(y: np.ndarray, n: int, random: np.random.RandomState) -> np.ndarray:
    """n positions of labels y (N,), drawn at random, classes as equal in number as can be."""
    shuffled = random.permutation(len(y))
    order = np.argsort(y[shuffled], kind="stable")
    counts = np.bincount(y)
    rank = np.arange(len(y)) - (counts.cumsum() - counts)[y[shuffled][order]]
    return shuffled[order[np.argsort(rank, kind="stable")[:n]]]


def _few(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, n: int, seed: int
) -> Measure:
    random = np.random.RandomState(seed)
    scores = []
    for _ in range(DRAWS):
        rows = balanced(y, n, random)
        scores.append(float((probe(x[rows], y[rows], x_test) == y_test).mean()))
    about = f"test accuracy of a logistic regression on {n:,} labels, a mean over {DRAWS} draws"
    return mean(scores, about, better="high")


def _spaces(trained: TrainedModel, splits: Sequence[Samples]) -> Mapping[str, Space]:
    z, z_test = (encoded(trained, split) for split in splits)
    x, x_test = (pixels(trained, split) for split in splits)
    pca = principal(x, min(z.shape[1], *x.shape))
    return {
        "": (z, z_test),
        "_pca": (pca.points, pca.project(x_test)),
        "_pixels": (x, x_test),
    }


def _order(name: str) -> int:
    """Measures side by side: the probe of codes, of principal components, of pixels."""
    base = name.removesuffix("_pca").removesuffix("_pixels")
    return ["neighbours", "probe", *(f"probe_{n}" for n in FEW), "nmi", "ari"].index(base)

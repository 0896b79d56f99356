"""What codes know of the labels that training did not use, beside raw pixels and their PCA."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from zspace.analysis.latents import codes, drawn, encoded, labels, pixels
from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.projections import principal
from zspace.analysis.trained import TrainedModel, in_turns, once, subset
from zspace.data.dataset import Data, Samples
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured

MOST, VALUES = 10_000, 40_000_000
NEIGHBOURS = 5
FEW = (10, 100, 1000)
DRAWS = 5

SPACES = {
    "": "means of q(z|x)",
    "_draws": "draws of q(z|x)",
    "_pca": "as many principal components of the pixels",
    "_pixels": "pixels",
}
"""What measures are of, by the end of their names; a deterministic code has no draws."""
APART = 0.1
"""How much less a draw may tell of the labels, in accuracy, before a warning."""

Space = tuple[np.ndarray, np.ndarray]
"""Training and test points, (N, D) and (M, D)."""


def scale(found: Mapping[str, Measure]) -> str:
    """A sentence where means of q(z|x) tell what draws do not; empty where both do."""
    if "probe_draws" not in found:
        return ""
    means, draws = (found[name].value for name in ("probe", "probe_draws"))
    if means - draws <= APART:
        return ""
    return (
        f"a linear probe reads {means:.0%} of the labels from means of q(z|x), which are "
        f"rescaled, but {draws:.0%} from draws: the code holds less than its means show; see the "
        "KL of each dimension in the section 'latents', which warns of collapsed ones"
    )


@metric("representation", place=30, warning=scale)
def label_probes(
    trained: TrainedModel, data: Data, *, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """What codes know of the labels, beside raw pixels and their principal components.

    neighbours: accuracy on test images of 5 nearest neighbours. probe, probe_N: of a linear probe
    on all labels, and on N = 10, 100 or 1,000 of them. nmi, ari: how k-means clusters of test
    images match the classes. Each for the codes, which are means of q(z|x), for draws of q(z|x)
    ("_draws"; not of a deterministic code), for as many principal components of the pixels
    ("_pca") and for the pixels themselves ("_pixels"), of at most 10,000 images of either split.
    All are divided by one number, so that the means of a collapsed code, which differ by next to
    nothing, are as good as others: it is the draws that a decoder reads. Errors are over the test
    images; those of probe_N are over the images whose labels are given. Raises NotMeasured for
    data without labels, and for conditional models, whose encoder is told the label.

    Arguments:
        trained: The model, usually a run.
        data: Its data, with labels.
        seed: Of the images, of the few labels and of k-means.
        quiet: Whether no progress bar is shown.

    >>> found = label_probes(run, data)
    >>> list(found)[:3]
    ['neighbours', 'neighbours_draws', 'neighbours_pca']
    >>> 0 <= found["probe"].value <= 1
    True
    """
    why = "a representation is measured by what it tells of classes, but"
    if data.train.y is None or len(data.classes) < 2:
        raise NotMeasured(f"{why} data '{data.name}' have none: give labelled data")
    if trained.model.context:
        raise NotMeasured(
            f"the encoder of recipe '{trained.name}' is told the label, so its codes need not "
            "hold it and may copy it: measure an unconditional model"
        )
    splits = [subset(split.labelled(), MOST, seed) for split in (data.train, data.test)]
    y, y_test = (np.asarray(labels(split)) for split in splits)
    if len(set(y)) < 2:
        raise NotMeasured(
            f"{why} the training images of '{data.name}' have only one label: give data with "
            "two classes or more"
        )
    if not len(y_test):
        raise NotMeasured(f"{why} no test sample of '{data.name}' has a label: give some")
    gone = sum(len(split) - len(split.labelled()) for split in (data.train, data.test))
    rest = f"; {gone:,} samples without a label were left out" if gone else ""
    spaces = _spaces(trained, splits)
    made: dict[str, dict[str, Measure]] = {}
    with bar("probing codes", len(spaces), quiet) as did:
        for name, space in spaces.items():
            made[name] = of_space(space, y, y_test, seed)
            did(1)
    found: dict[str, Measure] = {}
    for key in made[""]:  # side by side: of codes, of principal components, of pixels
        for name in spaces:
            measure = made[name][key]
            # Pixels are not the model's merit.
            better = measure.better if name in ("", "_draws") else "neither"
            about = SPACES[name] if name or trained.variational else "codes"
            about = f"{about}: {measure.about}{rest}"
            first = key == "probe" and not name
            found[f"{key}{name}"] = replace(measure, about=about, better=better, headline=first)
    return found


def of_space(space: Space, y: np.ndarray, y_test: np.ndarray, seed: int = 0) -> dict[str, Measure]:
    """Every measure of one space, with labels y (N,) and y_test (M,)."""
    from sklearn.neighbors import KNeighborsClassifier  # slow to import

    x, x_test = scaled(space)
    k = min(NEIGHBOURS, len(x))
    near = KNeighborsClassifier(k).fit(x, y).predict(x_test)
    sure = "error over test images"
    about = f"test accuracy of {k} nearest neighbours among {len(x):,} training images; {sure}"
    found = {
        "neighbours": mean(near == y_test, about, better="high"),
        "probe": mean(
            probe(x, y, x_test) == y_test,
            f"test accuracy of a logistic regression on {len(x):,} training images; {sure}",
            better="high",
        ),
    }
    for n in FEW:
        if len(set(y)) <= n <= len(x):
            found[f"probe_{n}"] = _few(x, y, x_test, y_test, n, seed)
    return found | clusters(x_test, y_test, seed)


def probe(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """The labels (M,) that a logistic regression on x (N, D), y (N,) gives x_test (M, D)."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    with warnings.catch_warnings(), threadpool_limits(1):  # small products: threads only wait
        warnings.simplefilter("ignore")  # what is left after 300 steps moved accuracy by 0.001
        return LogisticRegression(max_iter=300).fit(x, y).predict(x_test)


def clusters(x: np.ndarray, y: np.ndarray, seed: int = 0) -> dict[str, Measure]:
    """How k-means of x (N, D), with as many clusters as classes, matches labels y (N,).

    >>> x = np.array([[0.0], [0.1], [9.0], [9.1]])
    >>> {name: float(found.value) for name, found in clusters(x, np.array([1, 1, 0, 0])).items()}
    {'nmi': 1.0, 'ari': 1.0}
    """
    from sklearn import metrics  # slow to import
    from sklearn.cluster import KMeans

    count = len(set(y))
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # fewer distinct points than clusters
        found = KMeans(count, n_init=4, random_state=seed).fit_predict(x)
    about = f"of {count} k-means clusters of test images and their classes; 1 is a match"
    nmi = float(metrics.normalized_mutual_info_score(y, found))
    ari = float(metrics.adjusted_rand_score(y, found))
    return {
        "nmi": Measure(nmi, f"normalised mutual information {about}", better="high"),
        "ari": Measure(ari, f"adjusted Rand index {about}, 0 chance", better="high"),
    }


def alike(x: np.ndarray, y: np.ndarray) -> float:
    """The share of points x (N, D) whose nearest other point has the same label y (N,).

    >>> alike(np.array([[0.0], [1.0], [5.0], [7.0]]), np.array([0, 0, 0, 1]))
    0.5
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import

    nearest = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(return_distance=False)
    return float((y[nearest[:, 0]] == y).mean())


@once
def codes_alike(trained: TrainedModel, data: Data) -> float | None:
    """The share of test codes whose nearest neighbour has their label; None without labels."""
    found = codes(trained, data)
    if found.y is None or (found.y >= 0).sum() < 3:
        return None
    return alike(found.z[found.y >= 0], found.y[found.y >= 0])


@once
def pixels_alike(data: Data) -> float | None:
    """The share of raw training images whose nearest neighbour has their label.

    At most 10,000 of them, fewer where they are large; None without labels.
    """
    few = subset(data.train.labelled(), max(10, min(MOST, VALUES // math.prod(data.spec.shape))))
    y = labels(few)
    if y is None or len(y) < 3 or not data.spec.has_distances:
        return None
    return alike(few.images().flatten(1).numpy(), y)


def chance_alike(data: Data) -> float:
    """The share of pairs of test images that have the same label; 0 without labels."""
    y = labels(data.test.labelled())
    return 0.0 if y is None or len(y) == 0 else float(np.square(np.bincount(y) / len(y)).sum())


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
    return shuffled[in_turns(y[shuffled])[:n]]


def _few(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, n: int, seed: int
) -> Measure:
    random = np.random.RandomState(seed)
    scores = []
    for _ in range(DRAWS):
        rows = balanced(y, n, random)
        scores.append(float((probe(x[rows], y[rows], x_test) == y_test).mean()))
    about = (
        f"test accuracy of a logistic regression on {n:,} labels, a mean over {DRAWS} draws of "
        "them; error over those draws"
    )
    return mean(scores, about, better="high")


def _spaces(trained: TrainedModel, splits: Sequence[Samples]) -> Mapping[str, Space]:
    z, z_test = (encoded(trained, split) for split in splits)
    x, x_test = (pixels(trained, split) for split in splits)
    pca = principal(x, min(z.shape[1], *x.shape))
    draws: dict[str, Space] = {}
    if trained.variational:
        train, test = (drawn(trained, split) for split in splits)
        draws["_draws"] = (train, test)
    return {
        "": (z, z_test),
        **draws,
        "_pca": (pca.points, pca.project(x_test)),
        "_pixels": (x, x_test),
    }

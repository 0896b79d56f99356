"""How good and how new the images are that a model makes.

Images are compared in features (N, D) of a judge, a classifier of the data (see
`zspace.models.judge`), real ones a against made ones b:

    frechet               ``|m_a - m_b|^2 + tr(A + B - 2 (A B)^{1/2})`` of means m and covariances
    precision, density    whether, and how often over K, a made image lies in a real image's ball
    recall, coverage      whether a real image lies in a made one's ball; whether its own holds one
    class_distance        half the sum over classes of differences between their shares
    conditional_accuracy  how often the judge sees the class that was asked for

The ball of an image reaches to its K-th nearest neighbour in its own set, K = 5. How new images
are is seen in their pixels: the distance to the nearest training image, over that of test images.

References: Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
equilibrium. 2017, arXiv 1706.08500 (Frechet distance); Kynkäänniemi et al. Improved precision and
recall metric for assessing generative models. 2019, arXiv 1904.06991 (precision, recall); Naeem et
al. Reliable fidelity and diversity metrics for generative models. 2020, arXiv 2002.09797 (density,
coverage, K = 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from zspace.analysis.latents import drawn, labels
from zspace.analysis.measure import (
    Better,
    Measure,
    error_of_halves,
    halves,
    mean,
    metric,
    within,
)
from zspace.analysis.pieces import at_once, rows_of
from zspace.analysis.trained import TrainedModel, decoded, once, subset
from zspace.data.conditions import columns_of, turns
from zspace.data.dataset import Data
from zspace.models.judge import SMALLEST, Judge, train_judge
from zspace.models.priors import DENSITIES, Sampler
from zspace.system.bars import bar
from zspace.system.device import random_kept
from zspace.system.errors import NotMeasured, unknown
from zspace.system.memory import Need

NEIGHBOURS, ROWS, SEEDED = 5, 512, 1024
"""K; images whose distances to all others are in memory at once; images drawn from one seed."""
MOST_MADE, MOST_TRAINING, COMPARED = 10_000, 50_000, 2_000
"""Images that are shown to the judge; training images among which the nearest is looked for; made
and test images for which it is; each at most.
"""
SAMPLERS: dict[str, str] = {
    "prior": "the prior",
    "mixture": "a mixture of Gaussians fitted to codes",
    "flow": "a neural spline flow fitted to codes",
    "kde": "a kernel density fitted to codes",
}
"""Where codes are drawn from, in words."""
Positions = tuple[np.ndarray, ...]


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The squared Frechet distance of the Gaussians fitted to features a (N, D) and b (M, D).

    It falls as N and M grow, for the same two distributions: compare equal numbers only.
    Reference: Heusel et al. GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium. 2017, arXiv 1706.08500. Raises NotMeasured for fewer than two samples.

    >>> x = np.random.RandomState(0).randn(50, 4)
    >>> round(frechet(x, x + 3), 6)  # only the means differ: 4 * 3^2
    36.0
    """
    if min(len(a), len(b)) < 2:
        raise NotMeasured(
            f"a Frechet distance needs two samples on each side, but there are {len(a)} and "
            f"{len(b)}: give at least 2"
        )
    x, y = (np.asarray(part, dtype=np.float64) for part in (a, b))
    return between(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))


def between(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """``|m_a - m_b|^2 + tr(A + B - 2 (A B)^{1/2})`` of means (D,) and covariances (D, D).

    The trace of the root is the sum of the singular values of ``A^{1/2} B^{1/2}``, whose roots
    are taken by eigenvalues: stable also for covariances without full rank.
    Reference: Dowson, Landau. The Frechet distance between multivariate normal distributions.
    Journal of Multivariate Analysis 12, 1982.

    >>> between(np.zeros(2), np.eye(2), np.ones(2), 4 * np.eye(2))  # 2 * 1^2 + 2 * (2 - 1)^2
    4.0
    """
    covariance_a, covariance_b = np.atleast_2d(covariance_a), np.atleast_2d(covariance_b)
    cross = np.linalg.svd(_root(covariance_a) @ _root(covariance_b), compute_uv=False).sum()
    apart = np.square(mean_a - mean_b).sum()
    return max(0.0, float(apart + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def manifold(
    real: np.ndarray,
    made: np.ndarray,
    k: int = NEIGHBOURS,
    quiet: bool = True,
    halves: Sequence[Positions] = (),
) -> dict[str, np.ndarray]:
    """Four measures of features real (N, D) and made (M, D), in Euclidean distance: (1 + H,) each.

    precision: the share of made samples that lie in some real ball. recall: of real samples in
    some made ball. density: real balls around a made sample, over K. coverage: the share of real
    samples whose ball holds a made one. The first value is of all samples, the others of H halves.

    All come from one pass over the distances, since the balls of a half reach little further.
    Memory is O(512 (N + M) + H (N + M)). Raises NotMeasured where a set has no K + 1 samples. The
    references are those of this module.

    Arguments:
        real, made: The features.
        k: K.
        quiet: Whether no progress bar is shown.
        halves: Positions in both sets, see `zspace.analysis.measure.halves`; more than K of each.

    >>> x = np.random.RandomState(0).randn(20, 2)
    >>> {name: values.tolist() for name, values in manifold(x, x + 100).items()}
    {'precision': [0.0], 'recall': [0.0], 'density': [0.0], 'coverage': [0.0]}
    """
    from sklearn.metrics import pairwise_distances  # slow to import

    if min(len(real), len(made)) <= k:
        raise NotMeasured(
            f"precision and recall with K = {k} were asked for of {len(real)} real and "
            f"{len(made)} made samples: give at least {k + 1} of both"
        )
    real, made = (np.asarray(x, dtype=np.float64) for x in (real, made))
    sets = [(np.arange(len(real)), np.arange(len(made))), *halves]
    in_real, in_made = (
        _members(places, len(x))
        for places, x in zip(zip(*sets, strict=True), (real, made), strict=True)
    )
    of_real, of_made = _radii(real, in_real, k), _radii(made, in_made, k)
    widest = of_real.max(0)[:, None], of_made.max(0)
    inside = np.zeros(in_made.shape, np.int64)
    recall, coverage = np.zeros((2, *in_real.shape), bool)
    with bar("comparing neighbours", len(real), quiet) as did:
        for start in range(0, len(real), ROWS):
            rows = slice(start, start + ROWS)
            distances = pairwise_distances(real[rows], made)
            i, j = np.nonzero(distances < np.maximum(widest[0][rows], widest[1]))
            near, i = distances[i, j], i + start
            for s in range(len(sets)):
                there = in_real[s, i] & in_made[s, j]
                a, b, away = i[there], j[there], near[there]
                held = away < of_real[s, a]
                inside[s] += np.bincount(b[held], minlength=len(made))
                coverage[s, a[held]] = recall[s, a[away < of_made[s, b]]] = True
            did(len(distances))
    n, m = in_real.sum(1), in_made.sum(1)
    return {
        "precision": (inside > 0).sum(1) / m,
        "recall": recall.sum(1) / n,
        "density": inside.sum(1) / (k * m),
        "coverage": coverage.sum(1) / n,
    }


def _members(sets: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Whether each of n samples is in each of S sets of positions: (S, n)."""
    found = np.zeros((len(sets), n), bool)
    for row, places in zip(found, sets, strict=True):
        row[places] = True
    return found


def _radii(x: np.ndarray, members: np.ndarray, k: int) -> np.ndarray:
    """How far the ball of each sample x (N, D) reaches in each of S sets of members: (S, N).

    It reaches to the k-th neighbour in the set. In a half that is among the 10 k nearest of all
    samples, but for one ball in 10^9, which is cut short there.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import

    near = min(len(x) - 1, k if len(members) == 1 else 10 * k)
    search = NearestNeighbors(n_neighbors=near, algorithm="brute").fit(x)
    distances, neighbours = search.kneighbors()
    found = np.empty(members.shape)
    for radii, there in zip(found, members, strict=True):
        enough = there[neighbours].cumsum(1) >= k
        at = np.where(enough[:, -1], enough.argmax(1), near - 1)
        radii[:] = distances[np.arange(len(x)), at]
    return found


@metric("generation", place=40)
def sample_quality(
    trained: TrainedModel,
    data: Data,
    *,
    seed: int = 0,
    quiet: bool = True,
    sampler: Sampler = "auto",
) -> dict[str, Measure]:
    """Frechet distance, precision, recall, density, coverage and class balance of made images.

    As many images are made as there are test images, at most 10,000, and compared with those in
    the features of a judge: a classifier trained on the labels of the run's data, whose accuracy
    is a measure, too. Distances compare only between models of the same data. Conditional models
    have the share of images that show the class asked for. Raises NotMeasured for data without
    labels, for images too small for a judge, and for fewer than 6 test images.

    References: `frechet` and the docstring of this module.

    Arguments:
        trained: The model, usually a run.
        data: Its data, with labels.
        seed: Of the draws, and of the test images where there are more than 10,000.
        quiet: Whether no progress bar is shown.
        sampler: Where codes come from: "prior", or a density fitted to training codes,
            "mixture", "flow" or "kde". "auto" is the prior, but the mixture for a model
            that was told nothing of where codes should lie, such as a plain autoencoder.

    >>> found = sample_quality(run, data)
    >>> 0 <= found["precision"].value <= 1, found["frechet"].better
    (True, 'low')
    """
    sampler = resolved(trained, sampler)
    judge, asked, features, votes = _judged(trained, data, sampler, seed, quiet)
    n = len(asked)
    real = subset(data.test, MOST_MADE, seed).images().numpy()
    truth, _ = _seen(judge, real, trained.device)
    source = f"{n:,} images drawn from {SAMPLERS[sampler]}, against as many test images"
    about = f"squared Frechet distance of judge features: {source}"
    parts = halves(len(truth), n, seed=seed) if min(len(truth), n) > 2 * NEIGHBOURS + 1 else []
    found = {
        "frechet": replace(_frechet(truth, features, parts, about), headline=True),
        **_neighbours(manifold(truth, features, quiet=quiet, halves=parts)),
        "class_distance": _class_distance(votes, asked),
        **_right(trained, judge, votes, asked),
    }
    if len(data.train) >= n:
        train = subset(data.train, n, seed).images().numpy()
        about = "the same for as many training images, which the judge has seen: about the best"
        floor = frechet(truth, _seen(judge, train, trained.device)[0])
        found["frechet_of_training_images"] = Measure(floor, f"{about} that is possible")
    return found


@once
def as_asked(trained: TrainedModel, data: Data) -> dict[str, Measure]:
    """What `sample_quality` gives as conditional_accuracy and judge_accuracy, and nothing else.

    Empty where no class is asked for, and where a judge cannot be trained.
    """
    if not _told_a_class(trained):
        return {}
    try:
        judge, asked, _, votes = _judged(trained, data, resolved(trained, "auto"))
    except NotMeasured:
        return {}
    return _right(trained, judge, votes, asked)


def read_as(trained: TrainedModel, data: Data, x: np.ndarray) -> np.ndarray | None:
    """The classes (N,) that a judge of the data sees in images x; None where there is no judge."""
    small = trained.spec.kind != "image" or min(trained.spec.shape[1:]) < SMALLEST
    if small or data.train.y is None or len(data.classes) < 2:
        return None
    return _seen(train_judge(data, trained.device, quiet=True), x, trained.device)[1]


def _judged(
    trained: TrainedModel, data: Data, sampler: Sampler, seed: int = 0, quiet: bool = True
) -> tuple[Judge, np.ndarray, np.ndarray, np.ndarray]:
    """A judge of the data, and what it sees in as many made images as there are test images.

    asked (N,): the labels of those, which are asked for. Of the made images: features (N, D) and
    votes (N,), the classes that they show.
    """
    why = "made images are compared in the features of a judge, which"
    if trained.spec.kind != "image":
        raise NotMeasured(
            "made samples are compared in the features of a judge that reads pictures, but "
            f"'{data.name}' holds none: compare models of it by their likelihood"
        )
    if data.train.y is None or len(data.classes) < 2:
        raise NotMeasured(
            f"{why} learns from classes, but data '{data.name}' have none: give labelled data"
        )
    if len(trained.spec.shape) != 3 or min(trained.spec.shape[1:]) < SMALLEST:
        raise NotMeasured(
            f"{why} reads images of at least {SMALLEST} x {SMALLEST} pixels, but these are "
            f"{trained.spec.shape}: give larger ones"
        )
    judge = train_judge(data, trained.device, quiet=quiet)
    asked = np.asarray(labels(subset(data.test.labelled(), MOST_MADE, seed)))
    made = made_images(trained, data, len(asked), asked, sampler=sampler, seed=seed, quiet=quiet)
    return judge, asked, *_seen(judge, made, trained.device)


def _told_a_class(trained: TrainedModel) -> bool:
    return bool(trained.model.context and not trained.spec.attributes)


def _right(
    trained: TrainedModel, judge: Judge, votes: np.ndarray, asked: np.ndarray
) -> dict[str, Measure]:
    """How often the judge sees the class that was asked for, and how often it is right at all."""
    found = {}
    if _told_a_class(trained):
        about = "share of made images in which the judge sees the class that was asked for"
        found["conditional_accuracy"] = mean(votes == asked, about, better="high")
    about = "share of test images that the judge labels correctly"
    return {**found, "judge_accuracy": Measure(judge.accuracy["test"], about)}


@metric("novelty", place=50)
@once
def novelty(
    trained: TrainedModel,
    data: Data,
    *,
    seed: int = 0,
    quiet: bool = True,
    sampler: Sampler = "auto",
) -> dict[str, Measure]:
    """How far made images lie from the nearest training image, against how far test images lie.

    novelty: the median distance, over that of test images; 1 is as new as those, 0 a copy. copies:
    the share of made images nearer to a training image than 99% of test images are. Distances are
    Euclidean between pixels, of at most 2,000 images each to at most 50,000 training images. A
    model whose images are averages comes nearer than test images without any copy.

    Arguments:
        trained: The model, usually a run.
        data: Its data; labels are not needed.
        seed: Of the draws and of the images compared.
        quiet: Whether no progress bar is shown.
        sampler: Where codes come from, as in `sample_quality`.

    >>> found = novelty(run, data)
    >>> found["novelty"].value > 0, 0 <= found["copies"].value <= 1
    (True, True)
    """
    test, sampler = subset(data.test, COMPARED, seed), resolved(trained, sampler)
    made = made_images(
        trained, data, len(test), labels(test), sampler=sampler, seed=seed, quiet=quiet
    )
    near = to_training(data, made, seed, quiet)
    low = float(np.quantile(usual_distances(data, seed), 0.01))
    about = f"of {len(made):,} images drawn from {SAMPLERS[sampler]}"
    new = (
        f"median pixel distance {about} to the nearest training image, over that of test images: "
        "1 is as new as those, 0 a copy"
    )
    copy = f"share {about} that lie nearer to a training image than 99% of test images do"
    return {
        "novelty": Measure(relative_distance(data, near, seed), new),
        "copies": mean(near < low, copy, better="low"),
    }


def prior_novelty(trained: TrainedModel, data: Data) -> float:
    """The measure novelty of draws of the prior, also where codes are deterministic."""
    return novelty(trained, data, sampler="prior")["novelty"].value


def to_training(data: Data, x: np.ndarray, seed: int = 0, quiet: bool = True) -> np.ndarray:
    """The Euclidean distance between the pixels of each image x (N, C, H, W) and those of the
    nearest of at most 50,000 training images: (N,).
    """
    if data.spec.kind == "tokens":
        raise NotMeasured("tokens have no distances: look at the samples themselves")
    if data.spec.missing:
        raise NotMeasured(
            f"distances between rows need all values, but '{data.name}' has missing ones: fill "
            "them in to measure it"
        )
    train = subset(data.train, MOST_TRAINING, seed)
    with bar("looking for copies", len(train), quiet) as did:
        rows = (train.images(part).flatten(1).numpy() for part in rows_of(train))
        return nearest(x.reshape(len(x), -1), rows, did)


@once
def usual_distances(data: Data, seed: int = 0) -> np.ndarray:
    """`to_training` of at most 2,000 test images: how far new images of the data usually lie."""
    return to_training(data, subset(data.test, COMPARED, seed).images().numpy(), seed)


def relative_distance(data: Data, near: np.ndarray, seed: int = 0) -> float:
    """The median of distances (N,), over that of test images: 1 is as far as those.

    >>> round(relative_distance(data, 3 * usual_distances(data)), 6)
    3.0
    """
    return float(np.median(near) / max(np.median(usual_distances(data, seed)), 1e-12))


@once
def half_way_novelty(trained: TrainedModel, data: Data, seed: int = 0) -> float:
    """The `relative_distance` of what is decoded half-way, on a straight line, between the codes
    of two test images; at most 2,000 random pairs.
    """
    test, context = subset(data.test, COMPARED, seed), trained.model.context
    z = trained.encoded(test.images(), test.conditions() if context else None)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(z)))
    c = columns_of(test, context)
    mixed = None if c is None else (c + c[order]) / 2
    made = decoded(trained, (z + z[order]) / 2, mixed)
    return relative_distance(data, to_training(data, made, seed), seed)


def resolved(trained: TrainedModel, sampler: Sampler) -> Sampler:
    """The sampler that 'auto' stands for in this run. Raises UserError for an unknown one."""
    if sampler == "auto":
        return trained.sampler
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, ("auto", *SAMPLERS))
    return sampler


def made_images(
    trained: TrainedModel,
    data: Data,
    n: int,
    asked: np.ndarray | None,
    *,
    sampler: Sampler = "prior",
    seed: int = 0,
    quiet: bool = True,
) -> np.ndarray:
    """n images (n, C, H, W): means of p(x|z) at codes drawn from a sampler.

    asked: labels (n,), told only to a conditional model; without them its classes or attributes
    take turns.

    >>> made_images(run, data, 2, None).shape == (2, *data.spec.shape)
    True
    """
    told = None
    if trained.model.context:
        told = turns(trained.spec, n) if asked is None or trained.spec.attributes else asked
    if sampler == "mixture":
        fitted = trained.mixture(data, quiet=quiet)
        with random_kept(trained.device, seed):
            z = fitted.sample(n)
        return trained.decoded(z.cpu().numpy(), told)
    if sampler != "prior":
        draw = DENSITIES[sampler](drawn(trained, subset(data.train, MOST_MADE, seed)), seed, quiet)
        return trained.decoded(draw(n, seed).reshape(n, *trained.model.latent), told)
    seeds = np.random.SeedSequence(seed).generate_state(-(-n // SEEDED))
    made = []
    with bar("drawing images", n, quiet) as did:
        for own, start in zip(seeds, range(0, n, SEEDED), strict=True):
            label = None if told is None else told[start : start + SEEDED]
            made.append(trained.drawn(min(SEEDED, n - start), label, seed=int(own)))
            did(len(made[-1]))
    return np.concatenate(made)


def nearest(x: np.ndarray, chunks: Iterator[np.ndarray], did: Callable[[int], None]) -> np.ndarray:
    """The Euclidean distance of each x (N, D) to the nearest of all rows of the chunks: (N,)."""
    from sklearn.metrics import pairwise_distances_argmin_min  # slow to import

    found = np.full(len(x), np.inf)
    for part in chunks:
        found = np.minimum(found, pairwise_distances_argmin_min(x, part)[1])
        did(len(part))
    return found


@torch.no_grad()
def _seen(judge: Judge, x: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and the classes (N,) that the judge sees in images (N, C, H, W)."""
    need = Need.of(lambda n: judge.embed(torch.zeros(n, *x.shape[1:], device=device)))
    parts = torch.from_numpy(x).split(at_once(need, len(x), device))
    features = torch.cat([judge.embed(part.to(device)) for part in parts])
    return features.cpu().numpy(), judge.network.head(features).argmax(1).cpu().numpy()


def _frechet(a: np.ndarray, b: np.ndarray, parts: Sequence[Positions], about: str) -> Measure:
    value = frechet(a, b)
    if not parts:
        return Measure(value, about, better="low")
    error = error_of_halves([frechet(a[i], b[j]) for i, j in parts], smooth=True)
    return within(value, error, about, high=math.inf, better="low")


def _neighbours(found: dict[str, np.ndarray]) -> dict[str, Measure]:
    ball = f"ball, which reaches to the {NEIGHBOURS}th neighbour"
    about = {
        "precision": f"share of made images in some real image's {ball}",
        "recall": f"share of real images in some made image's {ball}",
        "density": f"real balls around a made image, over {NEIGHBOURS}; about 1 for equal sets",
        "coverage": f"share of real images with a made image in their {ball}",
    }
    better: dict[str, Better] = {**dict.fromkeys(about, "high"), "density": "neither"}
    return {
        name: Measure(
            float(found[name][0]),
            text,
            error=error_of_halves(found[name][1:]) if len(found[name]) > 1 else None,
            better=better[name],
        )
        for name, text in about.items()
    }


def _class_distance(votes: np.ndarray, asked: np.ndarray) -> Measure:
    """Class balance by the judge's votes (N,) against labels of real images (N,)."""
    count = max(int(votes.max()), int(asked.max())) + 1
    share, wanted = (np.bincount(y, minlength=count) / len(y) for y in (votes, asked))
    about = (
        "half the sum over classes of differences between the shares of made images, as the "
        "judge sees them, and of test images: 0 is the same balance, 1 no class in common"
    )
    return Measure(float(np.abs(share - wanted).sum() / 2), about, better="low")

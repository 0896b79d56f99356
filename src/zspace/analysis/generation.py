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

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from zspace.analysis.latents import drawn, labels
from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.trained import CHUNK, TrainedModel, once, subset
from zspace.data.conditions import columns_of, turns
from zspace.data.dataset import Data, Samples
from zspace.models.judge import SMALLEST, Judge, train_judge
from zspace.models.priors import DENSITIES, Sampler
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured, unknown

NEIGHBOURS, ROWS = 5, 512
"""K; images whose distances to all others are in memory at once."""
MOST_MADE, MOST_TRAINING, COMPARED = 10_000, 50_000, 2_000
"""Images that are shown to the judge; training images among which the nearest is looked for; made
and test images for which it is; each at most.
"""
SAMPLERS: dict[str, str] = {
    "prior": "the prior",
    "gmm": "a mixture of 10 Gaussians fitted to codes",
    "flow": "a neural spline flow fitted to codes",
    "kde": "a kernel density fitted to codes",
}
"""Where codes are drawn from, in words."""


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


def manifold(
    real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS, quiet: bool = True
) -> Manifold:
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
        for start in range(0, len(real), ROWS):
            rows = slice(start, start + ROWS)
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
    for start in range(0, len(x), ROWS):
        distances = pairwise_distances(x[start : start + ROWS], x)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0  # a row's distance to itself, but for rounding
        found.append(np.partition(distances, k, axis=1)[:, k])
        did(len(distances))
    return np.concatenate(found)


@metric("generation", place=40)
def sample_quality(
    trained: TrainedModel,
    data: Data,
    *,
    seed: int = 0,
    quiet: bool = True,
    sampler: Sampler = "auto",
) -> dict[str, Measure]:
    """Frechet distance, precision, recall, density, coverage, class balance; for conditional
    models the share of images that show the class asked for.

    As many images are made as there are test images, at most 10,000, and compared with those, in
    the features of a judge: a classifier trained on the labels of the run's data, whose accuracy
    is told, and whose distances compare with no other data's.

    sampler: where codes come from; auto is the prior where there is a q(z|x), else gmm.

    Raises NotMeasured for data without labels, for images too small for a judge, and for fewer
    than 6 test images.
    """
    sampler = resolved(trained, sampler)
    seen = _judged(trained, data, sampler, seed, quiet)
    truth, _ = _seen(seen.judge, seen.real.images().numpy(), trained.device)
    n = len(seen.asked)
    source = f"{n:,} images drawn from {SAMPLERS[sampler]}, against as many test images"
    found = {
        "frechet": Measure(
            frechet(truth, seen.features),
            f"squared Frechet distance of judge features: {source}",
            better="low",
        ),
        **_neighbours(manifold(truth, seen.features, quiet=quiet)),
        "class_distance": _class_distance(seen.votes, seen.asked),
        **_right(trained, seen),
    }
    floor = _floor(seen.judge, trained, data, truth, seed)
    return {**found, "frechet_of_training_images": floor} if floor else found


@once
def as_asked(trained: TrainedModel, data: Data) -> dict[str, Measure]:
    """What `sample_quality` gives as conditional_accuracy and judge_accuracy, and nothing else.

    Empty where no class is asked for, and where a judge cannot be trained.
    """
    if not _told_a_class(trained):
        return {}
    try:
        return _right(trained, _judged(trained, data, resolved(trained, "auto")))
    except NotMeasured:
        return {}


@dataclass(frozen=True)
class _Judged:
    """What a judge sees in N made images: features (N, D) and the classes that they show, votes
    (N,), where asked (N,) were wanted: the labels of as many real images.
    """

    judge: Judge
    real: Samples
    asked: np.ndarray
    features: np.ndarray
    votes: np.ndarray


def _judged(
    trained: TrainedModel, data: Data, sampler: Sampler, seed: int = 0, quiet: bool = True
) -> _Judged:
    """As many images as there are test images, at most 10,000, before the judge of the data."""
    _check(trained, data)
    judge = train_judge(data, trained.device, quiet=quiet)
    real = subset(data.test, MOST_MADE, seed)
    asked = labels(real)
    assert asked is not None
    made = made_images(trained, data, len(real), asked, sampler=sampler, seed=seed, quiet=quiet)
    return _Judged(judge, real, asked, *_seen(judge, made, trained.device))


def _told_a_class(trained: TrainedModel) -> bool:
    return bool(trained.model.context and not trained.spec.attributes)


def _right(trained: TrainedModel, seen: _Judged) -> dict[str, Measure]:
    """How often the judge sees the class that was asked for, and how often it is right at all."""
    found = {}
    if _told_a_class(trained):
        about = "share of made images in which the judge sees the class that was asked for"
        found["conditional_accuracy"] = mean(seen.votes == seen.asked, about, better="high")
    about = "share of test images that the judge labels rightly"
    return {**found, "judge_accuracy": Measure(seen.judge.accuracy["test"], about)}


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

    Distances are Euclidean between pixels, of at most 2,000 images each to at most 50,000 of
    training. A model whose images are averages comes nearer than test images without any copy.
    """
    test, sampler = subset(data.test, COMPARED, seed), resolved(trained, sampler)
    made = made_images(
        trained, data, len(test), labels(test), sampler=sampler, seed=seed, quiet=quiet
    )
    near = to_training(data, made, seed, quiet)
    low = float(np.quantile(usual_distances(data, seed), 0.01))
    about = f"of {len(made):,} images drawn from {SAMPLERS[sampler]}"
    return {
        "novelty": Measure(
            relative_distance(data, near, seed),
            f"median pixel distance {about} to the nearest training image, over that of test "
            "images: 1 is as new as those, 0 a copy",
        ),
        "copies": mean(
            near < low,
            f"share {about} that lie nearer to a training image than 99% of test images do",
            better="low",
        ),
    }


def prior_novelty(trained: TrainedModel, data: Data) -> float:
    """The measure novelty of draws of the prior, also where codes are deterministic."""
    return novelty(trained, data, sampler="prior")["novelty"].value


def to_training(data: Data, x: np.ndarray, seed: int = 0, quiet: bool = True) -> np.ndarray:
    """The Euclidean distance between the pixels of each image x (N, C, H, W) and those of the
    nearest of at most 50,000 training images: (N,).
    """
    train = subset(data.train, MOST_TRAINING, seed)
    with bar("looking for copies", len(train), quiet) as did:
        return nearest(x.reshape(len(x), -1), _chunks(train), did)


@once
def usual_distances(data: Data, seed: int = 0) -> np.ndarray:
    """The same for at most 2,000 test images: how far new images of these data usually lie."""
    return to_training(data, subset(data.test, COMPARED, seed).images().numpy(), seed)


def relative_distance(data: Data, near: np.ndarray, seed: int = 0) -> float:
    """The median of distances (N,), over that of test images: 1 is as far as those."""
    return float(np.median(near) / max(np.median(usual_distances(data, seed)), 1e-12))


@once
def half_way_novelty(trained: TrainedModel, data: Data, seed: int = 0) -> float:
    """The `relative_distance` of what is decoded half-way, on a straight line, between the codes
    of two test images; at most 2,000 random pairs.
    """
    test, context = subset(data.test, COMPARED, seed), trained.model.context
    z = trained.encode(test.images(), test.conditions() if context else None)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(z)))
    made, c = [], columns_of(test, context)
    with torch.no_grad():
        for rows in torch.arange(len(z)).split(CHUNK):
            told = None if c is None else ((c[rows] + c[order[rows]]) / 2).to(trained.device)
            middle = ((z[rows] + z[order[rows]]) / 2).to(trained.device)
            made.append(trained.model.decode(middle, told).mean.cpu().numpy())
    return relative_distance(data, to_training(data, np.concatenate(made), seed), seed)


def resolved(trained: TrainedModel, sampler: Sampler) -> Sampler:
    """The sampler that 'auto' stands for in this run. Raises UserError for an unknown one."""
    if sampler != "auto" and sampler not in SAMPLERS:
        raise unknown("sampler", sampler, ("auto", *SAMPLERS))
    if sampler != "auto":
        return sampler
    return "prior" if trained.variational else "gmm"


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

    asked: labels (n,), told to a conditional model alone; without them its classes or attributes
    take turns.
    """
    codes = None
    if sampler != "prior":
        draw = DENSITIES[sampler](drawn(trained, subset(data.train, MOST_MADE, seed)), seed, quiet)
        codes = draw(n, seed).reshape(n, *trained.model.latent)
    told = None
    if trained.model.context:
        told = turns(trained.spec, n) if asked is None or trained.spec.attributes else asked
    seeds = np.random.SeedSequence(seed).generate_state(-(-n // CHUNK))
    made = []
    with bar("drawing images", n, quiet) as did:
        for at, start in enumerate(range(0, n, CHUNK)):
            size = min(CHUNK, n - start)
            rows = slice(start, start + size)
            label = None if told is None else told[rows]
            if codes is None:
                made.append(trained.sample(size, label, seed=int(seeds[at])))
            else:
                made.append(trained.decode(codes[rows], label))
            did(size)
    return np.concatenate(made)


def nearest(x: np.ndarray, chunks: Iterator[np.ndarray], did: Callable[[int], None]) -> np.ndarray:
    """The Euclidean distance of each x (N, D) to the nearest of all rows of the chunks: (N,)."""
    from sklearn.metrics import pairwise_distances_argmin_min  # slow to import

    found = np.full(len(x), np.inf)
    for part in chunks:
        found = np.minimum(found, pairwise_distances_argmin_min(x, part)[1])
        did(len(part))
    return found


def _chunks(samples: Samples) -> Iterator[np.ndarray]:
    for rows in torch.arange(len(samples)).split(CHUNK):
        yield samples.images(rows).flatten(1).numpy()


def _check(trained: TrainedModel, data: Data) -> None:
    if data.train.y is None or len(data.classes) < 2:
        raise NotMeasured(
            f"made images are compared in the features of a judge, which learns from labels, but "
            f"data '{data.name}' have none: give labelled data"
        )
    if len(trained.spec.shape) != 3 or min(trained.spec.shape[1:]) < SMALLEST:
        raise NotMeasured(
            f"made images are compared in the features of a judge, which reads images of at "
            f"least {SMALLEST} x {SMALLEST} pixels: give larger ones"
        )


@torch.no_grad()
def _seen(judge: Judge, x: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and the classes (N,) that the judge sees in images (N, C, H, W)."""
    parts = [part.to(device) for part in torch.from_numpy(x).split(CHUNK)]
    features = torch.cat([judge.embed(part) for part in parts])
    return features.cpu().numpy(), judge.network.head(features).argmax(1).cpu().numpy()


def _neighbours(found: Manifold) -> dict[str, Measure]:
    ball = f"ball, which reaches to the {NEIGHBOURS}th neighbour"
    return {
        "precision": mean(
            found.precision, f"share of made images in some real image's {ball}", better="high"
        ),
        "recall": mean(
            found.recall, f"share of real images in some made image's {ball}", better="high"
        ),
        "density": mean(
            found.density, f"real balls around a made image, over {NEIGHBOURS}; 1 is usual"
        ),
        "coverage": mean(
            found.coverage,
            f"share of real images with a made image in their {ball}",
            better="high",
        ),
    }


def _class_distance(votes: np.ndarray, asked: np.ndarray) -> Measure:
    """Class balance by the judge's votes (N,) against labels of real images (N,)."""
    count = max(int(votes.max()), int(asked.max())) + 1
    share, wanted = (np.bincount(y, minlength=count) / len(y) for y in (votes, asked))
    return Measure(
        float(np.abs(share - wanted).sum() / 2),
        "half the sum over classes of differences between the shares of made images, as the "
        "judge sees them, and of test images: 0 is the same balance, 1 no class in common",
        better="low",
    )


def _floor(
    judge: Judge, trained: TrainedModel, data: Data, truth: np.ndarray, seed: int
) -> Measure | None:
    """The Frechet distance of as many training images, where there are so many."""
    if len(data.train) < len(truth):
        return None
    train = subset(data.train, len(truth), seed).images().numpy()
    about = (
        "the same for as many training images, which the judge has seen: about what is possible"
    )
    return Measure(frechet(truth, _seen(judge, train, trained.device)[0]), about)

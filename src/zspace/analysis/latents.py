"""Codes of test images, and how near they come to the prior N(0, I).

Codes z (N, Z) are flat: means of q(z|x), or, where a function says so, one draw z_n ~ q(z|x_n) for
each image. Such draws are samples of the aggregate posterior ``q(z) = 1/N sum_n q(z|x_n)``, whose
distance to N(0, I) is measured by moments, by dimension (Kolmogorov-Smirnov) and as a whole (MMD).
Where q is a diagonal Gaussian, ``E KL(q(z|x) || p) = I(x; z) + KL(q(z) || p)`` is split too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.distributions import Independent, Normal

from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.projections import principal, tsne
from zspace.analysis.trained import TrainedModel, once, over, subset
from zspace.data.dataset import Data, Samples
from zspace.data.spec import Batch
from zspace.models.terms import kl_per_dimension
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured, UserError

MOST = 10_000
LINE = "the code dimension"
ACTIVE = 0.01
"""A dimension is active with a mean KL above it, in nats, or with a variance of means above it."""
WORK, ROWS = 8e9, 500
"""Numbers read by the sums over pairs of codes, N * N * Z: some seconds; rows of them at once."""


@dataclass(frozen=True)
class Codes:
    """Codes z (N, Z), flat, and the labels y (N,) of their images, or None."""

    z: np.ndarray
    y: np.ndarray | None


@dataclass(frozen=True)
class Plane:
    """Codes on a plane: points (N, 2), labels y (N,) or None, what the axes are, and where the
    code 0 lies.
    """

    points: np.ndarray
    y: np.ndarray | None
    axes: str
    origin: tuple[float, float] = (0.0, 0.0)


def labels(samples: Samples) -> np.ndarray | None:
    """The labels (N,) of samples, or None."""
    y = samples.labels()
    return None if y is None else y.numpy()


@once
def codes(trained: TrainedModel, data: Data, most: int = MOST) -> Codes:
    """Codes of test images, the means of q(z|x); at most `most` images, drawn with a seed."""
    test = subset(data.test, most)
    z = over(
        trained,
        test,
        lambda batch: trained.model.encode(batch.x, batch.c).flatten(1).cpu().numpy(),
    )
    return Codes(np.concatenate(z), labels(test))


@once
def draws(trained: TrainedModel, data: Data, most: int = MOST) -> Codes:
    """One draw of q(z|x) for each of those images: samples of the aggregate posterior.

    Where the code is deterministic, the code itself.
    """
    test = subset(data.test, most)

    def draw(batch: Batch) -> np.ndarray:
        return trained.model(batch.x, batch.c).latents[0].z[0].flatten(1).cpu().numpy()

    return Codes(np.concatenate(over(trained, test, draw)), labels(test))


@once
def plane(trained: TrainedModel, data: Data, most: int = MOST) -> Plane:
    """Codes of test images: the two dimensions of a 2-d code, else two principal components."""
    found = codes(trained, data, most)
    if found.z.shape[1] == 2:
        return Plane(found.z, found.y, "the two code dimensions")
    if found.z.shape[1] == 1:
        points = np.c_[found.z, np.zeros(len(found.z))]
        return Plane(points, found.y, LINE)
    flat = principal(found.z, 2)
    x, y = flat.project(np.zeros((1, found.z.shape[1])))[0]
    return Plane(flat.points, found.y, "two principal components", (float(x), float(y)))


@once
def codes_map(trained: TrainedModel, data: Data, most: int = MOST) -> Plane:
    """The t-SNE map of the codes of test images."""
    found = codes(trained, data, most)
    return Plane(tsne(found.z), found.y, "t-SNE of the codes")


@once
def data_map(data: Data, most: int = MOST) -> Plane:
    """The t-SNE map of raw training images."""
    some = subset(data.train, most)
    return Plane(tsne(some.images().flatten(1).numpy()), labels(some), "t-SNE of the pixels")


@dataclass(frozen=True)
class Summary:
    """The aggregate posterior q(z), the mean of q(z|x) over test images, against N(0, I).

    n: images. mean (Z,), covariance (Z, Z), and ks (Z,), the Kolmogorov-Smirnov distance of each
    marginal to N(0, 1), of one draw of q(z|x) an image; of the codes where they are deterministic.
    kl (Z,): mean KL(q(z_j|x) || N(0, 1)) in nats, or None where there is no q, or none that
    falls into dimensions. active: dimensions with a KL above 0.01 nats, or None.
    active_units: dimensions whose mean code varies by more than 0.01 over images (Burda, Grosse,
    Salakhutdinov. Importance weighted autoencoders. 2015, arXiv 1509.00519, section 5.2).
    """

    n: int
    mean: np.ndarray
    covariance: np.ndarray
    ks: np.ndarray
    kl: np.ndarray | None
    active: int | None
    active_units: int

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the covariance, the largest first: all 1 for N(0, I). n images tell of n - 1."""
        return np.linalg.eigvalsh(self.covariance)[::-1].clip(0)[: max(1, self.n - 1)]

    @property
    def critical(self) -> float:
        """The distance that 95% of true samples of N(0, 1) of this size stay below."""
        return 1.3581 / float(np.sqrt(self.n))


@once
def posterior_summary(trained: TrainedModel, data: Data, most: int = MOST) -> Summary:
    """Measure the codes of test images, at most `most` of them, drawn with a seed."""
    z = draws(trained, data, most).z
    kl = _kl(trained, data, most)
    return Summary(
        n=len(z),
        mean=z.mean(0),
        covariance=np.cov(z.T.astype(np.float64)).reshape(z.shape[1], -1),
        ks=distances(z),
        kl=kl,
        active=None if kl is None else int((kl > ACTIVE).sum()),
        active_units=int((codes(trained, data, most).z.var(0) > ACTIVE).sum()),
    )


def distances(z: np.ndarray) -> np.ndarray:
    """The Kolmogorov-Smirnov distance of each column of z (N, Z) to N(0, 1): (Z,)."""
    from scipy.stats import kstest  # slow to import

    return np.array([kstest(column, "norm", method="asymp").statistic for column in z.T])


def _kl(trained: TrainedModel, data: Data, most: int) -> np.ndarray | None:
    """The mean KL of each code dimension of the first level, where q and p have such parts."""
    test = subset(data.test, most)

    def parts(batch: Batch) -> Tensor:
        return kl_per_dimension(trained.model(batch.x, batch.c).latents[0]).flatten(1).cpu()

    try:
        values = over(trained, test, parts)
    except (UserError, NotImplementedError):
        return None
    return np.concatenate([value.numpy() for value in values]).mean(0)


def encoded(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """The codes (N, Z) of samples: the means of q(z|x)."""

    def encode(batch: Batch) -> np.ndarray:
        return trained.model.encode(batch.x, batch.c).flatten(1).cpu().numpy()

    return np.concatenate(over(trained, samples, encode))


def drawn(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """One draw (N, Z) of q(z|x) for each sample; the code itself where it is deterministic."""

    def draw(batch: Batch) -> np.ndarray:
        return trained.model(batch.x, batch.c).latents[0].z[0].flatten(1).cpu().numpy()

    return np.concatenate(over(trained, samples, draw))


def pixels(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """The samples (N, D) as the model reads them, binarised where the run's data are."""
    return np.concatenate(over(trained, samples, lambda batch: batch.x.flatten(1).cpu().numpy()))


def collapse(found: Mapping[str, Measure]) -> str:
    """A sentence on code dimensions that say nothing of x; empty where all say something."""
    if "active_kl" not in found:
        return ""
    size = sum(name.startswith("kl_") for name in found)
    dead = size - int(found["active_kl"].value)
    if not dead:
        return ""
    told = f"{dead} of {size} code dimensions have" if dead < size else "the whole code has"
    return (
        f"{told} collapsed onto the prior (mean KL of {ACTIVE} nats or less a dimension): "
        f"{'they say' if dead < size else 'it says'} nothing of x; "
        + ("a smaller --latent would do" if dead < size else "give the KL less weight")
    )


@metric("latents", place=20, warning=collapse)
def code_statistics(
    trained: TrainedModel, data: Data, *, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """KL a dimension, active units, q(z) against the prior, and mutual information, on test.

    Active units are those of Burda, Grosse, Salakhutdinov. Importance weighted autoencoders.
    2015, arXiv 1509.00519 (section 5.2). kl_j is the KL of dimension j; it is left out, with the
    mutual information, where the code is deterministic or q(z|x) no diagonal Gaussian.

    The draws are those of the run's own metrics; the seed decides nothing but which images are
    taken where they are many.

    Raises NotMeasured where the prior is not N(0, I), and for fewer than 2 test images.
    """
    size = math.prod(trained.model.latent)
    some = subset(data.test, int(min(MOST, math.sqrt(WORK / size))), seed)
    if len(some) < 2:
        raise NotMeasured("there is 1 test image: give data with more, to see how codes spread")
    z, *gaussian = _drawn_parts(trained, some)
    summary = posterior_summary(trained, data)
    found = {"active_units": _active_units(summary.active_units, size)}
    if summary.kl is not None and summary.active is not None:
        found["active_kl"] = Measure(
            summary.active, f"dimensions of {size} with a mean KL above {ACTIVE} nats"
        )
        about = "mean KL(q(z_{}|x) || N(0, 1)) of one code dimension"
        for j, value in enumerate(summary.kl):
            found[f"kl_{j}"] = Measure(float(value), about.format(j), "nats")
    found |= against_prior(z)
    if gaussian:
        found |= information(z, *gaussian, quiet=quiet)
    return found


def against_prior(z: np.ndarray) -> dict[str, Measure]:
    """How far draws z (N, Z) of q(z) are from N(0, I); each says what true draws would give."""
    n, size = z.shape
    z = z.astype(np.float64)
    away = np.atleast_2d(np.cov(z.T)) - np.eye(size)
    spread, floor = null_deviation(n, size), math.sqrt(size * (size + 1) / (n - 1))
    true = f"for {n:,} true draws of N(0, I)"
    return {
        "mean_distance": Measure(
            float(np.linalg.norm(z.mean(0))),
            f"length of the mean of q(z); {math.sqrt(size / n):.2g} {true}",
            better="low",
        ),
        "covariance_distance": Measure(
            float(np.linalg.norm(away)),
            f"Frobenius norm of cov q(z) - I; {floor:.2g} {true}",
            better="low",
        ),
        "ks": Measure(
            float(distances(z).mean()),
            "Kolmogorov-Smirnov distance to N(0, 1), mean over dimensions; "
            f"{0.8687 / math.sqrt(n):.2g} {true}",
            better="low",
        ),
        "mmd": Measure(
            mmd(z),
            "squared MMD of q(z) to N(0, I), kernel exp(-|a - b|^2 / 2Z); "
            f"0 ± {spread:.2g} {true}",
            better="low",
        ),
    }


def mmd(z: np.ndarray) -> float:
    r"""Squared maximum mean discrepancy between draws z (N, Z) and N(0, I), without bias.

    Kernel ``k(a, b) = exp(-|a - b|^2 / (2 l^2))`` with ``l^2 = Z``, so that it is 1/e at the mean
    squared distance of two draws of the prior. Expectations over the prior are exact:
    ``E_b k(a, b) = (l^2 / (l^2 + 1))^(Z/2) exp(-|a|^2 / (2 (l^2 + 1)))``. Over z the mean is of
    pairs of different draws, so the value may fall below 0.

    Reference: Gretton, Borgwardt, Rasch, Schölkopf, Smola. A kernel two-sample test. JMLR 13,
    2012; with one side exact it is the statistic of Baringhaus, Henze. A consistent test for
    multivariate normality based on the empirical characteristic function. Metrika 35, 1988.
    """
    z = z.astype(np.float64)
    n, size = z.shape
    square = (z * z).sum(1)
    pairs = -float(n)  # a draw with itself does not count
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        distance = square[rows, None] + square - 2 * z[rows] @ z.T
        pairs += np.exp(-distance.clip(0) / (2 * size)).sum()
    own, cross = pairs / (n * (n - 1)), np.exp(-square / (2 * (size + 1))).mean()
    return float(own - 2 * _factor(size, 1) * cross + _factor(size, 2))


def null_deviation(n: int, size: int) -> float:
    """The standard deviation of `mmd` of n true draws of N(0, I) in `size` dimensions.

    ``sqrt(2 E h^2 / (n (n - 1)))`` with h the kernel centred by its means over the prior.
    """
    both = _factor(size, 1) ** 2 * ((size + 1) / (size + 3)) ** (size / 2)
    second = _factor(size, 4) - 2 * both + _factor(size, 2) ** 2
    return math.sqrt(2 * second / (n * (n - 1)))


def _factor(size: int, more: float) -> float:
    return (size / (size + more)) ** (size / 2)


def information(
    z: np.ndarray, mu: np.ndarray, sigma: np.ndarray, *, quiet: bool = True
) -> dict[str, Measure]:
    """What draws z (N, Z) of N(mu_n, diag sigma_n^2), (N, Z) each, tell of n.

    The mean KL to N(0, I) is their mutual information plus the KL of q(z): what is learned of x,
    and what misses the prior. Both are means over the N draws, with q(z) all N posteriors; their
    errors treat the N terms as independent.

    Reference: Hoffman, Johnson. ELBO surgery: yet another way to carve up the variational evidence
    lower bound. NIPS workshop on advances in approximate Bayesian inference, 2016.
    """
    n = len(z)
    own, mixture = _log_normal(z, mu, sigma), log_mixture(z, mu, sigma, quiet=quiet)
    prior = _log_normal(z, np.zeros_like(z), np.ones_like(z))
    of = f"q(z) the mixture of all {n:,} posteriors"
    return {
        "mutual_information": mean(
            own - mixture, f"I(x; z), {of}: at most log {n:,} = {math.log(n):.2f}", "nats"
        ),
        "marginal_kl": mean(mixture - prior, f"KL(q(z) || N(0, I)), {of}", "nats", "low"),
    }


def log_mixture(
    z: np.ndarray, mu: np.ndarray, sigma: np.ndarray, *, quiet: bool = True
) -> np.ndarray:
    """``log 1/N sum_m N(z_n; mu_m, diag sigma_m^2)`` for every z (N, Z): (N,), in float64."""
    from scipy.special import logsumexp  # slow to import

    z, mu, sigma = (a.astype(np.float64) for a in (z, mu, sigma))
    precision = sigma**-2
    constant = -0.5 * (mu**2 * precision + np.log(2 * math.pi * sigma**2)).sum(1)
    found = np.empty(len(z))
    with bar("mixture of all posteriors", len(z), quiet) as made:
        for start in range(0, len(z), ROWS):
            part = z[start : start + ROWS]
            inner = part @ (mu * precision).T - 0.5 * part**2 @ precision.T + constant
            found[start : start + ROWS] = logsumexp(inner, axis=1) - math.log(len(mu))
            made(len(part))
    return found


def _log_normal(z: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    z, mu, sigma = (a.astype(np.float64) for a in (z, mu, sigma))
    return -0.5 * (((z - mu) / sigma) ** 2 + np.log(2 * math.pi * sigma**2)).sum(1)


def _active_units(count: int, size: int) -> Measure:
    return Measure(
        count,
        f"dimensions of {size} in which means of q(z|x) have a variance above {ACTIVE}",
    )


def _drawn_parts(trained: TrainedModel, samples: Samples) -> list[np.ndarray]:
    """A draw z (N, Z) of every q(z|x) and, of diagonal Gaussians, their means and deviations."""

    def parts(batch: Batch) -> list[np.ndarray]:
        level = trained.model(batch.x, batch.c).latents[0]
        if not _standard(level.p):
            raise NotMeasured(
                "the prior of this model is not N(0, I), which its codes are compared with: "
                "leave the section latents out"
            )
        q = level.q.base_dist if isinstance(level.q, Independent) else level.q
        normal = q if isinstance(q, Normal) else None
        own = [level.z[0]] if normal is None else [level.z[0], normal.loc, normal.scale]
        return [a.flatten(1).cpu().numpy() for a in own]

    return [np.concatenate(part) for part in zip(*over(trained, samples, parts), strict=True)]


def _standard(p: object) -> bool:
    base = p.base_dist if isinstance(p, Independent) else p
    return isinstance(base, Normal) and bool((base.loc == 0).all() and (base.scale == 1).all())

"""Codes of test images, what they hold of x, and how near they come to the prior.

Codes z (N, Z) are flat: means of q(z|x), or, where a function says so, one draw z_n ~ q(z|x_n) for
each image. Such draws are samples of the aggregate posterior ``q(z) = 1/N sum_n q(z|x_n)``. Where
there is a q, ``E KL(q(z|x) || p) = I(x; z) + KL(q(z) || p)`` is split, whatever the prior. The
distance to N(0, I) is measured by moments, by dimension (Kolmogorov-Smirnov) and as a whole (MMD).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.projections import principal, tsne
from zspace.analysis.trained import TrainedModel, each, once, over, subset
from zspace.data.dataset import Data, Samples
from zspace.data.spec import Batch
from zspace.models.flow import Model
from zspace.models.terms import kl, kl_per_dimension
from zspace.system.bars import bar
from zspace.system.device import random_kept
from zspace.system.errors import NotMeasured, UserError

MOST = 10_000
LINE = "the code dimension"
ACTIVE = 0.01
"""A dimension is active with a mean KL above it, in nats, or with a variance of means above it."""
WORK, ROWS, FEW = 8e9, 500, 2000
"""Numbers read by the sums over pairs of codes, N * N * Z: some seconds; rows of them at once; and
codes at most where the density of each pair is asked for by itself.
"""


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
    """Codes z (N, Z) of test images, flat, with their labels y (N,) or None.

    A code is the mean of q(z|x), or the code itself where it is deterministic. Nothing is drawn:
    the same run gives the same codes.

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        most: Images at most, drawn with a fixed seed. 10,000 are the whole test split of MNIST,
            and as many as a t-SNE map takes in half a minute.

    >>> codes(run, data).z.shape == (len(data.test), 3)
    True
    """
    test = subset(data.test, most)
    return Codes(encoded(trained, test), labels(test))


@once
def draws(trained: TrainedModel, data: Data, most: int = MOST) -> Codes:
    """One draw of q(z|x) for each of the images of `codes`: samples of the aggregate posterior.

    These are what the prior is compared with: means of q(z|x) alone would spread too little. Where
    the code is deterministic, the draw is the code itself.

    >>> bool(draws(run, data).z.var() > codes(run, data).z.var())
    True
    """
    test = subset(data.test, most)
    return Codes(drawn(trained, test), labels(test))


@once
def plane(trained: TrainedModel, data: Data, most: int = MOST) -> Plane:
    """Codes of test images on a plane: the two dimensions of a 2-D code, else two principal axes.

    Its points are (N, 2); `axes` says in words what the axes are, and `origin` where the code 0
    lies. A code of one dimension lies on the first axis.

    >>> found = plane(run, data)
    >>> found.points.shape == (len(data.test), 2), found.axes
    (True, 'two principal components')
    """
    found = codes(trained, data, most)
    if found.z.shape[1] == 2:
        return Plane(found.z, found.y, "the two code dimensions")
    if found.z.shape[1] == 1:
        return Plane(np.c_[found.z, np.zeros(len(found.z))], found.y, LINE)
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
    marginal to N(0, 1), of one draw of q(z|x) per image; of the codes where they are
    deterministic. kl (Z,): mean KL(q(z_j|x) || N(0, 1)) in nats, or None where there is no q, or
    none that falls into dimensions. active: dimensions with a KL above 0.01 nats, or None.
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
    """Where the codes of test images lie, measured against the prior N(0, I).

    Gives `mean` (Z,), `covariance` (Z, Z) and `ks` (Z,), the Kolmogorov-Smirnov distance of each
    marginal to N(0, 1), of one draw of q(z|x) per image; `kl` (Z,), the mean KL of each dimension
    in nats, or None where q does not fall into dimensions; `active`, dimensions with a KL above
    0.01 nats; `active_units`, dimensions whose mean code varies by more than 0.01; and
    `eigenvalues` of the covariance, all 1 for N(0, I).

    Reference for active units: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders.
    2015, arXiv 1509.00519, section 5.2.

    >>> found = posterior_summary(run, data)
    >>> found.kl.shape, bool((found.kl >= 0).all())
    ((3,), True)
    """
    z, test = draws(trained, data, most).z, subset(data.test, most)

    def divergence(batch: Batch) -> dict[str, Tensor]:
        return {"kl": kl_per_dimension(trained.model(batch.x, batch.c).latents[0]).flatten(1)}

    try:
        kl = each(trained, test, divergence)["kl"].mean(0)
    except (UserError, NotImplementedError):  # q and p do not fall into dimensions
        kl = None
    return Summary(
        n=len(z),
        mean=z.mean(0),
        covariance=np.cov(z.T.astype(np.float64)).reshape(z.shape[1], -1),
        ks=distances(z),
        kl=kl,
        active=None if kl is None else int((kl > ACTIVE).sum()),
        active_units=int((codes(trained, data, most).z.var(0) > ACTIVE).sum()),
    )


@once
def posteriors(
    trained: TrainedModel, data: Data, most: int = FEW
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and standard deviation (N, Z) of q(z|x) of test images; None where q is no Normal.

    >>> mean, deviation = posteriors(run, data)
    >>> mean.shape == deviation.shape == (len(data.test), 3), bool((deviation > 0).all())
    (True, True)
    """
    if not isinstance(_base(trained.probe.latents[0].q), Normal):
        return None

    def moments(batch: Batch) -> dict[str, Tensor]:
        base = _base(trained.model(batch.x, batch.c).latents[0].q)
        assert isinstance(base, Normal)
        return {"mean": base.loc.flatten(1), "deviation": base.scale.flatten(1)}

    found = each(trained, subset(data.test, most), moments)
    return found["mean"], found["deviation"]


@once
def prior_mixing(trained: TrainedModel, data: Data, most: int = FEW) -> float:
    """The share of draws of N(0, I) whose nearest neighbour is a code, not another such draw.

    There are as many draws as codes, one of q(z|x) for each test image. It is 1/2 where codes are
    distributed like N(0, I), and near 0 where draws fall among each other, away from the codes.

    Reference: Schilling. Multivariate two-sample tests based on nearest neighbors. Journal of the
    American Statistical Association 81, 1986.

    >>> 0 <= prior_mixing(run, data) <= 1
    True
    """
    z = torch.from_numpy(draws(trained, data, most).z)
    fresh = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    apart = torch.cdist(fresh, fresh).fill_diagonal_(math.inf).amin(1)
    return float((torch.cdist(fresh, z).amin(1) < apart).float().mean())


def distances(z: np.ndarray) -> np.ndarray:
    """The Kolmogorov-Smirnov distance of each column of z (N, Z) to N(0, 1): (Z,).

    >>> distances(np.zeros((10, 1)))  # half of N(0, 1) lies below a point at 0
    array([0.5])
    """
    from scipy.stats import kstest  # slow to import

    return np.array([kstest(column, "norm", method="asymp").statistic for column in z.T])


def encoded(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """The codes (N, Z) of samples: the means of q(z|x)."""
    encode = trained.model.encode
    return each(trained, samples, lambda b: {"z": encode(b.x, b.c).flatten(1)})["z"]


def drawn(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """One draw (N, Z) of q(z|x) for each sample; the code itself where it is deterministic."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        return {"z": trained.model(batch.x, batch.c).latents[0].z[0].flatten(1)}

    return each(trained, samples, draw)["z"]


def pixels(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """The samples (N, D) as the model reads them, binarised where the run's data are."""
    return each(trained, samples, lambda batch: {"x": batch.x.flatten(1)})["x"]


LONGER = "train longer if that was short, or"


def collapse(found: Mapping[str, Measure]) -> str:
    """A sentence on code dimensions that say nothing of x; empty where all say something."""
    if "active_kl" in found:
        size = sum(name.startswith("kl_") for name in found)
        return _collapsed(size - int(found["active_kl"].value), size)
    told = found.get("mutual_information")
    return _collapsed(1, 1) if told is not None and told.value <= ACTIVE else ""


def _collapsed(dead: int, size: int) -> str:
    """The sentence for `dead` of `size` dimensions, which may be all that is known: 1 of 1."""
    if not dead:
        return ""
    what = f"collapsed onto the prior (a mean KL of at most {ACTIVE} nats per dimension)"
    if dead == size:
        return f"the whole code has {what}: it says nothing of x; {LONGER} give the KL less weight"
    few = f"{dead} of {size} code dimensions have {what}: they say nothing of x"
    return f"{few}; {LONGER} take a smaller --latent"


@torch.no_grad()
def collapse_of(model: Model, batches: Iterable[Batch]) -> str:
    """The sentence of `collapse` from one pass over batches; the random state stays as it was."""
    found = []
    device = next((p.device for p in model.parameters()), "cpu")
    with random_kept(device, seed=0):
        for batch in batches:
            p = model(batch.x, batch.c)
            if any(level.q is None for level in p.latents):
                return ""
            try:
                each_kl = kl_per_dimension(p.latents[0]).flatten(1)
            except (UserError, NotImplementedError):  # q and p do not fall into dimensions
                each_kl = kl(p)["kl"][:, None]
            found.append(each_kl.cpu())
    dead = torch.cat(found).mean(0) <= ACTIVE
    return _collapsed(int(dead.sum()), len(dead))


@metric("latents", place=20, warning=collapse)
def code_statistics(
    trained: TrainedModel, data: Data, *, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """KL per dimension, active units, mutual information, and q(z) against the prior, on test.

    kl_j is the KL of dimension j in nats, where both q(z|x) and the prior fall into dimensions.
    mutual_information and marginal_kl need a q(z|x), of any kind; distances to N(0, I) are those
    of a model whose prior that is. Raises NotMeasured for a deterministic code without that prior,
    and for fewer than 2 test images.

    References: `posterior_summary` (active units), `mmd` and `information` in this module.

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        seed: Of the images, where there are more than 10,000 or than sums over all pairs can take
            in some seconds. The draws of q(z|x) are always those of the run's own metrics.
        quiet: Whether no progress bar is shown.

    >>> found = code_statistics(run, data)
    >>> sorted(name for name in found if name.startswith("kl_"))
    ['kl_0', 'kl_1', 'kl_2']
    >>> found["active_units"].value <= 3
    True
    """
    size, standard = math.prod(trained.model.latent), trained.traits.standard
    if not (standard or trained.variational):
        raise NotMeasured(
            "the code is deterministic and its prior is not N(0, I), so there is nothing that it "
            "is compared with: leave the section 'latents' out"
        )
    some = subset(data.test, int(min(MOST, math.sqrt(WORK / size))), seed)
    if len(some) < 2:
        raise NotMeasured("there is only 1 test image, so codes have no spread: give more")
    summary = posterior_summary(trained, data)
    units = f"dimensions of {size} in which means of q(z|x) have a variance above {ACTIVE}"
    found = {"active_units": Measure(summary.active_units, units)}
    if summary.kl is not None and summary.active is not None:
        about = f"dimensions of {size} with a mean KL above {ACTIVE} nats"
        found["active_kl"] = Measure(summary.active, about)
        for j, value in enumerate(summary.kl):
            prior = "N(0, 1)" if standard else f"p(z_{j})"
            about = f"mean KL(q(z_{j}|x) || {prior}) of one code dimension"
            found[f"kl_{j}"] = Measure(float(value), about, "nats")
    if standard:
        found |= against_prior(drawn(trained, some))
    if trained.variational:
        found |= shared(trained, some, quiet=quiet)
    return found


def against_prior(z: np.ndarray) -> dict[str, Measure]:
    """How far draws z (N, Z) of q(z) are from N(0, I); each says what true draws would give."""
    n, size = z.shape
    z = z.astype(np.float64)
    away = np.linalg.norm(np.atleast_2d(np.cov(z.T)) - np.eye(size))
    floor, spread = math.sqrt(size * (size + 1) / (n - 1)), null_deviation(n, size)
    found = {  # value, definition, what true draws give
        "mean_distance": (np.linalg.norm(z.mean(0)), "length of the mean of q(z)",
                          f"{math.sqrt(size / n):.2g}"),
        "covariance_distance": (away, "Frobenius norm of cov q(z) - I", f"{floor:.2g}"),
        "ks": (distances(z).mean(), "Kolmogorov-Smirnov distance to N(0, 1), mean over dimensions",
               f"{0.8687 / math.sqrt(n):.2g}"),
        "mmd": (mmd(z), "squared MMD of q(z) to N(0, I), kernel exp(-|a - b|^2 / 2Z)",
                f"0 ± {spread:.2g}"),
    }  # fmt: skip
    null = f"for {n:,} true draws of N(0, I)"
    return {
        name: Measure(float(value), f"{about}; {true} {null}", better="low")
        for name, (value, about, true) in found.items()
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

    >>> far = mmd(np.full((100, 1), 50.0))  # 1 within z, 0 to the prior, sqrt(1/3) within it
    >>> round(far, 4), round(1 + 3**-0.5, 4)
    (1.5774, 1.5774)
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


def shared(trained: TrainedModel, samples: Samples, *, quiet: bool = True) -> dict[str, Measure]:
    """`information` of the posteriors of samples, of a model with a q(z|x) and any prior.

    Of a q(z|x) that is no diagonal Gaussian, at most 2,000 samples are taken.
    """

    def parts(batch: Batch) -> dict[str, Tensor]:
        level = trained.model(batch.x, batch.c).latents[0]
        z, q = level.z[:1], level.q
        base = _base(q)
        normal = {"loc": base.loc, "scale": base.scale} if isinstance(base, Normal) else {}
        own, prior = (law.log_prob(z)[0] for law in (q, level.p))
        return {"z": z[0], "own": own, "prior": prior, **normal}

    if isinstance(_base(trained.probe.latents[0].q), Normal):
        of = each(trained, samples, parts)
        z, mu, sigma = (of[name].reshape(len(samples), -1) for name in ("z", "loc", "scale"))
        mixture = log_mixture(z, mu, sigma, quiet=quiet)
    else:
        samples = subset(samples, FEW)
        of = each(trained, samples, parts)
        mixture = _any_mixture(trained, samples, torch.from_numpy(of["z"]))
    return information(of["own"], mixture, of["prior"], standard=trained.traits.standard)


def _base(q: Distribution | None) -> Distribution | None:
    return q.base_dist if isinstance(q, Independent) else q


def _any_mixture(trained: TrainedModel, samples: Samples, z: Tensor) -> np.ndarray:
    """``log 1/N sum_m q(z_n | x_m)`` for every z (N, *Z), of any q: (N,)."""

    def part(batch: Batch) -> np.ndarray:
        q = trained.model(batch.x, batch.c).latents[0].q
        rows = [q.log_prob(some[:, None].to(trained.device)) for some in z.split(ROWS)]
        return torch.cat([row.logsumexp(1) for row in rows]).cpu().numpy().astype(np.float64)

    return np.logaddexp.reduce(over(trained, samples, part)) - math.log(len(z))


def information(
    own: np.ndarray, mixture: np.ndarray, prior: np.ndarray, *, standard: bool = True
) -> dict[str, Measure]:
    """What draws z_n ~ q(z|x_n) tell of n, from log-densities (N,) of each under three laws.

    The mean KL to the prior is their mutual information plus the KL of q(z): what is learned of x,
    and what misses the prior. Both are means over the N draws, with q(z) all N posteriors; their
    errors treat the N terms as independent.

    Reference: Hoffman, Johnson. ELBO surgery: yet another way to carve up the variational evidence
    lower bound. NIPS workshop on advances in approximate Bayesian inference, 2016.

    Arguments:
        own: ``log q(z_n|x_n)``.
        mixture: ``log 1/N sum_m q(z_n|x_m)``, see `log_mixture`.
        prior: ``log p(z_n)``.
        standard: Whether the prior is N(0, I), for the definition in words.

    >>> far = np.zeros(2)  # two narrow posteriors far apart: each z has half of its own density
    >>> round(information(far, far - math.log(2), far)["mutual_information"].value, 4)  # log 2
    0.6931
    """
    n = len(own)
    of = f"q(z) the mixture of all {n:,} posteriors"
    most = f"I(x; z), {of}: at most log {n:,} = {math.log(n):.2f}"
    against = "N(0, I)" if standard else "p(z)"
    return {
        "mutual_information": mean(own - mixture, most, "nats"),
        "marginal_kl": mean(mixture - prior, f"KL(q(z) || {against}), {of}", "nats", "low"),
    }


def log_mixture(
    z: np.ndarray, mu: np.ndarray, sigma: np.ndarray, *, quiet: bool = True
) -> np.ndarray:
    """``log 1/N sum_m N(z_n; mu_m, diag sigma_m^2)`` for every z (N, Z): (N,), in float64."""
    from scipy.special import logsumexp  # slow to import

    z, mu, sigma = (a.astype(np.float64) for a in (z, mu, sigma))
    precision = sigma**-2
    constant = -0.5 * (mu**2 * precision + np.log(2 * math.pi * sigma**2)).sum(1)
    found = []
    with bar("mixture of all posteriors", len(z), quiet) as made:
        for start in range(0, len(z), ROWS):
            part = z[start : start + ROWS]
            inner = part @ (mu * precision).T - 0.5 * part**2 @ precision.T + constant
            found.append(logsumexp(inner, axis=1) - math.log(len(mu)))
            made(len(part))
    return np.concatenate(found)

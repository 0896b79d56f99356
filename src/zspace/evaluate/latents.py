"""What the code carries, and how near the codes of test images come to the prior N(0, I).

Of one draw an image, z_n ~ q(z|x_n), samples of the aggregate posterior q(z) = 1/N sum_n q(z|x_n).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch.distributions import Independent, Normal

from zspace.data import Data, Samples
from zspace.data.progress import bar
from zspace.evaluate.measure import Measure, NotMeasured, mean
from zspace.explore.latents import MOST
from zspace.explore.passes import over
from zspace.explore.picks import subset
from zspace.explore.posterior import ACTIVE, distances, posterior_summary
from zspace.runs import Run
from zspace.types import Batch

WORK = 8e9
"""Numbers read by the sums over pairs of codes, N * N * Z: some seconds."""
ROWS = 500


def latents(run: Run, data: Data, *, seed: int = 0, quiet: bool = True) -> dict[str, Measure]:
    """KL a dimension, active units, q(z) against the prior, and mutual information, on test.

    Active units are those of Burda, Grosse, Salakhutdinov. Importance weighted autoencoders.
    2015, arXiv 1509.00519 (section 5.2). kl_j is the KL of dimension j; it is left out, with the
    mutual information, where the code is deterministic or q(z|x) no diagonal Gaussian.

    The draws are those of the run's own metrics; the seed decides nothing but which images are
    taken where they are many.

    Raises NotMeasured where the prior is not N(0, I), and for fewer than 2 test images.
    """
    size = math.prod(run.model.latent)
    some = subset(data.test, int(min(MOST, math.sqrt(WORK / size))), seed)
    if len(some) < 2:
        raise NotMeasured("there is 1 test image: give data with more, to see how codes spread")
    z, *gaussian = _drawn(run, some)
    summary = posterior_summary(run, data)
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
        ),
        "covariance_distance": Measure(
            float(np.linalg.norm(away)),
            f"Frobenius norm of cov q(z) - I; {floor:.2g} {true}",
        ),
        "ks": Measure(
            float(distances(z).mean()),
            "Kolmogorov-Smirnov distance to N(0, 1), mean over dimensions; "
            f"{0.8687 / math.sqrt(n):.2g} {true}",
        ),
        "mmd": Measure(
            mmd(z),
            "squared MMD of q(z) to N(0, I), kernel exp(-|a - b|^2 / 2Z); "
            f"0 ± {spread:.2g} {true}",
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
        "marginal_kl": mean(mixture - prior, f"KL(q(z) || N(0, I)), {of}", "nats"),
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


def _active_units(count: int, size: int) -> Measure:
    return Measure(
        count,
        f"dimensions of {size} in which means of q(z|x) have a variance above {ACTIVE}",
    )


def _drawn(run: Run, samples: Samples) -> list[np.ndarray]:
    """A draw z (N, Z) of every q(z|x) and, of diagonal Gaussians, their means and deviations."""

    def parts(batch: Batch) -> list[np.ndarray]:
        level = run.model(batch.x, batch.c).latents[0]
        if not _standard(level.p):
            raise NotMeasured(
                "the prior of this model is not N(0, I), which its codes are compared with: "
                "leave the section latents out"
            )
        q = level.q.base_dist if isinstance(level.q, Independent) else level.q
        normal = q if isinstance(q, Normal) else None
        own = [level.z[0]] if normal is None else [level.z[0], normal.loc, normal.scale]
        return [a.flatten(1).cpu().numpy() for a in own]

    return [np.concatenate(part) for part in zip(*over(run, samples, parts), strict=True)]


def _standard(p: object) -> bool:
    base = p.base_dist if isinstance(p, Independent) else p
    return isinstance(base, Normal) and bool((base.loc == 0).all() and (base.scale == 1).all())

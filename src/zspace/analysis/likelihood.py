"""How probable a model finds test images: bounds on log p(x), in nats a sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.trained import TrainedModel, over
from zspace.data.dataset import Data, Samples
from zspace.data.spec import Batch
from zspace.models.distributions import LogisticMixture, QuadraticEnergy
from zspace.models.flow import Model
from zspace.models.likelihoods import bits_per_dimension
from zspace.models.terms import iwae, kl, nll
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured, UserError

VALUES = 2_000_000
"""Numbers of x that are decoded at once: with their intermediate results some 10 to 100 MB."""
BINARISED = {"static": "statically", "dynamic": "dynamically"}


@dataclass(frozen=True)
class Target:
    """What x in log p(x) is, in words. discrete: it has finitely many values."""

    words: str
    discrete: bool


@metric("likelihood", place=10)
def likelihood_bounds(
    trained: TrainedModel, data: Data, *, samples: int = 100, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """The ELBO and the importance-weighted bound of every test image, their means.

    elbo, reconstruction, kl: of the draws of the run's own metrics, so that they are those
    numbers. iw_K: the bound of exactly K = `samples` draws. Each in bits a dimension as well
    where x is discrete.

    Raises NotMeasured where the likelihood is none, or the code is deterministic, and UserError
    for samples < 1.
    """
    if samples < 1:
        raise UserError(f"the importance-weighted bound has {samples} samples: use at least 1")
    x = target(trained, data.test)
    parts = _elbo(trained, data.test)
    bound = importance_weighted(trained, data.test, samples, seed=seed, quiet=quiet)
    p, of = "p(x | context)" if trained.model.context else "p(x)", f"x {x.words}"
    name = f"iw_{samples}"
    found = {
        "elbo": mean(
            -(parts["nll"] + parts["kl"]),
            f"ELBO, a lower bound on log {p}; one draw an image, {of}",
            "nats",
            "high",
        ),
        "reconstruction": mean(
            -parts["nll"], f"E log p(x|z); one draw an image, {of}", "nats", "high"
        ),
        "kl": mean(parts["kl"], "KL(q(z|x) || p(z))", "nats"),
        name: mean(
            bound,
            f"importance-weighted lower bound on log {p}; K = {samples:,} draws an image, {of}",
            "nats",
            "high",
        ),
    }
    if x.discrete:
        for key in ("elbo", name):
            found[f"{key}_bits"] = _bits(key, found[key], trained.spec.shape)
    return found


def target(trained: TrainedModel, samples: Samples) -> Target:
    """What the run's likelihood is a probability of. Raises NotMeasured where it is of nothing."""
    p = trained.probe
    base = p.px.base_dist if isinstance(p.px, Independent) else p.px
    if any(level.q is None for level in p.latents):
        raise NotMeasured(
            "the code is deterministic, so there is no q(z|x) and no bound on log p(x): "
            "train a variational recipe, 'vae' say"
        )
    if isinstance(base, QuadraticEnergy):
        raise NotMeasured(
            "squared error is no normalised likelihood, and its sum with the KL bounds no log "
            "p(x): train with --likelihood gaussian, logistic-mixture, or bernoulli on binary data"
        )
    if isinstance(base, LogisticMixture):
        return Target(f"of {base.levels} levels", discrete=True)
    if not isinstance(base, Bernoulli):
        return Target("grey values (a density)", discrete=False)
    if trained.binarize != "none":
        return Target(f"{BINARISED[trained.binarize]} binarised", discrete=True)
    if all(over(trained, samples, lambda batch: bool(((batch.x == 0) | (batch.x == 1)).all()))):
        return Target("binary as it comes", discrete=True)
    raise NotMeasured(
        "binary cross-entropy on grey values is no normalised likelihood: train with --binarize "
        "static or dynamic, or with --likelihood continuous-bernoulli"
    )


def importance_weighted(
    trained: TrainedModel, samples: Samples, K: int, *, seed: int = 0, quiet: bool = True
) -> np.ndarray:
    r"""``log 1/K sum_k p(x, z_k) / q(z_k|x)`` of every sample (N,), z_k ~ q(z|x), float64.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519. Images are those of the run's own metrics, and so are their binary draws.

    K: draws, exactly so many. seed: of the draws; the global generators stay as they were.
    """
    seeds = np.random.default_rng(seed)

    def part(batch: Batch) -> np.ndarray:
        torch.manual_seed(int(seeds.integers(2**63)))
        return bounds(trained.model, batch, K, made)

    with bar(f"importance-weighted bound, K = {K:,}", len(samples), quiet) as made:
        return np.concatenate(over(trained, samples, part))


def bounds(
    model: Model, batch: Batch, K: int, made: Callable[[int], None] = lambda more: None
) -> np.ndarray:
    """The bound of every sample of a batch (B,), a few samples and draws at a time.

    made: told of how many samples more are done, after each part.
    """
    rows = max(1, VALUES // math.prod(batch.x.shape[1:]))
    size, at_once = max(1, rows // K), min(K, rows)
    contexts = batch.c.split(size) if batch.c is not None else None
    found = []
    for i, x in enumerate(batch.x.split(size)):
        c = None if contexts is None else contexts[i]
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device="cpu")
        for start in range(0, K, at_once):
            count = min(at_once, K - start)
            value = iwae(model(x, c, count))["iwae"]  # -log of the mean of `count` weights
            total = torch.logaddexp(total, math.log(count) - value.cpu().double())
        found.append(total - math.log(K))
        made(len(x))
    return torch.cat(found).numpy()


def _elbo(trained: TrainedModel, samples: Samples) -> dict[str, np.ndarray]:
    """The two terms of the ELBO for every sample, in nats: name -> (N,)."""

    def terms(batch: Batch) -> dict[str, Tensor]:
        p = trained.model(batch.x, batch.c)
        return {name: value.cpu().double() for name, value in {**nll(p), **kl(p)}.items()}

    parts = over(trained, samples, terms)
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in ("nll", "kl")}


def _bits(name: str, nats: Measure, shape: tuple[int, ...]) -> Measure:
    """The negative of a bound in bits a number of x."""
    error = None if nats.error is None else bits_per_dimension(nats.error, shape)
    value = bits_per_dimension(-nats.value, shape)
    about = f"-{name} / ({math.prod(shape):,} log 2), {nats.about.rpartition(', ')[2]}"
    return Measure(value, about, "bits a dimension", error, better="low")

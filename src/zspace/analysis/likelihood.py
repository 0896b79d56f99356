"""How probable a model finds test images: bounds on log p(x), in nats per sample.

The evidence lower bound is ``ELBO = E_q log p(x|z) - KL(q(z|x) || p(z))``. The importance-weighted
bound of K draws lies between it and log p(x), and comes nearer to log p(x) as K grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from zspace.analysis.measure import Measure, mean, metric
from zspace.analysis.trained import TrainedModel, each, over, split
from zspace.data.dataset import Data, Samples
from zspace.data.spec import Batch, Spec
from zspace.models.distributions import LogisticMixture, QuadraticEnergy
from zspace.models.flow import Model
from zspace.models.terms import iwae, kl, nll
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured, UserError

VALUES = 2_000_000
"""Numbers of x that are decoded at once: with their intermediate results some 10 to 100 MB."""
BINARISED = {"static": "statically", "dynamic": "dynamically"}


@metric("likelihood", place=10)
def likelihood_bounds(
    trained: TrainedModel, data: Data, *, samples: int = 100, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """The ELBO and the importance-weighted bound of every test image, their means in nats.

    elbo, reconstruction, kl: of the draws of the run's own metrics, so that they are those
    numbers. iw_K: the bound of exactly K = `samples` draws. Both bounds also in bits per dimension
    where x is discrete, or per token: elbo_bits, iw_K_bits; of tokens with the perplexity. Raises
    NotMeasured where the likelihood is not a normalised one, or the code is deterministic, and
    UserError for samples < 1.

    Reference: see `importance_weighted`.

    Arguments:
        trained: The model, usually a run.
        data: Its data; the test split is measured.
        samples: K. 100 are quick; published figures mostly take 5,000.
        seed: Of the draws of iw_K.
        quiet: Whether no progress bar is shown.

    >>> likelihood_bounds(run, data)  # `run` was trained with the squared error
    Traceback (most recent call last):
    ...
    zspace.system.errors.NotMeasured: squared error is not a normalised likelihood, ...
    """
    if samples < 1:
        raise UserError(f"the importance-weighted bound has {samples} samples: use at least 1")
    words, discrete = target(trained, data.test)

    def terms(batch: Batch) -> dict[str, Tensor]:
        p = trained.model(batch.x, batch.c)
        return {"nll": nll(p)["nll"], "kl": kl(p)["kl"]}

    parts = {k: v.astype(np.float64) for k, v in each(trained, data.test, terms).items()}
    bound = importance_weighted(trained, data.test, samples, seed=seed, quiet=quiet)
    p, of = "p(x | context)" if trained.model.context else "p(x)", f"x {words}"
    name, one = f"iw_{samples}", f"one draw per image, {of}"
    lower = f"ELBO, a lower bound on log {p}; {one}"
    tighter = f"importance-weighted lower bound on log {p}; K = {samples:,} draws per image, {of}"
    found = {
        "elbo": mean(-(parts["nll"] + parts["kl"]), lower, "nats", "high"),
        "reconstruction": mean(-parts["nll"], f"E log p(x|z); {one}", "nats", "high"),
        "kl": mean(parts["kl"], "KL(q(z|x) || p(z))", "nats"),
        name: replace(mean(bound, tighter, "nats", "high"), headline=True),
    }
    if discrete:
        unit, size = UNITS.get(trained.spec.kind, "dimension"), dimensions(trained.spec, data.test)
        for key in ("elbo", name):
            found[f"{key}_bits"] = _bits(key, found[key], size, unit)
        if trained.spec.kind == "tokens":
            found["perplexity"] = _perplexity(name, found[name], size)
    return found


UNITS = {"tokens": "token"}
"""What bits are counted per, where samples are no images or rows."""


def dimensions(spec: Spec, samples: Samples) -> float:
    """How many numbers a sample has; of tokens, how many it has on average, ends included.

    >>> dimensions(data.spec, data.test)
    196.0
    """
    if spec.kind != "tokens":
        return float(math.prod(spec.shape))
    parts = torch.arange(len(samples)).split(max(1, VALUES // spec.shape[0]))
    return sum(int((samples.images(i) >= 0).sum()) for i in parts) / max(1, len(samples))


def target(trained: TrainedModel, samples: Samples) -> tuple[str, bool]:
    """What x in log p(x) is, in words, and whether it has finitely many values.

    A likelihood of one's own says so itself, by `Likelihood.discrete`.

    Raises NotMeasured where the likelihood is not a probability of anything.
    """
    p = trained.probe
    base = p.px.base_dist if isinstance(p.px, Independent) else p.px
    if any(level.q is None for level in p.latents):
        raise NotMeasured(
            "the code is deterministic, so there is no q(z|x) and no bound on log p(x): "
            "train a variational recipe, such as 'vae'"
        )
    if isinstance(base, QuadraticEnergy):
        raise NotMeasured(
            "squared error is not a normalised likelihood, so its sum with the KL does not bound "
            "log p(x): train with --likelihood gaussian or logistic-mixture, or with bernoulli on "
            "binary data"
        )
    if isinstance(base, LogisticMixture):
        return f"of {base.levels} levels", True
    if getattr(getattr(trained.model, "likelihood", None), "discrete", False):
        return "of finitely many values", True
    if not isinstance(base, Bernoulli):
        return "grey values (a density)", False
    if trained.binarize != "none":
        return f"{BINARISED[trained.binarize]} binarised", True
    if all(over(trained, samples, lambda batch: bool(((batch.x == 0) | (batch.x == 1)).all()))):
        return "already binary", True
    raise NotMeasured(
        "binary cross-entropy on grey values is not a normalised likelihood: train with "
        "--binarize static or dynamic, or with --likelihood continuous-bernoulli"
    )


def importance_weighted(
    trained: TrainedModel, samples: Samples, K: int, *, seed: int = 0, quiet: bool = True
) -> np.ndarray:
    r"""``log 1/K sum_k p(x, z_k) / q(z_k|x)`` of every sample (N,), z_k ~ q(z|x), float64.

    Its mean is a lower bound on log p(x) that rises with K to log p(x) itself; for K = 1 it is the
    ELBO. Images are those of the run's own metrics, and so are their binary draws.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519.

    Arguments:
        trained: A variational model, usually a run.
        samples: A split of its data.
        K: Draws, exactly so many. Memory does not grow with K, as draws are made in parts.
        seed: Of the draws; the global random state stays as it was.
        quiet: Whether no progress bar is shown.

    >>> few, many = (importance_weighted(run, data.test, K) for K in (1, 200))
    >>> bool(few.mean() < many.mean())
    True
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
    found = []
    for x, c in split(batch.x, batch.c, size):
        total = np.full(len(x), -math.inf)
        for start in range(0, K, at_once):
            count = min(at_once, K - start)
            value = iwae(model(x, c, count))["iwae"]  # -log of the mean of `count` weights
            total = np.logaddexp(total, math.log(count) - value.cpu().numpy().astype(np.float64))
        found.append(total - math.log(K))
        made(len(x))
    return np.concatenate(found)


def _bits(name: str, nats: Measure, size: float, unit: str) -> Measure:
    """The negative of a bound, in bits per number of x."""
    error = None if nats.error is None else nats.error / (math.log(2) * size)
    value = -nats.value / (math.log(2) * size)
    about = f"-{name} / ({size:,.6g} log 2), {nats.about.rpartition(', ')[2]}"
    return Measure(value, about, f"bits per {unit}", error, better="low")


def _perplexity(name: str, nats: Measure, size: float) -> Measure:
    """exp of the nats per token: among how many tokens that are all as likely one would guess."""
    about = f"exp(-{name} / {size:,.6g}): an upper bound, ends of sequences count as tokens"
    return Measure(math.exp(min(700.0, -nats.value / size)), about, better="low")

"""Terms: what an objective may be made of.

Each reads a `Pass` and returns named, unweighted tensors:

    term: (Pass) -> {name: (B,) or scalar}        term.gives: {name: Fact}

A value is (B,), one number per sample in nats (sums over pixels and code dimensions, means over
the K draws), or a scalar where it is a statistic of the batch. `Objective` takes the mean over the
batch. `gives` says what each name stands for; a term without it is shown under its bare name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, kl_divergence
from torch.nn import functional as F

from zspace.data.spec import Fact
from zspace.models.distributions import Observed, per_element
from zspace.models.flow import Latent, Pass
from zspace.system.errors import UserError

T = TypeVar("T", bound=Callable[..., dict[str, Tensor]])
KL = Fact("KL to the prior", "nats", "neither", role="divergence")


def gives(**facts: Fact) -> Callable[[T], T]:
    """Say what a term gives: its names, each with its `Fact`. A decorator of terms.

    Arguments:
        facts: By name, what tables, figures and sentences say of each value.

    >>> @gives(norm=Fact("norm of the code"))
    ... def norm(p: Pass) -> dict[str, Tensor]:
    ...     return {"norm": p.latents[0].z.mean(0).norm(dim=1)}
    >>> norm.gives["norm"].title
    'norm of the code'
    """

    def known(term: T) -> T:
        term.gives = facts  # type: ignore[attr-defined] # functions take attributes
        return term

    return known


@gives(nll=Fact("negative log-likelihood", "nats", role="reconstruction"))
def nll(p: Pass) -> dict[str, Tensor]:
    """Negative log-likelihood ``-log p(x|z)``, the reconstruction part of the ELBO.

    (B,) in nats, a mean over the K draws. It is what the likelihood says, whichever that is.

    >>> from torch.distributions import Bernoulli, Independent
    >>> px = Independent(Bernoulli(torch.full((1, 2, 4), 0.5)), 1)
    >>> nll(Pass(torch.ones(2, 4), px, ()))  # 4 log 2
    {'nll': tensor([2.7726, 2.7726])}
    """
    return {"nll": -p.px.log_prob(p.x).mean(0)}


@gives(mse=Fact("squared error", role="reconstruction"))
def mse(p: Pass) -> dict[str, Tensor]:
    """Squared error to the mean of p(x|z), summed over the sample (the field says "MSE").

    (B,), a mean over the K draws; in units of x squared, not in nats.

    >>> from torch.distributions import Normal
    >>> mse(Pass(torch.full((1, 4), 3.0), Normal(torch.ones(1, 1, 4), 1.0), ()))  # 4 (3 - 1)^2
    {'mse': tensor([16.])}
    """
    mean = p.px.mean
    error = per_element(p.px, p.x, lambda x: (mean - x).square())
    return {"mse": error.flatten(2).sum(2).mean(0)}


@gives(bce=Fact("binary cross-entropy", "nats", role="reconstruction"))
def bce(p: Pass) -> dict[str, Tensor]:
    """Binary cross-entropy between x in [0, 1] and the mean of p(x|z), summed over the sample.

    ``-sum (x log m + (1 - x) log(1 - m))``, (B,) in nats, a mean over the K draws. It is a
    negative log-likelihood for binary x only.

    >>> from torch.distributions import Bernoulli
    >>> bce(Pass(torch.rand(1, 4), Bernoulli(torch.full((1, 1, 4), 0.5)), ()))  # 4 log 2
    {'bce': tensor([2.7726])}
    """
    base = p.px.base_dist if isinstance(p.px, Independent | Observed) else p.px
    loss: Callable[..., Tensor]
    if isinstance(base, Bernoulli):  # from the logits, so that nothing is clipped
        of, loss = base.logits, F.binary_cross_entropy_with_logits
    else:
        of, loss = p.px.mean, F.binary_cross_entropy
    each = per_element(p.px, p.x, lambda x: loss(of, x.expand_as(of), reduction="none"))
    return {"bce": each.flatten(2).sum(2).mean(0)}


@gives(kl=KL)
def kl(p: Pass) -> dict[str, Tensor]:
    """``KL(q(z|x) || p(z))``, (B,) in nats, summed over levels; a closed form where torch has one.

    Elsewhere it is estimated from the draws, ``log q(z|x) - log p(z)``.
    Raises UserError where the code is deterministic, for then there is no q.

    >>> from torch.distributions import Normal
    >>> q = Independent(Normal(torch.ones(3, 2), 1.0), 1)
    >>> p = Independent(Normal(torch.zeros(2), 1.0), 1)
    >>> level = Latent(q.sample((1,)), q, p)
    >>> kl(Pass(torch.zeros(3, 4), p, (level,)))  # 1/2 for each of two dimensions
    {'kl': tensor([1., 1., 1.])}
    """
    return {"kl": torch.stack([_divergence(level, "kl") for level in p.latents]).sum(0)}


def _divergence(level: Latent, term: str) -> Tensor:
    """(B,): the KL of one level, a mean over the draws where q or p depends on them."""
    q = _posterior(level, term)
    try:
        value = kl_divergence(q, level.p)
    except NotImplementedError:  # torch knows no closed form for this pair
        value = q.log_prob(level.z) - level.p.log_prob(level.z)
    return value.mean(0) if value.dim() > 1 else value


def _posterior(level: Latent, term: str) -> Distribution:
    if level.q is None:
        raise UserError(
            f"the term '{term}' needs q(z|x), but this model's code is deterministic: leave the "
            "term out, or use a Gaussian bottleneck (recipe 'vae')"
        )
    return level.q


class FreeBits:
    r"""KL that is free up to `bits` nats per code dimension: ``sum_j max(bits, mean_B KL_j)``.

    It gives the true ``kl``, (B,), beside ``kl_free_bits``, a scalar of the batch: give the second
    a weight, and the first the weight 0, which reports it.

    Reference: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational
    inference with inverse autoregressive flow. 2016, arXiv 1606.04934 (appendix C).

    Arguments:
        bits: Nats per dimension that cost nothing, >= 0.

    Raises UserError for a negative number, and as `kl_per_dimension` does.

    >>> from torch.distributions import Normal
    >>> p = Independent(Normal(torch.zeros(3, 2), 1.0), 1)
    >>> level = Latent(p.sample((1,)), p, p)
    >>> FreeBits(0.25)(Pass(torch.zeros(3, 4), p, (level,)))  # no KL, but 1/4 in two dimensions
    {'kl': tensor([0., 0., 0.]), 'kl_free_bits': tensor(0.5000)}
    """

    gives: ClassVar = {"kl": KL, "kl_free_bits": Fact("KL with free bits", "nats", per="batch")}

    def __init__(self, bits: float) -> None:
        if not bits >= 0:
            raise UserError(f"free bits are {bits}: use a number of nats >= 0")
        self.bits = bits

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        parts = [kl_per_dimension(level) for level in p.latents]
        free = [part.mean(0).clamp(min=self.bits).sum() for part in parts]
        true = [part.flatten(1).sum(1) for part in parts]
        return {"kl": torch.stack(true).sum(0), "kl_free_bits": torch.stack(free).sum()}


def kl_per_dimension(level: Latent) -> Tensor:
    """(B, *Z): the KL of every code dimension, in nats.

    Raises UserError where q or p is not diagonal (`Independent`), or the code deterministic.
    """
    q, p = _posterior(level, "kl per dimension"), level.p
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        raise UserError(
            "the KL per dimension needs a posterior and a prior with independent dimensions, "
            f"not {type(q).__name__} and {type(p).__name__}: use the term 'kl'"
        )
    value = kl_divergence(q.base_dist, p.base_dist)
    return value.mean(0) if value.dim() == level.z.dim() else value  # p may depend on the K draws


SPLIT = {
    "kl": KL,
    "index_code_mi": Fact("index-code mutual information", "nats", "neither", "batch"),
    "total_correlation": Fact("total correlation", "nats", per="batch"),
    "dimension_kl": Fact("KL of single dimensions", "nats", per="batch"),
}


@gives(**SPLIT)
def split_kl(p: Pass) -> dict[str, Tensor]:
    r"""The KL in three parts, estimated from the draws and the batch, summed over levels.

        index_code_mi      = mean log q(z|x) - log q(z)
        total_correlation  = mean log q(z) - sum_j log q(z_j)
        dimension_kl       = mean sum_j log q(z_j) - log p(z)

    These are scalars in nats, whose sum is the one-draw estimate of the KL; ``kl`` is returned
    beside them as `kl` computes it. q(z) is the mean of q(z|x) over the batch, so that the mutual
    information is at most the log of the batch size. The paper's minibatch-weighted sampling also
    divides it by the number N of training samples, which adds log N to the first part and
    (Z - 1) log N to the second: constants, which do not change training. They depend on the code
    size, and so does the bias of every estimate from a batch: see `Objective.comparable`.

    Reference: Chen, Li, Grosse, Duvenaud. Isolating sources of disentanglement in variational
    autoencoders. 2018, arXiv 1802.04942.

    Raises UserError where q is not diagonal (`Independent`), or the code deterministic.

    >>> from torch.distributions import Normal
    >>> q = Independent(Normal(torch.tensor([[-100.0], [100.0]]), 1.0), 1)
    >>> p = Pass(torch.zeros(2, 4), q, (Latent(q.sample((1,)), q, q),))
    >>> split_kl(p)["index_code_mi"]  # z tells which of two samples x is: log 2
    tensor(0.6931)
    """
    return _in_parts(p, lambda each: _full(each, 1, -math.log(each.shape[2])))


class StratifiedKL:
    r"""`split_kl` with q(z) over all N training samples, by minibatch stratified sampling.

    For a z drawn from the sample n* of a batch n*, n_1, ..., n_M,

        q(z) ~ q(z|n*) / N + (N - 1) / N  1/M sum_m q(z|n_m),

    whose mean over random batches is the mean of q(z|x) over all N samples: n* counts once among
    N, not once among M + 1. The paper gives n_M a weight (N - M) / (N M) of its own and the others
    1 / M; shared by all, as here, the mean is the same and the variance less. The log is still too
    low in the mean, by less in larger batches.

    Reference: Chen, Li, Grosse, Duvenaud. Isolating sources of disentanglement in variational
    autoencoders. 2018, arXiv 1802.04942 (appendix C).

    Arguments:
        samples: N, the number of training samples, at least 1.

    Raises UserError for fewer, and as `split_kl` does.

    >>> from torch.distributions import Normal
    >>> q = Independent(Normal(torch.tensor([[-100.0], [100.0]]), 1.0), 1)
    >>> p = Pass(torch.zeros(2, 4), q, (Latent(q.sample((1,)), q, q),))
    >>> StratifiedKL(1000)(p)["index_code_mi"]  # z tells which of 1,000 samples x is: log 1000
    tensor(6.9078)
    """

    gives: ClassVar = SPLIT

    def __init__(self, samples: int) -> None:
        if samples < 1:
            raise UserError(
                f"the stratified estimate is of a mean over {samples} training samples: give the "
                "number of training samples, or use the weighted estimate"
            )
        self.samples = samples

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        return _in_parts(p, self.log_weights)

    def log_weights(self, each: Tensor) -> Tensor:
        """(B, B): the log of the weight of sample m in q(z), for a z of sample n; rows sum to 1.

        A batch of one sample has no other, so all weight is its own.
        """
        rows, n = each.shape[2], max(self.samples, each.shape[2])
        if rows == 1:
            return _full(each, 1, 0.0)
        return _full(each, rows, (n - 1) / (n * (rows - 1))).fill_diagonal_(1 / n).log()


def _full(like: Tensor, rows: int, value: float) -> Tensor:
    """(rows, rows), filled with a value."""
    return torch.full((rows, rows), value, dtype=like.dtype, device=like.device)


def _in_parts(p: Pass, log_weights: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The KL and its parts; q(z) is a mean of q(z|x_m), weighted by row n for a z of sample n."""
    parts = torch.stack([_split(level, log_weights) for level in p.latents]).sum(0)
    return {**kl(p), **dict(zip(list(SPLIT)[1:], parts, strict=True))}


def _split(level: Latent, log_weights: Callable[[Tensor], Tensor]) -> Tensor:
    """(3,): the parts of one level, means over draws and batch."""
    q = _posterior(level, "split_kl")
    if not isinstance(q, Independent):
        raise UserError(
            "the parts of the KL need a posterior with independent dimensions, not "
            f"{type(q).__name__}: use the term 'kl'"
        )
    each = q.base_dist.log_prob(level.z.unsqueeze(2)).flatten(3)  # (K, B, B, Z), of z under x_j
    weights = log_weights(each)
    joint = (each.sum(3) + weights).logsumexp(2)
    marginals = (each + weights[..., None]).logsumexp(2).sum(2)
    conditional, prior = q.log_prob(level.z), level.p.log_prob(level.z)
    return torch.stack(
        [(conditional - joint).mean(), (joint - marginals).mean(), (marginals - prior).mean()]
    )


@gives(iwae=Fact("importance-weighted bound", "nats", role="bound"))
def iwae(p: Pass) -> dict[str, Tensor]:
    r"""Negative importance-weighted bound ``-log 1/K sum_k p(x, z_k) / q(z_k|x)``, (B,) in nats.

    With K = 1 it is an estimate of the negative ELBO; it falls towards ``-log p(x)`` as K grows.
    Raises UserError where the code is deterministic.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519.

    >>> from torch.distributions import Normal
    >>> q = Independent(Normal(torch.zeros(2, 3), 1.0), 1)
    >>> px = Independent(Bernoulli(torch.full((5, 2, 4), 0.5)), 1)
    >>> iwae(Pass(torch.ones(2, 4), px, (Latent(q.sample((5,)), q, q),)))  # z is not read: 4 log 2
    {'iwae': tensor([2.7726, 2.7726])}
    """
    weight = p.px.log_prob(p.x)  # (K, B)
    for level in p.latents:
        weight = weight + level.p.log_prob(level.z) - _posterior(level, "iwae").log_prob(level.z)
    return {"iwae": math.log(weight.shape[0]) - torch.logsumexp(weight, dim=0)}

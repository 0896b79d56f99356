"""Likelihood regret: what a sample gains from a posterior of its own.

Reference: Xiao, Yan, Amit. Likelihood regret: an out-of-distribution detection score for
variational auto-encoder. 2020, arXiv 2003.02977. There the encoder is trained on for each sample
alone; here the mean and the variance of q are, for a batch at once, which is far cheaper.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from zspace.types import Batch, Latent, Model

STEPS, RATE, DRAWS = 40, 0.1, 16


def has_regret(levels: tuple[Latent, ...]) -> bool:
    """Whether q is one diagonal Gaussian, which can be moved, and p is one too."""
    both = (levels[0].q, levels[0].p)
    gaussian = [isinstance(d, Independent) and isinstance(d.base_dist, Normal) for d in both]
    return len(levels) == 1 and all(gaussian)


@torch.no_grad()
def regret(model: Model, batch: Batch, steps: int = STEPS) -> Tensor:
    """``max_q ELBO(x; q) - ELBO(x; q(z|x))`` in nats, (B,), by `steps` of Adam on each q.

    Both bounds are means over the same 16 draws of noise, others than those of the steps; so a
    gain below the noise may come out negative.
    The model's weights and their gradients stay as they are.
    """
    level = model(batch.x, batch.c).latents[0]
    assert level.q is not None
    normal = level.q.base_dist
    half = torch.randn(DRAWS // 2, *normal.loc.shape, device=batch.x.device)
    noise = torch.cat([half, -half])  # in pairs: what is linear in the noise cancels
    mean, log_scale = normal.loc.detach().clone(), normal.scale.detach().log()
    before = _bound(model, batch, level.p, mean, log_scale, noise)
    parts = [mean.requires_grad_(), log_scale.requires_grad_()]
    optimizer = torch.optim.Adam(parts, lr=RATE)
    with torch.enable_grad():
        for step in range(steps):
            fresh = torch.randn(1, *mean.shape, device=mean.device)
            loss = -_bound(model, batch, level.p, mean, log_scale, fresh).sum()
            gradients = torch.autograd.grad(loss, parts)  # not of the weights
            for part, gradient in zip(parts, gradients, strict=True):
                part.grad = gradient
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)  # else q keeps trembling
            optimizer.step()
    return _bound(model, batch, level.p, mean, log_scale, noise) - before


def _bound(
    model: Model, batch: Batch, p: Distribution, mean: Tensor, log_scale: Tensor, noise: Tensor
) -> Tensor:
    """The ELBO (B,) of x under q = N(mean, exp(log_scale)^2), with draws mean + scale noise."""
    q = Independent(Normal(mean, log_scale.exp(), validate_args=False), mean.dim() - 1)
    total = -kl_divergence(q, p)
    for draw in noise:
        px = model.decode(mean + log_scale.exp() * draw, batch.c)
        total = total + px.log_prob(batch.x) / len(noise)
    return total

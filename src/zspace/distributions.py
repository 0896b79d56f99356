"""Distributions that torch lacks, or lacks in a stable form. All are elementwise (empty event
shape).

Wrap them in ``torch.distributions.Independent`` to make an image one event.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

Shape = torch.Size | list[int] | tuple[int, ...]


class QuadraticEnergy(Distribution):
    r"""The Gaussian of variance 1/2 without its constant: ``log_prob(x) = -(x - mean)^2``.

    This is what the field minimises as "squared error". It is no normalised density: the
    missing constant is ``log(pi) / 2`` nats an element.

    mean: any shape, the centre of each element.
    """

    arg_constraints = {"mean": constraints.real}  # noqa: RUF012 (torch's own protocol)
    support = constraints.real
    has_rsample = True

    def __init__(self, mean: Tensor) -> None:
        self._mean = mean
        super().__init__(mean.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self._mean, 0.5)

    def expand(self, batch_shape: Shape, _instance: object = None) -> QuadraticEnergy:
        return QuadraticEnergy(self._mean.expand(batch_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self._mean.dtype, device=self._mean.device)
        return self._mean + math.sqrt(0.5) * noise

    def log_prob(self, value: Tensor) -> Tensor:
        return -(value - self._mean).square()


def log_sinhc(t: Tensor) -> Tensor:
    r"""``log(sinh(t) / t)`` for every t, to 1e-7 absolute in float32, with a finite gradient at 0.

    A Taylor series serves |t| < 0.3; elsewhere ``|t| - log(2|t|) + log1p(-exp(-2|t|))``.
    """
    t2 = t.clamp(-1, 1).square()  # the series is not selected beyond, but must not overflow
    near = t2 * (1 / 6 - t2 * (1 / 180 - t2 * (1 / 2835 - t2 / 37800)))
    far = torch.where(t2 < 0.09, torch.ones_like(t), t).abs()
    return torch.where(
        t2 < 0.09, near, far - torch.log(2 * far) + torch.log1p(-torch.exp(-2 * far))
    )


class ContinuousBernoulli(Distribution):
    r"""The continuous Bernoulli on [0, 1] as an exponential family in its logits.

    ``log p(x) = eta x - log((exp(eta) - 1) / eta)``, where the log-normaliser is
    ``eta / 2 + log(sinh(eta / 2) / (eta / 2))``. Written so, nothing cancels near
    ``lambda = sigmoid(eta) = 1/2`` and nothing is clipped at the ends.

    Reference: Loaiza-Ganem, Cunningham. The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders. 2019, arXiv 1907.06845.

    logits: eta, any shape.
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        r"""``1/2 + (coth(t) - 1/t) / 2`` with ``t = eta / 2``; not lambda itself."""
        t = self.logits / 2
        t2 = t.clamp(-1, 1).square()
        near = t.clamp(-1, 1) * (1 / 3 - t2 * (1 / 45 - t2 * (2 / 945 - t2 / 4725)))
        far = torch.where(t2 < 0.09, torch.ones_like(t), t)
        return 0.5 + 0.5 * torch.where(t2 < 0.09, near, 1 / torch.tanh(far) - 1 / far)

    def expand(self, batch_shape: Shape, _instance: object = None) -> ContinuousBernoulli:
        return ContinuousBernoulli(self.logits.expand(batch_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Inverse transform: the quantile ``log(1 + u (exp(eta) - 1)) / eta`` at uniform u."""
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return self.icdf(u)

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile at probabilities ``value``; a large eta > 0 by symmetry from -eta.

        Within 1e-3 of eta = 0 it is the expansion ``u (1 + eta (1 - u) / 2)``.
        """
        flat = self.logits.abs() < 1e-3
        eta = torch.where(flat, -torch.ones_like(self.logits), -self.logits.abs())
        u = torch.where(self.logits > 0, 1 - value, value)
        least = torch.finfo(eta.dtype).eps - 1  # log1p(-1) would have no gradient
        x = (torch.log1p((u * torch.expm1(eta)).clamp(min=least)) / eta).clamp(0, 1)
        x = torch.where(u == 1, torch.ones_like(x), x)
        x = torch.where(self.logits > 0, 1 - x, x)
        return torch.where(flat, value * (1 + self.logits * (1 - value) / 2), x)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits * (value - 0.5) - log_sinhc(self.logits / 2)

    def entropy(self) -> Tensor:
        return -self.log_prob(self.mean)


def bernoulli_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """``x log m + (1 - x) log(1 - m)`` with m = sigmoid(logits), from the logits, elementwise."""
    return -F.binary_cross_entropy_with_logits(logits, value.expand_as(logits), reduction="none")

"""Likelihoods turn the decoder's output into p(x|z).

A likelihood says how many numbers it wants for each element of x (`params`); the decoder's output
is (..., params * C, H, W) for images (C, H, W). Its ``forward(h, event)`` returns a torch
Distribution whose event is the whole sample: the last `event` axes of h.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal

from zspace import distributions
from zspace.errors import UserError

SCALE_BOUND = 6.0


def _event(elementwise: Distribution, dims: int) -> Independent:
    return Independent(elementwise, dims, validate_args=False)


class Likelihood(nn.Module, ABC):
    """Decoder output -> p(x|z). params: how many numbers it wants for each element of x."""

    params: int

    @abstractmethod
    def forward(self, h: Tensor, event: int) -> Distribution:
        """h (*batch, params * C, ...) -> a distribution; the last `event` axes are one sample."""


class SquaredError(Likelihood):
    """Sum of squared differences to a sigmoid mean: what the field calls "MSE".

    The Gaussian of variance 1/2 without its constant, hence no normalised likelihood; never set
    its value beside nats of a real one.
    """

    params = 1

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(distributions.QuadraticEnergy(torch.sigmoid(h)), event)


class Bernoulli(Likelihood):
    """Independent Bernoulli elements with sigmoid means; a likelihood for binary x only.

    On grey values in [0, 1] its negative log-probability is the field's "binary cross-entropy",
    which is no normalised likelihood: binarise the data, or use `ContinuousBernoulli`.
    """

    params = 1

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(TorchBernoulli(logits=h, validate_args=False), event)


class ContinuousBernoulli(Likelihood):
    """Continuous Bernoulli elements: a normalised density for grey values in [0, 1].

    Reference: Loaiza-Ganem, Cunningham. The continuous Bernoulli. 2019, arXiv 1907.06845.
    """

    params = 1

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(distributions.ContinuousBernoulli(h), event)


class Gaussian(Likelihood):
    """Gaussian elements with a sigmoid mean and one scale for all of them, learned or fixed.

    A density on continuous x. One learned scale weighs reconstruction against KL by maximum
    likelihood. Reference: Rybkin, Daniilidis, Levine. Simple and effective VAE training with
    calibrated decoders. 2020, arXiv 2006.13202.

    scale: a fixed standard deviation > 0, or None to learn one (started at 0.5; its logarithm is
        bounded smoothly to (-6, 6), so that exp neither overflows nor vanishes).
    """

    params = 1
    log_scale: Tensor

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        if scale is not None and not 0.0025 < scale < 400:
            raise UserError(
                f"the Gaussian scale is {scale}: use a number between 0.0025 and 400, or None to "
                "learn one"
            )
        start = torch.tensor(SCALE_BOUND * math.atanh(math.log(scale or 0.5) / SCALE_BOUND))
        if scale is None:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    @property
    def scale(self) -> Tensor:
        """The standard deviation of every element, a scalar tensor."""
        return torch.exp(SCALE_BOUND * torch.tanh(self.log_scale / SCALE_BOUND))

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(Normal(torch.sigmoid(h), self.scale, validate_args=False), event)

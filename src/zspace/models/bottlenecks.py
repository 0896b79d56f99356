"""Bottlenecks turn what the encoder read, h, into a code z.

A bottleneck says how many numbers it wants from the encoder (`features`). The encoder's last layer
is linear and gives exactly these, so that no code dimension dies behind a ReLU. They lie on the
first axis of h after the batch, which suits flat codes (B, F) and spatial ones (B, F, H, W) alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from zspace.models.flow import Code
from zspace.system.errors import UserError

LOG_VARIANCE_BOUND = 15.0
"""Log-variances lie above -15, standard deviations above 5e-4: dividing by them is safe."""

WIDE = 2.0
"""The encoder's output above which a variance grows linearly; there it is 7 times the prior's.

Posteriors that fit their images are narrower than the prior, so only outliers get there.
"""
SLOPE = 1 - math.tanh(WIDE / LOG_VARIANCE_BOUND) ** 2
"""The slope of the log-variance at WIDE, where both parts meet."""


def _checked(latent: int) -> int:
    if latent < 1:
        raise UserError(
            f"latent is {latent}, but a code needs at least 1 dimension: use latent >= 1"
        )
    return latent


def log_variance(raw: Tensor) -> Tensor:
    r"""``log sigma^2`` from the encoder's output r: ``15 tanh(r / 15)``, about r, up to WIDE.

    Above WIDE the variance continues along its tangent, so that the KL to N(0, I) grows linearly
    in r. With an exponential there, one unusual image for which an optimiser step has moved r to
    18 has a KL of 180,000 nats, and clipping leaves a thousandth of the gradient of its batch.

    Reference: Dehaene, Brossard. Re-parameterizing VAEs for stability. 2021, arXiv 2106.13739.

    >>> log_variance(torch.tensor([-100.0, 0.0, 1.0]))
    tensor([-15.0000,   0.0000,   0.9985])
    """
    bounded = LOG_VARIANCE_BOUND * torch.tanh(raw.clamp(max=WIDE) / LOG_VARIANCE_BOUND)
    return bounded + torch.log1p(SLOPE * torch.relu(raw - WIDE))


class Bottleneck(nn.Module, ABC):
    """Turns features h into a code; the base class of all bottlenecks.

    Attributes:
        features: How many numbers per sample it wants from the encoder.
        latent: Dimensions of a code, or its channels where codes are maps.
        discrete: Whether codes are from a finite set, like those of a vector quantiser.
            One that is says in `snap` which code is nearest.

    >>> class Bounded(Point):
    ...     def mean(self, h: Tensor) -> Tensor:
    ...         return h.tanh()
    ...     def forward(self, h: Tensor, samples: int = 1) -> Code:
    ...         return Code(self.mean(h).expand(samples, *h.shape))
    >>> Bounded(2).mean(torch.tensor([[0.0, 100.0]]))
    tensor([[0., 1.]])
    """

    features: int
    latent: int
    discrete: bool = False

    @abstractmethod
    def forward(self, h: Tensor, samples: int = 1) -> Code:
        """h (B, features, ...) -> a code with `samples` draws."""

    @abstractmethod
    def mean(self, h: Tensor) -> Tensor:
        """h (B, features, ...) -> the mean code (B, *Z), without a draw."""

    def snap(self, z: Tensor) -> Tensor:
        """Any point (B, *Z) -> the code nearest to it: z itself, unless codes are discrete."""
        return z


class Point(Bottleneck):
    """A deterministic code, ``z = h``: that of the plain autoencoder. q is None.

    Arguments:
        latent: Dimensions (or channels) of z.

    Raises UserError where latent is below 1.

    >>> code = Point(2)(torch.tensor([[3.0, 4.0]]), samples=2)
    >>> code.z, code.q
    (tensor([[[3., 4.]],
            [[3., 4.]]]), None)
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.features = self.latent = _checked(latent)

    def forward(self, h: Tensor, samples: int = 1) -> Code:
        """h (B, latent, ...) -> z (samples, B, latent, ...), all draws equal."""
        return Code(h.expand(samples, *h.shape))

    def mean(self, h: Tensor) -> Tensor:
        return h


class Gaussian(Bottleneck):
    r"""A diagonal Gaussian posterior, reparameterised: ``z = mu + sigma * eps``, eps ~ N(0, I).

    The encoder gives mu and a raw log-variance r, from which `log_variance` makes sigma.

    Reference: Kingma, Welling. Auto-encoding variational Bayes. 2013, arXiv 1312.6114.

    Arguments:
        latent: Dimensions (or channels) of z; the encoder gives twice as many numbers.

    Raises UserError where latent is below 1.

    >>> q = Gaussian(2).posterior(torch.tensor([[3.0, 4.0, 0.0, 0.0]]))
    >>> q.mean, q.stddev
    (tensor([[3., 4.]]), tensor([[1., 1.]]))
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = _checked(latent)
        self.features = 2 * latent

    def posterior(self, h: Tensor) -> Independent:
        """h (B, 2 latent, ...) -> q(z|x), batch shape (B,), event shape (latent, ...)."""
        mu, raw = h.chunk(2, dim=1)
        sigma = torch.exp(0.5 * log_variance(raw))
        return Independent(
            Normal(mu, sigma, validate_args=False), mu.dim() - 1, validate_args=False
        )

    def forward(self, h: Tensor, samples: int = 1) -> Code:
        q = self.posterior(h)
        mu, sigma = q.base_dist.loc, q.base_dist.scale
        # Not q.rsample, which torch.func.vmap does not take; the draws are the same.
        noise = torch.randn(samples, *mu.shape, dtype=mu.dtype, device=mu.device)
        return Code(mu + noise * sigma, q)

    def mean(self, h: Tensor) -> Tensor:
        return h.chunk(2, dim=1)[0]

"""What flows between the parts (floor 0).

One forward pass reads a batch ``x`` of B samples and makes K draws of each code:

    x (B, *X)  --encoder-->  h (B, H)  --bottleneck-->  z (K, B, *Z)  --decoder-->  p(x|z)  (K, B)

Everything a pass computed is in a `Pass`; a `Term` reads it and gives a number a sample, in nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.distributions import Distribution


@dataclass(frozen=True)
class Code:
    """What a bottleneck makes of features: draws, their distribution, and side results.

    z: (K, B, *Z), K draws for each of B samples.
    q: q(z|x) with batch shape (B,), or None for a deterministic code.
    aux: further quantities that terms may read, by name (a commitment loss, for example).
    """

    z: Tensor
    q: Distribution | None = None
    aux: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Latent:
    """One level of codes: draws ``z`` (K, B, *Z), ``q`` = q(z|x) or None, prior ``p``."""

    z: Tensor
    q: Distribution | None
    p: Distribution


@dataclass(frozen=True)
class Pass:
    """All that one forward pass computed; terms read it, nothing writes it.

    x: the batch (B, *X). px: p(x|z), batch shape (K, B), event shape X.
    latents: one `Latent` a level, the level next to x first.
    """

    x: Tensor
    px: Distribution
    latents: tuple[Latent, ...]
    aux: Mapping[str, Tensor] = field(default_factory=dict)


Term = Callable[[Pass], dict[str, Tensor]]
"""Unweighted quantities by name, in nats: (B,), one a sample, or a scalar for the batch."""


class Model(nn.Module, ABC):
    """What the loop, the runs and the explorer ask of any model, whatever its graph.

    context: columns of the context c (one-hot labels) that it reads; 0 for none.
    latent: the shape *Z of one code.
    """

    context: int
    latent: tuple[int, ...]

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor | None = None, samples: int = 1) -> Pass:
        """One pass over x (B, *X) with K = samples draws of each code."""

    @abstractmethod
    def encode(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """The code (B, *Z): the mean of q(z|x), never a draw, so that two calls agree."""

    @abstractmethod
    def decode(self, z: Tensor, c: Tensor | None = None) -> Distribution:
        """p(x|z) for codes z (B, *Z) with contexts c (B, context), batch shape (B,)."""

    @abstractmethod
    def sample(self, n: int, c: Tensor | None = None) -> Distribution:
        """p(x|z) at n draws of the prior, with contexts c (n, context), batch shape (n,)."""

"""What flows between the parts of a model.

One forward pass reads a batch ``x`` of B samples and makes K draws of each code:

    x (B, *X)  --encoder-->  h (B, H)  --bottleneck-->  z (K, B, *Z)  --decoder-->  p(x|z)  (K, B)

Everything that a pass computed is in a `Pass`; a `Term` reads it and gives one number per sample,
in nats. The K axis is seen by models and terms only: IWAE sets K, all other recipes have K = 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from zspace.system.device import in_format
from zspace.system.errors import UserError


@dataclass(frozen=True)
class Code:
    """What a bottleneck makes of features: draws, their distribution, and side results.

    Arguments:
        z: (K, B, *Z), K draws for each of B samples.
        q: q(z|x) with batch shape (B,), or None for a deterministic code.
        aux: Further quantities that terms may read, by name; a vector quantiser puts its
            commitment loss here.

    >>> from zspace.models import Gaussian
    >>> code = Gaussian(latent=2)(torch.zeros(3, 4), samples=5)
    >>> code.z.shape, code.q.batch_shape
    (torch.Size([5, 3, 2]), torch.Size([3]))
    """

    z: Tensor
    q: Distribution | None = None
    aux: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Latent:
    """One level of codes with its prior.

    Arguments:
        z: (K, B, *Z), the draws.
        q: q(z|x), batch shape (B,), or (K, B) where it depends on a draw of the level above;
            None for a deterministic code.
        p: The prior, batch shape () or one that broadcasts with that of q.

    >>> from torch.distributions import Independent, Normal, kl_divergence
    >>> standard = Independent(Normal(torch.zeros(3, 2), 1.0), 1)
    >>> level = Latent(standard.sample((5,)), standard, standard)
    >>> kl_divergence(level.q, level.p)
    tensor([0., 0., 0.])
    """

    z: Tensor
    q: Distribution | None
    p: Distribution


@dataclass(frozen=True)
class Pass:
    """All that one forward pass computed; terms read it, nothing writes it.

    Arguments:
        x: The batch (B, *X).
        px: p(x|z), batch shape (K, B), event shape X.
        latents: One `Latent` per level; the level next to x is the first.
        aux: What the bottleneck gave besides the code, by name.
        output: (K, B, *outputs), what the decoder gave; None where p(x|z) is not made from it
            alone.
        likelihood: Makes p(x|z) of such an output.
        dtype: The number format of products that autocast chose where the pass was made; None
            without autocast. Terms are computed outside of it, in float32; one that calls a
            network does so within `autocast`.

    >>> from torch.distributions import Bernoulli, Independent
    >>> px = Independent(Bernoulli(torch.full((1, 3, 4), 0.5)), 1)
    >>> p = Pass(torch.ones(3, 4), px, ())
    >>> p.px.log_prob(p.x).exp()
    tensor([[0.0625, 0.0625, 0.0625]])
    """

    x: Tensor
    px: Distribution
    latents: tuple[Latent, ...]
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    output: Tensor | None = None
    likelihood: Callable[[Tensor], Distribution] | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        kind = self.x.device.type
        if kind != "meta" and torch.is_autocast_enabled(kind):
            object.__setattr__(self, "dtype", torch.get_autocast_dtype(kind))

    def autocast(self) -> AbstractContextManager[None]:
        """Within, products are in the number format in which the model's networks had them.

        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     p = Pass(torch.ones(2, 2), None, ())
        >>> with p.autocast():
        ...     (p.x @ p.x).dtype
        torch.bfloat16
        """
        return in_format(self.x.device, self.dtype)

    def parted(self) -> Pass:
        """This pass with the decoder's output as a leaf: gradients of p(x|z) end there.

        Those of codes and their distributions go on. Raises UserError for a pass without an
        output.

        >>> from torch.distributions import Bernoulli, Independent
        >>> def px(output: Tensor) -> Distribution:
        ...     return Independent(Bernoulli(logits=output), 1)
        >>> at = torch.zeros(1, 3, 4, requires_grad=True)
        >>> p = Pass(torch.ones(3, 4), px(at), (), output=at, likelihood=px).parted()
        >>> p.px.log_prob(p.x).sum().backward()
        >>> at.grad is None, p.output.grad[0, 0]
        (True, tensor([0.5000, 0.5000, 0.5000, 0.5000]))
        """
        if self.output is None or self.likelihood is None:
            raise UserError(
                "an adaptive weight is found from gradients at the decoder's output, but this "
                "model's pass has none: give its Pass output and likelihood, or the term a weight "
                "that is not adaptive"
            )
        leaf = self.output.detach().requires_grad_()
        return replace(self, px=self.likelihood(leaf), output=leaf)


Term = Callable[[Pass], dict[str, Tensor]]
"""Unweighted quantities by name, in nats: (B,), one per sample, or a scalar for the batch."""


class Model(nn.Module, ABC):
    """What training, runs and the explorer ask of any model, whatever its graph.

    Attributes:
        context: Columns of the context c (one-hot labels or attributes) that it reads; 0 for none.
        latent: The shape *Z of one code.
        unlabelled: Whether it has a rule for samples without a label, whose c is a row of NaN, as
            semi-supervised models have. Others that read c are not trained on such samples.

    >>> from zspace.models import vae
    >>> model = vae(zspace.Spec((1, 8, 8)), latent=2, hidden=(16,)).model
    >>> z = model.encode(torch.rand(3, 1, 8, 8))
    >>> z.shape, model.decode(z).mean.shape
    (torch.Size([3, 2]), torch.Size([3, 1, 8, 8]))
    """

    context: int
    latent: tuple[int, ...]
    unlabelled: bool = False

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
    def draw(self, n: int, c: Tensor | None = None) -> Tensor:
        """n codes (n, *Z) of the prior, with contexts c (n, context)."""

    def sample(self, n: int, c: Tensor | None = None) -> Distribution:
        """p(x|z) at n draws of the prior, with contexts c (n, context), batch shape (n,)."""
        return self.decode(self.draw(n, c), c)

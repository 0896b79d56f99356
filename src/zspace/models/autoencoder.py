"""The autoencoder: encoder, bottleneck, decoder, likelihood and prior put together.

    x (B, *X) -> encoder(x, c) -> h -> bottleneck(h, K) -> z (K, B, *Z) -> decoder(z, c) -> p(x|z)

Other graphs, such as ladders, are subclasses of `Model` of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from zspace.models.bottlenecks import Bottleneck
from zspace.models.distributions import Observed
from zspace.models.flow import Latent, Model, Pass
from zspace.models.likelihoods import Likelihood
from zspace.system.device import in_float32
from zspace.system.errors import UserError


class Autoencoder(Model):
    """One level of codes between an encoder and a decoder.

    `assemble` builds one from names; this class takes the parts themselves. Under
    autocast the encoder and the decoder compute in its number format; bottleneck, likelihood and
    prior are in float32.

    Elements of x that are missing are NaN. A model that may read such x gives the encoder x with
    0 in their places, followed along one axis by 1 where x is seen and 0 where it is not; p(x|z)
    leaves them out (`zspace.models.distributions.Observed`).

    A decoder with a method `distribution` makes p(x|z) of its output itself: one that gives a
    sequence token by token.

    Arguments:
        encoder: (x (B, *X), c) -> h (B, bottleneck.features, ...).
        bottleneck: (h, K) -> `Code`.
        decoder: (z (N, *Z), c) -> (N, *outputs), the shape ``likelihood.outputs(X)``.
        likelihood: (decoder output, axes of one sample) -> Distribution.
        prior: (c) -> Distribution over codes.
        latent: The shape *Z of one code.
        context: Columns of c that the networks read; 0 for none.
        missing: Whether elements of x may be missing; the encoder then reads twice as many numbers
            along the axis `features`.
        features: The axis of x (B, *X) of what is known of one place: see `Spec.features`.

    Its methods raise UserError where c is missing or has another number of columns.

    >>> from zspace.models import MLP, Bernoulli, Gaussian, StandardNormal
    >>> model = Autoencoder(
    ...     encoder=MLP((1, 8, 8), (4,), hidden=(16,)),
    ...     bottleneck=Gaussian(2),
    ...     decoder=MLP((2,), (1, 8, 8), hidden=(16,)),
    ...     likelihood=Bernoulli(),
    ...     prior=StandardNormal(2),
    ...     latent=(2,),
    ... )
    >>> model(torch.rand(3, 1, 8, 8), samples=5).px.batch_shape
    torch.Size([5, 3])
    >>> model.sample(7).mean.shape
    torch.Size([7, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        bottleneck: Bottleneck,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: nn.Module,
        latent: tuple[int, ...],
        context: int = 0,
        missing: bool = False,
        features: int = 1,
    ) -> None:
        super().__init__()
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.likelihood, self.prior = likelihood, prior
        self.latent, self.context, self.missing = latent, context, missing
        self.features = features

    def forward(self, x: Tensor, c: Tensor | None = None, samples: int = 1) -> Pass:
        """One pass with K = samples draws of each code; the context c is (B, context)."""
        h = self._read(x, c)
        with in_float32(x.device):
            code = self.bottleneck(h, samples)
            level = Latent(code.z, code.q, self.prior(c))
        output = self._write(code.z, c, lead=2)
        px = partial(self._distribution, lead=2)
        return Pass(x, px(output), (level,), code.aux, output, px)

    def encode(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """The code (B, *Z): the mean of q(z|x), never a draw."""
        h = self._read(x, c)
        with in_float32(x.device):
            return self.bottleneck.mean(h)

    def posterior(self, x: Tensor, c: Tensor | None = None) -> Distribution | None:
        """q(z|x), batch shape (B,); None where the code is deterministic."""
        h = self._read(x, c)
        with in_float32(x.device):
            return self.bottleneck(h, 1).q

    def decode(self, z: Tensor, c: Tensor | None = None) -> Distribution:
        """p(x|z) for codes z (B, *Z) with contexts (B, context), batch shape (B,).

        Where codes are discrete, the nearest one is decoded in place of z.
        """
        with in_float32(z.device):
            z = self.bottleneck.snap(z)
        return self._distribution(self._write(z, c))

    def draw(self, n: int, c: Tensor | None = None) -> Tensor:
        """n codes (n, *Z) of the prior, with contexts c (n, context)."""
        p = self.prior(c)
        return p.sample() if p.batch_shape else p.sample((n,))

    def _read(self, x: Tensor, c: Tensor | None) -> Tensor:
        self._check(c)
        if self.missing:
            unseen = x.isnan()
            filled = x.float().masked_fill(unseen, 0.0)
            x = torch.cat([filled, (~unseen).float()], self.features)
        return self.encoder(x, c).float()  # the statistics of codes are kept in fp32

    def _write(self, z: Tensor, c: Tensor | None, lead: int = 1) -> Tensor:
        """The decoder's output with `lead` batch axes, which become the rows of one call."""
        self._check(c)
        batch = z.shape[:lead]
        if c is not None:
            c = c.expand(*batch, -1).flatten(0, lead - 1)
        return self.decoder(z.flatten(0, lead - 1), c).float().unflatten(0, batch)

    def _distribution(self, output: Tensor, lead: int = 1) -> Distribution:
        """p(x|z) with `lead` batch axes."""
        own: Callable[[Tensor], Distribution] | None = getattr(self.decoder, "distribution", None)
        if own is not None:
            return own(output)
        with in_float32(output.device):
            px = self.likelihood(output, output.dim() - lead)
        return Observed(px) if self.missing else px

    def _check(self, c: Tensor | None) -> None:
        if self.context and (c is None or c.shape[-1] != self.context):
            got = "none" if c is None else f"{c.shape[-1]} columns"
            raise UserError(
                f"this model reads {self.context} columns of context (one-hot labels or "
                f"attributes), but it received {got}: give a label for each sample"
            )

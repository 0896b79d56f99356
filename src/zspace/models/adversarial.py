"""A discriminator that tells real patches from generated ones, and the losses of both players."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from zspace.data.spec import Fact
from zspace.models.flow import Pass
from zspace.system.errors import UserError, unknown


class PatchDiscriminator(nn.Module):
    """PatchGAN: strided convolutions to a map of logits, each of which sees one patch.

    GroupNorm stands where the original has batch norm, so that a logit depends on its own image
    alone. Reference: Isola, Zhu, Zhou, Efros. Image-to-image translation with conditional
    adversarial networks. 2016, arXiv 1611.07004.

    shape: (C, H, W) of an image. channels: of the first layer; each further one has twice as
    many, at most 8 times. layers: with stride 2; by default 2, and 3 from 64 pixels on. A patch is
    34 pixels wide with 2 layers, 70 with 3.
    Raises UserError for images smaller than 3 pixels after the strides (12 and 24 pixels).
    """

    def __init__(
        self, shape: Sequence[int], channels: int = 32, layers: int | None = None
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise UserError(f"a discriminator sees images (C, H, W), not samples of shape {shape}")
        small = min(shape[1:])
        layers = layers or (2 if small < 64 else 3)
        if small < 3 * 2**layers:
            raise UserError(
                f"an image of {shape[1]} x {shape[2]} is too small for a discriminator of "
                f"{layers} layers, which needs {3 * 2**layers} x {3 * 2**layers}: use larger "
                "images, or a recipe without one (vae)"
            )
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(shape[0], widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(layers):
            stride = 2 if i + 1 < layers else 1
            body += [
                nn.Conv2d(widths[i], widths[i + 1], 4, stride, 1, bias=False),
                nn.GroupNorm(math.gcd(8, widths[i + 1]), widths[i + 1]),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) in [0, 1] -> logits (N, 1, h, w), high for real images."""
        return self.body(2 * x - 1)


class GeneratorLoss:
    """How well reconstructions pass for real: what the model minimises against a discriminator.

    A mean over the discriminator's patches; its parameters are read and get no gradient.

    Arguments:
        discriminator: Images (N, C, H, W) -> logits, high for real ones.
        loss: A key of `ADVERSARIAL`.
    """

    gives: ClassVar = {"generator_loss": Fact("adversarial loss", better="neither")}

    def __init__(self, discriminator: nn.Module, loss: str = "hinge") -> None:
        self.discriminator, self.loss = discriminator, _adversarial(loss)[1]

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        fixed = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fake = p.px.mean
        logits = functional_call(self.discriminator, fixed, (fake.flatten(0, 1),))
        loss = self.loss(logits.float()).flatten(1).mean(1)
        return {"generator_loss": loss.unflatten(0, fake.shape[:2]).mean(0)}


class DiscriminatorLoss:
    """How well real images are told from reconstructions: what the discriminator minimises.

    The reconstructions are detached: the model gets no gradient from here.

    Arguments:
        discriminator: Images (N, C, H, W) -> logits, high for real ones.
        loss: A key of `ADVERSARIAL`.
    """

    gives: ClassVar = {"discriminator_loss": Fact("loss of the discriminator", better="neither")}

    def __init__(self, discriminator: nn.Module, loss: str = "hinge") -> None:
        self.discriminator, self.loss = discriminator, _adversarial(loss)[0]

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        fake = p.px.mean.detach()
        logits = self.discriminator(torch.cat([p.x, fake.flatten(0, 1)])).float().flatten(1)
        real, made = logits.split([len(p.x), len(logits) - len(p.x)])
        real = real.expand(fake.shape[0], *real.shape).flatten(0, 1)
        loss = self.loss(real, made).mean(1)
        return {"discriminator_loss": loss.unflatten(0, fake.shape[:2]).mean(0)}


def _adversarial(loss: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    if loss not in ADVERSARIAL:
        raise unknown("adversarial loss", loss, ADVERSARIAL)
    return ADVERSARIAL[loss]


ADVERSARIAL: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "hinge": (
        lambda real, fake: 0.5 * (F.relu(1 - real) + F.relu(1 + fake)),
        lambda fake: -fake,
    ),
    "least-squares": (
        lambda real, fake: 0.5 * ((real - 1).square() + fake.square()),
        lambda fake: (fake - 1).square(),
    ),
}
"""Losses of the critic (of logits of real and made images) and of the model (of those it made).

References: Lim, Ye. Geometric GAN. 2017, arXiv 1705.02894 (hinge); Mao et al. Least squares
generative adversarial networks. 2016, arXiv 1611.04076.
"""

"""A discriminator that tells real patches from generated ones, and the losses of both players."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from zspace.data.spec import Fact
from zspace.models.distributions import refuse_missing
from zspace.models.flow import Pass
from zspace.system.errors import UserError, unknown


class PatchDiscriminator(nn.Module):
    """PatchGAN: strided convolutions to a map of logits, each of which sees one patch.

    GroupNorm stands where the original has batch norm, so that a logit depends on its own image
    alone.

    Reference: Isola, Zhu, Zhou, Efros. Image-to-image translation with conditional adversarial
    networks. 2016, arXiv 1611.07004.

    Arguments:
        shape: (C, H, W) of an image.
        channels: Of the first layer; each further layer doubles them, up to 8 times as many.
        layers: How many have stride 2; by default 2, and 3 from 64 pixels on. A patch is 34
            pixels wide with 2 layers, 70 with 3.

    Raises UserError for samples that are not images, and for images with a side below 12 pixels
    (2 layers) or 24 pixels (3).

    >>> PatchDiscriminator((1, 28, 28))(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 1, 5, 5])
    """

    def __init__(
        self, shape: Sequence[int], channels: int = 32, layers: int | None = None
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise UserError(
                f"a discriminator reads images (C, H, W), but a sample has shape {tuple(shape)}: "
                "use a recipe without one (vae)"
            )
        small = min(shape[1:])
        layers = layers or (2 if small < 64 else 3)
        if small < 3 * 2**layers:
            raise UserError(
                f"an image of {shape[1]} x {shape[2]} is too small for a discriminator of "
                f"{layers} layers, which needs {3 * 2**layers} x {3 * 2**layers}: use larger "
                "images, or a recipe without one (vae)"
            )
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        bent = nn.LeakyReLU(0.2, inplace=True)
        body: list[nn.Module] = [nn.Conv2d(shape[0], widths[0], 4, 2, 1), bent]
        for i in range(layers):
            stride = 2 if i + 1 < layers else 1
            body += [
                nn.Conv2d(widths[i], widths[i + 1], 4, stride, 1, bias=False),
                nn.GroupNorm(math.gcd(8, widths[i + 1]), widths[i + 1]),
                bent,
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) in [0, 1] -> logits (N, 1, h, w), high for real images."""
        return self.body(2 * x - 1)


class _Adversarial:
    """What both losses know: the discriminator, and the losses of both on its logits."""

    def __init__(self, discriminator: nn.Module, loss: str = "hinge") -> None:
        if loss not in ADVERSARIAL:
            raise unknown("adversarial loss", loss, ADVERSARIAL)
        self.discriminator = discriminator
        self.of_discriminator, self.of_generator = ADVERSARIAL[loss]


class GeneratorLoss(_Adversarial):
    """How well reconstructions pass for real: what the model minimises against a discriminator.

    (B,), a mean over patches and draws, of ``-l`` (hinge) or ``(l - 1)^2`` (least squares) of the
    logits l of reconstructions. The discriminator's parameters are read and get no gradient.

    Arguments:
        discriminator: Images (N, C, H, W) -> logits, high for real ones.
        loss: A key of `ADVERSARIAL`; hinge, the usual one for PatchGAN, by default.

    Raises UserError for an unknown loss.

    >>> from torch.distributions import Normal
    >>> p = Pass(torch.rand(2, 1, 4, 4), Normal(torch.rand(1, 2, 1, 4, 4), 1.0), ())
    >>> GeneratorLoss(nn.Threshold(1, 3))(p)  # every logit is 3
    {'generator_loss': tensor([-3., -3.])}
    """

    gives: ClassVar = {"generator_loss": Fact("adversarial loss", better="neither")}

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        fixed = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fake = p.px.mean
        with p.autocast():
            logits = functional_call(self.discriminator, fixed, (fake.flatten(0, 1),))
        loss = self.of_generator(logits.float()).flatten(1).mean(1)
        return {"generator_loss": loss.unflatten(0, fake.shape[:2]).mean(0)}


class DiscriminatorLoss(_Adversarial):
    """How well real images are told from reconstructions: what the discriminator minimises.

    (B,), a mean over patches and draws, of the logits r of images and l of reconstructions:
    ``(max(0, 1 - r) + max(0, 1 + l)) / 2`` (hinge) or ``((r - 1)^2 + l^2) / 2`` (least squares).
    The reconstructions are detached: the model gets no gradient from here.

    Arguments:
        discriminator: Images (N, C, H, W) -> logits, high for real ones.
        loss: A key of `ADVERSARIAL`; that of the `GeneratorLoss` beside it.

    Raises UserError for an unknown loss.

    >>> from torch.distributions import Normal
    >>> p = Pass(torch.rand(2, 1, 4, 4), Normal(torch.rand(1, 2, 1, 4, 4), 1.0), ())
    >>> DiscriminatorLoss(nn.Threshold(1, 3))(p)  # every logit is 3: (0 + 4) / 2
    {'discriminator_loss': tensor([2., 2.])}
    """

    gives: ClassVar = {"discriminator_loss": Fact("loss of the discriminator", better="neither")}

    def __call__(self, p: Pass) -> dict[str, Tensor]:
        refuse_missing(p.px, "a discriminator")
        fake = p.px.mean.detach()
        with p.autocast():  # two passes are cheaper than one of both: more stays in the caches
            logits = [self.discriminator(images) for images in (p.x, fake.flatten(0, 1))]
        real, made = (of.float().flatten(1) for of in logits)
        real = real.expand(fake.shape[0], *real.shape).flatten(0, 1)
        loss = self.of_discriminator(real, made).mean(1)
        return {"discriminator_loss": loss.unflatten(0, fake.shape[:2]).mean(0)}


ADVERSARIAL: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "hinge": (lambda real, fake: 0.5 * (F.relu(1 - real) + F.relu(1 + fake)), lambda fake: -fake),
    "least-squares": (
        lambda real, fake: 0.5 * ((real - 1).square() + fake.square()),
        lambda fake: (fake - 1).square(),
    ),
}
"""The loss of the discriminator (logits of real and of made images), and of the model (of made).

References: Lim, Ye. Geometric GAN. 2017, arXiv 1705.02894 (hinge); Mao et al. Least squares
generative adversarial networks. 2016, arXiv 1611.04076.
"""

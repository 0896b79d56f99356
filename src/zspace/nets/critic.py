"""A critic that judges patches: real or made?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from zspace.errors import UserError


class PatchCritic(nn.Module):
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
            raise UserError(f"a critic sees images (C, H, W), but a sample has shape {shape}")
        small = min(shape[1:])
        layers = layers or (2 if small < 64 else 3)
        if small < 3 * 2**layers:
            raise UserError(
                f"an image of {shape[1]} x {shape[2]} is too small for a critic of {layers} "
                f"layers, which needs {3 * 2**layers} x {3 * 2**layers}: use larger images, or a "
                "recipe without a critic (vae)"
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

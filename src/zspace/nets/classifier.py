"""A small convolutional classifier, whose features say what images have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zspace.errors import UserError

SMALLEST = 8
FIRST, GREY, COLOUR = 16, 64, 128
"""Widths of the first stage and of the last, for one channel and for more of them."""


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class Classifier(nn.Module):
    """Images (B, C, H, W) -> logits (B, classes).

    Stages of 3 x 3 convolutions, BatchNorm and ReLU, with a maximum over 2 x 2 pixels between,
    halve the image until its shorter side is 4 to 11 pixels. Widths double up to 64 for grey
    images and 128 for colour. The mean over the last map is `embed`; a linear layer reads it.

    shape: (C, H, W) of one image, H and W at least 8. classes: how many there are.

    Raises UserError for samples that are no images, and for smaller ones.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < SMALLEST:
            raise UserError(
                f"a judge looks at images (C, H, W) of at least {SMALLEST} x {SMALLEST} pixels, "
                f"but these samples are {tuple(shape)}: use larger images, or no judge"
            )
        stages = max(2, round(math.log2(min(shape[1:]) / 4)))
        self.width = GREY if shape[0] == 1 else COLOUR
        self.widths = [max(FIRST, self.width >> i) for i in reversed(range(stages))]
        ins = [shape[0], *self.widths]
        self.stages = nn.ModuleList(
            nn.Sequential(*_layer(a, b), *(_layer(b, b) if i else []))
            for i, (a, b) in enumerate(zip(ins, self.widths, strict=False))
        )
        self.head = nn.Linear(self.width, classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The output (B, width, H', W') of every stage, before it is halved."""
        found: list[Tensor] = []
        x = x.contiguous(memory_format=torch.channels_last)  # a CPU convolves it faster
        for stage in self.stages:
            found.append(stage(F.max_pool2d(found[-1], 2) if found else x))
        return found

    def embed(self, x: Tensor) -> Tensor:
        """What the last layer reads, (B, width)."""
        return self.maps(x)[-1].mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.head(self.embed(x))

    def fuse(self) -> Classifier:
        """This network for use, frozen: every BatchNorm becomes part of its convolution."""
        self.eval()
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            for i in range(0, len(stage), 3):
                convolution, norm = stage[i], stage[i + 1]
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                stage[i] = fuse_conv_bn_eval(convolution, norm)
                stage[i + 1] = nn.Identity()
        return self.requires_grad_(False)

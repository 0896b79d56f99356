"""Residual networks at the image's full resolution, halved by the maximum over 2 x 2 pixels.

What `--net conv --stem full` takes. They cost ten times as much as `conv.ConvEncoder` and
`conv.ConvDecoder`, and are behind them after equal seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks.conv import (
    UPSAMPLINGS,
    Block,
    Shift,
    Size,
    Unit,
    channels_last,
    from_code,
    resolutions,
    stages,
    started,
    to_features,
)


class Residual(Block):
    """``x + f(x)``: twice SiLU and a 3 x 3 convolution; f starts at 0, so no norm is needed.

    Not ReLU: without a norm, whole layers of it died within an epoch at the default rate.

    References: He, Zhang, Ren, Sun. Identity mappings in deep residual networks. 2016, arXiv
    1603.05027; Zhang, Dauphin, Ma. Fixup initialization. 2019, arXiv 1901.09321.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(F.silu(self.first(F.silu(x)), inplace=True))


class Halved(nn.Sequential):
    """The maximum over 2 x 2 pixels, then a 1 x 1 convolution; size is that of the output."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__(nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1))


class ResidualEncoder(nn.Module):
    """Residual blocks and max pooling.

    Arguments:
        shape: (C, H, W) of an image.
        features: Of the output.
        channels: A width for each resolution.
        blocks: Residual blocks at each resolution.
        spatial: Whether the output is a map (B, features, h, w) at the last resolution.
        context: Columns of c; 0 for none.

    >>> import torch
    >>> ResidualEncoder((1, 28, 28), 4, channels=(8, 16))(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        *,
        channels: Sequence[int],
        blocks: int = 1,
        spatial: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes = resolutions(shape, len(channels), "full")
        self.stem = nn.Conv2d(shape[0], channels[0], 3, padding=1)
        self.shift = Shift(context, channels[0])
        body = stages(Residual, blocks, Halved, channels, sizes)
        self.body = nn.Sequential(*body, Unit(), nn.SiLU(inplace=True))
        self.head = to_features(channels[-1], features, sizes[-1], spatial=spatial)
        started(self)
        channels_last(self)  # pooling in bf16 is 5 times faster so

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), c (B, context) or None -> (B, features) or (B, features, h, w)."""
        return self.head(self.body(self.shift(self.stem(x), c)))


class ResidualDecoder(nn.Module):
    """Residual blocks and upsampling, the encoder's mirror image.

    Arguments:
        latent: Dimensions (or channels) of a code.
        shape: (C, H, W) of the output.
        up: A key of `conv.UPSAMPLINGS`.
        channels, blocks, spatial, context: As for `ResidualEncoder`.

    >>> import torch
    >>> ResidualDecoder(4, (1, 28, 28), channels=(8, 16))(torch.rand(5, 4)).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        *,
        channels: Sequence[int],
        blocks: int = 1,
        up: str = "nearest",
        spatial: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes, widths = resolutions(shape, len(channels), "full"), channels[::-1]
        self.stem = from_code(latent, widths[0], sizes[-1], spatial=spatial)
        self.shift = Shift(context, widths[0])
        body = stages(Residual, blocks, UPSAMPLINGS[up], widths, sizes[::-1])
        last = nn.Conv2d(widths[-1], shape[0], 3, padding=1)
        self.body = nn.Sequential(*body, Unit(), nn.SiLU(inplace=True), last)
        started(self)
        channels_last(self)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z (B, latent) or (B, latent, h, w), c (B, context) or None -> (B, *shape)."""
        return self.body(self.shift(self.stem(z), c))

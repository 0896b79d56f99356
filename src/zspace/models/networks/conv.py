"""Residual convolutional networks for images of any size, and what they share with others.

Resolutions are halves, rounded up: 28 x 28, 14 x 14, 7 x 7. A decoder goes back through the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks.mlp import glorot
from zspace.system.errors import UserError

Size = tuple[int, int]
M = TypeVar("M", bound=nn.Module)


def resolutions(shape: Sequence[int], levels: int) -> list[Size]:
    """The height and width at each level, the image's own first.

    Raises UserError for samples that are not images (C, H, W), and for images too small to be
    halved that often.

    >>> resolutions((1, 28, 28), 3)
    [(28, 28), (14, 14), (7, 7)]
    """
    if levels < 1:
        raise UserError("channels is empty: give a width for each resolution, 32 64 128 for three")
    if len(shape) != 3:
        raise UserError(
            f"convolutions read images (C, H, W), but a sample has shape {tuple(shape)}: use "
            "--net mlp"
        )
    _, height, width = shape
    if min(height, width) < 2**levels:
        raise UserError(
            f"an image of {height} x {width} is too small for {levels} resolutions, which need "
            f"at least {2**levels} x {2**levels}: give fewer --channels"
        )
    return [(-(-height // 2**i), -(-width // 2**i)) for i in range(levels)]


class Branch(nn.Module):
    """A residual branch ``x + last(...)``, which begins at 0."""

    last: nn.Conv2d | nn.Linear

    def start(self) -> None:
        """Make the last layer's weights 0."""
        nn.init.zeros_(self.last.weight)


def started(net: nn.Module) -> None:
    """Set the initial weights of a network of convolutions."""
    net.apply(glorot)
    for module in net.modules():
        if isinstance(module, Branch):
            module.start()


class Residual(Branch):
    """``x + f(x)``: twice SiLU and a 3 x 3 convolution; f starts at 0, so no norm is needed.

    Not ReLU: without a norm, whole layers of it died within an epoch at the default rate.

    References: He, Zhang, Ren, Sun. Identity mappings in deep residual networks. 2016, arXiv
    1603.05027; Zhang, Dauphin, Ma. Fixup initialization. 2019, arXiv 1901.09321.

    Arguments:
        channels: Of x (B, channels, H, W), which it keeps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(F.silu(self.first(F.silu(x)), inplace=True))


class Unit(nn.Module):
    """Divides each sample of x (B, C, H, W) by the root of its mean square.

    Without it the first steps, which all make images darker, drive a decoder into black images
    for good: the sigmoid's gradient vanishes there.

    Reference: Zhang, Sennrich. Root mean square layer normalization. 2019, arXiv 1910.07467.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * x.float().square().mean((1, 2, 3), keepdim=True).add(1e-6).rsqrt().to(x.dtype)


class Nearest(nn.Module):
    """Upsampling by repeating pixels, then a 3 x 3 convolution, which leaves no checkerboard.

    Reference: Odena, Dumoulin, Olah. Deconvolution and checkerboard artifacts. Distill 2016, doi
    10.23915/distill.00003.
    """

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, self.size))


class Transposed(nn.ConvTranspose2d):
    """Upsampling by a 3 x 3 transposed convolution with stride 2, all of it learned."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        odd = (1 - size[0] % 2, 1 - size[1] % 2)
        super().__init__(inputs, outputs, 3, 2, padding=1, output_padding=odd)


class Halved(nn.Sequential):
    """The maximum over 2 x 2 pixels, then a 1 x 1 convolution; size is that of the output."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__(nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1))


UPSAMPLINGS = {"nearest": Nearest, "transposed": Transposed}


def stages(
    block: Callable[[int], nn.Module],
    blocks: int,
    change: Callable[[int, int, Size], nn.Module],
    widths: Sequence[int],
    sizes: Sequence[Size],
) -> list[nn.Module]:
    """Blocks at each width and size, with a change of resolution between two of them."""
    made = [block(widths[0]) for _ in range(blocks)]
    for (before, width), size in zip(pairwise(widths), sizes[1:], strict=True):
        made += [change(before, width, size), *(block(width) for _ in range(blocks))]
    return made


def to_features(channels: int, features: int, size: Size, *, spatial: bool) -> nn.Module:
    """The encoder's last, linear layer: (B, channels, *size) -> (B, features[, *size])."""
    if spatial:
        return nn.Conv2d(channels, features, 1)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * prod(size), features))


def from_code(latent: int, channels: int, size: Size, *, spatial: bool) -> nn.Module:
    """The decoder's first layer: (B, latent[, *size]) -> (B, channels, *size)."""
    if spatial:
        return nn.Conv2d(latent, channels, 3, padding=1)
    shape = (channels, *size)
    return nn.Sequential(nn.Linear(latent, prod(shape)), nn.Unflatten(1, shape))


class Shift(nn.Module):
    """Adds a learned vector of c to every position: the same as c joined to x as flat planes."""

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, channels, bias=False) if context else None

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        if self.linear is None or c is None:
            return x
        return x + self.linear(c)[:, :, None, None]


class ConvEncoder(nn.Module):
    """Residual blocks and max pooling.

    Arguments:
        shape: (C, H, W) of an image.
        features: Of the output.
        channels: A width for each resolution.
        blocks: Residual blocks at each resolution.
        spatial: Whether the output is a map (B, features, h, w) at the last resolution.
        context: Columns of c; 0 for none.

    >>> ConvEncoder((1, 28, 28), 4, channels=(8, 16))(torch.rand(5, 1, 28, 28)).shape
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
        sizes = resolutions(shape, len(channels))
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


class ConvDecoder(nn.Module):
    """Residual blocks and upsampling, the encoder's mirror image.

    Arguments:
        latent: Dimensions (or channels) of a code.
        shape: (C, H, W) of the output.
        up: A key of `UPSAMPLINGS`.
        channels, blocks, spatial, context: As for `ConvEncoder`.

    >>> ConvDecoder(4, (1, 28, 28), channels=(8, 16))(torch.rand(5, 4)).shape
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
        sizes, widths = resolutions(shape, len(channels)), channels[::-1]
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


def channels_last(module: M) -> M:
    """The module with its convolutions' weights in that layout, which their outputs then have."""
    options: Any = {"memory_format": torch.channels_last}  # torch's overloads forget it
    return module.to(**options)


def on_device(module: M, device: torch.device) -> M:
    """The module on the device, with the memory layout that is faster there.

    CUDA's tensor cores want channels last; on CPU that makes GroupNorm in bf16 ten times slower,
    so there the networks that have none choose it themselves.
    """
    module.to(device)
    return channels_last(module) if device.type == "cuda" else module

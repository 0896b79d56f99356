"""Convolutional networks for images of any size, and what they share with others.

The first layer takes an image to half its resolution: at the full one a convolution costs four
times as much, and sees neighbours that are nearly equal. Resolutions are halves, rounded up: of
28 x 28 they are 14 x 14 and 7 x 7. A decoder goes back through the same.
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


def resolutions(shape: Sequence[int], levels: int, stem: str = "strided") -> list[Size]:
    """The height and width at each level: the first is half the image's, or with the stem "full"
    its own.

    Raises UserError for samples that are not images (C, H, W), and for images too small to be
    halved that often.

    >>> resolutions((1, 28, 28), 2), resolutions((1, 28, 28), 2, "full")
    ([(14, 14), (7, 7)], [(28, 28), (14, 14)])
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
    halvings = range(levels) if stem == "full" else range(1, levels + 1)
    return [(-(-height // 2**i), -(-width // 2**i)) for i in halvings]


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
        if isinstance(module, Branch | Shuffle | Transposed):
            module.start()


class Unit(nn.Module):
    """Divides each sample of x (B, C, H, W) by the root of its mean square.

    Without it the first steps, which all make images darker, drive a decoder into black images
    for good: the sigmoid's gradient vanishes there.

    Reference: Zhang, Sennrich. Root mean square layer normalization. 2019, arXiv 1910.07467.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * x.float().square().mean((1, 2, 3), keepdim=True).add(1e-6).rsqrt().to(x.dtype)


class Down(nn.Conv2d):
    """A 4 x 4 convolution with stride 2: (B, inputs, H, W) -> (B, outputs, H / 2, W / 2).

    Every pixel is in as many windows as any other. Odd sides are rounded up.
    """

    def __init__(self, inputs: int, outputs: int, size: Size | None = None) -> None:
        super().__init__(inputs, outputs, 4, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)))


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


class Transposed(nn.Module):
    """Upsampling by a 4 x 4 transposed convolution with stride 2, all of it learned.

    The stride divides the kernel, so that windows overlap evenly. The four pixels that come of the
    same 2 x 2 positions begin equal, as those of `Shuffle` do: a flat region begins flat.
    """

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1)

    def start(self) -> None:
        """Make the taps equal of which each pixel of a 2 x 2 group reads one."""
        with torch.no_grad():
            one = self.conv.weight[:, :, ::2, ::2]
            self.conv.weight.copy_(one.repeat_interleave(2, 2).repeat_interleave(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : self.size[0], : self.size[1]]


class Shuffle(nn.Module):
    """Upsampling by a convolution that makes the four pixels of each position as channels.

    Every pixel is made once, so that nothing overlaps. The four begin equal, as repeated pixels
    would be, which leaves no checkerboard. On CPUs it is the cheapest: convolutions at the lower
    resolution are fast there, transposed ones in float32 are not.

    References: Shi et al. Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network. 2016, arXiv 1609.05158; Aitken et al. Checkerboard
    artifact free sub-pixel convolution. 2017, arXiv 1707.02937.

    Arguments:
        inputs, outputs: Channels.
        size: Of the output; one less than twice the input's where that was rounded up.
        kernel: 1, which is a 2 x 2 transposed convolution; 3 sees the neighbours, too.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, kernel: int = 1) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(inputs, 4 * outputs, kernel, padding=kernel // 2)

    def start(self) -> None:
        """Make the weights of the four pixels equal."""
        with torch.no_grad():
            self.conv.weight.copy_(self.conv.weight[::4].repeat_interleave(4, 0))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)[..., : self.size[0], : self.size[1]]


UPSAMPLINGS = {"shuffle": Shuffle, "transposed": Transposed, "nearest": Nearest}


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


class Block(Branch):
    """``x + f(x)``: twice GELU and a 3 x 3 convolution; f starts at 0.

    Arguments:
        channels: Of x (B, channels, H, W), which it keeps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(F.gelu(self.first(F.gelu(x))))


class ConvEncoder(nn.Module):
    """Strided convolutions, residual blocks where positions are few, and a dense layer.

    Arguments:
        shape: (C, H, W) of an image.
        features: Of the output.
        channels: A width for each halving of the resolution.
        blocks: Residual blocks at the last resolution.
        hidden: Widths of the dense layers before the output, which a map has not.
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
        hidden: Sequence[int] = (512,),
        spatial: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        size = resolutions(shape, len(channels))[-1]
        last = channels[-1]
        self.stem = Down(shape[0], channels[0])
        self.shift = Shift(context, channels[0])
        downs = [layer for a, b in pairwise(channels) for layer in (nn.GELU(), Down(a, b))]
        body: list[nn.Module] = [*downs, *(Block(last) for _ in range(blocks)), Unit(), nn.GELU()]
        if spatial:
            body.append(nn.Conv2d(last, features, 1))
        else:
            widths = [last * prod(size), *hidden]
            body.append(nn.Flatten())
            body += [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU())]
            body.append(nn.Linear(widths[-1], features))
        self.body = nn.Sequential(*body)
        started(self)
        channels_last(self)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), c (B, context) or None -> (B, features) or (B, features, h, w)."""
        return self.body(self.shift(self.stem(x), c))


class ConvDecoder(nn.Module):
    """Dense layers, residual blocks and upsampling, the encoder's mirror image.

    Arguments:
        latent: Dimensions (or channels) of a code.
        shape: (C, H, W) of the output.
        up: A key of `UPSAMPLINGS`.
        channels, blocks, hidden, spatial, context: As for `ConvEncoder`.

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
        hidden: Sequence[int] = (512,),
        up: str = "transposed",
        spatial: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes, first = resolutions(shape, len(channels)), channels[-1]
        stem: list[nn.Module] = []
        if spatial:
            stem.append(nn.Conv2d(latent, first, 3, padding=1))
        else:
            widths, small = [latent, *hidden[::-1]], (first, *sizes[-1])
            stem += [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU())]
            stem += [nn.Linear(widths[-1], prod(small)), nn.Unflatten(1, small)]
        self.stem = nn.Sequential(*stem)
        self.shift = Shift(context, first)
        body: list[nn.Module] = [*(Block(first) for _ in range(blocks)), Unit()]
        for (a, b), size in zip(pairwise(channels[::-1]), sizes[-2::-1], strict=True):
            body += [nn.GELU(), UPSAMPLINGS[up](a, b, size)]
        body += [nn.GELU(), Shuffle(channels[0], shape[0], (shape[1], shape[2]), 3)]
        self.body = nn.Sequential(*body)
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

"""U-Net-like networks: residual blocks of GroupNorm, SiLU and convolution, and attention.

Skip connections stay inside blocks: if anything crossed the bottleneck, the decoder could not make
samples from codes alone.

References: Ho, Jain, Abbeel. Denoising diffusion probabilistic models. 2020, arXiv
2006.11239 (the blocks); Rombach et al. High-resolution image synthesis with latent diffusion
models. 2021, arXiv 2112.10752 (the autoencoder, and a context read by cross-attention).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks import conv
from zspace.system.errors import UserError


def _norm(channels: int) -> nn.GroupNorm:
    """Groups of at least a few channels; 8 where that divides them."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _strided(inputs: int, outputs: int, size: conv.Size) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)


class Block(conv.Branch):
    """``x + f(x)``: twice GroupNorm, SiLU and a 3 x 3 convolution; f starts at 0.

    Arguments:
        channels: Of x (B, channels, H, W), which it keeps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(channels), _norm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(F.silu(self.norm1(x), inplace=True))
        return x + self.last(F.silu(self.norm2(h), inplace=True))


class Attention(conv.Branch):
    """``x + f(x)``: positions of x look at each other, or at the tokens of a context.

    Reference: Vaswani et al. Attention is all you need. 2017, arXiv 1706.03762.

    Arguments:
        channels: Of x and of tokens.
        heads: Must divide the channels; UserError where they do not.
        crossed: Whether x looks at tokens.
    """

    def __init__(self, channels: int, heads: int, *, crossed: bool = False) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise UserError(
                f"{heads} attention heads do not divide {channels} channels: give --heads that "
                "divide the last of --channels"
            )
        self.heads, self.norm = heads, _norm(channels)
        self.query, self.last = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.crossed = crossed

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), tokens (B, T, C) if crossed -> (B, C, H, W)."""
        own = self.norm(x).flatten(2).transpose(1, 2)
        seen = tokens if self.crossed and tokens is not None else own
        parts = [self.query(own), *self.key_value(seen).chunk(2, dim=2)]
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = _attended(q, k, v).transpose(1, 2).flatten(2)
        return x + self.last(found).transpose(1, 2).unflatten(2, x.shape[2:])


MOST_POSITIONS = 1 << 14


def _refuse_many(size: conv.Size) -> None:
    """Raise UserError for more positions than can be compared, each with each."""
    if math.prod(size) > MOST_POSITIONS:
        raise UserError(
            f"--net unet compares all positions at its last resolution, but {size[0]}×{size[1]} "
            f"are more than {MOST_POSITIONS:,}: give more --channels, each of which halves the "
            "resolution, or use --net conv"
        )


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Fused attention; on CPU in fp32, since its backward pass in bf16 is 7 times slower there."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float())


class Tokens(nn.Module):
    """A context c (B, T) as tokens (B, T, channels): one per column, moved by its value."""

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.name = nn.Parameter(torch.randn(context, channels))
        self.value = nn.Parameter(torch.randn(context, channels))

    def forward(self, c: Tensor) -> Tensor:
        return self.name + c[:, :, None] * self.value


class Middle(nn.Module):
    """Block, self-attention, cross-attention to the context where there is one, block."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.before, self.after = Block(channels), Block(channels)
        self.among = Attention(channels, heads)
        self.tokens = Tokens(context, channels) if context else None
        self.across = Attention(channels, heads, crossed=True) if context else None

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        x = self.among(self.before(x))
        if self.tokens is not None and self.across is not None and c is not None:
            x = self.across(x, self.tokens(c))
        return self.after(x)


class UNetEncoder(nn.Module):
    """Down blocks, with a stride of 2 between resolutions, and a middle.

    Arguments:
        heads: Of the attention; they must divide the last of the channels.
        stem: "strided": the first blocks are at half the image's resolution; "full": at its own.
        shape, features, channels, blocks, spatial, context: As for `conv.ConvEncoder`.

    >>> UNetEncoder((1, 28, 28), 4, channels=(8, 16))(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 4, 7, 7])
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        *,
        channels: Sequence[int],
        blocks: int = 1,
        heads: int = 4,
        stem: str = "strided",
        spatial: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes = conv.resolutions(shape, len(channels), stem)
        _refuse_many(sizes[-1])
        self.stem = (
            nn.Conv2d(shape[0], channels[0], 3, padding=1)
            if stem == "full"
            else conv.Down(shape[0], channels[0])
        )
        self.down = nn.Sequential(*conv.stages(Block, blocks, _strided, channels, sizes))
        last = channels[-1]
        self.middle = Middle(last, heads, context)
        self.norm = _norm(last)
        self.head = conv.to_features(last, features, sizes[-1], spatial=spatial)
        conv.started(self)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), c (B, context) or None -> (B, features) or (B, features, h, w)."""
        h = self.middle(self.down(self.stem(x)), c)
        return self.head(F.silu(self.norm(h)))


class UNetDecoder(nn.Module):
    """A middle and up blocks, the encoder's mirror image.

    Arguments:
        heads, stem: As for `UNetEncoder`.
        latent, shape, channels, blocks, up, spatial, context: As for `conv.ConvDecoder`.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        *,
        channels: Sequence[int],
        blocks: int = 1,
        heads: int = 4,
        stem: str = "strided",
        up: str = "nearest",
        spatial: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes, widths = conv.resolutions(shape, len(channels), stem), channels[::-1]
        _refuse_many(sizes[-1])
        self.stem = conv.from_code(latent, widths[0], sizes[-1], spatial=spatial)
        self.middle = Middle(widths[0], heads, context)
        change = conv.UPSAMPLINGS[up]
        self.up = nn.Sequential(*conv.stages(Block, blocks, change, widths, sizes[::-1]))
        self.norm = _norm(widths[-1])
        self.last = (
            nn.Conv2d(widths[-1], shape[0], 3, padding=1)
            if stem == "full"
            else conv.Shuffle(widths[-1], shape[0], (shape[1], shape[2]), 3)
        )
        conv.started(self)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z (B, latent) or (B, latent, h, w), c (B, context) or None -> (B, *shape)."""
        h = self.up(self.middle(self.stem(z), c))
        return self.last(F.silu(self.norm(h)))

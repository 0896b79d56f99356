"""Transformers: every step looks at all others, or in causal ones at those before.

Reference: Vaswani et al. Attention is all you need. 2017, arXiv 1706.03762; Xiong et al. On layer
normalization in the transformer architecture. 2020, arXiv 2002.04745 (norms at the start of each
branch).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks.sequence import Trunk
from zspace.system.errors import UserError

Past = tuple[Tensor, Tensor]
"""Keys and values (N, heads, t, W / heads) of the steps so far."""


class SelfAttention(nn.Module):
    """``h + f(h)``: LayerNorm, and attention of steps to each other.

    Arguments:
        width: W of h (B, T, W).
        heads: Must divide W; UserError where they do not.
        causal: Whether a step looks at itself and those before it alone.
    """

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(
                f"{heads} attention heads do not divide a width of {width}: give --heads that "
                "divide --width"
            )
        self.heads, self.causal, self.norm = heads, causal, nn.LayerNorm(width)
        self.parts, self.last = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def _split(self, h: Tensor) -> list[Tensor]:
        parts = self.parts(self.norm(h)).chunk(3, -1)
        return [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]

    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        """h (B, T, W), seen (B, T) -> (B, T, W)."""
        q, k, v = self._split(h)
        mask = None if seen is None or self.causal else seen[:, None, None]
        found = F.scaled_dot_product_attention(q, k, v, mask, is_causal=self.causal)
        return h + self.last(found.transpose(1, 2).flatten(2))

    def step(self, h: Tensor, past: Past) -> tuple[Tensor, Past]:
        """h (N, 1, W) and what came before -> (N, 1, W), and this with it."""
        q, *own = self._split(h)
        k, v = (torch.cat([a, b], 2) for a, b in zip(past, own, strict=True))
        found = F.scaled_dot_product_attention(q, k, v)
        return h + self.last(found.transpose(1, 2).flatten(2)), (k, v)


class FeedForward(nn.Module):
    """``h + f(h)``: LayerNorm, a linear layer four times as wide, GELU, and a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.last = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.last(F.gelu(self.wide(self.norm(h))))


class Transformer(Trunk):
    """Blocks of attention and two linear layers each.

    One that is not causal has a learned step in front, at which a sequence of no steps looks.

    Arguments:
        width: W.
        blocks: How many.
        heads: Of attention.
        causal: Whether no step looks at a later one.
    """

    positioned = False

    def __init__(self, width: int, blocks: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.first = heads, None if causal else nn.Parameter(torch.randn(width) * 0.1)
        self.attention: Any = nn.ModuleList(  # mypy knows no `step` of its modules
            SelfAttention(width, heads, causal=causal) for _ in range(blocks)
        )
        self.forwards = nn.ModuleList(FeedForward(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        if self.first is not None:
            h = torch.cat([self.first.to(h.dtype).expand(h.shape[0], 1, -1), h], 1)
            seen = None if seen is None else F.pad(seen, (1, 0), value=True)
        for look, on in zip(self.attention, self.forwards, strict=True):
            h = on(look(h, seen))
        return self.norm(h if self.first is None else h[:, 1:])

    def begin(self, n: int, like: Tensor) -> list[Past]:
        none = like.new_zeros(n, self.heads, 0, like.shape[-1] // self.heads)
        return [(none, none) for _ in self.attention]

    def step(self, h: Tensor, state: list[Past]) -> tuple[Tensor, list[Past]]:
        h, after = h[:, None], []
        for look, on, past in zip(self.attention, self.forwards, state, strict=True):
            h, past = look.step(h, past)
            h = on(h)
            after.append(past)
        return self.norm(h)[:, 0], after

"""Dilated convolutions over time in residual blocks, or causal ones that see no later step.

Reference: van den Oord et al. WaveNet: a generative model for raw audio. 2016, arXiv 1609.03499;
Bai, Kolter, Koltun. An empirical evaluation of generic convolutional and recurrent networks for
sequence modeling. 2018, arXiv 1803.01271.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks.sequence import Trunk, shifted


class TemporalBlock(nn.Module):
    """``h + f(h)``: LayerNorm, a dilated convolution of three steps, GELU and a linear layer.

    Arguments:
        width: W of h (B, T, W).
        dilation: Steps between those that are read.
        causal: Whether step t reads t, t - d and t - 2 d, and not t - d, t and t + d.
    """

    def __init__(self, width: int, dilation: int, *, causal: bool) -> None:
        super().__init__()
        self.dilation, self.causal = dilation, causal
        self.norm = nn.LayerNorm(width)
        self.taps, self.last = nn.Linear(3 * width, width), nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        a, d = self.norm(h), self.dilation
        near = shifted(a, d)
        three = [shifted(a, 2 * d), near, a] if self.causal else [near, a, shifted(a, -d)]
        return h + self._rest(torch.cat(three, -1))

    def _rest(self, three: Tensor) -> Tensor:
        return self.last(F.gelu(self.taps(three)))

    def step(self, h: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """h (N, W), the last 2 d normalised steps (N, 2 d, W) -> (N, W), and these moved on."""
        a, d = self.norm(h), self.dilation
        made = h + self._rest(torch.cat([past[:, 0], past[:, d], a], -1))
        return made, torch.cat([past[:, 1:], a[:, None]], 1)


class Temporal(Trunk):
    """Blocks of dilations 1, 2, 4, ..., so that together they read 2^(blocks + 1) - 1 steps.

    Dilations begin again at 1 once they reach the length.

    Arguments:
        width: W.
        blocks: How many.
        length: T.
        causal: Whether no step reads a later one.
    """

    def __init__(self, width: int, blocks: int, length: int, *, causal: bool = False) -> None:
        super().__init__()
        levels = max(1, math.ceil(math.log2(max(2, length))))
        self.dilations = [2 ** (i % levels) for i in range(blocks)]
        self.blocks: Any = nn.ModuleList(  # mypy knows no `step` of its modules
            TemporalBlock(width, d, causal=causal) for d in self.dilations
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            h = block(h if seen is None else torch.where(seen[..., None], h, 0.0))
        return self.norm(h)

    def begin(self, n: int, like: Tensor) -> list[Tensor]:
        return [like.new_zeros(n, 2 * d, like.shape[-1]) for d in self.dilations]

    def step(self, h: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        after = []
        for block, past in zip(self.blocks, state, strict=True):
            h, past = block.step(h, past)
            after.append(past)
        return self.norm(h), after

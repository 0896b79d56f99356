"""Gated recurrent units.

Reference: Cho et al. Learning phrase representations using RNN encoder-decoder for statistical
machine translation. 2014, arXiv 1406.1078.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zspace.models.networks.sequence import Trunk
from zspace.system.errors import UserError


class Recurrent(Trunk):
    """Layers of GRUs. One that is not causal reads in both directions, W / 2 wide each.

    Arguments:
        width: W, even.
        blocks: Layers.
        causal: Whether no step reads a later one.

    Raises UserError for an odd width in both directions.
    """

    def __init__(self, width: int, blocks: int, *, causal: bool = False) -> None:
        super().__init__()
        if width % 2 and not causal:
            raise UserError(f"width is {width}: use an even one, half for each direction")
        size = width if causal else width // 2
        self.gru = nn.GRU(width, size, blocks, batch_first=True, bidirectional=not causal)

    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        return self.gru(h if seen is None else torch.where(seen[..., None], h, 0.0))[0]

    def begin(self, n: int, like: Tensor) -> Tensor:
        return like.new_zeros(self.gru.num_layers, n, self.gru.hidden_size)

    def step(self, h: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        made, state = self.gru(h[:, None], state)
        return made[:, 0], state

"""Gated recurrent units.

Reference: Cho et al. Learning phrase representations using RNN encoder-decoder for statistical
machine translation. 2014, arXiv 1406.1078.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        h = h if seen is None else torch.where(seen[..., None], h, 0.0)
        return self._like(h) if h.is_meta else self.gru(h)[0]

    def _like(self, h: Tensor) -> Tensor:
        """The shape, and about the memory, of what it gives where nothing is computed: there torch
        goes through a GRU step by step, for seconds.
        """
        weights = dict(self.gru.named_parameters())
        for layer in range(self.gru.num_layers):
            made = []
            for way in ("", "_reverse") if self.gru.bidirectional else ("",):
                gates = F.linear(h, weights[f"weight_ih_l{layer}{way}"])
                state = torch.tanh(gates[..., : self.gru.hidden_size])
                hidden = F.linear(state, weights[f"weight_hh_l{layer}{way}"])
                made.append(state * torch.sigmoid(hidden[..., : self.gru.hidden_size]))
            h = torch.cat(made, -1)
        return h

    def begin(self, n: int, like: Tensor) -> Tensor:
        return like.new_zeros(self.gru.num_layers, n, self.gru.hidden_size)

    def step(self, h: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        made, state = self.gru(h[:, None], state)
        return made[:, 0], state

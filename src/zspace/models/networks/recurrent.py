"""Gated recurrent units.

On a CPU, what tokens add to the gates is looked up in a table of all tokens, which is made once
for all steps, and `Recurrence` goes through them.

Reference: Cho et al. Learning phrase representations using RNN encoder-decoder for statistical
machine translation. 2014, arXiv 1406.1078.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zspace.models.networks.recurrence import Recurrence
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

    def of_tokens(
        self, tokens: Tensor, table: nn.Embedding, told: Tensor | None, seen: Tensor | None
    ) -> Tensor:
        if not self._looks_up(tokens, table):
            return super().of_tokens(tokens, table, told, seen)
        order, running = sorted_ends(tokens, seen)
        gates = F.embedding(tokens[order].t(), F.linear(table.weight, *self._weights("ih", 0)))
        if told is not None:
            gates = gates + F.linear(told[order, 0], self._weights("ih", 0)[0])
        h = Recurrence.apply(gates, *self._weights("hh", 0), running)
        for layer in range(1, self.gru.num_layers):
            gates = F.linear(h, *self._weights("ih", layer))
            h = Recurrence.apply(gates, *self._weights("hh", layer), running)
        return h.transpose(0, 1)[order.argsort()]

    def _looks_up(self, tokens: Tensor, table: nn.Embedding) -> bool:
        """Whether the gates of a token are a row of a table, and the recurrence is our own."""
        ours = table.weight.device.type == "cpu" and not self.gru.bidirectional
        traced = torch.compiler.is_compiling() or torch.compiler.is_exporting()
        other = traced or torch.is_autocast_enabled("cpu")
        return ours and not other and table.num_embeddings < tokens.numel()

    def _weights(self, of: str, layer: int) -> tuple[Tensor, Tensor]:
        weight, bias = (getattr(self.gru, f"{name}_{of}_l{layer}") for name in ("weight", "bias"))
        return weight, bias

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


def sorted_ends(tokens: Tensor, seen: Tensor | None) -> tuple[Tensor, list[int]]:
    """The order of sequences (B, T) by where they end, the last first, and how many run on.

    >>> sorted_ends(torch.zeros(2, 3), torch.tensor([[True, False, False], [True, True, False]]))
    (tensor([1, 0]), [2, 1, 0])
    """
    rows, steps = tokens.shape
    if seen is None:
        return torch.arange(rows), [rows] * steps
    lengths = (seen * torch.arange(1, steps + 1)).amax(1)
    running = (lengths.numpy()[:, None] > np.arange(steps)).sum(0)  # on the CPU: no waiting
    return lengths.argsort(descending=True, stable=True), running.tolist()

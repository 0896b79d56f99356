"""AdamW for the parameters of one player: made, its state given and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zspace.settings import Settings


def adamw(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov, Hutter. 2017, arXiv 1711.05101)."""
    return torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad],
        lr=settings.lr,
        betas=(settings.betas[0], settings.betas[1]),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def moved(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters that it moves."""
    return optimizer.param_groups[0]["params"]


def load_moments(optimizer: torch.optim.Optimizer, state: Mapping[Any, Any]) -> None:
    """Take up what ``state_dict()["state"]`` gave; keys may have become strings."""
    parameters = moved(optimizer)
    moments = {
        int(k): {name: _laid_out(value, parameters[int(k)]) for name, value in v.items()}
        for k, v in state.items()
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """A moment with its parameter's strides, which fused optimizers take for granted."""
    if moment.shape != parameter.shape:
        return moment
    return torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)

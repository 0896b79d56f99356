"""AdamW for the parameters of one player: made, its state given and taken up again.

The moving average of a model's weights, with which it is validated and kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zspace.runs.settings import Settings


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


EVERY = 4
"""Steps from one update to the next: each reads and writes all weights."""


class Average:
    """``e <- d^EVERY e + (1 - d^EVERY) w`` every EVERY steps; before the first, e is w.

    decay: d, of a step, which begins at 1/10 and grows towards this; 0 keeps no average.
    weights: e by name; empty without an average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = copied(model) if decay else {}
        floats = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        self._averages = [self.weights[name] for name in floats] if decay else []
        self._current = list(floats.values())  # they share the memory of the parameters

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after this step, counted from 0, if it is one of those due."""
        if self.decay and step % EVERY == 0:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._averages, self._current, 1 - decay**EVERY)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Within, the model has its averaged weights, if there are any."""
        own = copied(self.model) if self.weights else {}
        self.model.load_state_dict(self.weights, strict=False)
        try:
            yield
        finally:
            self.model.load_state_dict(own, strict=False)


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers as they are now."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}

"""AdamW for the parameters of one player: made, its state given and taken up again.

The moving average of a model's weights, with which it is validated and kept.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zspace.models.recipes import Player
from zspace.runs.settings import Settings


class AdamW(torch.optim.AdamW):
    """Torch's, but it does not import torch's compiler: what that is kept from is not compiled."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)


def adamw(player: Player, settings: Settings) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov, Hutter. 2017, arXiv 1711.05101).

    Its moments are there from the start and stay where they are: a recorded step reads them there.
    """
    first, second = player.betas or settings.betas
    moving = [p for p in player.module.parameters() if p.requires_grad]
    made = AdamW(
        moving,
        lr=player.lr or settings.lr,
        betas=(first, second),
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=any(p.device.type == "cuda" for p in moving),
    )
    for parameter in moving:
        made.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return made


def moved(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters that it moves."""
    return optimizer.param_groups[0]["params"]


def load_moments(optimizer: torch.optim.Optimizer, state: Mapping[Any, Any]) -> None:
    """Take up what ``state_dict()["state"]`` gave; keys may have become strings."""
    given = {int(key): value for key, value in state.items()}
    with torch.no_grad():
        for i, parameter in enumerate(moved(optimizer)):
            for name, held in optimizer.state[parameter].items():
                value = given[i][name] if i in given else torch.zeros_like(held)
                if value.shape != held.shape:
                    raise ValueError(f"a moment has shape {value.shape}, not {held.shape}")
                held.copy_(value)


def share_moments(stack: torch.optim.Optimizer, lanes: Sequence[torch.optim.Optimizer]) -> None:
    """Begin AdamW's moments for stacked parameters (M, ...); each optimizer's are one lane."""
    for stacked, *each in zip(moved(stack), *map(moved, lanes), strict=True):
        moments = {name: torch.zeros_like(stacked) for name in ("exp_avg", "exp_avg_sq")}
        step = torch.zeros((), dtype=torch.float32, device=stacked.device)
        stack.state[stacked] = {"step": step, **moments}
        for m, (lane, own) in enumerate(zip(lanes, each, strict=True)):
            lane.state[own] = {"step": step, **{name: t[m] for name, t in moments.items()}}


EVERY = 4
"""Steps from one update to the next: each reads and writes all weights."""

Places = dict[str, tuple[dict[str, Any], str]]


def places(module: nn.Module) -> Places:
    """Name -> where the module holds this tensor of its state: a dict, and the key in it.

    A module may replace a buffer (``self.book = ...``), so a tensor is looked up when it is used.
    """
    owners = dict(module.named_modules(remove_duplicate=False))
    found: Places = {}
    for name in module.state_dict():
        path, _, key = name.rpartition(".")
        for held in (owners[path]._parameters, owners[path]._buffers) if path in owners else ():
            if key in held:
                found[name] = (held, key)
    return found


def buffers(module: nn.Module) -> Places:
    """The buffers that belong to its state, by name."""
    held = places(module).items()
    return {name: at for name, at in held if not isinstance(at[0][at[1]], nn.Parameter)}


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers as they are now."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def restore(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a module this state, a buffer in another number format included."""
    for name, (held, key) in buffers(module).items():
        if name in state and not _alike(held[key], state[name]):
            held[key] = state[name].to(held[key].device, copy=True)
    module.load_state_dict(state)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


class Average:
    """``e <- d^EVERY e + (1 - d^EVERY) w`` every EVERY steps; before the first, e is w.

    Floating-point parameters and buffers are averaged. All else, counters and flags, is taken as
    it is when the average is used.

    Arguments:
        model: Whose state w is averaged.
        decay: d, per step, which begins at 1/10 and grows towards this; 0 keeps no average.

    Attributes:
        weights: e by name; empty without an average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self._places = places(model) if decay else {}
        self.weights = {name: value.detach().clone() for name, value in self._now().items()}

    def _now(self) -> dict[str, Tensor]:
        tensors = {name: held[key] for name, (held, key) in self._places.items()}
        return {name: t for name, t in tensors.items() if t is not None and t.is_floating_point()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after this step, counted from 0, if it is one of those due."""
        if not self.decay or step % EVERY:
            return
        decay, now = min(self.decay, (1 + step) / (10 + step)), self._now()
        for name, value in now.items():
            if name not in self.weights or not _alike(self.weights[name], value):
                self.weights[name] = value.detach().clone()
        averages = [self.weights[name] for name in now]
        torch._foreach_lerp_(averages, list(now.values()), 1 - decay**EVERY)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take up what `weights` was."""
        device = next(self.model.parameters()).device
        self.weights = {name: value.to(device, copy=True) for name, value in weights.items()}

    def share(self, stack: Average, lane: int) -> None:
        """Be one lane of the average of stacked models, which alone is updated."""
        self.weights = {name: value[lane] for name, value in stack.weights.items()}

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Within, the model has its averaged weights, if there are any."""
        own = copied(self.model) if self.weights else {}
        if own:
            restore(self.model, {**own, **self.weights})
        try:
            yield
        finally:
            if own:
                restore(self.model, own)

"""What the layers of a model give: how many numbers, and whether they are finite."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import Tensor

from zspace.analysis.trained import TrainedModel
from zspace.data.spec import Spec
from zspace.models.draws import typical
from zspace.models.flow import Model
from zspace.system.device import random_kept


def widest(model: Model, spec: Spec) -> int:
    """The most numbers that a layer of a model gives for one sample, of which none is computed.

    0 where that takes values, as in a network of one's own that looks at them.

    >>> widest(run.model, run.spec) > 0
    True
    """
    most = [0]

    def look(_: torch.nn.Module, __: object, out: object) -> None:
        for value in out if isinstance(out, tuple) else (out,):
            most[0] = max(most[0], value.numel() if isinstance(value, Tensor) else 0)

    hollow = copy.deepcopy(model).to("meta")
    for layer in hollow.modules():
        layer.register_forward_hook(look)
    with contextlib.suppress(RuntimeError), torch.no_grad(), torch.device("meta"):
        c = torch.zeros(1, model.context) if model.context else None
        hollow.decode(hollow.encode(torch.zeros(1, *spec.shape), c), c)
    return most[0]


def overflowing(trained: TrainedModel) -> str:
    """The kind of layer that gives other than finite numbers for an image of noise; "" if none.

    >>> overflowing(run)
    ''
    """
    found: list[str] = []

    def look(layer: torch.nn.Module, _: object, out: object) -> None:
        for value in out if isinstance(out, tuple) else (out,):
            is_float = isinstance(value, Tensor) and value.is_floating_point()
            if is_float and not value.isfinite().all():
                found.append(type(layer).__name__)

    model, spec = trained.model, trained.spec
    hooks = [layer.register_forward_hook(look) for layer in model.modules()]
    x = torch.rand(1, *spec.shape, generator=torch.Generator().manual_seed(0))
    c = torch.zeros(1, model.context, device=trained.device) if model.context else None
    try:
        with torch.no_grad(), random_kept(trained.device):
            z = model.encode(x.to(trained.device), c)
            finite = z.isfinite().all() and typical(model.decode(z, c)).isfinite().all()
            finite = finite and typical(model.sample(1, c)).isfinite().all()
    except ValueError:  # a distribution that does not take such parameters
        finite = torch.tensor(False)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "" if finite else "the model"

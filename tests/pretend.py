"""A pretended GPU: a device "card" whose tensors lie on the CPU, and which is as strict as a GPU.

Tensors of two devices do not mix, numpy does not see those of the card, and it has no float64.
What is read back from it is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._decomp.decompositions import gru_impl
from torch.nn.modules.rnn import RNNBase
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class _Module:
    """What torch asks of the module of a device."""

    is_available = is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    _is_in_bad_fork = staticmethod(lambda: False)
    _lazy_init = staticmethod(lambda: None)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])


_setup_privateuseone_for_python_backend("card", _Module)
CARD = torch.device("card", 0)
MIXING = ("aten.copy_", "aten._to_copy", "aten.to.", "aten.index", "aten.set_", "aten.lift")
"""Operations that take tensors of both devices, as on a GPU."""


class Pretended(Tensor):
    """A tensor of the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CARD,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


reads: list[str] = []
"""The operations that read a number from the card."""


def _run(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    here = any(isinstance(t, Pretended) for t in given)
    named = [d for d in tree_leaves((args, kwargs)) if isinstance(d, torch.device)]
    target = named[0].type if named else None
    if here and not str(op).startswith(MIXING):
        for t in given:
            if not isinstance(t, Pretended) and t.dim():
                raise RuntimeError(f"{op}: tensors are on two devices, card:0 and cpu")
    if here and (target == "cpu" or "_local_scalar_dense" in str(op) or "nonzero" in str(op)):
        reads.append(str(op))

    def held(t: Any) -> Any:
        if isinstance(t, torch.device):
            return torch.device("cpu")
        return t.held if isinstance(t, Pretended) else t

    made = op(*tree_map(held, args), **tree_map(held, kwargs))
    if not (target == "card" or (here and target != "cpu")):
        return made
    # A view is an inference tensor if its base is one, wherever it is made.
    view = any(a.alias_info and not a.alias_info.is_write for a in op._schema.returns)
    of_inference = any(t.is_inference() for t in given)
    kept = of_inference if view else torch.is_inference_mode_enabled()
    given_by = {id(t.held): t for t in given if isinstance(t, Pretended)}

    def put(t: Any) -> Any:
        if not isinstance(t, Tensor) or isinstance(t, Pretended):
            return t
        if t.dtype == torch.float64:
            raise TypeError(f"{op} makes a tensor in float64 on the card")
        with torch.inference_mode(kept):
            return given_by[id(t)] if id(t) in given_by else Pretended(t)

    return tree_map(put, made)


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


class _Made(TorchFunctionMode):
    """``torch.tensor(..., device=card)`` goes past the other mode."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **{**kwargs, "device": "cpu"}).to(kwargs["device"])
        return func(*args, **kwargs)


usual_gru, usual_init = torch._VF.gru, RNNBase._init_flat_weights


def gru(x: Tensor, *given: Any) -> Any:
    """In place of the kernel that a GPU has for it."""
    return gru_impl(x, *given) if isinstance(x, Pretended) else usual_gru(x, *given)


def without_weak_references(self: RNNBase) -> None:
    """Parameters to which these refer cannot be swapped; on a GPU none are swapped."""
    usual_init(self)
    self._flat_weight_refs = [None] * len(self._flat_weights_names)


@contextmanager
def pretended() -> Iterator[list[str]]:
    """Within, there is a card; gives the list of what was read from it."""
    reads.clear()
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # keep parameters, as on a GPU
    torch._VF.gru, RNNBase._init_flat_weights = gru, without_weak_references
    try:
        with _Dispatch(), _Made():
            yield reads
    finally:
        torch._VF.gru, RNNBase._init_flat_weights = usual_gru, usual_init
        torch.__future__.set_swap_module_params_on_conversion(before)

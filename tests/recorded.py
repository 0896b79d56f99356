"""A recording of a step on a CPU, which stands in for a CUDA graph.

As there, what is recorded is not done, the memory of everything stays where it is, Python does not
run again, and draws are new at every replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::equal",
    "aten::is_nonzero",
    "aten::lift_fresh",  # a tensor made of Python's numbers: it would have to be sent
}
"""What the host must wait for a device in, or a device for the host."""


class Reads(TorchDispatchMode):
    """Notes every operation in which host and device wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_mask = name in ("aten::index", "aten::index_put_") and any(
            isinstance(t, Tensor) and t.dtype == torch.bool for t in tree_leaves(args[1])
        )
        if name in READS or by_mask:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class Recorded(TorchDispatchMode):
    """Notes what is done; `undo` makes it as if it had not been done, `replay` does it again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        assert func._schema.name not in READS, func
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        written = any(a.alias_info and a.alias_info.is_write for a in func._schema.arguments)
        for tensor in given if written else []:
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self.before[place] = whole, whole.clone()
        out = func(*args, **kwargs)
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        old = {t.untyped_storage().data_ptr() for t in given}
        fresh = [t for t in results if t.untyped_storage().data_ptr() not in old]
        self.made |= {t.untyped_storage().data_ptr() for t in fresh}
        self.calls.append((func, args, kwargs, results if fresh else []))
        return out

    def undo(self) -> None:
        """Everything that was there before is as it was."""
        for now, then in self.before.values():
            now.copy_(then)

    @torch.no_grad()
    def replay(self) -> None:
        """Do it again on the same memory."""
        for func, args, kwargs, results in self.calls:
            out = tree_leaves(func(*args, **kwargs))
            again = [t for t in out if isinstance(t, Tensor)] if results else []
            for place, value in zip(results, again, strict=True):
                place.copy_(value)


@contextmanager
def recording(device: torch.device) -> Iterator[Recorded]:
    """As `zspace.training.graphs.recording`, on a CPU."""
    random = torch.get_rng_state()
    with Recorded() as tape:
        yield tape
    tape.undo()
    torch.set_rng_state(random)

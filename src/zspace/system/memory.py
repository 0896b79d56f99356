"""Memory: how much is free and how much a call takes, so that work comes in pieces that fit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNKNOWN = 8e9
"""Bytes that are taken to be free where the system does not tell."""


def free(device: torch.device | str = "cpu") -> float:
    """Bytes that this process can still take on a device.

    On a CPU they are the least of what the machine has available, what each control group of the
    process leaves, and what limits of the process leave. On a GPU, what torch holds and does not
    use counts as free.

    >>> free() > 0
    True
    """
    device = torch.device(device)
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return max(0.0, min((*_machine(), *in_groups(), *_limits()), default=UNKNOWN))


def _machine() -> Iterator[float]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        yield 1024.0 * _named(Path("/proc/meminfo"), "MemAvailable:")


def _limits() -> Iterator[float]:
    """What is left of the address space and the data that the process may have (`ulimit`)."""
    try:
        import resource  # not on Windows

        pages = Path("/proc/self/statm").read_text().split()
        for limit, used in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                yield most - float(pages[used]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError, IndexError):
        return


def in_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[float]:
    """What the control groups of the process leave: those of containers, for example.

    Cached files are not counted as used, for the system gives them up. root: where the groups are
    mounted, of the first or the second version. own: the file that names those of the process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        elif not controllers:
            base, limit, used, cached = root, "memory.max", "memory.current", "inactive_file"
        else:
            continue
        place = base / path.lstrip("/")
        for group in (place, *place.parents):
            # A group without a limit says "max", which is no number; inside a container, groups
            # above its own are not there.
            with contextlib.suppress(OSError, ValueError, IndexError):
                taken = int((group / used).read_text()) - _named(group / "memory.stat", cached)
                yield float(int((group / limit).read_text()) - taken)
            if group == base:
                break


def _named(path: Path, name: str) -> int:
    """The number after a name at the start of a line."""
    rows = (line.split() for line in path.read_text().splitlines())
    return next((int(row[1]) for row in rows if row and row[0] == name), 0)


META = torch.device("meta")
ARITHMETIC = ("add", "sub", "mul", "div", "neg", "clamp", "exp", "log", "log1p", "pow", "rsqrt")
ACTIVATIONS = ("gelu", "relu", "silu", "tanh", "sigmoid", "softplus", "elu", "leaky_relu")
ELEMENTWISE = {"clone", *ARITHMETIC, *ACTIVATIONS}


def _empty(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """What a frequent operation makes on the meta device, if it is one.

    Torch itself finds its shape by a program in Python, which imports its compiler: two seconds.
    """
    name, variant = func._schema.name.removeprefix("aten::"), func._overloadname
    if name == "randn" and variant == "default" and kwargs.get("device") == META:
        return torch.empty(*args, **kwargs)
    given = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
    if not given or any(not t.is_meta or t.dtype != torch.float32 for t in given):
        return None
    if name in ("mm", "addmm") and variant == "default":
        a, b = given[-2:]
        return a.new_empty(a.shape[0], b.shape[1])
    if name == "cat" and len({t.dim() for t in given}) == 1:
        shape, along = list(given[0].shape), (args[1] if len(args) > 1 else 0)
        shape[along] = sum(t.shape[along] for t in given)
        return given[0].new_empty(shape)
    if name in ELEMENTWISE and variant in ("default", "Tensor", "Scalar", "Tensor_Scalar"):
        return given[0].new_empty(np.broadcast_shapes(*(t.shape for t in given)))
    return None


class _Counting(TorchDispatchMode):
    """Follows the tensors that operations make: the bytes that are alive, and their most."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch's compiler, which takes a second: nothing here is compiled."""
        return False

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), new=False)  # of weights, a view may be made
        kwargs = kwargs or {}
        made = _empty(func, args, kwargs)
        if made is None:
            made = func(*args, **kwargs)
        self._note(made, new=True)
        return made

    def _note(self, tensors: Any, new: bool) -> None:
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self.known:
                size = storage.nbytes() * new
                self.known.add(storage._cdata)
                self.now += size
                self.most = max(self.most, self.now)
                finalize(storage, self._drop, storage._cdata, size)

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def taken(call: Callable[[], object]) -> int:
    """The most bytes of tensors that a call has at once, of those that it makes.

    Scratch memory inside of one operation is not seen. On the meta device it takes no memory, and
    next to no time.

    >>> x = torch.zeros(1000)
    >>> taken(lambda: (x + 1).exp().sum())
    8000
    """
    with _Counting() as counting:
        call()
    return counting.most


@dataclass(frozen=True)
class Need:
    """Bytes that a call takes: some whatever the number of samples, others for each of them."""

    fixed: int
    each: int

    @classmethod
    def of(cls, call: Callable[[int], object]) -> Need:
        """Measured with one sample and with two; the call is told how many.

        >>> Need.of(lambda n: torch.ones(25) + torch.zeros(n, 25))
        Need(fixed=100, each=200)
        """
        one, two = taken(lambda: call(1)), taken(lambda: call(2))
        each = max(1, two - one)
        return cls(max(0, one - each), each)

    def rows(self, room: float, most: int) -> int:
        """How many samples fit into so many bytes: at least 1, and at most so many.

        >>> Need(fixed=100, each=200).rows(1000, most=512)
        4
        """
        return max(1, min(most, int((room - self.fixed) / self.each)))

"""Ranks: the processes that train one model together, and what they say to each other.

torchrun starts R processes and tells each its rank r; without it R is 1 and nothing here does
anything. Every rank reads its own rows of each batch and holds the same weights:

    mean(t) = sum_r share_r t_r,   share_r = (rows of rank r) / (rows of the batch)

A mean over the rows of a batch is so that of one process, also where parts differ in size.
Numbers and sentences go through gloo on the CPU, gradients of CUDA devices through NCCL.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zspace.system.errors import UserError, ran_out
from zspace.system.signals import Interrupted

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for another, which may be reading data or writing to a slow disk."""
LONGEST = 4000
"""Bytes of a sentence that goes from rank to rank."""
NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class RankLost(UserError):
    """Another rank has ended, or cannot be reached."""


class RankError(UserError):
    """What stops this rank alone, and what it must therefore say itself.

    Whatever else is wrong all ranks meet, or are told: there the first one speaks.
    """


def size() -> int:
    """R, how many ranks there are; 1 without torchrun."""
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """r, the number of this process among all, from 0."""
    return dist.get_rank() if _joined() else 0


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


def local() -> int:
    """The number of this process among those of its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) if size() > 1 else 0


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def join() -> None:
    """Meet the other ranks, where torchrun has started several. All but the first fall silent.

    Raises UserError where a variable that torchrun sets is missing, or nobody answers.
    """
    wanted = os.environ.get("WORLD_SIZE", "1")
    if _joined() or wanted == "1":
        return
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if not wanted.isdecimal() or missing:
        raise UserError(
            f"WORLD_SIZE is '{wanted}' and {', '.join(missing) or 'all else'} is "
            f"{'not set' if missing else 'set'}: start several processes with torchrun "
            "--nproc-per-node N -m zspace train ..., or unset WORLD_SIZE to train in one"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _connected():
        dist.init_process_group(backend, timeout=TIMEOUT)
    atexit.register(lambda: dist.destroy_process_group() if _joined() else None)
    if not first():
        warnings.simplefilter("ignore")


def leave_at_once(code: int) -> NoReturn:
    """End this process after another one was lost.

    The threads that spoke with it are past an orderly end: torch aborts the process where it
    takes them down at the wrong moment, and the exit code would not be ours.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Within, a lost connection becomes a sentence."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if ran_out(error):
            raise
        reason = str(error).partition("\n")[0].rpartition("] ")[2].partition(". ")[0]
        raise RankLost(
            "another process of this training has ended or cannot be reached: read its message, "
            f"then continue with 'zspace resume' if something was saved ({reason})"
        ) from None


def mean(tensors: Sequence[Tensor], share: float, first: Sequence[Tensor] = ()) -> list[Tensor]:
    """The means over all ranks of tensors of any shapes, in one message, float32.

    share: how much of the whole batch the tensors of this rank stand for; shares add up to 1.
    first: tensors of any types, for which those of the first rank come back, after the means.
    """
    if size() == 1:
        return [*tensors, *first]
    flat = torch.cat([t.detach().reshape(-1).float() for t in tensors]).mul_(share)
    if first:  # as bytes, which float32 holds exactly; all ranks but the first add zeros
        flat = torch.cat([flat, *(_bytes(t).float().mul_(rank() == 0) for t in first)])
    with _connected():
        dist.all_reduce(flat)
    parts = iter(flat.split([*(t.numel() for t in tensors), *(t.nbytes for t in first)]))
    means = [next(parts).view(t.shape) for t in tensors]
    return [*means, *(next(parts).to(torch.uint8).view(t.dtype).view(t.shape) for t in first)]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


def largest(number: int) -> int:
    """The largest of the ranks' numbers; the same answer on all. No device is waited for."""
    if size() == 1:
        return number
    most = torch.tensor(number)
    with _connected():
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def of_first(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers of the first rank, which all have under the same names."""
    if size() == 1:
        return dict(numbers)
    values = torch.tensor(list(numbers.values()), dtype=torch.float64)
    with _connected():
        dist.broadcast(values, 0)
    return dict(zip(numbers, values.tolist(), strict=True))


def told(text: str = "") -> str:
    """What the first rank says here; what the others bring is left aside."""
    if size() == 1:
        return text
    letters = _letters(text)
    with _connected():
        dist.broadcast(letters, 0)
    return _text(letters)


def _letters(text: str) -> Tensor:
    content = text.encode()[:LONGEST]
    return torch.tensor(list(content.ljust(LONGEST, b"\0")), dtype=torch.uint8)


def _text(letters: Tensor) -> str:
    return bytes(letters.tolist()).rstrip(b"\0").decode(errors="ignore")


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within, a UserError or a stop of any rank becomes one of all.

    No rank may wait for another within.
    """
    if size() == 1:
        yield
        return
    failure: UserError | Interrupted | None = None
    try:
        yield
    except (UserError, Interrupted) as error:
        failure = error
    every = [_letters("") for _ in range(size())]
    with _connected():
        dist.all_gather(every, _letters(str(failure or "")))
    failed = [(r, _text(letters)) for r, letters in enumerate(every) if letters.any()]
    stop = largest(failure.number if isinstance(failure, Interrupted) else 0)
    if failure:
        raise failure
    if failed:
        said = f"{failed[0][1]} (in process {failed[0][0]})"
        raise Interrupted(said, stop) if stop else UserError(said)


def in_turn(work: Callable[[], T]) -> T:
    """What `work` makes: on the first rank of each machine, then, with its files, on the rest.

    So a download, or a network that is trained once and kept, is made once per machine.
    Raises UserError on all ranks where it does on one.
    """
    if size() == 1:
        return work()
    made: list[T] = []
    for turn in (True, False):
        with together():
            if (local() == 0) == turn:
                made.append(work())
    return made[0]


def check_same(what: str, value: str) -> None:
    """Raise UserError on all ranks where one has another value than the first."""
    if size() == 1:
        return
    wanted = told(value)
    with together():
        if value != wanted:
            raise UserError(
                f"rank {rank()} has a different {what} from rank 0 ({value:.80}, {wanted:.80}): "
                "give all machines the same command and the same files"
            )


@torch.no_grad()
def spread(modules: Iterable[nn.Module]) -> None:
    """Give every rank the first one's parameters and buffers."""
    if size() == 1:
        return
    for module in modules:
        for tensor in [*module.parameters(), *module.buffers()]:
            dense = tensor.detach().contiguous()
            with _connected():
                dist.broadcast(dense, 0)
            tensor.copy_(dense)

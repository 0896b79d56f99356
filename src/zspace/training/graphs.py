"""A step recorded as a CUDA graph: some hundred launches become one.

A small step is bound by the processor that launches it: each of its kernels takes a few
microseconds to ask for and less to run. A graph is recorded once and replayed at every step, on
the same memory. So all that changes from step to step lies in tensors that stay where they are:
the batch, and in `Scalars` what follows from the progress of training. Weights, moments and the
generator's state are where they always were; a buffer that a pass replaces is written back.

Whole batches alone are replayed; the last, shorter one of an epoch and validation run as they are.
What was decided is kept in run.json.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from zspace.data.spec import Batch
from zspace.system import distributed
from zspace.system.device import sent
from zspace.system.errors import UserError, ran_out
from zspace.training.compiling import passed, reason_of
from zspace.training.optimizer import buffers

if TYPE_CHECKING:
    from zspace.training.trainer import Losses, Now, Trainer

BLOCK = 1000
"""Steps whose scalars are computed and sent together."""
WARM = 3
"""Passes before a recording: libraries allocate what they need at the first."""


class Tape(Protocol):
    """What a recording gives."""

    def replay(self) -> None:
        """Do again, on the same memory, what was recorded."""


@contextmanager
def recording(device: torch.device) -> Iterator[Tape]:
    """Within, work on the device is recorded and not done.

    Where that fails, the device is as it was before.
    """
    graph, collecting = torch.cuda.CUDAGraph(), gc.isenabled()
    gc.collect()
    gc.disable()  # to free the graph of an earlier training would end the recording
    try:
        # What other threads do meanwhile, such as reading ahead, is none of the recording.
        with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            yield graph
    except BaseException:
        _renew_generator(device)
        raise
    finally:
        if collecting:
            gc.enable()


def _renew_generator(device: torch.device) -> None:
    """Give the device's generator a fresh state: one that is left in a recording draws no more."""
    usual = torch.cuda.default_generators[device.index or 0]
    usual.graphsafe_set_state(torch.Generator(device).graphsafe_get_state())


class Scalars:
    """Weights of terms and learning rates, as scalars on the device.

    Attributes:
        now: Those of the step that was set last; always the same tensors.
    """

    def __init__(self, trainer: Trainer, now: Callable[..., Now]) -> None:
        self.trainer, self._players = trainer, trainer.players
        terms = [list(player.objective.weights) for player in self._players]
        width = sum(map(len, terms)) + len(terms)
        self.row = torch.zeros(width, device=trainer.device)
        values = iter(self.row.unbind())
        weights = [{name: next(values) for name in names} for names in terms]
        self.now = now(weights, list(values))
        self._key: tuple[int, int, int] = (-1, -1, -1)
        self._block = self.row[None]

    def set(self, step: int) -> None:
        """Take those of this step."""
        trainer = self.trainer
        key = step // BLOCK, trainer.total_steps, trainer.began
        if key != self._key:
            first = step - step % BLOCK
            points = (trainer.progress(i + 0.5) for i in range(first, first + BLOCK))
            rows = torch.tensor([self._of(*point) for point in points])
            self._key, self._block = key, sent(rows, self.row.device)
        self.row.copy_(self._block[step % BLOCK])

    def _of(self, progress: float, along: float) -> list[float]:
        weights = [
            player.objective.weight(name, progress)
            for player in self._players
            for name in player.objective.weights
        ]
        rate = self.trainer.settings.rate
        return weights + [rate(along, player.lr) for player in self._players]


class Graphs:
    """The recorded steps of a training: one for each set of players that move together.

    Arguments:
        trainer: Whose steps.
        losses: How they compute their losses.
        scalars: What they read of the progress.
        batch: One of the whole batches, whose shapes all have.
    """

    def __init__(self, trainer: Trainer, losses: Losses, scalars: Scalars, batch: Batch) -> None:
        self.trainer, self.losses, self.scalars = trainer, losses, scalars
        self.batch = Batch(batch.x.clone(), None if batch.c is None else batch.c.clone())
        self._tapes: dict[tuple[int, ...], tuple[Tape, list[str], Tensor]] = {}

    def take(self, batch: Batch, moving: Sequence[int]) -> tuple[list[str], Tensor]:
        """A step on a batch; as `Trainer.take`."""
        tape, names, row = self._tapes.get(tuple(moving)) or self.record(moving)
        self.scalars.set(self.trainer.step)
        self.batch.x.copy_(batch.x)
        if self.batch.c is not None and batch.c is not None:
            self.batch.c.copy_(batch.c)
        tape.replay()
        return names, row.clone()

    def forget(self) -> None:
        """Record steps anew when they are taken next: tensors may lie elsewhere by now."""
        self._tapes.clear()

    def record(self, moving: Sequence[int]) -> tuple[Tape, list[str], Tensor]:
        """Record the step in which these players move."""
        trainer = self.trainer
        places = [
            place
            for module in (trainer.model, *trainer.others)
            for place in buffers(module).values()
        ]
        before = [held[key] for held, key in places]
        try:
            with recording(trainer.device) as tape:
                names, row = trainer.take(self.batch, moving, self.scalars.now, self.losses)
                for (held, key), old in zip(places, before, strict=True):
                    if held[key] is not old:
                        old.copy_(held[key])
        finally:
            for (held, key), old in zip(places, before, strict=True):
                held[key] = old
        made = self._tapes[tuple(moving)] = tape, names, row
        return made


def chosen(trainer: Trainer, losses: Losses, now: Callable[..., Now]) -> Graphs | None:
    """The recorded steps of this training, or None where they are not to be.

    Raises UserError where they were asked for and cannot be.
    """
    wanted, why = trainer.settings.graph, _why_not(trainer)
    if wanted == "off" or (wanted == "auto" and why):
        return None
    if why:
        raise UserError(f"graph is on, but {why}: use --graph off or auto")
    with trainer.undisturbed():
        batch = next(iter(trainer.train.epoch(0)))
        made = Graphs(trainer, losses, Scalars(trainer, now), batch)
        try:
            for _ in range(WARM):
                passed(trainer, losses, batch, 1.0)
            for start in sorted({player.start for player in trainer.players}):
                made.record([i for i, p in enumerate(trainer.players) if p.start <= start])
        except Exception as error:  # of many kinds: a value that is read, a library
            if ran_out(error):
                raise
            if wanted == "on":
                raise UserError(
                    f"this step cannot be recorded: use --graph off ({reason_of(error)})"
                ) from None
            warnings.warn(f"steps run as they are, not recorded: {reason_of(error)}", stacklevel=2)
            return None
    return made


def _why_not(trainer: Trainer) -> str:
    """Why a step of this training is not recorded; "" where it can be tried."""
    if trainer.device.type != "cuda":
        return f"the device is {trainer.device}: graphs are of CUDA"
    if distributed.size() > 1:
        return f"{distributed.size()} processes train together"
    if trainer.settings.precision == "fp16":
        return "precision is fp16, whose scale is found step by step"
    if len(next(iter(trainer.train.epoch(0))).x) < trainer.rows:
        return "no batch is whole"
    return ""

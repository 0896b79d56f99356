"""Compiling a training step: an estimate says whether it can pay, a trial whether it does.

torch.compile takes tens of seconds before the first step and makes each a little cheaper, so that
it pays on long trainings only. `auto` first times a few passes as they are: where even the most
that compiling has been seen to save would not earn back what it costs, that is all. Otherwise the
step is compiled and timed, and kept where it is quicker. run.json keeps what was decided, so that
a training that is resumed or repeated computes the same.

An adaptive weight reads gradients between the model and the terms, so that the step is compiled
in parts. A part computes the gradients of all its terms whenever one of them is asked for.

Full batches alone are compiled; the last, shorter one of an epoch and validation run as they are,
since every further shape would be compiled anew.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from zspace.system.bars import bar
from zspace.system.errors import UserError, ran_out
from zspace.training.optimizer import moved

if TYPE_CHECKING:
    from zspace.data.spec import Batch
    from zspace.training.trainer import Losses, Trainer

SAVES = {"cpu": 0.1, "cuda": 0.5}
"""The largest part of a step that compiling saves, by kind of device; see benchmarks/README.md."""
COSTS = {"cpu": 20.0, "cuda": 60.0}
"""Seconds that compiling takes."""
PASSES, WARM = 8, 3


def chosen(trainer: Trainer, *, quiet: bool = False) -> Losses | None:
    """The losses of this training, compiled, or None where they are not to be.

    Raises UserError where compiling was asked for and fails.
    """
    wanted = trainer.settings.compile
    if wanted == "off":
        return None
    with trainer.undisturbed():
        # This also has torch find its closed forms, which it cannot do while compiling.
        eager = seconds(trainer, trainer.losses)
        left = 60 * trainer.settings.minutes or eager * trainer.total_steps
        kind = trainer.device.type
        if wanted == "auto" and left * SAVES.get(kind, 0.0) <= COSTS.get(kind, 0.0):
            return None
        compiled = _compiled(trainer.losses)
        try:
            with bar("compiling a step", PASSES, quiet) as made:
                quick = seconds(trainer, compiled, made)
            _check_that_it_is()
        except Exception as error:  # of many kinds: no C++ compiler, no Triton, no rule
            if ran_out(error):
                raise
            if wanted == "on":
                raise UserError(
                    f"this step cannot be compiled here: use --compile off ({reason_of(error)})"
                ) from None
            warnings.warn(f"steps run as they are, not compiled: {reason_of(error)}", stacklevel=2)
            return None
    return None if wanted == "auto" and quick >= eager else compiled


def passed(trainer: Trainer, losses: Losses, batch: Batch, progress: float) -> None:
    """One pass forward and back of all players, which move nothing."""
    objectives = [player.objective for player in trainer.players]
    every = zip(objectives, losses(objectives, batch), trainer.optimizers, strict=True)
    for objective, means, optimizer in every:
        loss, _ = objective.weighed(means, progress)
        kept = objective is not objectives[-1]
        loss.sum().backward(retain_graph=kept, inputs=moved(optimizer))


def reason_of(error: Exception) -> str:
    """The first line of an error, with its kind."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def _compiled(losses: Losses) -> Losses:
    """What compiles itself when it is called first.

    torch keeps at most eight versions of a function, those of other trainings in this process
    included, and then runs it as it is without a word: they are forgotten.
    """
    import torch._dynamo  # takes a second
    import torch._functorch.config

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # An adaptive weight asks for two gradients of the terms, so they may be gone through twice.
    torch._functorch.config.donated_buffer = False
    return torch.compile(losses)


def _check_that_it_is() -> None:
    """Raise RuntimeError where torch has compiled nothing and runs the step as it is."""
    if not torch._dynamo.utils.counters["stats"]["unique_graphs"]:
        raise RuntimeError("torch made no graph of it")


def seconds(trainer: Trainer, losses: Losses, made: Callable[[int], Any] = int) -> float:
    """The median time of a pass forward and back, over a few points of the training."""
    batch, times = next(iter(trainer.train.epoch(0))), []
    for i in range(PASSES):
        start = time.perf_counter()
        passed(trainer, losses, batch, (i + 0.5) / PASSES)
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)
        times.append(time.perf_counter() - start)
        made(1)
    return statistics.median(times[WARM:])

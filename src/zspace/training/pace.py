"""How long a training takes: told after its first steps, or measured before them to choose epochs.

    seconds = epochs (steps * step + check) + end

``--minutes`` chooses the epochs before the first step, for a schedule is known as a whole. So the
training is tried at several points of its progress, and all that the trial changed is put back:
afterwards it takes the same steps as one that was given these epochs.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

import torch

from zspace.data.batches import Batches
from zspace.data.spec import Batch
from zspace.system.bars import time_text
from zspace.training.trainer import Batches as AnyBatches
from zspace.training.trainer import Trainer, evaluate

POINTS = (0.05, 0.35, 0.65, 0.95)
"""Progress at which steps are tried: players may join late, and a step then takes longer."""
BLOCKS, LONGEST, WARM = 3, 5, 2
SHARE = 0.05
"""Part of the minutes that the trial may take, unless a few steps take longer."""
FIRST, SOON = 2.0, 8.0
"""Seconds after which a training says how long it takes: of steps that are warm, and of any."""
FORWARD = 1 / 3
"""A pass without gradients over one with them, where it was not measured."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, of the measures after an epoch, and of those after the last one."""

    step: float
    check: float = 0.0
    end: float = 0.0

    def epochs(self, minutes: float, steps: int) -> int:
        """How many epochs of so many steps fit into the minutes; at least 1.

        >>> Pace(step=0.01, check=1.0, end=5.0).epochs(minutes=1, steps=100)
        27
        """
        return max(1, int((60 * minutes - self.end) / (steps * self.step + self.check)))

    def told(self, trainer: Trainer) -> str:
        """How long what is left of a training takes: 'about 3 min: 12 epochs of 422 steps ...'."""
        steps, left = len(trainer.train), self.left(trainer)
        epochs = (trainer.settings.epochs or 0) - trainer.epoch
        more = " more" if trainer.epoch else ""
        asked = 60 * trainer.settings.minutes if self is trainer.pace else 0
        long = f", which is more than the {time_text(asked)} asked for" if 0 < asked < left else ""
        return (
            f"about {time_text(left)}: {epochs:,}{more} epoch{'s' * (epochs != 1)} of "
            f"{steps:,} step{'s' * (steps != 1)} at {1000 * self.step:.3g} ms{long}"
        )

    def left(self, trainer: Trainer) -> float:
        """Seconds of what is left of a training."""
        epochs = (trainer.settings.epochs or 0) - trainer.epoch
        return (trainer.total_steps - trainer.step) * self.step + epochs * self.check + self.end


class Clock:
    """Finds a training's pace from its first steps, and says it once.

    What an epoch adds to its steps is then a guess, from how many images are measured.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.start = self.mark = time.monotonic()
        self.first = trainer.step
        self.done = trainer.pace is not None

    def step(self, trainer: Trainer) -> Pace | None:
        """The pace, after the first step at which it is known; else None."""
        now, taken = time.monotonic(), trainer.step - self.first
        if taken == WARM:
            self.mark = now
        warm = taken > WARM and now - self.mark >= FIRST
        if self.done or not (warm or now - self.start >= SOON):
            return None
        return self._found(trainer, warm, now)

    def epoch(self, trainer: Trainer) -> Pace | None:
        """The same after an epoch, for one of which the steps were over too soon."""
        taken = trainer.step - self.first
        if self.done or not taken:
            return None
        return self._found(trainer, taken > WARM, time.monotonic())

    def _found(self, trainer: Trainer, warm: bool, now: float) -> Pace:
        self.done = True
        taken = trainer.step - self.first
        step = (now - self.mark) / (taken - WARM) if warm else (now - self.start) / taken
        checked = [trainer.validation, *trainer.watched.values()]
        rows = sum(len(b.samples) for b in checked if isinstance(b, Batches))
        return Pace(step, FORWARD * step * rows / trainer.batch)


def measured(
    trainer: Trainer, splits: Mapping[str, Batches], one: Trainer | None = None, models: int = 1
) -> Pace:
    """The pace of a training that has not begun, which is afterwards as it was.

    Arguments:
        trainer: Whose steps are tried.
        splits: What is measured in the end.
        one: The training of one model, where `trainer` is a stack of so many models.
    """
    allowed = SHARE * 60 * trainer.settings.minutes / len(POINTS)
    before = copy.deepcopy(trainer.state())
    try:
        step = _steps(trainer, allowed)
        check, end = _checks(one or trainer, splits)
    finally:
        trainer.load_state(before)
        for player in trainer.players:
            player.module.zero_grad(set_to_none=True)
    return Pace(step, models * check, models * end)


def _steps(trainer: Trainer, allowed: float) -> float:
    """Seconds of a step: the mean over the training of medians at some of its points.

    allowed: seconds for each of the points.
    """
    trainer.model.train()
    stream, times = _endless(trainer), []

    def take(count: int, at: float) -> float:
        first = min(int(at * trainer.total_steps), max(0, trainer.total_steps - count - WARM))
        start = time.perf_counter()
        for i in range(count):
            trainer.position, batch = next(stream)
            trainer.step = first + i
            trainer.train_on(batch)
        _wait(trainer.device)
        return (time.perf_counter() - start) / count

    for at in POINTS:
        end = time.perf_counter() + allowed
        take(WARM, at)
        size = max(1, min(LONGEST, int(allowed / BLOCKS / max(1e-6, take(1, at)))))
        blocks = [take(size, at)]
        while len(blocks) < BLOCKS and time.perf_counter() < end:
            blocks.append(take(size, at))
        times.append(statistics.median(blocks))
    stream.close()  # what reads ahead ends
    return statistics.mean(times)


def _endless(trainer: Trainer) -> Generator[tuple[int, Batch], None, None]:
    while True:
        yield from enumerate(trainer.train.epoch(0))


def _checks(one: Trainer, splits: Mapping[str, Batches]) -> tuple[float, float]:
    """Seconds of the measures after an epoch, and of those after the last one, of one model."""

    def seconds(work: Callable[[], object]) -> float:
        work()  # the first time takes longer
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    objective, few = one.players[0].objective, _First(one.validation)
    batch = seconds(lambda: evaluate(one.model, objective, few, batch=one.estimated_in))
    watching = seconds(one.watch)
    watched = sum(len(b.samples) for b in one.watched.values() if isinstance(b, Batches))
    image = watching / max(1, watched)
    check = len(one.validation) * batch + watching
    return check, sum(map(len, splits.values())) * batch + len(splits["test"].samples) * image


class _First:
    """The first of some batches."""

    def __init__(self, whole: AnyBatches, most: int = 1) -> None:
        self.whole, self.most = whole, most

    def __len__(self) -> int:
        return min(self.most, len(self.whole))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        return itertools.islice(self.whole.epoch(number), self.most)

    def counts(self, at: int) -> tuple[int, int]:
        return self.whole.counts(at)

    def at_random(self, size: int) -> AnyBatches:
        """As many samples as are in one batch of validation."""
        mixed = self.whole.at_random(size)
        return _First(mixed, max(1, round(len(mixed) / len(self.whole))))


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

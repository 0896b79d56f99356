"""Means of terms over batches, gathered on the device and read in one go.

The one loop: `Fit` trains any model with any players, epoch by epoch, and can be put on hold.

Nothing is read back from the device within an epoch: terms gather there and are read at its end
(and after every 1,000 steps of a longer one, so that a loss that is not finite is found in time).

Where several ranks train (see `zspace.system.distributed`) each reads its rows of a batch;
gradients and terms become those of the whole batch in one message a step, so that all ranks take
the same step, read the same terms and decide the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zspace.analysis.reconstruction import reconstruction_quality
from zspace.data.batches import mix
from zspace.data.spec import Batch
from zspace.models.flow import Model
from zspace.models.objective import Objective
from zspace.models.recipes import Player
from zspace.runs.settings import Settings
from zspace.system import distributed
from zspace.system.device import DTYPES, keep_freed_memory, random_state, set_random_state
from zspace.system.errors import UserError
from zspace.training.optimizer import Average, adamw, copied, load_moments, moved


class NonFinite(UserError):
    """A term was NaN or infinite: says at which step, and the value of every term there."""


@dataclass
class Meter:
    """Rows of terms, one a batch, weighted by the size of the batch.

    first_step: batches that were counted before. what: how a row is called when it is bad.
    """

    first_step: int = 0
    what: str = "step"
    names: list[str] = field(default_factory=list)
    rows: list[tuple[Tensor, ...]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    total: Tensor | None = None
    count: int = 0

    def add(self, report: Mapping[str, Tensor], size: int) -> None:
        self.names = list(report)
        self.rows.append(tuple(report.values()))
        self.sizes.append(size)

    def fold(self) -> None:
        """Read the rows into the running total. Raises NonFinite, naming step and terms."""
        if not self.rows:
            return
        rows = torch.stack([torch.stack(row) for row in self.rows]).double().cpu()
        self._refuse_non_finite(rows)
        total = torch.tensor(self.sizes, dtype=torch.float64) @ rows
        self.total = total if self.total is None else self.total + total
        self.count += sum(self.sizes)
        self.first_step += len(self.rows)
        self.rows, self.sizes = [], []

    def means(self) -> dict[str, float]:
        self.fold()
        assert self.total is not None
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))

    def _refuse_non_finite(self, rows: Tensor) -> None:
        bad = (~rows.isfinite()).any(dim=1).nonzero()
        if len(bad):
            i = int(bad[0])
            terms = zip(self.names, rows[i].tolist(), strict=True)
            values = ", ".join(f"{name} = {value:.6g}" for name, value in terms)
            number = self.first_step + i + 1
            raise NonFinite(f"the loss is not finite at {self.what} {number}: {values}")


READ_EVERY = 1000


Losses = Callable[[Sequence[Objective], Batch, float], list[tuple[Tensor, dict[str, Tensor]]]]


class Batches(Protocol):
    """Where batches come from: the order of an epoch is a function of (seed, epoch)."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of this epoch from position `start` on; this rank's rows of them."""

    def counts(self, at: int) -> tuple[int, int]:
        """Rows of batch `at` that count on this rank, and on all; asked of several ranks only."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: means of every term, on the training and the validation set.

    quality: of reconstructions of the watched images (see `zspace.data.kinds.image`), set by set.
    """

    number: int
    step: int
    lr: float
    seconds: float
    samples_per_second: float
    train: dict[str, float]
    validation: dict[str, float]
    best: bool
    quality: dict[str, dict[str, float]] = field(default_factory=dict)


class Trainer:
    """A training in progress.

    model: on its device. players: who moves. train, validation: batches on that device.
    settings: with `epochs` and `precision` decided. fixed: modules that do not move, but belong
    to the state of the training. watched: batches, not shuffled, whose reconstructions are
    measured after every epoch. on_step is called after every step. compiled: `losses`, compiled,
    for batches of full size; see `zspace.training.compiling`.

    A game of several players has no objective that says which epoch is best: the last one is.
    """

    def __init__(
        self,
        model: Model,
        players: tuple[Player, ...],
        train: Batches,
        validation: Batches,
        settings: Settings,
        fixed: Sequence[nn.Module] = (),
        watched: Mapping[str, Batches] | None = None,
    ) -> None:
        assert settings.epochs is not None
        assert settings.precision != "auto"
        self.model, self.players, self.settings = model, players, settings
        self.game = len(players) > 1
        if self.game and settings.patience:
            raise UserError(
                f"patience is {settings.patience}, but a game of {len(players)} players has no "
                "objective that says which epoch is best: leave patience out"
            )
        self.watched = watched or {}
        self.others = [*(player.module for player in players[1:]), *fixed]
        self.train, self.validation = train, validation
        self.device = next(model.parameters()).device
        keep_freed_memory()
        self.optimizers = [adamw(player.module, settings) for player in players]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.total_steps = settings.epochs * len(train)
        self.epoch = self.position = self.step = self.stale = 0
        self.seconds, self.share = 0.0, 1.0
        self.meter = Meter()
        self.average = Average(model, settings.ema)
        self.best: dict[str, Tensor] = {}
        self.best_objective, self.best_epoch = float("inf"), 0
        self.on_step: Callable[[Trainer], None] = lambda trainer: None
        for player in players:
            player.objective.over_ranks = lambda tensors: distributed.mean(tensors, self.share)
        self.losses: Losses = self._losses
        self.compiled: Losses | None = None

    def epochs(self) -> Iterator[Epoch]:
        """Train on, yielding after each epoch. Raises NonFinite; `best` keeps good weights."""
        assert self.settings.epochs is not None
        distributed.check_same("checkpoint", f"step {self.step}")
        while self.epoch < self.settings.epochs and not self.stopped_early:
            yield self._one_epoch()

    @property
    def stopped_early(self) -> bool:
        return 0 < self.settings.patience <= self.stale

    def _one_epoch(self) -> Epoch:
        self.model.train()
        start, before = time.perf_counter(), self.seconds
        self._seed()
        for batch in self.train.epoch(self.epoch, self.position):
            self.train_on(batch)
            self._seed()
            self.seconds = before + time.perf_counter() - start
            self.on_step(self)
        train = self.meter.means()
        self.seconds = before + time.perf_counter() - start
        samples, seconds = self.meter.count, self.seconds
        self.meter = Meter(self.step)
        self.epoch, self.position, self.seconds = self.epoch + 1, 0, 0.0
        validation = distributed.of_first(self._validate())
        return Epoch(
            number=self.epoch,
            step=self.step,
            lr=self.settings.rate((self.step - 0.5) / self.total_steps),
            seconds=seconds,
            samples_per_second=samples / seconds,
            train=train,
            validation=validation,
            quality=self._watch(),
            best=self._keep_if_best(validation["objective"]),
        )

    def _seed(self) -> None:
        """Several ranks draw by (seed, step, rank): no checkpoint must keep a state of each."""
        if distributed.size() > 1:
            torch.manual_seed(mix(self.settings.seed, self.step, distributed.rank()))

    def train_on(self, batch: Batch) -> None:
        """One step of all players. Nothing is read back from the device."""
        rows = len(batch.x)
        if distributed.size() > 1:
            own, rows = self.train.counts(self.position)
            self.share = own / rows
        progress = (self.step + 0.5) / self.total_steps  # the step's middle: none has a rate of 0
        whole = len(batch.x) == self.settings.batch
        losses = self.compiled if self.compiled and whole else self.losses
        results = losses([player.objective for player in self.players], batch, progress)
        report: dict[str, Tensor] = {}
        moving = []
        for player, optimizer, (loss, terms) in zip(
            self.players, self.optimizers, results, strict=True
        ):
            report = {**terms, **report}  # `objective` is the first player's
            if progress >= player.start:
                optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                moving.append(optimizer)
        report = self._over_ranks(report, moving)
        for optimizer in moving:
            self._move(optimizer, self.settings.rate(progress))
        self.scaler.update()
        self.average.update(self.step)
        self.meter.add(report, rows)
        self.step, self.position = self.step + 1, self.position + 1
        if len(self.meter.rows) >= READ_EVERY:
            self.meter.fold()

    def _over_ranks(
        self, report: dict[str, Tensor], moving: Sequence[torch.optim.Optimizer]
    ) -> dict[str, Tensor]:
        """Make the gradients those of the whole batch, and return its terms."""
        if distributed.size() == 1:
            return report
        gradients = [
            p.grad for optimizer in moving for p in moved(optimizer) if p.grad is not None
        ]
        means = distributed.mean([*gradients, *report.values()], self.share)
        torch._foreach_copy_(gradients, means[: len(gradients)])
        return dict(zip(report, means[len(gradients) :], strict=True))

    def _move(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        optimizer.param_groups[0]["lr"] = rate
        if self.settings.clip:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(moved(optimizer), self.settings.clip)
        self.scaler.step(optimizer)

    def _losses(
        self, objectives: Sequence[Objective], batch: Batch, progress: float
    ) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """The loss and the report of each objective, all of one pass of the model."""
        with self.autocast():
            p = self.model(batch.x, batch.c, objectives[0].samples)
            return [objective(p, progress) for objective in objectives]

    def autocast(self) -> torch.autocast:
        """Within, products are in the number format of the settings."""
        dtype = DTYPES[self.settings.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def _loss(
        self, objective: Objective, batch: Batch, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.losses([objective], batch, progress)[0]

    def _validate(self) -> dict[str, float]:
        objective = self.players[0].objective
        with self.average.used():
            try:
                return evaluate(self.model, objective, self.validation, self._loss)
            except NonFinite as error:
                raise NonFinite(f"after step {self.step}, on validation, {error}") from None

    def _watch(self) -> dict[str, dict[str, float]]:
        with self.average.used(), self.autocast():
            return {
                name: reconstruction_quality(self.model, b.epoch(0))
                for name, b in self.watched.items()
            }

    def _keep_if_best(self, objective: float) -> bool:
        if objective >= self.best_objective and not self.game:
            self.stale += 1
            return False
        self.stale, self.best_objective, self.best_epoch = 0, objective, self.epoch
        with self.average.used():
            self.best = copied(self.model)
        return True

    def state(self) -> dict[str, Any]:
        """Nested dicts of tensors and numbers from which `load_state` goes on bit for bit."""
        self.meter.fold()
        return {
            "model": self.model.state_dict(),
            "others": {str(i): other.state_dict() for i, other in enumerate(self.others)},
            "optimizers": {
                str(i): optimizer.state_dict()["state"]
                for i, optimizer in enumerate(self.optimizers)
            },
            "scaler": self.scaler.state_dict(),
            "ema": self.average.weights,
            "best": self.best,
            "counters": {name: getattr(self, name) for name in COUNTERS},
            "meter": {
                "names": self.meter.names,
                "count": self.meter.count,
                "total": self.meter.total if self.meter.count else torch.zeros(0),
            },
            "random": random_state(self.device),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned, on a `Fit` of the same model, players and settings."""
        self.model.load_state_dict(state["model"])
        for i, other in enumerate(self.others):
            other.load_state_dict(state["others"].get(str(i), {}))
        for i, optimizer in enumerate(self.optimizers):
            load_moments(optimizer, state["optimizers"][str(i)])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in state["ema"].items():
            self.average.weights[name].copy_(value)
        self.best = {name: value.to(self.device) for name, value in state["best"].items()}
        for name in COUNTERS:
            setattr(self, name, state["counters"][name])
        meter = state["meter"]
        total = meter["total"] if meter["count"] else None
        self.meter = Meter(self.step, names=meter["names"], total=total, count=meter["count"])
        set_random_state(state["random"], self.device)


COUNTERS = ("epoch", "position", "step", "stale", "seconds", "best_objective", "best_epoch")


def evaluate(
    model: Model,
    objective: Objective,
    batches: Batches,
    loss: Callable[[Objective, Batch, float], tuple[Tensor, dict[str, Tensor]]] | None = None,
) -> dict[str, float]:
    """Means of every term over the batches, at the final weights of the schedules.

    The draws of codes are the same at every call and leave the training's generators alone.
    """
    device = next(model.parameters()).device
    before, meter = random_state(device), Meter(what="evaluation batch")
    model.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for batch in batches.epoch(0):
            if loss is None:
                _, report = objective(model(batch.x, batch.c, objective.samples))
            else:
                _, report = loss(objective, batch, 1.0)
            meter.add(report, len(batch.x))
    set_random_state(before, device)
    return meter.means()

"""The one loop: `Trainer` trains any model with any players and can be put on hold.

Nothing is read back from the device within an epoch: terms gather there and are read at its end
(and after every 1,000 steps of a longer one, so that a loss that is not finite is found in time).

Where several ranks train (see `zspace.system.distributed`) each reads its rows of a batch;
gradients and terms become those of the whole batch in one message per step, so that all ranks take
the same step, read the same terms and decide the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zspace.analysis.reconstruction import reconstruction_quality
from zspace.data.batches import mix
from zspace.data.spec import Batch
from zspace.models.flow import Model, Pass
from zspace.models.objective import Objective, Progress
from zspace.models.recipes import Player
from zspace.runs.settings import LARGEST, Compile, Graph, Settings
from zspace.system import distributed
from zspace.system.device import DTYPES, keep_freed_memory, random_state, set_random_state
from zspace.system.errors import UserError, unknown
from zspace.training import compiling, graphs
from zspace.training.meter import Meter, NonFinite, row_of
from zspace.training.optimizer import (
    Average,
    adamw,
    buffers,
    copied,
    load_moments,
    moved,
    restore,
)

if TYPE_CHECKING:
    from zspace.training.pace import Pace


READ_EVERY = 1000

Means = list[dict[str, Tensor]]


class Losses(Protocol):
    """The means of the terms of each objective, all of one pass of the model."""

    def __call__(
        self,
        objectives: Sequence[Objective],
        batch: Batch,
        between: Callable[[Pass], None] | None = None,
        /,
    ) -> Means:
        """between: called with the pass, before the objectives read it."""


@dataclass(frozen=True)
class Now:
    """What follows from the progress of a training, for each player.

    weights: Of its terms, or the progress itself. rates: Its learning rate.
    """

    weights: Sequence[Progress]
    rates: Sequence[float | Tensor]


class Batches(Protocol):
    """Where batches come from: the order of an epoch is a function of (seed, epoch)."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of this epoch from position `start` on; this rank's rows of them."""

    def counts(self, at: int) -> tuple[int, int]:
        """Rows of batch `at` that count on this rank, and on all; asked of several ranks only."""

    def at_random(self, batch: int) -> Batches:
        """The same samples, mixed, in whole batches of this size; asked of estimates only."""


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

    `epochs` is the whole loop and `train_on` one step of it; `state` and `load_state` put it on
    hold. Everything is kept: parameters and buffers of any type, moments, counters, generators.

    Arguments:
        model: On its device.
        players: Who moves. All read one pass of the model.
        train, validation: Batches on that device.
        settings: With `epochs` and `precision` decided.
        fixed: Modules that do not move, but belong to the state of the training.
        watched: Batches, not shuffled, whose reconstructions are measured after every epoch.
        measure: Of reconstructions, where the samples are no images.
        best: The validation term whose lowest value chooses the best epoch; by default the
            objective, or, in a game of several players, which has none in common, the last epoch.
        losses: How a step computes its losses, by default one pass of the model under autocast.
        clip: How gradients are clipped to a norm, by default `torch.nn.utils.clip_grad_norm_`.

    Raises UserError for an unknown `best`, for patience in a game without one, and where the first
    player has several steps.

        trainer = Trainer(model, recipe.players, train, validation, settings)
        for epoch in trainer.epochs():
            print(epoch.validation)
    """

    def __init__(
        self,
        model: Model,
        players: tuple[Player, ...],
        train: Batches,
        validation: Batches,
        settings: Settings,
        *,
        fixed: Sequence[nn.Module] = (),
        watched: Mapping[str, Batches] | None = None,
        best: str = "",
        measure: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None,
        losses: Losses | None = None,
        clip: Callable[[Sequence[nn.Parameter], float], Any] = nn.utils.clip_grad_norm_,
    ) -> None:
        assert settings.epochs is not None
        assert settings.precision != "auto"
        self.model, self.players, self.settings = model, players, settings
        self.batch, self.patience = settings.batch or LARGEST, settings.patience or 0
        self.criterion = best or ("objective" if len(players) == 1 else "")
        self._check()
        self.watched, self.measure = watched or {}, measure
        rivals = [player.module for player in players[1:]]
        self.others = [*rivals, *fixed]
        self.train, self.validation = train, validation
        self.device = next(model.parameters()).device
        keep_freed_memory()
        self.optimizers = [adamw(player, settings) for player in players]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.total_steps = settings.epochs * len(train)
        self.pace: Pace | None = None
        self.epoch = self.position = self.step = self.stale = 0
        self.began = 0
        self.seconds, self.share = 0.0, 1.0
        self.meter = Meter()
        self.average = Average(model, settings.ema)
        self.best: dict[str, Tensor] = {}
        self.best_objective, self.best_epoch = float("inf"), 0
        for player in players:
            player.objective.over_ranks = lambda tensors: distributed.mean(tensors, self.share)
            player.objective.scaled = self.scaler.scale
        self.losses: Losses = losses or self._losses
        self.rows = self.batch
        self._compiled: Losses | None = None
        self._graphs: graphs.Graphs | None = None
        self._clip = clip
        shared = [model, *rivals] if distributed.size() > 1 else []
        self._buffers = [place for module in shared for place in buffers(module).values()]

    def _check(self) -> None:
        if self.players[0].steps > 1:
            raise UserError(
                f"steps of the first player is {self.players[0].steps}, but its step is what the "
                "others are counted by: leave it at 1"
            )
        terms = [*self.players[0].objective.weights, "objective"]
        if self.criterion and self.criterion not in terms:
            raise unknown("validation term that chooses the best epoch", self.criterion, terms)
        if self.settings.patience and not self.criterion:
            raise UserError(
                f"patience is {self.settings.patience}, but a game of {len(self.players)} players "
                "has no objective that says which epoch is best: leave patience out, or have the "
                "recipe name a term (best=)"
            )

    def plan(self, epochs: int, pace: Pace) -> None:
        """Take so many epochs, chosen by the pace that was measured, before the first step."""
        self.settings, self.pace = replace(self.settings, epochs=epochs), pace
        self.total_steps = epochs * len(self.train)

    def extend(self, epochs: int) -> None:
        """Take so many epochs in all, from the end of a training that was finished.

        From here on weights of terms are what they were in the end, and the learning rate follows
        its schedule anew over the epochs that are added.
        """
        self.began, self.stale = self.step, self.stale * (not self.stopped_early)
        self.settings = replace(self.settings, epochs=epochs)
        self.total_steps = epochs * len(self.train)

    @property
    def scheduled(self) -> bool:
        """Whether a weight of a term, or who moves, follows the progress of the training."""
        weights = (w for player in self.players for w in player.objective.weights.values())
        return any(player.start for player in self.players) or any(map(callable, weights))

    def progress(self, step: float) -> tuple[float, float]:
        """How far a training is, in [0, 1]: what weights of terms follow, and what rates do."""
        share = (step - self.began) / (self.total_steps - self.began)
        share = min(1.0, max(0.0, share))
        return 1.0 if self.began else share, share

    def epochs(self, on_step: Callable[[Trainer], None] = lambda trainer: None) -> Iterator[Epoch]:
        """Train on, yielding after each epoch; `best` keeps the weights of the best one.

        on_step: called after every step. Raises NonFinite.
        """
        assert self.settings.epochs is not None
        distributed.check_same("checkpoint", f"step {self.step}")
        while self.epoch < self.settings.epochs and not self.stopped_early:
            yield self._one_epoch(on_step)

    @property
    def stopped_early(self) -> bool:
        """Whether `patience` epochs were no better than the best."""
        return 0 < self.patience <= self.stale

    def _one_epoch(self, on_step: Callable[[Trainer], None]) -> Epoch:
        self.model.train()
        start = time.perf_counter() - self.seconds
        self._seed()
        for batch in self.train.epoch(self.epoch, self.position):
            self.train_on(batch)
            self._seed()
            self.seconds = time.perf_counter() - start
            on_step(self)
        train = self.meter.means()
        self.seconds = time.perf_counter() - start
        samples, seconds = self.meter.count, self.seconds
        self.meter = Meter(self.step)
        self.epoch, self.position, self.seconds = self.epoch + 1, 0, 0.0
        validation = distributed.of_first(self._validate())
        return Epoch(
            number=self.epoch,
            step=self.step,
            lr=self.settings.rate(self.progress(self.step - 0.5)[1]),
            seconds=seconds,
            samples_per_second=samples / seconds,
            train=train,
            validation=validation,
            quality=self.watch(),
            best=self._keep_if_best(validation),
        )

    def _seed(self) -> None:
        """Several ranks draw by (seed, step, rank): no checkpoint must keep a state of each."""
        if distributed.size() > 1:
            torch.manual_seed(mix(self.settings.seed, self.step, distributed.rank()))

    def train_on(self, batch: Batch) -> dict[str, Tensor]:
        """One step of all players: every term, a scalar that is still on the device.

        Nothing is read back from the device.
        """
        rows = len(batch.x)
        if distributed.size() > 1:
            own, rows = self.train.counts(self.position)
            self.share = own / rows
        progress, rate = self.progress(self.step + 0.5)  # its middle: no step has a rate of 0
        moving = [i for i, player in enumerate(self.players) if progress >= player.start]
        whole = len(batch.x) == self.rows
        if self._graphs and whole:
            names, row = self._graphs.take(batch, moving)
        else:
            losses = self._compiled if self._compiled and whole else self.losses
            names, row = self.take(batch, moving, self._now(progress, rate), losses)
        self.average.update(self.step)
        self.took(names, row, rows)
        return dict(zip(names, row.unbind(), strict=True))

    def _now(self, progress: float, rate: float) -> Now:
        rates = [self.settings.rate(rate, player.lr) for player in self.players]
        return Now([progress] * len(rates), rates)

    def take(
        self, batch: Batch, moving: Sequence[int], now: Now, losses: Losses
    ) -> tuple[list[str], Tensor]:
        """What a step does on the device: it moves these players.

        Returns the names of the terms, and their values in one tensor.
        """
        before, report = self._buffers_now(), dict[str, Tensor]()
        objectives = [player.objective for player in self.players]
        means = losses(objectives, batch, self._ahead(moving, now))
        for i, (objective, values) in enumerate(zip(objectives, means, strict=True)):
            loss, terms = objective.weighed(values, now.weights[i])
            report = {**terms, **report}  # `objective` is the first player's
            if i in moving:
                self.optimizers[i].zero_grad()
                kept = losses is self._compiled and i != moving[-1]  # one graph holds all losses
                self.scaler.scale(loss.sum()).backward(
                    retain_graph=kept, inputs=moved(self.optimizers[i])
                )
        report = self._over_ranks(report, [self.optimizers[i] for i in moving], before)
        for i in moving:
            self._move(i, now.rates[i])
        self.scaler.update()
        return list(report), row_of(report)

    def took(
        self, names: Sequence[str], row: Tensor, rows: int, seconds: float | None = None
    ) -> None:
        """Count a step that was taken, here or on a stack of models. Raises NonFinite.

        row: means of the named terms over so many rows. seconds: of this epoch so far, where
        another clock runs.
        """
        self.seconds = self.seconds if seconds is None else seconds
        self.meter.add(names, row, rows)
        self.step, self.position = self.step + 1, self.position + 1
        if len(self.meter.rows) >= READ_EVERY:
            self.meter.fold()

    def _ahead(self, moving: Sequence[int], now: Now) -> Callable[[Pass], None] | None:
        """What has players of several steps take all but the last; None where there are none."""
        eager = [i for i in moving if self.players[i].steps > 1]

        def move(p: Pass) -> None:
            for i in eager:
                player, optimizer = self.players[i], self.optimizers[i]
                for _ in range(player.steps - 1):
                    loss, _ = player.objective(p, now.weights[i])
                    optimizer.zero_grad()
                    self.scaler.scale(loss).backward(inputs=moved(optimizer))
                    self._over_ranks({}, [optimizer], self._buffers_now())
                    self._move(i, now.rates[i])
                    self.scaler.update()

        return move if eager else None

    def _buffers_now(self) -> list[Tensor]:
        return [held[key].clone() for held, key in self._buffers]

    @torch.no_grad()
    def _over_ranks(
        self,
        report: dict[str, Tensor],
        moving: Sequence[torch.optim.Optimizer],
        before: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Make the gradients those of the whole batch, and return its terms.

        Buffers, which were equal on all ranks `before`, become so again. In floating point one
        changes by the mean of its changes, exactly 0 where it did not change; of any other type it
        becomes that of the first rank.
        """
        if distributed.size() == 1:
            return report
        gradients = [
            p.grad for optimizer in moving for p in moved(optimizer) if p.grad is not None
        ]
        now = [held[key] for held, key in self._buffers]
        averaged = [(a, b) for a, b in zip(now, before, strict=True) if a.is_floating_point()]
        changes = [torch.where(a == b, 0.0, a - b) for a, b in averaged]
        rest = [a for a in now if not a.is_floating_point()]
        given = [*gradients, *report.values(), *changes]
        means = iter(distributed.mean(given, self.share, rest))
        for gradient in gradients:
            gradient.copy_(next(means))
        report = {name: next(means) for name in report}
        for a, b in averaged:
            a.copy_(b + next(means))
        for a in rest:
            a.copy_(next(means))
        return report

    def _move(self, i: int, rate: float | Tensor) -> None:
        player, optimizer = self.players[i], self.optimizers[i]
        optimizer.param_groups[0]["lr"] = rate
        clip = self.settings.clip if player.clip is None else player.clip
        if clip:
            self.scaler.unscale_(optimizer)
            self._clip(moved(optimizer), clip)
        self.scaler.step(optimizer)

    def _losses(
        self,
        objectives: Sequence[Objective],
        batch: Batch,
        between: Callable[[Pass], None] | None = None,
    ) -> Means:
        with self.autocast():
            p = self.model(batch.x, batch.c, objectives[0].samples)
        if between:
            between(p)
        return [objective.means(p) for objective in objectives]

    def autocast(self) -> torch.autocast:
        """Within, products are in the number format of the settings."""
        dtype = DTYPES[self.settings.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def compile(self, *, quiet: bool = False) -> Compile:
        """Compile the step where the settings ask for it and, for `auto`, it pays: on or off.

        Raises UserError where it was asked for and fails.
        """
        self._compiled = compiling.chosen(self, quiet=quiet)
        return "on" if self._compiled else "off"

    def record(self) -> Graph:
        """Record the step as a CUDA graph where the settings and the device allow: on or off.

        Raises UserError where it was asked for and cannot be.
        """
        self._graphs = graphs.chosen(self, self._compiled or self.losses, Now)
        return "on" if self._graphs else "off"

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within, passes may be tried: state and generators are as before afterwards."""
        modules = [self.model, *self.others]
        before = [copied(module) for module in modules]
        random = random_state(self.device)
        self.model.train()
        try:
            yield
        finally:
            set_random_state(random, self.device)
            for module, state in zip(modules, before, strict=True):
                restore(module, state)
                module.zero_grad(set_to_none=True)

    def _loss(
        self, objective: Objective, batch: Batch, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return objective.weighed(self.losses([objective], batch)[0], progress)

    @property
    def estimated_in(self) -> int:
        """Samples in a batch of a training step, which terms that are estimates are made from."""
        return self.batch // distributed.size()

    def _validate(self) -> dict[str, float]:
        objective, batch = self.players[0].objective, self.estimated_in
        with self.average.used():
            try:
                return evaluate(self.model, objective, self.validation, self._loss, batch=batch)
            except NonFinite as error:
                raise NonFinite(f"after step {self.step}, on validation, {error}") from None

    def watch(self) -> dict[str, dict[str, float]]:
        """Means of the quality of reconstructions, set by set."""
        with self.average.used(), self.autocast():
            return {
                name: reconstruction_quality(self.model, b.epoch(0), measure=self.measure)
                for name, b in self.watched.items()
            }

    def _keep_if_best(self, validation: Mapping[str, float]) -> bool:
        value = validation[self.criterion or "objective"]
        if self.criterion and value >= self.best_objective:
            self.stale += 1
            return False
        self.stale, self.best_objective, self.best_epoch = 0, value, self.epoch
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
                "total": [] if self.meter.total is None else self.meter.total.tolist(),
            },
            "random": random_state(self.device),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned, in a trainer of the same model, players and settings."""
        restore(self.model, state["model"])
        for i, other in enumerate(self.others):
            restore(other, state["others"].get(str(i), {}))
        for i, optimizer in enumerate(self.optimizers):
            load_moments(optimizer, state["optimizers"][str(i)])
        self.scaler.load_state_dict(state["scaler"])
        self.average.load(state["ema"])
        self.best = {name: value.to(self.device) for name, value in state["best"].items()}
        for name in COUNTERS:
            setattr(self, name, state["counters"].get(name, 0))
        meter = state["meter"]
        total = np.array(meter["total"]) if meter["count"] else None
        self.meter = Meter(self.step, names=meter["names"], total=total, count=meter["count"])
        if self._graphs:
            self._graphs.forget()
        set_random_state(state["random"], self.device)


COUNTERS = (
    "epoch",
    "position",
    "step",
    "stale",
    "seconds",
    "best_objective",
    "best_epoch",
    "began",
)


def evaluate(
    model: Model,
    objective: Objective,
    batches: Batches,
    loss: Callable[[Objective, Batch, float], tuple[Tensor, dict[str, Tensor]]] | None = None,
    *,
    batch: int,
) -> dict[str, float]:
    """Means of every term over the batches, at the final weights of the schedules.

    Terms that are estimates from a batch are measured in another pass, over random batches of
    `batch` samples each. What is left over does not count for them; where there are fewer samples
    than that, they are one batch.

    The draws of codes are the same at every call and leave the training's generators alone.
    """
    means = _means(model, objective, batches, loss)
    if estimates := objective.estimates:
        estimated = _means(model, objective, batches.at_random(batch), loss)
        means |= {name: estimated[name] for name in estimates}
        terms = {n: torch.tensor(means[n]) for n in objective.weights}
        with torch.no_grad():
            means["objective"] = float(objective.total(terms, 1.0))
    return means


def _means(
    model: Model,
    objective: Objective,
    batches: Batches,
    loss: Callable[[Objective, Batch, float], tuple[Tensor, dict[str, Tensor]]] | None,
) -> dict[str, float]:
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
            meter.add(list(report), row_of(report), len(batch.x))
    set_random_state(before, device)
    return meter.means()

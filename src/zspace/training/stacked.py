"""Trainings that differ in their seed alone, step by step together on stacked parameters.

M models of one recipe have parameters of the same shapes. Stacked, (M, ...), they go through one
pass under ``torch.func.vmap``; the loss is the sum of the M objectives, so that the gradient in
lane m is that of model m alone; one AdamW moves all. So M small networks take as many launches on
a device as one of them.

Each run keeps a `Trainer` of its own, whose weights, averages and moments are views of the stacks:
it validates, keeps its best epoch, saves and is resumed as if it were trained by itself. Initial
weights and the order of samples are those of its own seed; draws (of codes, of dynamic
binarisation, of augmentation) come from one generator for all, seeded by all seeds, so they are
equal to those of a training by itself in distribution only. A time in seconds is that of the
group: M runs of 10 s each took 10 s.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zspace.data.batches import Batches, mix
from zspace.data.spec import Batch
from zspace.models.flow import Pass
from zspace.models.objective import Objective
from zspace.runs.config import Config
from zspace.runs.record import Place
from zspace.runs.run import Run
from zspace.system import distributed, files
from zspace.system.errors import UserError, enough_memory
from zspace.system.signals import Interrupted, refused
from zspace.training import api
from zspace.training.build import SMALLER, Build
from zspace.training.meter import NonFinite
from zspace.training.optimizer import buffers, share_moments
from zspace.training.pace import measured
from zspace.training.progress import Reporter
from zspace.training.recorder import Recorder
from zspace.training.trainer import Means, Trainer

ONE_BY_ONE = ": these runs are trained one by one"


class CannotStack(UserError):
    """These runs cannot be trained together; nothing was written."""


def alike(a: Config, b: Config) -> bool:
    """Whether two configurations differ in their seed alone."""
    return replace(a, training=replace(a.training, seed=b.training.seed)) == b


@enough_memory(SMALLER)
def start(
    configs: Sequence[Config],
    folders: Sequence[str | Path],
    reporters: Sequence[Reporter],
    save_every: float = api.SAVE_SECONDS,
    held: Mapping[str, Any] | None = None,
) -> list[Run | UserError]:
    """Train configurations that are `alike` together, each into a new folder.

    Returns for each its run, or why it failed: a run whose loss is not finite ends, the others go
    on. Each run can be resumed by itself. Raises CannotStack where they cannot be trained so,
    Interrupted where the user asked to stop (all stop after the same step, and are saved), and
    UserError where a folder exists or a configuration does not fit.
    """
    quiet = not any(reporter.bars for reporter in reporters)
    lasting = [replace(c.training, patience=c.training.patience or 0) for c in configs]
    configs = [replace(c, training=t) for c, t in zip(configs, lasting, strict=True)]
    with refused(api.NOTHING_YET) as note_in, contextlib.ExitStack() as locks:
        builds = prepared(configs, quiet=quiet, held=held)
        trainers = [build.trainer for build in builds]
        stack = Stack(trainers)
        stack.trial()
        graph = stack.record()
        if configs[0].training.epochs is None and configs[0].training.minutes:
            pace = measured(stack, builds[0].splits, trainers[0], len(trainers))
            for build in builds:
                build.plan(pace)
            stack = Stack(trainers)
            graph = stack.record()
        for build in builds:
            decided = replace(build.config.training, graph=graph)
            build.config = replace(build.config, training=decided)
        made: list[Path] = []
        try:
            recorders = []
            for build, folder, reporter in zip(builds, folders, reporters, strict=True):
                made.append(api.claim(build.config, folder))
                locks.enter_context(api.alone(made[-1]))
                states = api.kept_in(made[-1])
                recorders.append(Recorder(Place(made[-1]), build, reporter, save_every, states))
            group = Group(stack, recorders)
            for recorder in recorders:
                recorder.begin()
        except BaseException:
            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        note_in(group.signals)
        return group.run()


def prepared(
    configs: Sequence[Config], *, quiet: bool = False, held: Mapping[str, Any] | None = None
) -> list[Build]:
    """Each run made ready as if it were trained by itself, on one copy of the data.

    held: data, val or test that are held in Python.

    Raises CannotStack where these cannot be trained together, and UserError as `Build.prepare`.
    """
    if distributed.size() > 1 or not all(alike(configs[0], config) for config in configs):
        raise CannotStack(
            "runs can be stacked in one process only, and must differ in --seed alone"
        )
    _refuse(why_alone(configs[0]))
    first = Build.prepare(configs[0], quiet=quiet, planned=False, held=held)
    players = first.trainer.players
    if (
        len(players) > 1
        or first.recipe.feature_networks
        or type(players[0].objective) is not Objective
    ):
        _refuse(
            f"recipe is {configs[0].recipe}: a game, or one that looks through another network"
        )
    decided = first.config.training
    seeds = [replace(decided, seed=config.training.seed) for config in configs[1:]]
    others = [Build.built(replace(first.config, training=s), first.data) for s in seeds]
    torch.manual_seed(mix(*(config.training.seed for config in configs)))
    return [first, *others]


def why_alone(config: Config) -> str:
    """Why runs like this one are trained one by one, as far as that is configured; else "".

    Whether a recipe is a game is known once it is built: see `prepared`.
    """
    settings = config.training
    if config.network.get("net") == "unet":
        return "net is unet: torch's attention has no rule for stacked models"
    if settings.patience:
        return f"patience is {settings.patience}: such runs differ in length"
    if settings.compile != "off" or settings.precision == "fp16":
        return "stacked models are neither compiled nor trained in fp16"
    return ""


def _refuse(reason: str) -> None:
    if reason:
        raise CannotStack(f"{reason}{ONE_BY_ONE}")


class Joint:
    """Batches of M runs over the same samples: M batches of B rows, one after the other.

    parts: of one data set and one batch size, each in the order of its own seed.
    """

    def __init__(self, parts: Sequence[Batches]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of this epoch from position `start` on, (M B) rows each but for the last."""
        first = self.parts[0]
        orders = torch.stack([part.order(number) for part in self.parts])  # (M, N)
        rows = [rows.flatten() for rows in orders.split(first.batch, dim=1)]
        return first.of(rows[start:], start)

    def counts(self, at: int) -> tuple[int, int]:
        """Runs are stacked in one process only."""
        raise NotImplementedError

    def at_random(self, batch: int) -> Batches:
        """Each run is measured by itself."""
        raise NotImplementedError


class Stack(Trainer):
    """M trainings as one on parameters (M, ...), of which those of each become views."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        first, self.trainers = trainers[0], trainers
        model = copy.deepcopy(first.model)
        tensors = [_tensors(trainer.model) for trainer in trainers]
        for stack, *each in zip(_tensors(model), *tensors, strict=True):
            stack.data = torch.stack([tensor.data for tensor in each])
            for own, lane in zip(each, stack.data.unbind(), strict=True):
                own.data = lane
        super().__init__(
            model,
            (replace(first.players[0], module=model),),
            Joint([trainer.train for trainer in trainers if isinstance(trainer.train, Batches)]),
            first.validation,
            first.settings,
            losses=self._stacked_losses,
            clip=_clip_each,
        )
        self.rows = first.batch * len(trainers)
        self.values: tuple[list[str], Tensor] = ([], torch.empty(0))
        share_moments(self.optimizers[0], [trainer.optimizers[0] for trainer in trainers])
        for m, trainer in enumerate(trainers):
            trainer.average.share(self.average, m)

        self._own_buffers = buffers(model)

    def trial(self) -> None:
        """Take one pass forward and back, and undo it. Raises CannotStack where vmap cannot."""
        try:
            with self.undisturbed():
                batch = next(iter(self.train.epoch(0)))
                objective = self.players[0].objective
                loss, _ = objective.weighed(self.losses([objective], batch)[0], 0.0)
                loss.sum().backward()
                own = [p for trainer in self.trainers for p in trainer.model.parameters()]
                if any(p.grad is not None for p in own):
                    raise NotImplementedError("a term reads the weights of one model")
        except Exception as error:  # of many kinds: a layer without a rule, a branch on a value
            reason = (str(error).splitlines() or [""])[0][:200]
            raise CannotStack(
                f"this model cannot be stacked ({type(error).__name__}: {reason}){ONE_BY_ONE}"
            ) from None

    def took(
        self, names: Sequence[str], row: Tensor, rows: int, seconds: float | None = None
    ) -> None:
        """Count a step; its values are for each run to count, see `Group`."""
        self.step, self.position = self.step + 1, self.position + 1
        self.values = list(names), row

    def _stacked_losses(
        self,
        objectives: Sequence[Objective],
        batch: Batch,
        between: Callable[[Pass], None] | None = None,
    ) -> Means:
        """The means of terms, (M,) each. What a pass makes of buffers is kept."""
        objective, lanes = objectives[0], (len(self.trainers), -1)
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        given = [t.unflatten(0, lanes) for t in (batch.x, batch.c) if t is not None]

        def one(
            tensors: dict[str, Tensor], x: Tensor, c: Tensor | None = None
        ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            with self.autocast():
                p = functional_call(self.model, tensors, (x, c, objective.samples))
            # `functional_call` leaves a buffer that the model replaced in `tensors`.
            return objective.means(p), {n: tensors[n].detach() for n in self._own_buffers}

        means, changed = vmap(one, randomness="different")(tensors, *given)
        for name, (held, key) in self._own_buffers.items():
            held[key].copy_(changed[name])
        return [means]


def _clip_each(parameters: Sequence[nn.Parameter], most: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, with a norm for each of the stacked models."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (M,)
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class Group:
    """Trainings that take their steps together, each into its own folder."""

    def __init__(self, stack: Stack, recorders: Sequence[Recorder]) -> None:
        self.stack, self.recorders = stack, recorders
        self.epochs = [recorder.trainer.epochs() for recorder in recorders]
        self.ended: dict[int, Run | UserError] = {}
        self.signals: list[int] = []

    def run(self) -> list[Run | UserError]:
        """Train all to their ends: for each its run, or why it failed.

        Whoever calls this notes signals in `signals`.
        """
        try:
            self._each(self._begin)
            while self.stack.epoch < (self.stack.settings.epochs or 0) and len(self.ended) < len(
                self
            ):
                self._one_epoch()
            self._each(self._finish)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            if not self.signals:
                raise
            raise Interrupted(
                "stopped at once: 'zspace resume' goes on with each run from what was saved last"
            ) from None
        finally:
            for recorder in self.recorders:
                recorder.reporter.close()
        return [self.ended[m] for m in range(len(self))]

    def __len__(self) -> int:
        return len(self.recorders)

    def _one_epoch(self) -> None:
        self.stack.model.train()
        start = time.perf_counter()
        for batch in self.stack.train.epoch(self.stack.epoch):
            self.stack.train_on(batch)
            names, values = self.stack.values
            rows, seconds = len(batch.x) // len(self), time.perf_counter() - start
            after = partial(self._after_step, names, values.unbind(1), rows, seconds)
            self._each(after)
        self.stack.epoch, self.stack.position = self.stack.epoch + 1, 0
        self._each(self._after_epoch)

    def _each(self, do: Callable[[int], Any]) -> None:
        """Do something for each run that goes on. A signal counts for all or for none."""
        asked, stopped = list(self.signals), []
        for m, recorder in enumerate(self.recorders):
            if m in self.ended:
                continue
            recorder.signals = asked
            try:
                do(m)
            except NonFinite as error:
                self.ended[m] = recorder.failed(error)
            except files.CannotWrite as error:
                self.ended[m] = recorder.unwritable(error)
            except Interrupted:
                stopped.append(str(recorder.place))
        if stopped:
            raise Interrupted(
                f"stopped at step {self.stack.step} and saved: go on with 'zspace resume' "
                f"of each of {', '.join(stopped)}",
                max(asked, default=signal.SIGINT),
            )

    def _begin(self, m: int) -> None:
        recorder = self.recorders[m]
        recorder.reporter.start(recorder.record("running"), recorder.trainer)

    def _after_step(
        self, names: list[str], lanes: Sequence[Tensor], rows: int, seconds: float, m: int
    ) -> None:
        recorder = self.recorders[m]
        recorder.trainer.took(names, lanes[m], rows, seconds)
        recorder.after_step(recorder.trainer)

    def _after_epoch(self, m: int) -> None:
        # All the steps are taken: the run's own training reads, validates, keeps.
        self.recorders[m].after_epoch(next(self.epochs[m]))

    def _finish(self, m: int) -> None:
        self.recorders[m].signals = self.signals  # what has finished stays so, the rest is saved
        self.ended[m] = self.recorders[m].finish()

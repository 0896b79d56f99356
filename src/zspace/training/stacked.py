"""Trainings that differ in their seed alone, taken in lockstep on stacked parameters.

M models of one recipe have parameters of the same shapes. Stacked, (M, ...), they go through one
pass under ``torch.func.vmap``; the loss is the sum of the M objectives, so that the gradient in
lane m is that of model m alone; one AdamW moves all. Small networks so give a device M times as
much to do for as many launches as one of them needs.

Each run keeps a `Fit` of its own, whose weights, averages and moments are views of the stacks: it
validates, keeps its best epoch, saves and is resumed as if it were trained by itself. Initial
weights and the order of samples are those of its own seed; draws (of codes, of dynamic
binarisation, of augmentation) come from one generator for all, seeded by all seeds, so they are
equal to those of a training by itself in distribution only. A time in seconds is that of the
group: M runs of 10 s each took 10 s.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zspace.data.batches import Batches, mix
from zspace.data.spec import Batch
from zspace.models.objective import Objective
from zspace.models.recipes import Player
from zspace.runs.config import Config
from zspace.runs.run import Run
from zspace.system import distributed, files
from zspace.system.errors import UserError
from zspace.system.signals import Interrupted, refused
from zspace.training import api
from zspace.training.build import Build
from zspace.training.progress import Reporter
from zspace.training.recorder import Recorder
from zspace.training.trainer import READ_EVERY, NonFinite, Trainer


class CannotStack(UserError):
    """These jobs cannot be trained together; nothing was written."""


def alike(a: Config, b: Config) -> bool:
    """Whether two jobs differ in their seed alone."""
    return replace(a, training=replace(a.training, seed=b.training.seed)) == b


def start(
    configs: Sequence[Config],
    folders: Sequence[str | Path],
    reporters: Sequence[Reporter],
    save_every: float = api.SAVE_SECONDS,
) -> list[Run | UserError]:
    """Train jobs that are `alike` together, each into a new folder.

    Returns for each its run, or why it failed: a run whose loss is not finite ends, the others go
    on. Each run can be resumed by itself. Raises Apart where they cannot be trained together,
    Interrupted where the user asked to stop (all stop after the same step, and are saved), and
    UserError where a folder exists or a job does not fit.
    """
    quiet = not any(reporter.bars for reporter in reporters)
    with refused(api.NOTHING_YET) as note_in, contextlib.ExitStack() as locks:
        builds = prepared(configs, quiet=quiet)
        made: list[Path] = []
        try:
            recorders = []
            for build, folder, reporter in zip(builds, folders, reporters, strict=True):
                made.append(api.claim(build.config, folder))
                locks.enter_context(api.alone(made[-1]))
                states = api.kept_in(made[-1])
                recorders.append(Recorder(made[-1], build, reporter, save_every, states))
            group = Group(recorders)
            for recorder in recorders:
                recorder.begin()
        except BaseException:
            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        note_in(group.signals)
        return group.run()


def prepared(configs: Sequence[Config], *, quiet: bool = False) -> list[Build]:
    """A session for each job, as solo trainings have it, on one copy of the data.

    Raises Apart where these cannot be trained together, and UserError as `Session.prepare`.
    """
    if distributed.size() > 1 or not all(alike(configs[0], config) for config in configs):
        raise CannotStack("trainings go together in one process, and differ in --seed alone")
    _refuse(why_alone(configs[0]))
    first = Build.prepare(configs[0], quiet=quiet)
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
    """Why runs like this one are trained one by one, as far as their job says; "" if it does not.

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
        raise CannotStack(f"{reason}; train these runs one by one")


class Joint(Batches):
    """Batches of M runs over the same samples: M batches of B rows, one after the other.

    parts: of one data set and one batch size, each in the order of its own seed.
    """

    def __init__(self, parts: Sequence[Batches]) -> None:
        self.__dict__.update(parts[0].__dict__)
        self.parts, self.batch = parts, len(parts) * parts[0].batch

    def __len__(self) -> int:
        return len(self.parts[0])

    def order(self, number: int) -> Tensor:
        orders = torch.stack([part.order(number) for part in self.parts])  # (M, N)
        return torch.cat([rows.flatten() for rows in orders.split(self.parts[0].batch, dim=1)])


class Stack:
    """M trainings as one `Fit` on parameters (M, ...), of which those of each become views."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        first, self.trainers = trainers[0], trainers
        self.model = copy.deepcopy(first.model)
        tensors = [_tensors(trainer.model) for trainer in trainers]
        for stack, *each in zip(_tensors(self.model), *tensors, strict=True):
            stack.data = torch.stack([tensor.data for tensor in each])
            for own, lane in zip(each, stack.data.unbind(), strict=True):
                own.data = lane
        self.trainer = Trainer(
            self.model,
            (Player(self.model, first.players[0].objective),),
            Joint([trainer.train for trainer in trainers if isinstance(trainer.train, Batches)]),
            first.validation,
            replace(first.settings, clip=0.0),  # that would be the norm over all models
        )
        self.trainer.losses = self._losses
        self.trainer.optimizers[0].register_step_pre_hook(lambda *_: self._clip())
        self._share_moments()
        for m, trainer in enumerate(trainers):
            stacks = self.trainer.average.weights  # only they are updated
            trainer.average.weights = {name: value[m] for name, value in stacks.items()}

    def _share_moments(self) -> None:
        """Begin AdamW's moments, of the stacks and as views of the runs."""
        state = self.trainer.optimizers[0].state
        parameters = [
            self.model.parameters(),
            *(trainer.model.parameters() for trainer in self.trainers),
        ]
        for stack, *each in zip(*parameters, strict=True):
            if not stack.requires_grad:
                continue
            moments = {name: torch.zeros_like(stack) for name in ("exp_avg", "exp_avg_sq")}
            step = torch.zeros((), dtype=torch.float32, device=stack.device)
            state[stack] = {"step": step, **moments}
            for m, (trainer, own) in enumerate(zip(self.trainers, each, strict=True)):
                lanes = {name: moment[m] for name, moment in moments.items()}
                trainer.optimizers[0].state[own] = {"step": step, **lanes}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of all models; their terms, (M,) each, still on the device."""
        self.trainer.train_on(batch)
        for trainer in self.trainers:
            trainer.step, trainer.position = self.trainer.step, self.trainer.position
        self.trainer.meter.sizes.pop()
        return dict(zip(self.trainer.meter.names, self.trainer.meter.rows.pop(), strict=True))

    def _losses(
        self, objectives: Sequence[Objective], batch: Batch, progress: float
    ) -> list[tuple[Tensor, dict[str, Tensor]]]:
        objective, lanes = objectives[0], (len(self.trainers), -1)
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        given = [t.unflatten(0, lanes) for t in (batch.x, batch.c) if t is not None]

        def one(
            tensors: dict[str, Tensor], x: Tensor, c: Tensor | None = None
        ) -> tuple[Tensor, dict[str, Tensor]]:
            p = functional_call(self.model, tensors, (x, c, objective.samples))
            return objective(p, progress)

        with self.trainer.autocast():
            loss, report = vmap(one, randomness="different")(tensors, *given)
        return [(loss.sum(), report)]

    def _clip(self) -> None:
        """As `torch.nn.utils.clip_grad_norm_`, with a norm for each model."""
        most = self.trainers[0].settings.clip
        if not most:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (M,)
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class Group:
    """Trainings in lockstep, each into its own folder."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self.recorders = recorders
        self.stack = Stack([recorder.trainer for recorder in recorders])
        self.epochs = [recorder.trainer.epochs() for recorder in recorders]
        self.ended: dict[int, Run | UserError] = {}
        self.signals: list[int] = []

    def run(self) -> list[Run | UserError]:
        """Train all to their ends: for each its run, or why it failed.

        Whoever calls this notes signals in `signals`.
        """
        joint = self.stack.trainer
        try:
            self._each(self._begin)
            while joint.epoch < (joint.settings.epochs or 0) and len(self.ended) < len(self):
                self._one_epoch(joint)
            self._each(self._finish)
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

    def _one_epoch(self, joint: Trainer) -> None:
        joint.model.train()
        start = time.perf_counter()
        for batch in joint.train.epoch(joint.epoch):
            terms = {name: value.unbind() for name, value in self.stack.step(batch).items()}
            rows, seconds = len(batch.x) // len(self), time.perf_counter() - start
            self._each(partial(self._after_step, terms=terms, rows=rows, seconds=seconds))
        joint.epoch, joint.position = joint.epoch + 1, 0
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
                stopped.append(str(recorder.folder))
        if stopped:
            raise Interrupted(
                f"stopped at step {self.stack.trainer.step} and saved: go on with 'zspace resume' "
                f"of each of {', '.join(stopped)}"
            )

    def _begin(self, m: int) -> None:
        recorder = self.recorders[m]
        recorder.reporter.start(recorder.record("running"), recorder.trainer)

    def _after_step(
        self, m: int, terms: dict[str, tuple[Tensor, ...]], rows: int, seconds: float
    ) -> None:
        trainer = self.recorders[m].trainer
        trainer.seconds = seconds
        trainer.meter.add({name: value[m] for name, value in terms.items()}, rows)
        if len(trainer.meter.rows) >= READ_EVERY:
            trainer.meter.fold()
        trainer.on_step(trainer)

    def _after_epoch(self, m: int) -> None:
        # All the steps are taken: the run's own training reads, validates, keeps.
        self.recorders[m].after_epoch(next(self.epochs[m]))

    def _finish(self, m: int) -> None:
        self.recorders[m].signals = self.signals  # what has finished stays so, the rest is saved
        self.ended[m] = self.recorders[m].finish()

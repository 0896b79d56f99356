"""A run made ready to train: its data loaded, its model built, nothing written yet."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from zspace.analysis.pieces import measured_at_once
from zspace.analysis.reconstruction import WATCHED
from zspace.data import account
from zspace.data.batches import Batches
from zspace.data.conditions import check_conditions
from zspace.data.dataset import Data, Samples
from zspace.data.kinds.image import by
from zspace.data.loading import load as load_data
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.flow import Model
from zspace.models.likelihoods import USUAL
from zspace.models.networks.conv import on_device
from zspace.runs.config import Config
from zspace.runs.settings import LARGEST, Settings
from zspace.system import distributed
from zspace.system.bars import lines, say
from zspace.system.device import DTYPES, Precision, pick_device, pick_precision, set_tf32
from zspace.system.errors import UserError, enough_memory, unknown
from zspace.system.memory import Need, free
from zspace.system.signals import Interrupted, noted_in
from zspace.training.continued import Start, origin
from zspace.training.meter import NonFinite
from zspace.training.optimizer import restore
from zspace.training.pace import Pace, measured
from zspace.training.trainer import Trainer

MOST_TENSORS = 20_000
"""Parameters that the networks may have, each with many numbers."""
SMALLER = (
    "use a smaller --batch, smaller samples (--size) or a smaller network (--hidden, --channels)"
)
"""What to do where a training runs out of memory."""


@dataclass
class Build:
    """A run made ready: data loaded, model built and on the device, nothing written yet."""

    config: Config
    data: Data
    recipe: recipes.Recipe
    trainer: Trainer
    splits: dict[str, Batches]

    @classmethod
    def prepare(
        cls,
        config: Config,
        *,
        quiet: bool = False,
        planned: bool = True,
        held: Mapping[str, Any] | None = None,
        start: Start | None = None,
    ) -> Build:
        """Load the data and build everything. Raises UserError for what does not fit.

        Under torchrun it meets the other ranks: what stops one of them stops all here.

        planned: whether the step is recorded as a graph, and epochs are chosen where minutes are
            given (see `plan`); both are done later where several models become one.
        held: data, val or test that are held in Python.
        start: What is taken over from a finished run, where the training goes on from one; by
            default what the configuration says.
        """
        with lines("getting ready to train", quiet=quiet):
            return cls._prepared(config, quiet, planned, held, start or origin(config))

    @classmethod
    def _prepared(
        cls,
        config: Config,
        quiet: bool,
        planned: bool,
        held: Mapping[str, Any] | None,
        start: Start | None,
    ) -> Build:
        distributed.join()
        quiet = quiet or not distributed.first()
        with distributed.together():
            recipes.find(config.recipe)
            settings = _settled(config.training)
        if start is not None and start.data is not None and not held:
            data = start.data
        else:
            options = _loading(config, held, start)
            data = distributed.in_turn(lambda: load_data(**options, quiet=quiet))
        _check_kind(config, data)
        precision = cast(Precision, distributed.told(settings.precision))
        settings = replace(settings, precision=precision)
        with distributed.together():
            build = cls.built(replace(config, training=settings), data, start)
        if start is not None and start.said and not quiet:
            say(start.said)
        device = build.trainer.device
        for network in build.recipe.feature_networks:
            on_device(
                distributed.in_turn(partial(network.ready, data, device, quiet=quiet)), device
            )
        build._check_and_spread()
        decided = replace(build.config.training, compile=build.trainer.compile(quiet=quiet))
        if planned:
            decided = replace(decided, graph=build.trainer.record())
        build.config = replace(build.config, training=decided)
        if planned and config.training.epochs is None and config.training.minutes:
            build.plan(measured(build.trainer, build.splits))
        return build

    def plan(self, pace: Pace) -> None:
        """Choose the epochs that fit into the minutes of the settings; the same on all ranks."""
        settings, trainer = self.config.training, self.trainer
        epochs = int(distributed.told(str(pace.epochs(settings.minutes, len(trainer.train)))))
        trainer.plan(epochs, pace)
        self.config = replace(self.config, training=replace(settings, epochs=epochs))

    @classmethod
    def built(cls, config: Config, data: Data, start: Start | None = None) -> Build:
        """The recipe, its batches and the trainer on the device, without feature networks.

        start: What is taken over from a finished run.
        """
        chosen = config.training.patience is None
        settings = config.training.decided(len(data.train), data.spec.kind)
        batch = settings.batch or 0
        if batch < distributed.size():
            raise UserError(
                f"batch is {batch}, but {distributed.size()} processes share every batch: "
                f"use a --batch of {distributed.size()} or more, or fewer processes"
            )
        config = replace(config, training=settings).on(data.spec)
        device = torch.device(settings.device)
        _refuse_too_large(config, data.spec, device)
        torch.manual_seed(settings.seed)
        try:
            with recipes.bounded(MOST_TENSORS, 1 << 40):
                recipe = recipes.find(config.recipe)(data.spec, **config.arguments)
        except recipes.TooLarge as error:
            raise UserError(f"the networks are too large, {error}: choose fewer layers") from None
        if start is not None:
            data = start.fitted(data, recipe.model)
        if start is not None and start.weights is not None:
            restore(recipe.model, start.weights)
        _freeze(recipe.model, settings.freeze)
        context, unlabelled = recipe.model.context, recipe.model.unlabelled
        check_conditions(data, recipes.hyphenated(config.recipe), context, unlabelled)
        if chosen and len(recipe.players) > 1 and not recipe.best:
            settings = replace(settings, patience=0)  # a game has no objective that says when
        options = {**config.recipe_options, **recipe.decided}
        if options.get("likelihood") == "auto":
            options["likelihood"] = USUAL[data.spec.kind]
        config = replace(config, training=settings, recipe_options=options)
        model = on_device(recipe.model, device)
        for player in recipe.players:
            on_device(player.module, device)
        draws = recipe.players[0].objective.samples
        at_once = measured_at_once(model, data.spec.shape, batch, draws)
        splits = {
            name: _batches(some, config, settings, model.context, at_once)
            for name, some in data.splits.items()
        }
        watched = {
            name: _batches(some, config, settings, model.context, at_once)
            for name, some in (
                ("train", _some(data.train)),
                ("validation", _some(data.validation)),
            )
        }
        trainer = Trainer(
            model,
            recipe.players,
            _batches(data.train, config, settings, model.context),
            splits["validation"],
            settings,
            fixed=recipe.feature_networks,
            watched=watched,
            best=recipe.best,
            measure=None if data.encoding is None else data.encoding.quality,
        )
        return cls(config, data, recipe, trainer, splits)

    def _check_and_spread(self) -> None:
        """Refuse ranks that were given different things, and give all the same weights."""
        settings = replace(self.config.training, device="")
        distributed.check_same("recipe", f"{self.config.recipe} with {self.config.arguments}")
        distributed.check_same("settings", str(settings))
        distributed.check_same("data set", self.data.fingerprint)
        distributed.spread([self.trainer.model, *self.trainer.others])

    def follow(self) -> Path:
        """Train along with the first rank, which alone writes and speaks.

        Returns the run's folder once it is whole. Raises UserError where the first rank stops, and
        `RankError` where this one must.
        """
        signals: list[int] = []

        def heed(trainer: Trainer) -> None:
            if number := distributed.largest(max(signals, default=0)):
                raise Interrupted(f"stopped at step {trainer.step}", number)

        try:
            with noted_in(signals), enough_memory(SMALLER):
                for _ in self.trainer.epochs(heed):
                    heed(self.trainer)
        except NonFinite:
            distributed.told()  # the first rank writes, then leaves: its end is what is heard
            raise
        except Interrupted:
            with contextlib.suppress(distributed.RankLost):
                distributed.told()
            raise
        except distributed.RankLost:
            raise
        except UserError as error:
            raise distributed.RankError(f"{error} (in process {distributed.rank()})") from None
        return Path(distributed.told())

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        splits = {name: len(batches.samples) for name, batches in self.splits.items()}
        return {
            "name": self.data.name,
            "kind": self.data.spec.kind,
            "shape": list(self.data.spec.shape),
            "classes": list(self.data.classes),
            "attributes": list(self.data.attributes),
            "scales": [list(scale) for scale in self.data.spec.scales],
            **splits,
            "read": account.facts(self.data),
            "skipped": self.data.skipped,
            "provenance": self.data.provenance,
            "fingerprint": self.data.fingerprint,
        }


def _freeze(model: Model, parts: Sequence[str]) -> None:
    """Let parts of a model stay as they are. Raises UserError for one that it does not have."""
    known = {n: part for n, part in model.named_children() if any(True for _ in part.parameters())}
    for name in parts:
        if name not in known:
            raise unknown("part to freeze", name, known)
        known[name].requires_grad_(False)
    if parts and not any(p.requires_grad for p in model.parameters()):
        raise UserError(f"freeze is {', '.join(parts)}, and nothing is left to train: freeze less")


def _refuse_too_large(config: Config, spec: Spec, device: torch.device) -> None:
    """Raise UserError where the training takes more memory than there is.

    What it takes is found on the meta device, where nothing is allocated or computed. Networks
    that cannot be there are not judged before they are built.
    """
    settings, need, numbers, weights = config.training, Need(0, 1), 0, 0
    batch = settings.batch or LARGEST
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # they come again
        with contextlib.suppress(RuntimeError, TypeError, ValueError, AttributeError):
            with recipes.bounded(MOST_TENSORS, 1 << 50):
                recipe = recipes.find(config.recipe)(spec, **config.arguments)
            numbers = sum(p.numel() for p in _parameters(recipe))
            # Weights, gradients, two moments and the best weights; their average.
            weights = 4 * numbers * (5 + (settings.ema > 0))
            need = _step_need(recipe, spec)
    if not numbers:
        return
    room, rows = free(device), -(-batch // distributed.size())
    half = (
        1 if DTYPES.get(settings.precision) == torch.float32 else 2
    )  # some of what is kept has 2 bytes
    whole = weights + rows * need.each / half
    if whole <= room:
        return
    remedy = "choose smaller samples (--size) or a smaller network (--hidden, --channels)"
    fits = int((room - weights) * half / need.each * distributed.size())
    if fits > 0:
        remedy = f"use a --batch of {fits:,} or less, or {remedy}"
    raise UserError(
        f"a network of {numbers:,} parameters for samples of {by(spec.shape)} takes at least "
        f"{whole / 1e9:,.3g} GB in training at batch {batch:,}, but {room / 1e9:,.3g} GB "
        f"of memory is free: {remedy}"
    )


def _parameters(recipe: recipes.Recipe) -> list[torch.nn.Parameter]:
    """Those that are trained, each once."""
    found = {id(p): p for player in recipe.players for p in player.module.parameters()}
    return list(found.values())


def _step_need(recipe: recipes.Recipe, spec: Spec) -> Need:
    """What is kept of a forward pass of the model, on the device of its parameters.

    Terms are not called: those of one's own may count their calls. Of tokens, p(x|z) itself is the
    pass through a network, so that it is asked for x.
    """
    model, samples = recipe.model, recipe.players[0].objective.samples

    def step(n: int) -> object:
        c = torch.zeros(n, model.context) if model.context else None
        x = torch.zeros(n, *spec.shape)
        p = model(x, c, samples)
        return (p, p.px.log_prob(x)) if spec.kind == "tokens" else p

    return Need.of(step)


def _check_kind(config: Config, data: Data) -> None:
    for name in ("augment", "binarize"):
        if data.encoding is not None and getattr(config.data, name) != "none":
            raise UserError(f"--{name} is for images, but '{data.name}' holds none: leave it out")


def _settled(settings: Settings) -> Settings:
    """With the device and the number format of this rank."""
    if settings.compile != "off" and distributed.size() > 1:
        raise UserError(
            f"compile is {settings.compile}, but {distributed.size()} processes train together: "
            "use --compile off"
        )
    device = pick_device(settings.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    precision = pick_precision(settings.precision, device)
    set_tf32(precision == "tf32")
    return replace(settings, device=str(device), precision=precision)


def _some(samples: Samples) -> Samples:
    """At most as many samples as are measured after every epoch, drawn once for all runs."""
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:WATCHED]
    return replace(samples, index=samples.index[rows.sort().values])


def _loading(
    config: Config, held: Mapping[str, Any] | None, start: Start | None
) -> dict[str, Any]:
    held = {("source" if name == "data" else name): value for name, value in (held or {}).items()}
    options = {**config.data.reading(), **held}
    if start is not None:
        options |= {"classes": start.classes, "encoding": start.encoding}
    return options


def _batches(
    samples: Samples, config: Config, settings: Settings, context: int, measured: int = 0
) -> Batches:
    """What is trained on; else what is measured, which is every split in the same way.

    measured: samples in a batch of the latter.
    """
    training = not measured
    return Batches(
        samples,
        batch=measured or settings.batch or LARGEST,
        device=torch.device(settings.device),
        seed=settings.seed if training else 0,
        classes=context,
        augment=config.data.augment if training else "none",
        binarize=config.data.binarize,
        weighted=True,
        shuffle=training,
        part=(distributed.rank(), distributed.size()) if training else (0, 1),
    )

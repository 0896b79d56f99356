"""A job made ready to train: its data loaded, its model built, nothing written yet."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from zspace import ranks, recipes
from zspace.compiling import settle
from zspace.data import Batches, Data, Samples
from zspace.data import load as load_data
from zspace.errors import UserError
from zspace.job import Job
from zspace.loop import Fit
from zspace.machine import pick_device, pick_precision
from zspace.meter import NonFinite
from zspace.nets import on_device
from zspace.quality import MOST
from zspace.settings import Precision, Settings
from zspace.signals import Interrupted, noted_in


@dataclass
class Session:
    """A job made ready: data loaded, model built and on the device, nothing written yet."""

    job: Job
    data: Data
    recipe: recipes.Recipe
    fit: Fit
    splits: dict[str, Batches]

    @classmethod
    def prepare(cls, job: Job, *, quiet: bool = False) -> Session:
        """Load the data and build everything. Raises UserError for what does not fit.

        Under torchrun it meets the other ranks: what stops one of them stops all here.
        """
        ranks.join()
        quiet = quiet or not ranks.first()
        with ranks.together():
            recipes.find(job.recipe)
            settings = _settled(job.settings)
        data = ranks.in_turn(lambda: load_data(**_loading(job), quiet=quiet))
        settings = replace(
            settings,
            precision=cast(Precision, ranks.told(settings.precision)),
            epochs=settings.epochs_for(len(data.train)),
        )
        with ranks.together():
            session = cls.built(replace(job, settings=settings), data)
        device = session.fit.device
        for tutor in session.recipe.tutors:
            on_device(ranks.in_turn(partial(tutor.ready, data, device, quiet=quiet)), device)
        session._check_and_spread()
        decided = replace(settings, compile=settle(session.fit, quiet=quiet))
        session.job = replace(session.job, settings=decided)
        return session

    @classmethod
    def built(cls, job: Job, data: Data) -> Session:
        """The recipe, its batches and the training on the device; tutors are not ready yet."""
        settings = job.settings
        device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        recipe = recipes.find(job.recipe)(data.spec, **job.arguments)
        job = replace(job, arguments={**job.arguments, **recipe.decided})
        model = on_device(recipe.model, device)
        for player in recipe.players:
            on_device(player.module, device)
        splits = {
            name: _batches(getattr(data, name), name, job, data, settings, model.context)
            for name in ("train", "validation", "test")
        }
        watched = {
            name: _batches(some, "watched", job, data, settings, model.context)
            for name, some in (
                ("train", _some(data.train)),
                ("validation", _some(data.validation)),
            )
        }
        fit = Fit(
            model,
            recipe.players,
            splits["train"],
            splits["validation"],
            settings,
            fixed=recipe.tutors,
            watched=watched,
        )
        return cls(job, data, recipe, fit, splits)

    def _check_and_spread(self) -> None:
        """Refuse ranks that were given different things, and give all the same weights."""
        settings = replace(self.job.settings, device="")
        ranks.check_same("recipe", f"{self.job.recipe} with {self.job.arguments}")
        ranks.check_same("settings", str(settings))
        ranks.check_same("data set", self.data.fingerprint)
        ranks.spread([self.fit.model, *self.fit.others])

    def follow(self) -> Path:
        """Train along with the first rank, which alone writes and speaks.

        Returns the run's folder once it is whole. Raises UserError where the first rank stops, and
        `Here` where this one must.
        """
        signals: list[int] = []

        def heed(fit: Fit) -> None:
            if ranks.anyone(bool(signals)):
                raise Interrupted(f"stopped at step {fit.step}")

        self.fit.on_step = heed
        try:
            with noted_in(signals):
                for _ in self.fit.epochs():
                    heed(self.fit)
        except (NonFinite, Interrupted):
            ranks.told()  # the first rank writes, then leaves: its end is what is heard
            raise
        except ranks.Lost:
            raise
        except UserError as error:
            raise ranks.Here(f"{error} (in process {ranks.rank()})") from None
        return Path(ranks.told())

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        splits = {name: len(batches.samples) for name, batches in self.splits.items()}
        return {
            "name": self.data.name,
            "shape": list(self.data.spec.shape),
            "classes": list(self.data.classes),
            "attributes": list(self.data.attributes),
            **splits,
            "skipped": self.data.skipped,
            "provenance": self.data.provenance,
            "fingerprint": self.data.fingerprint,
        }


def _settled(settings: Settings) -> Settings:
    """With the device and the number format of this rank."""
    if settings.batch < ranks.size():
        raise UserError(
            f"batch is {settings.batch}, but {ranks.size()} processes share every batch: use a "
            f"--batch of {ranks.size()} or more, or fewer processes"
        )
    if settings.compile != "off" and ranks.size() > 1:
        raise UserError(
            f"compile is {settings.compile}, but {ranks.size()} processes train together: use "
            "--compile off"
        )
    device = pick_device(settings.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return replace(
        settings, device=str(device), precision=pick_precision(settings.precision, device)
    )


def _some(samples: Samples) -> Samples:
    """At most as many samples as are measured after every epoch, drawn once for all runs."""
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:MOST]
    return replace(samples, index=samples.index[rows.sort().values])


def _loading(job: Job) -> dict[str, Any]:
    options = asdict(job.data)
    for made_in_batches in ("augment", "binarize"):
        options.pop(made_in_batches)
    return {"name_or_path": options.pop("data"), **options}


def _batches(
    samples: Samples, split: str, job: Job, data: Data, settings: Settings, context: int
) -> Batches:
    training = split == "train"
    return Batches(
        samples,
        batch=settings.batch if training else max(settings.batch, 512),
        device=torch.device(settings.device),
        seed=settings.seed if training else 0,
        classes=context,
        augment=job.data.augment if training else "none",
        binarize=job.data.binarize,
        shuffle=training,
        part=(ranks.rank(), ranks.size()) if training else (0, 1),
    )


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, as run.json keeps them."""
    cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": ranks.size(),
    }

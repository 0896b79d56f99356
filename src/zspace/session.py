"""A job made ready to train: its data loaded, its model built, nothing written yet."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from zspace import recipes
from zspace.data import Batches, Data, Samples
from zspace.data import load as load_data
from zspace.job import Job
from zspace.loop import Fit
from zspace.machine import pick_device, pick_precision
from zspace.nets import on_device
from zspace.quality import MOST
from zspace.settings import Settings


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
        """Load the data and build everything. Raises UserError for what does not fit."""
        recipes.find(job.recipe)
        device = pick_device(job.settings.device)
        data = load_data(**_loading(job), quiet=quiet)
        settings = replace(
            job.settings,
            device=str(device),
            precision=pick_precision(job.settings.precision, device),
            epochs=job.settings.epochs_for(len(data.train)),
        )
        torch.manual_seed(settings.seed)
        recipe = recipes.find(job.recipe)(data.spec, **job.arguments)
        job = replace(job, arguments={**job.arguments, **recipe.decided})
        model = on_device(recipe.model, device)
        for player in recipe.players:
            on_device(player.module, device)
        for tutor in recipe.tutors:
            on_device(tutor.ready(data, device, quiet=quiet), device)
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
        return cls(replace(job, settings=settings), data, recipe, fit, splits)

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
    }

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
        model = recipe.model.to(device)
        splits = {
            name: _batches(getattr(data, name), name, job, data, settings, model.context)
            for name in ("train", "validation", "test")
        }
        fit = Fit(model, recipe.players, splits["train"], splits["validation"], settings)
        return cls(replace(job, settings=settings), data, recipe, fit, splits)

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        splits = {name: len(batches.samples) for name, batches in self.splits.items()}
        return {
            "name": self.data.name,
            "shape": list(self.data.spec.shape),
            "classes": list(self.data.classes),
            **splits,
            "skipped": self.data.skipped,
            "provenance": self.data.provenance,
            "fingerprint": self.data.fingerprint,
        }


def _loading(job: Job) -> dict[str, Any]:
    options = asdict(job.data)
    options.pop("binarize")
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

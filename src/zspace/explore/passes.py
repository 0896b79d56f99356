"""A model run over a split exactly as its metrics were measured, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from zspace.data import Batches, Data, Samples
from zspace.explore.once import once
from zspace.perceptual import Perceptual
from zspace.runs import Run
from zspace.terms import Fool
from zspace.types import Batch

T = TypeVar("T")


def over(run: Run, samples: Samples, function: Callable[[Batch], T]) -> list[T]:
    """What a function makes of each batch, in order; draws are those of the run's own metrics."""
    batches = Batches(
        samples,
        batch=max(run.job.settings.batch, 512),
        device=run.device,
        seed=0,
        classes=run.model.context,
        binarize=run.job.data.binarize,
        shuffle=False,
    )
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return [function(batch) for batch in batches.epoch(0)]


@once
def per_sample_terms(
    run: Run, split: str = "test", data: Data | None = None
) -> dict[str, np.ndarray]:
    """Each term of the run's objective for every sample of a split: name -> (N,).

    Their means are the numbers in `run.result`. Left out are terms that are statistics of a batch,
    and those that look through another network, which a run does not keep.
    data: the run's data where they are loaded already.
    """
    objective = run.recipe.players[0].objective
    own = [term for term in objective.terms if not isinstance(term, Fool | Perceptual)]

    def terms(batch: Batch) -> dict[str, np.ndarray]:
        p = run.model(batch.x, batch.c, objective.samples)
        values = {name: value for term in own for name, value in term(p).items()}
        return {name: value.cpu().numpy() for name, value in values.items() if value.dim()}

    parts = over(run, getattr(data or run.data(), split), terms)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def error_name(run: Run) -> str:
    """The term that measures reconstruction: squared error where there is one."""
    terms = run.result["test"]
    return next((name for name in ("mse", "bce", "nll") if name in terms), next(iter(terms)))


def measured(run: Run) -> list[dict[str, Any]]:
    """The epochs after which MSE, SSIM and PSNR were measured; none of a run of an old version.

    Each is a line of `run.metrics`, with "quality": split -> measure -> mean over images.
    """
    return [line for line in run.metrics if line.get("quality")]


def per_class(values: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """The mean of values (N,) over each class of labels y (N,): (classes,), nan where empty."""
    counts = np.bincount(y, minlength=classes)
    sums = np.bincount(y, weights=values, minlength=classes)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)

"""Codes and pixels of any split as flat arrays, which the measures read."""

from __future__ import annotations

import numpy as np

from zspace.data import Samples
from zspace.explore.passes import over
from zspace.runs import Run
from zspace.types import Batch


def encoded(run: Run, samples: Samples) -> np.ndarray:
    """The codes (N, Z) of samples: the means of q(z|x)."""

    def encode(batch: Batch) -> np.ndarray:
        return run.model.encode(batch.x, batch.c).flatten(1).cpu().numpy()

    return np.concatenate(over(run, samples, encode))


def drawn(run: Run, samples: Samples) -> np.ndarray:
    """One draw (N, Z) of q(z|x) for each sample; the code itself where it is deterministic."""

    def draw(batch: Batch) -> np.ndarray:
        return run.model(batch.x, batch.c).latents[0].z[0].flatten(1).cpu().numpy()

    return np.concatenate(over(run, samples, draw))


def pixels(run: Run, samples: Samples) -> np.ndarray:
    """The samples (N, D) as the model reads them, binarised where the run's data are."""
    return np.concatenate(over(run, samples, lambda batch: batch.x.flatten(1).cpu().numpy()))

"""The images that a model expected least, and where in them it went wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from zspace.data import Data, Samples
from zspace.evaluate.score import squared_error
from zspace.explore.once import once
from zspace.explore.passes import over
from zspace.runs import Run
from zspace.types import Batch


@dataclass(frozen=True)
class Surprises:
    """Images x (N, C, H, W), decoded from their mean codes, and maps (N, H, W) of the squared
    error, summed over channels; the highest error first.

    error (N,): the sum of each map. usual: the mean error of all images that were looked at, of
    which there were `images`. i (N,): positions among them, split after
    split.
    """

    x: np.ndarray
    decoded: np.ndarray
    maps: np.ndarray
    error: np.ndarray
    usual: float
    images: int
    i: np.ndarray


def surprises(run: Run, *splits: Samples, n: int = 10) -> Surprises:
    """The n samples of one split or several with the highest reconstruction error."""

    def errors(batch: Batch) -> np.ndarray:
        return squared_error(run, batch).flatten(1).sum(1).cpu().numpy()

    of_splits = [np.concatenate(over(run, samples, errors)) for samples in splits]
    error = np.concatenate(of_splits)
    i = np.argsort(-error, kind="stable")[:n]
    ends = np.cumsum([0, *map(len, of_splits)])
    shown = []
    for samples, start, end in zip(splits, ends, ends[1:], strict=False):
        rows = torch.from_numpy(i[(start <= i) & (i < end)] - start)
        if len(rows):
            shown.append(_looked(run, replace(samples, index=samples.index[rows])))
    x, decoded, maps = (np.concatenate(part) for part in zip(*shown, strict=True))
    order = np.argsort(-maps.sum((1, 2)), kind="stable")
    return Surprises(
        x[order], decoded[order], maps[order], error[i], float(error.mean()), len(error), i
    )


def _looked(run: Run, samples: Samples) -> tuple[np.ndarray, ...]:
    """Images, what they are decoded to, and the maps of their errors."""

    def looked(batch: Batch) -> tuple[np.ndarray, ...]:
        z = run.model.encode(batch.x, batch.c)
        shown = batch.x, run.model.decode(z, batch.c).mean, squared_error(run, batch)
        return tuple(part.cpu().numpy() for part in shown)

    parts = over(run, samples, looked)
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@once
def least_expected(run: Run, data: Data | None = None, n: int = 10) -> Surprises:
    """The test images with the highest reconstruction error."""
    return surprises(run, (data or run.data()).test, n=n)

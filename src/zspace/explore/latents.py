"""Where a model puts the test images in its code space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from zspace.data import Data, Samples
from zspace.explore.maps import principal, tsne
from zspace.explore.once import once
from zspace.explore.passes import over
from zspace.explore.picks import subset
from zspace.runs import Run
from zspace.types import Batch

MOST = 10_000
LINE = "the code dimension"


@dataclass(frozen=True)
class Codes:
    """Codes z (N, Z), flat, and the labels y (N,) of their images, or None."""

    z: np.ndarray
    y: np.ndarray | None


@dataclass(frozen=True)
class Plane:
    """Codes on a plane: points (N, 2), labels y (N,) or None, what the axes are, and where the
    code 0 lies.
    """

    points: np.ndarray
    y: np.ndarray | None
    axes: str
    origin: tuple[float, float] = (0.0, 0.0)


def labels(samples: Samples) -> np.ndarray | None:
    """The labels (N,) of samples, or None."""
    y = samples.labels()
    return None if y is None else y.numpy()


@once
def codes(run: Run, data: Data | None = None, most: int = MOST) -> Codes:
    """Codes of test images, the means of q(z|x); at most `most` images, drawn with a seed."""
    test = subset((data or run.data()).test, most)
    z = over(run, test, lambda batch: run.model.encode(batch.x, batch.c).flatten(1).cpu().numpy())
    return Codes(np.concatenate(z), labels(test))


@once
def draws(run: Run, data: Data | None = None, most: int = MOST) -> Codes:
    """One draw of q(z|x) for each of those images: samples of the aggregate posterior.

    Where the code is deterministic, the code itself.
    """
    test = subset((data or run.data()).test, most)

    def draw(batch: Batch) -> np.ndarray:
        return run.model(batch.x, batch.c).latents[0].z[0].flatten(1).cpu().numpy()

    return Codes(np.concatenate(over(run, test, draw)), labels(test))


@once
def plane(run: Run, most: int = MOST, data: Data | None = None) -> Plane:
    """Codes of test images: the two dimensions of a 2-d code, else two principal components."""
    found = codes(run, data, most)
    if found.z.shape[1] == 2:
        return Plane(found.z, found.y, "the two code dimensions")
    if found.z.shape[1] == 1:
        points = np.c_[found.z, np.zeros(len(found.z))]
        return Plane(points, found.y, LINE)
    flat = principal(found.z, 2)
    x, y = flat.project(np.zeros((1, found.z.shape[1])))[0]
    return Plane(flat.points, found.y, "two principal components", (float(x), float(y)))


@once
def codes_map(run: Run, data: Data | None = None, most: int = MOST) -> Plane:
    """The t-SNE map of the codes of test images."""
    found = codes(run, data, most)
    return Plane(tsne(found.z), found.y, "t-SNE of the codes")


@once
def data_map(data: Data, most: int = MOST) -> Plane:
    """The t-SNE map of raw training images."""
    some = subset(data.train, most)
    return Plane(tsne(some.images().flatten(1).numpy()), labels(some), "t-SNE of the pixels")


def variational(run: Run) -> bool:
    """Whether the code has a distribution q(z|x)."""
    c = torch.zeros(1, run.model.context, device=run.device) if run.model.context else None
    with torch.no_grad(), torch.random.fork_rng():
        x = torch.zeros(1, *run.spec.shape, device=run.device)
        return run.model(x, c).latents[0].q is not None

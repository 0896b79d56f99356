"""What there is to see in a run, as plain arrays; figures, outputs and the page draw them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zspace.data import Samples
from zspace.runs import Run


@dataclass(frozen=True)
class Pairs:
    """Images x (N, C, H, W), what the model makes of them, and their labels y (N,) or None."""

    x: np.ndarray
    decoded: np.ndarray
    y: np.ndarray | None


def reconstructions(
    run: Run, n: int = 10, data: str | None = None, data_dir: Path | None = None
) -> Pairs:
    """n test images, spread evenly over the classes where there are some, and their decodings."""
    test = open_data(run, data, data_dir).test
    i = evenly(test, n)
    x, y = test.images(i).numpy(), test.labels(i)
    decoded = run.reconstruct(x, y if run.model.context else None)
    return Pairs(x, decoded, None if y is None else y.numpy())


def open_data(run: Run, data: str | None, data_dir: Path | None, **options: Any) -> Any:
    """The run's own data or another source; a given `data_dir` goes before the run's."""
    if data_dir is not None:
        options["data_dir"] = data_dir
    return run.data(data, **options)


def evenly(samples: Samples, n: int) -> torch.Tensor:
    """Positions of n samples: the first of each class, then the second of each, and so on."""
    n = min(n, len(samples))
    y = samples.labels()
    if y is None:
        return torch.arange(n)
    order = torch.argsort(y, stable=True)
    counts = torch.bincount(y)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(y)
    rank[order] = torch.arange(len(y)) - starts[y[order]]
    first = torch.argsort(rank * len(counts) + y)[:n]
    return first[torch.argsort(y[first], stable=True)]


def sample_rows(run: Run, columns: int = 10, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Rows of samples and their names: a class a row, the same z down each column; or plain."""
    if not run.model.context:
        x = run.sample(4 * columns, seed=seed)
        return list(x.reshape(4, columns, *x.shape[1:])), [""] * 4
    classes = run.spec.classes[:10]
    return [run.sample(columns, label=name, seed=seed) for name in classes], list(classes)


@dataclass(frozen=True)
class Plane:
    """Codes on a plane: points (N, 2), labels y (N,) or None, and what the axes are."""

    points: np.ndarray
    y: np.ndarray | None
    axes: str


def plane(run: Run, most: int = 10_000) -> Plane:
    """Codes of test images: the two dimensions of a 2-d code, else two principal components."""
    test = run.data().test
    i = torch.arange(min(most, len(test)))
    y = test.labels(i)
    z = run.encode(test.images(i), y if run.model.context else None).numpy()
    z = z.reshape(len(z), -1)
    labels = None if y is None else y.numpy()
    if z.shape[1] == 2:
        return Plane(z, labels, "the two code dimensions")
    if z.shape[1] == 1:
        return Plane(np.c_[z, np.zeros(len(z))], labels, "the code dimension")
    from sklearn.decomposition import PCA  # slow to import

    return Plane(PCA(2, random_state=0).fit_transform(z), labels, "two principal components")

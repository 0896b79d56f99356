"""Where a model puts the test images in its code space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from zspace.runs import Run


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

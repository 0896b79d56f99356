"""Images that a model makes: decoded test images and decoded draws of the prior."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zspace.explore.picks import evenly, open_data
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


def sample_rows(run: Run, columns: int = 10, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Rows of samples and their names: a class a row, the same z down each column; or plain."""
    if not run.model.context:
        x = run.sample(4 * columns, seed=seed)
        return list(x.reshape(4, columns, *x.shape[1:])), [""] * 4
    classes = run.spec.classes[:10]
    return [run.sample(columns, label=name, seed=seed) for name in classes], list(classes)

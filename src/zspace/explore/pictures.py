"""Images that a model makes: decoded test images and decoded draws of the prior."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zspace.data import Data
from zspace.explore.picks import evenly, open_data
from zspace.runs import Run


@dataclass(frozen=True)
class Pairs:
    """Images x (N, C, H, W), what the model makes of them, and their labels y (N,) or None."""

    x: np.ndarray
    decoded: np.ndarray
    y: np.ndarray | None


def reconstructions(
    run: Run, n: int = 10, data: str | Data | None = None, data_dir: Path | None = None
) -> Pairs:
    """n test images, spread evenly over the classes where there are some, and their decodings.

    data: another source, or data that are loaded already.
    """
    test = (data if isinstance(data, Data) else open_data(run, data, data_dir)).test
    i = evenly(test, n)
    x, y = test.images(i).numpy(), test.labels(i)
    decoded = run.reconstruct(x, test.conditions(i) if run.model.context else None)
    return Pairs(x, decoded, None if y is None else y.numpy())


def sample_rows(
    run: Run, columns: int = 10, seed: int = 0, rows: int = 4
) -> tuple[list[np.ndarray], list[str]]:
    """Rows of samples and their names: a class a row, or an attribute, the same z down each
    column; or plain.
    """
    if not run.model.context:
        x = run.sample(rows * columns, seed=seed)
        return list(x.reshape(rows, columns, *x.shape[1:])), [""] * rows
    names = list(run.spec.classes or run.spec.attributes)[:10]
    return [run.sample(columns, label=name, seed=seed) for name in names], names

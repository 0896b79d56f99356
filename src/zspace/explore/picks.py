"""Which images are looked at: a data set, and a fair choice of its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from zspace.data import Samples
from zspace.runs import Run


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

"""Compute what is expensive once: several figures and the report read the same arrays.

A model run over a split exactly as its metrics were measured, sample by sample.

Which images are looked at: a data set, and a fair choice of its samples.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from zspace.data.batches import Batches
from zspace.data.dataset import Samples
from zspace.data.spec import Batch
from zspace.runs.run import Run

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function of a run (or of data) returned for as long as that object lives.

    The object is the first argument; the others are hashable, and however they are given, the
    same choice is the same result. Results are shared: do not write into them.
    """
    memory: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()
    signature = inspect.signature(function)

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first, *others = bound.arguments.values()
        known, key = memory.setdefault(first, {}), tuple(others)
        if key not in known:
            known[key] = function(*args, **kwargs)
        return known[key]

    return remembered


T = TypeVar("T")


def over(run: Run, samples: Samples, function: Callable[[Batch], T]) -> list[T]:
    """What a function makes of each batch, in order; draws are those of the run's own metrics."""
    batches = Batches(
        samples,
        batch=max(run.config.settings.batch, 512),
        device=run.device,
        seed=0,
        classes=run.model.context,
        binarize=run.config.data.binarize,
        shuffle=False,
    )
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return [function(batch) for batch in batches.epoch(0)]


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


def subset(samples: Samples, most: int, seed: int = 0) -> Samples:
    """At most `most` of the samples, drawn without replacement, in their order."""
    if len(samples) <= most:
        return samples
    drawn = np.random.RandomState(seed).permutation(len(samples))[:most]
    return replace(samples, index=samples.index[torch.from_numpy(np.sort(drawn))])


def class_rows(
    samples: Samples, classes: int, columns: int = 10, rows: int = 10, seed: int = 0
) -> tuple[np.ndarray, list[int]]:
    """A sheet (R, columns, C, H, W) of images drawn at random, and the class of each row.

    With labels a row shows one class; few classes get several rows each, of more than `rows`
    classes the first are shown. A class with too few images leaves white places. Without labels
    there is no class: the list is empty.
    """
    random, y = np.random.RandomState(seed), samples.labels()
    if y is None:
        places = [random.permutation(len(samples))[: rows * columns]]
        names, rows_each = [], -(-len(places[0]) // columns)
    else:
        shown = min(classes, rows)
        rows_each = max(1, rows // shown)
        of_class = [np.flatnonzero(y.numpy() == k) for k in range(shown)]
        places = [random.permutation(found)[: rows_each * columns] for found in of_class]
        names = [k for k in range(shown) for _ in range(rows_each)]
    blocks = [_padded(samples, place, rows_each * columns) for place in places]
    sheet = np.concatenate(blocks)
    return sheet.reshape(-1, columns, *sheet.shape[1:]), names


def _padded(samples: Samples, places: np.ndarray, n: int) -> np.ndarray:
    """Images at the places, and white ones up to n."""
    x = samples.images(torch.from_numpy(places)).numpy()
    return np.pad(x, [(0, n - len(x))] + [(0, 0)] * 3, constant_values=1)

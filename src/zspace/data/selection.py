"""Which samples are trained on, and how often: `without` a class, weighted, balanced.

Weights change how often a sample is drawn, not its loss: where w_i is the weight of sample i of n,
it is drawn n w_i / sum(w) times in an epoch of n draws, rounded up or down at random so that this
is the mean. So the mean of any term over the epoch is the weighted mean, also of a term that is
computed of a whole batch or given by a discriminator, of which single samples have no values. A
sample of weight 2 counts as one that is there twice.

`systematic` draws so: samples lie on a line, each as long as its expected count, in random order
and class by class, and n points with distance 1 from a random start fall on it. Every class then
gets its expected count to within one draw.

Reference: Madow. On the theory of systematic sampling, II. Annals of Mathematical Statistics 20,
1949.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.account import counts
from zspace.data.dataset import Data, Samples, joined
from zspace.system.errors import UserError, unknown


def without(data: Data, name: str) -> Data:
    """The data with no sample of one class in training and validation; test has all of them.

    The labels 0, 1, ... and the names of the classes stay as they are, so that a conditional model
    has the same number of columns.

    Arguments:
        data: With labels.
        name: Of the class; empty leaves the data as they are.

    Raises UserError for a class that the data do not have, and where training or validation would
    be left empty.

    >>> rest = without(zspace.data.load("mnist5k", quiet=True), "7")
    >>> [int((samples.labels() == 7).sum()) for samples in rest.splits.values()]
    [0, 0, 500]
    """
    if not name:
        return data
    if not data.classes:
        raise UserError(f"no class can be held out: data set '{data.name}' has no labels")
    if name not in data.classes:
        raise unknown("class to hold out", name, data.classes)
    label = data.classes.index(name)
    (train, first), (validation, second) = (
        _parted(samples, label) for samples in (data.train, data.validation)
    )
    if not (len(train) and len(validation)):
        raise UserError(
            f"without class '{name}', data set '{data.name}' has {len(train)} training and "
            f"{len(validation)} validation images: hold out another class"
        )
    moved = len(first) + len(second)
    note = (f"class '{name}' is held out: {moved:,} of its samples moved to test",) * (moved > 0)
    return replace(
        data,
        train=train,
        validation=validation,
        test=joined([data.test, first, second]),
        held_out=name,
        read=replace(data.read, notes=(*data.read.notes, *note)),
    )


def _parted(samples: Samples, label: int) -> tuple[Samples, Samples]:
    """The samples of other labels, and those of this one."""
    y = samples.labels()
    if y is None:
        return samples, replace(samples, index=samples.index[:0])
    index = samples.index
    return replace(samples, index=index[y != label]), replace(samples, index=index[y == label])


def read_weights(
    raw: Mapping[str, tuple[Any, str]], sizes: Mapping[str, int], title: str
) -> dict[str, Tensor]:
    """Split -> weights (n,) float64 of its samples; {} where there are none.

    Arguments:
        raw: Split -> the weights, and what they are called.
        sizes: Split -> how many samples it has.
        title: What they are part of, for sentences.

    Raises UserError for a split without weights where others have some, and for what are no
    numbers from 0 to 10^30, one for each sample.

    >>> read_weights({"train": ([2, 1], "w")}, {"train": 2}, "the data")
    {'train': tensor([2., 1.], dtype=torch.float64)}
    """
    found = {}
    for split, n in sizes.items() if raw else ():
        if split not in raw:
            name = next(iter(raw.values()))[1]
            raise UserError(
                f"{title} has weights ({name}) for some splits only: {split} has none; give its "
                f"weights, or leave the others out with --leave-out {name}"
            )
        values, name = raw[split]
        try:
            w = np.asarray(values.cpu() if isinstance(values, Tensor) else values, np.float64)
        except (TypeError, ValueError):
            w = np.empty(0)
        w = w[:, 0] if w.ndim == 2 and w.shape[1] == 1 else w
        if w.shape != (n,) or not ((w >= 0) & (w <= 1e30)).all():
            raise UserError(
                f"the weights {name} of {title} are not {n:,} numbers of at least 0, one for each "
                "sample: fill in what is missing, or leave them out"
            )
        found[split] = torch.from_numpy(w.copy())
    return found


def proportions(samples: Samples) -> Tensor | None:
    """In what proportion samples (n,) are drawn, float64; None where each is drawn once.

    Where classes are drawn equally often, weights are those within a class.

    >>> y = torch.tensor([0, 0, 0, 1])
    >>> few = Samples(torch.zeros(4, 1, 2, 2), y, torch.arange(4), balance=True)
    >>> proportions(few).tolist() == [1 / 3, 1 / 3, 1 / 3, 1]
    True
    """
    w = None if samples.weights is None else samples.weights[samples.index]
    if w is not None and not w.any():
        return None  # some of a split may all weigh nothing
    if not samples.balance:
        return w
    w, y = torch.ones(len(samples), dtype=torch.float64) if w is None else w, samples.labels()
    assert y is not None
    total = torch.zeros(int(y.max()) + 1, dtype=torch.float64).index_add(0, y, w)
    return torch.where(w > 0, w / total[y], 0.0)


def systematic(w: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
    """n positions of n samples, drawn in proportion to w, in random order.

    Position i occurs n w_i / sum(w) times, rounded down or up at random, with that mean.

    Arguments:
        w: (n,) float64, at least 0.
        y: Classes (n,), or None: each class gets its sum of w to within one draw.
        generator: On the CPU. With its seed, the draws depend on w and y alone.

    >>> w = torch.tensor([2.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    >>> systematic(w, None, torch.Generator().manual_seed(0)).sort().values.tolist()
    [0, 0, 1, 2]
    """
    n = len(w)
    along = torch.randperm(n, generator=generator)
    if y is not None:
        along = along[torch.argsort(y[along], stable=True)]
    ends = (w[along] * (n / w.sum())).cumsum(0)
    start = torch.rand((), generator=generator, dtype=torch.float64)
    at = torch.searchsorted(ends, torch.arange(n, dtype=torch.float64) + start, right=True)
    last = int(torch.nonzero(w[along] > 0).max())  # rounding may leave the line a little short
    return along[at.clamp(max=last)][torch.randperm(n, generator=generator)]


def as_drawn(data: Data, balance: bool) -> Data:
    """The same with what is said of how training samples are drawn.

    Arguments:
        data: With weights or without.
        balance: Draw classes equally often in training; validation and test stay as they are.

    Raises UserError where classes are to be balanced, but some training samples have none, and for
    a split in which no sample has a weight above 0.

    >>> even = as_drawn(zspace.data.load("mnist5k", quiet=True), balance=True)
    >>> even.read.notes
    ('classes are drawn equally often in training: each 405 times per epoch, of 396 to 421',)
    """
    notes = []
    none = [split for split, samples in data.splits.items() if samples.weights is None]
    if 0 < len(none) < len(data.splits):
        raise UserError(
            f"'{data.name}' has weights, but its {none[0]} samples have none: give them"
        )
    for split, samples in data.splits.items():
        w = samples.weights
        if w is not None and len(samples) and not float(w[samples.index].sum()):
            raise UserError(f"no {split} sample of '{data.name}' has a weight above 0: give some")
    if (w := data.train.weights) is not None:
        own = w[data.train.index]
        notes.append(
            f"samples are drawn in proportion to their weights, {float(own.min()):.4g} to "
            f"{float(own.max()):.4g}, also where validation and test are measured in training"
        )
    if balance:
        if not data.classes:
            raise UserError(
                f"--balance draws classes equally often, but '{data.name}' has none: leave it out"
            )
        if missing := int(data.train.unlabelled().sum()):
            raise UserError(
                f"--balance draws classes equally often, but {missing:,} training samples of "
                f"'{data.name}' have no label: leave those out with --labelled-only"
            )
        sizes = counts(data.train, data.classes)
        data = replace(data, train=replace(data.train, balance=True))
        notes.append(
            "classes are drawn equally often in training: each "
            f"{len(data.train) / len(sizes):,.0f} times per epoch, of "
            f"{min(sizes.values()):,} to {max(sizes.values()):,}"
        )
    told = tuple(note for note in notes if note not in data.read.notes)
    return (
        replace(data, read=replace(data.read, notes=(*data.read.notes, *told))) if told else data
    )

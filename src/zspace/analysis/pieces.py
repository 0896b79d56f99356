"""How many samples are worked on at once: as many as fit in memory, and no more than is fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zspace.data.dataset import Samples
from zspace.models.flow import Model
from zspace.system.device import random_kept
from zspace.system.memory import Need, free

MOST = 1024
"""Samples that are encoded or decoded at once, where memory allows it: more are no faster."""
PART, LARGEST = 1 / 8, 1 << 28
"""What the tensors of a piece may take: this part of the memory that is free, and at most so many
bytes. Convolutions take up to three times as much for scratch, and larger pieces are slower."""
SURE = 1 << 24
"""Bytes that are always there."""
MEASURED, MEASURED_BYTES = 512, 1 << 30
"""Samples in a batch of those that are measured, and the bytes that they may take. A batch decides
which numbers are drawn, so that it must not depend on the memory at hand."""


def at_once(need: Need, samples: int, device: torch.device | str = "cpu") -> int:
    """How many of so many samples fit in memory at once; at most 1,024, and at least 1.

    >>> at_once(Need(fixed=0, each=1000), samples=30)
    30
    """
    most = min(samples, MOST)
    if need.fixed + need.each * most <= SURE:
        return most
    return need.rows(min(PART * free(device), LARGEST), most)


def rows_of(samples: Samples) -> Iterator[Tensor]:
    """The rows of samples, (n,) each time, so many that they fit in memory as floats."""
    size = at_once(Need(0, 4 * math.prod(samples.x.shape[1:])), len(samples))
    return iter(torch.arange(len(samples)).split(max(1, size)))


def measured_at_once(model: Model, shape: tuple[int, ...], batch: int, samples: int = 1) -> int:
    """Samples in a batch of those that are measured: as many as fit, and at least the training's.

    Arguments:
        model: On its device.
        shape: Of one sample.
        batch: Of the training, which takes more memory for each sample.
        samples: K, draws of each code.

    >>> measured_at_once(run.model, run.spec.shape, batch=128)
    512
    """
    if batch >= MEASURED:
        return batch
    device = next(model.parameters()).device

    def call(n: int) -> object:
        c = torch.zeros(n, model.context, device=device) if model.context else None
        return model(torch.zeros(n, *shape, device=device), c, samples)

    return max(batch, need_of(model, call).rows(MEASURED_BYTES, MEASURED))


def need_of(model: Model, call: Callable[[int], object]) -> Need:
    """What a call of the model takes. Afterwards generators and buffers are as before."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), random_kept(next(model.parameters()).device):
            return Need.of(call)
    finally:
        model.train(training)

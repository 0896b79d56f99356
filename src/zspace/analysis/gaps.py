"""Gaps in windows of a series: how far a model's curve is trusted beside a straight line."""

from __future__ import annotations

import torch
from torch import Tensor

from zspace.analysis.trained import TrainedModel, evenly
from zspace.data.dataset import Samples

GRID = (2.0, 0.0, 0.5, 1.0, 4.0, 8.0, 16.0, 32.0, torch.inf)
"""Lengths that are tried; the first is taken where all are equal, such as in an empty channel."""
WINDOWS, TURNS = 500, 4
"""Windows that gaps are made in, and how often: some 0.1 s per turn for small networks."""


def halfway(model: TrainedModel, samples: Samples, *, seed: int = 0) -> Tensor:
    """The length of a gap, for each channel (D,), at which curve and line count the same.

    Values that are there are hidden, in half of the windows a fifth of them, in the others a run
    of up to half a window in a quarter of the channels. Of the lengths in `GRID`, the one with the
    least absolute error at hidden values is taken: 0 is the model's curve alone, infinity the line
    alone. See `zspace.data.kinds.series.SeriesEncoding.filled`.

    Arguments:
        model: Trained on windows with missing values.
        samples: Windows that it was not trained on: those of validation.
        seed: Of what is hidden.
    """
    chosen = evenly(samples, WINDOWS)
    x, label = samples.images(chosen), samples.conditions(chosen) if model.model.context else None
    assert model.encoding is not None
    random = torch.Generator().manual_seed(seed)
    errors = torch.zeros(len(GRID), x.shape[2])
    for _ in range(TURNS):
        hidden = hide(x.shape, random) & ~x.isnan()
        given = torch.where(hidden, torch.nan, x)
        curve = torch.as_tensor(model.reconstructed(given, label))
        for i, length in enumerate(GRID):
            filled = model.encoding.filled(given, curve, torch.tensor(length))
            errors[i] += torch.where(hidden, (filled - x).abs(), 0.0).sum((0, 1))
    return torch.tensor(GRID)[errors.argmin(0)]


def hide(shape: torch.Size, random: torch.Generator) -> Tensor:
    """What is hidden of windows (N, T, D): single values, and runs of them.

    >>> hidden = hide(torch.Size([100, 24, 8]), torch.Generator().manual_seed(0))
    >>> round(float(hidden[::2].float().mean()), 1)
    0.2
    """
    n, steps, channels = shape
    cells = torch.rand(shape, generator=random) < 0.2
    long = torch.randint(1, max(2, steps // 2 + 1), (n, 1, 1), generator=random)
    start = (torch.rand(n, 1, 1, generator=random) * (steps - long + 1)).floor()
    t = torch.arange(steps).view(1, steps, 1)
    order = torch.rand(n, 1, channels, generator=random).argsort(-1)
    runs = (t >= start) & (t < start + long) & (order < max(1, channels // 4))
    return torch.where(torch.arange(n).view(n, 1, 1) % 2 == 0, cells, runs)

"""What passes between data and models: what a recipe must know of the data, and one batch of them.

Spec    shape (*X) of one x; classes or attributes, which a conditional model reads as c (B, C)
Batch   x (B, *X), c (B, C) or None
Fact    what a number is, so that tables, figures and sentences need not guess it from its name
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Role = Literal["reconstruction", "divergence", "bound", "regulariser"]


@dataclass(frozen=True)
class Fact:
    """What a quantity is called and how it is read.

    Arguments:
        title: In words, in lower case but for names: "squared error", "SSIM".
        unit: "nats", "dB", "pixels"; "" for a plain number.
        better: Which way is better, if either is.
        per: "sample" for a mean over samples; "batch" for an estimate from a batch, which depends
            on the size of the batch.
        role: What it does in an objective. "reconstruction": how far the output is from x;
            "divergence": KL(q(z|x) || p(z)), which makes a reconstruction in nats a bound on
            -log p(x); "bound": such a bound by itself; "regulariser": anything else.

    >>> Fact("squared error", role="reconstruction").better
    'low'
    """

    title: str
    unit: str = ""
    better: Literal["low", "high", "neither"] = "low"
    per: Literal["sample", "batch"] = "sample"
    role: Role = "regulariser"


@dataclass(frozen=True)
class Spec:
    """What a recipe must know of a data set.

    Arguments:
        shape: Of one sample, without the batch axis; (C, H, W) for images.
        classes: The names of the labels, one of which each sample has; empty where there are none.
        attributes: The names of what may hold of a sample, several at once; mostly empty.

    >>> Spec((1, 28, 28), classes=("cat", "dog")).context
    2
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @property
    def context(self) -> int:
        """Columns of c that a conditional model reads: one-hot labels, or attributes; 0: none."""
        return len(self.classes) or len(self.attributes)


@dataclass(frozen=True)
class Batch:
    """B samples on the device: ``x`` (B, *X) floats in [0, 1]; ``c`` (B, C) or None."""

    x: Tensor
    c: Tensor | None = None

"""What passes between the data and a model: a description of the samples, and their batches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """What a recipe must know of a data set.

    shape: of one sample, without the batch axis; (C, H, W) for images.
    classes: the names of the labels, one of which each sample has; empty where there are none.
    attributes: the names of what may hold of a sample, several at once; mostly empty.
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

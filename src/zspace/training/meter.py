"""Means of terms over batches, gathered on the device and read in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from zspace.system.errors import UserError


class NonFinite(UserError):
    """A term was NaN or infinite: says at which step, and the value of every term there."""


def row_of(report: Mapping[str, Tensor]) -> Tensor:
    """The values of a report (n,), on their device; (n, M) where they are of M models."""
    return torch.stack([value.float() for value in report.values()])


@dataclass
class Meter:
    """Rows of terms, one per batch, weighted by the size of the batch.

    Rows gather in float32 on the device and are added up in float64 on the host: not every device
    has float64. They are added one after the other, so that it does not matter when they are read.

    first_step: batches that were counted before. what: what a row is called in an error.
    """

    first_step: int = 0
    what: str = "step"
    names: list[str] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    total: np.ndarray | None = None
    count: int = 0

    def add(self, names: Sequence[str], row: Tensor, size: int) -> None:
        """Take in the values (n,) of one batch."""
        self.names = list(names)
        self.rows.append(row)
        self.sizes.append(size)

    def fold(self) -> None:
        """Read the rows into the running total. Raises NonFinite, naming step and terms."""
        if not self.rows:
            return
        rows = torch.stack(self.rows).cpu().numpy()
        self._refuse_non_finite(rows)
        for row, size in zip(rows.astype(np.float64), self.sizes, strict=True):
            self.total = size * row if self.total is None else self.total + size * row
        self.count += sum(self.sizes)
        self.first_step += len(self.rows)
        self.rows, self.sizes = [], []

    def means(self) -> dict[str, float]:
        """The mean of each term so far."""
        self.fold()
        assert self.total is not None
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))

    def _refuse_non_finite(self, rows: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            i = int(bad[0])
            terms = zip(self.names, rows[i].tolist(), strict=True)
            values = ", ".join(f"{name} = {value:.6g}" for name, value in terms)
            number = self.first_step + i + 1
            raise NonFinite(f"the loss is not finite at {self.what} {number}: {values}")

"""Means of terms over batches, gathered on the device and read in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zspace.errors import UserError


class NonFinite(UserError):
    """A term was NaN or infinite: says at which step, and the value of every term there."""


@dataclass
class Meter:
    """Rows of terms, one a batch, weighted by the size of the batch.

    first_step: batches that were counted before. what: how a row is called when it is bad.
    """

    first_step: int = 0
    what: str = "step"
    names: list[str] = field(default_factory=list)
    rows: list[tuple[Tensor, ...]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    total: Tensor | None = None
    count: int = 0

    def add(self, report: Mapping[str, Tensor], size: int) -> None:
        self.names = list(report)
        self.rows.append(tuple(report.values()))
        self.sizes.append(size)

    def fold(self) -> None:
        """Read the rows into the running total. Raises NonFinite, naming step and terms."""
        if not self.rows:
            return
        rows = torch.stack([torch.stack(row) for row in self.rows]).double().cpu()
        self._refuse_non_finite(rows)
        total = torch.tensor(self.sizes, dtype=torch.float64) @ rows
        self.total = total if self.total is None else self.total + total
        self.count += sum(self.sizes)
        self.first_step += len(self.rows)
        self.rows, self.sizes = [], []

    def means(self) -> dict[str, float]:
        self.fold()
        assert self.total is not None
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))

    def _refuse_non_finite(self, rows: Tensor) -> None:
        bad = (~rows.isfinite()).any(dim=1).nonzero()
        if len(bad):
            i = int(bad[0])
            terms = zip(self.names, rows[i].tolist(), strict=True)
            values = ", ".join(f"{name} = {value:.6g}" for name, value in terms)
            number = self.first_step + i + 1
            raise NonFinite(f"the loss is not finite at {self.what} {number}: {values}")

"""What samples are called: names of their own, or where they are in their source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zspace.data.dataset import Samples


@dataclass(frozen=True, eq=False)
class Positions(Sequence[str]):
    """Ids of samples that nobody named: the rows (n,) where they are in their source."""

    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        return str(self.rows[i])


def names_of(several: Sequence[Samples]) -> Sequence[str]:
    """The ids of several samples, one after the other; positions where none has a name."""
    names = [name for samples in several for name in samples.names()]
    if any(samples.named for samples in several):
        return names
    return Positions(np.array(names, np.int64))

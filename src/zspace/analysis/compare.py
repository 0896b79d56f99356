"""Which of several groups of runs is better in one measure, beyond the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zspace.analysis.measure import Better


@dataclass(frozen=True)
class Cell:
    """One measure of a group of runs.

    Arguments:
        mean: Over the seeds; of one run its value.
        spread: The standard deviation over the seeds; None for one run.
        text: The number as it is printed.
        about: Its definition; two groups compare only where it is the same.
        better: Whether high or low values are better, if either.
    """

    mean: float
    spread: float | None
    text: str
    about: str
    better: Better = "neither"


def best(cells: Mapping[str, Cell]) -> str | None:
    """The group whose mean is better than every other's by more than the larger of both spreads.

    None where there is no such group, where a spread is not known, and where definitions differ.

    >>> cells = {k: Cell(mean, 0.1, "", "accuracy", "high") for k, mean in (("a", 1), ("b", 2))}
    >>> best(cells)
    'b'
    """
    alike = {(one.about, one.better) for one in cells.values()}
    if len(cells) < 2 or len(alike) > 1 or any(one.spread is None for one in cells.values()):
        return None
    about, better = alike.pop()
    if not about or better == "neither":
        return None
    first = (max if better == "high" else min)(cells, key=lambda key: cells[key].mean)
    lead = cells[first]
    for key, one in cells.items():
        spread = max(lead.spread or 0.0, one.spread or 0.0)
        if key != first and not abs(lead.mean - one.mean) > spread:
            return None
    return first

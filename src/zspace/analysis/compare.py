""" """

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MORE = re.compile(
    r"elbo|iw_\d+|reconstruction|neighbours|probe(_\d+)?|nmi|ari|precision|recall|coverage"
    r"|conditional_accuracy|mig|sap|factor_vae|dci_\w+|\w+_auroc|\w+_auprc"
)
LESS = re.compile(
    r"\w+_bits|mean_distance|covariance_distance|ks|mmd|marginal_kl|frechet|class_distance"
    r"|copies|\w+_fpr95"
)


@dataclass(frozen=True)
class Cell:
    """One measure of a group. mean, spread: over seeds; of one run its value and no spread."""

    mean: float
    spread: float | None
    text: str
    about: str


def best(name: str, cells: Mapping[str, Cell]) -> str | None:
    """The group whose mean is better than every other's by more than the larger of both spreads.

    None where there is none, where a spread is not known, and where definitions differ.
    """
    more = bool(MORE.fullmatch(name))
    if len(cells) < 2 or not (more or LESS.fullmatch(name)):
        return None
    abouts = {one.about for one in cells.values()}
    if len(abouts) > 1 or "" in abouts or any(one.spread is None for one in cells.values()):
        return None
    first = (max if more else min)(cells, key=lambda key: cells[key].mean)
    lead = cells[first]
    for key, one in cells.items():
        spread = max(lead.spread or 0.0, one.spread or 0.0)
        if key != first and not abs(lead.mean - one.mean) > spread:
            return None
    return first

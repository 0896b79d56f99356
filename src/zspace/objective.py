"""An objective: a weighted sum of named terms, and the schedules of the weights.

A schedule is a function of training progress in [0, 1], not of steps: it means the same for every
batch size and data set, and at 1 it has its final value, with which validation is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zspace.errors import UserError
from zspace.types import Pass, Schedule, Term


class Objective:
    """``sum_i weight_i(progress) * term_i``, a mean over the batch.

    Every name that the terms produce must have a weight (0 reports it only) and every weight a
    term, so that nothing falls out of the loss by a slip.

    terms: callables `Pass` -> named tensors.
    weights: by name, a number or a `Schedule`.
    samples: K, the draws of each code that the terms want.
    """

    def __init__(
        self, terms: Sequence[Term], weights: Mapping[str, float | Schedule], samples: int = 1
    ) -> None:
        if samples < 1:
            raise UserError(
                f"samples is {samples}: an objective needs at least 1 draw of the code"
            )
        if weights and all(weight == 0 for weight in weights.values()):
            raise UserError("every weight is 0: give at least one term a weight to minimise")
        self.terms, self.weights, self.samples = tuple(terms), dict(weights), samples

    def __call__(self, p: Pass, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and a report: each term unweighted, and `objective`."""
        values = {name: value.mean() for name, value in self.values(p).items()}
        counted = [name for name in values if self.weights[name] != 0]
        weighted = [self.weight(name, progress) * values[name] for name in counted]
        loss = torch.stack(weighted).sum()
        report = {name: value.detach() for name, value in values.items()}
        return loss, {**report, "objective": loss.detach()}

    def values(self, p: Pass) -> dict[str, Tensor]:
        """Each term unweighted, (B,) or scalar. Raises UserError where names differ."""
        named = [item for term in self.terms for item in term(p).items()]
        values = dict(named)
        if len(values) < len(named) or values.keys() != self.weights.keys():
            raise UserError(
                f"the terms give {sorted(name for name, _ in named)} but weights are named for "
                f"{sorted(self.weights)}: give each term one weight (0 only reports it)"
            )
        return values

    def weight(self, name: str, progress: float) -> float:
        """The weight of one term at this progress."""
        weight = self.weights[name]
        return weight(progress) if callable(weight) else weight


def warmup(until: float = 0.2, end: float = 1.0) -> Schedule:
    """A weight that grows linearly from 0 to `end` over the first part of training, then stays.

    until: the fraction of training after which it is `end`, in (0, 1].
    """
    if not 0 < until <= 1:
        raise UserError(f"warm-up lasts until {until} of training: use a fraction in (0, 1]")
    return lambda progress: end * min(1.0, progress / until)


def cyclical(cycles: int = 4, ratio: float = 0.5, end: float = 1.0) -> Schedule:
    """A weight that grows from 0 to `end` again and again.

    Reference: Fu et al. Cyclical annealing schedule. 2019, arXiv 1903.10145.

    cycles: how often, >= 1. ratio: the part of a cycle that grows, in (0, 1]; the rest is flat.
    """
    if cycles < 1 or not 0 < ratio <= 1:
        raise UserError(f"{cycles} cycles with ratio {ratio}: use >= 1 cycles, a ratio in (0, 1]")

    def weight(progress: float) -> float:
        within = 1.0 if progress >= 1 else progress * cycles % 1.0
        return end * min(1.0, within / ratio)

    return weight

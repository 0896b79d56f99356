"""An objective: a weighted sum of named terms, and the schedules of the weights.

A schedule is a function of training progress in [0, 1], not of steps: it means the same for every
batch size and data set, and at 1 it has its final value, with which validation is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from zspace.models.flow import Pass, Term
from zspace.system.errors import UserError
from zspace.system.schedules import Schedule


class Objective:
    """``sum_i weight_i(progress) * term_i``, a mean over the batch.

    Every name that the terms produce must have a weight (0 reports it only) and every weight a
    term, so that nothing falls out of the loss by a slip.

    terms: callables `Pass` -> named tensors.
    weights: by name, a number or a `Schedule`.
    samples: K, the draws of each code that the terms want.

    over_ranks: from tensors of a part of the batch to their means over the whole. It is set where
    several processes train; an objective that reads gradients itself must see them through it.
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
        self.over_ranks: Callable[[list[Tensor]], list[Tensor]] = list

    def __call__(self, p: Pass, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and a report: each term unweighted, and `objective`."""
        values = {name: value.mean() for name, value in self.values(p).items()}
        loss = self.total(values, progress)
        report = {name: value.detach() for name, value in values.items()}
        return loss, {**report, "objective": loss.detach()}

    def total(self, values: Mapping[str, Tensor], progress: float) -> Tensor:
        """The weighted sum of terms that are scalars."""
        counted = [name for name in values if self.weights[name] != 0]
        return torch.stack([self.weight(name, progress) * values[name] for name in counted]).sum()

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

    def shown(self) -> dict[str, float | str]:
        """The weights at the end of training, as run.json keeps them."""
        return {name: self.weight(name, 1.0) for name in self.weights}

    def weight(self, name: str, progress: float) -> float:
        """The weight of one term at this progress."""
        weight = self.weights[name]
        return weight(progress) if callable(weight) else weight


class Adaptive(Objective):
    """An objective in which one term is made to pull as strongly as all the others together.

    Its weight is multiplied by ``|grad rest| / (|grad term| + 1e-4)``, at most 1e4, the ratio of
    gradient norms at the decoder's last layer. Without gradients, as in validation, the term is
    reported only: its value is an opinion that changes from epoch to epoch.

    Reference: Esser, Rombach, Ommer. Taming transformers for high-resolution image synthesis.
    2020, arXiv 2012.09841 (equation 7).

    adapted: the name of that term. last: the weight of the decoder's last layer.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        weights: Mapping[str, float | Schedule],
        *,
        adapted: str,
        last: Tensor,
        samples: int = 1,
    ) -> None:
        super().__init__(terms, weights, samples)
        self.adapted, self.last = adapted, last

    def __call__(self, p: Pass, progress: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        values = {name: value.mean() for name, value in self.values(p).items()}
        term = values[self.adapted]
        loss = self.total({**values, self.adapted: torch.zeros_like(term)}, progress)
        report = {name: value.detach() for name, value in values.items()}
        if torch.is_grad_enabled():
            weight = self.weight(self.adapted, progress)
            ratio = self.ratio(loss, term) if weight else torch.zeros_like(term)
            report[f"{self.adapted}_weight"] = weight * ratio
            loss = loss + weight * ratio * term
        return loss, {**report, "objective": loss.detach()}

    def shown(self) -> dict[str, float | str]:
        weight = self.weight(self.adapted, 1.0)
        return {**super().shown(), self.adapted: f"{weight:g}, adaptive"}

    def ratio(self, rest: Tensor, term: Tensor) -> Tensor:
        """The factor, a scalar without a gradient."""
        gradients = [
            torch.autograd.grad(value, self.last, retain_graph=True)[0] for value in (rest, term)
        ]
        norms = [gradient.norm() for gradient in self.over_ranks(gradients)]
        return (norms[0] / (norms[1] + 1e-4)).clamp(max=1e4)

"""An objective: a weighted sum of named terms, and the schedules of the weights.

A schedule is a function of training progress in [0, 1], not of steps: it means the same for every
batch size and data set, and at 1 it has its final value, with which validation is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from zspace.data.spec import Fact, Role
from zspace.models.flow import Pass, Term
from zspace.system.errors import UserError
from zspace.system.schedules import Schedule

Progress = float | Mapping[str, Tensor]
"""How far training is, in [0, 1]; or the weight that each term has there, as a scalar on the
device of the model: a step that is recorded once and replayed reads its weights there."""


class Objective:
    """``sum_i weight_i(progress) * term_i``, a mean over the batch.

    Every name that the terms give must have a weight (0 reports it only) and every weight a
    term, so that nothing falls out of the loss by a slip.

    Arguments:
        terms: Callables `Pass` -> named tensors.
        weights: By name, a number or a `Schedule`.
        samples: K, the draws of each code that the terms want.

    Attributes:
        facts: What each name stands for; one without a `Fact` goes by its name.
        over_ranks: From tensors of a part of the batch to their means over the whole. It is set
            where several processes train; an objective that reads gradients itself must see them
            through it.
        scaled: Scales a loss whose gradient is computed in half precision. It is set with the
            scale of the training.

    Raises UserError where samples is below 1, and where every weight is 0.

    >>> from zspace.models.terms import kl, mse
    >>> objective = Objective([mse, kl], {"mse": 1.0, "kl": 0.5})
    >>> objective.reconstruction, objective.facts["kl"].title
    ('mse', 'KL to the prior')
    """

    def __init__(
        self, terms: Sequence[Term], weights: Mapping[str, float | Schedule], samples: int = 1
    ) -> None:
        if samples < 1:
            raise UserError(
                f"samples is {samples}, but an objective needs at least 1 draw of the code: use "
                "samples >= 1"
            )
        if weights and all(weight == 0 for weight in weights.values()):
            raise UserError("every weight is 0: give at least one term a weight to minimise")
        self.terms, self.weights, self.samples = tuple(terms), dict(weights), samples
        self.over_ranks: Callable[[list[Tensor]], list[Tensor]] = list
        self.scaled: Callable[[Tensor], Tensor] = torch.clone
        told = {k: v for term in self.terms for k, v in getattr(term, "gives", {}).items()}
        self.facts = {name: told.get(name, Fact(name.replace("_", " "))) for name in self.weights}
        per: Literal["sample", "batch"] = (
            "batch" if any(self.weight(name, 1.0) for name in self.estimates) else "sample"
        )
        self.facts["objective"] = Fact("objective", per=per, role="objective")

    @property
    def reconstruction(self) -> str | None:
        """The term that says how far the output is from x, weighted or not; None without one."""
        return next(iter(self.of_role("reconstruction")), None)

    def of_role(self, role: Role) -> list[str]:
        """The names of the terms of one role, those that are only reported included."""
        return [name for name in self.weights if self.facts[name].role == role]

    @property
    def estimates(self) -> list[str]:
        """The terms that are estimates from a batch, and so depend on its size."""
        return [name for name in self.weights if self.facts[name].per == "batch"]

    @property
    def comparable(self) -> tuple[str, ...]:
        """The terms whose sum may be compared between code sizes.

        That is the objective. Where it minimises an estimate from a batch, it is the
        reconstruction and the KL, if there are both: the constants that such estimates leave out,
        and their bias, may depend on the code size.
        """
        error, divergence = self.reconstruction, self.of_role("divergence")
        estimated = any(name in self.minimised() for name in self.estimates)
        return (error, divergence[0]) if estimated and error and divergence else ("objective",)

    def minimised(self) -> dict[str, float]:
        """The terms whose weight is not 0 at the end of training, with that weight."""
        return {name: w for name in self.weights if (w := self.weight(name, 1.0))}

    def passing(self) -> list[str]:
        """The terms that are minimised during training and no longer at its end.

        >>> from zspace.models.terms import kl, mse
        >>> Objective([mse, kl], {"mse": 1.0, "kl": lambda progress: 1 - progress}).passing()
        ['kl']
        """
        return [name for name, w in self.weights.items() if callable(w) and not w(1.0)]

    def bound(self, values: Mapping[str, float]) -> float | None:
        """The negative bound on log p(x), in nats, that the terms make; None without one.

        It is the bound that a term gives, or else a reconstruction in nats plus the divergence.
        """
        for name in self.of_role("bound"):
            return values[name]
        error, divergence = self.reconstruction, self.of_role("divergence")
        if error is None or self.facts[error].unit != "nats" or not divergence:
            return None
        return values[error] + values[divergence[0]]

    def __call__(self, p: Pass, progress: Progress = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and a report: each term unweighted, and `objective`."""
        return self.weighed(self.means(p), progress)

    def means(self, p: Pass) -> dict[str, Tensor]:
        """Each term unweighted, its mean over the batch: a scalar."""
        return {name: value.mean() for name, value in self.values(p).items()}

    def weighed(
        self, values: dict[str, Tensor], progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and the report of means that `means` gave."""
        loss = self.total(values, progress)
        report = {name: value.detach() for name, value in values.items()}
        return loss, {**report, "objective": loss.detach()}

    def total(self, values: dict[str, Tensor], progress: Progress) -> Tensor:
        """The weighted sum of terms that are scalars, or all of one shape."""
        counted = [name for name in values if self.weights[name] != 0]
        return torch.stack([self.weight(name, progress) * values[name] for name in counted]).sum(0)

    def values(self, p: Pass) -> dict[str, Tensor]:
        """Each term unweighted, (B,) or scalar.

        Raises UserError where the terms' names are not those of the weights, or occur twice.
        """
        named = [item for term in self.terms for item in term(p).items()]
        values = dict(named)
        if len(values) < len(named) or values.keys() != self.weights.keys():
            raise UserError(
                f"the terms give {sorted(name for name, _ in named)}, but there are weights for "
                f"{sorted(self.weights)}: give each term one weight (0 only reports it)"
            )
        return values

    def final_weights(self) -> dict[str, float | str]:
        """The weights at the end of training, as run.json keeps them."""
        return {name: self.weight(name, 1.0) for name in self.weights}

    @overload
    def weight(self, name: str, progress: float) -> float: ...

    @overload
    def weight(self, name: str, progress: Progress) -> float | Tensor: ...

    def weight(self, name: str, progress: Progress) -> float | Tensor:
        """The weight of one term at this progress."""
        if isinstance(progress, Mapping):
            return progress[name]
        weight = self.weights[name]
        return weight(progress) if callable(weight) else weight


class Adaptive(Objective):
    """An objective in which one term is made to pull as strongly as all the others together.

    Its weight is multiplied by ``|grad rest| / (|grad term| + 1e-4)``, at most 1e4, the ratio of
    gradient norms at the decoder's last layer. Without gradients, as in validation, the term is
    reported only: the discriminator behind it changes from epoch to epoch, so that its values
    cannot be compared.

    Each of the two gradients goes back to the decoder's output once. There the last layer turns
    either into that of its weight, and their weighted sum goes on through the model. So what
    judges an output is passed back once, and so is the model. What terms read besides p(x|z), such
    as codes, has its gradient from the loss as always. Call ``backward(inputs=parameters)`` on it:
    without ``inputs`` the way to the output would be gone through once more, for nothing.

    Reference: Esser, Rombach, Ommer. Taming transformers for high-resolution image synthesis.
    2020, arXiv 2012.09841 (equation 7).

    Arguments:
        terms: As for `Objective`, like weights and samples.
        adapted: The name of the term whose weight is adapted.
        last: The weight of the decoder's last layer.

    Raises UserError for a pass without the decoder's output (see `Pass.parted`).

    >>> from torch.distributions import Normal
    >>> last = torch.ones(1, requires_grad=True)
    >>> def normal(output: Tensor) -> Normal:
    ...     return Normal(output, 1.0)
    >>> p = Pass(torch.zeros(1), normal(3 * last), (), output=3 * last, likelihood=normal)
    >>> terms = [lambda p: {"error": 6 * p.px.mean}, lambda p: {"fooled": 2 * p.px.mean}]
    >>> weights = {"error": 1.0, "fooled": 0.5}
    >>> _, report = Adaptive(terms, weights, adapted="fooled", last=last)(p)
    >>> round(float(report["fooled_weight"]), 2)  # 0.5 times 6 / 2
    1.5
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
        self._seam: tuple[Tensor, Tensor] | None = None  # of a pass whose loss is not made yet
        title = f"weight of the {self.facts[adapted].title}"
        self.facts[f"{adapted}_weight"] = Fact(title, better="neither")

    def means(self, p: Pass) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return super().means(p)
        parted = p.parted()
        assert p.output is not None
        assert parted.output is not None
        self._seam = p.output, parted.output
        return super().means(parted)

    def total(self, values: dict[str, Tensor], progress: Progress) -> Tensor:
        """The weighted sum; the weight that the ratio makes is added to the values."""
        term = values[self.adapted]
        rest = super().total({**values, self.adapted: torch.zeros_like(term)}, progress)
        if not torch.is_grad_enabled():
            return rest
        assert self._seam is not None
        (output, leaf), self._seam = self._seam, None
        pull, gradient = torch.zeros_like(term), self._gradient(rest, leaf)
        weight = self.weight(self.adapted, progress)
        if not isinstance(weight, float | int) or weight:
            other = self._gradient(term, leaf)
            pull = weight * self.ratio(output, gradient, other)
            gradient = gradient + pull * other
        values[f"{self.adapted}_weight"] = pull
        return _Led.apply(rest + pull * term, output, gradient)

    def final_weights(self) -> dict[str, float | str]:
        weight = self.weight(self.adapted, 1.0)
        return {**super().final_weights(), self.adapted: f"{weight:g}, adaptive"}

    def ratio(self, output: Tensor, rest: Tensor, term: Tensor) -> Tensor:
        """``|grad rest| / (|grad term| + 1e-4)``, at most 1e4: a scalar without a gradient.

        Arguments:
            output: The decoder's.
            rest: The gradient of all other terms with respect to it.
            term: That of the adapted term.
        """
        gradients = [
            torch.autograd.grad(output, self.last, gradient, retain_graph=True)[0]
            for gradient in (rest, term)
        ]
        norms = [gradient.norm() for gradient in self.over_ranks(gradients)]
        return (norms[0] / (norms[1] + 1e-4)).nan_to_num(0.0).clamp(max=1e4)

    def _gradient(self, value: Tensor, leaf: Tensor) -> Tensor:
        """Of a scalar; it is scaled on the way, so that half precision holds it."""
        (gradient,) = torch.autograd.grad(self.scaled(value), leaf, retain_graph=True)
        return gradient / self.scaled(torch.ones_like(value))


class _Led(torch.autograd.Function):
    """A loss whose gradient with respect to one more tensor is known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, at: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad, grad * gradient, None

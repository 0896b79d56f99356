"""One x of a p(x|z): what it is shown by, and draws that are hotter or colder than its own."""

from __future__ import annotations

import math

from torch import Tensor
from torch.distributions import Distribution, Independent

from zspace.models.distributions import Columns, Observed
from zspace.system.errors import UserError


def typical(px: Distribution) -> Tensor:
    """What p(x|z) is shown by: its mean, or of what has none, such as tokens, its mode.

    >>> from torch.distributions import Normal
    >>> typical(Normal(torch.tensor([1.0, 2.0]), 1.0))
    tensor([1., 2.])
    """
    try:
        return px.mean
    except NotImplementedError:
        return px.mode


def heated(px: Distribution, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """A draw of p(x|z) at another temperature; at 0 what `typical` gives.

    Arguments:
        px: p(x|z). Of tokens, logits are divided by the temperature; of elements with a mean, the
            distance of a draw from it is multiplied.
        temperature: At least 0.
        top_p: Of tokens: each is drawn among the likeliest that make up this share, in (0, 1].

    Raises UserError for numbers out of their range, for top_p where elements are no tokens, and
    for a temperature other than 0 and 1 of rows of a table, whose values are of several kinds.

    >>> from torch.distributions import Normal
    >>> heated(Normal(torch.tensor([1.0]), 1.0), 0.0)
    tensor([1.])
    """
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature is {temperature}: use a number of 0 or more")
    base = px.base_dist if isinstance(px, Independent | Observed) else px
    of_tokens = hasattr(px, "log_probs")
    if top_p != 1 and not of_tokens:
        raise UserError(f"top_p is {top_p}, but samples are no tokens: leave it out")
    if temperature == 0:
        return typical(px)
    if of_tokens:
        return px.sample(temperature=temperature, top_p=top_p)  # type: ignore[call-arg]
    if temperature == 1:
        return px.sample()
    while isinstance(base, Independent | Observed):
        base = base.base_dist
    if isinstance(base, Columns):
        raise UserError(
            f"temperature is {temperature}, but rows of a table have one only of 0 (typical "
            "values) or 1: use one of these"
        )
    return px.mean + temperature * (px.sample() - px.mean)

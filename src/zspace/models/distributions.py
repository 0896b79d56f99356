"""Distributions that torch lacks, or lacks in a stable form.

All but `LogisticMixture` and `Observed` are elementwise (empty event shape): wrap them in
``torch.distributions.Independent`` to make an image one event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.nn import functional as F

from zspace.data.spec import Column
from zspace.system.errors import UserError

Shape = torch.Size | list[int] | tuple[int, ...]


class QuadraticEnergy(Normal):
    r"""The Gaussian of variance 1/2 without its constant: ``log_prob(x) = -(x - mean)^2``.

    This is what the field minimises as "squared error". It is no normalised density: the
    missing constant is ``log(pi) / 2`` nats per element.

    Arguments:
        mean: Any shape, the centre of each element.

    >>> QuadraticEnergy(torch.tensor(1.0)).log_prob(torch.tensor(3.0))
    tensor(-4.)
    """

    def __init__(self, mean: Tensor) -> None:
        self.loc = mean
        Distribution.__init__(self, mean.shape, validate_args=False)

    @property
    def scale(self) -> Tensor:  # type: ignore[override] # made on demand: training needs none
        return torch.full_like(self.loc, math.sqrt(0.5))

    def expand(self, batch_shape: Shape, _instance: object = None) -> QuadraticEnergy:
        return QuadraticEnergy(self.mean.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return -(value - self.mean).square()


def log_sinhc(t: Tensor) -> Tensor:
    r"""``log(sinh(t) / t)`` for every t, to 1e-7 absolute in float32, with a finite gradient at 0.

    A Taylor series serves |t| < 0.3; elsewhere ``|t| - log(2|t|) + log1p(-exp(-2|t|))``.

    >>> log_sinhc(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.1614])
    """
    t2 = t.clamp(-1, 1).square()  # the series is not selected beyond, but must not overflow
    near = t2 * (1 / 6 - t2 * (1 / 180 - t2 * (1 / 2835 - t2 / 37800)))
    far = torch.where(t2 < 0.09, torch.ones_like(t), t).abs()
    return torch.where(
        t2 < 0.09, near, far - torch.log(2 * far) + torch.log1p(-torch.exp(-2 * far))
    )


class ContinuousBernoulli(Distribution):
    r"""The continuous Bernoulli on [0, 1] as an exponential family in its logits.

    ``log p(x) = eta x - log((exp(eta) - 1) / eta)``, where the log-normaliser is
    ``eta / 2 + log(sinh(eta / 2) / (eta / 2))``. Written so, nothing cancels near
    ``lambda = sigmoid(eta) = 1/2`` and nothing is clipped at the ends.

    Reference: Loaiza-Ganem, Cunningham. The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders. 2019, arXiv 1907.06845.

    Arguments:
        logits: eta, any shape. At 0 the distribution is uniform.

    >>> ContinuousBernoulli(torch.tensor(0.0)).icdf(torch.tensor(0.25))
    tensor(0.2500)
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        r"""``1/2 + (coth(t) - 1/t) / 2`` with ``t = eta / 2``; not lambda itself."""
        t = self.logits / 2
        t2 = t.clamp(-1, 1).square()
        near = t.clamp(-1, 1) * (1 / 3 - t2 * (1 / 45 - t2 * (2 / 945 - t2 / 4725)))
        far = torch.where(t2 < 0.09, torch.ones_like(t), t)
        return 0.5 + 0.5 * torch.where(t2 < 0.09, near, 1 / torch.tanh(far) - 1 / far)

    def expand(self, batch_shape: Shape, _instance: object = None) -> ContinuousBernoulli:
        return ContinuousBernoulli(self.logits.expand(batch_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Inverse transform: the quantile ``log(1 + u (exp(eta) - 1)) / eta`` at uniform u."""
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return self.icdf(u)

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile at probabilities ``value``; a large eta > 0 by symmetry from -eta.

        Within 1e-3 of eta = 0 it is the expansion ``u (1 + eta (1 - u) / 2)``.
        """
        flat = self.logits.abs() < 1e-3
        eta = torch.where(flat, -torch.ones_like(self.logits), -self.logits.abs())
        u = torch.where(self.logits > 0, 1 - value, value)
        least = torch.finfo(eta.dtype).eps - 1  # log1p(-1) would have no gradient
        x = (torch.log1p((u * torch.expm1(eta)).clamp(min=least)) / eta).clamp(0, 1)
        x = torch.where(u == 1, torch.ones_like(x), x)
        x = torch.where(self.logits > 0, 1 - x, x)
        return torch.where(flat, value * (1 + self.logits * (1 - value) / 2), x)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits * (value - 0.5) - log_sinhc(self.logits / 2)

    def entropy(self) -> Tensor:
        return -self.log_prob(self.mean)


class LogisticMixture(Distribution):
    r"""Images of discrete levels: every pixel is a mixture of K products of discretised logistics.

    x in [0, 1] stands for the levels ``k / (levels - 1)``, ``y = 2 x - 1`` in [-1, 1] for x. Under
    component i, channel c is a logistic variable of scale ``s_ic``, centred at ``loc_ic +
    sum_{j<c} coupling_icj y_j``, rounded to the nearest level and cut off at the ends. So

    ``P(y | i) = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))``

    where a and b are the level's upper and lower edges in units of the scale; at the lowest level
    it is ``sigmoid(a)``, at the highest ``sigmoid(-b)``. The product form is exact and its
    logarithm is finite everywhere. ``log_prob`` is that of the level nearest to x (of the end
    where x is outside [0, 1]): a probability, not a density.

    Reference: Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with
    discretized logistic mixture likelihood and other modifications. 2017, arXiv 1701.05517.

    Arguments:
        logits: (*batch, K, *P), P the axes of pixels, at least one.
        loc: (*batch, C, K, *P), on the scale of y.
        log_scale: (*batch, C, K, *P), natural logarithms on the scale of y.
        coupling: (*batch, C (C - 1) / 2, K, *P), the rows of the strictly lower triangle one after
            the other: (1, 0), (2, 0), (2, 1) ...
        event: How many axes one image (C, *P) has.
        levels: How many values x can have, at least 2; 256 are those of 8 bits.

    >>> loc = torch.zeros(1, 1, 1, 1)                      # C = K = 1, a row of one pixel
    >>> p = LogisticMixture(loc[0], loc, loc, loc[:, :0], event=2, levels=2)
    >>> p.log_prob(torch.zeros(1, 1, 1)).exp()             # black and white are as likely
    tensor([0.5000])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        log_scale: Tensor,
        coupling: Tensor,
        event: int = 3,
        levels: int = 256,
    ) -> None:
        self.logits, self.loc, self.log_scale, self.coupling = logits, loc, log_scale, coupling
        self.levels, self._components, self._channels = levels, -event, -event - 1
        self._pixels = tuple(range(1 - event, 0))
        shape = (loc.shape[self._channels], *loc.shape[1 - event :])
        super().__init__(logits.shape[:-event], torch.Size(shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.unit_interval, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """E[x], channel by channel: each is centred as if those before it had their means.

        A component's mean is ``s (softplus((m + 1) / s) - softplus((m - 1) / s)) - 1`` for y, that
        of the logistic cut off at the ends but not rounded: within half a level of the rounded
        one. Apart from that it is exact for the first channel, and for the others as long as the
        spread of the channels before does not carry their centre over an end.
        """
        before: list[Tensor] = []
        for c in range(self.event_shape[0]):
            m, s = self._centre(c, before), self._of(self.log_scale, c).exp()
            above = s * (F.softplus((m + 1) / s) - F.softplus((m - 1) / s))
            before.append((above - 1).clamp(-1, 1))
        weights = self.logits.softmax(self._components).unsqueeze(self._channels)
        y = (weights * torch.stack(before, self._channels)).sum(self._components)
        return ((y + 1) / 2).clamp(0, 1)

    def expand(self, batch_shape: Shape, _instance: object = None) -> LogisticMixture:
        lead = len(self.batch_shape)
        parts = (self.logits, self.loc, self.log_scale, self.coupling)
        wide = [part.expand(*batch_shape, *part.shape[lead:]) for part in parts]
        return self._like(*wide)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Exact draws, levels in [0, 1]: one component per pixel, then channel after channel."""
        with torch.no_grad():
            shape = (*sample_shape, *self.batch_shape)
            one, y = self.expand(shape)._draw_components(), list[Tensor]()
            for c in range(self.event_shape[0]):
                m, scale = one._centre(c, y), one._of(one.log_scale, c).exp()
                noise = torch.logit(torch.rand_like(m), eps=1e-7)
                y.append(self._grid((m + scale * noise + 1) / 2))
            return (torch.stack(y, self._channels).squeeze(self._components) + 1) / 2

    def log_prob(self, value: Tensor) -> Tensor:
        y = self._grid(value).unsqueeze(self._components).unbind(self._channels)
        log_p = self.logits.log_softmax(self._components)
        for c in range(len(y)):
            log_p = log_p + self._log_level(
                y[c], self._centre(c, y[:c]), self._of(self.log_scale, c)
            )
        return log_p.logsumexp(self._components).sum(self._pixels)

    def _log_level(self, y: Tensor, centre: Tensor, log_scale: Tensor) -> Tensor:
        """log P of one channel's level under every component, (*batch, K, *P)."""
        inverse = torch.exp(-log_scale)
        half, middle = inverse / (self.levels - 1), (y - centre) * inverse
        first, last, none = y <= -1, y >= 1, torch.zeros((), dtype=y.dtype, device=y.device)
        return (
            torch.where(last, none, F.logsigmoid(half + middle))
            + torch.where(first, none, F.logsigmoid(half - middle))
            + torch.where(first | last, none, torch.log(-torch.expm1(-2 * half)))
        )

    def _grid(self, x: Tensor) -> Tensor:
        """The nearest level to x, as y in [-1, 1]; the ends are -1 and 1 exactly."""
        last = self.levels - 1
        return 2 * (x * last).round().clamp(0, last) / last - 1

    def _of(self, part: Tensor, c: int) -> Tensor:
        return part.select(self._channels, c)

    def _centre(self, c: int, before: Sequence[Tensor]) -> Tensor:
        """(*batch, K, *P): where channel c is centred, given y of the channels before it."""
        centre, row = self._of(self.loc, c), c * (c - 1) // 2
        for j, y in enumerate(before):
            centre = centre + self._of(self.coupling, row + j) * y
        return centre

    def _draw_components(self) -> LogisticMixture:
        """One component drawn for each pixel, the others left out."""
        clock = torch.empty(self.logits.shape, dtype=self.logits.dtype, device=self.logits.device)
        race = self.logits - clock.exponential_().log()
        choice = race.argmax(self._components, keepdim=True)
        parts = (self.loc, self.log_scale, self.coupling)
        chosen = [
            torch.take_along_dim(part, choice.unsqueeze(self._channels), self._components)
            for part in parts
        ]
        return self._like(torch.zeros_like(choice, dtype=race.dtype), *chosen)

    def _like(self, *parts: Tensor) -> LogisticMixture:
        """The same kind of image from other parameters."""
        logits, loc, log_scale, coupling = parts
        event = len(self.event_shape)
        return LogisticMixture(logits, loc, log_scale, coupling, event, self.levels)


class Layout(nn.Module):
    """Where the columns of a table lie in x (W,), as index tensors on the device of the model.

    Arguments:
        columns: In the order of their entries in x.

    Attributes:
        numbers, counts, booleans, categories: Positions in x of the entries of each sort.
        block: For each entry of a category, which category it is of.
        others: Which entries among `categories` stand for any other value.
        inside, there: (C, M): for each category its entries among `categories`, padded to the
            broadest, and which of these are no padding.
        at, value: (Q, K): for each count the corners of its map from x, padded with the last.

    >>> Layout((Column("age", "number"), Column("sex", "category", 3))).categories
    tensor([1, 2, 3])
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        names = ("numbers", "counts", "booleans", "categories")
        sorts: dict[str, list[int]] = {name: [] for name in names}
        of = {"number": "numbers", "date": "numbers", "count": "counts", "boolean": "booleans"}
        blocks: list[range] = []
        start = 0
        for column in columns:
            sorts[of.get(column.kind, "categories")] += range(start, start + column.width)
            if column.kind == "category":
                first = len(sorts["categories"]) - column.width
                blocks.append(range(first, first + column.width))
            start += column.width
        widest = max(map(len, blocks), default=1)
        knots = [column.knots for column in columns if column.kind == "count"]
        most = max(map(len, knots), default=1)
        padded = [[*one, *[one[-1]] * (most - len(one))] for one in knots]
        corners = torch.tensor(padded, dtype=torch.float32).reshape(len(knots), most, 2)
        held = {
            **{name: torch.tensor(places, dtype=torch.long) for name, places in sorts.items()},
            "others": torch.tensor([i == one[-1] for one in blocks for i in one]).bool(),
            "block": torch.tensor([i for i, one in enumerate(blocks) for _ in one]).long(),
            "inside": torch.tensor([[*one, *[one[0]] * (widest - len(one))] for one in blocks])
            .long()
            .reshape(len(blocks), widest),
            "there": torch.tensor([[i < len(one) for i in range(widest)] for one in blocks])
            .bool()
            .reshape(len(blocks), widest),
            "at": corners[..., 0],
            "value": corners[..., 1],
        }
        order = torch.cat([held[name] for name in sorts])
        held["back"] = order.argsort()
        for name, tensor in held.items():
            self.register_buffer(name, tensor, persistent=False)

    numbers: Tensor
    counts: Tensor
    booleans: Tensor
    categories: Tensor
    others: Tensor
    block: Tensor
    inside: Tensor
    there: Tensor
    at: Tensor
    value: Tensor
    back: Tensor

    def of(self, x: Tensor) -> list[Tensor]:
        """Numbers, counts, booleans and categories (..., n) among the entries of x (..., W)."""
        sorts = (self.numbers, self.counts, self.booleans, self.categories)
        return [x.index_select(-1, places) for places in sorts]

    def joined(self, *sorts: Tensor) -> Tensor:
        """The inverse of `of`."""
        return torch.cat(sorts, -1).index_select(-1, self.back)

    def counted(self, x: Tensor) -> Tensor:
        """The counts (..., Q) that entries x (..., Q) stand for, whole numbers."""
        return _piecewise(x, self.at, self.value).round().clamp(min=0)

    def entries(self, counts: Tensor) -> Tensor:
        """The inverse of `counted`, also between whole numbers."""
        return _piecewise(counts, self.value, self.at)


def _piecewise(x: Tensor, at: Tensor, value: Tensor) -> Tensor:
    """Linear between corners at (Q, K), constant beyond the first and the last: (..., Q)."""
    width = at[:, 1:] - at[:, :-1]
    slope = (value[:, 1:] - value[:, :-1]) / width.where(width > 0, 1.0)
    steps = torch.minimum((x.unsqueeze(-1) - at[:, :-1]).clamp(min=0), width)
    return value[:, 0] + (steps * slope).sum(-1)


MEAN_BOUND = 12.0
"""Of the logarithm of a mean count."""


class Columns(Distribution):
    r"""The entries of rows of a table, elementwise: the log-probability of each entry of x.

    Those of a category's block, ``x_i log p_i`` for entry i, add up to the log-probability of the
    value that x names. Counts are negative binomial, with mean m and variance ``m + m^2 / r``;
    what x holds of them is a map of the count, which `Layout` undoes.

    Arguments:
        layout: Where the columns lie.
        numbers: Of numbers and dates, batch shape (*batch, N).
        rest: What else the decoder gives, (*batch, Q + B + C): log means of counts, logits of
            booleans and of the entries of categories.
        dispersion: r of each count, (Q,).

    >>> layout = Layout((Column("ok", "boolean"), Column("sex", "category", 2)))
    >>> none = torch.zeros(1, 0)
    >>> px = Columns(layout, Normal(none, none), torch.zeros(1, 3), none[0])
    >>> px.log_prob(torch.tensor([[1.0, 0.0, 1.0]])).exp()  # 1/2, and 1/2 for the value that is 1
    tensor([[0.5000, 1.0000, 0.5000]])
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real

    def __init__(
        self, layout: Layout, numbers: Distribution, rest: Tensor, dispersion: Tensor
    ) -> None:
        self.layout, self.numbers, self.rest, self.dispersion = layout, numbers, rest, dispersion
        sizes = [len(layout.counts), len(layout.booleans), len(layout.categories)]
        raw, self.logits, self.of_categories = rest.split(sizes, -1)
        self.log_mean = MEAN_BOUND * torch.tanh(raw / MEAN_BOUND)
        width = numbers.batch_shape[-1] + rest.shape[-1]
        super().__init__(torch.Size((*rest.shape[:-1], width)), validate_args=False)

    def expand(self, batch_shape: Shape, _instance: object = None) -> Columns:
        lead = tuple(batch_shape)[:-1]
        numbers = self.numbers.expand(torch.Size((*lead, self.numbers.batch_shape[-1])))
        rest = self.rest.expand(*lead, self.rest.shape[-1])
        return Columns(self.layout, numbers, rest, self.dispersion)

    @property
    def probabilities(self) -> Tensor:
        """Logarithms of the probability of each entry of each category (..., C)."""
        return self._normalised(self.of_categories)

    def _normalised(self, logits: Tensor) -> Tensor:
        """log softmax of logits (..., C), block by block."""
        if not len(self.layout.inside):
            return logits
        each = logits[..., self.layout.inside]
        total = each.masked_fill(~self.layout.there, -math.inf).logsumexp(-1)
        return logits - total.index_select(-1, self.layout.block)

    @property
    def known(self) -> Tensor:
        """Logits (..., C) without those of any other value, which cannot be given back."""
        return self.of_categories.masked_fill(self.layout.others, -math.inf)

    @property
    def mean(self) -> Tensor:
        """Means; of counts the entry of the mean, of categories the probability of each value,
        given that it is none but those.
        """
        counts = self.layout.entries(self.log_mean.exp())
        ones, values = torch.sigmoid(self.logits), self._normalised(self.known).exp()
        return self.layout.joined(self.numbers.mean, counts, ones, values)

    @property
    def variance(self) -> Tensor:
        """Variances of the entries; those of counts are of the counts, not of x."""
        m, p = self.log_mean.exp(), torch.sigmoid(self.logits)
        q = self._normalised(self.known).exp()
        counts = m + m.square() / self.dispersion
        return self.layout.joined(self.numbers.variance, counts, p * (1 - p), q * (1 - q))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws of whole rows: of each category one value is 1, which is none but those known."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            r, m = self.dispersion.expand_as(self.log_mean), self.log_mean.exp()
            rate = torch.distributions.Gamma(r, r / m, validate_args=False).sample(shape)
            ones = torch.bernoulli(torch.sigmoid(self.logits).expand(*shape, *self.logits.shape))
            drawn = [self.numbers.sample(shape), self.layout.entries(torch.poisson(rate)), ones]
            return self.layout.joined(*drawn, self._drawn(shape))

    def _drawn(self, shape: torch.Size) -> Tensor:
        """One entry of each block is 1, by the race of exponential clocks."""
        if not len(self.layout.inside):
            return self.of_categories.expand(*shape, *self.of_categories.shape)
        logits = self.known.expand(*shape, *self.of_categories.shape)
        race = (logits - torch.empty_like(logits).exponential_().log())[..., self.layout.inside]
        first = race.masked_fill(~self.layout.there, -math.inf).argmax(-1)
        places = self.layout.inside.expand(*first.shape, -1).gather(-1, first[..., None])[..., 0]
        return torch.zeros_like(logits).scatter(-1, places, 1.0)

    def log_prob(self, value: Tensor) -> Tensor:
        numbers, counts, ones, categories = self.layout.of(value)
        k, r = self.layout.counted(counts), self.dispersion
        log_rate = self.log_mean - torch.log(r)  # log m / r
        both = F.softplus(log_rate)  # log(1 + m / r)
        count = (
            torch.lgamma(k + r) - torch.lgamma(r) - torch.lgamma(k + 1)
            - r * both + k * (log_rate - both)
        )  # fmt: skip
        boolean = ones * self.logits - F.softplus(self.logits)
        of_numbers = self.numbers.log_prob(numbers)
        return self.layout.joined(of_numbers, count, boolean, categories * self.probabilities)


class Observed(Distribution):
    r"""p(x|z) of samples of which some elements are missing, which are NaN in x.

    ``log p(x|z) = sum_{j seen} log p(x_j|z)``: of independent elements, those that are missing are
    integrated out, so that they add exactly 0 and no gradient. They are replaced by a value of the
    support *before* any arithmetic, because 0 times NaN is NaN in gradients. All else is that of
    the whole distribution.

    Reference: Nazabal, Olmos, Ghahramani, Valera. Handling incomplete heterogeneous data using
    VAEs. 2018, arXiv 1807.03653.

    Arguments:
        px: An elementwise distribution, or `Independent` over one.

    Raises UserError where elements of a sample are not independent.

    >>> px = Observed(Independent(Normal(torch.zeros(1, 2), 1.0), 1))
    >>> px.log_prob(torch.tensor([[0.0, math.nan]]))  # -log(2 pi) / 2, of one element
    tensor([-0.9189])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, px: Distribution) -> None:
        base = px.base_dist if isinstance(px, Independent) else px
        if base.event_shape:
            raise UserError(
                f"x may have missing values, but {type(base).__name__} gives the elements of a "
                "sample no probabilities of their own: choose another likelihood"
            )
        self.px, self.base_dist = px, base
        super().__init__(px.batch_shape, px.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override] # a plain attribute of torch's
        return self.px.has_rsample

    @property
    def support(self) -> constraints.Constraint | None:
        return self.px.support

    @property
    def mean(self) -> Tensor:
        return self.px.mean

    @property
    def mode(self) -> Tensor:
        return self.px.mode

    @property
    def variance(self) -> Tensor:
        return self.px.variance

    def expand(self, batch_shape: Shape, _instance: object = None) -> Observed:
        return Observed(self.px.expand(torch.Size(batch_shape)))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self.px.sample(torch.Size(sample_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.px.rsample(torch.Size(sample_shape))

    def entropy(self) -> Tensor:
        return self.px.entropy()

    def filled(self, value: Tensor) -> Tensor:
        """x with a value of the support where it is missing."""
        support: Any = self.base_dist.support
        for one in (0.0, 0.5, 1.0) if support else ():
            if bool(support.check(torch.tensor(one)).all()):
                return torch.where(value.isnan(), one, value)
        return torch.where(value.isnan(), self.base_dist.mean.detach(), value)

    def log_prob(self, value: Tensor) -> Tensor:
        each = self.base_dist.log_prob(self.filled(value))
        each = torch.where(value.isnan(), 0.0, each)
        axes = len(self.event_shape)
        return each.flatten(-axes).sum(-1) if axes else each


def per_element(px: Distribution, x: Tensor, distance: Callable[[Tensor], Tensor]) -> Tensor:
    """``distance(x)``, of every element of x; 0 where x is missing, which it never sees.

    >>> px = Observed(Normal(torch.zeros(2), 1.0))
    >>> per_element(px, torch.tensor([3.0, math.nan]), lambda x: (x - px.mean).square())
    tensor([9., 0.])
    """
    if not isinstance(px, Observed):
        return distance(x)
    return torch.where(x.isnan(), 0.0, distance(px.filled(x)))


def refuse_missing(px: Distribution, what: str) -> None:
    """Raise UserError where x may have missing values, which this reader of x cannot leave out.

    Arguments:
        px: p(x|z), as the model made it.
        what: The reader, as the sentence names it.
    """
    if isinstance(px, Observed):
        raise UserError(
            f"{what} compares whole samples, but these data have missing values: fill them in "
            "first, or use a recipe without it, such as 'vae'"
        )

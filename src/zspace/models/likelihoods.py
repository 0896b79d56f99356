"""Likelihoods turn the decoder's output into p(x|z).

A likelihood says which kinds of samples it takes, and what the decoder must give for one of them
(`outputs`): (params * C, H, W) for images (C, H, W) where every element is independent. Its
``forward(h, event)`` returns a torch Distribution whose event is the whole sample: the last
`event` axes of h.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    StudentT,
)

from zspace.data.spec import Spec
from zspace.models import distributions, sequences
from zspace.models.terms import bce, mse, nll
from zspace.system.errors import UserError, unknown

SCALE_BOUND = 6.0
LOGISTIC_START, LOGISTIC_BOUND = -1.5, 5.5


def bits_per_dimension(nats: float, shape: Sequence[int]) -> float:
    """``nats / (log(2) D)``, where D is how many numbers one sample has.

    It means something for probabilities of discrete x alone, where `Likelihood.discrete` says so.

    Arguments:
        nats: The negative log-probability of one sample, or a bound on it.
        shape: Of one sample, (C, H, W) for images.

    >>> bits_per_dimension(64 * math.log(2), (1, 8, 8))
    1.0
    """
    return nats / (math.log(2) * math.prod(shape))


def plural(kinds: Iterable[str]) -> str:
    """Kinds of samples in a sentence.

    >>> plural(["image", "series", "tokens"])
    'images and series and tokens'
    """
    return " and ".join(kind if kind.endswith("s") else f"{kind}s" for kind in kinds)


def _event(elementwise: Distribution, dims: int) -> Independent:
    return Independent(elementwise, dims, validate_args=False)


class Likelihood(nn.Module, ABC):
    """Turns the decoder's output into p(x|z); the base class of all likelihoods.

    Attributes:
        params: How many numbers it wants for each element of x.
        discrete: Whether p(x|z) is a probability of finitely many values. Of pixels, bits per
            dimension may then be reported; of tokens, bits per token.
        term: The term under whose name the field reports its reconstruction error.
        kinds: Of samples that it takes: "image", "table", "series", "tokens".

    >>> class Laplacian(Likelihood):
    ...     def forward(self, h: Tensor, event: int) -> Distribution:
    ...         return Independent(torch.distributions.Laplace(torch.sigmoid(h), 0.5), event)
    >>> Laplacian()(torch.zeros(3, 1, 8, 8), 3).mean[0, 0, 0, 0]
    tensor(0.5000)
    """

    params: int = 1
    discrete: bool = False
    term: Any = staticmethod(nll)
    kinds: tuple[str, ...] = ("image",)

    def takes(self, kind: str) -> bool:
        """Whether it is a likelihood for samples of that kind."""
        return kind in self.kinds

    def of(self, spec: Spec) -> Likelihood:
        """The likelihood for these data: this one, where it needs nothing to know of them."""
        return self

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """What the decoder must give for one sample: (params * C, H, W) for images (C, H, W)."""
        channels, *rest = spec.shape
        return (self.params * channels, *rest)

    @abstractmethod
    def forward(self, h: Tensor, event: int) -> Distribution:
        """h (*batch, *outputs) -> a distribution; the last `event` axes are one sample."""


class SquaredError(Likelihood):
    """Sum of squared differences to a mean: what the field calls "MSE".

    The Gaussian of variance 1/2 without its constant, hence no normalised likelihood: its values
    must not be compared with the nats of a real one. The mean of images is a sigmoid; that of
    series is of no bounded range, and the differences are those of standardised values.

    >>> SquaredError()(torch.zeros(1, 4), 1).log_prob(torch.ones(1, 4))  # 4 (1 - 1/2)^2
    tensor([-1.])
    >>> SquaredError().of(Spec((2, 2), kind="series"))(torch.zeros(1, 2, 2), 2).mean.sum()
    tensor(0.)
    """

    kinds = ("image", "series")
    term = staticmethod(mse)
    bounded: bool = True

    def of(self, spec: Spec) -> SquaredError:
        """For series, one whose mean has no bounds."""
        made = SquaredError()
        made.bounded = spec.kind == "image"
        return made

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """The shape of x."""
        return spec.shape

    def forward(self, h: Tensor, event: int) -> Independent:
        mean = torch.sigmoid(h) if self.bounded else h
        return _event(distributions.QuadraticEnergy(mean), event)


class Bernoulli(Likelihood):
    """Independent Bernoulli elements with sigmoid means; a likelihood for binary x only.

    On grey values in [0, 1] its negative log-probability is the field's "binary cross-entropy",
    which is no normalised likelihood: binarise the data, or use `ContinuousBernoulli`. It cannot
    know what x is, hence `discrete` is False; on binarised data, bits per dimension may be
    reported all the same.

    >>> Bernoulli()(torch.zeros(1, 4), 1).log_prob(torch.ones(1, 4)).exp()  # (1/2)^4
    tensor([0.0625])
    """

    term = staticmethod(bce)

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(TorchBernoulli(logits=h, validate_args=False), event)


class ContinuousBernoulli(Likelihood):
    """Continuous Bernoulli elements: a normalised density for grey values in [0, 1].

    The decoder gives logits. A logit of 0 makes an element uniform on [0, 1], of density 1.

    Reference: Loaiza-Ganem, Cunningham. The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders. 2019, arXiv 1907.06845.

    >>> ContinuousBernoulli()(torch.zeros(1, 4), 1).log_prob(torch.rand(1, 4)).exp()
    tensor([1.])
    """

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(distributions.ContinuousBernoulli(h), event)


class Gaussian(Likelihood):
    """Gaussian elements with a sigmoid mean and one scale for all of them, learned or fixed.

    A density on continuous x. One learned scale weighs reconstruction against KL by maximum
    likelihood.

    Reference: Rybkin, Daniilidis, Levine. Simple and effective VAE training with calibrated
    decoders. 2020, arXiv 2006.13202.

    Arguments:
        scale: A fixed standard deviation between 0.0025 and 400, or None to learn one. It starts
            at 0.5; its logarithm is bounded smoothly to (-6, 6), so that exp neither overflows
            nor vanishes.

    Raises UserError for a scale out of this range.

    >>> Gaussian(scale=0.5)(torch.zeros(1, 4), 1).stddev
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    """

    log_scale: Tensor

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        if scale is not None and not 0.0025 < scale < 400:
            raise UserError(
                f"the Gaussian scale is {scale}: use a number between 0.0025 and 400, or None to "
                "learn one"
            )
        start = torch.tensor(SCALE_BOUND * math.atanh(math.log(scale or 0.5) / SCALE_BOUND))
        if scale is None:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    @property
    def scale(self) -> Tensor:
        """The standard deviation of every element, a scalar tensor."""
        return torch.exp(SCALE_BOUND * torch.tanh(self.log_scale / SCALE_BOUND))

    def forward(self, h: Tensor, event: int) -> Independent:
        return _event(Normal(torch.sigmoid(h), self.scale, validate_args=False), event)


class LogisticMixture(Likelihood):
    """Every pixel a mixture of discretised logistics: a probability of 256 levels.

    ``-log p(x|z)`` is that of the 8-bit image itself, so that bits per dimension may be compared
    with published ones. x counts as the nearest of the levels k / 255. For each component a
    pixel has a weight, C locations (on [-1, 1]), C log-scales and C (C - 1) / 2 couplings in
    (-1, 1), by which a channel's location follows the channels before it: K (C + 1) (C + 2) / 2
    numbers, 100 for 10 components in colour. Log-scales are bounded smoothly to (-7, 4), where -7
    is the published lower end. They start at -1.5, where colour photographs cost about 8 bits
    before training and locations are learned sooner than from 0.

    Reference: Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with
    discretized logistic mixture likelihood and other modifications. 2017, arXiv 1701.05517.

    Arguments:
        components: K >= 1; 10 are the paper's.
        levels: How many values x can have, at least 2; 256 are those of 8 bits.

    Raises UserError for numbers below these, and for samples that are not images.

    >>> LogisticMixture(components=10).outputs(Spec((3, 32, 32)))
    (100, 32, 32)
    """

    discrete = True

    def __init__(self, components: int = 10, levels: int = 256) -> None:
        super().__init__()
        if components < 1 or levels < 2:
            raise UserError(
                f"the logistic mixture has {components} components and {levels} levels: use at "
                "least 1 component and 2 levels"
            )
        self.components, self.levels = components, levels

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """(K (C + 1) (C + 2) / 2, H, W) for x (C, H, W). Raises UserError where x is a vector."""
        if len(spec.shape) < 2:
            raise UserError(
                f"the logistic mixture is for images (C, H, W), but one sample has shape "
                f"{spec.shape}: use the Gaussian likelihood"
            )
        channels, *rest = spec.shape
        return (self._numbers(channels), *rest)

    def _numbers(self, channels: int) -> int:
        """How many numbers a pixel of so many channels needs."""
        return self.components * (channels + 1) * (channels + 2) // 2

    def forward(self, h: Tensor, event: int) -> distributions.LogisticMixture:
        numbers = h.shape[-event] // self.components
        channels = (math.isqrt(8 * numbers + 1) - 3) // 2
        if h.shape[-event] != self._numbers(channels):
            raise UserError(
                f"the logistic mixture of {self.components} components received "
                f"{h.shape[-event]} numbers per pixel: give it K (C + 1) (C + 2) / 2"
            )
        parts = [1, channels, channels, channels * (channels - 1) // 2]
        grouped = h.unflatten(-event, (numbers, self.components))
        logits, loc, raw, coupling = grouped.split(parts, -event - 1)
        return distributions.LogisticMixture(
            logits.squeeze(-event - 1),
            loc,
            LOGISTIC_START + LOGISTIC_BOUND * torch.tanh(raw / LOGISTIC_BOUND),
            torch.tanh(coupling),
            event,
            self.levels,
        )


class Columns(Likelihood):
    r"""Rows of a table: every column a distribution of its own kind, independent given z.

    ``log p(x|z) = sum_j log p_j(x_j|z)``, j a column, in nats:

        number, date   a density of x_j. "gaussian": N(m, s), the decoder gives m. "student": the
                       Student distribution of location m, with tails that fit the column.
                       "mixture": K Gaussians, of which the decoder gives weights, m and s
        count          negative binomial, of the counts themselves: the decoder gives log mean
        boolean        Bernoulli: the decoder gives a logit
        category       categorical over the values and "any other": the decoder gives logits

    Scales s, degrees of freedom and dispersions are learned, one for each column. Logarithms of
    scales are bounded smoothly to (-4, 4), those of mean counts to (-12, 12), degrees of freedom
    lie between 2.1 and 102.1. Densities and probabilities add up to nats that compare models of
    the same table alone.

    References: Ma, Tschiatschek, Turner, Hernandez-Lobato, Zhang. VAEM: a deep generative model
    for heterogeneous mixed type data. 2020, arXiv 2006.11941; Xu, Skoularidou, Cuesta-Infante,
    Veeramachaneni. Modeling tabular data using conditional GAN. 2019, arXiv 1907.00503 (TVAE).

    Arguments:
        numbers: What numbers and dates are: "gaussian", "student" or "mixture".
        components: K, of the mixture.

    Raises UserError for an unknown `numbers`, and for less than one component.

    >>> from zspace.data.spec import Column
    >>> columns = Column("age", "number"), Column("sex", "category", width=3)
    >>> spec = Spec((4,), kind="table", columns=columns)
    >>> px = Columns().of(spec)(torch.zeros(1, 4), 1)
    >>> px.log_prob(torch.tensor([[0.0, 1.0, 0.0, 0.0]]))  # log N(0; 0, 1/2) + log 1/3
    tensor([-1.3244], grad_fn=...)
    """

    kinds = ("table",)
    raw_scale: Tensor
    raw_freedom: Tensor
    raw_dispersion: Tensor

    def __init__(self, numbers: str = "gaussian", components: int = 5) -> None:
        super().__init__()
        if numbers not in NUMBERS:
            raise unknown("distribution of numbers", numbers, NUMBERS)
        if components < 1:
            raise UserError(f"the mixture has {components} components: use at least 1")
        self.numbers, self.components = numbers, components
        self.layout: distributions.Layout | None = None

    def of(self, spec: Spec) -> Columns:
        """The likelihood of these columns, with parameters of its own for each."""
        made = Columns(self.numbers, self.components)
        made.layout = distributions.Layout(spec.columns)
        numbers, counts = len(made.layout.numbers), len(made.layout.counts)
        if self.numbers != "mixture":
            start = SPREAD * math.atanh(math.log(0.5) / SPREAD)
            made.raw_scale = nn.Parameter(torch.full((numbers,), start))
        if self.numbers == "student":
            made.raw_freedom = nn.Parameter(torch.full((numbers,), -2.0))
        made.raw_dispersion = nn.Parameter(torch.zeros(counts))
        return made

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """One number for each entry of x; for a mixture 3 K for each that is a number or date."""
        if self.numbers != "mixture":
            return spec.shape
        numbers = sum(column.kind in ("number", "date") for column in spec.columns)
        return (spec.shape[0] + numbers * (3 * self.components - 1),)

    def forward(self, h: Tensor, event: int) -> Independent:
        if self.layout is None:
            raise UserError("this likelihood knows no columns yet: use Columns().of(spec)")
        own = len(self.layout.numbers) * (3 * self.components if self.numbers == "mixture" else 1)
        of_numbers, rest = h.split([own, h.shape[-1] - own], -1)
        if self.numbers == "mixture":
            logits, loc, raw = of_numbers.unflatten(-1, (-1, 3, self.components)).unbind(-2)
            numbers: Distribution = MixtureSameFamily(
                Categorical(logits=logits, validate_args=False),
                Normal(loc, _bounded_exp(raw + math.log(0.5), SPREAD), validate_args=False),
                validate_args=False,
            )
        elif self.numbers == "student":
            freedom = 2.1 + 100 * torch.sigmoid(self.raw_freedom)
            scale = _bounded_exp(self.raw_scale, SPREAD)
            numbers = StudentT(freedom, of_numbers, scale, validate_args=False)
        else:
            scale = _bounded_exp(self.raw_scale, SPREAD)
            numbers = Normal(of_numbers, scale, validate_args=False)
        dispersion = _bounded_exp(self.raw_dispersion, SPREAD)
        return _event(distributions.Columns(self.layout, numbers, rest, dispersion), event)


class Channels(Likelihood):
    r"""Series: every channel at every step a distribution of its own, independent given z.

    ``log p(x|z) = sum_t sum_d log p_d(x_td|z)``, a density in nats. The decoder gives means
    (T, D), which are of no bounded range: x is standardised. Each channel has one learned scale,
    which starts at 0.5; its logarithm is bounded smoothly to (-4, 4).

    Reference: Rybkin, Daniilidis, Levine. Simple and effective VAE training with calibrated
    decoders. 2020, arXiv 2006.13202.

    Arguments:
        numbers: "gaussian", or "student" for a Student distribution, with degrees of freedom
            between 2.1 and 102.1 that are learned for each channel.

    Raises UserError for other `numbers`.

    >>> spec = Spec((24, 6), kind="series")
    >>> Channels().of(spec)(torch.zeros(1, 24, 6), 2).stddev[0, 0, :2]
    tensor([0.5000, 0.5000], grad_fn=...)
    """

    kinds = ("series",)
    raw_scale: Tensor
    raw_freedom: Tensor

    def __init__(self, numbers: str = "gaussian") -> None:
        super().__init__()
        if numbers not in CHANNELS:
            raise unknown("distribution of numbers", numbers, CHANNELS)
        self.numbers = numbers

    def of(self, spec: Spec) -> Channels:
        """The likelihood of these channels, with parameters of its own for each."""
        made, channels = Channels(self.numbers), spec.shape[-1]
        start = SPREAD * math.atanh(math.log(0.5) / SPREAD)
        made.raw_scale = nn.Parameter(torch.full((channels,), start))
        if self.numbers == "student":
            made.raw_freedom = nn.Parameter(torch.full((channels,), -2.0))
        return made

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """(T, D), the shape of x."""
        return spec.shape

    def forward(self, h: Tensor, event: int) -> Independent:
        if not hasattr(self, "raw_scale"):
            raise UserError("this likelihood knows no channels yet: use Channels().of(spec)")
        scale = _bounded_exp(self.raw_scale, SPREAD)
        if self.numbers == "student":
            freedom = 2.1 + 100 * torch.sigmoid(self.raw_freedom)
            return _event(StudentT(freedom, h, scale, validate_args=False), event)
        return _event(Normal(h, scale, validate_args=False), event)


class Tokens(Likelihood):
    """Tokens: a categorical distribution at each step, of the end and what comes before it.

    A decoder that gives all steps at once gives logits (T, V), and tokens are independent given
    z. An autoregressive one makes p(x|z) itself: see `zspace.models.sequences.Autoregressive`.
    Probabilities are of whole sequences, in nats: divided by log 2 and by the number of tokens
    that are there, not by T, they are bits per token.

    >>> spec = Spec((9,), kind="tokens", vocabulary=5)
    >>> Tokens().outputs(spec)
    (9, 5)
    """

    kinds = ("tokens",)
    discrete = True

    def outputs(self, spec: Spec) -> tuple[int, ...]:
        """(T, V). Raises UserError where the data say no vocabulary."""
        if spec.vocabulary < 2:
            raise UserError(
                f"tokens have a vocabulary of {spec.vocabulary}: the end and any other token make "
                "at least 2"
            )
        return (*spec.shape, spec.vocabulary)

    def forward(self, h: Tensor, event: int) -> sequences.Tokens:
        return sequences.Tokens(h)


def _bounded_exp(raw: Tensor, bound: float) -> Tensor:
    return torch.exp(bound * torch.tanh(raw / bound))


SPREAD = 4.0
NUMBERS = ("gaussian", "student", "mixture")
CHANNELS = ("gaussian", "student")
LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "squared-error": SquaredError,
    "bernoulli": Bernoulli,
    "continuous-bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "logistic-mixture": LogisticMixture,
    "columns": Columns,
    "columns-student": partial(Columns, "student"),
    "columns-mixture": partial(Columns, "mixture"),
    "channels": Channels,
    "channels-student": partial(Channels, "student"),
    "tokens": Tokens,
}
"""Every likelihood by the name under which recipes offer it; a new one is one more entry."""
USUAL = {
    "image": "squared-error",
    "table": "columns",
    "series": "channels",
    "tokens": "tokens",
}
"""The likelihood that is taken for each kind of samples where none is chosen."""


def likelihood_for(spec: Spec, chosen: str | Likelihood = "auto") -> Likelihood:
    """A likelihood for these data.

    Arguments:
        spec: Of the data.
        chosen: A key of `LIKELIHOODS`, "auto" for the usual one, or a `Likelihood`.

    Raises UserError for an unknown name, and for a likelihood that does not take such samples.

    >>> type(likelihood_for(Spec((1, 8, 8)))).__name__
    'SquaredError'
    """
    name = USUAL.get(spec.kind, "auto") if chosen == "auto" else chosen
    if isinstance(name, str):
        if name not in LIKELIHOODS:
            raise unknown("likelihood", name, LIKELIHOODS)
        found = LIKELIHOODS[name]()
    else:
        found, name = name, type(name).__name__
    if not found.takes(spec.kind):
        usual = USUAL.get(spec.kind)
        remedy = f"use --likelihood {usual}" if usual else "choose another"
        raise UserError(
            f"likelihood '{name}' is for {plural(found.kinds)}, but these data are "
            f"{plural([spec.kind])}: {remedy}"
        )
    return found.of(spec)

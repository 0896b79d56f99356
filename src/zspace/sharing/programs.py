r"""A trained model as programs of tensors alone, which can be exported.

    encoder   x (N, *X), label        -> z (N, *Z), the mean of q(z|x)
    decoder   z (N, *Z), label        -> x (N, *X), the mean of p(x|z); of tokens the likeliest
    sampler   noise (N, M), label     -> x (N, *X), decoded from codes of the prior

A decoder that gives tokens one after the other reads those before, too, and gives logits:

    decoder   z (N, Z), before (N, T), label -> logits (N, T, V)

x is what `export.json` says: images in [0, 1], windows of a series in their own units, rows of a
table and tokens as the encoding has them. `label` is the number of a class; where the data have
attributes, `attributes` (N, A) takes its place, in their own units. Noise is of N(0, 1): who
draws it decides the seed, and two runtimes that get the same noise give the same samples. A
mixture picks its component by the first of the M numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from zspace.analysis.trained import TrainedModel
from zspace.data.kinds.series import SeriesEncoding
from zspace.data.spec import FLAG, Spec
from zspace.models.draws import typical
from zspace.models.flow import Model
from zspace.models.sequences import Autoregressive
from zspace.system.errors import UserError

Make = Callable[[int], Tensor]
"""How many -> that many inputs drawn at random, with which a program can be tried."""


@dataclass(frozen=True)
class Program:
    """One program: a module of tensors alone, and what goes in and comes out.

    Arguments:
        module: In eval mode, on the CPU.
        inputs: Name -> makes some, in the order in which the module takes them.
        output: The name of what it gives.
        unit: What a difference of 1 is in the output, where outputs are in units of their own.
    """

    module: nn.Module
    inputs: dict[str, Make]
    output: str
    unit: Tensor = field(default_factory=lambda: torch.ones(()))

    def tried(self, n: int) -> tuple[Tensor, ...]:
        """n inputs of each sort, at random."""
        return tuple(make(n) for make in self.inputs.values())


class Scaling(nn.Module):
    """Windows (N, T, D) in their own units and x, in float64 in between, as in the run.

    Arguments:
        encoding: Of the run.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, encoding: SeriesEncoding) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(encoding.mean).double())
        self.register_buffer("sd", torch.from_numpy(encoding.sd).double())
        self.dtype = getattr(torch, encoding.dtype)

    def taken(self, values: Tensor) -> Tensor:
        return ((values.double() - self.mean) / self.sd).float()

    def given(self, x: Tensor) -> Tensor:
        return (x.double() * self.sd + self.mean).to(self.dtype)


class Plain(nn.Module):
    """x that goes in and comes out as the model has it."""

    def taken(self, values: Tensor) -> Tensor:
        return values

    def given(self, x: Tensor) -> Tensor:
        return x


class Labels(nn.Module):
    """Numbers of classes (N,) -> c (N, C), one-hot."""

    rows: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.eye(classes))

    def forward(self, label: Tensor) -> Tensor:
        return self.rows.index_select(0, label)


class Attributes(nn.Module):
    """Attributes (N, A) in their own units -> c (N, A); numbers are standardised."""

    mean: Tensor
    sd: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        scales = spec.scales or (FLAG,) * spec.context
        self.register_buffer("mean", torch.tensor([s.mean for s in scales], dtype=torch.float64))
        self.register_buffer("sd", torch.tensor([s.sd for s in scales], dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return ((values.double() - self.mean) / self.sd).float()


class Part(nn.Module):
    """What the programs share: the model, how x goes in and out, how a label is read."""

    def __init__(self, model: Model, scaling: Scaling | Plain, told: nn.Module | None) -> None:
        super().__init__()
        self.model, self.scaling, self.told = model, scaling, told

    def context(self, label: Tensor | None) -> Tensor | None:
        return None if self.told is None else self.told(label)


class Encoder(Part):
    """x -> z."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.model.encode(self.scaling.taken(x), self.context(label))


class Decoder(Part):
    """z -> x."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.scaling.given(typical(self.model.decode(z, self.context(label))))


class NextTokens(Part):
    """z and the tokens before each step -> logits of the tokens that come there."""

    def forward(self, z: Tensor, before: Tensor, label: Tensor | None = None) -> Tensor:
        px = self.model.decode(z, self.context(label))
        assert isinstance(px, Autoregressive)
        return px.net(before, px.memory).float()


class Sampler(Part):
    """Noise -> z, as the prior has it -> x.

    Arguments:
        prior: (c) -> Distribution over codes, flat or not.
        latent: The shape *Z of one code.
    """

    def __init__(self, part: Part, prior: nn.Module, latent: tuple[int, ...]) -> None:
        super().__init__(part.model, part.scaling, part.told)
        self.prior, self.latent = prior, latent

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        c = self.context(label)
        z = codes(self.prior(c), noise).reshape(-1, *self.latent)
        return self.scaling.given(typical(self.model.decode(z, c)))


def numbers(p: Distribution, latent: tuple[int, ...]) -> int:
    """M, how many numbers of noise make one code of a prior."""
    return math.prod(latent) + isinstance(p, MixtureSameFamily)


def codes(p: Distribution, noise: Tensor) -> Tensor:
    """Codes (N, ...) of a prior from noise (N, M) of N(0, 1).

    Raises UserError for a distribution that is neither a Gaussian, nor a mixture of Gaussians,
    nor a flow.

    >>> p = Independent(Normal(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.1])), 1)
    >>> codes(p, torch.tensor([[0.0, 1.0]]))
    tensor([[1.0000, 2.1000]])
    """
    if isinstance(p, MixtureSameFamily):
        u = (1 + torch.erf(noise[:, :1] / math.sqrt(2))) / 2
        edges = p.mixture_distribution.probs.cumsum(-1)[:-1]
        k = (u > edges).sum(1)
        each, rest = p.component_distribution, noise[:, 1:]
        if isinstance(each, MultivariateNormal):
            spread = each.scale_tril.index_select(0, k) @ rest[..., None]
            return each.loc.index_select(0, k) + spread[..., 0]
        if isinstance(each, Independent) and isinstance(each.base_dist, Normal):
            normal = each.base_dist
            loc, scale = (part.index_select(0, k) for part in (normal.loc, normal.scale))
            return loc + scale * rest.reshape(-1, *loc.shape[1:])
    elif isinstance(p, Independent) and isinstance(p.base_dist, Normal):
        normal = p.base_dist
        shape = p.event_shape
        return normal.loc + normal.scale * noise.reshape(-1, *shape)
    elif hasattr(p, "transform") and hasattr(p, "base"):  # a flow of zuko's
        return p.transform.inv(noise)
    raise UserError(
        f"codes of a prior of type {type(p).__name__} cannot be made of noise: use --prior "
        "standard, mixture or flow"
    )


def programs_of(run: TrainedModel) -> tuple[dict[str, Program], dict[str, str]]:
    """The programs of a run by name, and, of those that it has not, why.

    >>> made, lacking = programs_of(run)
    >>> list(made), lacking
    (['encoder', 'decoder', 'sampler'], {})
    >>> made["sampler"].module(*made["sampler"].tried(2)).shape == (2, *run.spec.shape)
    True
    """
    spec, latent = run.spec, tuple(run.model.latent)
    model = copy.deepcopy(run.model).cpu().eval()
    scaling: Scaling | Plain = Plain()
    unit = torch.ones(())
    if isinstance(run.encoding, SeriesEncoding):
        scaling = Scaling(run.encoding)
        unit = scaling.sd
    told = _told(spec) if model.context else None
    label = {_label(spec): _conditions(spec)} if model.context else {}
    part = Part(model, scaling, told)
    parts = (model, scaling, told)

    def z(n: int) -> Tensor:
        return torch.randn(n, *latent)

    made = {"encoder": Program(Encoder(*parts), {"x": _samples(run), **label}, "z")}
    with torch.no_grad():
        c = None if told is None else told(_conditions(spec)(1))
        px = model.decode(z(1), c)
    if isinstance(px, Autoregressive):
        # None of them ends the sequence (0): what a decoder gives after the end is of no use.
        drawn = (1, max(2, spec.vocabulary))
        before = {"z": z, "before": lambda n: torch.randint(*drawn, (n, *spec.shape))}
        made["decoder"] = Program(NextTokens(*parts), {**before, **label}, "logits")
        return made, {
            "sampler": f"recipe '{run.name}' gives tokens one after the other: draw codes from "
            "the prior, and call the decoder once for each token"
        }
    made["decoder"] = Program(Decoder(*parts), {"z": z, **label}, "x", unit)
    prior = run.mixture() if run.sampler == "mixture" else getattr(model, "prior", None)
    if prior is None:
        return made, {"sampler": f"recipe '{run.name}' has no prior that can be asked for codes"}
    prior = copy.deepcopy(prior).cpu()
    with torch.no_grad():
        p = prior(c)
        many = numbers(p, latent)
        try:
            codes(p, torch.zeros(1, many))
        except UserError as error:
            return made, {"sampler": str(error)}
    noise = {"noise": lambda n: torch.randn(n, many)}
    made["sampler"] = Program(Sampler(part, prior, latent), {**noise, **label}, "x", unit)
    return made, {}


def _label(spec: Spec) -> str:
    return "attributes" if spec.attributes else "label"


def _told(spec: Spec) -> nn.Module:
    return Attributes(spec) if spec.attributes else Labels(spec.context)


def _conditions(spec: Spec) -> Make:
    """Labels (n,), or attributes (n, A) in their own units."""
    if not spec.attributes:
        return lambda n: torch.randint(spec.context, (n,))
    scales = spec.scales or (FLAG,) * spec.context
    low, high = (torch.tensor([getattr(s, end) for s in scales]) for end in ("low", "high"))
    flags = torch.tensor([scale == FLAG for scale in scales])

    def make(n: int) -> Tensor:
        drawn = torch.rand(n, spec.context)
        return torch.where(flags, drawn.round(), low + (high - low) * drawn)

    return make


def _samples(run: TrainedModel) -> Make:
    """x (n, *X) of the run's kind, as the encoder reads it; values are missing where some may."""
    spec, encoding = run.spec, run.encoding

    def make(n: int) -> Tensor:
        if spec.kind == "tokens":
            x = torch.randint(1, spec.vocabulary, (n, *spec.shape))
            at, end = torch.arange(spec.shape[0]), torch.randint(spec.shape[0], (n, 1))
            return x.masked_fill(at == end, 0).masked_fill(at > end, -1)
        x = torch.rand(n, *spec.shape) if spec.kind == "image" else torch.randn(n, *spec.shape)
        if spec.missing:
            x = torch.where(torch.rand_like(x) < 0.1, torch.nan, x)
        if isinstance(encoding, SeriesEncoding):
            return Scaling(encoding).given(x)
        return x

    return make

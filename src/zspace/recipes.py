"""Recipes: every named model, a choice of parts. A recipe's signature is its configuration.

A recipe is a function ``(data: Spec, **choices) -> Recipe``; the command line, run.json and the
docs are made from its signature and docstring. A new one is a function under `@recipe`:

    @recipe
    def my_vae(data: Spec, latent: int = 20) -> Recipe: ...
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_type_hints

from typing_extensions import Doc

from zspace import likelihoods
from zspace.bottlenecks import Bottleneck, Gaussian, Point
from zspace.errors import UserError, unknown
from zspace.loop import Player
from zspace.model import Autoencoder
from zspace.nets import MLP
from zspace.objective import Objective, cyclical, warmup
from zspace.priors import StandardNormal
from zspace.terms import FreeBits, bce, kl, mse, nll
from zspace.terms import iwae as bound
from zspace.types import Model, Schedule, Spec, Term

Size = Annotated[int, Doc("Dimensions of the code.")]
Widths = Annotated[
    tuple[int, ...], Doc("Widths of the encoder's hidden layers; the decoder has them reversed.")
]
Likelihood = Annotated[
    Literal["squared-error", "bernoulli", "continuous-bernoulli", "gaussian"],
    Doc("p(x|z): what reconstruction error means."),
]
Anneal = Annotated[
    Literal["none", "warmup", "cyclical"],
    Doc("How beta grows: not at all, over the first fifth of training, in four cycles."),
]


@dataclass(frozen=True)
class Recipe:
    """A model and its players; the first player's objective chooses the best epoch."""

    model: Model
    players: tuple[Player, ...]


RECIPES: dict[str, Callable[..., Recipe]] = {}


def recipe(function: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Register a recipe under its function's name, so that runs made with it can be loaded."""
    RECIPES[function.__name__] = function
    return function


def find(name: str) -> Callable[..., Recipe]:
    """The recipe of that name ('beta-vae' and 'beta_vae' are the same). Raises UserError."""
    key = name.replace("-", "_")
    if key not in RECIPES:
        raise unknown("recipe", name, map(shown, RECIPES))
    return RECIPES[key]


def shown(name: str) -> str:
    """A recipe's name as people type it: with hyphens."""
    return name.replace("_", "-")


def about(name: str) -> str:
    """A recipe's sentence and reference, from its docstring."""
    return inspect.cleandoc(find(name).__doc__ or "")


def arguments(function: Callable[..., Recipe]) -> dict[str, inspect.Parameter]:
    """The choices that a recipe offers, by name, with resolved types."""
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: p.replace(annotation=hints.get(p.name, type(p.default))) for p in parameters}


LIKELIHOODS: dict[str, tuple[Callable[[], likelihoods.Likelihood], Term]] = {
    "squared-error": (likelihoods.SquaredError, mse),
    "bernoulli": (likelihoods.Bernoulli, bce),
    "continuous-bernoulli": (likelihoods.ContinuousBernoulli, nll),
    "gaussian": (likelihoods.Gaussian, nll),
}
"""Each likelihood and the term under whose name the field reports it."""


def _connected(
    data: Spec,
    bottleneck: Bottleneck,
    latent: int,
    hidden: tuple[int, ...],
    likelihood: Likelihood,
    context: int = 0,
) -> Autoencoder:
    """A fully connected autoencoder; the decoder mirrors the encoder."""
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    p_x = LIKELIHOODS[likelihood][0]()
    channels, *rest = data.shape
    outputs = (channels * p_x.params, *rest)
    return Autoencoder(
        encoder=MLP(data.shape, (bottleneck.features,), hidden=hidden, context=context),
        bottleneck=bottleneck,
        decoder=MLP((latent,), outputs, hidden=hidden[::-1], context=context),
        likelihood=p_x,
        prior=StandardNormal(latent),
        latent=(latent,),
        context=context,
    )


def _gaussian(
    data: Spec, latent: int, hidden: tuple[int, ...], likelihood: Likelihood, context: int = 0
) -> Autoencoder:
    return _connected(data, Gaussian(latent), latent, hidden, likelihood, context)


def _trained_by(
    model: Model,
    likelihood: Likelihood,
    *rest: Term,
    weights: Mapping[str, float | Schedule],
    reconstruction: float = 1.0,
    samples: int = 1,
) -> Recipe:
    """A model with one player, who minimises the reconstruction term and the rest."""
    term = LIKELIHOODS[likelihood][1]
    weights = {term.__name__: reconstruction, **weights}
    return Recipe(model, (Player(model, Objective([term, *rest], weights, samples)),))


@recipe
def ae(
    data: Spec,
    latent: Size = 20,
    hidden: Widths = (784, 784),
    likelihood: Likelihood = "squared-error",
) -> Recipe:
    """Autoencoder: a deterministic, linear code layer and a reconstruction error.

    Reference: Hinton, Salakhutdinov. Reducing the dimensionality of data with neural networks.
    Science 313, 2006, doi 10.1126/science.1127647.
    """
    model = _connected(data, Point(latent), latent, hidden, likelihood)
    return _trained_by(model, likelihood, weights={})


@recipe
def vae(
    data: Spec,
    latent: Size = 20,
    hidden: Widths = (784, 784),
    likelihood: Likelihood = "squared-error",
) -> Recipe:
    """Variational autoencoder: a Gaussian code, reconstruction error plus KL to N(0, I).

    Reference: Kingma, Welling. Auto-encoding variational Bayes. 2013, arXiv 1312.6114.
    """
    model = _gaussian(data, latent, hidden, likelihood)
    return _trained_by(model, likelihood, kl, weights={"kl": 1.0})


@recipe
def cvae(
    data: Spec,
    latent: Size = 20,
    hidden: Widths = (784, 784),
    likelihood: Likelihood = "squared-error",
) -> Recipe:
    """Conditional VAE: the label, one-hot, joins x in the encoder and z in the decoder.

    Reference: Sohn, Lee, Yan. Learning structured output representation using deep conditional
    generative models. NeurIPS 2015.
    """
    if not data.classes:
        raise UserError(
            "cvae needs a label for each sample, but the data has none: give a folder with one "
            "sub-folder a class, or an .npz with x and y, or use recipe 'vae'"
        )
    model = _gaussian(data, latent, hidden, likelihood, context=len(data.classes))
    return _trained_by(model, likelihood, kl, weights={"kl": 1.0})


ANNEALS: dict[str, Callable[[float], float | Schedule]] = {
    "none": lambda beta: beta,
    "warmup": lambda beta: warmup(end=beta),
    "cyclical": lambda beta: cyclical(end=beta),
}


@recipe
def beta_vae(
    data: Spec,
    latent: Size = 20,
    hidden: Widths = (784, 784),
    likelihood: Likelihood = "squared-error",
    beta: Annotated[float, Doc("Weight of the KL.")] = 4.0,
    anneal: Anneal = "none",
    free_bits: Annotated[float, Doc("Nats a code dimension that cost nothing; 0: none.")] = 0.0,
) -> Recipe:
    """Beta-VAE: the VAE with a weight on the KL, which may be annealed or have free bits.

    Reference: Higgins et al. beta-VAE: learning basic visual concepts with a constrained
    variational framework. ICLR 2017.
    """
    if anneal not in ANNEALS:
        raise unknown("anneal", anneal, ANNEALS)
    if not 0 <= beta < math.inf:
        raise UserError(f"beta is {beta}: use a finite weight >= 0")
    model, weight = _gaussian(data, latent, hidden, likelihood), ANNEALS[anneal](beta)
    if free_bits:
        free = {"kl": 0.0, "kl_free_bits": weight}
        return _trained_by(model, likelihood, FreeBits(free_bits), weights=free)
    return _trained_by(model, likelihood, kl, weights={"kl": weight})


@recipe
def iwae(
    data: Spec,
    latent: Size = 20,
    hidden: Widths = (784, 784),
    likelihood: Likelihood = "squared-error",
    samples: Annotated[int, Doc("K, draws of the code for each image.")] = 5,
) -> Recipe:
    """Importance-weighted autoencoder: the VAE's parts under a tighter bound of K draws.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519.
    """
    model, weights = _gaussian(data, latent, hidden, likelihood), {"iwae": 1.0, "kl": 0.0}
    return _trained_by(
        model, likelihood, bound, kl, weights=weights, reconstruction=0.0, samples=samples
    )

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
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_type_hints

from typing_extensions import Doc

from zspace import likelihoods
from zspace.bottlenecks import Bottleneck, Gaussian, Point
from zspace.errors import UserError, unknown
from zspace.loop import Player
from zspace.model import Autoencoder
from zspace.nets import NetOptions, PatchCritic, Wanted, networks
from zspace.objective import Adaptive, Objective, cyclical, from_, warmup
from zspace.perceptual import Perceptual
from zspace.priors import StandardNormal
from zspace.terms import Fool, FreeBits, Tell, bce, kl, mse, nll, split_kl
from zspace.terms import iwae as bound
from zspace.tutors import TUTORS, Tutor, choose
from zspace.types import Model, Schedule, Spec, Term

Size = Annotated[int, Doc("Dimensions of the code.")]
Likelihood = Annotated[
    Literal["squared-error", "bernoulli", "continuous-bernoulli", "gaussian", "logistic-mixture"],
    Doc("p(x|z): what reconstruction error means."),
]
Anneal = Annotated[
    Literal["none", "warmup", "cyclical"],
    Doc("How beta grows: not at all, over the first fifth of training, in four cycles."),
]


@dataclass(frozen=True)
class Recipe:
    """A model, its players, and what they look through.

    The first player's objective chooses the best epoch, unless there are several players.
    decided: choices that were left to the recipe, as a run keeps them.
    """

    model: Model
    players: tuple[Player, ...]
    tutors: tuple[Tutor, ...] = ()
    decided: Mapping[str, Any] = field(default_factory=dict)


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
    """The choices that a recipe offers, by name, with resolved types.

    One that takes ``**net`` offers those of `zspace.nets.NetOptions` too.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    own = [p.replace(annotation=hints.get(p.name, type(p.default))) for p in parameters]
    if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
        own[-1:] = NET_PARAMETERS
    return {p.name: p for p in own}


NET_PARAMETERS = [
    inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=get_type_hints(NetOptions, include_extras=True)[field.name],
    )
    for field in fields(NetOptions)
]


LIKELIHOODS: dict[str, tuple[Callable[[], likelihoods.Likelihood], Term]] = {
    "squared-error": (likelihoods.SquaredError, mse),
    "bernoulli": (likelihoods.Bernoulli, bce),
    "continuous-bernoulli": (likelihoods.ContinuousBernoulli, nll),
    "gaussian": (likelihoods.Gaussian, nll),
    "logistic-mixture": (likelihoods.LogisticMixture, nll),
}
"""Each likelihood and the term under whose name the field reports it."""


def _assembled(
    data: Spec,
    bottleneck: Bottleneck,
    latent: int,
    likelihood: Likelihood,
    net: Mapping[str, Any],
    context: int = 0,
) -> Autoencoder:
    """An autoencoder of the networks, the bottleneck and the likelihood that were chosen."""
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    p_x = LIKELIHOODS[likelihood][0]()
    outputs = p_x.outputs(data.shape)
    wanted = Wanted(data.shape, bottleneck.features, latent, outputs, context)
    made = networks(NetOptions(**net), wanted)
    return Autoencoder(
        encoder=made.encoder,
        bottleneck=bottleneck,
        decoder=made.decoder,
        likelihood=p_x,
        prior=StandardNormal(*made.latent),
        latent=made.latent,
        context=context,
    )


def _gaussian(
    data: Spec, latent: int, likelihood: Likelihood, net: Mapping[str, Any], context: int = 0
) -> Autoencoder:
    return _assembled(data, Gaussian(latent), latent, likelihood, net, context)


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
    likelihood: Likelihood = "squared-error",
    **net: Any,
) -> Recipe:
    """Autoencoder: a deterministic, linear code layer and a reconstruction error.

    Reference: Hinton, Salakhutdinov. Reducing the dimensionality of data with neural networks.
    Science 313, 2006, doi 10.1126/science.1127647.
    """
    model = _assembled(data, Point(latent), latent, likelihood, net)
    return _trained_by(model, likelihood, weights={})


@recipe
def vae(
    data: Spec,
    latent: Size = 20,
    likelihood: Likelihood = "squared-error",
    **net: Any,
) -> Recipe:
    """Variational autoencoder: a Gaussian code, reconstruction error plus KL to N(0, I).

    Reference: Kingma, Welling. Auto-encoding variational Bayes. 2013, arXiv 1312.6114.
    """
    model = _gaussian(data, latent, likelihood, net)
    return _trained_by(model, likelihood, kl, weights={"kl": 1.0})


@recipe
def cvae(
    data: Spec,
    latent: Size = 20,
    likelihood: Likelihood = "squared-error",
    **net: Any,
) -> Recipe:
    """Conditional VAE: the label, one-hot, joins x in the encoder and z in the decoder.

    Reference: Sohn, Lee, Yan. Learning structured output representation using deep conditional
    generative models. NeurIPS 2015.
    """
    if not data.context:
        raise UserError(
            "cvae needs a label for each sample, but the data has none: give a folder with one "
            "sub-folder a class, or an .npz with x and y, or use recipe 'vae'"
        )
    model = _gaussian(data, latent, likelihood, net, context=data.context)
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
    likelihood: Likelihood = "squared-error",
    beta: Annotated[float, Doc("Weight of the KL.")] = 4.0,
    anneal: Anneal = "none",
    free_bits: Annotated[float, Doc("Nats a code dimension that cost nothing; 0: none.")] = 0.0,
    **net: Any,
) -> Recipe:
    """Beta-VAE: the VAE with a weight on the KL, which may be annealed or have free bits.

    Reference: Higgins et al. beta-VAE: learning basic visual concepts with a constrained
    variational framework. ICLR 2017.
    """
    if anneal not in ANNEALS:
        raise unknown("anneal", anneal, ANNEALS)
    if not 0 <= beta < math.inf:
        raise UserError(f"beta is {beta}: use a finite weight >= 0")
    model, weight = _gaussian(data, latent, likelihood, net), ANNEALS[anneal](beta)
    if free_bits:
        free = {"kl": 0.0, "kl_free_bits": weight}
        return _trained_by(model, likelihood, FreeBits(free_bits), weights=free)
    return _trained_by(model, likelihood, kl, weights={"kl": weight})


@recipe
def tcvae(
    data: Spec,
    latent: Size = 20,
    likelihood: Likelihood = "squared-error",
    beta: Annotated[float, Doc("Weight of the total correlation.")] = 6.0,
    **net: Any,
) -> Recipe:
    """Beta-TCVAE: the KL in parts, a weight on the one that says how dimensions depend.

    Reference: Chen, Li, Grosse, Duvenaud. Isolating sources of disentanglement in variational
    autoencoders. 2018, arXiv 1802.04942.
    """
    if not 0 <= beta < math.inf:
        raise UserError(f"beta is {beta}: use a finite weight >= 0")
    weights = {"mutual_information": 1.0, "total_correlation": beta, "dimension_kl": 1.0}
    model = _gaussian(data, latent, likelihood, net)
    return _trained_by(model, likelihood, split_kl, weights={"kl": 0.0, **weights})


@recipe
def iwae(
    data: Spec,
    latent: Size = 20,
    likelihood: Likelihood = "squared-error",
    samples: Annotated[int, Doc("K, draws of the code for each image.")] = 5,
    **net: Any,
) -> Recipe:
    """Importance-weighted autoencoder: the VAE's parts under a tighter bound of K draws.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519.
    """
    model, weights = _gaussian(data, latent, likelihood, net), {"iwae": 1.0, "kl": 0.0}
    return _trained_by(
        model, likelihood, bound, kl, weights=weights, reconstruction=0.0, samples=samples
    )


@recipe
def vaegan(
    data: Spec,
    latent: Size = 20,
    likelihood: Likelihood = "squared-error",
    beta: Annotated[float, Doc("Weight of the KL.")] = 1.0,
    perceptual: Annotated[
        Literal["auto", "judge", "vgg16", "none"],
        Doc(
            "Features in which images are compared: those of VGG16, or of a judge trained on the "
            "run's own labels; auto takes VGG16 where its weights are at hand."
        ),
    ] = "auto",
    perceptual_weight: Annotated[float, Doc("Against the squared error of one pixel.")] = 0.1,
    adversarial: Annotated[
        Literal["hinge", "least-squares"], Doc("Loss of the critic.")
    ] = "hinge",
    adversarial_weight: Annotated[float, Doc("Against all other terms; adaptive.")] = 0.5,
    critic_start: Annotated[float, Doc("Part of training after which the critic learns.")] = 0.1,
    fool_start: Annotated[float, Doc("Part of training after which it is listened to.")] = 0.2,
    **net: Any,
) -> Recipe:
    """VAE-GAN: a VAE whose reconstructions must also fool a PatchGAN critic, for sharp images.

    References: Larsen, Sonderby, Larochelle, Winther. Autoencoding beyond pixels using a learned
    similarity metric. 2015, arXiv 1512.09300; Esser, Rombach, Ommer. Taming transformers for
    high-resolution image synthesis. 2020, arXiv 2012.09841.
    """
    model, critic = _gaussian(data, latent, likelihood, net), PatchCritic(data.shape)
    error, tutor = LIKELIHOODS[likelihood][1], choose(perceptual, data)
    terms: list[Term] = [error, kl, Fool(critic, adversarial)]
    weights: dict[str, float | Schedule] = {
        error.__name__: 1.0,
        "kl": beta,
        "fool": from_(fool_start, adversarial_weight),
    }
    tutors = [TUTORS[tutor]()] if tutor != "none" else []
    for network in tutors:
        terms.append(Perceptual(network))
        weights["perceptual"] = perceptual_weight * math.prod(data.shape)
    last = [p for p in model.decoder.parameters() if p.dim() > 1][-1]
    makes = Adaptive(terms, weights, adapted="fool", last=last)
    tells = Objective([Tell(critic, adversarial)], {"critic": 1.0})
    players = (Player(model, makes), Player(critic, tells, start=critic_start))
    return Recipe(model, players, tuple(tutors), {"perceptual": tutor})

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

import torch
from torch import nn
from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models import likelihoods
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Bottleneck, Gaussian
from zspace.models.flow import Model, Term
from zspace.models.networks.choices import NetOptions, NetworkSpec, build_networks
from zspace.models.objective import Objective
from zspace.models.perceptual import FeatureNetwork
from zspace.models.priors import StandardNormal
from zspace.models.terms import bce, mse, nll
from zspace.system.errors import UserError, unknown
from zspace.system.schedules import Schedule

Size = Annotated[int, Doc("Dimensions of the code.")]
Likelihood = Annotated[
    Literal["squared-error", "bernoulli", "continuous-bernoulli", "gaussian", "logistic-mixture"],
    Doc("p(x|z): what reconstruction error means."),
]


@dataclass(frozen=True)
class Recipe:
    """A model, its players, and what they look through.

    decided: choices that were left to the recipe, as a run keeps them. best: the validation term
    whose lowest value chooses the best epoch; by default the objective of the only player, and of
    several players, who have none in common, the last epoch.
    """

    model: Model
    players: tuple[Player, ...]
    feature_networks: tuple[FeatureNetwork, ...] = ()
    decided: Mapping[str, Any] = field(default_factory=dict)
    best: str = ""

    def to(self, device: torch.device) -> Recipe:
        """The same, its model on the device and in eval mode."""
        self.model.to(device).eval()
        return self


RECIPES: dict[str, Callable[..., Recipe]] = {}


def recipe(function: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Register a recipe under its function's name, so that runs made with it can be loaded."""
    RECIPES[function.__name__] = function
    return function


def find(name: str) -> Callable[..., Recipe]:
    """The recipe of that name ('beta-vae' and 'beta_vae' are the same). Raises UserError."""
    key = name.replace("-", "_")
    if key not in RECIPES:
        raise unknown("recipe", name, map(hyphenated, RECIPES))
    return RECIPES[key]


def hyphenated(name: str) -> str:
    """A recipe's name as people type it: with hyphens."""
    return name.replace("_", "-")


def about(name: str) -> str:
    """A recipe's sentence and reference, from its docstring."""
    return inspect.cleandoc(find(name).__doc__ or "")


def arguments(function: Callable[..., Recipe]) -> dict[str, inspect.Parameter]:
    """The choices that a recipe offers, by name, with resolved types.

    One that takes ``**net`` offers those of `zspace.models.networks.choices.NetOptions` too.
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
    wanted = NetworkSpec(data.shape, bottleneck.features, latent, outputs, context)
    made = build_networks(NetOptions(**net), wanted)
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


@dataclass(frozen=True)
class Player:
    """Whose parameters move, and what they minimise. A VAE has one player, a GAN two.

    All players of a step read one pass of the model. Only the first may send gradients into it;
    the others read it detached.

    Arguments:
        module: Whose parameters move.
        objective: What they minimise.
        start: The progress in [0, 1) from which the parameters move; before, the player watches.
        lr: The peak of its learning rate, which follows the schedule of the run; None is the
            run's.
        betas: The decay rates of its moments; None are the run's.
        clip: Its largest gradient norm, 0 for no clipping; None is the run's.
        steps: How often it moves per step of the first player, whose own is 1. All but the last
            come before the other players read the pass.

    Raises UserError where a number is out of its range.

        Player(critic, objective, lr=4e-4, betas=(0.5, 0.9), steps=5)
    """

    module: nn.Module
    objective: Objective
    start: float = 0.0
    lr: float | None = None
    betas: tuple[float, float] | None = None
    clip: float | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        betas = self.betas or (0.0, 0.0)
        ranges = {
            "start": (0 <= self.start < 1, "a number in [0, 1)"),
            "lr": (self.lr is None or 0 < self.lr < math.inf, "a finite number above 0"),
            "betas": (len(betas) == 2 and all(0 <= b < 1 for b in betas), "two numbers in [0, 1)"),
            "clip": (self.clip is None or self.clip >= 0, "a number >= 0"),
            "steps": (self.steps >= 1, "a whole number >= 1"),
        }
        for name, (fits, wanted) in ranges.items():
            if not fits:
                raise UserError(f"{name} of a player is {getattr(self, name)}: use {wanted}")

"""Models that play a game: an autoencoder against a discriminator."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models.adversarial import DiscriminatorLoss, GeneratorLoss, PatchDiscriminator
from zspace.models.bottlenecks import Gaussian
from zspace.models.flow import Term
from zspace.models.objective import Adaptive, Objective
from zspace.models.perceptual import FEATURE_NETWORKS, FeatureNetwork, Perceptual, choose_features
from zspace.models.recipes import LikelihoodName, Player, PriorName, Recipe, Size, assemble, recipe
from zspace.models.terms import kl
from zspace.system.schedules import Schedule, starts_at


@recipe
def vaegan(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    beta: Annotated[float, Doc("Weight of the KL.")] = 1.0,
    perceptual: Annotated[
        Literal["auto", "judge", "vgg16", "none"],
        Doc(
            "Features by which images are compared: those of VGG16, or of a judge, a classifier "
            "trained on these data; auto takes VGG16 if its weights are on this machine."
        ),
    ] = "auto",
    perceptual_weight: Annotated[
        float, Doc("Weight of the perceptual term per number in x.")
    ] = 0.1,
    adversarial: Annotated[
        Literal["hinge", "least-squares"], Doc("Loss of the discriminator.")
    ] = "hinge",
    adversarial_weight: Annotated[float, Doc("Weight of the adversarial term, adaptive.")] = 0.5,
    discriminator_start: Annotated[
        float, Doc("Fraction of training after which the discriminator learns.")
    ] = 0.1,
    adversarial_start: Annotated[
        float, Doc("Fraction of training after which the model learns from it.")
    ] = 0.2,
    **net: Any,
) -> Recipe:
    """VAE-GAN: a VAE whose reconstructions must also look real to a discriminator of patches.

    References: Larsen, Sonderby, Larochelle, Winther. Autoencoding beyond pixels using a learned
    similarity metric. 2015, arXiv 1512.09300; Esser, Rombach, Ommer. Taming transformers for
    high-resolution image synthesis. 2020, arXiv 2012.09841.

    >>> made = vaegan(Spec((1, 28, 28)), perceptual="none")
    >>> [player.objective.minimised() for player in made.players]
    [{'mse': 1.0, 'kl': 1.0, 'generator_loss': 0.5}, {'discriminator_loss': 1.0}]
    """
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    discriminator, features = PatchDiscriminator(data.shape), choose_features(perceptual, data)
    error = model.likelihood.term
    terms: list[Term] = [error, kl, GeneratorLoss(discriminator, adversarial)]
    weights: dict[str, float | Schedule] = {
        error.__name__: 1.0,
        "kl": beta,
        "generator_loss": starts_at(adversarial_start, adversarial_weight),
    }
    networks = [FeatureNetwork(FEATURE_NETWORKS[features])] if features != "none" else []
    for network in networks:
        terms.append(Perceptual(network))
        weights["perceptual"] = perceptual_weight * math.prod(data.shape)
    last = [p for p in model.decoder.parameters() if p.dim() > 1][-1]
    makes = Adaptive(terms, weights, adapted="generator_loss", last=last)
    tells = Objective([DiscriminatorLoss(discriminator, adversarial)], {"discriminator_loss": 1.0})
    players = (Player(model, makes), Player(discriminator, tells, start=discriminator_start))
    return Recipe(model, players, "VAE-GAN", tuple(networks), {"perceptual": features})

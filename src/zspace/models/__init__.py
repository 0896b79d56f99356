"""What an autoencoder is made of: encoder, bottleneck, decoder, likelihood, prior, objective."""

from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Bottleneck, Gaussian, Point
from zspace.models.flow import Code, Latent, Model, Pass, Term
from zspace.models.likelihoods import Likelihood, SquaredError
from zspace.models.networks import MLP
from zspace.models.objective import Adaptive, Objective
from zspace.models.priors import StandardNormal
from zspace.models.recipes import Player, Recipe, recipe
from zspace.models.zoo import ae, beta_vae, cvae, iwae, tcvae, vae, vaegan

__all__ = [
    "MLP",
    "Adaptive",
    "Autoencoder",
    "Bottleneck",
    "Code",
    "Gaussian",
    "Latent",
    "Likelihood",
    "Model",
    "Objective",
    "Pass",
    "Player",
    "Point",
    "Recipe",
    "SquaredError",
    "StandardNormal",
    "Term",
    "ae",
    "beta_vae",
    "cvae",
    "iwae",
    "recipe",
    "tcvae",
    "vae",
    "vaegan",
]

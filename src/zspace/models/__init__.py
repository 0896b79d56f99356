"""What an autoencoder is made of: encoder, bottleneck, decoder, likelihood, prior, objective.

    model = assemble(Spec((1, 28, 28)), Gaussian(20), prior="mixture", net={"hidden": (256,)})
    objective = Objective([mse, kl], {"mse": 1.0, "kl": warmup(until=0.3)})

The names of this room are public; modules within it may change.
"""

from zspace.data.spec import Batch, Fact, Spec
from zspace.models.adversarial import DiscriminatorLoss, GeneratorLoss, PatchDiscriminator
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Bottleneck, Gaussian, Point
from zspace.models.flow import Code, Latent, Model, Pass, Term
from zspace.models.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    ContinuousBernoulli,
    Likelihood,
    LogisticMixture,
    SquaredError,
)
from zspace.models.networks import MLP
from zspace.models.networks.choices import NETS, NetOptions
from zspace.models.objective import Adaptive, Objective
from zspace.models.perceptual import FeatureNetwork, Perceptual
from zspace.models.priors import PRIORS, Flow, Mixture, StandardNormal
from zspace.models.recipes import Player, Recipe, assemble, one_player, recipe
from zspace.models.terms import FreeBits, StratifiedKL, bce, gives, kl, mse, nll, split_kl
from zspace.models.zoo import ae, beta_vae, cvae, iwae, sentence_vae, tcvae, vae, vaegan
from zspace.system.schedules import Schedule, cyclical, starts_at, warmup

__all__ = [
    "LIKELIHOODS", "MLP", "NETS", "PRIORS", "Adaptive", "Autoencoder", "Batch", "Bernoulli",
    "Bottleneck", "Code", "ContinuousBernoulli", "DiscriminatorLoss", "Fact", "FeatureNetwork",
    "Flow", "FreeBits", "Gaussian", "GeneratorLoss", "Latent", "Likelihood", "LogisticMixture",
    "Mixture", "Model", "NetOptions", "Objective", "Pass", "PatchDiscriminator", "Perceptual",
    "Player", "Point", "Recipe", "Schedule", "Spec", "SquaredError", "StandardNormal",
    "StratifiedKL", "Term", "ae", "assemble", "bce", "beta_vae", "cvae", "cyclical", "gives",
    "iwae", "kl", "mse", "nll", "one_player", "recipe", "sentence_vae", "split_kl", "starts_at",
    "tcvae", "vae", "vaegan", "warmup",
]  # fmt: skip

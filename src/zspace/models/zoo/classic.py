"""Autoencoders and variational autoencoders with one code and one player."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models.bottlenecks import Gaussian, Point
from zspace.models.flow import Term
from zspace.models.recipes import (
    LikelihoodName,
    PriorName,
    Recipe,
    Size,
    assemble,
    one_player,
    recipe,
)
from zspace.models.terms import FreeBits, StratifiedKL, kl, split_kl
from zspace.models.terms import iwae as bound
from zspace.system.errors import UserError, unknown
from zspace.system.schedules import Schedule, cyclical, warmup

Anneal = Annotated[
    Literal["none", "warmup", "cyclical"],
    Doc("How beta grows: not at all, over the first fifth of training, or in four cycles."),
]


@recipe
def ae(data: Spec, latent: Size = 20, likelihood: LikelihoodName = "auto", **net: Any) -> Recipe:
    """Autoencoder: a deterministic, linear code layer and a reconstruction error.

    Reference: Hinton, Salakhutdinov. Reducing the dimensionality of data with neural networks.
    Science 313, 2006, doi 10.1126/science.1127647.

    >>> ae(Spec((1, 8, 8)), hidden=(16,)).players[0].objective.weights
    {'mse': 1.0}
    """
    model = assemble(data, Point(latent), likelihood=likelihood, net=net)
    return one_player(model, weights={}, title="AE")


@recipe
def vae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    **net: Any,
) -> Recipe:
    """Variational autoencoder: a Gaussian code, reconstruction error plus KL to N(0, I).

    Reference: Kingma, Welling. Auto-encoding variational Bayes. 2013, arXiv 1312.6114.

    >>> vae(Spec((1, 8, 8)), hidden=(16,), likelihood="bernoulli").players[0].objective.weights
    {'bce': 1.0, 'kl': 1.0}
    """
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    return one_player(model, kl, weights={"kl": 1.0}, title="VAE")


@recipe
def cvae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    **net: Any,
) -> Recipe:
    """Conditional VAE: encoder and decoder are also given the label, one-hot, or attributes.

    Attributes are flags of 0 and 1 and numbers, standardised by the training samples.

    Reference: Sohn, Lee, Yan. Learning structured output representation using deep conditional
    generative models. NeurIPS 2015.

    >>> cvae(Spec((1, 8, 8), classes=("cat", "dog")), hidden=(16,)).model.context
    2
    """
    if not data.context:
        raise UserError(
            "cvae needs a label for each sample, but these data have none: give a folder with one "
            "sub-folder per class, an .npz with x and y or a table with --labels COLUMN, or use "
            "recipe 'vae'"
        )
    model = assemble(
        data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net, context=data.context
    )
    return one_player(model, kl, weights={"kl": 1.0}, title="CVAE")


ANNEALS: dict[str, Callable[[float], float | Schedule]] = {
    "none": lambda beta: beta,
    "warmup": lambda beta: warmup(end=beta),
    "cyclical": lambda beta: cyclical(end=beta),
}


def divergence(
    beta: float, anneal: str, free_bits: float
) -> tuple[Term, dict[str, float | Schedule]]:
    """A KL that is weighted, annealed and free up to some bits: its term, and weights by name.

    Raises UserError for an unknown `anneal`, and for a weight that is negative or not finite.

    >>> divergence(2.0, "none", free_bits=0.0)[1]
    {'kl': 2.0}
    """
    if anneal not in ANNEALS:
        raise unknown("anneal", anneal, ANNEALS)
    if not 0 <= beta < math.inf:
        raise UserError(f"beta is {beta}: use a finite weight >= 0")
    weight = ANNEALS[anneal](beta)
    if free_bits:
        return FreeBits(free_bits), {"kl": 0.0, "kl_free_bits": weight}
    return kl, {"kl": weight}


@recipe
def beta_vae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    beta: Annotated[float, Doc("Weight of the KL.")] = 4.0,
    anneal: Anneal = "none",
    free_bits: Annotated[float, Doc("Nats per code dimension that cost nothing.")] = 0.0,
    **net: Any,
) -> Recipe:
    """Beta-VAE: the VAE with a weight on the KL, which may be annealed or have free bits.

    Reference: Higgins et al. beta-VAE: learning basic visual concepts with a constrained
    variational framework. ICLR 2017.

    >>> beta_vae(Spec((1, 8, 8)), hidden=(16,), free_bits=0.1).players[0].objective.weights
    {'mse': 1.0, 'kl': 0.0, 'kl_free_bits': 4.0}
    """
    term, weights = divergence(beta, anneal, free_bits)
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    return one_player(model, term, weights=weights, title="beta-VAE")


@recipe
def tcvae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    beta: Annotated[float, Doc("Weight of the total correlation.")] = 6.0,
    estimate: Annotated[
        Literal["weighted", "stratified"],
        Doc("How q(z) is estimated from a batch: its mean, or stratified by the training set."),
    ] = "weighted",
    **net: Any,
) -> Recipe:
    """Beta-TCVAE: the KL in three parts, with a weight on the dependence between code dimensions.

    Reference: Chen, Li, Grosse, Duvenaud. Isolating sources of disentanglement in variational
    autoencoders. 2018, arXiv 1802.04942.

    >>> tcvae(Spec((1, 8, 8)), hidden=(16,)).players[0].objective.minimised()["total_correlation"]
    6.0
    """
    if not 0 <= beta < math.inf:
        raise UserError(f"beta is {beta}: use a finite weight >= 0")
    if estimate not in ("weighted", "stratified"):
        raise unknown("estimate", estimate, ("weighted", "stratified"))
    term = StratifiedKL(data.samples) if estimate == "stratified" else split_kl
    weights = {"index_code_mi": 1.0, "total_correlation": beta, "dimension_kl": 1.0}
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    return one_player(model, term, weights={"kl": 0.0, **weights}, title="beta-TCVAE")


@recipe
def iwae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    samples: Annotated[int, Doc("K, draws of the code for each sample.")] = 5,
    **net: Any,
) -> Recipe:
    """Importance-weighted autoencoder: the VAE's parts under a tighter bound of K draws.

    Reference: Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. 2015, arXiv
    1509.00519.

    >>> objective = iwae(Spec((1, 8, 8)), hidden=(16,), samples=7).players[0].objective
    >>> objective.samples, objective.minimised()
    (7, {'iwae': 1.0})
    """
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    weights = {"iwae": 1.0, "kl": 0.0}
    return one_player(
        model, bound, kl, weights=weights, title="IWAE", reconstruction=0.0, samples=samples
    )

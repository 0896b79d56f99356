"""Variational autoencoders of text, with what keeps their codes from being ignored."""

from __future__ import annotations

import math
from typing import Annotated, Any

from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models.bottlenecks import Gaussian
from zspace.models.networks.mlp import MLP
from zspace.models.recipes import (
    LikelihoodName,
    PriorName,
    Recipe,
    Size,
    assemble,
    one_player,
    recipe,
)
from zspace.models.sequences import BagOfWords
from zspace.models.zoo.classic import Anneal, divergence
from zspace.system.errors import UserError

BAG = (128,)
"""Widths of the hidden layers from a code to its bag of words."""


@recipe
def sentence_vae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    beta: Annotated[float, Doc("Weight of the KL.")] = 1.0,
    anneal: Anneal = "warmup",
    free_bits: Annotated[float, Doc("Nats per code dimension that cost nothing.")] = 0.25,
    bag_of_words: Annotated[
        float,
        Doc("Weight of a term for which the code alone tells the tokens, their order left out."),
    ] = 0.5,
    word_dropout: float | None = 0.0,
    **net: Any,
) -> Recipe:
    """Sentence VAE: a VAE of tokens with measures against a code that the decoder ignores.

    A decoder that is given the tokens before needs no code to be good. So the KL grows slowly and
    is free up to some nats, and the code alone must tell which tokens there are. Without these
    measures it is the recipe 'vae'. Some tokens before may be withheld, too (`--word-dropout`),
    which is off: in short trainings it costs more bits per token than it gains.

    References: Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio. Generating sentences from a
    continuous space. 2015, arXiv 1511.06349; Kingma et al. Improving variational inference with
    inverse autoregressive flow. 2016, arXiv 1606.04934 (free bits); Zhao, Zhao, Eskenazi. Learning
    discourse-level diversity for neural dialog models using conditional variational autoencoders.
    2017, arXiv 1703.10960 (the bag of words).

    >>> made = sentence_vae(Spec((9,), kind="tokens", vocabulary=30))
    >>> made.players[0].objective.minimised()
    {'nll': 1.0, 'kl_free_bits': 1.0, 'bag_of_words': 0.5}
    """
    if data.kind != "tokens":
        raise UserError(
            f"sentence-vae is for tokens, but these data are of kind '{data.kind}': use recipe "
            "'vae'"
        )
    if not 0 <= bag_of_words < math.inf:
        raise UserError(f"bag_of_words is {bag_of_words}: use a finite weight >= 0")
    term, weights = divergence(beta, anneal, free_bits)
    terms, net = [term], {**net, "word_dropout": word_dropout}
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    if bag_of_words:
        model.bag = MLP((latent,), (data.vocabulary,), hidden=BAG)
        terms.append(BagOfWords(model.bag))
        weights["bag_of_words"] = bag_of_words
    return one_player(model, *terms, weights=weights, title="Sentence VAE")

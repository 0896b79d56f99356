"""Variational autoencoders of text, with what keeps their codes from being ignored."""

from __future__ import annotations

import math
from typing import Annotated, Any

from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models.bottlenecks import Gaussian
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
from zspace.system import schedules
from zspace.system.errors import UserError
from zspace.system.schedules import Schedule

MEASURES = "kl_free_bits", "bag_of_words"
"""The terms that fade."""
FADING = 0.8
"""The share of the training that is left in which they do: after 0.05, until 0.81."""
Weight = float | Schedule


@recipe
def sentence_vae(
    data: Spec,
    latent: Size = 20,
    likelihood: LikelihoodName = "auto",
    prior: PriorName = "standard",
    beta: Annotated[float, Doc("Weight of the KL.")] = 1.0,
    anneal: Anneal = "warmup",
    free_bits: Annotated[float, Doc("Nats per code dimension that cost nothing.")] = 0.1,
    bag_of_words: Annotated[
        float,
        Doc("Weight of a term for which the code alone tells the tokens, their order left out."),
    ] = 0.5,
    fade: Annotated[
        float,
        Doc("Part of training after which free bits and bag of words fade; 1 keeps both."),
    ] = 0.05,
    word_dropout: float | None = 0.0,
    **net: Any,
) -> Recipe:
    """Sentence VAE: a VAE of tokens with measures against a code that the decoder ignores.

    A decoder that is given the tokens before needs no code to be good. So the KL grows slowly and
    is free up to some nats, and what the code adds to the logits of every step must tell, alone,
    which tokens there are. Both teach the decoder to read a code, and fade from early on: the last
    fifth of the training belongs to the bound alone. Without these measures it is the recipe
    'vae'. Some tokens before may be withheld, too (`--word-dropout`), which is off: in short
    trainings it costs more bits per token than it gains.

    References: Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio. Generating sentences from a
    continuous space. 2015, arXiv 1511.06349; Kingma et al. Improving variational inference with
    inverse autoregressive flow. 2016, arXiv 1606.04934 (free bits); Zhao, Zhao, Eskenazi. Learning
    discourse-level diversity for neural dialog models using conditional variational autoencoders.
    2017, arXiv 1703.10960 (the bag of words).

    >>> made = sentence_vae(Spec((9,), kind="tokens", vocabulary=30))
    >>> made.players[0].objective.minimised()
    {'nll': 1.0, 'kl': 1.0}
    """
    if data.kind != "tokens":
        raise UserError(
            f"sentence-vae is for tokens, but these data are of kind '{data.kind}': use recipe "
            "'vae'"
        )
    if not 0 <= bag_of_words < math.inf:
        raise UserError(f"bag_of_words is {bag_of_words}: use a finite weight >= 0")
    if not 0 <= fade <= 1:
        raise UserError(f"fade is {fade}: use a part of training, from 0 to 1")
    term, weights = divergence(beta, anneal, free_bits)
    terms, net = [term], {**net, "word_dropout": word_dropout}
    model = assemble(data, Gaussian(latent), prior=prior, likelihood=likelihood, net=net)
    if bag_of_words:
        decoder: Any = model.decoder
        terms.append(BagOfWords(decoder.unordered))
        weights["bag_of_words"] = bag_of_words
    if fade < 1:
        weights = fading(weights, fade)
    return one_player(model, *terms, weights=weights, title="Sentence VAE")


def fading(weights: dict[str, Weight], start: float) -> dict[str, Weight]:
    """The weights with free bits and a bag of words that fade after `start`, a part of training.

    The KL takes over from the KL with free bits, so that its whole weight is as it was.

    >>> faded = fading({"kl": 0.0, "kl_free_bits": 2.0}, start=0.5)
    >>> [(name, weight(0.2), weight(1.0)) for name, weight in faded.items()]
    [('kl', 0.0, 2.0), ('kl_free_bits', 2.0, 0.0)]
    """
    stays = schedules.fade(start, start + FADING * (1 - start))

    def times(weight: Weight, share: Schedule) -> Schedule:
        return lambda now: share(now) * (weight(now) if callable(weight) else weight)

    made = {name: times(w, stays) for name, w in weights.items() if name in MEASURES}
    if "kl_free_bits" in made:
        made["kl"] = times(weights["kl_free_bits"], lambda now: 1 - stays(now))
    return {**weights, **made}

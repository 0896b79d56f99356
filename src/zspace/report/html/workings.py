"""How the families of a study work: diagrams, steps, what they differ in, and which formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from zspace.analysis.numbers import number
from zspace.models import recipes
from zspace.models.bottlenecks import Gaussian
from zspace.models.likelihoods import USUAL, Bernoulli, Likelihood, SquaredError
from zspace.models.networks.choices import HIDDEN
from zspace.models.terms import iwae
from zspace.report import diagrams, facts
from zspace.report.diagrams import weighted
from zspace.report.facts import Family, Numbers, families, shape
from zspace.runs.many import Study
from zspace.runs.run import Run


def about(study: Study) -> list[tuple[str, str, list[str], str]]:
    """Each family: its title, its recipe's sentence, what each player minimises, its reference."""
    made = []
    for family in families(study):
        text, _, reference = recipes.about(family.run.config.recipe).partition("\n\n")
        sums = [weighed(family, weights) for weights in family.minimised]
        made.append((family.title, " ".join(text.split()), sums, " ".join(reference.split())))
    return made


def weighed(family: Family, weights: Mapping[str, float | str]) -> str:
    """'squared error + 0.5 × KL to the prior': the terms of a sum and their weights."""
    return " + ".join(weighted(family.fact(name).title, w) for name, w in weights.items())


def drawings(study: Study) -> list[tuple[str, Markup]]:
    """The diagram of each family, with its title."""
    found = []
    for family in families(study):
        run = family.run
        made = diagrams.diagram(run.recipe, run.spec, run.probe, name=family.title)
        made.title = f"{family.title}, {facts.code_of(run.model.latent)}"
        found.append((family.title, Markup(made.svg(f"diagram-{family.title}"))))
    return found


def widths(study: Study) -> Numbers:
    """The networks of each family: what sort, and the widths of the encoder's layers."""
    found = {}
    for family in families(study):
        arguments = decided(family.run)
        names, net = layers(arguments), arguments.get("net", "mlp")
        sort = "" if net == "mlp" else f"{net} "
        found[family.title] = sort + " → ".join(names) if names else str(net)
    alike = len(set(found.values())) == 1
    codes = dict.fromkeys(shape(runs[0]) for f in families(study) for runs in f.sizes.values())
    return {
        "Encoder, and the decoder in reverse": next(iter(found.values())) if alike else found,
        "Numbers in a code": facts.joined(codes),
    }


def steps(family: Family) -> list[str]:
    """What is done with a batch of images in training, and with the model after it."""
    traits, told = family.traits, " and its label" if family.traits.conditional else ""
    also = " and the label" if traits.conditional else ""
    gaussian = isinstance(getattr(family.run.model, "bottleneck", None), Gaussian)
    sums = [weighed(family, weights) for weights in family.minimised]
    if gaussian:
        code = ["the encoder makes a mean μ and a standard deviation σ",
                "Draw noise ε from N(0, I); the code is z = μ + σ ε."]  # fmt: skip
    elif traits.variational:
        code = ["the encoder makes a distribution q(z|x)", "Draw a code z from it."]
    elif traits.discrete:
        code = ["the encoder makes a point", "Take the nearest code z of the code book."]
    else:
        code = ["the encoder makes a code z"]
    of_prior = f"Draw a code from {traits.prior}"
    new = of_prior if traits.placed else "Draw a code from a mixture of Gaussians fitted to codes"
    choose = ", choose a label" if traits.conditional else ""
    return [
        f"From an image{told} {code[0]}.",
        *code[1:],
        f"From z{also} the decoder makes p(x|z).",
        f"Add up: {sums[0]}.",
        *(f"Player {i} adds up: {one}." for i, one in enumerate(sums[1:], 2)),
        "Change all weights a little against the gradient, and go on with the next images.",
        f"After training, for a new image: {new[0].lower()}{new[1:]}{choose}, decode.",
    ]


def differences(study: Study) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: what the families differ in, one row for each of them."""
    rows = []
    for family in families(study):
        traits = family.traits
        label = ", told a label" if traits.conditional else ""
        code = "a distribution q(z|x)" if traits.variational else "a point"
        code = "one of finitely many" if traits.discrete else code
        start = f"a draw of {traits.prior}" if traits.placed else "a mixture fitted to its codes"
        use = "to compare, compress, find what is unusual"
        if traits.placed and not traits.discrete:
            use = "to sample, and to go from one image to another"
        if traits.conditional:
            use = "to sample what is asked for"
        losses = "; ".join(weighed(family, weights) for weights in family.minimised)
        rows.append([family.title, code + label, losses, start + label, use])
    return ["", "code", "minimised", "samples start from", "what for"], rows


def decided(run: Run) -> dict[str, Any]:
    """The choices of a run, with what was taken for its kind of data where none was made."""
    usual = {"likelihood": USUAL.get(run.spec.kind, "auto"), "hidden": HIDDEN.get(run.spec.kind)}
    chosen = run.config.arguments
    return {k: usual.get(k, v) if v in ("auto", None) else v for k, v in chosen.items()}


def layers(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The widths of an encoder's layers, or its channels; of networks of steps their one width."""
    if arguments.get("width"):
        return (f"{arguments['width']} wide",)
    maps = arguments.get("net", "mlp") != "mlp"
    return tuple(map(str, arguments.get("channels" if maps else "hidden", ())))


def maths(study: Study) -> set[str]:
    """Which formulas belong on the page: those of the models that are there."""
    return {name for family in families(study) for name in _maths_of(family)}


def _maths_of(family: Family) -> set[str]:
    model, objective, traits = family.run.model, family.run.objective, family.traits
    likelihood: Likelihood | None = getattr(model, "likelihood", None)
    scored = likelihood is not None and likelihood.term in objective.terms
    squared = scored and isinstance(likelihood, SquaredError)
    importance = iwae in objective.terms
    kl = bool(objective.of_role("divergence"))
    elbo = traits.variational and kl and not importance
    gaussian = isinstance(getattr(model, "bottleneck", None), Gaussian)
    told = {
        "autoencoder": squared and not (traits.variational or traits.placed or traits.discrete),
        "elbo": elbo,
        "conditional": elbo and traits.conditional,
        "weight": elbo and family.kl_weight not in (0, 1),
        "importance": importance,
        "closed": gaussian and traits.standard and kl,
        "gaussian": gaussian,
        "squared": squared,
        "bernoulli": scored and isinstance(likelihood, Bernoulli),
    }
    return {name for name, there in told.items() if there}


def kl_weights(study: Study) -> Numbers:
    """Weights of the KL where they are not 1."""
    other = [family for family in families(study) if "weight" in _maths_of(family)]
    return {"Weight of the KL": facts.each(other, lambda family: family.kl_weight)}


def constant(study: Study) -> tuple[str, str]:
    """Values of an image, D, and D / 2 log pi."""
    dims = math.prod(study.data.spec.shape)
    return f"{dims:,}", number(dims / 2 * math.log(math.pi))

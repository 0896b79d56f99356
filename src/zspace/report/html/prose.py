"""The page's running text: its title, what came out in short, and what stands above each part.

What stands above the figures of each part, and which formulas a study needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zspace.analysis import latents
from zspace.analysis.generation import as_asked, prior_novelty
from zspace.analysis.numbers import count, duration, number, percent, spelled
from zspace.data.kinds.image import WINDOW
from zspace.models import recipes
from zspace.models.bottlenecks import Gaussian
from zspace.models.likelihoods import SquaredError
from zspace.report import facts
from zspace.report.facts import (
    Facts,
    Family,
    change,
    choice,
    each,
    errors,
    joined,
    mean,
    sentence,
    shape,
    sizes,
    term,
)
from zspace.report.figures import needs
from zspace.report.html import tables
from zspace.report.html.tables import quality_names
from zspace.runs.many import over_seeds


def title(facts: Facts) -> str:
    """'AE, VAE and CVAE on mnist5k'."""
    return f"{joined(family.label for family in facts.families)} on {facts.data.name}"


def lede(facts: Facts) -> str:
    """What was trained, on what, in two sentences."""
    data, families = facts.data, facts.families
    n = len(facts.study.runs)
    codes, flat = _codes(families), not any(family.spatial for family in families)
    seeds = {run.config.training.seed for run in facts.study.runs}
    many = "One model was"
    if n > 1:
        kinds = f" of {spelled(len(families))} families" if len(families) > 1 else ""
        many = f"{spelled(n)} models{kinds} were"
    text = (
        f"{many} trained on {count(len(data.train), 'image')}, with "
        f"{'a code' if len(codes) == 1 else 'codes'} of {joined(codes)} "
        f"{('dimension' if codes == ['1'] else 'dimensions') if flat else 'numbers'}"
    )
    text += f" and {spelled(len(seeds))} seeds each" if len(seeds) > 1 else ""
    return sentence(text) + (
        f" {count(len(data.validation), 'further image')} chose the epoch"
        f"{' and the code size' if len(codes) > 1 else ''}; {len(data.test):,} more, never "
        "trained on nor used to choose, gave the numbers called test."
    )


def _codes(families: Sequence[Family]) -> list[str]:
    """The shapes of all codes: '2', '20', '4 × 7 × 7'."""
    runs = {size: runs[0] for f in families for size, runs in f.sizes.items() if not f.spatial}
    maps = [runs[0] for f in families if f.spatial for runs in f.sizes.values()]
    return list(dict.fromkeys(shape(run) for run in [*(runs[n] for n in sorted(runs)), *maps]))


def findings(facts: Facts) -> list[tuple[str, str]]:
    """What came out, in short: the part of the page that shows it, and a sentence."""
    found = [("results", _errors(facts))]
    for contrast, cause in (
        (facts.kl, _kl_cause(facts)),
        (facts.label, f"Giving the {told(facts)}"),
    ):
        if contrast is not None:
            found.append(
                (
                    "results",
                    _contrast(facts, contrast.before, contrast.after, contrast.size, cause),
                )
            )
    if needs.test_images(facts.study) is None:
        found += [("regularised", _normality(facts)), ("regularised", _activity(facts))]
    found.append(("samples", _samples(facts)))
    return [(part, text) for part, text in found if text]


def told(facts: Facts) -> str:
    """What a conditional model is told beside the image."""
    return "label" if facts.data.classes else "attributes"


def _kl_cause(facts: Facts) -> str:
    weight = facts.kl.after.kl_weight if facts.kl else 1.0
    return "The KL term" if weight == 1 else f"The KL term, with weight {number(weight)},"


def _contrast(facts: Facts, before: Family, after: Family, size: int, cause: str) -> str:
    runs = before.sizes[size], after.sizes[size]
    old, new = (mean(group, "test", before.error) for group in runs)
    text = change(cause, f"{term(before.error)} on test images", old, new)
    text += f" with {count(size, f'code {after.unit}')} ({before.label} to {after.label})"
    if before.variational:  # then both minimise the same sum
        old, new = (mean(group, "test", "objective") for group in runs)
        text += "; " + change("it", "objective", old, new)
    return sentence(text)


def _errors(facts: Facts) -> str:
    return sentence(
        f"On test images, at the chosen code size ({sizes(facts.families)}): "
        f"{errors(facts.families)}"
    )


def _activity(facts: Facts) -> str:
    parts = []
    for family in facts.families:
        summary = latents.posterior_summary(family.run, facts.data)
        if summary.kl is not None and summary.active is not None:
            share = f"{summary.active} of {len(summary.kl)}"
            parts.append(share if len(facts.families) == 1 else f"{share} in the {family.label}")
    if not parts:
        return ""
    return sentence(f"Code dimensions in use, with more than 0.01 nats of KL: {joined(parts)}")


def _normality(facts: Facts) -> str:
    found = {
        f.label: float(latents.posterior_summary(f.run, facts.data).ks.mean())
        for f in facts.families
    }
    return sentence(
        "From 0, a perfect fit, to 1, the mean distance of a code dimension's distribution to "
        f"N(0, 1) is {each(found)}"
    )


def _samples(facts: Facts) -> str:
    far = {f.label: prior_novelty(f.run, facts.data) for f in facts.families}
    text = (
        "The median distance of decoded draws of N(0, I) to the nearest training image, in "
        f"multiples of that of test images, is {each(far)}"
    )
    found = {f.label: as_asked(f.run, facts.data) for f in facts.families if f.conditional}
    known = {label: told["conditional_accuracy"].value for label, told in found.items() if told}
    if known:
        asked = joined(f"{percent(share)} of the {label}'s" for label, share in known.items())
        text += f"; {asked} are read as the class asked for"
    return sentence(text)


def choices(facts: Facts) -> list[str]:
    """Why each code size was chosen, a sentence a family."""
    made = []
    for family in facts.families:
        cells = {
            size: over_seeds(runs, "validation", "objective")
            for size, runs in family.sizes.items()
        }
        scores = {size: cell.mean for size, cell in cells.items() if cell is not None}
        best = sorted(scores, key=lambda size: scores[size])[:2]
        spreads = [cell.spread for size, cell in cells.items() if cell and size in best]
        known = [spread for spread in spreads if spread is not None]
        spread = max(known) if known else None
        made.append(choice(family.label, scores, spread, f"{family.unit}s"))
    return made


def on_spread(facts: Facts) -> str:
    """What ± means here, or that there is none."""
    most = max(len(runs) for family in facts.families for runs in family.sizes.values())
    if most > 1:
        return (
            "Numbers are means over seeds, ± their sample standard deviation; seeds differ in "
            "initial weights, order of images and draws, never in the split."
        )
    if len(facts.study.runs) == 1:
        return "One seed: how far another would be from these numbers, this page cannot tell."
    return "One seed a model: differences may be chance where they are small."


def on_error(facts: Facts) -> list[str]:
    """What the reconstruction numbers mean: a paragraph for each kind that occurs."""
    made = []
    if uses_squared_error(facts):
        dims = int(np.prod(facts.data.spec.shape))
        constant = dims / 2 * math.log(math.pi)
        made.append(
            "The squared error is the negative log-likelihood of a Gaussian around the decoded "
            f"image with variance 1/2 in every pixel, without its constant, {number(constant)} "
            f"nats for {dims:,} values. The variance is assumed, not learnt: the number ranks "
            "models that share it, but is no likelihood and must not stand beside nats of one."
        )
    for name, text in ON_TERMS.items():
        if any(name in family.run.result["test"] for family in facts.families):
            made.append(text)
    if len({family.error for family in facts.families}) > 1:
        made.append(
            "The families here measure reconstruction in different units: compare numbers only "
            "within a unit."
        )
    return made


ON_TERMS = {
    "bce": (
        "Binary cross-entropy is a negative log-likelihood, in nats, where pixels are 0 or 1; on "
        "grey values it is a measure of error only."
    ),
    "nll": (
        "The negative log-likelihood is that of a density over pixel values, in nats; it may be "
        "below zero."
    ),
    "kl_free_bits": (
        "The KL term with free bits counts what a code dimension costs above a floor; below it, "
        "information is free."
    ),
    "total_correlation": (
        "The KL falls into the mutual information of x and z, the total correlation, which says "
        "how far code dimensions depend on each other, and the KL of the single dimensions. The "
        "three are estimated from a batch: compare them between batches of one size only."
    ),
}


def uses_squared_error(facts: Facts) -> bool:
    """Whether some family's likelihood is the squared error."""
    return any(
        isinstance(getattr(f.run.model, "likelihood", None), SquaredError) for f in facts.families
    )


def about(facts: Facts) -> list[tuple[str, str, str, str]]:
    """Each family: its label, its recipe's sentence, what it minimises, its reference."""
    made = []
    for family in facts.families:
        text, _, reference = recipes.about(family.run.config.recipe).partition("\n\n")
        texts = " ".join(text.split()), minimised(family), " ".join(reference.split())
        made.append((family.label, *texts))
    return made


def minimised(family: Family) -> str:
    """The terms of each player's objective and their weights at the end of training.

    Empty for a run of an old version, which did not write them down.
    """
    sums = [facts.weighted(weights) for weights in family.run.record.get("objectives", [])]
    if len(sums) < 2:
        return "".join(f"Minimised: {text}." for text in sums)
    ranks = ("first", "second", "third", "fourth")
    each_sum = zip(ranks, sums, strict=False)
    told = "; ".join(f"the {rank} minimises {text}" for rank, text in each_sum)
    return sentence(f"{spelled(len(sums))} players: {told}")


def parts(facts: Facts) -> list[tuple[str, str]]:
    """The parts that an image goes through, with their sizes where all families agree."""
    arguments = [family.run.config.arguments for family in facts.families]
    widths = {layers(one) for one in arguments}
    likelihoods = {str(one.get("likelihood", "")).replace("-", " ") for one in arguments}
    names = list(next(iter(widths))) if len(widths) == 1 else []
    kinds = {one.get("net", "mlp") for one in arguments} - {"mlp"}
    kind = f"{next(iter(kinds))} " if names and kinds else ""
    return [
        ("image x", " × ".join(map(str, facts.data.spec.shape))),
        ("encoder", kind + " → ".join(names) or "network"),
        ("code z", joined(_codes(facts.families))),
        ("decoder", kind + " → ".join(reversed(names)) or "network"),
        ("p(x|z)", " or ".join(sorted(likelihoods - {""})) or "likelihood"),
    ]


def layers(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The widths of an encoder's layers, or its channels."""
    maps = arguments.get("net", "mlp") != "mlp"
    return tuple(map(str, arguments.get("channels" if maps else "hidden", ())))


def table_caption(facts: Facts, terms: Sequence[tuple[str, str]]) -> str:
    """What the table of results holds, and what its columns are called."""
    spread = any(len(runs) > 1 for f in facts.families for runs in f.sizes.values())
    text = count(len(facts.study.runs), "finished run")
    text += ", means ± spread over seeds" if spread else ""
    text += f", {len(facts.study.failed)} failed (below)" if facts.study.failed else ""
    names = [f"{name}: {what}" for name, what in terms if name != what]
    sum_of = ["objective: what is minimised"] if len(terms) > 1 else []
    return f"{text}; {'; '.join([*names, *sum_of])}."


def on_missing(names: Sequence[str]) -> str:
    """Which figures are left out, and who says why."""
    return (
        f"{joined(names)}: they need what is not here; 'zspace figure NAME PATH -o FILE' says "
        "what that is."
    )


def on_settings(facts: Facts) -> str:
    """Seeds and splits, in words."""
    seeds = sorted({run.config.training.seed for run in facts.study.runs})
    threads = {run.record["environment"].get("threads") for run in facts.study.runs}
    text = (
        f"{'Seed' if len(seeds) == 1 else 'Seeds'} {joined(map(str, seeds))}; the split into "
        "training, validation and test images is the same in every run. Trainings took "
        f"{duration(sum(run.result['seconds'] for run in facts.study.runs))} in all"
    )
    known = [count(n, "CPU thread") for n in threads if n]
    return sentence(text + (f", with {joined(known)} each" if known else ""))


def intro(part: str, facts: Facts) -> list[str]:
    """Paragraphs above the figures of a part."""
    return [INTROS[part](facts)] if part in INTROS else []


def maths_wanted(facts: Facts) -> set[str]:
    """Which formulas belong on the page: those of families that are there."""
    wanted = set()
    for family in facts.families:
        weighs_kl = family.variational and "iwae" not in family.run.result["test"]
        told = {
            "autoencoder": not family.variational and family.error == "mse",
            "elbo": weighs_kl and not family.conditional,
            "conditional": weighs_kl and family.conditional,
            "weight": weighs_kl and family.kl_weight not in (0, 1),
            "importance": "iwae" in family.run.result["test"],
            "gaussian": isinstance(getattr(family.run.model, "bottleneck", None), Gaussian),
        }
        wanted |= {name for name, there in told.items() if there}
    if uses_squared_error(facts):
        wanted.add("squared")
    if "conditional" in wanted or "weight" in wanted:
        wanted.add("elbo")
    return wanted


def on_weight(facts: Facts) -> str:
    """The weights of the KL term where they are not 1."""
    weights = {
        family.label: family.kl_weight
        for family in facts.families
        if family.variational and family.kl_weight not in (0, 1)
    }
    told = joined(f"{number(weight)} in the {label}" for label, weight in weights.items())
    return (
        f"The KL term has a weight, {told}. Above 1 it asks for codes nearer to the prior, and "
        "the sum is a looser bound; below 1 it asks for better reconstructions, and the sum is no "
        "bound any more."
    )


def dimensions(facts: Facts) -> str:
    """Values of an image, D of the formula."""
    return f"{int(np.prod(facts.data.spec.shape)):,}"


def _data_intro(facts: Facts) -> str:
    data, shape = facts.data, facts.data.spec.shape
    kind = {1: "grey", 3: "colour"}.get(shape[0], f"{shape[0]}-channel")
    size = f"{shape[-2]} × {shape[-1]} pixels"
    text = (
        f"{data.name} has {count(len(data.train), 'image')} to train on, "
        f"{len(data.validation):,} for validation and {len(data.test):,} for the test, {kind}, of "
        f"{size}, with values between 0 and 1."
    )
    if data.classes and len(data.classes) <= 20:
        text += f" The {count(len(data.classes), 'label')}: {', '.join(data.classes)}."
    if data.attributes:
        told = f": {', '.join(data.attributes)}" if len(data.attributes) <= 20 else ""
        text += f" Each has {count(len(data.attributes), 'attribute')} that hold or do not{told}."
    return text + (f" {data.skipped:,} unreadable files were left out." if data.skipped else "")


def _models_intro(facts: Facts) -> str:
    return (
        "An encoder reads an image x; a bottleneck turns what it read into a code z; a decoder "
        "turns z into the parameters of a likelihood p(x|z); a prior p(z) says where codes should "
        "lie; an objective, a weighted sum of terms, says what to minimise."
    )


def _results_intro(facts: Facts) -> str:
    many = any(len(family.sizes) > 1 for family in facts.families)
    text = (
        "Every term is a sum over the values of an image and a mean over images: lower is better."
    )
    if quality_names(facts):
        text += " Of SSIM and PSNR, explained below, more is better."
    return text + (
        " The star marks the code size with the lowest validation objective of its family; test "
        "images had no say in it."
        if many
        else ""
    )


def _learning_intro(facts: Facts) -> str:
    return (
        "What is minimised, and its terms, after each pass over the training images. The weights "
        "kept are those of the epoch with the best validation objective."
    )


def _quality_intro(facts: Facts) -> str:
    text = (
        "Measures of an image and its reconstruction that do not grow with the image; values lie "
        "in [0, 1], so the data range is 1. MSE is the mean squared error of a pixel. "
    )
    if min(facts.data.spec.shape[-2:]) >= WINDOW:
        text += (
            "SSIM, structural similarity, compares means, variances and covariance in windows of "
            f"{WINDOW} × {WINDOW} pixels: 1 for equal images, about 0 for unrelated ones. "
        )
    return text + (
        "PSNR, the peak signal-to-noise ratio, is 10 log10(1/MSE) in decibels: 10 more mean a "
        "tenth of the error. Each is a mean over images."
    )


def _classes_intro(facts: Facts) -> str:
    return "One mean hides much: the same error, class by class."


def _reconstructions_intro(facts: Facts) -> str:
    return (
        "An image the model has never seen goes through the bottleneck; what returns is what the "
        "code could hold."
    )


def _samples_intro(facts: Facts) -> str:
    return (
        "A generative model makes images without being given any: a draw of the prior, the "
        "decoder, and that is all."
    )


def _codes_intro(facts: Facts) -> str:
    return (
        "A code is a place. Where a model puts unseen images, and what lies next to what, tells "
        "what it has found out about them."
    )


def _plane_intro(facts: Facts) -> str:
    return "With two dimensions a code space can be seen whole: a grid of codes, each decoded."


def _paths_intro(facts: Facts) -> str:
    return (
        "If nearby codes mean similar images, then going from code to code should change an image "
        "gradually and pass through images that could be real."
    )


def _training_intro(facts: Facts) -> str:
    return "The same test images at moments of training, from the first epoch to the last."


def _regularised_intro(facts: Facts) -> str:
    return (
        "Draws of the prior are decoded well only where codes of real images lie. So the codes of "
        "all test images, taken together, are compared with N(0, I): mean 0, variance 1 in every "
        "direction, each dimension normal."
    )


def _made_intro(facts: Facts) -> str:
    return "All that decided these numbers."


INTROS = {
    "data": _data_intro,
    "models": _models_intro,
    "results": _results_intro,
    "learning": _learning_intro,
    "quality": _quality_intro,
    "classes": _classes_intro,
    "reconstructions": _reconstructions_intro,
    "samples": _samples_intro,
    "codes": _codes_intro,
    "plane": _plane_intro,
    "paths": _paths_intro,
    "training": _training_intro,
    "regularised": _regularised_intro,
    "evaluated": tables.on_evaluated,
    "made": _made_intro,
}

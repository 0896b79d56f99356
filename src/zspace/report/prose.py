"""The page's running text: its title, what came out in short, and what stands above each part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zspace import explore, recipes
from zspace.figures import needs
from zspace.likelihoods import SquaredError
from zspace.report import measures, words
from zspace.report.facts import Facts, errors, shape, sizes
from zspace.report.families import Family, mean
from zspace.report.words import count, each, joined, number, percent, sentence
from zspace.table import over_seeds


def title(facts: Facts) -> str:
    """'AE, VAE and CVAE on mnist5k'."""
    return f"{joined(family.label for family in facts.families)} on {facts.data.name}"


def lede(facts: Facts) -> str:
    """What was trained, on what, in two sentences."""
    data, families = facts.data, facts.families
    n = len(facts.study.runs)
    codes, flat = _codes(families), not any(family.spatial for family in families)
    seeds = {run.job.settings.seed for run in facts.study.runs}
    many = "One model was"
    if n > 1:
        kinds = f" of {words.spelled(len(families))} families" if len(families) > 1 else ""
        many = f"{words.spelled(n)} models{kinds} were"
    text = (
        f"{many} trained on {count(len(data.train), 'image')}, with "
        f"{'a code' if len(codes) == 1 else 'codes'} of {joined(codes)} "
        f"{('dimension' if codes == ['1'] else 'dimensions') if flat else 'numbers'}"
    )
    text += f" and {words.spelled(len(seeds))} seeds each" if len(seeds) > 1 else ""
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
    text = words.change(cause, f"{words.term(before.error)} on test images", old, new)
    text += f" with {count(size, f'code {after.unit}')} ({before.label} to {after.label})"
    if before.variational:  # then both minimise the same sum
        old, new = (mean(group, "test", "objective") for group in runs)
        text += "; " + words.change("it", "objective", old, new)
    return sentence(text)


def _errors(facts: Facts) -> str:
    return sentence(
        f"On test images, at the chosen code size ({sizes(facts.families)}): "
        f"{errors(facts.families)}"
    )


def _activity(facts: Facts) -> str:
    parts = []
    for family in facts.families:
        summary = explore.posterior_summary(family.run, facts.data)
        if summary.kl is not None and summary.active is not None:
            share = f"{summary.active} of {len(summary.kl)}"
            parts.append(share if len(facts.families) == 1 else f"{share} in the {family.label}")
    if not parts:
        return ""
    return sentence(f"Code dimensions in use, with more than 0.01 nats of KL: {joined(parts)}")


def _normality(facts: Facts) -> str:
    found = {
        f.label: float(explore.posterior_summary(f.run, facts.data).ks.mean())
        for f in facts.families
    }
    return sentence(
        "From 0, a perfect fit, to 1, the mean distance of a code dimension's distribution to "
        f"N(0, 1) is {each(found)}"
    )


def _samples(facts: Facts) -> str:
    far = {f.label: measures.samples_to_real(f.run, facts.data) for f in facts.families}
    real = measures.test_to_real(facts.data)
    text = (
        f"Decoded draws of N(0, I) lie at a mean squared distance of {each(far)} from the nearest "
        f"training image; test images lie at {number(real)}"
    )
    told = [f for f in facts.families if f.conditional]
    shares = {f.label: measures.as_asked(f.run, facts.data) for f in told}
    known = {label: share for label, share in shares.items() if share is not None}
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
        made.append(words.choice(family.label, scores, spread, f"{family.unit}s"))
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
        text, _, reference = recipes.about(family.run.job.recipe).partition("\n\n")
        texts = " ".join(text.split()), minimised(family), " ".join(reference.split())
        made.append((family.label, *texts))
    return made


def minimised(family: Family) -> str:
    """The terms of each player's objective and their weights at the end of training.

    Empty for a run of an old version, which did not write them down.
    """
    sums = [words.weighted(weights) for weights in family.run.record.get("objectives", [])]
    if len(sums) < 2:
        return "".join(f"Minimised: {text}." for text in sums)
    ranks = ("first", "second", "third", "fourth")
    each_sum = zip(ranks, sums, strict=False)
    told = "; ".join(f"the {rank} minimises {text}" for rank, text in each_sum)
    return sentence(f"{words.spelled(len(sums))} players: {told}")


def parts(facts: Facts) -> list[tuple[str, str]]:
    """The parts that an image goes through, with their sizes where all families agree."""
    arguments = [family.run.job.arguments for family in facts.families]
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
    seeds = sorted({run.job.settings.seed for run in facts.study.runs})
    threads = {run.record["environment"].get("threads") for run in facts.study.runs}
    text = (
        f"{'Seed' if len(seeds) == 1 else 'Seeds'} {joined(map(str, seeds))}; the split into "
        "training, validation and test images is the same in every run. Trainings took "
        f"{words.duration(sum(run.result['seconds'] for run in facts.study.runs))} in all"
    )
    known = [count(n, "CPU thread") for n in threads if n]
    return sentence(text + (f", with {joined(known)} each" if known else ""))

"""What stands above the figures of each part, and which formulas a study needs."""

from __future__ import annotations

import numpy as np

from zspace.bottlenecks import Gaussian
from zspace.quality import WINDOW
from zspace.report import evaluated
from zspace.report.facts import Facts
from zspace.report.prose import uses_squared_error
from zspace.report.tables import measures_of
from zspace.report.words import count, joined, number


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


def _data(facts: Facts) -> str:
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


def _models(facts: Facts) -> str:
    return (
        "An encoder reads an image x; a bottleneck turns what it read into a code z; a decoder "
        "turns z into the parameters of a likelihood p(x|z); a prior p(z) says where codes should "
        "lie; an objective, a weighted sum of terms, says what to minimise."
    )


def _results(facts: Facts) -> str:
    many = any(len(family.sizes) > 1 for family in facts.families)
    text = (
        "Every term is a sum over the values of an image and a mean over images: lower is better."
    )
    if measures_of(facts):
        text += " Of SSIM and PSNR, explained below, more is better."
    return text + (
        " The star marks the code size with the lowest validation objective of its family; test "
        "images had no say in it."
        if many
        else ""
    )


def _learning(facts: Facts) -> str:
    return (
        "What is minimised, and its terms, after each pass over the training images. The weights "
        "kept are those of the epoch with the best validation objective."
    )


def _quality(facts: Facts) -> str:
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


def _classes(facts: Facts) -> str:
    return "One mean hides much: the same error, class by class."


def _reconstructions(facts: Facts) -> str:
    return (
        "An image the model has never seen goes through the bottleneck; what returns is what the "
        "code could hold."
    )


def _samples(facts: Facts) -> str:
    return (
        "A generative model makes images without being given any: a draw of the prior, the "
        "decoder, and that is all."
    )


def _codes(facts: Facts) -> str:
    return (
        "A code is a place. Where a model puts unseen images, and what lies next to what, tells "
        "what it has found out about them."
    )


def _plane(facts: Facts) -> str:
    return "With two dimensions a code space can be seen whole: a grid of codes, each decoded."


def _paths(facts: Facts) -> str:
    return (
        "If nearby codes mean similar images, then going from code to code should change an image "
        "gradually and pass through images that could be real."
    )


def _training(facts: Facts) -> str:
    return "The same test images at moments of training, from the first epoch to the last."


def _regularised(facts: Facts) -> str:
    return (
        "Draws of the prior are decoded well only where codes of real images lie. So the codes of "
        "all test images, taken together, are compared with N(0, I): mean 0, variance 1 in every "
        "direction, each dimension normal."
    )


def _made(facts: Facts) -> str:
    return "All that decided these numbers."


INTROS = {
    "data": _data,
    "models": _models,
    "results": _results,
    "learning": _learning,
    "quality": _quality,
    "classes": _classes,
    "reconstructions": _reconstructions,
    "samples": _samples,
    "codes": _codes,
    "plane": _plane,
    "paths": _paths,
    "training": _training,
    "regularised": _regularised,
    "evaluated": evaluated.intro,
    "made": _made,
}

"""What is said beside figures of images, errors and curves."""

from __future__ import annotations

import numpy as np

from zspace import table
from zspace.evaluate.where import least_expected
from zspace.report import measures, words
from zspace.report.facts import Facts, errors, sizes
from zspace.report.families import Family
from zspace.report.words import count, each, joined, number, percent, sentence


def data(facts: Facts) -> str:
    """The figure data."""
    data, n = facts.data, len(facts.data.classes)
    y = data.train.labels()
    text = f"Training images drawn at random from {data.name}. "
    if y is None:
        return text + ("" if data.attributes else f"None of the {len(data.train):,} has a label.")
    counts = np.bincount(y.numpy(), minlength=n)
    low, high = int(counts.min()), int(counts.max())
    held = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return text + (
        f"The {count(n, 'class', 'classes')} have {held} training images each. What the images of "
        "one class have in common, and how they differ, is what a code must tell."
        if n > 1
        else f"All {len(data.train):,} belong to one class."
    )


def data_tsne(facts: Facts) -> str:
    """The figure data-tsne."""
    text = (
        "Each point is a raw image. t-SNE keeps neighbours together; the size of a cluster and "
        "the distance between two say nothing. "
    )
    same = measures.pixels_alike(facts.data)
    if same is None:
        return text + "No label went into the map, and there is none to colour it by."
    return text + (
        f"Colour shows the label, which t-SNE did not see. Among the pixels themselves, "
        f"{percent(same)} of images have a nearest neighbour of their own class, where chance "
        f"would give {percent(measures.chance(facts.data))}."
    )


def curves(facts: Facts) -> str:
    """The figure curves."""
    text = (
        "Solid: validation, thin dashed: training, a shade a code size. A training value is the "
        "mean over an epoch while weights still move, a validation value is measured after it. "
    )
    gaps = []
    for f in facts.families:
        made = words.gap(
            f.mean("train", "objective"), f.mean("validation", "objective"), "validation"
        )
        gaps.append(made if len(facts.families) == 1 else f"{f.label} {made}")
    return text + sentence(
        f"The objective of the finished models at the chosen size: {'; '.join(gaps)}"
    )


def quality(facts: Facts) -> str:
    """The figure quality."""
    text = (
        "Solid: validation images, thin dashed: training images, at most 1,000 of each and the "
        "same after every epoch; each is encoded to its mean code and decoded. "
    )
    found = {f.label: table.measures(f.sizes[f.chosen]) for f in facts.families}
    parts = []
    for name, title in table.MEASURES.items():
        known = {label: cells[name].mean for label, cells in found.items() if name in cells}
        if known:
            only = next(iter(known)) if len(known) == 1 < len(found) else ""
            parts.append(f"{title} {each(known)}" + (f" for the {only}" if only else ""))
    return (
        text.strip() if not parts else text + sentence(f"On all test images: {'; '.join(parts)}")
    )


def error_per_class(facts: Facts) -> str:
    """The figure error-per-class."""
    parts, follows = [], {}
    variety = measures.variety(facts.data)
    for f in facts.families:
        known = measures.class_errors(f.run, f.error, facts.data)
        told = words.extremes(known)
        parts.append(told if len(facts.families) == 1 else f"{f.label}: {told}")
        if len(known) > 3:
            follows[f.label] = measures.rank_correlation(known, variety)
    what = joined(dict.fromkeys(words.term(f.error) for f in facts.families))
    text = f"Reconstruction error ({what}) of test images, a mean for each class. "
    text += sentence(f"At the chosen size: {'; '.join(parts)}")
    if not follows:
        return text
    return (
        text
        + " "
        + sentence(
            "Over classes, the error and the distance of images to the mean of their class have a "
            f"rank correlation of {each(follows)}"
        )
    )


def reconstructions(facts: Facts) -> str:
    """The figure reconstructions."""
    made = f"What each model makes of them at its chosen code size ({sizes(facts.families)}): the "
    if len(facts.families) == 1:
        made = f"What the model makes of them with {sizes(facts.families)}: the "
    text = (
        "The first row shows test images, which were neither trained on nor used to choose a "
        f"model. {made}image is encoded to its mean code and decoded. "
    )
    drawn = any(f.variational for f in facts.families)
    how = ", where a code with a distribution is drawn from it" if drawn else ""
    return text + sentence(f"Over all test images{how}: {errors(facts.families)}")


def surprises(facts: Facts) -> str:
    """The figure surprises."""
    times = {}
    for f in facts.families:
        found = least_expected(f.run, facts.data)
        times[f.label] = float(found.error[0]) / found.usual
    images = count(len(found.x), "test image")
    text = (
        f"The {images} with the highest squared error, what comes back of each, and the distance "
        "to it pixel by pixel: where the model did not expect what it saw. "
    )
    return text + sentence(f"The highest error is, in multiples of the mean, {each(times)}")


def reconstructions_by_size(facts: Facts) -> str:
    """The figure reconstructions-by-size."""
    parts = []
    for f in facts.families:
        values = f.by_size("test", f.error)
        if len(values) > 1:
            whose = "the" if len(facts.families) == 1 else f"the {f.label}'s"
            parts.append(words.course(f"{whose} {words.term(f.error)}", values, f"{f.unit}s"))
    text = (
        "The same test images, a row a code size, with the mean error of all test images beside "
        "it. "
    )
    return text + sentence("; ".join(parts) or errors(facts.families))


def samples(facts: Facts) -> str:
    """The figure samples."""
    far = {f.label: measures.samples_to_real(f.run, facts.data) for f in facts.families}
    real = measures.test_to_real(facts.data)
    text = "No image went in: a code is drawn from N(0, I) and decoded. " + sentence(
        f"The mean squared distance of {measures.MADE} samples to the nearest training image is "
        f"{each(far)}, that of real test images {number(real)}: {words.further(far, real)}"
    )
    if any(f.conditional for f in facts.families):
        what = "a class" if facts.data.classes else "one attribute"
        text += (
            f" A conditional model is asked for {what}, a row each, with the same draw down a "
            "column."
        )
    return text + "".join(f" {_asked(f, facts)}" for f in facts.families if f.conditional)


def _asked(family: Family, facts: Facts) -> str:
    share, judge = measures.as_asked(family.run, facts.data), measures.judge(facts.data)
    if share is None or judge is None:
        return ""
    return (
        f"A classifier of real images, right on {percent(judge.right)} of test images, reads "
        f"{percent(share)} of the {family.label}'s samples as the class asked for."
    )


def interpolation(facts: Facts) -> str:
    """The figure interpolation."""
    far = {f.label: measures.middle_to_real(f.run, facts.data) for f in facts.families}
    real = measures.test_to_real(facts.data)
    return (
        "From one test image's code to another's, in a straight line and on an arc along "
        "which the distance from 0 changes evenly. "
        + sentence(
            f"Half-way on the straight line between {measures.MADE} random pairs, what is decoded "
            f"lies at a mean squared distance of {each(far)} from the nearest training image "
            f"(test images: {number(real)})"
        )
    )

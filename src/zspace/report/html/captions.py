"""What is said beside figures of images, errors and curves.

What is said beside figures of codes and of code spaces.

What is said beside each figure: what it shows, how to read it, and this study's numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zspace.analysis import latents, planes, projections, reconstruction
from zspace.analysis.generation import COMPARED, as_asked, half_way_novelty, prior_novelty
from zspace.analysis.numbers import count, number, percent
from zspace.analysis.reconstruction import least_expected
from zspace.analysis.representation import chance_alike, codes_alike, pixels_alike
from zspace.report.facts import (
    Facts,
    Family,
    activity,
    course,
    each,
    errors,
    extremes,
    further,
    gap,
    half_way,
    joined,
    normality,
    round_trip,
    sentence,
    sizes,
    term,
)
from zspace.report.figures import needs
from zspace.runs import many
from zspace.runs.measured import measures_of, read


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
    same = pixels_alike(facts.data)
    if same is None:
        return text + "No label went into the map, and there is none to colour it by."
    return text + (
        f"Colour shows the label, which t-SNE did not see. Among the pixels themselves, "
        f"{percent(same)} of images have a nearest neighbour of their own class, where chance "
        f"would give {percent(chance_alike(facts.data))}."
    )


def curves(facts: Facts) -> str:
    """The figure curves."""
    text = (
        "Solid: validation, thin dashed: training, a shade a code size. A training value is the "
        "mean over an epoch while weights still move, a validation value is measured after it. "
    )
    gaps = []
    for f in facts.families:
        made = gap(f.mean("train", "objective"), f.mean("validation", "objective"), "validation")
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
    found = {f.label: many.quality_cells(f.sizes[f.chosen]) for f in facts.families}
    parts = []
    for name, title in many.QUALITY_TITLES.items():
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
    variety = reconstruction.variety(facts.data)
    for f in facts.families:
        known = reconstruction.class_errors(f.run, f.error, facts.data)
        told = extremes(known)
        parts.append(told if len(facts.families) == 1 else f"{f.label}: {told}")
        if len(known) > 3:
            follows[f.label] = reconstruction.rank_correlation(known, variety)
    what = joined(dict.fromkeys(term(f.error) for f in facts.families))
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
            parts.append(course(f"{whose} {term(f.error)}", values, f"{f.unit}s"))
    text = (
        "The same test images, a row a code size, with the mean error of all test images beside "
        "it. "
    )
    return text + sentence("; ".join(parts) or errors(facts.families))


def samples(facts: Facts) -> str:
    """The figure samples."""
    far = {f.label: prior_novelty(f.run, facts.data) for f in facts.families}
    n = count(min(COMPARED, len(facts.data.test)), "sample")
    text = "No image went in: a code is drawn from N(0, I) and decoded. " + sentence(
        f"The median distance of {n} to the nearest training image, in multiples of that of real "
        f"test images, is {each(far)}: {further(far, 1.0)}"
    )
    if any(f.conditional for f in facts.families):
        what = "a class" if facts.data.classes else "one attribute"
        text += (
            f" A conditional model is asked for {what}, a row each, with the same draw down a "
            "column."
        )
    return text + "".join(f" {_asked(f, facts)}" for f in facts.families if f.conditional)


def _asked(family: Family, facts: Facts) -> str:
    found = as_asked(family.run, facts.data)
    if not found:
        return ""
    right, share = (found[name].value for name in ("judge_accuracy", "conditional_accuracy"))
    return (
        f"A classifier of real images, right on {percent(right)} of test images, reads "
        f"{percent(share)} of the {family.label}'s samples as the class asked for."
    )


def interpolation(facts: Facts) -> str:
    """The figure interpolation."""
    far = {f.label: half_way_novelty(f.run, facts.data) for f in facts.families}
    pairs = count(min(COMPARED, len(facts.data.test)), "random pair")
    return (
        "From one test image's code to another's, in a straight line and on an arc along "
        "which the distance from 0 changes evenly. "
        + sentence(
            f"Half-way on the straight line between the codes of {pairs}, the median distance of "
            "what is decoded to the nearest training image, in multiples of that of test images, "
            f"is {each(far)}"
        )
    )


def codes_pca(facts: Facts) -> str:
    """The figure codes-pca."""
    text = (
        "Codes of test images, coloured by label. The circle holds 86% of N(0, I). "
        if facts.data.classes
        else "Codes of test images. The circle holds 86% of N(0, I). "
    )
    shares = {}
    for f in facts.families:
        z = latents.codes(f.run, facts.data).z
        if z.shape[1] > 2:
            shares[f.label] = float(projections.principal(z, 2).share.sum())
    if not shares:
        return text + "The code has no more dimensions than are drawn: nothing is hidden."
    return text + sentence(
        "The two principal components that are drawn hold this share of the codes' variance: "
        f"{each(shares, 'percent')}; the rest is not to be seen here"
    )


def codes_kde(facts: Facts) -> str:
    """The figure codes-kde."""
    spread = {}
    for f in facts.families:
        z = latents.draws(f.run, facts.data).z
        spread[f.label] = float((z @ projections.principal(z, 1).directions[0]).std())
    return (
        "Density of the codes along the direction in which they vary most; the grey hill is "
        "N(0, 1), which draws of the prior follow in every direction. "
        + sentence(f"The codes' standard deviation along it is {each(spread)}, the prior's is 1")
    )


def codes_tsne(facts: Facts) -> str:
    """The figure codes-tsne."""
    same = {f.label: codes_alike(f.run, facts.data) for f in facts.families}
    known = {label: share for label, share in same.items() if share is not None}
    text = "All dimensions of the code as t-SNE maps them: neighbours stay together. "
    if not known:
        return text + "There is no label to colour it by."
    text += sentence(
        "The share of test codes whose nearest neighbour, in all dimensions, is of their own "
        f"class: {each(known, 'percent')}; by chance it would be "
        f"{percent(chance_alike(facts.data))}"
    )
    if any(f.conditional for f in facts.families):
        text += (
            " A conditional model is told the label apart from the code, and need not keep it in "
            "there."
        )
    return text


def plane(facts: Facts) -> str:
    """The figure plane."""
    run = needs.with_two(facts.study, conditional=False, variational=True)
    assert run is not None
    z = latents.codes(run, facts.data).z
    return (
        "Every point of a two-dimensional code space, decoded. On the left the points lie at "
        "quantiles of N(0, 1) (its inverse distribution function at even steps), so each image "
        "stands for the same share of the prior; on the right they are evenly spaced. "
        + sentence(
            f"{percent(planes.in_plane(z, 3.0))} of the codes of test images lie within the "
            "square that is decoded on the right"
        )
    )


def plane_by_label(facts: Facts) -> str:
    """The figure plane-by-label."""
    run = needs.with_two(facts.study, conditional=True, variational=True)
    assert run is not None
    same = codes_alike(run, facts.data)
    text = (
        "The same codes decoded once for each label: the label says what, the code is left to "
        "say how. "
    )
    return (
        text
        if same is None
        else text
        + sentence(
            f"A code's nearest neighbour is of its own class in {percent(same)} of cases; by "
            f"chance it would be in {percent(chance_alike(facts.data))}"
        )
    )


def plane_labels(facts: Facts) -> str:
    """The figure plane-labels."""
    return (
        "The same plane, label after label. Look at one place: the style stays while the class "
        f"goes through all {len(facts.data.classes)}."
    )


def holes(facts: Facts) -> str:
    """The figure holes."""
    run = needs.with_two(facts.study, conditional=False, variational=False)
    assert run is not None
    dense, sparse = planes.windows_return(run, facts.data)
    a, b = projections.windows(latents.codes(run, facts.data).z)
    return (
        "Nothing tells a plain autoencoder where to put its codes, and nothing trains the decoder "
        f"between them. Window A holds {count(a.count, 'code')} of test images, window B "
        f"{b.count}. " + round_trip(dense, sparse)
    )


def tweak(facts: Facts) -> str:
    """The figure tweak."""
    parts = []
    for f in facts.families:
        whose = "" if len(facts.families) == 1 else f" in the {f.label}"
        if f.spatial:
            share = projections.principal(latents.codes(f.run, facts.data).z, 2).share.sum()
            parts.append(f"the two principal ones{whose} ({percent(share)} of the variance)")
            continue
        kl = latents.posterior_summary(f.run, facts.data).kl
        what = "largest variance" if kl is None else "largest KL"
        moved = joined(planes.tweak(f.run, facts.data).names)
        parts.append(f"{moved}{whose} ({what} of {count(f.chosen, 'dimension')})")
    return (
        "One test image, framed, is encoded; then its code is moved along the most telling "
        "directions by up to 2 standard deviations either way, and decoded. "
        + sentence(f"Here they are {joined(parts)}")
    )


def training(facts: Facts) -> str:
    """The figure training."""
    parts = []
    for f in facts.families:
        values = {line["number"]: line["validation"]["objective"] for line in f.run.metrics}
        half = half_way(values)
        if half is None:
            continue
        first = next(iter(values.values()))
        whose = "the" if len(facts.families) == 1 else f"the {f.label}'s"
        parts.append(
            f"{whose} validation objective fell from {number(first)} after the first epoch to "
            f"{number(min(values.values()))}, half of the way by epoch {half[0]} of {len(values)}"
        )
    text = (
        "Codes of the same test images, and reconstructions of some of them, as training goes on; "
        "moments lie close together at the start, where most happens. "
    )
    return text + (sentence("; ".join(parts)) if parts else "")


def posterior(facts: Facts) -> str:
    """The figure posterior."""
    found = {f.label: latents.posterior_summary(f.run, facts.data) for f in facts.families}
    distances = {label: float(summary.ks.mean()) for label, summary in found.items()}
    critical = next(iter(found.values())).critical
    parts = []
    for label, summary in found.items():
        if summary.kl is not None and summary.active is not None:
            told = activity(summary.active, len(summary.kl), float(summary.kl.sum()))
            parts.append(told if len(found) == 1 else f"{label}: {told}")
    text = (
        "The codes of all test images together, against the prior N(0, I): variances along the "
        "principal directions, distances of the dimensions' distributions to N(0, 1)"
    )
    text += ", and the KL that each dimension costs. " if parts else ". "
    text += normality(distances, critical)
    return text + (f" {sentence('; '.join(parts))}" if parts else "")


def few_labels(facts: Facts) -> str:
    """The figure few-labels."""
    parts = []
    for f in facts.families:
        record = read(f.run)
        found = measures_of(record).get("representation", {}) if record else {}
        if "probe_100" in found:
            codes, plain = found["probe_100"].value, found["probe_100_pixels"].value
            whose = "" if len(facts.families) == 1 else f"{f.label}: "
            parts.append(f"{whose}{percent(codes)} from codes, {percent(plain)} from pixels")
    text = (
        "The share of test images that a linear classifier labels rightly, by how many labels it "
        "was given: what little supervision can read from a code that was learned without. "
    )
    return text + (sentence(f"With 100 labels {'; '.join(parts)}") if parts else "")


CAPTIONS: dict[str, Callable[[Facts], str]] = {
    "data": data,
    "data-tsne": data_tsne,
    "curves": curves,
    "quality": quality,
    "error-per-class": error_per_class,
    "reconstructions": reconstructions,
    "reconstructions-by-size": reconstructions_by_size,
    "surprises": surprises,
    "samples": samples,
    "codes-pca": codes_pca,
    "codes-kde": codes_kde,
    "codes-tsne": codes_tsne,
    "plane": plane,
    "plane-by-label": plane_by_label,
    "plane-labels": plane_labels,
    "holes": holes,
    "interpolation": interpolation,
    "tweak": tweak,
    "training": training,
    "posterior": posterior,
    "few-labels": few_labels,
}
"""By the name of the figure."""

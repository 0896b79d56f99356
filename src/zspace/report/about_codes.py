"""What is said beside figures of codes and of code spaces."""

from __future__ import annotations

from zspace import explore
from zspace.evaluate.evaluation import measures_of, read
from zspace.figures import needs
from zspace.report import measures, words
from zspace.report.facts import Facts
from zspace.report.words import count, each, joined, number, percent, sentence


def codes_pca(facts: Facts) -> str:
    """The figure codes-pca."""
    text = (
        "Codes of test images, coloured by label. The circle holds 86% of N(0, I). "
        if facts.data.classes
        else "Codes of test images. The circle holds 86% of N(0, I). "
    )
    shares = {}
    for f in facts.families:
        z = explore.codes(f.run, facts.data).z
        if z.shape[1] > 2:
            shares[f.label] = float(explore.principal(z, 2).share.sum())
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
        z = explore.draws(f.run, facts.data).z
        spread[f.label] = float((z @ explore.principal(z, 1).directions[0]).std())
    return (
        "Density of the codes along the direction in which they vary most; the grey hill is "
        "N(0, 1), which draws of the prior follow in every direction. "
        + sentence(f"The codes' standard deviation along it is {each(spread)}, the prior's is 1")
    )


def codes_tsne(facts: Facts) -> str:
    """The figure codes-tsne."""
    same = {f.label: measures.codes_alike(f.run, facts.data) for f in facts.families}
    known = {label: share for label, share in same.items() if share is not None}
    text = "All dimensions of the code as t-SNE maps them: neighbours stay together. "
    if not known:
        return text + "There is no label to colour it by."
    text += sentence(
        "The share of test codes whose nearest neighbour, in all dimensions, is of their own "
        f"class: {each(known, 'percent')}; by chance it would be "
        f"{percent(measures.chance(facts.data))}"
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
    z = explore.codes(run, facts.data).z
    return (
        "Every point of a two-dimensional code space, decoded. On the left the points lie at "
        "quantiles of N(0, 1) (its inverse distribution function at even steps), so each image "
        "stands for the same share of the prior; on the right they are evenly spaced. "
        + sentence(
            f"{percent(measures.in_plane(z, 3.0))} of the codes of test images lie within the "
            "square that is decoded on the right"
        )
    )


def plane_by_label(facts: Facts) -> str:
    """The figure plane-by-label."""
    run = needs.with_two(facts.study, conditional=True, variational=True)
    assert run is not None
    same = measures.codes_alike(run, facts.data)
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
            f"chance it would be in {percent(measures.chance(facts.data))}"
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
    dense, sparse = measures.windows_return(run, facts.data)
    a, b = explore.windows(explore.codes(run, facts.data).z)
    return (
        "Nothing tells a plain autoencoder where to put its codes, and nothing trains the decoder "
        f"between them. Window A holds {count(a.count, 'code')} of test images, window B "
        f"{b.count}. " + words.round_trip(dense, sparse)
    )


def tweak(facts: Facts) -> str:
    """The figure tweak."""
    parts = []
    for f in facts.families:
        whose = "" if len(facts.families) == 1 else f" in the {f.label}"
        if f.spatial:
            share = explore.principal(explore.codes(f.run, facts.data).z, 2).share.sum()
            parts.append(f"the two principal ones{whose} ({percent(share)} of the variance)")
            continue
        kl = explore.posterior_summary(f.run, facts.data).kl
        what = "largest variance" if kl is None else "largest KL"
        moved = joined(explore.tweak(f.run, facts.data).names)
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
        half = words.half_way(values)
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
    found = {f.label: explore.posterior_summary(f.run, facts.data) for f in facts.families}
    distances = {label: float(summary.ks.mean()) for label, summary in found.items()}
    critical = next(iter(found.values())).critical
    parts = []
    for label, summary in found.items():
        if summary.kl is not None and summary.active is not None:
            told = words.activity(summary.active, len(summary.kl), float(summary.kl.sum()))
            parts.append(told if len(found) == 1 else f"{label}: {told}")
    text = (
        "The codes of all test images together, against the prior N(0, I): variances along the "
        "principal directions, distances of the dimensions' distributions to N(0, 1)"
    )
    text += ", and the KL that each dimension costs. " if parts else ". "
    text += words.normality(distances, critical)
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
            parts.append(
                f"{whose}{words.percent(codes)} from codes, {words.percent(plain)} from pixels"
            )
    text = (
        "The share of test images that a linear classifier labels rightly, by how many labels it "
        "was given: what little supervision can read from a code that was learned without. "
    )
    return text + (sentence(f"With 100 labels {'; '.join(parts)}") if parts else "")

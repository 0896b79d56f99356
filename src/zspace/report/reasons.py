"""The answers of the page: what is measured under each question, and the reason where it holds."""

from __future__ import annotations

import math

import numpy as np

from zspace.analysis import copying, latents, planes, reconstruction
from zspace.analysis.generation import as_asked, prior_novelty, read_as
from zspace.analysis.numbers import number, percent
from zspace.analysis.representation import chance_alike, codes_alike
from zspace.data.kinds.image import WINDOW
from zspace.report import facts
from zspace.report.answers import ALWAYS, Found, answer
from zspace.report.answers import given as given
from zspace.report.facts import (
    Contrast,
    Family,
    Numbers,
    change,
    changed,
    contrast,
    each,
    families,
    joined,
    only,
    titles,
)
from zspace.report.figures import needs
from zspace.runs.many import QUALITY, Study, test_quality
from zspace.runs.run import Run

# Data


@answer("models")
def parts(study: Study) -> Found:
    """An encoder reads an image x. A bottleneck turns what it read into a code z. A decoder
    turns z into the parameters of a likelihood p(x|z). A prior p(z) says where codes should
    lie. An objective, a weighted sum of terms, says what to minimise."""
    return ALWAYS


# Can it copy?


@answer("copy")
def copies(study: Study) -> Found:
    """An image that the model has never seen is encoded and decoded. What comes back is what
    the code could hold."""
    return ALWAYS


@answer("copy", ("image",))
def identity(study: Study) -> Found:
    """Is the network merely the identity? No, because the identity would copy the same pixels
    in another order just as well. A code has fewer numbers than an image, and this one has
    room only for what training images have in common."""
    found = {f.title: copying.shuffled_errors(f.run, study.data) for f in families(study)}
    smaller = all(math.prod(f.run.model.latent) < _size(study) for f in families(study))
    numbers: Numbers = {
        f"Numbers in a code, of {_size(study):,} in an image": {
            f.title: f"{math.prod(f.run.model.latent):,}" for f in families(study)
        },
        "Squared error of test images": {t: number(own) for t, (own, _) in found.items()},
        "The same with their pixels shuffled": {t: number(far) for t, (_, far) in found.items()},
    }
    no_copy = smaller and all(far > 3 * own for own, far in found.values())
    return numbers, {} if no_copy else None


def _size(study: Study) -> int:
    return math.prod(study.data.spec.shape)


@answer("copy", ("image",))
def linear(study: Study) -> Found:
    """{which} beats principal components of the same size, because components can only tilt a
    flat plane until it fits: networks bend theirs along the data."""
    plane = {
        f.title: copying.linear_error(study.data, math.prod(f.run.model.latent))
        for f in families(study)
    }
    known = {title: value for title, value in plane.items() if value is not None}
    own = {f.title: facts.mean_code_error(f) for f in families(study)}
    won = [f for f in families(study) if (own[f.title] or math.inf) < 0.97 * known.get(f.title, 0)]
    numbers: Numbers = {
        "Squared error of always answering the mean image": number(
            copying.constant_error(study.data)
        ),
        "Of as many principal components as the code has numbers": {
            title: number(value) for title, value in known.items()
        },
        "Of the model, mean code": each(families(study), lambda f: own[f.title]),
    }
    which = titles(won)
    return numbers, {"which": which[:1].upper() + which[1:]} if len(won) == 1 else (
        {"which": f"Each of {which}"} if won else None
    )


# Can it invent?


@answer("invent")
def invents(study: Study) -> Found:
    """A generative model makes images without being given any: it decodes a draw of the
    prior."""
    return ALWAYS


def nearer(study: Study) -> list[Family]:
    """The families whose samples lie nearer to training images than test images do."""
    if not study.data.spec.has_distances:
        return []
    return only(study, lambda f: prior_novelty(f.run, study.data) < 1)


@answer("invent")
def smoother(study: Study) -> Found:
    """Samples of {which} lie nearer to training images than test images do. This does not make
    them better than real images: a decoded image is the mean of p(x|z), and a mean is smoother
    than the images that it stands for and lies nearer to each of them than they lie to each
    other."""
    near = nearer(study)
    return ({}, {"which": joined(f.title for f in near)}) if near else None


@answer("invent", ("image",))
def fuzzy(study: Study) -> Found:
    """Samples of {which} are fuzzier than real images, because each is the mean of p(x|z):
    where a code leaves open exactly where an edge lies, the mean over all the places it might
    take is grey."""
    sharp = {f.title: copying.sample_contrast(f.run, study.data) for f in families(study)}
    if any(value != value for value in sharp.values()):  # flat images
        return None
    soft = only(study, lambda f: sharp[f.title] < 0.95)
    numbers: Numbers = {
        "Contrast between neighbouring pixels of samples, where that of test images is 1": each(
            families(study), lambda f: sharp[f.title]
        )
    }
    return numbers, {"which": titles(soft)} if soft else None


@answer("invent", ("image",))
def obeyed(study: Study) -> Found:
    """A label is obeyed, because in training the decoder always got the true one: to look at
    it is the cheapest way to know the class, and the code need not repeat it."""
    told = only(study, lambda f: f.traits.conditional)
    found = {f.title: as_asked(f.run, study.data) for f in told}
    right = [one["conditional_accuracy"].value for one in found.values() if one]
    return ({}, {}) if right and min(right) > 0.9 else None


# Why, or why not?


def _compared(study: Study) -> list[Family]:
    enough = needs.test_images(study) is None
    return only(study, lambda f: f.compared and enough)


@answer("why")
def filled(study: Study) -> Found:
    """Draws of the prior are decoded well only where codes of real images lie. So the codes of
    all test images, taken together, are compared with N(0, I): mean 0, variance 1 in every
    direction, each dimension normal."""
    return ALWAYS if _compared(study) else None


@answer("why")
def hole(study: Study) -> Found:
    """There is a hole, because {which} minimises a reconstruction error alone. The decoder could
    undo any shift or stretch of the codes, so the error does not say where they should lie: draws
    of N(0, I) fall where hardly an image was encoded, and the decoder was never trained there."""
    shown = _compared(study)
    mixed = {f.title: latents.prior_mixing(f.run, study.data) for f in shown}
    numbers: Numbers = {
        "Draws of N(0, I) whose nearest neighbour is a code, not another draw (alike: 50%)": {
            title: percent(value) for title, value in mixed.items()
        }
    }
    free = [f for f in shown if not f.traits.placed]
    holes = free and all(_beyond(mixed[f.title]) > 1 / 2 for f in free)
    return numbers, {"which": titles(free)} if holes else None


def _beyond(mixed: float) -> float:
    """The share of draws beyond the codes, whose nearest neighbours are draws; those of all others
    are codes as often as draws. Most draws make a hole, and fewer than a quarter none."""
    return 1 - 2 * mixed


@answer("why")
def no_hole(study: Study) -> Found:
    """There is next to no hole in the codes of {which}, because a term that is minimised draws
    them towards N(0, I): its draws and the codes lie among each other."""
    shown = [f for f in _compared(study) if f.traits.placed]
    near = [f for f in shown if _beyond(latents.prior_mixing(f.run, study.data)) < 1 / 4]
    return ({}, {"which": titles(near)}) if near else None


# What does the KL term buy, and what does it cost?


def _has_kl(study: Study) -> bool:
    weighed = only(study, lambda f: f.traits.variational and f.kl_weight > 0)
    return bool(weighed)


@answer("kl")
def pulled(study: Study) -> Found:
    """Each image has a little Gaussian q(z|x) of its own. The KL term is what it costs, in
    nats, to make it differ from the prior; the reconstruction error is what it costs not
    to."""
    return ALWAYS if _has_kl(study) else None


@answer("kl")
def costs(study: Study) -> Found:
    """It costs error, because the decoder must be right for a whole cloud of codes in place of
    one, and because the KL pulls the clouds of different images together."""
    pair = contrast(study, "kl")
    if pair is None:
        return None
    error = pair.before.run.error
    numbers, worse = dict[str, str](), True
    old, new = (f.mean("test", error, pair.size) for f in (pair.before, pair.after))
    if old is not None and new is not None:
        named = pair.before.fact(error).title
        numbers[changed(pair, f"{named}, mean code → drawn code")] = change(old, new)
        worse = new > old
    old, new = (facts.mean_code_error(f, pair.size) for f in (pair.before, pair.after))
    if old is not None and new is not None:
        numbers[changed(pair, QUALITY["mse_mean_code"].named(True))] = change(old, new)
        worse = worse and new > old
    return (numbers, {} if worse else None) if numbers else None


@answer("kl")
def buys(study: Study) -> Found:
    """It buys samples, because it draws the codes of all images into N(0, I) until they fill
    it: a draw of N(0, I) then falls among codes that the decoder knows."""
    pair = contrast(study, "kl")
    if pair is None or not (pair.before.compared and pair.after.compared):
        return None
    if needs.test_images(study) is not None:
        return None
    runs = [f.sizes[pair.size][0] for f in (pair.before, pair.after)]
    ks = [float(latents.posterior_summary(run, study.data).ks.mean()) for run in runs]
    mixed = [latents.prior_mixing(run, study.data) for run in runs]
    what = "draws of N(0, I) whose nearest neighbour is a code, not another draw (alike: 50%)"
    numbers = {
        changed(pair, "distance of a code dimension to N(0, 1)"): change(*ks),
        changed(pair, what): f"{percent(mixed[0])} → {percent(mixed[1])}",
    }
    return numbers, {} if ks[1] < 0.8 * ks[0] and mixed[1] > mixed[0] + 0.1 else None


# What does the label take over?


KS_MEAN, KS_SPREAD = 0.8687, 0.2603
"""Of sqrt(n) times the Kolmogorov-Smirnov distance of n true draws: mean, standard deviation."""


def _label_runs(study: Study) -> tuple[Contrast, list[Run]] | None:
    pair = contrast(study, "label")
    return None if pair is None else (
        pair, [f.sizes[pair.size][0] for f in (pair.before, pair.after)]
    )  # fmt: skip


@answer("label")
def told(study: Study) -> Found:
    """Encoder and decoder are given the label beside x and z. What the label says need not be
    in the code."""
    conditional = only(study, lambda f: f.traits.conditional)
    return ALWAYS if conditional else None


@answer("label")
def cheaper(study: Study) -> Found:
    """The objective falls, because what the decoder is told by the label costs no nats of the
    code."""
    pair = contrast(study, "label")
    if pair is None:
        return None
    names = [pair.before.run.error, *pair.before.run.objective.of_role("divergence")]
    numbers, fell = dict[str, str](), False
    for name in dict.fromkeys([*names[:2], "objective"]):
        old, new = (f.mean("test", name, pair.size) for f in (pair.before, pair.after))
        if old is not None and new is not None:
            numbers[changed(pair, pair.before.named(name))] = change(old, new)
            fell = new < old
    return (numbers, {} if fell else None) if numbers else None


@answer("label")
def taken_over(study: Study) -> Found:
    """The label takes over the class, because the code need not say again what the decoder has
    been told. What is left to the code is the style: how an image of that class looks."""
    found = _label_runs(study)
    if found is None or needs.test_images(study) is not None:
        return None
    pair, runs = found
    alike = [codes_alike(run, study.data) for run in runs]
    if alike[0] is None or alike[1] is None:
        return None
    numbers = {
        changed(pair, "codes whose nearest neighbour has their label"): (
            f"{percent(alike[0])} → {percent(alike[1])}"
        ),
        "By chance": percent(chance_alike(study.data)),
    }
    return numbers, {} if alike[1] < 0.7 * alike[0] else None


@answer("label")
def more_normal(study: Study) -> Found:
    """Its codes look more normal, because classes are islands and style is not: without a
    label the code must keep the classes apart, several hills with valleys between them; with
    it the codes of every class may share one hill."""
    pair = contrast(study, "label")
    if pair is None or needs.test_images(study) is not None:
        return None
    if not (pair.before.compared and pair.after.compared):
        return None
    numbers, clear = dict[str, str](), list[bool]()
    for size in sorted(pair.before.sizes.keys() & pair.after.sizes.keys()):
        runs = [f.sizes[size][0] for f in (pair.before, pair.after)]
        one, other = (latents.posterior_summary(run, study.data) for run in runs)
        at = Contrast(pair.before, pair.after, size)
        what = changed(at, "distance of a code dimension to N(0, 1)")
        old, new = float(one.ks.mean()), float(other.ks.mean())
        numbers[what] = change(old, new)
        chance = KS_SPREAD * math.sqrt(2 / (one.n * len(one.ks)))
        clear += [old > new] if abs(old - new) > 2 * chance else []
    n = min(len(study.data.test), latents.MOST)
    numbers["Of as many true draws of N(0, I)"] = number(KS_MEAN / math.sqrt(n))
    return numbers, {} if clear and all(clear) else None


@answer("label", ("image",))
def kept_class(study: Study) -> Found:
    """{name} turned into {others}, because without a label the class is a place in the code,
    and whoever moves far enough leaves it. With the label held fixed, {after} keeps the class
    and changes the style alone."""
    pair = contrast(study, "label")
    if pair is None or needs.test_images(study) is not None:
        return None
    runs = [f.sizes[pair.size][0] for f in (pair.before, pair.after)]
    shown: list[tuple[np.ndarray, str]] = []
    at = planes.ends(study.data)[1:]
    y = study.data.test.labels(at)
    if y is None or y[0] < 0:
        return None
    own = int(y[0])
    for run in runs:
        x = planes.tweak(run, study.data).x
        read = read_as(run, study.data, x.reshape(-1, *x.shape[2:]))
        if read is None:
            return None
        others = [study.data.classes[k] for k in np.unique(read[read != own])]
        shown.append((read == own, joined(others)))
    name = study.data.classes[own]
    (before, into), (after, _) = shown
    numbers: Numbers = {
        f"One image of {name} with its code varied: read by a classifier as {name}": {
            f.title: percent(float(share.mean()))
            for f, share in ((pair.before, before), (pair.after, after))
        }
    }
    turned = before.mean() < 0.95 and after.mean() > 0.95
    slots = {"name": name, "others": into, "after": f"the {pair.after.title}"}
    return numbers, slots if turned else None


# How large a code?


@answer("size")
def sized(study: Study) -> Found:
    """Each family was trained with several code sizes, and did best on validation images with
    one of them; test images play no part in the choice."""
    return ALWAYS if needs.several_sizes(study) is None else None


@answer("size")
def free_codes(study: Study) -> Found:
    """A larger code lowers the error of {which}, because nothing that it minimises charges for
    what a code says."""
    free = only(study, lambda f: not f.traits.placed and len(f.sizes) > 1)
    numbers, falling = dict[str, dict[str, str]](), list[Family]()
    for family in free:
        errors = {size: family.mean("test", family.run.error, size) for size in family.sizes}
        known = {size: value for size, value in errors.items() if value is not None}
        if len(known) > 1:
            what = f"{family.title}: {family.named(family.run.error)}, by code size"
            numbers[what] = {str(size): number(value) for size, value in known.items()}
            ordered = [known[size] for size in sorted(known)]
            falling += [family] if ordered == sorted(ordered, reverse=True) else []
    return (numbers, {"which": titles(falling)} if falling else None) if numbers else None


@answer("size")
def unused(study: Study) -> Found:
    """A still larger code would not help {which}, because a dimension that saves less error
    than its KL costs is better left unused: its q(z|x) becomes N(0, 1) for every image, and
    the decoder learns to ignore it."""
    if needs.test_images(study) is not None:
        return None
    numbers, idle = dict[str, dict[str, str]](), list[Family]()
    for family in only(study, lambda f: f.compared and f.traits.variational and len(f.sizes) > 1):
        used = {
            size: latents.posterior_summary(runs[0], study.data)
            for size, runs in family.sizes.items()
        }
        known = {size: one for size, one in used.items() if one.active is not None}
        if known:
            what = f"{family.title}: dimensions in use, by code size"
            numbers[what] = {str(size): str(one.active) for size, one in known.items()}
            last = known[max(known)]
            idle += [family] if (last.active or 0) < len(last.mean) else []
    return (numbers, {"which": titles(idle)} if idle else None) if numbers else None


# Which are hard, and why?


@answer("hard")
def uneven(study: Study) -> Found:
    """One mean hides much. Here is the same error class by class, and for the images that were
    expected least."""
    return ALWAYS


@answer("hard", ("image",))
def loops(study: Study) -> Found:
    """Straight strokes are easy and loops are hard, because a loop has more edge, and an edge
    that is a pixel off is the dearest mistake there is: between images with as much edge,
    less than half of the difference is left."""
    looped, shown = copying.looped(study.data), needs.with_errors(study)
    if looped is None or not shown:
        return None
    edge, names = copying.edges(study.data), [f.title for f in shown]
    terms = [
        reconstruction.per_sample_terms(f.run, study.data)[f.run.error].astype(float)
        for f in shown
    ]
    pairs = [(of[~looped], of[looped]) for of in terms]
    left = [copying.at_equal(edge, looped, of) for of in terms]

    def row(values: list[float]) -> dict[str, str]:
        return dict(zip(names, map(number, values), strict=True))

    numbers: Numbers = {
        "Error of test images that enclose nothing": row([float(a.mean()) for a, _ in pairs]),
        "Of those that enclose some ground, such as a ring": row(
            [float(b.mean()) for _, b in pairs]
        ),
        "Difference between images with as much edge": row(left),
    }
    gaps = [float(b.mean() - a.mean()) for a, b in pairs]
    more = edge[looped].mean() > edge[~looped].mean()
    hard = all(b.mean() - a.mean() > 2 * math.hypot(_error(a), _error(b)) for a, b in pairs)
    due = all(rest < gap / 2 for rest, gap in zip(left, gaps, strict=True))
    return numbers, {} if more and hard and due else None


def _error(values: np.ndarray) -> float:
    """The standard error of a mean."""
    return float(values.std() / math.sqrt(len(values)))


@answer("hard", ("image",))
def varied(study: Study) -> Found:
    """The hard classes are those whose images differ most from each other, because a code must
    say more to tell them apart."""
    shown, variety = needs.with_errors(study), reconstruction.variety(study.data)
    if needs.class_errors(study) is not None or len(variety) < 4:
        return None
    ranks = [
        reconstruction.rank_correlation(
            reconstruction.class_errors(f.run, f.run.error, study.data), variety
        )
        for f in shown
    ]
    return ({}, {}) if ranks and min(ranks) > 0.6 else None


# What does the code know?


@answer("codes")
def placed(study: Study) -> Found:
    """A code is a place. Where a model puts unseen images, and which of them it puts close
    together, shows what it has learned about them."""
    return ALWAYS


@answer("codes")
def unasked(study: Study) -> Found:
    """Classes lie apart in the code of {which} without any label, because images that look
    alike can share what the decoder does with a region of the code, and images that do not
    cannot."""
    plain = only(study, lambda f: not f.traits.conditional)
    alike = {f.title: codes_alike(f.run, study.data) for f in plain}
    chance = chance_alike(study.data)
    if needs.test_images(study) is not None or not chance:
        return None
    apart = [f for f in plain if (alike[f.title] or 0) > 3 * chance]
    return ({}, {"which": titles(apart)}) if apart and len(apart) == len(plain) else None


# How did it learn?


@answer("learning")
def learned(study: Study) -> Found:
    """What is minimised, and its terms, after each pass over the training images. {kept}Test
    images are measured once, with the weights that are kept."""
    kept = "The weights kept are those of the epoch with the best validation objective. "
    alone = all(len(family.run.recipe.players) == 1 for family in families(study))
    return {}, {"kept": kept if alone else ""}


@answer("learning", ("image",))
def measures(study: Study) -> Found:
    """MSE is the mean squared error of a pixel. PSNR, the peak signal-to-noise ratio, is 10
    log10(1/MSE), in decibels: 10 dB more mean a tenth of the error. {ssim}None of them grows
    with the size of the image; values lie in [0, 1], so the data range is 1."""
    measured = [name for name in QUALITY if any(name in test_quality(run) for run in study.runs)]
    ssim = (
        f"SSIM, structural similarity, compares means, variances and covariances in windows of "
        f"{WINDOW} × {WINDOW} pixels; it is 1 for equal images and about 0 for unrelated ones. "
    )
    return ({}, {"ssim": ssim if "ssim" in measured else ""}) if measured else None


@answer("learning")
def by_heart(study: Study) -> Found:
    """Validation ends above training, because a part of what was learned is true of the
    training images alone."""
    gaps = {
        f.title: (f.mean("train", "objective"), f.mean("validation", "objective"))
        for f in families(study)
    }
    known = {t: (a, b) for t, (a, b) in gaps.items() if a is not None and b is not None}
    numbers: Numbers = {
        "Objective, training → validation": {t: change(a, b) for t, (a, b) in known.items()}
    }
    above = all(b - a > 0.03 * abs(a) for a, b in known.values())
    return numbers, {} if known and above else None


# Squared error against cross-entropy


@answer("errors", ("image",))
def cross_entropy(study: Study) -> Found:
    """Squared error and binary cross-entropy have the same best answer, the mean of the images
    that a code may stand for. They differ in what a mistake costs on the way there: the
    gradient of cross-entropy is that of squared error divided by 2 p (1 − p), so that it
    insists on pixels that should be black or white. On grey values a perfect copy has a
    cross-entropy above 0, which is taken off below."""
    errors = {f.title: copying.two_errors(f.run, study.data) for f in families(study)}
    names = (
        "Squared error of test images",
        "Their cross-entropy above that of a perfect copy, nats",
    )
    numbers: Numbers = {
        "Binary cross-entropy of a perfect copy of the test images, nats": number(
            copying.entropy(study.data)
        ),
        **{name: {t: number(e[k]) for t, e in errors.items()} for k, name in enumerate(names)},
        "Rank correlation of the two over images": {t: f"{e[2]:.2f}" for t, e in errors.items()},
    }
    return numbers, {}


@answer("evaluated")
def measured(study: Study) -> Found:
    """Of one seed, ± is the standard error of a mean over images and brackets are a 95%
    interval; neither says how much another seed would change. Of several seeds a number is
    their mean, and brackets are its 95% t-interval over seeds."""
    return ALWAYS


@answer("made")
def decided(study: Study) -> Found:
    """Everything that decided these numbers."""
    return ALWAYS

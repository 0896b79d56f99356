"""What a figure needs of a study, and the sentence that says that it is missing."""

from __future__ import annotations

from zspace.analysis import reconstruction
from zspace.analysis.measure import Measure
from zspace.analysis.projections import FEWEST_MAPPED
from zspace.report.facts import Family, families
from zspace.runs import many
from zspace.runs.many import Study
from zspace.runs.measured import measures_of, read
from zspace.runs.run import Run


def labels(study: Study) -> str | None:
    """Labelled images."""
    if study.data.classes:
        return None
    return f"the data '{study.data.name}' have no labels"


def training_images(study: Study) -> str | None:
    """Enough images for a map."""
    return _enough(len(study.data.train), "training images")


def test_images(study: Study) -> str | None:
    """Enough test images to speak of a distribution."""
    return _enough(len(study.data.test), "test images")


def _enough(n: int, what: str) -> str | None:
    text = f"it needs at least {FEWEST_MAPPED} {what}, but the data have {n}"
    return None if n >= FEWEST_MAPPED else text


def two_test_images(study: Study) -> str | None:
    """A beginning and an end."""
    return None if len(study.data.test) > 1 else "it needs two test images, but the data have one"


def with_errors(study: Study) -> list[Family]:
    """Families whose reconstruction error is measured image by image."""
    terms = {f.name: reconstruction.per_sample_terms(f.run, study.data) for f in families(study)}
    return [f for f in families(study) if f.run.error in terms[f.name]]


def class_errors(study: Study) -> str | None:
    """Labelled images, and an error of each."""
    if labels(study) or with_errors(study):
        return labels(study)
    return "no model has a reconstruction term that is measured image by image"


def rated(study: Study) -> dict[str, list[Family]]:
    """Error term -> families that minimise it, with a KL to the prior beside it, at several
    weights; terms of which all families have the same weights are left out.
    """
    found: dict[str, list[Family]] = {}
    for family in families(study):
        objective = family.run.objective
        if family.run.error in objective.minimised() and objective.of_role("divergence"):
            found.setdefault(family.run.error, []).append(family)
    weights = {term: {str(f.minimised) for f in of} for term, of in found.items()}
    return {term: of for term, of in found.items() if len(weights[term]) > 1}


def several_weights(study: Study) -> str | None:
    """Families that differ in what they weight against the error."""
    if rated(study):
        return None
    way = "zspace study beta-vae --set beta=0.5,1,4"
    return f"it needs families of one error term and several weights of the KL: '{way}'"


def several_sizes(study: Study) -> str | None:
    """More than one code size."""
    if any(len(sizes) > 1 for sizes in study.families.values()):
        return None
    return "each family has one code size: 'reconstructions' shows it"


def continuous(study: Study) -> str | None:
    """Codes that have a density."""
    if all(family.traits.discrete for family in families(study)):
        return "the codes are of a finite set and have no density"
    return test_images(study)


def standard_prior(study: Study) -> str | None:
    """Codes to compare with N(0, I)."""
    if any(family.compared for family in families(study)):
        return test_images(study)
    return "it compares codes with N(0, I): no model here has that prior and continuous codes"


def plane_of(study: Study, *, conditional: bool = False, placed: bool = True) -> Run | None:
    """The first run, of each code size, with a 2-D code that is drawn towards N(0, I); or, not
    placed, of which nothing that is minimised says where it should lie.
    """
    for sizes in study.families.values():
        for run, *_ in sizes.values():
            traits, flat = run.traits, run.model.latent == (2,) and not run.traits.discrete
            fits = (traits.conditional, traits.placed) == (conditional, placed)
            if flat and fits and (traits.standard or not placed):
                return run
    return None


def plain_plane(study: Study) -> str | None:
    """A VAE, say, with a 2-D code."""
    text = "it needs a run without labels whose codes of size 2 are drawn towards N(0, I)"
    return None if plane_of(study) else f"{text} (recipe vae, --latent 2)"


def labelled_plane(study: Study) -> str | None:
    """A conditional VAE, say, with a 2-D code, and labels to go through."""
    text = "it needs a conditional run whose codes of size 2 are drawn towards N(0, I)"
    fits = plane_of(study, conditional=True)
    return labels(study) if fits else f"{text} (recipe cvae, --latent 2)"


def free_plane(study: Study) -> str | None:
    """An autoencoder with a 2-D code, and enough of it."""
    text = "it needs a run with a code of size 2 that minimises a reconstruction error alone"
    fits = plane_of(study, placed=False)
    return test_images(study) if fits else f"{text} (recipe ae, --latent 2)"


def epochs(study: Study) -> str | None:
    """What each epoch of the training came to."""
    lacking = [family.run for family in families(study) if not family.run.metrics]
    return f"metrics.jsonl of run '{lacking[0].place}' holds no epoch" if lacking else None


def quality(study: Study) -> str | None:
    """A run whose reconstructions were measured while it was trained."""
    if any(family.run.quality_epochs for family in families(study)):
        return None
    return "no run measured its reconstructions: train again, this version does"


def snapshots(study: Study) -> str | None:
    """A run that kept them."""
    if any(
        many.read_moments(run) is not None for family in families(study) for run in family.runs
    ):
        return None
    return "no run kept snapshots of its training: train with --snapshots 20"


def representation(study: Study) -> str | None:
    """A run of which it was measured what can be read from its codes."""
    if any(measured(family) for family in families(study)):
        return None
    return "no representation was measured: 'zspace evaluate RUN --sections representation' does"


def measured(family: Family) -> dict[str, Measure]:
    """What was measured of a family's representation; empty where that was not."""
    record = read(family.run)
    return measures_of(record).get("representation", {}) if record else {}

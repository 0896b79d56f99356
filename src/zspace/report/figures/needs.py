"""What a figure needs of a study, and the sentence that says that it is missing."""

from __future__ import annotations

from zspace.analysis.projections import FEWEST_MAPPED
from zspace.report.figures.style import code_of, title_of
from zspace.runs import many
from zspace.runs.many import Study
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
    return (
        None
        if n >= FEWEST_MAPPED
        else f"it needs at least {FEWEST_MAPPED} {what}, but the data have {n}"
    )


def two_test_images(study: Study) -> str | None:
    """A beginning and an end."""
    return None if len(study.data.test) > 1 else "it needs two test images, but the data have one"


def with_two(study: Study, *, conditional: bool, variational: bool) -> Run | None:
    """The first run with a 2-D code of the kind asked for."""
    runs = (seeds[0] for sizes in study.families.values() for seeds in sizes.values())
    for run in runs:
        if run.model.latent != (2,) or bool(run.model.context) != conditional:
            continue
        if run.variational == variational:
            return run
    return None


def plain_plane(study: Study) -> str | None:
    """A VAE with a 2-D code."""
    if with_two(study, conditional=False, variational=True):
        return None
    return "it needs a run with a Gaussian code of size 2 and no labels (recipe vae, --latent 2)"


def labelled_plane(study: Study) -> str | None:
    """A conditional VAE with a 2-D code, and labels to go through."""
    if with_two(study, conditional=True, variational=True):
        return labels(study)
    return "it needs a conditional run with a code of size 2 (recipe cvae, --latent 2)"


def point_plane(study: Study) -> str | None:
    """An autoencoder with a 2-D code, and enough of it."""
    if with_two(study, conditional=False, variational=False):
        return test_images(study)
    return "it needs a run with a deterministic code of size 2 (recipe ae, --latent 2)"


def needs_quality(study: Study) -> str | None:
    """A run whose reconstructions were measured while it was trained."""
    if any(study.best(name).quality_epochs for name in study.families):
        return None
    return "no run measured its reconstructions: train again, this version does"


def recorded(study: Study) -> dict[str, Run]:
    """Families that kept snapshots of a training: the run shown, at the chosen size if it did."""
    found = {}
    for name, sizes in study.families.items():
        runs = [study.best(name), *(run for seeds in sizes.values() for run in seeds)]
        kept = [run for run in runs if many.read_moments(run) is not None]
        if kept:
            found[name] = kept[0]
    return found


def snapshots(study: Study) -> str | None:
    """A run that kept them."""
    if recorded(study):
        return None
    return "no run kept snapshots of its training: train with --snapshots 20"


def panel_title(study: Study, family: str, run: Run | None = None) -> str:
    """The title of a family's panel: its name and the code size that is shown."""
    return f"{title_of(family)}, {code_of((run or study.best(family)).model.latent)}"

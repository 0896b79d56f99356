"""Measures of trained models, one and several."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from zspace.cli.arguments import Out, RunPath


def evaluate(
    run: RunPath,
    *,
    iw: int = 100,
    sampler: Literal["auto", "prior", "gmm", "flow", "kde"] = "auto",
    anomaly: str | None = None,
    sections: tuple[str, ...] = (),
    data_dir: Path | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Measure a run on its test images; the numbers are kept in RUN/evaluation.json.

    Args:
        run: The folder of a run.
        iw: Draws of the importance-weighted bound on log p(x); published figures take 5000.
        sampler: Where codes of generated images come from: the prior, or a density fitted on
            codes of training images; auto is the prior where there is a q(z|x), else gmm.
        anomaly: Other data, a name or a path, whose images should stand out.
        sections: What to measure, of likelihood, latents, representation, generation, novelty,
            inception, disentanglement, anomaly and metrics of one's own; by default all that
            applies, but not inception.
        data_dir: Where files of named data sets lie.
        seed: Seed of all draws.
        quiet: Print no table.
    """
    from zspace.runs.measured import evaluate

    drawing = ("generation", "novelty", "inception")
    made = {section: {"sampler": sampler} for section in drawing}
    evaluate(
        run,
        iw=iw,
        sections=sections,
        options={**made, **({"anomaly": {"against": anomaly}} if anomaly else {})},
        data_dir=data_dir,
        seed=seed,
        quiet=quiet,
    )


def compare(runs: Positional[tuple[Path, ...]]) -> None:
    """Show the measures of evaluated runs side by side, as means over seeds.

    Args:
        runs: Folders of runs; those that differ in their seed alone become one column.
    """
    from zspace.runs import measured

    measured.compare(runs, quiet=False)


def score(
    run: RunPath,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    scores: tuple[str, ...] = (),
    rate: float = 0.05,
    heat: Path | None = None,
    out: Out,
    quiet: bool = False,
) -> None:
    """Write how little the model expected each image of a data set: a line an image.

    Args:
        run: The folder of a run.
        data: A name or a path; by default the run's own data.
        data_dir: Where files of named data sets lie.
        scores: Of error, elbo, iw, typicality, regret and mahalanobis; by default all that the
            model has.
        rate: Share of the run's validation images that may count as anomalies: it sets the
            threshold of each score.
        heat: FILE.png for a picture of the images with the highest error, and where in them
            it lies.
        out: FILE.csv, with split, index, label, scores, and for each whether the image is an
            anomaly.
        quiet: No progress bar.
    """
    from zspace.runs.measured import score as write_scores
    from zspace.runs.run import load

    model = load(run)
    done = write_scores(
        model, data, out=out, names=scores, rate=rate, data_dir=data_dir, quiet=quiet
    )
    for name, limit in done.thresholds.items():
        print(f"{name}: {done.flagged[name]:,} of {done.images:,} images above {limit:.4g}")
    if heat is not None:
        from zspace.report.figures.pictures import write_heat

        print(write_heat(model, data, data_dir, heat))
    print(done.path)

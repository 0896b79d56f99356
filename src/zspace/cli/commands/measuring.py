"""Measures of trained models, one and several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import DataDir, OtherData, Out, RunPath


def evaluate(
    run: RunPath,
    *,
    iw: int = 100,
    sampler: Literal["auto", "prior", "mixture", "flow", "kde"] = "auto",
    anomaly: str | None = None,
    sections: tuple[str, ...] = (),
    data_dir: DataDir = None,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Measure a run on its test images and write the numbers to RUN/evaluation.json.

    Args:
        iw: Draws per image for the importance-weighted bound on log p(x); published figures use
            5000.
        sampler: Where the codes of generated images come from: the prior, or a density fitted to
            the codes of training images (mixture, flow, kde); auto is the prior, but the mixture
            for a model that was told nothing of where codes should lie.
        anomaly: Another data set, by name or path, whose images should stand out.
        sections: What to measure: likelihood, latents, representation, generation, novelty,
            inception, disentanglement, anomaly, and metrics of your own; by default all that
            apply, except inception.
        seed: Seed of all random draws.
        quiet: Print no table.
    """
    from zspace.runs import measured

    options: dict[str, dict[str, str]]
    options = {name: {"sampler": sampler} for name in ("generation", "novelty", "inception")}
    if anomaly:
        options["anomaly"] = {"against": anomaly}
    measured.evaluate(
        run, iw=iw, sections=sections, options=options, data_dir=data_dir, seed=seed, quiet=quiet
    )


def compare(runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")]) -> None:
    """Show the measures of evaluated runs side by side, as means over seeds.

    Args:
        runs: Folders of runs; runs that differ only in their seed share one column.
    """
    from zspace.runs import measured

    measured.compare(runs, quiet=False)


def score(
    run: RunPath,
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    scores: tuple[str, ...] = (),
    rate: float = 0.05,
    heat: Path | None = None,
    out: Out,
    quiet: bool = False,
) -> None:
    """Write a table with anomaly scores of every image of a data set, one row per image.

    Args:
        scores: Some of error, elbo, iw, typicality, regret and mahalanobis; by default all that
            the model has.
        rate: Share of the run's validation images that may count as anomalies; it sets the
            threshold of each score.
        heat: FILE.png for a picture of the images with the highest error, and of where in them
            the error lies.
        out: FILE.csv, with split, index, label, the scores, and whether each marks the image as
            an anomaly.
        quiet: Show no progress bar.
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

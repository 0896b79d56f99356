"""Measures of trained models, one and several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zspace.cli import (
    DataDir,
    Device,
    OtherData,
    Out,
    OutOrDefault,
    RunPath,
    TrustData,
    Workers,
)

FEW = 10
"""Validation samples above a threshold with fewer than which it is told to be rough."""


def evaluate(
    run: RunPath,
    *,
    iw: int = 100,
    sampler: Literal["auto", "prior", "mixture", "flow", "kde"] = "auto",
    anomaly: str | None = None,
    sections: tuple[str, ...] = (),
    data: OtherData = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    trust_data: TrustData = False,
    device: Device = "auto",
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
    from zspace.cli.output import opened
    from zspace.runs import measured

    options: dict[str, dict[str, str]]
    options = {name: {"sampler": sampler} for name in ("generation", "novelty", "inception")}
    if anomaly:
        options["anomaly"] = {"against": anomaly}
    measured.evaluate(
        opened(run, device, trust_data=trust_data),
        iw=iw,
        sections=sections,
        options=options,
        data=data,
        data_dir=data_dir,
        seed=seed,
        quiet=quiet,
    )


def compare(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN ...")],
    *,
    rows: tuple[str, ...] = (),
    format: Literal["table", "markdown", "latex", "csv"] | None = None,
    out: OutOrDefault = None,
) -> None:
    """Show the numbers of runs side by side, as means over seeds.

    Runs need not be evaluated: the results of their training come first.

    Args:
        runs: Folders of runs or studies; runs that differ only in their seed share one column.
            Differences are to the first.
        rows: The rows to test for a star, by name; by default the headline rows: objective,
            error, bound, frechet and probe.
        format: How it is written; by default as the suffix of --out says, and a table without it.
        out: FILE.txt, FILE.md, FILE.tex or FILE.csv; by default it is printed.
    """
    from zspace.cli.output import Screen
    from zspace.runs import comparison

    form = comparison.format_of(out, format)
    found = comparison.compare(runs, rows)
    if out is not None:
        print(comparison.write(found, out, form))
    elif form == "table":
        comparison.show(found, Screen(highlight=False))
    else:
        print(found.text(form), end="")


def score(
    run: RunPath,
    *,
    data: OtherData = None,
    data_dir: DataDir = None,
    workers: Workers = 0,
    trust_data: TrustData = False,
    device: Device = "auto",
    scores: tuple[str, ...] = (),
    rate: float = 0.05,
    heat: Path | None = None,
    out: Out,
    quiet: bool = False,
) -> None:
    """Write a table with anomaly scores of every sample of a data set, one row per sample.

    Args:
        scores: Some of error, elbo, iw, typicality, regret and mahalanobis; by default all that
            the model has.
        rate: Share of the run's validation samples that may count as anomalies; it sets the
            threshold of each score.
        heat: FILE.png for a picture of the images with the highest error, and of where in them
            the error lies.
        out: FILE.csv, with split, index (the row in the data, from 0), id, label, the scores, and
            whether each marks the sample as an anomaly.
        quiet: Show no progress bar.
    """
    from zspace.cli.output import opened
    from zspace.data.account import of_samples
    from zspace.runs.measured import score as write_scores
    from zspace.system.bars import say

    model = opened(run, device, trust_data=trust_data)
    done = write_scores(
        model, data, out=out, names=scores, rate=rate, data_dir=data_dir, quiet=quiet
    )
    for name, limit in done.thresholds.items():
        found = of_samples(f"{done.images:,} images", model.spec.kind)
        print(f"{name}: {done.flagged[name]:,} of {found} above {limit:.4g}")
    if done.validation * rate < FEW:
        rows = of_samples(f"{done.validation:,} validation images", model.spec.kind)
        left = int(done.validation * rate)
        say(f"the thresholds leave {left} of {rows} above them: of so few, expect other shares")
    if heat is not None:
        from zspace.report.figures.pictures import write_heat

        print(write_heat(model, data, data_dir, heat))
    print(done.path)

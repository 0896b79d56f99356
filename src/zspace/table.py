"""The table of a study: every run, means over seeds, and the chosen code sizes."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zspace import files
from zspace.runs import Run
from zspace.study import Study

SPLITS = ("train", "validation", "test")


def rows(study: Study) -> list[dict[str, Any]]:
    """One dict a run: family, code size, seed, epochs, seconds, every term on every split."""
    return [
        {
            "family": family,
            "latent": latent,
            "seed": run.job.settings.seed,
            "epochs": run.result["epochs"],
            "best_epoch": run.result["best_epoch"],
            "seconds": round(run.result["seconds"], 1),
            "parameters": run.record["parameters"],
            **{f"{s}_{name}": v for s in SPLITS for name, v in run.result[s].items()},
        }
        for family, sizes in study.families.items()
        for latent, runs in sizes.items()
        for run in runs
    ]


def write_table(study: Study, path: Path) -> Path:
    """Write the rows as CSV, the failed runs last with their reason."""
    table = rows(study)
    table += [{"family": failed.name, "failed": failed.reason} for failed in study.failed]
    names = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    files.write(path, text.getvalue().encode())
    return path


@dataclass(frozen=True)
class Cell:
    """A term over seeds: its mean, and the sample standard deviation where there are several."""

    mean: float
    spread: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.spread:.2f}" if self.spread is not None else "")


def over_seeds(runs: Sequence[Run], split: str, name: str) -> Cell | None:
    """One term on one split, over runs that differ in their seed; None where they lack it."""
    if any(name not in run.result[split] for run in runs):
        return None
    values = [run.result[split][name] for run in runs]
    return Cell(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)

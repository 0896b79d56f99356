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
MEASURES = {"ssim": "SSIM", "psnr": "PSNR (dB)"}
"""What test images' reconstructions are measured by, beside the terms (see `zspace.quality`)."""


def rows(study: Study) -> list[dict[str, Any]]:
    """One dict a run: family, code size, seed, epochs, seconds, every term on every split, SSIM
    and PSNR on test where they were measured.
    """
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
            **{f"test_{name}": v for name, v in measured(run).items() if name in MEASURES},
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


def measured(run: Run) -> dict[str, float]:
    """MSE, SSIM and PSNR of all test images; empty for a run of an old version."""
    return run.result.get("quality", {}).get("test", {})


@dataclass(frozen=True)
class Cell:
    """A number over seeds: its mean, and the sample standard deviation where there are several.

    digits: after the point.
    """

    mean: float
    spread: float | None
    digits: int = 2

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{spread}"


def over_seeds(runs: Sequence[Run], split: str, name: str) -> Cell | None:
    """One term on one split, over runs that differ in their seed; None where they lack it."""
    return _cell([run.result[split].get(name) for run in runs])


def measures(runs: Sequence[Run]) -> dict[str, Cell]:
    """SSIM and PSNR of test images over seeds, those that all runs have."""
    cells = {
        name: _cell([measured(run).get(name) for run in runs], digits=3 if name == "ssim" else 2)
        for name in MEASURES
    }
    return {name: cell for name, cell in cells.items() if cell is not None}


def _cell(values: Sequence[float | None], digits: int = 2) -> Cell | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    spread = statistics.stdev(known) if len(known) > 1 else None
    return Cell(statistics.mean(known), spread, digits)

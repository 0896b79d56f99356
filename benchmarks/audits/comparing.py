"""Stars of `zspace compare`: how often groups that do not differ get one, and clear leads do.

Also what a run says of itself, and what commands say of a study and of runs not evaluated.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import zspace
from zspace.analysis.compare import Cell, best
from zspace.analysis.measure import Measure

TABLES, MANY, ROWS = 1000, 8000, 5


def starred(
    seeds: int, groups: int = 2, paired: bool = True, apart: float = 0.0, n: int = TABLES
) -> list[set]:
    """The starred (row, group) of each table; group 0 leads in row 0 by `apart`."""
    random, found = np.random.default_rng(0), []
    for _ in range(n):
        x = random.normal(size=(ROWS, groups, seeds))
        x[0, 0] += apart
        table = {
            row: {
                g: Cell(
                    {
                        seed + (0 if paired else seeds * g): Measure(v, "m", better="high")
                        for seed, v in enumerate(x[row, g])
                    }
                )
                for g in range(groups)
            }
            for row in range(ROWS)
        }
        found.append({(row, g) for row, (g, p) in best(table).items() if p <= 0.05})
    return found


def noise() -> str:
    """Tables of five rows whose two groups do not differ."""
    parts = []
    for seeds in (2, 3, 5):
        tables = starred(seeds, n=MANY if seeds == 5 else TABLES)
        rows = sum(map(len, tables)) / len(tables) / ROWS
        share = np.mean([bool(one) for one in tables])
        parts.append(f"{seeds} seeds {rows:.1%} of rows, {share:.1%} of tables")
    welch = np.mean([bool(one) for one in starred(5, paired=False)])
    return f"starred: {'; '.join(parts)}; 5 other seeds {welch:.1%} of tables"


def lead() -> str:
    """One of five rows 5 standard deviations apart, 5 seeds."""
    found = {
        f"{groups} groups, {'same' if paired else 'other'} seeds": np.mean(
            [(0, 0) in one for one in starred(5, groups, paired, 5.0)]
        )
        for groups, paired in ((2, True), (2, False), (3, True), (5, True))
    }
    return "starred: " + "; ".join(f"{name} {share:.1%}" for name, share in found.items())


@cache
def study() -> Path:
    """A study of an AE and a VAE, which takes some seconds."""
    out = Path(mkdtemp()) / "study"
    options = {"data": "mnist5k", "epochs": 1, "hidden": (16,), "latent": 2, "quiet": True}
    for name in ("ae", "vae"):
        zspace.train(name, out=out / "runs" / name, **options)
    (out / "study.json").write_text("{}")
    return out


def said(*words: str) -> str:
    """What a command says in the folder of the study."""
    command = [sys.executable, "-m", "zspace", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=study().parent)
    return (done.stderr + done.stdout).strip()


def explored() -> str:
    return said("explore", "study", "--no-open")


def unevaluated() -> str:
    text = said("compare", "study/runs/ae", "study/runs/vae", "--format", "csv")
    lines = text.splitlines()[1:]
    return ", ".join(dict.fromkeys(line.split(",")[1] for line in lines if "," in line))


def errors() -> str:
    """The rows of a report that give an error."""
    from zspace.report.facts import errors
    from zspace.runs.many import Study

    runs = [zspace.load(study() / "runs" / name) for name in ("ae", "vae")]
    found = errors(Study(study(), runs))
    return "; ".join(f"{name}: {', '.join(values)}" for name, values in found.items())


def source() -> str:
    """What the record of a run says of what made it."""
    there = zspace.load(study() / "runs" / "vae").record["environment"]
    inner = [f"{k} ({len(v)})" if isinstance(v, dict) else k for k, v in there.items()]
    return f"{', '.join(inner)}; processor {there['processor']}"


AUDITS = [
    (
        "stars on noise",
        "starred: 2 seeds 32.7% of rows, 86.4% of tables; 3 seeds 21.6% of rows, 69.5% of tables; "
        "5 seeds 10.5% of rows, 41.8% of tables",
        noise,
    ),
    ("stars on a lead of 5 standard deviations", "not a test", lead),
    (
        "explore a study",
        "zspace: 'study' is not a run: it holds no run.json (zspace train makes one)",
        explored,
    ),
    (
        "rows of runs that were not evaluated",
        "none: run 'study/runs/ae' has not been evaluated as it is now",
        unevaluated,
    ),
    ("errors of an AE and a VAE in a report", "Squared error: AE, VAE", errors),
    (
        "what a run says of its source",
        "python, torch, numpy, platform, processor, threads, processes; processor x86_64",
        source,
    ),
]

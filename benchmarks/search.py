"""The search for the default settings: candidates on several data sets, families and sizes.

    python benchmarks/search.py --data-dir DIR [--only TEXT ...] [--settings TEXT ...] [--epochs N]

Each candidate changes the defaults in a few places and trains every job of JOBS. Printed, job by
job: the best validation objective; the first epoch whose value is within 3% of the best of the
first candidate, which is ReLU and AdamW as they are usually set; and the seconds of training until
then, which compare on a quiet machine only. A candidate is worth taking where it reaches that
sooner and ends lower in most jobs, and is at most a per cent behind in any.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae 20, mnist": ("vae", {"data": "mnist"}),
    "cvae 2, fashion-mnist": ("cvae", {"data": "fashion-mnist", "latent": 2}),
    "ae 20, fashion-mnist": ("ae", {"data": "fashion-mnist", "hidden": (400,)}),
    "vae 20, mnist5k": ("vae", {"data": "mnist5k"}),
    "ae 5, mnist5k": ("ae", {"data": "mnist5k", "latent": 5}),
    "cvae 10, mnist5k, narrow": ("cvae", {"data": "mnist5k", "latent": 10, "hidden": (256, 256)}),
    "vaegan 20, mnist5k": ("vaegan", {"data": "mnist5k", "perceptual": "none"}),
}
USUAL = {"lr": 0.002, "betas": (0.9, 0.95), "warmup": 0.05, "clip": 0.0, "ema": 0.0}
CANDIDATES: dict[str, dict[str, Any]] = {
    "usual": {**USUAL, "activation": "relu"},
    "defaults": {},
    "without average": {"ema": 0.0},
    "ReLU": {"activation": "relu"},
    "warm-up 5%": {"warmup": 0.05},
    "without clipping": {"clip": 0.0},
    "moments 0.9, 0.95": {"betas": (0.9, 0.95)},
    "rate 0.002": {"lr": 0.002},
    "rate 0.004": {"lr": 0.004},
    "batch 64": {"batch": 64},
    "batch 256": {"batch": 256},
    "one cycle": {"schedule": "one-cycle"},
}


def trained(recipe: str, options: dict[str, Any]) -> list[tuple[float, float]]:
    """Validation objective and seconds of training so far, epoch by epoch."""
    from zspace.runs.config import Config
    from zspace.training.build import Build

    fit = Build.prepare(Config.of(recipe, options), quiet=True).trainer
    fit.watched = {}
    seconds, found = 0.0, []
    for epoch in fit.epochs():
        seconds += epoch.seconds
        found.append((epoch.validation["objective"], seconds))
    return found


def _named(name: str, texts: Sequence[str]) -> bool:
    return not texts or any(text in name for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, help="by default what training takes")
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of jobs")
    parser.add_argument("--settings", nargs="*", default=[], help="words in those of candidates")
    args = parser.parse_args()
    tried = {k: v for k, v in CANDIDATES.items() if _named(k, args.settings)}
    for config, (recipe, options) in JOBS.items():
        if not _named(config, args.only):
            continue
        print(f"\n{config}\n\n| settings | best | within 3% at epoch | after seconds |")
        print("|---|---|---|---|")
        goal = None
        for name, changed in tried.items():
            given = {**options, **changed, "data_dir": args.data_dir, "epochs": args.epochs}
            found = trained(recipe, given)
            best = min(value for value, _ in found)
            goal = goal or 1.03 * best
            at = next((i for i, (value, _) in enumerate(found) if value <= goal), None)
            when = "never | "
            if at is not None:
                when = f"{at + 1} of {len(found)} | {found[at][1]:.1f}"
            print(f"| {name} | {best:.3f} | {when} |", flush=True)


if __name__ == "__main__":
    main()

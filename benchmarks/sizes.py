"""The search for how long to train, and in which batches, by the number of training samples.

    python benchmarks/sizes.py --data-dir DIR --samples 50 500 [--data mnist fashion-mnist]
        [--try BATCH:STEPS ...] [--seed 0] [--recipe vae] [--set '{"hidden": [64]}']

Each row is one training, by default of the VAE, on so many images, drawn once from the training
set of MNIST or Fashion-MNIST; 500 others are the validation set, which alone decides, whatever
the number of training images, so that a choice between rows rests on enough of them. The test set
is not read. "Default" is what `zspace train` takes by itself.

Printed: the best validation objective and its epoch; then, for a patience of an eighth and of a
quarter of the epochs, when it would have ended the training, and with which best value; and the
CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

VALIDATION = 500


def drawn(name: str, data_dir: Path, samples: int) -> dict[str, np.ndarray]:
    """So many training images, and others for validation; a test set that nobody reads."""
    from zspace.data.loading import load

    whole = load(name, data_dir=data_dir, quiet=True).train
    rows = np.random.RandomState(0).permutation(len(whole))[: VALIDATION + samples]
    x = (whole.images(rows)[:, 0].numpy() * 255).round().astype(np.uint8)
    return {"x_val": x[:VALIDATION], "x_train": x[VALIDATION:], "x_test": x[:10]}


def trained(x: dict[str, np.ndarray], recipe: str, options: dict[str, Any]) -> Iterator[Any]:
    """The training, then the validation objective after each epoch."""
    from zspace.data.readers.objects import noted
    from zspace.runs.config import Config
    from zspace.training.build import Build

    config = Config.of(recipe, {**options, "data": noted(x)})
    fit = Build.prepare(config, quiet=True, held={"data": x}).trainer
    fit.watched = {}
    yield fit
    for epoch in fit.epochs():
        yield epoch.validation["objective"]


def stopped(values: list[float], patience: int) -> tuple[int, float]:
    """The epoch at which a patience ends a training, and the best value until then."""
    best, at = math.inf, 0
    for i, value in enumerate(values):
        best, at = (value, i) if value < best else (best, at)
        if i - at >= patience:
            return i + 1, best
    return len(values), best


def options_of(candidate: str, samples: int, seed: int) -> dict[str, Any]:
    """What BATCH:STEPS means for so many samples."""
    if candidate == "default":
        return {"seed": seed}
    batch, steps = map(int, candidate.split(":"))
    per_epoch = -(-samples // batch)
    return {
        "seed": seed,
        "batch": batch,
        "epochs": max(1, round(steps / per_epoch)),
        "patience": 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--samples", nargs="+", type=int, default=[50, 500, 5000, 50000])
    parser.add_argument("--try", nargs="+", dest="tried", default=["default"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="vae")
    parser.add_argument("--set", type=json.loads, default={}, help="other options, as JSON")
    args = parser.parse_args()
    print("| data | samples | batch | epochs | steps | best | at | patience 1/8 | 1/4 | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for samples in args.samples:
        for name in args.data:
            x = drawn(name, args.data_dir, samples)
            for candidate in args.tried:
                start = time.process_time()
                options = {**args.set, **options_of(candidate, samples, args.seed)}
                fit, *values = trained(x, args.recipe, options)
                n, best = fit.settings.epochs, min(values)
                early = [stopped(values, max(1, n // part)) for part in (8, 4)]
                told = " | ".join(f"{value:.2f} ({at})" for at, value in early)
                print(
                    f"| {name} | {samples:,} | {fit.settings.batch} | {n} | {fit.total_steps:,} "
                    f"| {best:.2f} | {values.index(best) + 1} | {told} "
                    f"| {time.process_time() - start:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

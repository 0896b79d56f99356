"""Seconds a step, seconds of starting, and memory, as a model, an image or a data set grows.

    python benchmarks/scaling.py [--threads 2] [--rounds 3] [--only latent width ...]

Each row is a process of its own that trains a VAE on noise for some steps: nothing here depends on
what the images show. Printed: the median step with its batch, its growth from the row above, the
seconds until the first step (reading, hashing, building), and the peak resident memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput import child

USUAL = {"images": 5000, "side": 28, "batch": 128, "precision": "fp32"}
CONV = {"net": "conv", "channels": (16, 32), "batch": 64}
ROWS: dict[str, list[dict[str, Any]]] = {
    "latent": [{"latent": n} for n in (2, 20, 200, 2000)],
    "width": [{"hidden": (n, n)} for n in (98, 196, 392, 784, 1568, 3136)],
    "image side, fully connected": [{"side": n} for n in (14, 28, 56, 112)],
    "image side, convolutions": [{"side": n, **CONV} for n in (14, 28, 56, 112)],
    "batch": [{"batch": n} for n in (32, 64, 128, 256, 512, 1024, 2048)],
    "images": [{"images": n} for n in (5_000, 50_000, 500_000)],
}


def made(images: int, side: int, folder: Path) -> str:
    """A file of noise images."""
    import numpy as np

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (images, 1, side, side), np.uint8)
    np.savez(path := folder / f"noise-{images}-{side}.npz", x=x, allow_pickle=False)
    return str(path)


def measured(options: dict[str, Any], steps: int) -> dict[str, float]:
    """One row: trained here, in this process."""
    from zspace.runs.config import Config
    from zspace.training.build import Build

    start = time.perf_counter()
    fit = Build.prepare(Config.of("vae", {"device": "cpu", **options})).trainer
    fit.model.train()
    begun, times = time.perf_counter() - start, []
    batches = itertools.chain.from_iterable(fit.train.epoch(n) for n in itertools.count())
    for _ in range(steps + 3):
        at = time.perf_counter()
        fit.train_on(next(batches))
        times.append(time.perf_counter() - at)
        if sum(times) > 20 and len(times) > 8:
            break
    return {
        "parameters": sum(p.numel() for p in fit.model.parameters()),
        "step": statistics.median(times[3:]),
        "begun": begun,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measured(json.loads(args.row), args.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in ROWS.items():
            if not args.only or any(text in name for text in args.only):
                table(name, rows, args, Path(folder))


def table(name: str, rows: list[dict[str, Any]], args: argparse.Namespace, folder: Path) -> None:
    """Measure the rows one after the other, each some times, and print their medians."""
    print(f"\n| {name} | parameters | ms a step | growth | s to begin | peak MB |")
    print("|---|---|---|---|---|---|")
    before = 0.0
    for chosen in rows:
        options = {**USUAL, **chosen}
        options["data"] = made(options.pop("images"), options.pop("side"), folder)
        command = [sys.executable, __file__, "--row", json.dumps(options)]
        command += ["--steps", str(args.steps)]
        found = [child(command, args.threads) for _ in range(args.rounds)]
        step, begun, memory = (
            statistics.median(one[key] for one in found) for key in ("step", "begun", "memory")
        )
        growth = f"× {step / before:.2f}" if before else ""
        shown = next(iter(chosen.values()))
        value = shown[0] if isinstance(shown, tuple) else shown
        print(
            f"| {value:,} | {found[0]['parameters']:,} | {1e3 * step:.1f} | {growth} "
            f"| {begun:.2f} | {memory:.0f} |",
            flush=True,
        )
        before = step


if __name__ == "__main__":
    main()

"""A data set four times larger than the memory allowed for it: memory over time, and speed.

    python benchmarks/streaming.py [--limit 268435456] [--folder DIR] [--steps 60] [--rounds 3]

Makes an .npy file of noise in colour, 64 x 64, of four times the limit in bytes, and trains
`vae --net conv` on it twice: with images read from disk as they are wanted, because the limit does
not hold them, and with all of them in memory. In turns, a process each; where it may, it empties
the system's cache of files before each. Printed: images a second, and the resident memory after
the first, the middle and the last step, of which the file's own pages are given apart, since the
system takes those back when it needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from throughput import child

SIDE, BATCH = 64, 64


def made(path: Path, size: float) -> int:
    """Write a file of noise of this many bytes, in pieces; returns how many images it holds."""
    images = int(size / (3 * SIDE**2))
    x = np.lib.format.open_memmap(path, "w+", np.uint8, (images, 3, SIDE, SIDE))
    random = np.random.default_rng(0)
    for start in range(0, images, 4096):
        part = x[start : start + 4096]
        part[:] = random.integers(0, 256, part.shape, np.uint8)
    x.flush()
    return images


def resident() -> dict[str, float]:
    """Resident memory of this process in MB: its own, and pages of files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: float(lines[key].split()[0]) / 1024 for name, key in KINDS.items()}


KINDS = {"own": "RssAnon", "files": "RssFile"}


def measured(path: str, memory: float, steps: int) -> dict[str, Any]:
    """Train for some steps in this process."""
    import torch

    from zspace.data.batches import Batches
    from zspace.data.loading import load
    from zspace.models import recipes
    from zspace.runs.settings import Settings
    from zspace.training.trainer import Trainer

    data = load(path, memory=memory, quiet=True)
    torch.manual_seed(0)
    recipe = recipes.find("vae")(data.spec, net="conv", channels=(16, 32), latent=32)
    train, validation = (
        Batches(samples, batch=BATCH, device=torch.device("cpu"), seed=0)
        for samples in (data.train, data.validation)
    )
    settings = Settings(epochs=1, precision="fp32")
    fit = Trainer(recipe.model, recipe.players, train, validation, settings)
    batches = itertools.chain.from_iterable(train.epoch(n) for n in itertools.count())
    times, memories = [], []
    at = time.perf_counter()
    for _ in range(steps):
        fit.train_on(next(batches))
        now = time.perf_counter()
        times.append(now - at)
        memories.append(resident())
        at = time.perf_counter()
    shown = [memories[i] for i in (4, steps // 2, steps - 1)]
    return {"seconds": statistics.median(times[3:]), "memory": shown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=256 * 2**20, help="bytes")
    parser.add_argument("--folder", type=Path, help="where the file is made")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measured(args.row[0], float(args.row[1]), args.steps)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "noise.npy"
        images = made(path, 4 * args.limit)
        print(f"{images:,} images, {path.stat().st_size / 2**20:,.0f} MB, limit "
              f"{args.limit / 2**20:,.0f} MB, {args.threads} threads")  # fmt: skip
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(args.rounds):
            for name, memory in (("from disk", args.limit), ("in memory", 8 * args.limit)):
                forget_files()
                command = [sys.executable, __file__, "--row", str(path), str(memory)]
                command += ["--steps", str(args.steps)]
                found.setdefault(name, []).append(child(command, args.threads))
    print("\n| images | images/s [least, most] | own MB: step 5, middle, last | pages of files |")
    print("|---|---|---|---|")
    for name, rounds in found.items():
        speed = sorted(BATCH / one["seconds"] for one in rounds)
        memory = rounds[-1]["memory"]
        own, files = ([f"{m[kind]:.0f}" for m in memory] for kind in KINDS)
        half = statistics.median(speed)
        print(f"| {name} | {half:.0f} [{speed[0]:.0f}, {speed[-1]:.0f}] "
              f"| {', '.join(own)} | {', '.join(files)} |")  # fmt: skip


def forget_files() -> None:
    """Have the system drop what it holds of files, where this process may ask for it."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("1")


if __name__ == "__main__":
    main()

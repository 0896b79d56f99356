"""Achieved FLOP/s of a training step over this machine's rate of matrix products.

    python benchmarks/throughput.py --data-dir DIR [--pythae-python PATH] [--rounds 5]

For batch 128 and 1024 and the VAE 784-784-784-20: median seconds of a step of zspace (in fp32, and
in what 'auto' picks), of a textbook DataLoader loop, and of pythae 0.1.2 if the interpreter of an
environment with it is given (see peers/pythae_loop.py). All in one run, one after the other in
every round, so that a machine that drifts drifts for all. A step's FLOPs are counted by torch's
FlopCounterMode; the rate of products is the median of a 2048 x 2048 x 2048 product in fp32.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEERS = Path(__file__).parent / "peers"


def product_rate(seconds: float = 1.0) -> float:
    """FLOP/s of large fp32 matrix products, a median."""
    import torch

    a, n = torch.randn(2048, 2048), 2048
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * n**3 / statistics.median(times)


def ours(data_dir: str, batch: int, steps: int, precision: str) -> dict[str, float]:
    """Median seconds of a step of zspace, batches included, and its FLOPs."""
    from torch.utils.flop_counter import FlopCounterMode

    from zspace.runs.config import Config
    from zspace.training.build import Build

    options = {"data": "mnist", "data_dir": data_dir, "batch": batch, "precision": precision}
    fit = Build.prepare(Config.of("vae", {**options, "device": "cpu"})).trainer
    marks: list[float] = []

    class Enough(Exception):
        pass

    def mark(_: object) -> None:
        marks.append(time.perf_counter())
        if len(marks) == steps:
            raise Enough

    try:
        for _ in fit.epochs(mark):
            pass
    except Enough:
        pass
    with FlopCounterMode(display=False) as counter:
        fit.train_on(next(iter(fit.train.epoch(0))))
    gaps = [b - a for a, b in itertools.pairwise(marks[5:])]
    return {"seconds_per_step": statistics.median(gaps), "flops": counter.get_total_flops()}


def child(code: list[str], threads: int) -> dict[str, float]:
    """The last line of JSON that a process prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(code, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def contestants(args: argparse.Namespace, batch: int, steps: int) -> dict[str, list[str]]:
    """Name -> command that prints a line of JSON."""
    me = [sys.executable, __file__, "--data-dir", args.data_dir, "--batch", str(batch)]
    me += ["--steps", str(steps)]
    peer = ["--data-dir", args.data_dir, "--batch", str(batch), "--steps", str(steps)]
    peer += ["--threads", str(args.threads)]
    commands = {
        "zspace fp32": [*me, "--only", "fp32"],
        "zspace auto": [*me, "--only", "auto"],
        "textbook": [sys.executable, str(PEERS / "textbook.py"), *peer],
    }
    if args.pythae_python:
        commands["pythae"] = [args.pythae_python, str(PEERS / "pythae_loop.py"), *peer]
    return commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--pythae-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--only", choices=["fp32", "auto", "rate"])
    args = parser.parse_args()
    if args.only == "rate":
        print(json.dumps({"rate": product_rate()}))
    elif args.only:
        print(json.dumps(ours(args.data_dir, args.batch, args.steps, args.only)))
    else:
        report(args)


def report(args: argparse.Namespace) -> None:
    """Measure all, round by round, and print a table."""
    print(f"threads {args.threads}, rounds {args.rounds}; medians over rounds [least, most]")
    for batch, steps in ((128, 150), (1024, 40)):
        seconds: dict[str, list[float]] = {}
        share: dict[str, list[float]] = {}
        flops = 0.0
        for _ in range(args.rounds):
            rate = child(
                [sys.executable, __file__, "--data-dir", "-", "--only", "rate"], args.threads
            )
            for name, command in contestants(args, batch, steps).items():
                found = child(command, args.threads)
                seconds.setdefault(name, []).append(found["seconds_per_step"])
                flops = found.get("flops") or flops  # zspace, which counts them, comes first
                achieved = flops / found["seconds_per_step"] / rate["rate"]
                share.setdefault(name, []).append(achieved)
        print(
            f"\nbatch {batch}: {flops / 1e9:.2f} GFLOP a step, "
            f"products {rate['rate'] / 1e9:.0f} GFLOP/s"
        )
        for name, times in seconds.items():
            ms, parts = [1e3 * t for t in times], share[name]
            print(
                f"  {name:12}  {statistics.median(ms):7.2f} ms [{min(ms):.2f}, {max(ms):.2f}]"
                f"   {batch / statistics.median(times):8,.0f} images/s"
                f"   {statistics.median(parts):.2f} of the product rate"
            )


if __name__ == "__main__":
    main()

"""Whether the KL of a VAE with code size 2 is steady: no epoch of a training stands out.

    python benchmarks/steady_kl.py [--seeds 0 1 2 3 4 5 6 7 8 9] [--from 4] [--most 3]

Trains the default VAE on the digits inside the package, in bf16 on any machine, and compares the
mean training KL of every epoch with those of the epochs before and after it. One unusual image
whose code is far too wide for one step is enough to make an epoch stand out. Exits with code 1
where an epoch exceeds a neighbour more than `--most` times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import zspace


def excesses(kl: Sequence[float], first: int) -> dict[int, float]:
    """By epoch, counted from 1: its KL over the smaller KL of its neighbours, from `first` on."""
    return {
        i + 1: kl[i] / min(kl[j] for j in (i - 1, i + 1) if 0 <= j < len(kl))
        for i in range(first - 1, len(kl))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(10))
    parser.add_argument("--from", dest="first", type=int, default=4, help="first epoch to judge")
    parser.add_argument(
        "--most", type=float, default=3.0, help="times a neighbour's KL that is too much"
    )
    parser.add_argument("--epochs", type=int, help="by default as many as zspace trains")
    args = parser.parse_args()
    found = []
    print("| seed | validation | last KL | most above a neighbour | seconds |")
    print("|---|---|---|---|---|", flush=True)
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = zspace.train(
                "vae", latent=2, data="mnist5k", precision="bf16", seed=seed,
                epochs=args.epochs, out=Path(folder) / "run", quiet=True,
            )  # fmt: skip
            epochs = run.metrics
        kl = [epoch["train"]["kl"] for epoch in epochs]
        times = excesses(kl, args.first)
        worst = max(times, key=lambda number: times[number])
        best = min(epoch["validation"]["objective"] for epoch in epochs)
        seconds = sum(epoch["seconds"] for epoch in epochs)
        print(
            f"| {seed} | {best:.2f} | {kl[-1]:.2f} | {times[worst]:.2f} times, epoch {worst} "
            f"| {seconds:.0f} |",
            flush=True,
        )
        found += [
            f"seed {seed}: the mean training KL of epoch {number} is {kl[number - 1]:.1f}, "
            f"{value:.1f} times that of a neighbour"
            for number, value in times.items()
            if value > args.most
        ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

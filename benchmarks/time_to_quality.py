"""Seconds of training until a validation value is reached: zspace, a textbook loop, and pythae.

    python benchmarks/time_to_quality.py --data-dir DIR [--pythae-python PATH] [--threads 2]
        [--seeds 0 1 2] [--target 28.62]

The VAE 784-784-784-20 and mirrored on full MNIST, squared error + KL, 54,000 training images.
28.62 is what published code of this network reaches on validation after 100 epochs. zspace trains
at its defaults; the textbook loop (peers/textbook.py) and pythae 0.1.2 (peers/pythae_loop.py, in
an environment of its own) with AdamW at a constant 1e-3 and batch 1024, as such code does.

Every contestant is a process of its own with the same number of threads; for each seed they run
one after the other, so that a machine that drifts drifts for all. Counted are the seconds of
training steps with their batches, up to the end of the first epoch whose validation value lies
below the target; validation itself, imports and reading files are nobody's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys

from throughput import PEERS, child


def ours(data_dir: str, seed: int, target: float, options: dict[str, object]) -> dict[str, object]:
    """Epochs and seconds of zspace until validation is below the target."""
    import torch

    from zspace.runs.config import Config
    from zspace.training.build import Build

    given = {"data": "mnist", "data_dir": data_dir, "seed": seed, "device": "cpu", **options}
    fit = Build.prepare(Config.of("vae", given), quiet=True).trainer
    epochs, seconds = [], 0.0
    for epoch in fit.epochs():
        seconds += epoch.seconds
        value = epoch.validation["objective"]
        epochs.append({"epoch": epoch.number, "seconds": seconds, "validation": value})
        if value < target:
            break
    return {
        "who": f"zspace ({fit.settings.precision}, batch {fit.settings.batch})",
        "epochs": epochs,
        "threads": torch.get_num_threads(),
    }


def contestants(args: argparse.Namespace, seed: int) -> dict[str, list[str]]:
    """Name -> command that prints a line of JSON."""
    me = [sys.executable, __file__, "--data-dir", args.data_dir, "--seeds", str(seed), "--only"]
    commands = {"zspace": [*me, "--target", str(args.target)]}
    peer = ["--data-dir", args.data_dir, "--batch", "1024", "--epochs", str(args.most)]
    peer += ["--target", str(args.target), "--threads", str(args.threads), "--seed", str(seed)]
    commands["textbook"] = [sys.executable, str(PEERS / "textbook.py"), *peer]
    if args.pythae_python:
        commands["pythae"] = [args.pythae_python, str(PEERS / "pythae_loop.py"), *peer]
    return commands


def row(name: str, found: dict, target: float) -> tuple[str, float | None]:
    """A line of the table, and the seconds, None where the target was not reached."""
    last = found["epochs"][-1]
    seconds = last["seconds"] if last["validation"] < target else None
    reached = f"{seconds:.1f}" if seconds is not None else f"not within {last['seconds']:.0f}"
    return f"{found['who']} | {last['epoch']} | {last['validation']:.2f} | {reached}", seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--pythae-python")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--target", type=float, default=28.62)
    parser.add_argument("--most", type=int, default=150, help="epochs after which a peer gives up")
    parser.add_argument("--set", default="{}", help="options of zspace as JSON; by default none")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(ours(args.data_dir, args.seeds[0], args.target, json.loads(args.set))))
        return
    took: dict[str, list[float]] = {}
    print("| seed | who | epochs | validation | seconds |\n|---|---|---|---|---|")
    for seed in args.seeds:
        for name, command in contestants(args, seed).items():
            extra = ["--set", args.set] if name == "zspace" else []
            text, seconds = row(name, child([*command, *extra], args.threads), args.target)
            print(f"| {seed} | {text} |", flush=True)
            took.setdefault(name, []).extend([] if seconds is None else [seconds])
    print("\n| | median seconds | least, most | times zspace |\n|---|---|---|---|")
    mine = statistics.median(took["zspace"]) if took["zspace"] else float("nan")
    for name, seconds in took.items():
        if seconds:
            half = statistics.median(seconds)
            spread = f"{min(seconds):.1f}, {max(seconds):.1f}"
            print(f"| {name} | {half:.1f} | {spread} | {half / mine:.1f} |")


if __name__ == "__main__":
    main()

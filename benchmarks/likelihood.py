"""A small Bernoulli VAE on statically binarised MNIST: its importance-weighted bound and its cost.

    python benchmarks/likelihood.py --data-dir DIR [--minutes 20] [--iw 5000] [--images 10000]

The recipe is 784-400-40 and mirrored, one hidden layer of 400, in fp32, trained for so many epochs
as fit the minutes at the pace of two epochs that are trained first. Printed: the ELBO on
validation as training goes on, the bound of `--iw` draws on test images, and its seconds and peak
memory in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPE = {"hidden": 400, "latent": 40, "likelihood": "bernoulli", "binarize": "static"}
MEASURE = """
import resource, sys, time
from dataclasses import replace
import numpy as np, torch, zspace
from zspace.analysis.likelihood import importance_weighted
run, K, images = zspace.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
test = run.data().test
test = replace(test, index=test.index[:images])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start, busy = time.perf_counter(), time.process_time()
bound = importance_weighted(run, test, K, quiet=False)
seconds, busy = time.perf_counter() - start, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
error = bound.std(ddof=1) / len(bound) ** 0.5
print(f"RESULT {bound.mean():.2f} ± {error:.2f} nats on {len(bound):,} test images, K = {K:,}")
print(f"RESULT {seconds:.0f} s ({busy:.0f} s of CPU time, {torch.get_num_threads()} threads), "
      f"peak {peak:.0f} MB, {before:.0f} MB of it before")
"""


def train(out: Path, data_dir: str, epochs: int, seed: int = 0) -> dict:
    """One training; its result, and its metrics by epoch."""
    options = {**RECIPE, "data": "mnist", "data-dir": data_dir, "precision": "fp32"}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = ["train", "vae", *words, "--epochs", str(epochs), "--seed", str(seed), "--quiet"]
    subprocess.run([sys.executable, "-m", "zspace", *command, "--out", str(out)], check=True)
    result = json.loads((out / "run.json").read_text())["result"]
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return {**result, "metrics": [json.loads(line) for line in lines]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--iw", type=int, default=5000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="a folder for the run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pace = train(Path(folder) / "pace", args.data_dir, 2)["seconds"] / 2
        epochs = max(2, round(60 * args.minutes / pace))
        out = args.keep or Path(folder) / "run"
        made = train(out, args.data_dir, epochs)
        print(f"{epochs} epochs in {made['seconds']:.0f} s, best {made['best_epoch']}\n")
        print("| epoch | ELBO on train | ELBO on validation |\n|---|---|---|")
        shown = {1, 2, 5, 10, 20, 50, 100, 200, 500, epochs}
        for line in made["metrics"]:
            if line["number"] in shown:
                values = (-line[split]["objective"] for split in ("train", "validation"))
                print(f"| {line['number']} | {' | '.join(f'{value:.2f}' for value in values)} |")
        print(f"\nELBO on test: {-made['test']['objective']:.2f}", flush=True)
        command = [sys.executable, "-c", MEASURE, str(out), str(args.iw), str(args.images)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print("\n".join(done.stdout.split("RESULT ")[1:]))


if __name__ == "__main__":
    main()

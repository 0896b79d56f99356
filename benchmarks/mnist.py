"""VAE and CVAE on full MNIST at the default settings: validation squared error + KL, time, memory.

    python benchmarks/mnist.py --data-dir DIR [--seeds 0 1 2] [--recipes vae cvae] [-- more]

Each run is `zspace train RECIPE --data mnist` in a process of its own; options after -- go to it.
Published code of the same networks: 28.62 (VAE) and 24.96 (CVAE) after 100 epochs of AdamW 1e-3 at
batch 1024.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEAK = """
import resource, sys
from zspace.cli import main
code = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(code)
"""


def run(recipe: str, seed: int, data_dir: str, more: list[str]) -> dict[str, float]:
    """One training; its result and its peak of resident memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = ["train", recipe, "--data", "mnist", "--data-dir", data_dir, "--quiet"]
        command += ["--seed", str(seed), "--out", str(out), *more]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True
        )
        record = json.loads((out / "run.json").read_text())
    result, settings = record["result"], record["config"]["training"]
    return {
        "validation": result["validation"]["objective"],
        "mse": result["validation"]["mse"],
        "kl": result["validation"].get("kl", 0.0),
        "test": result["test"]["objective"],
        "epochs": result["epochs"],
        "best": result["best_epoch"],
        "seconds": result["seconds"],
        "memory": float(done.stdout.split("PEAK")[1]),
        "precision": settings["precision"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=["vae", "cvae"])
    args, more = parser.parse_known_args()
    print(
        "| recipe | seed | validation | error + KL | test | best epoch | seconds | peak MB | in |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for recipe in args.recipes:
        values = []
        for seed in args.seeds:
            r = run(recipe, seed, args.data_dir, [m for m in more if m != "--"])
            values.append(r["validation"])
            print(
                f"| {recipe} | {seed} | {r['validation']:.2f} | {r['mse']:.2f} + {r['kl']:.2f} | "
                f"{r['test']:.2f} | {r['best']} of {r['epochs']} | {r['seconds']:.0f} | "
                f"{r['memory']:.0f} | {r['precision']} |",
                flush=True,
            )
        print(f"{recipe}: median {statistics.median(values):.2f}, worst {max(values):.2f}\n")


if __name__ == "__main__":
    main()

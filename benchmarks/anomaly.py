"""Anomaly scores measured: MNIST against Fashion-MNIST both ways, and each class held out in turn.

    python benchmarks/anomaly.py pairs --data-dir DIR [--full] [--epochs 20] [--seeds 0]
    python benchmarks/anomaly.py classes [--data mnist5k] [--model NAME] [--epochs 20]

pairs     every model of MODELS trained on one set and shown the test images of both, and the
          other way round; on 5,000 images of each unless --full is given
classes   a model for each class of a set, trained without it; that class is the anomaly

Both print tables in Markdown: AUROC with its 95% bootstrap interval, FPR at 95% TPR.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SETS = ("mnist", "fashion-mnist")
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "AE": ("ae", {}),
    "VAE, squared error": ("vae", {}),
    "VAE, Bernoulli, binarised": ("vae", {"likelihood": "bernoulli", "binarize": "dynamic"}),
    "VAE, continuous Bernoulli": ("vae", {"likelihood": "continuous-bernoulli"}),
    "VAE, Gaussian": ("vae", {"likelihood": "gaussian"}),
}


def small(name: str, data_dir: Path | None, folder: Path) -> Path:
    """4,500 training and 500 test images of a set, spread evenly over its classes, as a file."""
    import torch

    from zspace.analysis.trained import evenly
    from zspace.data.loading import load

    data = load(name, data_dir=data_dir, quiet=True)
    arrays = {}
    for split, n, end in ((data.train, 4500, ""), (data.test, 500, "_test")):
        i = evenly(split, n)
        arrays[f"x{end}"] = (split.images(i) * 255).round().to(torch.uint8).numpy()
        arrays[f"y{end}"] = split.labels(i).numpy()
    np.savez(path := folder / f"{name}.npz", allow_pickle=False, **arrays)
    return path


def trained(recipe: str, **options: Any) -> Any:
    import zspace

    folder = Path(tempfile.mkdtemp()) / "run"
    return zspace.train(recipe, out=folder, quiet=True, **options)


def cell(found: dict[str, Any], score: str) -> str:
    """AUROC [interval] / FPR95; empty where the model has no such score."""
    if f"{score}_auroc" not in found:
        return ""
    auroc, fpr = found[f"{score}_auroc"], found[f"{score}_fpr95"]
    low, high = auroc.interval
    return f"{auroc.value:.3f} [{low:.3f}, {high:.3f}] / {fpr.value:.2f}"


def head(first: str) -> None:
    from zspace.analysis.anomaly import SCORES

    print(f"| {first} | {' | '.join(SCORES)} |")
    print("|---" * (len(SCORES) + 1) + "|", flush=True)


def row(name: str, found: dict[str, Any]) -> None:
    from zspace.analysis.anomaly import SCORES

    print(f"| {name} | {' | '.join(cell(found, score) for score in SCORES)} |", flush=True)


def pairs(args: argparse.Namespace) -> None:
    from zspace.analysis.anomaly import detection_scores

    with tempfile.TemporaryDirectory() as folder:
        path = {
            name: name if args.full else str(small(name, args.data_dir, Path(folder)))
            for name in SETS
        }
        for own, other in (SETS, SETS[::-1]):
            print(f"\n{own} (ordinary) against {other} (anomalies)\n")
            head("model")
            for title, (recipe, options) in MODELS.items():
                for seed in args.seeds:
                    if args.only and not any(text in title for text in args.only):
                        continue
                    start = time.perf_counter()
                    run = trained(
                        recipe, data=path[own], data_dir=args.data_dir, seed=seed,
                        epochs=args.epochs, **options,
                    )  # fmt: skip
                    found = detection_scores(run, run.data(), against=path[other], most=args.most)
                    row(f"{title}" + (f", seed {seed}" if len(args.seeds) > 1 else ""), found)
                    seconds = time.perf_counter() - start
                    print(f"{title}, seed {seed}: {seconds:.0f} s", file=sys.stderr)


def classes(args: argparse.Namespace) -> None:
    from zspace.analysis.anomaly import detection_scores
    from zspace.data.loading import load

    recipe, options = MODELS[args.model]
    names = load(args.data, data_dir=args.data_dir, quiet=True).classes
    print(f"\n{args.data}: {args.model}, {args.epochs} epochs; the class is the anomaly\n")
    head("class held out")
    every = []
    for name in names:
        run = trained(
            recipe, data=args.data, data_dir=args.data_dir, hold_out_class=name,
            seed=args.seeds[0], epochs=args.epochs, **options,
        )  # fmt: skip
        every.append(detection_scores(run, run.data(), most=args.most))
        row(name, every[-1])
    scores = [key for key in every[0] if key.endswith("_auroc")]
    means = {key: np.mean([found[key].value for found in every]) for key in scores}
    print(f"| mean AUROC | {' | '.join(f'{value:.3f}' for value in means.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["pairs", "classes"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--model", choices=MODELS, default="VAE, squared error")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--most", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    {"pairs": pairs, "classes": classes}[args.what](args)


if __name__ == "__main__":
    main()

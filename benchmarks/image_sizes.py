"""Networks for images at five sizes: seconds, memory, what they reach in a minute, and a picture.

    python benchmarks/image_sizes.py --data-dir DIR --photographs DATA [--picture FILE]

28 x 28 are MNIST's digits, 32 x 32 the given photographs (a folder or a file), 64 to 256 are cuts
of scikit-learn's two photographs: left parts for training, right parts for validation and test, so
that no pixel is in both. Each network trains as a plain autoencoder for --seconds of one core, a
schedule to its end, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROWS: list[tuple[int, str, dict[str, Any]]] = [
    (28, "mlp", {}),
    (28, "conv", {}),
    (32, "mlp", {}),
    (32, "conv", {}),
    (64, "conv", {}),
    (64, "unet", {"code": "spatial", "latent": 4}),
    (128, "conv", {}),
    (128, "unet", {"code": "spatial", "latent": 4}),
    (256, "conv", {}),
    (256, "conv", {"code": "spatial", "latent": 4}),
    (256, "unet", {"code": "spatial", "latent": 4}),
]
LATENT, SHOWN = 64, 8


def cuts(side: int, folder: Path) -> str:
    """Random cuts of the two photographs, mirrored at random, as one file."""
    from sklearn.datasets import load_sample_images

    path, random = folder / f"{side}.npz", np.random.default_rng(0)
    photographs = load_sample_images().images

    def some(n: int, first: float, last: float) -> np.ndarray:
        made = np.empty((n, side, side, 3), np.uint8)
        for i in range(n):
            photo = photographs[i % 2]
            left, right = int(first * photo.shape[1]), int(last * photo.shape[1])
            wide = min(2 * side, photo.shape[0], right - left)  # of this many, every second
            step = 2 if wide == 2 * side else 1
            reach = step * side
            y = random.integers(0, photo.shape[0] - reach + 1)
            x = random.integers(left, right - reach + 1)
            cut = photo[y : y + reach, x : x + reach]
            cut = cut.reshape(side, step, side, step, 3).mean((1, 3)).astype(np.uint8)
            made[i] = cut[:, ::-1] if random.random() < 0.5 else cut
        return made

    third = 2 / 3 if side < 256 else 0.6
    np.savez(path, x=some(1600, 0, third), x_val=some(64, third, 1), x_test=some(64, third, 1))
    return str(path)


def one(side: int, net: str, more: dict[str, Any], args: argparse.Namespace, folder: Path) -> None:
    """Train and write down what came of it; called in a fork."""
    import torch

    import zspace
    from networks import some
    from zspace.runs.config import Config
    from zspace.training.build import Build

    torch.set_num_threads(1)
    data: dict[str, Any] = {"data": cuts(side, folder) if side > 32 else "mnist"}
    if side == 28:
        data["data_dir"] = args.data_dir
    if side == 32:
        data["data"] = args.photographs
    options = {"net": net, "latent": LATENT, "batch": 32 if side > 32 else 128, **data, **more}
    build = Build.prepare(Config.of("ae", options), quiet=True)
    trainer, count = build.trainer, len(build.data.train)
    batches, times = iter(trainer.train.epoch(0)), []
    for batch, _ in zip(batches, range(5), strict=False):
        start = time.process_time()
        trainer.train_on(batch)
        times.append(time.process_time() - start)
    each = float(np.median(times[1:])) / options["batch"]
    afford = max(
        1, int(args.seconds / each)
    )  # images; where fewer than there are, an epoch of these
    epochs, count = max(1, round(afford / count)), min(count, afford)
    options["data"] = replace(build.data, train=some(build.data.train, count))
    run = zspace.train("ae", epochs=epochs, out=folder / "run", quiet=True, **options)
    x = run.data().test.images(torch.arange(SHOWN))
    shown = torch.stack([x, run.reconstruct(x).clamp(0, 1)])
    np.save(folder / "shown.npy", (255 * shown).round().byte().permute(0, 1, 3, 4, 2).numpy())
    found = run.result["quality"]["test"]
    told = {
        "parameters": run.record["parameters"],
        "ms": 1000 * each,
        "epochs": epochs,
        "images": epochs * count,
        "numbers": int(np.prod(run.model.latent)),
        "psnr": found["psnr"],
        "ssim": found["ssim"],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    (folder / "told.json").write_text(json.dumps(told))


def picture(rows: list[tuple[str, np.ndarray]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(SHOWN, 2.3 * len(rows)))
    grid = figure.add_gridspec(3 * len(rows), SHOWN, height_ratios=[0.3, 1, 1] * len(rows))
    grid.update(left=0.01, right=0.99, top=0.995, bottom=0.005, wspace=0.04, hspace=0.06)
    for r, (title, shown) in enumerate(rows):
        head = figure.add_subplot(grid[3 * r, :])
        head.axis("off")
        head.text(0, 0.15, title, fontsize=10)
        for k, i in np.ndindex(2, SHOWN):
            axis = figure.add_subplot(grid[3 * r + 1 + k, i])
            axis.imshow(shown[k, i].squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.axis("off")
    figure.savefig(path, dpi=110, pil_kwargs={"optimize": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--photographs", help="of 32 x 32; without them these rows are left out")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 32, 64, 128, 256])
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    print(
        "| pixels | network | code | parameters | ms an image | images seen | PSNR | SSIM | GB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    pictures = []
    for side, net, more in ROWS:
        if side not in args.sizes or (side == 32 and not args.photographs):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            work = multiprocessing.get_context("spawn").Process(
                target=one, args=(side, net, more, args, folder)
            )
            work.start()
            work.join()
            told = json.loads((folder / "told.json").read_text())
            shape = "spatial" if "code" in more else "flat"
            label = f"{side} pixels, {net}, {told['numbers']} numbers"
            pictures.append((label, np.load(folder / "shown.npy")))
        print(
            f"| {side} | `{net}` | {told['numbers']:,} {shape} | {told['parameters']:,} | "
            f"{told['ms']:.2f} | {told['images']:,} | {told['psnr']:.2f} | {told['ssim']:.3f} | "
            f"{told['memory']:.2f} |",
            flush=True,
        )
    if args.picture:
        picture(pictures, args.picture)


if __name__ == "__main__":
    main()

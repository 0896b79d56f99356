"""Attention and a discriminator: three measurements, each a table.

    python benchmarks/images.py unet --data-dir DIR [--latent 2 4 16] [--epochs 8] [--recipe ae]
    python benchmarks/images.py seconds --data-dir DIR [--steps 20] [--set net=conv data=FOLDER]
    python benchmarks/images.py sharp --data FOLDER [--epochs 12] --out DIR

unet      MNIST, a spatial code at a quarter of the resolution: PSNR and SSIM of test images
seconds   one step of vaegan, by default with a U-Net on MNIST: ours, and a straightforward loop of
          the same networks and terms (peers/straight_gan.py), in turns in one process
sharp     a folder of colour images: a VAE-GAN, and VAEs of its code size with several KL weights,
          of which that of the nearest KL on validation stands beside it in a picture. How near
          reconstructions come is measured in histograms of oriented gradients (HOG), with which
          none was trained, and in the features of the judge that the VAE-GAN was trained with
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

KL = 5e-6 * 28 * 28
"""The published weight, against the mean over pixels, for a squared error that is a sum."""
NET = {"net": "unet", "code": "spatial", "channels": (32, 64), "batch": 64}
PUBLISHED = {2: (0.98, 30.5), 4: (0.985, 32.8), 16: (0.99, 35.5)}


def train(recipe: str, out: Path | None = None, **options: Any) -> Any:
    import zspace

    folder = out or Path(tempfile.mkdtemp()) / "run"
    return zspace.train(recipe, out=folder, quiet=not sys.stderr.isatty(), **options)


def unet(args: argparse.Namespace, more: dict[str, Any]) -> None:
    import math

    print("| code | recipe | epochs | CPU s | SSIM | published | PSNR, mean of images "
          "| of the mean error | published | squared error + KL | validation |")  # fmt: skip
    print(f"|{'---|' * 11}", flush=True)
    for latent in args.latent:
        options = {"data": "mnist", "data_dir": args.data_dir, "latent": latent}
        if args.recipe == "beta_vae":
            options["beta"] = KL
        begin = time.process_time()
        run = train(args.recipe, epochs=args.epochs, **{**NET, **options, **more})
        taken = time.process_time() - begin
        found = run.result["quality"]["test"]
        ssim, psnr = PUBLISHED.get(latent, ("", ""))
        test, validation = (
            " + ".join(f"{terms[name]:.3f}" for name in ("mse", "kl") if name in terms)
            for terms in (run.result["test"], run.result["validation"])
        )
        print(
            f"| {latent} x 7 x 7 | {run.config.recipe} | {run.result['epochs']} | {taken:.0f} | "
            f"{found['ssim']:.4f} | {ssim} | "
            f"{found['psnr']:.2f} | {-10 * math.log10(found['mse']):.2f} | {psnr} | "
            f"{test} | {validation} |",
            flush=True,
        )


def seconds(args: argparse.Namespace, more: dict[str, Any]) -> None:
    import torch

    from peers.straight_gan import steps as straight
    from zspace.runs.config import Config
    from zspace.training.build import Build

    chosen = {**NET, "latent": 4, "beta": KL, "perceptual": "judge", "data": "mnist"}
    options = {
        **chosen,
        "data_dir": args.data_dir,
        "discriminator_start": 0.0,
        "adversarial_start": 0.0,
        **more,
    }
    session = Build.prepare(Config.of("vaegan", options), quiet=True)
    fit = session.trainer
    batches = iter(fit.train.epoch(0))
    theirs = straight(session, options["batch"])
    fit.model.train()
    turns = {
        "zspace": lambda: fit.train_on(next(batches)),
        "straightforward": lambda: next(theirs),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for _ in range(args.steps + 2):
        for name, step in turns.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    print(f"precision {fit.settings.precision}, {torch.get_num_threads()} threads, medians of "
          f"{args.steps} steps of batch {options['batch']}")  # fmt: skip
    medians = {
        name: [statistics.median(column) for column in zip(*values[2:], strict=True)]
        for name, values in times.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"{name}: {wall * 1e3:.0f} ms a step, {cpu * 1e3:.0f} ms of CPU time, "
              f"{wall * len(fit.train):.0f} s an epoch")  # fmt: skip
    ratios = [a / b for a, b in zip(*medians.values(), strict=True)]
    print(f"ratio {ratios[0]:.2f} by the clock, {ratios[1]:.2f} of CPU time")


def sharp(args: argparse.Namespace, more: dict[str, Any]) -> None:
    import torch

    from zspace.models.judge import train_judge
    from zspace.models.perceptual import Perceptual
    from zspace.report.figures.registry import draw
    from zspace.report.figures.style import save
    from zspace.runs.many import Study
    from zspace.training.api import train

    options = {"data": args.data, "latent": args.latent[0], "epochs": args.epochs, "net": "conv"}
    out = Path(args.out)
    vaes = [train("beta_vae", out=out / f"beta-{beta}", beta=beta, **options, **more)
            for beta in args.betas]  # fmt: skip
    gan = train("vaegan", out=out / "vaegan", beta=args.betas[0], perceptual="judge", **options,
                **more)  # fmt: skip
    kls = [abs(run.result["validation"]["kl"] - gan.result["validation"]["kl"])
           for run in vaes]  # fmt: skip
    pair = [vaes[kls.index(min(kls))], gan]
    save(draw("reconstructions", Study(out, pair)), out / "sharp.png")
    study = Study(out, [*vaes, gan])
    term = Perceptual(train_judge(study.data, torch.device("cpu")))
    some = torch.randperm(len(study.data.test), generator=torch.Generator().manual_seed(0))[:2000]
    x = study.data.test.images(some)
    print("| recipe | KL weight | seconds | distance of HOG | in the judge's features | SSIM "
          "| PSNR | squared error | KL |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for run in study.runs:
        with torch.no_grad():
            y = torch.cat([run.reconstruct(part) for part in x.split(250)])
            pairs = zip(x.split(250), y.split(250), strict=True)
            judged = torch.cat([term.distance(a, b) for a, b in pairs])
        near = " | ".join(
            f"{each.mean():.4f} ± {1.96 * each.std() / len(each) ** 0.5:.4f}"
            for each in ((oriented(x) - oriented(y)).square().sum(1), judged)
        )
        measured, test = run.result["quality"]["test"], run.result["test"]
        beta = run.config.recipe_options["beta"]
        print(f"| {run.config.recipe} | {beta} | {run.result['seconds']:.0f} | {near} | "
              f"{measured['ssim']:.3f} | {measured['psnr']:.2f} | {test['mse']:.1f} | "
              f"{test['kl']:.0f} |", flush=True)  # fmt: skip


def oriented(x: Any) -> Any:
    """Histograms of oriented gradients (N, D) of images (N, C, H, W): cells of 4 x 4 pixels."""
    import torch
    from skimage.feature import hog

    cells = {"orientations": 9, "pixels_per_cell": (4, 4), "cells_per_block": (2, 2)}
    images = x.permute(0, 2, 3, 1).numpy()
    return torch.stack([torch.from_numpy(hog(im, channel_axis=-1, **cells)) for im in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("unet", "seconds", "sharp"))
    parser.add_argument("--data-dir")
    parser.add_argument("--data")
    parser.add_argument("--out")
    parser.add_argument("--latent", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--recipe", choices=("beta_vae", "ae"), default="beta_vae", help="of unet")
    parser.add_argument("--betas", type=float, nargs="+", default=[0.1, 0.03, 0.01],
                        help="sharp: of the VAEs; the first is the VAE-GAN's, too")  # fmt: skip
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="further options, name=value")
    args = parser.parse_args()
    more = {name: value(text) for name, text in (item.split("=", 1) for item in args.set)}
    {"unet": unet, "seconds": seconds, "sharp": sharp}[args.what](args, more)


def value(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()

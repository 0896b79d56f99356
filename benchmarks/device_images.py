"""The part of `device.py` on networks of convolutions."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def images(bench: Any, say: Callable[[str], None], rate: Any, counter: Any) -> None:
    """Images a second of steps as they are and recorded, and the share of the product rate."""
    best = rate(bench, torch.bfloat16)
    f4 = {"stem": "full", "channels": (128, 256, 512), "code": "spatial", "latent": 4}
    rows: list[tuple[str, int, int, int, dict[str, Any]]] = [
        ("conv", 32, 128, 3, {"net": "conv"}),
        ("conv", 32, 1024, 3, {"net": "conv"}),
        ("unet", 32, 128, 3, {"net": "unet"}),
        ("conv --stem full", 32, 1024, 3, {"net": "conv", "stem": "full"}),
        ("f4 tokeniser", 256, 8, 3, {"net": "conv", **f4}),
        ("f4 tokeniser", 256, 32, 3, {"net": "conv", **f4}),
        ("f4 tokeniser with attention", 256, 8, 3, {"net": "unet", **f4}),
    ]
    if bench.small:
        rows = [(name, 16, 8, 1, {**o, "channels": (4, 8)}) for name, *_, o in rows[::2]]
    say("| network | pixels | batch | graph | ms a step | images/s | GFLOP an image | share |\n")
    say("|---|---|---|---|---|---|---|---|\n")
    for title, side, batch, channels, options in rows:
        n = batch * 5 // 2
        x = np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)
        path = bench.folder / f"{side}-{batch}.npz"
        np.savez(path, x=x, x_val=x[:64], x_test=x[:64])
        for graph in ("off", "auto"):
            given = {"data": str(path), "data_dir": None, "batch": batch, "epochs": 3, **options}
            given |= {"graph": graph, "precision": "fp32" if bench.small else "bf16"}
            try:
                build = bench.built("vae", **given)
                trainer = build.trainer
                first = next(iter(trainer.train.epoch(0)))
                trainer.model.train()
                with counter(display=False) as count:
                    p = trainer.model(first.x, None)
                    trainer.players[0].objective(p, 1.0)[0].backward()
                ms = 1000 * bench.seconds(lambda t=trainer, f=first: t.train_on(f), 5)
            except Exception as error:
                traceback.print_exc()
                say(f"| {title} | {side} | {batch} | {graph} | {error!s:.200} |\n")
                continue
            work = count.get_total_flops()
            say(
                f"| {title} | {side} | {batch} | {build.config.training.graph} | {ms:.2f} | "
                f"{1000 * batch / ms:,.0f} | {work / batch / 1e9:.2f} | "
                f"{100 * work / (ms / 1000) / best:.1f}% |\n"
            )

"""The part of `device.py` on networks of convolutions."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

MOST = 6
"""Kinds of kernels that are told of each network."""


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, as if each met the memory alone."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        view = any(a.alias_info and not a.alias_info.is_write for a in func._schema.returns)
        if not view and "empty" not in str(func):
            seen = [t for t in tree_leaves((args, kwargs, made)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in seen)
        return made


def copies(bench: Any) -> float:
    """Bytes a second that a copy reads and writes."""
    x = torch.empty(1 << (20 if bench.small else 30), dtype=torch.uint8, device=bench.device)
    y = torch.empty_like(x)
    return 2 * len(x) / bench.seconds(lambda: y.copy_(x), 2 if bench.small else 10)


def kernels(bench: Any, one: Callable[[], object]) -> tuple[float, Counter[str]]:
    """Busy milliseconds of one call, and of each kind of kernel."""
    kinds: Counter[str] = Counter()
    if bench.device.type != "cuda":
        return float("nan"), kinds
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        one()
        bench.wait()
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kinds[kind_of(event.name)] += event.time_range.elapsed_us() / 1000
    return sum(kinds.values()), kinds


def kind_of(kernel: str) -> str:
    """A kernel's name without its types and sizes.

    >>> kind_of("void at::native::vectorized_elementwise_kernel<4, at::native::Gelu<float>>(int)")
    'vectorized_elementwise_kernel'
    """
    return kernel.removeprefix("void ").split("<")[0].split("(")[0].split("::")[-1][:48]


def images(bench: Any, say: Callable[[str], None], rate: Any) -> None:
    """Images a second of steps as they are and recorded, and what bounds them: shares of the rate
    of products and of the rate of copies, the busy part of the time, the kernels that take most.
    """
    best, moved = rate(bench, torch.bfloat16), copies(bench)
    say(f"products in bf16 {best / 1e12:.0f} TFLOP/s, copies {moved / 1e9:.0f} GB/s\n\n")
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
    say("| network | pixels | batch | graph | ms a step | busy | images/s | GFLOP an image | ")
    say("MB an image | of products | of copies |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
    most: dict[str, str] = {}
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
                with FlopCounterMode(display=False) as count, Traffic() as traffic:
                    with trainer.autocast():
                        p = trainer.model(first.x, None)
                    trainer.players[0].objective(p, 1.0)[0].backward()
                step = partial(trainer.train_on, first)
                ms = 1000 * bench.seconds(step, 5)
                busy, kinds = kernels(bench, step)
            except Exception as error:
                traceback.print_exc()
                say(f"| {title} | {side} | {batch} | {graph} | {error!s:.200} |\n")
                continue
            work, each = count.get_total_flops(), traffic.bytes / batch
            say(
                f"| {title} | {side} | {batch} | {build.config.training.graph} | {ms:.2f} | "
                f"{busy:.2f} | {1000 * batch / ms:,.0f} | {work / batch / 1e9:.2f} | "
                f"{each / 1e6:.1f} | {100 * work / (ms / 1000) / best:.1f}% | "
                f"{100 * each * batch / (ms / 1000) / moved:.0f}% |\n"
            )
            parts = ", ".join(f"{name} {took:.2f}" for name, took in kinds.most_common(MOST))
            most[f"{title}, {side} pixels, batch {batch}"] = parts
    for row, parts in most.items():
        say(f"\nbusy ms of {row}: {parts or 'there is no GPU'}\n")

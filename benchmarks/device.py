"""The MNIST study of 18 models on one device: one by one, compiled, and same-size models together.

    python benchmarks/device.py --data-dir DIR [--device cuda] [--seeds 3] [--ways solo stacked]
    python benchmarks/device.py --small --device cpu      (a check that it runs, in a minute)

Three families (ae, vae, cvae) x six code sizes (2, 5, 10, 20, 50, 100) at the default settings:
18 models, and again with several seeds. Ways to train them, each in a fresh folder:

    solo       one after the other, as `zspace study --jobs 1`
    compile    the same with --compile on
    stacked    the seeds of each model in lockstep on stacked parameters

With one seed no two of the 18 have the same shapes, so `stacked` is only run with several. For
each way: seconds in all; in steps; in the rest (data, building, validation, measures, files); the
median test objective, by which a way that is fast and wrong would be seen. The first way pays for
loading libraries unless a short run is made before, which is done here.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zspace.runs.config import Config
from zspace.runs.run import Run
from zspace.training import api, stacked
from zspace.training.progress import Quiet

FAMILIES, SIZES = ("ae", "vae", "cvae"), (2, 5, 10, 20, 50, 100)
SMALL: dict[str, Any] = {"data": "mnist5k", "hidden": (64,), "epochs": 2}
Models = list[list[Config]]


def models(args: argparse.Namespace, seeds: int, **more: Any) -> Models:
    """The jobs of every model, one a seed."""
    options = {"data": "mnist", "data_dir": args.data_dir, "device": args.device, **more}
    options |= SMALL if args.small else {}
    sizes = SIZES[:2] if args.small else SIZES
    return [
        [Config.of(family, {**options, "latent": size, "seed": seed}) for seed in range(seeds)]
        for family in FAMILIES
        for size in sizes
    ]


def solo(jobs: list[Config], folder: Path) -> tuple[list[Run], float]:
    """The runs, and the seconds of their steps."""
    runs = [api.start(config, folder / str(i), Quiet(), 30.0) for i, config in enumerate(jobs)]
    return runs, sum(run.record["result"]["seconds"] for run in runs)


def lockstep(jobs: list[Config], folder: Path) -> tuple[list[Run], float]:
    """As `solo`; the seconds of one run are those of all."""
    folders = [folder / str(i) for i in range(len(jobs))]
    ends = stacked.start(jobs, folders, [Quiet() for _ in jobs])
    runs = [end for end in ends if isinstance(end, Run)]
    if len(runs) < len(jobs):
        raise SystemExit(f"a run failed: {next(e for e in ends if not isinstance(e, Run))}")
    return runs, runs[0].record["result"]["seconds"]


def measured(name: str, way: Callable[..., tuple[list[Run], float]], wanted: Models) -> None:
    """Train them all; a row of the table."""
    start, inside, values = time.perf_counter(), 0.0, []
    for jobs in wanted:
        with tempfile.TemporaryDirectory() as folder:
            runs, seconds = way(jobs, Path(folder))
            inside += seconds
            values += [run.record["result"]["test"]["objective"] for run in runs]
    total, first = time.perf_counter() - start, runs[0].record["config"]["training"]
    print(
        f"| {name} | {len(values)} | {first['epochs']} | {first['precision']} | {total:.1f} | "
        f"{inside:.1f} | {total - inside:.1f} | {statistics.median(values):.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--ways", nargs="+", default=["solo", "compile", "stacked"])
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    print(f"{name or platform.machine()}, {torch.get_num_threads()} CPU threads, ", end="")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python ", end="")
    print(f"{platform.python_version()}, asked for: {args.device}\n")
    with tempfile.TemporaryDirectory() as folder:
        solo([Config.of("vae", {**SMALL, "device": args.device})], Path(folder))
    print("| way | models | epochs | in | seconds | in steps | rest | median test objective |")
    print("|---|---|---|---|---|---|---|---|")
    for seeds in dict.fromkeys((1, args.seeds)):
        wanted = models(args, seeds)
        if "solo" in args.ways:
            measured("solo", solo, wanted)
        if "compile" in args.ways:
            measured("compile", solo, models(args, seeds, compile="on"))
        if "stacked" in args.ways and seeds > 1:
            measured("stacked", lockstep, wanted)


if __name__ == "__main__":
    main()

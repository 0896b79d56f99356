"""Image networks, raced per CPU second of one core: three measurements, each a table.

    python benchmarks/networks.py digits --data-dir DIR [--budgets 320] [--seeds 0 1 2]
    python benchmarks/networks.py digits --data-dir DIR --latent 20 --like-epochs 12
    python benchmarks/networks.py colours --data FOLDER [--budgets 15 60 240] [--recipes vae ae]
        [--peers-python PATH]
    python benchmarks/networks.py settings --data FOLDER [--budgets 15] [--peers-python PATH]

digits    MNIST, code 16: --net mlp and --net conv, each for as many epochs as the budget allows
colours   a folder of colour images whose sides are multiples of 16, code 64: zspace's networks
          against other scripts of the same loss, for equal seconds, and PCA beside the ae
settings  what each of a peer's settings comes to on validation; what was best at 15 seconds became
          the default of its script

--set name=value goes to zspace's networks other than mlp; --net names them. zspace's epochs follow
from a short run that is timed. Where fewer than four fit into the budget, so many of the images
are trained on that it is used up. Peers stop in the middle of an epoch, their learning rate is a
function of the seconds, and those of other libraries run in the environment of --peers-python (see
their scripts in peers/). Counted are CPU seconds of training steps with their batches; validation,
test, imports and reading are nobody's. A peer runs with a learning rate of one cycle and with a
constant one (--tries 1: one cycle alone), and the one that is better on validation is shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zspace
from images import value
from throughput import PEERS, child
from zspace.data import Data, load
from zspace.data.dataset import Samples
from zspace.training.progress import Quiet
from zspace.training.trainer import Epoch, Trainer

TRIED, WHOLE = 2048, 4
"""Images of the run that is timed; fewest epochs that are of all training images."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 31)}
"""For peers, what zspace asks of glibc by itself: keep what is freed."""


CYCLES = ("--rise 0.3", "--rise 1")
"""One cycle that rises for 0.3 of the seconds, and a constant learning rate."""


@dataclass(frozen=True)
class Peer:
    """A script in peers/, what it needs beside torch, and further settings that were tried."""

    script: str
    needs: str = ""
    others: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        return (*CYCLES, *self.others)


RIVALS = {
    "strided": Peer(
        "strided.py",
        others=(
            "--rise 0.05",
            "--rise 0.05 --lr 0.004",
            "--rise 1 --lr 0.004",
            "--batch 16",
            "--batch 16 --lr 0.001",
            "--batch 64",
            "--activation relu",
            "--batch 64 --activation relu",
            "--batch 64 --activation relu --rise 1",
            "--batch 64 --activation relu --lr 0.001",
            "--batch 64 --activation relu --lr 0.004",
            "--batch 64 --activation relu --no-norm",
            "--batch 64 --activation relu --widths 32 64 128 256",
        ),
    ),
    "pythae": Peer(
        "pythae_images.py",
        "pythae",
        (
            "--lr 0.001",
            "--rise 1 --lr 0.001",
            "--batch 32 --lr 0.001",
            "--rise 0.05",
            "--rise 0.05 --lr 0.004",
            "--net conv --batch 32 --lr 0.001",
        ),
    ),
    "diffusers": Peer(
        "diffusers_images.py",
        "diffusers",
        (
            "--lr 0.001",
            "--rise 0.05 --lr 0.004",
            "--batch 32",
            "--widths 16 32 64 64 --batch 32",
            "--widths 16 32 64 64 --batch 32 --lr 0.001",
        ),
    ),
}


@dataclass
class Clock(Quiet):
    """CPU and wall seconds of the steps of each epoch."""

    epochs: list[np.ndarray] = field(default_factory=list)

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self.begin = now()

    def step(self, trainer: Trainer) -> None:
        self.last = now()

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self.epochs.append(self.last - self.begin)
        self.begin = now()


def now() -> np.ndarray:
    return np.array([time.process_time(), time.perf_counter()])


def some(samples: Samples, count: int) -> Samples:
    """So many of them, drawn at random, always the same."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    return replace(samples, index=samples.index[order[:count]])


def little(data: Data, train: int, rest: int = 200) -> Data:
    """So many images for training, and for validation and test each."""
    return replace(
        data,
        train=some(data.train, train),
        validation=some(data.validation, rest),
        test=some(data.test, rest),
    )


def pace(recipe: str, data: Data, options: dict[str, Any]) -> float:
    """CPU seconds of an epoch: from epochs of a few images, a median without the first."""
    few, clock = little(data, TRIED), Clock()
    options = {"batch": 128, **options}  # the default of all but short trainings
    zspace.train(recipe, data=few, epochs=4, out=False, reporter=clock, **options)
    cpu = statistics.median(each[0] for each in clock.epochs[1:])
    return cpu * len(data.train) / len(few.train)


def ours(
    recipe: str, data: Data, options: dict[str, Any], budget: float, an_epoch: float
) -> dict[str, Any]:
    """What zspace comes to in these seconds."""
    whole, images = budget / an_epoch, len(data.train)
    epochs = max(1, math.floor(whole) if whole >= WHOLE else math.ceil(whole))
    if whole < WHOLE:
        images = min(images, max(1, int(images * whole / epochs)))
    part, clock = replace(data, train=some(data.train, images)), Clock()
    run = zspace.train(recipe, data=part, epochs=epochs, out=False, reporter=clock, **options)
    cpu, wall = np.sum(clock.epochs, axis=0)
    return {
        "parameters": run.record["parameters"],
        "epochs": epochs,
        "images": epochs * images,
        "cpu": cpu,
        "wall": wall,
        "validation": run.result["validation"],
        "test": run.result["test"],
    }


def loss(terms: Mapping[str, float]) -> float:
    """Squared error, and KL where there is one."""
    total = terms["mse"] + terms.get("kl", 0.0)
    return total if math.isfinite(total) else math.inf


def digits(args: argparse.Namespace, more: dict[str, Any]) -> None:
    data = load("mnist", data_dir=args.data_dir, quiet=True)
    data = little(data, 400) if args.small else data
    base = {"latent": args.latent or 16}
    tried = {"mlp": [{"net": "mlp", **base, "batch": batch} for batch in args.mlp_batch]}
    tried |= {net: [{"net": net, **base, **more}] for net in args.net}
    paces = {
        name: [(options, pace("vae", data, options)) for options in each]
        for name, each in tried.items()
    }
    budgets = args.budgets or [320.0]
    if args.like_epochs:
        budgets = [args.like_epochs * paces["mlp"][0][1]]
    print(f"code {base['latent']}, {len(data.train):,} images, one thread\n")
    head(f"budget, seed, network, batch, parameters, epochs, {MEASURED}")
    for budget in budgets:
        racing = dict(paces)
        for seed, name in itertools.product(args.seeds, paces):
            found = [
                (options, an_epoch, ours("vae", data, {**options, "seed": seed}, budget, an_epoch))
                for options, an_epoch in racing[name]
            ]
            options, an_epoch, best = min(found, key=lambda one: loss(one[2]["validation"]))
            racing[name] = [(options, an_epoch)]  # by validation, at the first seed
            batch = options.get("batch", "default")
            line(f"{budget:.0f}", seed, name, batch, best["parameters"], best["epochs"], best)


def colours(args: argparse.Namespace, more: dict[str, Any]) -> None:
    data = photographs(args)
    latent = args.latent or 64
    print(f"code {latent}, {len(data.train):,} images, one thread\n")
    head(f"recipe, budget, seed, contestant, parameters, images seen, {MEASURED}")
    with shared(data) as file:
        for recipe in args.recipes:
            if recipe == "ae":
                line(recipe, "", "", "PCA", *told(pca(data, latent)))
            nets = {net: {"net": net, "latent": latent, **more} for net in args.net}
            paces = {net: pace(recipe, data, options) for net, options in nets.items()}
            for budget, seed in itertools.product(args.budgets or [15, 60, 240], args.seeds):
                for net, options in nets.items():
                    given = {**options, "seed": seed}
                    found = ours(recipe, data, given, budget, paces[net])
                    line(recipe, f"{budget:g}", seed, f"zspace {net}", *told(found))
                for name in present(args):
                    tried = [
                        (theirs(args, name, file, recipe, budget, seed, setting), setting)
                        for setting in RIVALS[name].settings[: args.tries or 2]
                    ]
                    found, setting = min(tried, key=lambda one: loss(one[0]["validation"]))
                    line(recipe, f"{budget:g}", seed, f"{name} {setting}", *told(found))
    skipped(args)


def settings(args: argparse.Namespace, more: dict[str, Any]) -> None:
    head("recipe, budget, peer, setting, parameters, images seen, CPU s, wall s, validation")
    with shared(photographs(args)) as file:
        every = itertools.product(args.recipes, args.budgets or [15], present(args))
        for recipe, budget, name in every:
            for setting in RIVALS[name].settings[: args.tries]:
                found = theirs(args, name, file, recipe, budget, args.seeds[0], setting)
                line(recipe, f"{budget:g}", name, setting, *told(found))
    skipped(args)


def photographs(args: argparse.Namespace) -> Data:
    data = load(args.data, quiet=True)
    return little(data, 400) if args.small else data


MEASURED = "CPU s, wall s, validation, test, test error + KL"


def head(columns: str) -> None:
    names = columns.split(", ")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)


def told(found: dict[str, Any]) -> tuple[Any, ...]:
    return found["parameters"], found["images"], found


def line(*cells: Any) -> None:
    """A line of a table, of which the last cell becomes those of `MEASURED`."""
    texts = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells[:-1]]
    found, test = cells[-1], cells[-1].get("test")
    texts += [f"{found['cpu']:.1f}", f"{found['wall']:.1f}", f"{loss(found['validation']):.2f}"]
    if test:
        kl = f" + {test['kl']:.2f}" if "kl" in test else ""
        texts += [f"{loss(test):.2f}", f"{test['mse']:.2f}{kl}"]
    print(f"| {' | '.join(texts)} |", flush=True)


def pca(data: Data, latent: int) -> dict[str, Any]:
    """The error of principal components of the training images."""
    from sklearn.decomposition import PCA

    x = {name: part.images().flatten(1).numpy() for name, part in data.splits.items()}
    begin = now()
    model = PCA(latent, random_state=0).fit(x["train"])
    cpu, wall = now() - begin

    def error(of: np.ndarray) -> dict[str, float]:
        back = model.inverse_transform(model.transform(of))
        return {"mse": float(np.square(of - back).sum(1).mean())}

    return {
        "parameters": model.components_.size + model.mean_.size,
        "images": len(x["train"]),
        "cpu": cpu,
        "wall": wall,
        "validation": error(x["validation"]),
        "test": error(x["test"]),
    }


@contextmanager
def shared(data: Data) -> Iterator[str]:
    """A file of the data for the scripts of peers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        parts: dict[str, Any] = {
            name: part.images().mul(255).round().to(torch.uint8).numpy()
            for name, part in data.splits.items()
        }
        np.savez(file, **parts)
        yield str(file)


def theirs(
    args: argparse.Namespace,
    name: str,
    file: str,
    recipe: str,
    budget: float,
    seed: int,
    setting: str,
) -> dict[str, Any]:
    """What a peer comes to in these seconds; in settings on validation alone."""
    python = args.peers_python if RIVALS[name].needs else sys.executable
    command = [python, str(PEERS / RIVALS[name].script), "--data", file, "--recipe", recipe]
    command += ["--latent", str(args.latent or 64), "--budget", str(budget), "--seed", str(seed)]
    command += ["--test"] * (args.what == "colours") + setting.split()
    return child(command, 1)


def present(args: argparse.Namespace) -> list[str]:
    """The peers that can run here, of those asked for."""
    return [name for name in args.peers if not lacking(args, name)]


def lacking(args: argparse.Namespace, name: str) -> str:
    """Why a peer cannot run here, or nothing."""
    needs, python = RIVALS[name].needs, args.peers_python
    if not needs:
        return ""
    if not python:
        return f"{name} is left out: give --peers-python, of an environment with {needs}"
    found = subprocess.run([python, "-c", f"import {needs}"], capture_output=True)
    return f"{name} is left out: {python} cannot import {needs}" if found.returncode else ""


def skipped(args: argparse.Namespace) -> None:
    for name in args.peers:
        if sentence := lacking(args, name):
            print(f"\n{sentence}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("digits", "colours", "settings"))
    parser.add_argument("--data-dir")
    parser.add_argument("--data")
    parser.add_argument("--budgets", type=float, nargs="+", help="CPU seconds of training")
    parser.add_argument("--like-epochs", type=int, help="digits: what so many of the mlp take")
    parser.add_argument("--mlp-batch", type=int, nargs="+", default=[128], help="digits: tried")
    parser.add_argument("--latent", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", help="by default 0 1 2 for digits, else 0")
    parser.add_argument("--net", nargs="*", default=["conv"])
    parser.add_argument("--recipes", nargs="+", choices=("vae", "ae"), default=["vae", "ae"])
    parser.add_argument("--peers", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--peers-python", help="of an environment with pythae and diffusers")
    parser.add_argument("--tries", type=int, help="settings of a peer; by default 2, or all")
    parser.add_argument("--small", action="store_true", help="a few hundred images, for a trial")
    parser.add_argument("--set", nargs="*", default=[], help="further options, name=value")
    args = parser.parse_args()
    args.seeds = args.seeds or ([0, 1, 2] if args.what == "digits" else [0])
    torch.set_num_threads(1)
    os.environ.update(ALLOCATOR)
    more = {name: value(text) for name, text in (item.split("=", 1) for item in args.set)}
    {"digits": digits, "colours": colours, "settings": settings}[args.what](args, more)


if __name__ == "__main__":
    main()

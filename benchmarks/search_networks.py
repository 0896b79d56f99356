"""The search for the networks of convolutions: candidates at equal CPU seconds, by validation.

    python benchmarks/search_networks.py --data mnist --data-dir DIR --latent 16 --seconds 160 \\
        --try '{}' '{"blocks": 1}' '{"stem": "patch4", "channels": [64]}' mlp

A candidate is a JSON object with what differs from the fields of `Candidate`; "mlp" is the fully
connected network. The cost of a step is measured in turns with that of `mlp`, and every candidate
trains for as many epochs as fit into the seconds, at the cost that `mlp` has on an idle core
(--idle-ms). Only validation is read.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zspace.models.networks import choices
from zspace.models.networks.conv import Nearest, Shuffle, Transposed, Unit, channels_last, started
from zspace.runs.config import Config
from zspace.training.build import Build


@dataclass(frozen=True)
class Candidate:
    """stem: how resolutions are halved; dense: width of a dense layer before the code, 0 for none;
    head: channels to which a 1 x 1 convolution narrows the map before it, 0 for all; up: from one
    resolution to the next, and after a + the last step.
    """

    stem: str = "conv4"
    channels: tuple[int, ...] = (16, 32)
    blocks: int = 0
    block: str = "residual"
    act: str = "gelu"
    dense: int = 512
    head: int = 0
    norm: str = "rms"
    up: str = "transposed+shuffle3"


ACTS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "tanh-gelu": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.1),
}
DOWN: dict[str, Callable[[int, int], list[nn.Module]]] = {
    "conv4": lambda a, b: [nn.Conv2d(a, b, 4, 2, 1)],
    "conv3": lambda a, b: [nn.Conv2d(a, b, 3, 2, 1)],
    "space-to-depth": lambda a, b: [nn.PixelUnshuffle(2), nn.Conv2d(4 * a, b, 3, padding=1)],
    "space-to-depth1": lambda a, b: [nn.PixelUnshuffle(2), nn.Conv2d(4 * a, b, 1)],
    "patch4": lambda a, b: [nn.Conv2d(a, b, 4, 4)],
    "conv8": lambda a, b: [nn.Conv2d(a, b, 8, 4, 2)],
}
UP: dict[str, Callable[[int, int, tuple[int, int]], nn.Module]] = {
    "transposed": Transposed,
    "shuffle": Shuffle,
    "shuffle3": lambda a, b, size: Shuffle(a, b, size, 3),
    "nearest": Nearest,
    "patch4": lambda a, b, _: nn.ConvTranspose2d(a, b, 4, 4),
    "conv8": lambda a, b, _: nn.ConvTranspose2d(a, b, 8, 4, 2),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "rms": lambda _: Unit(),
    "none": lambda _: nn.Identity(),
    "group": lambda width: nn.GroupNorm(max(1, width // 8), width),
    "batch": nn.BatchNorm2d,
}


class Block(nn.Module):
    """``x + f(x)`` with 3 x 3 convolutions, with a 1 x 1 as the second, or depthwise (5 x 5)."""

    def __init__(self, kind: str, width: int, act: str) -> None:
        super().__init__()
        first, second = (
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, width, 3, padding=1),
        )
        layers: dict[str, list[nn.Module]] = {
            "residual": [ACTS[act](), first, ACTS[act](), second],
            "half": [ACTS[act](), first, ACTS[act](), nn.Conv2d(width, width, 1)],
            "depthwise": [
                nn.Conv2d(width, width, 5, padding=2, groups=width),
                nn.Conv2d(width, 2 * width, 1),
                ACTS[act](),
                nn.Conv2d(2 * width, width, 1),
            ],
        }
        self.layers = nn.Sequential(*layers[kind])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def begun(net: nn.Sequential) -> nn.Sequential:
    started(net)
    for module in net.modules():
        if isinstance(module, Block):
            nn.init.zeros_(module.layers[-1].weight)  # type: ignore[arg-type]
    return channels_last(net)


def networks(c: Candidate, wanted: choices.NetworkSpec) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder; sides must be multiples of the whole reduction."""
    four = c.stem in ("patch4", "conv8")
    _, height, width = wanted.shape
    fold = 2 ** (len(c.channels) + four)
    size = (height // fold, width // fold)
    wide, last = c.head or c.channels[-1], c.channels[-1]
    act = ACTS[c.act]

    down: list[nn.Module] = []
    inputs = wanted.shape[0]
    for i, outputs in enumerate(c.channels):
        down += [act()] if i else []
        down += DOWN["conv4" if i and four else c.stem](inputs, outputs)
        inputs = outputs
    down += [Block(c.block, last, c.act) for _ in range(c.blocks)] + [NORMS[c.norm](last), act()]
    down += [nn.Conv2d(last, wide, 1)] if c.head else []
    flat = wide * math.prod(size)
    down += [nn.Flatten()] + ([nn.Linear(flat, c.dense), act()] if c.dense else [])
    down += [nn.Linear(c.dense or flat, wanted.features)]

    up: list[nn.Module] = [nn.Linear(wanted.latent, c.dense), act()] if c.dense else []
    up += [nn.Linear(c.dense or wanted.latent, flat), nn.Unflatten(1, (wide, *size))]
    up += [nn.Conv2d(wide, last, 1)] if c.head else []
    up += [Block(c.block, last, c.act) for _ in range(c.blocks)] + [NORMS[c.norm](last), act()]
    between, _, end = c.up.partition("+")
    kinds = [between] * (len(c.channels) - 1) + [c.stem if four else end or between]
    steps = pairwise([*c.channels[::-1], wanted.outputs[0]])
    for i, (kind, (a, b)) in enumerate(zip(kinds, steps, strict=True)):
        size = (2 * size[0], 2 * size[1])
        up += [*([act()] if i else []), UP[kind](a, b, size)]
    return begun(nn.Sequential(*down)), begun(nn.Sequential(*up))


class Conditioned(nn.Module):
    """A network that is called with a context, which it does not read."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.net(x)


def offered(name: str) -> None:
    """Make the candidate known as a network of its own."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(name).items()}
    candidate = Candidate(**given)

    def build(_: choices.NetOptions, wanted: choices.NetworkSpec) -> choices.Networks:
        encoder, decoder = networks(candidate, wanted)
        return Conditioned(encoder), Conditioned(decoder), (wanted.latent,)

    choices.NETS[name] = choices.Net(build, ())


def built(net: str, args: argparse.Namespace, **more: Any) -> Build:
    options = {"data": args.data, "latent": args.latent, "batch": args.batch, **more}
    if args.data_dir:
        options["data_dir"] = args.data_dir
    return Build.prepare(Config.of("vae", {**options, "net": net}), quiet=True)


def cost(build: Build, other: Build, turns: int = 12) -> float:
    """CPU time of a step over that of the other's, the median of turns."""
    left = [
        chain.from_iterable(map(each.trainer.train.epoch, range(turns))) for each in (build, other)
    ]
    found = []
    for _ in range(turns):
        took = []
        for each, batches in zip((build, other), left, strict=True):
            batch, start = next(batches), time.thread_time()
            each.trainer.train_on(batch)
            took.append(time.thread_time() - start)
        found.append(took[0] / took[1])
    return statistics.median(found[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--data-dir")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=160.0)
    parser.add_argument("--epochs", type=int, help="the same for all, whatever they cost")
    parser.add_argument("--idle-ms", type=float, help="of a step of mlp; measured where left out")
    parser.add_argument("--try", nargs="+", default=["mlp", "{}"], dest="tried")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| candidate | parameters | cost, mlp = 1 | epochs | validation |\n|---|---|---|---|---|"
    )
    for name in args.tried:
        if name != "mlp":
            offered(name)
        reference = built("mlp", args)
        start = time.thread_time()
        for batch, _ in zip(reference.trainer.train.epoch(0), range(10), strict=False):
            reference.trainer.train_on(batch)
        idle = (args.idle_ms or 100 * (time.thread_time() - start)) / 1000
        ratio = cost(built(name, args), reference)
        steps = len(reference.trainer.train)
        epochs = args.epochs or max(1, round(args.seconds / (ratio * idle) / steps))
        build = built(name, args, epochs=epochs)
        best = min(epoch.validation["objective"] for epoch in build.trainer.epochs())
        numbers = sum(p.numel() for p in build.trainer.model.parameters())
        print(f"| `{name}` | {numbers:,} | {ratio:.2f} | {epochs} | {best:.3f} |", flush=True)


if __name__ == "__main__":
    main()

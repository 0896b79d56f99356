"""Strided convolutions on images as the tutorials write them, trained for some CPU seconds.

Encoder: four 4 x 4 convolutions of stride 2, then a linear layer; decoder: a linear layer and four
transposed ones, sigmoid at the end; BatchNorm and SiLU between them. For images (B, C, H, W) whose
sides are multiples of 16.

    vae  Σ (x − x̂)² + KL(q(z|x) ‖ N(0, I)), a mean over images, one z per image
    ae   Σ (x − x̂)²

`race` is the loop, which pythae_images.py and diffusers_images.py share: Adam, batches of rows of
one tensor, a learning rate of one cycle (or a constant one) over the CPU seconds of the process,
which the command line gives. Reading, validation and test are not counted. The last line printed
is one JSON object: what the terms are on validation, and with --test on the test set. DATA is an
.npz of train, validation and test, uint8 of shape (N, C, H, W).

    python strided.py --data DATA --recipe vae --latent 64 --budget 15
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Made = Callable[[argparse.Namespace], nn.Module]
"""Makes a module that maps x to (x̂, μ, log σ²), the last two (B, ...); of an ae both None."""
LAYOUT: Any = {"memory_format": torch.channels_last}
"""The faster one here, by some 10%."""


def reparameterised(mu: Tensor, log_var: Tensor) -> Tensor:
    return mu + torch.randn_like(mu) * (0.5 * log_var).exp()


class Strided(nn.Module):
    """The networks of the module's docstring."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        channels, height, width = options.shape
        self.variational = options.recipe == "vae"
        activation = {"relu": nn.ReLU, "silu": nn.SiLU}[options.activation]
        widths = [channels, *options.widths]
        shape = (widths[-1], height // 16, width // 16)

        def after(outputs: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(outputs), activation()] if options.norm else [activation()]

        down: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            down += [nn.Conv2d(inputs, outputs, 4, 2, 1), *after(outputs)]
        features = options.latent * (1 + self.variational)
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(math.prod(shape), features))
        up = [nn.Linear(options.latent, math.prod(shape)), nn.Unflatten(1, shape), activation()]
        for inputs, outputs in pairwise(widths[:0:-1]):
            up += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), *after(outputs)]
        up += [nn.ConvTranspose2d(widths[1], channels, 4, 2, 1), nn.Sigmoid()]
        self.decoder = nn.Sequential(*up)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        h = self.encoder(x)
        if not self.variational:
            return self.decoder(h), None, None
        mu, log_var = h.chunk(2, dim=1)
        return self.decoder(reparameterised(mu, log_var)), mu, log_var


def terms(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The terms of the loss, means over images."""
    x_hat, mu, log_var = model(x)
    found = {"mse": (x - x_hat).square().flatten(1).sum(1).mean()}
    if mu is not None:
        kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var)
        found["kl"] = kl.flatten(1).sum(1).mean()
    return found


def batch(images: Tensor) -> Tensor:
    return images.to(**LAYOUT).float() / 255


def one_cycle(progress: float, rise: float) -> float:
    if progress < rise:
        return 0.04 + 0.96 * progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


@torch.no_grad()
def measure(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Means of the terms over all images."""
    model.eval()
    sums: dict[str, float] = {}
    for some in images.split(500):
        for name, value in terms(model, batch(some)).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(some)
    return {name: value / len(images) for name, value in sums.items()}


def train(model: nn.Module, images: Tensor, options: argparse.Namespace) -> dict[str, float]:
    """Train for the CPU seconds of the budget; return steps, CPU seconds and wall seconds."""
    optimiser = torch.optim.Adam(model.parameters(), lr=options.lr)
    model.train()
    steps, wall, start = 0, time.perf_counter(), time.process_time()
    while True:
        for rows in torch.randperm(len(images)).split(options.batch):
            used = time.process_time() - start
            if used >= options.budget:
                return {"steps": steps, "cpu": used, "wall": time.perf_counter() - wall}
            if options.rise < 1:
                share = one_cycle(used / options.budget, options.rise)
                optimiser.param_groups[0]["lr"] = options.lr * share
            loss = torch.stack(list(terms(model, batch(images[rows])).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1


def parser(description: str, **defaults: float) -> argparse.ArgumentParser:
    """The options that all peers have; defaults: of batch and lr."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", required=True)
    made.add_argument("--recipe", choices=("vae", "ae"), default="vae")
    made.add_argument("--latent", type=int, default=64, help="numbers of a code, in all")
    made.add_argument("--budget", type=float, required=True, help="CPU seconds of training")
    made.add_argument("--test", action="store_true", help="measure the test set as well")
    made.add_argument("--lr", type=float)
    made.add_argument("--rise", type=float, default=0.3, help="of one cycle; 1: constant rate")
    made.add_argument("--batch", type=int)
    made.add_argument("--seed", type=int, default=0)
    made.set_defaults(**defaults)
    return made


def race(make: Made, options: argparse.Namespace) -> None:
    """Train and print one line of JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    with np.load(options.data) as held:
        splits = {name: torch.from_numpy(held[name]) for name in held.files}
    options.shape = tuple(splits["train"].shape[1:])
    model = make(options).to(**LAYOUT)
    taken = train(model, splits["train"], options)
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": taken["steps"] * options.batch,
        **taken,
        "validation": measure(model, splits["validation"]),
    }
    if options.test:
        found["test"] = measure(model, splits["test"])
    print(json.dumps(found), flush=True)


def main() -> None:
    options = parser("Strided convolutions on images.", batch=32, lr=2e-3)
    options.add_argument("--widths", type=int, nargs=4, default=[32, 32, 64, 64])
    options.add_argument("--activation", choices=("relu", "silu"), default="silu")
    options.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True)
    race(Strided, options.parse_args())


if __name__ == "__main__":
    main()

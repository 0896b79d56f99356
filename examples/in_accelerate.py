"""A model of zspace in a loop of accelerate, which brings it to several devices.

    pip install accelerate
    python examples/in_accelerate.py

Takes about 10 seconds on two cores. Expect a line per epoch, with the objective per image, which
falls. `accelerate launch examples/in_accelerate.py` uses what this machine has.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator

import zspace
from zspace.models import vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs

    torch.manual_seed(0)
    accelerator = Accelerator()
    recipe = vae(zspace.Spec((1, 28, 28)), latent=20)
    objective = recipe.players[0].objective
    x = zspace.data.load("mnist5k").train.images()
    loader = torch.utils.data.DataLoader(x, batch_size=128, shuffle=True)
    optimizer = torch.optim.AdamW(recipe.model.parameters(), lr=1e-3)
    model, optimizer, loader = accelerator.prepare(recipe.model, optimizer, loader)

    steps = epochs * len(loader)
    for epoch in range(epochs):
        total = torch.zeros((), device=accelerator.device)
        for i, batch in enumerate(loader):
            loss, _ = objective(model(batch), progress=(epoch * len(loader) + i) / steps)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            total += loss.detach() / len(loader)
        accelerator.print(epoch + 1, round(float(accelerator.reduce(total, "mean")), 2))


if __name__ == "__main__":
    main()

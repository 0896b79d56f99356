"""A model of zspace in a loop of your own: a module, an objective, any optimiser, any data.

    python examples/own_loop.py

Takes about 10 seconds on two cores. Expect a line per epoch, with squared error and KL per image,
which fall.
"""

from __future__ import annotations

import argparse

import torch

import zspace
from zspace.models import vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs

    x = zspace.data.load("mnist5k").train.images()  # (N, 1, 28, 28) in [0, 1]; yours may be any
    torch.manual_seed(0)
    recipe = vae(zspace.Spec((1, 28, 28)), latent=20)
    model, objective = recipe.model, recipe.players[0].objective
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(x, batch_size=128, shuffle=True)

    step, steps = 0, epochs * len(loader)
    for epoch in range(epochs):
        model.train()
        sums: dict[str, float] = {}
        for batch in loader:
            # One pass of the model; the objective weighs its terms. Progress in [0, 1] is for
            # weights that change during training.
            loss, terms = objective(model(batch), progress=step / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(loader)
        print(epoch + 1, {name: round(value, 2) for name, value in sums.items()})

    model.eval()
    with torch.no_grad():
        print("codes", tuple(model.encode(x[:5]).shape))
        print("samples", tuple(model.sample(5).mean.shape))


if __name__ == "__main__":
    main()

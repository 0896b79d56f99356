"""A network of your own: two torch modules in the graph of a VAE.

    python examples/own_network.py

Takes about 20 seconds on two cores. Expect the terms of the test images, and a run folder.
Commands that use the run need its recipe: add `--import examples/own_network.py`.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import zspace
from zspace.models import Autoencoder, Bernoulli, Gaussian, StandardNormal, kl, one_player


class Layers(nn.Module):
    """Layers that need no context; the last one is linear."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.layers(x)


@zspace.recipe
def dropout_vae(data: zspace.Spec, latent: int = 8, drop: float = 0.1) -> zspace.Recipe:
    """VAE whose encoder drops pixels."""
    bottleneck, pixels = Gaussian(latent), torch.Size(data.shape).numel()
    read = [nn.Flatten(), nn.Dropout(drop), nn.Linear(pixels, 256), nn.GELU()]
    write = [nn.Linear(latent, 256), nn.GELU(), nn.Linear(256, pixels)]
    model = Autoencoder(
        encoder=Layers(*read, nn.Linear(256, bottleneck.features)),
        bottleneck=bottleneck,
        decoder=Layers(*write, nn.Unflatten(1, data.shape)),
        likelihood=Bernoulli(),
        prior=StandardNormal(latent),
        latent=(latent,),
    )
    return one_player(model, kl, weights={"kl": 1.0}, title="dropout VAE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    run = zspace.train("dropout_vae", epochs=parser.parse_args().epochs)
    print({name: round(value, 2) for name, value in run.result["test"].items()})


if __name__ == "__main__":
    main()

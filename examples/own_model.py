"""A model of your own in ten lines: a VAE with an extra term that pushes codes apart.

    python examples/own_model.py

Takes about 20 seconds on two cores. Expect the value of the term among the others, and a run
folder `runs/spread-vae-mnist5k-2-epochs60`. Commands that use the run need its recipe: add
`--import examples/own_model.py`.
"""

from __future__ import annotations

import argparse

import torch

import zspace
from zspace.models import Fact, Gaussian, Pass, assemble, gives, kl, one_player, warmup


@gives(crowding=Fact("crowding of codes", per="batch"))
def crowding(p: Pass) -> dict[str, torch.Tensor]:
    """How close the codes of a batch are to each other, in (0, 1]."""
    z = p.latents[0].z[0]
    return {"crowding": torch.exp(-torch.cdist(z, z)).mean()}


@zspace.recipe
def spread_vae(data: zspace.Spec, latent: int = 2, weight: float = 5.0) -> zspace.Recipe:
    """VAE with codes that are pushed apart."""
    model = assemble(data, Gaussian(latent), net={"hidden": (256, 256)})
    weights = {"kl": warmup(until=0.3), "crowding": weight}
    return one_player(model, kl, crowding, weights=weights, title="spread VAE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    run = zspace.train("spread_vae", epochs=parser.parse_args().epochs)
    print({name: round(value, 3) for name, value in run.result["test"].items()})


if __name__ == "__main__":
    main()

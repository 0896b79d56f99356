"""Small trainings that `test_ranks` does in one process and, as a script, in several ranks.

python ranked.py DATA FOLDER   as one rank: the variables are set that torchrun would set
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor

import assembled
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.adversarial import DiscriminatorLoss, GeneratorLoss, PatchDiscriminator
from zspace.models.objective import Adaptive, Objective
from zspace.models.recipes import Player
from zspace.models.terms import mse
from zspace.models.zoo import classic
from zspace.runs.checkpoint import flatten, unflatten
from zspace.runs.config import Config
from zspace.system import distributed
from zspace.training.build import Build
from zspace.training.trainer import Trainer

SMALL = {"hidden": (16,), "latent": 3, "precision": "fp32", "device": "cpu"}
SMALL |= {"lr": 2e-3, "betas": (0.9, 0.95), "clip": 0.0, "ema": 0.0}
# 243 training images: two batches of 121, of which the ranks take 61 and 60, and one of 1 image,
# of which the second rank has none. 17 epochs are 51 steps.
UNEVEN = {"batch": 121, "epochs": 17}
CASES: dict[str, dict[str, Any]] = {
    "ae": UNEVEN,
    "clipped": {"recipe": "ae", "clip": 0.5, "ema": 0.9, **UNEVEN},
    "drawn": {"recipe": "vae", "binarize": "dynamic", "augment": "flip-crop", **UNEVEN},
    "game": UNEVEN,
    "following": {**UNEVEN, "ema": 0.9},
    "table": {"recipe": "ae", **UNEVEN},
    "series": {"recipe": "ae", **UNEVEN},
    "tokens": {"recipe": "ae", **UNEVEN, "hidden": None, "width": 16, "word_dropout": 0.0},
}
HALFWAY = 25  # in the ninth epoch, after its first batch


def game(data: Spec, latent: int, hidden: tuple[int, ...]) -> recipes.Recipe:
    """An autoencoder that fools a critic, with the adaptive weight, and without any draw.

    Least squares, since a hinge loss leaves the critic's last bias a gradient of rounding errors,
    of which AdamW makes whole steps.
    """
    model, discriminator = (
        classic.ae(data, latent=latent, hidden=hidden).model,
        PatchDiscriminator(data.shape),
    )
    last = [p for p in model.decoder.parameters() if p.dim() > 1][-1]
    fool, tell = (
        GeneratorLoss(discriminator, "least-squares"),
        DiscriminatorLoss(discriminator, "least-squares"),
    )
    makes = Adaptive(
        [mse, fool], {"mse": 1.0, "generator_loss": 0.5}, adapted="generator_loss", last=last
    )
    tells = Objective([tell], {"discriminator_loss": 1.0})
    return recipes.Recipe(model, (Player(model, makes), Player(discriminator, tells, start=0.2)))


def rows(beside: str | Path) -> Path:
    """A table with missing values, in the folder of a file; 243 of its rows are for training."""
    path = Path(beside).with_name("rows.csv")
    if not path.exists():
        draw = np.random.RandomState(0)
        age = draw.randint(18, 90, 300)
        frame = pd.DataFrame({"age": age, "income": np.exp(draw.normal(age / 30)).round(2)})
        frame["town"], frame["visits"] = draw.choice(["Rome", "Oslo"], 300), draw.poisson(3, 300)
        frame.mask(draw.rand(*frame.shape) < 0.1).to_csv(path, index=False)
    return path


def windows(beside: str | Path) -> Path:
    """Windows with gaps, in the folder of a file; 243 of them are for training."""
    path = Path(beside).with_name("windows.npz")
    if not path.exists():
        draw = np.random.RandomState(0)
        x = 9 * draw.normal(size=(300, 6, 2)).cumsum(1)
        np.savez(path, x=np.where(draw.rand(*x.shape) < 0.1, np.nan, x))
    return path


def lines(beside: str | Path) -> Path:
    """Texts of at most 6 letters, in the folder of a file; 243 of them are for training."""
    path = Path(beside).with_name("lines.txt")
    if not path.exists():
        draw = np.random.RandomState(0)
        made = ["".join(draw.choice(list("abc"), draw.randint(1, 7))) for _ in range(300)]
        path.write_text("\n".join(made) + "\n")
    return path


SOURCES = {"table": rows, "series": windows, "tokens": lines}


class Enough(Exception):
    """The training has done as many steps as it should."""


def prepared(name: str, data: str | Path) -> Trainer:
    source = SOURCES[name](data) if name in SOURCES else data
    options = {**SMALL, "data": str(source), **CASES[name]}
    recipes.RECIPES |= {"game": game, "following": assembled.following}
    try:
        return Build.prepare(Config.of(options.pop("recipe", name), options), quiet=True).trainer
    finally:
        del recipes.RECIPES["game"], recipes.RECIPES["following"]


def advanced(fit: Trainer, to: int | None = None) -> list[dict[str, Any]]:
    """Train to the end, or to a step; the terms of every epoch that ended."""

    def stop(fit: Trainer) -> None:
        if fit.step == to:
            raise Enough

    lines = []
    try:
        for epoch in fit.epochs(stop):
            lines.append({"train": epoch.train, "validation": epoch.validation})
    except Enough:
        pass
    return lines


def keep(fit: Trainer, path: Path) -> None:
    tensors, rest = flatten(fit.state())
    whole = {name: value.clone() for name, value in tensors.items()}
    safetensors.torch.save_file(whole, path, {"rest": json.dumps(rest)})


def kept(path: Path) -> Mapping[str, Any]:
    with safetensors.safe_open(path, "pt") as file:
        rest = json.loads(file.metadata()["rest"])
        return unflatten({name: file.get_tensor(name) for name in file.keys()}, rest)  # noqa: SIM118


def weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of the model and of the other players."""
    return flatten({key: state[key] for key in ("model", "others", "ema")})[0]


def main(data: str, folder: Path) -> None:
    torch.set_num_threads(1)
    for name in CASES:
        fit = prepared(name, data)
        lines = advanced(fit)
        keep(fit, folder / f"{name}-{distributed.rank()}.safetensors")
        (folder / f"{name}-{distributed.rank()}.json").write_text(json.dumps(lines))
    for name in ("ae", "drawn", "following"):
        fit = prepared(name, data)
        advanced(fit, HALFWAY)
        keep(fit, folder / f"{name}-half-{distributed.rank()}.safetensors")
        again = prepared(name, data)
        torch.manual_seed(9)
        again.load_state(kept(folder / f"{name}-half-{distributed.rank()}.safetensors"))
        advanced(again)
        keep(again, folder / f"{name}-again-{distributed.rank()}.safetensors")
    fit = prepared("ae", data)
    fit.load_state(kept(folder / "ae-one-half.safetensors"))
    advanced(fit)
    keep(fit, folder / f"ae-from-one-{distributed.rank()}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

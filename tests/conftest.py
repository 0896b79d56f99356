"""What the tests share: one thread, small data, and runs trained once a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # small tensors are faster so, and results do not depend on the machine

import zspace  # noqa: E402

SMALL = {"hidden": (32,), "latent": 3, "epochs": 2, "batch": 64, "precision": "fp32"}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 300 real digits at 14 x 14, labels 0 to 9: real data, quick to train on."""
    from zspace.data import load

    data = load("mnist5k", quiet=True)
    i = torch.arange(0, len(data.train), len(data.train) // 300)[:300]
    x = torch.nn.functional.avg_pool2d(data.train.images(i), 2)
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=(x * 255).round().to(torch.uint8).numpy(), y=data.train.labels(i).numpy())
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[str, zspace.Run]:
    """One small run a recipe."""
    from zspace.recipes import RECIPES

    folder = tmp_path_factory.mktemp("runs")
    return {
        name: zspace.train(name, data=str(digits), out=folder / name, quiet=True, **SMALL)
        for name in RECIPES
    }

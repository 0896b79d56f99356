"""Trains, measures and uses runs on the pretended GPU, one for each argument NAME:JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)

import pooch  # noqa: E402

import zspace  # noqa: E402
from pretend import CARD, pretended  # noqa: E402
from zspace.analysis import METRICS, Scorer, walk  # noqa: E402
from zspace.analysis.fid import inception_distance  # noqa: E402
from zspace.explorer.view import RunView  # noqa: E402
from zspace.runs import measured  # noqa: E402
from zspace.runs import run as runs  # noqa: E402
from zspace.runs.measured import measured_section  # noqa: E402
from zspace.training import build  # noqa: E402
from zspace.training.trainer import Trainer  # noqa: E402

SMALL = {"latent": 3, "epochs": 2, "batch": 32, "precision": "fp32", "quiet": True}


class Means(torch.nn.Module):
    """In place of Inception."""

    num_features = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean((2, 3))


def quiet_steps(reads: list[str]) -> None:
    """Have a step fail that reads something back from the card."""
    step = Trainer.train_on

    def strict(self: Trainer, batch: Any) -> Any:
        before = len(reads)
        made = step(self, batch)
        if len(reads) > before:
            raise AssertionError(f"a step reads from the card: {reads[before:]}")
        return made

    Trainer.train_on = strict  # type: ignore[method-assign]


def use(name: str, options: dict[str, Any], folder: Path) -> None:
    """One run, from its training to its measures."""
    print(name, options, flush=True)
    pixels = np.random.RandomState(0).randint(0, 256, (200, 14, 14), dtype=np.uint8)
    np.savez(folder / "x.npz", x=pixels, y=np.arange(200) % 4)
    out = folder / f"run-{len(list(folder.iterdir()))}"
    run = zspace.train(name, data=str(folder / "x.npz"), out=out, **{**SMALL, **options})
    data = run.data()
    assert run.device == CARD
    few = torch.arange(5)
    label = [data.test.labels(few)] if run.model.context else []
    x = data.test.images(few)
    for found in (run.encode(x, *label), run.reconstruct(x, *label)):
        assert found.device.type == "cpu"
    assert isinstance(run.sample(3, seed=0), np.ndarray)
    for section in METRICS.keys() - {"inception"}:
        measured_section(section, run, data, {}, 0, True)
    assert inception_distance(run, data, network=Means())["fid"].value >= 0
    Scorer(run, data)(data.test)
    walk(run, data)
    run.mixture(data)
    measured.score(run, None, out=folder / "scores.csv", rate=0.2)
    measured.embed(run, None, out=folder / "codes.csv")
    view = RunView(run)
    view.prepare()
    view.drawing(view.encode(np.zeros((14, 14, 1), np.uint8), "all" if label else "none"))
    view.reconstructions(np.arange(3))


def main(wanted: list[str]) -> None:
    for module in (runs, build):
        module.pick_device = lambda name: CARD  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder, pretended() as reads:
        pooch.os_cache = lambda name: Path(folder) / "cache"
        quiet_steps(reads)
        for one in wanted:
            name, _, options = one.partition(":")
            use(name, json.loads(options or "{}"), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])

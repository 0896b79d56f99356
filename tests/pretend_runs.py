"""Trains, measures, shows and uses runs on the pretended GPU, one for each NAME:KIND:JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

torch.set_num_threads(1)

import pooch  # noqa: E402

import zspace  # noqa: E402
from conftest import unpainted  # noqa: E402
from pretend import CARD, pretended  # noqa: E402
from test_sequence_runs import sentences, waves  # noqa: E402
from test_table_runs import people  # noqa: E402
from zspace.analysis import METRICS, walk  # noqa: E402
from zspace.analysis.fid import inception_distance  # noqa: E402
from zspace.explorer.export import write_page  # noqa: E402
from zspace.explorer.rows import view_of  # noqa: E402
from zspace.report.figures import registry  # noqa: E402
from zspace.runs import measured  # noqa: E402
from zspace.runs import run as runs  # noqa: E402
from zspace.runs.measured import measured_section  # noqa: E402
from zspace.training import build  # noqa: E402
from zspace.training.trainer import Trainer  # noqa: E402

SMALL = {
    "latent": 3,
    "epochs": 2,
    "batch": 32,
    "precision": "fp32",
    "quiet": True,
    "keep_state": True,
}
DRAWN = {"images": "cvae", "rows": "vae", "windows": "vae", "texts": "sentence_vae"}
"""Of each kind, the recipe whose figures are drawn."""


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


def images(folder: Path) -> torch.Tensor:
    pixels = np.random.RandomState(0).randint(0, 256, (200, 14, 14), dtype=np.uint8)
    np.savez(folder / "images.npz", x=pixels, y=np.arange(200) % 4)
    return torch.from_numpy(pixels[:5, None] / np.float32(255))


def rows(folder: Path) -> pd.DataFrame:
    """A table with gaps, categories, counts, dates and a column of yes and no."""
    frame = people()
    frame.to_csv(folder / "rows.csv", index=False)
    return frame[:5]


def windows(folder: Path) -> np.ndarray:
    """A series with a gap."""
    x = waves()
    x[:, 2, 1] = np.nan
    np.savez(folder / "windows.npz", x=x)
    return x[:5]


def texts(folder: Path) -> list[str]:
    said = sentences()
    (folder / "texts.txt").write_text("\n".join(said) + "\n")
    return said[:5]


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "images": (images, "images.npz"),
    "rows": (rows, "rows.csv"),
    "windows": (windows, "windows.npz"),
    "texts": (texts, "texts.txt"),
}


def use(name: str, kind: str, options: dict[str, Any], folder: Path) -> None:
    """One run, from its training to its measures."""
    print(name, kind, options, flush=True)
    make, file = KINDS[kind]
    x = make(folder)
    out = folder / f"run-{len(list(folder.iterdir()))}"
    run = zspace.train(name, data=str(folder / file), out=out, **{**SMALL, **options})
    data = run.data()
    assert run.device == CARD
    label = [data.test.labels(torch.arange(5))] if run.model.context else []
    codes = run.encode(x, *label)
    back = run.reconstruct(x, *label)
    if kind == "images":
        assert codes.device.type == back.device.type == "cpu"
    assert len(run.sample(3, seed=0)) == len(back) - 2
    run.interpolate(x[:1], x[1:2], 3, *(label and [0]))
    if kind in ("rows", "windows"):
        run.impute(x)
    for section in METRICS.keys() - {"inception"}:
        measured_section(section, run, data, {}, 0, True)
    if kind == "images":
        assert inception_distance(run, data, network=Means())["fid"].value >= 0
    walk(run, data)
    if name != "sentence_vae":
        run.mixture(data)
    measured.score(run, None, out=folder / "scores.csv", rate=0.2)
    measured.embed(run, None, out=folder / "codes.csv")
    view = view_of(run)
    view.prepare()
    if kind == "images":
        view.drawing(view.encode(np.zeros((14, 14, 1), np.uint8), "all" if label else "none"))
    view.reconstructions(np.arange(3))
    if DRAWN[kind] == name and "net" not in options:
        figures(run)
        write_page(run, folder / f"{out.name}.html")
        for to in ("torch", "onnx"):
            zspace.export(run, to, folder / f"{out.name}-{to}")
    zspace.train(from_run=run, out=False, epochs=1, quiet=True)
    zspace.resume(out, epochs=3)


def figures(run: zspace.Run) -> None:
    """Every figure of a report, but not its paint."""
    study = zspace.Study(run.path, [run])
    with unpainted():
        for name, drawing in registry.shown_of(study).items():
            if why := drawing.needs(study):
                print("  not drawn:", name, why)
            else:
                registry.draw(name, study)


def main(wanted: list[str]) -> None:
    for module in (runs, build):
        module.pick_device = lambda name: CARD  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder, pretended() as reads:
        pooch.os_cache = lambda name: Path(folder) / "cache"
        quiet_steps(reads)
        for one in wanted:
            name, kind, options = one.split(":", 2)
            use(name, kind, json.loads(options), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Trackers: a training on the pages of TensorBoard, Weights & Biases or MLflow.

    scalars      every term on the training and the validation set, quality, learning rate, speed
    pictures     a few validation samples and their reconstructions
    histograms   of the codes of at most 1,000 validation samples

The horizontal axis is the epoch. Pictures and histograms are made at about 20 moments, close
together at the start, where most happens. All is written on this machine: TensorBoard's files into
the folder of the run, the others' where they have them, and nothing is sent unless their own
settings say so (WANDB_MODE, MLFLOW_TRACKING_URI).
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zspace.data.kinds.encoding import Encoding
from zspace.models.draws import typical
from zspace.runs.record import Place, read_encoding
from zspace.system.device import random_kept
from zspace.system.errors import UserError, unknown
from zspace.system.pixels import tile
from zspace.training.callbacks import Guarded
from zspace.training.trainer import Epoch, Trainer

PICTURES = 8
"""Validation samples that are shown."""
MOMENTS = 20
FEW = 16
"""Code dimensions, up to which each has a histogram of its own."""
PROJECT = "zspace"


class Tracker(Guarded):
    """What trackers share: what is told, and when. The rest is one method for each sort of thing.

    Attributes:
        package: What must be installed.
    """

    package: str

    def begin(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        epochs = trainer.settings.epochs or 1
        self.moments = set(np.geomspace(1, epochs, MOMENTS).round().astype(int).tolist())
        path = Path(facts["path"])
        self.encoding: Encoding | None = None
        self.shown = facts["data"]["kind"] == "image"
        if not self.shown and path.is_dir():
            self.encoding, self.shown = read_encoding(Place(path), dict(facts)), True
        self.open(path, dict(_flat(facts["config"])), trainer.epoch)

    def take(self, epoch: Epoch, trainer: Trainer) -> None:
        found = {"lr": epoch.lr, "samples_per_second": epoch.samples_per_second}
        for split, terms in (("train", epoch.train), ("validation", epoch.validation)):
            found |= {f"{split}/{name}": value for name, value in terms.items()}
        for split, measures in epoch.quality.items():
            found |= {f"quality/{split}/{name}": value for name, value in measures.items()}
        self.scalars(found, epoch.number)
        if epoch.number in self.moments:
            self._look(epoch.number, trainer)

    @torch.no_grad()
    def _look(self, number: int, trainer: Trainer) -> None:
        """Codes and reconstructions of validation samples, of the averaged weights."""
        with trainer.average.used(), random_kept(trainer.device):
            trainer.model.eval()
            batch = next(trainer.watched["validation"].epoch(0))
            z = trainer.model.encode(batch.x, batch.c)
            few = None if batch.c is None else batch.c[:PICTURES]
            y = typical(trainer.model.decode(z[:PICTURES], few))
        flat = z.flatten(1).cpu().numpy()
        self.histogram("codes", flat.ravel(), number)
        if flat.shape[1] <= FEW:
            for i, one in enumerate(flat.T):
                self.histogram(f"codes/{i}", one, number)
        if self.shown:
            pair = (part.cpu().numpy() for part in (batch.x[:PICTURES].float(), y.float()))
            self.picture("reconstructions", _picture(self.encoding, *pair), number)

    def finish(self, facts: Mapping[str, Any]) -> None:
        result = facts.get("result", {})
        found = {f"test/{name}": value for name, value in result.get("test", {}).items()}
        found |= {name: result[name] for name in ("best_epoch", "seconds") if name in result}
        self.close(found, facts["status"] == "finished")

    def open(self, path: Path, config: dict[str, Any], epoch: int) -> None:
        """Begin. config: options by name. epoch: the last one that was trained before, or 0."""
        raise NotImplementedError

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        raise NotImplementedError

    def picture(self, name: str, pixels: np.ndarray, epoch: int) -> None:
        """pixels: (H, W, 3) uint8."""
        raise NotImplementedError

    def histogram(self, name: str, values: np.ndarray, epoch: int) -> None:
        raise NotImplementedError

    def close(self, result: dict[str, float], finished: bool) -> None:
        """result: measured at the end; empty where it did not come to that."""
        raise NotImplementedError


class TensorBoard(Tracker):
    """Event files in the folder ``tensorboard`` of the run: ``tensorboard --logdir runs``.

    Of a training in memory they go to ``tensorboard/`` where it was started.
    """

    name = package = "tensorboard"

    def open(self, path: Path, config: dict[str, Any], epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = path / "tensorboard" if path.is_dir() else Path("tensorboard")
        self.writer = SummaryWriter(str(folder), purge_step=epoch + 1 if epoch else None)
        if not epoch:
            lines = (f"| {name} | {value} |" for name, value in config.items())
            self.writer.add_text("options", "\n".join(["| option | value |", "|---|---|", *lines]))

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def picture(self, name: str, pixels: np.ndarray, epoch: int) -> None:
        self.writer.add_image(name, pixels, epoch, dataformats="HWC")

    def histogram(self, name: str, values: np.ndarray, epoch: int) -> None:
        self.writer.add_histogram(name, values, epoch)

    def close(self, result: dict[str, float], finished: bool) -> None:
        for name, value in result.items():
            self.writer.add_scalar(name, value, int(result.get("best_epoch", 0)))
        self.writer.close()


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases in project ``zspace`` (or WANDB_PROJECT).

    It is offline, in the folder ``wandb``, until ``wandb sync`` sends it; WANDB_MODE=online sends
    it at once. A resumed training is another run of the same name.
    """

    name = package = "wandb"

    def open(self, path: Path, config: dict[str, Any], epoch: int) -> None:
        self.wandb: Any = import_module("wandb")
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=path.name,
            config=config,
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=self.wandb.Settings(silent=True, console="off", disable_git=True),
        )

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        self.run.log(values, step=epoch, commit=False)

    def picture(self, name: str, pixels: np.ndarray, epoch: int) -> None:
        self.run.log({name: self.wandb.Image(pixels)}, step=epoch, commit=False)

    def histogram(self, name: str, values: np.ndarray, epoch: int) -> None:
        self.run.log({name: self.wandb.Histogram(values)}, step=epoch, commit=False)

    def close(self, result: dict[str, float], finished: bool) -> None:
        self.run.summary.update(result)
        self.run.finish(exit_code=0 if finished else 1)


class MLflow(Tracker):
    """A run of MLflow in experiment ``zspace`` (or MLFLOW_EXPERIMENT_NAME).

    It is kept in MLflow's default place, or where MLFLOW_TRACKING_URI says. MLflow has no
    histograms: mean and standard deviation of codes are metrics, and each histogram is an
    artifact, ``codes-EPOCH.json`` with counts and edges. A resumed training is another run of the
    same name.
    """

    name = package = "mlflow"

    def open(self, path: Path, config: dict[str, Any], epoch: int) -> None:
        mlflow = import_module("mlflow")
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        self.client = mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self.client.create_experiment(experiment)
        self.id = self.client.create_run(number, run_name=path.name).info.run_id
        self.entities: Any = import_module("mlflow.entities")
        told = [self.entities.Param(name, str(value)) for name, value in config.items()]
        self.client.log_batch(self.id, params=told)

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        now = int(1000 * time.time())
        told = [self.entities.Metric(name, one, now, epoch) for name, one in values.items()]
        self.client.log_batch(self.id, metrics=told)

    def picture(self, name: str, pixels: np.ndarray, epoch: int) -> None:
        self.client.log_image(self.id, Image.fromarray(pixels), f"{name}-{epoch:05}.png")

    def histogram(self, name: str, values: np.ndarray, epoch: int) -> None:
        counts, edges = np.histogram(values, bins=64)
        told = {"counts": counts.tolist(), "edges": edges.tolist()}
        self.client.log_dict(self.id, told, f"{name.replace('/', '-')}-{epoch:05}.json")
        moments = {f"{name}/mean": float(values.mean()), f"{name}/sd": float(values.std())}
        self.scalars(moments, epoch)

    def close(self, result: dict[str, float], finished: bool) -> None:
        self.scalars(result, int(result.get("best_epoch", 0)))
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""Every tracker by its name."""


def tracker(name: str) -> Tracker:
    """The tracker of that name.

    Raises UserError for an unknown name, and where its package is not installed.
    """
    if name not in TRACKERS:
        raise unknown("tracker", name, ("none", *TRACKERS))
    try:
        import_module(TRACKERS[name].package)
    except ImportError:
        raise UserError(
            f'--track {name} needs {TRACKERS[name].package}: pip install "zspace[track]"'
        ) from None
    return TRACKERS[name]()


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Options in groups as group.name, each a number, a truth value or a text."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            yield f"{before}{name}", value if plain else str(value)


def _picture(encoding: Encoding | None, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Samples x (n, *X) and their reconstructions y as one picture (H, W, 3) uint8."""
    if encoding is None:
        both = np.concatenate([x, y])
        both = both if both.shape[1] in (1, 3) else both.mean(1, keepdims=True)
        sheet = tile(both, len(x))
        return np.broadcast_to(sheet, (*sheet.shape[:2], 3)).copy()
    from zspace.report.figures.lines_texts import save_drawn

    if encoding.kind == "tokens":
        x, y = x.astype(np.int64), y.astype(np.int64)
    with tempfile.TemporaryDirectory(prefix="zspace-") as folder:
        path = save_drawn(Path(folder) / "drawn.png", encoding, y, x, "Reconstructions")
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return np.asarray(image.convert("RGB"))

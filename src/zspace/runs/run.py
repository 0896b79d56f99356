"""A run folder: what was trained and what came out; load it and use it.

run.json            job, data, environment, status, results, SHA-256 of the other two
metrics.jsonl       one line an epoch
model.safetensors   the best weights on validation
state/              what an exact resume needs, until the training has ended
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zspace.analysis.trained import TrainedModel
from zspace.data.dataset import Data
from zspace.data.kinds.image import by
from zspace.data.loading import is_resized
from zspace.data.loading import load as load_data
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.runs.config import Config
from zspace.runs.record import METRICS, read_metrics, read_record, read_spec, read_weights
from zspace.system.device import pick_device
from zspace.system.errors import UserError


def load(path: str | Path, device: str = "cpu") -> Run:
    """A run from its folder, ready to use.

    Raises UserError where the folder is no run, its weights are missing or damaged, or it was made
    by a newer version.
    """
    return Run(Path(path), device)


class Run(TrainedModel):
    """A trained model with its folder: what it was trained on and with, and what came out."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path = path
        self.record = read_record(path)
        self.config = Config.from_json(self.record["config"])
        spec = read_spec(path, self.record)
        super().__init__(
            self._rebuild(spec).to(pick_device(device)),
            spec,
            name=self.config.recipe,
            batch=self.config.training.batch,
            binarize=self.config.data.binarize,
        )
        self.own_data: Data | None = None

    def _rebuild(self, spec: Spec) -> recipes.Recipe:
        weights = read_weights(self.path, self.record)
        build = recipes.find(self.config.recipe)
        try:
            with contextlib.suppress(NotImplementedError), torch.device("meta"):
                # Takes no memory, whatever sizes run.json claims; but not every part can do it.
                claims = build(spec, **self.config.arguments).model.state_dict()
                if _shapes(claims) != _shapes(weights):
                    raise RuntimeError
            recipe = build(spec, **self.config.arguments)
            recipe.model.load_state_dict(weights)
        except (RuntimeError, TypeError):  # torch raises both for sizes that no tensor can have
            raise UserError(
                f"the weights in '{self.path}' do not fit recipe '{self.config.recipe}' as this "
                "version of zspace builds it"
            ) from None
        return recipe

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.config.name}, {self.record['status']})"

    @property
    def result(self) -> dict[str, Any]:
        """Best epoch, seconds, and every term on train, validation and test."""
        if "result" not in self.record:
            raise UserError(f"run '{self.path}' has not finished: 'zspace resume {self.path}'")
        return self.record["result"]

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch: terms on train and validation, learning rate, seconds."""
        noted = self.record["files"] if self.record["status"] == "finished" else {}
        return read_metrics(self.path / METRICS, noted.get(METRICS))

    @property
    def quality_epochs(self) -> list[dict[str, Any]]:
        """The epochs after which reconstructions were measured: lines of `metrics` with "quality",
        split -> measure -> mean over images.
        """
        return [line for line in self.metrics if line.get("quality")]

    def data(
        self,
        source: str | Path | None = None,
        *,
        data_dir: Path | None = None,
        quiet: bool = True,
    ) -> Data:
        """The data that the run was trained on (read once), or another source in its shape.

        data_dir: where files of named sets lie, if not where they lay in training.
        """
        folder = data_dir or self.config.data.data_dir
        if source is None:
            return self._fitting(self._own(folder, quiet))
        channels, height, width = self.spec.shape
        squared = is_resized(str(source)) and height == width
        data = load_data(
            str(source),
            data_dir=folder,
            size=height if squared else None,
            channels=3 if squared and channels == 3 else None,  # grey becomes colour, not back
            quiet=quiet,
        )
        if (data.spec.shape[0], channels) == (3, 1):
            raise UserError(
                f"data '{data.name}' has images in colour, but this model was trained on grey "
                "ones: make all of them grey, or train on colour"
            )
        return self._fitting(data)

    def _own(self, folder: Path | None, quiet: bool) -> Data:
        if self.own_data is None:
            given = self.config.data
            self.own_data = load_data(
                given.data,
                data_dir=folder,
                size=given.size,
                skip_bad=given.skip_bad,
                hold_out_class=given.hold_out_class,
                quiet=quiet,
            )
            if self.own_data.fingerprint != self.record["data"].get("fingerprint"):
                warnings.warn(
                    f"the data of run '{self.path}' has changed since it was trained: what "
                    "follows is of the data as it is now",
                    stacklevel=3,
                )
        return self.own_data

    def _fitting(self, data: Data) -> Data:
        if data.spec.shape != self.spec.shape:
            raise UserError(
                f"data '{data.name}' has images of {by(data.spec.shape)}, but this model reads "
                f"{by(self.spec.shape)} (channels × height × width): give images of that shape"
            )
        if self.model.context and self.spec.attributes:
            if data.attributes != self.spec.attributes:
                raise UserError(
                    f"data '{data.name}' does not have the {len(self.spec.attributes)} attributes "
                    "of this conditional model: give such data"
                )
            return data
        known = self.spec.classes[: len(data.classes)]
        if self.model.context and (not data.classes or data.classes != known):
            raise UserError(
                f"data '{data.name}' has the labels {', '.join(data.classes) or '(none)'}, but "
                f"this conditional model knows {', '.join(self.spec.classes)}: give such data"
            )
        return data


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

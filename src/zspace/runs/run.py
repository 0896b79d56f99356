"""A run folder: what was trained and what came out; load it and use it.

run.json            job, data, environment, status, results, SHA-256 of the other two
metrics.jsonl       one line an epoch
model.safetensors   the best weights on validation
state/              what an exact resume needs, until the training has ended
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.conditions import Label, attribute_columns, class_numbers, columns, turns
from zspace.data.dataset import Data
from zspace.data.kinds.image import Array, as_images, as_tensor, by
from zspace.data.loading import is_resized
from zspace.data.loading import load as load_data
from zspace.models import recipes
from zspace.models.flow import Model
from zspace.runs.config import Config
from zspace.runs.record import METRICS, read_metrics, read_record, read_spec, read_weights
from zspace.system.device import pick_device
from zspace.system.errors import UserError

CHUNK = 1024


def load(path: str | Path, device: str = "cpu") -> Run:
    """A run from its folder, ready to use.

    Raises UserError where the folder is no run, its weights are missing or damaged, or it was made
    by a newer version.
    """
    return Run(Path(path), device)


class Run:
    """A trained model with its folder.

    Images go in as numpy or torch, (N, C, H, W) or, with one channel, (N, H, W), uint8 or floats
    in [0, 1]; results come back as the same kind. Labels are numbers or class names, one for all
    or one an image; conditional models need them, others refuse them. Where the data have
    attributes instead, a label is the names of those that hold, or 0 and 1 for each, (N, A).
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path = path
        self.record = read_record(path)
        self.config = Config.from_json(self.record["config"])
        self.device = pick_device(device)
        self.spec = read_spec(path, self.record)
        self.recipe = self._rebuild()
        self.own_data: Data | None = None

    def _rebuild(self) -> recipes.Recipe:
        weights = read_weights(self.path, self.record)
        build = recipes.find(self.config.recipe)
        try:
            with contextlib.suppress(NotImplementedError), torch.device("meta"):
                # Takes no memory, whatever sizes run.json claims; but not every part can do it.
                claims = build(self.spec, **self.config.arguments).model.state_dict()
                if _shapes(claims) != _shapes(weights):
                    raise RuntimeError
            recipe = build(self.spec, **self.config.arguments)
            recipe.model.load_state_dict(weights)
        except (RuntimeError, TypeError):  # torch raises both for sizes that no tensor can have
            raise UserError(
                f"the weights in '{self.path}' do not fit recipe '{self.config.recipe}' as this "
                "version of zspace builds it"
            ) from None
        recipe.model.to(self.device).eval()
        return recipe

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.config.name}, {self.record['status']})"

    @property
    def model(self) -> Model:
        """The trained model (see `zspace.models.flow.Model`)."""
        return self.recipe.model

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
            if not self.own_data.has(self.record["data"].get("fingerprint", "")):
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

    def sample(self, n: int, label: Label | None = None, seed: int | None = None) -> np.ndarray:
        """n images (n, C, H, W) in [0, 1]: the mean of p(x|z) at draws z of the prior.

        label: for a conditional model, a class or the attributes that hold ("Smiling,Male");
        without it, they take turns. seed: None draws anew.
        """
        if not isinstance(n, int | np.integer) or n < 1:
            raise UserError(f"n is {n!r:.60}: ask for a whole number of samples, at least 1")
        if seed is not None and not (isinstance(seed, int | np.integer) and 0 <= seed < 2**63):
            raise UserError(f"seed is {seed!r:.60}: use a whole number from 0 to 2^63 - 1")
        if label is None and self.model.context:
            label = turns(self.spec, n)
        c = self._context(label, n)
        with torch.no_grad(), torch.random.fork_rng():
            if seed is None:
                torch.seed()
            else:
                torch.manual_seed(seed)
            return self.model.sample(n, c).mean.cpu().numpy()

    def encode(self, x: Array, label: Label | None = None) -> Array:
        """Codes (N, *Z) of images: the mean of q(z|x)."""
        return self._map(x, label, lambda x, c: self.model.encode(x, c))

    def decode(self, z: Array, label: Label | None = None) -> Array:
        """Images (N, C, H, W) in [0, 1] of codes (N, *Z): the mean of p(x|z)."""
        codes = as_tensor(z, "codes").float()
        want: tuple[int, ...] = self.model.latent
        if tuple(codes.shape[1:]) != want:
            raise UserError(
                f"codes have shape {tuple(codes.shape)}, but this model reads "
                f"({', '.join(['N', *map(str, want)])})"
            )
        return self._batched(codes, label, z, lambda z, c: self.model.decode(z, c).mean)

    def reconstruct(self, x: Array, label: Label | None = None) -> Array:
        """Images (N, C, H, W) in [0, 1]: x encoded and decoded, without a draw."""
        return self._map(x, label, self._through)

    def _through(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.model.decode(self.model.encode(x, c), c).mean

    def _map(self, x: Array, label: Label | None, function: Any) -> Array:
        return self._batched(as_images(x, self.spec.shape), label, x, function)

    @torch.no_grad()
    def _batched(self, x: Tensor, label: Label | None, like: Array, function: Any) -> Array:
        """Apply (x, c) -> y in chunks; the result is numpy or torch, as `like` is."""
        c = self._context(label, len(x))
        contexts: Iterator[Any] = iter(c.split(CHUNK)) if c is not None else iter(lambda: None, 0)
        parts = [function(part.to(self.device), next(contexts)) for part in x.split(CHUNK)]
        y = torch.cat(parts)
        return y.to(like.device) if isinstance(like, Tensor) else y.cpu().numpy()

    def _context(self, label: Label | None, n: int) -> Tensor | None:
        """One-hot labels or attributes (n, context); None for an unconditional model."""
        if not self.model.context:
            if label is not None:
                raise UserError(
                    f"recipe '{self.config.recipe}' takes no label, but one was given: leave it "
                    "out, or use a run of 'cvae'"
                )
            return None
        if label is None:
            raise UserError(
                "this model is conditional: give the label, or the attributes, of each image"
            )
        if self.spec.attributes:
            told = attribute_columns(label, self.spec.attributes)
        else:
            told = class_numbers(label, self.spec.classes)
        if len(told) not in (1, n):
            raise UserError(f"{len(told)} labels were given for {n} images: give one, or one each")
        return columns(told, self.model.context).to(self.device).expand(n, -1)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

"""A run folder: what was trained and what came out; load it and use it.

run.json            job, data, environment, status, results, SHA-256 of the weights
metrics.jsonl       one line an epoch
model.safetensors   the best weights on validation
state/              what an exact resume needs, until the training has ended
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from zspace import files, recipes
from zspace.data import Data, attribute_columns, columns, is_resized, turns
from zspace.data import load as load_data
from zspace.errors import UserError
from zspace.job import Job
from zspace.machine import pick_device
from zspace.types import Model, Spec

FORMAT = 1
CHUNK = 1024

Array = TypeVar("Array", np.ndarray, Tensor)
Label = int | str | Sequence[int] | Sequence[str] | np.ndarray | Tensor


def read_record(path: Path) -> dict[str, Any]:
    """The content of a folder's run.json.

    Raises UserError where the folder is none, holds no run, or a run of a newer format.
    """
    if not path.is_dir():
        raise UserError(
            f"run folder '{path}' does not exist: give a folder that zspace train made"
        )
    if not (path / "run.json").is_file():
        raise UserError(f"'{path}' is not a run: it holds no run.json (zspace train makes one)")
    record = files.read_json(path / "run.json")
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise UserError(f"'{path}' is not a run: its run.json names no format")
    if record["format"] > FORMAT:
        raise UserError(
            f"run '{path}' was made by zspace {record.get('zspace')} (format {record['format']}), "
            f"newer than this one (format {FORMAT}): upgrade zspace"
        )
    missing = [name for name in ("job", "data", "status", "files") if name not in record]
    if missing:
        raise UserError(f"'{path}' is not a run: its run.json has no {', '.join(missing)}")
    return record


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
        self.job = Job.from_json(self.record["job"])
        self.device = pick_device(device)
        facts = self.record["data"]
        attributes = tuple(facts.get("attributes", ()))
        self.spec = Spec(tuple(facts["shape"]), tuple(facts["classes"]), attributes)
        self.recipe = self._rebuild()
        self.own_data: Data | None = None

    def _rebuild(self) -> recipes.Recipe:
        name = "model.safetensors"
        if name not in self.record["files"]:
            raise UserError(
                f"run '{self.path}' has no finished epoch yet: continue it with "
                f"'zspace resume {self.path}'"
            )
        try:
            weights, _ = files.read_tensors(self.path / name, self.record["files"][name])
        except UserError as error:
            again = f"'zspace repeat {self.path} --out DIR' trains it again"
            raise UserError(f"{error}: {again}") from None
        recipe = recipes.find(self.job.recipe)(self.spec, **self.job.arguments)
        try:
            recipe.model.load_state_dict(weights)
        except RuntimeError:
            raise UserError(
                f"the weights in '{self.path}' do not fit recipe '{self.job.recipe}' as this "
                "version of zspace builds it"
            ) from None
        recipe.model.to(self.device).eval()
        return recipe

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.job.name}, {self.record['status']})"

    @property
    def model(self) -> Model:
        """The trained model (see `zspace.types.Model`)."""
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
        return read_metrics(self.path / "metrics.jsonl")

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
        folder = data_dir or self.job.data.data_dir
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
            given = self.job.data
            self.own_data = load_data(
                given.data,
                data_dir=folder,
                size=given.size,
                skip_bad=given.skip_bad,
                hold_out_class=given.hold_out_class,
                quiet=quiet,
            )
            if self.own_data.fingerprint != self.record["data"]["fingerprint"]:
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
        if n < 1:
            raise UserError(f"n is {n}: ask for at least 1 sample")
        if seed is not None and not 0 <= seed < 2**63:
            raise UserError(f"seed is {seed}: use a whole number from 0 to 2^63 - 1")
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
                    f"recipe '{self.job.recipe}' takes no label, but one was given: leave it out, "
                    "or use a run of 'cvae'"
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


def class_numbers(label: Label, classes: tuple[str, ...]) -> Tensor:
    """Labels, numbers or names, as an int64 vector. Raises UserError for one that is neither."""
    values = np.asarray(label.cpu() if isinstance(label, Tensor) else label).reshape(-1)
    known = f"this model knows 0 to {len(classes) - 1} ({', '.join(classes)})"
    if values.dtype.kind == "U":
        for name in values:
            if name not in classes:
                raise UserError(f"label '{name}' is unknown: {known}")
        return torch.tensor([classes.index(name) for name in values])
    if values.dtype.kind not in "iuf" or (values != np.floor(values)).any() or not len(values):
        raise UserError(f"label {label!r:.60} is no label: {known}")
    for value in values:
        if not 0 <= value < len(classes):
            raise UserError(f"label {int(value)} is out of range: {known}")
    return torch.from_numpy(values.astype(np.int64))


def as_tensor(x: Any, what: str) -> Tensor:
    """Numbers as a tensor of their own. Raises UserError for anything that is not an array."""
    if isinstance(x, Tensor):
        return x.detach()
    array = np.array(x)  # a copy: torch dislikes read-only, reversed and foreign-endian arrays
    if array.dtype.kind not in "iufb":
        raise UserError(
            f"{what} are {type(x).__name__} of {array.dtype}: give an array of numbers"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def as_images(x: Any, shape: tuple[int, ...]) -> Tensor:
    """Images as floats (N, *shape). Raises UserError for a wrong shape, type or range."""
    images = as_tensor(x, "images")
    if shape[0] == 1 and tuple(images.shape[-2:]) == shape[1:] and images.dim() in (2, 3):
        images = images.reshape(-1, *shape)
    if tuple(images.shape) == shape:
        images = images[None]
    if tuple(images.shape[1:]) != shape or len(images) == 0:
        raise UserError(
            f"images have shape {tuple(images.shape)}, but this model reads "
            f"({', '.join(['N', *map(str, shape)])})"
        )
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise UserError(f"images are {images.dtype}: give uint8 in 0..255 or floats in [0, 1]")
    if not images.isfinite().all():
        raise UserError("images hold NaN or infinite values: give floats in [0, 1]")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"image values lie in [{low:.4g}, {high:.4g}], not in [0, 1]: divide by 255?"
        )
    return images.float()


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it, 1×28×28."""
    return "×".join(map(str, shape))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line that a crash tore is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    metrics = []
    for line in lines:
        try:
            metrics.append(json.loads(line))
        except ValueError:
            break
    return metrics

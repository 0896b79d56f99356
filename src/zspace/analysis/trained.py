"""A trained model as metrics see it; its passes over samples; a fair choice of samples.

Passes are made exactly as the numbers of a run are measured, sample by sample. What is expensive
is computed once: several figures and the report read the same arrays.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from zspace.data.batches import Batches, Binarize
from zspace.data.conditions import Label, as_conditions, columns, turns
from zspace.data.dataset import Samples
from zspace.data.kinds.image import as_images, as_tensor
from zspace.data.spec import Batch, Spec
from zspace.models.flow import Model, Pass
from zspace.models.objective import Objective
from zspace.models.recipes import Recipe, Traits, traits
from zspace.system.errors import UserError
from zspace.system.pixels import Array

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function of a run (or of data) returned for as long as that object lives.

    The object is the first argument; the others are hashable, and however they are given, the
    same choice is the same result. Results are shared: do not write into them.
    """
    memory: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()
    signature = inspect.signature(function)

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first, *others = bound.arguments.values()
        known, key = memory.setdefault(first, {}), tuple(others)
        if key not in known:
            known[key] = function(*args, **kwargs)
        return known[key]

    return remembered


CHUNK = 1024
"""Samples that are encoded or decoded at once."""


class TrainedModel:
    """A model with what it reads and how its batches are made: what every metric is a function of.

    Images go in as numpy or torch, (N, C, H, W) or, with one channel, (N, H, W), uint8 or floats
    in [0, 1]; results come back as the same kind. Labels are numbers or class names, one for all
    or one an image; conditional models need them, others refuse them. Where the data have
    attributes instead, a label is the names of those that hold, or 0 and 1 for each, (N, A).

    Arguments:
        recipe: The model, in eval mode and on its device, with what it was trained to minimise.
        spec: What the model was told of its data.
        name: Of the recipe, for sentences.
        batch: Samples in a batch of the training; metrics take at least 512.
        binarize: How pixels are made 0 or 1, as in training.
    """

    def __init__(
        self, recipe: Recipe, spec: Spec, *, name: str, batch: int, binarize: Binarize
    ) -> None:
        self.recipe, self.spec, self.name = recipe, spec, name
        self.batch, self.binarize = batch, binarize

    @property
    def model(self) -> Model:
        """The trained model (see `zspace.models.flow.Model`)."""
        return self.recipe.model

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.model.parameters()).device

    @cached_property
    def probe(self) -> Pass:
        """One pass over a sample of zeros: shows which parts there are, not what was learned."""
        c = torch.zeros(1, self.model.context, device=self.device) if self.model.context else None
        with torch.no_grad(), torch.random.fork_rng():
            return self.model(torch.zeros(1, *self.spec.shape, device=self.device), c)

    @property
    def variational(self) -> bool:
        """Whether the code has a distribution q(z|x)."""
        return self.probe.latents[0].q is not None

    @cached_property
    def traits(self) -> Traits:
        """What the model is, as its parts say."""
        return traits(self.recipe, self.probe)

    @property
    def error(self) -> str:
        """The term that says how far reconstructions are from x; without one, the objective."""
        return self.objective.reconstruction or "objective"

    @property
    def objective(self) -> Objective:
        """What the first player minimises."""
        return self.recipe.players[0].objective

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
                    f"recipe '{self.name}' takes no label, but one was given: leave it "
                    "out, or use a run of 'cvae'"
                )
            return None
        if label is None:
            raise UserError(
                "this model is conditional: give the label, or the attributes, of each image"
            )
        told = as_conditions(label, self.spec)
        if len(told) not in (1, n):
            raise UserError(f"{len(told)} labels were given for {n} images: give one, or one each")
        return columns(told, self.model.context).to(self.device).expand(n, -1)


T = TypeVar("T")


def over(trained: TrainedModel, samples: Samples, function: Callable[[Batch], T]) -> list[T]:
    """What a function makes of each batch, in order; draws are those of the run's own metrics."""
    batches = Batches(
        samples,
        batch=max(trained.batch, 512),
        device=trained.device,
        seed=0,
        classes=trained.model.context,
        binarize=trained.binarize,
        shuffle=False,
    )
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return [function(batch) for batch in batches.epoch(0)]


def evenly(samples: Samples, n: int) -> torch.Tensor:
    """Positions of n samples: the first of each class, then the second of each, and so on."""
    n = min(n, len(samples))
    y = samples.labels()
    if y is None:
        return torch.arange(n)
    order = torch.argsort(y, stable=True)
    counts = torch.bincount(y)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(y)
    rank[order] = torch.arange(len(y)) - starts[y[order]]
    first = torch.argsort(rank * len(counts) + y)[:n]
    return first[torch.argsort(y[first], stable=True)]


def subset(samples: Samples, most: int, seed: int = 0) -> Samples:
    """At most `most` of the samples, drawn without replacement, in their order."""
    if len(samples) <= most:
        return samples
    drawn = np.random.RandomState(seed).permutation(len(samples))[:most]
    return replace(samples, index=samples.index[torch.from_numpy(np.sort(drawn))])


def class_rows(
    samples: Samples, classes: int, columns: int = 10, rows: int = 10, seed: int = 0
) -> tuple[np.ndarray, list[int]]:
    """A sheet (R, columns, C, H, W) of images drawn at random, and the class of each row.

    With labels a row shows one class; few classes get several rows each, of more than `rows`
    classes the first are shown. A class with too few images leaves white places. Without labels
    there is no class: the list is empty.
    """
    random, y = np.random.RandomState(seed), samples.labels()
    if y is None:
        places = [random.permutation(len(samples))[: rows * columns]]
        names, rows_each = [], -(-len(places[0]) // columns)
    else:
        shown = min(classes, rows)
        rows_each = max(1, rows // shown)
        of_class = [np.flatnonzero(y.numpy() == k) for k in range(shown)]
        places = [random.permutation(found)[: rows_each * columns] for found in of_class]
        names = [k for k in range(shown) for _ in range(rows_each)]
    blocks = [_padded(samples, place, rows_each * columns) for place in places]
    sheet = np.concatenate(blocks)
    return sheet.reshape(-1, columns, *sheet.shape[1:]), names


def _padded(samples: Samples, places: np.ndarray, n: int) -> np.ndarray:
    """Images at the places, and white ones up to n."""
    x = samples.images(torch.from_numpy(places)).numpy()
    return np.pad(x, [(0, n - len(x))] + [(0, 0)] * 3, constant_values=1)

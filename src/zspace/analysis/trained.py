"""A trained model as metrics see it, its passes over samples, and fair choices of samples.

Shapes: images x (N, C, H, W) in [0, 1], codes z (N, *Z), labels y (N,). Passes are made exactly
as the numbers of a run are measured, sample by sample, so that a metric and the run's own table
agree. What is expensive is computed once: several figures and the report read the same arrays.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from threading import RLock
from typing import Any, Literal, ParamSpec, TypeVar, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from zspace.analysis.pieces import at_once, measured_at_once, need_of
from zspace.data.account import of_samples
from zspace.data.batches import Batches, Binarize
from zspace.data.conditions import Label, as_conditions, columns, turns
from zspace.data.dataset import Data, Samples
from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.image import as_images, as_tensor
from zspace.data.spec import Batch, Spec
from zspace.models.draws import heated, typical
from zspace.models.flow import Model, Pass
from zspace.models.objective import Objective
from zspace.models.recipes import Recipe, Traits, hyphenated, traits
from zspace.models.samplers import CodeMixture, fit_mixture
from zspace.system.device import random_kept
from zspace.system.errors import UserError, enough_memory, unknown
from zspace.system.memory import Need
from zspace.system.pixels import Array

Part = Callable[[Tensor, Tensor | None], Tensor]
P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function of a run (or of data) returned for as long as that object lives.

    The object is the first argument; the others must be hashable. The same values are the same
    call, whether given by position, by name or by default. Results are shared: do not write into
    them. Of two threads that ask for the same, one waits for the other.

    >>> calls = []
    >>> @once
    ... def length(samples, unit=1):
    ...     calls.append(unit)
    ...     return len(samples) / unit
    >>> length(data.test) == length(data.test, 1) == length(data.test, unit=1)
    True
    >>> len(calls)
    1
    """
    memory: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()
    signature, lock = inspect.signature(function), RLock()

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first, *others = bound.arguments.values()
        with lock:
            known, key = memory.setdefault(first, {}), tuple(others)
            if key not in known:
                known[key] = function(*args, **kwargs)
            return known[key]

    return remembered


SampleFrom = Literal["auto", "prior", "mixture"]
MOST_CODES = 10_000
"""Training codes, and as many validation codes, to which a mixture is fitted."""


class TrainedModel:
    """A model with what it reads and how its batches are made: what every metric is a function of.

    A `zspace.Run` is one. Images go in as numpy or torch, (N, C, H, W) or, with one channel,
    (N, H, W), uint8 or floats in [0, 1]; results come back as the same type. Labels are numbers or
    class names, one for all images or one per image. Conditional models need them, others refuse
    them. Where the data have attributes instead, a label is the names of those that hold and the
    values of numbers ("Smiling,age=42"), or an array (N, A) of both in their order.

    Where it was trained on a table, rows go in as a DataFrame or an array (N, D) with its columns,
    and come back as a table of the sort that it was trained on; see `zspace.data.kinds.table`.
    What metrics read is x itself: `encoded`, `reconstructed`, `decoded` and `drawn`.

    Arguments:
        recipe: The model, in eval mode and on its device, with the objective that it minimised.
        spec: Shape, classes and attributes of the data it was trained on.
        name: Of the recipe, for error messages.
        batch: Batch size of the training. Metrics use larger ones, which are faster.
        binarize: How pixels were made 0 or 1 in training; metrics do the same.

    >>> x = data.test.images()[:4].numpy()
    >>> run.encode(x).shape == (4, *run.model.latent)
    True
    >>> bool(np.allclose(run.reconstruct(x), run.decode(run.encode(x)), atol=1e-6))
    True
    """

    encoding: Encoding | None = None
    """How raw samples become x, where they are no images."""
    values: tuple[float, float] | None = None
    """The raw integers that are 0 and 1 in [0, 1], where they were declared in training."""

    def __init__(
        self, recipe: Recipe, spec: Spec, *, name: str, batch: int, binarize: Binarize
    ) -> None:
        self.recipe, self.spec, self.name = recipe, spec, hyphenated(name)
        self.batch, self.binarize = batch, binarize
        self._needs: dict[str, Need] = {}
        self._mixture: CodeMixture | None = None

    @functools.cached_property
    def measured_at_once(self) -> int:
        """Samples in a batch of those that are measured; see `measured_at_once`."""
        draws = self.objective.samples
        return measured_at_once(self.model, self.spec.shape, self.batch, draws)

    @property
    def model(self) -> Model:
        """The trained model (see `zspace.models.flow.Model`)."""
        return self.recipe.model

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.model.parameters()).device

    @functools.cached_property
    def probe(self) -> Pass:
        """One pass over a sample of zeros. It shows which parts there are, not what they do."""
        c = torch.zeros(1, self.model.context, device=self.device) if self.model.context else None
        with torch.no_grad(), random_kept(self.device):
            return self.model(torch.zeros(1, *self.spec.shape, device=self.device), c)

    @property
    def variational(self) -> bool:
        """Whether the code has a distribution q(z|x)."""
        return self.probe.latents[0].q is not None

    @functools.cached_property
    def traits(self) -> Traits:
        """Whether the model is variational, conditional, discrete and so on, as its parts say."""
        return traits(self.recipe, self.probe)

    @property
    def error(self) -> str:
        """The name of the term that measures how far reconstructions are from x.

        It is "objective" for a model whose objective has no such term.
        """
        return self.objective.reconstruction or "objective"

    @property
    def objective(self) -> Objective:
        """What the first player minimises: the weighted terms, without any adversary's."""
        return self.recipe.players[0].objective

    @property
    def sampler(self) -> Literal["prior", "mixture"]:
        """Where new codes are drawn by default: the prior, if something that was minimised says
        that codes should lie there, else a mixture fitted to the codes.
        """
        return "prior" if self.traits.placed else "mixture"

    def mixture(self, data: Data | None = None, *, quiet: bool = True) -> CodeMixture:
        """A mixture of Gaussians fitted to codes of training samples, on the model's device.

        Codes of validation samples choose its size. Of a variational model codes are draws of
        q(z|x). A conditional model has one mixture for all labels.

        Arguments:
            data: To which it is fitted, if that has not been done before.
            quiet: Whether no progress bar is shown.

        Raises UserError where it is not fitted and no data are given.

        >>> run.mixture(data).sample(3).shape == (3, *run.model.latent)
        True
        """
        if self._mixture is None:
            if data is None:
                raise UserError(
                    f"no mixture is fitted to the codes of recipe '{self.name}': give the data, "
                    "or draw from the prior (sampler='prior')"
                )
            z, held = (
                each(self, subset(some, MOST_CODES), self._drawn)["z"]
                for some in (data.train, data.validation)
            )
            self._mixture = fit_mixture(z, held, quiet=quiet).to(self.device)
        return self._mixture

    @enough_memory()
    def sample(
        self,
        n: int,
        label: Label | None = None,
        seed: int | None = None,
        sampler: SampleFrom = "auto",
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        draw: bool | None = None,
    ) -> Any:
        """n images (n, C, H, W) in [0, 1]: the means of p(x|z) at new codes z.

        Other samples, rows, windows and sequences, are drawn from p(x|z): means of rows would be
        no rows.

        The global random state stays as it was. Raises UserError for n below 1, a seed outside
        [0, 2^63), a label that the model does not take, and an unknown sampler.

        Arguments:
            n: How many.
            label: For a conditional model, a class, or the attributes that hold and the values of
                numbers ("Smiling,age=42"; 3.5 for the only one), in their own units; one for all
                or one per image. By default classes or flags take turns, and numbers go through
                their distribution in training.
            seed: The same seed gives the same images; None gives others at each call.
            sampler: Where codes are drawn: prior, or mixture, Gaussians fitted to the codes of
                training images; auto is the prior, but the mixture for a model that, like an AE,
                was told nothing of where codes should lie: to it, draws of N(0, I) are noise.
            temperature: Of images: draws of the prior N(0, I) are multiplied by it, so that below
                1 images are likelier and less varied. Of sequences and series: of p(x|z), see
                `zspace.models.draws.heated`.
            top_p: Of sequences, likewise.
            draw: Whether x is a draw of p(x|z), or its mean; by default a mean of images, and a
                draw of all else.

        >>> bool((run.sample(2, seed=0) == run.sample(2, seed=0)).all())
        True
        """
        made = self.drawn(n, label, seed, sampler, temperature=temperature, top_p=top_p, draw=draw)
        return self._given_back(made)

    def drawn(
        self,
        n: int,
        label: Label | None = None,
        seed: int | None = None,
        sampler: SampleFrom = "auto",
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        draw: bool | None = None,
    ) -> np.ndarray:
        """The same as x (n, *X)."""
        if not isinstance(n, int | np.integer) or n < 1:
            raise UserError(f"n is {n!r:.60}: ask for a whole number of samples, at least 1")
        if seed is not None and not (isinstance(seed, int | np.integer) and 0 <= seed < 2**63):
            raise UserError(f"seed is {seed!r:.60}: use a whole number from 0 to 2^63 - 1")
        if label is None and self.model.context:
            label = turns(self.spec, n)
        if sampler not in get_args(SampleFrom):
            raise unknown("sampler", sampler, get_args(SampleFrom))
        c = self._context(label, n)
        chosen = self.sampler if sampler == "auto" else sampler
        fitted = self.mixture() if chosen == "mixture" else None
        with torch.no_grad(), random_kept(self.device, seed):
            if seed is None:
                torch.seed()
            z = self.model.draw(n, c) if fitted is None else fitted.sample(n, c)
            if self.encoding is None and temperature != 1:
                z, temperature = self._cooled(z, chosen, temperature), 1.0

            def drawn(z: Tensor, c: Tensor | None) -> Tensor:
                return heated(self.model.decode(z, c), temperature, top_p)

            if self.encoding is None:
                made = self.in_pieces(drawn if draw or top_p != 1 else self._mean, z, c)
                return made.clamp(0, 1).numpy()
            return self.in_pieces(self._mean if draw is False else drawn, z, c).numpy()

    def _cooled(self, z: Tensor, sampler: str, temperature: float) -> Tensor:
        """Draws of the prior N(0, I) at another temperature. Raises UserError for other draws."""
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature is {temperature}: use a number of 0 or more")
        if sampler != "prior" or not self.traits.standard:
            source = "a fitted mixture" if sampler == "mixture" else self.traits.prior
            raise UserError(
                f"temperature is {temperature}, but codes are drawn from {source}, and only those "
                "of N(0, I) can be hotter or colder: leave it out"
            )
        return z * temperature

    def _drawn(self, batch: Batch) -> dict[str, Tensor]:
        """One draw (B, *Z) of q(z|x) for each sample; the code where it is deterministic."""
        return {"z": self.model(batch.x, batch.c).latents[0].z[0]}

    @enough_memory()
    def encode(self, x: Array, label: Label | None = None) -> Array:
        """Codes (N, *Z) of images x: the means of q(z|x), or the codes where there is no q.

        Raises UserError for images of another shape or range than the model reads.
        """
        return self._batched(self._read(x), label, x, self.model.encode)

    def encoded(self, x: Array, label: Label | None = None) -> Array:
        """Codes (N, *Z) of x (N, *X), as batches have it."""
        return self._batched(self._as_x(x), label, x, self.model.encode)

    @enough_memory()
    def decode(self, z: Array, label: Label | None = None) -> Array:
        """Images (N, C, H, W) in [0, 1] of codes z (N, *Z), or of one (*Z): the means of p(x|z).

        Raises UserError for codes of another shape than the model's.
        """
        return self._given_back(self.decoded(z, label))

    def decoded(self, z: Array, label: Label | None = None) -> Array:
        """x (N, *X) of codes z (N, *Z)."""
        codes = as_tensor(z, "codes").float()
        want: tuple[int, ...] = self.model.latent
        codes = codes[None] if tuple(codes.shape) == want else codes
        if tuple(codes.shape[1:]) != want:
            raise UserError(
                f"codes have shape {tuple(codes.shape)}, but this model reads "
                f"({', '.join(['N', *map(str, want)])}): reshape them"
            )
        return self._batched(codes, label, z, self._mean)

    @enough_memory()
    def reconstruct(self, x: Array, label: Label | None = None) -> Array:
        """Images (N, C, H, W) in [0, 1], or rows: x encoded and decoded, without a draw."""
        return self._given_back(self._batched(self._read(x), label, x, self._through))

    def reconstructed(self, x: Array, label: Label | None = None) -> Array:
        """The same of x (N, *X), as x."""
        return self._batched(self._as_x(x), label, x, self._through)

    def _mean(self, z: Tensor, c: Tensor | None) -> Tensor:
        return typical(self.model.decode(z, c))

    def _through(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._mean(self.model.encode(x, c), c)

    def _read(self, x: Any) -> Tensor:
        """What a user gave, as x."""
        if self.encoding is not None:
            return self.encoding.encode(x)
        return as_images(x, self.spec.shape, self.values)

    def _as_x(self, x: Array) -> Tensor:
        return self._read(x) if self.encoding is None else torch.as_tensor(x).float()

    def _given_back(self, x: Array) -> Any:
        """x as a user gets it."""
        return x if self.encoding is None else self.encoding.decode(x)

    def _batched(self, x: Tensor, label: Label | None, like: Array, function: Part) -> Array:
        """Apply (x, c) -> y in pieces; the result is numpy or torch, as `like` is."""
        c = self._context(label, len(x))
        if isinstance(like, Tensor):
            return self.in_pieces(function, x, c, like.device)
        return self.in_pieces(function, x, c).numpy()

    @torch.no_grad()
    def in_pieces(
        self, function: Part, x: Tensor, c: Tensor | None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """What a function makes of x (N, ...) and contexts c (N, C), in pieces that fit in memory.

        How many samples fit follows from what the function takes for one of them, which is
        measured once under its name, and from the memory that is free on the model's device.

        Arguments:
            function: (x, c) -> y, sample by sample; a method, or a function with a name.
            x: Anywhere. Its pieces go to the model's device.
            c: Anywhere; None for no context.
            device: Where the result is put together.

        Raises UserError where a number of the result is not finite.

        >>> x = data.test.images()
        >>> z = run.in_pieces(run.model.encode, x, None)
        >>> z.shape == (len(x), *run.model.latent)
        True
        """
        own = self.device

        def some(rows: slice) -> Tensor:
            return function(x[rows].to(own), c if c is None else c[rows].to(own))

        def first(n: int) -> Tensor:
            return function(
                x[:1].expand(n, *x.shape[1:]).to(own, copy=True),
                c if c is None else c[:1].expand(n, -1).to(own),
            )

        size = len(x)
        if size > 1:
            if function.__name__ not in self._needs:
                self._needs[function.__name__] = need_of(self.model, first)
            size = at_once(self._needs[function.__name__], size, own)
        if size >= len(x):
            return _finite(some(slice(None)).to(device))
        made = None
        for start in range(0, len(x), size):
            y = some(slice(start, start + size))
            if made is None:
                made = torch.empty(len(x), *y.shape[1:], dtype=y.dtype, device=device)
            made[start : start + len(y)] = y
        assert made is not None
        return _finite(made)

    def _context(self, label: Label | None, n: int) -> Tensor | None:
        """One-hot labels or attributes (n, context); None for an unconditional model."""
        if not self.model.context:
            if label is not None:
                raise UserError(
                    f"recipe '{self.name}' takes no label, but one was given: leave it out, or "
                    "use a run of a conditional recipe such as 'cvae'"
                )
            return None
        if label is None:
            what = "attributes" if self.spec.attributes else "class"
            said = (
                f"recipe '{self.name}' is conditional, but no label was given: give the {what} of "
                "each image"
            )
            raise UserError(of_samples(said, self.spec.kind))
        told = as_conditions(label, self.spec)
        if len(told) not in (1, n):
            said = f"{len(told)} labels were given for {n} images: give 1 or {n}"
            raise UserError(of_samples(said, self.spec.kind))
        c = columns(told, self.model.context, self.spec.scales)
        return c.to(self.device).expand(n, -1)


def _finite(x: Tensor) -> Tensor:
    """The same. Raises UserError where a number is not finite."""
    if not x.isfinite().all():
        raise UserError("the results are not finite numbers, since the weights are too large")
    return x


def split(x: Tensor, c: Tensor | None, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Parts of x (N, ...) of at most `size` rows, each with its rows of c (N, C), or None."""
    return zip(x.split(size), repeat(None) if c is None else c.split(size), strict=False)


T = TypeVar("T")


def over(trained: TrainedModel, samples: Samples, function: Callable[[Batch], T]) -> list[T]:
    """What a function makes of each batch, in order; draws are those of the run's own metrics."""
    batches = Batches(
        samples,
        batch=trained.measured_at_once,
        device=trained.device,
        seed=0,
        classes=trained.model.context,
        binarize=trained.binarize,
        shuffle=False,
    )
    with torch.no_grad(), random_kept(trained.device, seed=0):
        return [function(batch) for batch in batches.epoch(0)]


def each(
    trained: TrainedModel, samples: Samples, function: Callable[[Batch], dict[str, Tensor]]
) -> dict[str, np.ndarray]:
    """Name -> (N, ...): what a function of a batch gives of every sample, in order; see `over`.

    >>> each(run, data.test, lambda batch: {"x": batch.x})["x"].shape == data.test.images().shape
    True
    """
    parts = over(trained, samples, lambda b: {k: v.cpu() for k, v in function(b).items()})
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def in_turns(y: np.ndarray) -> np.ndarray:
    """Positions of labels y (N,) as classes take turns: the first of each, the second of each...

    >>> in_turns(np.array([0, 0, 0, 1, 2, 1])).tolist()
    [0, 3, 4, 1, 5, 2]
    """
    order, counts = np.argsort(y, kind="stable"), np.bincount(y)
    rank = np.empty_like(y)
    rank[order] = np.arange(len(y)) - (counts.cumsum() - counts)[y[order]]
    return np.lexsort((y, rank))


def evenly(samples: Samples, n: int) -> torch.Tensor:
    """Positions of at most n samples: classes take turns, and those chosen are sorted by class.

    Without labels, or where some are missing, they are the first n samples; of windows (T, D) of a
    series, of which neighbours may be nearly the same, some from the first to the last.
    """
    y = samples.labels()
    if y is None or bool((y < 0).any()):
        n = min(n, len(samples))
        if len(samples.x.shape) == 3:
            return torch.linspace(0, max(0, len(samples) - 1), n).round().long()
        return torch.arange(n)
    first = torch.from_numpy(in_turns(y.numpy())[:n])
    return first[torch.argsort(y[first], stable=True)]


@torch.no_grad()
def decoded(trained: TrainedModel, z: Tensor, c: Tensor | None) -> np.ndarray:
    """Images (N, C, H, W) of codes z (N, ...) and contexts c (N, C), which may mix two labels."""
    z = z.float().reshape(-1, *trained.model.latent)
    return trained.in_pieces(trained._mean, z, c).numpy()


def subset(samples: Samples, most: int, seed: int = 0) -> Samples:
    """At most `most` of the samples, drawn without replacement, in their order.

    >>> len(subset(data.train, 7)), subset(data.train, 10**6) is data.train
    (7, True)
    """
    if len(samples) <= most:
        return samples
    drawn = np.random.RandomState(seed).permutation(len(samples))[:most]
    return replace(samples, index=samples.index[torch.from_numpy(np.sort(drawn))])


def class_rows(
    samples: Samples, classes: int, columns: int = 10, rows: int = 10, seed: int = 0
) -> tuple[np.ndarray, list[int]]:
    """A sheet (R, columns, C, H, W) of images drawn at random, and the class of each row.

    With labels each row shows one class. Few classes get several rows each; of more than `rows`
    classes, the first ones are shown. A class with too few images leaves white places. Without
    labels the list of classes is empty.
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

"""Images that a model makes, (N, C, H, W): decodings of test images, and of draws of the prior.

A reconstruction is the mean of p(x|z) at the mean code. Its error is measured by sample, by class
and, for the images that the model expected least, pixel by pixel; while a model is trained, by the
measures of `zspace.data.kinds.image`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zspace.analysis.anomaly import squared_error
from zspace.analysis.trained import SampleFrom, TrainedModel, each, evenly, once
from zspace.data.conditions import named
from zspace.data.dataset import Data, Samples
from zspace.data.kinds.image import image_quality
from zspace.data.spec import Batch
from zspace.models.draws import typical
from zspace.models.flow import Model, Term
from zspace.models.perceptual import NotReady

WATCHED = 1000
"""Images that are measured after every epoch, at most."""


@dataclass(frozen=True)
class Pairs:
    """Images x (N, C, H, W), what the model makes of them, and their labels y (N,) or None."""

    x: np.ndarray
    decoded: np.ndarray
    y: np.ndarray | None


def reconstructions(trained: TrainedModel, data: Data, n: int = 10) -> Pairs:
    """Test images, spread evenly over the classes where there are some, and their reconstructions.

    Gives `x` and `decoded`, both (n, C, H, W) in [0, 1], and the labels `y` (n,) or None. Nothing
    is drawn: the code is the mean of q(z|x), and a reconstruction the mean of p(x|z).

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        n: How many, fewer where the test split is smaller. Ten show each digit once.

    >>> found = reconstructions(run, data, n=10)
    >>> found.decoded.shape == found.x.shape == (10, *data.spec.shape)
    True
    >>> bool((np.diff(found.y) >= 0).all())  # sorted by class
    True
    """
    test = data.test
    i = evenly(test, n)
    x, y = test.images(i).numpy(), test.labels(i)
    decoded = trained.reconstructed(x, test.conditions(i) if trained.model.context else None)
    return Pairs(x, decoded, None if y is None else y.numpy())


def sample_rows(
    trained: TrainedModel,
    columns: int = 10,
    seed: int = 0,
    rows: int = 4,
    sampler: SampleFrom = "auto",
) -> tuple[list[np.ndarray], list[str]]:
    """Rows of samples (columns, C, H, W) and the names of the rows; sampler: see `sample`.

    For a conditional model each row shows a class or an attribute, at most ten of them, and each
    column has the same z. Else there are `rows` rows without names.
    """
    if not trained.model.context:
        x = trained.drawn(rows * columns, seed=seed, sampler=sampler)
        return list(x.reshape(rows, columns, *x.shape[1:])), [""] * rows
    told = dict(list(named(trained.spec).items())[:10])
    return [
        trained.drawn(columns, label=one, seed=seed, sampler=sampler) for one in told.values()
    ], list(told)


@dataclass(frozen=True)
class Surprises:
    """Images x (N, C, H, W), decoded from their mean codes, and maps (N, H, W) of the squared
    error, summed over channels; the highest error first.

    error (N,): the sum of each map. usual: the mean error of all images that were looked at, of
    which there were `images`. i (N,): positions among them, one split after another. ids: what
    each of them is called.
    """

    x: np.ndarray
    decoded: np.ndarray
    maps: np.ndarray
    error: np.ndarray
    usual: float
    images: int
    i: np.ndarray
    ids: list[str]


def surprises(trained: TrainedModel, *splits: Samples, n: int = 10) -> Surprises:
    """The n samples of one split or several with the highest reconstruction error."""

    def errors(batch: Batch) -> dict[str, Tensor]:
        return {"error": squared_error(trained, batch).flatten(1).sum(1)}

    of_splits = [each(trained, samples, errors)["error"] for samples in splits]
    error = np.concatenate(of_splits)
    i = np.argsort(-error, kind="stable")[:n]
    ends = np.cumsum([0, *map(len, of_splits)])
    shown, ids = [], list[str]()
    for samples, start, end in zip(splits, ends, ends[1:], strict=False):
        rows = torch.from_numpy(i[(start <= i) & (i < end)] - start)
        if len(rows):
            shown.append(_looked(trained, replace(samples, index=samples.index[rows])))
            ids += samples.names(rows)
    x, decoded, maps = (np.concatenate(part) for part in zip(*shown, strict=True))
    order = np.argsort(-maps.sum((1, 2)), kind="stable")
    names = [ids[at] for at in order]
    mean = float(error.mean())
    return Surprises(x[order], decoded[order], maps[order], error[i], mean, len(error), i, names)


def _looked(trained: TrainedModel, samples: Samples) -> tuple[np.ndarray, ...]:
    """Images, what they are decoded to, and the maps of their errors."""

    def looked(batch: Batch) -> dict[str, Tensor]:
        z, maps = trained.model.encode(batch.x, batch.c), squared_error(trained, batch)
        return {"x": batch.x, "decoded": typical(trained.model.decode(z, batch.c)), "maps": maps}

    return tuple(each(trained, samples, looked).values())


@once
def least_expected(trained: TrainedModel, data: Data, n: int = 10) -> Surprises:
    """The test images with the highest reconstruction error."""
    return surprises(trained, data.test, n=n)


@once
def per_sample_terms(
    trained: TrainedModel, data: Data, split: str = "test"
) -> dict[str, np.ndarray]:
    """Each term of the run's objective for every sample of a split: name -> (N,).

    Their means are the numbers in `run.result`. Terms that are statistics of a batch are left out,
    and so are those that look through another network, such as a discriminator: a run keeps the
    model alone, so any other is untrained once the run is loaded.

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        split: "train", "validation" or "test".

    >>> terms = per_sample_terms(run, data)
    >>> sorted(terms), terms["kl"].shape == (len(data.test),)
    (['kl', 'mse'], True)
    """
    objective, own = trained.objective, own_terms(trained)

    def terms(batch: Batch) -> dict[str, Tensor]:
        p = trained.model(batch.x, batch.c, objective.samples)
        values = {name: value for term in own for name, value in term(p).items()}
        return {name: value for name, value in values.items() if value.dim()}

    return each(trained, data.splits[split], terms)


class _Elsewhere(Exception):
    """A network was called that does not belong to the model."""


def own_terms(trained: TrainedModel) -> list[Term]:
    """The terms of the objective that call no network but the model's own.

    Each is tried on one pass, during which the networks of other players and the feature networks
    of the recipe refuse to be called.
    """

    def refuse(module: nn.Module, given: Any) -> None:
        raise _Elsewhere

    recipe, own = trained.recipe, set(trained.model.modules())
    others = [*(player.module for player in recipe.players[1:]), *recipe.feature_networks]
    foreign = {module for network in others for module in network.modules()} - own
    hooks = [module.register_forward_pre_hook(refuse) for module in foreign]
    found = []
    try:
        for term in trained.objective.terms:
            with contextlib.suppress(_Elsewhere, NotReady), torch.no_grad():
                term(trained.probe)
                found.append(term)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def per_class(values: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """The mean of values (N,) over each class of labels y (N,): (classes,), nan where empty.

    >>> per_class(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3).tolist()
    [2.0, nan, 5.0]
    """
    values, y = values[y >= 0], y[y >= 0]
    counts = np.bincount(y, minlength=classes)
    sums = np.bincount(y, weights=values, minlength=classes)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def class_errors(trained: TrainedModel, term: str, data: Data) -> dict[str, float]:
    """The mean of a term over the test images of each class that has some."""
    values, y = per_sample_terms(trained, data), data.test.labels()
    if y is None or term not in values:
        return {}
    return _by_class(values[term], y.numpy(), data.classes)


@once
def variety(data: Data) -> dict[str, float]:
    """Class -> the mean squared distance of its test images to their mean image."""
    labels = data.test.labels()
    if labels is None or not data.spec.has_distances:
        return {}
    x, y = data.test.images().flatten(1).numpy(), labels.numpy()
    for k in np.unique(y):
        x[y == k] -= x[y == k].mean(0)
    return _by_class(np.square(x).sum(1), y, data.classes)


def _by_class(values: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    named = zip(classes, per_class(values, y, len(classes)), strict=True)
    return {name: float(mean) for name, mean in named if np.isfinite(mean)}


def rank_correlation(a: dict[str, float], b: dict[str, float]) -> float:
    """Spearman's rank correlation over the names of `a`; 0 where one of them does not vary.

    >>> round(rank_correlation({"x": 1, "y": 2, "z": 9}, {"x": 3, "y": 4, "z": 5}), 6)
    1.0
    """
    from scipy.stats import spearmanr  # slow to import

    first, second = ([values[name] for name in a] for values in (a, b))
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return float(spearmanr(first, second).statistic)


@torch.no_grad()
def reconstruction_quality(
    model: Model,
    batches: Iterable[Batch],
    most: int = WATCHED,
    measure: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None,
) -> dict[str, float]:
    """Means of the measures of `image_quality` over the first `most` images.

    measure: another one, from x and its reconstruction to values (B,) by name, such as that of a
    table (`zspace.data.kinds.table.Encoding.quality`); NaN are left out.

    A reconstruction is the mean of p(x|z) at the code that `encode` gives: nothing is drawn, the
    model is in eval mode meanwhile, and no random state moves. Numbers are read from the device
    in float32, a million at a time, and added up in float64. Samples that are not images (C, H, W)
    have no such measures, so the result is empty.
    """
    training, parts, count = model.training, dict[str, list[Tensor]](), 0
    means, held = Means(), 0
    model.eval()
    try:
        for batch in batches:
            if (batch.x.dim() != 4 and measure is None) or count >= most:
                break
            x = batch.x[: most - count]
            c = None if batch.c is None else batch.c[: len(x)]
            decoded = typical(model.decode(model.encode(x, c), c))
            values = (measure or image_quality)(x, decoded)
            for name, value in values.items():
                parts.setdefault(name, []).append(value)
            count, held = count + len(x), held + len(x) * len(values)
            if held >= AT_ONCE:
                means.add(parts)
                parts, held = {}, 0
    finally:
        model.train(training)
    means.add(parts)
    return means.found()


AT_ONCE = 1 << 20
"""Numbers that are kept on the device before they are read."""


class Means:
    """Means of values by name, of which NaN are left out, added up in float64."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, parts: Mapping[str, Sequence[Tensor]]) -> None:
        """Take in further values: tensors (B,) by name."""
        if not parts:
            return
        found = torch.stack([torch.cat(list(part)) for part in parts.values()])
        values = found.float().cpu().numpy()
        for name, row in zip(parts, values, strict=True):
            before, count = self.sums.get(name, (0.0, 0))
            total, seen = np.nansum(row, dtype=np.float64), (~np.isnan(row)).sum()
            self.sums[name] = before + float(total), count + int(seen)

    def found(self) -> dict[str, float]:
        """The mean of each name that has a value."""
        return {name: total / n for name, (total, n) in self.sums.items() if n}

"""What a conditional model is told of each sample: the only place where it becomes a context.

A condition is a label (B,), or which attributes hold, (B, A) of 0 and 1, several at once. A model
reads it as columns c (B, C) of float32: labels are one-hot, attributes stay as they are.

    columns         conditions -> c
    columns_of      samples -> c of some of them
    lookup          samples -> (rows -> c), for the batches of a training
    as_conditions   what a user gave, names or numbers -> conditions
    turns           conditions where nobody gave any
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.dataset import Data, Samples
from zspace.data.labels import MISSING
from zspace.data.spec import Spec
from zspace.system.errors import UserError, unknown


def columns(conditions: Tensor, context: int) -> Tensor:
    """Labels (B,) or attributes (B, context) as the model's c (B, context), float32.

    A row of NaN stands where there is no label (-1).

    >>> columns(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if conditions.dim() == 2:
        return conditions.to(torch.float32)
    return _rows(context, conditions.device)[conditions]


def _rows(context: int, device: torch.device) -> Tensor:
    """The rows of c for labels 0, 1, ... and, last, for -1."""
    nothing = torch.full((1, context), float("nan"), device=device)
    return torch.cat([torch.eye(context, device=device), nothing])


def columns_of(samples: Samples, context: int, i: Tensor | None = None) -> Tensor | None:
    """c (B, context) of positions ``i`` (None: of all); None for a model that is told nothing.

    >>> columns_of(data.test, 10, torch.arange(4)).argmax(1).equal(data.test.labels()[:4])
    True
    >>> columns_of(data.test, 0) is None
    True
    """
    told = samples.conditions(i) if context else None
    return None if told is None else columns(told, context)


def check_conditions(data: Data, recipe: str, context: int) -> None:
    """Raise UserError where a conditional model cannot be trained on the labels of these data.

    Arguments:
        data: What it would be trained on.
        recipe: Its name, for the sentence.
        context: Columns that the model reads; 0 takes any data.
    """
    if not context or data.attributes:
        return
    for split, samples in data.splits.items():
        y = samples.labels()
        missing = 0 if y is None else int((y == MISSING).sum())
        if missing:
            raise UserError(
                f"recipe '{recipe}' reads the label of every sample, but {missing:,} of the "
                f"{split} samples of '{data.name}' have none: leave those out with "
                "--labelled-only, or use an unconditional recipe"
            )
    novel = [name for name in data.novel if name != data.held_out]
    if novel:
        raise UserError(
            f"recipe '{recipe}' is told the class of every sample, but '{data.name}' has no "
            f"training sample of class {', '.join(map(repr, novel)):.200}: add some, or use an "
            "unconditional recipe, for which they are anomalies"
        )


def lookup(
    samples: Samples, context: int, device: torch.device
) -> Callable[[Tensor], Tensor | None]:
    """A function from rows of the storage (B,) to c (B, context), all on the device.

    It never waits for the device, since it is called for every batch. With a context of 0 it gives
    None.

    Raises UserError for labels that are missing or too large, and for a number of attributes that
    is not ``context``.

    >>> c = lookup(data.train, 10, torch.device("cpu"))
    >>> c(data.train.index[:5]).shape
    torch.Size([5, 10])
    """
    if context == 0:
        return lambda rows: None
    if samples.attributes is not None:
        there = samples.attributes.to(device)
        if there.shape[1] != context:
            has = f"this data set has {there.shape[1]}"
            raise UserError(f"the model reads {context} attributes, but {has}: give other data")
        return lambda rows: there.index_select(0, rows).to(torch.float32)
    if samples.y is None:
        raise UserError("this model needs labels, but the data have none; give data with labels")
    if (most := int(samples.y.max())) >= context:
        raise UserError(f"labels go up to {most}, but the model has {context} classes, from 0")
    # A look-up rather than torch's one_hot, whose range check waits for the device.
    of, y = _rows(context, device), samples.y.to(device)
    y = torch.where(y < 0, context, y)  # index_select takes no -1
    return lambda rows: of.index_select(0, y.index_select(0, rows))


def turns(spec: Spec, n: int) -> np.ndarray:
    """Conditions for n images where the user gave none: the classes take turns.

    Labels (n,); with attributes (n, A), where each image has one attribute only.

    >>> turns(Spec((1, 8, 8), classes=("cat", "dog")), 5)
    array([0, 1, 0, 1, 0])
    """
    turn = np.arange(n) % spec.context
    return np.eye(spec.context, dtype=np.float32)[turn] if spec.attributes else turn


Label = int | str | Sequence[int] | Sequence[str] | np.ndarray | Tensor


def as_conditions(given: Label, spec: Spec) -> Tensor:
    """What a user gave, as labels (N,) int64, or as attributes (N, A) float32; N is 1 or n.

    Arguments:
        given: Numbers or names of classes. Where the data have attributes: names of those that
            hold, as "Smiling,Male" or as a list, or 0 and 1 for each of them, (A,) or (n, A).
        spec: Of the data, with the names of classes and attributes.

    Raises UserError for anything else.

    >>> as_conditions(["dog", "cat"], Spec((1, 8, 8), classes=("cat", "dog")))
    tensor([1, 0])
    >>> as_conditions("Young", Spec((3, 64, 64), attributes=("Male", "Young")))
    tensor([[0., 1.]])
    """
    if spec.attributes:
        return _attributes(given, spec.attributes)
    return _labels(given, spec.classes)


def _attributes(wanted: Any, names: tuple[str, ...]) -> Tensor:
    if isinstance(wanted, Tensor):
        wanted = wanted.cpu().numpy()
    if isinstance(wanted, str):
        wanted = [name.strip() for name in wanted.split(",") if name.strip()]
    values = np.asarray(wanted)
    if values.dtype.kind == "U" or values.size == 0:
        holding = list(map(str, values.reshape(-1)))
        for name in holding:
            if name not in names:
                raise unknown("attribute", name, names)
        return torch.tensor([[float(name in holding) for name in names]])
    shaped = values.ndim in (1, 2) and values.shape[-1] == len(names)
    if not shaped or values.dtype.kind not in "iufb" or not np.isin(values, (0, 1)).all():
        raise UserError(
            f"attributes {wanted!r:.60} cannot be read: give their names, for example "
            f"'{','.join(names[:2])}', or 0 and 1 for each of the {len(names)}"
        )
    return torch.from_numpy(values.reshape(-1, len(names)).astype(np.float32))


def _labels(label: Label, classes: tuple[str, ...]) -> Tensor:
    values = np.asarray(label.cpu() if isinstance(label, Tensor) else label).reshape(-1)
    known = f"this model knows 0 to {len(classes) - 1} ({', '.join(classes)})"
    if values.dtype.kind == "U":
        for name in values:
            if name not in classes:
                raise UserError(f"label '{name}' is unknown: {known}")
        return torch.tensor([classes.index(name) for name in values])
    if values.dtype.kind not in "iuf" or (values != np.floor(values)).any() or not len(values):
        raise UserError(f"label {label!r:.60} is not a number or name of a class: {known}")
    for value in values:
        if not 0 <= value < len(classes):
            raise UserError(f"label {int(value)} is out of range: {known}")
    return torch.from_numpy(values.astype(np.int64))

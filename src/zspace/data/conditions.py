"""What a conditional model is told of each sample: the only place where it becomes a context.

A condition is a label (B,), or attributes (B, A): flags of 0 and 1, of which several may hold, and
numbers in their own units. A model reads it as columns c (B, C) of float32: labels are one-hot,
flags stay as they are, numbers are standardised by the training samples.

    columns         conditions -> c
    columns_of      samples -> c of some of them
    lookup          samples -> (rows -> c), for the batches of a training
    as_conditions   what a user gave, names or numbers -> conditions
    turns           conditions where nobody gave any
    named           conditions with a name each, for those who choose one
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.attributes import standardised
from zspace.data.dataset import Data, Samples
from zspace.data.spec import FLAG, Scale, Spec
from zspace.system.errors import UserError, unknown


def columns(conditions: Tensor, context: int, scales: Sequence[Scale] = ()) -> Tensor:
    """Labels (B,) or attributes (B, context) as the model's c (B, context), float32.

    A row of NaN stands where there is no label (-1). scales: of the attributes, where some are
    numbers.

    >>> columns(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if conditions.dim() == 2:
        return standardised(conditions, scales)
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
    return None if told is None else columns(told, context, samples.scales)


def check_conditions(data: Data, recipe: str, context: int, unlabelled: bool = False) -> None:
    """Raise UserError where a conditional model cannot be trained on the labels of these data.

    Arguments:
        data: What it would be trained on.
        recipe: Its name, for the sentence.
        context: Columns that the model reads; 0 takes any data.
        unlabelled: Whether the model has a rule for samples without a label; see
            `zspace.models.flow.Model`.
    """
    if not context:
        return
    for split, samples in data.splits.items():
        missing = int(samples.unlabelled().sum())
        if missing and not unlabelled:
            raise UserError(
                f"recipe '{recipe}' reads {'every attribute' if data.attributes else 'the label'} "
                f"of every sample, but {missing:,} of the {split} samples of '{data.name}' have "
                f"{'not all' if data.attributes else 'none'}: leave those out with "
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
        has = samples.attributes.shape[1]
        if has != context:
            has_them = f"this data set has {has}"
            raise UserError(
                f"the model reads {context} attributes, but {has_them}: give other data"
            )
        told = samples.attributes  # flags stay bytes on the device
        told = standardised(told, samples.scales) if samples.scales else told
        there = told.to(device)
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
    """Conditions for n samples where the user gave none: the classes take turns.

    Labels (n,); with attributes (n, A), where each sample has one flag only. Numbers go evenly
    through a normal distribution with the mean and sd of the training samples, within their range.

    >>> turns(Spec((1, 8, 8), classes=("cat", "dog")), 5)
    array([0, 1, 0, 1, 0])
    >>> age = Spec((1, 8, 8), attributes=("age",), scales=(Scale(40.0, 10.0, 18.0, 50.0),))
    >>> turns(age, 3).round(1).tolist()
    [[40.0], [33.3], [46.7]]
    """
    if not spec.attributes:
        return np.arange(n) % spec.context
    told = np.zeros((n, spec.context), np.float64 if spec.scales else np.float32)
    numbers = [j for j, scale in enumerate(spec.scales) if scale != FLAG]
    flags = [j for j in range(spec.context) if j not in numbers]
    if flags:
        told[np.arange(n), np.array(flags)[np.arange(n) % len(flags)]] = 1
    if numbers:
        from scipy.special import ndtri  # slow to import
        from scipy.stats.qmc import Halton

        normal = ndtri(Halton(len(numbers), scramble=False).random(n + 1)[1:])
        for j, z in zip(numbers, normal.T, strict=True):
            mean, sd, low, high = spec.scales[j]
            told[:, j] = np.clip(mean + sd * z, low, high)
    return told


def named(spec: Spec) -> dict[str, np.ndarray]:
    """Conditions that a conditional model may be told one at a time: name -> label or (A,).

    A flag holds alone, with the other numbers at their means; a number lies an sd above its mean.

    >>> list(named(Spec((1, 8, 8), classes=("cat", "dog"))))
    ['cat', 'dog']
    >>> age = Spec((1, 8, 8), attributes=("age",), scales=(Scale(40.0, 10.0, 18.0, 60.0),))
    >>> named(age)
    {'age 50': array([50.])}
    """
    if not spec.attributes:
        return {name: np.array(k) for k, name in enumerate(spec.classes)}
    if not spec.scales:
        return dict(zip(spec.attributes, np.eye(spec.context, dtype=np.float32), strict=True))
    means, found = np.array([0.0 if s == FLAG else s.mean for s in spec.scales]), {}
    for j, (name, scale) in enumerate(zip(spec.attributes, spec.scales, strict=True)):
        told = means.copy()
        told[j] = 1.0 if scale == FLAG else scale.mean + scale.sd
        found[name if scale == FLAG else f"{name} {told[j]:.3g}"] = told
    return found


Label = (
    int
    | float
    | str
    | Sequence[int]
    | Sequence[float]
    | Sequence[str]
    | Mapping[str, Any]
    | np.ndarray
    | Tensor
)


def as_conditions(given: Label, spec: Spec) -> Tensor:
    """What a user gave, as labels (N,) int64, or as attributes (N, A); N is 1 or n.

    Arguments:
        given: Numbers or names of classes. Where the data have attributes: names of flags that
            hold and values of numbers, as "Smiling,age=42", as a list or as {"Smiling": 1, "age":
            42}; or all of them in order, (A,) or (n, A); or, of a single number, 3.5 or (n,).
        spec: Of the data, with the names of classes and attributes.

    Attributes come back as float32, or, where some are numbers, as float64 in their own units.
    Raises UserError for anything else, and where a number is not given.

    >>> as_conditions(["dog", "cat"], Spec((1, 8, 8), classes=("cat", "dog")))
    tensor([1, 0])
    >>> as_conditions("Young", Spec((3, 64, 64), attributes=("Male", "Young")))
    tensor([[0., 1.]])
    >>> age = Spec((3, 64, 64), attributes=("age",), scales=(Scale(40.0, 10.0, 18.0, 50.0),))
    >>> as_conditions(33, age).tolist(), as_conditions("age=33", age).tolist()
    ([[33.0]], [[33.0]])
    """
    if spec.attributes:
        return _attributes(given, spec)
    return _labels(given, spec.classes)


def _attributes(wanted: Any, spec: Spec) -> Tensor:
    names, dtype = spec.attributes, torch.float64 if spec.scales else torch.float32
    if isinstance(wanted, Tensor):
        wanted = wanted.cpu().numpy()
    if isinstance(wanted, Mapping):
        wanted = [f"{name}={value}" for name, value in wanted.items()]
    if isinstance(wanted, str):
        wanted = [part.strip() for part in wanted.split(",") if part.strip()]
    values = np.asarray(wanted)
    if values.dtype.kind == "U" or (values.size == 0 and not spec.scales):
        return torch.tensor([_by_name(list(map(str, values.reshape(-1))), spec)], dtype=dtype)
    if len(names) == 1 and values.ndim < 2:
        values = values.reshape(-1, 1)
    shaped = values.ndim in (1, 2) and values.shape[-1] == len(names)
    flags = [j for j in range(len(names)) if not spec.scales or spec.scales[j] == FLAG]
    fits = shaped and values.dtype.kind in "iufb" and np.isfinite(values).all()
    if not fits or not np.isin(values[..., flags], (0, 1)).all():
        raise UserError(f"attributes {wanted!r:.60} cannot be read: {_how(spec)}")
    return torch.from_numpy(values.reshape(-1, len(names)).astype(np.float64)).to(dtype)


def _how(spec: Spec) -> str:
    """How the attributes of a model are given."""
    names = spec.attributes
    if not spec.scales:
        return (
            f"give their names, for example '{','.join(names[:2])}', or 0 and 1 for each of the "
            f"{len(names)}"
        )
    said = [
        name if scale == FLAG else f"{name} ({scale.low:g} to {scale.high:g} in training)"
        for name, scale in zip(names, spec.scales, strict=True)
    ]
    one = next(n for n, s in zip(names, spec.scales, strict=True) if s != FLAG)
    return f"give {', '.join(said):.300}, for example '{one}={_middle(spec, one):g}'"


def _middle(spec: Spec, name: str) -> float:
    return float(f"{spec.scales[spec.attributes.index(name)].mean:.3g}")


def _by_name(parts: list[str], spec: Spec) -> list[float]:
    """The attributes (A,) of texts: "Smiling", "age=42" or, of a single number, "42"."""
    names = spec.attributes
    numbers = {n for n, s in zip(names, spec.scales, strict=False) if s != FLAG}
    if len(names) == len(numbers) == len(parts) == 1 and "=" not in parts[0]:
        parts = [f"{names[0]}={parts[0]}"]
    found: dict[str, float] = {}
    for part in parts:
        name, equals, text = part.rpartition("=")
        if part in names and part not in numbers:
            found[part] = 1.0
            continue
        if not equals or name not in names:
            raise unknown("attribute", part if part not in numbers else f"{part}=...", names)
        try:
            found[name] = {"True": 1.0, "False": 0.0}.get(text) or float(text)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]) or (name not in numbers and found[name] not in (0, 1)):
            raise UserError(f"attribute '{part:.60}' cannot be read: {_how(spec)}")
    if lacking := [name for name in names if name in numbers - found.keys()]:
        raise UserError(f"no value of {', '.join(lacking):.200} was given: {_how(spec)}")
    return [found.get(name, 0.0) for name in names]


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

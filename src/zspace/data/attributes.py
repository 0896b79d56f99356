"""Attributes: named columns that say something of each sample, several at once.

    flag     0 or 1, such as "smiling"; a column of texts is one flag for each text, "sex=f"
    number   any value, in the units that it came in, such as "age"

What is missing is NaN. A model reads a flag as it is and a number standardised, (v - mean) / sd of
the training samples, so that its unit does not matter; see `Scale`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.spec import FLAG, Scale
from zspace.system.errors import UserError

MOST_ATTRIBUTES = 1_000
Number = int | float | np.integer | np.floating


def is_none(value: Any) -> bool:
    """Whether that is no value: None, NaN, NaT, or the NA of pandas."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA is neither equal nor unequal
        return True


def numbers_of(values: np.ndarray) -> np.ndarray | None:
    """Values (N,) as float64, NaN where there is none; None where some are no numbers.

    >>> numbers_of(np.array([1, None, 2.5], object)).tolist()
    [1.0, nan, 2.5]
    >>> numbers_of(np.array(["a", "b"])) is None
    True
    """
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind != "O":
        return None
    gone = np.array([is_none(value) for value in values], bool)
    if not all(isinstance(value, Number) for value in values[~gone]) or gone.all():
        return None
    return np.array([np.nan if no else value for value, no in zip(values, gone, strict=True)])


def blanked(values: np.ndarray, missing: Sequence[str]) -> np.ndarray:
    """The same with None or NaN for values that mean missing, which are given as text.

    >>> blanked(np.array([-1, 3]), ["-1"]).tolist()
    [nan, 3.0]
    """
    if not missing:
        return values
    numbers = numbers_of(values)
    if numbers is None:
        said = {text.strip() for text in missing}
        found = [None if str(value).strip() in said else value for value in values.tolist()]
        return np.array(found, object)
    for text in missing:
        try:
            numbers[numbers == float(text)] = np.nan
        except ValueError:
            continue  # a marker of texts
    return numbers


def of_columns(
    columns: Mapping[str, np.ndarray], kinds: Mapping[str, str], what: str
) -> tuple[tuple[str, ...], Tensor]:
    """Names and values (N, A) of columns: uint8 where all are flags, else float64.

    Arguments:
        columns: Name -> values (N,): numbers are kept, texts become a flag each.
        kinds: Name -> "number" or "category", where the values are not to say it.
        what: The columns, for sentences: "y of 'a.npz'".

    Raises UserError for infinite numbers, for texts that are to be numbers, and for too many.

    >>> told = {"age": np.array([3.5, 9]), "sex": np.array(["f", "m"])}
    >>> names, values = of_columns(told, {}, "y")
    >>> names, values.tolist()
    (('age', 'sex=f', 'sex=m'), [[3.5, 1.0, 0.0], [9.0, 0.0, 1.0]])
    """
    names: list[str] = []
    found: list[np.ndarray] = []
    for name, values in columns.items():
        kind, numbers = kind_of(kinds, name), numbers_of(values)
        if numbers is None and kind == "number":
            numbers = _parsed(values, f"'{name:.60}' of {what}")
        if numbers is not None and kind != "category":
            if np.isinf(numbers).any():
                raise UserError(f"'{name:.60}' of {what} holds infinite numbers: replace them")
            names.append(name)
            found.append(numbers)
            continue
        texts = np.array(["" if is_none(v) else text_of(v) for v in values.tolist()], object)
        for text in sorted(set(texts.tolist()) - {""}):
            names.append(f"{name}={text}")
            found.append(np.where(texts == "", np.nan, texts == text))
        if len(names) > MOST_ATTRIBUTES:
            raise UserError(
                f"{what} makes more than {MOST_ATTRIBUTES:,} attributes, one for each text of "
                f"'{name:.60}': leave that column out"
            )
    if bad := next((name for name in names if not name.isprintable() or len(name) > 200), ""):
        raise UserError(f"{what} has an attribute {bad!r:.60}: give shorter names that print")
    values = np.stack(found, 1)
    flags = bool(np.isin(values, (0, 1)).all())
    return tuple(names), torch.from_numpy(values.astype(np.uint8 if flags else np.float64))


def _parsed(values: np.ndarray, what: str) -> np.ndarray:
    """Texts (N,) that are numbers, as numbers."""
    try:
        return np.array([np.nan if is_none(value) else float(value) for value in values.tolist()])
    except (TypeError, ValueError):
        raise UserError(f"{what} holds texts, so it cannot be a number") from None


def kind_of(kinds: Mapping[str, str], name: str) -> str:
    """What a column of labels is to be: "number", "category", or "" where its values say it.

    Raises UserError for another kind.
    """
    kind = kinds.get(name, "")
    if kind not in ("", "number", "category"):
        raise UserError(
            f"--columns makes the labels '{name:.60}' a {kind}: labels are number or category"
        )
    return kind


def text_of(value: Any) -> str:
    """How a value is written as the name of a class.

    >>> text_of(3.0), text_of(3.5), text_of(" cat ")
    ('3', '3.5', 'cat')
    """
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value).strip()


def parse_columns(text: str) -> dict[str, str]:
    """``age=number,sex=category`` as a dict. Raises UserError for anything else.

    >>> parse_columns("age=number, sex=category")
    {'age': 'number', 'sex': 'category'}
    """
    pairs = [part.rpartition("=") for part in text.split(",") if part.strip()]
    bad = next((kind for name, equals, kind in pairs if not equals or not name.strip()), None)
    if bad is not None:
        raise UserError(
            f"columns is '{text:.80}', and '{bad:.40}' sets no kind: write NAME=KIND, for example "
            "age=number,sex=category"
        )
    return {name.strip(): kind.strip() for name, _, kind in pairs}


def aligned(names: tuple[str, ...], values: Tensor, known: tuple[str, ...]) -> Tensor | None:
    """Values (N, A) as columns in the order of ``known``; None where some are not there.

    A flag "sex=f" that no sample has is 0 where there is another "sex="; a text that is not known
    is missing. Columns without names of their own, y or y0, y1, ..., are taken in their order.

    >>> aligned(("b", "a"), torch.tensor([[1.0, 2.5]]), ("a", "b"))
    tensor([[2.5000, 1.0000]])
    """
    if names == known:
        return values
    if len(names) == len(known) and names in (("y",), unnamed(len(names))):
        return values
    at = {name: j for j, name in enumerate(names)}
    found = []
    for name in known:
        base = name.rpartition("=")[0]
        kin = [j for other, j in at.items() if base and other.rpartition("=")[0] == base]
        if name not in at and not kin:
            return None
        column = values[:, at[name]] if name in at else torch.zeros(len(values))
        strange = [j for j in kin if names[j] not in known]
        if kin:
            of_kin = values[:, kin].double()
            gone = of_kin.isnan().any(1) | (values[:, strange] == 1).any(1)
            column = column.double().masked_fill(gone, float("nan")) if gone.any() else column
        found.append(column)
    kept = torch.stack([column.double() for column in found], 1)
    return kept.to(values.dtype) if not kept.isnan().any() else kept


def unnamed(n: int) -> tuple[str, ...]:
    """What n columns without names are called.

    >>> unnamed(3)
    ('y0', 'y1', 'y2')
    """
    return tuple(f"y{i}" for i in range(n))


def learned(names: Sequence[str], values: Tensor) -> tuple[Scale, ...]:
    """How attributes (N, A) of training samples are standardised; () where all are flags.

    Raises UserError for an attribute that no training sample has a value of.

    >>> learned(["age"], torch.tensor([[1.0], [3.0]], dtype=torch.float64))
    (Scale(mean=2.0, sd=1.0, low=1.0, high=3.0),)
    """
    if not values.is_floating_point():
        return ()
    found = []
    for name, column in zip(names, values.double().numpy().T, strict=True):
        known = column[~np.isnan(column)]
        if not len(known):
            raise UserError(f"no training sample has a value of '{name:.60}': leave it out")
        if np.isin(known, (0, 1)).all():
            found.append(FLAG)
            continue
        low, high, sd = float(known.min()), float(known.max()), float(known.std())
        found.append(Scale(float(known.mean()), sd if low < high else 1.0, low, high))
    return () if all(scale == FLAG for scale in found) and not values.isnan().any() else (*found,)


def standardised(values: Tensor, scales: Sequence[Scale]) -> Tensor:
    """Attributes (N, A) as a model reads them, float32: computed in float64.

    >>> standardised(torch.tensor([[4.0]]), [Scale(2.0, 4.0, 0.0, 9.0)])
    tensor([[0.5000]])
    """
    if not scales:
        return values.to(torch.float32)
    mean, sd = torch.tensor([(s.mean, s.sd) for s in scales], dtype=torch.float64).T
    return ((values.cpu().double() - mean) / sd).to(torch.float32).to(values.device)

"""Labels as people keep them: their values become the names of classes, or attributes.

    (N,) or (N, 1)   text, integers, whole floats, booleans: one class for each distinct value
    (N, K) of 0, 1   one 1 in each row: K classes (one-hot); else K attributes, several at once

A class is a value, never a position: 10, 20, 30 are three classes called "10", "20" and "30". No
label is None, NaN, empty text, or a lowest number of -1 (-1 and 1 alone are two classes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.system.errors import UserError

MISSING = -1
"""What stands for no label in y."""
MOST_CLASSES = 10_000
LONGEST = 200
"""Characters that the name of a class may have."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of some samples, read.

    Arguments:
        y: (N,) int64, positions in ``classes``, `MISSING` without a label; None for attributes.
        classes: The distinct values as text: numbers in their order, then text by name.
        attributes: (N, K) uint8, 1 where an attribute holds; None for classes.
        about: How they were written, where that is worth a word: "one-hot".
    """

    y: Tensor | None
    classes: tuple[str, ...] = ()
    attributes: Tensor | None = None
    about: str = ""


def read_labels(raw: Any, n: int, name: str, title: str) -> Labels:
    """Labels of n samples.

    Arguments:
        raw: An array or a list, as above.
        n: How many samples there are.
        name: What they are called, for the sentence: "y".
        title: What they are part of: "'a.npz'".

    Raises UserError for another number of labels, for numbers with fractions, and for labels that
    are all different, which name samples rather than classes.

    >>> found = read_labels([30, 10, -1, 10], 4, "y", "'a.npz'")
    >>> found.classes, found.y.tolist()
    (('10', '30'), [1, 0, -1, 0])
    >>> read_labels([[0, 1], [1, 0]], 2, "y", "'a.npz'").about
    'one-hot'
    """
    what, way = f"{name} of {title}", f"leave it out with --leave-out {name}"
    values = _plain(raw, what)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or len(values) != n:
        raise UserError(
            f"{what} has shape {values.shape}, but there are {n:,} samples: give one label each, "
            f"or {way}"
        )
    if values.ndim == 2:
        return _columns(values, what, way)
    keys, there = _keys(values, what, way)
    if not there.any():
        return Labels(None, about="none is there")
    distinct = sorted(set(keys[there].tolist()), key=lambda k: (isinstance(k, str), k))
    if len(distinct) > MOST_CLASSES or (n >= 10 and len(distinct) == n):
        raise UserError(
            f"{what} holds {len(distinct):,} different labels for {n:,} samples, which name "
            f"samples rather than classes: {way}, or call it ids"
        )
    at = {key: i for i, key in enumerate(distinct)}
    y = [at[key] if t else MISSING for key, t in zip(keys.tolist(), there.tolist(), strict=True)]
    return Labels(torch.tensor(y, dtype=torch.int64), tuple(map(str, distinct)))


def _plain(raw: Any, what: str) -> np.ndarray:
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    try:
        if isinstance(raw, list | tuple) and any(isinstance(value, str) for value in raw):
            return np.array(raw, object)  # numpy would make text of NaN and None
        return np.asarray(raw)
    except ValueError:
        raise UserError(f"{what} are rows of unequal length: give one label each") from None


def _keys(values: np.ndarray, what: str, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Each label as an int or as text (N,), and whether there is one (N,)."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "b":
        return values.astype(str), np.ones(len(values), bool)
    if values.dtype.kind in "iuf":
        return _numbers(values, what, way)
    if values.dtype.kind not in "UO":
        raise UserError(f"{what} is of type {values.dtype}: give numbers or names of classes")
    if values.dtype.kind == "O" and all(isinstance(v, _Number) or _none(v) for v in values):
        return _numbers(
            np.array([np.nan if _none(v) else v for v in values], np.float64), what, way
        )
    text = ["" if _none(v) else str(v).strip() for v in values]
    if bad := next((t for t in text if not t.isprintable()), ""):
        raise UserError(f"{what} holds {bad!r:.60}, which cannot be shown: give other names")
    return np.array(text, object), np.array([t != "" for t in text], bool)


_Number = int | float | np.integer | np.floating


def _none(value: Any) -> bool:
    return value is None or value != value


def _numbers(values: np.ndarray, what: str, way: str) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    if np.isinf(values.astype(np.float64)).any():
        raise UserError(f"{what} holds infinite numbers, which are no classes: {way}")
    known = values[there]
    if (known != np.floor(known)).any():
        raise UserError(
            f"{what} holds numbers with fractions ({known.min():g} to {known.max():g}), which are "
            f"no classes: {way}, or round them"
        )
    least = known.min() if len(known) else 0
    if least == MISSING and set(np.unique(known).tolist()) != {MISSING, 1}:
        there = there & (values != MISSING)
    whole = np.where(there, values, 0)
    return np.array([int(v) for v in whole.tolist()], object), there


def _columns(values: np.ndarray, what: str, way: str) -> Labels:
    """One-hot labels, or attributes."""
    if values.dtype.kind not in "iufb" or not np.isin(values, (0, 1)).all():
        raise UserError(
            f"{what} has shape {values.shape}: several columns must hold 0 and 1 (one-hot labels, "
            f"or attributes): {way}, or give one label for each sample"
        )
    if values.shape[1] > 1 and (values.sum(1) == 1).all():
        y = torch.from_numpy(values.argmax(1).astype(np.int64))
        return Labels(y, tuple(map(str, range(values.shape[1]))), about="one-hot")
    return Labels(None, attributes=torch.from_numpy(values.astype(np.uint8)))


def alike(found: Mapping[str, Labels], what: str) -> dict[str, Labels]:
    """The labels of each split as one kind: attributes everywhere, if they are anywhere.

    Columns of 0 and 1 that look one-hot in a small split may be attributes all the same. Raises
    UserError where some splits have attributes and others classes, or other numbers of them.

    >>> several = read_labels([[1, 1], [0, 1]], 2, "y", "'a.npz'")
    >>> one = read_labels([[1, 0], [0, 1]], 2, "y_test", "'a.npz'")
    >>> alike({"train": several, "test": one}, "'a.npz'")["test"].attributes.tolist()
    [[1, 0], [0, 1]]
    """
    if all(one.attributes is None for one in found.values()):
        return dict(found)
    columns = {
        split: torch.eye(len(one.classes), dtype=torch.uint8)[one.y]
        if one.about == "one-hot" and one.y is not None
        else one.attributes
        for split, one in found.items()
    }
    widths = {None if held is None else held.shape[1] for held in columns.values()}
    if len(widths) > 1:
        raise UserError(
            f"the labels of {what} differ from split to split: {', '.join(found)} hold "
            f"{', '.join('classes' if w is None else f'{w} attributes' for w in widths)}; give "
            "all of them one form"
        )
    return {split: Labels(None, attributes=held) for split, held in columns.items()}


def merged(tables: Sequence[tuple[str, ...]], what: str) -> tuple[str, ...]:
    """The classes of several parts: those of the first in its order, then others by name.

    Raises UserError for names of two parts that differ in case only, which are one class to a
    person, for too long names, and for too many.

    >>> merged([("dog", "cat"), ("eel", "cat")], "pets")
    ('dog', 'cat', 'eel')
    """
    known = dict.fromkeys(tables[0])
    for table in tables[1:]:
        folded = {name.casefold(): name for name in known}
        more = sorted(set(table) - set(known), key=by_value)
        for name in more:
            if name.casefold() in folded:
                raise UserError(
                    f"classes '{folded[name.casefold()]}' and '{name}' of '{what}' differ only in "
                    "case: give both one name"
                )
        known |= dict.fromkeys(more)
    if long := next((name for name in known if len(name) > LONGEST), ""):
        raise UserError(
            f"class '{long:.60}...' of '{what}' has a name of {len(long):,} characters: give one "
            f"of at most {LONGEST}"
        )
    if len(known) > MOST_CLASSES:
        raise UserError(f"'{what}' has {len(known):,} classes: give at most {MOST_CLASSES:,}")
    return tuple(known)


def by_value(name: str) -> tuple[bool, float, str]:
    """The order of classes: numbers by value, before text by name.

    >>> sorted(["10", "9", "cat"], key=by_value)
    ['9', '10', 'cat']
    """
    number = name.lstrip("-").isdecimal() and len(name) < 18
    return not number, int(name) if number else 0, name


def renumbered(y: Tensor, own: tuple[str, ...], classes: tuple[str, ...]) -> Tensor:
    """Labels that are positions in ``own`` as positions in ``classes``, matched by name.

    >>> renumbered(torch.tensor([0, -1]), ("dog",), ("cat", "dog"))
    tensor([ 1, -1])
    """
    if own == classes:
        return y
    at = {name: i for i, name in enumerate(classes)}
    table = torch.tensor([*(at[name] for name in own), MISSING], dtype=torch.int64)
    return table[y]  # the last entry is that of -1

"""Labels as people keep them: their values become the names of classes, or attributes.

    (N,) or (N, 1)    text, integers, whole floats, booleans: one class for each distinct value;
                      numbers with fractions: one attribute, a number
    (N, K) of 0, 1    one 1 in each row: K classes (one-hot); else K attributes, several at once
    (N, K), a table   K attributes, flags and numbers; see `zspace.data.attributes`

A class is a value, never a position: 10, 20, 30 are three classes called "10", "20" and "30". No
label is None, NaN, empty text, a value that was said to mean missing, or, of classes, a lowest
number of -1 (-1 and 1 alone are two classes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.attributes import (
    Number,
    aligned,
    blanked,
    is_none,
    kind_of,
    numbers_of,
    of_columns,
    text_of,
    unnamed,
)
from zspace.data.readers.frames import columns_of, is_table
from zspace.system.errors import UserError, unknown

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
        attributes: (N, K), uint8 where all are flags, 1 where one holds; else float64 in the units
            that they came in, NaN where missing. None for classes.
        about: How they were written, where that is worth a word: "one-hot".
        names: Of the attributes.
    """

    y: Tensor | None
    classes: tuple[str, ...] = ()
    attributes: Tensor | None = None
    about: str = ""
    names: tuple[str, ...] = ()


def read_labels(
    raw: Any,
    n: int,
    name: str,
    title: str,
    *,
    column: str = "y",
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    known: tuple[str, ...] = (),
    alone: bool = False,
) -> Labels:
    """Labels of n samples.

    Arguments:
        raw: An array or a list, as above; a DataFrame or a dict of columns by name.
        n: How many samples there are.
        name: What they are called, for the sentence: "y_train".
        title: What they are part of: "'a.npz'".
        column: What an attribute of one column without a name is called.
        kinds: Column -> "number" or "category", where values are not to say it.
        missing: Further values that mean no label, as text.
        known: The attributes of a finished run, which these labels are to be.
        alone: Whether kinds are of labels alone, so that another name in them is an error.

    Raises UserError for another number of labels, for infinite numbers, and for labels that are
    all different, which name samples rather than classes.

    >>> found = read_labels([30, 10, -1, 10], 4, "y", "'a.npz'")
    >>> found.classes, found.y.tolist()
    (('10', '30'), [1, 0, -1, 0])
    >>> read_labels([[0, 1], [1, 0]], 2, "y", "'a.npz'").about
    'one-hot'
    >>> read_labels([0.5, 2.25, None], 3, "y", "'a.npz'").attributes.tolist()
    [[0.5], [2.25], [nan]]
    """
    what, way = f"{name} of {title}", f"leave it out with --leave-out {name}"
    kinds = dict(kinds or {})
    columns = {c: blanked(v, missing) for c, v in _columns(raw, what, column, n).items()}
    for one in kinds if alone else ():
        if one not in columns:
            raise unknown(f"column of {what}; column", one, columns)
    sizes = {len(values) for values in columns.values()}
    if sizes != {n}:
        shape = (*sorted(sizes), len(columns)) if len(columns) > 1 else (*sizes,)
        raise UserError(
            f"{what} has shape {shape}, but there are {n:,} samples: give one label each, or {way}"
        )
    if known and (found := _as_known(columns, kinds, known, what)) is not None:
        return found
    if len(columns) > 1:
        return _several(columns, kinds, what)
    ((column, values),) = columns.items()
    kind, numbers = kind_of(kinds, column), numbers_of(values)
    if kind == "number" or (not kind and numbers is not None and _has_fractions(numbers)):
        names, attributes = of_columns({column: values}, {column: "number"}, what)
        return Labels(None, attributes=attributes, names=names)
    if kind == "category":
        values = np.array([None if is_none(v) else text_of(v) for v in values.tolist()], object)
    keys, there = _keys(values, what, way)
    if not there.any():
        return Labels(None, about="none is there")
    distinct = sorted(set(keys[there].tolist()), key=lambda k: (isinstance(k, str), k))
    if len(distinct) > MOST_CLASSES or (n >= 10 and len(distinct) == n):
        or_number = f", or take it for numbers with --columns {column}=number" * (
            numbers is not None
        )
        raise UserError(
            f"{what} holds {len(distinct):,} different labels for {n:,} samples, which name "
            f"samples rather than classes: {way}, or call it ids{or_number}"
        )
    at = {key: i for i, key in enumerate(distinct)}
    y = [at[key] if t else MISSING for key, t in zip(keys.tolist(), there.tolist(), strict=True)]
    return Labels(torch.tensor(y, dtype=torch.int64), tuple(map(str, distinct)))


def _columns(raw: Any, what: str, column: str, n: int) -> dict[str, np.ndarray]:
    """Each column (N,) by name; an array has one, or y0, y1, ..."""
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    if isinstance(raw, Mapping):
        return {str(name): _plain(values, f"{name} of {what}") for name, values in raw.items()}
    if is_table(raw) and not isinstance(raw, np.ndarray):
        table, _ = columns_of(raw)
        return {name: _with_gaps(values, gone) for name, (values, gone, _) in table.items()}
    values = _plain(raw, what)
    if values.ndim == 2 and values.shape[1] > 1:
        return dict(zip(unnamed(values.shape[1]), values.T, strict=True))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise UserError(
            f"{what} has shape {values.shape}, but there are {n:,} samples: give one label each"
        )
    return {column: values}


def _with_gaps(values: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The same with None where a value is missing."""
    if not gone.any():
        return values
    values = values.astype(object)
    values[gone] = None
    return values


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
    if values.dtype.kind == "O" and all(isinstance(v, Number) or is_none(v) for v in values):
        return _numbers(
            np.array([np.nan if is_none(v) else v for v in values], np.float64), what, way
        )
    text = ["" if is_none(v) else str(v).strip() for v in values]
    if bad := next((t for t in text if not t.isprintable()), ""):
        raise UserError(f"{what} holds {bad!r:.60}, which cannot be shown: give other names")
    return np.array(text, object), np.array([t != "" for t in text], bool)


def _has_fractions(numbers: np.ndarray) -> bool:
    known = numbers[np.isfinite(numbers)]
    return bool((known != np.floor(known)).any())


def _numbers(values: np.ndarray, what: str, way: str) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    if np.isinf(values.astype(np.float64)).any():
        raise UserError(f"{what} holds infinite numbers, which are no classes: {way}")
    known = values[there]
    least = known.min() if len(known) else 0
    if least == MISSING and set(np.unique(known).tolist()) != {MISSING, 1}:
        there = there & (values != MISSING)
    whole = np.where(there, values, 0)
    return np.array([int(v) for v in whole.tolist()], object), there


def _several(columns: Mapping[str, np.ndarray], kinds: Mapping[str, str], what: str) -> Labels:
    """One-hot labels, or attributes."""
    names, values = of_columns(columns, kinds, what)
    if (
        names == tuple(columns)
        and not values.is_floating_point()
        and bool((values.sum(1) == 1).all())
    ):
        classes = tuple(map(str, range(len(names)))) if names == unnamed(len(names)) else names
        return Labels(values.argmax(1), classes, about="one-hot", names=names)
    return Labels(None, attributes=values, names=names)


def _as_known(
    columns: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    known: tuple[str, ...],
    what: str,
) -> Labels | None:
    """As the attributes of a finished run; None where they are others."""
    texts = {name.rpartition("=")[0] for name in known} - {""}
    kinds = {**dict.fromkeys(texts, "category"), **kinds}
    names, values = of_columns(columns, kinds, what)
    held = aligned(names, values, known)
    return None if held is None else Labels(None, attributes=held, names=known)


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
    names = tuple(dict.fromkeys(name for one in found.values() for name in one.names))
    said = [f"{len(one.names)} attributes" if one.names else "classes" for one in found.values()]
    held: dict[str, Tensor] = {}
    for split, values in columns.items():
        one_form = None if values is None else aligned(found[split].names, values, names)
        if one_form is not None:
            held[split] = one_form
    if len(held) < len(found):
        raise UserError(
            f"the labels of {what} differ from split to split: {', '.join(found)} hold "
            f"{', '.join(said)}; give all of them one form"
        )
    one = torch.float64 if any(v.dtype != torch.uint8 for v in held.values()) else torch.uint8
    return {split: Labels(None, (), v.to(one), names=names) for split, v in held.items()}


def label_columns(labels: str, columns: Iterable[str]) -> list[str]:
    """The columns that ``--labels`` names: one, or several with commas between; [] for none.

    >>> label_columns("age, sex", ["age", "sex", "zip"]), label_columns("a,b", ["a,b"])
    (['age', 'sex'], ['a,b'])
    """
    there = list(columns)
    if not labels or labels in there:
        return [labels] * bool(labels)
    several = [name.strip() for name in labels.split(",")]
    return several if set(several) <= set(there) else []


def read_splits(
    raw: Mapping[str, tuple[Any, int, str]], title: str, **options: Any
) -> dict[str, Labels]:
    """The labels of each split as one kind, also where a small one alone would look like another.

    Arguments:
        raw: Split -> what `read_labels` calls raw, n and name.
        title: What they are part of.
        options: The others of `read_labels`.

    >>> raw = {"train": ([0.5, 1.5], 2, "y_train"), "test": ([1.0, 2.0], 2, "y_test")}
    >>> read_splits(raw, "'a.npz'")["test"].attributes.tolist()
    [[1.0], [2.0]]
    """
    found = {split: read_labels(*one, title, **options) for split, one in raw.items()}
    told = next((one.names for one in found.values() if one.attributes is not None), ())
    for split, one in found.items():
        if told and one.attributes is None and one.about != "one-hot":
            found[split] = read_labels(*raw[split], title, **{**options, "known": told})
    return alike(found, title)


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

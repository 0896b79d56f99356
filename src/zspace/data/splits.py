"""What the parts of a data set are called, and how a split that is missing is cut from the others.

Folders, arrays and tables tell their parts apart by name: ``train``, ``x_test``, ``valLabels``.
`role` reads such a name; `split_of` that of a folder. A name that has no role is the reader's to
refuse: nothing is left out without a word.

A set that comes with test samples gives a tenth of the others to validation. A set without gives
a tenth to test first, then a tenth of the rest to validation: of 1,000 samples, 810, 90 and 100.
The permutation has a seed of its own, `SPLIT_SEED`. It does not depend on the seed of a run, so
runs with different seeds and models are compared on the same samples. With labels each class gives
its share; samples without a label stay in training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import numpy as np

from zspace.system.errors import UserError

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 20240229
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("unlabeled", "unlabelled"), "unlabelled"),
}
"""What a split is called -> the split; samples of "unlabelled" are trained on without a label."""
_SPLIT = re.compile(
    rf"({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})"
    r"(?:[-_. ]?(?:set|split|data|images?|imgs?|\d{1,4}))?"
)
_WHAT: dict[str, Literal["x", "y", "ids", "names", "w"]] = {
    **dict.fromkeys(("x", "xs", "image", "images", "img", "imgs", "pixels", "data"), "x"),
    **dict.fromkeys(("input", "inputs", "sample", "samples", "features"), "x"),
    **dict.fromkeys(("text", "texts", "sentences", "sequences", "smiles"), "x"),
    **dict.fromkeys(("y", "ys", "label", "labels", "target", "targets"), "y"),
    **dict.fromkeys(("id", "ids", "filename", "filenames", "paths"), "ids"),
    **dict.fromkeys(("w", "sampleweight", "sampleweights"), "w"),
    **dict.fromkeys(("classes", "classnames", "labelnames", "targetnames"), "names"),
}


class Role(NamedTuple):
    """What an array is: x, y (labels), ids, names of classes, w (weights); split "" for all."""

    what: Literal["x", "y", "ids", "names", "w"]
    split: str


def split_of(name: str) -> str | None:
    """The split that a folder or a split of a set is called after; None for any other name.

    >>> split_of("Training"), split_of("val2017"), split_of("test_images"), split_of("cats")
    ('train', 'validation', 'test', None)
    """
    found = _SPLIT.fullmatch(name.lower())
    return SPLIT_NAMES[found[1]] if found else None


def role(name: str) -> Role | None:
    """What an array of this name is; None where the name does not say it.

    >>> role("x_val")
    Role(what='x', split='validation')
    >>> role("trainLabels"), role("test"), role("weights")
    (Role(what='y', split='train'), Role(what='x', split='test'), None)
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _WHAT:
        return Role(_WHAT[plain], "")
    if plain in SPLIT_NAMES:
        return Role("x", SPLIT_NAMES[plain])
    for split in SPLIT_NAMES:
        for rest in (plain.removeprefix(split), plain.removesuffix(split)):
            if rest != plain and rest in _WHAT:
                return Role(_WHAT[rest], SPLIT_NAMES[split])
    return None


def left_out(name: str, patterns: Sequence[str]) -> bool:
    """Whether the user asked for this array, folder or file to be left out.

    >>> left_out("latents_values", ["latents_*"]), left_out("x", [])
    (True, False)
    """
    return any(fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns)


def cut(n: int, strata: np.ndarray | None, parts: int) -> list[np.ndarray]:
    """Rows 0 to n - 1 as ``parts`` sorted tenths, each of what the ones before left, and the rest.

    Arguments:
        n: How many rows there are.
        strata: (n,) numbers of classes, each of which gives its share; -1 keeps a row in the rest.
            None: rows are drawn whatever their class.
        parts: How many tenths.

    >>> test, validation, rest = cut(1000, None, 2)
    >>> len(rest), len(validation), len(test)
    (810, 90, 100)
    >>> test, rest = cut(20, np.arange(20) // 10, 1)
    >>> (test // 10).tolist()
    [0, 1]
    """
    # RandomState's stream is frozen by numpy's policy; torch.randperm's and default_rng's are not,
    # and the validation set must not change with a version.
    rows = np.random.RandomState(SPLIT_SEED).permutation(n).astype(np.int64, copy=False)
    kept = rows[:0]
    if strata is not None and (strata >= 0).any():
        kept, rows = rows[strata[rows] < 0], rows[strata[rows] >= 0]
    found = []
    for _ in range(parts):
        first = _share(rows, strata, max(1, len(rows) // 10))
        found.append(np.sort(rows[first]))  # sorted, because disks read in order
        rows = rows[~first]
    rest = np.concatenate([rows, kept])
    rest.sort()
    return [*found, rest]


def _share(rows: np.ndarray, strata: np.ndarray | None, n: int) -> np.ndarray:
    """Which of the rows are taken: the first n, or of each class its share of n, rounded so that
    the sum is n (largest remainders, ties to larger classes).
    """
    if strata is None:
        taken = np.zeros(len(rows), bool)
        taken[:n] = True
        return taken
    _, at, counts = np.unique(strata[rows], return_inverse=True, return_counts=True)
    exact = counts * n / len(rows)
    quota = np.floor(exact).astype(np.int64)
    order = np.lexsort((-counts, quota - exact))
    quota[order[: n - quota.sum()]] += 1
    rank = np.empty_like(at)
    rank[np.argsort(at, kind="stable")] = np.concatenate([np.arange(c) for c in counts])
    return rank < quota[at]


def by_order(
    values: np.ndarray, missing: np.ndarray, column: str, title: str
) -> tuple[np.ndarray, str]:
    """The split of each row (N,) of a table that is split in time, and the cuts in words.

    The greatest tenth is test, the greatest tenth of the rest validation: each from the value that
    comes nearest to that, so that rows with equal values are in one split.

    Arguments:
        values: (N,), dates or numbers.
        missing: (N,), which of them are.
        column: What they are called.
        title: The table, for sentences.

    Raises UserError for values without an order, for missing ones, and for fewer than 3 different
    ones.

    >>> days = np.arange("2024-01-01", "2024-01-21", dtype="M8[D]")
    >>> names, cuts = by_order(days, np.zeros(20, bool), "day", "'a.csv'")
    >>> names.tolist().index("test"), cuts
    (18, 'validation from 2024-01-18, test from 2024-01-19')
    """
    said = f"column '{column:.60}' of {title}, by which --split-by splits,"
    dates = values.dtype.kind == "M"
    if not dates and values.dtype.kind not in "iuf":
        raise UserError(
            f"{said} holds no dates or numbers, so its rows have no order: choose another, or say "
            f"that its texts are dates with --columns {column:.60}=date"
        )
    if missing.any():
        raise UserError(f"{said} has {int(missing.sum()):,} missing values: fill them in")
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3:
        raise UserError(f"{said} has {len(distinct)} different values, but three splits need 3")
    rank = np.searchsorted(distinct, values)
    names, end = np.full(len(values), "train     "), len(distinct)
    cuts: list[str] = []
    for split, kept in (("test", 2), ("validation", 1)):  # values that the other splits need
        above = counts[:end][::-1].cumsum()[::-1]  # rows from each value on
        at = kept + int(np.abs(above[kept:] - max(1, above[0] // 10)).argmin())
        names[(at <= rank) & (rank < end)] = split
        first = (
            np.datetime_as_string(distinct[at], unit="auto") if dates else f"{distinct[at]:.15g}"
        )
        cuts.insert(0, f"{split} from {first}")
        end = at
    return np.char.strip(names), ", ".join(cuts)

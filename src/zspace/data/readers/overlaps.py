"""Windows (N, T, D) that overlap: whether each is the one before, moved by s steps, and the cuts.

Drawn at random, test windows would share most of their steps with training windows. Windows that
overlap are therefore split in their order, which is that of time, and those at the border that
share a step with the next split are in none.

    x[i + 1, :T - s] = x[i, s:]      for almost all i, NaN equal to NaN

"Almost all" allows for the places where another series begins. Where the T - s steps are all
equal, a pair tells nothing: constant windows would fit any s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zspace.data.kinds.encoding import Cuts
from zspace.system.errors import UserError

Reader = Callable[[np.ndarray], np.ndarray]
"""Windows (n, T, D) of rows (n,)."""
SHARE = 0.75
"""Of all pairs of neighbours that must fit, and of those that tell something."""
PROBES = 64
_NUMBERS = 1 << 20


def stride_of(read: Reader, n: int, length: int) -> int:
    """The steps s by which each of n windows is moved against the one before; 0 for none.

    >>> line = np.random.RandomState(0).rand(40, 2)
    >>> windows = np.stack([line[i : i + 8] for i in range(0, 32, 3)])
    >>> stride_of(lambda rows: windows[rows], len(windows), 8)
    3
    >>> stride_of(lambda rows: windows[rows] * 0, len(windows), 8)
    0
    """
    if n < 2 or length < 3:
        return 0
    probes = np.unique(np.linspace(0, n - 2, min(n - 1, PROBES)).astype(np.int64))
    a, b = read(probes), read(probes + 1)
    first = _equal(a[:, 1:], b[:, :1]).all(2).mean(0)  # of s = 1, 2, ...
    for s in (np.flatnonzero(first >= SHARE / 2) + 1).tolist():
        if _fits(_told(a, b, s), len(a)):
            some = max(1, _NUMBERS // max(1, a[0].size))
            counts = np.zeros(3, np.int64)  # of all pairs, in pieces
            for at in range(0, n - 1, some):
                rows = np.arange(at, min(n - 1, at + some))
                counts += _told(read(rows), read(rows + 1), s)
            if _fits(counts, n - 1):
                return s
    return 0


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    same = a == b
    return same if a.dtype.kind != "f" else same | ((a != a) & (b != b))


def _told(a: np.ndarray, b: np.ndarray, s: int) -> np.ndarray:
    """How many pairs of windows fit at s, how many tell something, and how many of those fit."""
    rest = a[:, s:]
    fits = _equal(rest, b[:, : a.shape[1] - s]).all((1, 2))
    varies = ~_equal(rest[:, 1:], rest[:, :-1]).all((1, 2))
    return np.array([fits.sum(), varies.sum(), (fits & varies).sum()])


def _fits(told: np.ndarray, pairs: int) -> bool:
    fits, varies, both = told.tolist()
    return fits >= SHARE * pairs and both >= SHARE * varies and varies >= max(2, pairs / 100)


def cut(
    read: Reader | None, n: int, length: int, missing: Sequence[str], title: str
) -> Cuts | None:
    """Splits of n windows that overlap, in their order; None for windows that do not.

    Arguments:
        read: What gives windows; None: they are not looked at.
        n: How many there are.
        length: T.
        missing: The splits that are wanted, test first.
        title: Whose they are, for sentences.

    Raises UserError where a split would have no window.

    >>> line = np.random.RandomState(0).rand(108, 1)
    >>> windows = np.stack([line[i : i + 9] for i in range(100)])
    >>> found = cut(lambda rows: windows[rows], 100, 9, ("test",), "x")
    >>> [rows[[0, -1]].tolist() for rows in found.rows]
    [[90, 99], [0, 81]]
    """
    stride = 0 if read is None else stride_of(read, n, length)
    if not stride:
        return None
    shared = -(-length // stride) - 1
    found, end, last = list[np.ndarray](), n, n
    for _ in missing:
        begin = end - max(1, end // 10)
        found.append(np.arange(begin, last))
        end, last = begin, begin - shared
    found.append(np.arange(0, last))
    for split, rows in zip([*missing, "train"], found, strict=True):
        if not len(rows):
            raise UserError(
                f"each window of {title} is the one before, moved by {stride:,} of {length:,} "
                f"steps; split in time, {split} would have none that shares no step with another "
                "split: give more windows, or splits of your own (x_train, x_val, x_test)"
            )
    by = f"{stride:,} step{'s' * (stride != 1)}"
    note = (
        f"windows overlap (each is the one before, moved by {by}): they are split in time, and "
        f"{shared:,} at each cut are in no split"
    )
    return Cuts(found, "cut in time, in the order of the windows", (note,))

"""Arrays as series: which are, and the windows in them.

(N, T, D)   floats that leave [0, 1], unless they are said to be images; or with --kind series
(N, T)      with --kind series: windows of one channel
(L, D) (L,) with --window T: one long series, cut into windows of T steps
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np

from zspace.data.account import Read
from zspace.data.dataset import Part, Unsplit
from zspace.data.kinds.image import SLACK
from zspace.data.kinds.series import dtype_of
from zspace.data.read_options import ReadOptions
from zspace.data.readers.windows import Named, Sources, Steps, Windows
from zspace.data.splits import SPLITS
from zspace.system.errors import UserError

EIGHTH = 8
"""Windows are moved by this part of their length, where nothing was said."""
NEAR = 0.98
"""Values that reach so near to -1 and 1 span [-1, 1]."""
NOTE = "taken as series, floats outside [0, 1]: images need --values LOW HIGH, or --kind image"


class Header(Protocol):
    """Shape and type of an array; see `zspace.data.readers.shelves.Header`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy has it."""

    @property
    def dtype(self) -> np.dtype:
        """As numpy has it."""


def is_wanted(options: ReadOptions) -> bool:
    """Whether series were asked for.

    >>> is_wanted(ReadOptions()), is_wanted(ReadOptions(window=24))
    (False, True)
    """
    return options.kind == "series" or (options.window > 0 and options.kind == "auto")


def windowed(headers: Iterable[Header], options: ReadOptions) -> bool:
    """Whether arrays are long series that are to be cut: of one or two axes, with --window."""
    return is_wanted(options) and options.window > 0 and all(len(h.shape) < 3 for h in headers)


def are_series(
    shelf: Any, headers: Mapping[str, Header], options: ReadOptions, title: str
) -> str | None:
    """Whether arrays of samples are series, and what is to be said of that; None: they are not.

    Floats of three axes are where they leave [0, 1].

    Arguments:
        shelf: What gives their values in pieces.
        headers: Of the arrays of samples.
        options: What was said of them.
        title: For sentences.

    Raises UserError for floats that may as well be images: those that span [-1, 1], and whole
    numbers from 0 to 255.
    """
    if is_wanted(options):
        return ""
    floats = all(len(h.shape) == 3 and h.dtype.kind == "f" for h in headers.values())
    if options.kind == "image" or options.values or not floats:
        return None
    low, high, gaps, whole = math.inf, -math.inf, False, True
    for name in headers:
        with closing(shelf.pieces(name)) as pieces:
            for piece in pieces:
                known = piece[np.isfinite(piece)]
                gaps |= known.size < piece.size
                if known.size:
                    low, high = min(low, float(known.min())), max(high, float(known.max()))
                    whole = whole and not (known % 1).any()
                may_be_bytes = whole and low >= 0 and high <= 255
                if max(-low, high) > 1 + SLACK and low < high and not may_be_bytes:
                    return NOTE
    if low < -SLACK or high > 1 + SLACK:
        ends = "0 255" if low >= 0 else "-1 1" if low < -NEAR and high > NEAR else ""
        if ends and not options.whole:
            raise UserError(
                f"{title} holds values from {low:.6g} to {high:.6g}, but floats must lie in "
                "[0, 1]: if these are series (N, T, D), say --kind series; for images, say which "
                f"values are black and white with --values {ends}"
            )
        return None if low == high else NOTE
    if gaps:
        raise UserError(
            f"{title} holds NaN or infinite values; clean it first, or, if x is series (N, T, D) "
            "in which they are missing, say so with --kind series"
        )
    return None


def form_of(about: Header, what: str, options: ReadOptions) -> tuple[int, int, int]:
    """The shape (N, T, D) of windows with this header. Raises UserError where it is none."""
    shape = about.shape
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        hint = "cut a long series (L, D) with --window" if len(shape) < 3 else "join its channels"
        raise UserError(
            f"{what} has shape {about.shape}, but series are (N, T, D), T steps of D channels: "
            f"{hint}"
        )
    if 0 in shape:
        raise UserError(f"{what} is empty: its shape is {about.shape}")
    if about.dtype.kind not in "iufb":
        raise UserError(f"{what} is of type {about.dtype}: give numbers")
    n, length, channels = shape
    if length == 1:
        raise UserError(
            f"{what} has shape {about.shape}, which as a series (N, T, D) is a single step of "
            f"{channels:,} channels: give x.transpose(0, 2, 1) for {channels:,} steps of one "
            f"channel, x[:, 0] for rows of a table, or, for images, --values LOW HIGH"
        )
    if (options.window or options.stride) and not options.whole:
        asked = "--window" if options.window else "--stride"
        raise UserError(
            f"{what} has shape {about.shape}, which are windows of {length:,} steps already, so "
            f"{asked} has nothing to cut: leave it out"
        )
    return n, length, channels


def windows_of(arrays: Sequence[np.ndarray], form: tuple[int, ...], title: str,
               options: ReadOptions) -> Windows:  # fmt: skip
    """Windows (N, T, D) of several arrays, one after the other."""
    n, length, channels = (sum(map(len, arrays)), *form[1:])
    blocks = tuple(array.reshape(-1, channels) for array in arrays)
    return Windows(
        Steps(blocks, tuple(map(str, range(channels))), markers(options.missing)),
        np.arange(n) * length,
        length,
        title,
        dtype_of(arrays[0].dtype),
    )


def hint_of(forms: Iterable[tuple[int, ...]], is_asked: bool) -> tuple[str, ...]:
    """What is to be asked of the axes, where there are far more channels than steps."""
    _, length, channels = next(iter(forms))
    if is_asked or channels <= 4 * length:
        return ()
    return (
        f"{length:,} steps of {channels:,} channels: if the channels come first, give "
        "x.transpose(0, 2, 1)",
    )


def from_long(
    name: str, shelf: Any, roles: Mapping[str, Any], options: ReadOptions, ignored: list[str],
    **facts: Any,
) -> Unsplit:  # fmt: skip
    """Long series from arrays whose names say of which split they are.

    Raises UserError for labels, ids and weights, which windows that are cut cannot have.
    """
    parts: dict[str, Part] = {}
    for array, (what, split) in roles.items():
        if what != "x" or split == "unlabelled":
            raise UserError(
                f"{array} of {shelf.title} cannot go with windows that are cut out of a series: "
                f"leave it out with --leave-out {array}, or give windows (N, T, D) with labels"
            )
        windows, ids = long_of(shelf.read(array), f"{array} of {shelf.title}", options)
        parts[split] = Part(windows, ids=ids, origin=array)
    if "train" not in parts and not options.whole:
        there = ", ".join(roles)
        raise UserError(f"{shelf.title} holds {there} but no series to train on: name it x_train")
    gone = tuple(f"{one} (as asked)" for one in ignored)
    read = Read("windows", left_out=gone, notes=(cut_note(options),))
    return Unsplit(name, {s: parts[s] for s in SPLITS if s in parts}, read, facts)


def cut_note(options: ReadOptions) -> str:
    """How windows were cut.

    >>> cut_note(ReadOptions(window=24))
    'a window of 24 steps begins every 3 steps'
    """
    by = stride_of(options)
    every = "at every step" if by == 1 else f"every {by:,} steps"
    return f"a window of {options.window:,} steps begins {every}"


def long_of(array: np.ndarray, title: str, options: ReadOptions) -> tuple[Windows, Named]:
    """One long series (L, D) or (L,), cut. Raises UserError for one that is too short."""
    if array.dtype.kind not in "iufb":
        raise UserError(f"{title} is of type {array.dtype}: give numbers")
    steps = array[:, None] if array.ndim == 1 else array
    n, channels = steps.shape
    starts = cut_starts([n], options, title)
    sources = Sources(np.array([0, n]), stride=stride_of(options))
    own = Steps((steps,), tuple(map(str, range(channels))), markers(options.missing))
    found = Windows(own, starts, options.window, title, dtype_of(array.dtype), sources)
    return found, Named(starts, sources)


def stride_of(options: ReadOptions) -> int:
    """Steps from one window to the next.

    >>> stride_of(ReadOptions(window=24)), stride_of(ReadOptions(window=24, stride=1))
    (3, 1)
    """
    return options.stride or max(1, options.window // EIGHTH)


def cut_starts(sizes: Sequence[int], options: ReadOptions, title: str) -> np.ndarray:
    """Where windows begin in series of so many steps, one after the other.

    Raises UserError where none is long enough for one.

    >>> cut_starts([10, 5, 3], ReadOptions(window=4, stride=3), "x").tolist()
    [0, 3, 6, 10]
    """
    length, by, begins = options.window, stride_of(options), np.cumsum([0, *sizes])
    found = [
        np.arange(begin, begin + n - length + 1, by)
        for begin, n in zip(begins.tolist(), sizes, strict=False)
        if n >= length
    ]
    if not found:
        raise UserError(
            f"{title} has {max(sizes, default=0):,} steps, fewer than a window of {length:,}: "
            "give a longer series" + (", or a smaller --window" if not options.whole else "")
        )
    return np.concatenate(found)


def markers(missing: Sequence[str]) -> tuple[float, ...]:
    """The numbers among texts that mean missing.

    >>> markers(("-200", "?"))
    (-200.0,)
    """
    found = []
    for text in missing:
        try:
            found.append(float(text))
        except ValueError:
            continue
    return tuple(found)

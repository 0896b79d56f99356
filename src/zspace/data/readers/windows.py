"""Windows of series before anything is learned of them: where they are, and how they are split.

    steps (L, D)     of one series or several, one after the other, in memory or in files
    windows (n,)     at which step each begins; T steps each, which may overlap

So windows that overlap are copied only where x is made of them. Windows that were cut of a series
are split in time (`Windows.cut`): each is wholly in one part, and none lies across a border. An
array of windows that overlap is split in time, too; see `zspace.data.readers.overlaps`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from zspace.data.dataset import Storage
from zspace.data.kinds.encoding import Cuts, Unencoded
from zspace.data.kinds.series import Moments, SeriesEncoding, learned
from zspace.data.read_options import ReadOptions
from zspace.data.readers import overlaps, spill
from zspace.data.readers.doubts import Doubts
from zspace.data.readers.frames import Raw
from zspace.data.splits import SPLIT_SEED
from zspace.system.errors import UserError, unknown

NUMBERS = 1 << 20
"""Numbers that are read, or encoded, at once at most."""
MOST_NAMED = 6
"""Constant channels that are said by name."""
Block = np.ndarray | tuple[Raw | spill.Stored, ...]
"""Steps (L, D) as an array, or as D columns (L,)."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps (L, D) as they were read.

    Arguments:
        blocks: One after the other, with the same channels.
        names: The channels.
        markers: Numbers that mean missing.
        order: (L,) in which order steps are taken from the only block; None: as they are.
    """

    blocks: tuple[Block, ...]
    names: tuple[str, ...]
    markers: tuple[float, ...] = ()
    order: np.ndarray | None = None

    @cached_property
    def ends(self) -> np.ndarray:
        """After which step each block ends."""
        return np.cumsum([len(b) if isinstance(b, np.ndarray) else b[0].size for b in self.blocks])

    @property
    def shape(self) -> tuple[int, int]:
        """(L, D)."""
        return int(self.ends[-1]), len(self.names)

    def only(self, names: Sequence[str]) -> Steps:
        """The same with some of the channels, in this order."""
        at = [self.names.index(name) for name in names]
        blocks: list[Block] = [
            block[:, at] if isinstance(block, np.ndarray) else tuple(block[i] for i in at)
            for block in self.blocks
        ]
        return replace(self, blocks=tuple(blocks), names=tuple(names))

    def read(self, start: int, end: int) -> np.ndarray:
        """Steps from start to end, (end - start, D) float64, NaN where missing.

        Raises UserError for infinite values.
        """
        if self.order is not None:
            found = _values(self.blocks[0], self.order[start:end])
        else:
            begins = [0, *self.ends[:-1].tolist()]
            found = np.concatenate(
                [
                    _values(block, slice(max(0, start - first), end - first))
                    for block, first, last in zip(self.blocks, begins, self.ends, strict=True)
                    if first < end and last > start
                ]
            )
        if self.markers:
            found[np.isin(found, self.markers)] = np.nan
        if np.isinf(found).any():
            at = np.argwhere(np.isinf(found))[0]
            raise UserError(
                f"channel '{self.names[at[1]]:.60}' of the series holds infinite values, the "
                f"first at step {start + at[0]:,}: replace them, or make them missing (NaN)"
            )
        return found

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All of them, some at once, and at which step those begin."""
        n, d = self.shape
        step = max(1, NUMBERS // d)
        for at in range(0, n, step):
            yield at, self.read(at, min(n, at + step))


def _values(block: Block, i: Any) -> np.ndarray:
    if isinstance(block, np.ndarray):
        return np.array(block[i], np.float64)
    columns = [column.rows(i) for column in block]
    values = [np.where(c.missing, np.nan, c.values.astype(np.float64)) for c in columns]
    return np.stack(values, 1)


@dataclass(frozen=True, eq=False)
class Sources:
    """The series that windows were cut of.

    Arguments:
        bounds: (S + 1,) the steps at which they begin, and the end of the last.
        called: What each is called; () where there is only one.
        times: (L,) datetime64, when each step was; None where that is not known.
        stride: Steps from one window to the next.
        apart: Whether whole series go to one split; else each is cut in time.
    """

    bounds: np.ndarray
    called: tuple[str, ...] = ()
    times: np.ndarray | None = None
    stride: int = 1
    apart: bool = False

    def of(self, starts: np.ndarray) -> np.ndarray:
        """Which series windows that begin at these steps (n,) are of."""
        return np.searchsorted(self.bounds, starts, side="right") - 1

    def place(self, step: int) -> str:
        """A step as people name it: its time, or its row in its series, or both where several
        steps have that time.
        """
        row = str(step - int(self.bounds[self.of(np.array(step))]))
        if self.times is None:
            return row
        time = str(self.times[step].astype("M8[D]" if self._daily else "M8[s]")).replace("T", " ")
        near = self.times[max(0, step - 1) : step + 2]
        return time if int((near == self.times[step]).sum()) == 1 else f"{time} (row {row})"

    @cached_property
    def _daily(self) -> bool:
        """Whether all times are midnight."""
        return self.times is not None and bool((self.times.astype("M8[D]") == self.times).all())


@dataclass(frozen=True, eq=False)
class Named(Sequence[str]):
    """The ids of windows (n,): the row or the time of the first step, after the series' name."""

    starts: np.ndarray
    sources: Sources

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: Any) -> Any:
        start = int(self.starts[i])
        before = self.sources.called
        name = f"{before[int(self.sources.of(np.array(start)))]} " if before else ""
        return name + self.sources.place(start)


@dataclass(frozen=True, eq=False)
class Windows(Unencoded):
    """Windows (N, T, D), before anything is learned of them; see `dataset.Lazy`.

    Arguments:
        steps: What they are made of.
        starts: (N,) the step at which each begins.
        length: T.
        title: What they are called in messages.
        dtype: Of the values that the encoding gives back.
        sources: The series that they were cut of; None for an array of windows.
        left_out: Columns that are no channels, with the reason.
        folder: Of the columns, where they are in files.
    """

    kind: ClassVar[str] = "series"
    steps: Steps
    starts: np.ndarray
    length: int
    title: str
    dtype: str = "float32"
    sources: Sources | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, D)."""
        return len(self.starts), self.length, len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels."""
        return self.steps.names

    @property
    def spills(self) -> bool:
        """Always: what the cache keeps is known by the values themselves."""
        return True

    def like(self, other: Unencoded) -> Windows:
        """The same with the channels of the others, where it has them all."""
        wanted = other.names if isinstance(other, Windows) else ()
        if not wanted or _unnamed(wanted) or not set(wanted) <= set(self.names):
            return self
        return replace(self, steps=self.steps.only(wanted))

    def taken(self, rows: np.ndarray) -> Windows:
        """Some of them."""
        return replace(self, starts=self.starts[rows])

    def times(self) -> np.ndarray:
        """How many of the windows each step (L,) is in."""
        n = self.steps.shape[0]
        edges = np.bincount(self.starts, minlength=n + 1)
        edges = edges - np.bincount(self.starts + self.length, minlength=n + 1)
        return edges.cumsum()[:n].astype(np.float64)

    def cut(self, missing: Sequence[str]) -> Cuts | None:
        """In time, where windows were cut of a series or overlap; by series, where these go
        together. Raises UserError where a split would have no window.
        """
        if self.sources is None:
            return overlaps.cut(self._pairs(), len(self.starts), self.length, missing, self.title)
        if self.sources.apart:
            return self._by_series(missing)
        return self._in_time(missing)

    def _pairs(self) -> overlaps.Reader | None:
        """What reads windows (n, T, D) of an array as they are; None where they are of several."""
        (block, *others) = self.steps.blocks
        if others or not isinstance(block, np.ndarray):
            return None
        array = block.reshape(-1, *self.shape[1:])
        return lambda rows: np.asarray(array[self.starts[rows] // self.length])

    def _by_series(self, missing: Sequence[str]) -> Cuts:
        """Whole series go to the splits, up to a tenth of the windows each."""
        assert self.sources is not None
        of = self.sources.of(self.starts)
        counts = np.bincount(of, minlength=len(self.sources.bounds) - 1)
        order = np.random.RandomState(SPLIT_SEED).permutation(len(counts))
        free = [i for i in order.tolist() if counts[i]]
        if len(free) <= len(missing):
            raise UserError(
                f"{self.title} has {len(free)} series long enough for a window, but "
                f"{len(missing) + 1} splits need one each: leave --group out, or give more"
            )
        found, left = [], len(of)
        for still in range(len(missing), 0, -1):
            room, taken = max(1, left // 10), list[int]()
            for i in free:
                n = int(counts[taken].sum())
                if len(free) - len(taken) > still and (not taken or n + counts[i] <= room):
                    taken.append(i)
            free = [i for i in free if i not in taken]
            found.append(np.flatnonzero(np.isin(of, taken)))
            left -= len(found[-1])
        rest = np.flatnonzero(np.isin(of, free))
        return Cuts([*found, rest], f"whole series of {self.title}")

    def _in_time(self, missing: Sequence[str]) -> Cuts:
        """Of each series the last tenth of the steps is test, that of the rest validation."""
        assert self.sources is not None
        bounds, of = self.sources.bounds, self.sources.of(self.starts)
        last = self.starts + self.length
        ends, edges = bounds[1:].copy(), list[np.ndarray]()
        found = []
        for _ in missing:
            begins = ends - np.maximum(1, (ends - bounds[:-1]) // 10)
            found.append(np.flatnonzero((self.starts >= begins[of]) & (last <= ends[of])))
            edges.insert(0, begins)
            ends = begins
        found.append(np.flatnonzero(last <= ends[of]))
        for split, rows in zip([*missing, "train"], found, strict=True):
            if not len(rows):
                raise UserError(
                    f"{self.title}, cut in time, leaves no window of {self.length:,} steps for "
                    f"{split}: give a smaller --window, a longer series, or series of their own "
                    "with --val and --test"
                )
        how = "cut in time, the last steps of each series"
        if len(bounds) == 2:
            at = [self.sources.place(int(one[0])) for one in edges]
            row = "" if self.sources.times is not None else "row "
            told = [f"{s} from {row}{one}" for s, one in zip(missing[::-1], at, strict=True)]
            how = f"cut in time: {', '.join(told)}"
        across = len(self.starts) - sum(map(len, found))
        note = f"{across:,} window{'s' * (across != 1)} across the cuts left out"
        return Cuts(found, how, (note,) if across else ())

    def fitted(
        self, rows: np.ndarray, options: ReadOptions, told: tuple[str, ...]
    ) -> tuple[SeriesEncoding, list[str]]:
        """What the windows for training teach, and what is to be said of all steps."""
        times, moments = self.taken(rows).times(), Moments(len(self.names))
        doubts, gaps = Doubts(), 0
        for again in (False, True):
            for at, values in self.steps.pieces():
                moments.add(values, times[at : at + len(values)])
                if not again:
                    gone = np.isnan(values)
                    gaps += int(gone.sum())
                    doubts.add(
                        {
                            name: Raw(values[:, d], gone[:, d], {})
                            for d, name in enumerate(self.names)
                        }
                    )
            moments.turn()
        about = {"names": self.names, "length": self.length, "dtype": self.dtype}
        about |= {"cut": self.sources is not None, "left_out": self.left_out}
        encoding = learned(moments, **about)
        notes = doubts.questions()
        if gaps:
            share = gaps / max(1, self.steps.shape[0] * len(self.names))
            told_ = f"{gaps:,} values are missing" if gaps > 1 else "1 value is missing"
            notes.insert(0, f"{told_} ({share:.2g} of all)" if share >= 0.01 else told_)
        flat = [name for name, one in zip(self.names, moments.constant, strict=True) if one]
        if flat:
            more = f" and {len(flat) - MOST_NAMED:,} more" if len(flat) > MOST_NAMED else ""
            several = (
                f"s {', '.join(flat[:MOST_NAMED])}{more} are" if flat[1:] else f" {flat[0]} is"
            )
            notes.append(f"channel{several} constant in training")
        return encoding, notes

    def encoded(
        self, encoding: SeriesEncoding, *, checked: bool, on_disk: bool
    ) -> tuple[Storage, bool]:
        """x of all windows, and whether any of it is missing; on disk, written there once."""
        channels = self._channels(encoding)
        shape = (len(self.starts), self.length, len(channels))

        def pieces() -> Iterator[np.ndarray]:
            for values in self._pieces():
                yield encoding.encoded(values[..., channels], checked=checked)

        if on_disk:
            return spill.array(spill.folder_of("x", *self._key(encoding, checked)), shape, pieces)
        x, at, missing = np.empty(shape, np.float32), 0, False
        for piece in pieces():
            x[at : at + len(piece)] = piece
            at += len(piece)
            missing |= bool(np.isnan(piece).any())
        return torch.from_numpy(x), missing

    def _pieces(self) -> Iterator[np.ndarray]:
        """Windows (n, T, D) float64 in their order, some at once."""
        step = max(1, NUMBERS // (self.length * len(self.names)))
        for at in range(0, len(self.starts), step):
            starts = self.starts[at : at + step]
            first, last = int(starts.min()), int(starts.max()) + self.length
            if last - first <= 2 * len(starts) * self.length:
                steps = self.steps.read(first, last)
                yield steps[(starts - first)[:, None] + np.arange(self.length)]
            else:
                own = [self.steps.read(i, i + self.length) for i in starts.tolist()]
                yield np.stack(own)

    def _channels(self, encoding: SeriesEncoding) -> list[int]:
        """Which of the channels are those of the encoding, by name, else by position.

        Raises UserError where they do not fit, or windows have another length.
        """
        own, wanted = list(self.names), encoding.names
        if self.length != encoding.length:
            raise UserError(
                f"{self.title} has windows of {self.length:,} steps, but this model reads "
                f"{encoding.length:,}: give windows of as many"
            )
        if set(wanted) <= set(own) and not _unnamed(own):
            return [own.index(name) for name in wanted]
        if len(wanted) == len(own) and (_unnamed(own) or _unnamed(wanted)):
            return list(range(len(own)))
        if not _unnamed(own) and not _unnamed(wanted):
            lacking = next(name for name in wanted if name not in own)
            raise unknown(f"channel that {self.title} lacks; channel", lacking, own)
        raise UserError(
            f"{self.title} has {len(own):,} channels, but this model reads {len(wanted):,}: give "
            "those"
        )

    def _key(self, encoding: SeriesEncoding, checked: bool) -> tuple[object, ...]:
        """What decides x."""
        digest = hashlib.sha256(self.starts.tobytes())
        for _, values in self.steps.pieces():
            digest.update(values.tobytes())
        numbers = [one.tobytes() for one in (encoding.mean, encoding.sd)]
        refuses = checked and not encoding.missing
        return digest.hexdigest(), self.length, self.names, encoding.names, numbers, refuses


def _unnamed(names: Sequence[str]) -> bool:
    return list(names) == [str(i) for i in range(len(names))]

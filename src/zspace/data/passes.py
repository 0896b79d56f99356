"""One pass over many image files: threads do the work, and results come in order.

Pillow's decoders let other threads run, so threads are enough; processes would copy the pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from zspace.data import images
from zspace.data.images import Source
from zspace.data.progress import bar
from zspace.errors import UserError

_TASK = 64
_AHEAD = 4
_WAITING = 1 << 27
"""Bytes of results that may wait for the reader, all threads together."""

T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """How images are to be read.

    size: side of the square they are resized and cropped to. channels: 1 or 3. Both None: as they
    are. crop: side of the middle part that is kept before. memory: bytes that may be taken.
    """

    size: int | None = None
    channels: int | None = None
    skip_bad: bool = False
    memory: float = 4e9
    quiet: bool = False
    crop: int | None = None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a pass over files: results of the good ones, errors of the bad ones."""

    positions: list[int]
    results: list[T]
    bad: list[str]


def each(
    what: str, sources: Sequence[Source], work: Callable[[int, Source], T], wish: Wish
) -> Outcome[T]:
    """``work`` of each file; the first bad one stops it, or all are noted with ``skip_bad``."""
    positions, results, bad = [], [], []
    for i, result in enumerate(stream(what, sources, work, wish)):
        if isinstance(result, UserError):
            bad.append(str(result))
        else:
            positions.append(i)
            results.append(result)
    return Outcome(positions, results, bad)


def stream(
    what: str,
    sources: Sequence[Source],
    work: Callable[[int, Source], T],
    wish: Wish,
    nbytes: int = 0,
) -> Iterator[T | UserError]:
    """The results as they come, in order; no more than a few tasks are worked on ahead.

    nbytes: what one result takes; of large ones, fewer wait for the reader.
    """

    def one(i: int) -> T | UserError:
        try:
            return work(i, sources[i])
        except UserError as error:
            if not wish.skip_bad:
                raise
            return error

    def every(task: range) -> list[T | UserError]:
        return [one(i) for i in task]

    most = _WAITING // max(1, nbytes)
    step = min(_TASK, max(1, most // 8))
    tasks = [range(len(sources))[at : at + step] for at in range(0, len(sources), step)]
    threads = max(1, min(8, os.cpu_count() or 1, len(tasks)))
    ahead = min(_AHEAD * threads, most // step)
    waiting: deque[Future[list[T | UserError]]] = deque()
    with (
        images.strict(),
        bar(what, len(sources), wish.quiet) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            for task in tasks:
                waiting.append(pool.submit(every, task))
                if len(waiting) > ahead:
                    yield from _first(waiting, advance)
            while waiting:
                yield from _first(waiting, advance)
        finally:  # after an error, or where the reader has had enough
            pool.shutdown(cancel_futures=True)


def _first(
    waiting: deque[Future[list[T | UserError]]], advance: Callable[[int], None]
) -> Iterator[T | UserError]:
    results = waiting.popleft().result()
    advance(len(results))
    yield from results

"""Passes over many files: threads do the work, and results come in order.

Decoders let other threads run, so threads are enough; processes take longer to start than a few
thousand small files to be read, and would copy the pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from zspace.data.read_options import ReadOptions
from zspace.data.readers.images import Source, strict
from zspace.system.bars import bar
from zspace.system.cores import readers
from zspace.system.errors import UserError

_TASK, _AHEAD = 64, 4
_WAITING = 1 << 27
"""Bytes of results that may wait for the reader, all threads together."""

T = TypeVar("T")


def each(
    what: str, sources: Sequence[Source], work: Callable[[int, Source], T], options: ReadOptions
) -> tuple[list[int], list[T], list[str]]:
    """``work`` of each file: positions of the good ones, their results, and errors of the bad.

    Raises UserError at the first bad file unless they are skipped.
    """
    found = list(enumerate(stream(what, sources, work, options)))
    good = [(i, result) for i, result in found if not isinstance(result, UserError)]
    bad = [str(result) for _, result in found if isinstance(result, UserError)]
    return [i for i, _ in good], [result for _, result in good], bad


def stream(
    what: str,
    sources: Sequence[Source],
    work: Callable[[int, Source], T],
    options: ReadOptions,
    nbytes: int = 0,
) -> Iterator[T | UserError]:
    """The results of a pass over files as they come, in order; an error where a file is skipped.

    Only a few tasks are worked on ahead of the reader, so that memory stays bounded.

    Arguments:
        what: Title of the progress bar.
        sources: The files.
        work: From position and file to a result; runs in threads.
        options: Whether bad files are skipped, and whether there is a progress bar.
        nbytes: What one result takes; of large ones, fewer wait for the reader.

    Raises UserError at the first bad file unless they are skipped.
    """

    def every(task: range) -> list[T | UserError]:
        found: list[T | UserError] = []
        for i in task:
            try:
                found.append(work(i, sources[i]))
            except UserError as error:
                if not options.skip_bad:
                    raise
                found.append(error)
        return found

    most = _WAITING // max(1, nbytes)
    # Of few files, small tasks: the last one must not keep a single thread busy for long.
    step = max(1, min(_TASK, most // 8, len(sources) // (8 * readers())))
    tasks = [range(len(sources))[at : at + step] for at in range(0, len(sources), step)]
    threads = max(1, min(readers(), len(tasks)))
    ahead = min(_AHEAD * threads, most // step)
    waiting: deque[Future[list[T | UserError]]] = deque()
    with (
        strict(),
        bar(what, len(sources), options.quiet) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            for at in range(len(tasks) + ahead):
                if at < len(tasks):
                    waiting.append(pool.submit(every, tasks[at]))
                if at >= ahead:
                    results = waiting.popleft().result()
                    advance(len(results))
                    yield from results
        finally:  # after an error, or where the reader has had enough
            pool.shutdown(cancel_futures=True)

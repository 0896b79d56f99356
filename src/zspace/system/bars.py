"""How far a long step is, on stderr: a bar on a terminal, and a line a minute elsewhere.

A step may lie within another: on a terminal both have a bar, elsewhere only the inner one speaks.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zspace.system.signals import Unheard

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY = 60.0
"""Seconds from one line to the next."""

_steps: list[object] = []
_live: list[Progress] = []


def time_text(seconds: float) -> str:
    """A time in words, to one or two digits.

    >>> [time_text(s) for s in (0.4, 45, 100, 8000, 200_000)]
    ['1 s', '45 s', '2 min', '2 h 13 min', '56 h']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = f"{minutes // 60} h {minutes % 60} min"
    return hours if minutes < 1440 else f"{round(minutes / 60)} h"


def say(text: str) -> None:
    """A line on stderr, in one piece: several threads may speak."""
    stream = Unheard(sys.stderr)
    stream.write(f"{text}\n")
    stream.flush()


@contextmanager
def bar(what: str, total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A step of ``total`` parts; gives the function that says how many more were done.

    Arguments:
        what: Is done, as a bar or a line begins.
        total: How many parts; None where that is not known.
        quiet: Whether nothing is said.
    """
    if quiet:
        yield lambda parts: None
    elif sys.stderr.isatty():
        with _shown() as progress:
            task = progress.add_task(what, total=total)
            try:
                yield lambda parts: progress.update(task, advance=parts)
            finally:
                progress.remove_task(task)
    else:
        with lines(what, total) as step:
            yield step.update


@contextmanager
def _shown() -> Iterator[Progress]:
    """The bars of this terminal: one display for all that go on."""
    from rich.console import Console  # slow to import
    from rich.progress import Progress

    if _live:
        yield _live[-1]
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        _live.append(progress)
        try:
            yield progress
        finally:
            _live.remove(progress)


@contextmanager
def lines(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Told]:
    """Within, a line a minute says how far a step is, also where one call takes longer.

    Nothing is said on a terminal, where this is for steps that need no bar.
    """
    step, over = Told(what, total), threading.Event()
    if quiet or sys.stderr.isatty():
        yield step
        return

    def tell() -> None:
        while not over.wait(EVERY):
            if _steps[-1:] == [step]:
                say(step.text(time.monotonic()))

    _steps.append(step)
    threading.Thread(target=tell, daemon=True).start()
    try:
        yield step
    finally:
        over.set()
        _steps.remove(step)


class Told:
    """A step that is told of in lines; it has the few methods that pooch asks for (of tqdm)."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total, self.done = what, total, 0.0
        self.start = time.monotonic()

    def update(self, parts: int) -> None:
        """So many parts more are done."""
        self.done += parts

    def reached(self, completed: float) -> None:
        """So many parts in all are done."""
        self.done = completed

    def text(self, now: float) -> str:
        """The line at this moment."""
        passed = now - self.start
        if not self.total or not self.done:
            return f"{self.what}: {time_text(passed)} so far"
        left = passed * max(0.0, self.total / self.done - 1)
        share = min(1.0, self.done / self.total)
        return f"{self.what}: {share:.0%} after {time_text(passed)}, about {time_text(left)} left"

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing is open."""


class DownloadBar:
    """A bar with the few methods that pooch asks for (those of tqdm)."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self._progress.update(self._task, total=size)

    def update(self, steps: int) -> None:
        self._progress.update(self._task, advance=steps)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self._total)

    def close(self) -> None:
        self._progress.remove_task(self._task)


@contextmanager
def download_bar(what: str, quiet: bool) -> Iterator[DownloadBar | Told]:
    if quiet:
        yield Told(what)
    elif sys.stderr.isatty():
        with _shown() as progress:
            yield DownloadBar(progress, what)
    else:
        with lines(f"downloading {what}") as step:
            yield step

"""Progress bars on stderr, and only where a person looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def _progress(quiet: bool) -> Progress:
    silent = quiet or not sys.stderr.isatty()
    return Progress(console=Console(stderr=True), transient=True, disable=silent)


@contextmanager
def bar(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar for ``total`` steps; gives the function that says how many were made.

    It is silent when quiet, and when stderr is no terminal (a log, a test, a batch job).
    """
    with _progress(quiet) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.update(task, advance=steps)


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
def download_bar(what: str, quiet: bool) -> Iterator[DownloadBar]:
    with _progress(quiet) as progress:
        yield DownloadBar(progress, what)

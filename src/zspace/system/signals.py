"""What comes from outside while a training goes on: signals to stop, and readers that go away.

SIGINT, SIGTERM and SIGHUP are noted, so that the training ends its step and saves before it stops.
One that is ignored when the process starts, as in a background job of a script or under nohup,
stays ignored. A closed pipe stops the output, not the training.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """The user asked to stop; the message says what is saved and how to continue.

    Not an error, so that code that continues after errors stops too. The command exits with 128
    plus the number of the signal.

    Attributes:
        number: Of the signal.

    >>> Interrupted("stopped at step 3; nothing is kept").number
    2
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = int(number)


@contextlib.contextmanager
def noted_in(received: list[int]) -> Iterator[None]:
    """Within, a signal to stop is noted in the list; a second one acts as usual."""
    with _caught_by(received.append):
        yield


@contextlib.contextmanager
def refused(message: str) -> Iterator[Callable[[list[int]], None]]:
    """Within, where nothing is to be saved, a signal to stop raises Interrupted at once.

    Gives a function: from its call on signals are noted in the list that it is given, as by
    `noted_in`, with no moment between during which one would go unhandled.
    """

    def stop(number: int) -> None:
        raise Interrupted(message, number)

    acts: list[Callable[[int], None]] = [stop]
    with _caught_by(lambda number: acts[-1](number)):
        yield lambda received: acts.append(received.append)


@contextlib.contextmanager
def _caught_by(act: Callable[[int], None]) -> Iterator[None]:
    """Within, the first signal is given to `act`. Only the main thread can catch signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in STOPS if signal.getsignal(s) != signal.SIG_IGN}

    def caught(number: int, frame: FrameType | None) -> None:
        for s, handler in before.items():
            signal.signal(s, handler)
        act(number)

    for s in before:
        signal.signal(s, caught)
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


GONE = (errno.EPIPE, errno.EIO)
"""What the system says where the reader of a pipe, or a terminal, has gone away."""


def deafen(stream: TextIO) -> None:
    """Let what is still written to a closed pipe go nowhere."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file is none of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Unheard:
    """A stream for `print` or a console, silent where its reader has gone away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._silenced():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._silenced():
            self._stream.flush()

    @contextlib.contextmanager
    def _silenced(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in GONE:
                raise
            deafen(self._stream)

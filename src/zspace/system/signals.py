"""SIGINT and SIGTERM: noted, so that a training can end its step and save before it stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from zspace.system.errors import UserError


class Interrupted(UserError):
    """The user asked to stop; the message says what is saved and how to go on."""


@contextlib.contextmanager
def noted_in(received: list[int]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM are noted in the list; a second one acts as usual."""
    with _caught_by(received.append):
        yield


@contextlib.contextmanager
def refused(message: str) -> Iterator[Callable[[list[int]], None]]:
    """Within, where nothing is to be saved, SIGINT and SIGTERM raise Interrupted at once.

    Gives a function: from its call on they are noted in the list that it is given, as by
    `noted_in`, with no moment between at which a signal would be nobody's.
    """

    def stop(number: int) -> None:
        raise Interrupted(message)

    acts: list[Callable[[int], None]] = [stop]
    with _caught_by(lambda number: acts[-1](number)):
        yield lambda received: acts.append(received.append)


@contextlib.contextmanager
def _caught_by(act: Callable[[int], None]) -> Iterator[None]:
    """Within, the first signal is given to `act`. Only the main thread can catch signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGINT, signal.SIGTERM)
    before = {s: signal.getsignal(s) for s in both if signal.getsignal(s) != signal.SIG_IGN}

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

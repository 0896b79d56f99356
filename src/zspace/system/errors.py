"""What the user is told when something given is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something the user gave is wrong: the message says what, what was received, what to do.

    The command line prints it as one sentence and exits with 2.

    >>> zspace.train("vea")
    Traceback (most recent call last):
    ...
    zspace.system.errors.UserError: recipe 'vea' is unknown: did you mean 'vae'? choose from: ...
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if one is like it; case does not matter."""
    names = {n.lower(): n for n in known}
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones; it suggests the nearest."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean '{near}'? " if near else ""
    return UserError(f"{kind} '{name:.60}' is unknown: {hint}choose from: {', '.join(names)}")


class NotMeasured(UserError):
    """A metric does not apply to this model or these data: says why, and what to do.

    >>> raise NotMeasured("the code is deterministic, so there is no KL: train a 'vae'")
    Traceback (most recent call last):
    ...
    zspace.system.errors.NotMeasured: the code is deterministic, so there is no KL: train a 'vae'
    """


RAN_OUT = (
    "out of memory", "allocate memory", "enough memory", "bad_alloc", "unable to allocate",
    "alloc_failed", "failed to allocate", "tried to allocate",
)  # fmt: skip
"""Words of RuntimeErrors with which torch, its libraries and drivers say that memory ran out."""


def ran_out(error: BaseException) -> bool:
    """Whether an error means that there was not enough memory.

    >>> ran_out(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    True
    >>> ran_out(RuntimeError("CUDA error: an illegal memory access was encountered"))
    False
    """
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in RAN_OUT)
    )


FEWER = "close other programs, or ask for fewer samples at once"


@contextmanager
def enough_memory(remedy: str = FEWER) -> Iterator[None]:
    """Within, memory that runs out is a UserError that names the remedy; also a decorator.

    >>> with enough_memory("use a smaller --batch"):
    ...     raise MemoryError
    Traceback (most recent call last):
    ...
    zspace.system.errors.UserError: the memory ran out: use a smaller --batch
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        # Not from the error: its traceback would keep alive all that took the memory.
        told = UserError(f"the memory ran out: {remedy}")
    else:
        return
    raise told

"""What the user is told when something given is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
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

"""What the user is told when something given is wrong (floor 0)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong: the message says what, what was received, what to do.

    The command line prints it as one sentence and exits with 2.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones; it suggests the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    hint = next((f"did you mean '{n}'? " for n in names if near and n.lower() == near[0]), "")
    return UserError(f"{kind} '{name}' is unknown: {hint}choose from: {', '.join(names)}")

"""Options and public names that were renamed: the old ones work for two releases and say so once.

A rename is one entry here: ``OPTIONS["old"] = Renamed("new", "0.3.0")``. Options are those of
`zspace.train`, of configuration files and of the command line; names are those of the package.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Renamed(NamedTuple):
    """What a thing is called now, and the release in which its old name goes."""

    now: str
    goes: str


OPTIONS: dict[str, Renamed] = {}
NAMES: dict[str, Renamed] = {}


@cache
def _told(old: str, now: str, goes: str) -> None:
    message = f"{old} is now called {now}; the old name goes in zspace {goes}"
    warnings.warn(message, FutureWarning, stacklevel=4)


def keywords(given: Mapping[str, T]) -> dict[str, T]:
    """Keywords by their present names."""
    for old in given.keys() & OPTIONS.keys():
        _told(old, *OPTIONS[old])
    return {OPTIONS[name].now if name in OPTIONS else name: v for name, v in given.items()}


def flags(args: Sequence[str]) -> list[str]:
    """The arguments of a command with flags by their present names."""
    now = {f"--{old.replace('_', '-')}": new for old, new in OPTIONS.items()}
    found = []
    for word in args:
        flag, equals, value = word.partition("=")
        if flag in now:
            new = f"--{now[flag].now.replace('_', '-')}"
            _told(flag, new, now[flag].goes)
            word = f"{new}{equals}{value}"
        found.append(word)
    return found


def name(old: str) -> str:
    """A public name of the package, by what it is called now."""
    if old not in NAMES:
        return old
    _told(f"zspace.{old}", f"zspace.{NAMES[old].now}", NAMES[old].goes)
    return NAMES[old].now

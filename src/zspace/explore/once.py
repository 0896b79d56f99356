"""Compute what is expensive once: several figures and the report read the same arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function of a run (or of data) returned for as long as that object lives.

    The first argument is positional; the others are hashable. Results are shared: do not write
    into them.
    """
    memory: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        known = memory.setdefault(args[0], {})
        key = (args[1:], tuple(sorted(kwargs.items())))
        if key not in known:
            known[key] = function(*args, **kwargs)
        return known[key]

    return remembered

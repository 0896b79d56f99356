"""Compute what is expensive once: several figures and the report read the same arrays."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function of a run (or of data) returned for as long as that object lives.

    The object is the first argument; the others are hashable, and however they are given, the
    same choice is the same result. Results are shared: do not write into them.
    """
    memory: WeakKeyDictionary[Any, dict[Any, R]] = WeakKeyDictionary()
    signature = inspect.signature(function)

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first, *others = bound.arguments.values()
        known, key = memory.setdefault(first, {}), tuple(others)
        if key not in known:
            known[key] = function(*args, **kwargs)
        return known[key]

    return remembered

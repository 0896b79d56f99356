"""Whether a value that was read from a file is of a type: one check at the door, none behind it.

Types are annotations, so that what is checked is what mypy knows: int, float (finite, within
1e100), str (without control characters), bool, None, unions, Literal, list[T], dict[str, T],
tuple[A, B], TypedDict (further keys are allowed, and hold plain JSON), dataclasses, object
(anything) and Any (plain JSON). `Annotated` adds a `Range` of numbers or lengths, or a `Pattern`
of texts.

>>> from typing import TypedDict
>>> class Line(TypedDict):
...     epoch: Annotated[int, Range(1)]
...     terms: dict[str, float]
>>> check({"epoch": 0, "terms": {}}, Line)
Traceback (most recent call last):
...
zspace.system.schema.Unfit: epoch is 0, which is below 1
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, Required, get_type_hints, is_typeddict

LARGEST = 1e100
"""Of the numbers that a file may hold: sums of squares of such numbers are finite."""
LONGEST = 10_000
"""Characters of a text."""
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Unfit(ValueError):
    """The value is not of the type: says where, and what is wrong."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number, or of the length of a list, table or text; both are allowed."""

    low: float = 0
    high: float = 2**53

    def __call__(self, value: Any) -> str | None:
        size = value if isinstance(value, int | float) else len(value)
        if size < self.low:
            return f"is below {self.low:,}"
        return f"is above {self.high:,}" if size > self.high else None


@dataclass(frozen=True)
class Pattern:
    """A regular expression that a whole text fits."""

    text: str

    def __call__(self, value: str) -> str | None:
        return None if re.fullmatch(self.text, value, re.ASCII) else f"does not fit {self.text}"


@dataclass(frozen=True)
class Has:
    """Keys that a table has."""

    keys: tuple[str, ...]

    def __call__(self, value: dict[str, Any]) -> str | None:
        missing = [key for key in self.keys if key not in value]
        return f"has no {missing[0]}" if missing else None


def check(value: Any, kind: Any, where: str = "") -> None:
    """Raise Unfit where the value is not of the type.

    where: what the value is called in the message.

    >>> check([1, 2.5], list[float])
    >>> check({"a": float("nan")}, dict[str, float])
    Traceback (most recent call last):
    ...
    zspace.system.schema.Unfit: a is nan, which is no finite number
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (NotRequired, Required):
        return check(value, parts[0], where)
    if origin is Annotated:
        check(value, parts[0], where)
        for rule in parts[1:]:
            if why := rule(value):
                raise _unfit(value, where, f"which {why}")
        return None
    if origin in (Union, UnionType):
        return _either(value, parts, where)
    if origin is Literal:
        if value not in [one for one in parts if type(one) is type(value)]:
            raise _unfit(value, where, f"and not one of {', '.join(map(str, parts))}")
        return None
    if is_typeddict(kind) or is_dataclass(kind):
        return _fields(value, kind, where)
    return CHECKS[origin or kind](value, parts, where)


def _either(value: Any, kinds: tuple[Any, ...], where: str) -> None:
    errors = []
    for kind in kinds:
        try:
            return check(value, kind, where)
        except Unfit as error:
            errors.append(error)
    raise max(errors, key=lambda error: len(str(error).partition(" is ")[0]))  # the deepest one


@lru_cache
def _hints(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The fields of a type, and which of them must be there."""
    hints = get_type_hints(kind, include_extras=True)
    return hints, frozenset(n for n, hint in hints.items() if get_origin(hint) is not NotRequired)


def _fields(value: Any, kind: Any, where: str) -> None:
    hints, needed = _hints(kind)
    if not isinstance(value, dict):
        raise _unfit(value, where, "and no table")
    for name, hint in hints.items():
        inner = f"{where}.{name}" if where else name
        if name in value:
            check(value[name], hint, inner)
        elif name in needed:
            raise Unfit(f"{inner} is missing")
    more = {name: value[name] for name in value.keys() - hints.keys()}
    if more and is_dataclass(kind):
        raise Unfit(f"{where} has {min(more)!r:.60}, which is unknown")
    _table(more, (str, Any), where)


def _unfit(value: Any, where: str, why: str) -> Unfit:
    return Unfit(f"{where or 'it'} is {_shown(value)}, {why}")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value):,}"
    text = f"{value:,}" if isinstance(value, int) and abs(value) > 10**9 else repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _list(value: Any, parts: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, list | tuple):
        raise _unfit(value, where, "and no list")
    for i, one in enumerate(value):
        check(one, parts[0], f"{where}[{i}]")


def _tuple(value: Any, parts: tuple[Any, ...], where: str) -> None:
    _list(value, (Any,), where)
    if len(value) != len(parts):
        raise _unfit(value, where, f"and not {len(parts)} values")
    for i, (one, kind) in enumerate(zip(value, parts, strict=True)):
        check(one, kind, f"{where}[{i}]")


def _table(value: Any, parts: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise _unfit(value, where, "and no table")
    for name, one in value.items():
        check(name, parts[0], f"a name in {where or 'it'}")
        check(one, parts[1], f"{where}.{name}" if where else name)


def _text(value: Any, _: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, str):
        raise _unfit(value, where, "and no text")
    if len(value) > LONGEST or CONTROL.search(value):
        raise _unfit(value, where, "a text that is too long or holds control characters")


def _whole(value: Any, _: tuple[Any, ...], where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise _unfit(value, where, "and no whole number below 2^63")


def _real(value: Any, _: tuple[Any, ...], where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unfit(value, where, "and no number")
    if isinstance(value, int):
        return _whole(value, (), where)  # a longer one becomes no number of numpy's
    if not abs(value) <= LARGEST:
        raise _unfit(value, where, "which is no finite number")
    return None


def _flag(value: Any, _: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, bool):
        raise _unfit(value, where, "and neither true nor false")


def _nothing(value: Any, _: tuple[Any, ...], where: str) -> None:
    if value is not None:
        raise _unfit(value, where, "and not null")


def _plain(value: Any, _: tuple[Any, ...], where: str) -> None:
    """Plain JSON, whose numbers are finite and whose texts can be shown."""
    if isinstance(value, list | tuple):
        _list(value, (Any,), where)
    elif isinstance(value, dict):
        _table(value, (str, Any), where)
    elif isinstance(value, str):
        _text(value, (), where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _real(value, (), where)


CHECKS: dict[Any, Callable[[Any, tuple[Any, ...], str], None]] = {
    list: _list,
    tuple: _tuple,
    dict: _table,
    str: _text,
    int: _whole,
    float: _real,
    bool: _flag,
    NoneType: _nothing,
    Any: _plain,
    object: lambda *_: None,
}

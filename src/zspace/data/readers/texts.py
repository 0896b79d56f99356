"""What a column of texts is: whole numbers, numbers, true and false, dates, or texts.

All values of a column decide together. `Looked` takes them in piece by piece, so that a file of
any length is typed as it would be at once; then each piece is converted by itself.

    whole    no leading zeros, within 64 bits: int64, or float64 where a field is empty
    number   1.5, .5, 2e-3, inf; leading zeros make it a text
    boolean  true and false, in any case
    date     one form for the whole column, see `FORMS`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from zspace.data.readers.frames import Raw

WHOLE = r"[+-]?(?:0|[1-9][0-9]*)"
NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?))"
_LEADING = re.compile(r"^[+-]?0[0-9]", re.MULTILINE)
_TIME = r"[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"


def _search(pattern: str) -> re.Pattern[str]:
    """What finds the first line that is not wholly of that pattern."""
    return re.compile(rf"^(?!(?:{pattern})$)", re.MULTILINE | re.ASCII)


class Form(NamedTuple):
    """How a date is written.

    Arguments:
        format: As pandas' `to_datetime` takes it.
        other: What finds a line that is not of this form.
        ordered: Whether the day and the month could be told apart by a day over 12 alone.
        zone: Whether the offset from UTC is given.
    """

    format: str
    other: re.Pattern[str]
    ordered: bool = False
    zone: bool = False


def _forms() -> list[Form]:
    iso = r"\d{4}-\d\d-\d\d"
    found = [
        Form("ISO8601", _search(f"{iso}(?:{_TIME})?")),
        Form("ISO8601", _search(rf"{iso}{_TIME}(?:[Zz]|[+-]\d\d:\d\d)"), zone=True),
    ]
    times = {"": "", " %H:%M": r" \d\d?:\d\d", " %H:%M:%S": r" \d\d?:\d\d:\d\d"}
    for clock, shape in times.items():
        for s in "/.":
            year_first = _search(rf"\d{{4}}[{s}]\d\d?[{s}]\d\d?{shape}")
            found.append(Form(f"%Y{s}%m{s}%d{clock}", year_first))
        for s in "/.-":
            year_last = _search(rf"\d\d?[{s}]\d\d?[{s}]\d{{4}}{shape}")
            for order in (f"%d{s}%m{s}%Y", f"%m{s}%d{s}%Y"):
                found.append(Form(order + clock, year_last, ordered=True))
    return found


FORMS = _forms()
"""2026-11-30, 2026-11-30T18:45:00Z, 2026/11/30, 30.11.2026, 11/30/2026, with or without a time."""


def parsed(texts: Sequence[str], form: Form) -> np.ndarray:
    """Ticks (N,) datetime64[us] of such texts, in UTC where they have a zone; NaT for no date.

    >>> parsed(["31.01.2024"], next(f for f in FORMS if f.format == "%d.%m.%Y")).tolist()
    [datetime.datetime(2024, 1, 31, 0, 0)]
    """
    import pandas as pd

    series = pd.Series(list(texts), dtype=object)
    dates = pd.to_datetime(series, format=form.format, errors="coerce", utc=form.zone)
    if form.zone:
        dates = dates.dt.tz_localize(None)
    return dates.to_numpy("datetime64[us]")


def is_of(texts: Sequence[str], form: Form) -> bool:
    """Whether texts, at least one, are all dates of this form."""
    if form.other.search(texts[0]) or any("\n" in text for text in texts):
        return False
    if form.other.search("\n".join(texts)):
        return False
    return not np.isnat(parsed(texts, form)).any()


@dataclass
class Looked:
    """What all texts of a column are that were looked at so far.

    Arguments:
        markers: Texts that mean missing, beside the empty one and NaN.

    >>> looked = Looked()
    >>> looked.add(np.array(["1", " 2"], object))
    >>> looked.dtype
    'int64'
    >>> looked.add(np.array(["2.5"], object))
    >>> looked.dtype
    'float64'
    >>> looked.raw(np.array(["1", "7"], object)).values.tolist()
    [1.0, 7.0]
    """

    markers: Sequence[str] = ()
    empty: bool = False
    first: str = ""
    whole: bool = True
    number: bool = True
    boolean: bool = True
    forms: list[Form] = field(default_factory=lambda: list(FORMS))

    def add(self, texts: np.ndarray) -> None:
        """Look at further texts (N,)."""
        _, known, gone, empty = self._different(texts)
        self.empty |= empty
        there = [text for text, none in zip(known, gone.tolist(), strict=True) if not none]
        if not there:
            return
        self.first = self.first or there[0]
        joined = "\n".join(there)
        if joined.count("\n") >= len(there):  # a text of several lines
            self.whole = self.number = self.boolean = False
            self.forms = []
            return
        self.boolean &= len(there) < 99 and {t.lower() for t in there} <= {"true", "false"}
        self.forms = [form for form in self.forms if is_of(there, form)]
        if self.number:
            self.number = not (_OTHER_NUMBER.search(joined) or _LEADING.search(joined))
        if self.whole:
            self.whole = self.number and not _OTHER_WHOLE.search(joined) and _fits(there)

    @property
    def form(self) -> Form | None:
        """The one form of date that all texts have."""
        return self.forms[0] if self.first and len(self.forms) == 1 else None

    @property
    def ambiguous(self) -> str:
        """A text that may be a date whose day and month nothing tells apart; "" for none."""
        return self.first if len(self.forms) > 1 else ""

    @property
    def dtype(self) -> str:
        """What pandas calls the type that all values have."""
        if not self.first:
            return "str"
        if self.number:
            return "int64" if self.whole and not self.empty else "float64"
        if self.boolean:
            return "bool"
        if self.form:
            return "datetime64[us, UTC]" if self.form.zone else "datetime64[us]"
        return "str"

    def raw(self, texts: np.ndarray) -> Raw:
        """Texts (N,), all looked at before, as a column of that type."""
        codes, known, gone, _ = self._different(texts)
        there = [text for text, none in zip(known, gone.tolist(), strict=True) if not none]
        values = self._values(there)
        every = np.zeros(len(known), values.dtype)
        every[~gone] = values
        facts = {"name": self.dtype}
        if self.form and self.form.ordered and not self.number and not self.boolean:
            facts["form"] = self.form.format
        return Raw(every[codes], gone[codes], facts)

    def _values(self, there: list[str]) -> np.ndarray:
        dtype = self.dtype
        if dtype == "int64":
            return np.fromiter(map(int, there), np.int64, len(there))
        if dtype == "float64":
            return np.fromiter(map(float, there), np.float64, len(there))
        if dtype == "bool":
            return np.array([text.lower() == "true" for text in there], bool)
        if dtype.startswith("date") and self.form:
            return parsed(there, self.form)
        objects = np.empty(len(there), object)
        objects[:] = there
        return objects

    def _different(self, texts: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray, bool]:
        """A code for each text, the different ones, which are missing, and if any is empty."""
        import pandas as pd

        codes, different = pd.factorize(texts)
        known = [str(one).strip() for one in different]
        empty = np.array(
            [len(one) in (0, 3) and one.lower() in ("", "nan") for one in known], bool
        )
        said = {marker.strip() for marker in self.markers}
        gone = empty | np.array([one in said for one in known], bool) if said else empty
        return codes, known, gone, bool(empty.any())


_OTHER_WHOLE, _OTHER_NUMBER = _search(WHOLE), _search(NUMBER)


def _fits(texts: Sequence[str]) -> bool:
    """Whether whole numbers are all within 64 bits."""
    if max(map(len, texts)) > 20:
        return False
    try:
        np.fromiter(map(int, texts), np.int64, len(texts))
    except OverflowError:
        return False
    return True


def typed(texts: np.ndarray, markers: Sequence[str] = ()) -> Raw:
    """A column of texts (N,) as the type that all its values have.

    >>> typed(np.array(["2024/01/31", "", "2023/12/01"], object)).dtype
    {'name': 'datetime64[us]'}
    """
    looked = Looked(markers)
    looked.add(texts)
    return looked.raw(texts)

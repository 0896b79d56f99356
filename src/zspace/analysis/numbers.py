"""The one place where a number becomes text, and measures a table.

    number         in a sentence: about three digits
    number_text    in a table, where no error is known: four digits, or the whole number
    error_text     in a table, with its error or spread: two digits of that
    measure_text   a measure, with its error or its interval
    fixed          with so many digits after the point

Each has a true minus sign and separates thousands by commas. Shares, counts and durations have
functions of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zspace.analysis.measure import Measure

MINUS = "\N{MINUS SIGN}"


def measure_text(measure: Measure) -> str:
    """The value and how sure it is, with as many digits as its error allows.

    >>> measure_text(Measure(-89.5312, "a bound", error=0.2149))
    '−89.53 ± 0.21'
    >>> measure_text(Measure(0.9701, "a share", interval=(0.951, 0.982)))
    '0.970 [0.951, 0.982]'
    >>> measure_text(Measure(13, "a count")), measure_text(Measure(0.041874, "a distance"))
    ('13', '0.04187')
    """
    if measure.interval is None or not math.isfinite(measure.value):
        return error_text(measure.value, measure.error)
    low, high = measure.interval
    digits = decimals((high - low) / 2)
    return f"{fixed(measure.value, digits)} [{fixed(low, digits)}, {fixed(high, digits)}]"


def error_text(value: float, error: float | None) -> str:
    """'−89.53 ± 0.21': a value with its error or spread; the value alone where there is none."""
    if not error or not math.isfinite(value):
        return number_text(value)
    digits = decimals(error)
    return f"{fixed(value, digits)} ± {fixed(error, digits)}"


def decimals(error: float) -> int:
    """Digits after the point that show two of the error's own, at most 6."""
    if not 0 < error < math.inf:
        return 4
    return min(6, max(0, 1 - math.floor(math.log10(error))))


def fixed(value: float, digits: int) -> str:
    """With a true minus sign, and none before a zero."""
    text = f"{value:,.{digits}f}"
    zero = not text.strip("-0.,")
    return text.lstrip("-") if zero else text.replace("-", MINUS)


def number_text(value: float) -> str:
    """A number without an error: whole where it is, else four digits."""
    if not math.isfinite(value):
        return "not finite"
    text = f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", MINUS)


def number(value: float) -> str:
    """About three digits: 1,234, 39.5, 5.38, 0.31, 0.042."""
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    digits = next((d for bound, d in ((100, 0), (10, 1), (0.1, 2)) if size >= bound), None)
    text = f"{size:,.{digits}f}" if digits is not None else f"{float(f'{size:.2g}'):.6g}"
    return ("" if value >= 0 else MINUS) + text.replace("-", MINUS)


def percent(share: float) -> str:
    """A share in [0, 1]; with a decimal where it is near an end, whole only where it is exact."""
    if share in (0, 1) or 0.01 <= share < 0.99:
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"


def count(n: int, noun: str, plural: str = "") -> str:
    """'1 run', '2 runs', '4,050 images'."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


SMALL = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip


def spelled(n: int) -> str:
    """Small numbers as words, as at the beginning of a sentence."""
    return SMALL[n] if n < len(SMALL) else f"{n:,}"


def duration(seconds: float) -> str:
    """'34 seconds', '4 minutes', '2.5 hours'."""
    if seconds < 100:
        return count(round(seconds), "second")
    if seconds < 5400:
        return count(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"


def terms_text(terms: Mapping[str, float]) -> str:
    """Terms in one line; the objective is left out where there is one other alone."""
    parts = [f"{name} {fixed(value, 2)}" for name, value in terms.items() if name != "objective"]
    if len(parts) > 1:
        parts.append(f"objective {fixed(terms['objective'], 2)}")
    return "  ".join(parts)


def rows(measures: Mapping[str, Measure]) -> list[tuple[str, str, str, str]]:
    """(name, value ± error, unit, about) of each measure; name_0, name_1, ... in one row."""
    found, series = [], _series(measures)
    for name, measure in measures.items():
        many = series.get(name)
        if many is None:
            found.append((name, measure_text(measure), measure.unit, measure.about))
        elif many[0] == name:
            values = [measures[one].value for one in many]
            least, most = (number_text(round(one, 4)) for one in (min(values), max(values)))
            about = f"least and most of: {measure.about}"
            found.append((f"{name} to {many[-1]}", f"{least} to {most}", measure.unit, about))
    return found


def _series(names: Mapping[str, Measure]) -> dict[str, list[str]]:
    """Each name of a series stem_0, stem_1, ... without a gap -> the whole series."""
    stems: dict[str, list[str]] = {}
    for name in names:
        matched = re.fullmatch(r"(.+)_(\d+)", name)
        if matched and int(matched[2]) == len(stems.get(matched[1], [])):
            stems.setdefault(matched[1], []).append(name)
    return {name: names for names in stems.values() if len(names) > 1 for name in names}


def print_sections(
    title: str,
    measured: Mapping[str, Mapping[str, Measure]],
    missing: Mapping[str, str],
    warnings: list[str],
    console: Console,
) -> None:
    """One table of all sections, and below it what was not measured and why."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("unit")
    if console.width >= 120:
        table.add_column("what it is", style="dim")
    for section, measures in measured.items():
        table.add_row(f"[bold]{section}[/]")
        for name, *cells in rows(measures):
            table.add_row(f"  {name}", *map(escape, cells[: len(table.columns) - 1]))
        table.add_row()
    console.print(table)
    for section, reason in missing.items():
        console.print(f"{section} was not measured: {reason}", markup=False)
    for text in warnings:
        console.print(f"warning: {text}", markup=False, style="yellow")

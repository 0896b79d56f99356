"""What `zspace evaluate` measured, as a part of the page: nothing where no run was evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from zspace.evaluate.evaluation import measures_of, missing_of, read, warnings_of
from zspace.evaluate.screen import rows
from zspace.report import words
from zspace.report.facts import Facts

DASH = "–"


@dataclass(frozen=True)
class Row:
    """A measure: its name, a cell a family, its unit and its definition."""

    name: str
    cells: list[str]
    unit: str
    about: str


@dataclass(frozen=True)
class Section:
    """A section: its name and its measures."""

    name: str
    rows: list[Row]


@dataclass(frozen=True)
class Evaluated:
    """All that was measured of the families' chosen runs, first seed.

    heads: those families. notes: what was not measured and why, and warnings.
    """

    heads: list[str]
    sections: list[Section]
    notes: list[str]


def evaluated(facts: Facts) -> Evaluated | None:
    """The part's content; None where none of the families' runs has an evaluation."""
    found = {family.label: read(family.run) for family in facts.families}
    records = {label: record for label, record in found.items() if record is not None}
    if not records:
        return None
    told = {
        label: {name: rows(one) for name, one in measures_of(record).items()}
        for label, record in records.items()
    }
    names = dict.fromkeys(name for sections in told.values() for name in sections)
    sections = [_section(name, [of.get(name, []) for of in told.values()]) for name in names]
    notes = []
    for label, record in records.items():
        for name, reason in missing_of(record).items():
            notes.append(f"{label}: {name} was not measured. {words.sentence(reason)}")
        notes += [f"{label}: {words.sentence(text)}" for text in warnings_of(record)]
    return Evaluated(list(records), sections, notes)


def _section(name: str, columns: list[list[tuple[str, str, str, str]]]) -> Section:
    by_name = [{row[0]: row for row in column} for column in columns]
    found = []
    for title in dict.fromkeys(row[0] for column in columns for row in column):
        there = [column.get(title) for column in by_name]
        known = [row for row in there if row is not None]
        abouts = dict.fromkeys(row[3] for row in known)
        cells = [DASH if row is None else row[1] for row in there]
        about = words.sentence("; or ".join(abouts))
        found.append(Row(title.replace("_", " "), cells, known[0][2], about))
    return Section(name, found)


def intro(facts: Facts) -> str:
    """The sentences above the table."""
    told = [family for family in facts.families if read(family.run) is not None]
    several = any(len(family.runs) > 1 for family in told)
    return (
        f"Measured on {words.count(len(facts.data.test), 'test image')}"
        f"{', with the first seed of each family' if several else ''}. ± is the standard error "
        "of a mean over images, brackets are a 95% interval; neither tells how much another seed "
        "would change."
    )

"""The tables of the page, as rows of text.

What `zspace evaluate` measured, as a part of the page: nothing where no run was evaluated.
"""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zspace.analysis.numbers import count, fixed, rows
from zspace.models import recipes
from zspace.report import facts
from zspace.report.facts import Facts, Family, sentence, shape, term
from zspace.runs.config import GROUPS, OWN, RESERVED, Config
from zspace.runs.many import QUALITY_TITLES, over_seeds, quality_cells, test_quality
from zspace.runs.measured import measures_of, missing_of, read, warnings_of
from zspace.system import files

DASH = "–"
SPLITS = ("validation", "test", "train")
"""Validation first: it is what chooses."""


@dataclass(frozen=True)
class Row:
    """One line of the table of results: a family at one code size."""

    family: str
    first: bool
    rows: int
    size: str
    chosen: bool
    cells: list[str]
    measures: list[str]
    epochs: str
    seconds: str


@dataclass(frozen=True)
class Results:
    """The table of results: splits over terms, a row for each family and code size.

    measures: titles of further columns, of test images; empty where no run has them.
    """

    terms: list[tuple[str, str]]
    splits: tuple[str, ...]
    measures: list[str]
    rows: list[Row]


def terms_of(facts: Facts) -> list[str]:
    """Every term that occurs, the objective last; not where it is always the only other's twin."""
    names = dict.fromkeys(name for family in facts.families for name in family.run.result["test"])
    names.pop("objective", None)
    errors = dict.fromkeys(family.error for family in facts.families)
    terms = [*errors, *(name for name in names if name not in errors)]
    return [*terms, *(["objective"] if len(terms) > 1 else [])]


def results(facts: Facts) -> Results:
    """The table of results."""
    names, titled = terms_of(facts), quality_names(facts)
    return Results(
        [(name, term(name)) for name in names],
        SPLITS,
        [QUALITY_TITLES[name] for name in titled],
        [row for family in facts.families for row in _rows(family, names, titled)],
    )


def quality_names(facts: Facts) -> list[str]:
    """Which of SSIM and PSNR some run has."""
    runs = [run for family in facts.families for run in family.runs]
    return [name for name in QUALITY_TITLES if any(name in test_quality(run) for run in runs)]


def _rows(family: Family, names: list[str], titled: list[str]) -> Iterable[Row]:
    for i, (size, runs) in enumerate(family.sizes.items()):
        cells = [over_seeds(runs, split, name) for split in SPLITS for name in names]
        quality = quality_cells(runs)
        yield Row(
            family=family.label,
            first=i == 0,
            rows=len(family.sizes),
            size=shape(runs[0]),
            chosen=size == family.chosen and len(family.sizes) > 1,
            cells=[DASH if cell is None else str(cell) for cell in cells],
            measures=[str(quality.get(name, DASH)) for name in titled],
            epochs=", ".join(f"{r.result['best_epoch']}/{r.result['epochs']}" for r in runs),
            seconds=f"{statistics.mean(run.result['seconds'] for run in runs):,.0f}",
        )


def every_run(facts: Facts) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each run by itself, with every term on every split."""
    names, titled = terms_of(facts), quality_names(facts)
    heads = ["family", "size", "seed", "parameters", "best epoch", "seconds"]
    heads += [f"{split} {name}" for split in SPLITS for name in names]
    heads += [f"test {QUALITY_TITLES[name]}" for name in titled]
    rows = []
    for family in facts.families:
        for run in family.runs:
            values = [run.result[split].get(name) for split in SPLITS for name in names]
            values += [test_quality(run).get(name) for name in titled]
            rows.append(
                [
                    family.label,
                    shape(run),
                    str(run.config.training.seed),
                    f"{run.record['parameters']:,}",
                    f"{run.result['best_epoch']} of {run.result['epochs']}",
                    f"{run.result['seconds']:,.1f}",
                    *(DASH if value is None else fixed(value, 3) for value in values),
                ]
            )
    return heads, rows


def settings(facts: Facts) -> list[tuple[str, str]]:
    """What all runs share of their settings, and what differs from run to run."""
    jobs = [run.config.to_json() for run in facts.study.runs]
    found = []
    for group in ("data", "recipe_options", "network", "training"):
        for name in dict.fromkeys(name for config in jobs for name in config[group]):
            having = [config[group] for config in jobs if name in config[group]]
            values = dict.fromkeys(setting_text(choices[name]) for choices in having)
            found.append((name.replace("_", " "), "; ".join(values)))
    return found


def setting_text(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_text, value))
    return str(value)


def environment(facts: Facts) -> list[tuple[str, str]]:
    """Versions and machine, and the data by its fingerprint."""
    run = facts.study.runs[0]
    found = {"zspace": run.record["zspace"], **run.record["environment"]}
    rows = [(name, setting_text(value)) for name, value in found.items()]
    data = run.record["data"]
    if data["provenance"]:
        rows.append(("data from", data["provenance"]))
    return [*rows, ("data, SHA-256", data["fingerprint"])]


def commands(facts: Facts) -> list[tuple[str, str]]:
    """What to type to get it again: what for, and the command."""
    path = facts.study.path
    if (path / "run.json").is_file():
        return [
            (
                "Train the same again, from this folder",
                f"zspace repeat {quoted(path)} --out again",
            ),
            ("Without the folder", train_command(facts.study.runs[0].config)),
            ("This page", f"zspace report {quoted(path)}"),
        ]
    made = []
    if (path / "study.json").is_file():
        grid = files.read_json(path / "study.json")["grid"]
        made.append(("The whole study", study_command(grid, quoted(path))))
    config = facts.families[0].run.config
    made.append(("One of its runs", train_command(config)))
    return [*made, ("This page", f"zspace report {quoted(path)}")]


def quoted(value: Any) -> str:
    """As a shell takes it."""
    return shlex.quote(str(value))


def study_command(grid: Mapping[str, Any], out: str) -> str:
    """The command that trains this grid, from the record that the study keeps of it."""
    fixed = dict(grid["fixed"])
    words = ["zspace study", *map(quoted, grid["recipes"])]
    words.append(f"--data {quoted(fixed.pop('data', 'mnist5k'))}")
    if fixed.pop("data_dir", None):
        words.append("--data-dir DIR")
    words.append(f"--latent {' '.join(map(str, grid['latent']))}")
    words.append(f"--seeds {grid['seeds']}")
    chosen = {**{name: [value] for name, value in fixed.items()}, **grid["vary"]}
    given = [
        quoted(f"{name}={','.join(compact(value) for value in values)}")
        for name, values in chosen.items()
        if (name, values) != ("snapshots", [24])
    ]
    if given:
        words.append(f"--set {' '.join(given)}")
    return " ".join([*words, f"--out {out}"])


def compact(value: Any) -> str:
    """A choice as --set reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def train_command(config: Config) -> str:
    """The command that trains one job, with every choice that is not the default."""
    choices, record = recipes.choices_of(recipes.find(config.recipe)), config.to_json()
    groups = {
        "recipe_options": {n: p.default for n, p in choices.own.items()},
        "network": {n: p.default for n, p in choices.network.items()},
        **GROUPS,
    }
    words = [
        f"zspace train {config.recipe.replace('_', '-')}",
        f"--data {quoted(config.data.data)}",
    ]
    for group, usual in groups.items():
        for name, value in record[group].items():
            own = group == "recipe_options"
            idle = not own and name in ("data", "device", "snapshots")
            if not idle and not same(value, usual.get(name)):
                flag = (OWN if own and name in RESERVED else "") + name.replace("_", "-")
                words.append(f"--{flag} {flag_value(name, value)}".rstrip())
    return " ".join(words)


def same(a: Any, b: Any) -> bool:
    """Equal, whether list or tuple."""
    return list(a) == list(b) if isinstance(a, list | tuple) and b is not None else a == b


def flag_value(name: str, value: Any) -> str:
    """What stands after a flag: nothing after a switch, several numbers apart."""
    if name == "data_dir":
        return "DIR"
    if isinstance(value, bool):
        return ""
    return " ".join(map(quoted, value)) if isinstance(value, list | tuple) else quoted(value)


@dataclass(frozen=True)
class MeasureRow:
    """A measure: its name, a cell a family, its unit and its definition."""

    name: str
    cells: list[str]
    unit: str
    about: str


@dataclass(frozen=True)
class MeasureSection:
    """A section: its name and its measures."""

    name: str
    rows: list[MeasureRow]


@dataclass(frozen=True)
class Evaluated:
    """All that was measured of the families' chosen runs, first seed.

    heads: those families. notes: what was not measured and why, and warnings.
    """

    heads: list[str]
    sections: list[MeasureSection]
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
            notes.append(f"{label}: {name} was not measured. {sentence(reason)}")
        notes += [f"{label}: {sentence(text)}" for text in warnings_of(record)]
    return Evaluated(list(records), sections, notes)


def _section(name: str, columns: list[list[tuple[str, str, str, str]]]) -> MeasureSection:
    by_name = [{row[0]: row for row in column} for column in columns]
    found = []
    for title in dict.fromkeys(row[0] for column in columns for row in column):
        there = [column.get(title) for column in by_name]
        known = [row for row in there if row is not None]
        abouts = dict.fromkeys(row[3] for row in known)
        cells = [DASH if row is None else row[1] for row in there]
        about = facts.sentence("; or ".join(abouts))
        found.append(MeasureRow(title.replace("_", " "), cells, known[0][2], about))
    return MeasureSection(name, found)


def on_evaluated(facts: Facts) -> str:
    """The sentences above the table."""
    told = [family for family in facts.families if read(family.run) is not None]
    several = any(len(family.runs) > 1 for family in told)
    return (
        f"Measured on {count(len(facts.data.test), 'test image')}"
        f"{', with the first seed of each family' if several else ''}. ± is the standard error "
        "of a mean over images, brackets are a 95% interval; neither tells how much another seed "
        "would change."
    )

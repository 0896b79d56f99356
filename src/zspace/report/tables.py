"""The tables of the page, as rows of text."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zspace import files, recipes
from zspace.data import DataOptions
from zspace.job import Job
from zspace.nets.options import READ
from zspace.report.facts import Facts, shape
from zspace.report.families import Family
from zspace.report.words import term
from zspace.settings import Settings
from zspace.table import MEASURES, measured, measures, over_seeds

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
    names, titled = terms_of(facts), measures_of(facts)
    return Results(
        [(name, term(name)) for name in names],
        SPLITS,
        [MEASURES[name] for name in titled],
        [row for family in facts.families for row in _rows(family, names, titled)],
    )


def measures_of(facts: Facts) -> list[str]:
    """Which of SSIM and PSNR some run has."""
    runs = [run for family in facts.families for run in family.runs]
    return [name for name in MEASURES if any(name in measured(run) for run in runs)]


def _rows(family: Family, names: list[str], titled: list[str]) -> Iterable[Row]:
    for i, (size, runs) in enumerate(family.sizes.items()):
        cells = [over_seeds(runs, split, name) for split in SPLITS for name in names]
        quality = measures(runs)
        yield Row(
            family=family.label,
            first=i == 0,
            rows=len(family.sizes),
            size=shape(runs[0]),
            chosen=size == family.chosen and len(family.sizes) > 1,
            cells=[DASH if cell is None else plain(str(cell)) for cell in cells],
            measures=[plain(str(quality.get(name, DASH))) for name in titled],
            epochs=", ".join(f"{r.result['best_epoch']}/{r.result['epochs']}" for r in runs),
            seconds=f"{statistics.mean(run.result['seconds'] for run in runs):,.0f}",
        )


def plain(text: str) -> str:
    """With a true minus sign."""
    return text.replace("-", "−")


def every_run(facts: Facts) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each run by itself, with every term on every split."""
    names, titled = terms_of(facts), measures_of(facts)
    heads = ["family", "size", "seed", "parameters", "best epoch", "seconds"]
    heads += [f"{split} {name}" for split in SPLITS for name in names]
    heads += [f"test {MEASURES[name]}" for name in titled]
    rows = []
    for family in facts.families:
        for run in family.runs:
            values = [run.result[split].get(name) for split in SPLITS for name in names]
            values += [measured(run).get(name) for name in titled]
            rows.append(
                [
                    family.label,
                    shape(run),
                    str(run.job.settings.seed),
                    f"{run.record['parameters']:,}",
                    f"{run.result['best_epoch']} of {run.result['epochs']}",
                    f"{run.result['seconds']:,.1f}",
                    *(DASH if value is None else plain(f"{value:.3f}") for value in values),
                ]
            )
    return heads, rows


def settings(facts: Facts) -> list[tuple[str, str]]:
    """What all runs share of their settings, and what differs from run to run."""
    jobs = [run.job.to_json() for run in facts.study.runs]
    found = []
    for group in ("data", "arguments", "settings"):
        for name in dict.fromkeys(name for job in jobs for name in job[group]):
            having = [job[group] for job in jobs if name in job[group] and not idle(job, name)]
            if not having:
                continue
            values = dict.fromkeys(shown(choices[name]) for choices in having)
            found.append((name.replace("_", " "), "; ".join(values)))
    return found


def idle(job: Mapping[str, Any], name: str) -> bool:
    """Whether an option is of networks that the job does not have."""
    read = READ.get(job["arguments"].get("net", ""))
    return read is not None and name not in read and any(name in names for names in READ.values())


def shown(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)


def environment(facts: Facts) -> list[tuple[str, str]]:
    """Versions and machine, and the data by its fingerprint."""
    run = facts.study.runs[0]
    found = {"zspace": run.record["zspace"], **run.record["environment"]}
    rows = [(name, shown(value)) for name, value in found.items()]
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
            ("Without the folder", train_command(facts.study.runs[0].job)),
            ("This page", f"zspace report {quoted(path)}"),
        ]
    made = []
    if (path / "study.json").is_file():
        grid = files.read_json(path / "study.json")["grid"]
        made.append(("The whole study", study_command(grid, quoted(path))))
    job = facts.families[0].run.job
    made.append(("One of its runs", train_command(job)))
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


def train_command(job: Job) -> str:
    """The command that trains one job, with every choice that is not the default."""
    usual = {
        **{n: p.default for n, p in recipes.arguments(recipes.find(job.recipe)).items()},
        **vars(DataOptions()),
        **vars(Settings()),
    }
    record = job.to_json()
    words = [f"zspace train {job.recipe.replace('_', '-')}", f"--data {quoted(job.data.data)}"]
    chosen = {**record["arguments"], **record["data"], **record["settings"]}
    for name, value in chosen.items():
        if name in ("data", "device", "snapshots") or same(value, usual.get(name)):
            continue
        flag = "--" + name.replace("_", "-")
        words.append(f"{flag} {flag_value(name, value)}".rstrip())
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

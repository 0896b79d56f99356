"""Several evaluated runs side by side: means over seeds, and what is better by more than those.

Runs whose jobs are equal but for the seed (and the device and where files lie) are one group. A
measure is marked best where the group's mean differs from that of every other group by more than
the larger of the two sample standard deviations over seeds. Without two seeds in each group the
spread is not known and nothing is marked; nor is a measure that is defined differently (draws of a
bound, kind of binarisation), or for which neither more nor less is better.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zspace import runs as folders
from zspace.errors import UserError
from zspace.evaluate.evaluation import measures_of, read
from zspace.evaluate.measure import Measure
from zspace.evaluate.screen import shown
from zspace.recipes import shown as named
from zspace.runs import Run

MORE = re.compile(
    r"elbo|iw_\d+|reconstruction|neighbours|probe(_\d+)?|nmi|ari|precision|recall|coverage"
    r"|conditional_accuracy|mig|sap|factor_vae|dci_\w+|\w+_auroc|\w+_auprc"
)
LESS = re.compile(
    r"\w+_bits|mean_distance|covariance_distance|ks|mmd|marginal_kl|frechet|class_distance"
    r"|copies|\w+_fpr95"
)
ELSEWHERE = {"seed", "device", "data_dir"}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, and what each measured: section -> name -> Measure."""

    name: str
    runs: tuple[Run, ...]
    measured: tuple[dict[str, dict[str, Measure]], ...]


@dataclass(frozen=True)
class Cell:
    """One measure of a group. mean, spread: over seeds; of one run its value and no spread."""

    mean: float
    spread: float | None
    text: str
    about: str


def compare(runs: Sequence[str | Path | Run], *, quiet: bool = True) -> list[dict[str, Any]]:
    """The measures of evaluated runs: a dict each, section, measure, values, best.

    values: group -> mean, spread (sample standard deviation over seeds, None of one run), seeds.
    best: the group that is better by more than the spread, or None. quiet: False prints it.

    Raises UserError for fewer than two runs, a run without an evaluation, and runs that were
    measured on different data.
    """
    groups = grouped(runs)
    found = []
    for section, name in _names(groups):
        cells = {group.name: cell(group, section, name) for group in groups}
        there = {key: one for key, one in cells.items() if one is not None}
        found.append(
            {
                "section": section,
                "measure": name,
                "values": {
                    group.name: {
                        "mean": one.mean,
                        "spread": one.spread,
                        "seeds": len(group.runs),
                        "text": one.text,
                    }
                    for group in groups
                    if (one := there.get(group.name)) is not None
                },
                "best": best(name, there) if len(there) == len(groups) else None,
            }
        )
    if not quiet:
        show(groups, found, Console(highlight=False))
    return found


def grouped(runs: Sequence[str | Path | Run]) -> list[Group]:
    """The runs by job, in the order in which they were given."""
    opened = [run if isinstance(run, Run) else folders.load(run) for run in runs]
    if len({run.path.resolve() for run in opened}) < max(2, len(opened)):
        raise UserError(f"{len(opened)} runs were given: compare two or more different ones")
    records, families = [_record(run) for run in opened], dict[str, list[int]]()
    prints = {
        record["data"]["fingerprint"]: run for record, run in zip(records, opened, strict=True)
    }
    if len(prints) > 1:
        one, other = list(prints.values())[:2]
        raise UserError(
            f"'{one.path}' and '{other.path}' were measured on different data, whose numbers do "
            "not compare: give runs of the same data"
        )
    for i, run in enumerate(opened):
        families.setdefault(json.dumps(_choices(run), sort_keys=True), []).append(i)
    names = _labels([opened[members[0]] for members in families.values()])
    return [
        Group(
            name,
            tuple(opened[i] for i in members),
            tuple(measures_of(records[i]) for i in members),
        )
        for name, members in zip(names, families.values(), strict=True)
    ]


def cell(group: Group, section: str, name: str) -> Cell | None:
    """One measure of a group; None where one of its runs lacks it."""
    found = [one.get(section, {}).get(name) for one in group.measured]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    abouts = {one.about for one in known}
    about = abouts.pop() if len(abouts) == 1 else ""
    if len(known) == 1:
        return Cell(known[0].value, None, shown(known[0]), about)
    values = [one.value for one in known]
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return Cell(mean, spread, shown(Measure(mean, about, error=spread)), about)


def best(name: str, cells: Mapping[str, Cell]) -> str | None:
    """The group whose mean is better than every other's by more than the larger of both spreads.

    None where there is none, where a spread is not known, and where definitions differ.
    """
    more = bool(MORE.fullmatch(name))
    if len(cells) < 2 or not (more or LESS.fullmatch(name)):
        return None
    abouts = {one.about for one in cells.values()}
    if len(abouts) > 1 or "" in abouts or any(one.spread is None for one in cells.values()):
        return None
    first = (max if more else min)(cells, key=lambda key: cells[key].mean)
    lead = cells[first]
    for key, one in cells.items():
        spread = max(lead.spread or 0.0, one.spread or 0.0)
        if key != first and not abs(lead.mean - one.mean) > spread:
            return None
    return first


def show(groups: Sequence[Group], found: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the table: a column a group, a row a measure, the best in bold with a star."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for group in groups:
        table.add_column(f"{group.name}\n{len(group.runs)} seed{'s' * (len(group.runs) > 1)}")
    section = ""
    for row in found:
        if row["section"] != section:
            section = row["section"]
            table.add_row(f"[bold]{section}[/]")
        texts = [row["values"].get(group.name, {}).get("text", "–") for group in groups]
        marked = [
            f"[bold]{text} ★[/]" if group.name == row["best"] else text.replace("[", r"\[")
            for group, text in zip(groups, texts, strict=True)
        ]
        table.add_row(f"  {row['measure']}", *marked)
    console.print(table)
    if any(len(group.runs) < 2 for group in groups):
        note = "± of one run is the error of its own mean; seeds may differ by more: none is best"
    else:
        note = "mean ± standard deviation over seeds; ★ better than all others by more than that"
    console.print(note, style="dim", markup=False)


def _record(run: Run) -> dict[str, Any]:
    record = read(run)
    if record is None:
        raise UserError(
            f"run '{run.path}' has not been evaluated as it is now: 'zspace evaluate {run.path}'"
        )
    return record


def _choices(run: Run) -> dict[str, Any]:
    """All that decides a training but its seed and where it was made, by name."""
    record = run.job.to_json()
    flat = {"recipe": named(record["recipe"])}
    for group in ("data", "arguments", "settings"):
        flat |= {key: value for key, value in record[group].items() if key not in ELSEWHERE}
    return flat


def _labels(runs: Sequence[Run]) -> list[str]:
    """A name for each: its recipe, and the choices in which these runs differ."""
    choices = [_choices(run) for run in runs]
    keys = dict.fromkeys(key for one in choices for key in one if key != "recipe")
    differ = [key for key in keys if len({repr(one[key]) for one in choices if key in one}) > 1]
    return [
        " ".join([one["recipe"], *(f"{key}={_text(one[key])}" for key in differ if key in one)])
        for one in choices
    ]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _names(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Every (section, measure) that some run has, in order; single code dimensions left out."""
    pairs = dict.fromkeys(
        (section, name)
        for group in groups
        for measured in group.measured
        for section, measures in measured.items()
        for name in measures
        if not re.fullmatch(r"kl_\d+", name)
    )
    order = dict.fromkeys(section for section, _ in pairs)
    return [pair for section in order for pair in pairs if pair[0] == section]

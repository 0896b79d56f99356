"""What lies in a run's folder of its measures; the runs of a study or a list side by side.

RUN/evaluation.json    format, zspace, model (SHA-256 of the weights), data (fingerprint, name,
                       images of the test split), sections: name -> seed, options, seconds, and
                       measures: name -> value, error, interval, unit, about, better (high, low
                       or neither); or not_measured: why; warnings

Each section is what one metric found; see `zspace.analysis.metric`.

`compare` puts several evaluated runs side by side. Runs whose configurations are equal but for the
seed (and the device and where files lie) are one group. A measure is marked best where the group's
mean differs from that of every other group by more than the larger of the two sample standard
deviations over seeds. Without two seeds in each group the spread is not known and nothing is
marked; nor is a measure that is defined differently (draws of a bound, kind of binarisation), or
for which neither more nor less is better.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zspace._version import __version__
from zspace.analysis import METRICS, Measure, Scorer
from zspace.analysis.compare import Cell, best
from zspace.analysis.numbers import error_text, measure_text, print_sections
from zspace.data.dataset import Data, Samples
from zspace.models.recipes import hyphenated as named
from zspace.runs.formats import Evaluation, refuse_unfit
from zspace.runs.record import EVALUATION, WEIGHTS
from zspace.runs.run import Run, load
from zspace.system import files
from zspace.system.errors import NotMeasured, UserError, unknown

EVALUATION_FORMAT = 1
ELSEWHERE = {"seed", "device", "data_dir"}
"""Choices in which runs of one group may differ."""


def evaluate(
    run: str | Path | Run,
    *,
    iw: int = 100,
    sections: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> dict[str, Any]:
    """Measure a run on its test split, write RUN/evaluation.json, and return what it holds.

    Sections measured earlier stay in the file as long as the weights and the data are the same.
    The file is written after each section, so an interruption loses one section at most.

    Arguments:
        run: A run or its folder.
        iw: Draws per image for the importance-weighted bound on log p(x); published figures use
            5000, which takes 50 times as long as the default.
        sections: Names of metrics; by default all except those that must be asked for.
        options: Further keywords of sections, by the name of the section.
        data_dir: The folder with files of named data sets.
        seed: Seed of all random draws.
        quiet: False prints a table, and what was not measured and why.

    Raises UserError for an unknown section, a folder that holds no run, and a wrong option.

    >>> record = zspace.evaluate(run.save("a-copy"), sections=["likelihood"], iw=10)
    >>> record["sections"]["likelihood"]["options"]
    {'samples': 10}
    """
    usual = [name for name in ordered() if not METRICS[name].asked_for]
    wanted = list(dict.fromkeys(sections)) or usual
    given = {name: dict(chosen) for name, chosen in (options or {}).items()}
    for name in (*wanted, *given):
        if name not in METRICS:
            raise unknown("section", name, ordered())
    given["likelihood"] = {"samples": iw, **given.get("likelihood", {})}
    run = run if isinstance(run, Run) else load(run)
    path = run.path / EVALUATION
    data = run.data(data_dir=data_dir, quiet=quiet)
    record = _opened(run, data)
    against = given.get("anomaly", {}).get("against")
    if isinstance(against, str):
        given["anomaly"]["against"] = run.data(against, data_dir=data_dir, quiet=quiet)
    for name in wanted:
        record["sections"][name] = measured_section(
            name, run, data, given.get(name, {}), seed, quiet
        )
        files.write_json(path, record)
    if not quiet:
        shown = {**record, "sections": {name: record["sections"][name] for name in wanted}}
        print_sections(
            f"{run.path}, {record['data']['images']:,} test images of {record['data']['name']}",
            measures_of(shown),
            missing_of(shown),
            warnings_of(shown),
            Console(highlight=False),
        )
    return record


def ordered() -> list[str]:
    """The names of all metrics, in the order in which they are shown."""
    return sorted(METRICS, key=lambda name: METRICS[name].place)


def measured_section(
    name: str, run: Run, data: Data, options: Mapping[str, Any], seed: int, quiet: bool
) -> dict[str, Any]:
    """What the file keeps of one section."""
    start = time.perf_counter()
    chosen = {key: _plain(value) for key, value in options.items()}
    found: dict[str, Any] = {"seed": seed, "options": chosen}
    metric = METRICS[name]
    try:
        measures = metric.of(run, data, seed=seed, quiet=quiet, **options)
    except NotMeasured as reason:
        return {**found, "not_measured": str(reason)}
    warning = metric.warning(measures) if metric.warning else ""
    return {
        **found,
        "seconds": round(time.perf_counter() - start, 2),
        "measures": {key: asdict(value) for key, value in measures.items()},
        "warnings": [warning] if warning else [],
    }


def _plain(value: Any) -> Any:
    """An option as JSON can hold it: a data set by its name, a path as text."""
    if isinstance(value, Data):
        return value.name
    return str(value) if isinstance(value, Path) else value


def _opened(run: Run, data: Data) -> dict[str, Any]:
    """The run's record to add to: the one there is where it is of this model and these data."""
    fresh = {
        "format": EVALUATION_FORMAT,
        "zspace": __version__,
        "model": run.record["files"][WEIGHTS],
        "data": {"fingerprint": data.fingerprint, "name": data.name, "images": len(data.test)},
        "sections": {},
    }
    old = read(run)
    if old is not None and old["data"]["fingerprint"] == data.fingerprint:
        fresh["sections"] = old["sections"]
    return fresh


def read(run: Run) -> dict[str, Any] | None:
    """What the run's evaluation.json holds; None where there is none of this model.

    Raises UserError where the file is damaged or of a newer version.
    """
    if EVALUATION not in run.place:
        return None
    path = run.place.named(EVALUATION)
    record = files.parsed(path, run.place.read(EVALUATION))
    newest = isinstance(record, dict) and record.get("format")
    if isinstance(newest, int) and newest > EVALUATION_FORMAT:
        raise UserError(f"{path} was made by a newer zspace: upgrade zspace")
    way = "delete it and use 'zspace evaluate' again"
    refuse_unfit(record, Evaluation, path, "an evaluation", way)
    return record if record["model"] == run.record["files"].get(WEIGHTS) else None


def measures_of(record: Mapping[str, Any]) -> dict[str, dict[str, Measure]]:
    """Section -> name -> measure, of what was measured."""
    return {
        name: {key: _measure(value) for key, value in one["measures"].items()}
        for name, one in _ordered(record)
        if "measures" in one
    }


def _measure(kept: Mapping[str, Any]) -> Measure:
    interval = kept["interval"]
    return Measure(**{**kept, "interval": interval and (interval[0], interval[1])})


def missing_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Section -> why it was not measured."""
    return {name: one["not_measured"] for name, one in _ordered(record) if "not_measured" in one}


def warnings_of(record: Mapping[str, Any]) -> list[str]:
    """Sentences of warning, of all sections."""
    return [text for _, one in _ordered(record) for text in one.get("warnings", [])]


def _ordered(record: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The sections in the order of `ordered`, those of unknown metrics last."""
    there = record["sections"]
    return [(name, there[name]) for name in dict.fromkeys((*ordered(), *there)) if name in there]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, and what each measured: section -> name -> Measure."""

    name: str
    runs: tuple[Run, ...]
    measured: tuple[dict[str, dict[str, Measure]], ...]


def compare(runs: Sequence[str | Path | Run], *, quiet: bool = True) -> list[dict[str, Any]]:
    """The measures of evaluated runs, one dict per measure: section, measure, values, best.

    values: group -> mean, spread (sample standard deviation over seeds, None of one run), seeds.
    best: the group that is better by more than the spread, or None. quiet: False prints it.

    Raises UserError for fewer than two runs, a run without an evaluation, and runs that were
    measured on different data.
    """
    groups = grouped(runs)
    seeds = {group.name: len(group.runs) for group in groups}
    found: list[dict[str, Any]] = []
    for section, name in _names(groups):
        cells = {group.name: one for group in groups if (one := cell(group, section, name))}
        values = {
            key: {"mean": one.mean, "spread": one.spread, "seeds": seeds[key], "text": one.text}
            for key, one in cells.items()
        }
        first = best(cells) if len(cells) == len(groups) else None
        found.append({"section": section, "measure": name, "values": values, "best": first})
    if not quiet:
        show_comparison(groups, found, Console(highlight=False))
    return found


def grouped(runs: Sequence[str | Path | Run]) -> list[Group]:
    """The runs by config, in the order in which they were given."""
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    if len({run.path.resolve() for run in opened}) < max(2, len(opened)):
        raise UserError(f"got {len(opened)} runs: give two or more different ones")
    records = [_record(run) for run in opened]
    families: dict[str, list[int]] = {}
    sources = {record["data"]["fingerprint"]: i for i, record in enumerate(records)}
    if len(sources) > 1:
        one, other = (opened[i] for i in list(sources.values())[:2])
        both = f"'{one.path}' and '{other.path}'"
        raise UserError(f"{both} were measured on different data: give runs of the same data")
    for i, run in enumerate(opened):
        families.setdefault(json.dumps(_choices(run), sort_keys=True), []).append(i)
    names = _labels([opened[members[0]] for members in families.values()])
    measured = [measures_of(record) for record in records]
    return [
        Group(name, tuple(opened[i] for i in members), tuple(measured[i] for i in members))
        for name, members in zip(names, families.values(), strict=True)
    ]


def cell(group: Group, section: str, name: str) -> Cell | None:
    """One measure of a group; None where one of its runs lacks it."""
    found = [one.get(section, {}).get(name) for one in group.measured]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    abouts, better = {one.about for one in known}, known[0].better
    about = abouts.pop() if len(abouts) == 1 else ""
    if len(known) == 1:
        return Cell(known[0].value, None, measure_text(known[0]), about, better)
    values = [one.value for one in known]
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return Cell(mean, spread, error_text(mean, spread), about, better)


def show_comparison(
    groups: Sequence[Group], found: Sequence[dict[str, Any]], console: Console
) -> None:
    """Print the table: one column per group, one row per measure, the best in bold with a star."""
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
        note = "± of one run is the error of its own mean; seeds may vary more: no best"
    else:
        note = "mean ± standard deviation over seeds; ★ better than all others by more than that"
    console.print(note, style="dim", markup=False)


def _record(run: Run) -> dict[str, Any]:
    record = read(run)
    if record is None:
        way = f"use 'zspace evaluate {run.path}'"
        raise UserError(f"run '{run.path}' has not been evaluated as it is now: {way}")
    return record


def _choices(run: Run) -> dict[str, Any]:
    """All that decides a training but its seed and where it was made, by name."""
    record = run.config.to_json()
    flat = {"recipe": named(record["recipe"])}
    for group in ("data", "recipe_options", "network", "training"):
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


@dataclass(frozen=True)
class Scored:
    """What was written: how many images, the threshold of each score, how many lie above it."""

    path: Path
    images: int
    thresholds: dict[str, float]
    flagged: dict[str, int]


def score(
    run: Run,
    data: str | None = None,
    *,
    out: Path,
    names: Sequence[str] = (),
    rate: float = 0.05,
    data_dir: Path | None = None,
    quiet: bool = True,
) -> Scored:
    """Write the scores of every image of a data set into a CSV file, one line per image.

    Its columns: split, index (the row within the data), label where there is one, then each score
    and, as <score>_anomaly, 1 where it lies above its threshold. The threshold is the one that
    `rate` of the run's own validation images exceed; scores mean nothing across models.

    data: a name or a path; by default the run's own data. names: of `SCORES`; by default all that
    the model has. Raises UserError for what does not fit, before anything is computed.
    """
    if out.suffix.lower() != ".csv":
        raise UserError(f"cannot write '{out}': scores go into a .csv file (-o scores.csv)")
    source = run.data(data, data_dir=data_dir, quiet=quiet)
    own = run.data(data_dir=data_dir, quiet=quiet)
    scorer = Scorer(run, own, names, quiet=quiet)
    limits = scorer.thresholds(rate)
    lines = [
        line
        for split, samples in source.splits.items()
        for line in _lines(split, samples, source.classes, scorer, limits)
    ]
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(out, lines)
    flagged = {name: sum(line[f"{name}_anomaly"] for line in lines) for name in scorer.names}
    return Scored(out, len(lines), limits, flagged)


def _lines(
    split: str, samples: Samples, classes: Sequence[str], scorer: Scorer, limits: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """The lines of one split, column -> value."""
    found, y = scorer(samples), samples.labels()
    for i, row in enumerate(samples.index.tolist()):
        yield {
            "split": split,
            "index": row,
            **({} if y is None else {"label": classes[int(y[i])]}),
            **{name: f"{found[name][i]:.6g}" for name in scorer.names},
            **{f"{k}_anomaly": int(found[k][i] > limits[k]) for k in scorer.names},
        }

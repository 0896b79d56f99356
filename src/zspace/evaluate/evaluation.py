"""All measures of one run, kept in its folder.

RUN/evaluation.json    format, zspace, model (SHA-256 of the weights), data (fingerprint, name,
                       images of the test split), sections: name -> seed, options, seconds, and
                       measures: name -> value, error, interval, unit, about
                       or not_measured: why, warnings

A section is a function (run, data, *, seed, quiet, ...) -> {name: Measure}, which raises
NotMeasured where it does not apply; its imports wait until it is wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from zspace import files, runs
from zspace._version import __version__
from zspace.data import Data
from zspace.errors import UserError, unknown
from zspace.evaluate.latents import collapse
from zspace.evaluate.measure import Measure, NotMeasured
from zspace.evaluate.screen import print_sections
from zspace.runs import Run

FORMAT = 1
FILE = "evaluation.json"
SECTIONS = {
    "likelihood": "likelihood",
    "latents": "latents",
    "representation": "representation",
    "generation": "generation",
    "novelty": "generation",
    "inception": "inception",
    "disentanglement": "disentanglement",
    "anomaly": "anomaly",
}
"""Each section, a function of that name, and the module of zspace.evaluate that it is in."""
ASKED_FOR = ("inception",)
"""Sections that are measured only when they are named."""
WARNINGS: dict[str, Callable[[Mapping[str, Measure]], str]] = {"latents": collapse}
"""Sentences that a section's numbers call for; empty where they do not."""


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

    Sections measured before stay in the file as long as the weights and the data are the same;
    it is written after each section, so that a stop loses only the one at work.

    iw: draws of the importance-weighted bound. sections: names of `SECTIONS`; by default all but
    `ASKED_FOR`.
    options: further keywords of a section, by its name. data_dir: where files of named sets lie.
    quiet: False prints a table, and says what was not measured and why.

    Raises UserError for an unknown section, a folder that is no run, and a wrong option.
    """
    wanted = list(dict.fromkeys(sections)) or [s for s in SECTIONS if s not in ASKED_FOR]
    given = {name: dict(chosen) for name, chosen in (options or {}).items()}
    for name in (*wanted, *given):
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    given["likelihood"] = {"samples": iw, **given.get("likelihood", {})}
    run = run if isinstance(run, Run) else runs.load(run)
    data = run.data(data_dir=data_dir, quiet=quiet)
    record = _opened(run, data)
    for name in wanted:
        record["sections"][name] = measured_section(
            name, run, data, given.get(name, {}), seed, quiet
        )
        files.write_json(run.path / FILE, record)
    if not quiet:
        show(record, str(run.path), wanted)
    return record


def measured_section(
    name: str, run: Run, data: Data, options: Mapping[str, Any], seed: int, quiet: bool
) -> dict[str, Any]:
    """What the file keeps of one section."""
    section = getattr(import_module(f"zspace.evaluate.{SECTIONS[name]}"), name)
    start = time.perf_counter()
    chosen = {key: _plain(value) for key, value in options.items()}
    found: dict[str, Any] = {"seed": seed, "options": chosen}
    try:
        measures: dict[str, Measure] = section(run, data, seed=seed, quiet=quiet, **options)
    except NotMeasured as reason:
        return {**found, "not_measured": str(reason)}
    warning = WARNINGS.get(name, lambda measures: "")(measures)
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
        "format": FORMAT,
        "zspace": __version__,
        "model": run.record["files"]["model.safetensors"],
        "data": {"fingerprint": data.fingerprint, "name": data.name, "images": len(data.test)},
        "sections": {},
    }
    old = read(run) if (run.path / FILE).is_file() else None
    same = old is not None and old["data"]["fingerprint"] == data.fingerprint
    return {**fresh, "sections": old["sections"]} if old is not None and same else fresh


def read(run: Run) -> dict[str, Any] | None:
    """What the run's evaluation.json holds; None where there is none of this model.

    Raises UserError where the file is damaged or of a newer version.
    """
    path = run.path / FILE
    if not path.is_file():
        return None
    record = files.read_json(path)
    if not isinstance(record, dict) or not {"format", "model", "data", "sections"} <= set(record):
        raise UserError(f"{path} is no evaluation: delete it and give 'zspace evaluate' again")
    if record["format"] > FORMAT:
        raise UserError(f"{path} was made by a newer zspace: upgrade zspace")
    return record if record["model"] == run.record["files"]["model.safetensors"] else None


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
    """The sections that are there, in the order of `SECTIONS`."""
    there = record["sections"]
    return [(name, there[name]) for name in SECTIONS if name in there]


def show(record: Mapping[str, Any], title: str, sections: Sequence[str]) -> None:
    """Print some sections as a table on standard output."""
    part = {**record, "sections": {name: record["sections"][name] for name in sections}}
    images = f"{record['data']['images']:,} test images of {record['data']['name']}"
    print_sections(
        f"{title}, {images}",
        measures_of(part),
        missing_of(part),
        warnings_of(part),
        Console(highlight=False),
    )

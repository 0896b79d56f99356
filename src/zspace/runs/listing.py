"""Runs that lie in a folder: found, told by what they are, sorted, and removed.

One run that is damaged is told as such; it does not keep the others from being listed.
"""

from __future__ import annotations

import datetime
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from zspace.analysis.numbers import number_text
from zspace.models.recipes import hyphenated
from zspace.runs.record import COPY, METRICS, RECORD, WEIGHTS, read_either
from zspace.system import files
from zspace.system.errors import UserError, nearest
from zspace.system.files import locked

DEEPEST = 5
"""Folders within folders that are looked into: studies lie in folders, too."""
COLUMNS = ("name", "recipe", "network", "data", "epochs", "objective", "error", "date", "state")
ALIKE = {"val": "objective", "validation": "objective", "loss": "objective", "net": "network"}
"""Other words for columns."""
NUMBERS = ("objective", "error")


@dataclass(frozen=True)
class Listed:
    """A run as a row of a list.

    Arguments:
        path: Its folder.
        facts: What each of `COLUMNS` says, None where that is not known.
        options: All of its options by name.
        reason: Why it cannot be read; "" where it can.
    """

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def run_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs in a folder, and in those within it."""
    for place, inner, _ in os.walk(folder):
        here = Path(place)
        if is_run(here):
            inner.clear()
            yield here
        elif len(here.relative_to(folder).parts) >= DEEPEST:
            inner.clear()
        inner.sort()


def is_run(folder: Path) -> bool:
    """Whether the files of a run are there, whole or not."""
    return (folder / RECORD).is_file() or (folder / COPY).is_file()


def listed(folder: Path) -> list[Listed]:
    """Every run in a folder. Raises UserError where there is no such folder, or no run.

    >>> [one.facts["state"] for one in listed(run.path)]
    ['finished']
    """
    if not folder.is_dir():
        raise UserError(f"folder '{folder}' does not exist: give one with runs, or train one")
    found = [_told(one, folder) for one in run_folders(folder)]
    if not found:
        raise UserError(f"'{folder}' holds no runs: give a folder with runs, or train one")
    return found


def _told(path: Path, folder: Path) -> Listed:
    name = str(path.relative_to(folder)) if path != folder else path.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = read_either(path)
        return Listed(path, {"name": name, **_facts(path, record)}, _options(record))
    except UserError as error:
        return Listed(path, {"name": name, "state": "damaged"}, reason=str(error))


def _facts(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What is told of a run, from its record alone; its error is the likelihood's term."""
    config, result = record["config"], record.get("result", {})
    hidden = config["network"].get("hidden") or config["network"].get("channels") or ()
    network = "-".join([str(config["network"].get("net", "own")), *map(str, hidden)])
    state = record["status"]
    if state == "running" and not is_training(path):
        state = "interrupted"
    epochs = config["training"].get("epochs")
    validation = result.get("validation", {})
    return {
        "recipe": hyphenated(config["recipe"]),
        "network": network,
        "data": record["data"]["name"],
        "epochs": result.get("epochs") or f"{_epochs(path)}/{epochs}",
        "objective": validation.get("objective"),
        "error": next((v for name, v in validation.items() if name != "objective"), None),
        "date": datetime.datetime.fromtimestamp((path / RECORD).stat().st_mtime),
        "state": state,
    }


def _epochs(path: Path) -> int:
    """How many epochs an unfinished run has."""
    try:
        return files.read(path / METRICS).count(b"\n")
    except UserError:
        return 0


def _options(record: dict[str, Any]) -> dict[str, Any]:
    config = record["config"]
    groups = ("data", "training", "network", "recipe_options")
    return {name: value for group in groups for name, value in config[group].items()}


def is_training(path: Path) -> bool:
    """Whether another process trains into the folder."""
    lock = path / "state" / "lock"
    if not lock.is_file():
        return False
    try:
        with locked(lock, "it is"):
            return False
    except UserError:
        return True


def chosen(runs: Sequence[Listed], where: Sequence[str] = (), sort: str = "") -> list[Listed]:
    """Those for which every NAME=VALUE holds, in order: numbers from the lowest, dates from the
    newest, and damaged ones last.

    Raises UserError for a name that is neither a column nor an option.

    >>> runs = listed(run.path)
    >>> len(chosen(runs, ["recipe=vae"])), len(chosen(runs, ["recipe=ae"]))
    (1, 0)
    """
    known = {*COLUMNS, *ALIKE, *(name for one in runs for name in one.options)}
    kept = list(runs)
    for text in where:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UserError(f"--where '{text:.60}' is not understood: use NAME=VALUE")
        name = _known(name.replace("-", "_"), known, "--where")
        kept = [one for one in kept if _matches(_value(one, name), value)]
    if sort:
        name = _known(sort.replace("-", "_"), known, "--sort")
        kept.sort(key=lambda one: _order(_value(one, name)))
        if name == "date":
            with_date = [one for one in kept if one.facts.get("date")]
            kept = with_date[::-1] + [one for one in kept if not one.facts.get("date")]
    return kept


def _known(name: str, known: set[str], flag: str) -> str:
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean '{near}'? " if near else ""
        raise UserError(
            f"{flag} names '{name:.60}', which no run here has: {hint}use a column "
            f"({', '.join(COLUMNS)}) or an option of training"
        )
    return ALIKE.get(name, name)


def _value(one: Listed, name: str) -> Any:
    return one.facts[name] if name in one.facts else one.options.get(name)


def _matches(value: Any, wanted: str) -> bool:
    if isinstance(value, list | tuple):
        return wanted.replace(",", " ") == " ".join(map(str, value))
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(wanted) == value
        except ValueError:
            return False
    return hyphenated(str(value)).lower() == hyphenated(wanted).lower()


def _order(value: Any) -> tuple[bool, bool, Any]:
    text = not isinstance(value, int | float | datetime.datetime)
    return value is None, text, str(value) if text else value


def table(runs: Sequence[Listed]) -> Table:
    """Runs as a table; a column in which nothing stands is left out."""
    shown = [c for c in COLUMNS if any(one.facts.get(c) is not None for one in runs)]
    made = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        right = name in (*NUMBERS, "epochs")
        made.add_column(name, justify="right" if right else "left", no_wrap=True)
    for one in runs:
        made.add_row(*(escape(_cell(one.facts.get(name))) for name in shown))
    return made


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return number_text(value) if isinstance(value, float) else str(value)


def removable(path: Path) -> tuple[int, int]:
    """How many files the folder of a run has, and how many bytes.

    Raises UserError where it is no run, or is being trained.
    """
    if not path.is_dir():
        raise UserError(f"run folder '{path}' does not exist: 'zspace runs' lists those here")
    files.refuse_links(path)
    if not is_run(path):
        raise UserError(f"'{path}' is not a run, and is left alone: delete it by other means")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_either(path)
    except UserError:
        if not ((path / WEIGHTS).is_file() or (path / METRICS).is_file()):
            raise UserError(
                f"'{path}' holds a {RECORD} that is not that of a run, and is left alone: delete "
                "it by other means"
            ) from None
    if is_training(path):
        raise UserError(f"run '{path}' is being trained: stop it first, or wait until it ends")
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def remove(path: Path) -> None:
    """Delete the folder of a run. Raises UserError as `removable`."""
    removable(path)
    with files.explained(path):
        shutil.rmtree(path)

"""The grid of a study, and how it is trained: skipping what is done, going on where it stopped."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from zspace.models import recipes
from zspace.runs.config import DEFAULTS, GROUPS, OWN, RESERVED, Config
from zspace.runs.many import STUDY_FORMAT, read_study
from zspace.studies.executors import Executor, Task, found, one_by_one
from zspace.system import files
from zspace.system.device import environment
from zspace.system.errors import UserError, unknown
from zspace.system.storage import Mirror
from zspace.training.api import SAVE_SECONDS
from zspace.training.progress import Reporter

ELSEWHERE = {
    "latent": "--latent",
    "seed": "--seeds",
    "data": "--data",
    "data_dir": "--data-dir",
    **{name: f"--{name}" for name in ("minutes", "seeds", "workers", "jobs", "threads", "out")},
}
"""Options that cannot be set by name, and where they are given."""
PRESETS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "quick": ((2, 20), {"epochs": 40}),
    "full": ((2, 5, 10, 20, 50, 100), {}),
}
"""The code sizes of each preset, and its options where they are not the defaults.

On mnist5k 20 more epochs would lower the validation objective of the VAE by 1 to 3% and that of an
autoencoder of code size 20 not at all.
"""


@dataclass
class Entry:
    """One run of a grid: its folder's name, its family, and its config.

    status: what became of it: 'finished', 'failed' or 'waiting'. reason: why it failed.
    """

    name: str
    family: str
    config: Config
    status: str = "waiting"
    reason: str = ""


@dataclass(frozen=True)
class Grid:
    """Recipes x code sizes x other choices x seeds.

    fixed: options that all runs share. vary: option -> its values; a recipe that has no such
    option is trained once without it.
    """

    recipes: tuple[str, ...] = ("ae", "vae", "cvae")
    latent: tuple[int, ...] = PRESETS["quick"][0]
    seeds: int = 1
    fixed: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """Every run, family by family. Raises UserError for an empty grid and unknown options."""
        names = dict.fromkeys(recipes.hyphenated(recipe) for recipe in self.recipes)
        entries = [entry for recipe in names for entry in self._family(recipe)]
        if not entries or self.seeds < 1:
            raise UserError("this grid has no runs: give a recipe, a --latent and 1 seed or more")
        if min(self.latent) < 1:
            raise UserError(f"latent is {min(self.latent)}: give code sizes >= 1")
        used = set().union(*(offered(recipe) for recipe in names))
        for name in self.vary:
            if name not in used and name not in GROUPS["training"]:
                raise unknown("option to vary", name, used)
        return entries

    def _family(self, recipe: str) -> Iterator[Entry]:
        own = offered(recipe)
        others = set().union(*map(offered, self.recipes)) - own
        vary = {name: values for name, values in self.vary.items() if name not in others}
        fixed = {name: value for name, value in self.fixed.items() if name not in others}
        for values in itertools.product(*(dict.fromkeys(v) for v in vary.values())):
            choice = dict(zip(vary, values, strict=True))
            label = " ".join([recipe, *(f"{k}={v}" for k, v in choice.items())])
            sizes = dict.fromkeys(self.latent)
            for latent, seed in itertools.product(sizes, range(self.seeds)):
                name = f"{label.replace(' ', '-').replace('/', '_')}-{latent}-s{seed}"
                options = {**fixed, **choice, "latent": latent, "seed": seed}
                yield Entry(name, label, Config.of(recipe, options))


def offered(recipe: str) -> set[str]:
    """The options that a recipe has beside those of all: its own and its network's.

    One whose name is reserved is called recipe.NAME.
    """
    choices = recipes.choices_of(recipes.find(recipe))
    own = {f"{OWN}{name}" if name in RESERVED else name for name in choices.own}
    return own | set(choices.network)


def parse_part(text: str) -> tuple[int, int]:
    """Which share, from 1, of how many: "3/20". Raises UserError for what is no share.

    >>> parse_part("3/20"), parse_part("")
    ((3, 20), (1, 1))
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    which, many = map(int, found.groups()) if found else (0, 0)
    if text and not 1 <= which <= many:
        raise UserError(f"--part is '{text:.60}': give K/N, from 1/20 to 20/20 for twenty shares")
    return (which, many) if text else (1, 1)


def parse_choices(texts: Sequence[str]) -> dict[str, Any]:
    """``beta=0.5,1,4`` and ``epochs=5`` -> one value of an option, or a list of values to try.

    >>> parse_choices(["beta=0.5,1,4", "hidden=[16,16]", "likelihood=bernoulli"])
    {'beta': [0.5, 1, 4], 'hidden': (16, 16), 'likelihood': 'bernoulli'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, right = text.partition("=")
        if not (name and equals and right):
            raise UserError(f"--set '{text}' is not understood: use NAME=VALUE or NAME=V1,V2,V3")
        name = name.replace("-", "_")
        if name in ELSEWHERE:
            raise UserError(f"--set {name} is not possible: use {ELSEWHERE[name]}")
        values = [tuple(v) if isinstance(v, list) else v for v in _values(name, right)]
        found[name] = values if len(values) > 1 else values[0]
    return found


def divided(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Options that all runs share, and those of which each run has one of a list of values.

    Raises UserError for an empty list, and for one of an option of the data.

    >>> divided({"epochs": 5, "beta": [0.5, 1, 4]})
    ({'epochs': 5}, {'beta': [0.5, 1, 4]})
    """
    vary = {name: values for name, values in options.items() if isinstance(values, list)}
    for name, values in vary.items():
        if not values:
            raise UserError(f"{name} is an empty list: give the values to try, or leave it out")
        if name in GROUPS["data"]:
            raise UserError(
                f"{name} cannot vary, since all runs of a study use the same data: make one study "
                "for each value"
            )
    return {name: value for name, value in options.items() if name not in vary}, vary


def _values(name: str, right: str) -> list[Any]:
    """The values in a text: JSON, or else words. An option that is a text has no other values."""
    try:
        values = json.loads(f"[{right}]")
    except ValueError:
        return right.split(",")
    words = _is_text(name) and not all(isinstance(value, str) for value in values)
    return right.split(",") if words else values


def _is_text(name: str) -> bool:
    """Whether the option of that name, of any recipe, of the data or of training, is a text."""
    defaults = [DEFAULTS.get(name)]
    for choices in map(recipes.choices_of, recipes.known().values()):
        options = {**choices.network, **{f"{OWN}{n}": p for n, p in choices.own.items()}}
        defaults += [options[n].default for n in (name, f"{OWN}{name}") if n in options]
    return any(isinstance(default, str) for default in defaults)


def conduct(
    grid: Grid,
    out: Path,
    *,
    executor: Executor = one_by_one,
    reporter: Callable[[int, int, str], Reporter],
    told: Callable[[int, Entry], None],
    mirror: Mirror | None = None,
    save_every: float = SAVE_SECONDS,
    held: Any = None,
    part: tuple[int, int] = (1, 1),
) -> list[Entry]:
    """Train every run of the grid that is not done; a failed run is noted, and the rest continue.

    executor: where runs are trained. reporter: (number, of how many, name) -> who is told of the
    steps of a run. told: called with the entry of each run. mirror: of the storage that the
    study is on, with `out` as its local folder. save_every: seconds between checkpoints. held: the
    data, where they are held in Python. part: which share of how many is trained here; others
    train the rest, at the same time or later.

    Returns the runs of that share. Raises UserError where the folder holds runs of the same name
    with other settings.
    """
    entries = grid.entries()
    with files.explained(out):
        (out / "runs").mkdir(parents=True, exist_ok=True)
    for entry in entries:
        _take_stock(entry, out / "runs" / entry.name)
    _note(out, grid, entries, mirror)
    place = mirror.url if mirror else str(out.resolve())
    imports = tuple(recipes.IMPORTED)
    tasks = [
        Task(i, one.name, one.config, f"{place}/runs/{one.name}", save_every, imports, held)
        for i, one in enumerate(entries)
        if one.status != "finished" and i % part[1] == part[0] - 1
    ]
    own = entries[part[0] - 1 :: part[1]]
    if not tasks:
        return own

    def reports(i: int, name: str) -> Reporter:
        return reporter(i + 1, len(entries), name)

    with contextlib.closing(executor(tasks, reports)) as ends:
        for i, ended in ends:
            entries[i].status, entries[i].reason = ended
            _note(out, grid, entries, mirror)
            told(i, entries[i])
    return own


def _take_stock(entry: Entry, folder: Path) -> None:
    """Mark a run that is finished. Raises UserError for another run under the same name."""
    record = found(folder)
    if record is None:
        return
    if not entry.config.agrees(record["config"]):
        raise UserError(f"'{folder}' was trained with other options: choose another --out")
    if record["status"] == "finished":
        entry.status = "finished"


def _earlier(out: Path) -> list[dict[str, Any]]:
    """The finished runs that study.json names: a study that grows keeps them all."""
    path = out / "study.json"
    runs = read_study(out)["runs"] if path.exists() else []
    return [dict(run) for run in runs if run["status"] == "finished"]


def _note(out: Path, grid: Grid, entries: Sequence[Entry], mirror: Mirror | None) -> None:
    runs = [
        {"name": one.name, "family": one.family, "status": one.status, "reason": one.reason}
        for one in entries
    ]
    names = {run["name"] for run in runs}
    runs = [run for run in _earlier(out) if run["name"] not in names] + runs
    record = {
        "format": STUDY_FORMAT,
        "grid": asdict(grid),
        "environment": environment(torch.device("cpu"), zspace=Path(__file__)),
        "runs": runs,
    }
    files.write_json(out / "study.json", json.loads(json.dumps(record, default=str)))
    if mirror:
        mirror.send()

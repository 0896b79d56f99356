"""The grid of a study, and how it is trained: skipping what is done, going on where it stopped."""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from zspace import files, recipes, training
from zspace.data import DataOptions
from zspace.errors import UserError, unknown
from zspace.job import Job
from zspace.progress import Quiet, Reporter
from zspace.runs import read_record
from zspace.session import environment
from zspace.study import FORMAT

ELSEWHERE = {
    "latent": "--latent",
    "seed": "--seeds",
    "data": "--data",
    "data_dir": "--data-dir",
}
DATA_OPTIONS = {option.name for option in fields(DataOptions)}
PRESETS = {"quick": (2, 20), "full": (2, 5, 10, 20, 50, 100)}


@dataclass(frozen=True)
class Entry:
    """One run of a grid: its folder's name, its family and its job."""

    name: str
    family: str
    job: Job


@dataclass(frozen=True)
class Grid:
    """Recipes x code sizes x other choices x seeds.

    fixed: options that all runs share. vary: option -> its values; a recipe that has no such
    option is trained once without it.
    """

    recipes: tuple[str, ...] = ("ae", "vae", "cvae")
    latent: tuple[int, ...] = PRESETS["quick"]
    seeds: int = 1
    fixed: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """Every run, family by family. Raises UserError for an empty grid and unknown options."""
        names = dict.fromkeys(recipes.shown(recipe) for recipe in self.recipes)
        entries = [entry for recipe in names for entry in self._family(recipe)]
        if not entries or self.seeds < 1:
            raise UserError(
                "this grid has no runs: give at least one recipe, one --latent and one seed"
            )
        if min(self.latent) < 1:
            raise UserError(f"latent is {min(self.latent)}: a code needs at least 1 dimension")
        used = {name for entry in entries for name in entry.job.arguments}
        for name in self.vary:
            if name not in used and name not in asdict(entries[0].job.settings):
                raise unknown("option to vary", name, used)
        return entries

    def _family(self, recipe: str) -> Iterator[Entry]:
        own = recipes.arguments(recipes.find(recipe))
        vary = {n: v for n, v in self.vary.items() if n in own or not self._of_some_recipe(n)}
        fixed = {n: v for n, v in self.fixed.items() if n in own or not self._of_some_recipe(n)}
        for values in itertools.product(*(dict.fromkeys(v) for v in vary.values())):
            choice = dict(zip(vary, values, strict=True))
            label = " ".join([recipe, *(f"{k}={v}" for k, v in choice.items())])
            sizes = dict.fromkeys(self.latent)
            for latent, seed in itertools.product(sizes, range(self.seeds)):
                name = f"{label.replace(' ', '-').replace('/', '_')}-{latent}-s{seed}"
                options = {**fixed, **choice, "latent": latent, "seed": seed}
                yield Entry(name, label, Job.of(recipe, options))

    def _of_some_recipe(self, name: str) -> bool:
        return any(name in recipes.arguments(recipes.find(recipe)) for recipe in self.recipes)


def parse_choices(texts: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """``beta=0.5,1,4`` and ``epochs=5`` -> options with one value, and options to vary."""
    fixed: dict[str, Any] = {}
    vary: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, right = text.partition("=")
        if not (name and equals and right):
            raise UserError(f"--set '{text}' is not understood: use NAME=VALUE or NAME=V1,V2,V3")
        try:
            values = json.loads(f"[{right}]")
        except ValueError:
            values = right.split(",")
        name = name.replace("-", "_")
        if name in ELSEWHERE:
            raise UserError(f"--set {name} is not possible: use {ELSEWHERE[name]}")
        if len(values) > 1 and name in DATA_OPTIONS:
            raise UserError(
                f"--set cannot vary {name}, since all runs of a study see the same data: make a "
                "study of each"
            )
        if len(values) == 1:
            fixed[name] = values[0]
        else:
            vary[name] = values
    return fixed, vary


@dataclass
class Outcome:
    """What became of one run: 'finished', 'failed' or 'waiting', and why."""

    entry: Entry
    status: str = "waiting"
    reason: str = ""


Told = Callable[[int, Outcome], None]


def conduct(
    grid: Grid,
    out: Path,
    *,
    jobs: int = 1,
    reporter: Callable[[int, int, str], Reporter],
    told: Told,
) -> list[Outcome]:
    """Train every run of the grid that is not done; a failed one is noted and the rest goes on.

    reporter: (number, of how many, name) -> who is told of the steps of a run. told: called with
    the outcome of each run. jobs: processes at once, each with its share of the cores.

    Raises UserError where the folder holds runs of the same name with other settings.
    """
    if jobs < 1:
        raise UserError(f"jobs is {jobs}: train at least 1 run at a time")
    outcomes = [Outcome(entry) for entry in grid.entries()]
    with files.explained(out):
        (out / "runs").mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        _take_stock(outcome, out / "runs" / outcome.entry.name)
    _note(out, grid, outcomes)
    waiting = [i for i, outcome in enumerate(outcomes) if outcome.status != "finished"]
    work = _one_by_one if jobs == 1 else _side_by_side
    for i in work(outcomes, waiting, out, jobs, reporter):
        _note(out, grid, outcomes)
        told(i, outcomes[i])
    return outcomes


def _take_stock(outcome: Outcome, folder: Path) -> None:
    """See what is there already: done, half done, or another run under the same name."""
    if not (folder / "run.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # killed before anything of use was written
        return
    record = read_record(folder)
    if not _same(outcome.entry.job.to_json(), record["job"]):
        raise UserError(
            f"'{folder}' was trained with other settings than asked for now: choose another --out"
        )
    if record["status"] == "finished":
        outcome.status = "finished"
    elif record["status"] == "failed":
        shutil.rmtree(folder)


def _same(asked: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a run is what was asked for; what was left to be decided may be anything."""
    plain = json.loads(json.dumps(asked))
    for part in ("arguments", "data", "settings"):
        for name, value in plain[part].items():
            if value not in (None, "auto") and found[part].get(name) != value:
                return False
    return bool(plain["recipe"] == found["recipe"])


def _one_by_one(
    outcomes: list[Outcome],
    waiting: list[int],
    out: Path,
    jobs: int,
    reporter: Callable[[int, int, str], Reporter],
) -> Iterator[int]:
    for i in waiting:
        entry = outcomes[i].entry
        told = reporter(i + 1, len(outcomes), entry.name)
        outcomes[i].status, outcomes[i].reason = _attempt(entry.job, out, entry.name, told)
        yield i


def _side_by_side(
    outcomes: list[Outcome],
    waiting: list[int],
    out: Path,
    jobs: int,
    reporter: Callable[[int, int, str], Reporter],
) -> Iterator[int]:
    jobs = max(1, min(jobs, len(waiting), os.cpu_count() or 1))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(
                _in_process, outcomes[i].entry.job, out, outcomes[i].entry.name, threads
            ): i
            for i in waiting
        }
        for future in as_completed(futures):
            i = futures[future]
            outcomes[i].status, outcomes[i].reason = future.result()
            yield i


def _in_process(job: Job, out: Path, name: str, threads: int) -> tuple[str, str]:
    torch.set_num_threads(threads)
    return _attempt(job, out, name, Quiet())


def _attempt(job: Job, out: Path, name: str, reporter: Reporter) -> tuple[str, str]:
    """Train or resume one run. An interruption goes through; any other failure is its reason."""
    folder = out / "runs" / name
    try:
        if folder.exists():
            training.resume(folder, reporter=reporter)
        else:
            training.start(job, folder, reporter, training.SAVE_SECONDS)
    except training.Interrupted:
        raise
    except Exception as error:  # a study of many hours must not die of one run
        return "failed", str(error) or type(error).__name__
    finally:
        gc.collect()  # a training's objects refer to each other, and to the data set
    return "finished", ""


def _earlier(out: Path) -> list[dict[str, Any]]:
    """The finished runs that the folder's index names: a study grows, and forgets none of them."""
    if not (out / "study.json").exists():
        return []
    record = files.read_json(out / "study.json")
    return [run for run in record.get("runs", []) if run["status"] == "finished"]


def _note(out: Path, grid: Grid, outcomes: Sequence[Outcome]) -> None:
    runs = [
        {"name": o.entry.name, "family": o.entry.family, "status": o.status, "reason": o.reason}
        for o in outcomes
    ]
    names = {run["name"] for run in runs}
    runs = [run for run in _earlier(out) if run["name"] not in names] + runs
    record = {
        "format": FORMAT,
        "grid": asdict(grid),
        "environment": environment(torch.device("cpu")),
        "runs": runs,
    }
    files.write_json(out / "study.json", json.loads(json.dumps(record, default=str)))

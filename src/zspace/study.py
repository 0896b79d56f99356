"""A study: runs over a grid of recipes, code sizes, seeds and other choices, read together.

DIR/study.json     the grid, what became of each run, the chosen code size of each family
DIR/runs/<name>/   the run folders
DIR/table.csv      every term of every run on train, validation and test
DIR/report.html    all of it on one page
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zspace import files
from zspace.data import Data
from zspace.errors import UserError
from zspace.runs import Run, load

FORMAT = 1


@dataclass(frozen=True)
class Failed:
    """A run of the grid that did not end well, and why."""

    name: str
    reason: str


class Study:
    """Finished runs side by side, in the order of the grid; a single run is a study of one.

    path: the folder of the study, or of the run. failed: what is missing, and why. names: the
    family of each run, its recipe and what was varied beside code size and seed; by default the
    recipe.
    """

    def __init__(
        self,
        path: Path,
        runs: Sequence[Run],
        failed: Sequence[Failed] = (),
        names: Sequence[str] = (),
    ) -> None:
        if not runs:
            raise UserError(f"study '{path}' has no finished run: nothing can be shown of it")
        self.path, self.runs, self.failed = path, tuple(runs), tuple(failed)
        self.names = tuple(names) or tuple(run.job.recipe.replace("_", "-") for run in runs)

    @cached_property
    def data(self) -> Data:
        """The data that all runs were trained on."""
        return self.runs[0].data()

    @cached_property
    def families(self) -> dict[str, dict[int, list[Run]]]:
        """Family -> code size -> its runs, one a seed."""
        families: dict[str, dict[int, list[Run]]] = {}
        for name, run in zip(self.names, self.runs, strict=True):
            sizes = families.setdefault(name, {})
            sizes.setdefault(run.job.arguments["latent"], []).append(run)
        return {name: dict(sorted(sizes.items())) for name, sizes in families.items()}

    @cached_property
    def chosen(self) -> dict[str, int]:
        """Family -> the code size with the lowest mean validation objective over seeds."""
        return {
            name: min(sizes, key=lambda latent: validation(sizes[latent]))
            for name, sizes in self.families.items()
        }

    def best(self, name: str) -> Run:
        """The run of a family at its chosen code size, first seed."""
        return self.families[name][self.chosen[name]][0]


def validation(runs: Sequence[Run]) -> float:
    """The mean validation objective of runs that differ in their seed."""
    return sum(run.result["validation"]["objective"] for run in runs) / len(runs)


def open_study(path: str | Path) -> Study:
    """A study, or a run as a study of one. Raises UserError where the folder is neither."""
    folder = Path(path)
    if (folder / "run.json").is_file():
        return Study(folder, [load(folder)])
    if not (folder / "study.json").is_file():
        raise UserError(
            f"'{path}' is neither a study nor a run: it holds no study.json or run.json"
        )
    record = files.read_json(folder / "study.json")
    if not isinstance(record, dict) or not {"format", "runs"} <= record.keys():
        raise UserError(f"'{path}' is not a study: its study.json names no format or no runs")
    if not isinstance(record["format"], int) or not _are_entries(record["runs"]):
        raise UserError(f"'{path}' is not a study: its study.json does not list runs")
    if record["format"] > FORMAT:
        raise UserError(f"study '{path}' was made by a newer zspace: upgrade zspace")
    done = [entry for entry in record["runs"] if entry["status"] == "finished"]
    failed = [Failed(e["name"], e["reason"]) for e in record["runs"] if e["status"] == "failed"]
    try:
        runs = [load(folder / "runs" / entry["name"]) for entry in done]
    except UserError as error:
        raise UserError(
            f"{error}; delete the folder of that run and give the command of the study again"
        ) from None
    return Study(folder, runs, failed, [entry["family"] for entry in done])


def _are_entries(runs: Any) -> bool:
    """Whether these are the runs of a study.json."""
    texts = ("name", "family", "status", "reason")
    return isinstance(runs, list) and all(
        isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in texts)
        for entry in runs
    )

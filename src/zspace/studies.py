"""`zspace study`: train the grid, then write table, figures and report."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from zspace import grid as grids
from zspace import progress
from zspace.data import DataOptions
from zspace.errors import UserError
from zspace.grid import Grid, Outcome
from zspace.machine import pick_device
from zspace.progress import Quiet
from zspace.report import write_report
from zspace.runs import read_metrics
from zspace.study import open_study
from zspace.table import write_table
from zspace.training import Interrupted

SNAPSHOTS = 24


def run(
    recipes: Sequence[str],
    *,
    data: str = "mnist5k",
    data_dir: Path | None = None,
    latent: Sequence[int] = (),
    seeds: int = 1,
    choices: Sequence[str] = (),
    preset: str | None = None,
    jobs: int = 1,
    out: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Train what is missing of the study and write its report; returns the report's path.

    jobs: 0 chooses; with more than 1, the runs are processes of their own; a script must then call
    this under ``if __name__ == "__main__":``, as multiprocessing asks.

    Raises UserError for a grid that makes no sense, before anything is trained.
    """
    fixed, vary = grids.parse_choices(choices)
    jobs = jobs or _suitable_jobs()
    preset = preset or ("quick" if data == "mnist5k" else "full")
    grid = Grid(
        recipes=tuple(recipes),
        latent=tuple(latent) or grids.PRESETS[preset],
        seeds=seeds,
        fixed={"data": data, "data_dir": data_dir, "snapshots": SNAPSHOTS, **fixed},
        vary=vary,
    )
    folder = out or Path("studies") / Path(data.removeprefix("hf:")).stem
    DataOptions(data=data).refuse_inside(folder)
    console = Console(stderr=True, highlight=False, quiet=quiet, soft_wrap=True)
    _train(grid, folder, jobs, console, quiet)
    study = open_study(folder)
    write_table(study, folder / "table.csv")
    console.print("writing the report ...")
    return write_report(study, folder / "report.html", console)


def _suitable_jobs() -> int:
    """One a core, at most 4: small models train faster side by side than on many threads."""
    return 1 if pick_device("auto").type != "cpu" else min(4, os.cpu_count() or 1)


def _train(grid: Grid, folder: Path, jobs: int, console: Console, quiet: bool) -> None:
    start, total = time.monotonic(), len(grid.entries())
    console.print(f"{total} runs -> {folder}")

    def told(i: int, outcome: Outcome) -> None:
        name = f"[{i + 1}/{total}] {outcome.entry.name}"
        if outcome.status == "failed":
            console.print(f"{name}  failed: {outcome.reason}", markup=False)
        elif jobs > 1:
            console.print(f"{name}  done after {time.monotonic() - start:.0f} s", markup=False)

    with _watched(folder, total, console if jobs > 1 else None):
        try:
            outcomes = grids.conduct(
                grid,
                folder,
                jobs=jobs,
                reporter=(lambda *_: Quiet()) if quiet else progress.row_reporter,
                told=told,
            )
        except Interrupted:
            raise UserError(
                "the study is stopped and saved: give the same command again to go on"
            ) from None
    if all(outcome.status == "failed" for outcome in outcomes):
        raise UserError(f"all {total} runs failed, the first because: {outcomes[0].reason}")


@contextlib.contextmanager
def _watched(folder: Path, total: int, console: Console | None) -> Iterator[None]:
    """Within, a bar on a terminal shows how far all runs together are; None shows nothing."""
    if console is None or console.quiet or not console.is_terminal:
        yield
        return
    over = threading.Event()
    with Progress(*Progress.get_default_columns(), console=console) as bar:
        task = bar.add_task("runs", total=total)

        def watch() -> None:
            while not over.wait(1.0):
                bar.update(task, completed=sum(map(_share, (folder / "runs").glob("*"))))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _share(run: Path) -> float:
    """How much of a run is done, from its folder alone."""
    try:
        epochs = json.loads((run / "run.json").read_text())["job"]["settings"]["epochs"]
    except (OSError, ValueError, KeyError):
        return 0.0  # it has only begun
    return min(1.0, len(read_metrics(run / "metrics.jsonl")) / epochs)

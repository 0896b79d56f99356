"""`zspace study`: train the grid, then write table, figures and report."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress

from zspace.data.options import DataOptions
from zspace.data.readers.objects import PREFIX, noted
from zspace.report.html.page import write_report
from zspace.runs.many import Study, open_study, write_table
from zspace.runs.measured import embed, evaluate, read
from zspace.runs.record import METRICS, RECORD, read_record
from zspace.runs.run import Run, load
from zspace.studies import ray
from zspace.studies.executors import (
    STOPPED,
    Executor,
    on_cards,
    on_stacks,
    one_by_one,
    side_by_side,
)
from zspace.studies.grid import PRESETS, Entry, Grid, conduct, divided, parse_part
from zspace.system import files
from zspace.system.bars import lines
from zspace.system.cores import reading, usable_cores
from zspace.system.device import pick_device
from zspace.system.errors import UserError
from zspace.system.signals import Interrupted
from zspace.system.storage import Mirror, is_url, mirrored
from zspace.training import progress

SNAPSHOTS = 24


def study(
    recipes: Sequence[str],
    *,
    data: Any = "mnist5k",
    data_dir: Path | None = None,
    workers: int = 0,
    latent: Sequence[int] = (),
    seeds: int = 1,
    minutes: float = 0.0,
    preset: str | None = None,
    jobs: int = 1,
    threads: int = 0,
    executor: Literal["local", "stacked", "ray"] = "local",
    part: str = "",
    out: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Path | str:
    """Train the runs of a study that are missing, write its report, and return where that is.

    Arguments:
        recipes: Names of recipes; each is a family.
        data: A known name, a folder of images, a file, or, in one process, what is held in Python:
            an array, a DataFrame, whatever `zspace.train` takes.
        data_dir: The folder with files of named data sets.
        workers: Threads that read files, of each process; 0: see `zspace.system.cores.readers`.
        latent: Code sizes; by default those of the preset.
        seeds: Runs of each kind, with seeds 0, 1, ...
        minutes: Of each run, which choose its epochs; 0 takes epochs.
        preset: quick (2 and 20, and 40 epochs unless options say otherwise) or full (2 to 100);
            by default quick on mnist5k, else full.
        jobs: Runs at the same time on this machine, each in its own process if more than 1; 0
            chooses. A script must then call this under ``if __name__ == "__main__":``.
        threads: CPU threads of each run; 0 chooses.
        executor: This machine, this process with the seeds of a model stacked, or a Ray cluster.
        part: "3/20" trains the third of twenty shares of the runs, and writes no report: `zspace
            report` joins them, once all are done. Shares may be trained at the same time, by an
            array job of any scheduler, in one folder that all of them see.
        out: A folder, or the URL of one; by default studies/<data>.
        quiet: Print nothing.
        options: Whatever `zspace.train` takes: one value for all runs, or a list of values, of
            which each is tried. Several numbers that are one value are a tuple: hidden=(16, 16).

    Raises UserError for a grid that makes no sense and for data that the executor cannot carry to
    other processes, before anything is trained.

    >>> report = zspace.study(
    ...     ["ae"], data=data_path, latent=[2], epochs=1, out="small", quiet=True
    ... )
    >>> report.name
    'report.html'
    """
    if jobs < 0 or threads < 0:
        raise UserError(f"jobs is {jobs}, threads is {threads}: use numbers >= 1, or 0 for auto")
    share = parse_part(part)
    fixed, vary = divided(options)
    if "seed" in options:
        raise UserError(f"seed is {options['seed']}: use seeds, a number of runs of each kind")
    held = None if isinstance(data, str | Path) else data
    name = str(data) if held is None else noted(data)
    sizes, usual = PRESETS[preset or ("quick" if name == "mnist5k" else "full")]
    taken = {*vary, "epochs"} if minutes else {*vary}
    usual = {name: value for name, value in usual.items() if name not in taken}
    grid = Grid(
        recipes=tuple(recipes),
        latent=tuple(latent) or sizes,
        seeds=seeds,
        fixed={
            "data": name,
            "data_dir": data_dir,
            "snapshots": SNAPSHOTS,
            **({"minutes": minutes} if minutes else {}),
            **usual,
            **fixed,
        },
        vary=vary,
    )
    out = out or Path("studies") / Path(name.removeprefix("hf:").removeprefix(PREFIX)).stem
    console = progress.stderr(quiet=quiet, soft_wrap=True)
    work = _executor(
        executor,
        jobs if held is None else jobs or 1,
        threads,
        str(fixed.get("device", "auto")),
    )
    if held is not None and work not in HERE:
        asked = "executor 'ray'" if executor == "ray" else f"{jobs} jobs, {threads} threads"
        raise UserError(
            f"the data are held in Python ({type(data).__name__}), where only this process sees "
            f"them, but the study is to run with {asked}: leave that out, or write the data to a "
            "file and give its path"
        )
    if is_url(out):
        if part:
            raise UserError(
                f"part is {part}, but shares are joined in a folder that all of them see, and out "
                f"is {out}: give a folder"
            )
        with reading(workers):
            return _on_storage(grid, str(out), work, console, held)
    DataOptions(data=name).refuse_inside(Path(out))
    if held is not None:
        places = sorted(path.parent for path in Path(out).glob(f"runs/*/{RECORD}"))
        done = [place for place in places if read_record(place)["status"] == "finished"]
        _hand([load(place, trust_data=True) for place in done], held)
    with reading(workers):
        _train(grid, Path(out), work, console, None, held, share)
        if part:
            console.print(f"once all shares are done: zspace report {out}", markup=False)
            return Path(out)
        return _written(Path(out), console, held)


def _on_storage(grid: Grid, url: str, executor: Executor, console: Console, held: Any) -> str:
    """The study at a URL: of its runs only what is read is fetched, and only in the end."""
    with mirrored(url) as mirror:
        mirror.fetch(lambda name: name.endswith(".json"))
        _train(grid, mirror.folder, executor, console, mirror, held)
        mirror.fetch(lambda name: "/state/" not in name)
        report = _written(mirror.folder, console, held)
        mirror.send()
        return f"{mirror.url}/{report.name}"


def _written(folder: Path, console: Console, held: Any = None) -> Path:
    """Table and report of what is finished. held: the data, where they are held in Python."""
    study = open_study(folder, trust_data=True)  # it is of the data that were asked for
    if held is not None:
        _hand(study.runs, held)
    write_table(study, folder / "table.csv")
    _read_codes(study, folder, console)
    console.print("writing the report ...")
    with lines("the report", quiet=console.quiet):
        return write_report(study, folder / "report.html", console)


def _read_codes(study: Study, folder: Path, console: Console) -> None:
    """The codes of each family's chosen run as a file, and what few labels can read from them.

    What has been measured is not measured again.
    """
    for name in study.families:
        run = study.best(name)
        if not study.data.classes or "representation" in (read(run) or {}).get("sections", {}):
            continue
        console.print(f"what labels can read from codes: {run.config.name}", markup=False)
        evaluate(run, sections=["representation"])
        embed(run, out=folder / "codes" / f"{run.path.name}.npz")


def _hand(runs: Sequence[Run], held: Any) -> None:
    """Let runs use data that are held in Python. Raises UserError for one of other data."""
    data = runs[0].data(held) if runs else None
    for run in runs:
        if data is None or run.record["data"]["fingerprint"] != data.fingerprint:
            raise UserError(
                f"run '{run.path}' of this study was trained on other data than those given: "
                "choose another out, or delete its folder"
            )
        run.share_data(data)


def _executor(name: str, jobs: int, threads: int, device: str) -> Executor:
    """For 0 jobs, as many as the GPUs take, or one per core, at most 4: small models train faster
    so than on many threads, or one after the other.
    """
    if name == "ray":
        ray.installed()
        return partial(ray.on_ray, threads=threads)
    if name == "stacked":
        return on_stacks
    if not jobs:
        kind = pick_device(device).type
        usual = {"cpu": min(4, usable_cores())}
        if kind == "cuda":
            usual["cuda"] = on_cards() if device in ("auto", "cuda") else 1
        jobs = usual.get(kind, 1)
    if jobs == 1 and not threads:
        return one_by_one
    return partial(side_by_side, jobs=jobs, threads=threads)


HERE: tuple[Executor, ...] = (one_by_one, on_stacks)
"""Executors that train in this process, where each run says itself how far it is."""


def _train(
    grid: Grid,
    folder: Path,
    executor: Executor,
    console: Console,
    mirror: Mirror | None = None,
    held: Any = None,
    share: tuple[int, int] = (1, 1),
) -> None:
    start, total, seen = time.monotonic(), len(grid.entries()), list[str]()
    own = len(range(share[0] - 1, total, share[1]))
    many = f"{own} of {total} runs" if share[1] > 1 else f"{total} runs"
    console.print(f"{many} -> {mirror.url if mirror else folder}", markup=False)
    here = executor in HERE

    def told(i: int, entry: Entry) -> None:
        name = f"[{i + 1}/{total}] {entry.name}"
        failed = entry.status == "failed"
        if not (failed or here or seen):  # all runs are of the same data
            seen.append(entry.name)
            if mirror:
                mirror.fetch(lambda name: name == f"runs/{entry.name}/{RECORD}")
            for line in read_record(folder / "runs" / entry.name)["data"]["read"]["lines"]:
                console.print(line, markup=False)
        if failed or not here:
            done = f"done after {time.monotonic() - start:.0f} s"
            console.print(name, "", f"failed: {entry.reason}" if failed else done, markup=False)

    with _watched(folder, total, None if here or mirror else console):
        try:
            entries = conduct(
                grid,
                folder,
                executor=executor,
                reporter=(lambda *_: progress.Quiet()) if console.quiet else progress.row_reporter,
                told=told,
                mirror=mirror,
                held=held,
                part=share,
            )
        except KeyboardInterrupt as stop:
            raise Interrupted(STOPPED, getattr(stop, "number", signal.SIGINT)) from None
    if entries and all(entry.status == "failed" for entry in entries):
        raise UserError(f"all {own} runs failed, the first because: {entries[0].reason}")


@contextlib.contextmanager
def _watched(folder: Path, total: int, console: Console | None) -> Iterator[None]:
    """Within, it is shown how far all runs together are; None shows nothing.

    On a terminal it is a bar, elsewhere a line a minute.
    """
    if console is None or console.quiet:
        yield
        return
    over = threading.Event()
    tell: Callable[..., None]
    with contextlib.ExitStack() as shown:
        if console.is_terminal:
            bar = shown.enter_context(Progress(*Progress.get_default_columns(), console=console))
            task = bar.add_task("runs", total=total)
            tell = partial(bar.update, task)
        else:
            tell = shown.enter_context(lines(f"{total} runs", total)).reached

        def watch() -> None:
            while not over.wait(1.0):
                tell(completed=sum(map(_share, (folder / "runs").glob("*"))))

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
        epochs = files.read_json(run / RECORD)["config"]["training"]["epochs"]
        done = files.read(run / METRICS).count(b"\n")
    except (UserError, KeyError):
        return 0.0  # it has only begun
    return min(1.0, done / epochs)

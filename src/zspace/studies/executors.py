"""Where the runs of a study are trained: an executor takes tasks and yields how each ended.

Here are three: one run after the other in this process, those that differ in their seed alone
stacked, and processes side by side. The fourth, a Ray cluster, is in `zspace.studies.ray`.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from zspace.models import recipes
from zspace.runs.config import Config
from zspace.runs.record import COPY, RECORD, read_either
from zspace.system import signals
from zspace.system.cores import usable_cores
from zspace.system.errors import UserError
from zspace.system.memory import free
from zspace.system.signals import refused
from zspace.system.storage import CannotReach, Mirror, is_url, mirrored
from zspace.training import api, stacked
from zspace.training.progress import Quiet, Reporter
from zspace.training.trainer import Trainer

STOPPED = "the study is stopped and saved: give the same command again to continue it"


@dataclass(frozen=True)
class Task:
    """One run to train.

    number: in the grid, from 0. folder: of the run, a path or a URL; what is there already is gone
    on with. save_every: seconds between checkpoints, and between copies to a URL. imports: modules
    and files with recipes, for a process of its own. held: the data, where they are held in
    Python; such a task is trained in this process.
    """

    number: int
    name: str
    config: Config
    folder: str
    save_every: float = api.SAVE_SECONDS
    imports: tuple[str, ...] = ()
    held: Any = None

    @property
    def sources(self) -> dict[str, Any] | None:
        """The data that are held in Python, as `zspace.training.api.start` takes them."""
        return None if self.held is None else {"data": self.held}


Ended = tuple[str, str]
"""How a run ended: 'finished' or 'failed', and why it failed."""

Reports = Callable[[int, str], Reporter]
"""(number, name of a run) -> who is told of its steps."""

Ends = Generator[tuple[int, Ended], None, None]
"""The number of each task and how it ended, as they end."""

Executor = Callable[[Sequence[Task], Reports], Ends]
"""Trains tasks.

A run that fails by itself has ended; what else is raised stops the study. Interrupted: the user
asked to stop, and what is running has been told to save. reports: for runs trained in this
process.
"""


GRACE_SECONDS = 10.0
"""How long a process whose parent is gone has for its last step and its checkpoint."""


def found(folder: Path) -> dict[str, Any] | None:
    """What a run's folder says of itself; None where nothing of use was written yet."""
    written = (folder / RECORD).exists() or (folder / COPY).exists()
    return read_either(folder) if written else None


def attempt(task: Task, reporter: Reporter) -> Ended:
    """Train a task, or continue it. A request to stop passes through; other failures are noted."""
    try:
        for target in task.imports:
            recipes.import_recipes(target)
        if is_url(task.folder):
            with mirrored(task.folder) as mirror:
                mirror.fetch()
                try:
                    _train(task, mirror.folder, Sending(reporter, mirror, task.save_every))
                finally:
                    mirror.send()
        else:
            _train(task, Path(task.folder), reporter)
    except Exception as error:  # a study of many hours must not die of one run
        return "failed", str(error) or type(error).__name__
    finally:
        gc.collect()  # a training's objects refer to each other, and to the data set
    return "finished", ""


def _train(task: Task, folder: Path, reporter: Reporter) -> None:
    """Do what is left to do; an attempt before this one may have been killed at any moment."""
    record = found(folder)
    if record is not None and record["status"] == "finished":
        return
    if record is None or record["status"] == "failed":
        shutil.rmtree(folder, ignore_errors=True)
        api.start(task.config, folder, reporter, task.save_every, None, task.sources)
    else:
        named = task.config.training.device
        device = named if ":" in named else ""  # the one of this attempt, not of the last one
        api.resume(
            folder,
            reporter=reporter,
            save_every=task.save_every,
            device=device,
            trust_data=True,
            data=task.held,
        )


class Sending:
    """Tells another reporter, and sends the run's folder to its storage now and then.

    It is told of a step when no file is being written, so what is sent fits together.
    """

    def __init__(self, reporter: Reporter, mirror: Mirror, seconds: float) -> None:
        self.reporter, self.mirror, self.seconds = reporter, mirror, seconds
        self.bars, self.sent_at = reporter.bars, time.monotonic()
        self.start, self.epoch = reporter.start, reporter.epoch
        self.end, self.close = reporter.end, reporter.close

    def step(self, trainer: Trainer) -> None:
        self.reporter.step(trainer)
        if time.monotonic() - self.sent_at < self.seconds:
            return
        try:
            self.mirror.send()
        except CannotReach as error:  # the next copy, or the one at the end, may come through
            warnings.warn(f"{error} (the training continues)", stacklevel=2)
        self.sent_at = time.monotonic()


def one_by_one(tasks: Sequence[Task], reports: Reports) -> Ends:
    """In this process, with all of its threads."""
    for task in tasks:
        yield task.number, attempt(task, reports(task.number, task.name))


def on_stacks(tasks: Sequence[Task], reports: Reports) -> Ends:
    """In this process; runs not begun that differ in their seed alone are trained together.

    Those that cannot be are trained one by one, and one line says why.
    """
    left = list(tasks)
    while left:
        new = [t for t in left if not is_url(t.folder) and found(Path(t.folder)) is None]
        group = [t for t in new if stacked.alike(t.config, left[0].config)] or left[:1]
        left = [task for task in left if task not in group]
        if len(group) > 1:
            try:
                yield from _stacked(group, reports)
                continue
            except stacked.CannotStack as reason:
                warnings.warn(f"{group[0].name} and its other seeds: {reason}", stacklevel=2)
        yield from one_by_one(group, reports)


def _stacked(group: Sequence[Task], reports: Reports) -> Ends:
    """Stacked runs; the reporter of the first is told for all. CannotStack goes through."""
    first = group[0]
    reporters = [reports(first.number, first.name), *(Quiet() for _ in group[1:])]
    configs, folders = [task.config for task in group], [task.folder for task in group]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed attempt left has no record
    try:
        ends = stacked.start(configs, folders, reporters, first.save_every, first.sources)
    except stacked.CannotStack:
        raise
    except Exception as error:  # as in `attempt`
        ends = [UserError(str(error) or type(error).__name__) for _ in group]
    finally:
        gc.collect()
    for task, end in zip(group, ends, strict=True):
        failed = isinstance(end, UserError)
        yield task.number, ("failed", str(end)) if failed else ("finished", "")


def side_by_side(tasks: Sequence[Task], reports: Reports, *, jobs: int, threads: int = 0) -> Ends:
    """In processes of this machine; those that may use a GPU are spread over the GPUs.

    jobs: how many at once, at most one per core. threads: of each; 0 is its share of the cores.
    """
    cores = usable_cores()
    jobs = max(1, min(jobs, len(tasks), cores))
    threads = threads or max(1, cores // jobs)
    others = set(active_children())
    left = list(tasks)
    running: dict[Future[Ended], Task] = {}
    with (
        ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_led) as pool,
        refused(STOPPED),
    ):
        try:
            while left or running:
                while left and len(running) < jobs:  # what is submitted cannot be taken back
                    task = on_a_card(left.pop(0), running.values())
                    running[pool.submit(alone, task, threads)] = task
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future).number, future.result()
        except BaseException as error:
            for child in set(active_children()) - others:
                child.terminate()  # it ends its step, saves and stops
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a process of the study was killed, perhaps for lack of memory: to continue, "
                    "give the same command again, with fewer --jobs"
                ) from None
            raise


def on_a_card(task: Task, running: Collection[Task]) -> Task:
    """The task on the GPU that has the fewest of those that run; as it is where it names one, or
    another device, and where there is no GPU.

    >>> config = run.config
    >>> task = Task(0, "", replace(config, training=replace(config.training, device="cpu")), "")
    >>> on_a_card(task, []) is task
    True
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    training = task.config.training
    if not cards or training.device not in ("auto", "cuda"):
        return task
    taken = Counter(other.config.training.device for other in running)
    card = min((f"cuda:{i}" for i in range(cards)), key=taken.__getitem__)
    return replace(task, config=replace(task.config, training=replace(training, device=card)))


def on_cards() -> int:
    """How many small models train at once on the GPUs of this machine: of each, one for every 5 GB
    of its free memory, from 1 to 8. 0 where there is none.

    A process takes 1 to 3 GB for itself, its data and a small network; with more than 8 the GPU is
    busy.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    room = (free(torch.device("cuda", i)) for i in range(cards))
    return sum(max(1, min(MOST_ON_A_CARD, int(bytes_ // EACH_ON_A_CARD))) for bytes_ in room)


MOST_ON_A_CARD, EACH_ON_A_CARD = 8, 5e9


def _led() -> None:
    """Leave what a terminal sends to children too to the parent; end when it is gone."""
    for number in set(signals.STOPS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """As if told to stop once the parent has been killed: save, or leave at once if idle."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_SECONDS)


def alone(task: Task, threads: int) -> Ended:
    """A task in a process of its own, told to nobody."""
    torch.set_num_threads(threads)
    return attempt(task, Quiet())

"""Train into a run folder; go on after an interruption; train the same again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from zspace.data.readers.objects import PREFIX, noted
from zspace.models.recipes import hyphenated
from zspace.runs.checkpoint import Checkpoints
from zspace.runs.config import Config
from zspace.runs.record import (
    Place,
    Untrusted,
    is_own,
    read_either,
    read_record,
    refuse_strange,
)
from zspace.runs.run import Run, load
from zspace.system import distributed, files
from zspace.system.bars import say
from zspace.system.cores import reading
from zspace.system.errors import UserError, enough_memory, ran_out
from zspace.system.files import locked
from zspace.system.signals import refused
from zspace.training.build import SMALLER, Build
from zspace.training.callbacks import Callback, telling
from zspace.training.continued import Start, onward
from zspace.training.progress import Reporter
from zspace.training.progress import reporter as default_reporter
from zspace.training.recorder import Recorder

SAVE_SECONDS = 30.0
HELD = ("data", "val", "test")
"""Options of the data that may be objects in Python."""
NOTHING_YET = "stopped before the first step, so there is nothing to go on with"


def train(
    recipe: str | None = None,
    *,
    from_run: Run | str | Path | None = None,
    out: str | Path | Literal[False] | None = None,
    quiet: bool = False,
    reporter: Reporter | None = None,
    save_every: float = SAVE_SECONDS,
    workers: int = 0,
    track: str = "none",
    callbacks: Sequence[Callback] = (),
    recipe_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Train a recipe and return the run.

    Arguments:
        recipe: Its name (`zspace recipes` lists them); by default "vae", or that of `from_run`.
        from_run: A finished run, or its folder, to go on from. Its weights, averages over its last
            steps, its encoding of x, and its options of recipe, network and of how samples are
            prepared are taken over; moments and schedules begin anew. Options that its
            weights allow may change: weights of terms, the rate, data of the same shape. The new
            run needs nothing of the old one.
        out: A new folder; by default runs/<name>. False trains in memory and leaves no file; such
            a run cannot be resumed, and `run.save(path)` gives it a folder.
        save_every: Seconds between checkpoints.
        workers: Threads that read files; 0: see `zspace.system.cores.readers`.
        track: none, tensorboard, wandb or mlflow; see `zspace.training.trackers`.
        callbacks: Who is told of the start, of every epoch and of the end: see `zspace.Callback`.
        options: Keywords of the recipe (latent, hidden, ...), of the data (data, data_dir, size,
            binarize, ...; see `zspace.data.DataOptions`) and of the training (epochs, batch, lr,
            seed, ...; see `zspace.runs.settings.Settings`). ``data``, ``val`` and ``test`` are
            names or paths, or what is held in Python: see `zspace.data.load`.
        recipe_options: Keywords of the recipe alone; needed for those that share their name with
            an option of the data or the training.

    Raises UserError for what does not fit, before anything is written, where `out` exists, and
    where a loss is not finite; Interrupted, a KeyboardInterrupt, after a signal to stop.

    >>> small = {"latent": 2, "hidden": (16,), "epochs": 1}
    >>> run = zspace.train("cvae", data=data_path, out=False, quiet=True, **small)
    >>> run.model.latent
    (2,)
    >>> tuned = zspace.train(from_run=run, lr=1e-4, epochs=1, out=False, quiet=True)
    >>> tuned.config.recipe, tuned.config.network["hidden"]
    ('cvae', (16,))
    """
    held = {n: v for n, v in options.items() if n in HELD and not isinstance(v, str | Path)}
    options |= {name: noted(value) for name, value in held.items()}
    config, first = configured(recipe, from_run, options, recipe_options)
    told = telling(reporter or default_reporter(quiet=quiet), callbacks, track)
    with reading(workers):
        return start(config, out, told, save_every, held=held, first=first)


def configured(
    recipe: str | None,
    from_run: Run | str | Path | None,
    options: Mapping[str, Any],
    recipe_options: Mapping[str, Any] | None = None,
) -> tuple[Config, Start | None]:
    """What `train` makes of its keywords: the configuration, and what is taken over from a run."""
    if from_run is None:
        return Config.of(recipe or "vae", options, recipe_options), None
    run = from_run if isinstance(from_run, Run) else load(from_run, "cpu")
    return onward(run, recipe, options, recipe_options), Start.of(run)


@enough_memory(SMALLER)
def start(
    config: Config,
    out: str | Path | Literal[False] | None,
    reporter: Reporter,
    save_every: float,
    fingerprint: str | None = None,
    held: Mapping[str, Any] | None = None,
    first: Start | None = None,
) -> Run:
    """Train a configuration from the beginning, into a new folder or in memory (False).

    fingerprint: what that of the data must be. held: data, val or test that are held in Python.
    first: what is taken over from a finished run, if not what the configuration says.
    """
    _check_seconds(save_every)
    distributed.join()
    if out is False and distributed.size() > 1:
        raise UserError(
            f"out is False, but {distributed.size()} processes train together and read the run "
            "from its folder: give out a path"
        )
    if out is not None and out is not False:
        with files.explained(Path(out)):
            _refuse_existing(Path(out), Path(out).exists())
        config.data.refuse_inside(Path(out))
    with refused(NOTHING_YET) as note_in, ExitStack() as locks:
        build = Build.prepare(config, quiet=not reporter.bars, held=held, start=first)
        if not distributed.first():
            return load(build.follow())
        if fingerprint is not None and build.data.fingerprint != fingerprint:
            raise UserError(
                "the data given are not those of that run: give the same, or use zspace.train"
                if held
                else "the data of that run has changed since: use zspace train"
            )
        if out is False:
            recorder = Recorder(Place(), build, reporter, save_every)
            note_in(recorder.signals)
            return recorder.run()
        folder = claim(config, out, quiet=not reporter.bars)
        try:
            locks.enter_context(alone(folder))
            recorder = Recorder(Place(folder), build, reporter, save_every, kept_in(folder))
            recorder.begin(save=config.from_run is not None)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        note_in(recorder.signals)
        return recorder.run()


def repeat(
    path: str | Path,
    *,
    out: str | Path | Literal[False] | None = None,
    reporter: Reporter | None = None,
    save_every: float | None = None,
    workers: int = 0,
    device: str = "",
    trust_data: bool = False,
    data: Any = None,
    track: str = "",
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train the configuration of a run again, into a new folder or in memory (False).

    Arguments:
        path: The folder of the run.
        out: A new folder; by default runs/<name>.
        save_every: Seconds between checkpoints; by default as in the first training.
        workers: Threads that read files, as in `train`.
        device: Where, if not on the device that the configuration names.
        trust_data: Open the data that the run names, though somebody else chose them.
        data: The same data again, where the run was trained on what was held in Python; a dict of
            data, val and test where several were.
        track: As in `train`; by default as in the first training.
        callbacks: As in `train`.

    Raises UserError where `path` is no run, or the data is no longer the same.

    >>> again = zspace.repeat(run.save("once"), out=False)
    >>> again.config == run.config
    True
    """
    record = read_record(Path(path))
    config, fingerprint = _config(path, record, device, trust_data), record["data"]["fingerprint"]
    held = _again(config, data)
    reporter = telling(reporter or default_reporter(), callbacks, track or _track(record))
    seconds = _seconds(record) if save_every is None else save_every
    with reading(workers):
        return start(config, out, reporter, seconds, fingerprint, held)


@enough_memory(SMALLER)
def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    reporter: Reporter | None = None,
    save_every: float | None = None,
    workers: int = 0,
    device: str = "",
    trust_data: bool = False,
    data: Any = None,
    track: str = "",
    callbacks: Sequence[Callback] = (),
    **others: Any,
) -> Run:
    """Continue a training that was interrupted, bit for bit as if it had not been.

    Arguments:
        path: The folder of the run.
        epochs: So many in all. A run that has finished must have been trained with
            ``keep_state=True``. With ``schedule="constant"`` the result is bit for bit that of so
            many epochs from the first; other schedules of the rate begin anew, with the moments
            that were kept, and weights of terms stay what they were in the end. Of a run that was
            interrupted, rates and weights follow the schedule of so many epochs from there on.
        save_every: Seconds between checkpoints; by default as before.
        workers: Threads that read files, as in `train`.
        device: Where to continue, if not on the kind of device on which it began. Another kind
            adds numbers in another order, and draws others.
        trust_data: Open the data that the run names, though somebody else chose them.
        data: The same data again, as in `repeat`.
        track: As in `train`; by default as before.
        callbacks: As in `train`.
        others: None; an option of training is refused with the way to change it.

    Raises UserError where the run has ended and no more epochs are asked for, or its state was
    not kept, and where the data is no longer the same.

    >>> zspace.resume(run.save("finished"))
    Traceback (most recent call last):
    ...
    zspace.system.errors.UserError: run 'finished' has finished, there is nothing to resume: ...
    """
    if others:
        name = next(iter(others))
        raise UserError(
            f"{name} is no option of resume, which goes on as the training began: to change "
            f"options, use zspace.train(from_run={str(path)!r}, {name}=...)"
        )
    if save_every is not None:
        _check_seconds(save_every)
    distributed.join()
    folder = Path(path)
    on = f"go on with 'zspace resume {path}'"
    with distributed.together():
        _resumable(folder, epochs)
    with reading(workers), alone(folder) if distributed.first() else nullcontext():
        with distributed.together():
            record = _resumable(
                folder, epochs
            )  # once more: whoever held the lock may have ended it
            config = _config(path, record, device, trust_data)
            own = Start.kept(Place(folder), record) if config.from_run else None
            if epochs:
                config = replace(config, training=replace(config.training, epochs=epochs))
            reporter = telling(reporter or default_reporter(), callbacks, track or _track(record))
        with refused(f"stopped before the first step: {on}") as note_in:
            held = _again(config, data)
            build = Build.prepare(config, quiet=not reporter.bars, held=held, start=own)
            with distributed.together():
                if build.data.fingerprint != record["data"].get("fingerprint"):
                    raise UserError(
                        f"the data given are not those of run '{path}': give the same"
                        if held
                        else f"the data of run '{path}' has changed since: train again"
                    )
                checkpoints = kept_in(folder)
                lines = _take_up(build, checkpoints)
                if epochs is not None:
                    _check_more(epochs, build.trainer.epoch, folder)
                    finished = record["status"] == "finished"
                    _extend(build, epochs, finished=finished, quiet=not reporter.bars)
            if not distributed.first():
                return load(build.follow())
            files.remove_parts(folder, folder / "state")
            seconds = _seconds(record) if save_every is None else save_every
            recorder = Recorder(Place(folder), build, reporter, seconds, checkpoints, lines)
            recorder.begin(save=epochs is not None)
            note_in(recorder.signals)
            return recorder.run()


def _extend(build: Build, epochs: int, *, finished: bool, quiet: bool) -> None:
    """Let a training go on to so many epochs, and say how."""
    trainer, settings = build.trainer, build.config.training
    stopped, done = trainer.stopped_early, trainer.epoch
    if finished or stopped:
        trainer.extend(epochs)
    if quiet or not distributed.first():
        return
    how = "with its moments, and the learning rate warmed up again"
    if settings.schedule == "constant" and not (settings.warmup or stopped or trainer.scheduled):
        how = f"as if {epochs} epochs had been given at first"
    elif not trainer.began:
        how = f"with rates and weights of terms, from here on, as those of {epochs} epochs"
    elif not (finished or stopped):
        how = "with rates, from here on, as those of the epochs that are added"
    say(f"going on from epoch {done} to epoch {epochs}, {how}")


def _seconds(record: dict[str, Any]) -> float:
    """What `save_every` was."""
    return record["output"]["save_every"] if "output" in record else SAVE_SECONDS


def _track(record: dict[str, Any]) -> str:
    """The tracker of the training."""
    return record.get("output", {}).get("track", "none")


def _again(config: Config, data: Any) -> dict[str, Any]:
    """What is held in Python, given again. Raises UserError where it is missing."""
    wanted = [n for n in HELD if str(getattr(config.data, n)).startswith(PREFIX)]
    if wanted and data is None:
        kind = getattr(config.data, wanted[0]).removeprefix(PREFIX)
        raise UserError(
            f"this run was trained on data handed over in Python ({kind}): give the same "
            "again, as data=..."
        )
    if not wanted or data is None:
        return {}
    return {n: data[n] for n in wanted} if len(wanted) > 1 else {wanted[0]: data}


def _config(path: str | Path, record: dict[str, Any], device: str, trust_data: bool) -> Config:
    """The configuration of a run, on a device of its own or on this one.

    Raises UserError where its data were chosen by somebody else.
    """
    config = Config.from_json(record["config"])
    if not (trust_data or is_own(record)):
        if config.from_run is not None:
            raise Untrusted(
                f"run '{path}' was not made by you on this machine, and goes on from "
                f"'{config.from_run['path']:.100}': if you trust it, add --trust-data "
                "(trust_data=True)"
            )
        refuse_strange(path, record, None)
        config = replace(config, data=replace(config.data, data_dir=None))
    settings = config.training
    if settings.graph == "on":  # it was recorded on a GPU; where there is none, it need not be
        settings = replace(settings, graph="auto")
    return replace(config, training=replace(settings, device=device or settings.device))


def _resumable(folder: Path, epochs: int | None) -> dict[str, Any]:
    """The record of a run that can go on, to so many epochs where it has finished."""
    record = read_either(folder)
    training, checkpoints = record["config"]["training"], kept_in(folder)
    if record["status"] != "finished":
        return record
    if not training.get("keep_state"):
        checkpoints.remove()  # a kill may have come before
    anew = f"'zspace train {hyphenated(record['config']['recipe'])} --from {folder}'"
    done = record["result"]["epochs"]
    if epochs is None:
        more = f"'zspace resume {folder} --epochs {2 * done}'"
        raise UserError(
            f"run '{folder}' has finished, there is nothing to resume: "
            f"{more if checkpoints.folder.is_dir() else anew} trains on, 'zspace repeat {folder} "
            "--out DIR' trains it again"
        )
    if not list(checkpoints.folder.glob("*.safetensors")):
        raise UserError(
            f"run '{folder}' kept no state to go on from (--keep-state): {anew} goes on from its "
            "weights, into a new run"
        )
    _check_more(epochs, done, folder)
    return record


def _check_more(epochs: int, done: int, folder: Path) -> None:
    if not done < epochs < 2**31:
        raise UserError(
            f"epochs is {epochs}, but run '{folder}' has {done} already: give how many it is to "
            "have in all"
        )


def _take_up(build: Build, checkpoints: Checkpoints) -> list[dict[str, Any]]:
    """Bring the training to where its newest checkpoint is; returns the epochs until then."""
    state = checkpoints.load()
    if state is None:
        return []
    try:
        build.trainer.load_state(state)
        return list(state["lines"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if ran_out(error):
            raise
        raise UserError(
            f"the checkpoints in {checkpoints.folder} do not fit the recipe as this version of "
            "zspace builds it: train again, with zspace repeat"
        ) from None


def kept_in(folder: Path) -> Checkpoints:
    """The checkpoints of the run in this folder."""
    return Checkpoints(folder / "state")


def alone(folder: Path) -> AbstractContextManager[None]:
    """Within, no other process trains into the folder."""
    return locked(
        folder / "state" / "lock",
        f"run '{folder}' is being trained by another process: wait until it ends, or stop it",
    )


def _check_seconds(save_every: float) -> None:
    if not 0 <= save_every < float("inf"):
        raise UserError(f"save_every is {save_every}: give a number of seconds >= 0")


def _refuse_existing(folder: Path, exists: bool) -> None:
    if exists:
        raise UserError(f"'{folder}' exists already: choose another --out, or resume that run")


def _tell_of_same(config: Config, folder: Path) -> None:
    """Say so where a folder holds a run with the same options."""
    try:
        record = read_record(folder)
        same = config.agrees(record["config"])
    except (UserError, KeyError):
        return
    if same and record["status"] == "finished":
        say(
            f"run '{folder}' has the same options already, and this one will be no other: "
            f"'zspace show {folder}' says what it came to, --seed {config.training.seed + 1} "
            "trains another"
        )
    elif same:
        say(
            f"run '{folder}' has the same options, and has not finished: 'zspace resume "
            f"{folder}' goes on with it"
        )


def claim(config: Config, out: str | Path | None, quiet: bool = True) -> Path:
    """Make the run's folder, which must be new; a default one is numbered until it is.

    quiet: Whether nothing is said of runs with the same options.
    """
    number, name = 1, config.folder_name
    while True:
        folder = Path(out or Path("runs") / f"{name}{f'-{number}' if number > 1 else ''}")
        with files.explained(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                _refuse_existing(folder, out is not None)
                if not quiet:
                    _tell_of_same(config, folder)
                number += 1
            else:
                files.sync_folder(folder.parent)
                return folder

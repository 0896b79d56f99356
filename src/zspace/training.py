"""Train into a run folder; go on after an interruption; train the same again."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from zspace import files
from zspace._version import __version__
from zspace.checkpoint import Checkpoints
from zspace.errors import UserError
from zspace.job import Job
from zspace.likelihoods import Bernoulli, bits_per_dimension
from zspace.loop import Fit, evaluate
from zspace.meter import NonFinite
from zspace.progress import Reporter
from zspace.progress import reporter as default_reporter
from zspace.quality import measure
from zspace.runs import FORMAT, Run, read_metrics, read_record
from zspace.session import Session, environment
from zspace.snapshots import Snapshots

SAVE_SECONDS = 30.0


class Interrupted(UserError):
    """The user asked to stop; the training is saved and can go on."""


def train(
    recipe: str = "vae",
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    reporter: Reporter | None = None,
    save_every: float = SAVE_SECONDS,
    **options: Any,
) -> Run:
    """Train a recipe and return the run.

    recipe: its name (`zspace recipes` lists them). out: a new folder; by default runs/<name>.
    save_every: seconds between checkpoints. options: keywords of the recipe (latent, hidden, ...),
    of the data (data, data_dir, size, binarize, ...; see `zspace.data.DataOptions`) and of the
    training (epochs, batch, lr, seed, ...; see `zspace.settings.Settings`).

    Raises UserError for what does not fit, before anything is written, and where `out` exists.

        run = zspace.train("cvae", data="mnist5k", latent=20)
    """
    return start(
        Job.of(recipe, options), out, reporter or default_reporter(quiet=quiet), save_every
    )


def start(
    job: Job,
    out: str | Path | None,
    reporter: Reporter,
    save_every: float,
    fingerprint: str | None = None,
) -> Run:
    """Train a job from the beginning into a new folder; `fingerprint`: what the data must be."""
    _check_seconds(save_every)
    if out is not None:
        with files.explained(Path(out)):
            _refuse_existing(Path(out), Path(out).exists())
        job.data.refuse_inside(Path(out))
    session = Session.prepare(job, quiet=not reporter.bars)
    if fingerprint not in (None, session.data.fingerprint):
        raise UserError("the data of that run has changed since: train anew, with zspace train")
    folder = _claim(job, out)
    try:
        training = Training(folder, session, reporter, save_every, {})
        training.begin()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return training.run()


def repeat(
    path: str | Path,
    *,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
    save_every: float = SAVE_SECONDS,
) -> Run:
    """Train the job of a run again, into a new folder.

    Raises UserError where `path` is no run, or the data is no longer the same.
    """
    record = read_record(Path(path))
    job, fingerprint = Job.from_json(record["job"]), record["data"]["fingerprint"]
    return start(job, out, reporter or default_reporter(), save_every, fingerprint)


def resume(
    path: str | Path, *, reporter: Reporter | None = None, save_every: float = SAVE_SECONDS
) -> Run:
    """Go on with a training that was interrupted, bit for bit as if it had not been.

    Raises UserError where the run has ended, or the data is no longer the same.
    """
    _check_seconds(save_every)
    folder, reporter = Path(path), reporter or default_reporter()
    record = read_record(folder)
    if record["status"] == "finished":
        raise UserError(
            f"run '{path}' has finished, there is nothing to resume: 'zspace repeat {path} "
            "--out DIR' trains it again"
        )
    session = Session.prepare(Job.from_json(record["job"]), quiet=not reporter.bars)
    if session.data.fingerprint != record["data"]["fingerprint"]:
        raise UserError(f"the data of run '{path}' has changed since: train anew")
    for half_written in [*folder.glob(f".*{files.PART}"), *folder.glob(f"state/.*{files.PART}")]:
        half_written.unlink()
    checkpoints = Checkpoints(folder / "state")
    state = checkpoints.load()
    if state is not None:
        session.fit.load_state(state)
    training = Training(folder, session, reporter, save_every, record["files"], checkpoints)
    training.begin()
    return training.run()


def _check_seconds(save_every: float) -> None:
    if not 0 <= save_every < float("inf"):
        raise UserError(f"save_every is {save_every}: give a number of seconds >= 0")


def _refuse_existing(folder: Path, exists: bool) -> None:
    if exists:
        raise UserError(f"'{folder}' exists already: choose another --out, or resume that run")


def _claim(job: Job, out: str | Path | None) -> Path:
    """Make the run's folder, which must be new; a default one is numbered until it is."""
    number = 1
    while True:
        folder = Path(out or Path("runs") / f"{job.name}{f'-{number}' if number > 1 else ''}")
        with files.explained(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                _refuse_existing(folder, out is not None)
                number += 1
            else:
                return folder


class Training:
    """One training into one folder: metrics, checkpoints, best weights, run.json."""

    def __init__(
        self,
        folder: Path,
        session: Session,
        reporter: Reporter,
        save_every: float,
        written: dict[str, str],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.folder, self.session, self.fit = folder, session, session.fit
        self.reporter, self.save_every = reporter, save_every
        self.checkpoints = checkpoints or Checkpoints(folder / "state")
        self.files = dict(written)
        self.snapshots = Snapshots(folder / "snapshots.npz", session.data, session.fit)
        self.saved_best, self.saved_at = 0, time.monotonic()
        self.signals: list[int] = []
        self.fit.on_step = self._after_step
        self.before = read_metrics(folder / "metrics.jsonl")[: self.fit.epoch]

    def begin(self) -> None:
        """Write the first files: from now on the run can be resumed."""
        lines = "".join(json.dumps(line) + "\n" for line in self.before)
        files.write(self.folder / "metrics.jsonl", lines.encode())
        self._note("running")

    def run(self) -> Run:
        """Train to the end. On a failure or a signal the best weights so far are kept."""
        self.reporter.start(self._record("running"), self.fit)
        try:
            with _signals_to(self.signals):
                for epoch in self.fit.epochs():
                    self._append(asdict(epoch))
                    self.snapshots.take(self.fit)
                    self.reporter.epoch(epoch, self.fit)
                    self._save_if_due()
            return self._finish()
        except NonFinite as error:
            raise self._failed(error) from None
        except files.CannotWrite as error:
            again = f"'zspace resume {self.folder}' goes on once that is mended"
            raise UserError(f"{error}; {again}") from None
        finally:
            self.reporter.close()

    def _after_step(self, fit: Fit) -> None:
        self.reporter.step(fit)
        if self.signals:
            self._save()
            self._note("interrupted")
            raise Interrupted(
                f"stopped at step {fit.step} and saved: go on with 'zspace resume {self.folder}'"
            )
        self._save_if_due()

    def _save_if_due(self) -> None:
        if time.monotonic() - self.saved_at >= self.save_every:
            self._save()

    def _save(self) -> None:
        self.checkpoints.save(self.fit.state(), self.fit.step)
        self._save_best()
        self.saved_at = time.monotonic()

    def _save_best(self) -> None:
        if self.fit.best_epoch > self.saved_best:
            name = "model.safetensors"
            self.files[name] = files.write_tensors(self.folder / name, self.fit.best)
            self.saved_best = self.fit.best_epoch
            self._note("running")

    def _append(self, line: dict[str, Any]) -> None:
        with files.explained(self.folder), (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _failed(self, error: NonFinite) -> UserError:
        self._save_best()
        self._note("failed", reason=str(error))
        kept = (
            f"the weights of epoch {self.fit.best_epoch} are kept in '{self.folder}'"
            if self.fit.best_epoch
            else "no epoch was finished"
        )
        return UserError(f"{error} ({kept}): try a lower --lr, or --clip 1")

    def _finish(self) -> Run:
        self._save_best()
        fit = self.fit
        fit.model.load_state_dict(fit.best)
        objective = fit.players[0].objective
        terms = {
            name: evaluate(fit.model, objective, b) for name, b in self.session.splits.items()
        }
        lines = read_metrics(self.folder / "metrics.jsonl")
        test = self.session.splits["test"]
        quality = measure(fit.model, test.epoch(0), most=len(test.samples))
        result = {
            "epochs": fit.epoch,
            "best_epoch": fit.best_epoch,
            "seconds": sum(line["seconds"] for line in lines),
            **terms,
            **({"quality": {"test": quality}} if quality else {}),
            **self._bits(terms),
        }
        self._note("finished", result=result)
        self.checkpoints.remove()
        self.reporter.end(self._record("finished", result=result))
        run = Run(self.folder)
        run.own_data = self.session.data
        return run

    def _bits(self, terms: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        """Bits per dimension, a bound, where p(x|z) is a probability of discrete pixels."""
        likelihood = getattr(self.fit.model, "likelihood", None)
        binary = self.session.job.data.binarize != "none"
        if not (isinstance(likelihood, Bernoulli) and binary) and not getattr(
            likelihood, "discrete", False
        ):
            return {}
        nats = {split: bound(values) for split, values in terms.items()}
        shape = self.session.data.spec.shape
        bits = {s: bits_per_dimension(n, shape) for s, n in nats.items() if n is not None}
        return {"bits_per_dimension": bits} if bits else {}

    def _note(self, status: str, **more: Any) -> None:
        files.write_json(self.folder / "run.json", self._record(status, **more))

    def _record(self, status: str, **more: Any) -> dict[str, Any]:
        model = self.session.recipe.model
        return {
            "format": FORMAT,
            "zspace": __version__,
            "status": status,
            "path": str(self.folder),
            "job": self.session.job.to_json(),
            "data": self.session.facts(),
            "parameters": sum(p.numel() for p in model.parameters()),
            "objectives": [player.objective.shown() for player in self.fit.players],
            "environment": environment(self.fit.device),
            "files": self.files,
            **more,
        }


def bound(terms: Mapping[str, float]) -> float | None:
    """The negative bound on log p(x) among these terms, in nats; None where there is none."""
    if "iwae" in terms:
        return terms["iwae"]
    error = terms.get("nll", terms.get("bce"))
    return None if error is None or "kl" not in terms else error + terms["kl"]


@contextlib.contextmanager
def _signals_to(received: list[int]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM are noted in the list; a second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGINT, signal.SIGTERM)
    before = {s: signal.getsignal(s) for s in both if signal.getsignal(s) != signal.SIG_IGN}

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for s, handler in before.items():
            signal.signal(s, handler)

    for s in before:
        signal.signal(s, note)
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)

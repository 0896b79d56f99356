"""One training from its start to its end: what is written on the way, and what is told."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zspace._version import __version__
from zspace.analysis.latents import collapse_of
from zspace.analysis.likelihood import dimensions
from zspace.analysis.reconstruction import reconstruction_quality
from zspace.analysis.trained import TrainedModel
from zspace.data.kinds.image import QUALITY
from zspace.models import recipes
from zspace.models.likelihoods import Bernoulli
from zspace.models.recipes import Player
from zspace.runs.checkpoint import Checkpoints
from zspace.runs.record import (
    CONFIG,
    COPY,
    ENCODING,
    FORMAT,
    METRICS,
    RECORD,
    WEIGHTS,
    Place,
    chosen_data,
)
from zspace.runs.run import Run
from zspace.runs.toml_file import to_toml
from zspace.sharing import card
from zspace.system import distributed, files, owner
from zspace.system.bars import lines, say
from zspace.system.device import environment
from zspace.system.errors import NotMeasured, UserError
from zspace.system.signals import Interrupted
from zspace.training.build import Build
from zspace.training.callbacks import Telling
from zspace.training.meter import NonFinite
from zspace.training.optimizer import restore
from zspace.training.progress import Reporter
from zspace.training.snapshots import Snapshots
from zspace.training.trainer import Epoch, Trainer, evaluate

NOT_KEPT = "nothing is kept of a training in memory: give out= to keep what was reached"


class Recorder:
    """One training from its start to its end: metrics, checkpoints, best weights, run.json.

    Arguments:
        place: Where the run is. In memory it is written once, in the end.
        build: The run made ready.
        reporter: Who is told of steps and epochs.
        save_every: Seconds between checkpoints.
        checkpoints: Of the run, or None where it is in memory: then it cannot be resumed.
        lines: Of metrics.jsonl, of the epochs before; each checkpoint holds them, too.
    """

    def __init__(
        self,
        place: Place,
        build: Build,
        reporter: Reporter,
        save_every: float,
        checkpoints: Checkpoints | None = None,
        lines: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.place, self.build, self.trainer = place, build, build.trainer
        self.reporter, self.save_every = reporter, save_every
        self.checkpoints, self.lines = checkpoints, list(lines)
        self.files: dict[str, str] = {}
        self.snapshots = Snapshots(place, build.data, build.trainer)
        self.saved_best, self.saved_at = 0, time.monotonic()
        self.signals: list[int] = []

    def begin(self, *, save: bool = False) -> None:
        """Write the first files of a folder: from now on the run can be resumed.

        save: Write a checkpoint, too, where what the training begins with is nowhere else.
        """
        self._write_encoding()
        if self.checkpoints:
            limits = files.not_promised(self.place.folder or Path()) if self.reporter.bars else ""
            if limits:
                say(limits)
            if save:
                self._checkpoint(self.checkpoints)
            self._write_metrics()
            self._save_best()
            self._write_config()
            self._note("running")
            self.place.write(COPY, *files.sealed_json(self.record("running")))

    def run(self) -> Run:
        """Train to the end. On a failure or a signal the best weights so far are kept.

        Whoever calls this notes signals in `signals`.
        """
        try:
            self.reporter.start(self.record("running"), self.trainer)
            for epoch in self.trainer.epochs(self.after_step):
                self.after_epoch(epoch)
            return self.finish()
        except NonFinite as error:
            raise self.failed(error) from None
        except files.CannotWrite as error:
            raise self.unwritable(error) from None
        except Interrupted:
            raise
        except KeyboardInterrupt:
            if not self.signals:
                raise
            raise Interrupted(
                f"stopped at once: {self._way} goes on from what was saved last"
                if self.checkpoints
                else f"stopped at once; {NOT_KEPT}"
            ) from None
        finally:
            self.reporter.close()

    def _write_encoding(self) -> None:
        if self.build.data.encoding is not None:
            facts, tensors = self.build.data.encoding.to_files()
            told = files.sealed_json(facts), files.sealed_tensors(tensors, {})
            for name, content in zip(ENCODING, told, strict=True):
                self.files[name] = self.place.write(name, *content)

    def _write_config(self) -> None:
        """Write what trains this run again, as a file for people."""
        self.place.write(CONFIG, to_toml(self.build.config).encode())

    def after_epoch(self, epoch: Epoch) -> None:
        """Write and tell what an epoch came to; save, or stop, where that is due."""
        self._append(asdict(epoch))
        self.snapshots.take(self.trainer)
        self.reporter.epoch(epoch, self.trainer)
        self._save_if_due()

    def unwritable(self, error: files.CannotWrite) -> UserError:
        """What the user is told where the system refuses to write."""
        return UserError(f"{error}; {self._way} goes on once that is mended")

    @property
    def _way(self) -> str:
        return f"'zspace resume {self.place}'"

    def after_step(self, trainer: Trainer) -> None:
        """Tell of a step; save, or stop, where that is due."""
        self.reporter.step(trainer)
        self._save_if_due()

    def _stop_if_asked(self, number: int) -> None:
        """number: of the signal, 0 for none."""
        if number:
            said = f"stopped at step {self.trainer.step}"
            if self.checkpoints is None:
                raise Interrupted(f"{said}; {NOT_KEPT}", number)
            self._save(self.checkpoints)
            self._note("interrupted")
            raise Interrupted(f"{said} and saved: go on with {self._way}", number)

    def _save_if_due(self) -> None:
        self._stop_if_asked(distributed.largest(self._signal()))
        if self.checkpoints and time.monotonic() - self.saved_at >= self.save_every:
            self._save(self.checkpoints)

    def _signal(self) -> int:
        return max(self.signals, default=0)

    def _checkpoint(self, checkpoints: Checkpoints) -> None:
        checkpoints.save({**self.trainer.state(), "lines": self.lines}, self.trainer.step)

    def _save(self, checkpoints: Checkpoints) -> None:
        self._checkpoint(checkpoints)
        if self._save_best():
            self._note("running")
        self.saved_at = time.monotonic()

    def _save_best(self) -> bool:
        """Write the best weights where they are not written yet; returns whether it did."""
        if self.trainer.best_epoch <= self.saved_best:
            return False
        content = files.sealed_tensors(self.trainer.best, {})
        self.files[WEIGHTS] = self.place.write(WEIGHTS, *content)
        self.saved_best = self.trainer.best_epoch
        return True

    def _append(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self.place.folder is None:
            return
        with files.explained(self.place.folder):
            handle = files.opened(self.place.named(METRICS), flags=os.O_WRONLY | os.O_APPEND)
            with open(handle, "a") as file:
                file.write(json.dumps(line) + "\n")

    def _write_metrics(self) -> str:
        lines = "".join(json.dumps(line) + "\n" for line in self.lines)
        return self.place.write(METRICS, lines.encode())

    def failed(self, error: NonFinite) -> UserError:
        """Keep the best weights so far and note the failure; returns what the user is told."""
        if self.checkpoints is None:
            return UserError(f"{error} ({NOT_KEPT}): try a lower --lr")
        self._save_best()
        self._note("failed", reason=str(error))
        kept = (
            f"the weights of epoch {self.trainer.best_epoch} are kept in '{self.place}'"
            if self.trainer.best_epoch
            else "no epoch was finished"
        )
        return UserError(f"{error} ({kept}): try a lower --lr")

    def finish(self) -> Run:
        """Measure every split at the best weights and note the end; returns the run."""
        if self.checkpoints is None:
            self._write_encoding()
            self._write_config()
        self._save_best()
        trainer, kept = self.trainer, self.trainer.settings.keep_state
        if self.checkpoints and kept:
            self._checkpoint(self.checkpoints)
        restore(trainer.model, trainer.best)  # a state saved from now on serves nothing else
        objective = trainer.players[0].objective
        terms = {}
        test = self.build.splits["test"]
        with lines("measuring the best weights", quiet=not self.reporter.bars):
            for name, batches in self.build.splits.items():
                self._stop_if_asked(self._signal())  # the other ranks are done
                terms[name] = evaluate(
                    trainer.model, objective, batches, batch=trainer.estimated_in
                )
            quality = reconstruction_quality(
                trainer.model, test.epoch(0), most=len(test.samples), measure=trainer.measure
            )
        result = {
            "epochs": trainer.epoch,
            "best_epoch": trainer.best_epoch,
            "seconds": sum(line["seconds"] for line in self.lines),
            **terms,
            **({"quality": {"test": quality}} if quality else {}),
            "about": self._about(list(quality)),
            **self._bits(terms),
            **self._estimated(),
            "warnings": self._warnings(),
        }
        self.files[METRICS] = self._write_metrics()
        self._note("finished", result=result)
        if self.checkpoints and not kept:
            self.checkpoints.remove()
        self.reporter.end(self.record("finished", result=result))
        distributed.told(str(self.place))
        run = Run(self.place, str(trainer.device), self.build.data)
        with contextlib.suppress(NotMeasured):  # too few codes: nothing can be drawn
            run.fit(self.build.data, quiet=not self.reporter.bars)
        with contextlib.suppress(files.CannotWrite):  # the run is whole without it
            card.write(run)
        return run

    def _about(self, quality: Sequence[str]) -> dict[str, dict[str, str]]:
        """What each number is, in words, and with which code it was measured."""
        build, config = self.build, self.build.config
        model = TrainedModel(
            build.recipe,
            build.data.spec,
            name=config.recipe,
            batch=self.trainer.batch,
            binarize=config.data.binarize,
        )
        drawn = model.traits.variational
        terms = {k: f for p in build.recipe.players for k, f in p.objective.facts.items()}
        encoding = self.build.data.encoding
        known = QUALITY if encoding is None else encoding.facts
        return {
            "terms": {name: fact.named(drawn) for name, fact in terms.items()},
            "quality": {name: known[name].named(drawn) for name in quality},
        }

    def _bits(self, terms: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        """Bits per dimension, or token, a bound, where p(x|z) is a probability of discrete x."""
        likelihood = getattr(self.trainer.model, "likelihood", None)
        binary = self.build.config.data.binarize != "none"
        if not (isinstance(likelihood, Bernoulli) and binary) and not getattr(
            likelihood, "discrete", False
        ):
            return {}
        objective = self.trainer.players[0].objective
        nats = {split: objective.bound(values) for split, values in terms.items()}
        data = self.build.data
        sizes = {split: dimensions(data.spec, data.splits[split]) for split in nats}
        bits = {s: n / (math.log(2) * sizes[s]) for s, n in nats.items() if n is not None}
        return {"bits_per_dimension": bits} if bits else {}

    def _warnings(self) -> list[str]:
        """Sentences on what the training came to; test images decide."""
        collapsed = collapse_of(self.trainer.model, self.build.splits["test"].epoch(0))
        return [collapsed] if collapsed else []

    def _estimated(self) -> dict[str, dict[str, int]]:
        """Of each split, the samples in a batch that estimates were made from, if there are any.

        A split with fewer samples than a batch has is one batch.
        """
        if not self.trainer.players[0].objective.estimates:
            return {}
        size = self.trainer.estimated_in
        of = {name: min(size, len(b.samples)) for name, b in self.build.splits.items()}
        return {"estimated_in_batches_of": of}

    def _sources(self) -> dict[str, Path]:
        """The files that hold zspace, and the recipe where that is not zspace's own."""
        function = recipes.find(self.build.config.recipe)
        own = None if recipes.source_of(function) is None else inspect.getsourcefile(function)
        found = {"zspace": Path(recipes.__file__)}
        return {**found, "recipe": Path(own).resolve()} if own and Path(own).is_file() else found

    def _player(self, player: Player) -> dict[str, Any]:
        """How a player moves."""
        settings = self.trainer.settings
        return {
            "start": player.start,
            "steps": player.steps,
            "lr": player.lr or settings.lr,
            "betas": player.betas or settings.betas,
            "clip": settings.clip if player.clip is None else player.clip,
        }

    def _note(self, status: str, **more: Any) -> None:
        self.place.write(RECORD, *files.sealed_json(self.record(status, **more)))

    def record(self, status: str, **more: Any) -> dict[str, Any]:
        """What run.json holds."""
        model, config = self.build.recipe.model, self.build.config.to_json()
        return {
            "format": FORMAT,
            "zspace": __version__,
            "status": status,
            "path": str(self.place),
            "config": config,
            "mark": owner.mark(chosen_data(config["data"])),
            "output": {
                "save_every": self.save_every,
                "track": self.reporter.track if isinstance(self.reporter, Telling) else "none",
            },
            "data": self.build.facts(),
            "parameters": sum(p.numel() for p in model.parameters()),
            "objectives": [player.objective.final_weights() for player in self.trainer.players],
            "players": [self._player(player) for player in self.trainer.players],
            "best": self.trainer.criterion or "last epoch",
            "environment": environment(self.trainer.device, **self._sources()),
            "files": self.files,
            **more,
        }

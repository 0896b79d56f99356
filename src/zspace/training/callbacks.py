"""What is called while a training runs: callbacks of one's own, and trackers, which are some.

    run = zspace.train("vae", callbacks=[Mine()])          # three methods, all of them optional
    run = zspace.train("vae", track="tensorboard")         # zspace.training.trackers

They are told after zspace has written what it writes, on the first of several processes alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from zspace.system.errors import UserError
from zspace.training.progress import Reporter
from zspace.training.trainer import Epoch, Trainer


class Callback:
    """What is told of a training; a class of your own overrides what it wants to hear.

    What it raises ends the training, which can then be resumed. It may read the model, whose
    average over steps is in place within ``trainer.average.used()``, but must not train it.

    >>> class Shown(zspace.Callback):
    ...     def on_epoch(self, epoch, trainer):
    ...         print(epoch.number, sorted(epoch.validation))
    >>> small = {"latent": 2, "hidden": (16,), "epochs": 1, "quiet": True, "out": False}
    >>> run = zspace.train("vae", data=data_path, callbacks=[Shown()], **small)
    1 ['kl', 'mse', 'objective']
    """

    def on_start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        """Before the first step, also of a training that is resumed.

        Arguments:
            facts: What run.json says: config, data, parameters, path ...
            trainer: The training: model, epoch, step, total_steps ...
        """

    def on_epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        """After an epoch.

        Arguments:
            epoch: Its number, and every term on the training and the validation set.
            trainer: The training.
        """

    def on_end(self, facts: Mapping[str, Any]) -> None:
        """Once, however the training ends.

        Arguments:
            facts: As `on_start` had them; status is "finished", and result is there, or "stopped".
        """


class Telling:
    """A reporter that tells callbacks, too.

    Arguments:
        reporter: Who is told first.
        callbacks: Who is told then.
        track: The name of the tracker among them, which a resumed training takes up.
    """

    def __init__(
        self, reporter: Reporter, callbacks: Sequence[Callback], track: str = "none"
    ) -> None:
        self.reporter, self.callbacks, self.track = reporter, list(callbacks), track
        self.bars, self.step = reporter.bars, reporter.step
        self.begun: dict[str, Any] | None = None

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self.reporter.start(facts, trainer)
        self.begun = dict(facts)
        for callback in self.callbacks:
            callback.on_start(facts, trainer)

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self.reporter.epoch(epoch, trainer)
        for callback in self.callbacks:
            callback.on_epoch(epoch, trainer)

    def end(self, facts: Mapping[str, Any]) -> None:
        self.reporter.end(facts)
        self._ended(facts)

    def close(self) -> None:
        self.reporter.close()
        if self.begun is not None:
            self._ended({**self.begun, "status": "stopped"})

    def _ended(self, facts: Mapping[str, Any]) -> None:
        self.begun = None
        for callback in self.callbacks:
            callback.on_end(facts)


def telling(
    reporter: Reporter, callbacks: Sequence[Callback] = (), track: str = "none"
) -> Reporter:
    """A reporter that tells callbacks and a tracker; the reporter itself where there are none.

    Raises UserError for an unknown tracker, one that is not installed, and what is no `Callback`.
    """
    from zspace.training.trackers import tracker

    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(
                f"callbacks hold {callback!r:.60}, which is no zspace.Callback: give instances of "
                "classes that inherit from it"
            )
    every = [*callbacks, *([] if track == "none" else [tracker(track)])]
    return Telling(reporter, every, track) if every else reporter


class Guarded(Callback):
    """A callback of which no failure ends a training: one warning, and it is told nothing more.

    Subclasses override `begin`, `take` and `finish`.
    """

    name = "callback"

    def __init__(self) -> None:
        self.failed = False

    def on_start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self._safely(self.begin, facts, trainer)

    def on_epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self._safely(self.take, epoch, trainer)

    def on_end(self, facts: Mapping[str, Any]) -> None:
        self._safely(self.finish, facts)

    def _safely(self, tell: Any, *told: Any) -> None:
        if self.failed:
            return
        try:
            tell(*told)
        except Exception as error:  # of a package, of a server, of a disk
            self.failed = True
            first = (str(error) or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"{self.name} failed and is told nothing more ({type(error).__name__}: "
                f"{first:.200}); the training continues",
                stacklevel=4,
            )

    def begin(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        """As `on_start`."""

    def take(self, epoch: Epoch, trainer: Trainer) -> None:
        """As `on_epoch`."""

    def finish(self, facts: Mapping[str, Any]) -> None:
        """As `on_end`."""

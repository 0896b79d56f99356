"""What a training says while it runs: a bar on a terminal, lines elsewhere, JSON, or nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any, Protocol, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from zspace.analysis.likelihood import UNITS
from zspace.analysis.numbers import terms_text
from zspace.data.account import CALLED
from zspace.models.recipes import hyphenated
from zspace.runs.config import OWN, RESERVED
from zspace.system.bars import EVERY, time_text
from zspace.system.signals import Unheard
from zspace.training.pace import Clock, Pace
from zspace.training.trainer import Epoch, Trainer

LINE_SECONDS = 10.0


def stderr(**options: Any) -> Console:
    """Standard error, on which a training goes on speaking where nobody listens any more."""
    return Console(file=cast(IO[str], Unheard(sys.stderr)), highlight=False, **options)


class Reporter(Protocol):
    """Told of each moment of a training. bars: whether other progress may be shown, too."""

    bars: bool

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None: ...

    def step(self, trainer: Trainer) -> None: ...

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None: ...

    def end(self, facts: Mapping[str, Any]) -> None: ...

    def close(self) -> None:
        """Called however the training ends."""


class Quiet:
    """Says nothing."""

    bars = False

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None: ...

    def step(self, trainer: Trainer) -> None: ...

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None: ...

    def end(self, facts: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class JsonLines(Quiet):
    """One JSON object per line on standard output: the start, the pace, every epoch, the end."""

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self._line({"event": "start", **facts})
        self.clock = Clock(trainer)
        self._pace(trainer, trainer.pace)

    def step(self, trainer: Trainer) -> None:
        self._pace(trainer, self.clock.step(trainer))

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self._pace(trainer, self.clock.epoch(trainer))
        self._line({"event": "epoch", **asdict(epoch)})

    def _pace(self, trainer: Trainer, pace: Pace | None) -> None:
        if pace is not None:
            self._line({"event": "pace", "seconds": pace.left(trainer), **asdict(pace)})

    def end(self, facts: Mapping[str, Any]) -> None:
        self._line({"event": "end", **facts})

    def _line(self, facts: Mapping[str, Any]) -> None:
        print(json.dumps(facts), file=cast(IO[str], Unheard(sys.stdout)), flush=True)


class Lines(Quiet):
    """Plain lines, for output that is no terminal.

    After the first steps, how long it will take; an epoch at most every ten seconds, and within a
    long one a line a minute.
    """

    bars = True

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or stderr(soft_wrap=True)
        self.last = 0.0

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self._data(facts)
        self._say(headline(facts))
        self._begin(trainer)

    def _data(self, facts: Mapping[str, Any]) -> None:
        """Say what was read of the data."""
        for line in facts["data"]["read"]["lines"]:
            self.console.print(line, markup=False)

    def _begin(self, trainer: Trainer) -> None:
        self.last = time.monotonic()
        self.clock, self.began = Clock(trainer), (self.last, trainer.step)
        self._pace(trainer, trainer.pace)

    def step(self, trainer: Trainer) -> None:
        self._pace(trainer, self.clock.step(trainer))
        now, (then, first) = time.monotonic(), self.began
        if now - self.last > EVERY:
            self.last = now
            left = (now - then) / (trainer.step - first) * (trainer.total_steps - trainer.step)
            self._say(
                f"epoch {min(trainer.epoch + 1, trainer.settings.epochs or 1)}"
                f"/{trainer.settings.epochs}  step {trainer.position:,}/{len(trainer.train):,}  "
                f"about {time_text(left)} left"
            )

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self._pace(trainer, self.clock.epoch(trainer))
        last = epoch.number == trainer.settings.epochs or trainer.stopped_early
        if last or epoch.number == 1 or time.monotonic() - self.last > LINE_SECONDS:
            self.last = time.monotonic()
            self._say(
                f"epoch {epoch.number}/{trainer.settings.epochs}  "
                f"validation {terms_text(epoch.validation)}  "
                f"{epoch.samples_per_second:,.0f} samples/s"
            )

    def end(self, facts: Mapping[str, Any]) -> None:
        self._say(closing(facts))

    def _pace(self, trainer: Trainer, pace: Pace | None) -> None:
        if pace is not None and trainer.step < trainer.total_steps:
            self.last = time.monotonic()
            self._say(pace.told(trainer))

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)


class Bar(Lines):
    """A progress bar: epoch, validation terms, samples per second, time left."""

    def __init__(self) -> None:
        super().__init__(stderr())
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[terms]}"),
            console=self.console,
        )

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self._say(headline(facts))
        if trainer.pace:
            self._say(trainer.pace.told(trainer))
        self._open(facts, trainer)

    def _open(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        self.samples = facts["data"]["train"] / len(trainer.train)
        self.task = self.progress.add_task(
            self._label(trainer),
            total=trainer.total_steps,
            completed=trainer.step,
            terms="",
            rate=0.0,
        )
        self.mark = (time.monotonic(), trainer.step)
        self.progress.start()

    def step(self, trainer: Trainer) -> None:
        now, (then, step) = time.monotonic(), self.mark
        if now - then > 0.2:
            rate = (trainer.step - step) / (now - then) * self.samples
            self.mark = (now, trainer.step)
            self.progress.update(self.task, completed=trainer.step, rate=rate)

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self.progress.update(
            self.task,
            completed=trainer.step,
            description=self._label(trainer),
            terms=self._terms(epoch.validation),
        )

    def close(self) -> None:
        self.progress.stop()

    def end(self, facts: Mapping[str, Any]) -> None:
        self.progress.stop()
        super().end(facts)

    def _terms(self, terms: Mapping[str, float]) -> str:
        """All terms where there is room, else only what is minimised."""
        wide = self.console.width >= 110
        return f"validation {terms_text(terms)}" if wide else f"{terms['objective']:.2f}"

    def _label(self, trainer: Trainer) -> str:
        epochs = trainer.settings.epochs
        return f"epoch {min(trainer.epoch + 1, epochs or 1)}/{epochs}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:,.0f} samples/s", style="cyan")


def headline(facts: Mapping[str, Any]) -> str:
    """What is being trained, on what, where to; and options of the recipe that share a name."""
    data, settings = facts["data"], facts["config"]["training"]
    compiled = ", compiled" if settings["compile"] == "on" else ""
    shape = "×".join(map(str, data["shape"]))
    unit = {"table": " numbers", "tokens": " tokens at most"}.get(data["kind"], "")
    what = f"{CALLED[data['kind']][1]} of {shape}{unit}"
    own = facts["config"]["recipe_options"].items()
    told = ", ".join(f"{OWN}{name} is {value}" for name, value in own if name in RESERVED)
    clash = f"\n{told}: of the recipe, not of the data or the training" if told else ""
    return (
        f"{hyphenated(facts['config']['recipe'])} with {facts['parameters']:,} parameters "
        f"on {data['name']}: "
        f"{data['train']:,} train / {data['validation']:,} validation / {data['test']:,} test "
        f"{what}, {settings['device']} in "
        f"{settings['precision']}{compiled} -> {facts['path']}{clash}"
    )


def closing(facts: Mapping[str, Any]) -> str:
    """What came out, in one line, and one for each warning."""
    result = facts["result"]
    early = " (stopped early)" if result["epochs"] < facts["config"]["training"]["epochs"] else ""
    seconds = result["seconds"]
    bits = result.get("bits_per_dimension", {}).get("test")
    unit = UNITS.get(facts["data"].get("kind", "image"), "dimension")
    honest = f"   {bits:.3f} bits per {unit} on test" if bits is not None else ""
    return (
        f"best epoch {result['best_epoch']} of {result['epochs']}{early}, "
        f"{seconds:.{0 if seconds >= 10 else 1}f} s:  "
        f"validation {terms_text(result['validation'])}   test {terms_text(result['test'])}"
        f"{honest}{''.join(f'{chr(10)}warning: {text}' for text in result.get('warnings', ()))}"
    )


def reporter(*, quiet: bool = False, json_lines: bool = False) -> Reporter:
    """The one that suits: JSON or quiet if asked for, a bar on a terminal, lines elsewhere."""
    if json_lines:
        return JsonLines()
    if quiet:
        return Quiet()
    return Bar() if sys.stderr.isatty() else Lines()


class Row(Bar):
    """One run of several: a bar while it trains, and one line when it is done."""

    def __init__(self, number: int, total: int, name: str) -> None:
        super().__init__()
        self.progress.live.transient = True
        self.name, self.first = f"[{number}/{total}] {name}", number == 1
        self.console.print(f"{self.name} ...", markup=False, end="\r")

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        if self.first:  # all of a study are of the same data
            self._data(facts)
        self._open(facts, trainer)

    def end(self, facts: Mapping[str, Any]) -> None:
        self.progress.stop()
        self.console.print(f"{self.name}  {closing(facts)}", markup=False)

    def _label(self, trainer: Trainer) -> str:
        return f"{self.name}  {super()._label(trainer)}"


class Line(Lines):
    """One run of several, for output that is no terminal: how long it takes, and when it is done.

    A line a minute says how far a longer one is.
    """

    def __init__(self, number: int, total: int, name: str) -> None:
        super().__init__()
        self.name, self.first = f"[{number}/{total}] {name}", number == 1

    def start(self, facts: Mapping[str, Any], trainer: Trainer) -> None:
        if self.first:  # all of a study are of the same data
            self._data(facts)
        self._begin(trainer)

    def epoch(self, epoch: Epoch, trainer: Trainer) -> None:
        self._pace(trainer, self.clock.epoch(trainer))

    def _say(self, text: str) -> None:
        super()._say(f"{self.name}  {text}")


def row_reporter(number: int, total: int, name: str) -> Reporter:
    """For one run of several: a bar on a terminal, a line elsewhere."""
    return (Row if sys.stderr.isatty() else Line)(number, total, name)

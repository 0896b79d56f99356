"""How long a training takes: epochs chosen by minutes, and what is said of long steps."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import zspace
from test_resume import SMALL, Cut, PowerCut, history, resume, train, weights
from test_stacked import jobs
from zspace.runs.config import Config
from zspace.studies import grid, launch
from zspace.system import bars
from zspace.system.errors import UserError
from zspace.training import stacked
from zspace.training.build import Build
from zspace.training.pace import Pace, measured
from zspace.training.progress import Lines, Quiet

ASKED: dict[str, Any] = {"epochs": None, "minutes": 0.01}


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is measured, three epochs fit."""
    monkeypatch.setattr(Pace, "epochs", lambda self, minutes, steps: 3)


@pytest.mark.parametrize(
    "options",
    [
        {"binarize": "dynamic", "augment": "crop", "likelihood": "bernoulli"},
        {"recipe": "vaegan", "perceptual": "none"},
        {"prior": "mixture", "schedule": "one-cycle", "batch": 200},
    ],
)
def test_minutes_train_what_the_epochs_that_they_chose_train(three, digits, tmp_path, options):
    """The steps that were tried leave no trace: not in weights, moments, averages or draws."""
    plain = train(digits, tmp_path / "plain", **options)
    timed = train(digits, tmp_path / "timed", **options, **ASKED)
    assert weights(plain) == weights(timed)
    assert history(plain) == history(timed)
    chosen = timed.record["config"]["training"]
    assert (chosen["epochs"], chosen["minutes"]) == (3, 0.01)


def test_resume_and_repeat_keep_the_epochs_that_were_chosen(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "epochs", lambda self, minutes, steps: 3)
    with pytest.raises(PowerCut):
        train(digits, tmp_path / "cut", **ASKED, reporter=Cut(step=6), save_every=0)
    monkeypatch.setattr(Pace, "epochs", None)  # nothing is measured again
    resumed = resume(tmp_path / "cut")
    again = zspace.repeat(tmp_path / "cut", out=False, reporter=Quiet())
    plain = train(digits, tmp_path / "plain")
    assert resumed.result["epochs"] == 3
    assert weights(resumed) == weights(plain)
    assert again.config == resumed.config


def test_stacked_runs_share_the_minutes_as_a_group(three, digits, tmp_path):
    plain, timed = jobs(digits, epochs=3), jobs(digits, **ASKED)
    folders = [[tmp_path / f"{name}{m}" for m in range(3)] for name in ("plain", "timed")]
    for configs, places in zip((plain, timed), folders, strict=True):
        stacked.start(configs, places, [Quiet()] * 3)
    for one, other in zip(*folders, strict=True):
        assert weights(one) == weights(other)
        assert zspace.load(other).config.training.epochs == 3


def test_more_minutes_are_more_epochs_and_one_is_the_least():
    pace = Pace(step=0.02, check=0.5, end=3.0)
    for minutes in (0.1, 1, 10):
        epochs = pace.epochs(minutes, steps=50)
        assert epochs * 1.5 + 3 <= 60 * minutes < (epochs + 1) * 1.5 + 3
    assert pace.epochs(1e-3, steps=50) == 1


def test_steps_are_measured_where_players_join_late(digits, monkeypatch):
    """Half of the points lie after a second player of half the cost has joined."""
    options = {**SMALL, "data": str(digits), **ASKED}
    options.pop("recipe")
    build = Build.prepare(Config.of("ae", options), planned=False)
    trainer, now = build.trainer, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    taken = trainer.train_on

    def slow(batch: Any) -> Any:
        now[0] += 1.0 if trainer.step < trainer.total_steps / 2 else 2.0
        return taken(batch)

    monkeypatch.setattr(trainer, "train_on", slow)
    before = torch.get_rng_state()
    pace = measured(trainer, build.splits)
    assert pace.step == pytest.approx(1.5)
    assert torch.equal(torch.get_rng_state(), before)
    moments = [m for state in trainer.optimizers[0].state.values() for m in state.values()]
    assert trainer.step == 0
    assert not any(m.any() for m in moments)


def test_minutes_and_epochs_together_are_refused(digits, tmp_path):
    with pytest.raises(UserError, match=r"minutes is 2 and epochs is 3.*give one of the two"):
        train(digits, tmp_path / "run", minutes=2)
    with pytest.raises(UserError, match="minutes is -1"):
        train(digits, tmp_path / "run", epochs=None, minutes=-1)


def test_a_study_gives_each_run_its_minutes(three, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "write_report", lambda study, path, console: path)
    asked: dict[str, Any] = {
        "data": str(digits), "latent": [2], "hidden": (16,), "minutes": 0.01,
        "out": tmp_path / "study", "quiet": True,
    }  # fmt: skip
    launch.study(["ae", "vae"], **asked)
    runs = sorted((tmp_path / "study" / "runs").iterdir())
    assert [zspace.load(run).config.training.epochs for run in runs] == [3, 3]
    monkeypatch.setattr(grid, "one_by_one", None)
    launch.study(["ae", "vae"], **asked)  # nothing is left to train
    with pytest.raises(UserError, match="was trained with other options"):
        launch.study(["ae", "vae"], **{**asked, "minutes": 0.02})


# What is said


class Ticking(Lines):
    """Lines, into a text, of a training whose steps take so many seconds by the clock."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=200))
        self.ticks, self.seconds = clock, seconds

    def step(self, trainer: Any) -> None:
        self.ticks[0] += self.seconds
        super().step(trainer)


@pytest.mark.parametrize(
    ("seconds", "batch", "said_after"),
    [(0.001, 64, 4), (0.25, 4, 10), (1.0, 64, 4), (5.0, 64, 2), (30.0, 64, 1)],
)
def test_a_training_says_within_ten_seconds_or_a_step_how_long_it_takes(
    digits, tmp_path, monkeypatch, seconds, batch, said_after
):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    reporter = Ticking(clock, seconds)
    said: list[tuple[int, float, str]] = []
    say = reporter._say

    def noted(text: str) -> None:
        said.append((round(clock[0] / seconds), clock[0], text))
        say(text)

    monkeypatch.setattr(reporter, "_say", noted)
    options = {"epochs": 20, "batch": batch, "save_every": 1e9}
    train(digits, tmp_path / "run", reporter=reporter, **options)
    step, at, text = next(line for line in said if line[2].startswith("about "))
    assert step == said_after
    assert at <= max(10, seconds)
    found = re.fullmatch(r"about (.+): (20|19 more) epochs of (4|61) steps at (.+) ms", text)
    assert found
    assert float(found[4]) == pytest.approx(1000 * seconds, rel=0.01)
    gaps = [b[1] - a[1] for a, b in itertools.pairwise(said)]
    assert max(gaps) <= 60 + seconds  # a line a minute, within a long epoch too


def test_minutes_are_said_in_one_line(digits, tmp_path, capsys):
    options = {**SMALL, **ASKED, "minutes": 0.02}
    zspace.train(data=str(digits), out=tmp_path / "run", **options)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("about")]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    epochs = record["config"]["training"]["epochs"]
    assert len(said) == 1
    assert re.fullmatch(rf"about \d+ s: {epochs:,} epochs? of 4 steps at \S+ ms", said[0])


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of the lines lasts a twentieth of a second."""
    monkeypatch.setattr(bars, "EVERY", 0.05)


def test_a_long_step_tells_how_far_it_is_where_there_is_no_terminal(minutes, capsys):
    with bars.bar("reading", 4, quiet=False) as done:
        done(1)
        time.sleep(0.2)
        done(1)
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert re.fullmatch(r"reading: 25% after \d+ s, about \d+ s left", lines[0])
    assert lines[-1].startswith("reading: 50%")
    time.sleep(0.12)
    assert capsys.readouterr().err == ""


def test_of_steps_within_steps_the_inner_one_speaks(minutes, capsys):
    with bars.lines("evaluating"):
        with bars.bar("probing", None, quiet=False):
            time.sleep(0.12)
        inner = capsys.readouterr().err
        time.sleep(0.12)
        outer = capsys.readouterr().err
    assert {line.partition(":")[0] for line in inner.splitlines()} == {"probing"}
    assert {line.partition(":")[0] for line in outer.splitlines()} == {"evaluating"}


def test_quiet_steps_and_short_ones_say_nothing(minutes, capsys):
    with bars.bar("a", 3, quiet=True), bars.lines("b", quiet=True), bars.download_bar("c", True):
        time.sleep(0.1)
    with bars.bar("d", 3, quiet=False) as done:
        done(3)
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
    assert threading.active_count() < 10


def test_on_a_terminal_steps_within_steps_share_one_display(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with bars.bar("outer", 2, quiet=False) as done:
        with bars.bar("inner", None, quiet=False), bars.download_bar("file", False) as file:
            file.total = 10
            file.update(5)
        done(1)
    shown = sys.stderr.getvalue()
    assert "outer" in shown
    assert bars._live == []


def test_a_command_that_takes_minutes_says_so(minutes, monkeypatch, capsys, runs):
    from zspace.cli import main, output

    monkeypatch.setattr(output, "sample", lambda run, **given: time.sleep(0.2) or Path("s.png"))
    assert main.run(["sample", str(runs["ae"].path)]) == 0
    assert "zspace sample: 1 s so far" in capsys.readouterr().err

"""Compiling a step: decided by an estimate and a trial that leaves no trace."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import zspace
from zspace.runs.config import Config
from zspace.system.errors import UserError
from zspace.training import compiling
from zspace.training.build import Build
from zspace.training.progress import Quiet
from zspace.training.trainer import Losses, Trainer

SMALL = {"hidden": (16,), "latent": 3, "batch": 64, "precision": "fp32", "epochs": 4}


def prepared(digits: Path, **options) -> Build:
    return Build.prepare(Config.of("vae", {"data": str(digits), **SMALL, **options}), quiet=True)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """For each function that was asked to be compiled, the rows of its batches; none is."""
    asked: list[list[int]] = []

    def compile_(losses: Losses) -> Losses:
        rows: list[int] = []
        asked.append(rows)
        return lambda o, batch, *rest: rows.append(len(batch.x)) or losses(o, batch, *rest)

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(compiling, "_check_that_it_is", lambda: None)
    return asked


def timed(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    left = iter(times)
    monkeypatch.setattr(compiling, "seconds", lambda *_: next(left))


def test_a_short_training_is_not_even_tried(digits, compiled):
    session = prepared(digits, compile="auto")
    assert session.config.training.compile == "off"
    next(session.trainer.epochs())
    assert compiled == []


@pytest.mark.parametrize(("quick", "decided"), [(8.0, "on"), (11.0, "off")])
def test_a_trial_decides_a_long_one(digits, compiled, monkeypatch, quick, decided):
    timed(monkeypatch, 1000.0, 1000.0 * quick / 10)
    session = prepared(digits, compile="auto")
    assert session.config.training.compile == decided
    next(session.trainer.epochs())
    assert compiled == [[64, 64, 64] * (decided == "on")]


def test_what_cannot_be_compiled_is_left_or_refused(digits, monkeypatch):
    def fails(losses: object) -> object:
        def call(*_: object) -> None:
            raise RuntimeError("no compiler\nat all")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    monkeypatch.setattr(compiling, "COSTS", {"cpu": 0.0})
    with pytest.warns(UserWarning, match=r"^steps run as they are, not compiled: .*no compiler$"):
        assert prepared(digits, compile="auto").config.training.compile == "off"
    with pytest.raises(UserError, match=r"cannot be compiled here.*RuntimeError: no compiler\)"):
        prepared(digits, compile="on")


def test_a_trial_leaves_no_trace(digits, compiled):
    ends = []
    for choice in ("on", "off"):
        fit = prepared(digits, compile=choice).trainer
        list(fit.epochs())
        ends.append(fit.model.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(ends[1][name], value), name


def test_full_batches_alone_are_compiled(digits, compiled):
    fit = prepared(digits, compile="on").trainer
    tried = len(compiled[0])
    next(fit.epochs())
    assert len(fit.train) == 4
    assert compiled[0][tried:] == [64, 64, 64]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_compiled_training_is_resumed_to_the_same_weights(digits, tmp_path):
    class Stop(Quiet):
        def step(self, fit: Trainer) -> None:
            if fit.step == 6:
                raise KeyboardInterrupt

    options = {"data": str(digits), **SMALL, "compile": "on", "save_every": 0.0}
    whole = zspace.train("vae", out=tmp_path / "whole", quiet=True, **options)
    with pytest.raises(KeyboardInterrupt):
        zspace.train("vae", out=tmp_path / "half", reporter=Stop(), **options)
    half = zspace.resume(tmp_path / "half", reporter=Quiet())
    assert half.record["config"]["training"]["compile"] == "on"
    for name, value in whole.model.state_dict().items():
        assert torch.equal(half.model.state_dict()[name], value), name
    ends = [  # of a recipe without draws, which are others where they are compiled
        zspace.train("ae", quiet=True, out=tmp_path / choice, **{**options, "compile": choice})
        for choice in ("on", "off")
    ]
    for one, other in zip(*(end.model.parameters() for end in ends), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # it hides this one
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_game_is_compiled_and_so_is_the_ninth_training_of_a_process(digits, monkeypatch):
    import torch._dynamo

    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 2)
    for name, options in (
        ("vae", {"latent": 3}),
        ("vae", {"latent": 4}),
        ("vaegan", {"perceptual": "none"}),
    ):
        given = {"data": str(digits), **SMALL, **options, "compile": "on", "epochs": 1}
        fit = Build.prepare(Config.of(name, given), quiet=True).trainer
        made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        broken = bool(torch._dynamo.utils.counters["graph_break"])
        assert (made > 1) == broken == (name == "vaegan")  # between its model and its terms
        list(fit.epochs())
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == made


def test_what_is_run_as_it_is_counts_as_not_compiled(digits, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda losses: losses)
    with pytest.raises(UserError, match=r"cannot be compiled here.*no graph of it\)"):
        prepared(digits, compile="on")

"""A step that is recorded once and replayed: the same training, and nothing read on the way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import OF_TOKENS
from recorded import Reads, recording
from zspace.models import recipes
from zspace.runs.config import Config
from zspace.runs.settings import Settings
from zspace.system.errors import UserError
from zspace.training import graphs, stacked
from zspace.training.build import Build
from zspace.training.progress import Quiet

SMALL = {"hidden": (16,), "latent": 3, "batch": 64, "precision": "fp32", "epochs": 3}
OWN: dict[str, dict[str, Any]] = {
    "vaegan": {"perceptual": "none"},
    # A GRU on the CPU transposes its output in place, which `recording` cannot replay.
    "sentence_vae": {"hidden": None, "width": 16, "word_dropout": 0.0, "net": "temporal"},
}
NAMES = sorted(recipes.known())


def texts(beside: Path) -> Path:
    """Some texts, in the folder of a file."""
    path = beside.with_name("texts.txt")
    if not path.exists():
        path.write_text("".join(f"{'ab' * (i % 4)}{'c' * (i % 3)}\n" for i in range(1, 200)))
    return path


def prepared(name: str, digits: Path, **more: Any) -> Build:
    source = texts(digits) if name in OF_TOKENS else digits
    options = {"data": str(source), **SMALL, **OWN.get(name, {}), **more}
    options = {key: value for key, value in options.items() if value is not None}
    return Build.prepare(Config.of(name, options), quiet=True)


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps can be recorded without a GPU."""
    monkeypatch.setattr(graphs, "recording", recording)
    monkeypatch.setattr(graphs, "_why_not", lambda trainer: "")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NAMES),
        ("sentence_vae", {"net": "gru", "word_dropout": 0.3}),
        ("vae", {"net": "conv", "channels": (8, 16), "hidden": None}),
        ("cvae", {"net": "unet", "channels": (8, 16), "hidden": None}),
        ("vae", {"binarize": "dynamic", "likelihood": "bernoulli"}),
        ("vae", {"augment": "flip-crop", "likelihood": "logistic-mixture"}),
        ("vae", {"prior": "mixture", "likelihood": "continuous-bernoulli"}),
        ("vae", {"prior": "flow", "likelihood": "gaussian", "precision": "bf16"}),
    ],
)
def test_a_step_reads_nothing_back(name, options, digits):
    trainer = prepared(name, digits, **options).trainer
    steps = iter(trainer.train.epoch(0))
    trainer.train_on(next(steps))  # what is computed once, at first
    trainer.step = trainer.total_steps // 2
    batch = next(steps)
    with Reads() as reads:
        trainer.train_on(batch)
    assert reads.seen == []


@pytest.mark.parametrize("name", NAMES)
def test_a_replayed_training_is_the_training(name, digits, taped):
    """Schedules, rates, buffers that a pass replaces, players that join late."""
    ends = []
    for graph in ("on", "off"):
        build = prepared(name, digits, graph=graph)
        assert build.config.training.graph == graph
        told = [epoch.train for epoch in build.trainer.epochs()]
        ends.append((build.trainer.model.state_dict(), told))
    (weights, terms), (eager, as_told) = ends
    for key, value in weights.items():
        assert torch.allclose(value, eager[key], atol=1e-6), key
    for replayed, taken in zip(terms, as_told, strict=True):
        assert replayed == pytest.approx(taken, rel=1e-5, abs=1e-8)


def test_stacked_models_are_replayed_together(digits, taped, tmp_path):
    options = {"data": str(digits), **SMALL}
    told = []
    for graph in ("on", "off"):
        configs = [Config.of("vae", {**options, "graph": graph, "seed": s}) for s in (0, 1)]
        folders = [tmp_path / f"{graph}-{s}" for s in (0, 1)]
        runs = stacked.start(configs, folders, [Quiet(), Quiet()])
        assert [run.config.training.graph for run in runs] == [graph, graph]
        told.append([run.result["test"]["objective"] for run in runs])
    assert told[0] == pytest.approx(told[1], rel=1e-5)


def test_a_trial_leaves_no_trace_and_a_resumed_training_goes_on(digits, taped):
    whole = prepared("vae", digits, graph="on").trainer
    list(whole.epochs())
    half = prepared("vae", digits, graph="on").trainer
    next(half.epochs())
    state = copy.deepcopy(half.state())
    again = prepared("vae", digits, graph="on").trainer
    again.load_state(state)
    list(again.epochs())
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


def test_what_cannot_be_recorded_is_left_or_refused(digits, monkeypatch):
    assert prepared("vae", digits).config.training.graph == "off"
    with pytest.raises(UserError, match=r"graph is on, but the device is cpu.*--graph off"):
        prepared("vae", digits, graph="on")

    def fails(device: torch.device) -> None:
        raise RuntimeError("no graph\nat all")

    monkeypatch.setattr(graphs, "recording", fails)
    monkeypatch.setattr(graphs, "_why_not", lambda trainer: "")
    with pytest.warns(UserWarning, match=r"^steps run as they are, not recorded: .*no graph$"):
        assert prepared("vae", digits).config.training.graph == "off"
    with pytest.raises(UserError, match=r"cannot be recorded.*RuntimeError: no graph\)"):
        prepared("vae", digits, graph="on")
    with pytest.raises(UserError, match="graph"):
        Settings(graph="always").check()  # type: ignore[arg-type]

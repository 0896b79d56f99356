"""What is done for GPUs, where it can be seen without one."""

from __future__ import annotations

import shutil

import pytest
import torch

import zspace
from zspace.cli import main
from zspace.models import judge
from zspace.runs.comparison import compare
from zspace.runs.config import Config
from zspace.studies import launch
from zspace.studies.executors import Task, attempt, on_a_card, one_by_one
from zspace.system import distributed
from zspace.system.device import pick_device, random_kept
from zspace.system.errors import UserError
from zspace.training import api
from zspace.training.progress import Quiet
from zspace.training.trainer import Trainer

OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs that can be named, but not used."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("name", "found"),
    {"auto": "cuda:0", "cuda": "cuda:0", "cuda:1": "cuda:1", "cpu": "cpu"}.items(),
)
def test_a_gpu_is_always_named_with_its_number(name, found):
    assert str(pick_device(name)) == found


@pytest.mark.usefixtures("cards")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"^device 'cuda:2' does not exist: there are 2 GPUs here"):
        pick_device("cuda:2")


def test_only_the_generator_of_the_gpu_in_use_is_touched(monkeypatch):
    touched = []
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: touched.append(("get", device)))
    monkeypatch.setattr(
        "torch.cuda.set_rng_state", lambda state, device: touched.append(("set", device))
    )
    card = torch.device("cuda", 1)
    before = torch.get_rng_state()
    with random_kept(card, seed=3):
        first = torch.rand(2)
    assert touched == [("get", card), ("set", card)]
    assert torch.get_rng_state().equal(before)
    with random_kept(seed=3):
        assert torch.equal(torch.rand(2), first)


def raising(*args: object, **kwargs: object) -> None:
    raise OUT


def test_a_checkpoint_for_which_the_memory_of_a_gpu_is_too_small_is_not_called_unfit(
    runs, digits, tmp_path, monkeypatch
):
    small = {"hidden": (8,), "latent": 2, "epochs": 2, "precision": "fp32", "save_every": 0}
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "watch", raising)
        with pytest.raises(UserError, match=r"^the memory ran out: use a smaller --batch"):
            zspace.train("ae", data=str(digits), out=tmp_path / "run", quiet=True, **small)
    monkeypatch.setattr(Trainer, "load_state", raising)
    with pytest.raises(UserError, match=r"^the memory ran out: use a smaller --batch"):
        api.resume(tmp_path / "run")


def test_weights_for_which_the_memory_of_a_gpu_is_too_small_are_not_called_unfit(
    runs, monkeypatch
):
    monkeypatch.setattr("zspace.runs.run.overflowing", raising)
    with pytest.raises(UserError, match=r"^the memory ran out: .*device='cpu'"):
        zspace.load(runs["ae"].path)


def test_a_rank_that_runs_out_of_memory_does_not_accuse_the_others():
    with pytest.raises(torch.OutOfMemoryError), distributed._connected():
        raise OUT


def test_a_kept_judge_is_not_trained_again_where_memory_is_short(digits, monkeypatch):
    monkeypatch.setattr("zspace.system.files.read_sealed_tensors", raising)
    with pytest.raises(torch.OutOfMemoryError):
        judge._read(judge._place(zspace.data.load(str(digits), quiet=True), 0), None)


MODELLING = {
    **dict.fromkeys(("evaluate", "explore", "reconstruct", "sample", "report"), ()),
    **dict.fromkeys(("score", "embed"), ("--out", "x.csv")),
    "impute": ("--data", "x.csv", "--out", "y.csv"),
    "export": ("--out", "page.html"),
}
"""Commands that compute with a model, and what else they must be told."""


@pytest.mark.parametrize("command", MODELLING)
def test_every_command_that_uses_a_model_is_told_where(command, runs, tmp_path, capsys):
    where = ("--device", "cuda:99")
    args = [command, str(runs["ae"].path), *MODELLING[command], *where]
    assert main.run(args) == 2
    assert "zspace: device 'cuda:99' " in capsys.readouterr().err
    assert main.run(["figure", "samples", str(runs["ae"].path), "--out", "x.png", *where]) == 2


def test_a_run_goes_to_the_gpu_of_the_machine_where_it_has_one(runs, monkeypatch, tmp_path):
    asked = []

    def picked(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("zspace.runs.run.pick_device", picked)
    zspace.load(runs["ae"].path)
    zspace.Run.from_bytes(runs["ae"].to_bytes())
    unmeasured = shutil.ignore_patterns("evaluation*")
    some = [
        shutil.copytree(runs[name].path, tmp_path / name, ignore=unmeasured)
        for name in ("ae", "vae")
    ]
    compare(some)  # it only reads
    assert asked == ["auto", "auto", "cpu", "cpu"]


def task(number: int, device: str) -> Task:
    config = Config.of("ae", {"device": device})
    return Task(number, f"run {number}", config, "")


@pytest.mark.usefixtures("cards")
def test_runs_that_may_use_a_gpu_are_spread_over_the_gpus():
    running = list[Task]()
    for number, device in enumerate(["auto", "cpu", "cuda", "auto", "cuda:1", "auto"]):
        running.append(on_a_card(task(number, device), running))
    found = [one.config.training.device for one in running]
    assert found == ["cuda:0", "cpu", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    del running[0], running[2]  # those on cuda:0 have ended, but for the last
    assert on_a_card(task(6, "auto"), running).config.training.device == "cuda:0"


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("device", "gigabytes", "jobs"),
    [("auto", 80, 16), ("cuda", 24, 8), ("auto", 6, 2), ("auto", 1, 2), ("cuda:1", 80, 1)],
)
def test_a_study_trains_as_many_small_models_at_once_as_gpus_take(
    monkeypatch, device, gigabytes, jobs
):
    monkeypatch.setattr("zspace.studies.executors.free", lambda device: gigabytes * 1e9)
    chosen = launch._executor("local", 0, 0, device)
    assert chosen is one_by_one if jobs == 1 else chosen.keywords["jobs"] == jobs


def test_a_run_of_a_study_goes_on_where_it_is_sent(monkeypatch, tmp_path):
    told = {}
    monkeypatch.setattr("zspace.studies.executors.found", lambda folder: {"status": "running"})
    monkeypatch.setattr("zspace.training.api.resume", lambda *_, **options: told.update(options))
    for device, expected in (("cuda:1", "cuda:1"), ("auto", "")):
        assert attempt(task(0, device), Quiet()) == ("finished", "")
        assert told["device"] == expected

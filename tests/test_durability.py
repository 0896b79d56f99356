"""Damage, signals and a full disk at their worst moments; `benchmarks/durability.py` in small."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zspace
from test_resume import (
    STEPS_AN_EPOCH,
    PowerCut,
    cut,
    generations,
    history,
    resume,
    status,
    train,
    weights,
)
from zspace.runs import record
from zspace.system import files, signals
from zspace.system.files import locked
from zspace.training import recorder, trainer
from zspace.training.progress import Quiet

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    """The training that nothing disturbed."""
    return train(digits, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def broken(digits: Path, tmp_path: Path) -> Path:
    """A training that died in its second epoch, with two checkpoints."""
    return cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 3)


@pytest.fixture(scope="module")
def stress() -> Iterator[ModuleType]:
    """The benchmark, as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import durability

        yield durability
    finally:
        sys.path.remove(str(BENCHMARKS))


def same(run: zspace.Run | Path, whole: zspace.Run) -> bool:
    return weights(run) == weights(whole) and history(run) == history(whole)


def flip(path: Path, at: int = -7) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


# Damage


def test_flipped_bits_and_cuts_are_noticed_in_every_file(stress, broken, whole, tmp_path):
    ended = Path(shutil.copytree(whole.path, tmp_path / "ended"))
    victim = stress.damage.Victim(broken, ended)
    for found in (
        stress.damage.flips(victim, 180, random.Random(0)),
        stress.damage.truncations(victim),
    ):
        assert len(found) == 9
        assert all(done == seen > 0 for done, seen in found.values()), found


@pytest.mark.parametrize(
    "name", ["run.json", "state/run.json", "state/manifest.json", "metrics.jsonl",
             "model.safetensors"],
)  # fmt: skip
def test_whatever_is_damaged_the_training_goes_on(broken, whole, name):
    (broken / name).write_bytes((broken / name).read_bytes()[:-20])
    read = name in ("run.json", "state/manifest.json")
    if read:
        with pytest.warns(UserWarning, match=rf"{Path(name).name} is damaged"):
            run = resume(broken)
    else:
        run = resume(broken)
    assert same(run, whole)


def test_run_json_changed_by_hand_is_a_sentence(broken, whole, tmp_path):
    ended = Path(shutil.copytree(whole.path, tmp_path / "ended"))
    for folder, way in ((broken, "zspace resume"), (ended, "train again")):
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(text.replace('"seed": 0', '"seed": 1', 1))
        with pytest.raises(
            zspace.UserError, match=rf"run\.json.*changed by hand.*{way}"
        ) as caught:
            zspace.load(folder)
        assert "\n" not in str(caught.value)


def test_run_json_and_its_copy_damaged_are_a_sentence(broken):
    flip(broken / "run.json", 200)
    flip(broken / "state" / "run.json", 200)
    with pytest.raises(zspace.UserError, match=r"run\.json.*state/run\.json.*train again"):
        resume(broken)


def test_damaged_line_of_the_metrics_is_left_out_and_said(broken, whole, tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = (whole.path / "metrics.jsonl").read_bytes().split(b"\n")
    for bad in (b"\xff{}", b"[]", b'{"train": 1}', good[1][:-1], b"[" * 100_000):
        path.write_bytes(b"\n".join([good[0], bad, *good[2:]]))
        with pytest.warns(UserWarning, match=r"line 2 of .*metrics\.jsonl is damaged"):
            lines = record.read_metrics(record.Place(tmp_path))
        assert [line["number"] for line in lines] == [1, 3]


def test_weights_of_another_run_are_refused(whole, digits, tmp_path):
    own = Path(shutil.copytree(whole.path, tmp_path / "own"))
    other = train(digits, tmp_path / "other", seed=1, epochs=1)
    shutil.copy(other.path / "model.safetensors", own)
    with pytest.raises(zspace.UserError, match=r"model\.safetensors is damaged.*zspace repeat"):
        zspace.load(own)


def test_death_between_weights_and_run_json_leaves_a_run_that_loads(
    digits, tmp_path, monkeypatch, whole
):
    notes = 0

    def dies(self: recorder.Recorder, status: str, **more: Any) -> None:
        nonlocal notes
        notes += 1
        if notes == 3:  # the first names no weights, the second the first epoch's
            raise PowerCut
        note(self, status, **more)

    note = recorder.Recorder._note
    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "_note", dies)
        with pytest.raises(PowerCut):
            train(digits, tmp_path / "run", save_every=0)
    noted = record.read_record(tmp_path / "run")["files"]["model.safetensors"]
    with pytest.raises(zspace.UserError, match="SHA-256"):
        files.read_tensors(tmp_path / "run" / "model.safetensors", noted)
    assert zspace.load(tmp_path / "run").sample(1).shape == (1, 1, 14, 14)
    assert same(resume(tmp_path / "run"), whole)


def test_a_seal_is_that_of_every_byte(tmp_path):
    path = tmp_path / "x.json"
    files.write_sealed_json(path, {"a": [1, {"b": "×"}], "zeros": "0" * 64})
    whole = path.read_bytes()
    assert files.read_sealed_json(path) == {"a": [1, {"b": "×"}], "zeros": "0" * 64}
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(zspace.UserError, match=r"x\.json is damaged"):
            files.read_sealed_json(path)


# Signals


class Once:
    """Calls a function, and sends this process a signal before its call of this number."""

    def __init__(self, real: Callable[..., Any], number: int, call: int = 1) -> None:
        self.real, self.number, self.left = real, number, call

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.real(*args, **keywords)

    def __get__(self, owner: Any, kind: type) -> Callable[..., Any]:
        return lambda *args, **keywords: self(owner, *args, **keywords)


MOMENTS: dict[str, tuple[Any, str, int, int]] = {
    "first validation": (trainer.Trainer, "_validate", 1, STEPS_AN_EPOCH),
    "last validation": (trainer.Trainer, "_validate", 3, 3 * STEPS_AN_EPOCH),
    "the pictures after it": (trainer.Trainer, "watch", 2, 2 * STEPS_AN_EPOCH),
    "save of a state": (files, "packed", 3, 4),
    "save of its manifest": (files, "write_sealed_json", 2, 3),
    "figures of the end": (recorder, "evaluate", 2, 3 * STEPS_AN_EPOCH),
}


@pytest.mark.parametrize("number", signals.STOPS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_signal_at_any_moment_saves_and_tells_how_to_go_on(
    digits, tmp_path, monkeypatch, whole, moment, number
):
    place, name, call, step = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, Once(getattr(place, name), number, call))
        said = f"stopped at step {step} and saved: .*resume"
        with pytest.raises(signals.Interrupted, match=said):
            train(digits, tmp_path / "run", save_every=0)
    assert status(tmp_path / "run") == "interrupted"
    assert same(resume(tmp_path / "run"), whole)


@pytest.mark.parametrize("number", signals.STOPS)
def test_signal_while_data_are_read_says_that_nothing_is_lost(
    digits, tmp_path, monkeypatch, whole, number
):
    broken = cut(digits, tmp_path / "broken", step=STEPS_AN_EPOCH + 3)
    before = {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()}
    handlers = [signal.getsignal(s) for s in signals.STOPS]
    for act, words in (
        (lambda: train(digits, tmp_path / "new"), "there is nothing to go on with"),
        (lambda: resume(broken), f"go on with 'zspace resume {broken}'"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("zspace.training.build.load_data", Once(None, number))  # never called
            with pytest.raises(signals.Interrupted, match=f"before the first step.*{words}"):
                act()
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in before} == before
    assert [signal.getsignal(s) for s in signals.STOPS] == handlers
    assert same(resume(broken), whole)


def test_second_interrupt_leaves_at_once(digits, tmp_path, whole):
    class Twice(Quiet):
        def step(self, fit) -> None:
            if fit.step == STEPS_AN_EPOCH + 2:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                raise AssertionError("it did not leave")

    with pytest.raises(signals.Interrupted, match="stopped at once: 'zspace resume"):
        train(digits, tmp_path / "run", reporter=Twice(), save_every=0)
    assert int(generations(tmp_path / "run")[0].stem) == STEPS_AN_EPOCH + 1
    assert same(resume(tmp_path / "run"), whole)


# Two at once

HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"  # noqa: E501


def test_second_process_is_refused_until_the_first_is_dead(broken, whole):
    pytest.importorskip("fcntl")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(broken / "state" / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = weights(broken)
        with pytest.raises(zspace.UserError, match="being trained by another process"):
            resume(broken)
        assert weights(broken) == before
        holder.kill()
    assert same(resume(broken), whole)


def test_a_training_holds_the_lock_from_its_beginning(digits, tmp_path):
    class Look(Quiet):
        def step(self, fit) -> None:
            with (
                pytest.raises(zspace.UserError, match="taken"),
                locked(tmp_path / "run" / "state" / "lock", "taken"),
            ):
                pass

    pytest.importorskip("fcntl")
    train(digits, tmp_path / "run", reporter=Look(), epochs=1)


def test_file_system_without_locks_trains_all_the_same(broken, whole, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert same(resume(broken), whole)


# The benchmark in small, and two processes


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("act", "name"),
    [
        ("kill", "VAE, averaged weights"),
        ("fault", "VAE, averaged weights"),
        ("interrupt", "game of two players"),
    ],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_stress_in_small(stress, tmp_path, act, name):
    trial = stress.Trial(name, tmp_path, stress.images(tmp_path))
    seen = getattr(stress, act)(trial, 4, random.Random(1))
    assert seen["wrong"] == 0


TWICE = """
import sys, torch, zspace
torch.set_num_threads(1)
data, out = sys.argv[1:]
small = {"epochs": 1, "batch": 32, "latent": 3, "data": data, "quiet": True}
conv = {"net": "conv", "channels": (4, 6)}
for name, recipe, own in (
    ("vae", "vae", {"hidden": (16,)}),
    ("cvae", "cvae", {"hidden": (16,), "binarize": "dynamic", "likelihood": "bernoulli"}),
    ("conv", "vae", {**conv, "augment": "crop"}),
    ("vaegan", "vaegan", {**conv, "perceptual": "none"}),
):
    for precision in ("fp32", "bf16"):
        zspace.train(recipe, out=f"{out}/{name}-{precision}", precision=precision, **small, **own)
"""


@pytest.mark.slow
def test_two_processes_with_one_seed_are_bit_identical(digits, tmp_path):
    processes = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": str(len(processes))}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", TWICE, str(digits), str(folder)], env=environment
            )
        )
    assert [process.wait() for process in processes] == [0, 0]
    made = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(made) == 8
    for name in made:
        one, other = tmp_path / "a" / name, tmp_path / "b" / name
        assert weights(one) == weights(other), name
        assert history(one) == history(other), name

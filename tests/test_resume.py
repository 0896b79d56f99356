"""Interrupted trainings go on bit for bit; what is damaged is noticed; nothing good is lost."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import assembled
import zspace
from conftest import WRITTEN
from zspace.models import recipes
from zspace.models.objective import Objective
from zspace.models.recipes import Player
from zspace.models.terms import kl, mse
from zspace.models.zoo import classic
from zspace.runs.checkpoint import Checkpoints
from zspace.runs.config import Config
from zspace.system import files
from zspace.system.signals import STOPS, Interrupted
from zspace.training import api
from zspace.training.build import Build
from zspace.training.optimizer import EVERY
from zspace.training.progress import Quiet

SMALL: dict[str, Any] = {
    "recipe": "vae", "hidden": (16,), "latent": 3, "epochs": 3, "batch": 64, "precision": "fp32"
}  # fmt: skip
DEFAULT = "runs/vae-digits-3-hidden16-epochs1-batch64-precision-fp32"
STEPS_AN_EPOCH = 4  # 243 training images in batches of 64


class PowerCut(Exception):
    """Stands for the machine going down: nothing in zspace catches it."""


class Cut(Quiet):
    """A reporter in whose hands the training dies at a step, or after an epoch's line."""

    def __init__(self, step: int = 0, epoch: int = 0) -> None:
        self.at_step, self.at_epoch = step, epoch

    def step(self, fit) -> None:
        if fit.step == self.at_step:
            raise PowerCut

    def epoch(self, epoch, fit) -> None:
        if epoch.number == self.at_epoch:
            raise PowerCut


def train(data: Path, out: Path, **options: Any) -> zspace.Run:
    return zspace.train(**{"data": str(data), "out": out, "quiet": True, **SMALL, **options})


def cut(data: Path, out: Path, *, step: int = 0, epoch: int = 0, **options: Any) -> Path:
    """The folder of a training that saved after every step and died at one."""
    with pytest.raises(PowerCut):
        train(data, out, reporter=Cut(step, epoch), **{"save_every": 0, **options})
    return out


def resume(folder: Path, **options: Any) -> zspace.Run:
    return zspace.resume(folder, **{"reporter": Quiet(), **options})


def weights(run: zspace.Run | Path) -> bytes:
    return (Path(getattr(run, "path", run)) / "model.safetensors").read_bytes()


def history(run: zspace.Run | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock says."""
    lines = (Path(getattr(run, "path", run)) / "metrics.jsonl").read_text().splitlines()
    clock = {"seconds", "samples_per_second"}
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def generations(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    manifest = json.loads((folder / "state" / "manifest.json").read_text())
    return [folder / "state" / entry["file"] for entry in manifest["generations"]]


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    """The training that nothing interrupted."""
    return train(digits, tmp_path_factory.mktemp("whole") / "run")


VARIANTS = {
    "plain": {},
    "averaged": {"ema": 0.9},
    "patient": {"patience": 1, "lr": 0.3, "schedule": "constant", "epochs": 8},
    "dynamic": {"binarize": "dynamic", "likelihood": "bernoulli"},
    "all": {"recipe": "cvae", "ema": 0.5, "patience": 2, "binarize": "dynamic", "clip": 1.0},
}
MOMENTS = {
    "before the first checkpoint": {"step": 1},
    "at an epoch's last step": {"epoch": 1},
    "at an epoch's end": {"step": STEPS_AN_EPOCH + 1},
    "inside an epoch": {"step": STEPS_AN_EPOCH + 3},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_training_ends_with_the_same_weights(digits, tmp_path, variant):
    straight = train(digits, tmp_path / "straight", **VARIANTS[variant])
    assert [line["number"] for line in history(straight)] == list(
        range(1, len(history(straight)) + 1)
    )
    for name, moment in MOMENTS.items():
        folder = cut(digits, tmp_path / name.replace(" ", "-"), **moment, **VARIANTS[variant])
        torch.manual_seed(12345)
        run = resume(folder)
        assert weights(run) == weights(straight), name
        assert history(run) == history(straight), name
        assert run.record["status"] == "finished"
        assert not (folder / "state").exists()


def test_training_cut_again_and_again_ends_with_the_same_weights(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=2)
    for step in (3, 6, 9, 11):
        with pytest.raises(PowerCut):
            resume(folder, reporter=Cut(step), save_every=0)
    run = resume(folder)
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_torn_last_line_of_the_metrics_is_mended(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=2 * STEPS_AN_EPOCH + 2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"number": 3, "step": 1')
    assert len(zspace.load(folder).metrics) == 2
    assert history(resume(folder)) == history(whole)


def test_nothing_saved_yet_begins_anew(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 2, save_every=1e9)
    assert not (folder / "state" / "manifest.json").exists()
    run = resume(folder)
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 3)
    damage(generations(folder)[0])
    with pytest.warns(UserWarning, match="damaged.*going back"):
        run = resume(folder)
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_missing_newest_checkpoint_falls_back_to_the_one_before(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 3)
    generations(folder)[0].unlink()
    with pytest.warns(UserWarning, match="missing.*going back"):
        run = resume(folder)
    assert weights(run) == weights(whole)


def test_damaged_checkpoint_is_not_kept_as_the_second_generation(tmp_path):
    """After falling back, the next save must not push the one whole generation out."""
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save({"at": torch.tensor(step)}, step)
    damage(tmp_path / "0000000020.safetensors")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.load()["at"] == 10
    checkpoints.save({"at": torch.tensor(15)}, 15)
    damage(tmp_path / "0000000015.safetensors")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.load()["at"] == 10


def test_a_state_that_the_manifest_names_is_never_written_over(tmp_path, monkeypatch):
    """A step is saved before and after its epoch's validation; death may come in between."""
    checkpoints = Checkpoints(tmp_path)
    for at in range(4):
        checkpoints.save({"at": torch.tensor(at)}, 9)
        assert Checkpoints(tmp_path).load()["at"] == at
        (tmp_path / "manifest.json").rename(tmp_path / "aside")
        assert Checkpoints(tmp_path).load()["at"] == at
        (tmp_path / "aside").rename(tmp_path / "manifest.json")
    monkeypatch.setattr(
        "zspace.system.files.write_sealed_json", lambda *_: (_ for _ in ()).throw(PowerCut)
    )
    with pytest.raises(PowerCut):
        checkpoints.save({"at": torch.tensor(4)}, 9)
    assert Checkpoints(tmp_path).load()["at"] == 3


def test_every_checkpoint_damaged_is_a_sentence(digits, tmp_path):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 3)
    assert len(generations(folder)) == 2
    for path in generations(folder):
        damage(path)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(zspace.UserError, match=r"every checkpoint .* is damaged"),
    ):
        resume(folder)
    assert zspace.load(folder).encode(np.zeros((1, 14, 14), np.uint8)).shape == (1, 3)


@pytest.mark.parametrize("content", ['{"generations": [', ""], ids=["torn", "empty"])
def test_without_its_manifest_the_newest_whole_checkpoint_is_taken(
    digits, tmp_path, whole, content
):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 3)
    damage(generations(folder)[0])
    (folder / "state" / "manifest.json").write_text(content)
    with (
        pytest.warns(UserWarning, match=r"manifest\.json is damaged.*taking the newest"),
        pytest.warns(UserWarning, match=r"00006\.safetensors is damaged.*going back"),
    ):
        run = resume(folder)
    assert weights(run) == weights(whole)
    assert history(run) == history(whole)


def test_changed_data_are_refused(digits, tmp_path):
    data = tmp_path / "own.npz"
    data.write_bytes(digits.read_bytes())
    folder = cut(data, tmp_path / "run", step=3)
    with np.load(digits) as arrays:
        x, y = arrays["x"].copy(), arrays["y"]
    x[0, 0, 0, 0] ^= 1
    np.savez(data, x=x, y=y)
    with pytest.raises(zspace.UserError, match=r"data of run .* changed"):
        resume(folder)
    data.unlink()
    with pytest.raises(zspace.UserError, match="no such file or data set"):
        resume(folder)


def test_finished_run_is_not_resumed(whole):
    before = weights(whole)
    with pytest.raises(zspace.UserError, match="finished"):
        resume(whole.path)
    assert weights(whole) == before


def test_repeat_gives_the_same_weights(whole, tmp_path):
    again = zspace.repeat(whole.path, out=tmp_path / "again", reporter=Quiet())
    assert weights(again) == weights(whole)
    assert history(again) == history(whole)
    assert again.record["config"] == whole.record["config"]


def test_a_run_of_another_machine_goes_on_where_it_is_told(digits, tmp_path, whole):
    folder = cut(digits, tmp_path / "run", step=6)
    record = files.read_sealed_json(folder / "run.json")
    record["config"]["training"]["device"] = "cuda:7"  # no machine of ours has eight
    files.write_sealed_json(folder / "run.json", record)
    with pytest.raises(zspace.UserError, match="use --device cpu"):
        resume(folder)
    run = resume(folder, device="cpu")
    assert weights(run) == weights(whole)
    assert run.record["config"]["training"]["device"] == "cpu"


def test_another_seed_gives_other_weights(digits, tmp_path, whole):
    assert weights(train(digits, tmp_path / "run", seed=1)) != weights(whole)


def test_training_does_not_depend_on_earlier_draws(digits, tmp_path, whole):
    torch.manual_seed(7)
    torch.rand(5)
    assert weights(train(digits, tmp_path / "run")) == weights(whole)


def test_existing_folder_is_never_overwritten(digits, tmp_path, whole):
    before = {path: path.read_bytes() for path in whole.path.iterdir()}
    with pytest.raises(zspace.UserError, match="exists already"):
        train(digits, whole.path)
    with pytest.raises(zspace.UserError, match="exists already"):
        zspace.repeat(whole.path, out=whole.path, reporter=Quiet())
    assert {path: path.read_bytes() for path in whole.path.iterdir()} == before
    (tmp_path / "empty").mkdir()
    with pytest.raises(zspace.UserError, match="exists already"):
        train(digits, tmp_path / "empty")


def test_default_folders_are_numbered(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [train(digits, None, epochs=1).path for _ in range(3)]  # type: ignore[arg-type]
    assert [str(path) for path in made] == [f"{DEFAULT}{end}" for end in ("", "-2", "-3")]


def test_two_trainings_that_begin_at_once_get_two_folders(digits, tmp_path, monkeypatch):
    """The second takes the default name while the first still reads its data."""
    from zspace.training import build

    monkeypatch.chdir(tmp_path)
    prepare = build.Build.prepare

    def slow(config, **options):
        if not Path(DEFAULT).exists():
            Path(DEFAULT).mkdir(parents=True)
        return prepare(config, **options)

    monkeypatch.setattr(build.Build, "prepare", slow)
    run = train(digits, None, epochs=1)  # type: ignore[arg-type]
    assert str(run.path) == f"{DEFAULT}-2"


def test_early_stop_ends_after_patience_epochs_without_a_better_one(digits, tmp_path):
    options = {**VARIANTS["patient"], "patience": 2, "epochs": 40}
    run = train(digits, tmp_path / "run", **options)
    best = [line["number"] for line in run.metrics if line["best"]]
    assert len(run.metrics) == best[-1] + 2 < 40
    assert run.result["epochs"] == len(run.metrics)
    assert run.result["best_epoch"] == best[-1]


@pytest.mark.slow
def test_a_small_set_is_trained_for_many_epochs_and_stops_early(digits, tmp_path):
    x = np.load(digits)["x"][::4]
    options = {"hidden": (64,), "latent": 4, "precision": "fp32", "quiet": True, "out": False}
    run = zspace.train("vae", data=x, **options)
    chosen = run.config.training
    assert (chosen.batch, chosen.epochs, chosen.patience) == (16, 375, 50)
    assert run.result["epochs"] == run.result["best_epoch"] + chosen.patience < chosen.epochs
    few = zspace.train("vae", data=x, **options, epochs=60)
    best = [min(line["validation"]["objective"] for line in r.metrics) for r in (run, few)]
    assert best[0] < best[1]


def test_a_game_on_a_small_set_has_no_patience(digits):
    options = {"data": str(digits), "perceptual": "none", "hidden": (16,)}
    fit = Build.prepare(Config.of("vaegan", options), quiet=True)
    assert (fit.config.training.epochs, fit.config.training.patience) == (375, 0)
    assert fit.trainer.patience == 0


def test_the_epoch_best_on_validation_is_what_is_saved(digits, tmp_path):
    """A deterministic model, so that its error can be measured from outside."""
    run = train(
        digits,
        tmp_path / "run",
        recipe="ae",
        lr=0.05,
        schedule="constant",
        epochs=20,
        seed=1,
        ema=0.0,
    )
    objectives = [line["validation"]["objective"] for line in run.metrics]
    best = int(np.argmin(objectives))
    assert best < len(objectives) - 1, "the last epoch is the best: the test shows nothing"
    x = run.data().validation.images().numpy()
    error = float(((run.reconstruct(x) - x) ** 2).sum((1, 2, 3)).mean())
    assert error == pytest.approx(objectives[best], rel=1e-5)
    assert run.result["best_epoch"] == best + 1
    assert run.result["validation"]["objective"] == pytest.approx(objectives[best], rel=1e-5)


def test_averaged_weights_are_the_moving_average_of_the_steps(digits, tmp_path):
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(Quiet):
        def step(self, fit) -> None:
            seen.append({k: v.detach().clone() for k, v in fit.model.state_dict().items()})

    decay = 0.05  # below the warm-up of the average, and forgets the start within the 16 steps
    run = train(digits, tmp_path / "run", reporter=Watch(), ema=decay, epochs=1, batch=16)
    average = seen[0]
    for now in seen[EVERY::EVERY]:
        average = {k: decay**EVERY * average[k] + (1 - decay**EVERY) * now[k] for k in now}
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(value, seen[-1][name])


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe whose model replaces buffers in floating point, int64 and bool at every step."""
    monkeypatch.setitem(recipes.RECIPES, "following", assembled.following)
    return "following"


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_buffers_of_any_type_are_resumed_bit_for_bit(digits, tmp_path, following, ema):
    options = {"recipe": following, "ema": ema}
    straight = train(digits, tmp_path / "straight", **options)
    for name, moment in MOMENTS.items():
        folder = cut(digits, tmp_path / name.replace(" ", "-"), **moment, **options)
        run = resume(folder)
        assert weights(run) == weights(straight), name
        assert history(run) == history(straight), name


def test_buffers_are_averaged_validated_and_kept_as_they_are_now(digits, tmp_path, following):
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(Quiet):
        def step(self, fit) -> None:
            seen.append({k: v.detach().clone() for k, v in fit.model.state_dict().items()})

    options = {"ema": 0.05, "epochs": 1, "batch": 16, "recipe": following}
    run = train(digits, tmp_path / "run", reporter=Watch(), **options)
    kept, last = run.model.bottleneck.state_dict(), seen[-1]
    assert kept["steps"] == last["bottleneck.steps"] == len(seen)
    assert torch.equal(kept["used"], last["bottleneck.used"])
    assert kept["used"].any()
    for name in ("counts", "sums"):
        average = seen[0][f"bottleneck.{name}"]
        for now in seen[EVERY::EVERY]:
            average = torch.lerp(average, now[f"bottleneck.{name}"], 1 - 0.05**EVERY)
        torch.testing.assert_close(kept[name], average)
        assert not torch.equal(average, last[f"bottleneck.{name}"])
    x = run.data().validation.images().numpy()
    error = float(((run.reconstruct(x) - x) ** 2).sum((1, 2, 3)).mean())
    assert error == pytest.approx(run.metrics[-1]["validation"]["mse"], rel=1e-5)


class Counted(torch.nn.Module):
    """A second player with a buffer in a format that its first tensor did not have."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = (self.seen + x.detach().flatten()[:3]).to(torch.bfloat16)
        return self.scale * self.seen.float().sum()


def test_buffers_of_the_other_players_are_resumed_in_their_number_format(
    digits, tmp_path, monkeypatch
):
    def counting(data, latent: int = 3, hidden: tuple[int, ...] = (16,)):
        model, rival = classic.ae(data, latent=latent, hidden=hidden).model, Counted()
        watches = Objective([lambda p: {"seen": rival(p.x).square()}], {"seen": 1.0})
        return recipes.Recipe(
            model, (Player(model, Objective([mse], {"mse": 1.0})), Player(rival, watches))
        )

    monkeypatch.setitem(recipes.RECIPES, "counting", counting)
    straight = train(digits, tmp_path / "straight", recipe="counting")
    run = resume(cut(digits, tmp_path / "cut", step=STEPS_AN_EPOCH + 3, recipe="counting"))
    assert weights(run) == weights(straight)
    assert history(run) == history(straight)


def spoilt_from(step: int):
    """A VAE with a third term, which is NaN from this training step on."""
    steps = 0

    def spoilt(p):
        nonlocal steps
        steps += torch.is_grad_enabled()
        return {"spoilt": torch.full((len(p.x),), np.nan if steps >= step else 0.0)}

    def spoilt_vae(data, latent: int = 3, hidden: tuple[int, ...] = (16,)):
        model = classic.vae(data, latent=latent, hidden=hidden).model
        weights = {"mse": 1.0, "kl": 1.0, "spoilt": 1.0}
        return recipes.Recipe(model, (Player(model, Objective([mse, kl, spoilt], weights)),))

    return spoilt_vae


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> int:
    step = STEPS_AN_EPOCH + 3
    monkeypatch.setitem(recipes.RECIPES, "spoilt_vae", spoilt_from(step))
    return step


@pytest.mark.parametrize("save_every", [0, 30])
def test_non_finite_loss_names_step_and_terms_and_keeps_good_weights(
    digits, tmp_path, spoilt, save_every
):
    folder = tmp_path / "run"
    with pytest.raises(zspace.UserError) as caught:
        train(digits, folder, recipe="spoilt_vae", save_every=save_every)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"step {spoilt}", "mse = ", "kl = ", "spoilt = nan", "epoch 1", str(folder)):
        assert part in message
    assert status(folder) == "failed"
    run = zspace.load(folder)
    assert len(run.metrics) == 1
    assert np.isfinite(run.sample(2, seed=0)).all()
    assert all(np.isfinite(value.numpy()).all() for value in run.model.state_dict().values())


def test_learning_rate_beyond_reason_is_one_sentence(digits, tmp_path):
    with pytest.raises(zspace.UserError, match=r"not finite at step \d+: mse = .*lower --lr"):
        train(digits, tmp_path / "run", lr=1e30, schedule="constant", warmup=0.0)
    assert status(tmp_path / "run") == "failed"
    with pytest.raises(zspace.UserError, match="no finished epoch"):
        zspace.load(tmp_path / "run")


def test_loss_that_is_first_non_finite_on_validation_says_so(digits, tmp_path):
    """One step an epoch: its loss is still finite, the weights after it are not."""
    with pytest.raises(zspace.UserError, match="validation"):
        train(digits, tmp_path / "run", lr=1e30, schedule="constant", warmup=0.0, batch=1000)


LONG = ["--hidden", "16", "--latent", "3", "--batch", "2", "--precision", "fp32"]


def start(*args: str | Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "zspace", *map(str, args), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def read_until(process: subprocess.Popen, event: str) -> None:
    for line in process.stdout:  # type: ignore[union-attr]
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"no {event}: {process.communicate()[1]}")


def newest_step(folder: Path) -> int:
    return int(generations(folder)[0].stem[:10])


def long(data: Path, out: Path, epochs: int) -> zspace.Run:
    return train(data, out, batch=2, epochs=epochs)


@pytest.mark.slow
def test_interrupt_ends_the_step_saves_and_tells_how_to_go_on(digits, tmp_path):
    folder, epochs = tmp_path / "run", 15
    process = start("train", "vae", "--data", digits, "--out", folder, *LONG, "--epochs", epochs)
    read_until(process, "epoch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines() == [err.strip()]
    assert err.startswith("zspace: stopped at step ")
    assert f"'zspace resume {folder}'" in err
    assert all(json.loads(line) for line in out.splitlines())
    assert status(folder) == "interrupted"
    assert zspace.load(folder).sample(1).shape == (1, 1, 14, 14)
    run, straight = resume(folder), long(digits, tmp_path / "straight", epochs)
    assert weights(run) == weights(straight)
    assert history(run) == history(straight)


@pytest.mark.parametrize("number", STOPS)
def test_signal_is_handled_while_training_only(digits, tmp_path, whole, number):
    class Send(Quiet):
        def step(self, fit) -> None:
            if fit.step == STEPS_AN_EPOCH + 2:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=r"step 6 and saved: .*zspace resume") as stop:
        train(digits, folder, reporter=Send())
    assert stop.value.number == number
    assert signal.getsignal(number) is before
    assert status(folder) == "interrupted"
    assert weights(resume(folder)) == weights(whole)


def test_a_stop_is_no_error_that_other_code_goes_on_after(digits, tmp_path):
    """As a grid search does, which notes errors and tries the next."""
    begun = []

    class Send(Quiet):
        def start(self, facts, fit) -> None:
            begun.append(fit)
            os.kill(os.getpid(), signal.SIGINT)

    def search() -> None:
        for name in ("a", "b"):
            with contextlib.suppress(Exception):
                train(digits, tmp_path / name, reporter=Send())

    with pytest.raises(KeyboardInterrupt, match="stopped at step 1"):
        search()
    assert len(begun) == 1
    again = pickle.loads(pickle.dumps(Interrupted("stopped", signal.SIGTERM)))
    assert (str(again), again.number) == ("stopped", signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_saves_as_sigterm_does(digits, tmp_path, number):
    folder = tmp_path / "run"
    process = start("train", "vae", "--data", digits, "--out", folder, *LONG, "--epochs", 40)
    read_until(process, "epoch")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.startswith("zspace: stopped at step ")
    assert status(folder) == "interrupted"


def test_training_in_a_thread_is_the_same_and_takes_no_signals(digits, tmp_path, whole):
    before = [signal.getsignal(number) for number in STOPS]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(train, digits, tmp_path / "run").result()
    assert weights(run) == weights(whole)
    assert [signal.getsignal(number) for number in STOPS] == before


@pytest.mark.thorough
def test_signals_that_are_ignored_at_the_start_stay_ignored(digits, tmp_path):
    """A background job of a script, or nohup."""
    folder, options = tmp_path / "run", ["--hidden", "16", "--latent", "3", "--batch", "8"]
    args = ["train", "vae", "--data", digits, "--out", folder, *options, "--epochs", 6, "--json"]
    command = ["bash", "-c", "trap '' INT HUP; exec \"$@\"", "-", sys.executable, "-m", "zspace"]
    process = subprocess.Popen(
        [*command, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    read_until(process, "epoch")
    for number in (signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert status(folder) == "finished"


@pytest.mark.parametrize("output", ["--json", "2>&1"])
@pytest.mark.thorough
def test_a_reader_that_goes_away_ends_the_output_and_not_the_training(digits, tmp_path, output):
    folder = tmp_path / "run"
    given = f"train vae --data {digits} --out {folder} --hidden 16 --latent 3 --epochs 3"
    pipe = f"{sys.executable} -m zspace {given} {output} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, timeout=300)
    first, code = done.stdout.splitlines()
    assert first.startswith(
        '{"event": "start"' if output == "--json" else "digits: images of 1×14×14"
    )
    assert (code, done.stderr if output == "2>&1" else "") == ("0", "")
    assert status(folder) == "finished"
    assert len(zspace.load(folder).metrics) == 3


@pytest.mark.slow
@pytest.mark.parametrize("saved", [True, False], ids=["inside an epoch", "nothing saved"])
def test_killed_process_is_resumed_to_the_same_weights(digits, tmp_path, saved):
    folder, epochs = tmp_path / "run", 4 if saved else 15
    process = start(
        "train", "vae", "--data", digits, "--out", folder, *LONG, "--epochs", epochs,
        "--save-every", 0 if saved else 1000,
    )  # fmt: skip
    if saved:
        manifest, deadline = folder / "state" / "manifest.json", time.monotonic() + 30
        # 122 steps an epoch: the kill lands within the second.
        while not manifest.exists() or newest_step(folder) < 150:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    else:
        read_until(process, "epoch")
    process.kill()
    process.communicate()
    assert status(folder) == "running"
    assert (folder / "state" / "manifest.json").exists() == saved
    run, straight = resume(folder), long(digits, tmp_path / "straight", epochs)
    assert weights(run) == weights(straight)
    assert history(run) == history(straight)
    left = {path.name for path in folder.iterdir()}
    assert left == set(WRITTEN)


def test_resume_and_repeat_write_as_the_training_did(digits, tmp_path, monkeypatch):
    folder = cut(digits, tmp_path / "run", step=STEPS_AN_EPOCH + 2, save_every=7.0)
    kept = []
    init = api.Recorder.__init__

    def noted(self, place, build, reporter, save_every, *rest):
        kept.append(save_every)
        init(self, place, build, reporter, save_every, *rest)

    monkeypatch.setattr(api.Recorder, "__init__", noted)
    zspace.resume(folder, reporter=Quiet())
    zspace.repeat(folder, out=tmp_path / "again", reporter=Quiet())
    zspace.repeat(folder, out=False, reporter=Quiet(), save_every=9.0)
    assert kept == [7.0, 7.0, 9.0]
    assert files.read_sealed_json(folder / "run.json")["output"]["save_every"] == 7.0

"""Callbacks, and trackers, which are some."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import zspace
from zspace.system.errors import UserError
from zspace.training import trackers
from zspace.training.progress import Quiet

QUICK = {"hidden": (8,), "latent": 2, "epochs": 3, "batch": 64, "precision": "fp32", "quiet": True}


def needs(package: str) -> Any:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"needs {package}: pip install 'zspace[track]'",
    )


class Heard(zspace.Callback):
    """Notes what it is told; may raise after an epoch."""

    def __init__(self, raises: BaseException | None = None, after: int = 1) -> None:
        self.told: list[Any] = []
        self.raises, self.after = raises, after

    def on_start(self, facts, trainer):
        self.told.append(("start", facts["status"], trainer.epoch))

    def on_epoch(self, epoch, trainer):
        self.told.append(("epoch", epoch.number, sorted(epoch.validation)))
        if self.raises is not None and epoch.number == self.after:
            raise self.raises

    def on_end(self, facts):
        self.told.append(("end", facts["status"], "result" in facts))


TERMS = ["kl", "mse", "objective"]


def test_a_callback_hears_of_the_start_each_epoch_and_the_end(digits, tmp_path):
    heard = Heard()
    run = zspace.train("vae", data=str(digits), out=tmp_path / "a", callbacks=[heard], **QUICK)
    epochs = [("epoch", number, TERMS) for number in (1, 2, 3)]
    assert heard.told == [("start", "running", 0), *epochs, ("end", "finished", True)]
    plain = zspace.train("vae", data=str(digits), out=False, **QUICK)
    assert plain.result["test"] == run.result["test"]


class Anything:
    """A reporter that has whatever it is asked for."""

    bars = False

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None


def test_a_reporter_of_the_users_own_is_no_tracker(digits):
    run = zspace.train("vae", data=str(digits), out=False, **{**QUICK, "reporter": Anything()})
    assert run.record["status"] == "finished"


def test_what_a_callback_raises_ends_a_training_that_goes_on_later(digits, tmp_path):
    stop, heard = Heard(KeyError("enough"), after=2), Heard()
    with pytest.raises(KeyError, match="enough"):
        zspace.train(
            "vae", data=str(digits), out=tmp_path / "b", save_every=0, callbacks=[stop], **QUICK
        )
    assert stop.told[-1] == ("end", "stopped", False)
    run = zspace.resume(tmp_path / "b", reporter=Quiet(), callbacks=[heard])
    assert heard.told[0][0] == "start"
    assert heard.told[-2:] == [("epoch", 3, TERMS), ("end", "finished", True)]
    assert [line["number"] for line in run.metrics] == [1, 2, 3]


def test_what_is_no_callback_or_tracker_is_refused_before_anything_is_written(
    digits, tmp_path, monkeypatch
):
    out = tmp_path / "c"
    for given, said in [
        ({"callbacks": [print]}, "no zspace.Callback"),
        ({"track": "tensorbord"}, "tracker 'tensorbord' is unknown: did you mean 'tensorboard'"),
        ({"track": "wandb"}, r"--track wandb needs wandb: pip install \"zspace\[track\]\""),
    ]:
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(UserError, match=said):
            zspace.train("vae", data=str(digits), out=out, **given, **QUICK)
    assert not out.exists()


class Kept(trackers.Tracker):
    """Keeps what it is told."""

    name, package = "kept", "json"
    fails = ""

    def open(self, path, config, epoch):
        self.said: dict[str, list[Any]] = {"open": [(path.name, config, epoch)], "close": []}
        self._fail("open")

    def scalars(self, values, epoch):
        self._fail("scalars")
        self.said.setdefault("scalars", []).append((epoch, values))

    def picture(self, name, pixels, epoch):
        self.said.setdefault(name, []).append(pixels)

    def histogram(self, name, values, epoch):
        self.said.setdefault(name, []).append(values)

    def close(self, result, finished):
        self.said["close"].append((result, finished))

    def _fail(self, where):
        if self.fails == where:
            raise OSError(f"no {where}\nand more lines")


@pytest.fixture
def kept(monkeypatch) -> type[Kept]:
    monkeypatch.setitem(trackers.TRACKERS, "kept", Kept)
    made: list[Kept] = []

    def init(self: Kept) -> None:
        trackers.Tracker.__init__(self)
        made.append(self)

    monkeypatch.setattr(Kept, "__init__", init)
    Kept.made = made  # type: ignore[attr-defined]
    return Kept


def test_a_tracker_is_told_scalars_pictures_and_histograms(digits, tmp_path, kept):
    run = zspace.train("cvae", data=str(digits), out=tmp_path / "d", track="kept", **QUICK)
    said = kept.made[0].said
    ((name, config, epoch),) = said["open"]
    assert (name, epoch, config["recipe"], config["training.epochs"]) == ("d", 0, "cvae", 3)
    assert [number for number, _ in said["scalars"]] == [1, 2, 3]
    first = said["scalars"][0][1]
    assert first["validation/mse"] == run.metrics[0]["validation"]["mse"]
    assert first["quality/train/psnr"] == run.metrics[0]["quality"]["train"]["psnr"]
    assert {"lr", "samples_per_second", "train/kl"} <= first.keys()
    assert len(said["reconstructions"]) == len(said["codes"]) == len(said["codes/1"]) == 3
    picture = said["reconstructions"][-1]
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * 16 + 2, 8 * 16 + 2, 3)
    assert picture[2:16].std() > 5
    ((result, finished),) = said["close"]
    assert finished
    assert result["test/mse"] == run.result["test"]["mse"]
    assert run.record["output"]["track"] == "kept"
    plain = zspace.train("cvae", data=str(digits), out=False, **QUICK)
    assert plain.result["test"] == run.result["test"]  # looking changes nothing


@pytest.mark.parametrize("where", ["open", "scalars"])
def test_a_tracker_that_fails_is_one_warning_and_ends_no_training(
    digits, kept, where, monkeypatch
):
    monkeypatch.setattr(kept, "fails", where)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = zspace.train("vae", data=str(digits), out=False, track="kept", **QUICK)
    assert run.result["epochs"] == 3
    (said,) = [str(one.message) for one in caught if "kept" in str(one.message)]
    assert said == (
        f"kept failed and is told nothing more (OSError: no {where}); the training continues"
    )


def test_windows_and_texts_are_pictures_too(tmp_path, kept):
    random = np.random.RandomState(0)
    windows, texts = (
        random.randn(60, 6, 2),
        ["".join(w) for w in random.choice(list("ab"), (60, 4))],
    )
    for name, recipe, data in (("w", "vae", windows), ("t", "sentence_vae", texts)):
        small = {"net": "temporal", "width": 8, "blocks": 1, "latent": 2, "epochs": 1}
        zspace.train(recipe, data=data, out=tmp_path / name, track="kept", quiet=True, **small)
        (picture,) = kept.made[-1].said["reconstructions"]
        assert picture.ndim == 3
        assert picture.std() > 5


def test_a_resumed_training_goes_on_with_its_tracker(digits, tmp_path, kept):
    stop = Heard(KeyError("enough"), after=2)
    out = tmp_path / "e"
    with pytest.raises(KeyError):
        zspace.train(
            "vae", data=str(digits), out=out, save_every=0, track="kept", callbacks=[stop], **QUICK
        )
    assert kept.made[0].said["close"] == [({}, False)]
    zspace.resume(out, reporter=Quiet())
    assert kept.made[1].said["open"][0][2] in (1, 2)
    assert kept.made[1].said["scalars"][-1][0] == 3


@needs("tensorboard")
@pytest.mark.slow
def test_tensorboard_shows_what_was_written(digits, tmp_path):
    run = zspace.train("vae", data=str(digits), out=tmp_path / "f", track="tensorboard", **QUICK)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whole = {"images": 0, "histograms": 0}  # the reader drops all but a few by itself
    found = EventAccumulator(str(run.path / "tensorboard"), size_guidance=whole)
    found.Reload()
    values = [(event.step, event.value) for event in found.Scalars("validation/mse")]
    wanted = [(line["number"], line["validation"]["mse"]) for line in run.metrics]
    assert np.allclose(values, wanted)
    assert len(found.Images("reconstructions")) == len(found.Histograms("codes")) == 3
    assert zspace.load(run.path).result == run.result  # the folder is a run as before


@needs("wandb")
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_weights_and_biases_keeps_it_offline(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    zspace.train("vae", data=str(digits), out=tmp_path / "g", track="wandb", **QUICK)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (kept,) = folder.glob("run-*.wandb")
    assert b"validation/mse" in kept.read_bytes()
    assert len(list(folder.glob("files/media/images/reconstructions_*.png"))) == 3


@needs("mlflow")
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_mlflow_keeps_it_here(digits, tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy", reason="needs sqlalchemy: pip install 'zspace[track]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run = zspace.train("vae", data=str(digits), out=tmp_path / "h", track="mlflow", **QUICK)
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("zspace")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("h", "FINISHED")
    history = [metric.value for metric in client.get_metric_history(found.info.run_id, "train/kl")]
    assert np.allclose(history, [line["train"]["kl"] for line in run.metrics])
    assert found.data.params["recipe"] == "vae"
    names = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert {"reconstructions-00003.png", "codes-00003.json"} <= names


def test_options_are_told_by_group_and_name():
    config = {"recipe": "vae", "training": {"epochs": 3, "betas": [0.8, 0.9]}, "source": None}
    told = dict(trackers._flat(config))
    wanted = {"recipe": "vae", "training.epochs": 3, "training.betas": "[0.8, 0.9]"}
    assert told == {**wanted, "source": "None"}

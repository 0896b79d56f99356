"""Run folders from Python: what they hold, what goes in and comes out, and what they refuse."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import platform
import re
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zspace
from conftest import WRITTEN
from zspace.data import spec
from zspace.data.loading import load as load_data
from zspace.models import recipes
from zspace.models.zoo import classic
from zspace.report.figures.registry import overview
from zspace.runs import measured
from zspace.runs.many import read_moments
from zspace.runs.measured import evaluate
from zspace.runs.record import archived
from zspace.system import device, files
from zspace.system.signals import Interrupted
from zspace.training.progress import Quiet

SMALL: dict[str, Any] = {
    "hidden": (16,), "latent": 3, "epochs": 1, "batch": 64, "precision": "fp32", "quiet": True
}  # fmt: skip
SHAPE = (1, 14, 14)


@pytest.fixture(scope="session")
def x(digits: Path) -> np.ndarray:
    """Ten real digits, (10, 1, 14, 14) uint8."""
    with np.load(digits) as arrays:
        return arrays["x"][:10]


@pytest.fixture(scope="session")
def y(digits: Path) -> np.ndarray:
    with np.load(digits) as arrays:
        return arrays["y"][:10]


@pytest.fixture
def own(runs, tmp_path) -> Path:
    """A copy of a run, to be spoilt."""
    return Path(shutil.copytree(runs["vae"].path, tmp_path / "own"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    record.pop("sha256")
    files.write_sealed_json(folder / "run.json", record)
    return folder


# What goes in and what comes out


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "uint8": lambda x: x,
    "float32": lambda x: (x / 255).astype(np.float32),
    "float64": lambda x: x / 255,
    "without channel": lambda x: x[:, 0],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.uint8).reshape(x.shape),
    "a view that runs backwards": lambda x: x[::-1].copy()[::-1],
    "big endian": lambda x: (x / 255).astype(">f4"),
    "torch uint8": torch.from_numpy,
    "torch float32": lambda x: torch.from_numpy(x).float() / 255,
    "torch float64 without channel": lambda x: torch.from_numpy(x[:, 0]).double() / 255,
    "torch that wants a gradient": lambda x: (torch.from_numpy(x) / 255).requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_images_gives_the_same_of_its_kind(runs, x, form):
    run, given = runs["vae"], FORMS[form](x)
    kind = torch.Tensor if form.startswith("torch") else np.ndarray
    for function in (run.encode, run.reconstruct):
        result, want = function(given), function(x)
        assert type(result) is kind
        assert np.asarray(result).dtype == np.float32
        np.testing.assert_allclose(np.asarray(result), want, atol=1e-5)
    assert run.encode(given).shape == (10, 3)
    assert run.reconstruct(given).shape == (10, *SHAPE)


def test_one_image_is_a_batch_of_one(runs, x):
    run = runs["vae"]
    for one in (x[0], x[0, 0], x[:1], x[:1, 0]):
        np.testing.assert_array_equal(run.encode(one), run.encode(x[:1]))


@pytest.mark.parametrize("form", [np.asarray, torch.tensor])
def test_codes_are_decoded_to_the_kind_they_came_as(runs, x, form):
    run = runs["vae"]
    z = run.encode(x)
    decoded = run.decode(form(z))
    assert type(decoded) is type(form(z))
    np.testing.assert_allclose(np.asarray(decoded), run.reconstruct(x), atol=1e-6)
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert run.decode(form(z[:0])).shape == (0, *SHAPE)


def test_codes_may_be_a_view_that_runs_backwards(runs, x):
    run = runs["vae"]
    z = run.encode(x)
    np.testing.assert_allclose(run.decode(z[::-1]), run.decode(z)[::-1], atol=1e-6)


def test_large_inputs_go_in_chunks_and_come_out_in_order(runs, x):
    many = np.tile(x, (250, 1, 1, 1))
    run = runs["vae"]
    np.testing.assert_allclose(run.encode(many), np.tile(run.encode(x), (250, 1)), atol=1e-5)


def test_conditional_run_takes_labels_in_every_form(runs, x, y):
    run = runs["cvae"]
    want = run.encode(x, y)
    for labels in (y.tolist(), torch.tensor(y), y.astype(np.uint8), y[:, None]):
        np.testing.assert_array_equal(run.encode(x, labels), want)
    seven = run.encode(x, 7)
    for label in ("7", np.int64(7), [7] * 10, torch.tensor(7)):
        np.testing.assert_array_equal(run.encode(x, label), seven)
    assert not np.allclose(seven, want)
    assert run.reconstruct(x, y).shape == run.decode(want, y).shape == (10, *SHAPE)


def test_class_names_one_an_image(runs, x, y):
    names = [str(label) for label in y]
    run = runs["cvae"]
    np.testing.assert_array_equal(run.encode(x, names), run.encode(x, y))
    np.testing.assert_array_equal(run.encode(x, np.array(names)), run.encode(x, y))


# Samples


def test_samples_are_images_and_follow_the_seed(runs):
    run = runs["vae"]
    a, b, c = run.sample(5, seed=1), run.sample(5, seed=1), run.sample(5, seed=2)
    assert a.shape == (5, *SHAPE)
    assert a.dtype == np.float32
    assert 0 <= a.min() <= a.max() <= 1
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(run.sample(5), run.sample(5))


@pytest.mark.parametrize("seed", [None, 3])
def test_sampling_leaves_the_global_generators_alone(runs, x, seed):
    torch.manual_seed(5)
    np.random.seed(5)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    runs["vae"].sample(3, seed=seed)
    runs["vae"].encode(x)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_conditional_samples_follow_the_label(runs):
    run = runs["cvae"]
    sevens = run.sample(4, label=7, seed=0)
    np.testing.assert_array_equal(run.sample(4, label="7", seed=0), sevens)
    assert not np.allclose(run.sample(4, label=1, seed=0), sevens)
    mixed = run.sample(4, label=[7, 1, 7, 1], seed=0)
    np.testing.assert_allclose(mixed[0], sevens[0], atol=1e-6)
    in_turn = run.sample(12, seed=0)
    np.testing.assert_array_equal(in_turn, run.sample(12, label=np.arange(12) % 10, seed=0))


# What is refused, in a sentence

REFUSED_IMAGES: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "another size": (lambda x: x[..., :10], r"shape \(10, 1, 14, 10\)"),
    "channels in the middle": (lambda x: np.moveaxis(x, 1, 2), "shape"),
    "three channels": (lambda x: x.repeat(3, 1), "shape"),
    "none at all": (lambda x: x[:0], "shape|empty|no image"),
    "bytes as floats": (lambda x: x.astype(np.float32), r"give x / 255"),
    "below zero": (lambda x: x / 255 - 1, r"give \(x \+ 1\) / 2"),
    "large integers": (lambda x: x.astype(np.int64) + 200, "integers must lie in 0..255"),
    "NaN": (lambda x: np.full(x.shape, np.nan), "NaN|not a number"),
    "infinity": (lambda x: np.full(x.shape, np.inf), "inf"),
    "objects": (lambda x: x.astype(object), "object|type"),
    "text": (lambda x: "digits.npz", "str|array|image"),
}


@pytest.mark.parametrize("case", REFUSED_IMAGES)
def test_unfit_images_are_a_sentence(runs, x, case):
    make, words = REFUSED_IMAGES[case]
    for function in (runs["vae"].encode, runs["vae"].reconstruct):
        with pytest.raises(zspace.UserError, match=words) as caught:
            function(make(x))
        assert "\n" not in str(caught.value)


def test_results_that_are_no_numbers_are_a_sentence(runs):
    run = zspace.load(runs["vae"].path)
    with torch.no_grad():
        for parameter in run.model.decoder.parameters():
            parameter.mul_(1e38)  # of both signs: sums of infinities are no numbers
    with pytest.raises(zspace.UserError, match="results are not finite numbers"):
        run.decode(np.ones((1, *run.model.latent), np.float32))


def test_not_a_number_is_not_answered_with_a_division(runs, x):
    with pytest.raises(zspace.UserError) as caught:
        runs["vae"].encode(np.full(x.shape, np.nan))
    assert "255" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 3, 1), ()])
def test_codes_of_another_shape_are_a_sentence(runs, shape):
    with pytest.raises(zspace.UserError, match=r"codes have shape .*reads \(N, "):
        runs["vae"].decode(np.zeros(shape))


REFUSED_LABELS: dict[str, tuple[Any, str]] = {
    "too large": (10, "label 10 is out of range.*0 to 9"),
    "negative": (-1, "label -1 is out of range"),
    "one too large": ([0, 1, 2, 3, 4, 5, 6, 7, 8, 10], "label 10 is out of range"),
    "unknown name": ("seven", "label 'seven' is unknown.*0, 1, 2"),
    "too few": ([1, 2], "2 labels.*10 images"),
    "none": ([], "label|empty"),
    "fractions": (np.full(10, 1.5), "label|whole|integer"),
    "missing": (None, "conditional, but no label was given: give the class"),
}


@pytest.mark.parametrize("case", REFUSED_LABELS)
def test_unfit_labels_are_a_sentence(runs, x, case):
    label, words = REFUSED_LABELS[case]
    run = runs["cvae"]
    with pytest.raises(zspace.UserError, match=words):
        run.encode(x, label)
    if label is not None and not np.array_equal(label, []):
        with pytest.raises(zspace.UserError):
            run.sample(10, label=label)


def test_label_for_an_unconditional_run_is_a_sentence(runs, x):
    run = runs["vae"]
    for call in (lambda: run.encode(x, 3), lambda: run.sample(2, label=3)):
        with pytest.raises(zspace.UserError, match="takes no label"):
            call()


@pytest.mark.parametrize("n", [0, -1])
def test_no_samples_is_a_sentence(runs, n):
    with pytest.raises(zspace.UserError, match="at least 1"):
        runs["vae"].sample(n)


def test_seed_beyond_the_generator_is_a_sentence(runs, digits, tmp_path):
    with pytest.raises(zspace.UserError, match="seed"):
        runs["vae"].sample(1, seed=2**70)
    with pytest.raises(zspace.UserError, match="seed"):
        zspace.train("vae", data=str(digits), out=tmp_path / "run", **SMALL, seed=2**70)


# The folder


def test_run_json_holds_all_that_a_training_was(runs, digits):
    run = runs["cvae"]
    record = json.loads((run.path / "run.json").read_text())
    assert record["format"] == 1
    assert record["zspace"] == zspace.__version__
    assert record["status"] == "finished"
    assert record["config"]["recipe"] == "cvae"
    assert record["config"]["recipe_options"] == {
        "latent": 3,
        "likelihood": "squared-error",
        "prior": "standard",
    }
    network = {"net": "mlp", "hidden": [32], "activation": "gelu"}
    assert record["config"]["network"] == network
    assert record["config"]["source"] is None
    assert record["config"]["data"]["data"] == str(digits)
    settings = record["config"]["training"]
    assert (settings["epochs"], settings["seed"], settings["lr"]) == (2, 0, 3e-3)
    assert (settings["device"], settings["precision"]) == ("cpu", "fp32")
    data = record["data"]
    assert [data[name] for name in ("train", "validation", "test")] == [243, 27, 30]
    assert data["shape"] == list(SHAPE)
    assert data["classes"] == [str(i) for i in range(10)]
    assert len(data["fingerprint"]) == 64
    there = record["environment"]
    libraries = there["libraries"]
    assert (libraries["torch"], libraries["numpy"]) == (torch.__version__, np.__version__)
    assert (there["python"], there["platform"]) == (
        platform.python_version(),
        platform.platform(),
    )
    assert {"processor", "threads"} <= there.keys()
    assert record["files"] == {
        name: hashlib.sha256((run.path / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "metrics.jsonl")
    }
    result = record["result"]
    assert result["epochs"] == 2
    for split in ("train", "validation", "test"):
        assert set(result[split]) == {"mse", "kl", "objective"}
    assert not any(path.name.startswith(".") for path in run.path.iterdir())


def test_metrics_have_a_line_an_epoch(runs):
    for name, run in runs.items():
        lines = [json.loads(s) for s in (run.path / "metrics.jsonl").read_text().splitlines()]
        assert [line["number"] for line in lines] == [1, 2], name
        assert lines == run.metrics
        for line in lines:
            others = {"discriminator_loss", "generator_loss_weight"} if name == "vaegan" else set()
            assert line["train"].keys() - others == line["validation"].keys() > {"objective"}
            assert line["quality"].keys() == {"train", "validation"}
            assert line["seconds"] > 0 < line["samples_per_second"]
            assert line["step"] == 4 * line["number"]


def test_loaded_run_is_the_trained_one(runs, x, y):
    for name, run in runs.items():
        again, labels = zspace.load(run.path), y if run.model.context else None
        np.testing.assert_array_equal(again.encode(x, labels), run.encode(x, labels))
        np.testing.assert_array_equal(again.sample(3, seed=0), run.sample(3, seed=0))
        assert again.result == run.result
        assert name.replace("_", "-") in repr(again)
    assert zspace.load(str(run.path)).path == run.path


def test_run_opens_its_own_data(runs, digits, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = runs["vae"].data()
    assert (len(data.train), data.spec.shape) == (243, SHAPE)
    assert data.fingerprint == runs["vae"].record["data"]["fingerprint"]


def test_run_of_a_known_set_ignores_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "mnist5k").mkdir()
    monkeypatch.chdir(tmp_path)
    run = zspace.train("ae", data="mnist5k", out="run", **{**SMALL, "batch": 1024})
    assert run.record["config"]["data"]["data"] == "mnist5k"
    assert len(run.data().test) == 500


def test_relative_path_of_the_data_is_found_from_elsewhere(digits, tmp_path, monkeypatch):
    shutil.copy(digits, tmp_path / "own.npz")
    monkeypatch.chdir(tmp_path)
    run = zspace.train("ae", data="own.npz", out="run", **SMALL)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(zspace.load("../run").data().train) == 243
    assert zspace.repeat("../run", out="again", reporter=Quiet()).result["epochs"] == 1
    assert run.record["config"]["data"]["data"] == str(tmp_path / "own.npz")


def test_pictures_of_another_shape_are_refused_by_their_shape(runs, digits, tmp_path):
    """Neither --size nor channels were asked for: the sentence speaks of the images' shapes."""
    with np.load(digits) as arrays:
        x = arrays["x"]
    for name, images in (("wide", x.repeat(2, 3)), ("colour", x.repeat(3, 1))):
        np.savez(tmp_path / f"{name}.npz", x=images)
        with pytest.raises(zspace.UserError, match=r"shape|trained on") as caught:
            runs["vae"].data(str(tmp_path / f"{name}.npz"))
        assert "--size" not in str(caught.value)


def test_pictures_need_not_be_square(digits, tmp_path):
    with np.load(digits) as arrays:
        np.savez(tmp_path / "wide.npz", x=arrays["x"].repeat(2, 3))
    run = zspace.train("ae", data=str(tmp_path / "wide.npz"), out=tmp_path / "run", **SMALL)
    assert run.sample(2).shape == (2, 1, 14, 28)
    shutil.copy(tmp_path / "wide.npz", tmp_path / "more.npz")
    assert run.data(str(tmp_path / "more.npz")).spec.shape == (1, 14, 28)


# A folder that is none, or no longer whole


def test_missing_folder_and_no_run_are_sentences(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name, words in (("none", "not exist"), ("file", "folder"), ("folder", "not a run")):
        with pytest.raises(zspace.UserError, match=words):
            zspace.load(tmp_path / name)


def test_newer_format_is_a_sentence(own):
    edit(own, lambda record: record.update(format=99, zspace="9.9"))
    with pytest.raises(zspace.UserError, match=r"zspace 9\.9 .*newer.*upgrade"):
        zspace.load(own)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1}', "", "\0\0", '{"format": "1"}'])
def test_broken_run_json_is_a_sentence(own, text):
    (own / "run.json").write_text(text)
    for function in (zspace.load, zspace.resume, zspace.repeat):
        with pytest.raises(zspace.UserError, match=r"run\.json"):
            function(own)


@pytest.mark.parametrize("key", ["config", "data", "files", "status"])
def test_incomplete_run_json_is_a_sentence(own, key):
    edit(own, lambda record: record.pop(key))
    with pytest.raises(zspace.UserError, match=r"run\.json"):
        repr(zspace.load(own))


def test_one_flipped_bit_is_noticed(own):
    content = bytearray((own / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (own / "model.safetensors").write_bytes(content)
    with pytest.raises(zspace.UserError, match=r"model\.safetensors is damaged"):
        zspace.load(own)


def test_missing_weights_are_a_sentence(own):
    (own / "model.safetensors").unlink()
    with pytest.raises(zspace.UserError, match=r"model\.safetensors is missing"):
        zspace.load(own)


def test_weights_of_another_model_are_a_sentence(own):
    edit(own, lambda record: record["config"]["recipe_options"].update(latent=4))
    with pytest.raises(zspace.UserError, match="do not fit"):
        zspace.load(own)


def test_recipe_that_is_not_registered_is_a_sentence(own):
    edit(own, lambda record: record["config"].update(recipe="my_vae"))
    with pytest.raises(zspace.UserError, match="recipe 'my_vae' is unknown"):
        zspace.load(own)


def test_result_of_an_unfinished_run_is_a_sentence(digits, tmp_path):
    class Stop(Quiet):
        def epoch(self, epoch, fit) -> None:
            if epoch.number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zspace.train(
            "ae", data=str(digits), out=tmp_path / "run", reporter=Stop(), save_every=0,
            **{**SMALL, "epochs": 3},
        )  # fmt: skip
    run = zspace.load(tmp_path / "run")
    assert run.sample(1).shape == (1, *SHAPE)
    with pytest.raises(zspace.UserError, match="resume"):
        _ = run.result


# A training asked for wrongly

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "typo": ({"epoch": 3}, "did you mean 'epochs'"),
    "latent 0": ({"latent": 0}, "latent is 0"),
    "latent as text": ({"latent": "3"}, "latent"),
    "latent as a fraction": ({"latent": 2.5}, "latent"),
    "hidden 0": ({"hidden": (0,)}, "hidden"),
    "hidden as one number": ({"hidden": 16}, "hidden"),
    "likelihood": ({"likelihood": "bernouli"}, "did you mean 'bernoulli'"),
    "schedule": ({"schedule": "linear"}, "schedule"),
    "precision": ({"precision": "fp8"}, "precision"),
    "fp16 without a GPU": ({"precision": "fp16", "device": "cpu"}, "fp16 needs a GPU"),
    "binarize": ({"binarize": "yes"}, "binarize"),
    "epochs 0": ({"epochs": 0}, "epochs is 0"),
    "epochs as a fraction": ({"epochs": 1.5}, "epochs"),
    "epochs as text": ({"epochs": "3"}, "epochs"),
    "batch": ({"batch": -1}, "batch is -1"),
    "batch as a fraction": ({"batch": 64.5}, "batch"),
    "learning rate": ({"lr": float("nan")}, "lr is nan"),
    "betas": ({"betas": (0.9,)}, "betas"),
    "weight decay": ({"weight_decay": float("nan")}, "weight_decay"),
    "clip": ({"clip": float("nan")}, "clip"),
    "ema": ({"ema": 1.0}, "ema is 1"),
    "device": ({"device": "gpu"}, "device 'gpu' is unknown"),
    "data": ({"data": "mnist6k"}, "did you mean 'mnist5k'"),
    "data as a missing path": ({"data": Path("none.npz")}, "none.npz"),
    "data as an array": ({"data": np.ones((20, 4, 4)) * 2}, "--values 0 255"),
    "data as an object": ({"data": object()}, "data of type object"),
    "data as text in an array": ({"data": np.array(["a", "b"])}, "data|type"),
    "name too long": ({"out": "x" * 300}, "name|write"),
}


@pytest.mark.parametrize("case", WRONG)
def test_training_asked_for_wrongly_is_a_sentence_and_leaves_nothing(
    digits, tmp_path, monkeypatch, case
):
    options, words = WRONG[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zspace.UserError, match=words) as caught:
        zspace.train("vae", **{"data": str(digits), "out": "run", **SMALL, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers(digits, tmp_path):
    """What a loop over np.arange or np.logspace gives."""
    options = {
        **SMALL, "latent": np.int64(3), "hidden": np.array([16]), "epochs": np.int32(1),
        "seed": np.int64(0), "lr": np.float32(0.002), "batch": np.int64(64),
    }  # fmt: skip
    run = zspace.train("vae", data=digits, out=tmp_path / "run", **options)
    again = zspace.repeat(run.path, out=tmp_path / "again", reporter=Quiet())
    weights = [(r.path / "model.safetensors").read_bytes() for r in (run, again)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        ({"likelihood": "logistic-mixture"}, True),
        ({"likelihood": "bernoulli", "binarize": "static"}, True),
        ({"likelihood": "bernoulli"}, False),
        ({"likelihood": "gaussian"}, False),
    ],
    ids=str,
)
def test_bits_per_dimension_where_pixels_are_discrete(digits, tmp_path, options, bits):
    run = zspace.train("vae", data=str(digits), out=tmp_path / "run", **SMALL, **options)
    assert ("bits_per_dimension" in run.result) == bits
    if bits:
        test = run.result["test"]
        nats = test.get("nll", test.get("bce")) + test["kl"]
        found = run.result["bits_per_dimension"]["test"]
        assert found == pytest.approx(nats / np.log(2) / np.prod(SHAPE))


# A recipe of the user's own


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The recipes as they are; what a test registers is forgotten after it."""
    monkeypatch.setattr(recipes, "RECIPES", dict(recipes.RECIPES))
    return recipes.RECIPES


def test_own_recipe_trains_loads_and_repeats(digits, tmp_path, registry, x):
    @zspace.recipe
    def small_vae(data: spec.Spec, latent: int = 2, width: int = 8) -> zspace.Recipe:
        """A VAE with one hidden layer."""
        return classic.vae(data, latent, hidden=(width,))

    options = {k: v for k, v in SMALL.items() if k != "hidden"}
    run = zspace.train("small-vae", data=str(digits), out=tmp_path / "run", **options, width=12)
    assert run.record["config"]["recipe_options"] == {"latent": 3, "width": 12}
    source = run.record["config"]["source"]
    assert source["module"] == __name__
    assert source["sha256"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert zspace.load(run.path).encode(x).shape == (10, 3)
    again = zspace.repeat(run.path, out=tmp_path / "again", reporter=Quiet())
    np.testing.assert_array_equal(again.encode(x), run.encode(x))
    del registry["small_vae"]
    with pytest.raises(zspace.UserError, match=f"import it first .*import {__name__}"):
        zspace.load(run.path)


def test_own_recipe_needs_no_types(digits, tmp_path, registry):
    @zspace.recipe
    def bare(data, latent=3):
        return classic.vae(data, latent, hidden=(8,))

    options = {k: v for k, v in SMALL.items() if k != "hidden"}
    run = zspace.train("bare", data=str(digits), out=tmp_path / "run", **options)
    assert run.model.latent == (3,)


def test_results_do_not_go_into_the_folder_of_the_data(tmp_path):
    from PIL import Image

    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / f"{i}.png")
    with pytest.raises(zspace.UserError, match="lies inside the data folder"):
        zspace.train("ae", data=str(tmp_path), out=tmp_path / "run", epochs=1, hidden=(8,))


def test_changed_data_are_warned_of(digits, tmp_path):
    source = tmp_path / "own.npz"
    source.write_bytes(digits.read_bytes())
    run = zspace.train(
        "ae", data=str(source), out=tmp_path / "run", epochs=1, hidden=(8,), latent=2, quiet=True
    )
    with np.load(digits) as content:
        np.savez(source, x=255 - content["x"], y=content["y"])
    with pytest.warns(UserWarning, match="has changed since"):
        zspace.load(run.path).data()


# In memory


def weights_of(run: zspace.Run) -> str:
    return run.record["files"]["model.safetensors"]


@pytest.fixture(scope="module")
def twins(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[zspace.Run, zspace.Run]:
    """The same training in memory and into a folder, with snapshots."""
    options = {**SMALL, "data": str(digits), "epochs": 2, "snapshots": 2}
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        run = zspace.train("cvae", out=False, **options)
        assert list(here.iterdir()) == [], "training in memory left a file"
        return run, zspace.train("cvae", out=here / "run", **options)


def test_a_training_in_memory_is_that_into_a_folder(twins, x, y):
    memory, folder = twins
    clock = {"seconds", "samples_per_second"}
    for one, other in zip(memory.metrics, folder.metrics, strict=True):
        assert {**one, **dict.fromkeys(clock)} == {**other, **dict.fromkeys(clock)}
    assert (
        memory.record["files"]["model.safetensors"] == folder.record["files"]["model.safetensors"]
    )
    assert memory.result["test"] == folder.result["test"]
    np.testing.assert_array_equal(memory.reconstruct(x, y), folder.reconstruct(x, y))
    np.testing.assert_array_equal(memory.sample(3, seed=0), folder.sample(3, seed=0))
    assert memory.data() is memory.data()
    moments, others = read_moments(memory), read_moments(folder)
    np.testing.assert_array_equal(moments.reconstructions, others.reconstructions)
    assert repr(memory) == "Run('memory', cvae-digits-3, finished)"


def test_a_saved_run_has_the_files_of_a_trained_one(twins, tmp_path, x, y):
    memory = zspace.Run.from_bytes(twins[0].to_bytes())
    assert memory.save(tmp_path / "deep" / "run") == tmp_path / "deep" / "run"
    assert {p.name for p in memory.path.iterdir()} == {p.name for p in twins[1].path.iterdir()}
    again = zspace.load(tmp_path / "deep" / "run")
    np.testing.assert_array_equal(again.encode(x, y), memory.encode(x, y))
    assert (again.record, again.metrics) == (memory.record, memory.metrics)
    assert again.to_bytes() == memory.to_bytes() == twins[0].to_bytes()
    evaluate(memory, sections=["representation"])
    assert (memory.path / "evaluation.json").is_file()
    assert measured.read(zspace.Run.from_bytes(memory.to_bytes())) == measured.read(memory)
    before = {path: path.read_bytes() for path in memory.path.iterdir()}
    with pytest.raises(zspace.UserError, match="exists already: choose another folder"):
        twins[1].save(memory.path)
    assert {path: path.read_bytes() for path in memory.path.iterdir()} == before


def test_a_run_that_cannot_be_saved_leaves_nothing(twins, tmp_path, monkeypatch):
    write = files.write

    def full(path: Path, *parts: Any) -> str:
        if path.name == "run.json":
            raise files.CannotWrite("no space is left")
        return write(path, *parts)

    monkeypatch.setattr(files, "write", full)
    run = zspace.Run.from_bytes(twins[0].to_bytes())
    with pytest.raises(zspace.UserError, match="no space"):
        run.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(zspace.UserError, match=r"run\.save\(path\)"):
        _ = run.path


@pytest.mark.parametrize("which", [0, 1], ids=["memory", "folder"])
def test_a_run_is_pickled_as_its_files(twins, which, x, y):
    run = twins[which]
    content = run.to_bytes()
    again = pickle.loads(pickle.dumps(run))
    assert again.to_bytes() == content == copy.deepcopy(run).to_bytes()
    np.testing.assert_array_equal(again.encode(x, y), run.encode(x, y))
    assert again.result == run.result
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert set(archive.namelist()) == {
            *WRITTEN, "snapshots.npz"
        }  # fmt: skip


def test_bytes_that_are_damaged_are_refused(twins):
    content = twins[0].to_bytes()
    for at in range(0, len(content), len(content) // 200):
        broken = content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        with pytest.raises(zspace.UserError, match="not a run, or are damaged"):
            zspace.Run.from_bytes(broken)
    for cut in (b"", content[:-1], content[1:], content + b"\n"):
        with pytest.raises(zspace.UserError, match="not a run, or are damaged"):
            zspace.Run.from_bytes(cut)
    parts = twins[0].place.parts()
    for name, wrong in (
        ("model.safetensors", parts["model.safetensors"][:-1] + b"\0"),
        ("run.json", parts["run.json"].replace(b'"seed": 0', b'"seed": 1')),
    ):
        assert wrong != parts[name]
        with pytest.raises(zspace.UserError, match=rf"{name} is damaged"):
            zspace.Run.from_bytes(archived({**parts, name: wrong}))
    with pytest.raises(zspace.UserError, match=r"run\.json is missing"):
        zspace.Run.from_bytes(archived({}))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "fitted/../../evil", "state/run.json",
                                  "fitted/.part", "a/run.json"])  # fmt: skip
def test_an_archive_gives_no_files_but_those_of_a_run(twins, tmp_path, name):
    run = zspace.Run.from_bytes(archived({**twins[0].place.parts(), name: b"evil"}))
    run.save(tmp_path / "a" / "run")
    assert {p.name for p in tmp_path.rglob("*")} & {"evil", "state", ".part", "a"} == {"a"}
    assert run.place.parts() == twins[0].place.parts()


def test_what_needs_a_folder_says_so(twins, digits):
    memory = twins[0]
    for needs in (evaluate, overview):
        with pytest.raises(zspace.UserError, match=r"in memory only.*run\.save\(path\)"):
            needs(memory)


def test_a_training_in_memory_that_ends_early_keeps_nothing(digits, tmp_path, monkeypatch):
    class Stop(Quiet):
        def step(self, fit) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.chdir(tmp_path)
    options = {**SMALL, "data": str(digits), "out": False}
    with pytest.raises(Interrupted, match="stopped at step 1; nothing is kept") as stop:
        zspace.train("ae", reporter=Stop(), **options)
    assert stop.value.number == signal.SIGTERM
    with pytest.raises(zspace.UserError, match=r"not finite.*nothing is kept.*lower --lr"):
        zspace.train("ae", **{**options, "lr": 1e30, "schedule": "constant", "warmup": 0.0})
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_repeated_in_memory(runs):
    again = zspace.repeat(runs["ae"].path, out=False, reporter=Quiet())
    assert weights_of(again) == weights_of(runs["ae"])


def test_data_that_were_read_already_are_shared_where_they_are_the_same(twins, runs):
    run = zspace.Run.from_bytes(twins[0].to_bytes())
    run.share_data(runs["ae"].data())
    assert run.data() is runs["ae"].data()
    other = load_data("mnist5k", quiet=True)
    run.share_data(other)
    assert run.data() is runs["ae"].data()


# What made a run


def test_a_run_says_what_its_numbers_are(runs):
    for name, words in (("vae", "squared error, drawn code"), ("ae", "squared error, mean code")):
        about = runs[name].result["about"]
        assert about["terms"]["mse"] == words
        assert about["quality"]["mse"] == "MSE, mean code"
        assert about["terms"].keys() >= runs[name].result["test"].keys()


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


def test_commits_are_those_of_files_that_git_keeps(tmp_path):
    assert device.commit(tmp_path) == ""
    mine, other = tmp_path / "mine.py", tmp_path / "library" / "other.py"
    other.parent.mkdir()
    for file in (mine, other):
        file.write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-qm", "Begin")
    device.commit.cache_clear()
    found = device.commit(mine)
    assert re.fullmatch("[0-9a-f]{40}", found)
    assert device.commit(tmp_path) == found
    assert device.commit(other) == ""  # a library in a project is none of its files
    mine.write_text("a = 2\n")
    device.commit.cache_clear()
    assert device.commit(tmp_path) == f"{found}-dirty"


def test_nothing_is_started_that_a_repository_names(tmp_path):
    """Not its monitor of files, its filters, or the program that fetches what it lacks."""
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\necho $0 $1 >> {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    inner = tmp_path / "project" / "inner"
    for folder in (inner.parent, inner):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "a.py").write_text("a = 1\n")
        (folder / ".gitattributes").write_text("*.py filter=odd\n")
        git(folder, "add", "a.py", ".gitattributes")
        git(folder, "commit", "-qm", "Begin")
    git(inner.parent, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
    git(inner.parent, "commit", "-qm", "Add a repository inside")
    for folder in (inner, inner.parent):
        for key in ("filter.odd.clean", "filter.odd.process", "core.fsmonitor", "diff.external"):
            git(folder, "config", key, f"{trap} {key}")
        git(folder, "config", "filter.odd.required", "true")
        (folder / "a.py").write_text("a = 1\n")  # touched, so that its content is looked at
        device.commit.cache_clear()
        assert re.fullmatch("[0-9a-f]{40}", device.commit(folder))
        (folder / "a.py").write_text("a = 2\n")
        device.commit.cache_clear()
        assert device.commit(folder / "a.py").endswith("-dirty")
    git(inner, "config", "filter.a=b.clean", f"{trap} odd")
    git(inner, "config", "core.partialClone", "origin")
    git(inner, "config", "extensions.partialClone", "origin")
    git(inner, "config", "remote.origin.url", ".")
    git(inner, "config", "remote.origin.promisor", "true")
    git(inner, "config", "remote.origin.uploadpack", f"{trap} fetch")
    for name in ("filter.a=b", ""):
        if not name:
            git(inner, "config", "--remove-section", "filter.a=b")
        for file in (inner / ".git" / "objects").glob("??/*"):
            file.unlink()  # what is missing would be fetched
        device.commit.cache_clear()
        assert re.fullmatch("[0-9a-f]{40}", device.commit(inner))
    assert not (tmp_path / "sprung").exists()


def test_the_environment_is_whole(runs, tmp_path, monkeypatch):
    there = runs["vae"].record["environment"]
    assert there["libraries"].keys() >= {"torch", "numpy", "zuko", "scipy", "torchmetrics"}
    assert there["libraries"]["torch"] == torch.__version__
    assert there["processor"] not in ("", "x86_64")
    assert runs["vae"].config.training.precision == "fp32"
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    device.commit.cache_clear()
    assert device.commit(tmp_path) == ""


# A study where a run is wanted


def test_a_study_is_no_run(runs, tmp_path, capsys):
    from zspace.cli.main import run as main

    study = tmp_path / "my study"
    for i in range(10):
        shutil.copytree(runs["vae"].path, study / "runs" / f"vae-{i}")
    (study / "study.json").write_text("{}")
    with pytest.raises(
        zspace.UserError, match=r"is a study with 10 runs, not a run: .* and 2 more"
    ):
        zspace.load(study)
    with pytest.raises(zspace.UserError, match="is a folder with 10 runs"):
        zspace.load(study / "runs")
    for words in (["sample", str(study)], ["evaluate", str(study)],
                  ["resume", str(study)], ["repeat", str(study), "--out", "x"]):  # fmt: skip
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"for example: zspace {words[0]} '{study}/runs/vae-0'\n" in said
    shutil.rmtree(study / "runs")
    with pytest.raises(zspace.UserError, match=r"holds no run\.json"):
        zspace.load(study)

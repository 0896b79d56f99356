"""Data sets in the format of the Hugging Face hub, written and read on this machine."""

import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from zspace.data.loading import is_known, is_resized, lasting, load
from zspace.data.readers import hf
from zspace.system.errors import UserError

datasets = pytest.importorskip("datasets")
RNG = np.random.default_rng(0)
NAMES = ["cat", "ant"]  # not in the order of the alphabet


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def table(n, mode="RGB", side=8, labels=True, first=0):
    shape = (n, side, side, 3) if mode == "RGB" else (n, side, side)
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    features = {"id": datasets.Value("int64"), "picture": datasets.Image()}
    rows = {"id": list(range(n)), "picture": [Image.fromarray(image) for image in x]}
    y = [(i + first) % 2 for i in range(n)]
    if labels:
        features["kind"] = datasets.ClassLabel(names=NAMES)
        rows["kind"] = y
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features)), x, y


def write(folder, **tables):
    (folder / "data").mkdir(parents=True)
    for split, rows in tables.items():
        rows.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return f"{hf.PREFIX}{folder}"


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
def test_images_and_labels_by_their_types(tmp_path, memory):
    (train, x, y), (test, x_test, _) = table(20), table(6, first=1)
    name = write(tmp_path / "pets", train=train, test=test)
    data = load(name, memory=memory)
    assert (data.name, data.classes, data.spec.shape) == ("pets", ("cat", "ant"), (3, 8, 8))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [18, 2, 6]
    expected = torch.from_numpy(x).permute(0, 3, 1, 2)[data.train.index] / 255
    assert torch.equal(data.train.images(), expected)
    assert data.train.y.tolist() == y
    assert torch.equal(data.test.images(), torch.from_numpy(x_test).permute(0, 3, 1, 2) / 255)
    assert load(name, memory=memory).fingerprint == data.fingerprint
    assert load(name, memory=memory, size=4, channels=1).spec.shape == (1, 4, 4)


def test_grey_images_without_labels_and_with_all_splits(tmp_path):
    parts = {"train": 12, "validation": 3, "test": 4}
    tables = {split: table(n, "L", labels=False)[0] for split, n in parts.items()}
    data = load(write(tmp_path / "grey", **tables))
    assert data.spec.shape == (1, 8, 8)
    assert data.classes == ()
    assert [len(s) for s in (data.train, data.validation, data.test)] == [12, 3, 4]


def test_one_split_of_any_name_is_for_training(tmp_path):
    data = load(write(tmp_path / "one", test=table(20)[0]))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [17, 1, 2]


def test_a_test_split_whose_labels_are_withheld_is_not_used(tmp_path):
    test = table(6)[0].map(lambda row: {"kind": -1})
    data = load(write(tmp_path / "pets", train=table(20)[0], test=test))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [17, 1, 2]


def test_sets_without_images_or_training_split_are_refused(tmp_path):
    rows = datasets.Dataset.from_dict({"text": ["a"] * 20})
    with pytest.raises(UserError, match="has no images but text"):
        load(write(tmp_path / "text", train=rows))
    with pytest.raises(UserError, match=r"has no split train but "):
        load(write(tmp_path / "two", validation=table(12)[0], test=table(12)[0]))


def test_unequal_sizes_and_damage_are_named_by_row(tmp_path):
    small, large = table(12)[0], table(1, side=9)[0]
    name = write(tmp_path / "mixed", train=datasets.concatenate_datasets([small, large]))
    with pytest.raises(
        UserError, match=r"'train\[0\]' is 8 x 8, 'train\[12\]' is 9 x 9; give --size"
    ):
        load(name)
    assert load(name, size=8).spec.shape == (3, 8, 8)
    features = datasets.Features({"picture": datasets.Image()})
    bad = [{"bytes": b"no image", "path": None}] * 12
    rows = datasets.Dataset.from_dict({"picture": bad}, features=features)
    with pytest.raises(UserError, match=r"image 'train\[0\]' cannot be read: it is not an image"):
        load(write(tmp_path / "bad", train=rows))


def test_what_does_not_exist_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            UserError, match=r"^data set 'hf:nobody/nothing' cannot be loaded: .*hf:NAME"
        ):
            load("hf:nobody/nothing")


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "zspace\[hf\]"'):
        load("hf:beans")


def test_names_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    assert is_known("hf:beans")
    assert is_resized("hf:beans")
    assert lasting("hf:user/name") == "hf:user/name"
    assert lasting("hf:pets") == f"hf:{tmp_path / 'pets'}"
    assert lasting("pets") == str(tmp_path / "pets")
    assert lasting("mnist") == "mnist"
    assert is_resized("celeba")
    assert not is_resized("mnist")


def test_the_cache_is_the_same_from_any_folder(tmp_path, monkeypatch):
    write(tmp_path / "pets", train=table(20)[0])
    for here, name in ((tmp_path, "hf:pets"), (tmp_path / "pets", f"hf:{tmp_path / 'pets'}")):
        monkeypatch.chdir(here)
        load(name, memory=1)
    assert len(list((tmp_path / "cache" / "zspace" / "images").iterdir())) == 1

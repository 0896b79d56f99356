"""Folders of images: layouts, sizes, damage, and the path that leaves images on disk."""

import os
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zspace
from zspace.data.batches import Batches
from zspace.data.loading import load
from zspace.system.errors import UserError

RNG = np.random.default_rng(0)
GREY, RED = 90, (200, 30, 40)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def save(path, mode="L", size=(6, 4), colour=None, **options):
    """One plain image; ``size`` is (width, height), as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {"L": GREY, "RGB": RED}.get(mode, 0) if colour is None else colour
    Image.new(mode, size, plain).save(path, **options)
    return path


def fill(folder, n=10, **options):
    for i in range(n):
        save(folder / f"{i:02}.png", **options)
    return folder


def only(data):
    """The one image that a folder of ten copies holds, (C, H, W)."""
    assert torch.equal(data.train.x, data.train.x[:1].expand_as(data.train.x))
    return data.train.x[0]


def test_a_plain_folder_has_no_labels(tmp_path):
    data = load(str(fill(tmp_path / "cats")))
    assert (data.name, data.classes, data.skipped) == ("cats", (), 0)
    assert data.spec.shape == (1, 4, 6)
    assert data.train.labels() is None
    assert [len(s) for s in (data.train, data.validation, data.test)] == [8, 1, 1]
    assert only(data).eq(GREY).all()


def test_sub_folders_are_classes_in_sorted_order(tmp_path):
    for i, name in enumerate(("dog", "ant", "cat")):
        fill(tmp_path / name, n=5, colour=10 * i)
    save(tmp_path / "ant" / "deeper" / "more.JPEG", colour=10)
    (tmp_path / "empty").mkdir()
    data = load(str(tmp_path))
    assert data.classes == ("ant", "cat", "dog")
    values = data.train.x[:, 0, 0, 0]
    assert data.train.y.tolist() == [{10: 0, 20: 1, 0: 2}[int(v)] for v in values]
    assert len(values) == 16


@pytest.mark.parametrize("where", ["train/09.png", "test/01.png"])
def test_one_colour_image_makes_all_of_them_colour(tmp_path, where):
    """Also those before it, which were read as grey, as the first one is."""
    for split, n in (("train", 10), ("test", 3)):
        fill(tmp_path / split, n=n)
    save(tmp_path / where, "RGB")
    data = load(str(tmp_path))
    x = torch.cat([data.train.x, data.test.x])
    at = 9 if where.startswith("train") else 11
    assert x[at, :, 0, 0].tolist() == list(RED)
    assert (torch.cat([x[:at], x[at + 1 :]]) == GREY).all()
    assert x.shape == (13, 3, 4, 6)


def test_what_no_image_is_does_not_decide_for_the_others(tmp_path):
    fill(tmp_path)
    (tmp_path / "000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"000\.png' cannot be read"):
        load(str(tmp_path))
    with pytest.warns(UserWarning, match="1 unreadable"):
        data = load(str(tmp_path), skip_bad=True)
    assert only(data).eq(GREY).all()


def test_hidden_files_and_other_kinds_are_ignored(tmp_path):
    fill(tmp_path)
    save(tmp_path / ".hidden.png", size=(9, 9))
    save(tmp_path / ".cache" / "a.png", size=(9, 9))
    (tmp_path / "notes.txt").write_text("x")
    assert len(load(str(tmp_path)).train.x) == 10


def test_splits_may_be_folders(tmp_path):
    for split, n in (("train", 20), ("Val", 3), ("test", 4)):
        for name in ("a", "b"):
            fill(tmp_path / split / name, n=n)
    data = load(str(tmp_path))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [40, 6, 8]
    assert data.classes == ("a", "b")
    assert data.test.labels().tolist() == [0] * 4 + [1] * 4


def test_a_missing_split_is_cut_from_train(tmp_path):
    fill(tmp_path / "train", n=20)
    fill(tmp_path / "test", n=4)
    data = load(str(tmp_path))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [18, 2, 4]


def test_a_class_called_train_needs_another_name(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "plane")
    with pytest.raises(UserError, match=r"'plane' .* if all of them are classes, give them other"):
        load(str(tmp_path))


def test_mixed_grey_and_colour_is_colour_unless_channels_are_given(tmp_path):
    fill(tmp_path)
    save(tmp_path / "red.png", "RGB")
    mixed = load(str(tmp_path))
    assert mixed.spec.shape == (3, 4, 6)
    assert mixed.train.x[-1, :, 0, 0].tolist() == list(RED)
    assert load(str(tmp_path), channels=1).spec.shape == (1, 4, 6)


def test_grey_images_can_be_asked_for_as_colour(tmp_path):
    assert load(str(fill(tmp_path)), channels=3).spec.shape == (3, 4, 6)


def test_unequal_sizes_need_a_size(tmp_path):
    fill(tmp_path)
    save(tmp_path / "wide.png", size=(9, 4))
    with pytest.raises(UserError, match=r"00\.png' is 6 x 4, .*wide\.png' is 9 x 4; give --size"):
        load(str(tmp_path))
    assert load(str(tmp_path), size=4).spec.shape == (1, 4, 4)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def noisy(path, *channels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (4, 6, *channels), dtype=np.uint8)).save(path)


def damaged(folder):
    """Twelve good images, one that ends early, one that is none."""
    for i in range(12):
        noisy(folder / f"{i:02}.png")
    noisy(folder / "05b.png")
    truncate(folder / "05b.png")
    (folder / "07b.png").write_bytes(b"no image")
    return str(folder)


@pytest.mark.parametrize(
    ("memory", "first"),
    [
        (None, r"05b\.png' cannot be read: .*truncated.*--skip-bad"),
        # Before images are written to the disk, their headers are read, and 05b has one.
        (1.0, r"07b\.png' cannot be read: it is not an image in PNG.*--skip-bad"),
    ],
    ids=["memory", "disk"],
)
def test_a_damaged_image_stops_or_is_skipped(tmp_path, memory, first):
    folder = damaged(tmp_path)
    with pytest.raises(UserError, match=first):
        load(folder, memory=memory)
    with pytest.warns(UserWarning, match="2 unreadable files") as caught:
        data = load(folder, memory=memory, skip_bad=True)
    assert len(caught) == 1
    assert data.skipped == 2
    assert sum(map(len, (data.train, data.validation, data.test))) == 12
    for name in ("05b.png", "07b.png"):
        os.remove(tmp_path / name)
    good = load(folder)
    assert torch.equal(good.train.images(), data.train.images())


def test_a_truncated_image_is_named(tmp_path):
    folder = damaged(tmp_path)
    os.remove(tmp_path / "07b.png")
    for memory in (None, 1):
        with pytest.raises(UserError, match=r"05b\.png' cannot be read"):
            load(folder, memory=memory)


def test_nothing_but_damage_is_an_error(tmp_path):
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="no image can be read"):
        load(str(tmp_path), skip_bad=True)


def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(UserError, match=r"00\.png' cannot be read: .*decompression bomb"):
        load(str(tmp_path))


def test_images_over_the_budget_stay_on_disk(tmp_path):
    for i in range(30):
        noisy(tmp_path / "ab"[i % 2] / f"{i:02}.png", 3)
    lazy, whole = load(str(tmp_path), memory=1), load(str(tmp_path))
    assert not isinstance(lazy.train.x, torch.Tensor)
    assert lazy.spec == whole.spec
    assert torch.equal(lazy.test.images(), whole.test.images())
    both = [
        Batches(d.train, batch=4, device=torch.device("cpu"), seed=0, classes=2)
        for d in (lazy, whole)
    ]
    for ours, theirs in zip(both[0].epoch(1), both[1].epoch(1), strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert ours.x.stride() == theirs.x.stride()
        assert torch.equal(ours.c, theirs.c)


def test_images_on_disk_are_found_after_a_change_of_folder(tmp_path, monkeypatch):
    fill(tmp_path / "cats")
    monkeypatch.chdir(tmp_path)
    data = load("cats", memory=1)
    monkeypatch.chdir("/")
    assert data.train.images().shape == (8, 1, 4, 6)


def test_many_images_are_read_in_order_by_threads(tmp_path):
    for i in range(200):
        save(tmp_path / f"{i:03}.png", colour=i, size=(2, 2))
    assert load(str(tmp_path)).train.x[:, 0, 0, 0].tolist() == list(range(200))


def test_empty_and_muddled_folders_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"holds no images \(\.bmp"):
        load(str(tmp_path))
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"unpack 'a\.tar\.gz' first"):
        load(str(tmp_path))
    fill(tmp_path / "a")
    save(tmp_path / "loose.png")
    with pytest.raises(UserError, match=r"'loose\.png'\) beside class folders \('a'\)"):
        load(str(tmp_path))


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="has 9 samples"):
        load(str(fill(tmp_path, n=9)))


def test_splits_must_agree_about_classes(tmp_path):
    fill(tmp_path / "train" / "a")
    fill(tmp_path / "test")
    with pytest.raises(UserError, match="either train or test has class folders, but not both"):
        load(str(tmp_path))
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    fill(tmp_path / "test" / "b")
    assert load(str(tmp_path)).novel == ("b",)
    fill(tmp_path / "val" / "a")
    fill(tmp_path / "valid" / "a")
    with pytest.raises(UserError, match="two folders for the validation split"):
        load(str(tmp_path))


@pytest.fixture(scope="module")
def of_grey(tmp_path_factory):
    """A run that was trained on grey images of 4 x 4."""
    folder = tmp_path_factory.mktemp("grey")
    for i in range(20):
        save(folder / "images" / f"{i:02}.png", size=(4, 4), colour=10 * i)
    options = {"hidden": (4,), "latent": 2, "epochs": 1, "precision": "fp32"}
    data = str(folder / "images")
    return zspace.train("ae", data=data, out=folder / "run", quiet=True, **options)


def test_a_model_of_grey_images_refuses_colour_in_one_sentence(of_grey, tmp_path):
    fill(tmp_path / "mixed")
    assert of_grey.data(tmp_path / "mixed").spec.shape == (1, 4, 4)
    save(tmp_path / "mixed" / "red.png", "RGB")
    with pytest.raises(UserError, match=r"'mixed' has colour images, .* make the images grey"):
        of_grey.data(tmp_path / "mixed")


def test_a_model_of_colour_images_reads_grey_ones(tmp_path):
    fill(tmp_path / "red", mode="RGB", size=(4, 4))
    fill(tmp_path / "grey")
    options = {"hidden": (4,), "latent": 2, "epochs": 1, "precision": "fp32"}
    run = zspace.train(
        "ae", data=str(tmp_path / "red"), out=tmp_path / "run", quiet=True, **options
    )
    assert run.data(tmp_path / "grey").spec.shape == (3, 4, 4)


def test_arrays_are_not_converted(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 4, 4, 3), np.uint8))
    with pytest.raises(
        UserError, match="'x' has 3 channels, but 1 were asked for; only images in"
    ):
        load(str(tmp_path / "x.npy"), channels=1)


def test_real_photographs(tmp_path):
    root = Path(os.environ.get("ZSPACE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    archive = root / "cifar10-jpeg" / "test.tar.gz"
    if not archive.is_file():
        pytest.skip("the photographs of cifar10-jpeg are not here")
    with pytest.raises(UserError, match="is an archive; unpack it first"):
        load(str(archive))
    with tarfile.open(archive) as tar:
        photos = (member for member in tar if member.name.endswith(".jpg"))
        for member in islice(photos, 0, 3000, 25):
            tar.extract(member, tmp_path, filter="data")
    data, lazy = (load(str(tmp_path / "test"), memory=memory) for memory in (None, 1))
    assert data.spec.shape == (3, 32, 32)
    assert len(data.train.x) == 120
    assert {"bird"} <= set(data.classes) <= {
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    }  # fmt: skip
    assert torch.equal(lazy.test.images(), data.test.images())
    assert 0.3 < data.train.images().mean() < 0.6

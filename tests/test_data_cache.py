"""Images that do not fit the memory: decoded once, found again, made anew when they must be."""

import errno
import json
import os
import shutil
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from zspace.data.dataset import Data
from zspace.data.loading import load
from zspace.data.readers import cache, parallel
from zspace.system.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    """The folder of caches, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zspace" / "images"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i in range(24):
        noisy(folder / "ab"[i % 2] / f"{i:02}.png")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """Names of the images that were decoded, in any order."""
    names, decode = [], parallel.stream

    def noting(what, sources, *rest):
        names.extend(source.name for source in sources)
        return decode(what, sources, *rest)

    monkeypatch.setattr(cache, "stream", noting)
    return names


def noisy(path, side=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


def lazy(folder, **options) -> Data:
    data = load(str(folder), memory=1, **options)
    assert not isinstance(data.train.x, torch.Tensor)
    return data


def same(ours, theirs):
    splits = ("train", "validation", "test")
    return all(
        torch.equal(getattr(ours, split).images(), getattr(theirs, split).images())
        for split in splits
    )


def test_images_are_decoded_once(photos, decoded, kept):
    first = lazy(photos)
    assert len(decoded) == 24
    again = lazy(photos)
    assert len(decoded) == 24
    assert same(first, load(str(photos)))
    assert same(again, first)
    assert again.fingerprint == first.fingerprint
    assert again.train.y.equal(first.train.y)
    (folder,) = kept.iterdir()
    assert folder.name.startswith("photos-")
    assert np.load(folder / "train.npy").shape == (24, 3, 8, 8)


@pytest.mark.parametrize("options", [{}, {"size": 5}, {"skip_bad": True}], ids=str)
def test_the_fingerprint_is_the_same_in_memory_and_on_disk(photos, options):
    if options.get("skip_bad"):
        spoil(photos)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        disk, memory = lazy(photos, **options), load(str(photos), **options)
    assert isinstance(memory.train.x, torch.Tensor)
    assert disk.fingerprint == memory.fingerprint


def test_the_fingerprint_follows_the_pixels(photos):
    before = lazy(photos).fingerprint
    rewritten(photos)
    assert lazy(photos).fingerprint == before
    noisy(photos / "a" / "00.png")
    assert lazy(photos).fingerprint != before


def test_splits_have_a_file_each(tmp_path, kept):
    for split, n in (("train", 20), ("val", 3), ("test", 4)):
        for i in range(n):
            noisy(tmp_path / "set" / split / f"{i}.png")
    data = lazy(tmp_path / "set")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [20, 3, 4]
    assert same(data, load(str(tmp_path / "set")))
    (folder,) = kept.iterdir()
    assert sorted(path.name for path in folder.glob("*.npy")) == [
        "test.npy",
        "train.npy",
        "validation.npy",
    ]


def rewritten(photos):
    """One image is another now, of the same size in bytes, and later by a nanosecond."""
    path = photos / "a" / "00.png"
    state = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def swapped(photos):
    """Two images change names: sizes and count stay, but not the times and sizes of each name."""
    a, b, c = (photos / "a" / name for name in ("00.png", "02.png", "c.png"))
    os.utime(a, ns=(0, 1))
    a.rename(c)
    b.rename(a)
    c.rename(b)


@pytest.mark.parametrize(
    "change",
    [
        rewritten,
        swapped,
        lambda photos: noisy(photos / "b" / "new.png"),
        lambda photos: (photos / "b" / "01.png").unlink(),
        lambda photos: (photos / "b" / "01.png").rename(photos / "b" / "01b.png"),
    ],
    ids=["time", "names swapped", "one more", "one less", "another name"],
)
def test_a_cache_of_other_images_is_made_anew(photos, decoded, kept, change):
    lazy(photos)
    change(photos)
    data = lazy(photos)
    assert len(decoded) == 48 + (data.train.x.shape[0] - 24)
    assert same(data, load(str(photos)))
    assert len(list(kept.iterdir())) == 1


def test_other_options_have_a_cache_of_its_own(photos, decoded, kept):
    for options in ({}, {"size": 4}, {"channels": 1}):
        data = lazy(photos, **options)
        assert same(data, load(str(photos), **options))
    assert len(decoded) == 72
    assert len(list(kept.iterdir())) == 3


def cut(folder):
    path = folder / "train.npy"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "tear",
    [
        cut,
        lambda folder: (folder / "train.npy").unlink(),
        lambda folder: (folder / "facts.json").write_text("{"),
        lambda folder: (folder / "facts.json").write_text("[]"),
        lambda folder: (folder / "facts.json").unlink(),
        lambda folder: np.save(folder / "train.npy", np.zeros((2, 3, 8, 8), np.uint8)),
        lambda folder: (folder / "train.npy").write_bytes(b""),
    ],
    ids=["cut", "gone", "torn facts", "other facts", "no facts", "other shape", "empty"],
)
def test_a_torn_cache_is_made_anew(photos, kept, tear):
    lazy(photos)
    (folder,) = kept.iterdir()
    tear(folder)
    assert same(lazy(photos), load(str(photos)))
    assert json.loads((folder / "facts.json").read_text())["shape"] == [3, 8, 8]


def spoil(photos):
    for name in ("a/00.png", "b/03.png"):
        path = photos / name
        path.write_bytes(path.read_bytes()[:100])


def test_bad_files_are_left_out_and_remembered(photos, decoded):
    spoil(photos)
    with pytest.raises(UserError, match=r"00\.png' cannot be read"):
        lazy(photos)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 unreadable files of .*00\.png"):
            data = lazy(photos, skip_bad=True)
        assert (data.skipped, data.train.x.shape) == (2, (22, 3, 8, 8))
    assert len(decoded) == 48  # once in vain, once well
    with pytest.warns(UserWarning, match="2 unreadable"):
        assert same(data, load(str(photos), skip_bad=True))
    with pytest.raises(UserError, match=r"00\.png' cannot be read"):
        lazy(photos)


def test_what_is_broken_off_leaves_nothing_behind(photos, kept):
    spoil(photos)
    with pytest.raises(UserError):
        lazy(photos)
    assert list(kept.iterdir()) == []


def test_a_full_disk_is_one_sentence(photos, kept, monkeypatch):
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"take 4\.61e-06 GB and .* has 1e-06 GB free; make room"):
        lazy(photos)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept.parent.parent))

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be kept in .*No space left on device; make room"):
        lazy(photos)
    assert list(kept.iterdir()) == []


def test_an_old_half_written_cache_is_cleared_away(photos, kept):
    for name, age in (("old.part", 7200), ("new.part", 0)):
        (kept / name).mkdir(parents=True)
        (kept / name / "train.npy").write_bytes(b"x")
        for path in (kept / name / "train.npy", kept / name):
            os.utime(path, (time.time() - age, time.time() - age))
    lazy(photos)
    assert not (kept / "old.part").exists()
    assert (kept / "new.part").exists()


def test_enough_memory_later_needs_no_cache(photos, kept):
    lazy(photos)
    shutil.rmtree(kept)
    assert isinstance(load(str(photos)).train.x, torch.Tensor)
    assert not kept.exists()

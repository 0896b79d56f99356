"""Image files as people have them: transparency, sizes that are no squares, depth, many bands."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

import zspace
from zspace.data.account import lines
from zspace.data.loading import load, load_new
from zspace.data.readers import bands, images
from zspace.system.errors import UserError

R = np.random.RandomState(0)
SMALL = {
    "hidden": (4,),
    "latent": 2,
    "epochs": 1,
    "precision": "fp32",
    "quiet": True,
    "out": False,
}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def told(data):
    return "\n".join(lines(data))


def whole(data):
    """All images, in the order of their numbers."""
    every = {
        n: x for s in data.splits.values() for n, x in zip(s.names(), s.images(), strict=True)
    }
    return torch.stack([every[name] for name in sorted(every)]).numpy()


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
@pytest.mark.parametrize("how", ["white", "drop", "keep"])
def test_transparency(tmp_path, how, memory):
    raw = R.randint(0, 256, (12, 6, 6, 4), dtype=np.uint8)
    (tmp_path / "x").mkdir()
    for i, image in enumerate(raw):
        Image.fromarray(image).save(tmp_path / "x" / f"{i:02}.png")
    found = whole(load(str(tmp_path / "x"), transparency=how, memory=memory))
    x = raw.transpose(0, 3, 1, 2) / 255
    wanted = {"keep": x, "drop": x[:, :3], "white": x[:, :3] * x[:, 3:] + 1 - x[:, 3:]}[how]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1.01 / 255
    said = told(load(str(tmp_path / "x"), transparency=how, memory=memory))
    word = {"white": "laid over white", "drop": "dropped", "keep": "kept as a channel"}[how]
    assert f"12 images may be transparent, which is {word}" in said


def test_four_channels_train(tmp_path):
    (tmp_path / "x").mkdir()
    for i in range(20):
        image = Image.fromarray(R.randint(0, 256, (8, 8, 4), dtype=np.uint8))
        image.save(tmp_path / "x" / f"{i:02}.png")
    run = zspace.train("vae", data=str(tmp_path / "x"), transparency="keep", **SMALL)
    assert run.sample(2).shape == (2, 4, 8, 8)
    assert run.data(tmp_path / "x" / "00.png").test.images().shape == (1, 4, 8, 8)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_sizes_that_are_no_squares(tmp_path, fit):
    (tmp_path / "x").mkdir()
    raw = R.randint(0, 256, (12, 20, 30), dtype=np.uint8)
    for i, image in enumerate(raw):
        Image.fromarray(image).save(tmp_path / "x" / f"{i:02}.png")
    data = load(str(tmp_path / "x"), size="16x8", fit=fit)
    assert data.spec.shape == (1, 8, 16)
    way = {"crop": ImageOps.fit, "pad": ImageOps.pad, "stretch": Image.Image.resize}[fit]
    wanted = [way(Image.fromarray(x), (16, 8), Image.Resampling.LANCZOS) for x in raw]
    assert np.array_equal((whole(data)[:, 0] * 255).round(), np.stack(wanted))
    run = zspace.train("ae", data=str(tmp_path / "x"), size="16x8", fit=fit, **SMALL)
    new = run.data(tmp_path / "x" / "03.png").test.images()
    assert np.array_equal((new[0, 0] * 255).round(), wanted[3])


@pytest.mark.parametrize("size", ["0", "5x", "axb", "3x4x5", "5000", -1, True])
def test_sizes_that_are_refused(size):
    with pytest.raises(UserError, match="--size is"):
        load("mnist5k", size=size)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("first", [True, False])
def test_many_bands(tmp_path, kind, first, memory):
    raw = R.rand(12, 13, 6, 6).astype("f4")
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    raw = (raw * top).astype(kind)
    (tmp_path / "x").mkdir()
    for i, image in enumerate(raw):
        array = image if first else image.transpose(1, 2, 0)
        planar = "separate" if first else "contig"
        path = tmp_path / "x" / f"{i:02}.tif"
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig=planar)
    data = load(str(tmp_path / "x"), memory=memory)
    assert data.spec.shape == (13, 6, 6)
    assert np.abs(whole(data) - raw / top).max() < 1e-6
    small = load(str(tmp_path / "x"), size=3).train.images()
    assert small.shape[1:] == (13, 3, 3)


def test_sixteen_bits_in_colour_keep_their_depth(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    raw = R.randint(0, 65536, (12, 6, 6, 3)).astype(np.uint16)
    (tmp_path / "x").mkdir()
    for i, image in enumerate(raw):
        (tmp_path / "x" / f"{i:02}.png").write_bytes(imagecodecs.png_encode(image))
    found = whole(load(str(tmp_path / "x")))
    assert np.abs(found - raw.transpose(0, 3, 1, 2) / 65535).max() < 1e-6


def test_without_the_extra_the_remedy_is_named(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", R.rand(5, 6, 6).astype("f4"), photometric="minisblack",
                     planarconfig="separate")  # fmt: skip
    monkeypatch.setattr(bands, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'a\.tif.*pip install "zspace\[images\]"'):
        load_new(str(tmp_path / "a.tif"))


def test_images_of_unlike_bands_or_depths_are_refused(tmp_path):
    for i, n in enumerate([5] * 11 + [7]):
        tifffile.imwrite(tmp_path / f"{i:02}.tif", R.rand(n, 6, 6).astype("f4"),
                         photometric="minisblack", planarconfig="separate")  # fmt: skip
    with pytest.raises(UserError, match=r"number of bands: .*00\.tif' has 5 and .*11\.tif' has 7"):
        load(str(tmp_path))
    Image.fromarray(R.randint(0, 255, (6, 6), dtype=np.uint8)).save(tmp_path / "11.tif")
    with pytest.raises(UserError, match="differ in the depth of their values"):
        load(str(tmp_path))


def test_large_photographs_are_decoded_small(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 100 * 100)
    monkeypatch.setattr(images, "_budget", images.Budget(100 * 100))
    large = Image.fromarray(R.randint(0, 256, (200, 300, 3), dtype=np.uint8)).resize((600, 400))
    for i in range(11):
        large.crop((0, 0, 40, 40)).save(tmp_path / f"{i:02}.jpg")
    large.save(tmp_path / "11.jpg")
    with pytest.raises(UserError, match="a JPEG is decoded small where --size is given"):
        load(str(tmp_path))
    data = load(str(tmp_path), size=8)
    wanted = np.asarray(ImageOps.fit(large, (8, 8), Image.Resampling.LANCZOS)) / 255
    assert np.abs(whole(data)[11].transpose(1, 2, 0) - wanted).mean() < 0.03
    large.save(tmp_path / "11.png")
    with pytest.raises(UserError, match=r"11\.png' cannot be read.*at most 10,000 pixels"):
        load(str(tmp_path), size=8)


@pytest.mark.slow
def test_two_channels_train_and_are_drawn(tmp_path):
    run = zspace.train("vae", data=R.rand(40, 2, 12, 12), **{**SMALL, "out": tmp_path / "run"})
    assert run.sample(3).shape == (3, 2, 12, 12)
    from zspace.report.html.page import write_report
    from zspace.runs.many import Study

    assert write_report(Study(run.path, [run]), tmp_path / "r.html").stat().st_size > 10_000

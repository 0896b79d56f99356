"""CIFAR-10, SVHN, EMNIST and CelebA, from small files in their true formats."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from zspace.data.loading import load
from zspace.data.sets import celeba, mnist, photos
from zspace.data.sets.catalogue import KNOWN, describe, sources
from zspace.system.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch, tmp_path):
    monkeypatch.delenv("ZSPACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def records(n, first=0):
    """CIFAR-10 records, and their images (n, 3, 32, 32) and labels (n,)."""
    x = RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    y = (np.arange(n) + first).astype(np.uint8) % 10
    return b"".join(bytes([k]) + image.tobytes() for k, image in zip(y, x, strict=True)), x, y


def cifar_folder(root, spoil=None):
    """An unpacked CIFAR-10 of 5 x 4 and 6 images; the arrays in order."""
    folder = root / photos.CIFAR_FOLDER
    folder.mkdir(parents=True)
    arrays = []
    for i, name in enumerate(photos.CIFAR_NAMES):
        content, x, y = records(6 if name == photos.CIFAR_TEST else 4, first=i)
        (folder / name).write_bytes(spoil(content) if spoil and i == 2 else content)
        arrays.append((x, y))
    (folder / "batches.meta.txt").write_text("\n".join(KNOWN["cifar10"].classes))
    return arrays


@pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "tar.gz"])
@pytest.mark.parametrize("below", ["", "cifar10"])
def test_cifar10(tmp_path, packed, below):
    arrays = cifar_folder(tmp_path / below)
    if packed:
        with tarfile.open(tmp_path / below / photos.CIFAR_ARCHIVE, "w:gz") as tar:
            tar.add(tmp_path / below / photos.CIFAR_FOLDER, photos.CIFAR_FOLDER)
        for path in (tmp_path / below / photos.CIFAR_FOLDER).iterdir():
            path.unlink()
    data = load("cifar10", data_dir=tmp_path)
    assert data.spec.shape == (3, 32, 32)
    assert data.classes[3] == "cat"
    x = np.concatenate([x for x, _ in arrays[:-1]])
    assert np.array_equal(data.train.x.numpy(), x)
    assert data.train.y.tolist() == [int(k) for _, y in arrays[:-1] for k in y]
    assert np.array_equal(data.test.x.numpy(), arrays[-1][0])
    assert data.test.labels().tolist() == arrays[-1][1].tolist()
    assert [len(s) for s in (data.train, data.validation, data.test)] == [18, 2, 6]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], r"data_batch_3\.bin' holds 12,291 bytes.*fetch it again"),
        (lambda content: b"", r"data_batch_3\.bin' holds 0 bytes"),
        (lambda content: content * 3000, "up to 10,000 records"),
        (lambda content: b"\x0a" + content[1:], "holds the label 10, but there are 10 classes"),
    ],
)
def test_damaged_cifar10(tmp_path, spoil, message):
    cifar_folder(tmp_path, spoil)
    with pytest.raises(UserError, match=message):
        load("cifar10", data_dir=tmp_path)


def test_a_damaged_archive_of_cifar10(tmp_path):
    archive = tmp_path / photos.CIFAR_ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(f"{photos.CIFAR_FOLDER}/data_batch_1.bin")
        info.size = 3073
        tar.addfile(info, io.BytesIO(bytes(3073)))
    with pytest.raises(UserError, match=r"holds no data_batch_2\.bin; fetch it again"):
        load("cifar10", data_dir=tmp_path)
    for content in (archive.read_bytes()[:60], b"no archive"):
        archive.write_bytes(content)
        with pytest.raises(UserError, match=r"tar\.gz' cannot be read: .*; fetch it again"):
            load("cifar10", data_dir=tmp_path)


def house_numbers(folder, **changes):
    arrays = []
    for name, n in zip(photos.SVHN_NAMES, (20, 10), strict=True):
        x = RNG.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        y = (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
        savemat(folder / name, {"X": x, "y": y} | changes)
        arrays.append((x, y))
    return arrays


def test_svhn(tmp_path):
    (train, y), (test, _) = house_numbers(tmp_path)
    data = load("svhn", data_dir=tmp_path)
    assert data.spec.shape == (3, 32, 32)
    assert np.array_equal(data.train.x[7].numpy(), np.moveaxis(train[..., 7], 2, 0))
    assert data.train.y.tolist() == [int(k) % 10 for k in y[:, 0]]  # 10 stands for the digit 0
    assert data.test.images().shape == (10, 3, 32, 32)
    assert np.array_equal(data.test.x[3, 1].numpy(), test[:, :, 1, 3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros((20, 1), np.uint8)}, "labels from 0 to 0, but SVHN has 1 to 10"),
        ({"y": np.full((20, 1), 11, np.uint8)}, "labels from 11 to 11"),
        ({"y": np.ones((19, 1), np.uint8)}, r"X \(32, 32, 3, 20\) of uint8 and 19 labels"),
        ({"X": np.zeros((32, 32, 3, 20))}, "of float64"),
    ],
)
def test_damaged_svhn(tmp_path, changes, message):
    house_numbers(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        load("svhn", data_dir=tmp_path)


def test_files_that_are_no_svhn(tmp_path):
    for name in photos.SVHN_NAMES:
        savemat(tmp_path / name, {"X": np.zeros(3)})
    with pytest.raises(UserError, match="MATLAB file: it holds no 'y'; fetch it again"):
        load("svhn", data_dir=tmp_path)
    (tmp_path / photos.SVHN_NAMES[0]).write_bytes(b"no matlab file")
    with pytest.raises(UserError, match="cannot be read as a MATLAB file"):
        load("svhn", data_dir=tmp_path)


def encoded(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes())


def emnist_zip(folder, split, first, classes):
    """EMNIST's zip with transposed images; the upright images and labels of train and test."""
    upright, members = [], {}
    for part, n in (("train", 20), ("test", 10)):
        x = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        y = (np.arange(n) % classes + first).astype(np.uint8)
        members[f"emnist-{split}-{part}-images-idx3-ubyte.gz"] = encoded(x.transpose(0, 2, 1))
        members[f"emnist-{split}-{part}-labels-idx1-ubyte.gz"] = encoded(y)
        upright.append((x, y))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / mnist.EMNIST_ARCHIVE, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"gzip/{name}", content)
    return upright


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "unpacked"])
@pytest.mark.parametrize(
    ("name", "split", "first", "classes"),
    [
        ("emnist", "balanced", 0, 47),
        ("emnist-letters", "letters", 1, 26),
        ("emnist-digits", "digits", 0, 10),
    ],
)
def test_emnist(tmp_path, name, split, first, classes, packed):
    (train, y), (test, _) = emnist_zip(tmp_path / "emnist", split, first, classes)
    if not packed:
        with zipfile.ZipFile(tmp_path / "emnist" / mnist.EMNIST_ARCHIVE) as archive:
            archive.extractall(tmp_path / "emnist")
        (tmp_path / "emnist" / mnist.EMNIST_ARCHIVE).unlink()
    data = load(name, data_dir=tmp_path)
    assert data.spec.shape == (1, 28, 28)
    assert len(data.classes) == classes
    assert np.array_equal(data.train.x[:, 0].numpy(), train)
    assert np.array_equal(data.test.x[:, 0].numpy(), test)
    assert data.train.y.tolist() == (y.astype(int) - first).tolist()


def test_emnist_names_its_classes():
    balanced, letters = KNOWN["emnist"].classes, KNOWN["emnist-letters"].classes
    assert (balanced[10], balanced[35], balanced[36], balanced[46]) == ("A", "Z", "a", "t")
    assert not {"c", "i", "j", "k"} & set(balanced)  # their cases look alike and are one class
    assert letters == tuple("abcdefghijklmnopqrstuvwxyz")


def test_damaged_emnist(tmp_path):
    emnist_zip(tmp_path, "letters", 0, 26)
    with pytest.raises(
        UserError, match=r"emnist-letters-train-labels-idx1-ubyte' holds the label"
    ):
        load("emnist-letters", data_dir=tmp_path)
    with pytest.raises(UserError, match=r"gzip\.zip' holds no emnist-balanced-train-images"):
        load("emnist", data_dir=tmp_path)
    (tmp_path / mnist.EMNIST_ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"gzip\.zip' cannot be read.*fetch it again"):
        load("emnist", data_dir=tmp_path)


def faces(root, n=24, held=4, names=("Male", "Smiling", "Young")):
    """A CelebA of n aligned images, of which `held` each for validation and test; (n, A)."""
    folder = root / celeba.IMAGES
    folder.mkdir(parents=True)
    values = RNG.integers(0, 2, (n, len(names)))
    lists = [f"{n}", " ".join(names)]
    partition = []
    for i in range(n):
        name = f"{i + 1:06}.jpg"
        picture = np.full((218, 178, 3), 255, np.uint8)
        picture[39:179, 19:159] = 10 * (i % 25)  # exactly the centre that is kept
        Image.fromarray(picture).save(folder / name, quality=95)
        lists.append(f"{name}  " + " ".join("1" if v else "-1" for v in values[i]))
        partition.append(f"{name} {0 if i < n - 2 * held else 1 if i < n - held else 2}")
    (root / celeba.ATTRIBUTES).write_text("\n".join(lists) + "\n")
    (root / celeba.PARTITION).write_text("\n".join(partition) + "\n")
    return values


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
def test_celeba(tmp_path, memory):
    values = faces(tmp_path / "celeba")
    data = load("celeba", data_dir=tmp_path, memory=memory)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [16, 4, 4]
    assert data.spec.shape == (3, 64, 64)
    assert (data.classes, data.attributes) == ((), ("Male", "Smiling", "Young"))
    assert data.spec.context == 3
    assert data.train.labels() is None
    assert data.test.conditions().tolist() == values[-4:].astype(float).tolist()
    middles = data.train.images()[:, :, 4:-4, 4:-4].mean((1, 2, 3)) * 255
    assert torch.allclose(middles, torch.arange(0, 160, 10.0), atol=1)
    assert load("celeba", data_dir=tmp_path / "celeba", size=16).spec.shape == (3, 16, 16)


def test_celeba_must_be_fetched_by_hand(tmp_path):
    with pytest.raises(
        UserError, match=r"img_align_celeba\.zip.*CelebA\.html.*DIR/celeba and give"
    ):
        load("celeba", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            celeba.ATTRIBUTES,
            lambda t: t.replace(" -1", " 0", 1),
            r"a line \d+ that is not .* 3 times 1 or -1",
        ),
        (celeba.ATTRIBUTES, lambda t: "24\n", "lists no attributes"),
        (
            celeba.PARTITION,
            lambda t: t.replace(" 0", " 3", 1),
            "a line 1 that is not .* and 0, 1 or 2",
        ),
        (celeba.PARTITION, lambda t: t + "x.jpg 0\n", "a line 25 that is not an image of"),
        (celeba.PARTITION, lambda t: t.replace(" 0", " 1"), "no image for training"),
    ],
)
def test_damaged_lists_of_celeba(tmp_path, name, change, message):
    faces(tmp_path)
    (tmp_path / name).write_text(change((tmp_path / name).read_text()))
    with pytest.raises(UserError, match=message):
        load("celeba", data_dir=tmp_path)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
def test_a_missing_face_is_named(tmp_path, memory):
    faces(tmp_path)
    (tmp_path / celeba.IMAGES / "000003.jpg").unlink()
    with pytest.raises(UserError, match=r"000003\.jpg"):
        load("celeba", data_dir=tmp_path, memory=memory)
    with pytest.warns(UserWarning, match="1 unreadable files"):
        data = load("celeba", data_dir=tmp_path, skip_bad=True, memory=memory)
    assert (len(data.train), data.skipped) == (15, 1)
    assert len(data.train.attributes) == 15


def test_the_catalogue_says_what_is_what():
    assert len(KNOWN["celeba"].attributes) == len(set(KNOWN["celeba"].attributes)) == 40
    facts = describe("celeba")
    assert (facts["shape"], facts["mirrors"], facts["classes"]) == ([3, 64, 64], [], [])
    assert "CelebA.html" in facts["by hand"][0]
    assert describe("cifar10")["md5"] == {photos.CIFAR_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"}
    assert describe("svhn")["shape"] == [3, 32, 32]


def test_local_copies_are_listed(tmp_path):
    faces(tmp_path / "celeba")
    cifar_folder(tmp_path / "cifar10")
    here = {row.name for row in sources(tmp_path) if row.local}
    assert here == {"mnist5k", "shapes", "cifar10", "celeba"}
    assert describe("celeba", tmp_path)["local"] == str(tmp_path / "celeba")

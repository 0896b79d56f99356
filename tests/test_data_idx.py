"""IDX files: what is read, and every way in which they can be damaged."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zspace.data.loading import load
from zspace.data.sets import mnist
from zspace.system.errors import UserError

RNG = np.random.default_rng(0)


def encode(array, kind=0x08):
    header = bytes((0, 0, kind, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_set(folder, end=".gz", train=30, test=10, names=mnist.NAMES):
    """The four files of a set of 4 x 5 images, and its arrays by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [(train, 4, 5), (train,), (test, 4, 5), (test,)]
    arrays = [
        RNG.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8) for shape in shapes
    ]
    for name, array in zip(names, arrays, strict=True):
        content = encode(array)
        content = gzip.compress(content, mtime=0) if end == ".gz" else content
        (folder / f"{name}{end}").write_bytes(content)
    return arrays


IMAGES = encode(np.zeros((3, 2, 2)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["a", "a.gz"])  # the content decides, not the suffix
def test_reads_what_was_written(tmp_path, pack, name):
    array = RNG.integers(0, 256, (7, 3, 2), dtype=np.uint8)
    (tmp_path / name).write_bytes(pack(encode(array)))
    assert np.array_equal(mnist.read(tmp_path / name, axes=3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\0\0", "starts with 00 00 instead of 00 00 08 03"),
        (b"PNG!" + IMAGES, "starts with 50 4e 47 21"),
        (encode(np.zeros((3, 2, 2)), kind=0x0D), "starts with 00 00 0d 03"),
        (encode(np.zeros(3)), "starts with 00 00 08 01"),
        (IMAGES[:9], "ends within its header"),
        (IMAGES[:-1], r"claims 12 bytes, sizes \(3, 2, 2\), but holds 11"),
        (IMAGES + b"\0", "but holds more"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "its header is damaged"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 60000, 100, 100), "claims 600,000,000.*holds 0"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "cannot be read as IDX.*fetch it again"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + b"\0" * 8, "cannot be read as IDX"),
        (gzip.compress(b"x", mtime=0)[:3], "cannot be read as IDX"),
        (gzip.compress(IMAGES, mtime=0)[:10] + b"\xff" * 20, "cannot be read as IDX"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        mnist.read(path, axes=3)
    assert str(path) in str(caught.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(gzip.compress)))
def test_no_bytes_raise_anything_but_a_user_error(tmp_path, content):
    prefixed = b"\0\0\x08\x03" + content
    for i, candidate in enumerate((content, prefixed, gzip.compress(prefixed, mtime=0))):
        path = tmp_path / str(i)
        path.write_bytes(candidate)
        try:
            array = mnist.read(path, axes=3)
        except UserError:
            continue
        assert array.dtype == np.uint8
        assert array.ndim == 3


@pytest.mark.parametrize("place", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_set_is_found_in_the_usual_places(tmp_path, place, end):
    train, labels, test, _ = write_set(tmp_path / place, end)
    data = load("mnist", data_dir=tmp_path)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [27, 3, 10]
    assert np.array_equal(data.train.x.numpy()[:, 0], train)
    assert np.array_equal(data.validation.y.numpy(), labels)
    assert np.array_equal(data.test.x.numpy()[:, 0], test)
    assert data.train.x is data.validation.x
    assert data.spec.shape == (1, 4, 5)


def test_the_named_folder_comes_before_the_folder_itself(tmp_path):
    write_set(tmp_path, train=50)
    write_set(tmp_path / "fashion-mnist", train=20)
    data = load("fashion-mnist", data_dir=tmp_path)
    assert len(data.train) + len(data.validation) == 20
    assert data.classes[0] == "T-shirt/top"


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    write_set(tmp_path / "KMNIST" / "raw")
    monkeypatch.setenv("ZSPACE_DATA", str(tmp_path))
    assert load("kmnist").classes[:2] == ("o", "ki")


def test_dots_in_names_are_understood(tmp_path):
    write_set(tmp_path, end="", names=[name.replace("-idx", ".idx") for name in mnist.NAMES])
    assert len(load("mnist", data_dir=tmp_path).test) == 10


def test_a_folder_that_does_not_exist_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--data-dir '.*nowhere' is not a folder"):
        load("mnist", data_dir=tmp_path / "nowhere")
    monkeypatch.setenv("ZSPACE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"ZSPACE_DATA '.*nowhere' is not a folder"):
        load("mnist")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (mnist.NAMES[1], np.zeros(29), "holds 30 images but .* 29 labels"),
        (mnist.NAMES[1], np.full(30, 10), "holds the label 10, but there are 10 classes"),
        (mnist.NAMES[2], np.zeros((10, 0, 5)), "holds no pixels"),
        (mnist.NAMES[2], np.zeros((10, 5, 5)), "differ in shape"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, name, array, message):
    write_set(tmp_path, end="")
    (tmp_path / name).write_bytes(encode(array))
    with pytest.raises(UserError, match=message):
        load("mnist", data_dir=tmp_path)


def test_a_folder_of_the_users_own_idx_files_is_data(tmp_path):
    arrays = write_set(tmp_path / "mine")
    data = load(str(tmp_path / "mine"))
    most = max(int(arrays[1].max()), int(arrays[3].max()))
    assert data.name == "mine"
    assert data.classes == tuple(map(str, range(most + 1)))

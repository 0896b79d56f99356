"""Arrays in .npz and .npy files: accepted layouts, the lazy path, and every refusal."""

import numpy as np
import pytest
import torch

from zspace.data.batches import Batches
from zspace.data.loading import load
from zspace.system.errors import UserError

RNG = np.random.default_rng(0)


def bytes_like(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return str(folder / "a.npz")


def npy(folder, array):
    np.save(folder / "a.npy", array, allow_pickle=True)
    return str(folder / "a.npy")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 4, 5), (1, 4, 5)),
        ((20, 1, 4, 5), (1, 4, 5)),
        ((20, 3, 4, 5), (3, 4, 5)),
        ((20, 4, 5, 3), (3, 4, 5)),
        ((20, 4, 5, 1), (1, 4, 5)),
        ((20, 3, 4, 3), (3, 4, 3)),  # both could be channels: the second axis wins
        ((20, 2, 4, 5), (2, 4, 5)),
        ((20, 5, 6, 4), (4, 5, 6)),
        ((20, 4, 6, 3), (3, 4, 6)),
        ((20, 6, 6, 13), (13, 6, 6)),
        ((20, 13, 6, 6), (13, 6, 6)),
        ((20, 8, 9, 6), (6, 8, 9)),
    ],
)
def test_layouts(tmp_path, shape, expected):
    x = bytes_like(*shape)
    for path in (npz(tmp_path, x=x), npy(tmp_path, x)):
        data = load(path)
        assert data.spec.shape == expected
        assert data.train.x.dtype == torch.uint8
        assert sorted(data.train.x.flatten().tolist()) == sorted(x.ravel().tolist())


def test_channels_last_are_moved(tmp_path):
    x = bytes_like(20, 4, 5, 3)
    assert np.array_equal(load(npy(tmp_path, x)).train.x.numpy(), x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_become_float32(tmp_path, kind):
    x = RNG.random((20, 4, 5)).astype(kind)
    data = load(npy(tmp_path, np.asfortranarray(x)))
    assert data.train.x.dtype == torch.float32
    assert np.array_equal(data.train.x.numpy()[:, 0], x.astype(np.float32))


def test_labels_and_a_test_set(tmp_path):
    x, y = bytes_like(20, 4, 5), np.arange(20) % 4
    whole = load(npz(tmp_path, x=x, y=y))
    assert whole.classes == ("0", "1", "2", "3")
    assert [len(s) for s in (whole.train, whole.validation, whole.test)] == [17, 1, 2]
    given = load(npz(tmp_path, x=x, y=y, x_test=x[:6], y_test=y[:6, None] + 2))
    assert given.classes == tuple("012345")
    assert [len(s) for s in (given.train, given.validation, given.test)] == [18, 2, 6]
    assert given.test.labels().tolist() == [2, 3, 4, 5, 2, 3]


def test_the_names_of_keras_and_a_lone_array(tmp_path):
    x, y = bytes_like(20, 4, 5), np.arange(20) % 4
    keras = load(npz(tmp_path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6]))
    assert (len(keras.test), len(keras.classes)) == (6, 4)
    alone = load(npz(tmp_path, pictures=x))
    assert (alone.classes, alone.train.labels()) == ((), None)


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_an_array_over_the_budget_stays_on_disk(tmp_path, kind):
    x = bytes_like(40, 4, 5, 3) if kind == np.uint8 else RNG.random((40, 4, 5))
    path = npy(tmp_path, x)
    lazy, whole = load(path, memory=100), load(path)
    assert not isinstance(lazy.train.x, torch.Tensor)
    assert lazy.spec == whole.spec
    at = torch.tensor([7, 3])
    assert torch.equal(lazy.train.images(at), whole.train.images(at))
    assert torch.equal(lazy.test.images(), whole.test.images())
    for ours, theirs in zip(epoch(lazy), epoch(whole), strict=True):
        assert torch.equal(ours.x, theirs.x)


def epoch(data):
    return Batches(data.train, batch=8, device=torch.device("cpu"), seed=2).epoch(0)


@pytest.mark.parametrize("shape", [(40, 4, 5), (40, 4, 5, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_the_fingerprint_is_the_same_in_memory_and_on_disk(tmp_path, shape, kind):
    x = bytes_like(*shape)
    path = npy(tmp_path, x if kind == np.uint8 else x / 255)
    lazy, whole = load(path, memory=100), load(path)
    assert lazy.fingerprint == whole.fingerprint
    x[7, 2, 1] ^= 1
    npy(tmp_path, x if kind == np.uint8 else x / 255)
    assert load(path, memory=100).fingerprint != whole.fingerprint


X = bytes_like(20, 4, 5)
UNIT = X / 255


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([{}] * 20, dtype=object), "holds Python objects"),
        (np.where(X[3, 1, 1] == X, np.nan, UNIT), "NaN or infinite.*clean it"),
        (np.where(X[3, 1, 1] == X, np.inf, UNIT), "NaN or infinite"),
        (X.astype(np.float32), "from 0 to 25.*--values 0 255$"),
        (UNIT[:, None] - 0.5, r"from -0\.5 to 0\.[0-9]+"),
        (X.astype(np.int64) * 2, r"integers must lie in 0\.\.255.*--values 0 511"),
        (UNIT.astype(np.complex64), "type complex64"),
        (X.reshape(400), r"shape \(400,\); give images \(N, H, W\)"),
        (np.uint8(3), r"shape \(\)"),
        (bytes_like(20, 16, 16, 16), "does not say which axis holds the channels.*volumes"),
        (X[:0], "empty|cannot be read"),
        (X[:, :0], "empty|cannot be read"),
        (X[:9], "9 samples.*at least 10"),
    ],
)
def test_images_that_are_refused(tmp_path, x, message):
    with pytest.raises(UserError, match=message):
        load(npy(tmp_path, x))
    with pytest.raises(UserError, match=message):
        load(npz(tmp_path, x=x))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.arange(19), r"shape \(19,\), but there are 20 samples"),
        (np.arange(20) * 1000, "20 different labels for 20 samples"),
        (np.array([None] * 20), "Python objects"),
    ],
)
def test_labels_that_are_refused(tmp_path, y, message):
    with pytest.raises(UserError, match=message):
        load(npz(tmp_path, x=X, y=y))


def test_archives_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds 'a', 'b', and nothing says what 'a, b' is"):
        load(npz(tmp_path, a=X, b=np.arange(20)))
    with pytest.raises(UserError, match="labels for one split only"):
        load(npz(tmp_path, x=X, y=np.arange(20), x_test=X))
    with pytest.raises(UserError, match=r"over the memory budget.*save x as \.npy"):
        load(npz(tmp_path, x=X), memory=100)


@pytest.mark.parametrize("end", ["npz", "npy"])
def test_damaged_files_are_named(tmp_path, end):
    path = npz(tmp_path, x=X) if end == "npz" else npy(tmp_path, X)
    content = (tmp_path / f"a.{end}").read_bytes()
    for damaged in (b"", b"nonsense", content[: len(content) // 2]):
        (tmp_path / f"a.{end}").write_bytes(damaged)
        with pytest.raises(UserError, match=rf"a\.{end}' cannot be read"):
            load(path)


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    trap = np.empty(20, dtype=object)
    trap[:] = [Trap()] * 20
    for path in (npy(tmp_path, trap), npz(tmp_path, x=trap), npz(tmp_path, x=X, y=trap)):
        with pytest.raises(UserError, match="Python objects"):
            load(path)

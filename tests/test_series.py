"""Series from arrays: what is taken for one, its encoding, splits of windows that overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zspace.data import account, load
from zspace.data.kinds import encoding_from
from zspace.data.kinds.series import SeriesEncoding, fit
from zspace.data.loading import load_new
from zspace.data.readers import overlaps
from zspace.data.readers.windows import Windows
from zspace.system.errors import UserError

N, T, D = 200, 12, 3
X = np.random.RandomState(0).randn(N, T, D) * [1, 20, 0.5] + [0, 5, -2]
LONG = np.random.RandomState(1).randn(400, D).cumsum(0)


def told(data: Any) -> str:
    return "\n".join(account.lines(data))


def windows(s: int, length: int = T, of: np.ndarray = LONG) -> np.ndarray:
    return np.stack([of[i : i + length] for i in range(0, len(of) - length + 1, s)])


def encoding(data: Any) -> SeriesEncoding:
    assert isinstance(data.encoding, SeriesEncoding)
    return data.encoding


def test_floats_of_three_axes_beyond_one_are_series() -> None:
    data = load(X)
    assert (data.spec.kind, data.spec.shape) == ("series", (T, D))
    assert [column.name for column in data.spec.columns] == ["0", "1", "2"]
    assert not data.spec.missing
    assert len(data.train) == 162
    assert f"windows of {T} steps of {D} channels" in told(data)
    assert "taken as series, floats outside [0, 1]" in told(data)
    assert "taken as series" not in told(load(X, kind="series"))


@pytest.mark.parametrize(
    ("x", "given", "kind"),
    [
        (np.random.RandomState(0).rand(30, 6, 5), {}, "image"),
        (np.random.RandomState(0).rand(30, 6, 5), {"kind": "series"}, "series"),
        (X[:30], {"values": (-200, 200)}, "image"),
        (X[:30, None], {"values": (-200, 200)}, "image"),
        (np.arange(30 * 30).reshape(30, 6, 5) % 200, {}, "image"),
        (np.arange(30 * 30).reshape(30, 6, 5), {"kind": "series"}, "series"),
        (X[:, :, 0], {}, "table"),
        (np.sin(X), {"kind": "series"}, "series"),
        (np.sin(X) / 2, {}, "series"),
        (X[:, :, 0], {"kind": "series"}, "series"),
        (torch.from_numpy(X), {}, "series"),
        (list(X), {}, "series"),
    ],
)
def test_what_is_taken_for_a_series(x: Any, given: dict[str, Any], kind: str) -> None:
    assert load(x, **given).spec.kind == kind


def test_one_channel_of_two_axes() -> None:
    data = load(X[:, :, 1], kind="series")
    assert data.spec.shape == (T, 1)
    x = encoding(data).encode(X[:5, :, 1])
    assert x.shape == (5, T, 1)
    assert torch.equal(x, encoding(data).encode(X[:5, :, 1:2]))
    assert torch.equal(x[:1], encoding(data).encode(X[0, :, 1]))


def test_roles_are_those_of_images(tmp_path: Path) -> None:
    y = np.arange(N) % 2
    ids = np.array([f"a{i}" for i in range(N)])
    np.savez(tmp_path / "s.npz", x=X, y=y, ids=ids, w=np.ones(N))
    data = load(tmp_path / "s.npz")
    assert data.classes == ("0", "1")
    assert "cut from x by class" in told(data)
    i = int(data.train.index[3])
    assert data.train.names()[3] == f"a{i}"
    assert data.train.weights is not None
    np.savez(tmp_path / "t.npz", x_train=X[:100], x_val=X[100:150], x_test=X[150:])
    data = load(tmp_path / "t.npz")
    assert [len(s) for s in data.splits.values()] == [100, 50, 50]
    assert np.allclose(encoding(data).mean, X[:100].mean((0, 1)))
    back = encoding(data).decode(data.test.images())
    assert np.allclose(back, X[150:], rtol=1e-6, atol=1e-6)


def test_scale_is_that_of_the_training_windows() -> None:
    data = load(X)
    own = X[data.train.index.numpy()]
    assert np.allclose(encoding(data).mean, own.mean((0, 1)), rtol=1e-12)
    assert np.allclose(encoding(data).sd, own.std((0, 1)), rtol=1e-12)
    off = np.abs(own - own.mean((0, 1))).mean((0, 1))
    assert np.allclose(list(encoding(data).usual.values())[:D], off)
    x = data.train.images().double()
    assert torch.allclose(x.mean((0, 1)), torch.zeros(D).double(), atol=1e-6)
    assert torch.allclose(x.std((0, 1), correction=0), torch.ones(D).double(), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back(dtype: str) -> None:
    x = X.astype(dtype)
    made = encoding(load(x))
    back = made.decode(made.encode(x))
    assert back.dtype == dtype
    assert np.abs(back - x).max() < 1e-6 * np.abs(x).max()
    again = encoding_from(*made.to_files())
    assert torch.equal(again.encode(x), made.encode(x))
    assert again.spec() == made.spec()
    assert again.reading == {"kind": "series", "window": 0}
    assert torch.equal(made.encode(torch.from_numpy(x)), made.encode(x.tolist()))
    assert torch.equal(made.encode(x[0]), made.encode(x)[:1])


def test_gaps_are_missing() -> None:
    x = X.copy()
    x[::2, 2, 0] = np.nan
    x[7] = np.nan
    data = load(x, missing=("-200",))
    assert data.spec.missing
    gone = int(np.isnan(x).sum())
    assert f"{gone} values are missing" in told(data)
    marked = np.where(np.isnan(x), -200, x)
    same = load(marked, missing=("-200",))
    assert same.fingerprint == data.fingerprint
    assert same.spec.missing
    back = encoding(data).decode(encoding(data).encode(x))
    assert np.array_equal(np.isnan(back), np.isnan(x))
    some = np.nanmean(x[data.train.index.numpy()].reshape(-1, D), 0)
    assert np.allclose(encoding(data).mean, some)
    with pytest.raises(UserError, match="missing values, but this model"):
        encoding(load(X)).encode(x)
    assert encoding(load(marked)).spec().missing is False
    assert "is -200 in 0 a missing value" in told(load(marked))


def test_quality_is_the_error_in_the_channels_unit() -> None:
    made = fit(X)
    x = X[:4].copy()
    x[0, :, 0] = np.nan
    x[1, 3:, 0] = np.nan
    y = x + np.array([0.5, -2.0, 0.25])
    made_of = made.encode(np.nan_to_num(x))
    made_of[torch.from_numpy(np.isnan(x))] = torch.nan
    found = made.quality(made_of, made.encode(np.where(np.isnan(x), 0, y)))
    assert list(found) == [*made.facts] == ["0", "1", "2", "mse"]
    assert found["0"].isnan().tolist() == [True, False, False, False]
    assert torch.allclose(found["0"][1:], torch.full((3,), 0.5).double(), atol=1e-5)
    assert torch.allclose(found["1"], torch.full((4,), 2.0).double(), atol=1e-5)
    square = ((np.array([0.5, 2.0, 0.25]) / made.sd) ** 2).mean()
    assert np.isclose(float(found["mse"][2]), square, rtol=1e-4)
    many = fit(np.random.RandomState(0).randn(9, 4, 60))
    assert list(many.facts) == list(many.usual) == ["mse"]


def test_show_gives_lines() -> None:
    x = X.copy()
    x[0, 1, 2] = np.nan
    made = fit(x)
    shown = made.show(made.encode(x)[0])
    assert shown["shape"] == "lines"
    assert shown["t"] == list(range(T))
    assert shown["channels"] == ["0", "1", "2"]
    assert shown["unit"] == ""
    assert np.allclose(shown["values"][0], X[0, :, 0], atol=1e-5)
    assert shown["values"][2][1] is None
    assert not shown["mask"][2][1]
    assert sum(not seen for row in shown["mask"] for seen in row) == 1
    assert made.show(made.encode(x)[1])["mask"] is None


def test_a_constant_channel_is_kept() -> None:
    x = X.copy()
    x[:, :, 1] = 7.25
    data = load(x)
    assert "channel 1 is constant in training" in told(data)
    assert encoding(data).sd[1] == 1
    assert not data.train.images()[..., 1].any()
    assert (encoding(data).decode(data.train.images()[:2])[..., 1] == 7.25).all()


@pytest.mark.parametrize("s", [1, 3, 5])
def test_windows_that_overlap_are_split_in_time(s: int) -> None:
    x = windows(s)
    n = len(x)
    data = load(x)
    assert f"moved by {s} step" in told(data)
    assert "cut in time" in told(data)
    rows = [split.index.tolist() for split in data.splits.values()]
    shared = -(-T // s) - 1
    n_test = n // 10
    n_validation = (n - n_test) // 10
    assert rows[2] == list(range(n - n_test, n))
    assert rows[1] == list(range(n - n_test - n_validation, n - n_test - shared))
    assert rows[0] == list(range(n - n_test - n_validation - shared))
    steps = [{tuple(v) for v in x[i].reshape(-1, D)} for i in rows]
    assert not steps[0] & steps[1]
    assert not steps[1] & steps[2]
    assert not steps[0] & steps[2]


def test_overlaps_with_breaks_gaps_and_in_files(tmp_path: Path) -> None:
    other = LONG[::-1] * 2
    x = np.concatenate([windows(3), windows(3, of=other), windows(3, of=other[:90] - 50)])
    x[x > 25] = np.nan
    assert "moved by 3 steps" in told(load(x))
    np.save(tmp_path / "s.npy", x)
    assert load(tmp_path / "s.npy").fingerprint == load(x).fingerprint
    given = load({"x_train": x[:200], "x_val": x[200:220], "x_test": x[220:]})
    assert [len(s) for s in given.splits.values()] == [200, 20, len(x) - 220]


@pytest.mark.parametrize(
    "x",
    [
        X,
        np.full((N, T, D), 3.5),
        np.repeat(X[:, :1], T, 1),
        np.where(X > 0, 2.0, 0.0),
        np.repeat(X[:1], N, 0),
        np.repeat(X[: N // 2], 2, 0),
        windows(1)[np.random.RandomState(0).permutation(len(windows(1)))],
    ],
    ids=["random", "constant", "flat", "binary", "all alike", "twice", "shuffled"],
)
def test_no_overlap_is_seen_where_there_is_none(x: np.ndarray) -> None:
    assert not overlaps.stride_of(lambda rows: x[rows], len(x), x.shape[1])
    assert [len(split) for split in load(x, kind="series").splits.values()][2] == len(x) // 10


def test_a_long_array_is_cut_and_split_in_time() -> None:
    data = load(LONG, window=20, stride=4)
    assert data.spec.shape == (20, D)
    assert encoding(data).reading["window"] == 20
    assert "a window of 20 steps begins every 4 steps" in told(data)
    assert "validation from row 324, test from row 360" in told(data)
    every = {name: encoding(data).decode(s.images()) for name, s in data.splits.items()}
    bounds = {"train": (0, 324), "validation": (324, 360), "test": (360, 400)}
    for name, (low, high) in bounds.items():
        names = [int(one) for one in data.splits[name].names()]
        assert names == [i for i in range(0, 400, 4) if low <= i and i + 20 <= high]
        for i, own in zip(names, every[name], strict=True):
            assert np.allclose(own, LONG[i : i + 20], atol=1e-5)
    times = np.zeros(324)
    for i in range(0, 305, 4):
        times[i : i + 20] += 1
    mean = (LONG[:324] * times[:, None]).sum(0) / times.sum()
    assert np.allclose(encoding(data).mean, mean)
    one = load(LONG[:, 0], window=20)
    assert one.spec.shape == (20, 1)
    assert "every 2 steps" in told(one)


def test_long_arrays_with_splits_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x_train=LONG[:300], x_test=LONG[300:])
    data = load(tmp_path / "s.npz", window=10)
    assert data.test.names()[:2] == ["0", "1"]
    assert len(data.test) == 91
    assert "validation" in told(data)
    assert "row 270" in told(data)
    apart = load(LONG, window=10, test=LONG * 2)
    assert len(apart.test) == 391
    assert np.allclose(
        encoding(apart).decode(apart.test.images()[:1])[0], 2 * LONG[:10], atol=1e-4
    )


def test_new_data_are_read_as_those_of_the_run() -> None:
    data = load(LONG, window=20, stride=4)
    new = load_new(LONG[:61] * 2, encoding=data.encoding, stride=4)
    assert list(new.splits) == ["all"]
    assert new.splits["all"].names() == [str(i) for i in range(0, 42, 4)]
    x = new.splits["all"].images()
    assert np.allclose(encoding(data).decode(x)[1], 2 * LONG[4:24], atol=1e-4)
    as_they_are = load_new(windows(1, 20), encoding=data.encoding, stride=4)
    assert len(as_they_are.splits["all"]) == 381
    own = load(X).encoding
    assert len(load_new(np.full((3, T, D), 0.5), encoding=own).splits["all"]) == 3
    with pytest.raises(UserError, match="windows of 12 steps, but this model reads 20"):
        load_new(X, encoding=data.encoding)
    with pytest.raises(UserError, match="2 channels, but this model reads 3"):
        load_new(X[..., :2], encoding=own)
    with pytest.raises(UserError, match=r"holds NaN|missing values, but this model"):
        load_new(np.where(X > 30, np.nan, X), encoding=own)
    with pytest.raises(UserError, match="holds rows of a table, but this model reads images"):
        load_new(LONG)
    with pytest.raises(UserError, match=r"floats must lie in \[0, 1\]"):
        load_new(X)


def test_memory_that_is_little_gives_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    from zspace.data.readers import windows as reader

    x = windows(1, 30)
    x[5, 2, 1] = np.nan
    whole = load(x)
    monkeypatch.setattr(reader, "NUMBERS", 500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    np.save(tmp_path / "s.npy", x)
    little = load(tmp_path / "s.npy", memory=1e4)
    assert not isinstance(little.train.x, torch.Tensor)
    assert isinstance(whole.train.x, torch.Tensor)
    assert little.fingerprint == whole.fingerprint
    assert little.spec == whole.spec
    rows = torch.tensor([3, 1, 2, 200])
    assert torch.equal(
        little.train.images(rows).nan_to_num(9), whole.train.images(rows).nan_to_num(9)
    )
    assert "does not fit the memory and was written once" in told(little)
    again = load(LONG, window=30, stride=1, memory=1e4)
    assert again.fingerprint == load(LONG, window=30, stride=1).fingerprint
    assert not isinstance(again.train.x, torch.Tensor)


@pytest.mark.parametrize(
    ("x", "given", "says"),
    [
        (np.where(X > 30, np.inf, X), {}, "infinite values.*step"),
        (X[:, :1].transpose(0, 1, 2), {}, r"single step of 3 channels: give x.transpose"),
        (X[:, None], {"kind": "series"}, r"series are \(N, T, D\).*join its channels"),
        (X[:, 0, 0], {"kind": "series"}, r"cut a long series \(L, D\) with --window"),
        (X, {"window": 4}, "windows of 12 steps already.*--window"),
        (X, {"kind": "series", "stride": 4}, "--stride has nothing to cut"),
        (X, {"stride": 4, "kind": "image"}, "floats must lie in"),
        (LONG, {"window": 500}, "has 400 steps, fewer than a window of 500"),
        (LONG, {"window": 100}, "no window of 100 steps for test: give a smaller --window"),
        ((LONG, np.arange(400)), {"window": 10}, "y of the data cannot go with windows"),
        (windows(1)[:60], {}, "validation would have none"),
        (np.where(X > -99, np.nan, X), {"kind": "series"}, "channel '0' has no value"),
        (X * 1e300, {}, "too large to be averaged"),
        (np.where(X > 1, np.nan, np.clip(X, 0, 1)), {}, "say so with --kind series"),
        (np.array([["a"] * 9] * 20), {"kind": "series"}, "give numbers"),
        (np.round(np.clip(X, 0, 255)), {}, "--kind series; for images.*--values 0 255"),
        (np.sin(X), {}, "--kind series; for images.*--values -1 1"),
        (np.full_like(X, -3.5), {}, "from -3.5 to -3.5, but floats must lie"),
        (
            X,
            {"split_by": "t"},
            "--split-by is for rows of a table and texts, but these are series",
        ),
        (X, {"kind": "table"}, "holds series: leave --kind out"),
    ],
)
def test_refusals(x: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(x, **given)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (X[:, :5], r"shape \(200, 5, 3\), but this model reads \(N, 12, 3\)"),
        (X.transpose(0, 2, 1), r"give x.transpose\(0, 2, 1\)"),
        (X[..., 0], r"shape \(200, 12\)"),
        ("text", "are arrays of numbers"),
        ([[1.0], [2.0, 3.0]], "are arrays of numbers"),
        (np.full((1, T, D), np.inf), "infinite values"),
        (np.full((1, T, D), np.nan), "missing values"),
    ],
)
def test_what_cannot_be_encoded(raw: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fit(X).encode(raw)


@pytest.mark.parametrize(
    "damage",
    [
        {"names": []},
        {"names": ["a"]},
        {"length": 0},
        {"length": True},
        {"dtype": "int8"},
        {"missing": "no"},
        {"left_out": None},
        {"sd": torch.zeros(D)},
        {"mean": torch.full((D,), torch.nan)},
        {"away": torch.full((D,), -1.0)},
    ],
)
def test_damaged_files_are_refused(damage: dict[str, Any]) -> None:
    facts, tensors = fit(X).to_files()
    for name, value in damage.items():
        (tensors if name in tensors else facts)[name] = value
    with pytest.raises(UserError, match="train again"):
        encoding_from(facts, tensors)


def test_raw_windows_copy_nothing() -> None:
    from zspace.data.read_options import ReadOptions
    from zspace.data.readers.series_arrays import long_of

    found, _ = long_of(LONG, "x", ReadOptions(window=50, stride=1))
    assert isinstance(found, Windows)
    assert found.shape == (351, 50, D)
    (block,) = found.steps.blocks
    assert block is LONG

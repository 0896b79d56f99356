"""What people hold in Python, splits that lie apart, lists of labels, and ids that travel."""

import csv

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import zspace
from zspace.analysis.anomaly import inferred_labels
from zspace.data.account import lines
from zspace.data.loading import load
from zspace.runs import measured
from zspace.system.errors import UserError

R = np.random.RandomState(0)
X = R.randint(0, 256, (40, 6, 6), dtype=np.uint8)
Y = np.arange(40) % 2
SMALL = {"hidden": (4,), "latent": 2, "epochs": 1, "precision": "fp32", "quiet": True}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Pairs(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return torch.from_numpy(X[i : i + 1]), int(Y[i])


class Dicts(Pairs):
    def __getitem__(self, i):
        return {"image": Image.fromarray(X[i]), "label": ["cat", "dog"][Y[i]]}


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


GIVEN = {
    "array": X,
    "floats": X / 255,
    "tensor": torch.from_numpy(X),
    "list": list(X),
    "tensors": [torch.from_numpy(x) for x in X],
    "pair": (X, Y),
    "list of labels": (torch.from_numpy(X), Y.tolist()),
    "dict": {"x": X, "y": Y},
    "dataset": Pairs(),
    "dicts": Dicts(),
    "subset": Subset(Pairs(), range(40)),
    "tensors and labels": TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    "loader": DataLoader(Pairs(), 16, shuffle=True),
    "stream": Stream(),
    "channels last": X[..., None],
    "bool": X > 127,
    "int64": X.astype(np.int64),
}


@pytest.mark.parametrize("name", GIVEN)
def test_objects_are_data(name):
    data = load(GIVEN[name], quiet=True)
    assert sum(len(samples) for samples in data.splits.values()) == 40
    rows = torch.cat([samples.index for samples in data.splits.values()])
    found = torch.cat([samples.images() for samples in data.splits.values()])
    wanted = X > 127 if name == "bool" else X / 255
    assert np.abs(found[:, 0].numpy() - wanted[rows]).max() < 1e-6
    if data.classes:
        y = torch.cat([samples.labels() for samples in data.splits.values()])
        assert np.array_equal(y.numpy(), Y[rows])
        assert data.classes in (("0", "1"), ("cat", "dog"))
    if name == "loader":
        assert "its order and batch size are not used" in "\n".join(lines(data))


def test_a_stream_that_does_not_fit_stays_in_a_file():
    data, whole = (load(Stream(), quiet=True, memory=memory) for memory in (100, None))
    assert not isinstance(data.train.x, torch.Tensor)
    assert data.train.images().equal(whole.train.images())
    assert data.fingerprint == whole.fingerprint


def test_splits_of_their_own():
    data = load(
        {"x_train": X, "y_train": Y, "x_val": X[:7], "y_val": Y[:7], "x_test": X, "y_test": Y}
    )
    assert [len(s) for s in data.splits.values()] == [40, 7, 40]
    keras = load(((X, Y), (X[:9], Y[:9])))
    assert [len(s) for s in keras.splits.values()] == [36, 4, 9]
    assert load(keras) is keras


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, "data of type int|shape"),
        ("", "no such file"),
        ([X[0], X[1, :3]] * 10, "arrays of unequal shape"),
        (object(), "data of type object cannot be read: give an array"),
        ((X, Y[:5]), r"y of the data has shape \(5,\), but there are 40 samples"),
        ({"x": X, "weights": Y}, "nothing says what 'weights' is"),
        (TensorDataset(torch.zeros(20, 6, 6), Y_ := torch.zeros(20), Y_), "3 parts"),
        (X.astype(np.float32), "--values 0 255"),
    ],
)
def test_objects_that_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        load(given, quiet=True)


def test_a_run_asks_for_the_same_data_again(tmp_path):
    run = zspace.train("cvae", data=(X, Y), out=tmp_path / "run", **SMALL)
    assert run.config.data.data == "memory:tuple"
    again = zspace.load(tmp_path / "run")
    with pytest.raises(UserError, match=r"handed over in Python \(tuple\).*give the same again"):
        again.data()
    with pytest.raises(UserError, match="give the same again, as data="):
        zspace.repeat(tmp_path / "run", out=False)
    with pytest.raises(UserError, match="the data given are not those of that run"):
        zspace.repeat(tmp_path / "run", out=False, data=(X[::-1], Y))
    same = zspace.repeat(tmp_path / "run", out=False, data=(X, Y))
    assert all(torch.equal(a, b) for a, b in zip(
        same.model.parameters(), run.model.parameters(), strict=True))  # fmt: skip
    assert list(again.data((X, Y)).splits) == ["train", "validation", "test"]
    assert again.data().fingerprint == run.data().fingerprint
    new = again.data((X[:3], Y[:3]))
    assert {name: len(samples) for name, samples in new.splits.items()} == {"all": 3}


@pytest.mark.parametrize("kind", ["path", "array"])
def test_splits_that_lie_apart(tmp_path, kind):
    def given(name, x, y):
        if kind == "array":
            return x, y
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
        return str(tmp_path / f"{name}.npz")

    names = np.array(["cat", "dog"])
    main, val, test = (
        given("main", X, names[Y]),
        given("val", X[:5], names[np.ones(5, int)]),
        given("test", X[:7], np.array(["dog", "eel", "eel", "cat", "dog", "dog", "dog"])),
    )
    data = load(main, val=val, test=test)
    assert [len(s) for s in data.splits.values()] == [40, 5, 7]
    assert (data.classes, data.novel) == (("cat", "dog", "eel"), ("eel",))
    assert data.validation.labels().tolist() == [1] * 5
    assert data.test.labels().tolist() == [1, 2, 2, 0, 1, 1, 1]
    assert "(--test)" in lines(data)[1]
    run = zspace.train("ae", data=main, val=val, test=test, out=False, **SMALL)
    assert len(run.data().test) == 7
    with pytest.raises(UserError, match="training sample of class 'eel'"):
        zspace.train("cvae", data=main, test=test, out=False, **SMALL)
    with pytest.raises(UserError, match="has a test set of its own"):
        load({"x": X, "x_test": X}, test=X)
    with pytest.raises(UserError, match="differ in shape"):
        load(X, test=R.rand(9, 3, 3))


def pictures(folder, n=12):
    folder.mkdir(parents=True)
    for i in range(n):
        Image.fromarray(X[i]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("names", ["{}.png", "pets/{}.png", "{}", "sub/../{}.png"])
def test_a_list_says_the_labels(tmp_path, names):
    folder = pictures(tmp_path / "pets")
    (tmp_path / "deep").mkdir()
    rows = [(names.format(i), ["cat", "dog"][i % 2]) for i in range(11)] + [("gone.png", "cat")]
    table = pandas.DataFrame(rows, columns=["filename", "label"])
    table.to_csv(folder / "labels.csv", index=False)
    if names.startswith(("pets", "sub")):
        with pytest.raises(UserError, match=r"no column of .* names the images"):
            load(str(folder), labels="labels.csv")
        return
    data = load(str(folder), labels="labels.csv")
    known = {f"{i}.png": i % 2 for i in range(11)} | {"11.png": -1}
    for samples in data.splits.values():
        assert samples.labels().tolist() == [known[name] for name in samples.names()]
    said = "\n".join(lines(data))
    assert "(label of labels.csv)" in said
    assert "1 rows of labels.csv without an image ('gone.png')" in said
    assert "1 without a label" in said


def test_a_list_may_say_the_splits_and_hold_several_columns(tmp_path):
    folder = pictures(tmp_path / "x")
    table = pandas.DataFrame(
        {"file": [f"{i}.png" for i in range(12)], "age": "7", "species": "cat"}
    )
    table["split"] = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    table.to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(UserError, match=r"columns age, species: say which .* l\.csv:COLUMN"):
        load(str(folder), labels=str(tmp_path / "l.csv"))
    data = load(str(folder), labels=f"{tmp_path}/l.csv:species")
    assert [len(s) for s in data.splits.values()] == [8, 2, 2]
    assert data.classes == ("cat",)


@pytest.mark.parametrize("end", ["csv", "npy"])
def test_labels_of_an_array_may_lie_in_a_file(tmp_path, end):
    np.save(tmp_path / "x.npy", X)
    if end == "npy":
        np.save(tmp_path / "y.npy", Y)
    else:
        pandas.DataFrame({"label": Y}).to_csv(tmp_path / "y.csv", index=False)
    data = load(str(tmp_path / "x.npy"), labels=f"y.{end}")
    assert np.array_equal(data.train.labels(), Y[data.train.index])


def test_ids_travel_with_samples(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / "pets" / name, 20)
    (tmp_path / "pets" / "cat" / "05.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 unreadable"):
        run = zspace.train(
            "ae", data=str(tmp_path / "pets"), skip_bad=True, out=tmp_path / "run", **SMALL
        )
    data = run.data()
    ids = {name for samples in data.splits.values() for name in samples.names()}
    assert ids == {f"{k}/{i}.png" for k in ("cat", "dog") for i in range(20)}
    done = measured.score(run, out=tmp_path / "s.csv", rate=0.5)
    with done.path.open() as file:
        scored = list(csv.DictReader(file))
    assert {row["id"] for row in scored} == ids
    assert all(row["id"].startswith(row["label"]) for row in scored)
    for end in ("npz", "csv", "parquet"):
        measured.embed(run, out=tmp_path / f"z.{end}")
    with np.load(tmp_path / "z.npz") as arrays:
        assert set(arrays["ids"]) == ids
        for name, z in zip(arrays["ids"][:5], arrays["z"][:5], strict=True):
            image = np.array(Image.open(tmp_path / "pets" / name))
            assert np.allclose(run.encode(image), z, atol=1e-5)
        for frame in (
            pandas.read_csv(tmp_path / "z.csv"), pandas.read_parquet(tmp_path / "z.parquet")
        ):  # fmt: skip
            assert list(frame.id) == list(arrays["ids"])
            assert list(frame.label) == list(arrays["label"])
            assert np.allclose(frame[["z0", "z1"]], arrays["z"], atol=1e-6)
    with pytest.raises(UserError, match=r"codes go into \.npz, \.csv, \.parquet"):
        measured.embed(run, out=tmp_path / "z.txt")


def test_a_missing_label_is_inferred_for_codes_alone(runs, tmp_path):
    run = runs["cvae"]
    test = run.data().test
    x, y = test.images().numpy(), test.labels().numpy()
    found = inferred_labels(run, test)
    one = np.stack([run.encode(x, int(k)) for k in range(run.model.context)])
    measured.embed(run, x, out=tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as arrays:
        assert arrays["label_inferred"].all()
        assert np.array_equal(arrays["y"], found)
        assert np.allclose(arrays["z"], one[found, np.arange(len(x))], atol=1e-5)
    told = np.where(np.arange(len(y)) % 3, y, -1)
    measured.embed(run, (x, told), out=tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as arrays:
        assert np.array_equal(arrays["label_inferred"], told < 0)
        assert np.array_equal(arrays["y"], np.where(told < 0, found, y))
    with pytest.raises(UserError, match="this conditional model needs labels"):
        run.data(x)


def test_the_label_of_the_highest_bound_is_mostly_right(digits):
    run = zspace.train(
        "cvae", data=str(digits), hidden=(64,), latent=2, epochs=60, batch=32, lr=3e-3,
        precision="fp32", quiet=True, out=False,
    )  # fmt: skip
    train = run.data().train
    assert (inferred_labels(run, train) == train.labels().numpy()).mean() > 0.6


def test_a_run_encodes_what_is_held_in_python(runs):
    for name in ("vae", "cvae"):
        run = runs[name]
        test = run.data().test
        x, y = test.images().numpy(), test.labels().numpy()
        names = np.array(run.data().classes)[y]
        wanted = run.encode(x, y if name == "cvae" else None)
        pairs = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        for given in ((x, names), {"x": x, "y": names}, pairs, DataLoader(pairs, 7)):
            assert np.allclose(run.encode(given), wanted, atol=1e-5)
        decoded = run.decode(wanted, y if name == "cvae" else None)
        assert np.allclose(run.reconstruct((x, names)), decoded, atol=1e-5)
    with pytest.raises(UserError, match="is conditional, but no label was given"):
        runs["cvae"].encode({"x": x})

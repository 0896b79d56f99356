"""Tables that do not fit the memory: the same data from the disk, and the same training."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import IterableDataset

import zspace
from zspace.data import account, load
from zspace.data.kinds.table import TableEncoding
from zspace.data.readers import delimited, spill, tabular
from zspace.system.errors import UserError

LITTLE = 1e4
"""Bytes of memory, for tables of 30 KB."""


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that every table here has many."""
    monkeypatch.setattr(delimited, "PIECE", 3000)
    monkeypatch.setattr(tabular, "PIECE", 70)


def people(n: int = 500) -> pd.DataFrame:
    random = np.random.RandomState(0)
    age = random.randint(18, 90, n)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.where(random.rand(n) < 0.1, np.nan, np.round(age * 97.5, 2)),
            "sex": random.choice(["f", "m"], n),
            "town": np.where(random.rand(n) < 0.1, "?", random.choice(["Rome", "Oslo"], n)),
            "visits": random.poisson(3, n),
            "rooms": np.where(np.arange(n) == n - 1, np.nan, random.randint(1, 9, n)),
            "born": pd.to_datetime("2020-01-01") - pd.to_timedelta(age * 365, unit="D"),
            "ill": random.rand(n) < 0.3,
            "patient": random.randint(0, 60, n),
        }
    )


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    people().to_csv(path, index=False)
    return path


def same(a: zspace.data.Data, b: zspace.data.Data) -> None:
    """That the second, from the disk, is the first."""
    assert isinstance(a.train.x, torch.Tensor)
    assert not isinstance(b.train.x, torch.Tensor)
    assert a.fingerprint == b.fingerprint
    (one, knots), (two, others) = a.encoding.to_files(), b.encoding.to_files()
    assert json.dumps(one) == json.dumps(two)
    assert all(torch.equal(knots[name], others[name]) for name in knots)
    assert [s.names() for s in a.splits.values()] == [s.names() for s in b.splits.values()]
    said, told = account.lines(a), account.lines(b)
    assert said[:2] == told[:2]
    assert told[-1].startswith(said[-1])
    assert "does not fit the memory and was written once to" in told[-1]


OPTIONS = [
    {"missing": ["?"]},
    {"labels": "sex", "group": "patient"},
    {"leave_out": ["b*"], "columns": "age=category"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_csv_from_the_disk_is_the_one_in_memory(csv, options):
    same(
        load(str(csv), quiet=True, **options), load(str(csv), memory=LITTLE, quiet=True, **options)
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_a_parquet_file_from_the_disk_is_the_one_in_memory(tmp_path, options):
    frame = people().astype({"town": "category", "age": "Int16"})
    frame["maybe"] = pd.Series([True, None, False] * 166 + [True, None], dtype=object)
    frame["day"] = pd.to_datetime(frame["born"]).dt.date
    frame.to_parquet(path := tmp_path / "a.parquet", row_group_size=90)
    same(
        load(str(path), quiet=True, **options),
        load(str(path), memory=LITTLE, quiet=True, **options),
    )


def test_a_column_of_splits_is_honoured_on_the_disk(tmp_path):
    frame = people().assign(split=np.random.RandomState(1).choice(["train", "val", "test"], 500))
    frame.to_csv(path := tmp_path / "a.csv", index=False)
    same(load(str(path), quiet=True), load(str(path), memory=LITTLE, quiet=True))


def test_arrays_and_streams_of_rows_go_to_the_disk(tmp_path):
    x = np.random.RandomState(0).normal(size=(400, 6)).astype(np.float32)
    x[3, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    whole = load(str(tmp_path / "x.npy"), quiet=True)
    same(whole, load(str(tmp_path / "x.npy"), memory=LITTLE, quiet=True))

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(torch.from_numpy(x), range(400), strict=True))

    class Labelled(IterableDataset):
        def __iter__(self):
            return ((row, i % 3) for i, row in enumerate(torch.from_numpy(x)))

    loader = torch.utils.data.DataLoader(Labelled(), batch_size=7)
    found = load(loader, memory=LITTLE, quiet=True)
    assert found.classes == ("0", "1", "2")
    assert found.encoding.to_files()[0]["entries"][0]["dtype"] == {"name": "float32"}
    assert not isinstance(found.train.x, torch.Tensor)
    with pytest.raises(UserError, match="name samples rather than classes"):
        load(Stream(), memory=LITTLE, quiet=True)


def test_it_is_written_once(csv, monkeypatch):
    first = load(str(csv), memory=LITTLE, quiet=True)
    monkeypatch.setattr(delimited.Text, "pieces", None)
    monkeypatch.setattr(TableEncoding, "encoded", None)
    again = load(str(csv), memory=LITTLE, quiet=True)
    assert again.fingerprint == first.fingerprint
    assert again.train.x == first.train.x


def test_nothing_is_half_written(csv, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write = spill._Column.add
    monkeypatch.setattr(spill._Column, "add", lambda self, raw: write(self, raw) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load(str(csv), memory=LITTLE, quiet=True)
    folder = tmp_path / "zspace" / "tables"
    assert not list(folder.iterdir())
    monkeypatch.setattr(spill._Column, "add", write)
    whole = load(str(csv), memory=LITTLE, quiet=True)
    (values,) = folder.glob("people-*/1.values")
    values.write_bytes(values.read_bytes()[:-1])
    assert load(str(csv), memory=LITTLE, quiet=True).fingerprint == whole.fingerprint

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill, "_flushed", full)
    with pytest.raises(UserError, match="No space left on device; make room there"):
        load(str(csv), memory=LITTLE, missing=["x"], quiet=True)


def test_texts_that_are_no_category_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "MOST_TEXTS", 100)
    frame = people().assign(name=[f"p{i}" for i in range(500)])
    frame.to_csv(path := tmp_path / "a.csv", index=False)
    data = load(str(path), memory=LITTLE, quiet=True)
    assert "name (more than 100 different texts)" in account.lines(data)[2]
    for option in ("labels", "group"):
        with pytest.raises(UserError, match=r"'name' .* has more than 100 different texts"):
            load(str(path), memory=LITTLE, quiet=True, **{option: "name"})


def test_new_rows_may_not_fit_either(csv):
    data = load(str(csv), quiet=True)
    whole = zspace.data.loading.load_new(str(csv), encoding=data.encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zspace.data.loading.room", lambda: LITTLE)
        new = zspace.data.loading.load_new(str(csv), encoding=data.encoding)
    assert not isinstance(new.splits["all"].x, torch.Tensor)
    assert new.fingerprint == whole.fingerprint


SCRIPT = """
import sys
import zspace.data.loading
from zspace.cli import main
zspace.data.loading.room = lambda: {room}
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.mark.thorough
def test_a_streamed_training_resumes_bit_for_bit_after_a_kill_and_repeats(csv, tmp_path):
    """As the training in memory goes."""
    options = ["--data", str(csv), "--hidden", "16", "--latent", "2", "--epochs", "12"]
    options += ["--batch", "32", "--precision", "fp32", "--json", "--missing", "?"]

    def command(room: float, *more: str) -> list[str]:
        return [sys.executable, "-c", SCRIPT.format(room=room), "train", "vae", *options, *more]

    memory, disk, cut = (tmp_path / name for name in ("memory", "disk", "cut"))
    subprocess.run(command(1e9, "--out", str(memory)), capture_output=True, check=True)
    done = subprocess.run(
        command(LITTLE, "--out", str(disk)), capture_output=True, text=True, check=True
    )
    assert "does not fit the memory" in done.stdout + done.stderr
    going = subprocess.Popen(
        command(LITTLE, "--save-every", "0", "--out", str(cut)), stdout=subprocess.PIPE, text=True
    )
    assert going.stdout is not None
    for line in going.stdout:
        if '"number": 3' in line or '"epoch": 3' in line:
            break
    going.send_signal(signal.SIGKILL)
    going.wait()
    going.stdout.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zspace.data.loading.room", lambda: LITTLE)
        if json.loads((cut / "run.json").read_text())["status"] != "finished":
            zspace.resume(cut, reporter=None)
        again = zspace.repeat(disk, out=tmp_path / "again")
    a = zspace.load(memory).model.state_dict()
    for other in (zspace.load(disk), zspace.load(cut), again):
        b = other.model.state_dict()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert (memory / "encoding.json").read_bytes() == (cut / "encoding.json").read_bytes()


def test_every_view_of_an_array_in_a_file_is_read_as_it_is(tmp_path):
    x = np.random.RandomState(0).normal(size=(300, 4)).round(3)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    cases = {
        "columns first": (np.load(tmp_path / "f.npy", mmap_mode="r"), x),
        "the end": (mapped[100:], x[100:]),
        "every second": (mapped[::2], x[::2]),
        "some columns": (mapped[:, 1:], x[:, 1:]),
        "all": (mapped, x),
    }
    for name, (view, value) in cases.items():
        held, kept = load(np.array(value), quiet=True), load(view, quiet=True, memory=1e3)
        assert isinstance(kept.train.x, spill.Numbers), name
        for split, samples in held.splits.items():
            assert torch.equal(samples.images(), kept.splits[split].images()), (name, split)
    apart = {"x_train": mapped[:200], "x_test": mapped[200:]}
    data = load(apart, quiet=True, memory=1e3)
    test = data.encoding.decode(data.test.images().numpy())
    right = np.isclose(np.asarray(test, float), x[200:], atol=1e-3)
    assert right.mean() > 0.95  # but for values outside the training range


def test_labels_of_an_array_in_a_file_may_be_missing_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "_AT_ONCE", 50)
    x = np.random.RandomState(0).normal(size=(400, 3))
    y = np.where(np.arange(400) < 200, np.arange(400) % 2, np.nan)
    np.save(tmp_path / "x.npy", np.c_[x, y])
    data = load(str(tmp_path / "x.npy"), labels="3", quiet=True, memory=LITTLE)
    assert data.classes == ("0", "1")


def test_a_class_is_held_out_of_a_table_that_is_split_in_time(csv):
    for memory in (1e9, LITTLE):
        data = load(
            str(csv), labels="sex", split_by="born", hold_out_class="f", quiet=True, memory=memory
        )
        assert set(data.train.labels().tolist()) == {1}
        assert {0, 1} == set(data.test.labels().tolist())
        assert len(data.test.images()) == len(data.test)


def test_a_file_that_has_become_shorter_is_a_sentence(tmp_path):
    path = tmp_path / "x.f4"
    np.arange(40, dtype="<f4").tofile(path)
    x = spill.Numbers(path, (10, 4))
    assert x.read(torch.tensor([3, 4, 9])).tolist()[2] == [36, 37, 38, 39]
    assert x.read(torch.tensor([], dtype=torch.int64)).shape == (0, 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="has become shorter"):
        x.read(torch.tensor([9]))

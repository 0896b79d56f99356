"""Tables in files and in Python as data sets: types, splits, labels, what is refused and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

import zspace
from zspace.data import account, load
from zspace.data.loading import load_new
from zspace.data.options import DataOptions
from zspace.data.readers import delimited
from zspace.data.readers.frames import table_of
from zspace.system.errors import UserError

N = 120


def people(n: int = N, seed: int = 0) -> pd.DataFrame:
    random = np.random.RandomState(seed)
    age = random.randint(18, 90, n)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.round(np.exp(random.normal(10, 1, n)), 2),
            "sex": random.choice(["f", "m"], n),
            "town": random.choice(["Rome", "Oslo", "Bern"], n),
            "visits": random.poisson(3, n),
            "born": pd.Timestamp("2020-01-01") - pd.to_timedelta(age * 365, unit="D"),
            "ill": random.rand(n) < 0.3,
        }
    )


def text(tmp_path: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> pd.DataFrame:
    return table_of(delimited.Text.of(path).at_once()[0], "pandas")


def test_a_csv_comes_back_as_pandas_would_read_it(tmp_path):
    frame = people()
    path = tmp_path / "people.csv"
    frame.to_csv(path, index=False)
    found = read(path)
    pd.testing.assert_frame_equal(found, frame.astype({"born": "datetime64[us]"}))
    data = load(str(path), quiet=True)
    assert data.spec.kind == "table"
    assert [len(s) for s in data.splits.values()] == [98, 10, 12]
    assert data.train.images().shape == (98, data.spec.shape[0])
    rows = data.encoding.decode(data.train.images())
    pd.testing.assert_frame_equal(rows, found.iloc[data.train.index].reset_index(drop=True))


JAN = [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-01")]


@pytest.mark.parametrize(
    ("content", "dtype", "values"),
    [
        ("a\n 1\n2 \n+3\n", "int64", [1, 2, 3]),
        ("a\n1.50\n2e3\n-0\n", "float64", [1.5, 2000.0, 0.0]),
        ("a\n1\n\"\"\n3\n", "float64", [1.0, None, 3.0]),
        ("a\n007\n012\n", "str", ["007", "012"]),
        ("a\nTrue\nfalse\n", "bool", [True, False]),
        ("a\n2020-01-02\n2021-05-06\n", "datetime64[us]", None),
        ("a\n2020-01-02 10:11\n2021-05-06 00:00\n", "datetime64[us]", None),
        ("a\n01/02/2020\n03/04/2021\n", "str", None),
        ("a\n2024/01/31\n2024/2/1\n", "datetime64[us]", JAN),
        ("a\n31.01.2024\n1.2.2024\n", "datetime64[us]", JAN),
        ("a\n31/01/2024 00:00\n01/02/2024 00:00\n", "datetime64[us]", JAN),
        ("a\n01/31/2024\n02/01/2024\n", "datetime64[us]", JAN),
        ("a\n31.01.2024\n02/01/2024\n", "str", None),
        ("a\n31.01.2024\n01.31.2024\n", "str", None),
        ("a\n2024-01-31T01:00:00+01:00\n2024-02-01T00:00:00Z\n", "datetime64[us, UTC]", None),
        ("a\n2024-01-31\n2024-02-30\n", "str", None),
        ("a;b\n1,5;x\n2,5;y\n", "str", ["1,5", "2,5"]),
        ("a\tb\n1\tx\n2\ty\n", "int64", [1, 2]),
        ("a,b\n\"x, y\",1\n\"z\"\"q\",2\n", "str", ["x, y", 'z"q']),
        ("a\nNA\nx\n", "str", ["NA", "x"]),
        ("a\nnan\nx\n", "str", [None, "x"]),
        ("\ufeffa\n1\n2\n", "int64", [1, 2]),
        ("a\n99999999999999999999\n1\n", "float64", [1e20, 1.0]),
    ],
)  # fmt: skip
def test_types_of_text(tmp_path, content, dtype, values):
    found = read(text(tmp_path, content))["a"]
    assert str(found.dtype) == dtype
    if values is not None:
        assert [None if pd.isna(v) else v for v in found.tolist()] == values


def dated(tmp_path: Path, *dates: str) -> str:
    rows = [f"{dates[i % len(dates)]},{i % 7}" for i in range(60)]
    return str(text(tmp_path, "\n".join(["when,n", *rows]), "d.csv"))


def test_dates_whose_day_and_month_nothing_tells_apart_are_asked_about(tmp_path):
    path = dated(tmp_path, "01/02/2024", "03/04/2024")
    data = load(path, quiet=True)
    assert data.encoding.entries[0].kind == "category"
    (said,) = [line for line in account.lines(data) if "are the texts of when dates?" in line]
    assert "--columns when=date is not enough: write 2026-11-30" in said
    with pytest.raises(UserError, match="nothing tells its day and its month apart"):
        load(path, columns="when=date", quiet=True)


def test_new_dates_are_read_as_those_of_the_training_rows_were(tmp_path):
    data = load(dated(tmp_path, "31.01.2024", "02.01.2024"), quiet=True)
    encoding = data.encoding
    new = load_new(dated(tmp_path, "03.01.2024"), encoding=encoding)
    rows = encoding.decode(new.splits["all"].images())
    assert rows["when"].unique().tolist() == [pd.Timestamp("2024-01-03")]
    with pytest.raises(UserError, match=r"is written as %m\.%d\.%Y here"):
        load_new(dated(tmp_path, "01.31.2024"), encoding=encoding)


def test_a_marker_leaves_a_column_of_numbers_one(tmp_path):
    path = text(tmp_path, "a,b\n" + "".join(f"{i % 50},x\n" for i in range(60)) + "?,y\n")
    (entry, _) = load(str(path), missing=["?"], quiet=True).encoding.entries
    assert (entry.kind, entry.dtype["name"]) == ("count", "int64")


HOSTILE = {
    "nul": (b"a,b\n1,2\n\0\0\n", "NUL bytes near line 3"),
    "latin": ("a,b\n1,caf\xe9\n".encode("latin-1"), r"not UTF-8 \(line 2\)"),
    "mixed": ("a,b\n1,caf\xe9\n".encode() + "2,caf\xe9\n".encode("latin-1"), r"UTF-8 \(line 3\)"),
    "utf16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16"),
    "broad": (b",".join(b"c%d" % i for i in range(200)) + b"\n1\n", "columns or more"),
    "field": (b'a\n"' + b"x" * (1 << 20) + b'"\n', "a record of more than"),
    "quote": (b'a\n"never closed\n' + b"1\n" * (1 << 18), "never closed"),
    "empty": (b"", "is empty"),
    "header": (b"a,b\n", "no rows"),
    "numbers": (b"1.5,2\n3,4\n5,6\n", "give the columns names"),
    "twice": (b"a,a\n1,2\n", "two columns of .* are named 'a'"),
    "ragged": (b"a,b\n1,2\n1,2,3\n", "cannot be read as a table"),
    "suffix": (b"PAR1 no parquet", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("memory", [1e9, 1e4])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_in_a_sentence(tmp_path, monkeypatch, case, memory):
    monkeypatch.setattr(delimited, "MOST_RECORD", 1 << 18)
    monkeypatch.setattr(delimited, "MOST_COLUMNS", 100)
    content, why = HOSTILE[case]
    path = text(tmp_path, content, "a.parquet" if case == "suffix" else "a.csv")
    with pytest.raises(UserError, match=why) as caught:
        load(str(path), memory=memory, quiet=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_field_of_any_size_is_refused_before_memory_goes(tmp_path):
    """A file of 2 GB without a line break: what is read of it stays within a few megabytes."""
    import tracemalloc

    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.write(b'a,b\n1,2\n"')
        file.truncate(2 << 30)
    tracemalloc.start()
    with pytest.raises(UserError, match="NUL bytes"):
        load(str(path), quiet=True)
    with path.open("r+b") as file:
        for _ in range(40):
            file.write(b"x" * (1 << 20))
    with pytest.raises(UserError, match=r"record of more than|columns or more"):
        load(str(path), quiet=True)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


def test_a_parquet_file_of_very_many_equal_rows_is_read_in_pieces(tmp_path, monkeypatch):
    """It takes 2 KB on the disk and would take 80 MB as a table."""
    frame = pd.DataFrame({"a": np.zeros(1_000_000, np.int64), "b": np.ones(1_000_000)})
    frame.to_parquet(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    file = delimited.Parquet.of(tmp_path / "a.parquet")
    assert not file.fits(32e6)
    assert file.fits(1e9)
    assert max(piece["a"].size for piece in file.pieces()) <= delimited.PIECE // 16


def test_a_long_text_that_occurs_often_is_in_memory_once(tmp_path):
    frame = pd.DataFrame({"a": ["x" * 100_000, "y"] * 50, "b": np.arange(100) % 7})
    frame.to_parquet(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 300_000
    file = delimited.Parquet.of(tmp_path / "a.parquet")
    for table in (file.at_once()[0], next(file.pieces())):
        assert table["a"].dtype == {"name": "str"}
        assert len({id(value) for value in table["a"].values}) == 2


def test_parquet_keeps_its_types(tmp_path):
    frame = people().astype({"town": "category", "age": "Int16"})
    frame.to_parquet(tmp_path / "a.parquet")
    data = load(str(tmp_path / "a.parquet"), quiet=True)
    found = data.encoding.decode(data.test.images())
    expected = pd.read_parquet(tmp_path / "a.parquet").iloc[data.test.index].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)


def test_what_python_holds():
    frame = people()
    array = np.random.RandomState(0).normal(size=(50, 4))
    for source in (frame, pl.from_pandas(frame), array, torch.from_numpy(array)):
        assert load(source, quiet=True).spec.kind == "table"
    sparse = scipy.sparse.csr_array(np.round(array))
    assert load(sparse, quiet=True).spec.shape == (4,)
    y = np.arange(50) % 3
    pair = load((array, y), quiet=True)
    assert (pair.classes, len(pair.train)) == (("0", "1", "2"), 41)
    own = load({"x_train": array, "y_train": y, "x_test": array[:9], "y_test": y[:9]}, quiet=True)
    assert [len(s) for s in own.splits.values()] == [45, 5, 9]
    with pytest.raises(UserError, match="nothing says what 'z' is"):
        load({"x": frame, "z": y}, quiet=True)


def test_row_labels_are_ids():
    frame = people().set_index(pd.Index([f"p{i}" for i in range(N)]))
    data = load(frame, quiet=True)
    assert data.test.names() == [f"p{i}" for i in data.test.index.tolist()]


def test_arrays_in_files(tmp_path):
    x, y = np.random.RandomState(0).normal(size=(60, 5)), np.arange(60) % 2
    np.savez(tmp_path / "a.npz", X=x, y=y, allow_pickle=False)
    np.save(tmp_path / "b.npy", x)
    labelled, bare = (load(str(tmp_path / name), quiet=True) for name in ("a.npz", "b.npy"))
    assert labelled.classes == ("0", "1")
    assert bare.spec.shape == labelled.spec.shape == (5,)
    known = x[bare.train.index]
    assert np.allclose(bare.encoding.decode(bare.train.images()), known, atol=1e-4)
    inside = x[bare.test.index].clip(known.min(0), known.max(0))
    assert np.allclose(bare.encoding.decode(bare.test.images()), inside, atol=1e-4)


def test_a_column_of_labels_is_no_part_of_x():
    data = load(people(), labels="town", quiet=True)
    assert data.classes == ("Bern", "Oslo", "Rome")
    assert "town" not in [entry.name for entry in data.encoding.entries]
    assert data.read.labels == "town"
    with pytest.raises(UserError, match="did you mean 'town'"):
        load(people(), labels="twon", quiet=True)


def test_a_column_of_splits_is_honoured():
    frame = people()
    frame["split"] = ["train"] * 80 + ["val"] * 15 + ["test"] * 25
    data = load(frame, quiet=True)
    assert [len(s) for s in data.splits.values()] == [80, 15, 25]
    assert data.test.names() == [str(i) for i in range(95, 120)]
    assert "split" not in [entry.name for entry in data.encoding.entries]
    assert any("split (it says the splits)" in line for line in account.lines(data))


def test_groups_are_not_torn_apart():
    frame = people().assign(patient=np.random.RandomState(1).randint(0, 30, N))
    data = load(frame, group="patient", quiet=True)
    patient = frame["patient"].to_numpy()
    groups = [set(patient[[int(name) for name in s.names()]]) for s in data.splits.values()]
    assert all(groups)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert sum(len(s) for s in data.splits.values()) == N
    assert 0.7 < len(data.train) / N < 0.9
    with pytest.raises(UserError, match="column of groups"):
        load(frame, group="patent", quiet=True)
    with pytest.raises(UserError, match="2 groups"):
        load(frame, group="sex", quiet=True)


def test_missing_values_are_said_and_asked_about_not_taken():
    frame = people()
    frame.loc[:9, "income"] = np.nan
    frame.loc[5:30, "age"] = -200
    frame.loc[:3, "town"] = " ?"
    data = load(frame, quiet=True)
    said = " ".join(account.lines(data))
    assert "10 values are missing" in said
    assert "is -200 in age a missing value? then add --missing -200" in said
    assert "is '?' in town a missing value? then add --missing '?'" in said
    told = load(frame, missing=["?", "-200"], quiet=True)
    assert "40 values are missing" in " ".join(account.lines(told))
    assert (told.encoding.entries[0].low, data.encoding.entries[0].low) == (18, -200)
    assert int(told.train.images().isnan().any(1).sum()) > 0
    assert told.spec.missing


def test_texts_that_are_all_dates_or_numbers_are_asked_about_not_taken():
    days = pd.date_range("2020-01-01", periods=60).strftime("%Y-%m-%d").repeat(2)
    sizes = [f"{i % 40}.5" for i in range(120)]
    frame = pd.DataFrame({"joined": days, "size": sizes, "zip": ["00123", "04012"] * 60})
    data = load(frame, quiet=True)
    said = " ".join(account.lines(data))
    assert "are the texts of joined dates? then add --columns joined=date" in said
    assert "are the texts of size numbers? then add --columns size=number" in said
    assert "texts of zip" not in said
    given = "joined=date,size=category,zip=category"
    told = load(frame, columns=given, quiet=True)
    said = " ".join(account.lines(told))
    assert "are the texts" not in said
    assert "joined (date" in said


def test_only_training_rows_are_learned_from():
    frame = people()
    data = load(frame, quiet=True)
    wild = frame.copy()
    wild.loc[data.test.index.numpy(), "income"] = 1e9
    again = load(wild, quiet=True)
    assert again.encoding.entries[1].high == data.encoding.entries[1].high
    assert torch.equal(again.train.images(), data.train.images())
    assert again.fingerprint != data.fingerprint


def test_columns_can_be_left_out_and_set():
    data = load(people(), leave_out=["inc*"], columns="age=category,town=id", quiet=True)
    kinds = {entry.name: entry.kind for entry in data.encoding.entries}
    assert kinds["age"] == "category"
    assert "income" not in kinds
    assert "town" not in kinds
    line = account.lines(data)[-1]
    assert "income (as asked)" in line
    assert "town (by --columns)" in line
    for columns, why in (("age", "sets no kind"), ("aeg=number", "did you mean 'age'")):
        with pytest.raises(UserError, match=why):
            load(people(), columns=columns, quiet=True)
    with pytest.raises(UserError, match="sets no kind"):
        DataOptions(columns="age").check()


def test_options_of_another_kind_are_refused(digits):
    with pytest.raises(UserError, match="--size is for images, but these are rows of a table"):
        load(people(), size=28, quiet=True)
    with pytest.raises(
        UserError, match="--columns is for rows of a table and series, but these are"
    ):
        load(np.zeros((12, 8, 8)), columns="a=number", quiet=True)
    with pytest.raises(UserError, match="--kind is image, but"):
        load(people(), kind="image", quiet=True)
    with pytest.raises(UserError, match="--kind is table, but"):
        load(str(digits), kind="table", quiet=True)
    with pytest.raises(UserError, match="--augment is for images"):
        zspace.train("vae", data=people(), augment="flip", out=False, quiet=True)
    with pytest.raises(UserError, match="kind 'tabel' is unknown"):
        DataOptions(kind="tabel").check()


def test_own_validation_and_test_files(tmp_path):
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        people(60, seed).to_csv(tmp_path / f"{name}.csv", index=False)
    paths = {k: str(tmp_path / f"{v}.csv") for k, v in (("val", "b"), ("test", "c"))}
    data = load(str(tmp_path / "a.csv"), labels="sex", **paths, quiet=True)
    assert [len(s) for s in data.splits.values()] == [60, 60, 60]
    assert data.classes == ("f", "m")


def test_new_rows_for_a_finished_run_are_one_set():
    data = load(people(), quiet=True)
    new = load_new(people(3, 5), encoding=data.encoding)
    assert {name: len(s) for name, s in new.splits.items()} == {"all": 3}
    with pytest.raises(UserError, match="this model reads rows of a table"):
        load_new(np.zeros((3, 8, 8)), encoding=data.encoding)
    with pytest.raises(UserError, match="holds rows of a table, but this model reads images"):
        load_new(people(3))

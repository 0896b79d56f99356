"""Long series from CSV files, DataFrames and folders: time, gaps, groups, cuts and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from zspace.data import account, load
from zspace.data.kinds.series import SeriesEncoding
from zspace.data.loading import load_new
from zspace.data.readers import delimited, windows
from zspace.system.errors import UserError

L, T = 600, 24


def hourly(n: int = L, seed: int = 0, start: str = "2004-03-10 18:00:00") -> pd.DataFrame:
    random = np.random.RandomState(seed)
    level = random.randn(n).cumsum()
    return pd.DataFrame(
        {
            "when": pd.date_range(start, periods=n, freq="h").strftime("%Y-%m-%d %H:%M:%S"),
            "CO": np.where(random.rand(n) < 0.05, -200.0, np.round(level, 3)),
            "T": random.randint(-5, 30, n),
            "town": random.choice(["Rome", "Oslo"], n),
            "nothing": [None] * n,
        }
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    hourly().to_csv(tmp_path / "air.csv", index=False)
    return tmp_path / "air.csv"


def told(data: Any) -> str:
    return "\n".join(account.lines(data))


def decoded(data: Any, split: str) -> np.ndarray:
    assert isinstance(data.encoding, SeriesEncoding)
    return np.asarray(data.encoding.decode(data.splits[split].images()))


def test_a_file_is_cut_into_windows_and_split_in_time(csv: Path) -> None:
    data = load(csv, window=T, missing=("-200",))
    assert data.spec.shape == (T, 2)
    assert data.spec.missing
    assert [column.name for column in data.spec.columns] == ["CO", "T"]
    frame = hourly()
    raw = frame[["CO", "T"]].replace(-200.0, np.nan).to_numpy()
    bounds = {"train": (0, 486), "validation": (486, 540), "test": (540, 600)}
    for name, (low, high) in bounds.items():
        starts = [i for i in range(0, L, 3) if low <= i and i + T <= high]
        assert data.splits[name].names() == [frame["when"][i] for i in starts]
        own = np.stack([raw[i : i + T] for i in starts])
        assert np.allclose(decoded(data, name), own, atol=1e-5, equal_nan=True)
    said = told(data)
    assert f"validation from {frame['when'][486]}, test from {frame['when'][540]}" in said
    assert "a window of 24 steps begins every 3 steps" in said
    assert "a step is 1 hour" in said
    for gone in ("when (it is the time)", "town (texts, such as", "nothing (no values)"):
        assert gone in said
    assert f"{int(np.isnan(raw).sum())} values are missing" in said
    assert "across the cuts left out" in said


def test_frames_parquet_and_tsv_give_the_same(csv: Path) -> None:
    data = load(csv, window=T, missing=("-200",))
    frame = hourly()
    frame.to_csv(csv.parent / "air.tsv", sep="\t", index=False)
    frame["when"] = pd.to_datetime(frame["when"])
    frame.to_parquet(csv.parent / "air.parquet")
    indexed = frame.set_index("when")
    for source in (csv.with_suffix(".tsv"), csv.with_suffix(".parquet"), frame, indexed):
        again = load(source, window=T, missing=("-200",))
        assert again.fingerprint == data.fingerprint
        assert again.test.names() == data.test.names()
    split = load({"x_train": frame[:400], "x_test": frame[400:]}, window=T, missing=("-200",))
    assert len(split.test) == (200 - T) // 3 + 1
    assert "validation" in told(split)


def test_time_that_is_irregular_is_said(tmp_path: Path) -> None:
    frame = hourly()
    frame["when"] = pd.to_datetime(frame["when"])
    frame.loc[300:, "when"] += pd.Timedelta("5h")
    frame.loc[401, "when"] = frame.loc[400, "when"]
    said = told(load(frame, window=T))
    assert "a step is 1 hour, but 3 of 599 steps are not, 1 of them at the same time" in said


def test_days_that_hold_several_steps() -> None:
    days = hourly().assign(
        when=pd.Timestamp("2004-03-10") + pd.to_timedelta(np.arange(L) // 24, "D")
    )
    data = load(days, window=T)
    assert "575 of 599 steps have the time of the one before" in told(data)
    assert data.test.names()[:2] == ["2004-04-01 (row 540)", "2004-04-01 (row 543)"]
    data = load(days.assign(when=pd.date_range("2004-03-10", periods=L)), window=T)
    assert data.test.names()[0] == "2005-09-01"
    assert "a step is 1 day" in told(data)


def test_time_that_goes_back_is_refused() -> None:
    frame = hourly()
    frame.loc[100, "when"] = "2004-03-01 00:00:00"
    with pytest.raises(UserError, match=r"goes back.*before 2004-03-01 00:00:00 \(row 100\)"):
        load(frame.assign(when=pd.to_datetime(frame["when"])), window=T)


def test_which_column_is_the_time(csv: Path) -> None:
    frame = hourly()
    frame["made"] = frame["when"]
    frame.to_csv(csv, index=False)
    with pytest.raises(UserError, match=r"when and made of 'air.csv' hold dates.*--columns when="):
        load(csv, window=T)
    data = load(csv, window=T, columns="when=date,T=id")
    assert [column.name for column in data.spec.columns] == ["CO"]
    assert "made (dates)" in told(data)
    assert "T (by --columns)" in told(data)
    data = load(csv, window=T, leave_out=("made", "when"))
    assert data.test.names()[0] == "540"
    assert "test from row 540" in told(data)
    assert "made (as asked)" in told(data)


def test_groups_are_series_that_go_to_one_split() -> None:
    parts = [hourly(80 + 5 * i, seed=i).assign(station=f"s{i}") for i in range(12)]
    whole = pd.concat(parts).sample(frac=1, random_state=0).sort_values("when", kind="stable")
    whole["when"] = pd.to_datetime(whole["when"])
    data = load(whole.reset_index(drop=True), window=T, group="station")
    found = {name: {one.split()[0] for one in s.names()} for name, s in data.splits.items()}
    assert sum(map(len, found.values())) == 12 == len(set().union(*found.values()))
    assert all(found.values())
    assert "station (it says the series)" in told(data)
    assert "whole series of the data" in told(data)
    own = pd.concat(parts)
    for name, window in zip(data.test.names(), decoded(data, "test"), strict=True):
        station, when = name.split(" ", 1)
        rows = own[own["station"] == station].reset_index(drop=True)
        at = int(rows.index[rows["when"] == when][0])
        assert np.allclose(rows[["CO", "T"]].to_numpy()[at : at + T], window, atol=1e-4)


def test_a_folder_holds_a_series_in_each_file(tmp_path: Path) -> None:
    folder = tmp_path / "stations"
    folder.mkdir()
    for i, n in enumerate((400, 300, 10)):
        hourly(n, seed=i).drop(columns="when").to_csv(folder / f"{'abc'[i]}.csv", index=False)
    data = load(folder, window=20, stride=2)
    assert data.test.names()[0] == "a.csv 360"
    assert {one.split()[0] for one in data.validation.names()} == {"a.csv", "b.csv"}
    assert "c.csv (10 steps, fewer than a window)" in told(data)
    b = hourly(300, seed=1)[["CO", "T"]].to_numpy()
    own = dict(zip(data.train.names(), decoded(data, "train"), strict=True))
    assert np.allclose(own["b.csv 40"], b[40:60], atol=1e-4)
    assert max(int(one.split()[1]) for one in own if one.startswith("b")) + 20 <= 243
    hourly(90).to_csv(folder / "d.csv", index=False)
    with pytest.raises(UserError, match=r"'d.csv' has a column 'when', but 'a.csv' has none"):
        load(folder, window=20)
    assert len(load(folder, window=20, leave_out=("d.csv",)).test)
    with pytest.raises(UserError, match="is a series already"):
        load(folder, window=20, group="town")


def test_validation_and_test_that_lie_apart(csv: Path) -> None:
    hourly(200, seed=5).to_csv(csv.parent / "later.csv", index=False)
    data = load(csv, window=T, test=str(csv.parent / "later.csv"))
    assert len(data.test) == (200 - T) // 3 + 1
    assert "validation from" in told(data)
    assert np.allclose(decoded(data, "test")[0], hourly(200, seed=5)[["CO", "T"]][:T], atol=1e-4)


def test_new_data_for_a_run_are_cut_and_not_split(csv: Path) -> None:
    data = load(csv, window=T, stride=5, missing=("-200",))
    swapped = hourly(100, seed=3)[["T", "CO", "when"]].assign(more=1.5)
    swapped.to_csv(csv.parent / "new.csv", index=False)
    new = load_new(csv.parent / "new.csv", encoding=data.encoding, stride=5, missing=("-200",))
    assert new.splits["all"].names()[1] == "2004-03-10 23:00:00"
    raw = hourly(100, seed=3)[["CO", "T"]].replace(-200.0, np.nan).to_numpy()
    found = data.encoding.decode(new.splits["all"].images())  # type: ignore[union-attr]
    assert len(found) == (100 - T) // 5 + 1
    assert np.allclose(found[1], raw[5 : 5 + T], atol=1e-4, equal_nan=True)
    with pytest.raises(UserError, match="lacks; channel 'CO'"):
        load_new(swapped.drop(columns="CO"), encoding=data.encoding, stride=5)
    with pytest.raises(UserError, match=r"fewer than a window of 24: give a longer series$"):
        load_new(swapped[:20], encoding=data.encoding, stride=5)


def test_little_memory_gives_the_same(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(csv, window=T, missing=("-200",))
    monkeypatch.setattr(delimited, "PIECE", 3000)
    monkeypatch.setattr(windows, "NUMBERS", 300)
    monkeypatch.setenv("XDG_CACHE_HOME", str(csv.parent / "cache"))
    little = load(csv, window=T, missing=("-200",), memory=1e4)
    assert not isinstance(little.train.x, torch.Tensor)
    assert "does not fit the memory and was written once" in told(little)
    assert little.fingerprint == whole.fingerprint
    assert little.test.names() == whole.test.names()
    again = load(csv, window=T, missing=("-200",), memory=1e4)
    assert again.fingerprint == whole.fingerprint
    grouped = hourly().assign(station=np.arange(L) // 60)
    grouped.to_csv(csv, index=False)
    one, two = (load(csv, window=T, group="station", memory=m) for m in (1e4, 1e9))
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "series"}, "'air.csv' is one long series.*--window 24"),
        ({"window": T, "labels": "town"}, "--labels town: windows that are cut"),
        ({"window": T, "weight": "T"}, "--weight T: windows that are cut"),
        ({"window": 700}, "has 600 steps, fewer than a window of 700.*smaller --window"),
        ({"window": 70}, "leaves no window of 70 steps for test"),
        ({"window": T, "columns": "town=number"}, "holds '(Rome|Oslo)', which is no number"),
        ({"window": T, "columns": "T=count"}, "kind of column 'T' of a series 'count'"),
        ({"window": T, "columns": "P=number"}, "column 'P' is unknown"),
        ({"window": T, "leave_out": ("CO", "T")}, "no column of numbers to learn from"),
        ({"window": T, "group": "nobody"}, "'nobody' is unknown"),
        ({"window": T, "split_by": "when"}, "--split-by is for rows of a table and texts"),
        ({"window": T, "kind": "table"}, "--window is for series, but these are rows"),
        ({"stride": 3}, "--stride is for series, but these are rows"),
        ({"window": T, "group": "town"}, "has 2 series long enough for a window, but 3 splits"),
    ],
)
def test_refusals(csv: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(csv, **given)


def test_infinite_and_missing_times_are_refused(tmp_path: Path) -> None:
    frame = hourly()
    frame["when"] = pd.to_datetime(frame["when"])
    frame.loc[7, "when"] = pd.NaT
    with pytest.raises(UserError, match="has 1 missing values, the first in row 7"):
        load(frame, window=T)
    frame = hourly().drop(columns="when")
    frame.loc[8, "CO"] = np.inf
    with pytest.raises(UserError, match=r"channel 'CO'.*infinite values, the first at step 8"):
        load(frame, window=T)
    frame = hourly().drop(columns="when")
    frame.loc[:530, "CO"] = np.nan
    with pytest.raises(UserError, match="channel 'CO' has no value in the windows for training"):
        load(frame, window=T)

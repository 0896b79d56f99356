"""Columns of tables: what becomes x comes back, of which type, and what is learned of whom."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from zspace.data.kinds.columns import Scaled
from zspace.data.kinds.table import SAMPLE, TableEncoding, fit
from zspace.data.readers.frames import columns_of, table_of
from zspace.system.errors import UserError

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def fitted(frame, train=None, **more) -> TableEncoding:
    table, made = columns_of(frame)
    rows = np.arange(len(next(iter(table.values())).missing)) if train is None else train
    piece = {name: raw.rows(rows) for name, raw in table.items()}
    names = list(frame.columns) if made == "pandas" else []
    return fit([piece], len(rows), made=made, names=names, **more)


@st.composite
def numbers(draw, n: int) -> tuple[pd.Series, str]:
    """Whole numbers whose range is below 10^6, wherever it lies."""
    dtype = draw(st.sampled_from(["int8", "int32", "int64", "uint8", "uint64", "Int64"]))
    info = np.iinfo(dtype.lower())
    low = draw(st.integers(int(info.min), int(info.max)))
    high = min(low + draw(st.integers(0, 999_999)), int(info.max))
    values = draw(st.lists(st.integers(low, high), min_size=n, max_size=n))
    series = pd.Series(np.array(values, dtype.lower())).astype(dtype)
    if dtype == "Int64":
        series = series.mask(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))))
    return series, "exact"


@st.composite
def floats(draw, n: int) -> tuple[pd.Series, str]:
    scale = draw(st.sampled_from([1e-300, 1e-6, 1.0, 1e9, 1.7e308]))
    kind = st.floats(-1, 1)
    values = np.array(draw(st.lists(kind, min_size=n, max_size=n))) * scale
    if draw(st.booleans()):
        values = values * np.exp(draw(st.floats(0, 5)) * np.linspace(-5, 0, n))  # a heavy tail
    gone = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return pd.Series(np.where(gone & draw(st.booleans()), np.nan, values)), "near"


@st.composite
def dates(draw, n: int) -> tuple[pd.Series, str]:
    unit = draw(st.sampled_from(sorted(UNITS)))
    step = draw(st.sampled_from([86_400, 60, 1])) * UNITS[unit]
    most = 2**62 // step
    low = draw(st.integers(-most, most))
    size = draw(st.sampled_from([10, 10_000, 10**8]))
    values = draw(st.lists(st.integers(0, size), min_size=n, max_size=n))
    ticks = np.clip([low + value for value in values], -most, most) * step
    series = pd.Series(ticks.astype(f"datetime64[{unit}]"))
    return series.mask(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))), "date"


@st.composite
def categories(draw, n: int) -> tuple[pd.Series, str]:
    few = draw(st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True))
    values = pd.Series(draw(st.lists(st.sampled_from(few), min_size=n, max_size=n)), dtype="str")
    values = values.mask(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))))
    return values.astype(draw(st.sampled_from(["str", "object", "category"]))), "category"


@st.composite
def booleans(draw, n: int) -> tuple[pd.Series, str]:
    values = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return pd.Series(values).astype(draw(st.sampled_from(["bool", "boolean", "int64"]))), "exact"


@st.composite
def tables(draw) -> tuple[pd.DataFrame, dict[str, str], int]:
    n = draw(st.integers(2, 40))
    any_column = st.one_of(numbers(n), floats(n), dates(n), categories(n), booleans(n))
    found = draw(st.lists(any_column, min_size=1, max_size=5))
    frame = pd.DataFrame({f"c{i}": series for i, (series, _) in enumerate(found)})
    return frame, {f"c{i}": how for i, (_, how) in enumerate(found)}, draw(st.integers(1, n))


def check_inverse(case: tuple[pd.DataFrame, dict[str, str], int]) -> None:
    """Trained on the first rows, each row comes back, where its values lie in their range."""
    frame, hows, train = case
    kinds = {name: "category" for name, how in hows.items() if how == "category"}
    empty = [name for name in frame if frame[name][:train].isna().all()]
    frame = frame.drop(columns=empty)
    if frame.empty:
        return
    kinds = {k: v for k, v in kinds.items() if k in frame} | {
        name: "number" for name, how in hows.items() if how == "exact" and name in frame
    }
    encoding = fitted(frame, np.arange(train), kinds=kinds, missing=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "column .* which no training row had")
        x = encoding.encode(frame)
    assert x.dtype == torch.float32
    back = encoding.decode(x)
    assert list(back.columns) == list(frame.columns)
    for entry in encoding.entries:
        old, new = frame[entry.name], back[entry.name]
        seen = old[:train].dropna()
        if hows[entry.name] == "category":
            known = old.isin(set(seen))
            assert (new[known] == old[known]).all()
            assert new[~known].isna().all(), "an unseen category comes back missing"
            assert new.dtype == old.dtype
            continue
        assert (new.isna() == old.isna()).all()
        if new.isna().sum() == old.isna().sum() == 0:
            assert new.dtype == old.dtype
        inside = old.notna() & (old >= seen.min()) & (old <= seen.max())
        a, b = old[inside], new[inside]
        assert ((new[old.notna()] >= seen.min()) & (new[old.notna()] <= seen.max())).all()
        if hows[entry.name] == "exact":
            assert (a == b).all()
        elif hows[entry.name] == "near":
            low, high = float(seen.min()), float(seen.max())
            far = np.abs(b.to_numpy() / 2 - a.to_numpy() / 2)
            assert (far <= 1e-5 * (high / 2 - low / 2) + 1e-323).all()
        else:
            assert isinstance(entry, Scaled)
            ticks = [entry.unit, np.int64]
            far = np.abs(np.subtract(*(some.to_numpy(ticks[0]).view(ticks[1]) for some in (a, b))))
            fine = 1e-6 * (entry.high - entry.low)
            assert (far <= max(fine, entry.step)).all()
            assert entry.step < 2 * fine or (far[a.index < train] == 0).all()


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=40, derandomize=True, **QUIET)
@given(tables())
def test_encoding_and_decoding_are_inverse(case):
    check_inverse(case)


@pytest.mark.thorough
@settings(max_examples=1000, **QUIET)
@given(tables())
def test_encoding_and_decoding_are_inverse_on_1000_tables(case):
    check_inverse(case)


def test_x_is_the_normal_score_and_a_line():
    """Against scipy's normal quantile of the mean rank, ties included."""
    values = np.array([3.0, 1.0, 1.0, 7.0, 2.0, 1.0])
    x = fitted(pd.DataFrame({"v": values})).encode(pd.DataFrame({"v": values})).numpy()[:, 0]
    rank = (stats.rankdata(values) - 0.5) / len(values)
    assert np.allclose(x, stats.norm.ppf(rank) + (values - 1) / 6 - 0.5, atol=1e-6)


@pytest.mark.parametrize("spike", [0.0, 40.0, 99.0])
def test_what_falls_near_a_frequent_value_is_that_value(spike):
    """Draws of x around it, as a model makes them, have the value as often as the data do."""
    random = np.random.RandomState(0)
    values = np.where(random.rand(5000) < 0.6, spike, random.uniform(0, 99, 5000))
    frame = pd.DataFrame({"v": values})
    encoding = fitted(frame)
    x = encoding.encode(frame)
    assert (encoding.decode(x)["v"] == spike).sum() == (values == spike).sum()
    assert np.abs(encoding.decode(x)["v"] - values).max() < 1e-5 * 99
    near = np.linspace(-1, 1, 201) * 1e-3 + spike  # values beside it stay themselves
    near = near[(near >= values.min()) & (near <= values.max())]
    back = encoding.decode(encoding.encode(pd.DataFrame({"v": near})))["v"]
    assert np.abs(back - near).max() < 1e-4
    drawn = encoding.decode(random.normal(x.mean(), x.std(), (5000, 1)))["v"]
    assert (drawn == spike).mean() == pytest.approx(0.6, abs=0.15)


def test_counts_have_no_intervals_since_their_likelihood_draws_counts():
    encoding = fitted(pd.DataFrame({"v": np.arange(200) % 7 * (np.arange(200) % 2)}))
    assert encoding.entries[0].kind == "count"
    assert (np.diff(encoding.entries[0].knots) > 0).all()


def test_what_always_answering_the_same_would_cost():
    born = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-09", "2020-01-03"])
    frame = pd.DataFrame({"v": [1.5, 2.0, 9.0, 3.0], "c": ["a", "b", "a", "a"], "born": born})
    v, c, days = fitted(frame).entries
    assert v.usual == pytest.approx((1 + 0.5 + 6.5 + 0.5) / 4)
    assert c.usual == 3 / 4
    assert days.usual == pytest.approx((2 + 0 + 6 + 0) / 4)


@pytest.mark.parametrize("draw", ["lognormal", "standard_cauchy", "exponential"])
def test_heavy_tails_become_nearly_normal(draw):
    values = getattr(np.random.RandomState(0), draw)(size=20_000)
    frame = pd.DataFrame({"v": values})
    x = fitted(frame).encode(frame).numpy()[:, 0]
    assert abs(stats.skew(x)) < 0.5
    assert abs(stats.kurtosis(x)) < 1
    assert 0.9 < x.std() < 1.4
    assert (np.argsort(x, kind="stable") == np.argsort(values.astype(float))).mean() > 0.99


def test_values_outside_the_range_go_on_and_come_back_as_its_ends():
    encoding = fitted(pd.DataFrame({"v": np.arange(0, 1001, 2)}))
    new = pd.DataFrame({"v": [-500, 0, 1000, 1500, 10**9, 2 * 10**9]})
    x = encoding.encode(new).numpy()[:, 0]
    assert x[0] < x[1] < x[2] < x[3] < x[4] == x[5]
    assert np.isfinite(x).all()
    assert encoding.decode(x[:, None])["v"].tolist() == [0, 0, 1000, 1000, 1000, 1000]


def test_only_training_rows_are_learned_from():
    frame = pd.DataFrame({"v": [1.0, 2.0, 3.0, 99.0], "c": ["a", "b", "a", "z"]})
    encoding = fitted(frame, np.arange(3), kinds={"c": "category"})
    assert encoding.entries[0].high == 3
    assert encoding.entries[1].values == ("a", "b")
    with pytest.warns(UserWarning, match="column 'c' holds 'z', which no training row had"):
        x = encoding.encode(frame)
    assert encoding.decode(x)["c"].tolist()[:3] == ["a", "b", "a"]


def test_pieces_make_no_difference():
    frame = pd.DataFrame({"v": np.random.RandomState(0).normal(size=500).round(3)})
    table, made = columns_of(frame)
    parts = [{"v": table["v"].rows(np.arange(i, min(i + 77, 500)))} for i in range(0, 500, 77)]
    whole, pieces = fitted(frame), fit(parts, 500, made=made, names=["v"])
    assert np.array_equal(whole.entries[0].knots, pieces.entries[0].knots)
    assert (whole.entries[0].low, whole.entries[0].digits) == (pieces.entries[0].low, 3)
    assert SAMPLE == 10**6


def test_kinds_are_found():
    n = 200
    frame = pd.DataFrame(
        {
            "id": np.random.RandomState(1).permutation(10 * n)[:n],
            "row": np.arange(n) + 5,
            "name": [f"person {i}" for i in range(n)],
            "children": np.arange(n) % 5,
            "flag": np.arange(n) % 2,
            "income": np.linspace(1000, 9000, n),
            "born": pd.date_range("2000-01-01", periods=n),
            "town": ["Rome", "Oslo"] * (n // 2),
            "ok": [True, False] * (n // 2),
            "nothing": [None] * n,
        }
    )
    encoding = fitted(frame)
    assert {e.name: e.kind for e in encoding.entries} == {
        "children": "count", "flag": "boolean", "income": "number", "born": "date",
        "town": "category", "ok": "boolean",
    }  # fmt: skip
    assert set(encoding.left_out) == {"id", "row", "name", "nothing"}
    said = [entry.said() for entry in encoding.entries]
    assert "date 2000-01-01 to 2000-07-18" in said
    assert "category of 2" in said


def test_kinds_can_be_set():
    frame = pd.DataFrame({"code": [10, 20, 10, 30], "when": ["2020-01-01", "2020-03-05"] * 2})
    encoding = fitted(frame, kinds={"code": "category", "when": "date"})
    assert [entry.kind for entry in encoding.entries] == ["category", "date"]
    assert encoding.decode(encoding.encode(frame))["code"].tolist() == [10, 20, 10, 30]


@pytest.mark.parametrize(
    ("column", "kind", "why"),
    [
        (["a", "b"], "number", "which is no number"),
        (["a", "b"], "date", "no dates"),
        ([1, 2], "date", "cannot be a date"),
        ([-1, 2], "count", "whole numbers from 0"),
        ([1, 2, 3], "boolean", "has two"),
        ([1, 2], "nubmer", "did you mean 'number'"),
        ([1.0, math.inf], "number", "infinite"),
        ([[1], [2]], "number", "of type list"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(column, kind, why):
    with pytest.raises(UserError, match=why):
        fitted(pd.DataFrame({"c": pd.Series(column)}), kinds={"c": kind})


def test_rows_that_the_model_cannot_read_are_refused():
    encoding = fitted(pd.DataFrame({"age": [1, 2, 3, 4], "sex": ["m", "f", "m", "f"]}))
    with pytest.raises(UserError, match="the rows have no column 'age'"):
        encoding.encode(pd.DataFrame({"sex": ["m"]}))
    with pytest.raises(UserError, match="trained on rows without any"):
        encoding.encode(pd.DataFrame({"age": [1.0, None], "sex": ["m", "f"]}))
    with pytest.raises(UserError, match="which is no number"):
        encoding.encode(pd.DataFrame({"age": ["old"], "sex": ["m"]}))
    with pytest.raises(UserError, match="two columns are named"):
        encoding.encode(pd.DataFrame([[1, 2]], columns=["age", "age"]))
    assert encoding.encode(pd.DataFrame({"sex": ["f"], "age": ["3"]})).shape == (1, 4)


def test_polars_comes_back_as_it_went_in():
    frame = pl.DataFrame(
        {
            "n": [1, 5, None, 7],
            "c": pl.Series(["u", "v", "u", None], dtype=pl.Enum(["v", "u"])),
            "d": pl.Series(["2020-01-01", "2021-05-01", None, "2020-02-02"]).str.to_date(),
            "t": pl.Series(
                ["2020-01-01 10:00:00"] * 3 + ["2021-01-01 00:00:01"]
            ).str.to_datetime(),
            "b": [True, None, False, True],
            "i": pl.Series([3, 4, 5, 900], dtype=pl.UInt16),
        }
    )
    encoding = fitted(frame, kinds={"n": "number"})
    assert_frame_equal(encoding.decode(encoding.encode(frame)), frame)


def test_pyarrow_comes_back_as_it_went_in():
    """Dates beyond the year 9999, which Python has not, too."""
    ticks = np.array([5, 2**40, 7, 2**41])
    kinds = {"d": pa.date32(), "s": pa.timestamp("s"), "t": pa.duration("ns"), "i": pa.int16()}
    table = pa.table(
        {
            "d": pa.array((ticks % 2**30).astype(np.int32), kinds["d"]),
            "s": pa.array(ticks, kinds["s"]),
            "t": pa.array(ticks, kinds["t"]),
            "i": pa.array([3, None, 4, 900], kinds["i"]),
            "b": [True, None, False, True],
        }
    )
    encoding = fitted(table, kinds={"i": "number"})
    back = encoding.decode(encoding.encode(table))
    assert {name: back.schema.field(name).type for name in kinds} == kinds
    assert back["i"].to_pylist() == [3, None, 4, 900]
    assert np.allclose(back["s"].cast(pa.int64()), ticks, atol=1e-6 * 2**41)


@pytest.mark.parametrize(
    "column",
    [[[1], [2]], [{"q": 1}, {"q": 2}], [b"x", b"y"], pl.Series([2**100, 5], dtype=pl.Int128)],
)
def test_types_that_no_table_model_reads_are_refused(column):
    with pytest.raises(UserError, match=r"column 'c' is of type .*: give numbers of 64 bits"):
        columns_of(pl.DataFrame({"c": column}))


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float64])
def test_arrays_and_sparse_matrices_come_back_as_arrays(dtype):
    rows = np.random.RandomState(0).randint(0, 50, (30, 4)).astype(dtype)
    encoding = fitted(rows)
    for given_rows in (rows, scipy.sparse.csr_array(rows), torch.from_numpy(rows)):
        back = encoding.decode(encoding.encode(given_rows))
        assert back.dtype == dtype
        assert (back == rows).all()


def test_an_encoding_survives_its_files():
    frame = pd.DataFrame(
        {"v": [0.5, 1.25, None], "c": ["a", "b", "a"], "n": [2**63 + 9, 2**63, 2**63 + 1]}
    )
    frame["n"] = frame["n"].astype("uint64")
    encoding = fitted(frame, kinds={"c": "category"})
    facts, tensors = encoding.to_files()
    again = TableEncoding.from_files(json.loads(json.dumps(facts)), tensors)
    assert torch.equal(again.encode(frame).nan_to_num(9), encoding.encode(frame).nan_to_num(9))
    pd.testing.assert_frame_equal(again.decode(again.encode(frame)), frame)
    with pytest.raises(UserError, match="cannot be read"):
        TableEncoding.from_files({**facts, "entries": [{}]}, tensors)
    for usual in ("1", math.nan, -1):
        entries = [{**facts["entries"][0], "usual": usual}, *facts["entries"][1:]]
        with pytest.raises(UserError, match="cannot be read"):
            TableEncoding.from_files({**facts, "entries": entries}, tensors)


def test_quality_is_in_the_unit_of_the_column():
    frame = pd.DataFrame(
        {
            "eur": [10.0, 20.0, 35.0, None],
            "town": ["Rome", "Oslo", "Oslo", None],
            "day": pd.to_datetime(["2020-01-01", "2020-01-03", "2020-02-01", None]),
        }
    )
    encoding = fitted(frame, kinds={"town": "category"})
    x = encoding.encode(frame)
    found = encoding.quality(x, x[[1, 1, 1, 1]])
    assert np.allclose(found["eur"][:3], [10, 0, 15], atol=1e-5)
    assert found["town"][:3].tolist() == [0, 1, 1]
    assert np.allclose(found["day"][:3], [2, 0, 29], atol=1e-4)
    assert all(bool(values[3].isnan()) for values in found.values())
    assert [encoding.facts[name].better for name in frame] == ["low", "high", "low"]


def test_a_row_is_shown_as_cells():
    frame = pd.DataFrame(
        {
            "n": [1200, 3],
            "v": [0.25, 1.5],
            "c": ["a", None],
            "d": pd.to_datetime(["2020-01-02"] * 2),
        }
    )
    encoding = fitted(frame, kinds={"c": "category"})
    shown = encoding.show(encoding.encode(frame)[1])
    assert shown["shape"] == "cells"
    assert [cell["formatted"] for cell in shown["cells"]] == ["3", "1.50", "missing", "2020-01-02"]
    assert encoding.show(encoding.encode(frame)[0])["cells"][0]["formatted"] == "1,200"
    assert json.dumps(shown)


def test_types_that_cannot_hold_missing_values_become_those_that_can():
    frame = pd.DataFrame({"zip": pd.Series([1010, 2020, 1010])})
    encoding = fitted(frame, kinds={"zip": "category"})
    with pytest.warns(UserWarning, match="'999'"):
        back = encoding.decode(encoding.encode(pd.DataFrame({"zip": [1010, 999]})))
    assert str(back["zip"].dtype) == "Int64"
    assert back["zip"].isna().tolist() == [False, True]
    array = table_of(columns_of(np.array([[1.0, np.nan]]))[0], "array")
    assert np.isnan(array[0, 1])

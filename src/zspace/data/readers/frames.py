"""Tables in memory, as columns and back: pandas, polars and pyarrow, arrays (N, D), scipy sparse.

A column is read into a `Raw`: plain values, which of them are missing, and what the table calls
its type, so that values that a model makes can be given back in the same type. Anything that
narwhals knows as a DataFrame is read; pandas, which it maps to fewer types, is read by itself.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zspace.system.errors import UserError

MOST_COLUMNS = 10_000
Dtype = Mapping[str, Any]
"""A type as JSON: its name, and what else is needed to make it again."""


class Raw(NamedTuple):
    """One column: values (N,), which are missing (N,), and the type in the table they came from.

    Values are int64, uint64, float64, bool, datetime64 or timedelta64 of some unit, or objects
    (texts, or other plain values). What stands where a value is missing means nothing.
    """

    values: np.ndarray
    missing: np.ndarray
    dtype: Dtype

    @property
    def size(self) -> int:
        """N."""
        return len(self.missing)

    def rows(self, i: Any) -> Raw:
        """Some of the rows."""
        return Raw(self.values[i], self.missing[i], self.dtype)


Table = dict[str, Raw]
"""Columns by name, all of one length."""


def is_table(x: Any) -> bool:
    """Whether that is a DataFrame of some library, a sparse matrix, or an array of two axes.

    >>> is_table(np.zeros((3, 2))), is_table(np.zeros((3, 2, 2))), is_table("iris.csv")
    (True, False, False)
    """
    return _maker(x) is not None


def _maker(x: Any) -> str | None:
    """What made it: pandas, another library of DataFrames, sparse, or array."""
    pandas, sparse = sys.modules.get("pandas"), sys.modules.get("scipy.sparse")
    if pandas is not None and isinstance(x, pandas.DataFrame):
        return "pandas"
    if sparse is not None and sparse.issparse(x):
        return "sparse"
    if getattr(x, "ndim", None) == 2 and hasattr(x, "__array__"):
        return "array"
    known = ("polars", "pyarrow", "modin", "cudf")
    is_frame = type(x).__module__.partition(".")[0] in known and hasattr(x, "columns")
    return type(x).__module__.partition(".")[0] if is_frame else None


def columns_of(x: Any) -> tuple[Table, str]:
    """The columns of a table, and what made it: "pandas", "polars", "pyarrow", "array".

    Arguments:
        x: A DataFrame, an array or tensor (N, D), or a sparse matrix.

    Raises UserError for column names that occur twice, for types that a table model cannot read,
    and for what is no table.

    >>> table, made = columns_of(np.arange(6).reshape(3, 2))
    >>> list(table), table["1"].values.tolist(), made
    (['0', '1'], [1, 3, 5], 'array')
    """
    made = _maker(x)
    if made is None:
        raise UserError(
            f"{type(x).__name__} is no table: give a DataFrame, an array (N, D) or a sparse matrix"
        )
    if made in ("array", "sparse"):
        return _of_array(x.toarray() if made == "sparse" else np.asarray(x)), "array"
    names = [str(name) for name in x.column_names] if made == "pyarrow" else list(x.columns)
    _check_names(names)
    if made == "pandas":
        return {str(name): _of_pandas(x[name], str(name)) for name in names}, made
    import narwhals

    frame = narwhals.from_native(x, eager_only=True)
    return {name: _of_narwhals(frame[name], name) for name in names}, made


def _check_names(names: Sequence[Any]) -> None:
    if len(names) > MOST_COLUMNS:
        raise UserError(f"the table has {len(names):,} columns: give at most {MOST_COLUMNS:,}")
    said = [str(name) for name in names]
    often = Counter(said)
    twice = next((name for name in said if often[name] > 1), None) if names else ""
    if twice == "":
        raise UserError("the table has no columns: give at least one")
    if twice is not None:
        raise UserError(f"two columns are named '{twice:.60}': give each column its own name")
    if long := next((name for name in said if len(name) > 200), ""):
        raise UserError(f"a column is named '{long:.60}...', {len(long):,} letters: shorten it")
    if any(isinstance(name, tuple) for name in names):
        raise UserError("the column names have several levels: join them to one name each")


def _of_array(x: np.ndarray) -> Table:
    if x.dtype.kind not in "biuf":
        raise UserError(f"the array is of type {x.dtype}: give numbers, or a DataFrame for texts")
    _check_names(range(x.shape[1]))
    dtype = {"name": str(x.dtype)}
    return {
        str(j): Raw(_plain(x[:, j]), np.isnan(x[:, j]), dtype)
        if x.dtype.kind == "f"
        else Raw(_plain(x[:, j]), np.zeros(len(x), bool), dtype)
        for j in range(x.shape[1])
    }


def _plain(values: np.ndarray) -> np.ndarray:
    """Numbers as int64, uint64 or float64; others as they are."""
    wide = {"i": np.int64, "u": np.uint64, "f": np.float64}.get(values.dtype.kind)
    return np.array(values, wide or values.dtype.newbyteorder("="))


def _of_pandas(series: Any, name: str) -> Raw:
    import pandas as pd

    missing, dtype = series.isna().to_numpy(bool), series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        known = [_scalar(value, name) for value in dtype.categories]
        of = str(dtype.categories.dtype)
        facts = {"name": "category", "categories": known, "ordered": bool(dtype.ordered), "of": of}
        return Raw(_objects(series.astype(object), missing, name), missing, facts)
    facts = {"name": str(dtype)}
    kinds = (
        (pd.api.types.is_bool_dtype, bool, False),
        (pd.api.types.is_unsigned_integer_dtype, np.uint64, 0),
        (pd.api.types.is_integer_dtype, np.int64, 0),
        (pd.api.types.is_float_dtype, np.float64, 0.0),
    )
    for of_kind, plain, filler in kinds:
        if of_kind(dtype):
            if missing.any():
                series = series.where(~missing, filler)
            return Raw(series.to_numpy(plain), missing, facts)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        if getattr(dtype, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return Raw(_ticks(series.to_numpy()), missing, facts)
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Raw(series.to_numpy(), missing, facts)
    return Raw(_objects(series, missing, name), missing, facts)


def _ticks(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind == "M" else values.astype("datetime64[us]")


def _of_narwhals(series: Any, name: str) -> Raw:
    import narwhals as nw

    dtype, missing = series.dtype, series.is_null().to_numpy().astype(bool)
    if dtype.is_nested() or dtype in (nw.Binary, nw.Int128, nw.UInt128):
        raise UserError(
            f"column '{name:.60}' is of type {dtype!s:.60}: give numbers of 64 bits, texts, "
            "booleans or dates, or leave the column out"
        )
    if dtype.is_float():
        values = np.array(series.to_numpy(), np.float64)
        return Raw(values, missing | np.isnan(values), {"name": str(dtype)})
    if dtype.is_integer() or dtype == nw.Boolean:
        values = series.fill_null(False if dtype == nw.Boolean else 0).to_numpy()
        return Raw(_plain(values), missing, {"name": str(dtype)})
    if isinstance(dtype, nw.Datetime | nw.Duration):
        facts: dict[str, Any] = {"name": type(dtype).__name__, "unit": dtype.time_unit}
        sort = "datetime64" if isinstance(dtype, nw.Datetime) else "timedelta64"
        if isinstance(dtype, nw.Datetime):
            facts["zone"] = dtype.time_zone
        ticks = series.cast(nw.Int64).fill_null(0).to_numpy()
        return Raw(ticks.astype(f"{sort}[{dtype.time_unit}]"), missing, facts)
    if dtype == nw.Date:
        days = series.cast(nw.Int32).fill_null(0).to_numpy()
        return Raw(days.astype("datetime64[D]"), missing, {"name": "Date"})
    facts = {"name": str(dtype).partition("(")[0]}
    if isinstance(dtype, nw.Enum):
        facts["categories"] = list(dtype.categories)
    values = np.empty(len(missing), object)
    values[:] = series.cast(nw.String).to_list() if facts["name"] != "Object" else series.to_list()
    return Raw(_objects(values, missing, name), missing, facts)


def _objects(values: Any, missing: np.ndarray, name: str) -> np.ndarray:
    """Plain values (N,) of type object. Raises UserError for what is none."""
    found = np.empty(len(missing), object)
    found[:] = np.asarray(values, object)
    import pandas as pd

    filled = np.where(missing, "", found)
    try:
        codes, different = pd.factorize(filled)
    except TypeError:  # lists and the like
        codes, different = np.arange(len(filled)), filled
    plain = np.empty(len(different), object)
    plain[:] = [_scalar(value, name) for value in different]
    return plain[codes]


def _scalar(value: Any, name: str) -> Any:
    """A value as JSON can hold it. Raises UserError for lists, dates as objects and the like."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bool | int | float):
        return value
    raise UserError(
        f"column '{name:.60}' holds values of type {type(value).__name__}: give numbers, texts, "
        "booleans or dates (datetime64), or leave the column out"
    )


def table_of(table: Mapping[str, Raw], made: str, names: Sequence[Any] = ()) -> Any:
    """Columns as a table of the library that made them; the inverse of `columns_of`.

    Arguments:
        table: By name, in order.
        made: "pandas", "polars", "pyarrow" or "array".
        names: The columns as they were called, where that was not a text.

    Where a value is missing that the type cannot leave out, the nearest one that can is used:
    int64 becomes Int64.

    >>> table_of(columns_of(np.eye(2, dtype=np.int8))[0], "array")
    array([[1, 0],
           [0, 1]], dtype=int8)
    """
    if made == "array":
        columns = [_numbers(raw) for raw in table.values()]
        return np.stack(columns, 1) if columns else np.zeros((0, 0))
    if made == "pandas":
        import pandas as pd

        frame = pd.DataFrame({name: _pandas_of(raw) for name, raw in table.items()})
        frame.columns = pd.Index(list(names or table), dtype=None if names else "str")
        return frame
    import narwhals as nw

    try:
        # Not of a dict, which pyarrow fills with Python's values: dates there end in 9999.
        parts = [_narwhals_of(name, raw, made).to_frame() for name, raw in table.items()]
        return nw.concat(parts, how="horizontal").to_native()
    except ModuleNotFoundError:
        raise UserError(
            f'the rows are of {made}, which is missing: pip install "{made}"'
        ) from None


def _numbers(raw: Raw) -> np.ndarray:
    values = raw.values.astype(raw.dtype["name"])
    if not raw.missing.any():
        return values
    wide = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.where(raw.missing, np.asarray(np.nan, wide.dtype), wide)


def _pandas_of(raw: Raw) -> Any:
    import pandas as pd

    name = raw.dtype["name"]
    if name == "category":
        known = pd.Index(raw.dtype["categories"], dtype=raw.dtype["of"])
        values = _or_none(raw)
        return pd.Series(pd.Categorical(values, known, ordered=raw.dtype["ordered"]))
    if name == "object":
        return pd.Series(_or_none(raw), dtype=object)
    dtype = pd.api.types.pandas_dtype(name)
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = pd.Series(raw.values).dt.tz_localize("UTC").astype(dtype)
        return series.mask(raw.missing)
    if raw.values.dtype.kind in "mM":
        return pd.Series(raw.values).mask(raw.missing).astype(dtype)
    if not raw.missing.any():
        return pd.Series(raw.values).astype(dtype)
    plain = isinstance(dtype, np.dtype) and dtype.kind in "iub"
    nullable = {"b": "boolean", "i": "Int64", "u": "UInt64"}[dtype.kind] if plain else dtype
    return pd.Series(raw.values.astype(object)).mask(raw.missing).astype(nullable)


def _or_none(raw: Raw) -> np.ndarray:
    values = raw.values.astype(object)
    values[raw.missing] = None
    return values


def _narwhals_of(name: str, raw: Raw, made: str) -> Any:
    import narwhals as nw

    facts, kind = raw.dtype, raw.values.dtype.kind
    plain = raw.values.view(np.int64) if kind in "mM" else raw.values
    values = [None if gone else one for one, gone in zip(plain.tolist(), raw.missing, strict=True)]
    if facts["name"] in ("Datetime", "Duration"):
        more = {"time_zone": facts["zone"]} if facts["name"] == "Datetime" else {}
        dtype = getattr(nw, facts["name"])(facts["unit"], **more)
        return nw.new_series(name, values, nw.Int64(), backend=made).cast(dtype)  # type: ignore[arg-type]
    if facts["name"] == "Date":
        return nw.new_series(name, values, nw.Int32(), backend=made).cast(nw.Date())  # type: ignore[arg-type]
    if facts["name"] == "Enum":
        return nw.new_series(name, values, nw.String(), backend=made).cast(  # type: ignore[arg-type]
            nw.Enum(facts["categories"])
        )
    dtype = getattr(nw, facts["name"], nw.Object)()
    return nw.new_series(name, values, dtype, backend=made)  # type: ignore[arg-type]

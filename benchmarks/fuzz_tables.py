"""What `fuzz.py` tries on tables: CSV and Parquet as bytes, and DataFrames with options.

Of the files every fourth is read twice, at once and in pieces from the disk; what both make of it
must be the same.
"""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

import zspace
from zspace.data.readers import delimited, tabular
from zspace.system.errors import UserError

N = 24
FIELDS = [
    *(b"", b"0", b"-1", b"007", b"1.5", b"1e999", b"-1e-999", b"nan", b"inf", b"-Infinity", b"?"),
    *(b"NA", b"None", b"True", b"false", b"1_000", b"0x10", b"\xd9\xa1", b"99999999999999999999"),
    *(b"9223372036854775807", b"-9223372036854775808", b"1" * 400, b"a" * 5000, b"," * 300),
    *(b"2024-01-31", b"2024-02-30", b"0001-01-01", b"9999-12-31", b"31.01.2024", b"01/02/2024"),
    *(b"2024/01/31 10:00", b"2024-01-31T10:00:00Z", b"2024-01-31T10:00:00+24:59", b"split"),
    *(b"train", b"val", b"test", b" x ", b'"a,b"', b'"a\nb"', b'"', b'""', b"\0", b"\xff"),
    *(b"\xef\xbb\xbf", b"\r", b"\xe2\x80\xa8", b"1\n" * 200),
]
"""What a field is replaced by."""


def frame() -> pd.DataFrame:
    """Rows of all sorts."""
    draw = np.random.RandomState(0)
    return pd.DataFrame(
        {
            "age": draw.randint(18, 90, N),
            "income": np.where(draw.rand(N) < 0.2, np.nan, draw.normal(size=N).round(3)),
            "sex": draw.choice(["f", "m", "?"], N),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.randint(0, 99, N), unit="D"),
            "flag": draw.rand(N) < 0.5,
            "split": ["train"] * (N - 6) + ["val"] * 3 + ["test"] * 3,
        }
    )


def csvs() -> list[bytes]:
    """Valid files."""
    whole = frame()
    us = whole.assign(day=whole["day"].dt.strftime("%m/%d/%Y")).drop(columns="split")
    found = [whole.to_csv(index=False), us.to_csv(index=False, sep=";", na_rep="nan")]
    found.append(us.to_csv(index=False, sep="\t", quoting=1))
    return [text.encode() for text in found]


def parquets() -> list[bytes]:
    """Valid files."""
    found = []
    for some in (frame(), frame().astype({"sex": "category", "age": "Int8"}).set_index("day")):
        content = io.BytesIO()
        some.to_parquet(content, row_group_size=7)
        found.append(content.getvalue())
    content = io.BytesIO()  # not by polars, whose threads a forked child would wait for
    frame().assign(day=frame()["day"].dt.date).to_parquet(content, compression="zstd")
    return [*found, content.getvalue()]


def refielded(draw: random.Random, content: bytes) -> bytes:
    """Another field in the place of one, or in that of a whole column."""
    separator = max(b",;\t", key=lambda one: content[:200].count(bytes([one])))
    lines = [line.split(bytes([separator])) for line in content.split(b"\n")]
    field, column = draw.choice(FIELDS), draw.randrange(max(map(len, lines)))
    chosen = lines[1:] if draw.random() < 0.3 else [draw.choice(lines)]
    for line in chosen:
        if column < len(line):
            line[column] = field
    return b"\n".join(bytes([separator]).join(line) for line in lines)


def reader(file: Path) -> Callable[[bytes], object]:
    """What reads a file of that name, in both ways."""
    delimited.PIECE, tabular.PIECE = 600, 12

    def once(memory: float) -> str | None:
        try:
            return zspace.data.load(str(file), memory=memory, quiet=True).fingerprint
        except UserError as error:
            failed.append(error)
            return None

    failed: list[UserError] = []

    def work(content: bytes) -> object:
        file.write_bytes(content)
        failed.clear()
        whole = once(1e8)
        if sum(content) % 4:
            if failed:
                raise failed[0]
            return whole
        pieces = once(0.0)
        shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "zspace" / "tables", ignore_errors=True)
        if whole != pieces:
            raise AssertionError(f"at once {whole}, in pieces {pieces}: {failed}")
        if failed:
            raise failed[0]
        return whole

    return work


def frames() -> tuple[Callable[[Any], object], st.SearchStrategy]:
    """What is done with a table and options, and both."""
    names = st.one_of(
        st.sampled_from(["a", "b", "y", "split", "id", "x"]), st.text(max_size=4), st.integers()
    )
    rows = st.integers(0, 30)
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.dates(),
        st.sampled_from(["train", "val", "test", "?", pd.NaT, pd.NA, np.nan, [], {}, 1j, b"a"]),
    )  # fmt: skip
    dtypes = st.one_of(
        of_numpy.scalar_dtypes(),
        st.sampled_from(["i1", "i8", "u8", "f2", "f4", "f8", "?", "M8[ns]", "m8[s]"]).map(
            np.dtype
        ),
    )

    def column(n: int) -> st.SearchStrategy:
        return st.one_of(
            dtypes.flatmap(lambda dtype: of_numpy.arrays(dtype, n)),
            st.lists(scalars, min_size=n, max_size=n),
            st.lists(st.sampled_from(["u", "v", "w"]), min_size=n, max_size=n),
            st.lists(st.sampled_from(["u", "v", None]), min_size=n, max_size=n).map(
                lambda some: pd.Categorical(some)
            ),
        )

    tables = rows.flatmap(lambda n: st.lists(st.tuples(names, column(n)), max_size=4))
    options = st.fixed_dictionaries({}, optional={
        "labels": st.sampled_from(["a", "y", "z", ""]),
        "group": st.sampled_from(["a", "b", "z"]),
        "missing": st.lists(st.sampled_from(["?", "0", "nan", "-1", "u"]), max_size=2),
        "columns": st.sampled_from(["a=number", "a=category,b=date", "a=boolean", "b=count", "x"]),
        "leave_out": st.lists(st.sampled_from(["a", "*", "b"]), max_size=2),
        "memory": st.sampled_from([0.0, 1e8]),
    })  # fmt: skip
    kinds = st.sampled_from(["pandas", "polars", "pyarrow", "array"])

    def work(drawn: tuple[list[tuple[Any, Any]], dict[str, Any], str]) -> object:
        columns, chosen, kind = drawn
        try:  # what no library makes a table of is nobody's table
            table: Any = pd.concat([pd.Series(values) for _, values in columns], axis=1)
            table.columns = pd.Index([name for name, _ in columns], dtype=object)
            if kind == "polars":
                table = pl.from_pandas(table)
            elif kind == "pyarrow":
                table = pl.from_pandas(table).to_arrow()
            elif kind == "array":
                table = table.to_numpy()
        except Exception:
            return None
        data = zspace.data.load(table, quiet=True, **chosen)
        assert data.encoding is not None
        x = data.train.images()
        back = data.encoding.encode(data.encoding.decode(x))
        return zspace.data.account.lines(data), back, data.encoding.show(x[0])

    return work, st.tuples(tables, options, kinds)

"""CSV, TSV and Parquet files as columns. What is hostile is refused before memory goes.

A text file is first looked through in pieces, as bytes: its longest record, its number of columns,
NUL bytes, its encoding. Then pandas reads it as text, and each column gets the type that all its
values have: whole numbers (no leading zeros), numbers, booleans, ISO dates, or else text. Blanks
around fields are stripped; an empty field and NaN are missing.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.readers.frames import MOST_COLUMNS, Raw, Table, columns_of
from zspace.data.readers.images import ReadOptions
from zspace.system.errors import UserError

TEXT, PARQUET = (".csv", ".tsv", ".tab"), (".parquet", ".pq")
MOST_RECORD = 1 << 24
"""Bytes of a line, quoted line breaks included."""
SEPARATORS = ",;\t|"
_BLOCK = 1 << 20
_CHUNK = 50_000
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?")
_BOMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_text(path: Path, options: ReadOptions) -> tuple[Table, str, list[str]]:
    """The columns of a CSV or TSV file, what made them ("pandas"), and their names.

    Raises UserError for a file that is damaged, hostile or too large for the memory.
    """
    import pandas as pd

    looked_through(path)
    size = path.stat().st_size
    if size * 4 > options.memory:
        raise UserError(
            f"'{path.name}' has {size / 1e9:.2g} GB, more than fits into "
            f"{options.memory / 1e9:.2g} GB as a table: save it as Parquet, or leave rows out"
        )
    separator, header = _separator(path)
    twice = next((name for name in header if name and header.count(name) > 1), "")
    if twice:  # pandas would rename the second
        raise UserError(f"two columns of '{path.name}' are named '{twice:.60}': rename one")
    try:
        chunks = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True,
            encoding="utf-8-sig", chunksize=_CHUNK, index_col=False,
        )  # fmt: skip
        texts: dict[str, list[np.ndarray]] = {}
        names: list[str] = []
        for chunk in chunks:
            names = [str(name).strip() for name in chunk.columns]
            for at, name in enumerate(names):
                texts.setdefault(name, []).append(chunk.iloc[:, at].to_numpy(object))
    except Exception as error:  # pandas raises almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path.name}' cannot be read as a table: {why:.200}") from error
    if not names or not any(map(len, texts[names[0]])):
        raise UserError(f"'{path.name}' has no rows below its first line: give a table with some")
    first = next(iter(names))
    if all(_number(name) for name in names):
        raise UserError(
            f"the first line of '{path.name}' holds numbers ({first:.20}, ...): give the columns "
            "names there"
        )
    return {name: typed(np.concatenate(texts[name])) for name in names}, "pandas", names


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def looked_through(path: Path) -> None:
    """Raise UserError for a text file that is no table of a size that can be read."""
    decoder, line, longest, parity, at = codecs.getincrementaldecoder("utf-8")(), 1, 0, 0, 0
    first = True
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if first:
                _check_start(path, block)
                first = False
            if 0 in block:
                line += block[: block.index(0)].count(b"\n")
                raise UserError(
                    f"'{path.name}' holds NUL bytes near line {line:,}, so it is no text: export "
                    "it as CSV in UTF-8"
                )
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += block[: error.start].count(b"\n")
                raise UserError(
                    f"'{path.name}' is not UTF-8 (line {line:,}): save it in UTF-8"
                ) from None
            content = np.frombuffer(block, np.uint8)
            open_ = ((content == 34).cumsum() + parity) & 1
            ends = np.flatnonzero((content == 10) & (open_ == 0)) + at
            gaps = np.diff(np.concatenate([[longest], ends])) if len(ends) else np.array([0])
            longest, at = int(ends[-1]) if len(ends) else longest, at + len(block)
            parity = int(open_[-1])
            line += block.count(b"\n")
            if max(int(gaps.max()), at - longest) > MOST_RECORD:
                raise UserError(
                    f"'{path.name}' has a record of more than {MOST_RECORD >> 20} MB near line "
                    f"{line:,}, or a quote that is never closed: correct it"
                )
    if first:
        raise UserError(f"'{path.name}' is empty: give a table with a line of column names")


def _check_start(path: Path, block: bytes) -> None:
    for bom, name in _BOMS.items():
        if block.startswith(bom):
            raise UserError(f"'{path.name}' is {name}: save it in UTF-8")
    header = block.partition(b"\n")[0]
    columns = max(header.count(one.encode()) for one in SEPARATORS) + 1
    if columns > MOST_COLUMNS or (len(header) == len(block) == _BLOCK):
        raise UserError(
            f"the first line of '{path.name}' names {columns:,} columns or more: give at most "
            f"{MOST_COLUMNS:,}"
        )


def _separator(path: Path) -> tuple[str, list[str]]:
    """That of the first line, and its fields: of , ; tab and | the one that makes most of them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline(_BLOCK)

    one_way = path.suffix.lower() in (".tsv", ".tab")
    ways = {
        one: [field.strip() for field in next(csv.reader(io.StringIO(header), delimiter=one), [])]
        for one in ("\t" if one_way else SEPARATORS)
    }
    return max(ways.items(), key=lambda way: len(way[1]))


def typed(texts: np.ndarray) -> Raw:
    """A column of texts (N,) as the type that all its values have."""
    import pandas as pd

    codes, different = pd.factorize(texts)
    known = [str(one).strip() for one in different]
    gone = np.array([one == "" or one.lower() == "nan" for one in known], bool)
    there = [one for one, none in zip(known, gone, strict=True) if not none]
    missing = gone[codes]
    values, dtype = _values(there)
    every = np.zeros(len(known), values.dtype)
    every[~gone] = values
    if dtype == "int64" and missing.any():
        every, dtype = every.astype(np.float64), "float64"
    return Raw(every[codes], missing, {"name": dtype})


def _values(texts: Sequence[str]) -> tuple[np.ndarray, str]:
    """Values of texts that are all there, and what pandas calls their type."""
    import pandas as pd

    objects = np.empty(len(texts), object)
    objects[:] = texts
    if not texts:
        return objects, "str"
    if all(_WHOLE.fullmatch(text) for text in texts):
        whole = [int(text) for text in texts if len(text) < 21]
        if len(whole) == len(texts) and min(whole) >= -(2**63) and max(whole) < 2**63:
            return np.array(whole, np.int64), "int64"
    numbers = pd.to_numeric(pd.Series(objects), errors="coerce").to_numpy(np.float64)
    leading = any(re.match(r"[+-]?0\d", text) for text in texts)
    if not np.isnan(numbers).any() and not leading:
        return numbers, "float64"
    if {text.lower() for text in texts} <= {"true", "false"}:
        return np.array([text.lower() == "true" for text in texts]), "bool"
    if all(_DATE.fullmatch(text) for text in texts):
        dates = pd.to_datetime(pd.Series(objects), format="ISO8601", errors="coerce")
        if not dates.isna().any():
            return dates.to_numpy("datetime64[us]"), "datetime64[us]"
    return objects, "str"


def read_parquet(path: Path, memory: float) -> tuple[Table, str, list[Any]]:
    """The columns of a Parquet file, what made them ("pandas"), and their names."""
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UserError(
            'Parquet files need the extra "tables": pip install "zspace[tables]"'
        ) from None
    try:
        file = parquet.ParquetFile(path)
        claims = sum(
            file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)
        )
        if file.metadata.num_columns > MOST_COLUMNS or claims * 2 > memory:
            raise UserError(
                f"'{path.name}' has {file.metadata.num_columns:,} columns and "
                f"{claims / 1e9:.2g} GB, too much for the memory here: leave some of it out"
            )
        frame = file.read().to_pandas()
    except UserError:
        raise
    except Exception as error:  # pyarrow raises almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path.name}' cannot be read as Parquet: {why:.200}") from error
    table, made = columns_of(frame)
    return table, made, list(frame.columns)

"""CSV, TSV and Parquet files as columns. What is hostile is refused before memory goes.

A text file is first looked through in pieces, as bytes: its longest record, its number of
columns, NUL bytes, its encoding. Then pandas reads it as text, and each column gets the type that
all its values have (`zspace.data.readers.texts`). Blanks around fields are stripped; an empty
field and NaN are missing. A file that does not fit the memory is read in pieces instead, twice:
for the types of its columns, and for their values.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zspace.data.readers.frames import MOST_COLUMNS, Raw, Table, columns_of
from zspace.data.readers.texts import Looked
from zspace.system.errors import UserError

TEXT, PARQUET = (".csv", ".tsv", ".tab"), (".parquet", ".pq")
MOST_RECORD = 1 << 24
"""Bytes of a line, quoted line breaks included."""
SEPARATORS = ",;\t|"
ROOM = {"text": 8, "parquet": 4}
"""Bytes of memory that one of a file takes as a table; of Parquet, before compression."""
PIECE, MOST_PIECE = 1 << 21, 1 << 26
"""Bytes of text that are read at once, and those that the longest records may make of it."""
_BLOCK = 1 << 20
_BOMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class Seen(NamedTuple):
    """What the bytes of a text file show: its lines, and the longest record in bytes."""

    lines: int
    longest: int


@dataclass(frozen=True)
class Text:
    """A CSV or TSV file that has been looked through.

    Arguments:
        path: The file.
        markers: Texts that mean missing, beside the empty one and NaN.
        seen: What its bytes show.
    """

    path: Path
    markers: Sequence[str]
    seen: Seen
    made = "pandas"

    @classmethod
    def of(cls, path: Path, markers: Sequence[str] = ()) -> Text:
        """Raises UserError for a file that is damaged or hostile."""
        return cls(path, markers, looked_through(path))

    def fits(self, memory: float) -> bool:
        """Whether it can be read at once."""
        return self.path.stat().st_size * ROOM["text"] <= memory

    def at_once(self) -> tuple[Table, list[Any]]:
        """The columns, and their names. Raises UserError for what is no table."""
        texts: dict[str, list[np.ndarray]] = {}
        for piece in self._read():
            for name, values in piece.items():
                texts.setdefault(name, []).append(values)
        found = {}
        for name in list(texts):
            column, looked = np.concatenate(texts.pop(name)), Looked(self.markers)
            looked.add(column)
            found[name] = looked.raw(column)
        return found, list(found)

    def pieces(self) -> Iterator[Table]:
        """The columns of some of the rows, one piece after the other."""
        looked: dict[str, Looked] = {}
        for piece in self._read():
            for name, values in piece.items():
                looked.setdefault(name, Looked(self.markers)).add(values)
        for piece in self._read():
            yield {name: looked[name].raw(values) for name, values in piece.items()}

    @property
    def _rows(self) -> int:
        """Of one piece."""
        mean = self.path.stat().st_size / max(1, self.seen.lines)
        longest = max(16, MOST_PIECE // max(1, self.seen.longest))
        return int(max(1, min(PIECE / mean, longest)))

    def _read(self) -> Iterator[dict[str, np.ndarray]]:
        """Texts by column, some rows at once. Raises UserError for what is no table."""
        import pandas as pd

        separator, header = _separator(self.path)
        what = f"'{self.path.name}'"
        often = Counter(header)
        twice = next((name for name in header if name and often[name] > 1), "")
        if twice:  # pandas would rename the second
            raise UserError(f"two columns of {what} are named '{twice:.60}': rename one")
        found = False
        try:
            with pd.read_csv(
                self.path, sep=separator, dtype=object, keep_default_na=False,
                skipinitialspace=True, encoding="utf-8-sig", chunksize=self._rows, index_col=False,
            ) as chunks:  # fmt: skip
                for chunk in chunks:
                    names = [str(name).strip() for name in chunk.columns]
                    if not found and all(_number(name) for name in names):
                        raise UserError(
                            f"the first line of {what} holds numbers ({names[0]:.20}, ...): give "
                            "the columns names there"
                        )
                    if len(chunk):
                        found = True
                        yield {
                            name: chunk.iloc[:, at].to_numpy(object)
                            for at, name in enumerate(names)
                        }
        except UserError:
            raise
        except Exception as error:  # pandas raises almost anything
            why = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{what} cannot be read as a table: {why:.200}") from error
        if not found:
            raise UserError(f"{what} has no rows below its first line: give a table with some")


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def looked_through(path: Path) -> Seen:
    """What its bytes show. Raises UserError for a text file that is no table that can be read."""
    decoder, line, last, parity, at = codecs.getincrementaldecoder("utf-8")(), 1, 0, 0, 0
    first, longest = True, 0
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
            gaps = np.diff(np.concatenate([[last], ends])) if len(ends) else np.array([0])
            last, at = int(ends[-1]) if len(ends) else last, at + len(block)
            parity = int(open_[-1])
            line += block.count(b"\n")
            longest = max(longest, int(gaps.max()), at - last)
            if longest > MOST_RECORD:
                raise UserError(
                    f"'{path.name}' has a record of more than {MOST_RECORD >> 20} MB near line "
                    f"{line:,}, or a quote that is never closed: correct it"
                )
    if first:
        raise UserError(f"'{path.name}' is empty: give a table with a line of column names")
    return Seen(line, longest)


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


@dataclass(frozen=True)
class Parquet:
    """A Parquet file.

    Arguments:
        path: The file.
        file: pyarrow's, opened. Its texts are read as positions among the different ones, for a
            long one that occurs often takes little in the file.
        dtypes: What pandas calls the types of columns of texts.
    """

    path: Path
    file: Any
    dtypes: Mapping[str, str]
    made = "pandas"

    @classmethod
    def of(cls, path: Path) -> Parquet:
        """Raises UserError for a file that is damaged, or has too many columns."""
        try:
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise UserError(
                'Parquet files need the extra "tables": pip install "zspace[tables]"'
            ) from None
        with _readable(path):
            import pyarrow as pa

            file = parquet.ParquetFile(path)
            if (columns := file.metadata.num_columns) > MOST_COLUMNS:
                raise UserError(
                    f"'{path.name}' has {columns:,} columns: give at most {MOST_COLUMNS:,}"
                )
            texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
            texts += [f.name for f in file.schema_arrow if pa.types.is_large_string(f.type)]
            frame = file.schema_arrow.empty_table().to_pandas(date_as_object=False)
            dtypes = {str(n): str(t) for n, t in frame.dtypes.items() if str(n) in texts}
            return cls(path, parquet.ParquetFile(path, read_dictionary=texts), dtypes)

    def fits(self, memory: float) -> bool:
        """Whether it can be read at once."""
        about = self.file.metadata
        # What is always the same takes next to nothing in the file, and 8 bytes a row in memory.
        plain = about.num_rows * about.num_columns * 8
        return max(self._nbytes, plain) * ROOM["parquet"] <= memory

    @property
    def _nbytes(self) -> int:
        """Of all values, before compression."""
        about = self.file.metadata
        return sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))

    def at_once(self) -> tuple[Table, list[Any]]:
        """The columns, and their names. Raises UserError for what cannot be read."""
        with _readable(self.path):
            # The schema's own note of types, as for pieces: a damaged file may hold another one.
            whole = self.file.read().replace_schema_metadata(self.file.schema_arrow.metadata)
            frame = whole.to_pandas(date_as_object=False)
        return self._columns(frame), list(frame.columns)

    def _columns(self, frame: Any) -> Table:
        table, _ = columns_of(frame)
        for name, dtype in self.dtypes.items():
            table[name] = table[name]._replace(dtype={"name": dtype})
        return table

    def pieces(self) -> Iterator[Table]:
        """The columns of some of the rows, one piece after the other."""
        with _readable(self.path):
            yield from self._typed()

    def _typed(self) -> Iterator[Table]:
        import pyarrow as pa

        schema = self.file.schema_arrow
        dtypes = schema.empty_table().to_pandas(date_as_object=False).dtypes
        whole = [str(n) for n, t in dtypes.items() if isinstance(t, np.dtype) and t.kind in "iu"]
        empty: dict[str, int] = {}
        known: dict[str, dict[Any, None]] = {}
        for batch in self._batches():
            for name, column in zip(schema.names, batch.columns, strict=True):
                empty[name] = empty.get(name, 0) + column.null_count
                if pa.types.is_dictionary(column.type) and name not in self.dtypes:
                    known.setdefault(name, {}).update(dict.fromkeys(column.dictionary.to_pylist()))
        for batch in self._batches():
            columns = [
                column.cast(pa.float64(), safe=False) if name in whole and empty[name] else column
                for name, column in zip(schema.names, batch.columns, strict=True)
            ]
            fields = [f.with_type(c.type) for f, c in zip(schema, columns, strict=True)]
            own = pa.schema(fields, metadata=schema.metadata)
            frame = pa.Table.from_arrays(columns, schema=own).to_pandas(date_as_object=False)
            yield {
                name: _whole(raw, bool(empty.get(name)), list(known.get(name, ())))
                for name, raw in self._columns(frame).items()
            }

    def _batches(self) -> Iterator[Any]:
        about = self.file.metadata
        mean = max(1.0, self._nbytes / max(1, about.num_rows))
        rows = int(max(1, min(PIECE / mean, PIECE / (8 * max(1, about.num_columns)))))
        yield from self.file.iter_batches(batch_size=rows)


def _whole(raw: Raw, empty: bool, categories: list[Any]) -> Raw:
    """A piece of a column, with the type of the whole column."""
    if categories:
        return raw._replace(dtype={**raw.dtype, "categories": categories})
    if empty and raw.dtype["name"] == "bool":
        return Raw(raw.values.astype(object), raw.missing, {"name": "object"})
    return raw


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises, which may be anything, into a sentence for the user."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"'{path.name}' cannot be read as Parquet: {why:.200}") from error

"""Tables on disk: columns, and the x made of them, that do not fit the memory.

    <cache>/tables/<name>-<key>/
        facts.json           rows; of each column its name, type and texts; the size of each file
        0.values 0.missing   of a column (N,): values, or positions in its texts; which are missing
        x                    or, in a folder of its own, x (N, W) float32

The key is a hash of the content of the source, and of all that decides how it is read. A folder
is filled beside its place, flushed and renamed, so that nothing is ever half-written; it is used
again while its files have the sizes that it notes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.readers.frames import Raw, Table
from zspace.data.readers.mapped import PART, sweep
from zspace.system.downloads import cache_folder
from zspace.system.errors import UserError

FORMAT = 2
MOST_TEXTS = 50_000
"""Different texts of a column; with more, it can be no category, and is not kept."""
_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Stored:
    """A column in files; `rows` reads some of it, as that of a `Raw` does.

    Arguments:
        path: Of its values.
        size: N.
        stored: The type of the values in the file.
        dtype: What the table calls it; see `Raw`.
        texts: Of texts, the different ones, to which the values are positions.
    """

    path: Path
    size: int
    stored: str
    dtype: Mapping[str, Any]
    texts: np.ndarray | None = None

    def rows(self, i: Any) -> Raw:
        """Some of the rows, in memory."""
        # Mapped for each piece: pages of a map that stays open count as memory of the process.
        codes = np.array(np.memmap(self.path, self.stored, "r", shape=(self.size,))[i])
        gone = self.path.with_suffix(".missing")
        missing = np.array(np.memmap(gone, bool, "r", shape=(self.size,))[i])
        return Raw(codes if self.texts is None else self.texts[codes], missing, self.dtype)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """For each row (N,) the place of its value among the different ones, -1 where missing,
        and the different ones.
        """
        import pandas as pd

        found: dict[Any, int] = {}
        at = np.empty(self.size, np.int64)
        for start in range(0, self.size, _AT_ONCE):
            raw = self.rows(slice(start, start + _AT_ONCE))
            codes, several = pd.factorize(raw.values)
            own = [found.setdefault(value, len(found)) for value in several.tolist()]
            at[start : start + len(codes)] = np.where(raw.missing, -1, np.array([*own, -1])[codes])
        different = np.empty(len(found), object)
        different[:] = list(found)
        return at, different


def folder_of(name: str, *key: object) -> Path:
    """Where a folder lies whose content is decided by a key."""
    digest = hashlib.sha256("\n".join(map(repr, (FORMAT, *key))).encode()).hexdigest()
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:40]
    return cache_folder() / "tables" / f"{plain}-{digest[:16]}"


def facts_of(folder: Path) -> dict[str, Any] | None:
    """What a folder notes; None where there is none, or where its files are not those it notes."""
    try:
        facts = json.loads((folder / "facts.json").read_text())
        if facts["format"] != FORMAT:
            return None
        for name, size in facts["bytes"].items():
            if (folder / name).stat().st_size != size:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts


def kept(folder: Path, fill: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """What the folder notes, once it is filled; only a folder that is not there is.

    Arguments:
        folder: As `folder_of` names it.
        fill: Writes files into a folder, and returns what is to be noted of them.

    Raises UserError where the disk does not take it.
    """
    if facts := facts_of(folder):
        return facts
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name, suffix=PART))
        try:
            facts = {"format": FORMAT, **fill(part)}
            facts["bytes"] = {path.name: _flushed(path) for path in sorted(part.iterdir())}
            (part / "facts.json").write_text(json.dumps(facts))
            _flushed(part / "facts.json")
            try:
                part.rename(folder)
            except OSError:  # something is there: another process was quicker, or it is damaged
                if facts_of(folder) is None:
                    shutil.rmtree(folder, ignore_errors=True)
                    part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"the table does not fit the memory, and cannot be kept in '{folder.parent}': "
            f"{error.strerror or error}; make room there, or leave columns out"
        ) from error
    return facts


def _flushed(path: Path) -> int:
    """The size of a file that has reached the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def columns(folder: Path, pieces: Callable[[], Iterable[Table]]) -> dict[str, Stored | str]:
    """The columns that a folder holds, by name; of one that it does not hold, the reason.

    Arguments:
        folder: Where they are, or will be.
        pieces: All rows, in pieces whose columns are of the same types; asked for once, if at all.

    Raises UserError as `kept` does.
    """
    facts = kept(folder, lambda part: _write(part, pieces()))
    found: dict[str, Stored | str] = {}
    for i, one in enumerate(facts["columns"]):
        texts = None
        if one["texts"] is not None:
            texts = np.empty(max(1, len(one["texts"])), object)
            texts[: len(one["texts"])] = one["texts"]
        path = folder / f"{i}.values"
        column = Stored(path, facts["rows"], one["stored"], one["dtype"], texts)
        found[one["name"]] = one["out"] or column
    return found


class _Column:
    """A column that is being written."""

    def __init__(self, folder: Path, i: int) -> None:
        self.path, self.dtype = folder / f"{i}.values", dict[str, Any]()
        self.values = self.path.open("wb")
        self.missing = self.path.with_suffix(".missing").open("wb")
        self.places: dict[Any, int] = {}
        self.texts: list[Any] = []
        self.stored, self.out = "", ""

    def add(self, raw: Raw) -> None:
        """Write a piece."""
        self.dtype = dict(raw.dtype)
        if self.out:
            return
        values = raw.values
        if values.dtype == object:
            values = self._places(values, raw.missing)
        self.stored = values.dtype.str
        if len(self.texts) > MOST_TEXTS:
            self.out = f"more than {MOST_TEXTS:,} different texts"
            self.close()
            self.path.unlink()
            self.path.with_suffix(".missing").unlink()
            self.places, self.texts = {}, []
            return
        self.values.write(np.ascontiguousarray(values).tobytes())
        self.missing.write(np.ascontiguousarray(raw.missing).tobytes())

    def _places(self, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
        import pandas as pd

        codes, different = pd.factorize(np.where(missing, "", values))
        places = np.empty(len(different), np.int32)
        for i, value in enumerate(different):
            key = value if isinstance(value, str) else (type(value), value)
            if key not in self.places:
                self.places[key] = len(self.texts)
                self.texts.append(value)
            places[i] = self.places[key]
        return places[codes]

    def close(self) -> None:
        self.values.close()
        self.missing.close()

    def facts(self, name: str) -> dict[str, Any]:
        """What is noted of it."""
        texts = self.texts if self.texts or self.stored == "<i4" else None
        told = {"name": name, "dtype": self.dtype, "stored": self.stored}
        return {**told, "texts": texts, "out": self.out}


@dataclass(frozen=True)
class Numbers:
    """x (N, *X) float32 in a file; see `zspace.data.dataset.Lazy`.

    It is read and not mapped: of a map, the pages around each row count as memory of the process.

    Arguments:
        path: The file, which holds nothing else.
        shape: (N, *X).
    """

    path: Path
    shape: tuple[int, ...]

    def read(self, rows: Tensor) -> Tensor:
        """Rows (B,) in memory, (B, *X)."""
        wanted = rows.numpy()
        x = np.empty((len(wanted), *self.shape[1:]), "<f4")
        starts = np.flatnonzero(np.diff(wanted, prepend=-2) != 1).tolist()  # of neighbours
        with self.path.open("rb", buffering=0) as file:
            for start, end in itertools.pairwise([*starts, len(wanted)]):
                file.seek(int(wanted[start]) * x[0].nbytes)
                left = x[start:end].reshape(-1).view(np.uint8)
                while len(left):  # one call reads 2 GB at most
                    n = file.readinto(left)  # type: ignore[arg-type] # numpy has the buffer
                    if not n:
                        raise UserError(f"'{self.path}' has become shorter: read the data again")
                    left = left[n:]
        return torch.from_numpy(x)


def _write(folder: Path, pieces: Iterable[Table]) -> dict[str, Any]:
    """Write all pieces; what is to be noted."""
    found: dict[str, _Column] = {}
    rows = 0
    with contextlib.ExitStack() as stack:
        for piece in pieces:
            for name, raw in piece.items():
                if name not in found:
                    found[name] = _Column(folder, len(found))
                    stack.callback(found[name].close)
                found[name].add(raw)
            rows += len(next(iter(piece.values())).missing)
    return {"rows": rows, "columns": [column.facts(name) for name, column in found.items()]}


def array(
    folder: Path, shape: tuple[int, ...], pieces: Callable[[], Iterator[np.ndarray]]
) -> tuple[Numbers, bool]:
    """x (N, *X) float32 in a file, and whether any of it is missing.

    Arguments:
        folder: Where it is, or will be.
        shape: (N, *X).
        pieces: Its rows in order; asked for once, if at all.

    Raises UserError as `kept` does.
    """

    def fill(part: Path) -> dict[str, Any]:
        missing = False
        with (part / "x").open("wb") as file:
            for x in pieces():
                missing |= bool(np.isnan(x).any())
                file.write(np.ascontiguousarray(x, "<f4").tobytes())
        return {"missing": missing}

    facts = kept(folder, fill)
    return Numbers((folder / "x").absolute(), shape), bool(facts["missing"])


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""A run of a table as the page sees it: `RunView`, with rows as cells where images are pictures.

A row goes out as a list of cells, one for each column (see `kinds.table.Encoding.cells`). It comes
in as texts by column, as people type them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.kinds.columns import Chosen, Entry, as_kind, key
from zspace.data.kinds.table import TableEncoding
from zspace.data.readers.frames import Raw
from zspace.explorer.encoded import EncodedView, SeriesView, TokensView
from zspace.explorer.view import RunView
from zspace.runs.run import Run
from zspace.system.errors import UserError, unknown

CELL_BYTES = 80
"""Of JSON, about."""


class RowView(EncodedView):
    """A run of a table and its test rows."""

    kinds = ("table",)
    what = "a table"

    @property
    def encoding(self) -> TableEncoding:
        """How rows become x and come back."""
        found = self.run.encoding
        assert isinstance(found, TableEncoding)
        return found

    @property
    def bytes_each(self) -> int:
        """About how many bytes one row is, as it goes out."""
        return CELL_BYTES * len(self.encoding.entries)

    def shown(self, x: np.ndarray) -> dict[str, Any]:
        """x (n, W) as the page gets it: rows of cells, whose columns `facts` names."""
        cells = self.encoding.cells(torch.from_numpy(x))
        rows = [
            [{k: v for k, v in cell.items() if k != "column"} for cell in row] for row in cells
        ]
        return {"samples": rows}

    def given(self, told: Mapping[str, str | None]) -> Tensor:
        """x (1, W) of texts by column; None where a value is missing.

        Raises UserError for a text that is no value of its column, for a column that there is not,
        and for missing values that the model does not read.
        """
        entries = {entry.name: entry for entry in self.encoding.entries}
        for name in told:
            if name not in entries:
                raise unknown("column", name, entries)
        table = {name: _raw(entry, told.get(name)) for name, entry in entries.items()}
        return torch.from_numpy(self.encoding.encoded(table))

    def facts(self, key: str) -> dict[str, Any]:
        """Those of any run, and what its columns are."""
        columns = [_column(entry) for entry in self.encoding.entries]
        return super().facts(key) | {"columns": columns}


def _column(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": entry.name, "kind": entry.kind}
    if isinstance(entry, Chosen):
        return facts | {"values": [[key(v), entry.text(v), v] for v in entry.values]}
    return facts | {"ends": entry.ends}


def _raw(entry: Entry, text: str | None) -> Raw:
    """One value of a column, as somebody typed it."""
    if text is None:
        return Raw(np.array([""], object), np.array([True]), entry.dtype)
    seen, typed = np.array([False]), np.array([text], object)
    if isinstance(entry, Chosen):
        known = [key(value) for value in entry.values]
        if text not in known:
            raise unknown(f"value of column '{entry.name:.60}'", text, known)
        return Raw(typed, seen, entry.dtype)
    if entry.unit.startswith("d"):
        return as_kind(Raw(typed, seen, entry.dtype), "date", entry.name)
    if entry.unit:
        return Raw(np.array([_span(entry, text)], entry.unit), seen, entry.dtype)
    return Raw(np.array([_number(entry, text)]), seen, entry.dtype)


def _number(entry: Entry, text: str) -> int | float:
    plain = text.strip().replace("−", "-")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", plain):
        plain = plain.replace(",", "")  # of thousands; a decimal comma is refused
    try:
        value = float(plain)
        whole = int(plain) if plain.lstrip("+-").isdigit() else value
    except ValueError:
        value, whole = math.nan, 0
    if not math.isfinite(value):
        raise UserError(
            f"'{text:.60}' is no number, but column '{entry.name:.60}' holds some: write 12.5"
        )
    return whole if -(2**63) <= whole < 2**63 else value


def _span(entry: Entry, text: str) -> Any:
    import pandas as pd

    try:
        return pd.Timedelta(text).to_numpy()
    except ValueError:
        raise UserError(
            f"'{text:.60}' is no duration, but column '{entry.name:.60}' holds some: write 3 days"
        ) from None


VIEWS = {view.kinds[0]: view for view in (RunView, RowView, SeriesView, TokensView)}


def view_of(run: Run) -> RunView:
    """The view that a run's kind of samples asks for."""
    return VIEWS[run.spec.kind](run)

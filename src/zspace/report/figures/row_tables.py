"""Figures of rows of tables: cells beside each other, as `Encoding.show` gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from zspace.analysis.reconstruction import reconstructions
from zspace.report import facts
from zspace.report.facts import families, short
from zspace.report.figures import style
from zspace.report.figures.registry import figure
from zspace.runs.many import Study

SHOWN, COLUMNS = 4, 24
"""Rows of the table that a figure shows, and columns of it at most."""


def cells(study: Study, x: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Names of the first columns, and what rows x (N, W) hold of them, as people read it."""
    encoding = study.data.encoding
    assert encoding is not None
    shown = [encoding.show(torch.from_numpy(row))["cells"][:COLUMNS] for row in x]
    names = [short(str(cell["column"]), 22) for cell in shown[0]]
    return names, [[short(cell["formatted"], 20) for cell in row] for row in shown]


def _table(title: str, names: list[str], heads: list[str], columns: list[list[str]]) -> Figure:
    """A table with one line for each column of the data; columns: of text, one for each head."""
    height = 0.9 + 0.26 * len(names)
    fig = style.blank(2.2 + 1.45 * len(heads), height, title)
    axes = fig.subplots()
    axes.set_axis_off()
    drawn: Any = axes.table(
        list(map(list, zip(*columns, strict=True))), rowLabels=names, colLabels=heads,
        loc="center", cellLoc="right", colLoc="right", bbox=Bbox.unit(),
    )  # fmt: skip
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(style.SMALL)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_linewidth(0)
        cell.get_text().set_color(style.INK if row and column >= 0 else style.MUTED)
        if row and row % 2:
            cell.set_facecolor("#f3f3f3")
    return fig


@figure(
    "rows", "Unseen rows, reconstructed", "reconstructions", numbers=facts.errors, kinds=("table",)
)
def rows(study: Study) -> Figure:
    """A table of rows: each test row beside what the model makes of it, one line per column.

    Rows of the test split, encoded to their mean code and decoded: of a category the most likely
    value, of a number its mean. Where a value is missing, the model fills it in.
    """
    family = families(study)[0]
    pairs = reconstructions(family.run, study.data, SHOWN)
    names, real = cells(study, pairs.x)
    _, made = cells(study, pairs.decoded)
    heads = [head for i in range(len(real)) for head in (f"row {i + 1}", "decoded")]
    columns = [column for both in zip(real, made, strict=True) for column in both]
    return _table(f"Unseen rows, reconstructed: {family.title}", names, heads, columns)


@figure("sampled-rows", "Rows from the prior alone", "samples", kinds=("table",))
def sampled_rows(study: Study) -> Figure:
    """A table of rows that the model has made up, one line per column.

    Codes are drawn from the prior, and rows from p(x|z): values, not means.
    """
    family = families(study)[0]
    names, made = cells(study, family.run.drawn(2 * SHOWN, seed=0))
    heads = [f"row {i + 1}" for i in range(len(made))]
    return _table(f"Rows drawn from the prior: {family.title}", names, heads, made)

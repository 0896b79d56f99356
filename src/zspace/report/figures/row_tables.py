"""Figures of rows of tables: cells beside each other, as `Encoding.show` gives them, and what
became of each column while a model was trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from zspace.analysis.numbers import number
from zspace.analysis.reconstruction import reconstructions
from zspace.data.kinds.encoding import Encoding
from zspace.report import facts
from zspace.report.facts import Family, Numbers, families, short
from zspace.report.figures import needs, style
from zspace.report.figures.charts import draw_lines, epochs_axis, lines_legend
from zspace.report.figures.registry import figure
from zspace.runs.many import Study
from zspace.runs.run import Run

SHOWN, COLUMNS = 4, 24
"""Rows of the table that a figure shows, and columns of it at most."""
ACROSS = 4
"""Panels beside each other."""


def _cells(encoding: Encoding, x: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Names of the first columns, and what rows x (N, W) hold of them, as people read it."""
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


def drawn_rows(
    encoding: Encoding | None, title: str, x: np.ndarray, before: np.ndarray | None = None
) -> Figure:
    """The first rows of x (n, W), each beside the one of `before` that it was made of."""
    assert encoding is not None
    names, made = _cells(encoding, x[: 2 * SHOWN] if before is None else x[:SHOWN])
    if before is None:
        return _table(title, names, [f"row {i + 1}" for i in range(len(made))], made)
    _, real = _cells(encoding, before[:SHOWN])
    heads = [head for i in range(len(real)) for head in (f"row {i + 1}", "decoded")]
    columns = [column for both in zip(real, made, strict=True) for column in both]
    return _table(title, names, heads, columns)


@figure("rows", "Unseen rows, reconstructed", "copy", numbers=facts.errors, kinds=("table",))
def rows(study: Study) -> Figure:
    """A table of rows: each test row beside what the model makes of it, one line per column.

    Rows of the test split, encoded to their mean code and decoded: of a category the most likely
    value, of a number its mean. Where a value is missing, the model fills it in.
    """
    family = families(study)[0]
    pairs = reconstructions(family.run, study.data, SHOWN)
    title = f"Unseen rows, reconstructed: {family.title}"
    return drawn_rows(family.run.encoding, title, pairs.decoded, pairs.x)


@figure("sampled-rows", "Rows from the prior alone", "invent", kinds=("table",))
def sampled_rows(study: Study) -> Figure:
    """A table of rows that the model has made up, one line per column.

    Codes are drawn from the prior, and rows from p(x|z): values, not means.
    """
    family = families(study)[0]
    title = f"Rows drawn from the prior: {family.title}"
    return drawn_rows(family.run.encoding, title, family.run.drawn(2 * SHOWN, seed=0))


def column_numbers(study: Study) -> Numbers:
    """What test rows' reconstructions measure, column by column, beside the usual answer."""
    found: dict[str, dict[str, str]] = {}

    def tested(family: Family) -> dict[str, float]:
        return dict(family.run.result.get("quality", {}).get("test", {}))

    for family in _with_columns(study):
        assert family.run.encoding is not None
        usual, facts_of = _usual(family.run), family.run.encoding.facts
        middle = "the median" if family.run.spec.kind == "table" else "the mean"
        for name in _worst_columns(family):
            fact = facts_of[name]
            unit = f" in {fact.unit}" if fact.unit else ""
            of = "the most frequent value" if fact.better == "high" else middle
            same = f" ({of}: {number(usual[name])})" if name in usual else ""
            title = f"{fact.title[0].upper()}{fact.title[1:]}{unit}{same}"
            if name in tested(family):
                found.setdefault(title, {})[family.title] = number(tested(family)[name])
    return found


def _with_columns(study: Study) -> list[Family]:
    return [family for family in families(study) if family.run.quality_epochs]


def _usual(run: Run) -> dict[str, float]:
    """Column -> what it measures to answer the same for every row, of columns that vary."""
    assert run.encoding is not None
    found = run.encoding.usual
    facts = run.encoding.facts
    return {
        name: value
        for name, value in found.items()
        if value is not None and (value < 1 if facts[name].better == "high" else value > 0)
    }


def _worst_columns(family: Family) -> list[str]:
    """At most `COLUMNS`, in their order: those furthest from right at the last epoch."""
    assert family.run.encoding is not None
    last, usual = family.run.quality_epochs[-1]["quality"]["validation"], _usual(family.run)
    facts = family.run.encoding.facts

    def left(name: str) -> float:
        """Of the error of the usual answer, the share that is left."""
        if name not in usual:
            return 0.0
        if facts[name].better == "high":
            return (1 - last[name]) / (1 - usual[name])
        return last[name] / usual[name]

    worst = sorted(last, key=left, reverse=True)[:COLUMNS]
    return [name for name in last if name in worst]


@figure(
    "columns",
    "Every column over training",
    "learning",
    needs.quality,
    column_numbers,
    kinds=("table",),
)
def columns_over_training(study: Study) -> Figure:
    """Line charts against the epoch, one for each column: an error or an accuracy.

    Of numbers, counts and dates: the mean absolute error of reconstructions, where 1 is that of
    always answering the median of the training rows. Of categories and booleans: how many are
    right; the dotted line is the share of the most frequent value in the training rows. Solid
    lines are validation rows, thin dashed lines training rows: at most 1,000 of each, the same
    after every epoch, each encoded to its mean code and decoded. Of a table with many columns
    the 24 are shown that are furthest from right.
    """
    return _over_training(study, "Every column over training", "columns")


@figure(
    "channels",
    "Every channel over training",
    "learning",
    needs.quality,
    column_numbers,
    kinds=("series",),
)
def channels_over_training(study: Study) -> Figure:
    """Line charts of errors against the epoch, one for each channel.

    The mean absolute error of reconstructions, where 1 is that of always answering the mean of the
    training windows. Solid lines are validation windows, thin dashed lines training windows: at
    most 1,000 of each, the same after every epoch, each encoded to its mean code and decoded. Of
    many channels the 24 are shown that are furthest from right.
    """
    return _over_training(study, "Every channel over training", "channels")


@figure(
    "accuracy",
    "Tokens that come back over training",
    "learning",
    needs.quality,
    column_numbers,
    kinds=("tokens",),
)
def accuracy_over_training(study: Study) -> Figure:
    """Line charts of shares against the epoch: tokens, and whole sequences, that come back.

    Each sequence is encoded to its mean code and decoded greedily, without being told any of its
    tokens. Solid lines are validation sequences, thin dashed lines training sequences: at most
    1,000 of each, the same after every epoch.
    """
    return _over_training(study, "Tokens that come back over training", "measures")


def _over_training(study: Study, title: str, many: str) -> Figure:
    """A panel for each measure of quality, scaled by what the usual answer has."""
    shown = _with_columns(study)
    names, every = (
        _worst_columns(shown[0]),
        len(shown[0].run.quality_epochs[-1]["quality"]["train"]),
    )
    few = len(shown) <= len(style.COLOURS)
    colours = dict(enumerate(style.COLOURS if few else style.shades(len(shown))))
    note = f"the {len(names)} of {every:,} {many} that are furthest from right; " * (
        every > len(names)
    )
    note += "dotted: always the same answer" * any(_usual(family.run) for family in shown)
    fig, grid = style.panels(len(names), title, note, side=2.5, ratio=0.8, across=ACROSS)
    for axes, name in zip(grid, names, strict=True):
        is_rate, later = False, list[float]()
        for i, family in enumerate(shown):
            for run in family.sizes[family.chosen]:
                if run.encoding is None or name not in run.encoding.facts:
                    continue
                is_rate = run.encoding.facts[name].better == "high"
                usual = _usual(run).get(name)
                unit = 1.0 if is_rate or usual is None else usual
                later += draw_lines(axes, _scaled(run, name, unit), name, colours[i], "quality")
                line = usual if is_rate and usual is not None else 1.0
                if usual is not None:
                    later.append(line)
                    axes.axhline(line, color=style.MUTED, linestyle=":", linewidth=1.2, zorder=0)
        sort = "accuracy" if is_rate else "error"
        style.style_axes(axes, f"{short(name, 18)}: {sort}")
        low, high = (min(later, default=0), 1) if is_rate else (0, max(later, default=1))
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low) or 1)
        epochs_axis(axes)
    for axes in grid[:-ACROSS]:
        axes.set_xlabel("")
    titles = {i: family.panel for i, family in enumerate(shown)}
    lines_legend(fig, titles if len(shown) > 1 else {}, colours)
    return fig


def _scaled(run: Run, name: str, unit: float) -> list[dict[str, Any]]:
    """Of each epoch, one measure of quality in a unit of its own."""
    return [
        {
            "number": line["number"],
            "quality": {
                split: {name: of[name] / unit} if name in of else {}
                for split, of in line["quality"].items()
            },
        }
        for line in run.quality_epochs
    ]

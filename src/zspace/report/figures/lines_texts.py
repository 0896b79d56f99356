"""Figures of windows of series and of sequences of tokens, as `Encoding.show` gives them: lines
over time, and texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zspace.analysis import planes
from zspace.analysis.reconstruction import reconstructions
from zspace.analysis.trained import evenly, subset
from zspace.data.kinds.cutting import as_line
from zspace.data.kinds.encoding import Encoding
from zspace.report import facts
from zspace.report.facts import Family, families, short
from zspace.report.figures import needs, style
from zspace.report.figures.registry import figure
from zspace.report.figures.row_tables import drawn_rows
from zspace.runs.many import Study

WINDOWS, CHANNELS, TEXTS, LETTERS = 4, 5, 10, 72
"""Windows and channels, texts and letters of each that a figure shows at most."""
DATA, MADE = style.MUTED, style.COLOURS[0]


def _shown(study: Study, x: np.ndarray) -> list[dict[str, Any]]:
    assert study.data.encoding is not None
    return _of(study.data.encoding, x)


def _of(encoding: Encoding, x: np.ndarray) -> list[dict[str, Any]]:
    return [encoding.show(torch.from_numpy(np.asarray(one))) for one in x]


def _training(study: Study, n: int) -> np.ndarray:
    """Some training samples (n, *X), of all classes in turns where there are any."""
    some = subset(study.data.train, 1000)
    return some.images(evenly(some, n)).numpy()


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)


def _line(axes: Axes, t: Sequence[Any], values: np.ndarray, colour: Any, mark: bool) -> None:
    """One channel over time, broken where it is missing; mark: as dots on a thin line."""
    at = np.arange(len(values)) if not all(isinstance(v, int | float) for v in t) else t
    dots = {"marker": "o", "markersize": 2.6, "linewidth": 0.8} if mark else {"linewidth": 1.7}
    axes.plot(at, values, color=colour, **dots)


def _windows(
    title: str,
    note: str,
    groups: Sequence[Sequence[tuple[dict[str, Any], Any, bool]]],
    heads: Sequence[str],
    names: Sequence[str] = (),
) -> Figure:
    """Panels: a column for each group of windows that are drawn over each other, a row for each
    channel. A window is what `show` gives, its colour, and whether it is drawn as dots.
    """
    first = groups[0][0][0]
    channels = list(first["channels"])[:CHANNELS]
    more = len(first["channels"]) - len(channels)
    if more > 0:
        note = f"{note}; the first {CHANNELS} of {len(first['channels']):,} channels".strip("; ")
    width, height = 2.7 * len(groups), 1.25 * len(channels)
    fig = style.blank(width, height + (0.85 if note else 0.6), title, note)
    grid = fig.subplots(len(channels), len(groups), squeeze=False, sharey="row")
    for j, (group, head) in enumerate(zip(groups, heads, strict=True)):
        for i, channel in enumerate(channels):
            axes = grid[i][j]
            for window, colour, mark in group:
                _line(axes, window["t"], _numbers(window["values"][i]), colour, mark)
            style.style_axes(axes, head if i == 0 else "")
            if i < len(channels) - 1:
                axes.set_xticklabels([])
            if j == 0:
                axes.set_ylabel(short(str(channel), 16), fontsize=style.SMALL, color=style.INK)
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize=style.SMALL, color=style.INK)
    if names:
        handles = [Line2D([], [], color=colour) for colour in (DATA, MADE)]
        fig.legend(
            handles, names, loc="outside upper right", ncols=2, frameon=False,
            fontsize=style.SMALL, labelcolor=style.INK,
        )  # fmt: skip
    return fig


def drawn_windows(
    encoding: Encoding | None, title: str, x: np.ndarray, before: np.ndarray | None = None
) -> Figure:
    """The first windows of x (n, T, D), each over the one of `before` that it was made of."""
    assert encoding is not None
    groups: list[list[tuple[dict[str, Any], Any, bool]]] = [
        [(one, MADE, False)] for one in _of(encoding, x[:WINDOWS])
    ]
    if before is not None:
        for group, one in zip(groups, _of(encoding, before[:WINDOWS]), strict=True):
            group.insert(0, (one, DATA, True))
    heads = [f"window {i + 1}" for i in range(len(groups))]
    names = () if before is None else ("data", "model")
    return _windows(title, "", groups, heads, names)


@figure("windows", "A sample of the data", "data", kinds=("series",))
def windows(study: Study) -> Figure:
    """Line charts of training windows, one column for each, one row for each channel.

    Windows of the training split, in the data's own units. A line is broken where a value is
    missing.
    """
    title = f"{short(study.data.name)}: training windows"
    return drawn_windows(study.data.encoding, title, _training(study, WINDOWS))


@figure(
    "window-reconstructions",
    "Unseen windows, reconstructed",
    "copy",
    numbers=facts.errors,
    kinds=("series",),
)
def window_reconstructions(study: Study) -> Figure:
    """Line charts: each test window, grey, under what the model makes of it, coloured.

    Windows of the test split, encoded to their mean code and decoded to the mean of p(x|z), in the
    data's own units. Where a value is missing, the model fills it in.
    """
    family = families(study)[0]
    pairs = reconstructions(family.run, study.data, WINDOWS)
    title = f"Unseen windows, reconstructed: {family.title}"
    return drawn_windows(family.run.encoding, title, pairs.decoded, pairs.x)


@figure("sampled-windows", "Windows from the prior alone", "invent", kinds=("series",))
def sampled_windows(study: Study) -> Figure:
    """Line charts of windows that the model has made up.

    Codes are drawn from the prior, and windows from p(x|z): the noise that the model takes values
    to have is in them.
    """
    family = families(study)[0]
    title = f"Windows drawn from the prior: {family.title}"
    return drawn_windows(family.run.encoding, title, family.run.drawn(WINDOWS, seed=0))


@figure(
    "window-interpolation",
    "Between two windows",
    "codes",
    needs.two_test_images,
    kinds=("series",),
)
def window_interpolation(study: Study) -> Figure:
    """Line charts: windows that change from one test window into another, light to dark.

    The straight line from one test window's code to another's, in eleven steps, each decoded.
    """
    shown = families(study)[:3]
    groups = []
    for family in shown:
        decoded = _shown(study, planes.walk(family.run, study.data).straight)
        shades = style.shades(len(decoded))
        groups.append([(one, c, False) for one, c in zip(decoded, shades, strict=True)])
    heads = [family.panel for family in shown]
    return _windows("Between two unseen windows", "from light to dark", groups, heads)


def _read(encoding: Encoding | None, x: np.ndarray) -> list[str]:
    assert encoding is not None
    return [as_line(one) for one in encoding.decode(torch.from_numpy(np.asarray(x)))]


def _texts(title: str, note: str, lines: Sequence[tuple[str, str, Any]]) -> Figure:
    """Lines of text: what stands before each, the text, its colour."""
    fig = style.blank(10.2, 0.7 + 0.27 * len(lines), title, note)
    axes = fig.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(lines), 0)
    for i, (head, text, colour) in enumerate(lines):
        axes.text(0, i + 0.5, head, fontsize=style.SMALL, color=style.MUTED, va="center")
        body = short(text, LETTERS) or "(empty)"
        axes.text(
            0.13, i + 0.5, body, fontsize=style.SMALL, color=colour, va="center",
            family="monospace",
        )  # fmt: skip
    return fig


def drawn_texts(
    encoding: Encoding | None, title: str, x: np.ndarray, before: np.ndarray | None = None
) -> Figure:
    """The first sequences of x (n, T), each below the one of `before` that it was made of."""
    lines = list[tuple[str, str, Any]]()
    made = _read(encoding, x[:TEXTS])
    if before is None:
        return _texts(title, "", [(f"{i + 1}", one, style.INK) for i, one in enumerate(made)])
    real = _read(encoding, before[:TEXTS])
    for i, (a, b) in enumerate(zip(real, made, strict=True)):
        lines += [(f"{i + 1}  data", a, style.INK)]
        lines += [("    decoded", b, MADE if a == b else style.COLOURS[1])]
    return _texts(title, "", lines)


@figure("texts", "A sample of the data", "data", kinds=("tokens",))
def texts(study: Study) -> Figure:
    """Lines of text: training sequences.

    Sequences of the training split, cut into the tokens that the model reads.
    """
    title = f"{short(study.data.name)}: training sequences"
    return drawn_texts(study.data.encoding, title, _training(study, TEXTS))


@figure(
    "text-reconstructions",
    "Unseen sequences, reconstructed",
    "copy",
    numbers=facts.errors,
    kinds=("tokens",),
)
def text_reconstructions(study: Study) -> Figure:
    """Pairs of lines of text: each test sequence, and below it what the model makes of it.

    Sequences of the test split, encoded to their mean code and decoded greedily: at each step the
    most likely token. Coloured where the whole sequence is right.
    """
    family = families(study)[0]
    pairs = reconstructions(family.run, study.data, TEXTS)
    title = f"Unseen sequences, reconstructed: {family.title}"
    return drawn_texts(family.run.encoding, title, pairs.decoded, pairs.x)


@figure("sampled-texts", "Sequences from the prior alone", "invent", kinds=("tokens",))
def sampled_texts(study: Study) -> Figure:
    """Lines of text that the model has made up.

    Codes are drawn from the prior, and tokens from p(x|z), one after the other.
    """
    family = families(study)[0]
    title = f"Sequences drawn from the prior: {family.title}"
    return drawn_texts(family.run.encoding, title, family.run.drawn(TEXTS, seed=0))


@figure(
    "text-interpolation",
    "Between two sequences",
    "codes",
    needs.two_test_images,
    kinds=("tokens",),
)
def text_interpolation(study: Study) -> Figure:
    """Lines of text that change from one test sequence into another.

    The straight line from one test sequence's code to another's, decoded greedily. What differs
    at the ends from the data is the error of reconstruction.
    """
    family: Family = families(study)[0]
    walk = planes.walk(family.run, study.data)
    ends = _read(family.run.encoding, walk.x)
    between = _read(family.run.encoding, walk.straight)
    t = np.linspace(0, 1, len(between))
    lines = [("data", ends[0], style.INK)]
    lines += [(f"t = {at:.1f}", one, MADE) for at, one in zip(t, between, strict=True)]
    lines += [("data", ends[1], style.INK)]
    return _texts(f"Between two unseen sequences: {family.title}", "", lines)


def save_drawn(
    out: Path, encoding: Encoding, x: np.ndarray, before: np.ndarray | None, title: str
) -> Path:
    """Write a picture of the first samples of x (n, *X), beside those that they were made of."""
    ways = {"table": drawn_rows, "series": drawn_windows, "tokens": drawn_texts}
    with matplotlib.rc_context(style.STYLE):
        return style.save(style.tighten(ways[encoding.kind](encoding, title, x, before)), out)

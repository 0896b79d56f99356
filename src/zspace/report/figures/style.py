"""The house style: colours, names, an empty figure, panels, a file.

Colours of classes are `COLOURS`, which people with colour-vision deficiencies can tell apart: ten
that repeat up to 20 classes, the second ten with another marker, and shades of viridis for more.
Code sizes are shades of viridis, the larger the darker. Sizes of text assume that a figure may be
shown at half its size.

Sheets of images: many small pictures drawn as one, with names beside their rows.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from zspace.report.facts import short
from zspace.system import files
from zspace.system.pixels import COLOURS, tile

INK, MUTED, FAINT = "#22252b", "#5b616e", "#d4d7dd"
MARKERS = "o^"
LEGEND = 20
STILL = (".png", ".svg", ".pdf")
SMALL, NORMAL, PAD = 9.5, 10.5, 0.08
STYLE: Any = {
    "text.parse_math": False,  # a class may be called "$5"
    "axes.unicode_minus": False,
    "svg.hashsalt": "zspace",
    "path.simplify": True,
}


def blank(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure, sizes in inches, with the house's title and a note below."""
    layout = ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD)
    fig = Figure(figsize=(width, height), layout=layout, facecolor="white")
    left = PAD / width
    fig.suptitle(title, x=left, ha="left", fontsize=12.5, fontweight="bold", color=INK)
    if note:
        fig.supxlabel(note, x=left, ha="left", fontsize=SMALL, color=MUTED)
    return fig


def tighten(fig: Figure) -> Figure:
    """Take away the height and width that panels of a fixed shape leave free."""
    for _ in range(3):
        fig.draw_without_rendering()
        free = _free(fig)
        if free.max() < 0.004:
            break
        fig.set_size_inches(fig.get_size_inches() * (1 - free))
    return fig


def _free(fig: Figure) -> np.ndarray:
    """The share of the width and of the height that no panel of a column, or row, makes use of."""
    least: tuple[dict[int, float], dict[int, float]] = {}, {}
    for axes in fig.axes:
        spec, box = axes.get_subplotspec(), axes.get_tightbbox()
        if spec is None or box is None or not (axes.axison or axes.has_data()):
            continue
        slot = axes.get_position(original=True)
        used = Bbox.intersection(slot, box.transformed(fig.transFigure.inverted()))
        free = np.subtract(slot.size, 0 if used is None else used.size)
        for place, span, share in zip(least, (spec.colspan, spec.rowspan), free, strict=True):
            place[span.start] = min(share, place.get(span.start, 1.0))
    return np.array([sum(place.values()) for place in least])


def panels(
    n: int,
    title: str,
    note: str = "",
    *,
    side: float = 3.3,
    ratio: float = 1.0,
    across: int = 3,
    **shared: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels, at most `across` in a row; one alone is half as large again.

    side: the width of a panel in inches. ratio: its height by its width.
    """
    columns = {1: 1, 2: 2, 4: 2}.get(n, across)
    side = {1: 1.5, 2: 1.25}.get(columns, 1.0) * side
    rows = -(-n // columns)
    fig = blank(side * columns, side * ratio * rows + (0.8 if note else 0.5), title, note)
    grid = fig.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axes in grid[n:]:
        axes.set_axis_off()
    return fig, list(grid[:n])


def style_axes(axes: Axes, title: str = "") -> None:
    """Two spines, quiet ticks, the panel's title at the left."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=SMALL)
    if title:
        axes.set_title(title, loc="left", fontsize=NORMAL, color=INK)


def axis_names(axes: Axes, x: str = "", y: str = "") -> None:
    """What the axes are, in the house's hand."""
    axes.set_xlabel(x, fontsize=SMALL, color=INK)
    axes.set_ylabel(y, fontsize=SMALL, color=INK)


def shades(n: int) -> list[Any]:
    """n colours in an order that the eye sees, light to dark; none too pale for white paper."""
    return list(matplotlib.colormaps["viridis"](np.linspace(0.82, 0.03, n) if n > 1 else [0.3]))


def class_colours(y: np.ndarray, classes: int) -> np.ndarray:
    """A colour (N, 4) for each label (N,): ten that repeat, or shades for more than 20 classes."""
    if classes > LEGEND:
        return np.asarray(matplotlib.colormaps["viridis"](y / max(1, classes - 1)))
    return np.asarray([matplotlib.colors.to_rgba(COLOURS[k % 10]) for k in y])


def class_legend(fig: Figure, classes: Sequence[str]) -> None:
    """Colours and names of up to 20 classes, right of all panels; a colour bar for more; nothing
    without classes.
    """
    if not classes:
        return
    if len(classes) > LEGEND:
        norm = matplotlib.colors.Normalize(0, len(classes) - 1)
        scale = matplotlib.cm.ScalarMappable(norm, "viridis")
        bar = fig.colorbar(scale, ax=fig.axes, shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("label", fontsize=SMALL, color=INK)
        bar.ax.tick_params(colors=MUTED, labelsize=SMALL)
        bar.outline.set_visible(False)
        return
    handles = [
        Line2D([], [], color=COLOURS[k % 10], marker=MARKERS[k // 10], linestyle="", markersize=7)
        for k in range(len(classes))
    ]
    side_legend(fig, handles, [short(name) for name in classes])


def side_legend(
    at: Figure | Axes, handles: Sequence[Any], names: Sequence[str], title: str = ""
) -> None:
    """A legend right of all panels of a figure, or in a panel that holds nothing else."""
    legend = at.legend(
        handles, names, loc="outside right center" if isinstance(at, Figure) else "center",
        frameon=False, fontsize=SMALL, labelcolor=INK, title=title or None, title_fontsize=SMALL,
        handletextpad=0.5,
    )  # fmt: skip
    legend.get_title().set_color(INK)
    legend.set_alignment("left")


def save(fig: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix, whole or not at all, in a folder that is
    made where there is none.
    """
    kind = path.suffix[1:].lower()
    content = rendered(fig, kind if kind in ("svg", "pdf") else "png", dpi)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, content)
    return path


def rendered(fig: Figure, kind: str = "png", dpi: int = 150) -> bytes:
    """A figure as the content of a PNG, SVG or PDF file."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        fig.savefig(
            content, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.12, metadata=undated
        )
    return content.getvalue()


def png(image: Image.Image) -> bytes:
    """As a PNG of 256 colours, a third of the size and the same to the eye."""
    content = io.BytesIO()
    few = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(content, "PNG", optimize=True)
    return content.getvalue()


Rgba = tuple[float, float, float, float]
DARK, LIGHT = np.array(to_rgba("#1c1f25")[:3]), np.array(to_rgba("#fffdf6")[:3])
"""What white paper and black ink become at night; the first is the colour of the page's cards."""


@functools.lru_cache(4096)
def nightly(red: float, green: float, blue: float, alpha: float) -> Rgba:
    """A colour on dark paper: greys are turned round, colours that are too dark are lightened."""
    rgb = np.array([red, green, blue])
    own = any(np.allclose(rgb, to_rgba(colour)[:3], atol=1 / 255) for colour in COLOURS)
    if np.ptp(rgb) < 0.08 and not own:
        rgb = DARK + (1 - rgb.mean()) * (LIGHT - DARK)
    while contrast(rgb, DARK) < 3 and not np.array_equal(rgb, DARK) and rgb.mean() > DARK.mean():
        rgb = rgb + 0.1 * (1 - rgb)
    return float(rgb[0]), float(rgb[1]), float(rgb[2]), alpha


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Of two colours, from 1 to 21, as WCAG 2.2 defines it."""

    def light(rgb: np.ndarray) -> float:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05

    high, low = sorted((light(a), light(b)), reverse=True)
    return high / low


@contextmanager
def at_night(fig: Figure) -> Iterator[None]:
    """Within, a figure has dark paper and light ink. Images on it stay as they are."""
    undo: list[Callable[[], Any]] = []

    def turn(artist: Any, *names: str) -> None:
        for name in names:
            old, change = getattr(artist, f"get_{name}")(), getattr(artist, f"set_{name}")
            rows = old if isinstance(old, np.ndarray) and old.ndim == 2 else None
            new = nightly(*to_rgba(old)) if rows is None else [nightly(*row) for row in rows]
            if rows is None or len(rows):
                change(new)
                undo.append(functools.partial(change, old))

    for artist in fig.findobj():
        if isinstance(artist, Text):
            turn(artist, "color")
            if artist.get_bbox_patch() is not None:
                turn(artist.get_bbox_patch(), "facecolor", "edgecolor")
        elif isinstance(artist, Line2D):
            turn(artist, "markerfacecolor", "markeredgecolor", "color")
        elif isinstance(artist, Patch) or (
            isinstance(artist, Collection) and artist.get_array() is None
        ):
            turn(artist, "facecolor", "edgecolor")
    try:
        yield
    finally:
        for change in undo:
            change()


def frame(fig: Figure, dpi: int = 104) -> Image.Image:
    """A figure as a picture, for an animation; the layout stays as it was drawn first.

    The same at night is in its `info`, under "night".
    """
    fig.set_dpi(dpi)
    if isinstance(fig.get_layout_engine(), ConstrainedLayoutEngine):
        tighten(fig)
        fig.draw_without_rendering()
        fig.set_layout_engine("none")
    canvas = FigureCanvasAgg(fig)

    def drawn() -> Image.Image:
        canvas.draw()
        return Image.fromarray(np.array(canvas.buffer_rgba())[:, :, :3])

    image = drawn()
    with at_night(fig):
        image.info["night"] = drawn()
    return image


LETTER = 0.085
"""Inches that a letter beside a sheet takes, at most."""


def pixels(x: np.ndarray, gap: int | None = None) -> np.ndarray:
    """Images (R, N, C, H, W) in [0, 1] -> one picture (H', W', 4) uint8, nothing between them."""
    x, rows = np.asarray(x), len(x)
    if x.shape[2] not in (1, 3):
        x = x.mean(2, keepdims=True)  # no such channels on paper: their mean
    if gap is None:
        gap = max(1, x.shape[-1] // 14)
    x = x.reshape(-1, *x.shape[2:])
    columns = x.shape[0] // rows
    bare = tile(np.zeros_like(x[:, :1]), columns, gap)  # white where no image is
    sheet = np.where(bare == 255, 0, tile(x, columns, gap))
    return np.concatenate([*[sheet] * (3 // sheet.shape[2]), 255 - bare], axis=2)


def sheet(
    axes: Axes,
    x: np.ndarray,
    left: Sequence[str] = (),
    right: Sequence[str] = (),
    top: Sequence[str] = (),
) -> None:
    """Draw images (R, N, C, H, W) as one sheet; names left and right of rows, above columns."""
    picture = pixels(x)
    axes.imshow(picture, interpolation="nearest" if picture.shape[0] < 600 else "auto")
    axes.set_anchor("NW")
    axes.spines[:].set_visible(False)
    (rows, columns), (height, width) = x.shape[:2], picture.shape[:2]
    across = (np.arange(columns) + 0.5) * width / columns - 0.5
    axes.set_xticks(across if top else [], top)
    axes.xaxis.tick_top()
    middles = (np.arange(rows) + 0.5) * height / rows - 0.5
    axes.set_yticks(middles if left else [], [short(name, 24) for name in left])
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    for y, name in zip(middles, right, strict=False):
        axes.text(1.01 * width, y, name, va="center_baseline", fontsize=SMALL, color=INK)


def image_grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    title: str,
    note: str = "",
    right: Sequence[str] = (),
    top: Sequence[str] = (),
    tile: float = 0.6,
) -> Figure:
    """Rows of images, a name beside each: rows of (N, C, H, W) in [0, 1], one label a row.

    right: what stands at the other end of the rows. top: names of the columns. tile: inches that
    an image is wide.
    """
    x = np.stack(rows)
    names = LETTER * (
        max(len(short(name, 24)) for name in labels) + max(map(len, right), default=0)
    )
    high = tile * x.shape[0] * x.shape[-2] / x.shape[-1]
    width = max(tile * x.shape[1] + names + 0.2, LETTER * 1.35 * len(title))
    fig = blank(width, high + (0.75 if note else 0.45), title, note)
    sheet(fig.subplots(), x, labels if any(labels) else (), right, top)
    return fig


def lattice(axes: Axes, x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> None:
    """Draw decoded codes (len(ys), len(xs), C, H, W) edge to edge, some values along the axes.

    The largest of ys is the first row.
    """
    picture = pixels(x, gap=0 if x.shape[2] == 1 else 1)
    axes.imshow(picture, interpolation="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    ends = (xs, picture.shape[1], axes.set_xticks), (ys[::-1], picture.shape[0], axes.set_yticks)
    for values, long, set_ticks in ends:
        at = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
        middles = (at + 0.5) * long / len(values) - 0.5
        set_ticks(middles, [f"{values[i]:.1f}".replace("-0.0", "0.0") for i in at])

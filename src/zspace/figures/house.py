"""The house style: colours, an empty figure, a file.

Colours of classes are Petroff's ten, chosen for people with colour-vision deficiencies
(Petroff. Accessible color sequences for data visualization. 2021, arXiv 2107.02270).
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zspace import files

COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
INK, MUTED = "#22252b", "#6b7280"


def figure(width: float, height: float, title: str) -> Figure:
    """An empty figure, sizes in inches, with the house's title."""
    fig = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    fig.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold", color=INK)
    return fig


def save(fig: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure as PNG, whole or not at all."""
    content = io.BytesIO()
    fig.savefig(content, format="png", dpi=dpi)
    files.write(path, content.getvalue())
    return path


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8)

"""Figures: arrays -> matplotlib figure. Nothing here computes a result; nothing else draws."""

from zspace.figures.basic import curves, overview, scatter
from zspace.figures.catalogue import FIGURES, Drawing, draw, gif, write
from zspace.figures.house import COLOURS, INK, MUTED, figure, save
from zspace.figures.sheets import image_grid

__all__ = [
    "COLOURS",
    "FIGURES",
    "INK",
    "MUTED",
    "Drawing",
    "curves",
    "draw",
    "figure",
    "gif",
    "image_grid",
    "overview",
    "save",
    "scatter",
    "write",
]

"""Figures: arrays -> matplotlib figure. Nothing here computes a result; nothing else draws."""

from zspace.figures.basic import curves, image_grid, scatter
from zspace.figures.house import COLOURS, INK, MUTED, figure, save
from zspace.figures.overview import overview

__all__ = [
    "COLOURS",
    "INK",
    "MUTED",
    "curves",
    "figure",
    "image_grid",
    "overview",
    "save",
    "scatter",
]

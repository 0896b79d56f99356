"""Figures of a study, a file for each subject; importing this registers all of them."""

from zspace.report.figures import (
    charts,
    code_maps,
    decoded,
    densities,
    lines_texts,
    pictures,
    row_tables,
)

__all__ = [
    "charts", "code_maps", "decoded", "densities", "lines_texts", "pictures", "row_tables",
]  # fmt: skip

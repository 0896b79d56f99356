"""Figures of a study, a file for each subject; importing this registers all of them."""

from zspace.report.figures import (
    charts,
    clouds,
    code_maps,
    decoded,
    lines_texts,
    pictures,
    row_tables,
)

__all__ = ["charts", "clouds", "code_maps", "decoded", "lines_texts", "pictures", "row_tables"]

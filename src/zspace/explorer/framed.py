"""The explorer inside a notebook: the page of `zspace export`, in a frame of the cell's output."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from zspace.explorer.export import whole
from zspace.runs.run import Run, load


@dataclass(frozen=True)
class Framed:
    """A page that a notebook shows in a frame. It needs no server and asks for nothing.

    Arguments:
        page: The page as one text.
        height: Of the frame, in pixels; it is as wide as the cell.
    """

    page: str = field(repr=False)
    height: int

    def _repr_html_(self) -> str:
        """The page may run its script and offer downloads, and reaches nothing of the notebook."""
        return (
            '<iframe title="The explorer" sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self.height}px; border: 0" '
            f'srcdoc="{escape(self.page)}"></iframe>'
        )


def explore(*runs: Run | str | Path, height: int = 760) -> Framed:
    """The explorer in a notebook: put it at the end of a cell.

    It is the page that ``zspace export RUN -o page.html`` writes, so the notebook grows by its
    size: 1.4 MB for digits and layers of 256 numbers, 4.5 MB for the default networks. For a page
    that is not kept in the notebook, use ``zspace explore RUN`` in a shell.

    Arguments:
        runs: One run, two that are shown beside each other, or three and more that differ in beta
            alone; runs or their folders.
        height: Of the frame, in pixels.

    Raises UserError where a run's data cannot be read, and for three runs or more that differ in
    anything else.

    >>> zspace.explore(run)  # a map of the codes of its test images
    Framed(height=760)
    """
    return Framed(whole([one if isinstance(one, Run) else load(one) for one in runs]), height)

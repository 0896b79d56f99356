"""What readers are told of how to read: one object that all of them take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from zspace.data.attributes import parse_columns

Size = int | tuple[int, int] | None
Fit = Literal["crop", "pad", "stretch"]
Transparency = Literal["white", "drop", "keep"]
Kind = Literal["auto", "image", "table", "series", "tokens"]
Cut = Literal["auto", "characters", "bytes", "words", "smiles", "integers", "chords"]


@dataclass(frozen=True)
class ReadOptions:
    """How samples are to be read; the choices of `DataOptions` as readers take them.

    Arguments:
        size: (height, width) that they are brought to, or the side of a square; None: as they are.
        channels: 1 or 3; None: grey if all images are grey, else RGB.
        skip_bad: Leave out unreadable files instead of stopping at the first, and empty lines of
            a file of texts.
        memory: Bytes that the images may take in memory; more stay on disk.
        quiet: Show no progress bars.
        crop: Side of the centre that is kept before resizing; None: all.
        values: The range of raw values that becomes [0, 1]; see `zspace.data.kinds.image`.
        leave_out: Names or patterns of arrays, folders and files that are not read.
        labels: What holds the labels, where names do not say it.
        whole: Whether they are new data for a finished run: one set of any size.
        fit: How they are brought to the size; see `decode`.
        transparency: What becomes of it; "keep": a fourth channel.
        columns: Kinds that are set, of columns of tables and of labels: "age=number,y=category".
        missing: Of tables and of labels, further values that mean missing.
        group: Of tables, a column whose groups are not torn apart by the splits.
        class_level: Which level of folders are the classes.
        split_by: Of tables, a column in whose order rows go to train, validation and test.
        weight: What holds the weights of samples, an array or a column.
        attributes: Those of the finished run that new data are for, which labels are read as.
        kind: What samples are, where that was said; "auto": what the source shows.
        window: Of series, steps of a sample; 0: those of an array.
        stride: Steps from one window to the next; 0: an eighth of a window.
        tokens: How texts are cut; see `zspace.data.kinds.tokens`.
        vocabulary: The most tokens that are told apart.
        length: The most tokens of a sample, its end included; 0: as many as there are.
    """

    size: Size = None
    channels: int | None = None
    skip_bad: bool = False
    memory: float = 4e9
    quiet: bool = False
    crop: int | None = None
    values: tuple[Any, ...] = ()
    leave_out: tuple[str, ...] = ()
    labels: str = ""
    whole: bool = False
    fit: Fit = "crop"
    transparency: Transparency = "white"
    columns: str = ""
    missing: tuple[str, ...] = ()
    group: str = ""
    class_level: int = 1
    split_by: str = ""
    weight: str = ""
    attributes: tuple[str, ...] = ()
    kind: Kind = "auto"
    window: int = 0
    stride: int = 0
    tokens: Cut = "auto"
    vocabulary: int = 10_000
    length: int = 0

    @property
    def of_labels(self) -> dict[str, Any]:
        """How labels are read, as `zspace.data.labels.read_labels` takes it."""
        kinds = parse_columns(self.columns)
        return {"kinds": kinds, "missing": self.missing, "known": self.attributes}

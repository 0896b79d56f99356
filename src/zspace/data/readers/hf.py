"""Image data sets of the Hugging Face hub, or in its format, through the library ``datasets``.

    hf:beans    hf:user/name    hf:user/name:config    hf:path/to/folder/of/parquet/files

The column of images is x, the column of class labels is y; of several, `--labels NAME` and
`--leave-out NAME` say which. Splits are called as in `zspace.data.splits`; a split that is missing
is cut from train, and one of another name is refused. A set with one split only is train, whatever
it is called.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from zspace.data.account import Read
from zspace.data.dataset import Unsplit
from zspace.data.read_options import ReadOptions
from zspace.data.readers.folder import gather
from zspace.data.readers.images import Files, opened
from zspace.data.splits import left_out, split_of
from zspace.system.errors import UserError

PREFIX = "hf:"


@dataclass(frozen=True)
class Encoded:
    """An image in a row of a table; see `zspace.data.readers.images.Blob`.

    Arguments:
        name: Of the split, for messages: "train[12]" is its row 12.
        row: From 0.
        size: Bytes of the encoded image.
        column: The column of the table (pyarrow), whose values hold the bytes or a path to them.
    """

    name: str
    row: int
    size: int
    column: Any = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}[{self.row}]"

    def read(self) -> bytes:
        """The encoded image. Raises ValueError for a row that has none."""
        value = self.column[self.row].as_py()
        if value is None:
            raise ValueError("this row has none")
        if value["bytes"]:
            return value["bytes"]
        with opened(Path(value["path"])) as file:
            return file.read()


def lasting(given: str) -> str:
    """The name, or for a folder its absolute path, so that it means the same from any folder.

    >>> lasting("hf:beans")
    'hf:beans'
    """
    path = Path(given.removeprefix(PREFIX)).expanduser()
    return f"{PREFIX}{path.resolve()}" if path.exists() else given


def load_hub(given: str, options: ReadOptions) -> Unsplit:
    """The images of a data set, by its name on the hub or its folder.

    Arguments:
        given: hf:NAME, hf:NAME:CONFIG or hf:FOLDER.
        options: How the images are read.

    Raises UserError where the library is not installed, where the set cannot be loaded, and where
    it has no column of images or no split to train on.
    """
    name = given.removeprefix(PREFIX)
    gone: list[str] = []
    tables = _tables(given, options, gone)
    features = tables["train"].features
    images = _column(features, "Image", given, options)
    labels = options.labels or _column(features, "ClassLabel", given, options)
    if images is None:
        raise UserError(f"'{given}' has no images but {', '.join(features)}; give another set")
    if labels and type(features.get(labels)).__name__ != "ClassLabel":
        raise UserError(
            f"'{given}' has no column of class labels '{labels}': {', '.join(features)}"
        )
    for column in features:
        if left_out(column, options.leave_out):
            gone.append(f"{column} (as asked)")
        elif column not in (images, labels):
            gone.append(f"column {column}")
    classes = tuple(features[labels].names) if labels else ()
    splits: dict[str, Files] = {}
    for split, table in tables.items():
        files = _files(split, table, images, labels)
        if files is None and split == "train":
            raise UserError(f"no training image of '{given}' has a '{labels}'; leave it out")
        if files is None:
            gone.append(f"{split} (its labels are withheld)")
        else:
            splits[split] = files
    if (more := splits.pop("unlabelled", None)) is not None:
        splits["train"] = splits["train"].with_unlabelled(more)
    # Absolute, so that the cache of decoded images is the same from any folder.
    return gather(
        Path("/", lasting(given)),
        splits,
        options,
        name=Path(name.partition(":")[0]).name,
        read=Read(labels=f"column {labels}" if labels else "", left_out=tuple(gone)),
        about=f"The data set {name} in the format of the Hugging Face hub.",
        classes=classes,
    )


def _tables(given: str, options: ReadOptions, gone: list[str]) -> dict[str, Any]:
    """The tables of "train" and, where there are some, of the other splits."""
    try:
        datasets: Any = import_module("datasets")  # an extra, slow to import and without types
    except ImportError:
        raise UserError(f"'{given}' needs datasets: pip install \"zspace[hf]\"") from None
    if options.quiet or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    name = given.removeprefix(PREFIX)
    path = Path(name).expanduser()
    source, config = (str(path), "") if path.exists() else name.partition(":")[::2]
    try:
        found = datasets.load_dataset(source, config or None)
    except Exception as error:  # the hub, the network and the formats raise almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"data set '{given}' cannot be loaded: {why:.300}; give hf:NAME, "
            "hf:NAME:CONFIG or hf:FOLDER"
        ) from error
    if len(found) == 1:
        return {"train": next(iter(found.values()))}
    gone += [f"{split} (as asked)" for split in found if left_out(split, options.leave_out)]
    known = {s: split_of(s) for s in found if not left_out(s, options.leave_out)}
    tables = {part: found[split] for split, part in known.items() if part}
    if "train" not in tables:
        raise UserError(f"'{given}' has no split train but {', '.join(found)}; give another set")
    for split, part in known.items():
        if part is None or tables[part] is not found[split]:
            raise UserError(
                f"'{given}' has the splits {', '.join(found)}, and nothing says what '{split}' is "
                f"for: leave it out with --leave-out {split}"
            )
    return tables


def _column(features: Any, kind: str, given: str, options: ReadOptions) -> str | None:
    """The name of the column of a kind; None where there is none."""
    there = [name for name, f in features.items() if type(f).__name__ == kind]
    there = [name for name in there if not left_out(name, options.leave_out)]
    if len(there) > 1:
        what = "images" if kind == "Image" else "labels"
        choice = f"--labels {there[0]}, or " if kind == "ClassLabel" else ""
        raise UserError(
            f"'{given}' has several columns of {what} ({', '.join(there)}): choose with "
            f"{choice}--leave-out {' '.join(there[1:])}"
        )
    return there[0] if there else None


def _files(split: str, table: Any, images: str, labels: str | None) -> Files | None:
    """The images of a split; None for validation or test without their labels, as in contests."""
    compute: Any = import_module("pyarrow.compute")
    column = table.data.column(images)
    sizes = compute.binary_length(compute.struct_field(column, "bytes")).to_pylist()
    encoded = tuple(Encoded(split, row, size or 0, column) for row, size in enumerate(sizes))
    if labels is None:
        return Files(encoded)
    y = table.data.column(labels).to_pylist()
    there = [label is not None and label >= 0 for label in y]
    if not any(there) and split != "unlabelled":
        return None
    names = table.features[labels].names
    told = (names[label] if t else "" for label, t in zip(y, there, strict=True))
    return Files(encoded, tuple(told))

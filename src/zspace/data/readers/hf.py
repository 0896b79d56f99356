"""Image data sets of the Hugging Face hub, or in its format, through the library ``datasets``.

    hf:beans    hf:user/name    hf:user/name:config    hf:path/to/folder/of/parquet/files

The first column of images is x, the first column of class labels is y. Splits called train,
validation (val, valid) and test are used; a split that is missing is cut from train. A set with
one split only is train, whatever it is called.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from zspace.data.dataset import Data
from zspace.data.readers.folder import SPLIT_NAMES, gather
from zspace.data.readers.images import Files, ReadOptions, opened
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


def load_hub(given: str, options: ReadOptions) -> Data:
    """The images of a data set, by its name on the hub or its folder.

    Arguments:
        given: hf:NAME, hf:NAME:CONFIG or hf:FOLDER.
        options: How the images are read.

    Raises UserError where the library is not installed, where the set cannot be loaded, and where
    it has no column of images or no split to train on.
    """
    name = given.removeprefix(PREFIX)
    tables = _tables(given, options.quiet)
    features = tables["train"].features
    images, labels = _column(features, "Image"), _column(features, "ClassLabel")
    if images is None:
        raise UserError(f"'{given}' has no images but {', '.join(features)}; give another set")
    classes = tuple(features[labels].names) if labels else ()
    splits = {
        split: files
        for split, table in tables.items()
        if (files := _files(split, table, images, labels)) is not None
    }
    # Absolute, so that the cache of decoded images is the same from any folder.
    return gather(
        Path("/", lasting(given)),
        splits,
        options,
        name=Path(name.partition(":")[0]).name,
        classes=classes,
        provenance=f"The data set {name} in the format of the Hugging Face hub.",
    )


def _tables(given: str, quiet: bool) -> dict[str, Any]:
    """The tables of "train" and, where there are some, of "validation" and "test"."""
    try:
        datasets: Any = import_module("datasets")  # an extra, slow to import and without types
    except ImportError:
        raise UserError(f"'{given}' needs datasets: pip install \"zspace[hf]\"") from None
    if quiet or not sys.stderr.isatty():
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
    known = {split: SPLIT_NAMES.get(split.lower()) for split in found}
    tables = {name: found[split] for split, name in known.items() if name}
    if "train" not in tables:
        raise UserError(f"'{given}' has no split train but {', '.join(found)}; give another set")
    return tables


def _column(features: Any, kind: str) -> str | None:
    """The name of the first column of a kind."""
    return next((name for name, f in features.items() if type(f).__name__ == kind), None)


def _files(split: str, table: Any, images: str, labels: str | None) -> Files | None:
    """The images of a split; None for validation or test without their labels, as in contests."""
    compute: Any = import_module("pyarrow.compute")
    column = table.data.column(images)
    sizes = compute.binary_length(compute.struct_field(column, "bytes")).to_pylist()
    encoded = tuple(Encoded(split, row, size or 0, column) for row, size in enumerate(sizes))
    if labels is None:
        return Files(encoded)
    y = table.data.column(labels).to_pylist()
    if any(label is None or label < 0 for label in y):
        if split == "train":
            raise UserError(f"some training images have no '{labels}'; give another set")
        return None
    return Files(encoded, tuple(table.features[labels].names[label] for label in y))

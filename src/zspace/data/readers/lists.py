"""Lists of labels: a CSV file, or an array, that says the label of each image.

    filename,label[,split]
    cats/1.png,cat,train
    2.png,dog,test

The column of files is the one whose values name the images: by their path within the folder, by
their name, or by their name without suffix. The column of labels is called so, or is the only
other one; ``--labels FILE.csv:COLUMN`` says which of several. A column ``split`` is honoured.
Images that the list does not name have no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zspace.data.readers.images import Files
from zspace.data.splits import role, split_of
from zspace.system.errors import UserError

ENDS = (".csv", ".tsv")
MOST_BYTES = 1 << 28


class Listed(NamedTuple):
    """What a list says of some files.

    Arguments:
        labels: Of each file; None for one that the list does not name.
        splits: Of each file; "" where there is none.
        column: The column of labels.
        strange: Names in the list that no file has.
    """

    labels: list[Any]
    splits: list[str]
    column: str
    strange: list[str]


def split_option(labels: str) -> tuple[str, str] | None:
    """``--labels`` as a file and a column; None where it names no list.

    >>> split_option("y.csv:age"), split_option("latents")
    (('y.csv', 'age'), None)
    """
    head, _, column = labels.rpartition(":")
    if column and head.lower().endswith(ENDS):
        return head, column
    return (labels, "") if labels.lower().endswith((*ENDS, ".npy")) else None


def found_at(file: str, near: Path) -> Path:
    """The file of a list, given as a path or by its name within the data."""
    path = Path(file).expanduser()
    return path if path.is_file() or not (near / file).is_file() else near / file


def read_table(path: Path) -> Any:
    """A CSV or TSV file as a DataFrame of text. Raises UserError where it cannot be read."""
    import pandas  # slow to import

    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has over {MOST_BYTES:,} bytes")
        sep = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pandas.read_csv(path, sep=sep, dtype=str, skipinitialspace=True)
    except Exception as error:  # pandas raises almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the list of labels '{path}' cannot be read: {why:.200}") from error
    table.columns = [str(name).strip() for name in table.columns]
    return table


def of_files(path: Path, column: str, files: Sequence[str]) -> Listed:
    """What a list says of files, given as paths within their folder.

    Raises UserError where no column names the files, and where several may hold the labels.
    """
    table = read_table(path)
    ways: list[dict[str, int]] = [{}, {}, {}]
    twice: set[tuple[int, str]] = set()
    for i, file in enumerate(files):
        for k, key in enumerate((file, Path(file).name, Path(file).stem)):
            if ways[k].setdefault(key, i) != i:
                twice.add((k, key))
    for k, key in twice:
        del ways[k][key]
    best, names, way = max(
        ((_hits(table[name], way), str(name), way) for name in table for way in ways),
        key=lambda found: found[0],
        default=(0, "", {}),
    )
    if not best:
        raise UserError(
            f"no column of '{path}' names the images ('{files[0]}'): give a column with their "
            f"file names beside {', '.join(map(repr, table))}"
        )
    told = _label_column(table, names, column, path)
    values = {
        str(name).strip(): row
        for name, row in zip(table[names], table.to_dict("records"), strict=True)
    }
    of = {i: values.get(key) for key, i in way.items() if key in values}
    rows: list[dict[str, Any]] = [of.get(i) or {} for i in range(len(files))]
    labels = [row.get(told) for row in rows]
    split = next((c for c in table if c.lower() == "split"), "")
    splits = [str(row.get(split) or "") for row in rows]
    strange = [name for name in values if name not in way]
    return Listed(labels, [_split(name, path) for name in splits], told, strange)


def _hits(column: Any, way: dict[str, int]) -> int:
    return sum(str(value).strip() in way for value in column)


def _split(name: str, path: Path) -> str:
    if not name or name == "nan":
        return ""
    found = split_of(name.strip())
    if found is None:
        raise UserError(
            f"'{path}' has the split '{name:.60}', which is unknown: call splits train, val, test "
            "or unlabeled"
        )
    return found


def _label_column(table: Any, names: str, column: str, path: Path) -> str:
    others = [str(c) for c in table if str(c) != names and str(c).lower() != "split"]
    if column:
        if column not in others:
            raise UserError(f"'{path}' has no column '{column}' but {', '.join(others)}")
        return column
    called = [c for c in others if (found := role(c)) is not None and found.what == "y"]
    called += [c for c in others if c.lower() in ("class", "category")]
    if len(called) == 1 or len(others) == 1:
        return (called or others)[0]
    raise UserError(
        f"'{path}' has the columns {', '.join(others) or '(none)'}: say which holds the labels "
        f"with --labels {path.name}:COLUMN"
    )


def in_order(path: Path, column: str) -> np.ndarray:
    """Labels in the order of the samples: an .npy file, or a column of a CSV file."""
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"labels '{path}' cannot be read: {error}") from error
    table = read_table(path)
    return table[_label_column(table, "", column, path)].to_numpy(object)


def labelled(files: Files, listed: Listed) -> Files:
    """The files with the classes of a list."""
    names = ["" if label is None or label != label else str(label) for label in listed.labels]
    return Files(files.paths, tuple(name.strip() for name in names))

"""Lists of labels: a CSV file, or an array, that says the label of each image.

    filename,label[,split]
    cats/1.png,cat,train
    2.png,dog,test

The column of files is the one whose values name the images: by their path within the folder, by
their name, or by their name without suffix. The column of labels is called so, or is the only
other one; ``--labels FILE.csv:COLUMN`` says which of several, and ``FILE.csv:AGE,SEX`` takes two.
A column ``split`` is honoured. Images that the list does not name have no label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from zspace.data.attributes import is_none
from zspace.data.labels import MISSING, label_columns, read_labels
from zspace.data.read_options import ReadOptions
from zspace.data.readers.images import Files
from zspace.data.splits import role, split_of
from zspace.system.errors import UserError

ENDS = (".csv", ".tsv")
MOST_BYTES = 1 << 28


class Listed(NamedTuple):
    """What a list says of some files.

    Arguments:
        labels: Column -> of each file (N,), numbers or texts; None where the list has none.
        splits: Of each file; "" where there is none.
        column: The columns of labels.
        strange: Names in the list that no file has.
    """

    labels: dict[str, np.ndarray]
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
    told = _label_columns(table, names, column, path)
    values = {
        str(name).strip(): row
        for name, row in zip(table[names], table.to_dict("records"), strict=True)
    }
    of = {i: values.get(key) for key, i in way.items() if key in values}
    rows: list[dict[str, Any]] = [of.get(i) or {} for i in range(len(files))]
    labels = {name: typed([row.get(name) for row in rows], len(told) > 1) for name in told}
    split = next((c for c in table if c.lower() == "split"), "")
    splits = [str(row.get(split) or "") for row in rows]
    strange = [name for name in values if name not in way]
    return Listed(labels, [_split(name, path) for name in splits], ", ".join(told), strange)


def typed(texts: Sequence[Any], several: bool = False) -> np.ndarray:
    """A column of texts (N,) as numbers where all are, and a fraction is among them.

    Arguments:
        texts: None or NaN where there is none.
        several: Whether it is one of several columns, where whole numbers are numbers, too.

    >>> typed(["3.5", None, "2"]).tolist(), typed(["3", "007"]).tolist()
    ([3.5, nan, 2.0], ['3', '007'])
    """
    plain = ["" if is_none(text) else str(text).strip() for text in texts]
    number = re.compile(r"[-+]?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?")
    known = [text for text in plain if text]
    are = bool(known) and all(number.fullmatch(text) and text[-1:].isdigit() for text in known)
    if are and (several or any(not float(text).is_integer() for text in known)):
        return np.array([float(text) if text else np.nan for text in plain])
    return np.array([text or None for text in plain], object)


def _hits(column: Any, way: dict[str, int]) -> int:
    return len({str(value).strip() for value in column} & way.keys())  # each image once


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


def _label_columns(table: Any, names: str, column: str, path: Path) -> list[str]:
    others = [str(c) for c in table if str(c) != names and str(c).lower() != "split"]
    if column:
        if not (found := label_columns(column, others)):
            raise UserError(f"'{path}' has no column '{column}' but {', '.join(others)}")
        return found
    called = [c for c in others if (says := role(c)) is not None and says.what == "y"]
    called += [c for c in others if c.lower() in ("class", "category")]
    if len(called) == 1 or len(others) == 1:
        return (called or others)[:1]
    raise UserError(
        f"'{path}' has the columns {', '.join(others) or '(none)'}: say which holds the labels "
        f"with --labels {path.name}:COLUMN, or several with commas between"
    )


def in_order(path: Path, column: str) -> np.ndarray | dict[str, np.ndarray]:
    """Labels in the order of the samples: an .npy file, or columns of a CSV file."""
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"labels '{path}' cannot be read: {error}") from error
    table = read_table(path)
    told = _label_columns(table, "", column, path)
    return {name: typed(table[name].tolist(), len(told) > 1) for name in told}


def labelled(
    files: Files, listed: Listed, path: Path, options: ReadOptions
) -> tuple[Files, tuple[str, ...]]:
    """The files with the classes or attributes of a list, and the names of the attributes."""
    title = f"'{path.name}'"
    n, given = len(files.paths), {"alone": not options.whole, **options.of_labels}
    told = read_labels(listed.labels, n, listed.column, title, **given)
    if told.attributes is not None:
        return Files(files.paths, None, told.attributes.numpy()), told.names
    y = torch.full((len(files.paths),), MISSING) if told.y is None else told.y
    return Files(files.paths, tuple((*told.classes, "")[i] for i in y.tolist())), ()

"""Files of samples that become tokens. What is hostile is refused before memory goes.

.txt    a text on each line, in UTF-8; empty lines at the end are none, others are samples unless
        `skip_bad` leaves them out
.smi    a molecule on each line, and its name after a blank, if it has one
.json   a list of texts, of lists of integers, or of lists of lists of integers; or
        {"train": [...], "valid": [...], "test": [...]} of such lists
a folder with train.txt, and valid.txt and test.txt if there are such
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.dataset import Unsplit
from zspace.data.read_options import ReadOptions
from zspace.data.readers import lists
from zspace.data.readers.images import SUFFIXES
from zspace.data.readers.tabular import from_tables
from zspace.data.splits import left_out, role, split_of
from zspace.system.errors import UserError

ENDS = (".txt", ".smi", ".json")
MOST_LINE = 1 << 20
"""Bytes of one text."""
ROOM, ROOM_LINE = {".txt": 12, ".smi": 12, ".json": 48}, 100
"""Bytes of memory that one of a file takes, and each line beside that."""
_BOMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def splits_in(folder: Path, options: ReadOptions) -> dict[str, Path]:
    """The files of the splits in a folder of texts; none where it is a folder of something else.

    Raises UserError for two files of one split.
    """
    if options.kind not in ("auto", "tokens"):
        return {}
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    entries = [path for path in entries if not left_out(path.name, options.leave_out)]
    found: dict[str, Path] = {}
    for path in entries:
        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            return {}
        split = split_of(path.stem) if path.suffix.lower() in ENDS else None
        if split in found:
            raise UserError(
                f"'{folder}' has two files of its {split} split, {found[split].name} and "
                f"{path.name}: leave one out with --leave-out {path.name}"
            )
        if split:
            found[split] = path
    return found if "train" in found or options.whole else {}


def load_texts(path: Path, options: ReadOptions) -> Unsplit:
    """The samples of a file, or of the files of a folder. Raises UserError where it cannot."""
    if options.group or options.split_by or options.weight * (not options.whole):
        asked = "--group" if options.group else "--split-by" if options.split_by else "--weight"
        raise UserError(f"{asked} names a column, but '{path.name}' has none: leave it out")
    files = splits_in(path, options) if path.is_dir() else {"": path}
    arrays: dict[str, Any] = {}
    ids: dict[str, list[str]] = {}
    notes: list[str] = []
    kept: list[bool] = []
    for split, file in files.items():
        content = _read(file, options, notes, kept)
        if isinstance(content, Mapping):
            if len(files) > 1:
                raise UserError(f"'{file.name}' holds splits itself: give it alone")
            arrays = {str(name): value for name, value in content.items()}
            _check_names(arrays, file, options)
        else:
            samples, names = content
            called = "smiles" if file.suffix.lower() == ".smi" else "x"
            arrays[f"{called}_{split}" if split else called] = samples
            if names:
                ids[split or "train"] = names
    if options.labels and (given := lists.split_option(options.labels)):
        listed = lists.found_at(given[0], path if path.is_dir() else path.parent)
        arrays["y"] = _of_kept(lists.in_order(listed, given[1]), kept)
    elif options.labels and not options.whole and options.labels not in arrays:
        raise UserError(
            f"--labels {options.labels:.60} is no file: give a .csv or .npy of labels, one for "
            f"each line of '{path.name}', or a table with a column of texts and --kind tokens"
        )
    taken = {name: one for name, one in arrays.items() if not left_out(name, options.leave_out)}
    kind = "folder" if path.is_dir() else "file"
    about = f"The {kind} {path.name}."
    name = path.name if path.is_dir() else path.stem
    of_tokens = replace(options, kind="tokens")
    found = from_tables(name, taken, of_tokens, f"'{path.name}'", about)
    parts = {
        split: replace(part, ids=ids.get(split, part.ids), origin=_origin(split, files, arrays))
        for split, part in found.parts.items()
    }
    gone = [f"{name} (as asked)" for name in arrays if name not in taken]
    if path.is_dir():
        gone += _others(path, files, options)
    told = (*found.read.notes, *notes)
    read = replace(found.read, left_out=(*found.read.left_out, *gone), notes=told)
    return replace(found, parts=parts, read=read)


def _of_kept(labels: Any, kept: Sequence[bool]) -> Any:
    """The labels of the lines that were kept, where there is one for each line of the files."""
    if isinstance(labels, dict):
        return {name: _of_kept(one, kept) for name, one in labels.items()}
    return labels[np.array(kept, bool)] if labels.shape[:1] == (len(kept),) else labels


def _others(folder: Path, files: Mapping[str, Path], options: ReadOptions) -> list[str]:
    """What else is in a folder, with the reason why it is not read."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    names = [name for name in names if name not in {file.name for file in files.values()}]
    asked = [name for name in names if left_out(name, options.leave_out)]
    return [
        *(f"{name} (as asked)" for name in asked),
        *(f"{n} (no split)" for n in names if n not in asked),
    ]


def _origin(split: str, files: Mapping[str, Path], arrays: Mapping[str, Any]) -> str:
    """Where the samples of a split are from."""
    if split in files:
        return files[split].name
    if "" in files and len(arrays) == 1:
        return files[""].name
    return next((n for n in arrays if (r := role(n)) and r.what == "x" and r.split == split), "")


def _read(
    path: Path, options: ReadOptions, notes: list[str], kept: list[bool]
) -> tuple[list[Any], list[str]] | dict[str, Any]:
    """The samples of a file and their names, if it gives any; or, of JSON, samples by split.
    What there is to say of them is added to the notes, and which lines are kept.
    """
    suffix, size = path.suffix.lower(), path.stat().st_size
    too_large = UserError(
        f"'{path.name}' has {size / 1e9:.2g} GB, which do not fit the memory as samples: give "
        "fewer of them"
    )
    if size * ROOM[suffix] > options.memory:
        raise too_large
    text = _text_of(path)
    if size * ROOM[suffix] + text.count("\n") * ROOM_LINE > options.memory:
        raise too_large
    if suffix == ".json":
        return _of_json(path, text)
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if not text.strip():
        raise UserError(f"'{path.name}' is empty: give a text on each line")
    if (longest := max(map(len, lines))) > MOST_LINE:
        at = next(i for i, line in enumerate(lines, 1) if len(line) == longest)
        raise UserError(
            f"line {at:,} of '{path.name}' has {longest:,} characters: give at most "
            f"{MOST_LINE:,}, one sample on each line"
        )
    kept += [not options.skip_bad or bool(line.strip()) for line in lines]
    if blank := sum(not line.strip() for line in lines):
        told = f"{blank:,} empty line{'s' * (blank > 1)} of {path.name}"
        if options.skip_bad:
            lines = [line for line in lines if line.strip()]
            notes.append(f"without {told}")
        else:
            notes.append(f"{told} read as samples, which --skip-bad leaves out")
    if suffix != ".smi":
        return lines, []
    fields = [line.split(None, 1) for line in lines]
    names = [field[1].strip() for field in fields if len(field) > 1]
    return [field[0] if field else "" for field in fields], names * (len(names) == len(lines))


def _text_of(path: Path) -> str:
    """The content of a file in UTF-8. Raises UserError where it is none."""
    content = path.read_bytes()
    for bom, name in _BOMS.items():
        if content.startswith(bom):
            raise UserError(f"'{path.name}' is {name}: save it in UTF-8")
    if (at := content.find(0)) >= 0:
        line = content[:at].count(b"\n") + 1
        raise UserError(
            f"'{path.name}' holds NUL bytes near line {line:,}, so it is no text: save it in UTF-8"
        )
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"'{path.name}' is not UTF-8 (line {line:,}): save it in UTF-8") from None


def _of_json(path: Path, text: str) -> tuple[list[Any], list[str]] | dict[str, Any]:
    remedy = "give a list of texts, of lists of integers, or of lists of lists of integers"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"'{path.name}' cannot be read as JSON ({why:.100}): {remedy}") from None
    if isinstance(found, list):
        return found, []
    if isinstance(found, dict) and found:
        return found
    raise UserError(
        f"'{path.name}' holds {type(found).__name__} {found!r:.40}: {remedy}, or one such list "
        "for each of train, valid and test"
    )


def _check_names(arrays: Mapping[str, Any], path: Path, options: ReadOptions) -> None:
    """Raise UserError for a name that is no split, nor labels, and for what is no list."""
    for name, value in arrays.items():
        known = role(name) is not None or name in (options.labels, options.weight)
        if left_out(name, options.leave_out):
            continue
        if not known or not isinstance(value, list):
            what = "which is no list" if known else "and nothing says what that is"
            raise UserError(
                f"'{path.name}' holds {name!a:.60}, {what}: give lists called train, valid and "
                "test, or leave it out with --leave-out"
            )

"""What a run folder says of itself, read and verified.

run.json            job, data, environment, status, results; carries its own SHA-256
state/run.json      a copy, made when the training begins, in case run.json is damaged
model.safetensors   the best weights; carries its own SHA-256
metrics.jsonl       one line an epoch; its SHA-256 is in the run.json of a finished run
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from zspace.data.spec import Spec
from zspace.system import files
from zspace.system.errors import UserError

FORMAT = 1

RECORD, COPY, WEIGHTS, METRICS = "run.json", "state/run.json", "model.safetensors", "metrics.jsonl"
KEYS = {"config": dict, "data": dict, "status": str, "files": dict}


def read_record(path: Path) -> dict[str, Any]:
    """The content of a folder's run.json.

    Raises UserError where the folder is none, holds no run, or a run of a newer format, and where
    run.json is damaged or was changed by hand.
    """
    copied = _refuse_no_run(path)
    try:
        record = _whole(path / RECORD)
    except UserError as error:
        way = f"'zspace resume {path}' goes on from a copy" if copied else "train anew"
        raise UserError(f"{error}: put it back as it was, or {way}") from None
    return _understood(path, record)


def read_either(path: Path) -> dict[str, Any]:
    """Like `read_record`; where run.json is damaged, the copy that an unfinished training has.

    Warns where it is the copy. It names no weights and no results: it was made at the beginning.
    """
    if not _refuse_no_run(path):
        return read_record(path)
    try:
        record = _whole(path / RECORD)
    except UserError as error:
        try:
            record = _whole(path / COPY)
        except UserError as again:
            raise UserError(f"{error}; {again}: train anew") from None
        warnings.warn(f"{error}; going on from the copy in {path / COPY}", stacklevel=2)
    return _understood(path, record)


def _refuse_no_run(path: Path) -> bool:
    """Whether there is a copy of run.json. Raises UserError where there is neither."""
    if not path.is_dir():
        raise UserError(
            f"run folder '{path}' does not exist: give a folder that zspace train made"
        )
    copied = (path / COPY).is_file()
    if not copied and not (path / RECORD).is_file():
        raise UserError(f"'{path}' is not a run: it holds no run.json (zspace train makes one)")
    return copied


def _whole(file: Path) -> dict[str, Any]:
    """The record in a file. Raises UserError where the file is not what was written."""
    content = files.read(file)
    return files.unsealed(file, content, files.parsed(file, content))


def _understood(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(record.get("format"), int):
        raise UserError(f"'{path}' is not a run: its run.json names no format")
    if record["format"] > FORMAT:
        raise UserError(
            f"run '{path}' was made by zspace {record.get('zspace')} (format {record['format']}), "
            f"newer than this one (format {FORMAT}): upgrade zspace"
        )
    missing = [name for name, kind in KEYS.items() if not isinstance(record.get(name), kind)]
    if missing:
        raise UserError(f"'{path}' is not a run: its run.json has no {', '.join(missing)}")
    return record


def read_spec(path: Path, record: dict[str, Any]) -> Spec:
    """What the model was told of its data. Raises UserError where the record does not say it."""
    facts = record["data"]
    try:
        shape = tuple(int(size) for size in facts["shape"])
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(shape)
        return Spec(shape, tuple(facts["classes"]), tuple(facts.get("attributes", ())))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(
            f"'{path}' is not a run: its run.json has no shape or classes of the data"
        ) from None


def read_weights(path: Path, record: dict[str, Any]) -> dict[str, Tensor]:
    """The best weights of a run.

    Those of a finished run must be the ones that its record names. While a training goes on they
    may be newer than the record, which is written after them: then their own SHA-256 counts.
    Raises UserError where there are none yet, and where they are damaged.
    """
    file, finished = path / WEIGHTS, record["status"] == "finished"
    if not finished and not file.exists() and not record["files"].get(WEIGHTS):
        raise UserError(
            f"run '{path}' has no finished epoch yet: continue it with 'zspace resume {path}'"
        )
    try:
        if finished:
            return files.read_tensors(file, record["files"].get(WEIGHTS, ""))[0]
        return files.read_sealed_tensors(file)[0]
    except UserError as error:
        again = f"'zspace repeat {path} --out DIR' trains it again"
        raise UserError(f"{error}: {again}") from None


def read_metrics(path: Path, sha256: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line that a crash tore is left out.

    Warns of other lines that are no epochs, which are left out, too, and where the content is not
    that of the SHA-256.
    """
    content = path.read_bytes() if path.is_file() else b""
    metrics = []
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        warnings.warn(
            f"{path} is damaged, or was changed by hand: its curves may be wrong", stacklevel=2
        )
    *lines, last = content.split(b"\n")
    for number, line in enumerate([*lines, *([last] if last else [])], 1):
        try:
            epoch = json.loads(line)
            if not all(isinstance(epoch[name], dict) for name in ("train", "validation")):
                raise TypeError
            metrics.append(epoch)
        except (ValueError, KeyError, TypeError, RecursionError):
            if number <= len(lines):
                warnings.warn(f"line {number} of {path} is damaged and left out", stacklevel=2)
    return metrics

"""What a run folder says of itself, read and verified.

run.json            config, data, environment, status, results; carries its own SHA-256
state/run.json      a copy, made when the training begins, in case run.json is damaged
model.safetensors   the best weights; carries its own SHA-256
metrics.jsonl       one line per epoch; its SHA-256 is in the run.json of a finished run
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zspace.data.kinds import encoding_from
from zspace.data.kinds.encoding import Encoding
from zspace.data.options import is_harmless
from zspace.data.spec import Scale, Spec
from zspace.runs.formats import Line, Record, StudyRecord, refuse_unfit
from zspace.system import files, owner
from zspace.system.errors import UserError
from zspace.system.schema import Unfit, check

FORMAT = 1

RECORD, COPY, WEIGHTS, METRICS = "run.json", "state/run.json", "model.safetensors", "metrics.jsonl"
ENCODING = ("encoding.json", "encoding.safetensors")
FITTED = "fitted"
SNAPSHOTS, EVALUATION = "snapshots.npz", "evaluation.json"
SAMPLES, STUDY = "samples.*", "study.json"
CONFIG, CARD, PICTURE = "config.toml", "README.md", "card.png"
PARTS = (
    RECORD, METRICS, WEIGHTS, SNAPSHOTS, EVALUATION, CONFIG, CARD, PICTURE, "encoding.*",
    "fitted/*",
)  # fmt: skip
"""Patterns of the files that make up a run. Its states and what is drawn of it are none."""
HOLDING = (RECORD, METRICS, SNAPSHOTS, CONFIG, *ENCODING)
"""Those of them that hold for other weights, too."""
CHANGED = (
    "the weights were changed after the training that these results are of: run zspace evaluate"
)
MOST_NAMED = 8
"""Runs of a study that an error names."""


class Place:
    """Where the files of a run are: in a folder, or nowhere but in memory.

    Arguments:
        folder: It, or None for memory.
        content: Of each file by name, in memory.
    """

    def __init__(self, folder: Path | None = None, content: Mapping[str, bytes] | None = None):
        self.folder, self._content = folder, dict(content or {})

    def __str__(self) -> str:
        return str(self.folder) if self.folder else "memory"

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_file() if self.folder else name in self._content

    def named(self, name: str) -> Path:
        """A file as messages name it."""
        return self.folder / name if self.folder else Path(name)

    def read(self, name: str, first: int | None = None) -> bytes:
        """The content of a file, or its first bytes. Raises UserError where it cannot be read."""
        if self.folder:
            most = files.room() if name.endswith((".safetensors", ".npz")) else files.MOST
            return files.read(self.folder / name, most, within=self.folder, first=first)
        if name not in self._content:
            raise UserError(f"{name} is missing")
        return self._content[name][:first]

    def size(self, name: str) -> int:
        """The length of a file in bytes. Raises UserError where it cannot be read."""
        if self.folder:
            return files.size(self.folder / name, within=self.folder)
        return len(self.read(name))

    def write(self, name: str, *parts: bytes | memoryview) -> str:
        """Put the parts of a file there, whole or not at all; returns its SHA-256."""
        if self.folder:
            return files.write(self.folder / name, *parts)
        self._content[name] = content = b"".join(parts)
        return hashlib.sha256(content).hexdigest()

    def parts(self) -> dict[str, bytes]:
        """The files that make up the run, run.json last: it names the others.

        Raises UserError where one cannot be read.
        """
        if not self.folder:
            names = {name for name in self._content if is_part(name)}
        else:
            found = {path for pattern in PARTS for path in self.folder.glob(pattern)}
            names = {path.relative_to(self.folder).as_posix() for path in found if path.is_file()}
        return {name: self.read(name) for name in [*sorted(names - {RECORD}), RECORD]}


def is_part(name: str) -> bool:
    """Whether a file of that name, relative to the folder of a run, is a part of the run."""
    folder, _, leaf = name.rpartition("/")
    plain = re.fullmatch(r"\w[\w.-]*", leaf, re.ASCII) and folder in ("", "fitted")
    return bool(plain) and any(fnmatch.fnmatchcase(name, pattern) for pattern in PARTS)


def with_weights(
    parts: Mapping[str, bytes], record: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, bytes]:
    """The files of a run with other weights; what was measured or fitted before is left out.

    Raises UserError where a weight is no finite number.
    """
    for name, values in weights.items():
        if not values.isfinite().all():
            raise UserError(
                f"'{name:.60}' of the model holds weights that are not finite numbers: put back "
                "those that it had (zspace.load)"
            )
    kept = {n: content for n, content in parts.items() if n in HOLDING and n != RECORD}
    kept[WEIGHTS] = b"".join(map(bytes, files.sealed_tensors(weights, {})))
    digest = hashlib.sha256(kept[WEIGHTS]).hexdigest()
    result = record["result"]
    told = [one for one in result.get("warnings", []) if one != CHANGED]
    note = {
        **record,
        "files": {**record["files"], WEIGHTS: digest},
        "result": {**result, "warnings": [*told, CHANGED]},
    }
    return {**kept, RECORD: b"".join(map(bytes, files.sealed_json(note)))}


def archived(parts: Mapping[str, bytes]) -> bytes:
    """Files as one zip archive, not compressed, which ends with the SHA-256 of all before."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
        archive.comment = files.BLANK_SEAL.encode()
    content = buffer.getvalue()[: -len(files.BLANK_SEAL)]
    return content + hashlib.sha256(content).hexdigest().encode()


def unarchived(content: bytes) -> dict[str, bytes]:
    """The files in what `archived` returned. Raises UserError where it is not that any more."""
    body, seal = content[: -len(files.BLANK_SEAL)], content[-len(files.BLANK_SEAL) :]
    try:
        if hashlib.sha256(body).hexdigest().encode() != seal:
            raise zipfile.BadZipFile
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise zipfile.BadZipFile
            return {name: archive.read(name) for name in filter(is_part, archive.namelist())}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError):
        what = f"these {len(content):,} bytes are not a run, or are damaged"
        raise UserError(f"{what}: give what run.to_bytes() returned") from None


class SeveralRuns(UserError):
    """A study, or another folder of runs, where one run is wanted.

    Attributes:
        runs: The folders of its runs, at least one.
    """

    def __init__(self, path: Path, runs: Sequence[Path]) -> None:
        self.runs = tuple(runs)
        kind = "a study" if (path / "study.json").is_file() else "a folder"
        few = ", ".join(f"'{run}'" for run in runs[:MOST_NAMED])
        rest = len(runs) - MOST_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        number = f"{len(runs)} runs" if len(runs) > 1 else "one run"
        super().__init__(f"'{path}' is {kind} with {number}, not a run: give one of {few}{more}")


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a study, or in a folder of runs."""
    for inner in (folder / "runs", folder):
        if found := sorted(one.parent for one in inner.glob(f"*/{RECORD}")):
            return found
    return []


def read_place(place: Place) -> dict[str, Any]:
    """The content of the run.json in a folder or in memory. Raises UserError as `read_record`."""
    if place.folder:
        return read_record(place.folder)
    return _understood(Path("memory"), _whole(place, RECORD))


def read_record(path: Path) -> dict[str, Any]:
    """The content of a folder's run.json.

    Raises UserError where the folder is none, holds no run, or a run of a newer format, and where
    run.json is damaged or was changed by hand.
    """
    return _read(path, or_copy=False)


def read_either(path: Path) -> dict[str, Any]:
    """Like `read_record`; where run.json is damaged, the copy that an unfinished training has.

    Warns where it is the copy. It names no weights and no results: it was made at the beginning.
    """
    return _read(path, or_copy=True)


def _read(path: Path, or_copy: bool) -> dict[str, Any]:
    if not path.is_dir():
        usual = Path("runs") / path.name
        hint = f"did you mean '{usual}'? Otherwise " if usual != path and usual.is_dir() else ""
        raise UserError(
            f"run folder '{path}' does not exist: {hint}give one that zspace train made"
        )
    copied = (path / COPY).is_file()
    if not copied and not (path / RECORD).is_file() and (inner := runs_in(path)):
        raise SeveralRuns(path, inner)
    files.refuse_links(path)
    if not copied and not (path / RECORD).is_file():
        raise UserError(f"'{path}' is not a run: it holds no run.json (zspace train makes one)")
    try:
        record = _whole(Place(path), RECORD)
    except UserError as error:
        if not (copied and or_copy):
            way = f"continue from a copy with 'zspace resume {path}'" if copied else "train again"
            raise UserError(f"{error}: put it back as it was, or {way}") from None
        try:
            record = _whole(Place(path), COPY)
        except UserError as again:
            raise UserError(f"{error}; {again}: train again") from None
        warnings.warn(f"{error}; continuing from the copy in {path / COPY}", stacklevel=3)
    return _understood(path, record)


def _whole(place: Place, name: str) -> dict[str, Any]:
    """The record in a file. Raises UserError where the file is not what was written."""
    file, content = place.named(name), place.read(name)
    return files.unsealed(file, content, files.parsed(file, content))


def _understood(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(record.get("format"), int):
        raise UserError(f"'{path}' is not a run: its run.json has no format")
    if record["format"] > FORMAT:
        newer = f"zspace {record.get('zspace')} (newer than this one)"
        raise UserError(f"run '{path}' was made by {newer}: upgrade zspace")
    refuse_unfit(record, Record, path / RECORD, "that of a run", "train again")
    if record["status"] == "finished" and not ("result" in record and WEIGHTS in record["files"]):
        raise UserError(
            f"'{path}' is not a run: its run.json has no result or weights: train again"
        )
    return record


def read_encoding(place: Place, record: dict[str, Any]) -> Encoding | None:
    """How raw samples become x; None for images. Raises UserError where it is damaged."""
    if record["data"].get("kind", "image") == "image":
        return None
    content = {name: place.read(name) for name in ENCODING}
    told, values = (place.named(name) for name in ENCODING)
    with _again(place):
        for file, name in zip((told, values), ENCODING, strict=True):
            files.verify(file, content[name], record["files"].get(name, ""))
        facts = files.unsealed(
            told, content[ENCODING[0]], files.parsed(told, content[ENCODING[0]])
        )
        return encoding_from(facts, files.unpacked(values, content[ENCODING[1]]))


def samples_of(place: Place, record: dict[str, Any]) -> Path | None:
    """The file of test samples that goes with a run, or with the study that it is in; None where
    there is none. Such a file is named `samples.*`, and run.json or study.json holds its SHA-256.

    Raises UserError where it is not the one that is named.
    """
    if place.folder is None:
        return None
    told, folder = record["files"], place.folder
    above = place.folder.absolute().parent.parent  # the run of a study is STUDY/runs/NAME
    if not fnmatch.filter(told, SAMPLES) and (above / STUDY).is_file():
        folder = above
        told = _study(folder / STUDY).get("files", {})
    for name in fnmatch.filter(told, SAMPLES):
        files.verify(folder / name, files.read(folder / name, within=folder), told[name])
        return folder / name
    return None


def _study(path: Path) -> StudyRecord:
    way = "give the command of the study again"
    return refuse_unfit(files.read_json(path), StudyRecord, path, "that of a study", way)


def is_own(record: dict[str, Any]) -> bool:
    """Whether this user chose the data that the record names; see `zspace.system.owner`."""
    return owner.is_mine(chosen_data(record["config"]["data"]), record.get("mark", ""))


def chosen_data(options: Mapping[str, Any]) -> str:
    """The options of data in a record as the text that is marked."""
    return json.dumps(options, sort_keys=True)


def refuse_strange(place: object, record: dict[str, Any], data_dir: Path | None) -> None:
    """Raise Untrusted for data that somebody else chose, unless it is harmless to open them.

    That is so for a named set that is on this machine, if no folder is used that they name.
    """
    options = record["config"]["data"]
    if is_harmless(options, data_dir):
        return
    source = options.get("data")
    raise Untrusted(
        f"run '{place}' was not made by you on this machine, so its data, {source!r:.100}, are "
        "not opened, but this needs them: if you trust them, add --trust-data (trust_data=True)"
    )


class Untrusted(UserError):
    """The data of a run were chosen by somebody else, and are not opened."""


def read_spec(record: dict[str, Any], encoding: Encoding | None = None) -> Spec:
    """What the model was told of its data."""
    facts = record["data"]
    attributes = tuple(facts["attributes"])
    scales = tuple(Scale(*scale) for scale in facts.get("scales", ()))
    if encoding is not None:
        told = {"classes": tuple(facts["classes"]), "attributes": attributes, "scales": scales}
        return encoding.spec(**told, samples=facts["train"])
    if len(facts["shape"]) != 3:
        raise UserError(f"run.json says that images have shape {facts['shape']}: train again")
    shape, classes = tuple(facts["shape"]), tuple(facts["classes"])
    return Spec(shape, classes, attributes, facts["train"], scales=scales)


def weight_heads(place: Place, record: dict[str, Any]) -> files.Heads:
    """Types and shapes of the best weights of a run, without the weights themselves.

    Raises UserError where there are none yet, and where they are damaged.
    """
    if record["status"] != "finished" and WEIGHTS not in place and WEIGHTS not in record["files"]:
        raise UserError(f"run '{place}' has no finished epoch yet: use 'zspace resume {place}'")
    with _again(place):
        file, size = place.named(WEIGHTS), place.size(WEIGHTS)
        return files.heads(file, lambda n: place.read(WEIGHTS, first=n), size)


def read_weights(place: Place, record: dict[str, Any]) -> dict[str, Tensor]:
    """The best weights of a run.

    Those of a finished run must be the ones that its record names. While a training goes on they
    may be newer than the record, which is written after them: then their own SHA-256 counts.
    Raises UserError where they are damaged, and where one of them is no finite number.
    """
    file = place.named(WEIGHTS)
    with _again(place):
        content = place.read(WEIGHTS)
        if record["status"] == "finished":
            files.verify(file, content, record["files"].get(WEIGHTS, ""))
        else:
            files.unsealed(file, content, files.parsed(file, files.note_of(file, content)))
        weights = files.unpacked(file, content)
        for name, values in weights.items():
            if not values.isfinite().all():
                raise UserError(f"{file} holds weights that are not finite numbers ('{name:.60}')")
        return weights


@contextlib.contextmanager
def _again(place: Place) -> Iterator[None]:
    """What to do where the weights are of no use."""
    try:
        yield
    except UserError as error:
        again = f"'zspace repeat {place} --out DIR' trains it again"
        raise UserError(f"{error}: {again}") from None


TERMS = ("train", "validation")


def write_fitted(
    place: Place, name: str, model: str, tensors: Mapping[str, Tensor], **about: Any
) -> None:
    """Keep what was fitted to a run of these weights: fitted/NAME.safetensors and NAME.json.

    model: the SHA-256 of the weights. about: what the .json says. Each file carries its own
    SHA-256, too.
    """
    if place.folder:
        with files.explained(place.folder):
            (place.folder / FITTED).mkdir(exist_ok=True)
    digest = place.write(
        f"{FITTED}/{name}.safetensors", *files.sealed_tensors(tensors, {"model": model})
    )
    note = {"format": FORMAT, "model": model, "tensors": digest, **about}
    place.write(f"{FITTED}/{name}.json", *files.sealed_json(note))


def read_fitted(place: Place, name: str, model: str) -> dict[str, Tensor] | None:
    """The tensors that were fitted to a run of these weights.

    None where there are none, where they are of other weights, and, with a warning, where a file
    is damaged.
    """
    told, kept = f"{FITTED}/{name}.json", f"{FITTED}/{name}.safetensors"
    if told not in place or kept not in place:
        return None
    try:
        note = _whole(place, told)
        content, file = place.read(kept), place.named(kept)
        files.verify(file, content, str(note.get("tensors")))
        return files.unpacked(file, content) if note.get("model") == model else None
    except UserError as error:
        warnings.warn(f"{error}: it is fitted again", stacklevel=3)
        return None


def read_metrics(place: Place, sha256: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line that a crash tore is left out.

    Warns of other lines that are no epochs, which are left out, too, and where the content is not
    that of the SHA-256.
    """
    path = place.named(METRICS)
    content = place.read(METRICS) if METRICS in place else b""
    metrics: list[dict[str, Any]] = []
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        warnings.warn(
            f"{path} is damaged, or was changed by hand: its curves may be wrong", stacklevel=2
        )
    *lines, last = content.split(b"\n")
    for number, line in enumerate([*lines, *([last] if last else [])], 1):
        try:
            epoch = files.parsed(path, line)
            check(epoch, Line)
            if metrics and [*epoch] != [*metrics[0]]:
                raise Unfit("epochs differ in what they hold")
            if metrics and any(epoch[s].keys() != metrics[0][s].keys() for s in TERMS):
                raise Unfit("epochs differ in their terms")
            metrics.append(epoch)
        except (UserError, Unfit):
            if number <= len(lines):
                warnings.warn(f"line {number} of {path} is damaged and left out", stacklevel=2)
    return metrics

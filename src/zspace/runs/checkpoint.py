"""Checkpoints: the state of a training on disk, two generations, verified when read.

    state/<step>.safetensors   tensors by path ("model/decoder.layers.0.weight"), numbers as a
                               JSON note, which carries the file's SHA-256
    state/manifest.json        the generations, newest first, with its own SHA-256; written last

Each file can be verified by itself: where the manifest is damaged, the states are still found.
Nothing is pickled: a state is nested dicts of tensors, numbers, strings and lists of those.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zspace.system import files
from zspace.system.errors import UserError

MANIFEST, STATES = "manifest.json", "*.safetensors"


class Checkpoints:
    """The states of one training in a folder.

    folder: made at the first save. keep: generations that stay on disk.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self.damaged: set[str] = set()

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Write one generation; the older ones stay until the manifest names the new one."""
        with files.explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        tensors, rest = flatten(state)
        older = [entry for entry in self._generations() if entry["file"] not in self.damaged]
        name = _unlike([entry["file"] for entry in older], f"{step:010d}")
        self.damaged.discard(name)
        digest = files.write_sealed_tensors(self.folder / name, tensors, rest)
        entries = [{"file": name, "sha256": digest}, *older][: self.keep]
        files.write_sealed_json(self.folder / MANIFEST, {"generations": entries})
        named = {entry["file"] for entry in entries}
        for path in self.folder.glob(STATES):
            if path.name not in named:
                with contextlib.suppress(OSError):  # it is of no use, and does no harm
                    path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None if nothing was saved yet.

        Warns where the manifest or a generation is damaged and passed over. Raises UserError if
        all generations are damaged.
        """
        entries = self._generations(warn=True)
        for entry in entries:
            try:
                path = self.folder / _name(entry["file"])
                return unflatten(*files.read_sealed_tensors(path, entry["sha256"]))
            except UserError as error:
                self.damaged.add(entry["file"])
                warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
        if entries:
            raise UserError(f"every checkpoint in {self.folder} is damaged: train again")
        return None

    def remove(self) -> None:
        """Delete all states, for a training that has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self, warn: bool = False) -> list[dict[str, Any]]:
        """The states, newest first: from the manifest or, where it is not whole, as they lie."""
        try:
            entries = files.read_sealed_json(self.folder / MANIFEST)["generations"]
            return [{"file": str(e["file"]), "sha256": e["sha256"]} for e in entries]
        except (UserError, KeyError, TypeError) as error:
            found = sorted((path.name for path in self.folder.glob(STATES)), reverse=True)
            if warn and (self.folder / MANIFEST).exists():
                warnings.warn(f"{error}; taking the newest checkpoint that is whole", stacklevel=3)
            return [{"file": name, "sha256": None} for name in found]


def _name(file: str) -> str:
    """The name of a state. Raises UserError where it leads out of the folder, or to no state."""
    if not re.fullmatch(r"\w+\.safetensors", file, re.ASCII):
        raise UserError(f"{MANIFEST} names {file!r:.60}, which is no file of a state")
    return file


def _unlike(names: Sequence[str], step: str) -> str:
    """A name after these: a state that the manifest names is never written over.

    A step can be saved twice, before and after the validation at its epoch's end.
    """
    number, name = 0, f"{step}.safetensors"
    while any(name <= other and other.startswith(step) for other in names):
        number += 1
        name = f"{step}_{number}.safetensors"
    return name


def flatten(state: Mapping[str, Any], path: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Nested dicts -> tensors by path, and everything else by path."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for key, value in state.items():
        where = f"{path}{key}"
        if isinstance(value, Mapping):
            below = flatten(value, f"{where}/")
            tensors |= below[0]
            rest |= below[1] if value else {f"{where}/": {}}
        else:
            (tensors if isinstance(value, Tensor) else rest)[where] = value
    return tensors, rest


def unflatten(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`; keys come back as strings.

    Raises UserError if a name stands for a value and also for a group of values.
    """
    state: dict[str, Any] = {}
    for path, value in [*tensors.items(), *rest.items()]:
        *parents, key = path.removesuffix("/").split("/")
        level = state
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise UserError(f"{parent!r:.60} is a value and a group of a state: train again")
        level[key] = value
    return state

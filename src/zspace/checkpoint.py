"""Checkpoints: the state of a training on disk, two generations, verified when read.

    state/<step>.safetensors   tensors by path ("model/decoder.layers.0.weight"), numbers as a JSON
    note state/manifest.json        the generations, newest first, each with its SHA-256; written
    last

Nothing is pickled: a state is nested dicts of tensors, numbers, strings and lists of those.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zspace import files
from zspace.errors import UserError


class Checkpoints:
    """The states of one training in a folder.

    folder: made at the first save. keep: generations that stay on disk.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self.damaged: set[str] = set()

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Write one generation; the older ones stay until the manifest names the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors, rest = flatten(state)
        name = f"{step:010d}.safetensors"
        digest = files.write_tensors(self.folder / name, tensors, json.dumps(rest))
        useless = {name, *self.damaged}
        older = [entry for entry in self._generations() if entry["file"] not in useless]
        entries = [{"file": name, "step": step, "sha256": digest}, *older][: self.keep]
        files.write_json(self.folder / "manifest.json", {"generations": entries})
        named = {entry["file"] for entry in entries}
        for path in self.folder.glob("*.safetensors"):
            if path.name not in named:
                path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None if nothing was saved yet.

        Warns where a damaged generation is passed over. Raises UserError if all are damaged.
        """
        entries = self._generations()
        for entry in entries:
            try:
                tensors, note = files.read_tensors(self.folder / entry["file"], entry["sha256"])
            except UserError as error:
                self.damaged.add(entry["file"])
                warnings.warn(f"{error}; going back to the checkpoint before it", stacklevel=2)
                continue
            return unflatten(tensors, json.loads(note))
        if entries:
            raise UserError(f"every checkpoint in {self.folder} is damaged: train anew")
        return None

    def remove(self) -> None:
        """Delete all states, for a training that has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self) -> list[dict[str, Any]]:
        manifest = self.folder / "manifest.json"
        return files.read_json(manifest)["generations"] if manifest.exists() else []


def flatten(state: Mapping[str, Any], path: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Nested dicts -> tensors by path, and everything else by path."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for key, value in state.items():
        where = f"{path}{key}"
        if isinstance(value, Mapping):
            below = flatten(value, f"{where}/")
            tensors.update(below[0])
            rest.update(below[1] or ({f"{where}/": {}} if not value else {}))
        elif isinstance(value, Tensor):
            tensors[where] = value
        else:
            rest[where] = value
    return tensors, rest


def unflatten(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`; keys come back as strings."""
    state: dict[str, Any] = {}
    for path, value in [*tensors.items(), *rest.items()]:
        *parents, key = path.removesuffix("/").split("/")
        level = state
        for parent in parents:
            level = level.setdefault(parent, {})
        level[key] = value
    return state

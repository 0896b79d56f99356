"""Decoded images on disk: an image folder that does not fit the memory is decoded once.

    <cache>/images/<name>-<key>/
        facts.json                         a digest of the originals; shape; the files left out
        train.npy validation.npy test.npy  (N, C, H, W), values as they were, read as memory maps

The key is a hash of where the folder lies and of how its images are to be read. The cache is used
again only if every original still has the same name, size and time; else it is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from zspace.data.read_options import ReadOptions
from zspace.data.readers.images import Files, Source
from zspace.data.readers.mapped import PART, Mapped, sweep
from zspace.data.readers.parallel import stream
from zspace.system.downloads import cache_folder
from zspace.system.errors import UserError

FORMAT = 3

Shape = tuple[int, int, int]
Decode = Callable[[Source], np.ndarray]


class Depth(NamedTuple):
    """How deep the values of images are, and as what they are kept once they are decoded."""

    name: str
    stored: str

    @property
    def itemsize(self) -> int:
        """Bytes of a kept value."""
        return np.dtype(self.stored).itemsize


DEPTHS = {
    "uint8": Depth("uint8", "|u1"),
    "uint16": Depth("uint16", "<f4"),  # resizing makes fractions
    "float32": Depth("float32", "<f4"),
}


class Kept(NamedTuple):
    """What a cache holds: the files and the images of each split, and the errors of the others."""

    splits: dict[str, tuple[Files, Mapped]]
    bad: list[str]
    depth: Depth
    clear: int

    @property
    def nbytes(self) -> int:
        """Of all images."""
        return sum(math.prod(x.shape) * self.depth.itemsize for _, x in self.splits.values())


@dataclass(frozen=True)
class Cache:
    """The place in the cache for the images of one folder, read with certain options.

    Arguments:
        root: The folder, absolute, or whatever else names the data.
        splits: The files of each split.
        options: How the images are read; size, channels and crop are part of the key.
    """

    root: Path
    splits: Mapping[str, Files]
    options: ReadOptions

    @property
    def folder(self) -> Path:
        """Where it lies, whether it is there or not."""
        o = self.options
        options = (o.size, o.channels, o.crop, o.fit, o.transparency)
        what = repr((FORMAT, str(self.root), options))
        key = hashlib.sha256(what.encode()).hexdigest()
        return cache_folder() / "images" / f"{self.root.name}-{key[:16]}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the split, name, size in bytes and last change of every original."""
        start = len(str(self.root)) + 1
        lines = (
            f"{split}/{_state(source, start)}\n"
            for split, files in self.splits.items()
            for source in files.paths
        )
        return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()

    def find(self) -> Kept | None:
        """What is there; None for nothing, for something damaged, or for other originals.

        Raises UserError where files were left out before, but ``skip_bad`` is no longer given.
        """
        try:
            facts = json.loads((self.folder / "facts.json").read_text())
            if facts["format"] != FORMAT or facts["digest"] != self.digest:
                return None
            kept = self._kept(facts)
            for _, images in kept.splits.values():
                if np.load(images.path, mmap_mode="r").shape != images.shape:
                    return None
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        if kept.bad and not self.options.skip_bad:
            raise UserError(kept.bad[0])
        return kept

    def make(self, shape: Shape, depth: Depth, decode: Decode, clear: int = 0) -> Kept:
        """Decode every image into the cache.

        It is filled beside its place and renamed, so that two processes may do this at once.

        Arguments:
            shape: (C, H, W) of every image.
            depth: Of the values of every image.
            decode: From a source to its image (C, H, W).
            clear: How many images may be transparent, which is noted.

        Raises UserError naming a bad file unless they are skipped, and where the disk is full.
        """
        folder = self.folder
        with self._explained(shape, depth):
            folder.parent.mkdir(parents=True, exist_ok=True)
            sweep(folder.parent)
            part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name, suffix=PART))
            try:
                facts: dict[str, Any] = {"format": FORMAT, "digest": self.digest}
                facts |= {"depth": depth.name, "clear": clear}
                facts |= self._fill(part, shape, depth, decode)
                (part / "facts.json").write_text(json.dumps(facts))
                if self.find() is None:  # else another process was quicker, and reads its own
                    shutil.rmtree(folder, ignore_errors=True)
                    part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return self._kept(facts)

    def _fill(self, part: Path, shape: Shape, depth: Depth, decode: Decode) -> dict[str, Any]:
        """Write the images of every split; returns what facts.json says of them."""
        bad: dict[str, dict[int, str]] = {split: {} for split in self.splits}
        for split, files in self.splits.items():
            with (part / f"{split}.npy").open("wb") as file:
                _header(file, depth, (len(files), *shape))
                nbytes = math.prod(shape) * depth.itemsize
                found = stream(
                    "Decoding", files.paths, lambda _, s: decode(s), self.options, nbytes
                )
                for i, image in enumerate(found):
                    if isinstance(image, UserError):
                        bad[split][i] = str(image)
                    else:
                        file.write(image.tobytes())
                _header(file, depth, (len(files) - len(bad[split]), *shape))
                file.flush()
                os.fsync(file.fileno())
        # Pairs, because the keys of JSON objects are text.
        return {"shape": shape, "bad": {split: [*one.items()] for split, one in bad.items()}}

    def _kept(self, facts: Mapping[str, Any]) -> Kept:
        splits, bad = {}, list[str]()
        for split, files in self.splits.items():
            left_out = dict(facts["bad"][split])
            bad += left_out.values()
            rows = [i for i in range(len(files)) if i not in left_out]
            path, shape = self.folder / f"{split}.npy", (len(rows), *facts["shape"])
            splits[split] = files.keep(rows), Mapped(path.absolute(), shape)
        return Kept(splits, bad, DEPTHS[facts["depth"]], int(facts["clear"]))

    @contextlib.contextmanager
    def _explained(self, shape: Shape, depth: Depth) -> Iterator[None]:
        """Turn what the disk refuses into a UserError; too little room is found first."""
        wanted = math.prod(shape) * depth.itemsize * sum(map(len, self.splits.values()))
        where = cache_folder()
        try:
            there = next(path for path in (where, *where.parents) if path.exists())
            free = shutil.disk_usage(there).free
            if free < wanted:
                raise OSError(f"it has {free / 1e9:.3g} GB free")
            yield
        except OSError as error:
            raise UserError(
                f"the decoded images of '{self.root}' take {wanted / 1e9:.3g} GB and cannot be "
                f"kept in '{where}': {error.strerror or error}; make room, or reduce --size"
            ) from error


def _header(file: Any, depth: Depth, shape: tuple[int, ...]) -> None:
    """Write the header of an .npy; numpy leaves room in it for the first axis to change."""
    file.seek(0)
    about = {"descr": depth.stored, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, about)
    file.seek(0, os.SEEK_END)


def _state(source: Source, start: int) -> str:
    """Its name, from a position of its path on; its size; its time in nanoseconds, 0 for none."""
    if not isinstance(source, Path):
        return f"{source}/{source.size}/0"
    name = str(source)[start:].replace(os.sep, "/")
    try:
        found = source.stat()
    except OSError:  # a list names it, but it is not there: reading it will say so
        return f"{name}/-1/0"
    return f"{name}/{found.st_size}/{found.st_mtime_ns}"

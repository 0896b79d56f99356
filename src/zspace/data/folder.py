"""A folder of images as a data set: see `zspace.data.layout` for what the folder may look like.

Images that fit the memory budget are decoded once, by a few threads; others stay on disk and are
decoded batch by batch, by the workers of `zspace.data.batches.Batches`.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from zspace.data import images, layout
from zspace.data.layout import Files
from zspace.data.progress import bar
from zspace.data.samples import Data, Part, Storage, assemble
from zspace.errors import UserError

_TASK = 64

T = TypeVar("T")
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Folder:
    """Images (N, C, H, W) that are decoded when read; see `zspace.data.samples.Lazy`."""

    root: Path
    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    size: int | None

    def read(self, rows: Tensor) -> Tensor:
        with images.strict():
            found = [_image(self.paths[i], self.shape[1:], self.size) for i in rows.tolist()]
        return torch.from_numpy(np.stack(found))

    def identity(self) -> Iterator[bytes]:
        for path in sorted(self.paths):
            name = path.relative_to(self.root).as_posix()
            yield f"{name}/{path.stat().st_size}\n".encode()


@dataclass(frozen=True)
class Wish:
    """How a folder is to be read: the arguments of `load_folder`."""

    size: int | None
    channels: int | None
    skip_bad: bool
    memory: float
    quiet: bool


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a pass over files: results of the good ones, errors of the bad ones."""

    positions: list[int]
    results: list[T]
    bad: list[str]


def load_folder(root: Path, wish: Wish) -> Data:
    """The images of a folder.

    Without a size all images must agree in height and width. Colour and grey images together are
    all made RGB, unless ``channels`` says otherwise. With ``skip_bad``, unreadable files are left
    out, counted in `Data.skipped` and warned of once; for images that stay on disk, this costs a
    pass that decodes them all.

    Raises UserError naming the file or files at fault.
    """
    splits, looks, bad = _survey(layout.find(root), wish)
    shape = _shape(splits, looks, wish)
    lazy = math.prod(shape) * sum(map(len, splits.values())) > wish.memory
    storage = _stay if lazy else _decode
    names = layout.classes(splits["train"])
    parts: dict[str, Part] = {}
    for split, files in splits.items():
        files, x, errors = storage(root, files, shape, wish)
        parts[split] = Part(x, _labels(files, names))
        bad += errors
    _warn(root, bad)
    return assemble(
        root.resolve().name,
        parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        classes=names,
        provenance=f"The folder of images {root.resolve().name}.",
        skipped=len(bad),
    )


def _survey(
    splits: dict[str, Files], wish: Wish
) -> tuple[dict[str, Files], dict[str, list[images.Look]], list[str]]:
    """The files whose headers can be read, what these say, and the errors of the others."""
    kept, looks, bad = {}, {}, []
    for split, files in splits.items():
        outcome = _each("Looking at", files, lambda i, path: images.look(path), wish)
        kept[split], looks[split] = files.keep(outcome.positions), outcome.results
        bad += outcome.bad
    if not kept["train"]:
        raise UserError(f"no image can be read; the first error: {bad[0]}")
    return kept, looks, bad


def _shape(splits: dict[str, Files], looks: dict[str, list[images.Look]], wish: Wish) -> Shape:
    """(C, H, W) of every image of the data set, as it will be read."""
    paths = [path for files in splits.values() for path in files.paths]
    every = [look for found in looks.values() for look in found]
    channels = wish.channels or (1 if all(look.grey for look in every) else 3)
    if wish.size is not None:
        return channels, wish.size, wish.size
    first = every[0]
    for path, look in zip(paths, every, strict=True):
        if (look.height, look.width) != (first.height, first.width):
            raise UserError(
                f"images differ in size: '{paths[0]}' is {first.width} x {first.height}, '{path}' "
                f"is {look.width} x {look.height}; give --size to resize and crop them all"
            )
    return channels, first.height, first.width


def _decode(
    root: Path, files: Files, shape: Shape, wish: Wish
) -> tuple[Files, Storage, list[str]]:
    """The images in memory."""
    x = torch.empty((len(files), *shape), dtype=torch.uint8)
    array = x.numpy()

    def work(i: int, path: Path) -> None:
        array[i] = _image(path, shape, wish.size)

    outcome = _each("Decoding", files, work, wish)
    if outcome.bad:
        x = x[torch.tensor(outcome.positions, dtype=torch.int64)]
    return files.keep(outcome.positions), x, outcome.bad


def _stay(root: Path, files: Files, shape: Shape, wish: Wish) -> tuple[Files, Storage, list[str]]:
    """The images on disk; where bad ones are to be skipped, they are found by decoding all."""
    bad: list[str] = []
    if wish.skip_bad:

        def work(i: int, path: Path) -> None:
            _image(path, shape, wish.size)

        outcome = _each("Checking", files, work, wish)
        files, bad = files.keep(outcome.positions), outcome.bad
    # Absolute, so that a worker, or a caller that changes folder, still finds them.
    paths = tuple(path.absolute() for path in files.paths)
    return files, Folder(root.absolute(), paths, (len(files), *shape), wish.size), bad


def _each(what: str, files: Files, work: Callable[[int, Path], T], wish: Wish) -> Outcome[T]:
    """``work`` of each file by threads, in order; a bad one stops it, or is noted and skipped."""

    def one(i: int) -> T | UserError:
        try:
            return work(i, files.paths[i])
        except UserError as error:
            if not wish.skip_bad:
                raise
            return error

    every: list[T | UserError] = []
    starts = range(0, len(files), _TASK)
    tasks = [range(start, min(start + _TASK, len(files))) for start in starts]
    threads = max(1, min(8, os.cpu_count() or 1, len(tasks)))
    with (
        images.strict(),
        bar(what, len(files), wish.quiet) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        for results in pool.map(lambda task: [one(i) for i in task], tasks):
            every += results
            advance(len(results))
    return _sorted_out(every)


def _sorted_out(every: list[T | UserError]) -> Outcome[T]:
    good = [(i, result) for i, result in enumerate(every) if not isinstance(result, UserError)]
    bad = [str(result) for result in every if isinstance(result, UserError)]
    return Outcome([i for i, _ in good], [result for _, result in good], bad)


def _image(path: Path, shape: tuple[int, ...], size: int | None) -> np.ndarray:
    """The image (C, H, W), held to the shape that was found when the folder was looked over."""
    image = images.decode(path, shape[0], size)
    if image.shape != shape:
        raise UserError(
            f"image '{path}' is {image.shape[2]} x {image.shape[1]} instead of {shape[2]} x "
            f"{shape[1]}; it has changed, or is turned by data behind the image; give --size"
        )
    return image


def _labels(files: Files, classes: tuple[str, ...]) -> Tensor | None:
    if files.names is None:
        return None
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[name] for name in files.names], dtype=torch.int64)


def _warn(root: Path, bad: list[str]) -> None:
    if bad:
        text = f"{len(bad)} unreadable files of '{root}' are left out; the first: {bad[0]}"
        warnings.warn(text, UserWarning, stacklevel=4)

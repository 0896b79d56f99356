"""A folder of images as a data set: see `zspace.data.layout` for what the folder may look like.

Images that fit the memory budget are decoded into memory; others once into a cache on disk, from
which batches are read: see `zspace.data.cache`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zspace.data import images, layout
from zspace.data.cache import Cache, Shape
from zspace.data.images import Source
from zspace.data.layout import Files
from zspace.data.passes import Wish, each
from zspace.data.samples import Data, Part, Storage, assemble
from zspace.errors import UserError

Looks = dict[str, list[images.Look]]


def load_folder(root: Path, wish: Wish) -> Data:
    """The images of a folder.

    Without a size all images must agree in height and width. Colour and grey images together are
    all made RGB, unless ``channels`` says otherwise. With ``skip_bad``, unreadable files are left
    out, counted in `Data.skipped` and warned of once.

    Raises UserError naming the file or files at fault.
    """
    splits = layout.find(root)
    parts, bad = gather(root, splits, wish, layout.classes(splits["train"]))
    return assemble(
        root.resolve().name,
        parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        classes=layout.classes(splits["train"]),
        provenance=f"The folder of images {root.resolve().name}.",
        skipped=bad,
    )


def gather(
    root: Path, splits: Mapping[str, Files], wish: Wish, classes: tuple[str, ...]
) -> tuple[dict[str, Part], int]:
    """The images of every split, in memory or on disk, and how many files were left out.

    root: where the files lie, or what else names them. classes: names of the labels 0, 1, ...
    Raises UserError as `load_folder` does.
    """
    stored, bad = _stored(root.absolute(), splits, wish)
    if bad:
        text = f"{len(bad)} unreadable files of '{root}' are left out; the first: {bad[0]}"
        warnings.warn(text, UserWarning, stacklevel=4)
    parts = {
        split: Part(x, _labels(files, classes), _attributes(files))
        for split, (files, x) in stored.items()
    }
    return parts, len(bad)


def _stored(
    root: Path, splits: Mapping[str, Files], wish: Wish
) -> tuple[Mapping[str, tuple[Files, Storage]], list[str]]:
    """The images of each split with the files that could be read, and the errors of the others."""
    # Absolute, so that a worker, or a caller that changes folder, still finds them.
    splits = {split: files.absolute() for split, files in splits.items()}
    cache = Cache(root, splits, wish)
    kept = cache.find()
    if kept is None or kept.nbytes <= wish.memory:
        readable, looks, bad = _survey(splits, wish)
        shape = _shape(readable, looks, wish)
        if math.prod(shape) * sum(map(len, readable.values())) <= wish.memory:
            return _decoded(readable, shape, wish, bad), bad
        kept = cache.make(shape, partial(_image, shape=shape, wish=wish))
    return kept.splits, kept.bad


def _survey(splits: Mapping[str, Files], wish: Wish) -> tuple[dict[str, Files], Looks, list[str]]:
    """The files whose headers can be read, what these say, and the errors of the others."""
    kept, looks, bad = {}, {}, []
    for split, files in splits.items():
        outcome = each("Looking at", files.paths, lambda i, path: images.look(path), wish)
        kept[split], looks[split] = files.keep(outcome.positions), outcome.results
        bad += outcome.bad
    if not kept["train"]:
        raise UserError(f"no image can be read; the first error: {bad[0]}")
    return kept, looks, bad


def _shape(splits: Mapping[str, Files], looks: Looks, wish: Wish) -> Shape:
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


def _decoded(
    splits: Mapping[str, Files], shape: Shape, wish: Wish, bad: list[str]
) -> dict[str, tuple[Files, Storage]]:
    """The images in memory; errors of bad ones are added to ``bad``."""
    stored: dict[str, tuple[Files, Storage]] = {}
    for split, files in splits.items():
        x = torch.empty((len(files), *shape), dtype=torch.uint8)
        array = x.numpy()

        def work(i: int, source: Source, array: np.ndarray = array) -> None:
            array[i] = _image(source, shape, wish)

        outcome = each("Decoding", files.paths, work, wish)
        if outcome.bad:
            x = x[torch.tensor(outcome.positions, dtype=torch.int64)]
        stored[split] = files.keep(outcome.positions), x
        bad += outcome.bad
    return stored


def _image(source: Source, shape: Shape, wish: Wish) -> np.ndarray:
    """The image (C, H, W), held to the shape that was found when the folder was looked over."""
    image = images.decode(source, shape[0], wish.size, wish.crop)
    if image.shape != shape:
        raise UserError(
            f"image '{source}' is {image.shape[2]} x {image.shape[1]} instead of {shape[2]} x "
            f"{shape[1]}; it has changed, or is turned by data behind the image; give --size"
        )
    return image


def _labels(files: Files, classes: tuple[str, ...]) -> Tensor | None:
    if files.names is None:
        return None
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[name] for name in files.names], dtype=torch.int64)


def _attributes(files: Files) -> Tensor | None:
    return None if files.attributes is None else torch.from_numpy(files.attributes)

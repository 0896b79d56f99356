"""Which files of a folder are samples, of which split and which class, and their images.

    cats/*.png                                     images without labels
    pets/cat/*.jpg  pets/dog/*.jpg                 classes, in the order of their sorted names
    pets/train/...  pets/val/...  pets/test/...    splits, each laid out as one of the above

Sub-folders are splits if one is called train and all are called train, val, valid, validation or
test; a split that is missing is cut from train. Below a class, folders may nest. Hidden files and
other kinds of file are ignored, and so are sub-folders without images.

Images that fit the memory budget are decoded into memory; others once into a cache on disk, from
which batches are read: see `zspace.data.readers.cache`.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zspace.data.dataset import Data, Part, Storage, assemble
from zspace.data.readers import images
from zspace.data.readers.cache import Cache, Shape
from zspace.data.readers.images import Files, ReadOptions, Source, each
from zspace.system.errors import UserError

ARCHIVES = frozenset({".tar", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)


def find_files(root: Path) -> dict[str, Files]:
    """The files of "train" and, where the folder has them, of "validation" and "test".

    Raises UserError for a folder without images, for images both beside and inside class folders,
    and for splits that disagree about classes.
    """
    folders = [path for path in _visible(root) if path.is_dir()]
    names = {path.name.lower() for path in folders}
    if "train" not in names or not names <= SPLIT_NAMES.keys():
        return {"train": _files_in(root)}
    splits: dict[str, Files] = {}
    for folder in folders:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in splits:
            raise UserError(f"'{root}' has two folders for the {split} split; merge them")
        splits[split] = _files_in(folder)
    _check_classes(root, splits)
    return splits


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _image_paths(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in images.SUFFIXES and path.is_file()]


def _files_in(folder: Path) -> Files:
    visible = _visible(folder)
    loose = _image_paths(visible)
    groups = {path.name: _below(path) for path in visible if _is_group(path)}
    pairs = [(path, name) for name, paths in groups.items() for path in paths]
    if loose and pairs:
        raise UserError(
            f"'{folder}' holds images ('{loose[0].name}') beside class folders "
            f"('{pairs[0][1]}'); put every image into a class folder, or none"
        )
    if loose:
        return Files(tuple(loose))
    if not pairs:
        archive = next((path.name for path in visible if path.suffix.lower() in ARCHIVES), None)
        remedy = f"unpack '{archive}' first" if archive else "give the folder that holds them"
        kinds = ", ".join(sorted(images.SUFFIXES))
        raise UserError(f"folder '{folder}' holds no images ({kinds}); {remedy}")
    return Files(tuple(path for path, _ in pairs), tuple(name for _, name in pairs))


def _is_group(path: Path) -> bool:
    """Whether it is a class folder, which a link to a folder elsewhere is, too.

    Raises UserError for a link that leads back, and for a name that cannot be shown.
    """
    if not path.is_dir():
        return False
    if path.is_symlink() and path.resolve() in (here := path.parent.resolve(), *here.parents):
        raise UserError(f"'{path}' is a link to a folder that holds it; remove the link")
    if not path.name.isprintable():
        raise UserError(f"folder {str(path)!r} has a name that cannot be shown; rename it")
    return True


def _below(folder: Path) -> list[Path]:
    """All images of a class folder and the folders in it; links in it are not followed."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += _image_paths(Path(here, name) for name in files if not name.startswith("."))
    return sorted(found)


def _check_classes(root: Path, splits: dict[str, Files]) -> None:
    known = splits["train"].names
    for split, files in splits.items():
        if (files.names is None) != (known is None):
            raise UserError(
                f"in '{root}', either train or {split} has class folders, but not both; lay them "
                "out alike"
            )
        for name in sorted(set(files.names or ()) - set(known or ())):
            raise UserError(f"class '{name}' of '{root}' is in {split} but not in train; add it")


def load_folder(root: Path, options: ReadOptions) -> Data:
    """The images of a folder.

    Without a size all images must agree in height and width. Grey and colour images together all
    become RGB, unless ``channels`` says otherwise.

    Raises UserError naming the file or files at fault.
    """
    # Absolute, so that a worker, or a caller that changes folder, still finds the files.
    root = root.absolute()
    name, splits = root.resolve().name, find_files(root)
    classes = tuple(sorted(set(splits["train"].names or ())))
    about = f"The folder of images {name}."
    return gather(root, splits, options, name=name, classes=classes, provenance=about)


def gather(
    root: Path,
    splits: Mapping[str, Files],
    options: ReadOptions,
    *,
    name: str,
    classes: tuple[str, ...] = (),
    **facts: Any,
) -> Data:
    """Data with the images of every split, in memory or on disk.

    With ``skip_bad``, unreadable files are left out, counted in `Data.skipped` and warned of once.

    Arguments:
        root: Where the files lie, or what else names them; absolute, as the files are.
        splits: "train" and, where there are some, "validation" and "test".
        options: How the images are read.
        name: Of the data set.
        classes: Names of the labels 0, 1, ...
        facts: Other fields of `Data`.

    Raises UserError naming the file or files at fault.
    """
    stored, bad = _stored(root, splits, options)
    if bad:
        text = f"{len(bad)} unreadable files of '{root}' are left out; the first: {bad[0]}"
        warnings.warn(text, UserWarning, stacklevel=4)
    number = {name: i for i, name in enumerate(classes)}
    parts: dict[str, Part] = {}
    for split, (files, x) in stored.items():
        y = None if files.names is None else torch.tensor([number[n] for n in files.names]).long()
        held = None if files.attributes is None else torch.from_numpy(files.attributes)
        parts[split] = Part(x, y, held)
    return assemble(name, **parts, classes=classes, skipped=len(bad), **facts)


def _stored(
    root: Path, splits: Mapping[str, Files], options: ReadOptions
) -> tuple[Mapping[str, tuple[Files, Storage]], list[str]]:
    """The images of each split with the files that could be read, and the errors of the others."""
    cache = Cache(root, splits, options)
    kept = cache.find()
    held = 0 if kept is None else sum(math.prod(x.shape) for _, x in kept.splits.values())
    if kept is None or held <= options.memory:
        readable, shape, bad = _survey(splits, options)
        if math.prod(shape) * sum(map(len, readable.values())) <= options.memory:
            return _decoded(readable, shape, options, bad), bad
        kept = cache.make(shape, partial(_decoded_image, shape=shape, options=options))
    return kept.splits, kept.bad


def _survey(
    splits: Mapping[str, Files], options: ReadOptions
) -> tuple[dict[str, Files], Shape, list[str]]:
    """The files whose headers can be read, the shape (C, H, W) in which every image of them will
    be read, and the errors of the others.
    """
    kept: dict[str, Files] = {}
    looks: list[tuple[Source, images.Look]] = []
    bad: list[str] = []
    for split, files in splits.items():
        found = each("Looking at", files.paths, lambda i, path: images.look(path), options)
        kept[split] = files.keep(found[0])
        looks += zip(kept[split].paths, found[1], strict=True)
        bad += found[2]
    if not kept["train"]:
        raise UserError(f"no image can be read; the first error: {bad[0]}")
    channels = options.channels or (1 if all(look.grey for _, look in looks) else 3)
    if options.size is not None:
        return kept, (channels, options.size, options.size), bad
    one, first = looks[0]
    for path, look in looks:
        if (look.height, look.width) != (first.height, first.width):
            raise UserError(
                f"images differ in size: '{one}' is {first.width} x {first.height}, '{path}' "
                f"is {look.width} x {look.height}; give --size to resize and crop them all"
            )
    return kept, (channels, first.height, first.width), bad


def _decoded(
    splits: Mapping[str, Files], shape: Shape, options: ReadOptions, bad: list[str]
) -> dict[str, tuple[Files, Storage]]:
    """The images in memory; errors of bad ones are added to ``bad``."""
    stored: dict[str, tuple[Files, Storage]] = {}
    for split, files in splits.items():
        x = torch.empty((len(files), *shape), dtype=torch.uint8)
        array = x.numpy()

        def work(i: int, source: Source, array: np.ndarray = array) -> None:
            array[i] = _decoded_image(source, shape, options)

        good, _, errors = each("Decoding", files.paths, work, options)
        stored[split] = files.keep(good), x[torch.tensor(good, dtype=torch.int64)] if errors else x
        bad += errors
    return stored


def _decoded_image(source: Source, shape: Shape, options: ReadOptions) -> np.ndarray:
    """The image (C, H, W), held to the shape that its header announced."""
    image = images.decode(source, shape[0], options.size, options.crop)
    if image.shape != shape:
        raise UserError(
            f"image '{source}' is {image.shape[2]} x {image.shape[1]} instead of {shape[2]} x "
            f"{shape[1]}: it has changed, or is turned by data behind the image; give --size"
        )
    return image

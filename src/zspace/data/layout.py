"""Which files of a folder are samples, of which split and which class.

    cats/*.png                                     images without labels
    pets/cat/*.jpg  pets/dog/*.jpg                 classes, in the order of their sorted names
    pets/train/...  pets/val/...  pets/test/...    splits, each laid out as one of the above

Sub-folders are splits if one is called train and all are called train, val, valid, validation or
test; a split that is missing is cut from train. Below a class, folders may nest. Hidden files and
other kinds of file are ignored, and so are sub-folders without images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zspace.data.images import SUFFIXES, Source
from zspace.errors import UserError

ARCHIVES = frozenset({".tar", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)


@dataclass(frozen=True)
class Files:
    """The images of one split.

    names: the class of each, or None without classes. attributes: (n, A) uint8, 0 or 1, or None.
    """

    paths: tuple[Source, ...]
    names: tuple[str, ...] | None = None
    attributes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def absolute(self) -> Files:
        """The same files, wherever the current folder goes."""
        paths = tuple(p.absolute() if isinstance(p, Path) else p for p in self.paths)
        return Files(paths, self.names, self.attributes)

    def keep(self, positions: Sequence[int]) -> Files:
        names = None if self.names is None else tuple(self.names[i] for i in positions)
        attributes = None if self.attributes is None else self.attributes[list(positions)]
        return Files(tuple(self.paths[i] for i in positions), names, attributes)


def find(root: Path) -> dict[str, Files]:
    """The files of "train" and, where the folder has them, of "validation" and "test".

    Raises UserError for a folder without images, for images both beside and inside class folders,
    and for splits that disagree about classes.
    """
    folders = [path for path in _visible(root) if path.is_dir()]
    names = {path.name.lower() for path in folders}
    if "train" not in names or not names <= SPLITS.keys():
        return {"train": _files(root)}
    splits: dict[str, Files] = {}
    for folder in folders:
        split = SPLITS[folder.name.lower()]
        if split in splits:
            raise UserError(f"'{root}' has two folders for the {split} split; merge them")
        splits[split] = _files(folder)
    _check_classes(root, splits)
    return splits


def classes(train: Files) -> tuple[str, ...]:
    """The names of the labels 0, 1, ...; empty where there are none."""
    return () if train.names is None else tuple(sorted(set(train.names)))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]


def _files(folder: Path) -> Files:
    loose = _images(_visible(folder))
    groups = {path.name: _below(path) for path in _visible(folder) if _is_group(path)}
    groups = {name: paths for name, paths in groups.items() if paths}
    if loose and groups:
        raise UserError(
            f"'{folder}' holds images ('{loose[0].name}') beside class folders "
            f"('{next(iter(groups))}'); put every image into a class folder, or none"
        )
    if loose:
        return Files(tuple(loose))
    if not groups:
        raise UserError(_nothing(folder))
    pairs = [(path, name) for name, paths in groups.items() for path in paths]
    return Files(tuple(path for path, _ in pairs), tuple(name for _, name in pairs))


def _is_group(path: Path) -> bool:
    """Whether it is a class folder. Raises UserError for a link that leads back, and a wild name.

    A link to a folder elsewhere is one; below it, links are not followed.
    """
    if not path.is_dir():
        return False
    if path.is_symlink() and path.resolve() in (here := path.parent.resolve(), *here.parents):
        raise UserError(f"'{path}' is a link to a folder that holds it; remove the link")
    if not path.name.isprintable():
        raise UserError(f"folder {str(path)!r} has a name that cannot be shown; rename it")
    return True


def _below(folder: Path) -> list[Path]:
    """All images of a class folder and the folders in it."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += _images(Path(here, name) for name in files if not name.startswith("."))
    return sorted(found)


def _nothing(folder: Path) -> str:
    kinds = ", ".join(sorted(SUFFIXES))
    archive = next((p.name for p in _visible(folder) if p.suffix.lower() in ARCHIVES), None)
    remedy = f"; unpack '{archive}' first" if archive else ""
    return f"folder '{folder}' holds no images ({kinds}){remedy}"


def _check_classes(root: Path, splits: dict[str, Files]) -> None:
    known = set(splits["train"].names or ())
    for split, files in splits.items():
        if (files.names is None) != (splits["train"].names is None):
            raise UserError(
                f"in '{root}', either train or {split} has class folders, but not both; lay them "
                "out alike"
            )
        for name in sorted(set(files.names or ()) - known):
            raise UserError(f"class '{name}' of '{root}' is in {split} but not in train")

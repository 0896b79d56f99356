"""Which files of a folder are samples, of which split and which class, and their images.

    cats/*.png                                     images without labels
    pets/cat/*.jpg  pets/dog/*.jpg                 classes, in the order of their sorted names
    pets/train/...  pets/val/...  pets/test/...    splits, each laid out as one of the above
    parts/train/good  parts/test/scratched  parts/ground_truth     MVTec: masks are left out

Sub-folders are splits where one is called train or training; their names are those of
`zspace.data.splits`, and a split that is missing is cut from train. Below a class, folders may
nest. Hidden files, empty folders and files of other kinds are not read. Whatever else holds images
is refused: it would be trained on as a class, or be left out without a word.

Images that fit the memory budget are decoded into memory; others once into a cache on disk, from
which batches are read: see `zspace.data.readers.cache`.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from zspace.data.account import Read
from zspace.data.dataset import Part, Storage, Unsplit
from zspace.data.kinds.image import BRIGHT, Scale, extent, scale_of
from zspace.data.labels import MISSING, by_value, merged
from zspace.data.read_options import ReadOptions
from zspace.data.readers import images, lists
from zspace.data.readers.arrays import scaled
from zspace.data.readers.cache import Cache, Depth
from zspace.data.readers.decoding import decoded, decoded_file, survey_of
from zspace.data.readers.images import Files, Source
from zspace.data.readers.mapped import Mapped
from zspace.data.splits import SPLITS, left_out, split_of
from zspace.system.errors import UserError

ARCHIVES = frozenset({".tar", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
MASKS = frozenset(
    {"ground_truth", "groundtruth", "gt", "mask", "masks", "annotation", "annotations"}
    | {"segmentation", "segmentations", "seg", "label", "labels"}
)
"""What folders of masks are called, which are not images to learn from."""
SYSTEM = frozenset({"__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"})


class Inventory(NamedTuple):
    """What a folder holds.

    Arguments:
        splits: The files of each split; "train" is always there.
        left_out: What is not read, each with its reason.
        folders: Split -> the names of its folders; empty where splits have none of their own.
    """

    splits: dict[str, Files]
    left_out: list[str]
    folders: dict[str, str]


def find_files(root: Path, options: ReadOptions) -> Inventory:
    """The files of "train" and, where the folder has them, of the other splits.

    Raises UserError for a folder without images, for images that have no place in its layout, and
    for splits that disagree about classes.
    """
    gone: list[str] = []
    entries = _entries(root, options, gone)
    groups = {path: split_of(path.name) for path, files in entries.folders.items() if files}
    splits = {path: split for path, split in groups.items() if split}
    if "train" in splits.values() or (options.whole and splits and len(splits) == len(groups)):
        return _in_splits(root, entries, splits, options, gone)
    if not options.whole:
        for path, split in splits.items():
            raise UserError(
                f"'{root}' holds the folder '{path.name}' but no images in 'train': give the "
                f"folder that holds both, or '{path}' itself, whatever its name; if that is the "
                f"{split} set, give the training images as --data and it as --{_flag(split)}"
            )
    return Inventory({"train": _files_in(root, entries, options, gone)}, gone, {})


def _flag(split: str) -> str:
    return {"validation": "val"}.get(split, "test")


def _in_splits(
    root: Path,
    entries: Entries,
    folders: Mapping[Path, str],
    options: ReadOptions,
    gone: list[str],
) -> Inventory:
    """A folder whose sub-folders are splits."""
    if entries.images:
        raise UserError(
            f"'{root}' holds images ('{entries.images[0].name}') beside the folders of its splits "
            f"({', '.join(path.name for path in folders)}): move them into one, or leave them out "
            f"with --leave-out '*{entries.images[0].suffix}'"
        )
    for path, files in entries.folders.items():
        if not files or path in folders:
            continue
        if _is_masks(path.name):
            gone.append(f"{path.name}/ ({len(files):,} masks)")
            continue
        raise UserError(
            f"folder '{path.name}' with {len(files):,} images stands beside the folders of the "
            f"splits ({', '.join(p.name for p in folders)}) in '{root}': leave it out with "
            f"--leave-out {path.name}, or, if all of them are classes, give them other names"
        )
    splits: dict[str, Files] = {}
    for path, split in folders.items():
        if split in splits:
            raise UserError(f"'{root}' has two folders for the {split} split; merge them")
        splits[split] = _files_in(path, _entries(path, options, gone), options, gone)
    names = {split: f"{path.name}/" for path, split in folders.items()}
    unlabelled = splits.pop("unlabelled", None)
    _check_classes(root, splits)
    if unlabelled is not None:
        splits["train"] = splits["train"].with_unlabelled(unlabelled)
        names["train"] = f"{names['train']} and {names['unlabelled']}"
    return Inventory({s: splits[s] for s in SPLITS if s in splits}, gone, names)


class Entries(NamedTuple):
    """What lies in a folder: images, and the images of each sub-folder and below."""

    images: list[Path]
    folders: dict[Path, list[Path]]


def _entries(folder: Path, options: ReadOptions, gone: list[str]) -> Entries:
    """The images there; what else there is goes to ``gone``."""
    found, folders = list[Path](), dict[Path, list[Path]]()
    others = Counter[str]()
    with os.scandir(folder) as scan:  # its entries know what they are without a look at each
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        kind = path if entry.is_symlink() else entry  # an entry raises where a link leads nowhere
        if entry.name.startswith(".") or entry.name in SYSTEM:
            continue
        if left_out(entry.name, options.leave_out):
            gone.append(f"{entry.name}{'/' * kind.is_dir()} (as asked)")
        elif kind.is_dir():
            _check_group(path)
            folders[path] = _below(path, options, gone)
            if not folders[path]:
                gone.append(f"{path.name}/ (no images)")
        elif path.suffix.lower() in images.SUFFIXES and kind.is_file():
            found.append(path)
        elif path.suffix.lower() in LISTS and kind.is_file():
            gone.append(f"{path.name} (--labels {path.name} reads it)")
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    gone += [f"{n:,} other file{'s' * (n > 1)} ({end})" for end, n in others.items()]
    return Entries(found, folders)


LISTS = frozenset({".csv", ".tsv"})


def _files_in(folder: Path, entries: Entries, options: ReadOptions, gone: list[str]) -> Files:
    """The images of one split, or of a folder without splits."""
    groups = {path: files for path, files in entries.folders.items() if files}
    if entries.images and groups:
        name = next(iter(groups)).name
        raise UserError(
            f"'{folder}' holds images ('{entries.images[0].name}') beside class folders "
            f"('{name}'); put every image into a class folder, or none, or leave the others out "
            f"with --leave-out {name}"
        )
    _refuse_mask_files(folder, [*entries.images, *(p for files in groups.values() for p in files)])
    if entries.images:
        return Files(tuple(entries.images))
    if not groups:
        visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        archive = next((path.name for path in visible if path.suffix.lower() in ARCHIVES), None)
        remedy = f"unpack '{archive}' first" if archive else "give the folder that holds them"
        kinds = ", ".join(sorted(images.SUFFIXES))
        raise UserError(f"folder '{folder}' holds no images ({kinds}); {remedy}")
    top = split_of(folder.name) is not None
    if len(groups) == 1 and not top and not options.whole and options.class_level == 1:
        (only,) = groups
        raise UserError(
            f"'{folder}' holds one folder with images, '{only.name}', which would be its only "
            f"class: give '{only}' itself"
        )
    for path, files in groups.items():
        _refuse_within(folder, path, files)
    pairs = [
        (path, _class(path.relative_to(folder).parts[:-1], options.class_level))
        for files in groups.values()
        for path in files
    ]
    below = {path.parent for path, name in pairs} - {folder / name for _, name in pairs}
    if below and options.class_level == 1:
        more = f"--class-level 2 makes classes of {min(below).relative_to(folder).as_posix()}, ..."
        gone.append(f"names of {len(below):,} folders within classes ({more})")
    return Files(tuple(path for path, _ in pairs), tuple(name for _, name in pairs))


def _refuse_mask_files(root: Path, files: Sequence[Path]) -> None:
    """Raise UserError for masks that lie beside their images, as 1_mask.png beside 1.png."""
    parts = ((path, *path.stem.rpartition("_")) for path in files)
    marked = [
        (path, base, end) for path, base, mark, end in parts if mark and end.lower() in MASKS
    ]
    stems = {(path.parent, path.stem) for path in files} if marked else set()
    for path, base, end in marked:
        if (path.parent, base) in stems:
            raise UserError(
                f"'{path.name}' in '{root}' is a mask of '{base}' by its name, which would be "
                f"trained on as an image: leave such files out with --leave-out '*_{end}.*'"
            )


def _class(folders: tuple[str, ...], level: int) -> str:
    """The class of an image in these folders, one within the other.

    >>> _class(("bird", "eagle", "2024"), 2), _class(("bird",), 2)
    ('bird/eagle', 'bird')
    """
    return "/".join(folders[:level])


def _is_masks(name: str) -> bool:
    """Whether a folder of this name holds masks: "ground_truth", "image_masks", not "gas_mask"."""
    words = re.split(r"[^a-z]+", name.lower())
    return name.lower() in MASKS or "masks" in words or "annotations" in words


def _refuse_within(root: Path, group: Path, files: Sequence[Path]) -> None:
    """Raise UserError for masks, and for splits inside of classes."""
    inner = {part for path in files for part in path.relative_to(group).parts[:-1]}
    masks = [name for name in (group.name, *sorted(inner)) if _is_masks(name)]
    if masks:
        raise UserError(
            f"folder '{masks[0]}' in '{root}' holds masks by its name, which would be trained on "
            f"as images: leave it out with --leave-out {masks[0]}, or give it another name"
        )
    split = [name for name in sorted(inner) if split_of(name)]
    if split:
        raise UserError(
            f"class folder '{group.name}' of '{root}' holds folders of splits ('{split[0]}'): "
            f"give '{group}' itself if that is the data set, or put classes into splits "
            f"({split[0]}/{group.name}), not splits into classes"
        )


def _check_group(path: Path) -> None:
    """Raise UserError for a class folder that is a link which leads back, or whose name cannot be
    shown. A link to a folder elsewhere is a class folder, too.
    """
    if path.is_symlink() and path.resolve() in (here := path.parent.resolve(), *here.parents):
        raise UserError(f"'{path}' is a link to a folder that holds it; remove the link")
    if not path.name.isprintable():
        raise UserError(f"folder {str(path)!r} has a name that cannot be shown; rename it")


def _below(folder: Path, options: ReadOptions, gone: list[str]) -> list[Path]:
    """All images of a class folder and the folders in it; links in it are not followed."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        for name in sorted(folders):
            if left_out(name, options.leave_out):
                gone.append(f"{Path(here, name).relative_to(folder.parent)}/ (as asked)")
            elif Path(here, name).is_symlink():
                gone.append(f"{Path(here, name).relative_to(folder.parent)}/ (a link)")
        folders[:] = [
            n for n in folders if not (n.startswith(".") or left_out(n, options.leave_out))
        ]
        for name in files:
            path = Path(here, name)
            if name.startswith(".") or path.suffix.lower() not in images.SUFFIXES:
                continue
            if left_out(name, options.leave_out):
                gone.append(f"{path.relative_to(folder.parent).as_posix()} (as asked)")
            elif path.is_file():
                found.append(path)
    return sorted(found)


def _check_classes(root: Path, splits: dict[str, Files]) -> None:
    known = splits["train"].names if "train" in splits else None
    for split, files in splits.items():
        if "train" in splits and (files.names is None) != (known is None):
            raise UserError(
                f"in '{root}', either train or {split} has class folders, but not both; lay them "
                f"out alike, or leave {split} out with --leave-out {split}"
            )


def load_folder(root: Path, options: ReadOptions) -> Unsplit:
    """The images of a folder.

    Without a size all images must agree in height and width. Grey and colour images together all
    become RGB, unless ``channels`` says otherwise.

    Raises UserError naming the file or files at fault.
    """
    # Absolute, so that a worker, or a caller that changes folder, still finds the files.
    root = root.absolute()
    name, found = root.resolve().name, find_files(root, options)
    about = f"The folder of images {name}."
    labels = "folders" * any(files.names is not None for files in found.splits.values())
    origins = {s: found.folders.get(s, f"{name}/") for s in found.splits}
    splits, gone, facts = found.splits, found.left_out, dict[str, Any]()
    if options.labels:
        splits, labels, gone, facts["attributes"] = _by_list(root, found, options)
        origins |= {s: f"{name}/, split of {labels}" for s in splits if s not in found.splits}
    read = Read(left_out=tuple(gone), labels=labels)
    told = {"name": name, "read": read, "origins": origins, "about": about, **facts}
    return gather(root, splits, options, **told)


def _by_list(
    root: Path, found: Inventory, options: ReadOptions
) -> tuple[dict[str, Files], str, list[str], tuple[str, ...]]:
    """The files of each split with the labels of a list, their origin, what is not read, and the
    names of attributes.
    """
    given = lists.split_option(options.labels)
    if given is None or given[0].lower().endswith(".npy"):
        raise UserError(
            f"--labels {options.labels} is no list of files: give a CSV file with a column of "
            "file names and one of labels"
        )
    path = lists.found_at(given[0], root)
    whole = [(s, file) for s, files in found.splits.items() for file in files.paths]
    names = _ids([file for _, file in whole], root)
    listed = lists.of_files(path, given[1], names)
    parts: dict[str, list[int]] = {}
    for i, (split, own) in enumerate(zip((s for s, _ in whole), listed.splits, strict=True)):
        if own and found.folders:
            raise UserError(f"'{path}' has a column 'split', but '{root}' has folders of splits")
        parts.setdefault({"unlabelled": "train"}.get(own, own) or split, []).append(i)
    if "train" not in parts and not options.whole:
        raise UserError(f"'{path}' gives no image to the split train: add some")
    files = Files(tuple(Path(str(file)) for _, file in whole))
    every, attributes = lists.labelled(files, listed, path, options)
    gone = [text for text in found.left_out if not text.startswith(f"{path.name} (")]
    if listed.strange:
        first = listed.strange[0]
        gone.append(f"{len(listed.strange):,} rows of {path.name} without an image ('{first}')")
    return (
        {s: every.keep(parts[s]) for s in SPLITS if s in parts},
        f"{listed.column} of {path.name}",
        gone,
        attributes,
    )


def load_file(path: Path, options: ReadOptions) -> Unsplit:
    """One image in a file, for a finished run. Raises UserError where it cannot be read."""
    path = path.absolute()
    about, files = f"The image {path.name}.", {"train": Files((path,))}
    origins = {"train": path.name}
    return gather(
        path.parent, files, options, name=path.stem, read=Read(), origins=origins, about=about
    )


def gather(
    root: Path,
    splits: Mapping[str, Files],
    options: ReadOptions,
    *,
    name: str,
    read: Read,
    about: str,
    origins: Mapping[str, str] | None = None,
    **facts: Any,
) -> Unsplit:
    """A data set with the images of every split, in memory or on disk.

    With ``skip_bad``, unreadable files are left out, counted in `Data.skipped` and warned of once.

    Arguments:
        root: Where the files lie, or what else names them; absolute, as the files are.
        splits: "train" and, where there are some, "validation" and "test".
        options: How the images are read.
        name: Of the data set.
        read: What its reader knows so far.
        about: Its provenance.
        origins: Split -> where its files are from, for people.
        facts: Other fields of `Data`. Without classes, they are the names that the files have.

    Raises UserError naming the file or files at fault.
    """
    stored, bad, values, clear = _stored(root, splits, options)
    gone = read.left_out
    if bad:
        text = f"{len(bad)} unreadable files of '{root}' are left out; the first: {bad[0]}"
        warnings.warn(text, UserWarning, stacklevel=4)
        gone = (*gone, f"{len(bad):,} unreadable file{'s' * (len(bad) > 1)}")
    tables = [
        tuple(sorted({n for n in f.names or () if n}, key=by_value)) for f, _ in stored.values()
    ]
    classes = facts.get("classes") or merged(tables, name)
    number = {name: i for i, name in enumerate(classes)} | {"": MISSING}
    parts: dict[str, Part] = {}
    for split, (files, x) in stored.items():
        y = None if files.names is None else torch.tensor([number[n] for n in files.names]).long()
        held = None if files.attributes is None else torch.from_numpy(files.attributes)
        ids = _ids(files.paths, root)
        parts[split] = Part(x, y, held, ids=ids, origin=(origins or {}).get(split, split))
    facts |= {"classes": classes, "skipped": len(bad), "provenance": about}
    read = replace(read, values=values.about, scale=(values.low, values.high), left_out=gone)
    if clear:
        what = {"white": "laid over white", "drop": "dropped", "keep": "kept as a channel"}
        note = f"{clear:,} image{'s' * (clear > 1)} may be transparent, which is "
        read = replace(read, notes=(*read.notes, note + what[options.transparency]))
    return Unsplit(name, parts, read, facts)


def _ids(sources: Sequence[Source], root: Path) -> list[str]:
    """The names of files within the folder, or of rows."""
    inside = f"{root.as_posix().rstrip('/')}/"
    return [
        source.as_posix().removeprefix(inside) if isinstance(source, Path) else str(source)
        for source in sources
    ]


def _stored(
    root: Path, splits: Mapping[str, Files], options: ReadOptions
) -> tuple[dict[str, tuple[Files, Storage]], list[str], Scale, int]:
    """The images of each split with the files that could be read, the errors of the others, how
    their values were taken, and how many may be transparent.
    """
    cache = Cache(root, splits, options)
    kept = cache.find()
    if kept is None or kept.nbytes <= options.memory:
        survey = survey_of(splits, options)
        shape, depth = survey.agreed
        if survey.agreed.nbytes * sum(map(len, survey.readable.values())) <= options.memory:
            return *_scaled(root, *decoded(survey, options), depth, options), survey.clear
        kept = cache.make(
            shape, depth, partial(decoded_file, survey.agreed, options), survey.clear
        )
    return *_scaled(root, kept.splits, kept.bad, kept.depth, options), kept.clear


def _scaled(
    root: Path,
    stored: Mapping[str, tuple[Files, Storage]],
    bad: list[str],
    depth: Depth,
    options: ReadOptions,
) -> tuple[dict[str, tuple[Files, Storage]], list[str], Scale]:
    """The images with their values in [0, 1]: those in memory at once, others when read."""
    what = f"'{root.name}'"
    enough = BRIGHT if depth.name == "uint8" and not options.values else math.inf
    every = (piece for _, x in stored.values() for piece in _pieces(x))
    low, high = extent(every, what, enough=enough)
    scale = scale_of(np.dtype(depth.name), low, high, options.values, what)
    if depth.name == "uint8" and (scale.low, scale.high) == (0, 255):
        return dict(stored), bad, scale
    found: dict[str, tuple[Files, Storage]] = {}
    for split, (files, x) in stored.items():
        if isinstance(x, Mapped):
            found[split] = files, replace(x, scale=scale)
        else:
            assert isinstance(x, torch.Tensor)
            found[split] = files, scaled([x.numpy()], scale)
    return found, bad, scale


def _pieces(x: Storage) -> Iterator[np.ndarray]:
    step = max(1, (1 << 24) // math.prod(x.shape[1:]))
    if isinstance(x, torch.Tensor):
        yield from (piece.numpy() for piece in x.split(step))
    else:
        yield from (x.read(rows).numpy() for rows in torch.arange(x.shape[0]).split(step))

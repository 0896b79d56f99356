"""CelebA, aligned faces with 40 attributes, from files that the user has fetched.

img_align_celeba/000001.jpg ...   178 x 218
list_attr_celeba.txt              the number of images; the names of the attributes; then one line
                                  per image: a file name and, for every attribute, 1 or -1
list_eval_partition.txt           one line per image: a file name and 0 (train), 1 (validation)
                                  or 2 (test)

Reference: Liu, Luo, Wang, Tang. Deep learning face attributes in the wild. ICCV 2015, arXiv
1411.7766.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zspace.data.account import Read
from zspace.data.dataset import Unsplit
from zspace.data.read_options import ReadOptions
from zspace.data.readers.fetch import Found, damaged, together
from zspace.data.readers.folder import gather
from zspace.data.readers.images import Files
from zspace.data.splits import SPLITS

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
NAMES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair",
    "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair",
    "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline",
    "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings",
    "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
CROP = 140
SIZE = 64
_MOST_BYTES = 1 << 26
_NUMBERS = {split: str(number) for number, split in enumerate(SPLITS)}


def find(folder: Path) -> Found | None:
    """The folder of images and the two lists; None unless all are there."""
    lists = together(folder, (ATTRIBUTES, PARTITION))
    return (folder / IMAGES, *lists) if lists and (folder / IMAGES).is_dir() else None


def load(name: str, files: Found, options: ReadOptions, about: str) -> Unsplit:
    """The centre 140 x 140 of every image, which is about the face, resized.

    Arguments:
        name: Of the data set.
        files: What `find` gave.
        options: How images are read; without a size, to 64 x 64, which most papers use.
        about: The provenance.

    Raises UserError where the lists are damaged or disagree, and for unreadable images.
    """
    folder, attributes, partition = files
    names, rows = _attributes(attributes)
    splits = _splits(folder, partition, rows)
    size, channels = options.size or SIZE, options.channels or 3
    options = replace(options, size=size, channels=channels, crop=CROP)
    read = Read(labels=attributes.name)
    return gather(folder, splits, options, name=name, read=read, about=about, attributes=names)


def _attributes(path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The names of the attributes, and for every image which of them hold, (A,) of 0 and 1."""
    lines = _lines(path)
    names = tuple(lines[1].split()) if len(lines) > 1 else ()
    rows = {}
    for number, line in enumerate(lines[2:], 3):
        image, *values = line.split()
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            wanted = f"a file name and {len(names)} times 1 or -1"
            raise damaged(path, f"has a line {number} that is not {wanted}")
        rows[image] = np.array([value == "1" for value in values], np.uint8)
    if not names or not rows:
        raise damaged(path, "lists no attributes of images")
    return names, rows


def _splits(folder: Path, path: Path, rows: dict[str, np.ndarray]) -> dict[str, Files]:
    """The files of each split with their attributes."""
    listed: dict[str, list[str]] = {number: [] for number in _NUMBERS.values()}
    for number, line in enumerate(_lines(path), 1):
        image, *split = line.split()
        if len(split) != 1 or split[0] not in listed or image not in rows:
            wanted = f"an image of '{ATTRIBUTES}' and 0, 1 or 2"
            raise damaged(path, f"has a line {number} that is not {wanted}")
        listed[split[0]].append(image)
    found = {}
    for name, code in _NUMBERS.items():
        if images := listed[code]:
            paths = tuple(folder / image for image in images)
            found[name] = Files(paths, attributes=np.stack([rows[image] for image in images]))
    if "train" not in found:
        raise damaged(path, "has no image for training")
    return found


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise damaged(path, "is not a list of images") from error

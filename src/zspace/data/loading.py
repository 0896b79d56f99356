"""Where data come from: `load` for a name or a path, and facts of the sets that have a name.

`DataOptions` is what a user may choose about them; the command line makes its flags from it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from zspace.data.batches import Augment, Binarize
from zspace.data.dataset import Data, Part, assemble, check, without
from zspace.data.readers import fetch, hf
from zspace.data.readers.arrays import load_npy, load_npz
from zspace.data.readers.folder import ARCHIVES, load_folder
from zspace.data.readers.images import ReadOptions
from zspace.data.sets import celeba, mnist
from zspace.data.sets.catalogue import KNOWN, Known
from zspace.system.errors import UserError, nearest, unknown


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how they are prepared."""

    data: str = "mnist5k"
    """A known name (see `zspace data list`), hf:NAME, a folder of images, .npz or .npy file."""

    data_dir: Path | None = None
    """Folder with local copies of known sets; default: the environment's ZSPACE_DATA."""

    size: int | None = None
    """Resize and crop images in files (a folder, celeba, hf:NAME) to this many pixels square."""

    skip_bad: bool = False
    """Leave out unreadable images of a folder instead of stopping at the first."""

    augment: Augment = "none"
    """Change training images at random: flip left-right (suits natural images), move (crop)."""

    binarize: Binarize = "none"
    """Make pixels 0 or 1: one draw for good (static) or a fresh one each time (dynamic)."""

    hold_out_class: str = ""
    """Keep images of this class out of training and validation: they are the test's anomalies."""

    def check(self) -> DataOptions:
        """These options. Raises UserError where one makes no sense."""
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
    """A row of `sources`."""

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

    data_dir: where local copies of known sets lie; else ZSPACE_DATA, else they are downloaded.
    size: for images in files, the side of the square they are resized and cropped to.
    channels: 1 for grey or 3 for RGB; None leaves it to the images.
    skip_bad: leave out unreadable images of a folder and warn, rather than stop.
    hold_out_class: a class whose images only the test split keeps; see `zspace.data.dataset`.
    memory: bytes that images may take before they stay on disk (files are decoded once, into the
        user's cache folder); None: half of the free memory.
    quiet: no progress bars.

    Raises UserError, one sentence, for whatever is wrong with the data or their name.

        >>> data = load("mnist5k")
        >>> len(data.train), len(data.validation), len(data.test), data.spec.shape
        (4050, 450, 500, (1, 28, 28))
    """
    if size is not None and not 1 <= size <= MOST_SIDE:
        raise UserError(
            f"--size is the side of an image in pixels, 1 to {MOST_SIDE:,}, but is {size}"
        )
    if channels not in (None, 1, 3):
        raise UserError(f"channels must be 1 (grey) or 3 (RGB), but is {channels}")
    budget = _budget() if memory is None else memory
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
    """Whether data of that name are a known set, which goes before a folder of the same name, or
    one of the hub's.
    """
    return name in KNOWN or name.startswith(hf.PREFIX)


def lasting(name_or_path: str) -> str:
    """The same name or path so that it means the same from any folder."""
    if name_or_path.startswith(hf.PREFIX):
        return hf.lasting(name_or_path)
    return name_or_path if name_or_path in KNOWN else str(Path(name_or_path).resolve())


def is_resized(name_or_path: str) -> bool:
    """Whether the images of that source can be had at any size."""
    if name_or_path in KNOWN:
        return KNOWN[name_or_path].read is None and KNOWN[name_or_path].made is None
    return name_or_path.startswith(hf.PREFIX) or Path(name_or_path).is_dir()


def sources(data_dir: Path | None = None) -> list[KnownSource]:
    """Every known set: name, one sentence, licence, and whether it can be had without network."""
    return [
        KnownSource(name, f"{known.about}.", known.licence, _where(known, data_dir) is not None)
        for name, known in KNOWN.items()
    ]


def describe(name: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Facts of a known set, without downloading it; its values are plain JSON.

    Raises UserError for an unknown name.
    """
    if name not in KNOWN:
        raise UserError(_unknown(name))
    known = KNOWN[name]
    remote = known.remote
    return {
        "name": name,
        "provenance": known.provenance,
        "licence": known.licence,
        "shape": list(known.shape),
        "classes": list(known.classes),
        "attributes": list(known.attributes),
        "sizes": dict(known.sizes),
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
    found = fetch.local(known.remote, data_dir)
    if found is not None:
        return str(found[0].parent)
    return str(known.remote.cache) if fetch.cached(known.remote) else None


def _load_known(name: str, data_dir: Path | None, options: ReadOptions) -> Data:
    known = KNOWN[name]
    if known.remote is None:
        part = (known.made or _packaged)()
        data = assemble(name, part, classes=known.classes, provenance=known.provenance)
        return _fixed(replace(data, factors=known.factors), options)
    files = fetch.local(known.remote, data_dir) or fetch.download(known.remote, options.quiet)
    if known.read is None:
        return celeba.load(name, files, options, known.provenance)
    train, test = known.read(files, len(known.classes))
    data = assemble(name, train, test=test, classes=known.classes, provenance=known.provenance)
    return _fixed(data, options)


def _packaged() -> Part:
    with (
        files("zspace.data").joinpath("assets/mnist5k.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        x, y = archive["x"], archive["y"]
    return Part(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y.astype(np.int64)))


def _own_idx(path: Path, files: fetch.Found, memory: float) -> Data:
    """A folder of the user's with the four IDX files of a set, whatever set it is."""
    name = path.resolve().name
    claims = [mnist.shape(images, axes=3) for images in files[::2]]
    if (size := sum(map(math.prod, claims))) > memory:
        raise UserError(
            f"the IDX files of '{path}' unpack to {size / 1e9:.1f} GB, over the memory budget of "
            f"{memory / 1e9:.1f} GB; save the images as an .npy, which is read from disk"
        )
    check(name, [(n, 1, *sides) for n, *sides in claims])
    train, test = mnist.read_set(files, 256)
    most = max(int(part.y.max()) for part in (train, test) if part.y is not None)
    return assemble(
        name,
        train,
        test=test,
        classes=tuple(map(str, range(most + 1))),
        provenance=f"The IDX files of the folder {name}.",
    )


def _load_path(path: Path, given: str, options: ReadOptions) -> Data:
    if not given or not path.exists():
        raise UserError(_missing(given))
    if path.is_dir():
        quartet = mnist.find(path)
        if quartet is None:
            return load_folder(path, options)
        return _fixed(_own_idx(path, quartet, options.memory), options)
    by_suffix: dict[str, Callable[[Path, float], Data]] = {".npz": load_npz, ".npy": load_npy}
    reader = by_suffix.get(path.suffix.lower())
    if not path.is_file():
        raise UserError(f"'{given}' is no file, but a pipe or a device; {_CHOICE}")
    if reader is not None:
        return _fixed(reader(path, options.memory), options)
    if path.suffix.lower() in ARCHIVES:
        raise UserError(f"'{given}' is an archive; unpack it first and give the folder")
    raise UserError(f"'{given}' is not data; {_CHOICE}")


def _fixed(data: Data, options: ReadOptions) -> Data:
    """The data as they are, once it is sure that nobody asked for another size."""
    channels, height, width = data.spec.shape
    if options.size not in (None, height) or options.size not in (None, width):
        raise UserError(
            f"--size {options.size} is for folders of images; '{data.name}' is {width} x {height}"
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
    looks_like_path = any(sign in given for sign in (os.sep, "/", ".", "~"))
    return f"data '{given}' do not exist; {_CHOICE}" if looks_like_path else _unknown(given)


def _unknown(name: str) -> str:
    near = nearest(name, KNOWN)
    hint = f"did you mean '{near}'? Otherwise " if near else ""
    return f"data '{name}' is neither a known name nor an existing path; {hint}{_CHOICE}"


def _budget() -> float:
    """Half of the free memory in bytes."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):  # not on this system
        return 4e9

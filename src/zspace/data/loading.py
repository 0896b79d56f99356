"""Where data come from: `load` for a name or a path, and facts of the sets with a name.

name          a set of `zspace.data.sets.catalogue`, local, cached or downloaded
hf:NAME       a set of the Hugging Face hub, or a folder in its format
folder        image files, or the four IDX files of MNIST's kind
.npz .npy     arrays: images, or rows of a table (N, D)
.csv .tsv .parquet   tables; with --window a long series, a folder of them several; with kind
                     tokens their column of texts
.txt .smi .json      texts, one for each line; lists of texts, of integers, of chords
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from zspace.data.account import Read
from zspace.data.dataset import Data, Part, Unsplit, check
from zspace.data.kinds.encoding import Encoding, Unencoded
from zspace.data.kinds.image import BRIGHT, extent, scale_of
from zspace.data.labels import read_labels
from zspace.data.read_options import Cut, Fit, Kind, ReadOptions, Transparency
from zspace.data.readers import arrays, fetch, hf, series_tables, text_files
from zspace.data.readers.delimited import PARQUET, TEXT
from zspace.data.readers.folder import ARCHIVES, load_file, load_folder
from zspace.data.readers.images import SUFFIXES, sides
from zspace.data.readers.objects import PREFIX, load_object
from zspace.data.readers.raw_samples import encode_raw
from zspace.data.readers.series_arrays import is_wanted
from zspace.data.readers.tabular import load_file as load_file_of_rows
from zspace.data.selection import as_drawn, without
from zspace.data.sets import celeba, mnist
from zspace.data.sets.catalogue import KNOWN
from zspace.data.splits import left_out
from zspace.system.cores import reading
from zspace.system.errors import UserError, nearest
from zspace.system.files import room

MOST_SIDE = 4096
"""The largest --size: an image of it still fits the memory many times over."""


def load(
    source: Any,
    *,
    data_dir: Path | None = None,
    size: int | str | tuple[int, int] | None = None,
    fit: Fit = "crop",
    transparency: Transparency = "white",
    channels: int | None = None,
    skip_bad: bool = False,
    hold_out_class: str = "",
    val: Any = "",
    test: Any = "",
    values: Sequence[Any] = (),
    labels: str = "",
    class_level: int = 1,
    labelled_only: bool = False,
    leave_out: Sequence[str] = (),
    kind: Kind = "auto",
    columns: str = "",
    missing: Sequence[str] = (),
    group: str = "",
    split_by: str = "",
    weight: str = "",
    balance: bool = False,
    window: int = 0,
    stride: int = 0,
    tokens: Cut = "auto",
    vocabulary: int = 10_000,
    length: int = 0,
    classes: tuple[str, ...] = (),
    encoding: Encoding | None = None,
    memory: float | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> Data:
    """A data set by its name, or from a folder of images or IDX files, an .npz or an .npy file,
    or, as hf:NAME, from the Hugging Face hub, or from what is held in Python: arrays and tensors,
    (x, y), dicts of them, torch's Dataset and DataLoader (`zspace.data.readers.objects`).

    Splits that the data do not have are cut from train, always in the same way: see
    `zspace.data.splits`. What was read is told by `zspace.data.account.lines`.

    Arguments:
        source: A name, a path or an object; a folder with content goes before a known set of the
            same name. `Data` are returned as they are.
        data_dir: Where local copies of known sets lie; else ZSPACE_DATA, else they are downloaded
            to the user's cache folder and checked.
        size: For images in files, what they are brought to: pixels of a square, "WIDTHxHEIGHT", or
            (height, width).
        fit: How: "crop" what is over, "pad" with black, or "stretch".
        transparency: Laid over "white", or "drop" it, or "keep" it as a fourth channel.
        channels: 1 for grey or 3 for RGB; None leaves it to the images.
        skip_bad: Leave out unreadable images of a folder and warn, rather than stop; and empty
            lines of a file of texts.
        val: The validation set, where it lies apart; whatever ``source`` may be.
        test: The test set, likewise.
        hold_out_class: A class of which only the test split has images: all of them.
        values: (LOW, HIGH), the raw values that become 0 and 1; ("auto",) takes what is there.
            Without, bytes are divided by 255, 16 bits by 65,535, and floats lie in [0, 1].
        labels: FILE.csv with the label of each file (FILE.csv:COLUMN), or the array or the column
            that holds the labels, where names do not say it; several columns with commas between.
        class_level: Which level of folders are the classes, from 1.
        labelled_only: Leave out samples that have no label.
        leave_out: Names or patterns of arrays, folders, files or columns that are not read.
        kind: "image", "table", "series" or "tokens"; "auto" takes what the source shows.
        columns: Kinds of columns of a table or of labels: "age=number,sex=category"; others are
            found.
        missing: Further values of a table or of labels that mean missing, as text.
        group: A column of a table whose groups are not torn apart by the splits.
        split_by: A column of a table, of dates or numbers: the greatest tenth is test, a tenth
            before it validation.
        weight: The array or column that holds the weights of samples, where it is not called w;
            see `zspace.data.selection`.
        balance: Draw all classes equally often in training.
        window: Cut a long series into windows of so many steps; 0: the samples of an array.
        stride: Steps from one window to the next; 0: an eighth of a window.
        tokens: How texts are cut into tokens; see `zspace.data.kinds.tokens`.
        vocabulary: The most tokens that are told apart.
        length: The most tokens of a sample, its end included; 0: no limit.
        classes: Those that a finished run knows, where its training goes on: labels are matched
            with them by name.
        encoding: What that run has learned of its samples; None learns anew, or is for images.
        memory: Bytes that images may take before they stay on disk, where files are decoded once
            into the cache folder. None: half of the free memory, which leaves room for a model.
        workers: Threads that read files; 0: see `zspace.system.cores.readers`.
        quiet: Show no progress bars.

    Raises UserError, one sentence, for whatever is wrong with the data or their name.

    >>> data = load("mnist5k")
    >>> len(data.train), len(data.validation), len(data.test), data.spec.shape
    (4050, 450, 500, (1, 28, 28))
    >>> load("mnist5k").fingerprint == data.fingerprint
    True
    """
    budget = room() if memory is None else memory
    options = ReadOptions(parse_size(size), channels, skip_bad, budget, quiet)
    options = replace(options, values=tuple(values), labels=labels, leave_out=tuple(leave_out))
    options = replace(options, fit=fit, transparency=transparency, class_level=class_level)
    options = replace(options, columns=columns, missing=tuple(map(str, missing)), group=group)
    options = replace(options, split_by=split_by, weight=weight, kind=kind, window=window)
    options = replace(options, stride=stride, tokens=tokens, vocabulary=vocabulary, length=length)
    if encoding is not None:
        options = replace(options, **encoding.reading)
    if isinstance(source, Data):
        if (
            options != replace(ReadOptions(), memory=budget, quiet=quiet)
            or val != ""
            or test != ""
        ):
            raise UserError(
                "these are Data, which are read and split already: give the options of reading to "
                "zspace.data.load, or the arrays themselves"
            )
        data = without(source.labelled() if labelled_only else source, hold_out_class)
        return as_drawn(data, balance)
    with reading(workers):
        found = _as_asked(read(source, options, data_dir), options.leave_out)
        found_kind = _of_kind(found, options)
        whole_rows = found_kind != "image"
        for split, other in (("validation", val), ("test", test)):
            if not isinstance(other, str) or other:
                told = found.facts.get("attributes", ())
                apart = replace(options, kind=found_kind, whole=True, attributes=told)
                apart = apart if whole_rows else replace(apart, labels="", leave_out=())
                found = found.with_split(split, read(other, apart, data_dir))
    if weight and all(part.weights is None for part in found.parts.values()):
        raise UserError(
            f"--weight {weight:.60}: weights are an array of an .npz or a dict, or a column of a "
            f"table, and '{found.name}' holds none: leave it out"
        )
    fixed = isinstance(source, str) and is_known(source)
    found = found.known_as(classes) if classes else found
    data = found.data(fixed=fixed)
    data = without(data.labelled() if labelled_only else data, hold_out_class)
    return encode_raw(as_drawn(data, balance), options, encoding)


OF_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("size", "values"), ("image",)),
    "columns": ("table", "series"),
    "missing": ("table", "series"),
    "group": ("table", "series", "tokens"),
    "split_by": ("table", "tokens"),
    **dict.fromkeys(("window", "stride"), ("series",)),
    **dict.fromkeys(("tokens", "vocabulary", "length"), ("tokens",)),
}
"""Options that are for some kinds of samples only."""
NAMED = {"image": "images", "table": "rows of a table", "series": "series", "tokens": "texts"}


def kind_of(found: Unsplit) -> Kind:
    """What the samples of a source are, as a reader took them."""
    raw = [part.x for part in found.parts.values()]
    kinds = (x.kind for x in raw if isinstance(x, Unencoded))
    return cast(Kind, next(kinds, "image"))


def _of_kind(found: Unsplit, options: ReadOptions) -> Kind:
    """What the samples are. Raises UserError where another kind, or its options, were given."""
    kind = kind_of(found)
    if options.kind not in ("auto", kind):
        raise UserError(
            f"--kind is {options.kind}, but '{found.name}' holds {NAMED[kind]}: leave --kind out"
        )
    labelled = any(p.y is not None or p.attributes is not None for p in found.parts.values())
    usual = ReadOptions()
    for name, kinds in OF_KINDS.items():
        if kind in kinds or getattr(options, name) == getattr(usual, name):
            continue
        if name in ("columns", "missing") and labelled:
            continue  # said of labels
        what = f"{' and '.join(NAMED[one] for one in kinds)}, but these are {NAMED[kind]}"
        what += " without labels" * (name in ("columns", "missing"))
        raise UserError(f"--{name.replace('_', '-')} is for {what}: leave it out")
    return kind


def _as_asked(found: Unsplit, patterns: Sequence[str]) -> Unsplit:
    """What was left out by name told in short. Raises UserError for a name that nothing has."""
    end = " (as asked)"
    asked = [text.removesuffix(end) for text in found.read.left_out if text.endswith(end)]
    told = []
    for pattern in patterns:
        hits = [n for n in asked if left_out(n.rstrip("/").rpartition("/")[2], [pattern])]
        if not hits:
            raise UserError(f"--leave-out {pattern}: nothing in '{found.name}' is called so")
        told.append((hits[0] if len(hits) == 1 else f"{len(hits):,} of {pattern}") + end)
    others = [text for text in found.read.left_out if not text.endswith(end)]
    return replace(found, read=replace(found.read, left_out=(*others, *dict.fromkeys(told))))


def load_new(
    source: Any,
    *,
    classes: tuple[str, ...] = (),
    data_dir: Path | None = None,
    size: int | str | tuple[int, int] | None = None,
    fit: Fit = "crop",
    transparency: Transparency = "white",
    class_level: int = 1,
    channels: int | None = None,
    values: Sequence[Any] = (),
    encoding: Encoding | None = None,
    missing: Sequence[str] = (),
    labels: str = "",
    columns: str = "",
    weight: str = "",
    attributes: tuple[str, ...] = (),
    stride: int = 0,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Data:
    """The same for a finished run: one set of any size, which nobody splits.

    Arguments:
        source: As in `load`; also a single image.
        classes: Those of the run, with which labels are matched by name.
        data_dir: Where local copies of known sets lie.
        size: Of images in files.
        fit: As the run was trained.
        transparency: As the run was trained.
        class_level: As the run was trained.
        channels: Of images in files.
        values: The range that the run was trained with.
        encoding: What the run has learned of its samples; None for images.
        missing: Further values of a table that mean missing, as the run was trained.
        labels: The column of labels, as the run was trained; it need not be there.
        columns: Kinds of columns of labels, as the run was trained.
        weight: What holds weights, as the run was trained; they are not used.
        attributes: Those of the run; labels are read as them where they can be.
        stride: Of windows of a series, as the run was trained.
        skip_bad: As the run was trained.
        quiet: Show no progress bars.

    >>> whole = load_new("mnist5k")
    >>> {name: len(samples) for name, samples in whole.splits.items()}
    {'all': 5000}
    """
    options = ReadOptions(parse_size(size), channels, skip_bad, room(), quiet, whole=True)
    options = replace(options, fit=fit, transparency=transparency, class_level=class_level)
    options = replace(options, missing=tuple(missing), labels=labels)
    options = replace(options, columns=columns, weight=weight, attributes=attributes)
    if encoding is None:
        options = replace(options, kind="image")
    if encoding is not None:
        options = replace(options, stride=stride, **encoding.reading)
    if isinstance(source, Data):
        return source.as_new(classes)
    found = read(source, replace(options, values=tuple(values)), data_dir)
    have, want = (NAMED[one] for one in (kind_of(found), encoding.kind if encoding else "image"))
    if have != want:
        raise UserError(f"'{found.name}' holds {have}, but this model reads {want}: give {want}")
    return encode_raw(found.as_one(classes), options, encoding)


def read(source: Any, options: ReadOptions, data_dir: Path | None = None) -> Unsplit:
    """What `load` reads, before anything is cut. Raises UserError as it does."""
    if options.channels not in (None, 1, 3):
        raise UserError(f"channels is {options.channels}: give 1 (grey) or 3 (RGB)")
    if not isinstance(source, str | Path):
        return _fixed(load_object(source, options), options)
    name_or_path = str(source)
    path = Path(os.path.expanduser(name_or_path))  # pathlib's raises where a user is unknown
    try:
        if is_known(name_or_path):
            if name_or_path.startswith(PREFIX):
                raise UserError(
                    f"these data were handed over in Python ({name_or_path.removeprefix(PREFIX)}) "
                    "and are not here: give the same again, as data=..."
                )
            if name_or_path.startswith(hf.PREFIX):
                return hf.load_hub(name_or_path, options)
            return _load_known(name_or_path, data_dir, options)
        found = _load_path(path, name_or_path, options)
    except OSError as error:
        raise UserError(f"'{path!s:.200}' cannot be read: {error!s:.300}") from error
    if name_or_path not in KNOWN:
        return found
    note = f"'{name_or_path}' is the folder of this name here, not the known set"
    return replace(found, read=replace(found.read, notes=(note, *found.read.notes)))


def parse_size(size: int | str | tuple[int, int] | None) -> tuple[int, int] | None:
    """``--size`` as (height, width). Raises UserError for what is no size.

    >>> parse_size("128x32"), parse_size(64), parse_size(None)
    ((32, 128), (64, 64), None)
    """
    if size is None:
        return None
    try:
        given = [*size] if isinstance(size, tuple) else [*str(size).lower().split("x")][::-1]
        numbers = [int(side) for side in given] * (3 - len(given))
        if len(numbers) != 2 or not all(1 <= side <= MOST_SIDE for side in numbers):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--size is {size!s:.60}: give a side of 1 to {MOST_SIDE:,} pixels, or WIDTHxHEIGHT"
        ) from None
    return numbers[0], numbers[1]


def is_known(name: str) -> bool:
    """Whether that is a name rather than a path: of a set of the hub, or of a known set, unless
    a folder with content has that name here.

    >>> is_known("mnist5k"), is_known("hf:beans"), is_known("./mnist5k")
    (True, True, False)
    """
    return (name in KNOWN and not _is_filled(Path(name))) or name.startswith((hf.PREFIX, PREFIX))


def _is_filled(folder: Path) -> bool:
    """Whether it is a folder that holds more than hidden files."""
    try:
        return folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())
    except OSError:
        return False


def lasting(name_or_path: str) -> str:
    """The name, or the absolute path, so that it means the same from any folder.

    >>> lasting("mnist5k"), Path(lasting("cats")).is_absolute()
    ('mnist5k', True)
    """
    if name_or_path.startswith(hf.PREFIX):
        return hf.lasting(name_or_path)
    return name_or_path if is_known(name_or_path) else str(Path(name_or_path).resolve())


def is_resized(name_or_path: str) -> bool:
    """Whether the images of that source can be read at any size.

    >>> is_resized("celeba"), is_resized("mnist5k")
    (True, False)
    """
    if name_or_path in KNOWN and is_known(name_or_path):
        return KNOWN[name_or_path].read is None and KNOWN[name_or_path].made is None
    path = Path(name_or_path)
    return name_or_path.startswith(hf.PREFIX) or path.is_dir() or path.suffix.lower() in SUFFIXES


def _load_known(name: str, data_dir: Path | None, options: ReadOptions) -> Unsplit:
    known = KNOWN[name]
    if options.values or options.labels or options.leave_out:
        raise UserError(
            f"'{name}' is a known set, whose arrays and values are given: use --values, --labels "
            "and --leave-out for data of your own alone"
        )
    if known.remote is None:
        parts = {"train": (known.made or _packaged)()}
    else:
        files = fetch.local(known.remote, data_dir) or fetch.download(known.remote, options.quiet)
        if known.read is None:
            return celeba.load(name, files, options, known.provenance)
        train, test = known.read(files, len(known.classes))
        parts = {
            "train": replace(train, origin="published training set"),
            "test": replace(test, origin="published test set"),
        }
    facts = {
        "classes": known.classes,
        "factors": known.factors,
        "provenance": known.provenance,
    }
    read = Read(values="uint8 values, 0 to 255 as 0 to 1", scale=(0, 255))
    return _fixed(Unsplit(name, parts, read, facts), options)


def _packaged() -> Part:
    with np.load(Path(__file__).with_name("assets") / "mnist5k.npz") as archive:
        x, y = archive["x"], archive["y"]
    return Part(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y.astype(np.int64)))


def _own_idx(path: Path, files: fetch.Found, options: ReadOptions) -> Unsplit:
    """A folder of the user's with the four IDX files of a set, whatever set it is."""
    name = path.resolve().name
    claims = [mnist.shape(images, axes=3) for images in files[::2]]
    arrays.check_memory(path, sum(map(math.prod, claims)), options.memory)
    if not options.whole:
        check(name, [(n, 1, *sides) for n, *sides in claims])
    raw = mnist.read_set(files, 256)
    pixels = [part.x.numpy() for part in raw if isinstance(part.x, torch.Tensor)]
    low, high = extent(pixels, f"'{name}'", enough=math.inf if options.values else BRIGHT)
    scale = scale_of(np.dtype("uint8"), low, high, options.values, f"'{name}'")
    parts = {}
    for split, part, x, file in zip(("train", "test"), raw, pixels, files[::2], strict=True):
        told = read_labels(part.y, len(x), file.name, f"'{name}'")
        parts[split] = Part(
            torch.from_numpy(scale(x)), told.y, classes=told.classes, origin=file.name
        )
    others = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    gone = [n for n in others if n not in {file.name for file in files}]
    about = {"provenance": f"The IDX files of the folder {name}."}
    read = Read(
        values=scale.about, scale=(scale.low, scale.high), labels="IDX", left_out=tuple(gone)
    )
    return Unsplit(name, parts, read, about)


def _load_path(path: Path, given: str, options: ReadOptions) -> Unsplit:
    if not given or not path.exists():
        raise UserError(_missing(given))
    suffix = path.suffix.lower()
    if path.is_dir():
        if is_wanted(options) and series_tables.holds_tables(path):
            return series_tables.load_tables(path, options)
        quartet = mnist.find(path)
        if text_files.splits_in(path, options):
            return text_files.load_texts(path, options)
        if quartet is None:
            return load_folder(path, options)
        found = _own_idx(path, quartet, options)
    elif not path.is_file():
        raise UserError(f"'{given}' is not a file but a pipe or a device; {_CHOICE}")
    elif suffix in (".npz", ".npy"):
        found = (arrays.load_npz if suffix == ".npz" else arrays.load_npy)(path, options)
    elif suffix in ARCHIVES:
        raise UserError(f"'{given}' is an archive; unpack it first and give the folder")
    elif suffix in (*TEXT, *PARQUET) and is_wanted(options):
        return series_tables.load_table(path, options)
    elif suffix in (*TEXT, *PARQUET):
        return load_file_of_rows(path, options)
    elif suffix in text_files.ENDS:
        return text_files.load_texts(path, options)
    elif suffix in SUFFIXES and options.whole:
        return load_file(path, options)
    elif suffix in SUFFIXES:
        raise UserError(f"'{given}' is one image: give the folder of images to train on")
    else:
        raise UserError(f"'{given}' is not a data set; {_CHOICE}")
    return _fixed(found, options)


def _fixed(found: Unsplit, options: ReadOptions) -> Unsplit:
    """The data as they are. Raises UserError where another size or colour is asked for."""
    if kind_of(found) != "image":
        return found
    channels, height, width = next(iter(found.parts.values())).x.shape[1:]
    if (to := sides(options.size)) not in (None, (height, width)):
        assert to is not None
        asked = to[0] if to[0] == to[1] else f"{to[1]}x{to[0]}"
        raise UserError(
            f"--size {asked} is for folders of images; '{found.name}' is {width} x {height}: "
            "leave --size out"
        )
    given = {"--fit": options.fit != "crop", "--class-level": options.class_level > 1}
    given["--transparency"] = options.transparency != "white"
    if any(given.values()) and not options.whole:
        asked = " and ".join(name for name, is_given in given.items() if is_given)
        raise UserError(
            f"{asked} say how image files are read, but '{found.name}' has none: leave that out"
        )
    if options.channels not in (None, channels):
        raise UserError(
            f"'{found.name}' has {channels} channels, but {options.channels} were asked for; only "
            "images in files are converted: leave channels out"
        )
    return found


_CHOICE = (
    "give a folder of images, a .csv, .parquet, .txt, .npz or .npy file, hf:NAME for a set of the "
    f"Hugging Face hub, or one of: {', '.join(sorted(KNOWN))}"
)


MOST_BESIDE = 1000
"""Files of a folder among which one with a name like that of a missing file is looked for."""


def _missing(given: str) -> str:
    path, known = Path(given), [*KNOWN]
    if path.suffix or len(path.parts) > 1:  # not the name of a set
        known = []
        with contextlib.suppress(OSError):  # no such folder, or one that may not be read
            known = [str(one) for one in itertools.islice(path.parent.iterdir(), MOST_BESIDE)]
    near = nearest(given, known)
    hint = f"did you mean '{near}'? Otherwise " if near else ""
    return f"no such file or data set: '{given:.300}'; {hint}{_CHOICE}"

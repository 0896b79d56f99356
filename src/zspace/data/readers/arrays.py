"""Arrays in files: .npz and .npy, never with pickled objects.

    .npy   images x; where they do not fit the memory budget, they stay on disk, memory-mapped
    .npz   x with labels y and ids, for all samples or for each split: x_train, y_val, testLabels;
           or one array of any name

Every array of an .npz has a role by its name (see `zspace.data.splits.role`), is empty, or is left
out by name; else the file is refused. Images are (N, H, W), (N, C, H, W) or (N, H, W, C), with any
number of channels. How their values and labels are taken is told in `zspace.data.kinds.image` and
`zspace.data.labels`.

A header is a claim: it is read by itself and compared with the bytes that are there, before
anything is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from zspace.data.account import Read
from zspace.data.dataset import Part, Storage, Unsplit, check
from zspace.data.kinds.image import BRIGHT, Scale, extent, scale_of
from zspace.data.labels import Labels, read_labels, read_splits
from zspace.data.read_options import ReadOptions
from zspace.data.readers import lists, series_arrays
from zspace.data.readers.mapped import Mapped
from zspace.data.readers.shelves import (
    CHUNK,
    Alone,
    Archive,
    Header,
    Shelf,
    npy_header,
    npz_members,
)
from zspace.data.readers.tabular import from_tables
from zspace.data.selection import read_weights
from zspace.data.splits import SPLITS, Role, left_out, role
from zspace.system.errors import UserError

LARGE = 1 << 28
"""Members of more bytes are unpacked once before they are kept."""


def load_npy(path: Path, options: ReadOptions) -> Unsplit:
    """The images of an .npy file, without labels.

    Arguments:
        path: The file. It is read once from end to end, to see how its values are to be taken.
        options: How it is read; images of more bytes than its ``memory`` stay on disk.

    Raises UserError for a damaged file and for what is no array of images.
    """
    what = f"'{path.name}'"
    with _readable(path):
        with path.open("rb") as file:
            about = npy_header(file, path.stat().st_size)
        shelf = Alone(path)
        if series_arrays.windowed([about], options):
            roles = {"x": Role("x", "train")}
            about_it = f"The array file {path.name}."
            return series_arrays.from_long(
                path.stem, shelf, roles, options, [], provenance=about_it
            )
        if len(about.shape) == 2 and not series_arrays.is_wanted(options):
            rows = {"x": npy.open_memmap(path, mode="r")}
            return from_tables(path.stem, rows, options, what, f"The array file {path.name}.")
        series = series_arrays.are_series(shelf, {"x": about}, options, what)
        form = (
            _form(about, what) if series is None else series_arrays.form_of(about, what, options)
        )
        if not options.whole:
            check(path.stem, [form])
        scale = _common_scale(shelf, {"x": about}, ["x"], options) if series is None else None
    x, read = _taken([shelf.read("x")], form, (scale, series), options, what)
    told, origin = Labels(None), ""
    if options.labels:
        given = lists.split_option(options.labels)
        if given is None:
            raise UserError(f"--labels {options.labels} is no file: give a .csv or .npy of labels")
        listed = lists.found_at(given[0], path.parent)
        origin, raw = listed.name, lists.in_order(listed, given[1])
        title = f"'{listed.name}'"
        told = read_labels(
            raw, form[0], "labels", title, alone=not options.whole, **options.of_labels
        )
    read = replace(read, labels=origin)
    names = told.names if told.attributes is not None else ()
    facts = {"provenance": f"The array file {path.name}.", "attributes": names}
    part = Part(x, told.y, told.attributes, told.classes, origin=path.name)
    return Unsplit(path.stem, {"train": part}, read, facts)


def _taken(
    arrays: list[np.ndarray],
    form: tuple[int, ...],
    how: tuple[Scale | None, str | None],
    options: ReadOptions,
    title: str,
) -> tuple[Storage, Read]:
    """Arrays as images by their scale, or, without one, as series; and what to say of it."""
    scale, note = how
    if scale is None:
        notes = (*filter(None, [note]), *series_arrays.hint_of([form], not note))
        return series_arrays.windows_of(arrays, form, title, options), Read("windows", notes=notes)
    return stored(arrays, form, scale, options), Read(
        values=scale.about, scale=(scale.low, scale.high)
    )


def stored(
    arrays: list[np.ndarray], form: tuple[int, ...], scale: Scale, options: ReadOptions
) -> Storage:
    """Images in memory, or one array of a file where it lies if it would take too much."""
    nbytes = math.prod(form) * scale.dtype(arrays[0].dtype).itemsize
    one = arrays[0]
    if len(arrays) == 1 and isinstance(one, np.memmap) and nbytes > options.memory:
        last = one.ndim == 4 and bool(_channels_last(one.shape))
        return Mapped(Path(str(one.filename)).resolve(), form, scale, last)
    return scaled([_images(array) for array in arrays], scale)


def _enough(dtype: np.dtype, options: ReadOptions) -> float:
    """Bytes above this use the range of a byte: what else there is need not be known."""
    return BRIGHT if dtype == np.uint8 and not options.values else math.inf


def scaled(arrays: list[np.ndarray], scale: Scale) -> Tensor:
    """Images (N, C, H, W) of several arrays, one after the other, in memory."""
    n, dtype = sum(map(len, arrays)), scale.dtype(arrays[0].dtype)
    x = np.empty((n, *arrays[0].shape[1:]), dtype)
    at, step = 0, max(1, CHUNK // max(1, arrays[0][0].size))
    for array in arrays:
        for start in range(0, len(array), step):  # in pieces: no wide copy of all of it
            piece = scale(array[start : start + step])
            x[at : at + len(piece)] = piece
            at += len(piece)
    return torch.from_numpy(x)


def load_npz(path: Path, options: ReadOptions) -> Unsplit:
    """The arrays of an .npz file.

    Arguments:
        path: The file, packed or not.
        options: How it is read. Its ``memory`` is what the file may unpack to: an .npz cannot be
            memory-mapped, and a small one may unpack to anything.

    Raises UserError for a damaged file, for what is no set of images, labelled or not, and for an
    array whose role its name does not say.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        there = npz_members(archive)
        ignored = [name for name in there if left_out(name, options.leave_out)]
        members = {name: member for name, member in there.items() if name not in ignored}
        check_memory(path, sum(member.file_size for member in members.values()), options.memory)
        shelf = Archive(archive, members, f"'{path.name}'")
        return from_arrays(
            path.stem, shelf, options, ignored, provenance=f"The array file {path.name}."
        )


def check_memory(path: Path, size: int, memory: float) -> None:
    """Raise UserError where the images of a file or folder unpack to more than the budget."""
    if size > memory:
        raise UserError(
            f"'{path}' unpacks to {size / 1e9:.1f} GB, over the memory budget of "
            f"{memory / 1e9:.1f} GB; save x as .npy, which is read from disk"
        )


def from_arrays(
    name: str, shelf: Shelf, options: ReadOptions, ignored: list[str], **facts: Any
) -> Unsplit:
    """Images with their labels and ids, from arrays whose names say what they are.

    Arguments:
        name: Of the data set.
        shelf: The arrays.
        options: How values are taken, and which array holds the labels.
        ignored: Arrays that were left out by name.
        facts: Other fields of `zspace.data.Data`.

    Raises UserError for an array without a role, and for arrays that do not fit each other.
    """
    headers = shelf.headers()
    empty = [n for n, h in headers.items() if 0 in h.shape]
    headers = {n: h for n, h in headers.items() if n not in empty}
    roles = _roles(headers, shelf.title, options, empty)
    x = {split: n for n, (what, split) in roles.items() if what == "x"}
    texts = all(len(headers[n].shape) == 1 and headers[n].dtype.kind in "US" for n in x.values())
    if series_arrays.windowed([headers[n] for n in x.values()], options):
        return series_arrays.from_long(name, shelf, roles, options, ignored, **facts)
    is_rows = texts or all(len(headers[n].shape) == 2 for n in x.values())
    if is_rows and not series_arrays.is_wanted(options):
        rows = {n: shelf.read(n) for n in headers}
        if len(rows) == 1:
            rows = {"x": next(iter(rows.values()))}
        return from_tables(name, rows, options, shelf.title, **facts)
    own = {n: headers[n] for n in x.values()}
    series = series_arrays.are_series(shelf, own, options, shelf.title)
    forms = {
        n: _form(header, f"{n} of {shelf.title}")
        if series is None
        else series_arrays.form_of(header, f"{n} of {shelf.title}", options)
        for n, header in own.items()
    }
    _check_splits(x, forms, name, shelf.title, options)
    labels, origin = _labels(shelf, roles, x, forms, options)
    given = {s: (shelf.read(n), n) for n, (what, s) in roles.items() if what == "w"}
    weights = read_weights(given, {s: forms[n][0] for s, n in x.items()}, shelf.title)
    ids = {split: n for n, (what, split) in roles.items() if what == "ids"}
    known = {s: read_ids(shelf.read(n), forms[x[s]][0], n, shelf.title) for s, n in ids.items()}
    scale = _common_scale(shelf, headers, list(x.values()), options) if series is None else None
    parts: dict[str, Part] = {}
    attributes: tuple[str, ...] = ()
    for split in [s for s in x if s != "unlabelled"]:
        both = [split, "unlabelled"] if split == "train" and "unlabelled" in x else [split]
        told, names = labels.get(split), [known.get(s) for s in both]
        n, more = forms[x[split]][0], sum(forms[x[s]][0] for s in both[1:])
        y = None if told is None else told.y
        held = None if told is None else told.attributes
        if y is not None and more:
            y = torch.cat([y, torch.full((more,), -1)])
        if held is not None and more:
            held = torch.cat([held.double(), torch.full((more, held.shape[1]), math.nan)])
        if told is not None and told.attributes is not None:
            attributes = told.names
        if len(x) > 1 or any(names):  # else positions are enough
            sizes = (n, more)
            names = [
                own or [f"{x[s]}[{i}]" for i in range(size)]
                for s, own, size in zip(both, names, sizes, strict=False)
            ]
            together: list[str] | None = [one for own in names for one in own or ()]
        else:
            together = None
        arrays, title = [shelf.read(x[s]) for s in both], f"{x[split]} of {shelf.title}"
        taken, read = _taken(arrays, forms[x[split]], (scale, series), options, title)
        parts[split] = Part(
            taken,
            y,
            held,
            () if told is None else told.classes,
            together,
            " and ".join(x[s] for s in both),
            torch.cat([weights[s] for s in both]) if weights else None,
        )
    gone = [*(f"{n} (as asked)" for n in ignored), *(f"{n} (empty)" for n in empty)]
    moved = series is None and any(forms[n] != _first(headers[n].shape) for n in forms)
    values = read.values + ", channels last" * moved
    read = replace(read, values=values, labels=origin, left_out=tuple(gone))
    order = [s for s in SPLITS if s in parts]
    whole = {s: parts[s] for s in order}
    return Unsplit(name, whole, read, {**facts, "attributes": attributes})


def _roles(
    headers: Mapping[str, Header], title: str, options: ReadOptions, empty: list[str]
) -> dict[str, Role]:
    """The role of each array. Raises UserError for one that has none."""
    roles = {n: role(n) for n in headers}
    for name, usual in ((options.labels, Role("y", "")), (options.weight, Role("w", ""))):
        what = usual.what
        if name and name not in headers and not (options.whole and what == "w"):
            there = ", ".join(headers)
            said = "labels" if what == "y" else "weights"
            raise UserError(f"{title} has no {said} '{name}': it holds {there:.200}")
        if name in headers:
            roles = {n: None if r and r.what == what else r for n, r in roles.items()}
            roles[name] = usual._replace(split=(role(name) or usual).split)
    unknown = [n for n, r in roles.items() if r is None]
    if len(unknown) == 1 and not any(r and r.what == "x" for r in roles.values()):
        roles[unknown.pop()] = Role("x", "")
    names = ", ".join(map(repr, sorted(headers))) or "no array"
    if unknown:
        bad = " ".join(unknown)
        bad = bad if bad.isprintable() else "NAMES"
        raise UserError(
            f"{title} holds {names:.300}, and nothing says what {', '.join(unknown)!a:.200} is: "
            f"leave it out with --leave-out {bad:.200}, or name the images x, x_val or x_test and "
            "the labels y, or give the labels by --labels NAME"
        )
    if not any(r and r.what == "x" for r in roles.values()):
        more = ", apart from arrays that are empty" if empty else ""
        raise UserError(f"{title} holds {names:.200}{more}; name the images x and the labels y")
    found = {n: Role(r.what, r.split or "train") for n, r in roles.items() if r is not None}
    taken: dict[Role, str] = {}
    for n, r in found.items():
        if (other := taken.setdefault(r, n)) != n:
            words = {"x": "images", "y": "labels", "names": "names of classes", "w": "weights"}
            said = words.get(r.what, r.what)
            raise UserError(
                f"{other} and {n} of {title} are both called {said} of the {r.split} split: leave "
                f"one out with --leave-out {n}"
            )
    return found


def _check_splits(
    x: Mapping[str, str],
    forms: Mapping[str, tuple[int, ...]],
    name: str,
    title: str,
    options: ReadOptions,
) -> None:
    if "train" not in x and not options.whole:
        there = ", ".join(x.values())
        raise UserError(f"{title} holds {there} but no images to train on: name them x_train")
    own = [forms[n] for s, n in x.items() if s != "unlabelled"]
    if not options.whole:
        own.sort(key=lambda form: form is not forms[x["train"]])
        check(name, own)
    if "unlabelled" in x and forms[x["unlabelled"]][1:] != own[0][1:]:
        shape = forms[x["unlabelled"]][1:]
        raise UserError(f"{x['unlabelled']} of {title} has shape {shape}, x has {own[0][1:]}")


def _labels(
    shelf: Shelf,
    roles: Mapping[str, Role],
    x: Mapping[str, str],
    forms: Mapping[str, tuple[int, ...]],
    options: ReadOptions,
) -> tuple[dict[str, Labels], str]:
    """The labels of each split, and where they are from."""
    y = {split: n for n, (what, split) in roles.items() if what in ("y", "ids")}
    for split, n in y.items():
        if split not in x:
            raise UserError(
                f"{n} of {shelf.title} belongs to images that are not there: add x_{split}, or "
                f"leave it out with --leave-out {n}"
            )
    y = {split: n for n, (what, split) in roles.items() if what == "y"}
    lacking = [n for split, n in x.items() if split not in y and split != "unlabelled"]
    if y and lacking:
        raise UserError(
            f"{shelf.title} has labels for one split only: {lacking[0]} has none; give its "
            f"labels, or leave the others out with --leave-out {' '.join(y.values())}"
        )
    raw = {s: (shelf.told(n), forms[x[s]][0], n) for s, n in y.items()}
    column = "y" if options.labels not in y.values() else options.labels
    found = read_splits(
        raw, shelf.title, column=column, alone=not options.whole, **options.of_labels
    )
    names = [n for n, (what, _) in roles.items() if what == "names"]
    for n in names:
        found = {
            s: _named(one, shelf.read(n), f"{n} of {shelf.title}") for s, one in found.items()
        }
    about = {one.about for one in found.values()} - {""}
    origin = ", ".join(y.values()) + (f", {', '.join(about)}" if about else "")
    return found, origin


def _named(labels: Labels, names: np.ndarray, what: str) -> Labels:
    """Labels whose numbers are positions in an array of names."""
    if names.ndim != 1 or names.dtype.kind not in "US" or labels.y is None:
        raise UserError(f"{what} are no names of classes: leave it out with --leave-out")
    told = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names.tolist()]
    own = labels.classes
    if any(not name.isdecimal() or int(name) >= len(told) for name in own):
        raise UserError(
            f"{what} holds {len(told)} names, but the labels are {', '.join(own):.100}: leave it "
            "out with --leave-out, or give one name for each number from 0"
        )
    return Labels(labels.y, tuple(told[int(name)] for name in own), None, labels.about)


def read_ids(raw: Any, n: int, name: str, title: str) -> list[str]:
    """Ids of n samples as text. Raises UserError for another number of them."""
    ids = np.asarray(raw)
    if ids.shape not in ((n,), (n, 1)) or ids.dtype.kind not in "USiu":
        raise UserError(
            f"{name} of {title} has shape {ids.shape} and type {ids.dtype}, but there are {n:,} "
            f"samples: give one id each, or leave it out with --leave-out {name}"
        )
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8", "replace")
    return [str(one) for one in ids.reshape(-1).tolist()]


def _common_scale(
    shelf: Shelf, headers: Mapping[str, Header], names: list[str], options: ReadOptions
) -> Scale:
    """One scale for the images of all splits."""
    types = {headers[n].dtype.newbyteorder("=") for n in names}
    if len(types) > 1:
        told = ", ".join(f"{n} {headers[n].dtype}" for n in names)
        raise UserError(f"the images of {shelf.title} differ in type: {told}; give all one type")
    what = f"{' and '.join(names)} of {shelf.title}"
    low, high = math.inf, -math.inf
    for n in names:
        large = math.prod(headers[n].shape) * headers[n].dtype.itemsize > LARGE
        # Of a large member the last byte may be as wrong as its first: it is unpacked once.
        enough = math.inf if large else _enough(headers[n].dtype, options)
        with closing(shelf.pieces(n)) as pieces:
            found = extent(pieces, what, enough=enough)
        low, high = min(low, found[0]), max(high, found[1])
    return scale_of(types.pop(), low, high, options.values, what)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what numpy and zipfile raise for a damaged file into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make both raise almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        why = f"{why:.300}; save it again with numpy.save or numpy.savez"
        if "Python objects" in str(error):
            why = "it holds Python objects, which zspace never loads; save it with a number type"
        raise UserError(f"'{path}' cannot be read: {why}") from error


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def _images(x: np.ndarray) -> np.ndarray:
    """A view of the array as (N, C, H, W)."""
    if x.ndim == 3:
        return x[:, None]
    return np.moveaxis(x, 3, 1) if _channels_last(x.shape) else x


def _channels_last(shape: tuple[int, ...]) -> bool | None:
    """Whether the channels of (N, ., ., .) are the last axis; None where that is not clear.

    One or three before two or four, those before any other number; then the axis that differs from
    the other two, or is the shortest. Of two that fit, the second axis is taken.
    """
    _, first, middle, last = shape
    for usual in ((1, 3), (2, 4)):
        if first in usual or last in usual:
            return first not in usual
    if first == middle != last or middle == last != first:
        return first == middle
    return None if first == last else last < first


def _form(about: Header, what: str) -> tuple[int, ...]:
    """The shape (N, C, H, W) of images with this header. Raises UserError where it is none."""
    shape, dtype = about.shape, about.dtype
    if len(shape) not in (3, 4):
        raise UserError(
            f"{what} has shape {shape}; give images (N, H, W), (N, C, H, W) or (N, H, W, C), rows "
            "(N, D), or with --kind series windows (N, T, D)"
        )
    if 0 in shape:
        raise UserError(f"{what} is empty: its shape is {shape}")
    if len(shape) == 4 and _channels_last(shape) is None:
        raise UserError(
            f"{what} has shape {shape}, which does not say which axis holds the channels: give "
            "(N, C, H, W); volumes are not read"
        )
    form = _images(np.broadcast_to(np.uint8(0), shape)).shape
    if dtype.kind not in "iufb":
        raise UserError(f"{what} is of type {dtype}; save uint8 in 0..255 or floats in [0, 1]")
    return form

"""What people hold in Python: arrays, tensors, pairs, dicts, torch's data sets and loaders.

    x                                an array, a tensor or a list of them: images without labels
    (x, y)                           images and labels: an array, a DataFrame, a dict of columns
    ((x, y), (x, y))                 train and test; three pairs: train, validation and test
    {"x_train": ..., "y_val": ...}   arrays by name, as in an .npz
    a DataFrame, (N, D), sparse      rows of a table, alone or wherever an array of images may be
    Dataset, DataLoader              each sample is read once, in order: x, (x, y) or a dict

A loader is read for its data set: its order and batch size are not used. What is read from a data
set goes to a file in the cache as it comes, so that a stream of any length fits.
"""

from __future__ import annotations

import atexit
import itertools
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from zspace.data.dataset import Unsplit
from zspace.data.read_options import ReadOptions
from zspace.data.readers.arrays import from_arrays
from zspace.data.readers.frames import Raw, columns_of, is_table
from zspace.data.readers.mapped import Mapped
from zspace.data.readers.series_arrays import is_wanted
from zspace.data.readers.series_tables import load_frames
from zspace.data.readers.shelves import Header, Pieces
from zspace.data.readers.tabular import from_tables
from zspace.data.readers.token_samples import holds
from zspace.data.readers.windows import Windows
from zspace.data.splits import left_out, role
from zspace.system.bars import bar
from zspace.system.downloads import cache_folder
from zspace.system.errors import UserError

PREFIX = "memory:"
"""What a run notes in place of a name where its data were handed over in Python."""
SPLITS_OF = {2: ("train", "test"), 3: ("train", "val", "test")}


def noted(source: Any) -> str:
    """What a run notes of such data.

    >>> noted(np.zeros(3))
    'memory:ndarray'
    """
    return PREFIX + type(source).__name__


def load_object(source: Any, options: ReadOptions) -> Unsplit:
    """The samples of an object.

    Arguments:
        source: One of those above.
        options: How values and labels are taken.

    Raises UserError for anything else, and as `zspace.data.readers.arrays.from_arrays` does.

    >>> pair = np.zeros((20, 4, 4)), np.arange(20) % 2
    >>> load_object(pair, ReadOptions()).parts["train"].classes
    ('0', '1')
    """
    name = type(source).__name__
    notes: tuple[str, ...] = ()
    if isinstance(source, DataLoader):
        source = source.dataset
        notes = ("the loader's data set was read: its order and batch size are not used",)
    if isinstance(source, Dataset):
        arrays = _of_dataset(source, options)
    elif isinstance(source, Mapping):
        arrays = {str(key): value for key, value in source.items() if value is not None}
    elif _is_pairs(source, options):
        arrays = {
            f"{what}_{split}": value
            for split, pair in zip(SPLITS_OF[len(source)], source, strict=True)
            for what, value in zip("xy", pair, strict=True)
        }
    elif isinstance(source, tuple) and len(source) == 2:
        arrays = dict(zip("xy", source, strict=True))
    else:
        arrays = {"x": source}
    told = {k for k in arrays if k == options.labels or (role(k) or ("x",))[0] == "y"}
    samples = {k: value for k, value in arrays.items() if k not in told}
    texts = {k for k in arrays if (role(k) or ("x",))[0] == "x" and holds(arrays[k], options)}
    series = is_wanted(options)
    if series and any(hasattr(value, "columns") for value in samples.values()):
        kept = {k: v for k, v in arrays.items() if not left_out(k, options.leave_out)}
        return load_frames(name, kept, options)
    if texts or (not series and any(is_table(value) for value in samples.values())):
        kept = {k: v for k, v in arrays.items() if not left_out(k, options.leave_out)}
        if texts and options.kind == "auto":  # also where lists of one split are of one length
            options = replace(options, kind="tokens")
        found = from_tables(name, kept, options, "the data", f"Given in Python, as {name}.")
        return replace(found, read=replace(found.read, notes=(*notes, *found.read.notes)))
    shelf = Held({k: v for k, v in arrays.items() if not left_out(k, options.leave_out)})
    ignored = [k for k in arrays if left_out(k, options.leave_out)]
    about = f"Given in Python, as {name}."
    try:
        found = from_arrays(name, shelf, options, ignored, provenance=about)
    except BaseException:
        _forget(arrays)
        raise
    if not any(isinstance(part.x, Mapped | Windows) for part in found.parts.values()):
        _forget(arrays)
    return replace(found, read=replace(found.read, notes=(*notes, *found.read.notes)))


def _is_pairs(source: Any, options: ReadOptions) -> bool:
    return (
        isinstance(source, tuple)
        and len(source) in SPLITS_OF
        and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in source)
        and all(_are_samples(pair[0], options) for pair in source)
    )


def _are_samples(x: Any, options: ReadOptions) -> bool:
    if is_table(x) or holds(x, options):
        return True
    try:
        return np.ndim(x) > 2
    except ValueError:  # lists of unequal length
        return False


@dataclass(frozen=True)
class Held:
    """Arrays in memory; see `zspace.data.readers.shelves.Shelf`."""

    given: Mapping[str, Any]
    title: str = "the data"
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def headers(self) -> Mapping[str, Header]:
        """Shape and type of each array."""
        found = {}
        for name in self.given:
            array = self.read(name)
            found[name] = Header(array.shape, array.dtype, 0)
        return found

    def pieces(self, name: str) -> Pieces:
        """The whole array: it is in memory already."""
        array = self.read(name)
        step = max(1, (1 << 24) // max(1, array[:1].size))
        return (array[at : at + step] for at in range(0, len(array), step))

    def read(self, name: str) -> np.ndarray:
        """As numpy. Raises UserError for what is no array."""
        if name not in self._arrays and _is_columns(self.given[name]):
            given = self.given[name]
            columns = given if isinstance(given, Mapping) else columns_of(given)[0]
            n = max(
                (len(c.values if isinstance(c, Raw) else c) for c in columns.values()), default=0
            )
            self._arrays[name] = np.empty(
                (n, len(columns)), object
            )  # its shape is all that counts
        if name not in self._arrays:
            self._arrays[name] = _array(self.given[name], name)
        return self._arrays[name]

    def told(self, name: str) -> Any:
        """Labels as they are where their columns have names, else as `read`."""
        return self.given[name] if _is_columns(self.given[name]) else self.read(name)


def _is_columns(value: Any) -> bool:
    """Whether that is labels by name: a DataFrame, or a dict of columns."""
    return isinstance(value, Mapping) or (is_table(value) and hasattr(value, "columns"))


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UserError(f"{name} of the data has masked values: fill them, with .filled(0) say")
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        value = [_array(one, name) for one in value]
    try:
        if isinstance(value, list | tuple) and (role(name) or ("",))[0] == "y":
            plain = all(isinstance(one, int | float) for one in value)
            return np.asarray(value) if plain else np.array(value, object)
        array = np.asanyarray(value)  # a memory map stays one
    except ValueError:
        raise UserError(
            f"{name} of the data holds arrays of unequal shape: give all samples one shape"
        ) from None
    if array.dtype.kind == "O" and (role(name) or ("x",))[0] == "x":
        raise UserError(
            f"data of type {type(value).__name__} cannot be read: give an array or a tensor of "
            "images, (x, y), a dict of arrays by name, a torch Dataset or DataLoader, or a path"
        )
    return array


def _of_dataset(source: Dataset[Any], options: ReadOptions) -> dict[str, Any]:
    """The samples of a data set as arrays, x on disk."""
    if isinstance(source, TensorDataset) and len(source.tensors) <= 2:
        return dict(zip("xy", source.tensors, strict=False))
    streamed = not hasattr(source, "__getitem__") or not hasattr(source, "__len__")
    some: Any = source
    total = 0 if streamed else len(some)
    samples: Iterable[Any] = iter(some if streamed else (some[i] for i in range(total)))
    first = list(itertools.islice(samples, 1))
    samples = itertools.chain(first, samples)
    if first and isinstance(_parts(first[0])["x"], str):
        return _texts(samples)
    others: dict[str, list[Any]] = {}
    _folder().mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=_folder(), suffix=".npy")
    try:
        with os.fdopen(handle, "wb") as file, bar("Reading", total, options.quiet) as advance:
            _write(file, samples, others, advance)
        x = npy.open_memmap(path, mode="r")
    except BaseException:
        os.unlink(path)
        raise
    atexit.register(Path(path).unlink, missing_ok=True)
    return {"x": x, **others}


def _texts(samples: Iterable[Any]) -> dict[str, Any]:
    """The samples of a data set of texts as lists. Raises UserError where one has another form."""
    found: dict[str, list[Any]] = {}
    for n, sample in enumerate(samples):
        parts = _parts(sample)
        found = found or {key: [] for key in parts}
        if parts.keys() != found.keys() or not isinstance(parts["x"], str):
            raise UserError(
                f"sample {n} of the data set is {type(parts['x']).__name__} with "
                f"{', '.join(parts)}, unlike sample 0, which is a text with {', '.join(found)}: "
                "give all samples one form"
            )
        for key, value in parts.items():
            found[key].append(value.item() if isinstance(value, Tensor) else value)
    return found


def _forget(arrays: Mapping[str, Any]) -> None:
    """Delete the file of a data set that was read into memory."""
    for array in arrays.values():
        if isinstance(array, np.memmap) and Path(str(array.filename)).parent == _folder():
            Path(str(array.filename)).unlink(missing_ok=True)


def _folder() -> Path:
    return cache_folder() / "streams"


def _write(file: Any, samples: Iterable[Any], others: dict[str, list[Any]], advance: Any) -> None:
    """Write the images of all samples as an .npy; what else they hold goes to ``others``."""
    n, first = 0, None
    for sample in samples:
        parts = _parts(sample)
        image = _array(parts.pop("x"), "x")
        if first is None:
            first = image
            _header(file, first, 0)
            others |= {key: [] for key in parts}
        if (image.shape, image.dtype) != (first.shape, first.dtype) or parts.keys() != set(others):
            raise UserError(
                f"sample {n} of the data set is {image.dtype} {image.shape} with "
                f"{', '.join(parts) or 'no label'}, unlike sample 0, which is {first.dtype} "
                f"{first.shape}: give all samples one form"
            )
        file.write(np.ascontiguousarray(image).tobytes())
        for key, value in parts.items():
            others[key].append(value.item() if isinstance(value, Tensor) else value)
        n += 1
        advance(1)
    if first is None:
        raise UserError("the data set is empty: give samples")
    _header(file, first, n)


def _header(file: Any, first: np.ndarray, n: int) -> None:
    """Write the header of an .npy; numpy leaves room in it for the first axis to change."""
    file.seek(0)
    shape = (n, *first.shape)
    about = {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, about)
    file.seek(0, os.SEEK_END)


def _parts(sample: Any) -> dict[str, Any]:
    """A sample as {"x": ..., "y": ...}."""
    if isinstance(sample, Mapping):
        roles = {role(str(key)): value for key, value in sample.items()}
        found: dict[str, Any] = {r.what: value for r, value in roles.items() if r is not None}
        if "x" in found and None not in roles:
            return found
        raise UserError(
            f"samples of the data set hold {', '.join(map(str, sample))}: name the image x and "
            "the label y, and nothing else"
        )
    if isinstance(sample, tuple | list):
        if len(sample) > 2:
            raise UserError(
                f"samples of the data set have {len(sample)} parts: give x or (x, y), or a dict "
                "that names them"
            )
        return dict(zip("xy", sample, strict=False))
    return {"x": sample}

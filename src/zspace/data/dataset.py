"""What a data set is: storages of images, the samples that index them, and their splits.

    storage   N images (N, C, H, W): a uint8 or float32 tensor, or `Lazy`, which reads rows of it
    Part      a storage with its labels or attributes, before it is split
    Samples   some rows of a storage: splits share it and copy nothing
    Data      three Samples, train, validation and test, that share no row

A set that comes with test samples gives a tenth of the others to validation. A set without gives
a tenth to test first, then a tenth of the rest to validation: of 1,000 samples, 810, 90 and 100.
The permutation has a seed of its own, `SPLIT_SEED`. It does not depend on the seed of a run, so
runs with different seeds and models are compared on the same samples.

`without` keeps a class out of training, so that its images can serve as anomalies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zspace.data.spec import Spec
from zspace.system import notebook
from zspace.system.errors import UserError, unknown
from zspace.system.pixels import thumbnails

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 20240229
FEWEST = 10
"""Samples of the smallest data set; with fewer, a tenth would be less than one sample."""
_PIECE = 1 << 24


class Lazy(Protocol):
    """Images that stay on disk because they do not fit the memory budget."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    def read(self, rows: Tensor) -> Tensor:
        """The images (B, C, H, W) of rows (B,), uint8 in 0..255 or float32 in [0, 1]."""


Storage = Tensor | Lazy


def to_float(x: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1]: uint8 is divided by 255, floats pass without a copy.

    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True, eq=False)
class Samples:
    """Some rows of a storage, in a fixed order: position i is row ``index[i]``.

    Arguments:
        x: The storage, (N, C, H, W).
        y: Labels (N,) int64 of the whole storage, or None.
        index: (n,) int64, the rows that these samples are.
        attributes: (N, A) uint8 of the whole storage, 1 where an attribute holds; several may hold
            of one image. None where there are none.

    >>> x = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(4, 1, 1, 1)
    >>> some = Samples(x, torch.tensor([7, 8, 9, 9]), index=torch.tensor([3, 1]))
    >>> len(some), some.labels().tolist()
    (2, [9, 8])
    >>> some.images(torch.tensor([1])).flatten()
    tensor([0.2000])
    """

    x: Storage
    y: Tensor | None
    index: Tensor
    attributes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def images(self, i: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W), float32 in [0, 1], of positions ``i`` (B,); None: of all."""
        rows, x = self._rows(i), self.x
        return to_float(x.index_select(0, rows) if isinstance(x, Tensor) else x.read(rows))

    def labels(self, i: Tensor | None = None) -> Tensor | None:
        """Labels (B,) int64 of positions ``i`` (B,), or None where there are none."""
        return None if self.y is None else self.y[self._rows(i)]

    def conditions(self, i: Tensor | None = None) -> Tensor | None:
        """What a conditional model is told of positions ``i``.

        Attributes (B, A) float32 where the samples have some, else labels (B,) int64; None where
        they have neither.
        """
        if self.attributes is None:
            return self.labels(i)
        return self.attributes[self._rows(i)].to(torch.float32)

    def _rows(self, i: Tensor | None) -> Tensor:
        return self.index if i is None else self.index[i]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits that share no sample; `load` makes one.

    Arguments:
        name: What it is called in run folders and titles.
        train: The samples that a model learns from.
        validation: The samples that choose among epochs and settings.
        test: The samples that are used for the final numbers only.
        classes: Names of the labels 0, 1, ...; empty where there are none.
        provenance: One sentence that says where the data come from, with the licence if known.
        skipped: How many unreadable files were left out (``skip_bad``).
        attributes: Names of what may hold of a sample, several at once; usually empty.
        factors: Names and numbers of values of the factors that the images were made from, if they
            are known. Row i of the storage is the i-th combination, the last factor fastest.
        held_out: The class that only the test split has; see `without`.

    >>> few = zspace.data.load("mnist5k", quiet=True)
    >>> {name: len(samples) for name, samples in few.splits.items()}
    {'train': 4050, 'validation': 450, 'test': 500}
    >>> few.spec.shape, few.spec.context
    ((1, 28, 28), 10)
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    classes: tuple[str, ...] = ()
    provenance: str = ""
    skipped: int = 0
    attributes: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    held_out: str = ""

    @property
    def splits(self) -> dict[str, Samples]:
        """The three splits by name, in the order of `SPLITS`."""
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def spec(self) -> Spec:
        """The shape (C, H, W), the classes and the attributes: what a recipe must know."""
        return Spec(tuple(self.train.x.shape[1:]), self.classes, self.attributes)

    def _repr_html_(self) -> str:
        """What a notebook shows: what the data are, and training images from first to last."""
        some = torch.linspace(0, len(self.train) - 1, min(40, len(self.train))).round().long()
        known = {
            **{f"{name} images": f"{len(samples):,}" for name, samples in self.splits.items()},
            "shape": " × ".join(map(str, self.spec.shape)),
            "classes": ", ".join(self.classes),
            "attributes": ", ".join(self.attributes),
        }
        shown = notebook.image(thumbnails(self.train.images(some).numpy()), "Training images")
        return notebook.facts(known, self.name) + shown

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, pixels, labels, attributes and splits.

        It is the same whether the images are in memory or on disk, which depends on the memory
        that happens to be free. A run keeps it, to notice that its data have changed.
        """
        digest = hashlib.sha256("\n".join((*self.classes, *self.attributes)).encode())
        splits = list(self.splits.values())
        for x in _once(split.x for split in splits):
            digest.update(repr(tuple(x.shape)).encode())
            for part in _pixels(x):
                digest.update(part)
        for split in splits:
            digest.update(_content(split.index))
        for told in ([split.y for split in splits], [split.attributes for split in splits]):
            for y in _once(y for y in told if y is not None):
                digest.update(_content(y))
        return digest.hexdigest()


def _pixels(x: Storage) -> Iterator[memoryview]:
    """The pixels in the order of the storage; from disk in pieces of a few megabytes."""
    if isinstance(x, Tensor):
        yield _content(x)
        return
    for rows in torch.arange(x.shape[0]).split(max(1, _PIECE // math.prod(x.shape[1:]))):
        yield _content(x.read(rows))


def _once(things: Iterable) -> list:
    """Each object once, in order: splits may share a storage, and tensors compare by element."""
    return list({id(thing): thing for thing in things}.values())


def _content(x: Tensor) -> memoryview:
    return np.ascontiguousarray(x.numpy()).reshape(-1).view(np.uint8).data


@dataclass(frozen=True, eq=False)
class Part:
    """A storage x (N, C, H, W) with its labels y (N,) or attributes (N, A), before it is split."""

    x: Storage
    y: Tensor | None = None
    attributes: Tensor | None = None

    def rows(self, index: Tensor) -> Samples:
        """Those rows (n,) as samples."""
        return Samples(self.x, self.y, index, self.attributes)


def assemble(
    name: str,
    train: Part,
    *,
    validation: Part | None = None,
    test: Part | None = None,
    **facts: Any,
) -> Data:
    """Data whose missing splits are cut from ``train``.

    Arguments:
        name: Of the data set.
        train: The samples for training and for every split that is not given.
        validation: None: a tenth of ``train``, after test has had its part.
        test: None: a tenth of ``train``.
        facts: The other fields of `Data`: classes, provenance, ...

    Raises UserError as `check` does.

    >>> data = assemble("hundred", Part(torch.zeros(100, 1, 2, 2)))
    >>> [len(samples) for samples in data.splits.values()]
    [81, 9, 10]
    """
    given = [part for part in (train, validation, test) if part is not None]
    check(name, [tuple(part.x.shape) for part in given])
    # RandomState's stream is frozen by numpy's policy; torch.randperm's and default_rng's are not,
    # and the validation set must not change with a version.
    rows = np.random.RandomState(SPLIT_SEED).permutation(train.x.shape[0]).astype(np.int64)
    rest = torch.from_numpy(rows)

    def split(part: Part | None) -> Samples:
        """All rows of a part; without one, a tenth of the rows that are left of train."""
        nonlocal rest
        if part is not None:
            return part.rows(torch.arange(part.x.shape[0]))
        n = max(1, len(rest) // 10)
        cut, rest = rest[:n], rest[n:]
        return train.rows(cut.sort().values)  # sorted, because disks read in order

    last, middle = split(test), split(validation)
    return Data(name, train.rows(rest.sort().values), middle, last, **facts)


def check(name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise UserError where storages cannot be split: too few samples, or images of two shapes.

    Arguments:
        name: Of the data set, for the sentence.
        shapes: (N, C, H, W) of each storage that is given, train first. A header is enough to know
            them, so that this can be asked before any pixel is read.
    """
    sizes = [shape[0] for shape in shapes]
    # Each split that is not given is cut from train, which must keep a sample itself.
    if sum(sizes) < FEWEST or sizes[0] < 4 - len(sizes) or min(sizes) < 1:
        raise UserError(
            f"data set '{name}' has {sum(sizes)} samples, {sizes[0]} of them for training; "
            f"give at least {FEWEST}, so that train, validation and test each get one"
        )
    images = {shape[1:] for shape in shapes}
    if len(images) > 1:
        raise UserError(
            f"the splits of '{name}' differ in shape (C, H, W): "
            f"{' and '.join(map(str, sorted(images)))}; give all samples one shape"
        )


def without(data: Data, name: str) -> Data:
    """The data with no image of one class in training and validation; the test split keeps it.

    The labels 0, 1, ... and the names of the classes stay as they are, so that a conditional model
    has the same number of columns.

    Arguments:
        data: With labels.
        name: Of the class; empty leaves the data as they are.

    Raises UserError for a class that the data do not have, and where training or validation would
    be left empty.

    >>> rest = without(zspace.data.load("mnist5k", quiet=True), "7")
    >>> [7 in samples.labels() for samples in rest.splits.values()]
    [False, False, True]
    """
    if not name:
        return data
    if not data.classes:
        raise UserError(f"no class can be held out: data set '{data.name}' has no labels")
    if name not in data.classes:
        raise unknown("class to hold out", name, data.classes)
    label = data.classes.index(name)
    train, validation = _others(data.train, label), _others(data.validation, label)
    if not (len(train) and len(validation)):
        raise UserError(
            f"without class '{name}', data set '{data.name}' has {len(train)} training and "
            f"{len(validation)} validation images: hold out another class"
        )
    return replace(data, train=train, validation=validation, held_out=name)


def _others(samples: Samples, label: int) -> Samples:
    """The samples of other labels."""
    y = samples.labels()
    assert y is not None
    return replace(samples, index=samples.index[y != label])

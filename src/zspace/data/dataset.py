"""What a data set is: storages of images, the samples that index them, and their splits.

A storage keeps N images (N, C, H, W): a uint8 or float32 tensor in memory, or a `Lazy` object that
reads rows when asked. Samples are rows of a storage, so that splits share it and copy nothing.

Splits are the same for every run: the permutation's seed is a constant, not the run's seed, so
that runs of different seeds and models are compared on the same validation samples. A set with
its own test samples gives 10% of the rest to validation; one without gives 10% to test first. A
class may be held out of training and validation, so that its test images can serve as anomalies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zspace.data.spec import Spec
from zspace.system.errors import UserError, unknown

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 20240229
FEWEST = 10
_PIECE = 1 << 24


class Lazy(Protocol):
    """Images that stay on disk because they do not fit the memory budget."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    def read(self, rows: Tensor) -> Tensor:
        """The images (B, C, H, W) of rows (B,), uint8 or float32 in [0, 1]."""


Storage = Tensor | Lazy


def take(x: Storage, rows: Tensor) -> Tensor:
    """The images (B, C, H, W) of rows (B,) as they are stored."""
    return x.index_select(0, rows) if isinstance(x, Tensor) else x.read(rows)


def to_float(x: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1]; floats pass through, without a copy."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True, eq=False)
class Samples:
    """Some rows of a storage.

    x: the storage, (N, C, H, W). y: labels (N,) int64 of the whole storage, or None.
    index: (n,) int64, the rows that these samples are.
    attributes: (N, A) uint8, 0 or 1, several of which may hold at once; None where there are none.
    """

    x: Storage
    y: Tensor | None
    index: Tensor
    attributes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def images(self, i: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W), float32 in [0, 1], of positions ``i`` (B,); None: of all."""
        return to_float(take(self.x, self._rows(i)))

    def labels(self, i: Tensor | None = None) -> Tensor | None:
        """Labels (B,) int64 of positions ``i`` (B,), or None where there are none."""
        return None if self.y is None else self.y[self._rows(i)]

    def conditions(self, i: Tensor | None = None) -> Tensor | None:
        """What a conditional model is told of positions ``i``: labels (B,) int64, or attributes
        (B, A) float32; None where there is neither.
        """
        if self.attributes is None:
            return self.labels(i)
        return self.attributes[self._rows(i)].to(torch.float32)

    def _rows(self, i: Tensor | None) -> Tensor:
        return self.index if i is None else self.index[i]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits that share no sample.

    classes: names of the labels 0, 1, ...; empty where there are none.
    attributes: names of what may hold or not of each sample, several at once; mostly empty.
    provenance: one sentence that says whose data they are, with the licence where it is known.
    skipped: how many unreadable files were left out (``skip_bad``).
    factors: names and numbers of values of the factors that the images were made from, where they
        are known: row i of the storage is the i-th combination, the last factor turning fastest.
    held_out: the class that the test split alone has; see `without`.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    classes: tuple[str, ...]
    provenance: str
    skipped: int = 0
    attributes: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    held_out: str = ""

    @property
    def splits(self) -> dict[str, Samples]:
        """The three by their names, in the order of `SPLITS`."""
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def spec(self) -> Spec:
        """The shape (C, H, W), the classes and the attributes: what a recipe must know."""
        return Spec(tuple(self.train.x.shape[1:]), self.classes, self.attributes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, pixels, labels, attributes and splits.

        It is the same wherever the images are held, which hangs on the memory that is free.
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


def _pixels(x: Storage) -> Iterator[bytes | memoryview]:
    """The pixels in the order of the storage; from disk in pieces of a few megabytes."""
    if isinstance(x, Tensor):
        yield _content(x)
        return
    step = max(1, _PIECE // math.prod(x.shape[1:]))
    for start in range(0, x.shape[0], step):
        yield _content(x.read(torch.arange(start, min(start + step, x.shape[0]))))


def _once(things: Iterable) -> list:
    """Each object once, in order: splits may share a storage, and tensors compare by element."""
    return list({id(thing): thing for thing in things}.values())


def _content(x: Tensor) -> memoryview:
    return np.ascontiguousarray(x.numpy()).reshape(-1).view(np.uint8).data


@dataclass(frozen=True, eq=False)
class Part:
    """A storage with its labels or attributes, before it is split."""

    x: Storage
    y: Tensor | None = None
    attributes: Tensor | None = None

    def rows(self, index: Tensor) -> Samples:
        return Samples(self.x, self.y, index, self.attributes)

    def all(self) -> Samples:
        return self.rows(torch.arange(len(self)))

    def __len__(self) -> int:
        return self.x.shape[0]


def assemble(
    name: str,
    train: Part,
    *,
    validation: Part | None = None,
    test: Part | None = None,
    classes: tuple[str, ...] = (),
    attributes: tuple[str, ...] = (),
    provenance: str = "",
    skipped: int = 0,
) -> Data:
    """Split ``train`` into what is missing of validation and test, and name the whole.

    Raises UserError for fewer than 10 samples, and for splits whose images differ in shape.
    """
    given = [part for part in (train, validation, test) if part is not None]
    check(name, [tuple(part.x.shape) for part in given])
    rest = _permutation(len(train))
    rest, last = _cut(rest, test is None)
    rest, middle = _cut(rest, validation is None)
    return Data(
        name=name,
        train=train.rows(rest.sort().values),
        validation=train.rows(middle) if validation is None else validation.all(),
        test=train.rows(last) if test is None else test.all(),
        classes=classes,
        provenance=provenance,
        skipped=skipped,
        attributes=attributes,
    )


def _permutation(n: int) -> Tensor:
    # RandomState's stream is frozen by numpy's policy; torch.randperm's and default_rng's are not,
    # and the validation set must not change with a version.
    return torch.from_numpy(np.random.RandomState(SPLIT_SEED).permutation(n).astype(np.int64))


def _cut(rows: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """A tenth of the rows, at least one, off the front; sorted, because disks read in order."""
    n = max(1, len(rows) // 10) if wanted else 0
    return rows[n:], rows[:n].sort().values


def check(name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise UserError where storages of these shapes (N, C, H, W), train first, are no data."""
    sizes = [shape[0] for shape in shapes]
    # Each split that is not given is cut from train, which must keep a sample itself.
    if sum(sizes) < FEWEST or sizes[0] < 4 - len(sizes) or min(sizes) < 1:
        raise UserError(
            f"data '{name}' hold {sum(sizes)} samples, {sizes[0]} of them for training; "
            f"give at least {FEWEST}, so that train, validation and test each get one"
        )
    images = {shape[1:] for shape in shapes}
    if len(images) > 1:
        raise UserError(
            f"the splits of '{name}' differ in shape (C, H, W): "
            f"{' and '.join(map(str, sorted(images)))}; give all samples one shape"
        )


def without(data: Data, name: str) -> Data:
    """The data with no image of a class in training and validation; the test split keeps it.

    The labels 0, 1, ... and the names of the classes stay as they are. name: of the class; empty
    leaves the data alone.

    Raises UserError for a class that the data have not, and where too little would be left.
    """
    if not name:
        return data
    if not data.classes:
        raise UserError(f"class '{name}' cannot be held out: data '{data.name}' have no labels")
    if name not in data.classes:
        raise unknown("class to hold out", name, data.classes)
    label = data.classes.index(name)
    train, validation = _others(data.train, label), _others(data.validation, label)
    if not (len(train) and len(validation)):
        raise UserError(
            f"without class '{name}', data '{data.name}' have {len(train)} training and "
            f"{len(validation)} validation images: hold out another class"
        )
    return replace(data, train=train, validation=validation, held_out=name)


def _others(samples: Samples, label: int) -> Samples:
    """The samples of other labels."""
    y = samples.labels()
    assert y is not None
    return replace(samples, index=samples.index[y != label])

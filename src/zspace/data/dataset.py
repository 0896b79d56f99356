"""What a data set is: storages of samples, the rows of them that a split has, and all splits.

    storage   N samples (N, C, H, W): a uint8 or float32 tensor, or `Lazy`, which reads rows of it
    Part      a storage with its labels or attributes and ids, before it is split
    Unsplit   the parts of a source as a reader found them
    Samples   some rows of a storage: splits share it and copy nothing
    Data      three Samples, train, validation and test, that share no row

How a missing split is cut is told in `zspace.data.splits`; which samples are trained on, and how
often, in `zspace.data.selection`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zspace.data.account import NOTHING_READ, Read, of_samples
from zspace.data.attributes import learned
from zspace.data.kinds.encoding import Unencoded
from zspace.data.labels import LONGEST, MISSING, merged, renumbered
from zspace.data.naming import Positions, names_of
from zspace.data.spec import Scale, Spec
from zspace.data.splits import SPLITS, cut
from zspace.system import notebook
from zspace.system.errors import UserError
from zspace.system.pixels import thumbnails

if TYPE_CHECKING:
    from zspace.data.kinds.encoding import Encoding

FEWEST = 10
"""Samples of the smallest data set; with fewer, a tenth would be less than one sample."""
_PIECE = 1 << 22


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
        y: Labels (N,) int64 of the whole storage, -1 where there is none; None without labels.
        index: (n,) int64, the rows that these samples are.
        attributes: (N, A) of the whole storage: uint8, 1 where one holds, of which several may; or
            float64 where some are numbers, in their own units, NaN where missing. None where there
            are none.
        ids: What each row of the storage is called; None: its position.
        scales: How a model reads attributes that are numbers; () where all are flags.
        weights: (N,) float64 of the whole storage, at least 0: how much each sample counts. None
            where all count alike.
        balance: Whether classes are drawn equally often in training.

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
    ids: Sequence[str] | None = None
    scales: tuple[Scale, ...] = ()
    weights: Tensor | None = None
    balance: bool = False

    def __len__(self) -> int:
        return len(self.index)

    def names(self, i: Tensor | None = None) -> list[str]:
        """The ids of positions ``i`` (None: of all): file names, row labels, or row numbers."""
        rows = self._rows(i).tolist()
        return [str(row) if self.ids is None else str(self.ids[row]) for row in rows]

    @property
    def named(self) -> bool:
        """Whether `names` are more than positions."""
        return self.ids is not None and not isinstance(self.ids, Positions)

    def labelled(self) -> Samples:
        """Those that have a label, or every attribute; all where there are no labels at all."""
        lacking = self.unlabelled()
        return replace(self, index=self.index[~lacking]) if bool(lacking.any()) else self

    def unlabelled(self) -> Tensor:
        """Which of them (n,) lack a label or an attribute; none where there are no labels."""
        told = self.conditions()
        if told is None:
            return torch.zeros(len(self), dtype=torch.bool)
        return told == MISSING if told.dim() == 1 else told.isnan().any(1)

    def images(self, i: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W), float32 in [0, 1], of positions ``i`` (B,); None: of all."""
        rows, x = self._rows(i), self.x
        return to_float(x.index_select(0, rows) if isinstance(x, Tensor) else x.read(rows))

    def labels(self, i: Tensor | None = None) -> Tensor | None:
        """Labels (B,) int64 of positions ``i`` (B,), or None where there are none."""
        return None if self.y is None else self.y[self._rows(i)]

    def conditions(self, i: Tensor | None = None) -> Tensor | None:
        """What a conditional model is told of positions ``i``.

        Attributes (B, A) where the samples have some, flags in float32, or float64 in their own
        units where some are numbers; else labels (B,) int64; None where they have neither.
        """
        if self.attributes is None:
            return self.labels(i)
        told = self.attributes[self._rows(i)]
        return told if told.dtype == torch.float64 else told.to(torch.float32)

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
        held_out: The class that only the test split has; see `zspace.data.selection`.
        read: What was read, and what was left out; see `zspace.data.account`.
        encoding: How raw samples became x; None for images.
        whole: New data for a finished run: one set of this name to its samples, or the source's
            own parts. Nothing was cut, and `train` and `validation` may be empty.

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
    read: Read = NOTHING_READ
    whole: Mapping[str, Samples] | None = None
    encoding: Encoding | None = None

    @property
    def splits(self) -> dict[str, Samples]:
        """The three splits by name, in the order of `SPLITS`; of new data, its own parts."""
        if self.whole is not None:
            return dict(self.whole)
        return {name: getattr(self, name) for name in SPLITS}

    @cached_property
    def novel(self) -> tuple[str, ...]:
        """The classes that no training sample has: held out, or known to the other splits only."""
        known, others = _labels_in(self.train), set[int]()
        for samples in self.splits.values():
            others |= _labels_in(samples)
        return tuple(self.classes[i] for i in sorted(others - known))

    @property
    def spec(self) -> Spec:
        """What a recipe must know: the shape (C, H, W), classes, attributes, number of samples."""
        shape, scales = tuple(self.train.x.shape[1:]), self.train.scales
        if self.encoding is not None:
            told = {"classes": self.classes, "attributes": self.attributes}
            return self.encoding.spec(**told, samples=len(self.train), scales=scales)
        return Spec(shape, self.classes, self.attributes, len(self.train), scales=scales)

    def labelled(self) -> Data:
        """The same without samples that have no label."""
        every = (self.train, self.validation, self.test)
        one, two, three = kept = [samples.labelled() for samples in every]
        gone = sum(map(len, every)) - sum(map(len, kept))
        left = (*self.read.left_out, *((f"{gone:,} samples without a label",) if gone else ()))
        read = replace(self.read, left_out=left)
        return replace(self, train=one, validation=two, test=three, read=read)

    def scaled(self, scales: tuple[Scale, ...]) -> Data:
        """The same with attributes that a model reads by these scales, as a finished run does."""
        every = {split: replace(s, scales=scales) for split, s in self.splits.items()}
        one, two, three = (
            every.get(split, replace(getattr(self, split), scales=scales)) for split in SPLITS
        )
        whole = None if self.whole is None else every
        return replace(self, train=one, validation=two, test=three, whole=whole)

    def as_new(self, known: tuple[str, ...]) -> Data:
        """The same as new data for a run that knows these classes; labels are matched by name."""
        classes = merged([known, self.classes], self.name)
        moved = {
            name: replace(s, y=s.y if s.y is None else renumbered(s.y, self.classes, classes))
            for name, s in self.splits.items()
        }
        one, two, three = (moved.get(split, getattr(self, split)) for split in SPLITS)
        return replace(self, train=one, validation=two, test=three, classes=classes, whole=moved)

    def _repr_html_(self) -> str:
        """What a notebook shows: what the data are, and training samples from first to last."""
        some = torch.linspace(0, len(self.train) - 1, min(40, len(self.train))).round().long()
        known = {
            **{
                of_samples(f"{name} images", self.spec.kind): f"{len(samples):,}"
                for name, samples in self.splits.items()
            },
            "shape": " × ".join(map(str, self.spec.shape)),
            "classes": ", ".join(self.classes),
            "attributes": ", ".join(self.attributes),
        }
        if self.encoding is not None:
            rows = self.encoding.decode(self.train.images(some[:5]))
            table = getattr(rows, "_repr_html_", lambda: "")()
            return notebook.facts(known, self.name) + table
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
        kept = ("y", "attributes", "weights")
        for told in ([getattr(split, name) for split in splits] for name in kept):
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


def _labels_in(samples: Samples) -> set[int]:
    y = samples.labels()
    return set() if y is None else set(torch.unique(y).tolist()) - {MISSING}


@dataclass(frozen=True, eq=False)
class Part:
    """A storage with what is known of its samples, before it is split.

    Arguments:
        x: (N, C, H, W).
        y: Labels (N,) int64, -1 where there is none; None without labels.
        attributes: (N, A), as `Samples` has them.
        classes: Names of the labels of this part; empty: those of the data set.
        ids: What each sample is called; None: its position.
        origin: Where the samples are from, for people: "x_train".
        weights: (N,) float64, as `Samples` has them.
    """

    x: Storage
    y: Tensor | None = None
    attributes: Tensor | None = None
    classes: tuple[str, ...] = ()
    ids: Sequence[str] | None = None
    origin: str = ""
    weights: Tensor | None = None

    def rows(self, index: Tensor) -> Samples:
        """Those rows (n,) as samples."""
        return Samples(self.x, self.y, index, self.attributes, self.ids, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Unsplit:
    """A data set as a reader found it.

    Arguments:
        name: What it is called.
        parts: "train", and "validation" and "test" where the source has its own.
        read: What only the reader knows.
        facts: Other fields of `Data`: classes, provenance, ...
    """

    name: str
    parts: Mapping[str, Part]
    read: Read = NOTHING_READ
    facts: Mapping[str, Any] = field(default_factory=dict)

    def data(self, *, fixed: bool = False) -> Data:
        """Its three splits; `fixed` as `assemble` has it."""
        return assemble(
            self.name[:LONGEST], **self.parts, read=self.read, fixed=fixed, **self.facts
        )

    def with_split(self, split: str, other: Unsplit) -> Unsplit:
        """The same with everything of another source as one of its splits.

        Raises UserError where there is such a split already, and where the other has several.
        """
        flag = "--val" if split == "validation" else "--test"
        if split in self.parts:
            raise UserError(
                f"'{self.name}' has a {split} set of its own ({self.parts[split].origin}): leave "
                f"it out with --leave-out, or leave out {flag}"
            )
        if len(other.parts) > 1:
            there = ", ".join(other.parts)
            raise UserError(f"'{other.name}' holds the splits {there}: give one of them as {flag}")
        if other.facts.get("attributes", ()) != self.facts.get("attributes", ()):
            raise UserError(f"'{self.name}' and '{other.name}' differ in their attributes")
        (part,) = other.parts.values()
        train = self.parts["train"]
        if isinstance(part.x, Unencoded) and isinstance(train.x, Unencoded):
            part = replace(part, x=part.x.like(train.x))
        if part.y is None and train.y is not None:
            part = replace(part, y=torch.full((part.x.shape[0],), MISSING))
        named = part.classes or tuple(other.facts.get("classes", ()))
        ids = part.ids or Positions(np.arange(part.x.shape[0]))
        part = replace(part, classes=named, ids=ids, origin=f"{other.name} ({flag})")
        if other.read.scale != self.read.scale and other.read.values != self.read.values:
            note = f"{flag}: {other.read.values}"
            read = replace(self.read, notes=(*self.read.notes, note))
        else:
            read = self.read
        told = tuple(f"{flag}: {note}" for note in other.read.notes)
        read = replace(read, notes=(*read.notes, *told))
        gone = tuple(f"{text} of {other.name}" for text in other.read.left_out)
        read = replace(read, left_out=(*read.left_out, *gone))
        return replace(self, parts={**self.parts, split: part}, read=read)

    def known_as(self, known: tuple[str, ...]) -> Unsplit:
        """The same with labels that are positions in these classes, and in others after them."""
        named = tuple(self.facts.get("classes", ()))
        parts, classes = _matched(
            self.name, dict(self.parts), [known, named] if named else [known]
        )
        return replace(self, parts=parts, facts={**self.facts, "classes": classes})

    def as_one(self, known: tuple[str, ...] = ()) -> Data:
        """Everything as new data for a finished run, which nobody splits.

        Arguments:
            known: The classes of the run; labels are matched with them by name.
        """
        matched = self.known_as(known)
        parts, classes = matched.parts, matched.facts["classes"]
        samples = {name: part.rows(torch.arange(part.x.shape[0])) for name, part in parts.items()}
        first = next(iter(samples.values()))
        own = samples if len(samples) > 1 else {"all": first}
        nothing = replace(first, index=torch.arange(0))
        origins = {name: part.origin for name, part in zip(own, parts.values(), strict=True)}
        return Data(
            self.name,
            samples.get("train", nothing) if len(samples) > 1 else nothing,
            samples.get("validation", nothing),
            samples.get("test", first),
            read=replace(self.read, origins=origins),
            whole=own,
            **{**self.facts, "classes": classes},
        )


def _matched(
    name: str, parts: dict[str, Part], tables: list[tuple[str, ...]]
) -> tuple[dict[str, Part], tuple[str, ...]]:
    """The parts with labels that are positions in one table of classes, and that table.

    tables: of classes that go before those of the parts; the last is that of parts without one.
    """
    told = [part for part in parts.values() if part.y is not None]
    own = tables[-1] if tables else ()
    classes = merged([*tables, *(part.classes for part in told)] or [()], name)
    for split, part in parts.items():
        if part.y is not None:
            y = renumbered(part.y, part.classes or own, classes)
            parts[split] = replace(part, y=y, classes=classes)
    return parts, classes


def assemble(
    name: str,
    train: Part,
    *,
    validation: Part | None = None,
    test: Part | None = None,
    fixed: bool = False,
    read: Read = NOTHING_READ,
    **facts: Any,
) -> Data:
    """Data whose missing splits are cut from ``train``.

    Arguments:
        name: Of the data set.
        train: The samples for training and for every split that is not given.
        validation: None: a tenth of ``train``, after test has had its part.
        test: None: a tenth of ``train``.
        fixed: Cut whatever the class. That of sets with a name must not change, so that figures
            of different versions compare.
        read: What only the reader knows.
        facts: The other fields of `Data`: classes, provenance, ...

    Raises UserError as `check` does.

    >>> data = assemble("hundred", Part(torch.zeros(100, 1, 2, 2)))
    >>> [len(samples) for samples in data.splits.values()]
    [81, 9, 10]
    """
    given = {"train": train, "validation": validation, "test": test}
    parts = {split: part for split, part in given.items() if part is not None}
    check(name, [tuple(part.x.shape) for part in parts.values()])
    table = tuple(facts.pop("classes", ()))
    parts, classes = _matched(name, parts, [table] if table else [])
    train = parts["train"]
    strata = None if fixed or train.y is None else train.y.numpy()
    missing = [split for split in ("test", "validation") if split not in parts]
    own = train.x.cut(missing) if missing and isinstance(train.x, Unencoded) else None
    *cuts, rest = own.rows if own else cut(train.x.shape[0], strata, len(missing))
    rows = dict(zip(missing, cuts, strict=True)) | {"train": rest}
    one, two, three = (
        train.rows(torch.from_numpy(rows[split]))
        if split in rows
        else parts[split].rows(torch.arange(parts[split].x.shape[0]))
        for split in SPLITS
    )
    how = f"cut from {train.origin or 'all samples'}{' by class' * (strata is not None)}"
    if own:
        how, read = own.how, replace(read, notes=(*read.notes, *own.notes))
    left = train.origin if len(missing) < 2 else how
    origins = {s: parts[s].origin if s in parts else how for s in SPLITS} | {"train": left}
    facts |= {"classes": classes, "read": replace(read, origins=origins)}
    data = Data(name, one, two, three, **facts)
    if one.attributes is None:
        return data
    return data.scaled(learned(data.attributes, one.attributes[one.index]))


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
            f"data set '{name}' has {sum(sizes)} sample{'s' * (sum(sizes) != 1)}, {sizes[0]} "
            f"for training; give at least {FEWEST}, so that train, validation and test each "
            "get one"
        )
    images = {shape[1:] for shape in shapes}
    if len(images) > 1:
        axes = " (C, H, W)" * all(len(shape) == 3 for shape in images)
        raise UserError(
            f"the splits of '{name}' differ in shape{axes}: "
            f"{' and '.join(map(str, sorted(images)))}; give all samples one shape"
        )


def joined(several: Sequence[Samples]) -> Samples:
    """Samples of several storages as those of one, in order; empty ones may lack labels.

    >>> a, b = (Samples(torch.full((4, 1, 2, 2), v), None, torch.arange(2)) for v in (0.0, 1.0))
    >>> joined([a, b]).images()[:, 0, 0, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    some = [samples for samples in several if len(samples)] or [several[0]]
    first = some[0]
    if all(samples.x is first.x for samples in some):
        index = torch.cat([samples.index for samples in some])
        return replace(first, index=index.sort().values)
    if all(isinstance(samples.x, Tensor) for samples in some):
        x: Storage = torch.cat([s.x.index_select(0, s.index) for s in some])  # type: ignore[union-attr]
    else:
        x = Joined(tuple((samples.x, samples.index) for samples in some))

    labels = [samples.labels() for samples in some]
    unknown_ = [torch.full((len(samples),), MISSING) for samples in some]
    y = [a if b is None else b for a, b in zip(unknown_, labels, strict=True)]
    attributes = [s.attributes[s.index] for s in some if s.attributes is not None]
    return Samples(
        x,
        None if all(one is None for one in labels) else torch.cat(y),
        torch.arange(x.shape[0]),
        torch.cat(attributes) if len(attributes) == len(some) else None,
        names_of(some),
        first.scales,
        torch.cat([s.weights[s.index] for s in some if s.weights is not None])
        if all(s.weights is not None for s in some)
        else None,
    )


@dataclass(frozen=True, eq=False)
class Joined:
    """Rows of several storages, one after the other, as one storage; see `Lazy`.

    Arguments:
        parts: Each storage and the rows (n,) of it.
    """

    parts: tuple[tuple[Storage, Tensor], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return sum(len(rows) for _, rows in self.parts), *self.parts[0][0].shape[1:]

    def read(self, rows: Tensor) -> Tensor:
        """The images (B, C, H, W) of rows (B,)."""
        found: Tensor | None = None
        start = 0
        for x, own in self.parts:
            here = (rows >= start) & (rows < start + len(own))
            wanted = own[rows[here] - start]
            images = x.index_select(0, wanted) if isinstance(x, Tensor) else x.read(wanted)
            if found is None:
                found = images.new_empty((len(rows), *images.shape[1:]))
            found[here] = images
            start += len(own)
        assert found is not None
        return found

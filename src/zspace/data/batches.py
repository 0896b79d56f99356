"""Batches of samples on a device, in an order that is a function of (seed, epoch) alone.

A store gives the images of the rows it is asked for, on the device:

    Resident   the whole storage lies on the device; a batch is one index look-up
    Sent       it lies on disk, or in main memory and is too large for a GPU: threads read batches
               a little ahead, and each is sent there

Both give the same batches. Images stay uint8 until the batch, where they become float32 x
(B, C, H, W) in [0, 1]; no float copy of the data set is made.

Training images can be changed at random in ways that leave them as likely as they were:

    flip   half of the images are mirrored left to right
    crop   an image is moved by up to an eighth of its sides; the gap shows it mirrored

Both only choose which pixel comes from where, so that a batch takes two look-ups on its device.
The draws come from torch's global generator, whose state checkpoints keep.
"""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Literal, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from zspace.data.conditions import lookup
from zspace.data.dataset import Samples, Storage, to_float
from zspace.data.selection import proportions, systematic
from zspace.data.spec import Batch
from zspace.system.cores import readers
from zspace.system.device import sent
from zspace.system.errors import UserError
from zspace.system.memory import free

T = TypeVar("T")
Augment = Literal["none", "flip", "crop", "flip-crop"]
Binarize = Literal["none", "static", "dynamic"]
BINARY_SEED = 20240301
_CHUNK = 4096
ON_DEVICE = 1 / 4
"""Of the memory that is free on a GPU, what data may take there: the rest is for the training."""


def augmented(x: Tensor, how: Augment) -> Tensor:
    """Images (B, C, H, W) of any type, each changed by draws of its own.

    >>> x = torch.arange(4.0).expand(64, 1, 4, 4)
    >>> sorted({tuple(row.tolist()) for row in augmented(x, "flip")[:, 0, 0]})
    [(0.0, 1.0, 2.0, 3.0), (3.0, 2.0, 1.0, 0.0)]
    """
    if how == "none":
        return x
    height, width = x.shape[2:]
    if "crop" in how:
        rows, columns = _moved(x, height), _moved(x, width)
        x = x.gather(2, rows[:, None, :, None].expand(x.shape))
    else:
        columns = torch.arange(width, device=x.device).expand(len(x), -1)
    if "flip" in how:
        turned = torch.rand(len(x), 1, device=x.device) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    return x.gather(3, columns[:, None, None].expand(x.shape))


def _moved(x: Tensor, side: int) -> Tensor:
    """For each image the positions (B, side) that its pixels come from, along one side."""
    reach = side // 8
    by = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
    at = (torch.arange(side, device=x.device) + by).abs()
    return side - 1 - (side - 1 - at).abs()


class Resident:
    """A storage (N, C, H, W) that lies on the device as a whole.

    Arguments:
        x: In memory, uint8 or float32.
        device: Where it goes; it is not copied where it lies there already.
        binary: Whether it is replaced by a fixed draw of 0 and 255 (see `Batches`).
    """

    def __init__(self, x: Tensor, device: torch.device, binary: bool) -> None:
        # The source is kept so that its id, the key in `resident`, is not given to another tensor.
        self.source = x
        self.x = (_binary(x) if binary else x).to(device)

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        """Images (B, C, H, W) of each rows (B,), one look-up each."""
        return (self.x.index_select(0, i) for i in rows)


class Sent:
    """A storage on disk, or in main memory and too large for the device: batches are read a little
    ahead of their use, and go there one by one.

    Arguments:
        x: The storage, (N, C, H, W).
        device: Where batches go; for CUDA they pass through pinned memory.
        binary: As for `Resident`; of what lies in memory alone.
    """

    def __init__(self, x: Storage, device: torch.device, binary: bool = False) -> None:
        self.source, self.device = x, device
        self.x = _binary(x) if binary and isinstance(x, Tensor) else x

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        """Images (B, C, H, W) of each rows (B,). Raises UserError for what cannot be read."""
        threads = 1 if isinstance(self.x, Tensor) else readers()
        for x in ahead(self._read, rows, threads):
            yield x.to(self.device, non_blocking=True)

    def _read(self, rows: Tensor) -> Tensor:
        x = self.x.index_select(0, rows) if isinstance(self.x, Tensor) else self.x.read(rows)
        return x.pin_memory() if self.device.type == "cuda" else x


_residents: WeakValueDictionary[tuple[int, torch.device, bool], Resident | Sent] = (
    WeakValueDictionary()
)


def resident(x: Tensor, device: torch.device, *, binary: bool = False) -> Resident | Sent:
    """The store of ``x`` on the device: one for all splits and runs that share the storage.

    On a GPU it may take `ON_DEVICE` of the memory that is free there; a larger one stays in main
    memory, and its batches are sent.
    """
    key = (id(x), device, binary)
    store = _residents.get(key)
    if store is None:
        fits = device.type == "cpu" or x.nbytes <= ON_DEVICE * free(device)
        store = _residents[key] = (Resident if fits else Sent)(x, device, binary)
    return store


def _binary(x: Tensor) -> Tensor:
    """One fixed draw of Bernoulli(x) for each pixel, 0 or 255 in uint8; the same in every run."""
    generator = torch.Generator().manual_seed(BINARY_SEED)
    draws = torch.empty(x.shape, dtype=torch.uint8)
    # In chunks: no float copy of the whole storage.
    for p, draw in zip(x.split(_CHUNK), draws.split(_CHUNK), strict=True):
        draw.copy_(to_float(p).bernoulli(generator=generator).mul_(255))
    return draws


def ahead(read: Callable[[T], Tensor], items: Iterable[T], threads: int = 1) -> Iterator[Tensor]:
    """``read`` of each item in order, of which threads read up to ``threads`` + 1 ahead of the one
    in use. Each that waits takes the memory of a batch.

    >>> list(ahead(torch.neg, torch.arange(3)))
    [tensor(0), tensor(-1), tensor(-2)]
    """
    left = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(read, item) for item in islice(left, threads + 1))
        try:
            while waiting:
                x = waiting.popleft().result()
                waiting.extend(pool.submit(read, item) for item in islice(left, 1))
                yield x
        finally:  # after an error, or where the reader has had enough
            pool.shutdown(cancel_futures=True)


class Batches:
    """Batches of samples on a device, epoch after epoch.

    Arguments:
        samples: Which rows of which storage; one split of `Data`.
        batch: Samples in each batch; the last batch may be smaller and is kept.
        device: Where x and c lie.
        seed: With the number of the epoch, all that the order depends on.
        classes: Columns of c. Over 0, every batch carries c (B, classes) float32: the attributes
            where the samples have some, else the one-hot labels.
        augment: How the images of each batch are changed at random: "flip", "crop", "flip-crop".
        binarize: Makes each pixel 1 with probability x. "static": one draw for good, the same in
            every run. "dynamic": a fresh draw each time, so that no draw can be learned by heart.
        shuffle: False keeps the order. The dynamic draws of a batch are then the same in every
            epoch and leave the global generator alone, so that validation values compare.
        weighted: Draw samples in proportion to their weights (see `zspace.data.selection`), with
            shuffle=False the same draw in every epoch. False gives each once, whatever its weight.
        part: (r, R) gives of every batch the rows r, r + R, ... only: those of rank r of R. Where
            a batch has none for it, its first row stands in and counts nothing (see `counts`).

    Raises UserError for a batch below 1, for missing or too large labels where classes are
    wanted, and for static binarisation of images that are not in memory.

    Reference: Salakhutdinov, Murray. On the quantitative analysis of deep belief networks. ICML
    2008 (static binarisation).

    >>> cpu = torch.device("cpu")
    >>> batches = Batches(data.train, batch=100, device=cpu, seed=0, classes=10)
    >>> len(batches) == -(-len(data.train) // 100)
    True
    >>> first, again = next(batches.epoch(3)), next(batches.epoch(3))
    >>> first.x.shape[1:], torch.equal(first.x, again.x), torch.equal(first.c, again.c)
    (torch.Size([1, 14, 14]), True, True)
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch: int,
        device: torch.device,
        seed: int,
        classes: int = 0,
        augment: Augment = "none",
        binarize: Binarize = "none",
        shuffle: bool = True,
        weighted: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if batch < 1:
            raise UserError(f"batch is {batch}: give at least 1 sample for each batch")
        self.samples, self.batch, self.device = samples, batch, device
        self.seed, self.shuffle, self.part = seed, shuffle, part
        self._weights = proportions(samples) if weighted else None
        self._store = _store(samples, device, binarize)
        self._context = lookup(samples, classes, device)
        self._augment = augment
        self._finish = self._finisher(binarize)

    def __len__(self) -> int:
        """Batches in each epoch."""
        return -(-len(self.samples) // self.batch)

    def counts(self, at: int) -> tuple[int, int]:
        """Of batch ``at``: the rows that count here, and the rows of all parts together.

        Their ratio is the weight of this rank in a mean over the ranks.
        """
        whole = min(self.batch, len(self.samples) - at * self.batch)
        return len(range(self.part[0], whole, self.part[1])), whole

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start`` + 1, ... of epoch ``number``.

        Starting late gives exactly the batches that the whole epoch would have given from there.
        """
        whole = self.order(number).split(self.batch)[start:]
        yield from self.of([self._own(i) for i in whole], start)

    def at_random(self, batch: int) -> Batches:
        """The same samples in one random order, in whole batches of this size and no smaller one.

        What is estimated from a batch is measured on these: samples that lie side by side may be
        alike, and the size of a batch matters. What is left over does not count; where there are
        fewer samples than a batch has, they are one batch. The order is always the same.

        >>> cpu = torch.device("cpu")
        >>> batches = Batches(data.test, batch=100, device=cpu, seed=0)
        >>> {len(batch.x) for batch in batches.at_random(7).epoch(0)}
        {7}
        """
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(0))
        whole = order[: len(order) // batch * batch or len(order)]
        other = copy.copy(self)
        rows = self.samples.index if self._weights is None else self._drawn(0)
        other.samples = replace(self.samples, index=rows[whole])
        other.batch, other.shuffle, other._weights = batch, False, None
        return other

    def of(self, rows: Sequence[Tensor], start: int = 0) -> Iterator[Batch]:
        """The batch of each of these rows (B,) of the storage; the first has number ``start``.

        rows: In main memory. They go to the device together, so that no batch waits for its own.
        """
        there = rows
        if rows and self.device.type != "cpu":
            there = sent(torch.cat(list(rows)), self.device).split([len(i) for i in rows])
        raws = self._store.stream(there if isinstance(self._store, Resident) else rows)
        for at, (i, raw) in enumerate(zip(there, raws, strict=True), start):
            x = to_float(augmented(raw, self._augment))
            yield Batch(self._finish(x, at), self._context(i))

    def _own(self, rows: Tensor) -> Tensor:
        rank, ranks = self.part
        return rows[rank::ranks] if rank < len(rows) else rows[:1]

    def order(self, number: int) -> Tensor:
        """The rows of the storage (n,) in the order of this epoch."""
        if not self.shuffle:
            # Sorted, because disks read in order.
            return self.samples.index if self._weights is None else self._drawn(0).sort().values
        if self._weights is not None:
            return self._drawn(mix(self.seed, number))
        generator = torch.Generator().manual_seed(mix(self.seed, number))
        return self.samples.index[torch.randperm(len(self.samples), generator=generator)]

    def _drawn(self, seed: int) -> Tensor:
        """Rows of the storage (n,), drawn in proportion to their weights."""
        assert self._weights is not None
        generator = torch.Generator().manual_seed(seed)
        at = systematic(self._weights, self.samples.labels(), generator)
        return self.samples.index[at]

    def _finisher(self, binarize: Binarize) -> Callable[[Tensor, int], Tensor]:
        """What is done last to x (B, C, H, W) of batch number ``at``."""
        if binarize != "dynamic":
            return lambda x, at: x
        if self.shuffle:
            return lambda x, at: torch.bernoulli(x)
        generator = torch.Generator(self.device)
        return lambda x, at: x.bernoulli(generator=generator.manual_seed(mix(self.seed, at)))


def mix(*numbers: int) -> int:
    """A 63-bit seed from numbers, such as the seed of a run and an epoch.

    It is hashed, because neighbouring seeds of small generators give correlated streams.

    >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0), mix(0, 1) < 2**63
    (True, False, True)
    """
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def _store(samples: Samples, device: torch.device, binarize: Binarize) -> Resident | Sent:
    if isinstance(samples.x, Tensor):
        return resident(samples.x, device, binary=binarize == "static")
    if binarize == "static":
        raise UserError("static binarisation needs images in memory, not on disk; use dynamic")
    return Sent(samples.x, device)

"""Batches of samples on a device, in an order that is a function of (seed, epoch) alone.

A store gives the images of the rows (B,) it is asked for, on the device:

    Resident   the whole storage lies on the device; a batch is one index look-up
    Streamed   rows come from disk through torch's DataLoader, its workers and pinned memory

Both give the same batches. Images stay uint8 until the batch, where they become float32 x
(B, C, H, W) in [0, 1]; no float copy of the data set is made.

For training only, images may be changed at random into others that are as likely:

    flip   left and right change places in half of the images
    crop   an image is moved by up to an eighth of its sides, what leaves it mirrored at the border

Both only choose which pixel comes where, so that a batch takes two look-ups, on its device. The
draws are from torch's global generator, whose state checkpoints keep.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zspace.data.conditions import lookup
from zspace.data.dataset import Lazy, Samples, to_float
from zspace.data.spec import Batch
from zspace.system.errors import UserError

Augment = Literal["none", "flip", "crop", "flip-crop"]
Binarize = Literal["none", "static", "dynamic"]
BINARY_SEED = 20240301
_CHUNK = 4096


def augmented(x: Tensor, how: Augment) -> Tensor:
    """Images (B, C, H, W) of any type, each changed by draws of its own."""
    height, width = x.shape[2:]
    if "crop" in how:
        rows, columns = _moved(x, height), _moved(x, width)
    else:
        rows, columns = None, torch.arange(width, device=x.device).expand(len(x), -1)
    if "flip" in how:
        turned = torch.rand(len(x), 1, device=x.device) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    if rows is not None:
        x = x.gather(2, rows[:, None, :, None].expand(x.shape))
    return x if how == "none" else x.gather(3, columns[:, None, None].expand(x.shape))


def _moved(x: Tensor, side: int) -> Tensor:
    """For each image the positions (B, side) that its pixels come from, along one side."""
    reach = side // 8
    by = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
    at = (torch.arange(side, device=x.device) + by).abs()
    return side - 1 - (side - 1 - at).abs()


class Store(Protocol):
    """Where the images of a batch come from."""

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        """For each batch of rows (B,): its images (B, C, H, W), as stored, on the device."""


class Resident:
    """A storage (N, C, H, W) that lies on the device as a whole."""

    def __init__(self, x: Tensor, device: torch.device, binary: bool) -> None:
        # The source is kept so that its id, the key in `resident`, is not given to another tensor.
        self.source = x
        self.x = (_binary(x) if binary else x).to(device)

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        for i in rows:
            yield self.x.index_select(0, i)


_residents: WeakValueDictionary[tuple[int, torch.device, bool], Resident] = WeakValueDictionary()


def resident(x: Tensor, device: torch.device, *, binary: bool = False) -> Resident:
    """The store of ``x`` on the device: one for all splits and runs that share the storage."""
    key = (id(x), device, binary)
    store = _residents.get(key)
    if store is None:
        store = _residents[key] = Resident(x, device, binary)
    return store


def _binary(x: Tensor) -> Tensor:
    """One fixed draw of Bernoulli(x) a pixel, 0 or 255 in uint8; the same in every run."""
    generator = torch.Generator().manual_seed(BINARY_SEED)
    draws = torch.empty(x.shape, dtype=torch.uint8)
    for start in range(0, len(x), _CHUNK):  # in chunks: no float copy of the whole storage
        p = to_float(x[start : start + _CHUNK])
        draws[start : start + _CHUNK] = p.bernoulli(generator=generator).mul_(255)
    return draws


class _Rows(Dataset[Tensor]):
    """A lazy storage as DataLoader wants it: whole batches of rows at a time."""

    def __init__(self, x: Lazy) -> None:
        self.x = x

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, i: int) -> Tensor:
        return self.__getitems__(torch.tensor([i]))[0]

    def __getitems__(self, rows: Tensor) -> Tensor:
        return self.x.read(rows)


def _as_is(batch: Any) -> Any:
    """The collate function: rows arrive as one tensor already."""
    return batch


def ahead(source: Iterable[Tensor], most: int = 2) -> Iterator[Tensor]:
    """The same, while a thread reads up to ``most`` items ahead of the one that is worked on."""
    items = iter(source)
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(next, items, None) for _ in range(most))
        while (x := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(next, items, None))
            yield x


class Streamed:
    """A storage (N, C, H, W) on disk, read by ``workers`` processes (0: by a thread of this one)
    a little ahead of the training.
    """

    def __init__(self, x: Lazy, device: torch.device, workers: int) -> None:
        self.rows, self.device, self.workers = _Rows(x), device, workers

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        failure = ""
        try:
            for x in ahead(self._loader(rows)):
                yield x.to(self.device, non_blocking=True)
        except UserError as error:
            # A worker's error comes wrapped in its traceback; the user needs the sentence.
            failure = str(error).rsplit("UserError: ", 1)[-1].strip()
            # DataLoader leaves its error in a reference cycle that also holds the workers; they
            # take seconds to end if that is left to the garbage collector.
            error.__traceback__ = None
        if failure:
            raise UserError(failure)

    def _loader(self, rows: Sequence[Tensor]) -> DataLoader[Tensor]:
        batches: Any = [i.cpu() for i in rows]  # typed as lists of int, but a tensor serves
        return DataLoader(
            self.rows,
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=_as_is,
            pin_memory=self.device.type == "cuda",
            # Without its own, every iterator would draw a seed from the global generator.
            generator=torch.Generator().manual_seed(0),
        )


class Batches:
    """Batches of samples on a device, epoch after epoch.

    batch: samples a batch; the last, smaller one is kept.
    seed: with the epoch's number, all that the order depends on.
    classes: over 0, every batch carries c (B, classes), float32: the one-hot labels, or the
        attributes where the samples have such.
    augment: how the images of each batch are changed at random; see `zspace.data.batches`.
    binarize: "static", one Bernoulli(x) draw an image for good (the same in every run);
        "dynamic", a fresh draw each time (R. Salakhutdinov, I. Murray, "On the quantitative
        analysis of deep belief networks", 2008).
    part: (r, R) gives of every batch the rows r, r + R, ... alone: those of rank r of R. Where a
        batch has none for it, its first row stands in and counts nothing (see `counts`).
    shuffle: False keeps the order, and makes the dynamic draws of a batch the same in every
        epoch and without touching the global generator, so that validation values compare.
    workers: processes that read a storage on disk.

    Raises UserError for a batch below 1, for missing or too large labels where classes are
    wanted, and for static binarisation of images that are not in memory.
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
        workers: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if batch < 1:
            raise UserError(f"a batch needs at least 1 sample, but batch is {batch}")
        self.samples, self.batch, self.device = samples, batch, device
        self.seed, self.shuffle, self.part = seed, shuffle, part
        self._store = _store(samples, device, binarize, workers)
        self._context = lookup(samples, classes, device)
        self._augment = augment
        self._finish = self._finisher(binarize)

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.samples) // self.batch)

    def counts(self, at: int) -> tuple[int, int]:
        """How many rows of batch ``at`` count here, and how many it has in all parts together."""
        whole = min(self.batch, len(self.samples) - at * self.batch)
        return len(range(self.part[0], whole, self.part[1])), whole

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start`` + 1, ... of epoch ``number``.

        Starting late gives exactly the batches that the whole epoch would have given from there.
        """
        whole = self.order(number).to(self.device).split(self.batch)[start:]
        yield from self.of([self._own(i) for i in whole], start)

    def of(self, rows: Sequence[Tensor], start: int = 0) -> Iterator[Batch]:
        """A batch of each of these rows (B,) of the storage; the first is number ``start``."""
        for at, (i, raw) in enumerate(zip(rows, self._store.stream(rows), strict=True), start):
            x = to_float(augmented(raw, self._augment))
            yield Batch(self._finish(x, at), self._context(i))

    def _own(self, rows: Tensor) -> Tensor:
        rank, ranks = self.part
        return rows[rank::ranks] if rank < len(rows) else rows[:1]

    def order(self, number: int) -> Tensor:
        """The rows of the storage (n,) in the order of this epoch."""
        if not self.shuffle:
            return self.samples.index
        generator = torch.Generator().manual_seed(mix(self.seed, number))
        return self.samples.index[torch.randperm(len(self.samples), generator=generator)]

    def _finisher(self, binarize: Binarize) -> Callable[[Tensor, int], Tensor]:
        """What is done to x (B, C, H, W) of batch ``at`` last."""
        if binarize != "dynamic":
            return lambda x, at: x
        if self.shuffle:
            return lambda x, at: torch.bernoulli(x)
        generator = torch.Generator(self.device)
        return lambda x, at: x.bernoulli(generator=generator.manual_seed(mix(self.seed, at)))


def mix(*numbers: int) -> int:
    """A 63-bit seed; hashed, because neighbouring seeds of small generators are correlated."""
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def _store(samples: Samples, device: torch.device, binarize: Binarize, workers: int) -> Store:
    if isinstance(samples.x, Tensor):
        return resident(samples.x, device, binary=binarize == "static")
    if binarize == "static":
        raise UserError(
            "static binarisation keeps a fixed draw of every image in memory, but this data set "
            "is read from disk; use dynamic"
        )
    return Streamed(samples.x, device, workers)

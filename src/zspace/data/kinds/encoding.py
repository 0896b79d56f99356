"""What every kind of x but images has: an encoding, learned of the training samples only.

    raw    samples as they were read: rows of a table, windows of a series, texts
    x      what a model reads, a tensor (N, *X)

A reader gives raw samples as an `Unencoded` storage. Once they are split, `fitted` learns an
`Encoding` of those for training, and `encoded` makes x of all. A run keeps the encoding, and so
takes new samples in and gives samples back by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zspace.data.spec import Fact, Spec

if TYPE_CHECKING:
    import pandas as pd

    from zspace.data.dataset import Storage


class Encoding(ABC):
    """How raw samples of one kind become x and come back; the base class of all encodings.

    Attributes:
        kind: "table", "series" or "tokens", as `Spec` has it.
        plural: What samples are called: "rows".
        missing: Whether elements of x may be missing.
        suffix: Of a file of samples, where none is given.
        row: What a line of `frame` is called in a file that holds two tables of them; "" where
            lines have names of their own.
        neighbours: Whether what is beside a missing value helps to fill it in.
        identifier: The column, none of x, by which samples are called; "" where there is none.
    """

    kind: ClassVar[str]
    plural: ClassVar[str]
    missing: bool
    suffix: ClassVar[str] = ".csv"
    row: ClassVar[str] = ""
    neighbours: ClassVar[bool] = False
    identifier: str = ""

    @property
    @abstractmethod
    def size(self) -> str:
        """How large a sample is, in words: "15 columns, 40 numbers"."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Fact]:
        """What each value of `quality` is."""

    @property
    def whole(self) -> set[str]:
        """The columns of `frame` whose numbers are whole, of whatever type they are."""
        return set()

    @property
    def usual(self) -> Mapping[str, float | None]:
        """Name -> what `quality` is on average for who always gives the same, where known."""
        return {}

    @property
    def reading(self) -> Mapping[str, Any]:
        """`ReadOptions` with which further samples are to be read as those of the training."""
        return {}

    @abstractmethod
    def spec(self, **more: Any) -> Spec:
        """What a recipe must know; more: classes, attributes, samples and scales."""

    @abstractmethod
    def said(self) -> str:
        """How values were taken, in words, for the account of what was read."""

    @abstractmethod
    def encode(self, raw: Any) -> Tensor:
        """x (N, *X) of new samples. Raises UserError for what does not fit."""

    @abstractmethod
    def decode(self, x: Any) -> Any:
        """The samples of x (N, *X), as those that were read."""

    def filled(self, x: Tensor, y: Tensor, halfway: Tensor | None = None) -> Tensor:
        """x (N, *X) with what is missing in it taken from its reconstruction y.

        halfway: what `zspace.analysis.gaps.halfway` gives, where the samples have `neighbours`.
        """
        return torch.where(x.isnan(), y, x) if x.is_floating_point() else x

    def restored(self, x: Tensor, raw: Any) -> Any:
        """The samples of x (N, *X), with what was there in those that they were made of."""
        return self.decode(x)

    @abstractmethod
    def frame(self, raw: Any) -> pd.DataFrame:
        """Samples that `decode` gave as a table, for a CSV or Parquet file."""

    def arrays(self, raw: Any) -> dict[str, np.ndarray]:
        """The same as arrays by name, for an .npz: the columns of `frame`, objects as texts."""
        columns = {str(name): column.to_numpy() for name, column in self.frame(raw).items()}
        return {n: a.astype(str) if a.dtype == object else a for n, a in columns.items()}

    def lines(self, raw: Any) -> list[str] | None:
        """The same as one line of text each, for a .txt; None for what cannot be read back so."""
        return None

    @abstractmethod
    def show(self, x: Tensor) -> dict[str, Any]:
        """One sample x (*X) as JSON, in one of the shapes that pages and figures draw."""

    @abstractmethod
    def quality(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Name -> (B,): how near y is to x (B, *X); NaN where x is missing."""

    @abstractmethod
    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As JSON, whose "kind" is this one's, and tensors; `from_files` makes the same again."""

    @classmethod
    @abstractmethod
    def from_files(cls, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Encoding:
        """The inverse of `to_files`. Raises UserError where they are not what it wrote."""


class Cuts(NamedTuple):
    """Splits that samples have by themselves, such as those of a series by its time.

    Arguments:
        rows: Of each split that is missing, in the order they were asked for, and the rest.
        how: In words, for the account of what was read.
        notes: What else there is to say.
    """

    rows: list[np.ndarray]
    how: str
    notes: tuple[str, ...] = ()


class Unencoded(ABC):
    """Raw samples of one kind, before anything is learned of them; see `dataset.Lazy`.

    Attributes:
        kind: As that of the `Encoding`.
        folder: Of the cache, where the raw samples are in files; None where they are in memory.
    """

    kind: ClassVar[str]
    folder: Path | None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(N, ...): how many samples, and what all splits must share."""

    def read(self, rows: Tensor) -> Tensor:
        """Never: samples are encoded before any is read as x."""
        raise AssertionError("raw samples were not encoded")

    @property
    def spills(self) -> bool:
        """Whether x can be written to the cache, where it does not fit the memory."""
        return self.folder is not None

    def like(self, other: Unencoded) -> Unencoded:
        """The same, as a split of data whose training samples are others."""
        return self

    def cut(self, missing: Sequence[str]) -> Cuts | None:
        """Splits for which samples cannot be drawn at random; None where they can.

        Arguments:
            missing: The splits that are to be cut from these: "test", "validation".
        """
        return None

    @abstractmethod
    def taken(self, rows: np.ndarray) -> Unencoded:
        """Some of them."""

    @abstractmethod
    def fitted(
        self, rows: np.ndarray, options: Any, told: tuple[str, ...]
    ) -> tuple[Encoding, list[str]]:
        """What the training samples teach, and notes for the user about all samples.

        Arguments:
            rows: Which of these samples are for training.
            options: The `ReadOptions`.
            told: Attributes, whose columns are said of labels rather than of x.

        Raises UserError for samples of which nothing can be learned.
        """

    def settled(
        self,
        encoding: Any,
        stores: Sequence[Any],
        splits: Mapping[str, Sequence[tuple[Any, np.ndarray]]],
        options: Any,
    ) -> tuple[Encoding, list[str]]:
        """The encoding once the samples of all splits were looked at, and notes about them.

        Arguments:
            encoding: What was learned, by `fitted` or by a finished run.
            stores: All storages of raw samples.
            splits: Split -> its storages, and which of their samples it has.
            options: The `ReadOptions`.

        Raises UserError for samples that it cannot take in.
        """
        return encoding, []

    def named(self, encoding: Any, ids: Sequence[str] | None) -> Sequence[str] | None:
        """What each of them is called, by what they hold; `ids` where that says nothing."""
        return ids

    @abstractmethod
    def encoded(self, encoding: Any, *, checked: bool, on_disk: bool) -> tuple[Storage, bool]:
        """x of all of them, and whether any of it is missing.

        Arguments:
            encoding: What was learned.
            checked: Whether to refuse missing values where the training samples had none.
            on_disk: Whether x is written to a file of the cache.
        """

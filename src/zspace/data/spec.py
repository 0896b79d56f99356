"""What passes between data and models: what a recipe must know of the data, and one batch of them.

Spec    kind and shape (*X) of one x; classes or attributes, which a conditional model reads as
        c (B, C); for tables, each Column
Batch   x (B, *X), c (B, C) or None
Fact    what a number is, so that tables, figures and sentences need not guess it from its name
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from zspace.system.errors import UserError

MOST_NUMBERS = 4 << 20
"""In one sample, as many as in four bands of 1024 x 1024: 13 bands of 512 x 512 are fewer."""
Role = Literal["reconstruction", "divergence", "bound", "regulariser", "objective"]
ColumnKind = Literal["number", "category", "boolean", "count", "date"]


@dataclass(frozen=True)
class Fact:
    """What a quantity is called and how it is read.

    Arguments:
        title: In words, in lower case except for names: "squared error", "SSIM".
        unit: "nats", "dB", "pixels"; "" for a plain number.
        better: Which way is better, if either is.
        per: "sample" for a mean over samples; "batch" for an estimate from a batch, which depends
            on its size and must be compared at the same size.
        role: What it does in an objective. "reconstruction": how far the output is from x;
            "divergence": KL(q(z|x) || p(z)), which makes a reconstruction in nats a bound on
            -log p(x); "bound": such a bound by itself; "objective": the sum itself; "regulariser":
            anything else.
        code: With which code of x it is measured: "drawn", that of a forward pass, which is a draw
            of q(z|x) where there is one; "mean"; or "" where it does not matter. By default
            "drawn" for a reconstruction, a bound and the objective, else "".

    >>> Fact("squared error", role="reconstruction").better
    'low'
    """

    title: str
    unit: str = ""
    better: Literal["low", "high", "neither"] = "low"
    per: Literal["sample", "batch"] = "sample"
    role: Role = "regulariser"
    code: Literal["drawn", "mean", ""] | None = None

    def __post_init__(self) -> None:
        if self.code is None:
            object.__setattr__(self, "code", "drawn" if self.headline else "")

    @property
    def headline(self) -> bool:
        """Whether models are compared by it first: the objective, the error, a bound."""
        return self.role in ("objective", "reconstruction", "bound")

    def named(self, variational: bool) -> str:
        """The title, and with which code of a model it is measured; one without a q draws none.

        >>> Fact("squared error", role="reconstruction").named(variational=True)
        'squared error, drawn code'
        """
        if not self.code:
            return self.title
        return f"{self.title}, {self.code if variational else 'mean'} code"


@dataclass(frozen=True)
class Column:
    """What a likelihood must know of a column of a table.

    Arguments:
        name: As the table calls it.
        kind: What its values are.
        width: How many entries of x stand for it: one for each category and one for any other,
            else 1.
        knots: Of counts: (x, count) at the corners of the map between them, which is linear in
            between; both increase.

    >>> Column("sex", "category", width=3).knots
    ()
    """

    name: str
    kind: ColumnKind
    width: int = 1
    knots: tuple[tuple[float, float], ...] = ()


class Scale(NamedTuple):
    """How a model reads an attribute: (v - mean) / sd, learned of the training samples.

    A flag is read as it is, and a number that is the same everywhere has an sd of 1.

    Arguments:
        mean: Of the training samples that have a value, in its own unit.
        sd: Their standard deviation.
        low: Their least value.
        high: Their greatest.

    >>> FLAG
    Scale(mean=0.0, sd=1.0, low=0.0, high=1.0)
    """

    mean: float
    sd: float
    low: float
    high: float


FLAG = Scale(0.0, 1.0, 0.0, 1.0)
"""Of an attribute that holds or does not; no number that varies has this mean and this range."""


@dataclass(frozen=True)
class Spec:
    """What a recipe must know of a data set: enough to build its model without any data.

    Arguments:
        shape: Of one sample, without the batch axis; (C, H, W) for images, (W,) for rows of a
            table, (T, D) for series, T steps of D channels, and (T,) for tokens.
        classes: Names of the labels 0, 1, ...; each sample has one. Empty where there are none.
        attributes: Names of what may hold of a sample, several at once, and of numbers that say
            something of it; usually empty.
        samples: How many training samples there are; 0 where that is not known.
        missing: Whether elements of x may be missing; they are NaN.
        kind: What sort of samples they are: "image", "table", "series" or "tokens".
        columns: Of a table, in the order of their entries in x; of a series, its channels.
        vocabulary: How many tokens there are, V: x holds numbers from 0 to V - 1. 0 is the end of
            a sequence, 1 any token that is none of the others; -1 is what follows the end.
        scales: How each attribute is read, where some are numbers; () where all are flags.

    Raises UserError where one sample has more numbers than any model here reads.

    >>> Spec((1, 28, 28), classes=("cat", "dog")).context
    2
    >>> Spec((3, 64, 64), attributes=("Smiling", "Male", "Young")).context
    3
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    samples: int = 0
    missing: bool = False
    kind: str = "image"
    columns: tuple[Column, ...] = ()
    scales: tuple[Scale, ...] = ()
    vocabulary: int = 0

    def __post_init__(self) -> None:
        if (numbers := math.prod(self.shape)) > MOST_NUMBERS:
            raise UserError(
                f"one sample has {numbers:,} numbers, but models read at most {MOST_NUMBERS:,}: "
                "make images smaller with --size"
            )

    @property
    def context(self) -> int:
        """Columns of the c (B, C) that a conditional model reads; 0 where there is no condition.

        One for each class (labels are one-hot), else one for each attribute.
        """
        return len(self.classes) or len(self.attributes)

    @property
    def has_distances(self) -> bool:
        """Whether the distance of two samples x means anything: not between numbers of tokens, and
        not where values may be missing.

        >>> Spec((9,), kind="tokens", vocabulary=30).has_distances
        False
        """
        return self.kind != "tokens" and not self.missing

    @property
    def features(self) -> int:
        """The axis of x (B, *X) whose entries are features of one place: 1, but -1 for series.

        >>> Spec((24, 6), kind="series").features, Spec((3, 32, 32)).features
        (-1, 1)
        """
        return -1 if self.kind == "series" else 1


@dataclass(frozen=True)
class Batch:
    """B samples on the device of the model.

    Arguments:
        x: (B, *X), float32; images are (B, C, H, W) in [0, 1].
        c: (B, C) float32, what a conditional model is told: one-hot labels, or attributes, of
            which flags are 0 and 1 and numbers are standardised. None for a model that is told
            nothing; a row of NaN for a sample without a label.

    >>> cpu = torch.device("cpu")
    >>> batches = zspace.data.Batches(data.train, batch=16, device=cpu, seed=0, classes=10)
    >>> batch = next(batches.epoch(0))
    >>> batch.x.shape, batch.c.shape
    (torch.Size([16, 1, 14, 14]), torch.Size([16, 10]))
    """

    x: Tensor
    c: Tensor | None = None

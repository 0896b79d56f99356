"""Tokens: how texts, lists of integers and chords become x (N, T) integers and come back.

    0   the end of a sample, `<end>`
    1   any token that the vocabulary does not have, `<other>`
    2   the most frequent token of the training samples, 3 the next, ...
    -1  what follows the end

T is the longest sample of all splits and its end, or what the user sets: longer samples are cut
then, and have no end. How samples are cut into tokens is told in `zspace.data.kinds.cutting`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zspace.data.kinds.cutting import (
    FORM,
    Cuts,
    as_line,
    as_samples,
    cut,
    is_text,
    rejoined,
    shown,
)
from zspace.data.kinds.encoding import Encoding
from zspace.data.spec import Fact, Spec
from zspace.system.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

END, OTHER, FIRST, AFTER = 0, 1, 2, -1
"""The end, any other token, the first of the vocabulary, and what follows the end."""
MOST_TOKENS = 1_000
"""In a sample whose length was not set."""
MOST_LENGTH, MOST_VOCABULARY, MOST_CHARACTERS = 1 << 20, 1_000_000, 1 << 20
"""What a file may claim of an encoding: T, V, and the characters of one token."""
_PIECE, _TOKENS = 1 << 14, 1 << 20
"""Samples that are encoded at once, and tokens of them, at most."""


@dataclass(frozen=True)
class TokenEncoding(Encoding):
    """How samples become tokens and come back: what was learned of the training samples.

    Arguments:
        cut: How they are cut; see `zspace.data.kinds.cutting`.
        tokens: The vocabulary from 2 on, the most frequent ones first.
        counts: How often each is in the training samples.
        length: T, the most tokens of a sample, its end included.
        shortened: Whether longer samples are cut rather than refused, where new data are read.
        column: Of a table, the column of the samples.
        often: Of the training samples, the mean share of the one token that is most of them.
        missing: Never.

    >>> encoding = learned(cut(["abba", "a", ""], "characters"), np.ones(3, bool), "characters", 9)
    >>> encoding.tokens, encoding.counts, encoding.size
    (('a', 'b'), (3, 2), '5 tokens at most, of 4')
    >>> x = encoding.encode(["ab", "", "ax"])
    >>> x.tolist()
    [[2, 3, 0, -1, -1], [0, -1, -1, -1, -1], [2, 1, 0, -1, -1]]
    >>> encoding.decode(x[:2])
    ['ab', '']
    """

    cut: str
    tokens: tuple[Any, ...]
    counts: tuple[int, ...]
    length: int
    shortened: bool = False
    column: str = ""
    often: float | None = None
    missing: bool = False
    kind: ClassVar[str] = "tokens"
    plural: ClassVar[str] = "sequences"
    suffix: ClassVar[str] = ".txt"

    @property
    def size(self) -> str:
        """T and V; the end counts in both, any other token in V."""
        return f"{self.length:,} tokens at most, of {self.vocabulary:,}"

    @property
    def vocabulary(self) -> int:
        """V, how many tokens there are."""
        return FIRST + len(self.tokens)

    @property
    def facts(self) -> dict[str, Fact]:
        """What each value of `quality` is."""
        return {
            "accuracy": Fact("right tokens", better="high", code="mean"),
            "exact": Fact("sequences without an error", better="high", code="mean"),
        }

    @property
    def usual(self) -> dict[str, float | None]:
        """The accuracy of who always gives the one token that is most of a sample on average."""
        return {"accuracy": self.often}

    @property
    def reading(self) -> dict[str, Any]:
        """New data are cut in the same way."""
        return {"kind": "tokens", "tokens": self.cut}

    def spec(self, **more: Any) -> Spec:
        """What a recipe must know; more: classes, attributes, samples and scales."""
        return Spec((self.length,), kind="tokens", vocabulary=self.vocabulary, **more)

    def said(self) -> str:
        """How samples were cut."""
        return f"cut into {self.cut}, with <end> and <other>"

    def encode(self, raw: Any) -> Tensor:
        """x (N, T) int16, or int32 for a large vocabulary, of one text or several samples.

        raw: as `zspace.data.kinds.cutting.as_samples` takes it, or a DataFrame with such a column.

        Raises UserError for samples of another sort, and for those that are longer than T allows.
        """
        if hasattr(raw, "columns"):
            names = list(raw.columns)
            if len(names) > 1 and self.column not in names:
                raise UserError(f"the data have the columns {names!s:.200}: give one of texts")
            raw = raw[self.column if self.column in names else names[0]]
        samples, form = as_samples(raw, "the data")
        self.check_form(form)
        cuts = cut(samples, self.cut)
        self.check_sizes(cuts.sizes)
        return self.encoded(cuts)

    def check_form(self, form: str) -> None:
        """Raise UserError for samples of another sort than those of the training."""
        if form != FORM[self.cut]:
            raise UserError(
                f"these are {form}, but this model reads {FORM[self.cut]}, cut into {self.cut}: "
                f"give {FORM[self.cut]}"
            )

    def check_sizes(self, sizes: np.ndarray) -> None:
        """Raise UserError where a sample has no place in T with its end; sizes: (N,)."""
        if len(sizes) and sizes.max() >= self.length:
            at = int(sizes.argmax())
            raise UserError(
                f"sample {at:,} has {sizes[at]:,} {self.cut}, but this model reads at most "
                f"{self.length - 1:,}: shorten it"
            )

    def encoded(self, cuts: Cuts) -> Tensor:
        """`encode`, of samples that are cut into tokens; longer ones end with T."""
        small = self.vocabulary < 1 << 15
        x = np.full((len(cuts.sizes), self.length), AFTER, np.int16 if small else np.int32)
        ids = self._ids(cuts.tokens).astype(x.dtype)
        for rows, sizes, codes in _pieces(cuts):
            piece, row, place = x[rows], *_places(sizes)
            kept = place < self.length
            piece[row[kept], place[kept]] = ids[codes[kept]]
            short = np.flatnonzero(sizes < self.length)
            piece[short, sizes[short]] = END
        return torch.from_numpy(x)

    def _ids(self, tokens: Sequence[Any]) -> np.ndarray:
        """The number of each of some tokens."""
        known = {token: i for i, token in enumerate(self.tokens, FIRST)}
        return np.array([known.get(token, OTHER) for token in tokens], np.int64)

    def unknown(self, cuts: Cuts, rows: np.ndarray) -> tuple[int, int]:
        """Of some rows (N,) of samples, how many tokens the vocabulary lacks, and how many are."""
        counts = counted(cuts, rows)
        return int(counts[self._ids(cuts.tokens) == OTHER].sum()), int(counts.sum())

    def _rows(self, x: Any) -> list[list[Any]]:
        """The tokens of each sample of x (N, T) up to its end; None for `<other>`."""
        x = x.detach().cpu() if isinstance(x, Tensor) else torch.as_tensor(x)
        table = [None, None, *self.tokens]
        values = x.long().numpy()
        stops = (values == END) | (values < 0)
        ends = np.where(stops.any(1), stops.argmax(1), values.shape[1])
        values = np.where(values < len(table), values, OTHER)
        pairs = zip(values.tolist(), ends.tolist(), strict=True)
        return [[table[i] for i in row[:end]] for row, end in pairs]

    def decode(self, x: Any) -> list[Any]:
        """The samples of x (N, T), whole numbers of any type, each up to its end.

        What the training did not have is U+FFFD in a text, `<other>` among words, -1 among
        integers and [] among chords.
        """
        return [rejoined(row, self.cut) for row in self._rows(x)]

    def frame(self, raw: Any) -> pd.DataFrame:
        """A line for each sequence."""
        import pandas as pd

        return pd.DataFrame({"text": self.lines(raw)})

    def lines(self, raw: Any) -> list[str]:
        """Each sequence as `zspace.data.kinds.cutting.as_line` writes it."""
        return [as_line(one) for one in raw]

    def show(self, x: Tensor, confidence: Any = None) -> dict[str, Any]:
        """One sample x (T,) as the texts of its tokens.

        confidence: (T,) of each token; what follows the end is dropped.
        """
        (row,) = self._rows(x[None])
        sure = None if confidence is None else [float(p) for p in confidence[: len(row)]]
        tokens = [shown(one, self.cut) for one in row]
        return {"shape": "text", "tokens": tokens, "confidence": sure}

    def quality(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Of each x (B, T): the share of its tokens, the end included, that y has at the same
        place, and 1 where y has all of them.
        """
        x, y = x.detach().cpu().long(), y.detach().cpu().long()
        there = x >= 0
        right = ((x == y) & there).sum(1).double() / there.sum(1)
        return {"accuracy": right, "exact": (right == 1).double()}

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As JSON, from which `from_files` makes the same again."""
        tokens = [list(one) if isinstance(one, tuple) else one for one in self.tokens]
        rest = {"length": self.length, "shortened": self.shortened, "column": self.column}
        facts = {"kind": "tokens", "cut": self.cut, "tokens": tokens, "counts": list(self.counts)}
        return {**facts, **rest, "often": self.often}, {}

    @classmethod
    def from_files(cls, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TokenEncoding:
        """The inverse of `to_files`. Raises UserError where they are not what it wrote."""
        try:
            how, tokens = facts["cut"], facts["tokens"]
            counts, length, often = facts["counts"], facts["length"], facts["often"]
            if type(tokens) is not list or type(counts) is not list:
                raise TypeError("tokens and counts are no lists")
            if how not in FORM or len(tokens) > MOST_VOCABULARY - FIRST:
                raise ValueError(f"cut into {how!r:.20}, {len(tokens):,} tokens")
            if how == "chords":
                tokens = [tuple(one) for one in tokens]
            if not all(_is_token(one, how) for one in tokens) or len(set(tokens)) < len(tokens):
                raise ValueError("its tokens")
            whole = all(type(one) is int and one > 0 for one in counts)
            if not whole or counts != sorted(counts, reverse=True) or len(counts) != len(tokens):
                raise ValueError("its counts")
            if type(length) is not int or not 1 <= length <= MOST_LENGTH:
                raise ValueError(f"length {length!r:.20}")
            if often is not None and not 0 <= often <= 1:
                raise ValueError(f"often {often!r:.20}")
            if type(facts["shortened"]) is not bool or type(facts["column"]) is not str:
                raise ValueError("shortened or column")
            rest = (length, facts["shortened"], facts["column"], often)
            return cls(how, tuple(tokens), tuple(counts), *rest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__} {error!s:.100}"
            raise UserError(
                f"the encoding of the run cannot be read ({why}): train again"
            ) from None


def _is_token(one: Any, how: str) -> bool:
    if how == "chords":
        return all(type(note) is int and -(1 << 63) <= note < 1 << 63 for note in one)
    if how in ("bytes", "integers"):
        low, high = (0, 256) if how == "bytes" else (-(1 << 63), 1 << 63)
        return type(one) is int and low <= one < high
    longest = 1 if how == "characters" else MOST_CHARACTERS
    return is_text(one) and 1 <= len(one) <= longest


def counted(cuts: Cuts, rows: np.ndarray) -> np.ndarray:
    """How often each token of `Cuts.tokens` is in some rows, (N,) of true and false.

    >>> counted(cut(["ab", "bb"], "characters"), np.array([False, True])).tolist()
    [0, 2]
    """
    counts = np.zeros(len(cuts.tokens), np.int64)
    for piece, sizes, codes in _pieces(cuts):
        counts += np.bincount(codes[np.repeat(rows[piece], sizes)], minlength=len(counts))
    return counts


def _pieces(cuts: Cuts) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Some of the samples, one piece after the other: which, their sizes and their codes."""
    at, step = 0, max(1, min(_PIECE, _TOKENS // max(1, int(cuts.sizes.max(initial=0)))))
    for start in range(0, len(cuts.sizes), step):
        rows = slice(start, start + step)
        sizes = cuts.sizes[rows]
        stop = at + int(sizes.sum())
        yield rows, sizes, cuts.codes[at:stop]
        at = stop


def _places(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each token of samples of these sizes its sample and its place in it."""
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(np.arange(len(sizes)), sizes), np.arange(len(starts)) - starts


def usual_share(cuts: Cuts, rows: np.ndarray, token: Any, length: int) -> float:
    """The mean share that one token has of some samples, each with its end and up to a length.

    It is that of the given token, or of the end if that is more.

    >>> usual_share(cut(["aab", ""], "characters"), np.ones(2, bool), "a", 9)
    0.625
    """
    code, hits, ends = cuts.tokens.index(token), 0.0, 0.0
    for piece, sizes, codes in _pieces(cuts):
        row, place = _places(sizes)
        kept = (place < length) & (codes == code)
        n = np.minimum(sizes + 1, length)
        hits += float((np.bincount(row[kept], minlength=len(sizes)) / n)[rows[piece]].sum())
        ends += float(((sizes < length) / n)[rows[piece]].sum())
    return max(hits, ends) / max(1, int(rows.sum()))


def learned(cuts: Cuts, rows: np.ndarray, how: str, vocabulary: int) -> TokenEncoding:
    """The vocabulary of the training samples; its length is that of the longest of them.

    Arguments:
        cuts: Samples, cut into tokens.
        rows: (N,), true for those for training.
        how: How they were cut.
        vocabulary: V at most.

    Raises UserError for a vocabulary too small to hold a token, and where no sample has any.
    """
    if not FIRST < vocabulary <= MOST_VOCABULARY:
        raise UserError(f"vocabulary is {vocabulary}: give {FIRST + 1} to {MOST_VOCABULARY:,}")
    counts = counted(cuts, rows)
    there = np.flatnonzero(counts)
    if not len(there):
        raise UserError("all training samples are empty: give some with tokens")
    pairs = [(-int(counts[i]), cuts.tokens[i]) for i in there.tolist()]
    pairs.sort()
    kept = pairs[: vocabulary - FIRST]
    tokens = tuple(token for _, token in kept)
    longest = int(cuts.sizes[rows].max()) + 1
    return TokenEncoding(how, tokens, tuple(-times for times, _ in kept), longest)

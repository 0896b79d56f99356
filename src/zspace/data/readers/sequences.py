"""Texts, lists of integers and chords as data sets, from what is held in Python and from tables.

    a list of texts, an array or a Series   `column_of`: one column, which `tabular` splits
    a table of which one column is texts    `of_rows`, once labels, weights and splits are out
    raw samples                             `Sequences`: those for training are learned from

Lists of integers are samples where their lengths differ, and lists of lists of integers likewise;
of one length they are arrays of numbers like any other, unless the kind is said to be tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from zspace.data.dataset import Storage, Unsplit
from zspace.data.kinds.cutting import FORM, Cuts, as_samples, cut
from zspace.data.kinds.encoding import Unencoded
from zspace.data.kinds.tokens import MOST_TOKENS, TokenEncoding, learned, usual_share
from zspace.data.read_options import ReadOptions
from zspace.data.readers.frames import Raw, is_table
from zspace.system.bars import bar
from zspace.system.errors import UserError

MADE = "list"
"""What made a table whose only column holds samples; see `frames.columns_of`."""
_SMILES = "smiles"


@dataclass(frozen=True, eq=False)
class Sequences(Unencoded):
    """Raw samples that become tokens, before anything is learned of them; see `dataset.Lazy`.

    Arguments:
        columns: Name -> the samples, all in memory. Of new data there may be several columns, of
            which the one that the run was trained with is taken.
        form: What each sample is; see `zspace.data.kinds.cutting.FORM`.
        title: Of the source, for sentences.
    """

    kind: ClassVar[str] = "tokens"
    columns: Mapping[str, Sequence[Any]]
    form: str
    title: str
    folder: None = None
    _cuts: dict[tuple[str, str], Cuts] = field(default_factory=dict, init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N,)."""
        return (len(next(iter(self.columns.values()))),)

    def taken(self, rows: np.ndarray) -> Sequences:
        """Some of them."""
        return replace(
            self, columns={n: [one[i] for i in rows.tolist()] for n, one in self.columns.items()}
        )

    def fitted(
        self, rows: np.ndarray, options: ReadOptions, told: tuple[str, ...]
    ) -> tuple[TokenEncoding, list[str]]:
        """The vocabulary of the training samples; the length is for `settled` to say."""
        ((name, samples),) = self.columns.items()
        how: str = options.tokens
        if how == "auto":
            how = _usual_cut(name, [samples[i] for i in rows.tolist()], self.form)
        if self.form != FORM[how]:
            raise UserError(
                f"--tokens {how} is for {FORM[how]}, but {self.title} holds {self.form}: leave it "
                "out"
            )
        train = np.zeros(self.shape[0], bool)
        train[rows] = True
        encoding = learned(
            self.tokenised(how, name, options.quiet), train, how, options.vocabulary
        )
        return replace(encoding, column="" if name == MADE else name), []

    def settled(
        self,
        encoding: TokenEncoding,
        stores: Sequence[Any],
        splits: Mapping[str, Sequence[tuple[Any, np.ndarray]]],
        options: ReadOptions,
    ) -> tuple[TokenEncoding, list[str]]:
        """The encoding with its length, which is that of all samples, and notes about these."""
        cuts = {id(one): one.cut_as(encoding, options.quiet) for one in stores}
        sizes = np.concatenate([one.sizes for one in cuts.values()])
        longest = int(sizes.max(initial=0))
        if not options.whole:
            if longest > MOST_TOKENS and not options.length:
                raise UserError(
                    f"the longest sample of {self.title} has {longest:,} {encoding.cut}, and half "
                    f"have up to {int(np.median(sizes)):,}: cut long ones with --length, such as "
                    f"--length {MOST_TOKENS}, or cut into larger tokens with --tokens"
                )
            length = min(options.length or longest + 1, longest + 1)
            train = np.zeros(self.shape[0], bool)
            train[np.concatenate([rows for one, rows in splits["train"] if one is self])] = True
            often = usual_share(cuts[id(self)], train, encoding.tokens[0], length)
            shortened = length <= longest
            encoding = replace(encoding, length=length, shortened=shortened, often=often)
        elif not encoding.shortened:
            encoding.check_sizes(sizes)
        notes = []
        if empty := int((sizes == 0).sum()):
            notes.append(f"{empty:,} sequences are empty" if empty > 1 else "1 sequence is empty")
        if long := int((sizes >= encoding.length).sum()):
            which = "sequences are" if long > 1 else "sequence is"
            notes.append(f"{long:,} {which} cut after {encoding.length:,} tokens, without an end")
        return encoding, [*notes, *_unknown(encoding, cuts, splits)]

    def cut_as(self, encoding: TokenEncoding, quiet: bool = True) -> Cuts:
        """The samples as tokens. Raises UserError where they are others than the encoding's."""
        encoding.check_form(self.form)
        names = list(self.columns)
        if len(names) > 1 and encoding.column not in names:
            raise UserError(
                f"{self.title} has {len(names):,} columns of texts, {', '.join(names):.200}: give "
                f"one alone, or call it {encoding.column or 'texts'!r}"
            )
        return self.tokenised(encoding.cut, encoding.column if len(names) > 1 else names[0], quiet)

    def tokenised(self, how: str, name: str, quiet: bool = True) -> Cuts:
        """The samples of a column as tokens; they are cut once."""
        if (how, name) not in self._cuts:
            samples = self.columns[name]
            with bar("Cutting", len(samples), quiet or len(samples) < 100_000) as advance:
                self._cuts[how, name] = cut(samples, how, advance)
        return self._cuts[how, name]

    def encoded(
        self, encoding: TokenEncoding, *, checked: bool, on_disk: bool
    ) -> tuple[Storage, bool]:
        """x of all of them, of which none is missing; always in memory."""
        return encoding.encoded(self.cut_as(encoding)), False


def _usual_cut(name: str, samples: Sequence[Any], form: str) -> str:
    if form != "texts":
        return "integers" if form == FORM["integers"] else "chords"
    if name.lower() == _SMILES:
        return "smiles"
    blank = sum(" " in text for text in samples)
    return "words" if 2 * blank > len(samples) else "characters"


def _unknown(
    encoding: TokenEncoding,
    cuts: Mapping[int, Cuts],
    splits: Mapping[str, Sequence[tuple[Any, np.ndarray]]],
) -> list[str]:
    """Which share of the tokens of each split the vocabulary lacks, where it lacks any."""
    said = []
    for split, parts in splits.items():
        lacking = total = 0
        for store, rows in parts:
            chosen = np.zeros(store.shape[0], bool)
            chosen[rows] = True
            a, b = encoding.unknown(cuts[id(store)], chosen)
            lacking, total = lacking + a, total + b
        if lacking:
            said.append(f"{100 * lacking / total:.2g} % of {split} tokens")
    return [f"<other> is {', '.join(said)}"] if said else []


def holds(value: Any, options: ReadOptions) -> bool:
    """Whether that is samples of tokens: texts, lists of integers, or lists of lists of them.

    >>> [holds(one, ReadOptions()) for one in (["ab"], [[1, 2], [3]], [[1, 2], [3, 4]], [0.5])]
    [True, True, False, False]
    """
    if is_table(value):
        integers = getattr(value, "ndim", 0) == 2 and not hasattr(value, "columns")
        return options.kind == "tokens" and integers
    if isinstance(value, np.ndarray | Tensor):
        texts = value.ndim == 1 and not isinstance(value, Tensor) and _are_texts(value)
        return texts or options.kind == "tokens"
    if isinstance(value, list | tuple) or _is_series(value):
        first = next(iter(value), None)
        if isinstance(first, str) or options.kind == "tokens":
            return True
        return options.kind == "auto" and isinstance(value, list | tuple) and _is_ragged(value)
    return False


def _are_texts(value: np.ndarray) -> bool:
    kind = value.dtype.kind
    return kind in "US" or (kind == "O" and len(value) > 0 and isinstance(value[0], str))


def _is_series(value: Any) -> bool:
    """Whether that is one column of some library of DataFrames."""
    known = ("pandas", "polars", "pyarrow")
    there = type(value).__module__.partition(".")[0] in known
    return there and not hasattr(value, "columns") and hasattr(value, "__iter__")


def _is_ragged(value: Sequence[Any]) -> bool:
    """Whether lists of integers, or of lists of integers, are of several lengths."""
    if not all(isinstance(one, list | tuple) or _is_row(one) for one in value):
        return False
    inner = [part for one in value for part in one if isinstance(part, list | tuple)]
    flat = inner or value
    first = next((one[0] for one in flat if len(one)), None)
    whole = isinstance(first, int | np.integer) and not isinstance(first, bool)
    return whole and (len({*map(len, value)}) > 1 or len({*map(len, inner)}) > 1)


def _is_row(one: Any) -> bool:
    return isinstance(one, np.ndarray) and one.ndim == 1 and one.dtype.kind in "iu"


def column_of(name: str, value: Any, options: ReadOptions, title: str) -> dict[str, Raw] | None:
    """Samples of tokens as the one column of a table; None where that is something else.

    Arguments:
        name: What they are called in their source.
        value: See `holds`.
        options: Of reading.
        title: Of the source.

    Raises UserError for samples of several sorts.
    """
    if not holds(value, options):
        return None
    own = getattr(value, "name", None) if _is_series(value) else None
    samples, _ = as_samples(value, f"{own or name} of {title}")
    is_smiles = any(_SMILES in str(one).lower() for one in (name, own))
    values = np.fromiter(samples, object, len(samples))
    none = np.zeros(len(samples), bool)
    return {_SMILES if is_smiles else MADE: Raw(values, none, {"name": "object"})}


def of_rows(found: Unsplit, options: ReadOptions, title: str) -> Unsplit:
    """The rows of a table as samples of tokens: of one column, with all that is known of them.

    Raises UserError where it is not one column of texts that is left.
    """
    stores: dict[str, Any] = {split: part.x for split, part in found.parts.items()}
    columns = {split: _texts_of(store, options, title) for split, store in stores.items()}
    forms = {split: _form_of(one) for split, one in columns.items()}
    forms = {split: form for split, form in forms.items() if form} or {"train": FORM["integers"]}
    if len(set(forms.values())) > 1:
        told = ", ".join(f"{form} in {split}" for split, form in forms.items())
        raise UserError(f"{title} holds {told}: give all samples one form")
    form = next(iter(forms.values()))
    parts = {
        split: replace(part, x=Sequences(columns[split], form, title))
        for split, part in found.parts.items()
    }
    table = next(iter(stores.values())).table
    gone = [f"{name} (it says the {what})" for what, name in _told_by(options) if name in table]
    read = replace(found.read, left_out=(*found.read.left_out, *gone))
    return replace(found, parts=parts, read=read)


def _told_by(options: ReadOptions) -> list[tuple[str, str]]:
    """Columns that say splits, and so are no samples."""
    return [("groups", options.group), ("order", options.split_by)]


def _form_of(columns: Mapping[str, list[Any]]) -> str:
    """What the samples are, one of the values of `FORM`; "" where all are empty lists."""
    some = next((one for samples in columns.values() for one in samples if len(one)), None)
    if some is None:
        every = [one for samples in columns.values() for one in samples]
        return "texts" if any(isinstance(one, str) for one in every) else ""
    nested = "lists of integers" if isinstance(some[0], int) else "lists of chords"
    return "texts" if isinstance(some, str) else nested


def _texts_of(store: Any, options: ReadOptions, title: str) -> dict[str, list[Any]]:
    """The samples of some rows, by column: one of it, or, of new data, all that hold texts."""
    if store.folder is not None:
        raise UserError(
            f"the texts of {title} do not fit the memory: give fewer columns or fewer rows"
        )
    told = {name for _, name in _told_by(options)}
    raws = {name: store.column(name) for name in store.table if name not in told}
    if store.made == MADE:
        return {name: raw.values.tolist() for name, raw in raws.items()}
    texts = {name: raw for name, raw in raws.items() if _holds_texts(raw)}
    if not texts:
        raise UserError(
            f"{title} has no column of texts, but {', '.join(raws):.200}: tokens are made of texts"
        )
    if len(raws) > 1 and not (options.whole and texts):
        keep = next(iter(texts))
        others = " ".join(name for name in raws if name != keep)
        splits = next((name for name in texts if name.lower() == "split"), "")
        more = f"; '{splits}' says no splits, for it has other values than train, val and test"
        raise UserError(
            f"{title} has the columns {', '.join(raws):.200}, but samples are the texts of one: "
            f"leave the others out, with --leave-out {others:.200} for example, or say that they "
            f"hold --labels{more if splits else ''}"
        )
    return {name: as_samples(_filled(raw), f"{name} of {title}")[0] for name, raw in texts.items()}


def _holds_texts(raw: Raw) -> bool:
    if raw.values.dtype != object or raw.missing.all():
        return False
    return all(isinstance(one, str) for one in raw.values[~raw.missing])


def _filled(raw: Raw) -> list[Any]:
    """The texts of a column, of which a missing one is empty."""
    return np.where(raw.missing, "", raw.values).tolist()

r"""How samples are cut into tokens, and joined again.

    characters   each character of a text (a code point)
    bytes        each byte of a text in UTF-8
    words        runs of letters and digits, with apostrophes within; each other mark by itself;
                 <tags> of one word. Blanks separate and are not kept
    smiles       atoms, bonds and brackets of a molecule in SMILES; what is none of them by
                 characters
    integers     samples are lists of integers, each a token
    chords       samples are lists of lists of integers, each a token

Characters, bytes and SMILES come back as they were. Words come back with one blank between them,
but none before ``. , ; : ! ? % ) ] }`` and none after ``( [ {``.

Reference for SMILES: Schwaller et al. Molecular Transformer: a model for uncertainty-calibrated
chemical reaction prediction. 2019 (arXiv 1811.02633); brackets are taken of up to 255 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from zspace.system.errors import UserError

FORM = {
    **dict.fromkeys(("characters", "bytes", "words", "smiles"), "texts"),
    "integers": "lists of integers",
    "chords": "lists of chords",
}
"""Cut -> what samples are that are cut so."""
SMILES = re.compile(
    r"\[[^\]]{1,255}\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$"
    r"|%[0-9]{2}|[0-9]|.",
    re.DOTALL,
)
WORDS = re.compile(r"<\w{1,40}>|\w+(?:['’]\w+)*|[^\w\s]")
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""What stands in a text for a character or an atom that the training did not have."""
OTHER = "<other>"
_NO_BYTE = 0xFF  # which UTF-8 never has
_BEFORE, _AFTER = frozenset(".,;:!?%)]}…»”"), frozenset("([{«“")
_POINTS, _PIECE = 0x110000, 1 << 22


class Cuts(NamedTuple):
    """Samples cut into tokens.

    Arguments:
        codes: (n,) int32, the tokens of all samples, one after the other, as positions in tokens.
        sizes: (N,) int64, how many each sample has.
        tokens: The distinct ones, at least: a text, a byte, an integer or a tuple of integers.
    """

    codes: np.ndarray
    sizes: np.ndarray
    tokens: list[Any]


def cut(
    samples: Sequence[Any], how: str, advance: Callable[[int], None] = lambda parts: None
) -> Cuts:
    """Samples as tokens.

    Arguments:
        samples: As `as_samples` gives them.
        how: One of the above.
        advance: Is told how many samples were cut.

    >>> cuts = cut(["Oh, no!", "no"], "words")
    >>> [cuts.tokens[i] for i in cuts.codes], cuts.sizes.tolist()
    (['Oh', ',', 'no', '!', 'no'], [4, 1])
    >>> cuts = cut(["C[nH]Cl"], "smiles")
    >>> [cuts.tokens[i] for i in cuts.codes]
    ['C', '[nH]', 'Cl']
    """
    if how == "bytes":
        encoded = [text.encode() for text in samples]
        codes = np.frombuffer(b"".join(encoded), np.uint8).astype(np.int32)
        found = Cuts(codes, _sizes(encoded), list(range(256)))
    elif how == "characters":
        points = np.frombuffer("".join(samples).encode("utf-32-le"), "<u4")
        codes, distinct = _coded(points)
        found = Cuts(codes, _sizes(samples), [chr(point) for point in distinct.tolist()])
    elif how == "integers":
        values = np.fromiter(chain.from_iterable(samples), np.int64)
        distinct, at = np.unique(values, return_inverse=True)
        found = Cuts(at.astype(np.int32), _sizes(samples), distinct.tolist())
    else:
        return _counted(samples, how, advance)
    advance(len(samples))
    return found


def _sizes(samples: Sequence[Any]) -> np.ndarray:
    return np.fromiter(map(len, samples), np.int64, len(samples))


def _coded(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of characters (n,) as positions among the distinct ones, and those."""
    seen = np.zeros(_POINTS, bool)
    codes = np.empty(len(points), np.int32)
    pieces = [slice(at, at + _PIECE) for at in range(0, len(points), _PIECE)]
    for piece in pieces:  # an index of the whole would take 8 bytes for each
        seen[points[piece]] = True
    place = np.cumsum(seen, dtype=np.int32) - 1
    for piece in pieces:
        codes[piece] = place[points[piece]]
    return codes, np.flatnonzero(seen)


class _Places(dict[Any, int]):
    """Token -> its place; one that is not there yet gets the next."""

    def __missing__(self, token: Any) -> int:
        self[token] = place = len(self)
        return place


def _counted(samples: Sequence[Any], how: str, advance: Callable[[int], None]) -> Cuts:
    """Words, SMILES and chords: each distinct token by a look-up."""
    find: Callable[[Any], Iterable[Any]]
    if how == "chords":
        find = lambda sample: map(tuple, sample)  # noqa: E731 # as the others, a function
    else:
        find = (WORDS if how == "words" else SMILES).findall
    places, sizes = _Places(), np.empty(len(samples), np.int64)
    parts, step = [np.empty(0, np.int32)], 1 << 12
    for at in range(0, len(samples), step):
        found = [list(map(places.__getitem__, find(one))) for one in samples[at : at + step]]
        sizes[at : at + step] = _sizes(found)
        parts.append(np.fromiter(chain.from_iterable(found), np.int32))
        advance(len(found))
    return Cuts(np.concatenate(parts), sizes, list(places))


def rejoined(tokens: Sequence[Any], how: str) -> Any:
    """A sample of its tokens, of which None is one that the training did not have.

    In texts that is a replacement character, among words ``<other>``; -1 among integers, and an
    empty chord.

    >>> rejoined(["Oh", ",", None, "(", "no", ")", "!"], "words")
    'Oh, <other> (no)!'
    >>> rejoined(list("gr\u00fc\u00df".encode()), "bytes"), rejoined([60, None], "integers")
    ('gr\u00fc\u00df', [60, -1])
    """
    if how == "integers":
        return [-1 if one is None else one for one in tokens]
    if how == "chords":
        return [list(one or ()) for one in tokens]
    if how == "bytes":
        plain = bytes(_NO_BYTE if one is None else one for one in tokens)
        return plain.decode("utf-8", "replace")
    if how != "words":
        return "".join(UNKNOWN if one is None else one for one in tokens)
    parts: list[str] = []
    for one in tokens:
        if parts and one not in _BEFORE and parts[-1] not in _AFTER:
            parts.append(" ")
        parts.append(OTHER if one is None else one)
    return "".join(parts)


def shown(token: Any, how: str) -> str:
    """A token as people read it; None is one that the training did not have.

    >>> shown(97, "bytes"), shown((60, 64), "chords"), shown((), "chords"), shown(None, "words")
    ('a', '60 64', '[]', '<other>')
    """
    if token is None:
        return OTHER
    if how == "bytes":
        return chr(token) if 32 <= token < 127 else f"\\x{token:02x}"
    if how == "chords":
        return " ".join(map(str, token)) or "[]"
    return str(token)


def as_samples(raw: Any, what: str) -> tuple[list[Any], str]:
    """Samples in a list, and what they are: one of the values of `FORM`.

    Arguments:
        raw: A text; a list, array or Series of texts; a list of lists of integers, or of lists of
            lists of them; integers (N, T), of which -1 at the end of a row is no token.
        what: What they are called in sentences.

    Raises UserError for anything else, with the first sample that is something else.

    >>> as_samples([[1, 2], []], "x"), as_samples("abc", "x")
    (([[1, 2], []], 'lists of integers'), (['abc'], 'texts'))
    >>> as_samples(np.array([[5, 6, -1], [7, -1, -1]]), "x")[0]
    [[5, 6], [7]]
    """
    if isinstance(raw, str):
        return _texts([raw], what), "texts"
    raw = raw.detach().cpu().numpy() if isinstance(raw, Tensor) else raw
    if isinstance(raw, np.ndarray):
        raw = _of_array(raw, what)
    if hasattr(raw, "to_pylist"):
        raw = raw.to_pylist()
    if not isinstance(raw, Iterable) or isinstance(raw, Mapping | bytes):
        raise UserError(f"{what} is of type {type(raw).__name__}: {_REMEDY}")
    samples = raw if isinstance(raw, list) else list(raw)
    if not samples:
        raise UserError(f"{what} has no samples: give at least one")
    if isinstance(samples[0], str):
        return _texts(samples, what), "texts"
    lists = [_listed(one, i, what) for i, one in enumerate(samples)]
    first = next((one[0] for one in lists if one), 0)
    if not isinstance(first, list | tuple | np.ndarray):
        return [_integers(one, i, what) for i, one in enumerate(lists)], "lists of integers"
    chords = [[_listed(chord, i, what) for chord in one] for i, one in enumerate(lists)]
    return [
        [_integers(chord, i, what) for chord in one] for i, one in enumerate(chords)
    ], "lists of chords"


def _of_array(raw: np.ndarray, what: str) -> list[Any]:
    if raw.ndim == 1 and raw.dtype.kind in "UO":
        return raw.tolist()
    if raw.ndim == 1 and raw.dtype.kind == "S":
        try:
            return [one.decode() for one in raw.tolist()]
        except UnicodeDecodeError:
            raise UserError(f"{what} holds bytes that are not UTF-8: give texts") from None
    if raw.ndim == 2 and raw.dtype.kind in "iu":
        ends = raw.shape[1] - (raw[:, ::-1] != -1).argmax(1)
        ends[(raw == -1).all(1)] = 0
        return [row[:end] for row, end in zip(raw.tolist(), ends.tolist(), strict=True)]
    raise UserError(
        f"{what} is {raw.dtype} {raw.shape}, which are no tokens: give texts (N,), integers "
        "(N, T), or lists of integers"
    )


_REMEDY = "give texts, lists of integers, or lists of lists of integers, all of one sort"


def _texts(samples: list[Any], what: str) -> list[str]:
    if set(map(type, samples)) != {str}:
        for i, one in enumerate(samples):
            if not isinstance(one, str):
                kind = type(one).__name__
                raise UserError(f"sample {i:,} of {what} is a {kind}, others are texts: {_REMEDY}")
        samples = [str(one) for one in samples]
    try:
        "".join(samples).encode()
    except UnicodeEncodeError:
        bad = next(i for i, one in enumerate(samples) if not is_text(one))
        raise UserError(
            f"sample {bad:,} of {what} holds half of a surrogate pair, which is no character: "
            "correct it"
        ) from None
    return samples


def is_text(value: Any) -> bool:
    """Whether that is a text that UTF-8 can hold: without half of a surrogate pair.

    >>> is_text("gr\u00fcn"), is_text(chr(0xD800)), is_text(3)
    (True, False, False)
    """
    return isinstance(value, str) and not any("\ud800" <= c < "\ue000" for c in value)


def _listed(one: Any, i: int, what: str) -> Any:
    if isinstance(one, list | tuple):
        return one
    if isinstance(one, np.ndarray) and one.ndim == 1:
        return one.tolist()
    kind = type(one).__name__
    raise UserError(f"sample {i:,} of {what} is or holds a {kind}: {_REMEDY}")


def _integers(one: Sequence[Any], i: int, what: str) -> Any:
    if set(map(type, one)) - {int}:
        for value in one:
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise UserError(
                    f"sample {i:,} of {what} holds {value!r:.40}, which is no integer: {_REMEDY}"
                )
        one = [int(value) for value in one]
    if one and not (min(one) >= -(1 << 63) and max(one) < 1 << 63):
        raise UserError(f"sample {i:,} of {what} holds an integer of more than 64 bits: {_REMEDY}")
    return one


def as_line(one: Any) -> str:
    """A sequence as one line of text: numbers with blanks between, those of a chord with commas.

    >>> as_line("a text"), as_line([3, 1]), as_line([[60, 64], [62]])
    ('a text', '3 1', '60,64 62')
    """
    if isinstance(one, str):
        return " ".join(one.splitlines())
    return " ".join(
        ",".join(map(str, part)) if isinstance(part, list | tuple) else str(part) for part in one
    )

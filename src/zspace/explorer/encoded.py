"""Runs of all kinds but images as the page sees them: samples go out as JSON, not as pixels.

    series    {"values": [[...] for each channel that is drawn]}, null where missing
    tokens    {"tokens": [texts], "confidence": [p of each] or null}

What all samples of a run share (channels, their ranges, how texts are cut) is in `facts`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zspace.data.kinds.cutting import OTHER as SHOWN_OTHER
from zspace.data.kinds.cutting import as_samples, cut
from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.tokens import TokenEncoding
from zspace.data.spec import Batch
from zspace.explorer.view import Path, Reading, RunView
from zspace.models.draws import typical
from zspace.models.sequences import OTHER
from zspace.system.errors import UserError, unknown

MOST_CHANNELS = 6
"""Of a window that are drawn."""
RANGED = 2000
"""Test windows of which the ranges of channels are taken."""
WIDE = (0.005, 0.995)
"""The shares of test values below and above which a curve may leave its axis' usual range."""
FINE = 4
"""Digits of a range that a value goes out with."""
NONE = -1
"""A whole number that stands for a token that the vocabulary does not have."""
NUMBER_BYTES, TOKEN_BYTES = 8, 16
"""Of JSON, about."""


class EncodedView(RunView):
    """A run whose samples an `Encoding` makes x of.

    The error of a sample is ``-log p(x|z)`` at its mean code in nats; what is missing, or follows
    the end of a sequence, adds nothing to it.
    """

    what: ClassVar[str]

    @property
    def encoding(self) -> Encoding:
        """How samples become x and come back."""
        assert self.run.encoding is not None
        return self.run.encoding

    def decoded(self, z: Tensor, c: Tensor | None) -> Tensor:
        """x (n, *X) of codes: the mean of p(x|z), of categories probabilities."""
        return typical(self.run.model.decode(z, c))

    @abstractmethod
    def shown(self, x: np.ndarray) -> dict[str, Any]:
        """x (n, *X) as the page gets it: {"samples": what each is}."""

    def images(self, i: np.ndarray) -> np.ndarray:
        """Test samples i, x (n, *X)."""
        return self.test.images(torch.from_numpy(i)).numpy()

    def _read(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Mean codes (B, Z), and -log p(x|z) there (B,)."""
        model = self.run.model
        z = model.encode(batch.x, batch.c)
        error = -model.decode(z, batch.c).log_prob(batch.x)
        return z.flatten(1).cpu().numpy(), error.cpu().numpy()

    def drawing(self, read: Reading) -> dict[str, Any]:
        """What there is to say of a sample, and what the model reads of it, as it goes out."""
        shown: dict[str, Any] = self.shown(read.x.cpu().numpy())
        return super().drawing(read) | {"read": shown["samples"][0]}

    def gif(self, path: Path) -> bytes:
        """There is none. Raises UserError."""
        raise UserError(
            f"a GIF shows images, but this run was trained on {self.what}: use the page's path, "
            "or zspace sample"
        )

    def facts(self, key: str) -> dict[str, Any]:
        """Those of any run, and how errors are measured."""
        more = {"error": "nll", "missing": self.encoding.missing, "ids": self.test.names()}
        return super().facts(key) | more

    def moments(self) -> dict[str, Any] | None:
        """Where codes lay at moments of the training; no samples are kept of them."""
        found = super().moments()
        return found and {**found, "pictures": np.empty(0, np.uint8)}


class SeriesView(EncodedView):
    """A run of windows, of which the channels that vary most are drawn."""

    kinds = ("series",)
    what = "windows of series"

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        n = len(self.test)
        some = np.unique(np.linspace(0, n - 1, min(n, RANGED)).astype(int))
        x = self.images(some)
        with np.errstate(invalid="ignore"):
            spread = np.nan_to_num(np.nanvar(x, axis=(0, 1), where=~np.isnan(x)))
        most = np.argsort(-spread.round(1), kind="stable")[:MOST_CHANNELS]
        self.drawn = np.sort(most)
        """Which channels are drawn, those of the largest variance in x over the test windows."""
        values = self.encoding.decode(x)[:, :, self.drawn].reshape(-1, len(self.drawn))
        self.ranges = [_range(values[:, j]) for j in range(len(self.drawn))]

    @property
    def names(self) -> list[str]:
        """Of all channels."""
        return [column.name for column in self.run.spec.columns]

    @property
    def bytes_each(self) -> int:
        """About how many bytes one window is, as it goes out."""
        return NUMBER_BYTES * self.shape[0] * len(self.drawn)

    def shown(self, x: np.ndarray) -> dict[str, Any]:
        """x (n, T, D) as the page gets it: values of the channels that are drawn, in their own
        units, with as many decimals as their range asks for.
        """
        values = self.encoding.decode(x)[:, :, self.drawn].astype(np.float64)
        for j, (low, high) in enumerate(self.ranges):
            values[:, :, j] = values[:, :, j].round(_decimals(low, high))
        every: np.ndarray = values.transpose(0, 2, 1).astype(object)
        every[every != every] = None  # NaN alone differs from itself
        return {"samples": [{"values": window} for window in every.tolist()]}

    def given(self, told: tuple[int, Mapping[str, Sequence[float | None]]]) -> Tensor:
        """x (1, T, D) of test window i with other values for some of the channels.

        Raises UserError for a window or a channel that there is not, another number of steps, and
        missing values that the model does not read.
        """
        i, channels = told
        if not 0 <= i < len(self):
            raise UserError(f"there is no test window {i}: give 0 to {len(self) - 1}")
        x, (steps, _) = self.images(np.array([i])), self.shape
        for name, values in channels.items():
            if name not in self.names:
                raise unknown("channel", name, self.names)
            if len(values) != steps:
                raise UserError(
                    f"channel '{name:.60}' has {len(values)} numbers, but a window has {steps} "
                    f"steps: give {steps}"
                )
            j = self.names.index(name)
            raw = self.encoding.decode(x).astype(np.float64)
            raw[0, :, j] = [math.nan if v is None else v for v in values]
            x[0, :, j] = self.encoding.encode(raw)[0, :, j].numpy()
        return torch.from_numpy(x)

    def facts(self, key: str) -> dict[str, Any]:
        """Those of any run, and which channels are drawn, with the ranges of their values."""
        pairs = zip(self.drawn, self.ranges, strict=True)
        like = self.encoding.show(torch.from_numpy(self.images(np.array([0]))[0]))
        more = {
            "channels": [{"name": self.names[j], "ends": ends} for j, ends in pairs],
            "left_out": len(self.names) - len(self.drawn),
            "t": like["t"],
            "unit": like["unit"],
        }
        return super().facts(key) | more


def _range(values: np.ndarray) -> tuple[float, float]:
    """Between which two numbers nearly all values (n,) lie."""
    seen = values[np.isfinite(values)].astype(np.float64)
    if not len(seen):
        return 0.0, 1.0
    low, high = np.quantile(seen, WIDE).tolist()
    if not low < high:
        low, high = float(seen.min()), float(seen.max())
    if not low < high:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    places = _decimals(low, high)
    return round(low, places), round(high, places)


def _decimals(low: float, high: float) -> int:
    """How many decimals tell values between two numbers apart."""
    return FINE - math.floor(math.log10(max(high - low, 1e-300)))


class TokensView(EncodedView):
    """A run of sequences of tokens. Decoded ones have the probability of each token."""

    kinds = ("tokens",)
    what = "sequences of tokens"

    @property
    def encoding(self) -> TokenEncoding:
        """How samples become tokens and come back."""
        found = self.run.encoding
        assert isinstance(found, TokenEncoding)
        return found

    @property
    def bytes_each(self) -> int:
        """About how many bytes one sequence is, as it goes out."""
        return TOKEN_BYTES * self.shape[0]

    def decoded(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(n, 2, T) of codes: the most likely tokens x, and the probability of each given z and
        the tokens before it.
        """
        px: Any = self.run.model.decode(z, c)
        x = px.mode
        return torch.stack([x.float(), px.log_probs(x).exp().float()], 1)

    def shown(self, x: np.ndarray) -> dict[str, Any]:
        """x (n, T), or what `decoded` gives, as the page gets it: texts of tokens, with the
        probability of each where there is one.
        """
        every = torch.from_numpy(x)
        if every.dim() == 2:
            return {"samples": [_text(self.encoding.show(one)) for one in every]}
        pairs = [self.encoding.show(one.long(), sure) for one, sure in every]
        return {"samples": [_text(one) for one in pairs]}

    def given(self, text: str) -> Tensor:
        """x (1, T) of one sample as people type it: a text, or whole numbers; see `typed`.

        Raises UserError for what is no sample, and for one that is too long.
        """
        how, length = self.encoding.cut, self.encoding.length
        samples, _ = as_samples([typed(text, how)], "your sequence")
        cuts = cut(samples, how)
        if cuts.sizes[0] >= length:
            raise UserError(
                f"your sequence has {cuts.sizes[0]:,} {how}, but this model reads at most "
                f"{length - 1:,}: shorten it"
            )
        return self.encoding.encoded(cuts)

    def drawing(self, read: Reading) -> dict[str, Any]:
        """What there is to say of a sequence, and how many of its tokens are unknown."""
        return super().drawing(read) | {"unknown": int((read.x == OTHER).sum())}

    def facts(self, key: str) -> dict[str, Any]:
        """Those of any run, and how samples are cut."""
        return super().facts(key) | {
            "cut": self.encoding.cut,
            "vocabulary": self.encoding.vocabulary,
            "length": self.encoding.length,
        }


def _text(shown: dict[str, Any]) -> dict[str, Any]:
    """Without what a page knows already, and probabilities of three digits."""
    sure = shown["confidence"]
    kept = None if sure is None else [round(p, 3) for p in sure]
    return {"tokens": shown["tokens"], "confidence": kept}


def typed(text: str, how: str) -> Any:
    """A sample as somebody typed it, for samples that are cut in one of the known ways.

    Integers stand with blanks or commas between them, and so do chords, whose notes are joined
    by "+"; "[]" is an empty chord, and "<other>" one that the vocabulary does not have. Raises
    UserError for what is none of these.

    >>> typed("60 62, 64", "integers"), typed("60+64 62", "chords"), typed("ab", "characters")
    ([60, 62, 64], [[60, 64], [62]], 'ab')
    """
    if how not in ("integers", "chords"):
        return text
    parts = text.replace(",", " ").split()
    try:
        notes = [[_note(note) for note in part.split("+") if note != "[]"] for part in parts]
        if how == "integers" and any(len(one) != 1 for one in notes):
            raise ValueError
    except ValueError:
        like = "60 62 64" if how == "integers" else "60+64+67 62"
        raise UserError(f"'{text:.60}' holds more than {how}: write them like {like}") from None
    return [one[0] for one in notes] if how == "integers" else notes


def _note(text: str) -> int:
    return NONE if text == SHOWN_OTHER else int(text)

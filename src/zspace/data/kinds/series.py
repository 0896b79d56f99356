"""Series: how windows (N, T, D), T steps of D channels, become x and come back.

    x = (v - mean) / sd        for each channel, in float64, then float32; NaN where missing

Mean and standard deviation are those of what the training windows hold, with values that are
missing left out. A channel that is the same everywhere has an sd of 1, so that it is 0 in x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zspace.data.kinds.encoding import Encoding
from zspace.data.spec import Column, Fact, Spec
from zspace.system.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MOST_SAID = 12
"""Channels that are said by name."""
MOST_MEASURED = 50
"""Channels whose errors are measured one by one; of more, only all together."""
WHOLE = "mse"
"""What the error over all channels is called."""
LARGEST = 1e30
"""A value so many standard deviations from the mean is none that a network can take in."""


@dataclass(frozen=True, eq=False)
class SeriesEncoding(Encoding):
    """How windows of a series become x and come back: what the training windows taught.

    Arguments:
        names: The channels, in the order of x.
        length: T, steps of a window.
        mean: Of each channel (D,), in its own unit.
        sd: Its standard deviation (D,), or 1 where it does not vary.
        away: What the mean is off on average (D,), |v - mean|.
        dtype: Of the values that `decode` gives: "float32" or "float64".
        cut: Whether windows were cut out of longer series, as further ones are then to be.
        missing: Whether values may be missing.
        left_out: Columns that are no channels, with the reason.

    >>> windows = np.arange(24.0).reshape(3, 4, 2)
    >>> encoding = fit(windows)
    >>> encoding.size, encoding.encode(windows).shape
    ('4 steps of 2 channels', torch.Size([3, 4, 2]))
    >>> bool(abs(encoding.decode(encoding.encode(windows)) - windows).max() < 1e-5)
    True
    """

    names: tuple[str, ...]
    length: int
    mean: np.ndarray
    sd: np.ndarray
    away: np.ndarray
    dtype: str = "float32"
    cut: bool = False
    missing: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    kind: ClassVar[str] = "series"
    plural: ClassVar[str] = "windows"
    neighbours: ClassVar[bool] = True

    @property
    def size(self) -> str:
        """Steps and channels."""
        d = len(self.names)
        return f"{self.length:,} steps of {d:,} channel{'s' * (d != 1)}"

    @property
    def facts(self) -> dict[str, Fact]:
        """What each value of `quality` is."""
        found = {
            name: Fact(f"absolute error of {name}", code="mean")
            for name in self.names[:MOST_MEASURED]
            if len(self.names) <= MOST_MEASURED
        }
        if WHOLE not in found:
            found[WHOLE] = Fact("squared error of standardised values", code="mean")
        return found

    @property
    def usual(self) -> dict[str, float | None]:
        """Channel -> the error of who always gives its mean."""
        known = dict(zip(self.names, self.away.tolist(), strict=True))
        return {name: known.get(name) for name in self.facts}

    @property
    def reading(self) -> dict[str, Any]:
        """With which `ReadOptions` further samples are read."""
        return {"kind": "series", "window": self.length if self.cut else 0}

    def spec(self, **more: Any) -> Spec:
        """What a recipe must know; more: classes, attributes, samples and scales."""
        columns = tuple(Column(name, "number") for name in self.names)
        shape = (self.length, len(self.names))
        return Spec(shape, missing=self.missing, kind="series", columns=columns, **more)

    def said(self) -> str:
        """How values were taken, with the scale of channels that have a name."""
        how = "each channel less its mean, by its standard deviation"
        if all(name.isdecimal() for name in self.names):
            return how
        told = [
            f"{name} ({mean:.4g} ± {sd:.4g})"
            for name, mean, sd in zip(self.names, self.mean, self.sd, strict=True)
        ]
        more = len(told) - MOST_SAID
        rest = f" and {more:,} more" if more > 0 else ""
        return f"{how}: {', '.join(told[:MOST_SAID])}{rest}"

    def encode(self, raw: Any) -> Tensor:
        """x (N, T, D) float32 of windows (N, T, D), of one (T, D), or (N, T) of one channel.

        Raises UserError for other shapes, for infinite values, and for missing ones where the
        training windows had none.
        """
        if isinstance(raw, Tensor):
            raw = raw.detach().cpu()
            raw = raw.float() if raw.dtype == torch.bfloat16 else raw
        try:
            values = np.asarray(raw)
            if values.dtype.kind not in "biuf":
                raise ValueError
        except ValueError:
            raise UserError(
                f"windows of a series are arrays of numbers {self._shapes()}, but this is "
                f"{type(raw).__name__}: give an array"
            ) from None
        return torch.from_numpy(self.encoded(self._windows(values)))

    def _shapes(self) -> str:
        t, d = self.length, len(self.names)
        return f"(N, {t}, {d})" + f" or (N, {t})" * (d == 1)

    def _windows(self, values: np.ndarray) -> np.ndarray:
        """As (N, T, D). Raises UserError for another shape."""
        t, d = self.length, len(self.names)
        if values.shape == (t, d):
            return values[None]
        if d == 1 and values.shape[-1:] == (t,) and values.ndim in (1, 2):
            return values.reshape(-1, t, 1)
        if values.ndim == 3 and values.shape[1:] == (t, d):
            return values
        hint = "give windows of that shape"
        if values.ndim == 3 and values.shape[1:] == (d, t):
            hint = "give x.transpose(0, 2, 1), whose last axis is the channels"
        raise UserError(
            f"the windows have shape {values.shape}, but this model reads {self._shapes()}: {hint}"
        )

    def encoded(self, values: np.ndarray, *, checked: bool = True) -> np.ndarray:
        """`encode`, of windows (N, T, D) or steps (L, D); checked for missing values, or not."""
        scaled = (values.astype(np.float64) - self.mean) / self.sd
        if not scaled.size:
            return scaled.astype(np.float32)
        most = float(np.abs(scaled).max(where=~np.isnan(scaled), initial=0.0))
        if not most <= LARGEST:
            raise UserError(
                "the series holds infinite values, or values too far from those of the training: "
                "replace them, or make them missing (NaN)"
            )
        if checked and not self.missing and np.isnan(scaled).any():
            raise UserError(
                "the windows have missing values, but this model was trained on windows without "
                "any: fill them in, or train with some"
            )
        return scaled.astype(np.float32)

    def decode(self, x: Any) -> np.ndarray:
        """The windows (N, T, D) of x, in the units that were read; NaN where x is."""
        x = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, np.float64)
        return (x * self.sd + self.mean).astype(self.dtype)

    def filled(self, x: Tensor, y: Tensor, halfway: Tensor | None = None) -> Tensor:
        """x (N, T, D) with its gaps filled, from a reconstruction y and from what is beside them.

            line(x) + w (y + line(x - y) - line(x))        w = g / (g + h)

        line is `between`, so y is first moved to meet what is there on both sides. In a gap of g
        steps of a channel that curve counts w and the straight line the rest: over one step a line
        is hard to beat, over many it knows nothing. A channel without any step is y.

        halfway: h, one number or one for each channel (D,), as `zspace.analysis.gaps.halfway`
        finds them; 2 by default, the best of seven weights on three sets.

        >>> x = torch.tensor([1.0, torch.nan, 4.0]).view(1, 3, 1)
        >>> y = torch.tensor([0.0, 5.0, 2.0]).view(1, 3, 1)
        >>> fit(np.zeros((2, 3, 1))).filled(x, y).flatten()  # (2 * 2.5 + 6.5) / 3
        tensor([1.0000, 3.8333, 4.0000])
        """
        line, left, right = between(x)
        gap = right - left - 1
        half = torch.tensor(2.0) if halfway is None else halfway
        weight = torch.where(gap == self.length, 1.0, gap / (gap + half.to(x.device)))
        curve = line + weight * (y + between(x - y)[0] - line)
        return torch.where(x.isnan(), curve, x)

    def frame(self, raw: np.ndarray) -> pd.DataFrame:
        """A line for each step of each window (N, T, D), with the numbers of both.

        >>> fit(np.zeros((2, 3, 1))).frame(np.zeros((1, 3, 1))).columns.tolist()
        ['window', 'step', '0']
        """
        import pandas as pd

        n, steps, channels = raw.shape
        frame = pd.DataFrame(raw.reshape(n * steps, channels), columns=list(self.names))
        frame.insert(0, "step", np.tile(np.arange(steps), n), allow_duplicates=True)
        frame.insert(0, "window", np.repeat(np.arange(n), steps), allow_duplicates=True)
        return frame

    def arrays(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """All windows as one array, x (N, T, D)."""
        return {"x": raw}

    def show(self, x: Tensor) -> dict[str, Any]:
        """One window x (T, D) as lines: the values of each channel, and which of them were seen.

        >>> encoding = fit(np.arange(24.0).reshape(3, 4, 2))
        >>> encoding.show(torch.zeros(4, 2))["values"]
        [[11.0, 11.0, 11.0, 11.0], [12.0, 12.0, 12.0, 12.0]]
        """
        values = self.decode(x[None])[0].T
        seen = ~np.isnan(values)
        return {
            "shape": "lines",
            "t": list(range(self.length)),
            "channels": list(self.names),
            "values": [
                [v if there else None for v, there in zip(row, known, strict=True)]
                for row, known in zip(values.tolist(), seen.tolist(), strict=True)
            ],
            "mask": None if seen.all() else seen.tolist(),
            "unit": "",
        }

    def quality(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Channel -> (B,): how far y (B, T, D) is from x, |v - w| in the channel's own unit, and
        `WHOLE`: the square of that in standard deviations. Means over the steps that x has.
        """
        a, b = (part.detach().cpu().double() for part in (x, y))
        off = (a - b).abs() * torch.from_numpy(self.sd)
        off = off.nanmean(1)
        every = {name: off[:, d] for d, name in enumerate(self.names)}
        every.setdefault(WHOLE, (a - b).square().flatten(1).nanmean(1))
        return {name: every[name] for name in self.facts}

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As JSON and tensors, from which `from_files` makes the same again."""
        facts = {"kind": "series", "names": list(self.names), "length": self.length}
        facts |= {"dtype": self.dtype, "cut": self.cut, "missing": self.missing}
        tensors = {
            name: torch.from_numpy(np.array(value, np.float64)) for name, value in self._numbers()
        }
        return {**facts, "left_out": dict(self.left_out)}, tensors

    def _numbers(self) -> list[tuple[str, np.ndarray]]:
        return [("mean", self.mean), ("sd", self.sd), ("away", self.away)]

    @classmethod
    def from_files(cls, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SeriesEncoding:
        """The inverse of `to_files`. Raises UserError where they are not what it wrote."""
        try:
            names = tuple(facts["names"])
            rest: dict[str, Any] = {name: facts[name] for name in ("cut", "missing")}
            if not names or not all(isinstance(name, str) for name in names):
                raise ValueError(f"channels {names!r:.60}")
            if not all(isinstance(flag, bool) for flag in rest.values()):
                raise ValueError(f"flags {rest}")
            if type(facts["length"]) is not int or facts["length"] < 1:
                raise ValueError(f"length {facts['length']!r:.60}")
            if facts["dtype"] not in ("float32", "float64"):
                raise ValueError(f"dtype {facts['dtype']!r:.60}")
            numbers = {name: tensors[name].double().numpy() for name in ("mean", "sd", "away")}
            for name, one in numbers.items():
                if one.shape != (len(names),) or not np.isfinite(one).all():
                    raise ValueError(f"{name} {one.shape}")
            if not (numbers["sd"] > 0).all() or (numbers["away"] < 0).any():
                raise ValueError("a scale that is not positive")
            out = {str(name): str(why) for name, why in facts["left_out"].items()}
            about = {"dtype": facts["dtype"], "left_out": out, **numbers, **rest}
            return cls(names, facts["length"], **about)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__} {error}"
            raise UserError(
                f"the encoding of the run cannot be read ({why}): train again"
            ) from None


def between(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows x (N, T, D) with NaN replaced along straight lines between the steps that are there.

    At both ends it is the nearest of them, and 0 in a channel without any. Also returns the last
    step up to each one that is there, or -1, and the first from it on, or T: (N, T, D) each.

    >>> x = torch.tensor([torch.nan, 1.0, torch.nan, 2.0]).view(1, 4, 1)
    >>> [part.flatten().tolist() for part in between(x)]
    [[1.0, 1.0, 1.5, 2.0], [-1, 1, 1, 3], [1, 1, 3, 3]]
    """
    steps = x.shape[1]
    t = torch.arange(steps, device=x.device).view(1, steps, 1)
    there = ~x.isnan()
    left = torch.where(there, t, -1).cummax(1).values
    right = torch.where(there, t, steps).flip(1).cummin(1).values.flip(1)
    known = torch.where(there, x, 0.0)
    a, b = (known.gather(1, place.clamp(0, steps - 1)) for place in (left, right))
    share = (t - left) / (right - left).clamp(min=1)
    a, b = torch.where(left < 0, b, a), torch.where(right == steps, a, b)
    return a + share * (b - a), left, right


class Moments:
    """Mean and spread of each channel, gathered of steps piece by piece, in two passes.

    Arguments:
        channels: D.

    >>> moments = Moments(1)
    >>> for _ in range(2):
    ...     moments.add(np.array([[1.0], [3.0], [np.nan]]), np.array([1.0, 1.0, 1.0]))
    ...     moments.turn()
    >>> moments.mean.tolist(), moments.sd.tolist(), moments.away.tolist()
    ([2.0], [1.0], [1.0])
    """

    def __init__(self, channels: int) -> None:
        self.n, self._sum = np.zeros(channels), np.zeros(channels)
        self._square, self._off = np.zeros(channels), np.zeros(channels)
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.mean: np.ndarray | None = None

    def add(self, values: np.ndarray, times: np.ndarray) -> None:
        """Take in steps (n, D), each so many times (n,); NaN is left out."""
        seen = ~np.isnan(values)
        w, v = seen * times[:, None], np.where(seen, values, 0.0)
        if self.mean is None:
            self.n += w.sum(0)
            self._sum += (w * v).sum(0)
            used = seen & (times > 0)[:, None]
            self.low = np.minimum(self.low, np.where(used, values, np.inf).min(0))
            self.high = np.maximum(self.high, np.where(used, values, -np.inf).max(0))
        else:
            off = np.abs(v - self.mean)
            with np.errstate(over="ignore"):  # refused by `learned`
                self._square += (w * off * off).sum(0)
                self._off += (w * off).sum(0)

    def turn(self) -> None:
        """What comes next is the second pass over the same."""
        if self.mean is None:
            self.mean = np.where(self.constant, self.low, self._sum / np.maximum(self.n, 1))

    @property
    def constant(self) -> np.ndarray:
        """Channels (D,) that are everywhere the same."""
        return self.low == self.high

    @property
    def sd(self) -> np.ndarray:
        """(D,), 1 where a channel does not vary."""
        sd = np.sqrt(self._square / np.maximum(self.n, 1))
        return np.where(self.constant | (sd == 0), 1.0, sd)

    @property
    def away(self) -> np.ndarray:
        """What the mean is off on average, (D,)."""
        return self._off / np.maximum(self.n, 1)


def fit(windows: np.ndarray, **more: Any) -> SeriesEncoding:
    """What windows (N, T, D) in memory teach; more: fields of `SeriesEncoding`.

    >>> fit(np.zeros((3, 5, 1))).sd.tolist()
    [1.0]
    """
    n, length, channels = windows.shape
    steps, moments = windows.reshape(n * length, channels), Moments(channels)
    for _ in range(2):
        moments.add(steps.astype(np.float64), np.ones(len(steps)))
        moments.turn()
    assert moments.mean is not None
    names = tuple(map(str, range(channels)))
    missing = bool(np.isnan(windows).any())
    about = {"names": names, "missing": missing, "dtype": dtype_of(windows.dtype)}
    return learned(moments, length=length, **{**about, **more})


def learned(moments: Moments, **about: Any) -> SeriesEncoding:
    """What the training windows taught. Raises UserError for values of which nothing can be said.

    >>> moments = Moments(1)
    >>> moments.add(np.array([[4.0], [4.0]]), np.ones(2))
    >>> moments.turn()
    >>> learned(moments, names=("a",), length=1).mean.tolist()
    [4.0]
    """
    assert moments.mean is not None
    sd, away = moments.sd, moments.away
    for name, n, one in zip(about["names"], moments.n, sd, strict=True):
        if not n:
            raise UserError(
                f"channel '{name:.60}' has no value in the windows for training: leave it out (of "
                f"a file with --leave-out {name:.60}), or give a series in which it has some"
            )
        if not math.isfinite(one):
            raise UserError(
                f"channel '{name:.60}' holds values too large to be averaged: divide them by some "
                "power of ten"
            )
    return SeriesEncoding(mean=moments.mean, sd=sd, away=away, **about)


def dtype_of(dtype: np.dtype) -> str:
    """What `SeriesEncoding.decode` gives for values of a type.

    >>> dtype_of(np.dtype("float16")), dtype_of(np.dtype("int64"))
    ('float32', 'float64')
    """
    return "float32" if dtype.kind == "f" and dtype.itemsize <= 4 else "float64"

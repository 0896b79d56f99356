"""Ways through a code space: lines between codes, and grids of codes on a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from zspace.analysis.latents import codes, posterior_summary
from zspace.analysis.projections import Window, principal, windows
from zspace.analysis.trained import TrainedModel, evenly, once
from zspace.data.conditions import columns_of
from zspace.data.dataset import Data


def straight(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Codes (S, Z) on the line from a (Z,) to b (Z,) at fractions t (S,)."""
    t = t[:, None]
    return (1 - t) * a + t * b


def spherical(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Codes (S, Z) whose direction turns evenly from a's to b's and whose norm goes linearly.

    The middle of a straight line between draws of N(0, I) is too near to 0 for a draw; this path
    is not. Where there is no single turn (a code of 0, opposite codes) the line is straight.
    Reference: White. Sampling generative networks. 2016, arXiv 1609.04468.
    """
    lengths = np.linalg.norm(np.stack([a, b]), axis=1)
    if lengths.min() == 0:
        return straight(a, b, t)
    u, v = a / lengths[0], b / lengths[1]
    angle = np.arccos(np.clip(u @ v, -1, 1))
    if np.sin(angle) < 1e-6:
        return straight(a, b, t)
    turn = np.sin(np.outer(1 - t, angle)) * u + np.sin(np.outer(t, angle)) * v
    return straight(lengths[:1], lengths[1:], t) * turn / np.sin(angle)


def quantiles(n: int) -> np.ndarray:
    """n values that cut N(0, 1) into parts of equal mass: the middle of each part."""
    from scipy.stats import norm  # slow to import

    return norm.ppf((np.arange(n) + 0.5) / n)


def lattice(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Codes (len(ys) * len(xs), 2), row by row as a picture is read: the largest y first."""
    return np.stack(np.meshgrid(xs, np.sort(ys)[::-1]), axis=-1).reshape(-1, 2)


def decoded_plane(
    trained: TrainedModel, xs: np.ndarray, ys: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Decoded codes of a lattice, (len(ys), len(xs), C, H, W), the largest y first."""
    z = lattice(xs, ys).astype(np.float32)
    x = trained.decode(z.reshape(-1, *trained.model.latent), label)
    return x.reshape(len(ys), len(xs), *x.shape[1:])


@dataclass(frozen=True)
class Walk:
    """Two test images x (2, C, H, W), and decoded codes between theirs, (S, C, H, W) each."""

    x: np.ndarray
    straight: np.ndarray
    spherical: np.ndarray


def ends(data: Data) -> torch.Tensor:
    """Two test images of different classes, where there are some."""
    first = evenly(data.test, max(2, len(data.classes)))
    return first[[len(first) // 4, (3 * len(first)) // 4]]


def walk(trained: TrainedModel, data: Data, steps: int = 11) -> Walk:
    """Between two test images; for a conditional model their labels are mixed like the codes."""
    t = np.linspace(0, 1, steps, dtype=np.float32)
    i = ends(data)
    x, y = data.test.images(i), data.test.conditions(i) if trained.model.context else None
    a, b = trained.encode(x, y).flatten(1).numpy()
    told, c = columns_of(data.test, trained.model.context, i), None
    if told is not None:
        first, last = told.numpy()
        c = torch.from_numpy(straight(first, last, t)).to(trained.device)
    return Walk(
        x.numpy(), _decode(trained, straight(a, b, t), c), _decode(trained, spherical(a, b, t), c)
    )


@torch.no_grad()
def _decode(trained: TrainedModel, z: np.ndarray, c: torch.Tensor | None) -> np.ndarray:
    codes = torch.from_numpy(z.astype(np.float32)).reshape(-1, *trained.model.latent)
    return trained.model.decode(codes.to(trained.device), c).mean.cpu().numpy()


@dataclass(frozen=True)
class Tweak:
    """Decoded codes (R, S, C, H, W) of one image, varied along two directions of code space.

    names: of the directions, across and upwards. offsets: (S,) what was added, in standard
    deviations of the codes of test images along them; the largest upward offset is the first row.
    A code of one dimension has one row.
    """

    x: np.ndarray
    names: tuple[str, ...]
    offsets: np.ndarray


def tweak(trained: TrainedModel, data: Data, steps: int = 9, reach: float = 2.0) -> Tweak:
    """Vary the code of a test image along the two directions that tell most."""
    names, directions = telling(trained, data)
    i = ends(data)[1:]
    y = data.test.conditions(i) if trained.model.context else None
    code = trained.encode(data.test.images(i), y).flatten(1).numpy()[0]
    offsets = np.linspace(-reach, reach, steps)
    rows = offsets if len(names) == 2 else np.zeros(1)
    z = code + lattice(offsets, rows)[:, : len(names)] @ directions
    x = trained.decode(z.astype(np.float32).reshape(-1, *trained.model.latent), y)
    return Tweak(x.reshape(len(rows), steps, *x.shape[1:]), names, offsets)


def telling(trained: TrainedModel, data: Data) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the two directions in which codes of test images tell most, and a standard
    deviation of them along each, (2, Z).

    Of a flat code the two dimensions with the largest KL, or variance where there is no KL. One
    dimension of a map of codes is one place in the image: there the two principal directions.
    """
    z = codes(trained, data).z
    if len(trained.model.latent) > 1:
        found = principal(z, min(2, z.shape[1]))
        names = ("first principal direction", "second principal direction")
        return names[: len(found.directions)], found.points.std(0)[:, None] * found.directions
    summary = posterior_summary(trained, data)
    weight = np.diag(summary.covariance) if summary.kl is None else summary.kl
    most = np.argsort(-weight, kind="stable")[:2]
    return tuple(f"z[{j}]" for j in most), np.diag(z.std(0))[most]


@once
def windows_return(trained: TrainedModel, data: Data) -> tuple[float, float]:
    """How far codes of a dense and of a sparse window come back, decoded and encoded again.

    In widths of the window. A decoder and an encoder that know a place return what lies there.
    """
    dense, sparse = windows(codes(trained, data).z)
    return _return(trained, dense), _return(trained, sparse)


def _return(trained: TrainedModel, window: Window) -> float:
    xs, ys = window.ticks(8)
    made = decoded_plane(trained, xs, ys)
    back = trained.encode(made.reshape(-1, *made.shape[2:]).clip(0, 1)).reshape(-1, 2)
    far = np.linalg.norm(back - lattice(xs, ys), axis=1).mean()
    return float(far / (window.high[0] - window.low[0]))


def in_plane(z: np.ndarray, reach: float) -> float:
    """The share of 2-D codes (N, 2) with both coordinates within (-reach, reach)."""
    return float((np.abs(z) <= reach).all(axis=1).mean())

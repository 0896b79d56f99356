"""Ways through a code space: lines between codes, and grids of codes on a plane.

Codes are flat here, (Z,) or (S, Z), and take the model's shape (*Z) when they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from zspace.analysis.latents import codes, posterior_summary
from zspace.analysis.projections import Window, principal, windows
from zspace.analysis.trained import TrainedModel, decoded, evenly, once
from zspace.data.conditions import columns_of
from zspace.data.dataset import Data
from zspace.system.errors import UserError, unknown


def straight(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Codes (S, Z) on the line from a (Z,) to b (Z,) at fractions t (S,): ``(1 - t) a + t b``.

    >>> straight(np.array([0.0, 4.0]), np.array([2.0, 0.0]), np.array([0.0, 0.5])).tolist()
    [[0.0, 4.0], [1.0, 2.0]]
    """
    t = t[:, None]
    return (1 - t) * a + t * b


def spherical(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Codes (S, Z) whose direction turns evenly from a's to b's and whose norm goes linearly.

    The middle of a straight line between two draws of N(0, I) is nearer to 0 than draws are; the
    middle of this path is not. Where there is no single turn (a code of 0, opposite codes) the
    line is straight.

    Reference: White. Sampling generative networks. 2016, arXiv 1609.04468.

    Arguments:
        a: The first code (Z,), at t = 0.
        b: The last code (Z,), at t = 1.
        t: Fractions (S,) of the way.

    >>> middle = spherical(np.array([2.0, 0.0]), np.array([0.0, 2.0]), np.array([0.5]))
    >>> middle.round(4).tolist()  # an eighth of a turn at radius 2: the root of 2, twice
    [[1.4142, 1.4142]]
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


def between(a: np.ndarray, b: np.ndarray, steps: int, path: str = "straight") -> np.ndarray:
    """Codes (S, *Z) float32 at even steps of a way from a (*Z) to b (*Z), both included.

    Raises UserError for fewer than two steps, and for a path that is neither straight nor
    spherical.

    >>> between(np.zeros((1, 2)), np.full((1, 2), 3.0), 4).tolist()
    [[[0.0, 0.0]], [[1.0, 1.0]], [[2.0, 2.0]], [[3.0, 3.0]]]
    """
    if not isinstance(steps, int) or steps < 2:
        raise UserError(f"steps is {steps!r:.40}: give a whole number, at least 2")
    ways = {"straight": straight, "spherical": spherical}
    if path not in ways:
        raise unknown("path", path, ways)
    z = ways[path](a.reshape(-1), b.reshape(-1), np.linspace(0, 1, steps))
    return z.astype(np.float32).reshape(steps, *a.shape)


def quantiles(n: int) -> np.ndarray:
    """n values that stand for parts of N(0, 1) of equal mass: the middle of each part.

    >>> quantiles(3).round(4).tolist()
    [-0.9674, 0.0, 0.9674]
    """
    from scipy.stats import norm  # slow to import

    return norm.ppf((np.arange(n) + 0.5) / n)


def lattice(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Codes (len(ys) * len(xs), 2), row by row as a picture is read: the largest y first.

    >>> lattice(np.array([0, 1]), np.array([5, 6])).tolist()
    [[0, 6], [1, 6], [0, 5], [1, 5]]
    """
    return np.stack(np.meshgrid(xs, np.sort(ys)[::-1]), axis=-1).reshape(-1, 2)


def decoded_plane(
    trained: TrainedModel, xs: np.ndarray, ys: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Decoded codes of a lattice, (len(ys), len(xs), C, H, W), the largest y in the first row.

    It shows what a code of two dimensions has learned. Raises UserError for a model whose code
    has another size.

    Arguments:
        trained: The model, usually a run, with a code of size 2.
        xs: Values of the first code dimension, across; `quantiles` gives some that follow N(0, 1).
        ys: Values of the second one, upwards.
        label: For a conditional model, the class of all images.

    >>> untrained = zspace.models.ae(data.spec, latent=2)
    >>> flat = TrainedModel(untrained, data.spec, name="ae", batch=64, binarize="none")
    >>> decoded_plane(flat, quantiles(5), quantiles(3)).shape == (3, 5, *data.spec.shape)
    True
    """
    z = lattice(xs, ys).astype(np.float32)
    x = trained.decoded(z.reshape(-1, *trained.model.latent), label)
    return x.reshape(len(ys), len(xs), *x.shape[1:])


@dataclass(frozen=True)
class Walk:
    """Two test images x (2, C, H, W), and decoded codes on the two paths between theirs.

    straight, spherical: (S, C, H, W) each, from the first image's code to the second's.
    """

    x: np.ndarray
    straight: np.ndarray
    spherical: np.ndarray


def ends(data: Data) -> torch.Tensor:
    """Two test images of different classes, where there are some."""
    first = evenly(data.test, max(2, len(data.classes)))
    return first[[len(first) // 4, (3 * len(first)) // 4]]


def walk(trained: TrainedModel, data: Data, steps: int = 11) -> Walk:
    """Decode what lies between the codes of two test images of different classes.

    Gives `x`, both images (2, C, H, W), and `straight` and `spherical`, the images (S, C, H, W)
    along each path. For a conditional model the labels are mixed in a straight line, too.

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        steps: S, both ends included; an odd number shows the middle.

    >>> found = walk(run, data, steps=5)
    >>> found.straight.shape == (5, *data.spec.shape)
    True
    >>> bool(np.allclose(found.straight[0], found.spherical[0], atol=1e-5))  # the paths' start
    True
    """
    t = np.linspace(0, 1, steps, dtype=np.float32)
    i = ends(data)
    x, y = data.test.images(i), data.test.conditions(i) if trained.model.context else None
    a, b = trained.encoded(x, y).flatten(1).numpy()
    told, c = columns_of(data.test, trained.model.context, i), None
    if told is not None:
        first, last = told.numpy()
        c = torch.from_numpy(straight(first, last, t))
    paths = (torch.from_numpy(path(a, b, t)) for path in (straight, spherical))
    return Walk(x.numpy(), *(decoded(trained, z, c) for z in paths))


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
    """Vary the code of a test image along the two directions that tell most of the images.

    Those are the code dimensions of the largest KL (of the largest variance where there is no KL),
    and principal directions where the code is a map. Gives `x` (R, S, C, H, W), the largest upward
    offset in the first row; `names` of the directions, across and upwards; and `offsets` (S,).

    Arguments:
        trained: The model, usually a run.
        data: Its data.
        steps: S, the images along each direction; an odd number holds the image itself.
        reach: The largest offset, in standard deviations of the codes along the direction. Two
            of them hold about 95% of the codes.

    >>> found = tweak(run, data, steps=3)
    >>> found.x.shape == (3, 3, *data.spec.shape), found.offsets.tolist()
    (True, [-2.0, 0.0, 2.0])
    """
    names, directions = telling(trained, data)
    i = ends(data)[1:]
    y = data.test.conditions(i) if trained.model.context else None
    code = trained.encoded(data.test.images(i), y).flatten(1).numpy()[0]
    offsets = np.linspace(-reach, reach, steps)
    rows = offsets if len(names) == 2 else np.zeros(1)
    z = code + lattice(offsets, rows)[:, : len(names)] @ directions
    x = trained.decoded(z.astype(np.float32).reshape(-1, *trained.model.latent), y)
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
    back = trained.encoded(made.reshape(-1, *made.shape[2:]).clip(0, 1)).reshape(-1, 2)
    far = np.linalg.norm(back - lattice(xs, ys), axis=1).mean()
    return float(far / (window.high[0] - window.low[0]))


def in_plane(z: np.ndarray, reach: float) -> float:
    """The share of 2-D codes (N, 2) with both coordinates within [-reach, reach].

    >>> in_plane(np.array([[0.0, 1.0], [0.0, 3.0]]), 2.0)
    0.5
    """
    return float((np.abs(z) <= reach).all(axis=1).mean())

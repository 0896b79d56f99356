"""What a drawn figure looks like, measured on its pixels, and which code dimensions go with it.

Images x (N, H, W) hold ink on paper, whichever of the two is bright. They are measured by plain
moments, distances and counts of connected parts; codes are compared with these by rank
correlation (Spearman. The proof and measurement of association between two things. American
Journal of Psychology 15, 1904).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 0.4
"""The absolute rank correlation from which a direction has a name."""
FEWEST = 100
"""Images below which none has: of 100, a correlation of 0.4 comes by chance once in 30,000."""
PAPER = 0.25
"""The border of paper differs from 0, or from 1, by at most this in the mean."""
HALF = 0.5
"""Ink is what is darker than half of an image's darkest place."""

MORE = {
    "slant": "leans further right",
    "stroke width": "has thicker strokes",
    "height": "is taller",
    "width": "is wider",
    "loops": "has more loops",
}
"""What `stroke_measures` gives, and what a figure does that has more of it."""


def ink_of(x: np.ndarray) -> np.ndarray | None:
    """The ink (N, H, W) in [0, 1] of images (N, H, W), 0 for paper; None where it is not clear.

    What lies along the border of nearly all images is paper: it must be nearly 0 or nearly 1.

    >>> paper = np.ones((1, 5, 5))
    >>> paper[0, 2, 2] = 0.2  # a dark dot
    >>> ink_of(paper)[0, 2].tolist()
    [0.0, 0.0, 0.8, 0.0, 0.0]
    """
    edges = [x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]]
    border = float(np.concatenate(edges, axis=1).mean())
    if border <= PAPER:
        return x
    return 1 - x if border >= 1 - PAPER else None


def stroke_measures(ink: np.ndarray) -> dict[str, np.ndarray]:
    r"""Slant, stroke width, height, width and loops of figures: name -> (N,), NaN where no ink is.

    slant: the angle of the shear ``cov(x, y) / var(y)`` of the ink's second moments, in degrees
    from the vertical, positive to the right. stroke width: ``4 d - 2`` pixels, where d is the mean
    distance of ink to the nearest paper, exact for long strokes of an even width. height, width:
    of the box around the ink. loops: pieces of paper that ink surrounds, which is the number of
    figures less the Euler number.

    Arguments:
        ink: (N, H, W) in [0, 1], 0 for paper; see `ink_of`.

    >>> bar = np.zeros((1, 28, 28))
    >>> bar[0, 4:24, 12:16] = 1  # 20 high, 4 wide
    >>> {name: round(float(value[0]), 1) for name, value in stroke_measures(bar).items()}
    {'slant': 0.0, 'stroke width': 3.8, 'height': 20.0, 'width': 4.0, 'loops': 0.0}
    """
    seen = ink > HALF * ink.max(axis=(1, 2), keepdims=True, initial=0)
    mass = np.where(seen, ink, 0.0)
    some = seen.any((1, 2))
    rows, columns = np.indices(ink.shape[1:])
    with np.errstate(invalid="ignore", divide="ignore"):  # where there is no ink
        total = mass.sum((1, 2))
        x = columns - ((mass * columns).sum((1, 2)) / total)[:, None, None]
        y = ((mass * rows).sum((1, 2)) / total)[:, None, None] - rows
        slant = np.degrees(np.arctan((mass * x * y).sum((1, 2)) / (mass * y * y).sum((1, 2))))
    box = [_extent(seen.any(axis)) for axis in (2, 1)]
    found = (slant, 4 * _depth(seen) - 2, *box, _papers(seen) - 1)
    named = zip(MORE, found, strict=True)
    return {name: np.where(some, values, np.nan) for name, values in named}


def _extent(seen: np.ndarray) -> np.ndarray:
    """From the first to the last of those (N, S) that are seen: (N,)."""
    last = seen.shape[1] - seen[:, ::-1].argmax(1)
    return (last - seen.argmax(1)).astype(float)


def _depth(seen: np.ndarray) -> np.ndarray:
    """The mean distance (N,) of ink (N, H, W) to the nearest paper of the same image."""
    from scipy import ndimage  # slow to import

    around = np.pad(seen, [(0, 0), (1, 1), (1, 1)])  # no image reaches the next one
    column = around.reshape(-1, around.shape[2])
    distance = ndimage.distance_transform_edt(column).reshape(around.shape)
    return distance.sum((1, 2)) / np.maximum(1, around.sum((1, 2)))


def _papers(seen: np.ndarray) -> np.ndarray:
    """How many pieces of paper (N,) there are; those that touch at a corner only are two."""
    from scipy import ndimage  # slow to import

    flat = np.zeros((3, 3, 3), int)
    flat[1] = ndimage.generate_binary_structure(2, 1)
    paper, _ = ndimage.label(~np.pad(seen, [(0, 0), (1, 1), (1, 1)]), flat)
    highest = paper.max(axis=(1, 2), initial=0)  # pieces are numbered image by image
    return np.diff(highest, prepend=0).astype(float)


@dataclass(frozen=True)
class Direction:
    """What changes along a code dimension: a name in `MORE`, and the rank correlation with it."""

    name: str
    correlation: float


def directions(z: np.ndarray, x: np.ndarray) -> dict[int, Direction]:
    """Code dimensions that go with what figures look like, by their number.

    A dimension has the name of the measure with which its rank correlation is largest, where that
    is at least 0.4 in absolute value. It says what goes together over these images, not that the
    decoder would change that alone. Empty for fewer than 100 images, and where it is not clear
    what is ink.

    Arguments:
        z: Codes (N, Z) of the images.
        x: Images (N, H, W) in [0, 1].

    >>> random = np.random.RandomState(0)
    >>> tall = random.randint(4, 20, 200)
    >>> x = np.zeros((200, 24, 24))
    >>> for image, height in zip(x, tall):
    ...     image[2 : 2 + height, 10] = 1
    >>> directions(np.c_[random.randn(200), -tall], x)
    {1: Direction(name='height', correlation=-1.0)}
    """
    ink = ink_of(x) if len(x) >= FEWEST else None
    if ink is None:
        return {}
    measured = stroke_measures(ink)
    kept = np.isfinite(np.stack(list(measured.values()))).all(0)
    if kept.sum() < FEWEST:
        return {}
    codes = _ranked(z[kept])
    found = np.stack([_ranked(values[kept, None])[:, 0] @ codes for values in measured.values()])
    best, names = np.abs(found).argmax(0), list(measured)
    return {
        j: Direction(names[k], round(float(found[k, j]), 4))
        for j, k in enumerate(best)
        if abs(found[k, j]) >= LEAST
    }


def _ranked(values: np.ndarray) -> np.ndarray:
    """Columns (N, D) as ranks with mean 0 and length 1; 0 where all are equal."""
    from scipy.stats import rankdata  # slow to import

    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(0)
    length = np.linalg.norm(ranks, axis=0)
    return ranks / np.where(length > 0, length, 1)

"""What there is to copy in images, and how far a model is from merely copying.

Images x (N, C, H, W) in [0, 1] with D numbers each. Errors are squared and summed over an image,
as the term `mse` is, and means over images.
"""

from __future__ import annotations

import math

import numpy as np

from zspace.analysis.strokes import ink_of, stroke_measures
from zspace.analysis.trained import TrainedModel, once, subset
from zspace.data.dataset import Data

MOST, FITTED, ENTRIES = 2000, 10_000, 40_000_000
"""Test images that are looked at; training images to which components are fitted; and numbers in
these together; each at most.
"""


@once
def constant_error(data: Data) -> float:
    """The error of always answering the mean of the training images, on test images.

    >>> x = data.test.images().flatten(1)
    >>> bool(constant_error(data) < x.square().sum(1).mean())  # black is worse than the mean
    True
    """
    fitted = subset(data.train, _fitted(data)).images().flatten(1).numpy()
    x = subset(data.test, MOST).images().flatten(1).numpy()
    return float(np.square(x - fitted.mean(0)).sum(1).mean())


@once
def linear_error(data: Data, size: int) -> float | None:
    """The error of test images on the plane of the first principal components of training images.

    None where there are not more images and numbers in them than components.

    >>> errors = [linear_error(data, size) for size in (1, 5, 20)]
    >>> errors == sorted(errors, reverse=True)
    True
    """
    from sklearn.decomposition import PCA  # slow to import

    fitted = subset(data.train, _fitted(data)).images().flatten(1).numpy()
    if size >= min(fitted.shape):
        return None
    plane = PCA(size, svd_solver="randomized", random_state=0).fit(fitted)
    x = subset(data.test, MOST).images().flatten(1).numpy()
    return float(np.square(x - plane.inverse_transform(plane.transform(x))).sum(1).mean())


def _fitted(data: Data) -> int:
    return max(2, min(FITTED, ENTRIES // int(np.prod(data.spec.shape))))


@once
def shuffled_errors(trained: TrainedModel, data: Data) -> tuple[float, float]:
    """The error of test images, and of the same images with their pixels in another order.

    The order is one for all images. A model that copied would copy these as well.

    >>> own, shuffled = shuffled_errors(run, data)
    >>> shuffled > own
    True
    """
    some = subset(data.test, MOST)
    x, c = some.images().numpy(), some.conditions() if trained.model.context else None
    flat = x.reshape(*x.shape[:2], -1)
    order = np.random.RandomState(0).permutation(flat.shape[2])
    other = np.ascontiguousarray(flat[:, :, order]).reshape(x.shape)
    own, moved = (np.square(a - trained.reconstructed(a, c)).sum((1, 2, 3)) for a in (x, other))
    return float(own.mean()), float(moved.mean())


def contrast(x: np.ndarray) -> float:
    """The mean absolute difference between neighbouring pixels of images (N, C, H, W).

    >>> contrast(np.tile([0.0, 1.0], (1, 1, 2, 4)))  # columns alternate, rows are equal
    0.5
    """
    across, down = (np.abs(np.diff(x, axis=axis)).mean() for axis in (3, 2))
    return float((across + down) / 2)


@once
def edges(data: Data) -> np.ndarray:
    """How much edge each test image has, (N,): the sum of differences of neighbouring pixels.

    >>> edges(data).shape == (len(data.test),)
    True
    """
    x = data.test.images().numpy()
    return sum(np.abs(np.diff(x, axis=axis)).sum((1, 2, 3)) for axis in (2, 3))


def at_equal(amount: np.ndarray, group: np.ndarray, values: np.ndarray) -> float:
    """How much larger values (N,) are in a group (N,) than outside it, among samples with about as
    much of something, `amount` (N,): the mean over its tenths, each weighed by the members of the
    group in it. NaN where no tenth has members and others.

    >>> amount = np.arange(1000.0)
    >>> group = amount % 3 == 0
    >>> 4.9 < at_equal(amount, group, amount + 5 * group) < 5.1
    True
    """
    tenths = np.argsort(np.argsort(amount, kind="stable"), kind="stable") * 10 // len(amount)
    gaps, members = [], []
    for k in range(10):
        inside, outside = values[(tenths == k) & group], values[(tenths == k) & ~group]
        if len(inside) and len(outside):
            gaps.append(inside.mean() - outside.mean())
            members.append(len(inside))
    return float(np.average(gaps, weights=members)) if members else math.nan


@once
def sample_contrast(trained: TrainedModel, data: Data) -> float:
    """The contrast of samples, in multiples of that of test images.

    >>> 0 < sample_contrast(run, data) < 2
    True
    """
    real = subset(data.test, MOST).images().numpy()
    of_real = contrast(real)
    if not of_real:
        return float("nan")  # flat images have none to compare with
    return contrast(trained.drawn(min(500, len(real)), seed=0)) / of_real


@once
def entropy(data: Data) -> float:
    """The least binary cross-entropy in nats that any answer can have on test images, their own.

    It is 0 only where every value is 0 or 1.

    >>> 0 < entropy(data) < 0.7 * 14 * 14  # log 2 for each pixel at most
    True
    """
    from scipy.special import entr  # slow to import

    x = subset(data.test, MOST).images().flatten(1).numpy().astype(np.float64)
    return float((entr(x) + entr(1 - x)).sum(1).mean())


@once
def two_errors(trained: TrainedModel, data: Data) -> tuple[float, float, float]:
    """Squared error and binary cross-entropy of test images, and how alike they order the images.

    The cross-entropy is in nats and without the images' own, so that either error is 0 for a
    perfect copy. Reconstructions are kept half of 1/255 away from 0 and 1, since there the
    cross-entropy of a wrong pixel has no bound. Orders are compared by Spearman's correlation.

    >>> squared, crossed, alike = two_errors(run, data)
    >>> squared > 0, crossed > 0, -1 <= alike <= 1
    (True, True, True)
    """
    from scipy.special import rel_entr  # slow to import
    from scipy.stats import spearmanr

    some = subset(data.test, MOST)
    x, c = some.images().numpy(), some.conditions() if trained.model.context else None
    made = trained.reconstructed(x, c).reshape(len(x), -1).astype(np.float64)
    x = x.reshape(len(x), -1).astype(np.float64)
    squared, kept = np.square(x - made).sum(1), made.clip(1 / 510, 1 - 1 / 510)
    crossed = (rel_entr(x, kept) + rel_entr(1 - x, 1 - kept)).sum(1)
    return float(squared.mean()), float(crossed.mean()), float(spearmanr(squared, crossed)[0])


@once
def looped(data: Data) -> np.ndarray | None:
    """Of strokes on an empty ground, which test images enclose some of it: (N,) of booleans.

    See `zspace.analysis.strokes`. None where images are not grey, or where strokes cover more
    than a third of them, or where fewer than a tenth of the images have a loop, or lack one.

    >>> loops = looped(data)
    >>> y = data.test.labels().numpy()
    >>> bool(loops[y == 0].mean() > loops[y == 1].mean())
    True
    """
    if data.spec.kind != "image" or data.spec.shape[0] != 1 or data.spec.missing:
        return None
    ink = ink_of(data.test.images()[:, 0].numpy())
    if ink is None or not 0 < (ink > 0.5).mean() < 1 / 3:
        return None
    found = stroke_measures(ink)["loops"] > 0
    return found if 0.1 < found.mean() < 0.9 else None

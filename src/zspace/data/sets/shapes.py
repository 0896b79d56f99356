"""shapes: white shapes on black, drawn from five known factors, every combination once.

    shape     square, ellipse, heart
    scale     5 radii of the circle around the shape, 5 to 9 pixels
    rotation  8 angles from 2.8 to 81.6 degrees: a square looks the same after 90
    x, y      12 centres each, from 9.2 to 22.8 pixels, so that no shape is cut off

The images are binary: a pixel is white where its centre is inside. No two images are the same. The
factors are those of dSprites, which has 737,280 images of 64 x 64 and squares that repeat.

Reference: Matthey, Higgins, Hassabis, Lerchner. dSprites: disentanglement testing sprites dataset.
2017.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from zspace.data.dataset import Data, Part, Samples

SIDE = 32
CLASSES = ("square", "ellipse", "heart")
FACTORS = (("shape", 3), ("scale", 5), ("rotation", 8), ("x", 12), ("y", 12))
"""Row i of the storage is the i-th combination, the last factor turning fastest."""

HEART = 1.25
"""The radius of the circle around (x^2 + y^2 - 1)^3 = x^2 y^3; its centre is (0, 0.25)."""


def part() -> Part:
    """All images (N, 1, 32, 32), uint8 0 or 255, with the shape as label."""
    sizes = [size for _, size in FACTORS]
    centres = np.linspace(9.2, SIDE - 9.2, sizes[3])
    away = np.arange(SIDE) + 0.5 - centres[:, None]
    x = np.zeros((*sizes, SIDE, SIDE), np.uint8)
    for shape in range(sizes[0]):
        for scale, radius in enumerate(np.linspace(5, 9, sizes[1])):
            for turn in range(sizes[2]):
                # Off the axes: small squares turned by t and by 90 degrees - t may look the same.
                angle = 0.5 * math.pi * (turn + 0.25) / sizes[2]
                right, down = away[:, None, None, :] / radius, away[None, :, :, None] / radius
                u = math.cos(angle) * right + math.sin(angle) * down
                v = math.cos(angle) * down - math.sin(angle) * right
                x[shape, scale, turn] = 255 * _inside(shape, u, v)
    labels = torch.arange(sizes[0]).repeat_interleave(math.prod(sizes[1:]))
    return Part(torch.from_numpy(x.reshape(-1, 1, SIDE, SIDE)), labels)


def factors_of(data: Data, samples: Samples) -> np.ndarray:
    """The factors (n, F) of samples of data that have them: integers from 0.

    >>> shapes = zspace.data.load("shapes", quiet=True)
    >>> factors_of(shapes, shapes.test).max(0)
    array([ 2,  4,  7, 11, 11])
    """
    sizes = [size for _, size in data.factors]
    return np.stack(np.unravel_index(samples.index.numpy(), sizes), axis=1)


def _inside(shape: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which points, right u and down v of the centre, in radii, belong to the shape."""
    if shape == 0:
        return np.maximum(np.abs(u), np.abs(v)) <= math.sqrt(0.5)
    if shape == 1:
        return u**2 + (v / 0.55) ** 2 <= 1
    a, b = HEART * u, HEART * (0.2 - v)
    around = a * a + b * b - 1
    return around * around * around <= a * a * b * b * b

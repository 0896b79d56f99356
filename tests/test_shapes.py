"""The set of drawn shapes: what is known of it is what can be seen in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zspace.data.loading import is_known, is_resized, load
from zspace.data.sets.catalogue import KNOWN, describe, sources
from zspace.data.sets.shapes import CLASSES, FACTORS, SIDE, factors_of
from zspace.system.errors import UserError

SIZES = tuple(size for _, size in FACTORS)


@pytest.fixture(scope="module")
def shapes():
    return load("shapes")


@pytest.fixture(scope="module")
def grid(shapes) -> np.ndarray:
    """All images by their factors, (3, 5, 8, 12, 12, 32, 32), 0 or 1."""
    x = shapes.train.x.numpy()
    assert set(np.unique(x)) == {0, 255}
    return (x > 0).reshape(*SIZES, SIDE, SIDE)


def test_every_combination_is_there_once(grid):
    flat = grid.reshape(-1, SIDE * SIDE)
    assert len(flat) == np.prod(SIZES) == 17_280
    assert len(np.unique(np.packbits(flat, axis=1), axis=0)) == len(flat)


def test_shapes_are_where_and_as_large_as_said(grid):
    area = grid.sum((5, 6))
    assert (np.diff(area.mean((2, 3, 4)), axis=1) > 0).all()  # scale
    at = np.arange(SIDE) + 0.5
    right = (grid.sum(5) * at).sum(5) / area
    down = (grid.sum(6) * at).sum(5) / area
    centres = np.linspace(9.2, 22.8, 12)
    symmetric = slice(0, 2)  # a heart's centroid is not the centre of its circle
    for found, want in ((right, centres[:, None]), (down, centres)):
        error = np.abs(found[symmetric] - want)
        assert error.max() < 0.5  # pixels: an edge between two of them may move by half of one
        assert error.mean() < 0.1
    spread = area.std((3, 4)) / area.mean((3, 4))
    assert spread.max() < 0.12  # nowhere cut off


def test_areas_are_those_of_the_shapes(grid):
    area, radius = grid.sum((5, 6)).mean((2, 3, 4)), np.linspace(5, 9, 5)
    np.testing.assert_allclose(area[0], 2 * radius**2, rtol=0.02)
    np.testing.assert_allclose(area[1], 0.55 * np.pi * radius**2, rtol=0.02)


def test_a_turned_ellipse_has_turned_axes(grid):
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    angles = []
    for image in grid[1, 4, :, 5, 5]:
        dx, dy = x[image] - x[image].mean(), y[image] - y[image].mean()
        angles.append(np.degrees(0.5 * np.arctan2(2 * (dx * dy).mean(), (dx**2 - dy**2).mean())))
    np.testing.assert_allclose(angles, 90 * (np.arange(8) + 0.25) / 8, atol=3)


def test_factors_belong_to_the_samples_of_every_split(shapes, grid):
    assert shapes.factors == FACTORS
    seen = []
    for split in (shapes.train, shapes.validation, shapes.test):
        v = factors_of(shapes, split)
        assert v.shape == (len(split), 5)
        np.testing.assert_array_equal(v[:, 0], split.labels().numpy())
        some = torch.arange(0, len(split), 97)
        images = split.images(some).numpy()[:, 0] > 0
        np.testing.assert_array_equal(images, grid[tuple(v[some.numpy()].T)])
        seen.append(split.index)
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(17_280))


def test_it_is_a_known_set(shapes):
    known, facts = KNOWN["shapes"], describe("shapes")
    assert shapes.spec.shape == known.shape == (1, 32, 32)
    assert shapes.classes == CLASSES
    splits = {name: len(getattr(shapes, name)) for name in facts["sizes"]}
    assert splits == facts["sizes"]
    assert is_known("shapes")
    assert not is_resized("shapes")
    assert next(row for row in sources() if row.name == "shapes").local
    assert shapes.fingerprint == load("shapes").fingerprint
    with pytest.raises(UserError, match="--size 64"):
        load("shapes", size=64)


def test_other_data_have_no_factors():
    assert load("mnist5k").factors == ()

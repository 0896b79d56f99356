"""What figures look like, measured on images that were drawn with a known slant and size."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import euler_number, label

from zspace.analysis.strokes import directions, ink_of, stroke_measures
from zspace.data.loading import load

SIDE = 32


def bar(slant: float = 0.0, height: int = 20, width: float = 4.0) -> np.ndarray:
    """A bar that leans to the right by so many degrees, with soft edges."""
    rows, columns = np.indices((SIDE, SIDE))
    middle = (SIDE - 1) / 2
    centre = middle + np.tan(np.radians(slant)) * (middle - rows)
    soft = np.clip((width + 1) / 2 - np.abs(columns - centre), 0, 1)
    return soft * (np.abs(rows - middle) <= height / 2)


@pytest.mark.parametrize("slant", [-25, -10, 0, 10, 25])
def test_the_slant_of_a_sheared_bar(slant):
    assert stroke_measures(bar(slant)[None])["slant"][0] == pytest.approx(slant, abs=0.7)


def test_height_and_width_are_of_the_box_around_the_ink():
    x = np.stack([bar(height=6), bar(height=20)])
    np.testing.assert_array_equal(stroke_measures(x)["height"], [6, 20])
    np.testing.assert_array_equal(stroke_measures(x.transpose(0, 2, 1))["width"], [6, 20])


@pytest.mark.parametrize("slant", [0, 30])
def test_the_width_of_strokes(slant):
    """Across a stroke that leans, the width is the cosine of what a row shows. Ends of a stroke
    count as its sides, so one that is not six times as long as wide seems thinner.
    """
    across = np.cos(np.radians(slant))
    x = np.stack([bar(slant, height=26, width=width / across) for width in (2, 4, 8)])
    two, four, eight = stroke_measures(x)["stroke width"]
    assert (two, four) == (pytest.approx(2, abs=0.5), pytest.approx(4, abs=0.5))
    assert four + 1 < eight < 8


def test_loops_are_those_of_the_euler_number():
    x = load("mnist5k", quiet=True).test.images()[:200, 0].numpy()
    expected = []
    for image in x:
        seen = image > 0.5 * image.max()
        expected.append(label(seen, connectivity=2).max() - euler_number(seen, connectivity=2))
    np.testing.assert_array_equal(stroke_measures(x)["loops"], expected)
    assert set(expected) >= {0, 1, 2}


def test_dark_ink_on_bright_paper_is_the_same():
    x = np.stack([bar(), bar(20)])
    np.testing.assert_allclose(ink_of(1 - x), ink_of(x))
    assert ink_of(np.full((2, 8, 8), 0.5)) is None


def test_an_image_without_ink_has_no_measures():
    found = stroke_measures(np.stack([np.zeros((SIDE, SIDE)), bar()]))
    for values in found.values():
        assert np.isfinite(values).tolist() == [False, True]


def test_codes_are_named_by_what_goes_with_them():
    random = np.random.RandomState(0)
    slant, width = random.uniform(-20, 20, 200), random.uniform(2, 7, 200)
    x = np.stack([bar(s, width=w) for s, w in zip(slant, width, strict=True)])
    x[7] = 0  # is left out
    z = np.c_[random.randn(200), np.exp(slant / 5), -width + random.randn(200)]
    found = directions(z, x)
    assert {j: one.name for j, one in found.items()} == {1: "slant", 2: "stroke width"}
    assert found[1].correlation > 0.99
    assert -0.9 < found[2].correlation < -0.6


def test_noise_few_images_and_grey_ones_have_no_names():
    random = np.random.RandomState(1)
    x = np.stack([bar(s) for s in random.uniform(-20, 20, 150)])
    assert directions(random.randn(150, 40), x) == {}
    assert directions(np.zeros((150, 2)), x) == {}
    slant = stroke_measures(x)["slant"][:, None]
    assert set(directions(slant, x)) == {0}
    assert directions(slant[:99], x[:99]) == {}
    assert directions(slant, np.full_like(x, 0.5)) == {}

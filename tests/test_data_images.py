"""One image file: formats, modes, orientation, and what a size does."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image, ImageOps

from zspace.data.readers import images
from zspace.system.errors import UserError

GREY, RED = 90, (200, 30, 40)


def save(path, mode="L", size=(6, 4), colour=None, **options):
    """One plain image; ``size`` is (width, height), as Pillow has it."""
    plain = {"L": GREY, "RGB": RED}.get(mode, 0) if colour is None else colour
    Image.new(mode, size, plain).save(path, **options)
    return path


def read(path, channels=3, size=None):
    with images.strict():
        return images.decode(path, images.Form(channels, size))


@pytest.mark.parametrize("end", ["png", "jpg", "bmp", "gif", "webp", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(tmp_path, end, mode):
    path = save(tmp_path / f"a.{end}", mode)
    expected = GREY if mode == "L" else np.array(RED)[:, None, None]
    assert np.abs(read(path).astype(int) - expected).max() <= (8 if end in ("jpg", "webp") else 2)


@pytest.mark.parametrize(
    ("mode", "colour", "end", "grey", "expected"),
    [
        ("1", 1, "png", True, 255),
        ("LA", (90, 255), "png", True, 90),
        ("LA", (90, 0), "png", True, 255),
        ("RGBA", (*RED, 255), "png", False, RED),
        ("RGBA", (*RED, 0), "png", False, (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), "png", False, (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), "tif", False, (255, 0, 0)),
        ("I;16", 65535, "png", True, 255),
        ("I;16", 257 * 90, "tif", True, 90),
        ("I;16", 200, "png", True, 1),
        ("I", 257 * 90, "tif", True, 90),
    ],
)
def test_modes(tmp_path, mode, colour, end, grey, expected):
    path = save(tmp_path / f"a.{end}", mode, colour=colour)
    assert images.look(path).grey == grey
    image = read(path)
    assert image.dtype == np.uint8
    assert (image == np.broadcast_to(np.array(expected), (3,))[:, None, None]).all()
    if grey:
        assert (read(path, channels=1) == expected).all()


@pytest.mark.parametrize(("ramp", "grey"), [((1, 1, 1), True), ((1, 0, 0), False)])
def test_palettes_are_grey_only_if_all_their_colours_are(tmp_path, ramp, grey):
    image = Image.fromarray(np.full((4, 6), 90, np.uint8), "L").convert("P")
    image.putpalette([i * part for i in range(256) for part in ramp])
    image.save(tmp_path / "a.png")
    assert images.look(tmp_path / "a.png").grey == grey
    assert read(tmp_path / "a.png")[:, 0, 0].tolist() == [90 * part for part in ramp]


def test_a_transparent_palette_colour_is_white(tmp_path):
    image = Image.fromarray(np.zeros((4, 6), np.uint8), "L").convert("P")
    image.save(tmp_path / "a.png", transparency=0)
    assert (read(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("F", 0.5), ("I", 70_000)])
def test_pixels_without_a_scale_are_refused(tmp_path, mode, colour):
    with pytest.raises(UserError, match=r"floating-point|beyond 16 bits"):
        read(save(tmp_path / "a.tif", mode, colour=colour))


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (6, 4), value) for value in (50, 150, 250)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read(tmp_path / "a.gif") == 50).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_orientation_is_applied(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", mode, size=(6, 4), exif=exif)
    look = images.look(path)
    assert (look.height, look.width) == (6, 4)
    assert read(path).shape == (3, 6, 4)


def test_orientation_turns_the_right_way(tmp_path):
    array = np.zeros((8, 8), np.uint8)
    array[0, :] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top row becomes the right column
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png", channels=1)[0], np.rot90(array, -1))


def test_size_resizes_the_shorter_side_and_crops_the_centre(tmp_path):
    array = np.zeros((40, 80), np.uint8)
    array[:, 20:60] = 255  # exactly what the crop keeps
    Image.fromarray(array).save(tmp_path / "a.png")
    kept = read(tmp_path / "a.png", channels=1, size=20)
    assert (kept[:, :, 3:-3] == 255).all()
    assert (kept > 200).all()
    assert read(tmp_path / "a.png", channels=1, size=60).shape == (1, 60, 60)


def test_size_is_antialiased(tmp_path):
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "a.png")
    small = read(tmp_path / "a.png", channels=1, size=8).astype(int)
    assert np.abs(small - 127).max() < 8


CHINA = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
"""A photograph of 640 x 427, of which no side is a multiple of 8."""


def fitted(image, size, fit):
    """A picture as Pillow brings it to (height, width)."""
    if fit == "stretch":
        return image.resize(size[::-1], Image.Resampling.LANCZOS)
    way = {"crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    return way(image, size[::-1], Image.Resampling.LANCZOS)


def decoded(path, size, fit="crop"):
    with images.strict():
        return images.decode(path, images.Form(3, size, fit=fit)).transpose(1, 2, 0)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (40, 96), (128, 80)])
def test_a_photograph_decoded_small_is_near_to_one_decoded_whole(fit, size):
    with Image.open(CHINA) as image:
        whole = np.asarray(fitted(image, size, fit)).astype(int)
    far = np.abs(decoded(CHINA, size, fit) - whole)
    assert 0 < far.mean() < 2  # of 255: it is decoded at a half, a quarter or an eighth
    assert far.max() < 40


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photograph_is_decoded_small_in_place(tmp_path, orientation):
    """Sides that are no multiples of 8 end within a pixel, wherever turning brings it."""
    with Image.open(CHINA) as image:
        exif = image.getexif()
        for name in ("plain", "turned"):
            image.save(tmp_path / f"{name}.jpg", quality=90, exif=exif)
            exif[0x0112] = orientation
    size = (64, 40) if orientation < 5 else (40, 64)
    plain = Image.fromarray(decoded(tmp_path / "plain.jpg", size, "stretch"))
    plain.getexif()[0x0112] = orientation
    far = decoded(tmp_path / "turned.jpg", (64, 40), "stretch") - np.asarray(
        ImageOps.exif_transpose(plain)
    ).astype(int)
    assert np.abs(far).max() <= 2


@pytest.mark.parametrize("size", [(214, 214), (400, 600), (900, 900)])
def test_a_photograph_is_decoded_whole_where_half_of_it_would_be_too_small(size):
    with Image.open(CHINA) as image:
        assert np.array_equal(decoded(CHINA, size), np.asarray(fitted(image, size, "crop")))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(12, 12), (7, 30), (61, 5), (1, 1)])
@pytest.mark.parametrize("own", [(40, 24), (24, 40), (30, 7), (1, 70), (33, 33)])
def test_other_files_are_brought_to_a_size_as_pillow_does(tmp_path, fit, size, own):
    random = np.random.RandomState(0).randint(0, 256, (*own, 3), dtype=np.uint8)
    image = Image.fromarray(random)
    image.save(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png", size, fit), fitted(image, size, fit))


@pytest.mark.parametrize(
    ("mode", "options"),
    [("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 0})],
)
def test_every_kind_of_jpeg_is_decoded_small(tmp_path, mode, options):
    path, half = tmp_path / "a.jpg", tmp_path / "half.jpg"
    with Image.open(CHINA) as image:
        image.convert(mode).save(path, quality=90, **options)
    with Image.open(path) as image:
        whole = np.asarray(fitted(image.convert("RGB"), (64, 64), "crop")).astype(int)
    far = np.abs(decoded(path, 64) - whole)
    assert 0 < far.mean() < 2
    assert far.max() < 30
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"half\.jpg' cannot be read: .*truncated"):
        decoded(half, 64)

"""One image file to an array: every mode that Pillow reads becomes 8-bit grey or RGB.

Transparency is laid over white, EXIF orientation is applied, 16-bit grey is scaled to 8, and an
animation gives its first frame. A crop P keeps the centre P x P at most. After it, a size S
resizes the shorter side to S (Lanczos, antialiased) and crops the centre S x S.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps

from zspace.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_GREY = frozenset({"1", "L", "LA", "La"}) | _SIXTEEN_BIT
_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})

T = TypeVar("T")


class Blob(Protocol):
    """An encoded image that is no file of its own; as text, it names itself."""

    def read(self) -> bytes:
        """The bytes of a PNG, a JPEG or another format."""

    @property
    def size(self) -> int:
        """How many they are."""


Source = Path | Blob


@dataclass(frozen=True)
class Look:
    """What a file's header says: height and width as displayed, and whether it is grey."""

    height: int
    width: int
    grey: bool


@contextmanager
def strict() -> Iterator[None]:
    """Within it, Pillow's size limit is an error and its other remarks are silent.

    To be entered once around all threads: the warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def look(source: Source) -> Look:
    """Read the header. Raises UserError naming the file if it is no image."""
    return _guarded(source, _look)


def decode(source: Source, channels: int, size: int | None, crop: int | None = None) -> np.ndarray:
    """The image (channels, H, W), uint8. Raises UserError naming the file if it is damaged."""
    return _guarded(source, lambda image: _decode(image, channels, size, crop))


def _guarded(source: Source, work: Callable[[Image.Image], T]) -> T:
    try:
        file = source if isinstance(source, Path) else BytesIO(source.read())
        with Image.open(file) as image:
            return work(image)
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        why = str(error) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            why = "it is no image that Pillow knows"
        raise UserError(
            f"image '{source}' cannot be read: {why}; repair or remove it, or skip such files "
            "with --skip-bad"
        ) from error


def _look(image: Image.Image) -> Look:
    width, height = image.size
    # The class's own method, since PNG's decodes the whole image to look for data behind it.
    if Image.Image.getexif(image).get(_ORIENTATION) in _TURNED:
        width, height = height, width
    return Look(height, width, _is_grey(image))


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GREY
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _decode(image: Image.Image, channels: int, size: int | None, crop: int | None) -> np.ndarray:
    flat = _eight_bit(image) if image.mode in _SIXTEEN_BIT else _over_white(image)
    flat = ImageOps.exif_transpose(flat).convert("L" if channels == 1 else "RGB")
    if crop is not None:
        flat = _centre(flat, crop)
    if size is not None and flat.size != (size, size):
        flat = ImageOps.fit(flat, (size, size), Image.Resampling.LANCZOS)
    array = np.asarray(flat)
    # Copied into this order: numpy would otherwise stack images to a batch with channels last.
    return array[None] if channels == 1 else np.ascontiguousarray(np.moveaxis(array, 2, 0))


def _centre(image: Image.Image, side: int) -> Image.Image:
    """The middle of the picture, at most side x side."""
    width, height = (min(side, length) for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit: 65535 becomes 255. Pillow's own conversion would clip at 255."""
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise ValueError(f"its values run from {wide.min()} to {wide.max()}, beyond 16 bits")
    return _as_before(image, Image.fromarray(((wide + 128) // 257).astype(np.uint8)))


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        return image
    picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return _as_before(image, Image.alpha_composite(white, picture))


def _as_before(image: Image.Image, changed: Image.Image) -> Image.Image:
    """The changed image with the orientation of the original, which is still to be applied."""
    changed.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return changed

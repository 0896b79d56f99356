"""Image files to arrays: every mode that Pillow reads becomes grey or RGB.

Transparency is laid over white, dropped, or kept as a fourth channel; EXIF orientation is applied,
and an animation gives its first frame. What Pillow does not hold is read by
`zspace.data.readers.bands`. Grey of 16 bits or of floats keeps its depth where it is asked for; an
8-bit image among 16-bit ones is multiplied by 257. A crop P keeps the centre, at most P x P. After
it, images are brought to a size (Lanczos, antialiased): cropped, padded with black, or stretched.

A header is a claim, held against limits before a pixel is decoded. Decoding takes about 12 bytes
per pixel, so that an image at the limit stays below 512 MB; all threads together work on no more
than `MOST_PIXELS` at a time.
"""

from __future__ import annotations

import math
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
from PIL import Image

from zspace.data.read_options import Fit, Size, Transparency
from zspace.data.readers import bands
from zspace.system.errors import UserError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What the content may be, whatever the name says: Pillow would hand EPS to an interpreter."""

MOST_PIXELS = 40_000_000
MOST_BYTES = 1 << 28
MOST_SCANS = 200
"""Passes of a progressive JPEG, each as costly as the whole image; 10 are usual."""

_SMALL = 1 << 16
"""Bytes of a file that is read at once."""
_BAND = 1 << 20
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP = _SIXTEEN_BIT | {"F"}
_DEPTH_OF = {"F": "float32"} | dict.fromkeys(_SIXTEEN_BIT, "uint16")
_GREY = frozenset({"1", "L", "LA", "La"}) | _DEEP
_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})
_FROM_RIGHT, _FROM_BOTTOM = frozenset({2, 3, 6, 7}), frozenset({3, 4, 7, 8})
"""Orientations whose first column is shown on the right, and whose first row at the bottom."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Blob(Protocol):
    """An encoded image that is not a file of its own; `str` of it is its name in messages."""

    def read(self) -> bytes:
        """The bytes of a PNG, a JPEG or another format."""

    @property
    def size(self) -> int:
        """How many bytes these are."""


Source = Path | Blob
Box = tuple[float, float, float, float]


class Look(NamedTuple):
    """What a file's header says: height and width as displayed, whether it is grey, how deep its
    values are (uint8, uint16 or float32), how many bands it has, where they are not those of a
    usual image, and whether it may be transparent.
    """

    height: int
    width: int
    grey: bool
    depth: str = "uint8"
    bands: int = 0
    clear: bool = False


class Budget:
    """Units that threads share; a thread that wants more than are left waits.

    >>> shared = Budget(10)
    >>> with shared.taken(10):
    ...     pass                        # another thread would wait here for even one unit
    """

    def __init__(self, units: int) -> None:
        self._free, self._changed = units, threading.Condition()

    @contextmanager
    def taken(self, units: int) -> Iterator[None]:
        """Hold so many units within the block. More than there are in all would wait forever."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= units)
            self._free -= units
        try:
            yield
        finally:
            with self._changed:
                self._free += units
                self._changed.notify_all()


_budget = Budget(MOST_PIXELS)


@contextmanager
def strict() -> Iterator[None]:
    """Within the block, Pillow's own size limit is an error and its other warnings are silent.

    Enter it once, around all threads: the warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@dataclass(frozen=True)
class Form:
    """What an image is brought to.

    Arguments:
        channels: 1 for grey, 3 for RGB, 4 for RGBA, to which the image is converted; another
            number for an image of so many bands.
        size: (height, width) in pixels that it is brought to, or the side of a square; None: as
            it is.
        crop: Side of the centre that is kept before that, in pixels; None: all.
        depth: Of the values: "uint8"; "uint16" (0..65535, to which 8 bits are raised) or
            "float32" (as they are), both returned as float32.
        fit: How it is brought to the size: "crop" fills it and cuts what is over, "pad" adds black
            beside what is short, "stretch" changes the proportions.
        transparency: "white": laid over white; "drop": the colours below are shown.
    """

    channels: int
    size: Size = None
    crop: int | None = None
    depth: str = "uint8"
    fit: Fit = "crop"
    transparency: Transparency = "white"


class Encoded:
    """An image whose header is read and checked, and whose pixels are not decoded yet.

    Arguments:
        source: The file.
        held: The image, opened by Pillow, or what `bands` says where Pillow does not hold it.
        extent: Width and height of the picture where it is decoded small: its last pixels may
            lie partly outside.
    """

    def __init__(
        self,
        source: Source,
        held: Image.Image | bands.Bands,
        extent: tuple[float, float] | None = None,
    ) -> None:
        self.source, self.held, self.extent = source, held, extent

    @property
    def look(self) -> Look:
        """What the header says."""
        held = self.held
        if isinstance(held, bands.Bands):
            return Look(held.height, held.width, held.bands == 1, held.depth, held.bands)
        width, height = held.size
        if _is_turned(held):
            width, height = height, width
        depth = _DEPTH_OF.get(held.mode, "uint8")
        clear = depth == "uint8" and held.has_transparency_data
        return Look(height, width, _is_grey(held), depth, clear=clear)

    def decoded(self, form: Form) -> np.ndarray:
        """The image (channels, H, W), uint8, or float32 with the values of a greater depth.

        It may be a view of an array with the channels last.
        """
        to, held = sides(form.size), self.held
        if isinstance(held, bands.Bands):
            assert isinstance(self.source, Path)
            with _budget.taken(min(MOST_PIXELS, held.height * held.width * held.bands)):
                return _banded(bands.read(self.source), to, form)
        with _budget.taken(_units(held)):
            if form.depth != "uint8" and held.mode in _DEEP:
                return _deep(held, to, form)
            array = np.asarray(_flat(held, to, form, self.extent))
        image = array[None] if form.channels == 1 else array.transpose(2, 0, 1)
        return image if form.depth == "uint8" else image.astype(np.float32) * 257


def look(source: Source) -> Look:
    """Read the header alone. Raises UserError naming the file if it is not an image."""
    with encoded(source) as image:
        return image.look


def decode(source: Source, form: Form) -> np.ndarray:
    """The image (channels, H, W) of a file, or an encoded image in a table, in that form.

    Raises UserError naming the file if it is damaged, not an image, or too large to decode.
    """
    with encoded(source, None if form.crop else form.size, form.fit) as image:
        return image.decoded(form)


def sides(size: Size) -> tuple[int, int] | None:
    """A size as (height, width).

    >>> sides(8), sides((4, 8)), sides(None)
    ((8, 8), (4, 8), None)
    """
    return (size, size) if isinstance(size, int) else size


def _fitted(
    image: Image.Image, to: tuple[int, int] | None, fit: Fit, part: Box | None = None
) -> Image.Image:
    """The image at a size (height, width), with Lanczos.

    part: left, top, right and bottom of the picture within it; None: all of it.
    """
    if to is None or (part is None and image.size == to[::-1]):
        return image
    size = to[::-1]
    left, top, right, bottom = part or (0, 0, *image.size)
    width, height, ratio = right - left, bottom - top, size[0] / size[1]
    if fit == "stretch" or width / height == ratio:
        return image.resize(size, Image.Resampling.LANCZOS, (left, top, right, bottom))
    wide = width / height > ratio
    if fit == "crop":
        x = (width - ratio * height) / 2 if wide else 0
        y = 0 if wide else (height - width / ratio) / 2
        box = (left + x, top + y, right - x, bottom - y)
        return image.resize(size, Image.Resampling.LANCZOS, box)
    inner = (
        (size[0], round(height / width * size[0]))
        if wide
        else (round(width / height * size[1]), size[1])
    )
    padded = Image.new(image.mode, size)
    if min(inner) > 0:
        small = image.resize(inner, Image.Resampling.LANCZOS, (left, top, right, bottom))
        padded.paste(small, (round((size[0] - inner[0]) / 2), round((size[1] - inner[1]) / 2)))
    return padded


def _part(extent: tuple[float, float], size: tuple[int, int], orientation: int) -> Box:
    """Where a picture lies in an image of that size, which it fills from the top left corner on,
    once the image is turned.
    """
    (width, height), (right, bottom) = size, extent
    if orientation in _TURNED:
        width, height, right, bottom = height, width, bottom, right
    x = width - right if orientation in _FROM_RIGHT else 0
    y = height - bottom if orientation in _FROM_BOTTOM else 0
    return (x, y, x + right, y + bottom)


def _flat(
    image: Image.Image,
    to: tuple[int, int] | None,
    form: Form,
    extent: tuple[float, float] | None,
) -> Image.Image:
    """The pixels in 8 bits, the right way up, in the form."""
    if image.mode in _SIXTEEN_BIT:
        flat = _eight_bit(image)
    elif form.channels == 4 or (form.transparency == "drop" and image.mode != "F"):
        image.load()
        flat = image
    else:
        flat = _over_white(image)
    orientation = image.getexif().get(_ORIENTATION, 1)
    turn = _TURNS.get(orientation)
    flat = flat if turn is None else flat.transpose(turn)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(form.channels)
    if mode is None:
        raise ValueError(f"it has no {form.channels} bands, as others have")
    flat = flat if flat.mode == mode else flat.convert(mode)
    flat = flat if form.crop is None else _centre(flat, form.crop)
    part = None if extent is None else _part(extent, image.size, orientation)
    return _fitted(flat, to, form.fit, part)


def _deep(image: Image.Image, to: tuple[int, int] | None, form: Form) -> np.ndarray:
    """Grey values deeper than a byte, float32 (channels, H, W)."""
    image.load()
    array = np.asarray(image).astype(np.float32)
    low, high = array.min(), array.max()
    if image.mode in _SIXTEEN_BIT and (low < 0 or high > 0xFFFF):
        raise ValueError(f"its values run from {low:g} to {high:g}, beyond 16 bits")
    flat = Image.fromarray(array)
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    flat = flat if turn is None else flat.transpose(turn)
    flat = flat if form.crop is None else _centre(flat, form.crop)
    found = _deep_fitted(flat, to, form.fit)
    return np.broadcast_to(found, (form.channels, *found.shape))


def _deep_fitted(image: Image.Image, to: tuple[int, int] | None, fit: Fit) -> np.ndarray:
    """Values (H, W) at a size."""
    fitted = _fitted(image, to, fit)
    array = np.asarray(fitted)
    if fitted is image:
        return array
    # What is sharpened beyond the image's own values would count as values of its own.
    low, high = image.getextrema()
    return array.clip(min(low, 0) if fit == "pad" else low, high)


def _banded(array: np.ndarray, to: tuple[int, int] | None, form: Form) -> np.ndarray:
    """Bands (C, H, W) at a size."""
    channels = form.channels
    if len(array) == 4 and channels == 3:
        top = np.float32(65535 if array.dtype == np.uint16 else 255)
        alpha = array[3] / top
        array = array[:3] * alpha + top * (1 - alpha)
    if len(array) == 1:
        array = np.broadcast_to(array, (channels, *array.shape[1:]))
    if len(array) != channels:
        raise ValueError(f"it has {len(array)} bands instead of {channels}")
    whole = [
        _deep_fitted(Image.fromarray(band.astype(np.float32)), to, form.fit) for band in array
    ]
    found = np.stack(whole)
    return found.round().astype(np.uint8) if form.depth == "uint8" else found


@contextmanager
def encoded(source: Source, size: Size = None, fit: Fit = "crop") -> Iterator[Encoded]:
    """The image, its header read and checked; whatever goes wrong within becomes a UserError.

    A JPEG that is brought to a size is decoded at a half, a quarter or an eighth of its own, the
    least that is not below what it is resized to (see `_draft`).

    Raises UserError naming the file if it is not an image, or too large to decode.
    """
    with explained(source):
        if isinstance(source, Path) and (found := bands.find(source)) is not None:
            if (values := found.height * found.width * found.bands) > 3 * MOST_PIXELS:
                raise ValueError(
                    f"it has {values:,} values, but at most {3 * MOST_PIXELS:,} are decoded (it "
                    "may be a decompression bomb): make it smaller"
                )
            yield Encoded(source, found)
            return
        with opened(source) as file, Image.open(file, formats=FORMATS) as image:
            to = sides(size)
            extent = _draft(image, to, fit) if to and image.format == "JPEG" else None
            _check_claims(image, file)
            yield Encoded(source, image, extent)


def _draft(image: Image.Image, to: tuple[int, int], fit: Fit) -> tuple[float, float] | None:
    """Have a JPEG decoded at the least of 1/2, 1/4 and 1/8 that leaves it no smaller than it will
    be once resized. The decoder then computes no more of each block of 8 x 8 than its lowest
    frequencies. Width and height of the picture then; None where it is decoded whole.
    """
    height, width = reversed(to) if to[0] != to[1] and _is_turned(image) else to
    whole = image.size
    if fit != "stretch":
        scale = (max if fit == "crop" else min)(width / whole[0], height / whole[1])
        width, height = math.ceil(scale * whole[0]), math.ceil(scale * whole[1])
    if whole[0] < 2 * width or whole[1] < 2 * height:
        return None
    drafted = image.draft(None, (width, height))
    return None if drafted is None else drafted[1][2:]


def _is_turned(image: Image.Image) -> bool:
    """Whether it is shown with its sides exchanged, as far as its header says."""
    # The method of the base class: PNG's decodes the whole image to look for data behind it.
    return Image.Image.getexif(image).get(_ORIENTATION) in _TURNED


@contextmanager
def explained(source: Source) -> Iterator[None]:
    """Turn whatever goes wrong with an image into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # decoders raise almost anything on damaged files
        why = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            why = "it is not an image in PNG, JPEG, BMP, GIF, WebP or TIFF"
        raise UserError(
            f"image '{source}' cannot be read: {why}; repair or remove it, or skip such files "
            "with --skip-bad"
        ) from error


def opened(source: Source) -> IO[bytes]:
    """An encoded image, open. Raises ValueError for a pipe, which might never end, and for more
    than `MOST_BYTES`.
    """
    if isinstance(source, Path):
        found = source.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a file but a folder, a pipe or a device")
        size = found.st_size
    else:
        size = source.size
    if size > MOST_BYTES:
        raise ValueError(f"it holds {size:,} bytes, but at most {MOST_BYTES:,} are read")
    if not isinstance(source, Path):
        return BytesIO(source.read())
    if size > _SMALL:
        return source.open("rb")
    with open(source, "rb", buffering=0) as file:  # of a small file, most time is calls
        return BytesIO(file.read(_SMALL) or b"")


def _check_claims(image: Image.Image, file: IO[bytes]) -> None:
    """Raises ValueError for a header whose image would take far too much memory or time."""
    width, height = image.size
    if _units(image) > MOST_PIXELS:
        raise ValueError(
            f"it is {width} x {height}, but at most {MOST_PIXELS:,} pixels are decoded, two "
            "thirds of that in WebP (it may be a decompression bomb): make it smaller; a JPEG is "
            "decoded small where --size is given"
        )
    if image.info.get("progressive"):
        there = file.tell()
        file.seek(0)
        scans = file.read().count(b"\xff\xda")
        file.seek(there)
        if scans > MOST_SCANS:
            raise ValueError(f"it is a JPEG of {scans} scans, which take too long: save it again")


def _units(image: Image.Image) -> int:
    """Its pixels; in WebP, whose decoder keeps copies of the canvas, as if they were more."""
    pixels = image.width * image.height
    return pixels * 3 // 2 if image.format == "WEBP" else pixels


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GREY
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _centre(image: Image.Image, side: int) -> Image.Image:
    """The middle of the picture, at most side x side."""
    width, height = (min(side, length) for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image from the top down in pieces of about a megapixel, each with its first row.

    Work on wide numbers or several copies at once then takes little beside the image itself.
    """
    image.load()
    rows = max(1, _BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit: 65535 becomes 255. Pillow's own conversion would clip at 255."""
    flat = Image.new("L", image.size)
    for top, band in _bands(image):
        wide = np.asarray(band).astype(np.int64)
        if wide.min() < 0 or wide.max() > 0xFFFF:
            raise ValueError(f"its values run from {wide.min()} to {wide.max()}, beyond 16 bits")
        flat.paste(Image.fromarray(((wide + 128) // 257).astype(np.uint8)), (0, top))
    return flat


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        image.load()
        return image
    flat = Image.new("RGB", image.size)
    for top, band in _bands(image):
        picture = band.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        flat.paste(Image.alpha_composite(white, picture).convert("RGB"), (0, top))
    return flat


@dataclass(frozen=True)
class Files:
    """The images of one split.

    Arguments:
        paths: Where they are, files or rows of a table.
        names: The class of each, "" for one without; None without classes.
        attributes: (n, A) uint8, 1 where an attribute holds; None without attributes.
    """

    paths: tuple[Source, ...]
    names: tuple[str, ...] | None = None
    attributes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def keep(self, positions: Sequence[int]) -> Files:
        """The files at those positions, with their classes and attributes."""
        names = None if self.names is None else tuple(self.names[i] for i in positions)
        attributes = None if self.attributes is None else self.attributes[list(positions)]
        return Files(tuple(self.paths[i] for i in positions), names, attributes)

    def with_unlabelled(self, others: Files) -> Files:
        """These and others, whose classes are not known."""
        names = None if self.names is None else (*self.names, *[""] * len(others))
        return Files((*self.paths, *others.paths), names, self.attributes)

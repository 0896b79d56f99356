"""Image files to arrays: every mode that Pillow reads becomes grey or RGB.

Transparency is laid over white, dropped, or kept as a fourth channel; EXIF orientation is applied,
and an animation gives its first frame. What Pillow does not hold is read by
`zspace.data.readers.bands`. Grey of 16 bits or of floats keeps its depth where it is asked for; an
8-bit image among 16-bit ones is multiplied by 257. A crop P keeps the centre, at most P x P. After
it, images are brought to a size (Lanczos, antialiased): cropped, padded with black, or stretched.

A header is a claim, held against limits before a pixel is decoded. Decoding takes about 12 bytes
per pixel, so that an image at the limit stays below 512 MB; all threads together work on no more
than `MOST_PIXELS` at a time.

`stream` is one pass over many files: threads do the work, and results come in order. Pillow's
decoders let other threads run, so threads are enough; processes would copy the pixels.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps

from zspace.data.attributes import parse_columns
from zspace.data.readers import bands
from zspace.system.bars import bar
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

_TASK, _AHEAD = 64, 4
_WAITING = 1 << 27
"""Bytes of results that may wait for the reader, all threads together."""
_BAND = 1 << 20
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP = _SIXTEEN_BIT | {"F"}
_GREY = frozenset({"1", "L", "LA", "La"}) | _DEEP
_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

T = TypeVar("T")


class Blob(Protocol):
    """An encoded image that is not a file of its own; `str` of it is its name in messages."""

    def read(self) -> bytes:
        """The bytes of a PNG, a JPEG or another format."""

    @property
    def size(self) -> int:
        """How many bytes these are."""


Size = int | tuple[int, int] | None
Fit = Literal["crop", "pad", "stretch"]
Transparency = Literal["white", "drop", "keep"]
Source = Path | Blob


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


def look(source: Source, size: Size = None) -> Look:
    """Read the header alone. Raises UserError naming the file if it is not an image.

    size: what it will be resized to, for which a large JPEG is decoded small.
    """
    with explained(source):
        if isinstance(source, Path) and (found := bands.find(source)) is not None:
            if (values := found.height * found.width * found.bands) > 3 * MOST_PIXELS:
                raise ValueError(
                    f"it has {values:,} values, but at most {3 * MOST_PIXELS:,} are decoded (it "
                    "may be a decompression bomb): make it smaller"
                )
            grey = found.bands == 1
            return Look(found.height, found.width, grey, found.depth, found.bands)
    with _image(source, size) as image:
        width, height = image.size
        # The method of the base class: PNG's decodes the whole image to look for data behind it.
        if Image.Image.getexif(image).get(_ORIENTATION) in _TURNED:
            width, height = height, width
        depth = ({"F": "float32"} | dict.fromkeys(_SIXTEEN_BIT, "uint16")).get(image.mode, "uint8")
        clear = depth == "uint8" and image.has_transparency_data
        return Look(height, width, _is_grey(image), depth, clear=clear)


def decode(
    source: Source,
    channels: int,
    size: Size = None,
    crop: int | None = None,
    depth: str = "uint8",
    fit: Fit = "crop",
    transparency: Transparency = "white",
) -> np.ndarray:
    """The image (channels, H, W), uint8, or float32 with the values of a greater depth.

    Arguments:
        source: A file, or an encoded image in a table.
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

    Raises UserError naming the file if it is damaged, not an image, or too large to decode.
    """
    to = sides(size)
    with explained(source):
        if isinstance(source, Path) and (found := bands.find(source)) is not None:
            with _budget.taken(min(MOST_PIXELS, found.height * found.width * found.bands)):
                return _banded(bands.read(source), channels, to, fit, depth)
    with _image(source, size) as image, _budget.taken(_units(image)):
        if depth != "uint8" and image.mode in _DEEP:
            return _deep(image, channels, to, crop, fit)
        if image.mode in _SIXTEEN_BIT:
            flat = _eight_bit(image)
        elif channels == 4 or (transparency == "drop" and image.mode != "F"):
            image.load()
            flat = image
        else:
            flat = _over_white(image)
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        flat = flat if turn is None else flat.transpose(turn)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
        if mode is None:
            raise ValueError(f"it has no {channels} bands, as others have")
        flat = flat if flat.mode == mode else flat.convert(mode)
        if crop is not None:
            flat = _centre(flat, crop)
        array = np.array(_fitted(flat, to, fit))
    # Copied into this order: numpy would otherwise stack images to a batch with channels last.
    image_ = array[None] if channels == 1 else np.ascontiguousarray(np.moveaxis(array, 2, 0))
    return image_ if depth == "uint8" else image_.astype(np.float32) * 257


def sides(size: Size) -> tuple[int, int] | None:
    """A size as (height, width).

    >>> sides(8), sides((4, 8)), sides(None)
    ((8, 8), (4, 8), None)
    """
    return (size, size) if isinstance(size, int) else size


def _fitted(image: Image.Image, to: tuple[int, int] | None, fit: Fit) -> Image.Image:
    """The image at a size (height, width), with Lanczos."""
    if to is None or image.size == to[::-1]:
        return image
    if fit == "stretch":
        return image.resize(to[::-1], Image.Resampling.LANCZOS)
    way = ImageOps.pad if fit == "pad" else ImageOps.fit
    return way(image, to[::-1], Image.Resampling.LANCZOS)


def _deep(
    image: Image.Image, channels: int, to: tuple[int, int] | None, crop: int | None, fit: Fit
) -> np.ndarray:
    """Grey values deeper than a byte, float32 (channels, H, W)."""
    image.load()
    array = np.asarray(image).astype(np.float32)
    low, high = array.min(), array.max()
    if image.mode in _SIXTEEN_BIT and (low < 0 or high > 0xFFFF):
        raise ValueError(f"its values run from {low:g} to {high:g}, beyond 16 bits")
    flat = Image.fromarray(array)
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    flat = flat if turn is None else flat.transpose(turn)
    flat = flat if crop is None else _centre(flat, crop)
    found = _deep_fitted(flat, to, fit)
    return np.broadcast_to(found, (channels, *found.shape))


def _deep_fitted(image: Image.Image, to: tuple[int, int] | None, fit: Fit) -> np.ndarray:
    """Values (H, W) at a size."""
    fitted = _fitted(image, to, fit)
    array = np.asarray(fitted)
    if fitted is image:
        return array
    # What is sharpened beyond the image's own values would count as values of its own.
    low, high = image.getextrema()
    return array.clip(min(low, 0) if fit == "pad" else low, high)


def _banded(
    array: np.ndarray, channels: int, to: tuple[int, int] | None, fit: Fit, depth: str
) -> np.ndarray:
    """Bands (C, H, W) at a size."""
    if len(array) == 4 and channels == 3:
        top = np.float32(65535 if array.dtype == np.uint16 else 255)
        alpha = array[3] / top
        array = array[:3] * alpha + top * (1 - alpha)
    if len(array) == 1:
        array = np.broadcast_to(array, (channels, *array.shape[1:]))
    if len(array) != channels:
        raise ValueError(f"it has {len(array)} bands instead of {channels}")
    whole = [_deep_fitted(Image.fromarray(band.astype(np.float32)), to, fit) for band in array]
    found = np.stack(whole)
    return found.round().astype(np.uint8) if depth == "uint8" else found


@contextmanager
def _image(source: Source, size: Size = None) -> Iterator[Image.Image]:
    """The image, its header read and checked; whatever goes wrong within becomes a UserError."""
    with (
        explained(source),
        opened(source) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        to = sides(size)
        if to is not None and image.format == "JPEG" and _units(image) > MOST_PIXELS:
            image.draft(None, (2 * max(to), 2 * max(to)))  # decoded at a half, a quarter, ...
        _check_claims(image, file)
        yield image


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
    return source.open("rb") if isinstance(source, Path) else BytesIO(source.read())


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
class ReadOptions:
    """How images are to be read.

    Arguments:
        size: (height, width) that they are brought to, or the side of a square; None: as they are.
        channels: 1 or 3; None: grey if all images are grey, else RGB.
        skip_bad: Leave out unreadable files instead of stopping at the first.
        memory: Bytes that the images may take in memory; more stay on disk.
        quiet: Show no progress bars.
        crop: Side of the centre that is kept before resizing; None: all.
        values: The range of raw values that becomes [0, 1]; see `zspace.data.kinds.image`.
        leave_out: Names or patterns of arrays, folders and files that are not read.
        labels: What holds the labels, where names do not say it.
        whole: Whether they are new data for a finished run: one set of any size.
        fit: How they are brought to the size; see `decode`.
        transparency: What becomes of it; "keep": a fourth channel.
        columns: Kinds that are set, of columns of tables and of labels: "age=number,y=category".
        missing: Of tables and of labels, further values that mean missing.
        group: Of tables, a column whose groups are not torn apart by the splits.
        class_level: Which level of folders are the classes.
        split_by: Of tables, a column in whose order rows go to train, validation and test.
        weight: What holds the weights of samples, an array or a column.
        attributes: Those of the finished run that new data are for, which labels are read as.
    """

    size: Size = None
    channels: int | None = None
    skip_bad: bool = False
    memory: float = 4e9
    quiet: bool = False
    crop: int | None = None
    values: tuple[Any, ...] = ()
    leave_out: tuple[str, ...] = ()
    labels: str = ""
    whole: bool = False
    fit: Fit = "crop"
    transparency: Transparency = "white"
    columns: str = ""
    missing: tuple[str, ...] = ()
    group: str = ""
    class_level: int = 1
    split_by: str = ""
    weight: str = ""
    attributes: tuple[str, ...] = ()

    @property
    def of_labels(self) -> dict[str, Any]:
        """How labels are read, as `zspace.data.labels.read_labels` takes it."""
        kinds = parse_columns(self.columns)
        return {"kinds": kinds, "missing": self.missing, "known": self.attributes}


def each(
    what: str, sources: Sequence[Source], work: Callable[[int, Source], T], options: ReadOptions
) -> tuple[list[int], list[T], list[str]]:
    """``work`` of each file: positions of the good ones, their results, and errors of the bad.

    Raises UserError at the first bad file unless they are skipped.
    """
    found = list(enumerate(stream(what, sources, work, options)))
    good = [(i, result) for i, result in found if not isinstance(result, UserError)]
    bad = [str(result) for _, result in found if isinstance(result, UserError)]
    return [i for i, _ in good], [result for _, result in good], bad


def stream(
    what: str,
    sources: Sequence[Source],
    work: Callable[[int, Source], T],
    options: ReadOptions,
    nbytes: int = 0,
) -> Iterator[T | UserError]:
    """The results of a pass over files as they come, in order; an error where a file is skipped.

    Only a few tasks are worked on ahead of the reader, so that memory stays bounded.

    Arguments:
        what: Title of the progress bar.
        sources: The files.
        work: From position and file to a result; runs in threads.
        options: Whether bad files are skipped, and whether there is a progress bar.
        nbytes: What one result takes; of large ones, fewer wait for the reader.

    Raises UserError at the first bad file unless they are skipped.
    """

    def every(task: range) -> list[T | UserError]:
        found: list[T | UserError] = []
        for i in task:
            try:
                found.append(work(i, sources[i]))
            except UserError as error:
                if not options.skip_bad:
                    raise
                found.append(error)
        return found

    most = _WAITING // max(1, nbytes)
    step = min(_TASK, max(1, most // 8))
    tasks = [range(len(sources))[at : at + step] for at in range(0, len(sources), step)]
    threads = max(1, min(8, os.cpu_count() or 1, len(tasks)))
    ahead = min(_AHEAD * threads, most // step)
    waiting: deque[Future[list[T | UserError]]] = deque()
    with (
        strict(),
        bar(what, len(sources), options.quiet) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            for at in range(len(tasks) + ahead):
                if at < len(tasks):
                    waiting.append(pool.submit(every, tasks[at]))
                if at >= ahead:
                    results = waiting.popleft().result()
                    advance(len(results))
                    yield from results
        finally:  # after an error, or where the reader has had enough
            pool.shutdown(cancel_futures=True)


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

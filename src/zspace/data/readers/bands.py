"""Images that Pillow does not hold: TIFF of many bands or of deep colour, PNG of 16-bit colour.

They are read with tifffile and imagecodecs, which the extra ``images`` installs. Without it, a
TIFF of that sort is refused, and a PNG of 16 bits in colour is read with 8 bits.

    find    what the header says, where it is such an image
    read    its values (bands, H, W), as they are
"""

from __future__ import annotations

import struct
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zspace.system.errors import UserError

TIFF = frozenset({".tif", ".tiff"})
MOST_BANDS = 1024
_DEPTHS = {"uint8": "uint8", "uint16": "uint16", "float32": "float32", "float64": "float32"}


class Bands(NamedTuple):
    """What a header says: height and width, number of bands, type of the values."""

    height: int
    width: int
    bands: int
    dtype: str

    @property
    def depth(self) -> str:
        """uint8, uint16 or float32."""
        return _DEPTHS[self.dtype]


def find(path: Path) -> Bands | None:
    """The image, if Pillow would not hold it as it is. Raises ValueError for what is damaged."""
    suffix = path.suffix.lower()
    if suffix == ".png" and find_spec("imagecodecs"):
        with path.open("rb") as file:
            head = file.read(26)
        if len(head) == 26 and head[:8] == b"\x89PNG\r\n\x1a\n":
            width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
            if bits == 16 and colour in (2, 6):
                return Bands(height, width, 3 if colour == 2 else 4, "uint16")
    return _tiff(path)[0] if suffix in TIFF else None


def _tiff(path: Path) -> tuple[Bands | None, bool]:
    """What a TIFF's header says where Pillow does not hold it, and whether bands come first."""
    from PIL import Image

    try:
        with Image.open(path, formats=("TIFF",)) as image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            bits, count = tags.get(258, (1,)), tags.get(277, 1)
        if count == 1 or (count <= 4 and max(bits) == 8):
            return None, False
    except Exception:  # Pillow knows no such mode, or the file is damaged: tifffile says which
        pass
    if not find_spec("tifffile"):
        raise UserError(
            f"image '{path}' has several bands or deep colour: install what reads it with pip "
            'install "zspace[images]"'
        )
    with import_module("tifffile").TiffFile(path) as tiff:
        page = tiff.pages[0]
        shape, axes, dtype = tuple(page.shape), str(page.axes), str(page.dtype)
    if dtype not in _DEPTHS:
        raise ValueError(f"its values are {dtype}: save uint8, uint16 or float32")
    if axes not in ("YX", "YXS", "SYX", "CYX") or max(shape) < 1:
        raise ValueError(f"its axes are {axes} of {shape}: save bands, height and width")
    first = axes in ("SYX", "CYX")
    bands, height, width = shape if first else (*shape[2:], 1)[:1] + shape[:2]
    if bands > MOST_BANDS:
        raise ValueError(f"it has {bands:,} bands, but at most {MOST_BANDS:,} are read")
    return Bands(height, width, bands, dtype), first


def read(path: Path) -> np.ndarray:
    """The values (bands, H, W) of an image that `find` found."""
    if path.suffix.lower() == ".png":
        array = import_module("imagecodecs").png_decode(path.read_bytes())
        return np.moveaxis(array, -1, 0)
    about, first = _tiff(path)
    assert about is not None
    array = import_module("tifffile").imread(path, key=0)
    array = array if first or array.ndim == 2 else np.moveaxis(array, -1, 0)
    return array.reshape(about.bands, about.height, about.width)

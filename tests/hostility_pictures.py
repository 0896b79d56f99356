"""Pictures, folders of them and other things in the file system that no honest program makes.

`PICTURES` are like `hostility.DATA`.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from hostility import MB, Table, X, entry, put, zeros

PICTURES: Table = {}
hostile = partial(entry, PICTURES)


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    content = io.BytesIO()
    (image or Image.fromarray(X[0])).save(content, form, **options)
    return content.getvalue()


def png(width: int, height: int, pixels: bytes = b"", wrong: int = 0) -> bytes:
    """A grey PNG with this header, whatever its pixels are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        sum_ = zlib.crc32(name + content) ^ wrong
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b""))  # fmt: skip


def scans() -> bytes:
    """A progressive JPEG whose last scan is there a thousand times."""
    content = saved("JPEG", progressive=True)
    at = content.rindex(b"\xff\xda")
    return content[:at] + content[at:-2] * 1000 + content[-2:]


def tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (279, 4, 1, width * height % 2**32),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(100)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n%%EndComments\n(x) print\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="5" height="4"/>'
BIG_GIF = saved("GIF")[:6] + struct.pack("<HH", 65535, 65535) + saved("GIF")[10:]
BIG_BMP = saved("BMP")[:22] + b"\0\0\0\x80" + saved("BMP")[26:]
FORMS = {
    "PNG of 10^10 pixels": ("png", png(100_000, 100_000), "decompression bomb"),
    "PNG bomb": ("png", png(9000, 5000, bytes(9001 * 5000)), "at most 40,000,000 pixels"),
    "PNG of 2^31 pixels": ("png", png(2**31 - 1, 1), "decompression bomb"),
    "PNG wrong checksum": ("png", png(5, 4, bytes(24), wrong=1), "cannot be read"),
    "PNG cut": ("png", saved("PNG")[:-30], "cannot be read"),
    "PNG without pixels": ("png", png(5, 4), "cannot be read"),
    "PNG 0 x 0": ("png", png(0, 0), "cannot be read"),
    "empty": ("png", b"", "not an image in PNG"),
    "SVG": ("png", SVG, "not an image in PNG"),
    "PostScript": ("png", EPS, "not an image in PNG"),
    "PPM": ("png", saved("PPM"), "not an image in PNG"),
    "text": ("jpg", b"hello", "not an image in PNG"),
    "JPEG cut": ("jpg", saved("JPEG")[:300], "cannot be read"),
    "JPEG of 1,000 scans": ("jpg", scans(), "JPEG of 1[0-9]{3} scans"),
    "GIF of 65535 x 65535": ("gif", BIG_GIF, "decompression bomb"),
    "GIF cut": ("gif", saved("GIF")[:-12], "cannot be read"),
    "TIFF of 10^10 pixels": ("tif", tiff(100_000, 100_000), "decompression bomb"),
    "TIFF cut": ("tif", saved("TIFF")[:60], "cannot be read"),
    "TIFF of floats": ("tif", saved("TIFF", Image.new("F", (5, 4))), "one depth"),
    "TIFF beyond 16 bits": ("tif", saved("TIFF", Image.new("I", (5, 4), 70_000)), "beyond 16"),
    "BMP of 2^31 rows": ("bmp", BIG_BMP, "cannot be read"),
    "WebP cut": ("webp", saved("WEBP")[:-9], "cannot be read"),
}  # fmt: skip


def pictures(folder: Path, names: str = "{:02}.png") -> Path:
    """A folder of ten good images."""
    for i in range(10):
        path = folder / names.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved("PNG"))
    return folder


for name, (end, content, message) in FORMS.items():

    def _make(folder: Path, end: str = end, content: bytes = content) -> Path:
        put(pictures(folder) / f"bad.{end}", content)
        return folder

    hostile(f"image {name}", message)(_make)


@hostile("image of 5 GB", "it holds 5,368,709,120 bytes")
def _(folder):
    os.truncate(put(pictures(folder) / "bad.png", saved("PNG")), 5 << 30)
    return folder


@hostile("image of another size", "give --size")
def _(folder):
    put(pictures(folder) / "bad.png", saved("PNG", Image.fromarray(X[0, 1:])))
    return folder


@hostile("link to the folder above", "a link to a folder that holds it")
def _(folder):
    (pictures(folder, "a/{:02}.png") / "loop").symlink_to("..")
    return folder


@hostile("class of two lines", "cannot be shown")
def _(folder):
    return pictures(folder, "a\nb/{:02}.png")


# ---- names and kinds of file


@hostile("pipe", "not a file but a pipe or a device")
def _(folder):
    os.mkfifo(folder / "a.npy")
    return folder / "a.npy"


@hostile("device", "not a file but a pipe or a device")
def _(folder):
    (folder / "a.npz").symlink_to("/dev/zero")
    return folder / "a.npz"


@hostile("folder called .npy", "holds no images")
def _(folder):
    (folder / "a.npy").mkdir()
    return folder / "a.npy"


@hostile("link to itself", "no such file|cannot be read")
def _(folder):
    (folder / "a.npy").symlink_to("a.npy")
    return folder / "a.npy"


@hostile("archive bomb", "unpacks to more than 268,435,456 bytes")
def _(folder):
    put(folder / "cifar-10-binary.tar.gz", zeros(b"", 260 * MB))
    return "cifar10", {"data_dir": folder}


hostile("no name", "no such file or data set")(lambda folder: "")
hostile("name with a zero", "no such file")(lambda folder: "a\0b")
hostile("name of 5,000 letters", "cannot be read|no such file")(lambda folder: "x" * 5000)
hostile("user that is unknown", "no such file")(lambda folder: "~nobody-of-that-name/x")
hostile("side of 10^9", "1 to 4,096")(lambda folder: (pictures(folder), {"size": 10**9}))

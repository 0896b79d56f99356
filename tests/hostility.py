"""Files that no honest program writes, by name: each function makes one in a folder.

`DATA` are read by `zspace.data.load`. A maker gives what to load, or that with options of `load`.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.sets import mnist

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (20, 4, 5), dtype=np.uint8)
Y = np.arange(20) % 4
MB = 1 << 20

Made = Path | str | tuple[Path, dict[str, Any]]
Make = Callable[[Path], Made]
Table = dict[str, tuple[Make, str]]


def entry(table: Table, name: str, message: str) -> Callable[[Make], Make]:
    """Puts a maker into a table, with what the user is to be told."""

    def add(make: Make) -> Make:
        assert name not in table
        table[name] = make, message
        return make

    return add


DATA: Table = {}
hostile = partial(entry, DATA)


def zeros(header: bytes, n: int) -> bytes:
    """A gzip file of a header and n zeros."""
    whole, rest = divmod(n, MB)
    return gzip.compress(header + bytes(rest)) + gzip.compress(bytes(MB)) * whole


# ---- IDX


def ubyte(*sizes: int, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes)


def quartet(folder: Path, **changed: bytes) -> Path:
    """The four files of a set; x and y are those to train on."""
    good = {"x": ubyte(*X.shape) + X.tobytes(), "y": ubyte(20) + Y.astype(np.uint8).tobytes()}
    for name, key in zip(mnist.NAMES, ("x", "y", "x", "y"), strict=True):
        part = changed.get(key, good[key]) if "train" in name else good[key]
        (folder / name).write_bytes(part)
    return folder


IDX = {
    "2^31 images": ("x", ubyte(2**31, 4, 5) + X.tobytes(), "over the memory budget"),
    "2^96 bytes": ("x", ubyte(2**32 - 1, 2**32 - 1, 2**32 - 1), "claims|memory budget"),
    "2^31 labels": ("y", ubyte(2**31), "2147483648 labels"),
    "cut header": ("x", ubyte(20, 4, 5)[:9], "ends within its header"),
    "empty": ("x", b"", "starts with nothing"),
    "floats": ("x", ubyte(20, 4, 5, kind=13) + X.tobytes(), "not an IDX file of unsigned bytes"),
    "gzip cut": ("x", gzip.compress(ubyte(20, 4, 5) + X.tobytes())[:-20], "cannot be read as IDX"),
    "gzip bomb": ("x", zeros(ubyte(20, 4, 5), 64 * MB), "claims 400 bytes.*holds more"),
    "no images": ("x", ubyte(0, 4, 5), "0 images|has .* samples"),
    "no width": ("x", ubyte(20, 4, 0), "no pixels|differ in shape"),
    "labels short": ("y", ubyte(19) + bytes(19), "20 images but .* 19 labels"),
}
for name, (key, content, message) in IDX.items():
    hostile(f"IDX {name}", message)(
        lambda folder, key=key, content=content: quartet(folder, **{key: content})
    )


@hostile("IDX gzip liar", "claims 140,000,000 bytes")
def _(folder):
    n = 7_000_000
    return quartet(folder, x=zeros(ubyte(n, 4, 5), 20 * n - 1), y=zeros(ubyte(n), n))


@hostile("IDX over the memory", "over the memory budget")
def _(folder):
    return quartet(folder, x=zeros(ubyte(20, 1 << 20, 1), 20 * MB)), {"memory": 1e6}


# ---- arrays


def packed(array: Any) -> bytes:
    """An .npy; objects are pickled, since that is what an attacker would do."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def headed(text: str, version: int = 1, length: int | None = None) -> bytes:
    """The start of an .npy with this header, and what it claims of its own length."""
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes((version, 0)) + size + text.encode()


def claimed(shape: Any, descr: Any = "|u1") -> bytes:
    return headed(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}\n")


class Trap:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('unpickled')",)


TRAP = np.array([Trap()] * 20, dtype=object)
PAIR = np.zeros((20, 4, 5), [("a", "u1"), ("b", "f4")])
NPY = {
    "objects": (packed(TRAP), "Python objects"),
    "structured": (packed(PAIR), "is of type"),
    "10^12 images": (claimed((10**12, 28, 28)) + bytes(999), "its header claims uint8"),
    "2^64 images": (claimed((2**64, 1, 1)), "its header claims uint8|cannot be read"),
    "negative shape": (claimed((-20, -4, 5)) + bytes(400), "its header claims uint8"),
    "expression": (headed("__import__('os').abort()\n"), "cannot be read"),
    "deep header": (headed("(" * 5000 + "\n"), "cannot be read"),
    "long header": (headed(" " * 60_000), "its header claims"),
    "version 9": (headed("{}", version=9), "does not start as"),
    "no dictionary": (headed("[]\n"), "cannot be read"),
    "strange type": (claimed((20, 4, 5), "|V999999999") + bytes(400), "its header claims"),
    "void of nothing": (claimed((10**15, 4, 5), "|V0"), "is of type|cannot be read"),
    "text": (packed(np.full((20, 4, 5), "a")), "is of type"),
    "complex": (packed(X.astype(np.complex128)), "is of type complex128"),
    "dates": (packed(X.astype("M8[s]")), "is of type"),
    "int64": (packed(X.astype(np.int64) - 1), "integers must lie in 0..255"),
    "2^63": (packed(X.astype(np.uint64) + 2**63), "integers must lie in 0..255"),
    "only 0 and 1": (packed((X > 9).astype(np.uint8)), "only 0 and 1"),
    "NaN": (packed(np.where(X > 250, np.nan, X / 255)), "NaN or infinite"),
    "infinite": (packed(np.where(X > 250, -np.inf, X / 255)), "NaN or infinite"),
    "floats to 255": (packed(X.astype(">f8")), "--values 0 255"),
    "no axes": (packed(np.uint8(3)), r"shape \(\)"),
    "one axis": (packed(X[0, 0]), "give images .N, H, W."),
    "five axes": (packed(X[None, :, None]), "give images .N, H, W."),
    "empty": (packed(X[:, :0]), "empty"),
    "a volume": (packed(np.zeros((20, 9, 9, 9))), "does not say which axis"),
    "nine images": (packed(X[:9]), "at least 10"),
    "cut": (packed(X)[:-1], "527 bytes are there"),
    "too long": (packed(X) + b"0", "529 bytes are there"),
    "nothing": (b"", "does not start as"),
}


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(folder: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return folder / "a.npz"


for name, (content, message) in NPY.items():
    hostile(f"npy {name}", message)(lambda folder, content=content: put(folder / "a.npy", content))
    hostile(f"npz {name}", message)(
        lambda folder, content=content: zipped(folder, x=content, y=packed(Y))
    )

LABELS = {
    "infinite": (np.where(Y > 0, np.inf, 0.5), "infinite"),
    "all different": (np.arange(20), "20 different labels for 20 samples"),
    "time": (np.full(20, "NaT", "m8[s]"), "is of type timedelta64"),
    "control characters": (np.full(20, "cat\x1b[2J"), "cannot be shown"),
    "objects": (TRAP, "Python objects"),
    "19": (Y[:19], "there are 20 samples"),
    "none": (np.int64(0), "there are 20 samples"),
}
for name, (y, message) in LABELS.items():
    hostile(f"labels {name}", message)(
        lambda folder, y=y: zipped(folder, x=packed(X), y=packed(y))
    )


@hostile("npy of 5 GB of header", "its header claims 4,294,967,307 bytes")
def _(folder):
    path = put(folder / "a.npy", headed("", version=2, length=2**32 - 1))
    os.truncate(path, 5 << 30)  # sparse: it takes no room
    return path


@hostile("npz bomb of header", "its header claims 4,294,967,307 bytes")
def _(folder):
    return zipped(folder, x=headed("", version=2, length=2**32 - 1) + bytes(64 * MB))


@hostile("npz bomb", "over the memory budget")
def _(folder):
    return zipped(folder, x=claimed((64, MB, 1)) + bytes(64 * MB)), {"memory": 1e7}


@hostile("npz bomb of floats", "holds values from 2 to 2")
def _(folder):
    content = claimed((32, MB, 1), "<f4") + b"\0\0\0\x40" * (32 * MB)
    return zipped(folder, x=content)


@hostile("npz that hides its size", "cannot be read")
def _(folder):
    path = zipped(folder, x=claimed((64, MB, 1)) + bytes(64 * MB))
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02") + 24  # the size in the list of members
    return put(path, content[:at] + struct.pack("<I", 1000) + content[at + 4 :])


def rewritten(folder: Path, offset: int, value: bytes) -> Path:
    """An .npz with some bytes of its only member's two headers replaced."""
    path = zipped(folder, x=packed(X))
    content = bytearray(path.read_bytes())
    for start in (
        content.index(b"PK\x03\x04") + offset,
        content.index(b"PK\x01\x02") + offset + 2,
    ):
        content[start : start + len(value)] = value
    return put(path, bytes(content))


hostile("npz encrypted", "encrypted")(lambda folder: rewritten(folder, 6, b"\1\0"))
hostile("npz LZMA", "packed in an unusual way")(lambda folder: rewritten(folder, 8, b"\x0e\0"))
hostile("npz of text", "does not start")(lambda folder: zipped(folder, x=b"hello" * 9))
hostile("npz without arrays", "holds no array")(lambda folder: zipped(folder))
hostile("npz archive cut", "cannot be read")(
    lambda folder: put(folder / "a.npz", zipped(folder, x=packed(X)).read_bytes()[:-30])
)
hostile("npz gzip", "cannot be read")(
    lambda folder: put(folder / "a.npz", gzip.compress(packed(X)))
)
hostile("npz of 2,000 arrays", "it holds 2,000 arrays")(
    lambda folder: zipped(folder, **{f"x{i}": b"" for i in range(2000)})
)
hostile("npz other names", "name the images x")(
    lambda folder: zipped(folder, a=packed(X), **{"b\n": packed(Y)})
)
hostile("npz half labelled", "labels for one split only")(
    lambda folder: zipped(folder, x=packed(X), y=packed(Y), x_test=packed(X))
)
hostile("npz unequal splits", "differ in shape")(
    lambda folder: zipped(folder, x=packed(X), x_test=packed(X[:, 1:]))
)


@hostile("npz wrong checksum", "Bad CRC-32")
def _(folder):
    np.savez(folder / "a.npz", x=X, allow_pickle=False)
    content = bytearray((folder / "a.npz").read_bytes())
    content[content.index(X.tobytes()) + 7] ^= 1
    return put(folder / "a.npz", bytes(content))


@hostile("npz twice x", "two arrays of one name")
def _(folder):
    with warnings.catch_warnings(), zipfile.ZipFile(folder / "a.npz", "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("x.npy", packed(X))
    return folder / "a.npz"

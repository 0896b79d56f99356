"""What comes in over the network, read with suspicion: codes, labels, indices, paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_CODES = 1024
MOST_IMAGES = 256
MOST_STEPS = 60
LARGEST = 1e3
LABELS = ("none", "all")


class Refused(Exception):
    """A request that is not answered: an HTTP status and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def codes(body: bytes, dims: int) -> np.ndarray:
    """The float32 codes (n, dims) that a body holds, 1 <= n <= 1024. Raises Refused."""
    if not body or len(body) % (4 * dims):
        raise Refused(
            400, f"the body has {len(body)} bytes: send float32 codes (n, {dims}), {4 * dims} each"
        )
    z = np.frombuffer(body, "<f4").reshape(-1, dims)
    if len(z) > MOST_CODES:
        raise Refused(413, f"{len(z)} codes were sent: send at most {MOST_CODES}")
    return _sane(z)


def _sane(z: np.ndarray) -> np.ndarray:
    if not np.isfinite(z).all() or np.abs(z).max(initial=0) > LARGEST:
        raise Refused(400, f"a code holds NaN or a value beyond {LARGEST:g}: send finite codes")
    return z.astype(np.float32)


def indices(text: str, n: int) -> np.ndarray:
    """Positions like '3,17' among n images, at most 256. Raises Refused."""
    parts = text.split(",")
    if len(parts) > MOST_IMAGES:
        raise Refused(413, f"{len(parts)} images were asked for: ask for at most {MOST_IMAGES}")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise Refused(400, "i is no list of positions: use i=3,17")
    found = np.array(parts, dtype=np.int64)
    if found.max() >= n:
        raise Refused(400, f"position {found.max()} is out of range: there are {n} images")
    return found


def label(text: str, conditions: int) -> str | int:
    """'none', 'all' or the number of a condition. Raises Refused where the model has no such.

    conditions: how many the model knows; 0 for an unconditional one, which takes 'none' only.
    """
    if text in LABELS:
        wanted: str | int = text
    elif text.isascii() and text.isdigit() and len(text) < 6 and int(text) < conditions:
        wanted = int(text)
    else:
        known = f"a number below {conditions}, or all" if conditions else "none"
        raise Refused(400, f"label {text[:20]!r} is unknown to this model: use {known}")
    if wanted == "all" and not conditions:
        raise Refused(400, "this model is not conditional, it has no labels: use label=none")
    if wanted == "none" and conditions:
        raise Refused(400, f"this model is conditional: give label=0 to {conditions - 1}")
    return wanted


@dataclass(frozen=True)
class Path:
    """A way from one code (dims,) to another in `steps` pictures."""

    start: np.ndarray
    end: np.ndarray
    steps: int
    spherical: bool
    label: str | int


def path(body: bytes, dims: int, conditions: int) -> Path:
    """The path that a JSON body describes. Raises Refused."""
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON: send from, to, steps, path and label") from None
    if not isinstance(wanted, Mapping):
        raise Refused(400, "the body is no JSON object: send from, to, steps, path and label")
    steps, way, told = wanted.get("steps"), wanted.get("path"), wanted.get("label")
    if type(steps) is not int or not 2 <= steps <= MOST_STEPS:
        raise Refused(400, f"steps is no whole number from 2 to {MOST_STEPS}")
    if way not in ("straight", "spherical"):
        raise Refused(400, "path is neither straight nor spherical")
    if told is not None and type(told) is not int:
        raise Refused(400, "label is neither a number nor null")
    one = label("none" if told is None else str(told), conditions)
    start, end = (_code(wanted.get(name), name, dims) for name in ("from", "to"))
    return Path(start, end, steps, way == "spherical", one)


def _code(values: Any, name: str, dims: int) -> np.ndarray:
    numbers = isinstance(values, list) and len(values) == dims
    if not numbers or not all(type(v) in (int, float) for v in values):
        raise Refused(400, f"{name} is no list of {dims} numbers")
    try:
        return _sane(np.array(values, dtype=np.float64))
    except OverflowError:
        raise Refused(400, f"{name} holds a value beyond {LARGEST:g}: send finite codes") from None


def picture(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 picture (H, W, C) that a body holds, for a model of shape (C, H, W)."""
    channels, height, width = shape
    wanted = channels * height * width
    if len(body) != wanted:
        raise Refused(
            400, f"the body has {len(body)} bytes: send a picture of {height}×{width}×{channels}"
        )
    return np.frombuffer(body, np.uint8).reshape(height, width, channels)

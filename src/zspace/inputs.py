"""What the user hands to a model: images and labels as tensors, or a sentence on what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from zspace.errors import UserError

Array = TypeVar("Array", np.ndarray, Tensor)
Label = int | str | Sequence[int] | Sequence[str] | np.ndarray | Tensor


def class_numbers(label: Label, classes: tuple[str, ...]) -> Tensor:
    """Labels, numbers or names, as an int64 vector. Raises UserError for one that is neither."""
    values = np.asarray(label.cpu() if isinstance(label, Tensor) else label).reshape(-1)
    known = f"this model knows 0 to {len(classes) - 1} ({', '.join(classes)})"
    if values.dtype.kind == "U":
        for name in values:
            if name not in classes:
                raise UserError(f"label '{name}' is unknown: {known}")
        return torch.tensor([classes.index(name) for name in values])
    if values.dtype.kind not in "iuf" or (values != np.floor(values)).any() or not len(values):
        raise UserError(f"label {label!r:.60} is no label: {known}")
    for value in values:
        if not 0 <= value < len(classes):
            raise UserError(f"label {int(value)} is out of range: {known}")
    return torch.from_numpy(values.astype(np.int64))


def as_tensor(x: Any, what: str) -> Tensor:
    """Numbers as a tensor of their own. Raises UserError for anything that is not an array."""
    if isinstance(x, Tensor):
        return x.detach()
    try:
        array = np.array(x)  # a copy: torch dislikes read-only, reversed and foreign-endian ones
    except ValueError:
        raise UserError(f"{what} are rows of unequal length: give an array of numbers") from None
    if array.dtype.kind not in "iufb":
        raise UserError(
            f"{what} are {type(x).__name__} of {array.dtype}: give an array of numbers"
        )
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def as_images(x: Any, shape: tuple[int, ...]) -> Tensor:
    """Images as floats (N, *shape). Raises UserError for a wrong shape, type or range."""
    images = as_tensor(x, "images")
    if shape[0] == 1 and tuple(images.shape[-2:]) == shape[1:] and images.dim() in (2, 3):
        images = images.reshape(-1, *shape)
    if tuple(images.shape) == shape:
        images = images[None]
    if tuple(images.shape[1:]) != shape or len(images) == 0:
        raise UserError(
            f"images have shape {tuple(images.shape)}, but this model reads "
            f"({', '.join(['N', *map(str, shape)])})"
        )
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise UserError(f"images are {images.dtype}: give uint8 in 0..255 or floats in [0, 1]")
    if not images.isfinite().all():
        raise UserError("images hold NaN or infinite values: give floats in [0, 1]")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"image values lie in [{low:.4g}, {high:.4g}], not in [0, 1]: divide by 255?"
        )
    return images.float()


def by(shape: tuple[int, ...]) -> str:
    """A shape as people write it, 1×28×28."""
    return "×".join(map(str, shape))

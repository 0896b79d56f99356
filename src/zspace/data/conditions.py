"""What a conditional model is told of each sample: a label, or which attributes hold.

Labels become one-hot columns c (B, classes); attributes, of which several may hold at once, are
columns c (B, A) of 0 and 1 as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace.data.spec import Spec
from zspace.system.errors import UserError, unknown


def columns(conditions: Tensor, context: int) -> Tensor:
    """Labels (B,) or attributes (B, context) as the model's c (B, context), float32."""
    if conditions.dim() == 2:
        return conditions.to(torch.float32)
    return torch.eye(context, device=conditions.device)[conditions]


def turns(spec: Spec, n: int) -> np.ndarray:
    """Conditions for n images where nobody asked for any: the classes take turns.

    Labels (n,); with attributes (n, A), where one attribute alone holds of each image.
    """
    turn = np.arange(n) % spec.context
    return np.eye(spec.context, dtype=np.float32)[turn] if spec.attributes else turn


def attribute_columns(wanted: Any, names: tuple[str, ...]) -> Tensor:
    """Attributes (1 or n, A) of 0 and 1, float32.

    wanted: names of those that hold, as 'Smiling,Male' or a list; or an array (A,) or (n, A) of 0
    and 1. Raises UserError for anything else.
    """
    if isinstance(wanted, Tensor):
        wanted = wanted.cpu().numpy()
    if isinstance(wanted, str):
        wanted = [name.strip() for name in wanted.split(",") if name.strip()]
    values = np.asarray(wanted)
    if values.dtype.kind == "U" or values.size == 0:
        return _named([str(name) for name in values.reshape(-1)], names)
    shaped = values.ndim in (1, 2) and values.shape[-1] == len(names)
    if not shaped or values.dtype.kind not in "iufb" or not np.isin(values, (0, 1)).all():
        raise UserError(
            f"attributes {wanted!r:.60} cannot be read: give their names, "
            f"'{','.join(names[:2])}' say, or 0 and 1 for each of the {len(names)}"
        )
    return torch.from_numpy(values.reshape(-1, len(names)).astype(np.float32))


def _named(wanted: list[str], names: tuple[str, ...]) -> Tensor:
    """The row (1, A) in which those names hold."""
    for name in wanted:
        if name not in names:
            raise unknown("attribute", name, names)
    return torch.tensor([[float(name in wanted) for name in names]])


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

"""What a training costs, says and needs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import zspace
from zspace.analysis import Scorer, likelihood_bounds

SHORT: dict[str, Any] = {"latent": 2, "hidden": (16,), "epochs": 1, "precision": "fp32"}


class Wide(TorchDispatchMode):
    """Counts the operations that make a tensor in float64."""

    count = 0

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = op(*args, **(kwargs or {}))
        leaves = tree_leaves(made)
        self.count += any(isinstance(t, Tensor) and t.dtype == torch.float64 for t in leaves)
        return made


def wide() -> str:
    """How many operations, of a training with its quality, of scores and of bounds."""
    with tempfile.TemporaryDirectory() as folder, Wide() as training:
        run = zspace.train("vae", out=Path(folder) / "run", quiet=True, **SHORT)
        data = run.data()
    with Wide() as scores:
        Scorer(run, data, ["mahalanobis"])
    with tempfile.TemporaryDirectory() as folder:
        options = {**SHORT, "binarize": "static", "likelihood": "bernoulli"}
        binary = zspace.train("vae", out=Path(folder) / "run", quiet=True, **options)
    with Wide() as bounds:
        likelihood_bounds(binary, binary.data(), samples=2)
    return (
        f"tensors made in float64: {training.count} by a training of one epoch, "
        f"{scores.count} by scores, {bounds.count} by bounds"
    )


AUDITS = [
    (
        "float64 on the device",
        "tensors made in float64: 65 by a training of one epoch, 5 by scores, 13 by bounds",
        wide,
    ),
]

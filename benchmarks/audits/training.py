"""What a training costs, says and needs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import zspace
from zspace.analysis import Scorer, likelihood_bounds
from zspace.data.loading import load
from zspace.models import judge

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


def judged() -> str:
    """The judge of mnist5k, trained anew: CPU seconds of one thread, and its accuracy."""
    torch.set_num_threads(1)
    data, start = load("mnist5k", quiet=True), time.process_time()
    made = judge._learn(data, torch.device("cpu"), True, 0)
    seconds = time.process_time() - start
    return f"{seconds:.1f} CPU seconds, {made.accuracy['test']:.1%} of test images right"


def told() -> str:
    """What a training in a pipe says before its first epoch is over."""
    options = ["vae", "--hidden", "2048", "2048", "--batch", "16", "--epochs", "20"]
    command = [sys.executable, "-u", "-m", "zspace", "train", *options, "--out"]
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, f"{folder}/run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        seconds = time.monotonic() - started
        process.kill()
        process.wait()
        process.stderr.close()
    return f"after {seconds:.0f} s: {said[1].strip():.80}"


def drawn() -> str:
    """How far an AE's samples lie from the nearest training image, over how far test images do."""
    options: dict[str, Any] = {"latent": 20, "epochs": 15, "precision": "fp32"}
    with tempfile.TemporaryDirectory() as folder:
        run = zspace.train("ae", out=Path(folder) / "run", quiet=True, **options)
        made = run.sample(500, seed=0)
    data = run.data()
    near = NearestNeighbors(n_neighbors=1).fit(data.train.images().flatten(1).numpy())
    far = [
        np.median(near.kneighbors(x.reshape(len(x), -1))[0])
        for x in (made, data.test.images().numpy())
    ]
    return f"{far[0] / far[1]:.2f} times as far as test images"


AUDITS = [
    (
        "float64 on the device",
        "tensors made in float64: 65 by a training of one epoch, 5 by scores, 13 by bounds",
        wide,
    ),
    ("samples of an AE", "1.58 times as far as test images", drawn),
    ("the judge of mnist5k", "18.8 CPU seconds, 98.8% of test images right", judged),
    ("a training in a pipe", "after 10 s: epoch 1/20  validation mse 40.51  kl 4.13", told),
]

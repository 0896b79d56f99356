"""Trainings in forked children, which can be killed, stopped and refused: for `durability.py`."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zspace
from zspace.runs import record
from zspace.system import files
from zspace.system.signals import Interrupted
from zspace.training.progress import Quiet

SMALL = {"batch": 16, "epochs": 3, "precision": "fp32", "quiet": True}
TRAININGS: dict[str, dict[str, Any]] = {
    "VAE": {"recipe": "vae", "hidden": (16,), "latent": 3},
    "VAE, averaged weights": {"recipe": "vae", "hidden": (16,), "latent": 3, "ema": 0.9},
    "conditional VAE, binarised anew": {
        "recipe": "cvae", "hidden": (16,), "latent": 3, "binarize": "dynamic",
        "likelihood": "bernoulli", "clip": 1.0,
    },
    "game of two players": {
        "recipe": "vaegan", "net": "conv", "channels": (4, 6), "latent": 2, "perceptual": "none",
        "adversarial_start": 0.3, "discriminator_start": 0.2,
    },
}  # fmt: skip
OPERATIONS = (
    (tempfile, "mkstemp"), (os, "fdopen"), (os, "fsync"), (os, "chmod"), (os, "replace"),
    (os, "unlink"),
)  # fmt: skip
SAVING = mmap.mmap(-1, 1)
"""Shared with the children: 1 while one of them is inside a save."""


class Cut(Quiet):
    """A reporter in whose hands the training dies at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, fit: Any) -> None:
        if fit.step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def images(folder: Path) -> Path:
    """160 real digits of 12 x 12 with labels: 8 steps an epoch."""
    from zspace.data.loading import load

    data = load("mnist5k", quiet=True)
    i = torch.arange(0, len(data.train), len(data.train) // 160)[:160]
    x = torch.nn.functional.adaptive_avg_pool2d(data.train.images(i), 12)
    path = folder / "digits.npz"
    np.savez(path, x=(x * 255).round().byte().numpy(), y=data.train.labels(i), allow_pickle=False)
    return path


def fork(action: Callable[[], Any], told: Path) -> int:
    """The process id of a child that does this, and writes what there is to tell into the file.

    It exits with 2 after a sentence, with 1 after a bug.
    """
    SAVING[0] = 0
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            action()
        told.write_text("\n".join(str(w.message) for w in caught))
        code = 0
    except zspace.UserError as error:
        told.write_text(str(error))
        code = 2
    except Interrupted as stop:
        told.write_text(str(stop))
        code = 128 + stop.number
    except BaseException:
        told.write_text(traceback.format_exc())
    os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a child; minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def mark_saves() -> None:
    real = files.write

    def write(*args: Any) -> str:
        SAVING[0] = 1
        try:
            return real(*args)
        finally:
            SAVING[0] = 0

    files.write = write


def at_operation(number: int, act: Callable[[], Any]) -> None:
    """Have this process do `act` when it comes to its file operation of that number."""
    count = itertools.count()

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **keywords: Any) -> Any:
            if next(count) == number:
                act()
            return real(*args, **keywords)

        return operation

    for module, name in OPERATIONS:
        setattr(module, name, wrap(getattr(module, name)))


def note(seen: Counter[str], wrong: str) -> None:
    if wrong:
        seen["wrong"] += 1
        print(f"WRONG: {wrong}", file=sys.stderr, flush=True)


def train(data: Path, folder: Path, options: dict[str, Any], **more: Any) -> zspace.Run:
    """Train, or go on where there is a run, saving after every step."""
    if (folder / "run.json").exists():
        reporter = more.get("reporter") or Quiet()
        return zspace.resume(folder, reporter=reporter, save_every=0)
    return zspace.train(data=str(data), out=folder, save_every=0, **SMALL, **options, **more)


def outcome(folder: Path) -> tuple[bytes, str, set[str]]:
    """All that a training leaves, but for what the clock says."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "samples_per_second")
    history = [{k: v for k, v in line.items() if k not in clock} for line in lines]
    result = {k: v for k, v in zspace.load(folder).result.items() if k != "seconds"}
    weights = (folder / "model.safetensors").read_bytes()
    names = {path.name for path in folder.iterdir()} - {
        "state"
    }  # a kill may be before its removal
    return weights, json.dumps([history, result]), names


def has_ended(folder: Path) -> bool:
    return folder.exists() and record.read_record(folder)["status"] == "finished"


class Trial:
    """One kind of training: what it comes to without a disturbance, and how long it takes."""

    def __init__(self, name: str, root: Path, data: Path) -> None:
        self.options, self.data = TRAININGS[name], data
        self.root = Path(tempfile.mkdtemp(dir=root))
        os.chmod(self.root, 0o755)
        self.told, self.numbers = self.root / "told.txt", itertools.count()
        folder, start = self.folder(), time.monotonic()
        assert ended(fork(lambda: train(data, folder, self.options), self.told)) == 0, self.said
        self.seconds, self.whole = time.monotonic() - start, outcome(folder)

    def folder(self) -> Path:
        return self.root / f"run-{next(self.numbers)}"

    @property
    def said(self) -> str:
        return self.told.read_text() if self.told.exists() else ""

    def cut(self, step: int = 13) -> Path:
        """The folder of a training that was killed at a step of its second epoch."""
        folder = self.folder()
        reporter = Cut(step)
        pid = fork(lambda: train(self.data, folder, self.options, reporter=reporter), self.told)
        assert ended(pid) == -signal.SIGKILL, self.said
        return folder

    def start(self, folder: Path, before: Callable[[], Any] = lambda: None) -> int:
        self.told.unlink(missing_ok=True)

        def action() -> None:
            before()
            train(self.data, folder, self.options)

        return fork(action, self.told)

    def ends_well(self, folder: Path) -> str:
        """ "" where the training, gone on with, comes to the same; else what is wrong."""
        if not has_ended(folder):
            if ended(self.start(folder)):
                return f"does not go on: {self.said}"
            if self.said:
                return f"warns: {self.said}"
        same = outcome(folder) == self.whole
        shutil.rmtree(folder)
        return "" if same else "comes to something else"

"""Run folders as a stranger may edit them, and all that a user does with one, for `fuzz.py`.

Each case copies a good run, changes one to three things in it that its formats know of, makes the
checksums right again, and gives it to load, sample, report, figure, explore and export. Each of
them may use the run or refuse it in a sentence. Nothing outside the folder may be written to, and
no address may be asked for.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

import zspace
from fuzz_changes import restructured, sealed
from zspace.explorer.access import AccessPolicy
from zspace.explorer.app import create_app
from zspace.explorer.export import write_page
from zspace.explorer.server import views
from zspace.report.figures import registry
from zspace.report.html.page import write_report
from zspace.runs.many import open_study
from zspace.system import files
from zspace.system.errors import UserError

RECORD, WEIGHTS, METRICS = "run.json", "model.safetensors", "metrics.jsonl"
SNAPSHOTS, EVALUATION = "snapshots.npz", "evaluation.json"
FIGURES = ("curves.png", "training.gif", "quality.png", "samples.png")


def example(folder: Path) -> Path:
    """A run with all files that a run may have."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 12, 12), dtype=np.uint8)
    np.savez(folder / "digits.npz", x=x, y=np.arange(60) % 3, allow_pickle=False)
    run = zspace.train(
        "cvae",
        data=str(folder / "digits.npz"),
        out=folder / "good",
        quiet=True,
        hidden=(4,),
        latent=2,
        epochs=3,
        precision="fp32",
        snapshots=2,
    )
    zspace.evaluate(run, sections=["likelihood", "latents"], iw=5)
    return run.path


def noted(folder: Path) -> None:
    """Make the checksums right: of the files that run.json names, then its own."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes())
        for name in (METRICS, WEIGHTS):
            if isinstance(record["files"][name], str) and (folder / name).is_file():
                record["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
        path.write_bytes(json.dumps(record).encode())
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    with contextlib.suppress(OSError):
        path.write_bytes(sealed(path.read_bytes()))


def of_record(draw: random.Random, folder: Path) -> None:
    """A value anywhere in run.json."""
    path = folder / RECORD
    content = restructured(draw, path.read_bytes())
    if draw.random() < 0.3:
        record = json.loads((folder / RECORD).read_bytes())
        groups = [
            record["config"][key] for key in ("recipe_options", "network", "training", "data")
        ]
        group = draw.choice([record["data"], record["result"], record["result"]["test"], *groups])
        name = draw.choice(list(group))
        group[name] = draw.choice(
            [[1] * 100_000, [10**6] * 3, 10**9, 10**6, 7, 1e99, 1e300, "hf:a/b", "/etc/passwd",
             "mnist", [], {}, "$\\frac$", "<b>&", "%s", {"objective": 1.0}, None, True]
        )  # fmt: skip
        content = json.dumps(record).encode()
    path.write_bytes(content)


def of_metrics(draw: random.Random, folder: Path) -> None:
    """A line of metrics.jsonl."""
    path = folder / METRICS
    lines = path.read_bytes().splitlines()
    i = draw.randrange(len(lines))
    kind = draw.randrange(6)
    if kind == 0:
        lines[i] = b'{"number": ' + b"9" * 400 + lines[i][12:]
    elif kind == 1:
        lines[i] = b"[" * 100_000
    elif kind == 2:
        lines = lines[::-1] * draw.choice([1, 1000])
    else:
        lines[i] = restructured(draw, lines[i])
    path.write_bytes(b"\n".join(lines) + b"\n")


def of_evaluation(draw: random.Random, folder: Path) -> None:
    """A value anywhere in evaluation.json."""
    path = folder / EVALUATION
    record = json.loads(path.read_bytes())
    record["model"] = sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    path.write_bytes(restructured(draw, json.dumps(record).encode()))


def of_snapshots(draw: random.Random, folder: Path) -> None:
    """An array of snapshots.npz."""
    path = folder / SNAPSHOTS
    with np.load(path) as kept:
        arrays = dict(kept)
    name = draw.choice(list(arrays))
    array = arrays[name]
    kind = draw.randrange(8)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = array[..., :0]
    elif kind == 2:
        arrays[name] = np.concatenate([array, array])
    elif kind == 3:
        arrays[name] = array.astype(draw.choice(["f8", "i8", "U3", "c16", "?", "f2"]))
    elif kind == 4:
        arrays[name] = np.full_like(array.astype("f4"), draw.choice([np.nan, np.inf, 1e38]))
    elif kind == 5:
        arrays[name] = array[None]
    elif kind == 6:
        arrays[name] = np.zeros((1 << 12, 1 << 13), np.uint8)  # packed, it is small
    else:
        arrays[name] = array[::-1] if array.ndim else array
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    path.write_bytes(content.getvalue())


def of_weights(draw: random.Random, folder: Path) -> None:
    """A tensor of model.safetensors, or the head of the file."""
    path = folder / WEIGHTS
    content = path.read_bytes()
    if draw.random() < 0.4:
        start = 8 + int.from_bytes(content[:8], "little")
        head = restructured(draw, content[8:start])
        path.write_bytes(sealed(len(head).to_bytes(8, "little") + head + content[start:]))
        return
    tensors = files.unpacked(path, content)
    name = draw.choice(list(tensors))
    value = tensors[name]
    kind = draw.randrange(6)
    if kind == 0:
        tensors[name] = torch.full_like(value, draw.choice([np.nan, np.inf, 1e38, -1e38, 1e20]))
    elif kind == 1:
        tensors = {n: torch.full_like(t, 1e38) for n, t in tensors.items()}
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        tensors[name] = value.to(draw.choice([torch.float64, torch.int64, torch.bool]))
    elif kind == 4:
        tensors[name] = torch.zeros(3, *value.shape)
    else:
        tensors[draw.choice(["a", "\n", "x" * 5000])] = torch.zeros(2)
    files.write_sealed_tensors(path, tensors, {})


def of_files(draw: random.Random, folder: Path) -> None:
    """A file that is something else: a link, a pipe, a folder, nothing, or endless."""
    path = folder / draw.choice(
        [RECORD, WEIGHTS, METRICS, SNAPSHOTS, EVALUATION, "figures", "state"]
    )
    kind = draw.randrange(5)
    if kind == 0 and path.is_file():
        os.truncate(path, 10 << 30)
        return
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == 1:
        path.symlink_to(draw.choice(["/dev/zero", "/etc/passwd", "/tmp", "..", path.name]))
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.mkdir()


EDITS = (
    *(of_record,) * 4,
    *(of_metrics, of_evaluation, of_snapshots, of_weights) * 2,
    of_files,
)


def edited(draw: random.Random, good: Path, folder: Path) -> None:
    """A copy of the good run, changed in one to three ways."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, UserError, EOFError):
            draw.choice(EDITS)(draw, folder)
    if (folder / WEIGHTS).is_file() and (folder / WEIGHTS).stat().st_size < 1 << 20:
        noted(folder)


def used(folder: Path, out: Path) -> None:
    """All that a user does with a run. Raises the last refusal where there was one."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    policy = AccessPolicy(hosts=("localhost:1",), token="a" * 16, cookie="a", announce=print)

    def explore() -> None:
        shown = views([folder])
        create_app(shown, policy)
        for view in shown.values():
            view.prepare()
            view.decode(view.z[:1], view.contexts(0, 1))

    steps: list[Callable[[], object]] = [
        lambda: zspace.load(folder).sample(2, seed=0),
        lambda: zspace.load(folder).metrics,
        *(lambda name=name: registry.write(name[:-4], open_study(folder), out / name)
          for name in FIGURES),
        lambda: write_report(open_study(folder), out / "report.html"),
        explore,
        lambda: write_page(zspace.load(folder), out / "page"),
    ]  # fmt: skip
    refusal = None
    for step in steps:
        try:
            step()
        except UserError as error:
            refusal = error
    if refusal is not None:
        raise refusal


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod")
ASKING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen")


class Watch:
    """Notes what happens outside a folder: files that are written to, addresses, processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = str(folder.resolve()), False, list[str]()
        sys.addaudithook(self)

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on:
            return
        changes = event in CHANGING or (event == "open" and given[2] and given[2] & WRITING)
        if event in ASKING:
            self.seen.append(f"{event} {given!r:.200}")
        elif changes and isinstance(given[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(given[0]))
            private = "/dev/null", "/dev/shm/", "/tmp/tmp"
            if os.path.isabs(os.fsdecode(given[0])) and not path.startswith(
                (self.folder, *private)
            ):
                self.seen.append(f"{event} {path}")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False
            if self.seen:
                outside, self.seen = self.seen, []
                raise AssertionError(f"outside the folder: {outside!r:.500}")


@dataclass
class Folders:
    """The target of `fuzz.py`; a case is the number that its changes are drawn from."""

    folder: Path
    name: str = "run folders"
    weight: int = 1
    seconds: float = 20.0
    growth: float = 2048.0

    def work(self, case: int) -> None:
        edited(random.Random(case), self.folder / "good", self.folder / "edited")
        with self.watch.watching():
            used(self.folder / "edited", self.folder / "out")

    def drive(self, one: Callable[[Any], None], seed: int) -> NoReturn:
        self.watch = Watch(self.folder)
        used(self.folder / "good", self.folder / "out")  # what is imported and cached lies ready
        while True:
            one(seed)
            seed += 1

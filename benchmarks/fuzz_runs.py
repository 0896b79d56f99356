"""Run folders as a stranger may edit them, and all that a user does with one, for `fuzz.py`.

Each case copies a good run, changes one to three things in it that its formats know of, makes the
checksums right again, and gives it to load, sample, report, figure, explore and export. Each of
them may use the run or refuse it in a sentence. Nothing outside the folder may be written to, and
no address may be asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

import zspace
from fuzz_changes import restructured, sealed
from zspace.explorer.access import AccessPolicy, Guard
from zspace.explorer.app import explorer
from zspace.explorer.export import write_page
from zspace.explorer.server import views
from zspace.explorer.view import RunView
from zspace.report.figures import registry
from zspace.report.html.page import write_report
from zspace.runs.many import open_study
from zspace.system import files
from zspace.system.errors import UserError

RECORD, WEIGHTS, METRICS = "run.json", "model.safetensors", "metrics.jsonl"
SNAPSHOTS, EVALUATION = "snapshots.npz", "evaluation.json"
FIGURES = ("curves.png", "training.gif", "quality.png", "samples.png")


KINDS = {
    "dense": ("cvae", {"hidden": (4,), "latent": 2}),
    "spatial": ("vae", {"net": "conv", "channels": (4,), "code": "spatial", "latent": 1}),
}
"""Of runs: recipe and options. The second has weights that fit images of any size."""  # fmt: skip


def examples(folder: Path) -> None:
    """A run of each kind with all files that a run may have."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 12, 12), dtype=np.uint8)
    np.savez(folder / "digits.npz", x=x, y=np.arange(60) % 3, allow_pickle=False)
    for kind, (recipe, options) in KINDS.items():
        run = zspace.train(
            recipe,
            data=str(folder / "digits.npz"),
            out=folder / kind,
            quiet=True,
            epochs=3,
            precision="fp32",
            snapshots=2,
            **options,
        )
        zspace.evaluate(run, sections=["likelihood", "latents"], iw=5)


def noted(_: random.Random, folder: Path) -> None:
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
            [[1] * 100_000, [10**6] * 3, [1, 2048, 1024], [1, 8192, 8], [144], 10**9, 10**6, 7,
             1e99, 1e300, "hf:a/b", "/etc/passwd", "mnist", [], {}, "$\\frac$", "<b>&", "%s",
             {"objective": 1.0}, None, True]
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
    """A copy of one of the good runs, changed in one to three ways."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good / draw.choice(("dense", "dense", "spatial")), folder)
    chosen = [draw.choice(EDITS) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    contents = [edit for edit in chosen if edit is not of_files]
    links = [edit for edit in chosen if edit is of_files]  # last: no edit goes through one
    for edit in (*contents, noted, *links):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, UserError, EOFError):
            edit(draw, folder)


def used(folder: Path, out: Path) -> None:
    """All that a user does with a run. Raises the last refusal where there was one."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    steps: list[Callable[[], object]] = [
        lambda: zspace.load(folder).sample(2, seed=0),
        lambda: zspace.load(folder).metrics,
        *(lambda name=name: registry.write(name[:-4], open_study(folder), out / name)
          for name in FIGURES),
        lambda: write_report(open_study(folder), out / "report.html"),
        lambda: asyncio.run(explored(views([folder]))),
        lambda: write_page(zspace.load(folder), out / "page.html"),
    ]  # fmt: skip
    refusal = None
    for step in steps:
        try:
            step()
        except UserError as error:
            refusal = error
    if refusal is not None:
        raise refusal


HOST = "localhost:1"
READ = ("/", "/static/main.js", "/api/info", "/api/a/map?projection=dims", "/api/a/labels",
        "/api/a/images?i=0,1", "/api/a/reconstructions?i=0,1", "/api/a/codes?i=0,1",
        "/api/a/errors", "/api/a/moments", "/api/a/moments/points",
        "/api/a/moments/pictures")  # fmt: skip


async def explored(shown: Mapping[str, RunView]) -> None:
    """Ask for the page and its arrays, and for a decoding and an encoding.

    Raises UserError where an answer is a refusal.
    """
    policy = AccessPolicy(hosts=(HOST,), token="a" * 16, cookie="a", announce=print)
    guard, view = Guard(explorer(shown), policy), shown["a"]
    label = "?label=0" if view.conditions else ""
    z, x = np.zeros((2, view.dims), "<f4"), np.zeros(view.shape, "u1")
    asked = [("GET", path, b"") for path in READ]
    asked += [("POST", f"/api/a/decode{label}", z.tobytes())]
    asked += [("POST", f"/api/a/encode{label}", x.tobytes())]
    app: Any = guard.app
    async with app.router.lifespan_context(app):
        for method, path, body in asked:
            status, content = await answered(guard, policy, method, path, body)
            if status not in (200, 202, 204, 404):
                raise UserError(json.loads(content)["error"])


async def answered(
    guard: Guard, policy: AccessPolicy, method: str, path: str, body: bytes
) -> tuple[int, bytes]:
    """Status and content of the answer to one request."""
    target, _, query = path.partition("?")
    headers = {"host": HOST, "cookie": f"{policy.cookie}={policy.session}",
               "origin": f"http://{HOST}", "content-length": str(len(body))}  # fmt: skip
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http",
        "path": target, "raw_path": target.encode(), "root_path": "",
        "query_string": query.encode(), "server": ("localhost", 1), "client": ("localhost", 2),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    parts: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(part: Any) -> None:
        parts.append(part)

    await guard(scope, receive, send)
    return parts[0]["status"], b"".join(part.get("body", b"") for part in parts[1:])


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod",
            "os.chown", "os.truncate", "os.utime", "os.setxattr"}  # fmt: skip
LISTING = {"os.listdir", "os.scandir", "os.walk", "os.chdir", "glob.glob"}
ASKING = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
          "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}  # fmt: skip
READABLE = (
    *{sys.prefix, sys.base_prefix, str(Path(zspace.__file__).parent), str(Path(__file__).parent)},
    "/usr/share", "/usr/lib", "/lib", "/proc", "/sys", "/dev/null", "/dev/urandom",
)  # fmt: skip
"""Of the interpreter and its libraries, fonts among them."""


class Watch:
    """Notes what happens outside some folders: files that are read, written to or listed,
    addresses, processes.

    Names that are opened relative to an open folder are events without that folder. So the
    process works within one of the folders: then such a name lies there, unless it leads up.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders, self.on = [os.path.realpath(folder) for folder in folders], False
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ASKING:
            self.seen.append(f"{event} {given!r:.200}")
            return
        changes = event in CHANGING
        if not changes and event not in LISTING and event != "open":
            return
        writes = changes or (event == "open" and bool((given[2] or 0) & WRITING))
        named = given[:2] if event in ("os.rename", "os.link") else given[:1]
        for one in named:
            if isinstance(one, str | bytes | os.PathLike):
                path = os.path.realpath(os.fsdecode(one))
                allowed = self.folders if writes else (*self.folders, *READABLE)
                if path != "/dev/null" and not any(within(path, place) for place in allowed):
                    self.seen.append(f"{event} {path}")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Raises AssertionError at the end where something was noted."""
        self.on = True
        try:
            yield
        finally:
            self.on = False
            if self.seen:
                outside, self.seen = self.seen, []
                raise AssertionError(f"outside the folder: {outside!r:.500}")


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


@dataclass
class Folders:
    """The target of `fuzz.py`; a case is the number that its changes are drawn from."""

    folder: Path
    name: str = "run folders"
    weight: int = 1
    seconds: float = 20.0
    growth: float = 2048.0

    def work(self, case: int) -> None:
        edited(random.Random(case), self.folder, self.folder / "edited")
        with self.watch.watching():
            used(self.folder / "edited", self.folder / "out")

    def drive(self, one: Callable[[Any], None], seed: int) -> NoReturn:
        home = self.folder / "home"
        home.mkdir()
        os.environ.update(XDG_CACHE_HOME=str(home), XDG_STATE_HOME=str(home))
        tempfile.tempdir = str(home)
        os.chdir(home)
        examples(self.folder)
        self.watch = Watch(home, *(self.folder / name for name in ("edited", "out", "digits.npz")))
        for kind in KINDS:  # which are used as they are; and what is imported lies ready
            used(self.folder / kind, self.folder / "out")
        while True:
            one(seed)
            seed += 1

"""What zspace does on a GPU: whether it is right there, then how fast.

    python benchmarks/device.py --data-dir DIR [--parts basics table ...] [--out DIR]
    python benchmarks/device.py --small --device cpu      (a check that it runs, in minutes)

Parts, each in a process of its own with a limit of seconds, printed at once and written to --out:

    basics   versions; microseconds of a launch and of a node of a replayed graph; product rates
    table    every recipe and network in every number format: steps in which nothing may be read
             back, validation, save, resume, load: ok or the reason
    kinds    rows of a table, windows of a series and texts, as in `table`
    right    losses and gradients against the CPU; SSIM with and without TF32; the same training
             twice; stacked against one by one
    step     milliseconds of a step, of which the device is busy, and its launches: one model, 3, 8
             and 18 stacked, compiled, recorded; batches of 128 to 4,096
    vae      one VAE on MNIST to its end: what it reaches, and where the seconds go
    study    the 18 models of the MNIST study one by one; and one whose steps are not recorded
    images   conv, unet and an f4 tokeniser at 256 pixels: images a second, and what bounds them
    jobs     the 18 models by `zspace study --jobs 6`

A part that fails says so and the others go on. Without MNIST (--data-dir) `mnist5k` is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import cProfile
import os
import platform
import pstats
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import zspace
from device_images import images
from zspace.data.spec import Batch, Spec
from zspace.models import Gaussian, Objective, Pass, Player, Recipe, kl, mse, recipe
from zspace.models.recipes import assemble
from zspace.runs.config import Config
from zspace.runs.run import Run, load
from zspace.system.device import DTYPES
from zspace.system.errors import UserError
from zspace.training import api, stacked
from zspace.training.build import Build
from zspace.training.progress import Quiet

FAMILIES, SIZES = ("ae", "vae", "cvae"), (2, 5, 10, 20, 50, 100)
SEQUENCES = ("gru", "temporal", "transformer")
OWN: dict[str, dict[str, Any]] = {"vaegan": {"perceptual": "none"}}
SLOW = 4.0
"""Seconds outside its steps after which a run of the study says where they went."""
Say = Callable[[str], None]


@recipe
def reading(data: Spec, latent: int = 3, hidden: tuple[int, ...] = (16,)) -> Recipe:
    """A VAE with a term that reads a value back, so that its step cannot be recorded."""
    model = assemble(data, Gaussian(latent), net={"hidden": hidden})

    def read(p: Pass) -> dict[str, torch.Tensor]:
        return {"read": kl(p)["kl"] * min(1.0, p.x.mean().item())}

    objective = Objective([mse, kl, read], {"mse": 1.0, "kl": 1.0, "read": 0.1})
    return Recipe(model, (Player(model, objective),))


class Bench:
    """What the parts share: the device, the data, and how small all is."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.small, self.formats = args.small, args.formats
        self.folder = Path(tempfile.mkdtemp())
        self.sets: dict[str, Any] = {"data": "mnist5k"}
        if args.data_dir and not self.small:
            self.sets = {"data": "mnist", "data_dir": args.data_dir}
        self.given: dict[str, Any] = {}
        """Two samples of each kind, as `Run.encode` takes them."""
        self._write(np.random.default_rng(0))

    def _write(self, draw: np.random.Generator) -> None:
        """640 samples of each kind, into few.npz, rows.csv, windows.npz and texts.txt."""
        x = draw.integers(0, 256, (640, 28, 28), dtype=np.uint8) // 3
        np.savez(self.folder / "few.npz", x=x, y=np.arange(640) % 10)
        age = draw.integers(18, 90, 640)
        income = np.where(draw.random(640) < 0.1, np.nan, np.round(age * 97.5, 2))
        sex, visits = draw.choice(["f", "m"], 640), draw.poisson(3, 640)
        rows = pd.DataFrame({"age": age, "income": income, "sex": sex, "visits": visits})
        rows.to_csv(self.folder / "rows.csv", index=False)
        phase = draw.random((640, 1, 3)) * 6
        windows = 40 + 7 * np.sin(np.arange(24)[None, :, None] / 2 + phase)
        windows[:, 5, 1] = np.nan
        np.savez(self.folder / "windows.npz", x=windows)
        words = np.array(["cat", "dog", "bird", "sees", "eats", "the", "a"])
        texts = [" ".join(draw.choice(words, draw.integers(2, 6))) for _ in range(640)]
        (self.folder / "texts.txt").write_text("\n".join(texts) + "\n")
        self.given = {"few.npz": x[:2], "rows.csv": rows[:2], "windows.npz": windows[:2]}
        self.given["texts.txt"] = texts[:2]

    @property
    def name(self) -> str:
        cuda = self.device.type == "cuda"
        return torch.cuda.get_device_name() if cuda else platform.machine()

    def config(self, recipe: str, **options: Any) -> Config:
        given = {"device": str(self.device), **self.sets, **OWN.get(recipe, {}), **options}
        if self.small and "net" not in given and recipe != "sentence_vae":
            given = {"hidden": (16,), "latent": 3, **given}
        return Config.of(recipe, given)

    def built(self, recipe: str, **options: Any) -> Build:
        return Build.prepare(self.config(recipe, **options), quiet=True)

    def few(self, recipe: str, **options: Any) -> Build:
        """On 640 samples, of images by default."""
        file = options.pop("file", "few.npz")
        options = {"epochs": 3, "batch": 64, "data": str(self.folder / file), **options}
        return Build.prepare(self.config(recipe, data_dir=None, **options), quiet=True)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], times: int) -> float:
        """Of one call, the median of three rounds of so many."""
        work()
        rounds = []
        for _ in range(3):
            self.wait()
            start = time.perf_counter()
            for _ in range(times):
                work()
            self.wait()
            rounds.append((time.perf_counter() - start) / times)
        return statistics.median(rounds)


def basics(bench: Bench, say: Say) -> None:
    say(f"{bench.name}, torch {torch.__version__}, CUDA {torch.version.cuda}, ")
    say(f"Python {platform.python_version()}, {os.cpu_count()} cores, of them ")
    say(f"{len(os.sched_getaffinity(0))} for this process, {torch.get_num_threads()} threads\n")
    x, n = torch.ones(8, device=bench.device), 50 if bench.small else 2000
    say(f"a launch: {1e6 * bench.seconds(lambda: x.add_(1), n):.1f} microseconds\n")
    if bench.device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(1000):
                x.add_(1)
        say(f"a node of a graph: {1e3 * bench.seconds(graph.replay, 10):.2f} microseconds\n")
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        say(f"a product of 4,096 in {name}: {rate(bench, dtype) / 1e12:.1f} TFLOP/s\n")
    torch.backends.cuda.matmul.allow_tf32 = False


def rate(bench: Bench, dtype: torch.dtype) -> float:
    side = 128 if bench.small else 4096
    a, b = torch.randn(2, side, side, device=bench.device).to(dtype)
    return 2 * side**3 / bench.seconds(lambda: a @ b, 2 if bench.small else 20)


@contextlib.contextmanager
def silent_device(bench: Bench) -> Iterator[None]:
    """Within, whatever waits for the device raises."""
    if bench.device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def batches(build: Build) -> Iterator[Batch]:
    return chain.from_iterable(build.trainer.train.epoch(i) for i in range(1000))


def twenty(bench: Bench, build: Build, steps: int = 20) -> None:
    """Steps of whole batches in which nothing may be read back."""
    trainer, left = build.trainer, [b for b, _ in zip(batches(build), repeat(0, 9), strict=False)]
    trainer.train_on(left[0])
    with silent_device(bench):
        for i in range(steps):
            trainer.train_on(left[i % 7])
    trainer.meter.fold()


def table(bench: Bench, say: Say) -> None:
    conv = {"net": "conv", "channels": (8, 16)}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("reading", {}),
        ("vaegan", {"compile": "on"}),
        ("tcvae", {}),
        ("iwae", {}),
        ("vae", conv),
        ("cvae", {**conv, "net": "unet"}),
        ("vaegan", {}),
        ("vae", {"likelihood": "bernoulli", "binarize": "dynamic"}),
        ("vae", {"likelihood": "logistic-mixture", "augment": "flip-crop"}),
        ("vae", {"prior": "flow"}),
        ("vae", {"prior": "mixture", "likelihood": "continuous-bernoulli"}),
        ("vae", {"compile": "on"}),
        *((name, {}) for name in ("ae", "vae", "cvae", "beta_vae")),
    ]
    tabled(bench, say, rows[:: 5 if bench.small else 1])


def kinds(bench: Bench, say: Say) -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        *(("vae", {"file": "windows.npz", "net": net}) for net in SEQUENCES),
        ("vae", {"file": "windows.npz"}),
        ("vae", {"file": "rows.csv"}),
        ("vae", {"file": "rows.csv", "likelihood": "columns-mixture"}),
        *(("sentence_vae", {"file": "texts.txt", "net": net}) for net in SEQUENCES),
        ("sentence_vae", {"file": "texts.txt", "word_dropout": 0.3}),
        ("sentence_vae", {"file": "texts.txt", "compile": "on"}),
    ]
    tabled(bench, say, rows[:: 4 if bench.small else 1])


def tabled(bench: Bench, say: Say, rows: list[tuple[str, dict[str, Any]]]) -> None:
    formats = ("fp32",) if bench.small else bench.formats
    say("| recipe | options | " + " | ".join(formats) + " |\n|---|---|" + "---|" * len(formats))
    say("\n")
    for name, options in rows:
        shown = " ".join(f"{k}={v}" for k, v in options.items())
        say(f"| {name} | {shown} |")
        for precision in formats:
            if (options.get("compile") or name == "reading") and precision != formats[0]:
                say(" |")
                continue
            say(f" {tried(bench, name, {**options, 'precision': precision})} |")
        say("\n")


def tried(bench: Bench, name: str, options: dict[str, Any]) -> str:
    """ok, and whether steps were recorded; or what went wrong, with the stage."""
    stage = "build"
    try:
        if "precision" in options and options["precision"] not in DTYPES:
            return "not there yet"
        plain = bench.few(name, **options, graph="off")
        stage = "steps"
        if name != "reading":
            twenty(bench, plain)
        stage = "build of recorded steps"
        build = bench.few(name, **options)
        stage = "recorded steps"
        if name != "reading":
            twenty(bench, build)
        stage = "validation"
        build.trainer._validate()
        stage = "training"
        out = bench.folder / f"{time.time_ns()}"
        again, half = bench.few(name, **options), bench.few(name, **options)
        next(epochs := half.trainer.epochs())
        state = copy.deepcopy(half.trainer.state())
        stage = "resume"
        ends = [[e.train["objective"] for e in epochs]]
        again.trainer.load_state(state)
        ends.append([e.train["objective"] for e in again.trainer.epochs()])
        same = "same" if ends[0] == ends[1] else f"{ends[0][-1] / ends[1][-1] - 1:.0e}"
        stage = "run"
        api.start(half.config, out, Quiet(), 30.0)
        stage = "load"
        run = load(out)
        given = bench.given[options.get("file", "few.npz")]
        run.encode(given, *([0] if half.trainer.model.context else []))
        run.sample(2, *([0] if half.trainer.model.context else []))
        return f"ok, graph {build.config.training.graph}, resumed: {same}"
    except Exception as error:
        traceback.print_exc()
        return f"{stage}: {type(error).__name__}: {str(error).splitlines()[0][:160]}"


def right(bench: Bench, say: Say) -> None:
    cpu = torch.device("cpu")
    say("| recipe | format | loss against CPU | gradients against CPU |\n|---|---|---|---|\n")
    for name in ("ae", "vae", "cvae", "tcvae"):
        for precision in ("fp32",) if bench.small else ("fp32", "tf32", "bf16"):
            if precision not in DTYPES:
                continue
            pair = [
                bench.few(name, precision=p, device=str(d), graph="off").trainer
                for p, d in (("fp32", cpu), (precision, bench.device))
            ]
            pair[1].model.load_state_dict(pair[0].model.state_dict())
            batch = next(iter(pair[0].train.epoch(0)))
            losses, gradients = [], []
            for trainer in pair:
                c = None if batch.c is None else batch.c.to(trainer.device)
                with same_noise(trainer.device), trainer.autocast():
                    p = trainer.model(batch.x.to(trainer.device), c)
                loss, _ = trainer.players[0].objective(p, 1.0)
                loss.backward()
                losses.append(float(loss.detach()))
                found = [
                    p.grad.flatten().cpu()
                    for p in trainer.model.parameters()
                    if p.grad is not None
                ]
                gradients.append(torch.cat(found))
            apart = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
            say(f"| {name} | {precision} | {losses[1] / losses[0] - 1:.1e} | {apart:.1e} |\n")
    ends = {}
    for graph in ("off", "auto"):
        for again in (0, 1):
            fit = bench.few("vae", graph=graph).trainer
            list(fit.epochs())
            ends[graph, again] = torch.cat([p.flatten() for p in fit.model.parameters()])
    for graph in ("off", "auto"):
        say(
            f"\nthe same training twice, graph {graph}: {apart_by(ends[graph, 0], ends[graph, 1])}"
        )
    say(f"\nrecorded against as it is: {apart_by(ends['off', 0], ends['auto', 0])}\n")
    configs = [bench.few("ae", precision="fp32", seed=s).config for s in (0, 1)]
    own = [api.start(c, bench.folder / f"own{i}", Quiet(), 0.0) for i, c in enumerate(configs)]
    folders = [bench.folder / f"together{i}" for i in range(2)]
    fresh = [bench.config("ae", precision="fp32", seed=s, epochs=3, batch=64, data_dir=None,
                          data=str(bench.folder / "few.npz")) for s in (0, 1)]  # fmt: skip
    made = stacked.start(fresh, folders, [Quiet(), Quiet()])
    for alone, end in zip(own, made, strict=True):
        assert isinstance(end, Run), end
        a, b = (r.result["test"]["objective"] for r in (alone, end))
        say(f"stacked against by itself: test objective {b / a - 1:.1e} apart\n")
    ssim(bench, say)


def ssim(bench: Bench, say: Say) -> None:
    from zspace.analysis.reconstruction import reconstruction_quality

    x = torch.rand(64, 1, 28, 28)
    fit = bench.few("ae", precision="fp32").trainer
    values = []
    for tf32 in (False, True):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        watched = [Batch(x.to(bench.device), None)]
        values.append(reconstruction_quality(fit.model, watched)["ssim"])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    say(f"SSIM with TF32 off {values[0]:.7f}, allowed {values[1]:.7f}\n")


def apart_by(a: torch.Tensor, b: torch.Tensor) -> str:
    return "bit for bit" if torch.equal(a, b) else f"{float((a - b).norm() / a.norm()):.1e} apart"


@contextlib.contextmanager
def same_noise(device: torch.device) -> Iterator[None]:
    """Within, `torch.randn` draws on the CPU, the same each time."""
    usual, draw = torch.randn, torch.Generator().manual_seed(0)
    torch.randn = lambda *size, device=None, dtype=None: usual(*size, generator=draw).to(  # type: ignore[assignment]
        device or "cpu", dtype
    )
    try:
        yield
    finally:
        torch.randn = usual


def step(bench: Bench, say: Say) -> None:
    say("| models | format | batch | graph | compile | ms a step | busy ms | launches |\n")
    say("|---|---|---|---|---|---|---|---|\n")
    rows: list[tuple[int, str, int, str, str]] = [
        (1, "bf16", 128, "off", "off"),
        (1, "bf16", 128, "auto", "off"),
        (1, "tf32", 128, "auto", "off"),
        (1, "fp32", 128, "auto", "off"),
        (1, "bf16", 512, "auto", "off"),
        (1, "bf16", 4096, "auto", "off"),
        (1, "tf32", 4096, "auto", "off"),
        (3, "bf16", 128, "auto", "off"),
        (8, "bf16", 128, "auto", "off"),
        (18, "bf16", 128, "off", "off"),
        (18, "bf16", 128, "auto", "off"),
        (18, "tf32", 128, "auto", "off"),
        (1, "bf16", 128, "off", "on"),
        (1, "bf16", 128, "auto", "on"),
    ]
    for models, precision, batch, graph, compiled in rows[: 1 if bench.small else None]:
        if precision not in DTYPES or (bench.small and precision == "bf16"):
            precision = "fp32"
        options = {"precision": precision, "batch": batch, "graph": graph, "compile": compiled}
        try:
            say(stepped(bench, models, options))
        except Exception as error:
            traceback.print_exc()
            say(f"| {models} | {options} | {type(error).__name__}: {str(error)[:200]} |\n")


def stepped(bench: Bench, models: int, options: dict[str, Any]) -> str:
    if models == 1:
        build = bench.built("vae", **options)
        trainer, took = build.trainer, build.config.training
    else:
        configs = [bench.config("vae", seed=seed, **options) for seed in range(models)]
        builds = stacked.prepared(configs, quiet=True)
        trainer = stacked.Stack([build.trainer for build in builds])
        took, graph = builds[0].config.training, trainer.record()
        options = {**options, "graph": graph}
    left = [b for b, _ in zip(trainer.train.epoch(0), range(8), strict=False)]
    counter = iter(range(1 << 30))

    def one() -> None:
        trainer.train_on(left[next(counter) % len(left)])

    trainer.model.train()
    ms = 1000 * bench.seconds(one, 5 if bench.small else 100)
    busy, launches = profiled(bench, one)
    graph = took.graph if models == 1 else options["graph"]
    return (
        f"| {models} | {options['precision']} | {options['batch']} | {graph} | {took.compile} | "
        f"{ms:.3f} | {busy:.3f} | {launches:.0f} |\n"
    )


def profiled(bench: Bench, one: Callable[[], None], times: int = 10) -> tuple[float, float]:
    """Busy milliseconds and kernels of one call."""
    if bench.device.type != "cuda":
        return float("nan"), float("nan")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(times):
            one()
        bench.wait()
    kernels = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(e.time_range.elapsed_us() for e in kernels)
    return busy / 1000 / times, len(kernels) / times


def vae(bench: Bench, say: Say) -> None:
    short = {"epochs": 1} if bench.small else {}
    start, profile = time.perf_counter(), cProfile.Profile()
    say(f"{time.perf_counter() - start:.1f} s\n")
    profile.enable()
    run = api.start(bench.config("vae", **short), bench.folder / "vae", Quiet(), 30.0)
    profile.disable()
    total, result = time.perf_counter() - start, run.record["result"]
    inside = result["seconds"]
    took = run.config.training
    say(
        f"{result['epochs']} epochs, {took.precision}, graph {took.graph}: {total:.1f} s, of "
        f"which {inside:.1f} in steps; test objective {result['test']['objective']:.3f}\n"
    )
    told(profile, say, 60)


def told(profile: cProfile.Profile, say: Say, most: int) -> None:
    """The functions in which most of the seconds were spent, what they call included."""
    stats = pstats.Stats(profile)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][3])  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own, whole, _) in rows[:most]:
        say(f"    {whole:7.2f} s  {own:7.2f} own  {calls:7d}  {Path(file).name}:{line} {name}\n")


def study(bench: Bench, say: Say) -> None:
    families, sizes = (FAMILIES, SIZES[:1]) if bench.small else (FAMILIES, SIZES)
    short = {"epochs": 1} if bench.small else {}
    for graph, kinds, some in (("auto", families, sizes), ("off", families[:1], sizes[:1])):
        start, inside, values = time.perf_counter(), 0.0, []
        for family in kinds:
            for size in some:
                config = bench.config(family, **short, latent=size, graph=graph)
                folder, begin = bench.folder / f"{graph}-{family}-{size}", time.perf_counter()
                with cProfile.Profile() as profile:
                    result = api.start(config, folder, Quiet(), 30.0).record["result"]
                inside += result["seconds"]
                values.append(result["test"]["objective"])
                took = time.perf_counter() - begin
                say(f"({family} {size}: {took:.1f} s, in steps {result['seconds']:.1f} s)\n")
                if took > result["seconds"] + SLOW:
                    told(profile, say, 40)
        total = time.perf_counter() - start
        say(
            f"graph {graph}: {len(values)} models in {total:.1f} s, {inside:.1f} s of them in "
            f"steps; median test objective {statistics.median(values):.2f}\n"
        )


def jobs(bench: Bench, say: Say) -> None:
    families, sizes = (FAMILIES, SIZES[:1]) if bench.small else (FAMILIES, SIZES)
    given = {**bench.sets, **({"epochs": 1, "hidden": (16,)} if bench.small else {})}
    start, at_once = time.perf_counter(), 2 if bench.small else 6
    out = bench.folder / "study"
    for name, part in [("trained", "1/1"), ("reported", "")][: 1 if bench.small else 2]:
        zspace.study(families, latent=sizes, jobs=at_once, out=out, part=part, quiet=True, **given)
        say(f"zspace study --jobs {at_once}: {len(families) * len(sizes)} models {name} after ")
        say(f"{time.perf_counter() - start:.1f} s\n")


def shown_images(bench: Bench, say: Say) -> None:
    images(bench, say, rate)


PARTS: dict[str, tuple[Callable[[Bench, Say], None], float]] = {
    "basics": (basics, 20),
    "table": (table, 150),
    "kinds": (kinds, 110),
    "right": (right, 50),
    "step": (step, 120),
    "vae": (vae, 60),
    "study": (study, 120),
    "images": (shown_images, 60),
    "jobs": (jobs, 110),
}
"""Each with its limit of seconds."""


def apart(name: str, args: argparse.Namespace, out: Path) -> bool:
    """Do a part in a process of its own, and return whether it came to its end; the device is not
    touched in this one.
    """
    part, limit = PARTS[name]
    path, start = out / f"{name}.md", time.perf_counter()

    def say(text: str) -> None:
        with path.open("a") as file:
            file.write(text)
        print(text, end="", flush=True)

    say(f"\n## {name}\n\n")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            part(Bench(args), say)
            code = 0
        except UserError as error:
            say(f"\nnot done: {error}\n")
        except BaseException:
            say(f"\nfailed:\n{traceback.format_exc()[-1500:]}\n")
        os._exit(code)
    end = time.monotonic() + limit * (4 if args.small else args.patience)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
            say(f"\nended after its limit of {limit:g} s\n")
            break
        time.sleep(0.02)
    say(f"\n({name} took {time.perf_counter() - start:.1f} s)\n")
    return ended[1] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--formats", nargs="+", default=["bf16", "fp32", "tf32", "fp16"])
    parser.add_argument("--patience", type=float, default=1.0, help="times each part's limit")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    done = [apart(name, args, args.out) for name in args.parts]
    sys.exit(0 if all(done) else 1)


if __name__ == "__main__":
    main()

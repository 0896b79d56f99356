"""This machine: devices, number formats that pay on it, random generators, memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from zspace.system import distributed
from zspace.system.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device for a name; 'auto' takes the first of cuda, mps and cpu that is there.

    With several ranks each takes the GPU of its number on its machine, whichever is named. A GPU
    always has its number, as that of a tensor has: 'cuda' is cuda:0.

    Raises UserError for an unknown name, and for a device that is not there.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    alone = distributed.size() == 1
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available() and alone}
    if name == "auto":
        name = next((kind for kind, ok in there.items() if ok), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device '{name}' is unknown: use auto, cpu, cuda, cuda:1, mps") from None
    if not there.get(device.type, device.type == "cpu"):
        raise UserError(f"device '{name}' is not available on this machine: use --device cpu")
    if device.type == "cuda" and not alone:
        device = torch.device("cuda", distributed.local())
    if device.type != "cpu":
        device = torch.device(device.type, device.index or 0)
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UserError(
            f"device '{device}' does not exist: there are {torch.cuda.device_count()} GPUs here: "
            "name another, start no more processes than GPUs, or use --device cpu"
        )
    return device


def pick_precision(name: Precision, device: torch.device) -> Precision:
    """The number format for 'auto': bf16 where the device is faster in it, else fp32.

    CPUs differ by a factor of some hundreds here (with bf16 units several times faster than fp32,
    without them 60 times slower), so a product of a few milliseconds is timed in both.
    """
    if name == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU, but the device is cpu: use --precision fp32 or bf16")
    if name == "tf32" and device.type != "cuda":
        raise UserError(
            f"tf32 needs an NVIDIA GPU, but the device is {device}: use --precision fp32 or bf16"
        )
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _bf16_pays_on_cpu() else "fp32"


@lru_cache(maxsize=1)
def _bf16_pays_on_cpu() -> bool:
    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(10):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        return min(times)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other when the machine is busy
    try:
        return seconds(torch.float32) > 1.5 * seconds(torch.bfloat16)
    finally:
        torch.set_num_threads(threads)


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A copy on the device, for which a GPU is not waited for.

    >>> sent(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    if device.type != "cuda" or x.is_cuda:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


_tf32 = False


def set_tf32(on: bool) -> None:
    """Whether NVIDIA GPUs may multiply numbers of float32 in TF32, which has 10 bits of them.

    By default torch does so in convolutions. zspace turns it off where a run is loaded or a
    training begins, and on for a training with ``--precision tf32`` alone.

    >>> set_tf32(False)
    >>> torch.backends.cudnn.allow_tf32
    False
    """
    global _tf32
    _tf32 = on
    # The flags that torch 2.9 calls old: it, compilers and older ones all read them, and what sets
    # only the new ones makes reading these an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Within, products on this device are those of float32: neither autocast nor TF32.

    >>> set_tf32(True)
    >>> with exact(torch.device("cpu")):
    ...     torch.backends.cuda.matmul.allow_tf32
    False
    >>> torch.backends.cuda.matmul.allow_tf32
    True
    >>> set_tf32(False)
    """
    before = _tf32
    set_tf32(False)
    try:
        with in_float32(device):
            yield
    finally:
        set_tf32(before)


def in_float32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Within, products on this device are in float32, also where autocast is on around it.

    >>> with torch.autocast("cpu", torch.bfloat16), in_float32(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    return in_format(device, None)


def in_format(
    device: torch.device, dtype: torch.dtype | None
) -> contextlib.AbstractContextManager[None]:
    """Within, products on this device are in that format, of which None is float32.

    The meta device, on which shapes alone are computed, has no autocast; nor has a program that
    is exported, which computes in float32 throughout.

    >>> with in_format(torch.device("cpu"), torch.bfloat16):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if device.type == "meta" or torch.compiler.is_exporting():
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that a training on this device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)  # each of several GPUs has its own
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put generators back into a state that `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextlib.contextmanager
def random_kept(device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Within, draws leave the generators of the CPU and of this device as they were.

    Other GPUs are not touched, which would take some of the memory of each.

    Arguments:
        device: Where is drawn.
        seed: From which the generators start within; by default they go on.

    >>> with random_kept(seed=0):
    ...     first = torch.rand(3)
    >>> with random_kept(seed=0):
    ...     bool((torch.rand(3) == first).all())
    True
    """
    device = torch.device(device)
    state = random_state(device)
    try:
        if seed is not None:
            torch.manual_seed(seed)
        yield
    finally:
        set_random_state(state, device)


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Have glibc keep what is freed, instead of giving it back and faulting it in at every step.

    Gradients of some megabytes are freed and allocated again at each step; by default that costs
    thousands of page faults, up to a quarter of a small step. Elsewhere than on glibc: nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold, largest = -1, -3, 1 << 30
        mallopt(mmap_threshold, largest)
        mallopt(trim_threshold, largest)


def environment(device: torch.device, **sources: Path) -> dict[str, Any]:
    """Versions and hardware, as run.json keeps them.

    sources: files of code by what they hold. Those that are kept in a git repository have its
    commit; so has the working directory.
    """
    commits = {name.replace("_", " "): commit(path) for name, path in sources.items()}
    commits["working directory"] = commit(Path.cwd())
    cuda = {"cuda": torch.version.cuda} if device.type == "cuda" else {}
    return {
        "python": platform.python_version(),
        "libraries": {**libraries(), **cuda},
        "commits": {name: one for name, one in commits.items() if one},
        "platform": platform.platform(),
        "processor": torch.cuda.get_device_name(device) if cuda else processor(),
        "threads": torch.get_num_threads(),
        "processes": distributed.size(),
    }


@lru_cache(maxsize=1)
def libraries() -> dict[str, str]:
    """The version of each library that zspace needs, by its name.

    >>> libraries()["torch"].startswith(torch.__version__.partition("+")[0])
    True
    """
    try:
        needed = metadata.requires("zspace") or []
    except metadata.PackageNotFoundError:  # run from its source, without an installation
        needed = ["torch", "numpy", "zuko", "scipy", "scikit-learn", "torchmetrics"]
    names = [re.split(r"[^\w.-]", one)[0] for one in needed if "extra ==" not in one]
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@lru_cache(maxsize=1)
def processor() -> str:
    """The processor as its maker calls it, or its kind where that is not to be had."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = Path("/proc/cpuinfo").read_text()
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    if sys.platform == "darwin" and (name := _told("sysctl", "-n", "machdep.cpu.brand_string")):
        return name
    return platform.processor() or platform.machine()


@lru_cache
def commit(path: Path) -> str:
    """The git commit of the repository that keeps a file or surrounds a folder; "" without one.

    It ends in "-dirty" where files that git keeps have changed since. Nothing is started that the
    settings of the repository name: no filter of files (so those that one would change count as
    changed once they are touched), no monitor, no hook, no program that fetches.
    """
    at = path if path.is_dir() else path.parent
    git = ["git", "--no-optional-locks", "-C", str(at)]
    git += ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    if path != at and not _told(*git, "ls-files", "--", path.name):
        return ""  # a library in a folder of somebody's project is none of its files
    found = _told(*git, "rev-parse", "--verify", "HEAD")
    filters = _told(*git, "config", "--name-only", "--get-regexp", r"^filter\.").splitlines()
    if not found or any("=" in name for name in filters):  # such a name cannot be given to -c
        return found
    git += [word for name in filters for word in ("-c", f"{name}=")]
    inert = "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"
    dirty = _told(*git, "diff", "--name-only", *inert, "HEAD", "--")
    return f"{found}-dirty" if dirty else found


def _told(*command: str) -> str:
    """What a command prints; "" where there is no such command, or it fails."""
    fetching = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=5,
            stdin=subprocess.DEVNULL,
            check=True,
            env={**os.environ, **fetching},
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()


Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What autocast makes of products in each number format; TF32 is set by `set_tf32`."""

"""Systems that refuse to write, feigned and real: the part of `durability.py` that needs some."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trials import Trial, at_operation, ended, fork, note, train


def fault(trial: Trial, wanted: int, rng: random.Random) -> Counter[str]:
    """The system refuses a random file operation of a training that goes on from a checkpoint."""
    seen: Counter[str] = Counter(refused=0, wrong=0)
    kinds = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
    saved = trial.cut()
    for _ in range(wanted):
        folder, number, why = trial.folder(), rng.randrange(80), rng.choice(kinds)
        shutil.copytree(saved, folder)
        note(seen, stumbles(trial, folder, lambda n=number, e=why: at_operation(n, fail(e))))
        seen["refused"] += 1
    return seen


def fail(number: int) -> Callable[[], None]:
    def raise_it() -> None:
        raise OSError(number, os.strerror(number))

    return raise_it


def stumbles(
    trial: Trial, folder: Path, before: Callable[[], Any], mended: Callable[[], Any] = lambda: None
) -> str:
    """ "" where a training, hindered so, says a sentence and goes on well once that is mended."""
    code, said = ended(trial.start(folder, before)), trial.said
    mended()
    if code == 2 and ("cannot write" not in said or "\n" in said):
        return f"says {said}"
    if code not in (0, 2):
        return f"exit code {code}: {said}"
    return trial.ends_well(folder)


def largest(size: int) -> None:
    """No file may become larger than this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def as_nobody() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    """Within, something is mounted there. Raises OSError where this process may not do that."""
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", *arguments, str(place)], capture_output=True).returncode:
        raise OSError(errno.EPERM, "mount is not allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(trial: Trial, saved: Path, free: int) -> str:
    """A small disk that the training fills; then it grows."""
    place = trial.root / "disk"
    used = sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in saved.rglob("*"))
    with mounted(place, "-t", "tmpfs", "-o", f"size={used + free}", "none"):
        shutil.copytree(saved, place / "run")
        grow = ["mount", "-o", "remount,size=64m", str(place)]
        return stumbles(trial, place / "run", lambda: None, lambda: subprocess.run(grow))


def read_only(trial: Trial, saved: Path) -> str:
    folder, place = trial.folder(), trial.root / "fixed"
    shutil.copytree(saved, folder)
    with mounted(place, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        code, said = ended(trial.start(place)), trial.said
    if code != 2 or "read-only" not in said:
        return f"exit code {code}: {said}"
    return trial.ends_well(folder)


def forbidden(trial: Trial, saved: Path) -> str:
    """The folder belongs to somebody else."""
    folder = trial.folder()
    shutil.copytree(saved, folder)
    trial.told.touch()
    os.chmod(trial.told, 0o666)
    if os.geteuid():
        raise OSError(errno.EPERM, "only root can become nobody")
    pid = fork(lambda: (as_nobody(), train(trial.data, folder, trial.options)), trial.told)
    code, said = ended(pid), trial.said
    if code != 2 or "may not be written to" not in said:
        return f"exit code {code}: {said}"
    return trial.ends_well(folder)


def disks(trial: Trial, rng: random.Random) -> dict[str, Counter[str]]:
    """Disks and folders that really are so, as far as this process may make them."""
    saved, found = trial.cut(), {}

    def several(name: str, times: int, once: Callable[[], str]) -> None:
        seen = found[name] = Counter(refused=0, wrong=0)
        with contextlib.suppress(PermissionError):
            for _ in range(times):
                note(seen, once())
                seen["refused"] += 1

    def limited() -> str:
        folder, size = trial.folder(), rng.randrange(100, 30_000)
        shutil.copytree(saved, folder)
        return stumbles(trial, folder, lambda: largest(size))

    several("no file may be larger (RLIMIT_FSIZE)", 20, limited)
    several("disk full (tmpfs)", 20, lambda: full_disk(trial, saved, 4096 * rng.randrange(16)))
    several("file system read-only (bind mount)", 2, lambda: read_only(trial, saved))
    several("folder of somebody else (EACCES)", 2, lambda: forbidden(trial, saved))
    return found

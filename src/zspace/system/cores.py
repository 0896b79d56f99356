"""How many cores this process may use, and how many threads read files with them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zspace.system.errors import UserError

MOST_READERS = 8
"""Threads that read by default; what Python does for each file lets no more run at once."""
WORKERS = "ZSPACE_WORKERS"
"""The environment variable, so that the processes of a study read with as many."""


def usable_cores(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Cores that this process may use, at least 1: those it is bound to, and no more than the
    quota of its control group, rounded up. The machine may have many more.

    Arguments:
        groups: Where the files of control groups lie.
        own: The file that says which of them this process is in.

    Reference: Linux kernel documentation, control group v2 (cpu.max), v1 (cpu.cfs_quota_us).

    >>> 1 <= usable_cores() <= (os.cpu_count() or 1)
    True
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        cores = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(cores, _quota(groups, own))))


def _quota(groups: Path, own: Path) -> float:
    """The least quota of this process's group and those around it, in cores."""
    names = ["/"]
    with suppress(OSError, UnicodeDecodeError):
        lines = (line.split(":", 2) for line in own.read_text().splitlines())
        names += [name for _, of, name in lines if not of or "cpu" in of.split(",")]
    return min((cores for name in names for cores in _quotas(groups, name)), default=math.inf)


def _quotas(groups: Path, name: str) -> Iterator[float]:
    """Of a group and each around it, by the files of version 2 and those of version 1.

    Within a container, the name may be one that only the host sees; then nothing is found by it.
    """
    named = Path(name.lstrip("/"))
    for inner in (named, *named.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            most, period = (groups / inner / "cpu.max").read_text().split()  # "max": no quota
            yield int(most) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            most, period = (
                (groups / "cpu" / inner / f"cpu.cfs_{what}_us").read_text()
                for what in ("quota", "period")
            )
            if int(most) > 0:  # -1: no quota
                yield int(most) / int(period)


def readers() -> int:
    """Threads that read files at once: what ZSPACE_WORKERS says, else one per usable core, at
    most 8.

    Raises UserError where the variable holds anything but a whole number from 1.

    >>> 1 <= readers() <= MOST_READERS
    True
    """
    given = os.environ.get(WORKERS)
    if not given:
        return min(MOST_READERS, usable_cores())
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"the environment variable {WORKERS} is {given!r:.60}: give 1 or more")
    return int(given)


@contextmanager
def reading(workers: int) -> Iterator[None]:
    """Within, so many threads read files at once, in this process and in those that it starts.

    workers: 0 changes nothing. Raises UserError for a number below 0.

    >>> with reading(3), reading(0):
    ...     readers()
    3
    """
    if workers < 0:
        raise UserError(f"workers is {workers}: give 1 or more, or 0 for one per core")
    before = os.environ.get(WORKERS)
    if workers:
        os.environ[WORKERS] = str(workers)
    try:
        yield
    finally:
        if workers and before is None:
            del os.environ[WORKERS]
        elif workers:
            os.environ[WORKERS] = str(before)

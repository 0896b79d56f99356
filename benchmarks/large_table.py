"""The memory that a CSV takes which does not fit it: made, read, and trained on for some steps.

    python benchmarks/large_table.py [--size 1e9] [--memory 256e6] [--epochs 0]

The file is made in a temporary folder, and so is the cache. Printed after each step: the seconds,
and two peaks so far, less what the process holds once everything is imported and a small training
is done: of the resident memory (`ru_maxrss` of `getrusage`), which the system can make smaller by
dropping pages of programs, and of its anonymous part, looked at 50 times a second. It ends with an
error where one of them is more than the memory allowed. Linux only.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

COLUMNS = 8
"""Of decimals, of whole numbers and of texts each; one each of dates and flags are added."""
PIECE = 50_000


def made(path: Path, size: float) -> int:
    """Write a file of that many bytes; its rows."""
    random, rows = np.random.RandomState(0), 0
    towns = np.array([f"town {i}" for i in range(COLUMNS + 3)])
    while not path.exists() or path.stat().st_size < size:
        z = random.normal(size=(PIECE, COLUMNS))
        found: dict[str, Any] = {f"v{j}": np.exp(z[:, j]).round(4) for j in range(COLUMNS)}
        found |= {f"n{j}": (1000 * z[:, j]).astype(int) for j in range(COLUMNS)}
        found |= {f"t{j}": towns[random.randint(0, 3 + j, PIECE)] for j in range(COLUMNS)}
        found["day"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(
            random.randint(0, 9000, PIECE), unit="D"
        )
        found["flag"] = z[:, 0] > 0
        frame = pd.DataFrame(found)
        frame.loc[random.rand(PIECE) < 0.02, "v1"] = np.nan
        frame.to_csv(path, index=False, mode="a", header=rows == 0)
        rows += PIECE
    return rows


def peak() -> float:
    """The most resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


class Watched(threading.Thread):
    """The anonymous memory of this process, and the most of it so far, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = self.now()

    def now(self) -> float:
        status = Path("/proc/self/status").read_text()
        return 1024.0 * int(status.partition("RssAnon:")[2].split()[0])

    def run(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1e9, help="bytes of the file")
    parser.add_argument("--memory", type=float, default=256e6, help="bytes for the data")
    parser.add_argument("--epochs", type=int, default=0, help="of a training on it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        child = os.fork()  # so that what the making takes is not counted
        if child == 0:
            made(path, args.size)
            os._exit(0)
        os.waitpid(child, 0)
        return read(path, args.memory, args.epochs)


def read(path: Path, memory: float, epochs: int) -> int:
    """What is measured; 1 where too much memory is taken."""
    os.environ["XDG_CACHE_HOME"] = str(path.parent)
    import zspace
    from zspace.data import account, loading
    from zspace.system import files

    torch.set_num_threads(1)
    few = pd.read_csv(path, nrows=200)  # imports what pandas and the training import late
    options = {"latent": 4, "hidden": (32,), "batch": 1024, "out": False, "quiet": True}
    zspace.train("vae", data=few, epochs=1, **options)
    watched = Watched()
    base, own = peak(), watched.now()
    watched.start()
    print(f"{path.stat().st_size / 1e9:.2f} GB; baseline {base / 1e6:.0f} MB, {own / 1e6:.0f} own")
    print("\n| what | seconds | resident | anonymous |\n|---|---|---|---|")

    def most() -> tuple[float, float]:
        return peak() - base, watched.most - own

    def step(what: str, do: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = do()
        seconds = time.perf_counter() - start
        peaks = " | ".join(f"{bytes_ / 1e6:.0f} MB" for bytes_ in most())
        print(f"| {what} | {seconds:.0f} | {peaks} |", flush=True)
        return found

    files.free = lambda device="cpu": 2 * memory  # of which one thing may take half
    data = step("read", lambda: loading.load(str(path), quiet=True))
    step("fingerprint", lambda: data.fingerprint)
    del data
    data = step("read again", lambda: loading.load(str(path), quiet=True))
    if epochs:
        step(
            f"train {epochs} epochs",
            lambda: zspace.train("vae", data=data, epochs=epochs, **options),
        )
    print("", *account.lines(data), sep="\n")
    return int(max(most()) > memory)


if __name__ == "__main__":
    sys.exit(main())

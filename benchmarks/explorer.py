"""How fast `zspace explore` decodes, what a crowd does to it, and whether its memory stays flat.

    python benchmarks/explorer.py RUN [--clients 50] [--seconds 20] [--requests 5000]

The server is a process of its own; requests come over the loopback, each decoding one code.
Exits with 1 where the median of a lone client is above 15 ms, a request of the crowd fails, or the
resident memory grows by more than 5% over the requests.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEDIAN, GROWTH = 15.0, 0.05


@dataclass
class Client:
    """A connection that is kept, and codes to decode. Answers and failures are counted."""

    host: str
    cookie: str
    dims: int
    label: str
    size: int
    seed: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.RandomState(self.seed)
        self.connection = http.client.HTTPConnection(self.host, timeout=30)
        self.milliseconds: list[float] = []

    def decode(self) -> None:
        """One request; its time is noted."""
        body = self.random.randn(1, self.dims).astype("<f4").tobytes()
        start = time.perf_counter()
        try:
            self.connection.request(
                "POST", f"/api/a/decode?label={self.label}", body, {"Cookie": self.cookie}
            )
            answer = self.connection.getresponse()
            good = answer.status == 200 and len(answer.read()) == self.size
        except (OSError, http.client.HTTPException):
            self.connection.close()
            good = False
        self.failures += not good
        self.milliseconds.append(1e3 * (time.perf_counter() - start))

    def until(self, end: float) -> None:
        """Decode without a pause until a moment."""
        while time.perf_counter() < end:
            self.decode()


@contextlib.contextmanager
def server(run: Path) -> Iterator[tuple[int, str, str]]:
    """The process id, the host and the cookie of a server of a run."""
    command = [sys.executable, "-m", "zspace", "explore", str(run), "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host, _, query = process.stdout.readline().strip()[len("http://") :].partition("/")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", f"/{query}")
        cookie = connection.getresponse().getheader("set-cookie", "").partition(";")[0]
        connection.close()
        try:
            yield process.pid, host, cookie
        finally:
            process.send_signal(signal.SIGINT)


def megabytes(pid: int) -> float:
    """The resident memory of a process, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def line(name: str, times: list[float], more: str = "") -> None:
    """A row of the table."""
    median, last = statistics.median(times), float(np.quantile(times, 0.99))
    print(f"| {name} | {len(times):,} | {median:.1f} | {last:.1f} | {more} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=5000)
    args = parser.parse_args()
    record = json.loads((args.run / "run.json").read_text())
    size = int(np.prod(record["data"]["shape"]))
    label = "0" if record["config"]["recipe"] == "cvae" else "none"
    with server(args.run) as (pid, host, cookie):
        made = [
            Client(host, cookie, record["config"]["recipe_options"]["latent"], label, size, seed)
            for seed in range(args.clients + 2)
        ]
        warm, lone, *crowd = made
        for _ in range(500):
            warm.decode()
        print("| what | requests | median ms | 99% ms | |\n|---|---|---|---|---|")
        for _ in range(500):
            lone.decode()
        line("one client", lone.milliseconds)
        end = time.perf_counter() + args.seconds
        threads = [threading.Thread(target=client.until, args=(end,)) for client in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failures = sum(client.failures for client in made)
        times = [value for client in crowd for value in client.milliseconds]
        rate = len(times) / args.seconds
        line(f"{len(crowd)} clients", times, f"{failures} failed, {rate:.0f} a second")
        before = megabytes(pid)
        start = len(warm.milliseconds)
        for _ in range(args.requests):
            warm.decode()
        after = megabytes(pid)
        line("memory", warm.milliseconds[start:], f"{before:.1f} MB before, {after:.1f} MB after")
    failures = sum(client.failures for client in made)
    good = statistics.median(lone.milliseconds) <= MEDIAN and not failures
    sys.exit(0 if good and after <= (1 + GROWTH) * before else 1)


if __name__ == "__main__":
    main()

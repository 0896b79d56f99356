"""Whether hostile input can do more than be refused: every file format and the public functions.

    python benchmarks/fuzz.py [--executions 1000000] [--seed 0] [--only NAME ...]

Each target runs in a process of its own. Files are mutated from valid ones under the guidance of
coverage where atheris (libFuzzer) is installed, else at random from the same seeds; arrays and
keywords come from Hypothesis. An execution may end in two ways: the input is accepted, or refused
by a `UserError`. Prints a table in Markdown, and exits with 1 where anything else was raised, an
execution took more than `SECONDS` of the processor, or memory grew by more than `GROWTH` MB. The
last target is a whole run folder, which is edited and then used in every way (`fuzz_runs.py`),
within 20 s and 2 GB.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch  # before the hook below, under which only zspace itself shall be

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["zspace"], enable_loader_override=False):
        import fuzz_targets
else:
    import fuzz_targets

from zspace.system.errors import UserError

SECONDS, GROWTH = 10.0, 512.0
HANG = 180
"""Seconds of the wall clock after which a process is ended; `SECONDS` are the processor's."""
LONGEST = 1500
"""Characters of a sentence for the user; some list all known names."""


@dataclass
class Tally:
    """What came of the executions of one target."""

    name: str
    executions: int = 0
    accepted: int = 0
    refused: int = 0
    sentences: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    crashes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    growth: float = 0.0
    limit: float = SECONDS

    def run(self, work: Callable[[Any], object], given: Any) -> None:
        """One execution, its outcome noted."""
        self.executions += 1
        faulthandler.dump_traceback_later(HANG, exit=True)  # ends the process: a crash as well
        start = time.process_time()
        try:
            work(given)
            self.accepted += 1
        except UserError as error:
            self.refused += 1
            text = str(error)
            gist = re.sub(r"'[^']*'|[\d.,]+|\(.*?\)", "_", text)[:60]
            self.sentences[gist] = self.sentences.get(gist, 0) + 1
            if len(text) > LONGEST:
                self.crashes.setdefault("a message too long", f"{text!r:.300} <- {given!r:.300}")
        except Exception as error:
            where = f"{type(error).__name__} at {own(error)}"
            self.crashes.setdefault(where, f"{error!s:.200} <- {given!r:.600}")
        seconds = time.process_time() - start
        self.slowest = max(self.slowest, seconds)
        if seconds > self.limit:
            self.crashes.setdefault(f"{seconds:.0f} s", f"{given!r:.600}")


def own(error: BaseException) -> str:
    """The last place in zspace that an error went through."""
    places = [p for p in traceback.extract_tb(error.__traceback__) if "zspace" in p.filename]
    return f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "the target"


def memory() -> float:
    """The most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_process(target: Any, executions: int, seed: int, report: Path) -> None:
    """The executions of one target; the tally is written to the report. Does not return."""
    tally = Tally(target.name, limit=getattr(target, "seconds", SECONDS))
    start, before = time.perf_counter(), memory()

    def end() -> None:
        tally.seconds, tally.growth = time.perf_counter() - start, memory() - before
        if tally.growth > getattr(target, "growth", GROWTH):
            tally.crashes["memory"] = f"{tally.growth:.0f} MB"
        report.write_text(json.dumps(asdict(tally)))
        os._exit(0)

    def one(given: Any) -> None:
        tally.run(target.work, given)
        if tally.executions >= executions:
            end()

    log = os.open(report.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if isinstance(target, fuzz_targets.Guided) and atheris is not None:
        target.guide(atheris, one, seed)
    target.drive(one, seed)


def fuzz(target: Any, executions: int, seed: int, folder: Path) -> Tally:
    """What came of one target."""
    report = folder / f"{target.name}.tally"
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                in_process(target, executions, seed, report)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    if report.exists():
        return Tally(**json.loads(report.read_text()))
    said = report.with_suffix(".log").read_text(errors="replace")[-3000:]
    return Tally(target.name, crashes={f"the process ended with status {status}": said})


def row(tally: Tally) -> str:
    speed = tally.executions / max(tally.seconds, 1e-9)
    return (
        f"| {tally.name} | {tally.executions:,} | {tally.accepted:,} | {tally.refused:,} | "
        f"{len(tally.sentences)} | {speed:,.0f} | {1000 * tally.slowest:.1f} | "
        f"{tally.growth:.0f} | {len(tally.crashes)} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a forked child would wait for ever for its parent's other threads
    memory_disk = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory_disk if memory_disk.is_dir() else None) as folder:
        chosen = fuzz_targets.targets(Path(folder))
        if arguments.only:
            chosen = [target for target in chosen if target.name in arguments.only]
        share = arguments.executions / sum(target.weight for target in chosen)
        print(f"Guided by {'coverage (atheris)' if atheris else 'nothing: atheris is missing'}.\n")
        print(
            "| target | executions | accepted | refused | sentences | a second | slowest, ms | "
            "memory, MB | crashes |"
        )
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        tallies = []
        for target in chosen:
            n = max(1, round(target.weight * share))
            tallies.append(fuzz(target, n, arguments.seed, Path(folder)))
            print(row(tallies[-1]), flush=True)
    print(f"\n{sum(tally.executions for tally in tallies):,} executions")
    crashes = [(t.name, where, how) for t in tallies for where, how in t.crashes.items()]
    for crash in crashes:
        print("- {}: {}: {}".format(*crash))
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())

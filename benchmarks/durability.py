"""What kills, flipped bits, torn files and full disks do to a training, counted.

    python benchmarks/durability.py [--kills 200] [--flips 1000] [--faults 200] [--seed 0]

kills     SIGKILL at random moments and at random file operations, several times in the life of a
          training that saves after every step; resumed each time, to the same weights bit for bit
signals   SIGINT and SIGTERM at random moments: a sentence, then the same weights
flips     one bit of one file is another one: detected means an error that names the file, or a
          warning that names it and then exactly the state of the checkpoint before
cuts      the same for files cut short at every kind of place
faults    the system refuses a file operation; a disk that is full, a folder that is read-only

Prints Markdown tables; exit code 1 where anything went otherwise. Trainings run in forked
children, since importing torch takes longer than they do. A kill loses nothing that was written:
what a power cut does to a disk is not measured here. With TMPDIR=/dev/shm it is faster.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

import damage
import zspace
from disks import disks, fault
from trials import (
    SAVING,
    TRAININGS,
    Trial,
    at_operation,
    ended,
    has_ended,
    images,
    mark_saves,
    note,
    train,
)


def opens(folder: Path) -> str:
    """ "" where the folder of a killed training can be read, or says in a sentence why not yet."""
    try:
        zspace.load(folder)
    except zspace.UserError as error:
        early = ("no finished epoch", "holds no run.json")
        return "" if any(words in str(error) for words in early) else str(error)
    return ""


def kill(trial: Trial, wanted: int, rng: random.Random) -> Counter[str]:
    """So many kills, up to six in the life of one training, which then must come to the same."""
    seen: Counter[str] = Counter(lives=0, kills=0, inside=0, wrong=0)
    while seen["kills"] < wanted:
        folder = trial.folder()
        for _ in range(min(rng.randint(1, 6), wanted - seen["kills"])):
            if rng.random() < 0.5:
                number = rng.randrange(250)
                pid = trial.start(folder, lambda n=number: (mark_saves(), at_operation(n, die)))
            else:
                pid = trial.start(folder, mark_saves)
                time.sleep(rng.uniform(0, 0.8 * trial.seconds))
                os.kill(pid, signal.SIGKILL)
            code = ended(pid)
            if code == 0:
                break
            seen["kills"] += code == -signal.SIGKILL
            seen["inside"] += SAVING[0]
            note(seen, "" if code == -signal.SIGKILL else trial.said)
            if folder.exists():
                note(seen, opens(folder))
            if not (folder / "run.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
            if has_ended(folder):
                break
        note(seen, trial.ends_well(folder))
        seen["lives"] += 1
    return seen


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(trial: Trial, wanted: int, rng: random.Random) -> Counter[str]:
    """SIGINT or SIGTERM at a random moment, from the loading of the data to the last figure."""
    seen: Counter[str] = Counter(signals=0, saved=0, early=0, late=0, wrong=0)
    for _ in range(wanted):
        folder, number = trial.folder(), rng.choice((signal.SIGINT, signal.SIGTERM))
        pid = trial.start(folder)
        time.sleep(rng.uniform(0.02, 1.0) * trial.seconds)
        os.kill(pid, number)
        code, said = ended(pid), trial.said
        seen["signals"] += 1
        if has_ended(folder):
            seen["late"] += 1
        elif not folder.exists():
            seen["early"] += 1
        elif code == 128 + number and f"'zspace resume {folder}'" in said:
            seen["saved"] += 1
            note(seen, trial.ends_well(folder))
        else:
            note(seen, f"signal {number}, exit code {code}: {said}")
    return seen


def table(title: str, rows: dict[str, Counter[str] | tuple[int, int]], *columns: str) -> int:
    """Print a table in Markdown; return how much was wrong."""
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in rows.items():
        cells = row.values() if isinstance(row, Counter) else row
        print(f"| {name} | {' | '.join(map(str, cells))} |", flush=True)
    return sum(r["wrong"] if isinstance(r, Counter) else r[0] - r[1] for r in rows.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("kills", 200), ("signals", 60), ("flips", 1000), ("faults", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    args, start = parser.parse_args(), time.monotonic()
    rng = random.Random(args.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        data = images(Path(root))
        train(data, Path(root) / "first", TRAININGS["game of two players"])  # imports all at once
        trials = {name: Trial(name, Path(root), data) for name in TRAININGS}
        share = len(trials)
        wrong = table(
            "training", {n: kill(t, args.kills // share, rng) for n, t in trials.items()},
            "trainings", "kills", "of which inside a save", "went otherwise",
        )  # fmt: skip
        wrong += table(
            "training", {n: interrupt(t, args.signals // share, rng) for n, t in trials.items()},
            "signals", "resumed", "before the first step", "after the end", "went otherwise",
        )  # fmt: skip
        trial = trials["VAE, averaged weights"]
        killed, ended_well = trial.cut(), trial.root / "run-0"
        victim = damage.Victim(killed, ended_well)
        wrong += table("file", damage.flips(victim, args.flips, rng), "bits flipped", "noticed")
        wrong += table("file", damage.truncations(victim), "cuts", "noticed")
        found = {f"refused at random: {name}": fault(t, args.faults // share, rng)
                 for name, t in trials.items()}  # fmt: skip
        wrong += table("disk", {**found, **disks(trial, rng)}, "times", "went otherwise")
    print(f"\n{time.monotonic() - start:.0f} s, seed {args.seed}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

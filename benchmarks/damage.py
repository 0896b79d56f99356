"""Whether damage to the files of a run is noticed: the part of `durability.py` that reads.

Damage is noticed where reading raises a UserError that names the file, or warns, naming it, and
then gives exactly what it is said to give. Anything else is not: another exception, silence.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import zspace
from zspace.runs import record
from zspace.runs.checkpoint import Checkpoints, flatten
from zspace.runs.record import COPY, read_either
from zspace.system import files


class Victim:
    """A run that was killed, and one that has ended, whose files are damaged one at a time."""

    def __init__(self, killed: Path, ended: Path) -> None:
        self.killed, self.ended = killed, ended
        listed = files.read_sealed_json(killed / "state" / "manifest.json")["generations"]
        self.newest, self.older = (killed / "state" / entry["file"] for entry in listed)
        self.states = {path: files.read_sealed_tensors(path) for path in (self.newest, self.older)}
        self.checks: dict[str, tuple[Path, Callable[[], bool]]] = {
            "newest state": (self.newest, self.falls_back),
            "state before it": (self.older, self.older_is_refused),
            "manifest.json": (killed / "state" / "manifest.json", self.newest_is_found),
            "run.json of a training": (killed / "run.json", self.copy_is_taken),
            "copy of run.json": (killed / record.COPY, self.copy_is_refused),
            "weights of a training": (killed / record.WEIGHTS, lambda: refused(killed, "model")),
            "run.json at the end": (ended / "run.json", lambda: refused(ended, "run.json")),
            "weights at the end": (ended / record.WEIGHTS, lambda: refused(ended, "model")),
            "metrics.jsonl at the end": (ended / "metrics.jsonl", self.curves_are_doubted),
        }

    def _loads(self, expected: Path, said: str) -> bool:
        state, told = told_by(Checkpoints(self.killed / "state").load)
        tensors, rest = flatten(state or {})
        want, others = self.states[expected]
        same = tensors.keys() == want.keys() and all(
            torch.equal(tensors[k], want[k]) for k in want
        )
        return same and rest == others and said in told

    def falls_back(self) -> bool:
        return self._loads(self.older, self.newest.name)

    def newest_is_found(self) -> bool:
        return self._loads(self.newest, "manifest.json")

    def older_is_refused(self) -> bool:
        """It is read only where the newest is damaged, too."""
        with cut_short(self.newest):
            error, told = told_by(Checkpoints(self.killed / "state").load)
        return isinstance(error, zspace.UserError) and self.older.name in told

    def copy_is_taken(self) -> bool:
        record, told = told_by(lambda: read_either(self.killed))
        copy = files.read_sealed_json(self.killed / COPY)
        return record == copy and "run.json" in told and refused(self.killed, "run.json")

    def copy_is_refused(self) -> bool:
        """It is read only where run.json is damaged, too."""
        with cut_short(self.killed / "run.json"):
            error, _ = told_by(lambda: record.read_either(self.killed))
        return isinstance(error, zspace.UserError) and record.COPY in str(error)

    def curves_are_doubted(self) -> bool:
        _, told = told_by(lambda: zspace.load(self.ended).metrics)
        return "metrics.jsonl is damaged" in told


def told_by(action: Callable[[], Any]) -> tuple[Any, str]:
    """What an action returns, or the UserError that it raises, and all its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = action()
        except zspace.UserError as error:
            result = error
    return result, "\n".join(str(w.message) for w in caught)


def refused(folder: Path, name: str) -> bool:
    error, _ = told_by(lambda: zspace.load(folder))
    return isinstance(error, zspace.UserError) and name in str(error)


@contextlib.contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Within, the file has another content."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def cut_short(path: Path) -> contextlib.AbstractContextManager[None]:
    return changed(path, path.read_bytes()[:-1])


def flipped(content: bytes, rng: random.Random) -> bytes:
    """One bit is another one, half of the time within what a safetensors file begins with."""
    head = 8 + int.from_bytes(content[:8], "little")
    end = head if head < len(content) and rng.random() < 0.5 else len(content)
    at = rng.randrange(end)
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def cuts(content: bytes) -> list[int]:
    """Lengths to cut a file to: none, within and around its head, in the middle, near its end."""
    n, head = len(content), 8 + int.from_bytes(content[:8], "little")
    places = {0, 1, 7, 8, 9, head // 2, head - 1, head, head + 1, n // 2, n - 4096, n - 2, n - 1}
    return sorted(place for place in places if 0 <= place < n)


def noticed(path: Path, content: bytes, check: Callable[[], bool]) -> bool:
    """Whether a file of this content is noticed as damaged, in a sentence."""
    with changed(path, content):
        try:
            return check()
        except Exception as error:
            print(f"WRONG: {path.name}: {type(error).__name__}: {error}")
            return False


def flips(victim: Victim, wanted: int, rng: random.Random) -> dict[str, tuple[int, int]]:
    """File -> (bits flipped, of which noticed): the files take turns."""
    names, found = list(victim.checks), dict.fromkeys(victim.checks, (0, 0))
    for number in range(wanted):
        name = names[number % len(names)]
        path, check = victim.checks[name]
        done, seen = found[name]
        found[name] = done + 1, seen + noticed(path, flipped(path.read_bytes(), rng), check)
    return found


def truncations(victim: Victim) -> dict[str, tuple[int, int]]:
    """File -> (cuts, of which noticed)."""
    found = {}
    for name, (path, check) in victim.checks.items():
        content = path.read_bytes()
        seen = [noticed(path, content[:length], check) for length in cuts(content)]
        found[name] = len(seen), sum(seen)
    return found

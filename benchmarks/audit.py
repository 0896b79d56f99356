"""Runs the audits of `benchmarks/audits/`: what each showed before, and what it shows now.

    python benchmarks/audit.py                    every audit
    python benchmarks/audit.py comparing noise    those of a file, or whose name holds a word
    python benchmarks/audit.py --list             their names

A file in `benchmarks/audits/` holds one subject and a list `AUDITS` of `(name, before, measure)`.
The name says what is looked at, `before` is what was printed with the source of commit 5044ee4,
and `measure()` returns the same sentence for today's source. Tests hold the cheap ones, too.
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Audit = tuple[str, str, Callable[[], str]]


def audits(words: Sequence[str]) -> Iterator[tuple[str, Audit]]:
    """The audits of files or with words in their names, or all; with the name of the file."""
    paths = {path.stem: path for path in Path(__file__).with_name("audits").glob("*.py")}
    wanted = [name for name in words if name in paths]
    others = set(words) - set(wanted)
    for stem in sorted(wanted if words and not others else paths):
        for audit in runpy.run_path(str(paths[stem]))["AUDITS"]:
            if not words or stem in wanted or others & set(audit[0].split()):
                yield stem, audit


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="a file's name, or a word of an audit's name")
    parser.add_argument("--list", action="store_true", help="print the names only")
    options = parser.parse_args()
    for subject, (name, before, measure) in audits(options.words):
        print(f"{subject}: {name}", flush=True)
        if not options.list:
            started = time.perf_counter()
            now = measure()
            seconds = time.perf_counter() - started
            print(f"  before  {before}\n  now     {now}  ({seconds:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()

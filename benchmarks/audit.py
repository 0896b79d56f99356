"""Runs the audits of `benchmarks/audits/` again and prints what each showed before it was mended, and what it shows now.

    python benchmarks/audit.py                    every audit
    python benchmarks/audit.py comparing noise    those of a file, or whose name contains a word
    python benchmarks/audit.py --list             their names

A file in `benchmarks/audits/` holds one subject and a list `AUDITS` of `(name, before, measure)`: the name says what
is looked at, `before` is what `measure` printed with the source of commit 5044ee4, and `measure()` returns the same
sentence of today's source. The cheap ones are also held by tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Audit = tuple[str, str, Callable[[], str]]


def audits() -> Iterator[tuple[str, Audit]]:
    """Every audit, with the name of its file."""
    for path in sorted(Path(__file__).with_name("audits").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"audits_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield from ((path.stem, audit) for audit in module.AUDITS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="a file's name, or a word of an audit's name")
    parser.add_argument("--list", action="store_true", help="print the names only")
    options = parser.parse_args()
    for subject, (name, before, measure) in audits():
        if options.words and not any(word in (subject, *name.split()) for word in options.words):
            continue
        print(f"{subject}: {name}", flush=True)
        if not options.list:
            started = time.perf_counter()
            now = measure()
            print(
                f"  before  {before}\n  now     {now}  ({time.perf_counter() - started:.0f} s)\n",
                flush=True,
            )


if __name__ == "__main__":
    main()

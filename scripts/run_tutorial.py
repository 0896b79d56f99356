"""Runs the blocks of a page of the docs word for word, in an empty folder.

    python scripts/run_tutorial.py docs/tutorial.md [--keep FOLDER]

Shell blocks (bash) run in one folder, and what `cd` changes holds for those that follow. Python
blocks share one interpreter, which starts in the folder of the first of them; a Python block with
a title is saved as the file of that name. `bash` and `python` are those of PATH: put the bin
folder of an environment before it. Nothing but the page is read, and only Python's own library is
needed.
Stops at the first block that fails.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BLOCK = re.compile(r'^```(bash|python)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
INTERPRETER = """
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "block", "exec"), names)
    print("\\0", flush=True)
"""
"""Runs one block per line of its input; a line with a zero byte says that one is done."""


def run(page: Path, folder: Path) -> int:
    """Run the blocks of a page in a folder; returns how many there were."""
    here, python, blocks = folder, None, BLOCK.findall(page.read_text("utf-8"))
    for i, (language, title, code) in enumerate(blocks, 1):
        print(f"--- {i}/{len(blocks)} {title or language}\n{code}", flush=True)
        began = time.monotonic()
        if title:
            (here / title).write_text(code, "utf-8")
        elif language == "bash":
            here = in_shell(code, here)
        else:
            python = python or subprocess.Popen(
                ["python", "-c", INTERPRETER],
                cwd=here,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            in_python(code, python)
        print(f"--- {time.monotonic() - began:.1f} s", flush=True)
    if python is not None:
        python.communicate()
    return len(blocks)


def in_shell(code: str, folder: Path) -> Path:
    """Run shell commands; returns the folder in which they end."""
    with tempfile.NamedTemporaryFile("r") as end:
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'{code}\npwd > "$0"', end.name],
            cwd=folder,
            check=True,
        )
        return Path(end.read().strip())


def in_python(code: str, python: subprocess.Popen[str]) -> None:
    assert python.stdin
    assert python.stdout
    python.stdin.write(json.dumps(code) + "\n")
    python.stdin.flush()
    for line in python.stdout:
        if line == "\0\n":
            return
        print(line, end="")
    raise subprocess.CalledProcessError(python.wait(), ["python"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--keep", type=Path, help="a new folder to run in, which is kept")
    given = parser.parse_args()
    try:
        if given.keep:
            given.keep.mkdir(parents=True)
            done = run(given.page, given.keep.resolve())
        else:
            with tempfile.TemporaryDirectory() as folder:
                done = run(given.page, Path(folder))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{given.page}: this block ended with exit code {failed.returncode}")
    print(f"{given.page}: {done} blocks ran")


if __name__ == "__main__":
    main()

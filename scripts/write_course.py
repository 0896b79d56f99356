"""Write the page of `zspace learn` where the documentation is built from, replacing an older one.

    python scripts/write_course.py [docs/learn/course.html]

The page is made of the package and of the runs inside it, needs neither data nor a network, and is
not kept in the repository: run this before the documentation is built.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zspace.explorer.learn import write_lesson

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main(out: Path) -> None:
    out.unlink(missing_ok=True)
    write_lesson(out)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "learn" / "course.html")

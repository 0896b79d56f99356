"""From pointer to picture in the explorer's page: of a run that is served, or of an exported file.

    python benchmarks/pointer.py RUN|FILE.html [--moves 400] [--wait 0] [--size 1440 900]

The pointer goes over the map in Chromium (playwright). The page itself measures from the event's
own time stamp until the decoded picture is drawn. The load average is told beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """The address of the page."""
    if path.suffix == ".html":
        yield path.resolve().as_uri()
        return
    zspace = str(Path(sys.executable).with_name("zspace"))
    command = [zspace, "explore", str(path), "--no-open", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield next(m[0] for line in server.stdout if (m := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--moves", type=int, default=400)
    parser.add_argument(
        "--wait", type=float, default=0, help="seconds, for what is computed first"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 900))
    args = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))))
    with served(args.path) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        width, height = args.size
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(url)
        page.wait_for_selector("body.ready")
        page.wait_for_timeout(1000 * args.wait)
        box = page.locator(".map canvas, canvas").first.bounding_box()
        assert box is not None
        for i in range(args.moves):
            turn = 2 * math.pi * i / 100
            x = box["x"] + box["width"] * (0.5 + 0.3 * math.cos(turn))
            page.mouse.move(x, box["y"] + box["height"] * (0.5 + 0.3 * math.sin(1.7 * turn)))
            page.wait_for_timeout(16)
        times = page.evaluate("performance.getEntriesByName('picture').map((one) => one.duration)")
        browser.close()
    median, most = np.percentile(times, [50, 95])
    print(
        f"pointer to picture, {len(times)} pictures: median {median:.1f} ms, 95% {most:.1f} ms; "
        f"load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()

"""How fast the course answers: from the start to the first picture, and from pointer to picture.

    python benchmarks/lesson.py [FILE.html] [--moves 400]

The page is opened from disk in Chromium (playwright). The pointer goes over the first map; each
time is that from the event's own time stamp until the decoded picture is painted on its canvas.
The processor time is that of all processes of the browser, painting included; it says more than
the wait where the machine is shared.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from zspace.explorer.learn import write_lesson

WATCH = """
globalThis.waits = [];
new MutationObserver(() => {
  if (document.body?.classList.contains("ready")) globalThis.usable ??= performance.now();
}).observe(document, { subtree: true, attributes: true, childList: true });
let since = null;
addEventListener("pointermove", (event) => { since = event.timeStamp; }, { capture: true });
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function watched(...rest) {
  put.apply(this, rest);
  if (since === null || !this.canvas.closest("#piece-squeeze")) return;
  waits.push(performance.now() - since);
  since = null;
};
"""


def browser_seconds() -> float:
    """The processor time of this process's descendants, from /proc."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, after = stat.parent.name, stat.read_text().rpartition(") ")[2].split()
            parents[pid], used[pid] = after[1], int(after[11]) + int(after[12])
    known = {str(os.getpid())}
    while new := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= new
    return sum(used[pid] for pid in known - {str(os.getpid())}) / os.sysconf("SC_CLK_TCK")


def measured(path: Path, moves: int) -> None:
    """Print the figures."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        starts, usable = [], []
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(WATCH)
            began = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector("body.ready")
            box = page.locator("#piece-squeeze .flat").bounding_box()
            page.mouse.move(box["x"] + 200, box["y"] + 100)
            while not page.evaluate("waits.length"):
                time.sleep(0.002)
            starts.append(time.perf_counter() - began)
            usable.append(page.evaluate("usable") / 1000)
            if len(starts) < 5:
                page.close()
        busy = browser_seconds()
        for k in range(moves):
            t = 2 * math.pi * k / 90
            page.mouse.move(
                box["x"] + box["width"] * (0.5 + 0.4 * math.cos(t)),
                box["y"] + box["height"] * (0.5 + 0.4 * math.sin(1.3 * t)),
            )
            time.sleep(0.008)
        waits = np.array(page.evaluate("waits"))
        busy = 1000 * (browser_seconds() - busy) / len(waits)
        browser.close()
    print(f"file: {path.stat().st_size / 1e6:.2f} MB; load average {os.getloadavg()[0]:.1f}")
    print(
        f"usable {np.median(usable):.2f} s after loading began, by the page's clock (median of 5)"
    )
    print(f"opened and answered the first move after {np.median(starts):.2f} s (median of 5)")
    median, most = np.percentile(waits, [50, 95])
    print(f"pointer to picture, {len(waits)} moves: median {median:.1f} ms, 95% {most:.1f} ms")
    print(f"processor time of the browser: {busy:.1f} ms for each picture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="of the page; by default it is written")
    parser.add_argument("--moves", type=int, default=400)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured(args.path or write_lesson(Path(folder) / "learn.html"), args.moves)


if __name__ == "__main__":
    main()

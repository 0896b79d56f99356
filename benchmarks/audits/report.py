"""What a report and a notebook show: widths, sizes and themes in a browser, and costs.

The page is that of a study with the quick preset's grid and one epoch per run; it needs Chromium.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import zspace
from zspace.data.kinds.image import ssim
from zspace.report.figures import registry
from zspace.runs.many import Study, open_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TABLES = """() => {
  const boxes = [...document.querySelectorAll("#results > .scroll, #results div > .scroll")];
  return boxes.filter((box) => box.scrollWidth > box.clientWidth + 1).length;
}"""
SCALE = """() => Math.min(...[...document.querySelectorAll("figure img")]
  .filter((image) => image.offsetWidth && getComputedStyle(image).visibility === "visible")
  .map((image) => image.getBoundingClientRect().width / image.getAttribute("width")))"""
PAPER = """async () => {
  const image = document.querySelector("#figure-data img");
  await image.decode();
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return Math.round(pen.getImageData(2, 2, 1, 1).data.slice(0, 3).reduce((a, b) => a + b) / 3);
}"""


@functools.cache
def page() -> Path:
    """The report of a study, in a folder that outlives this process."""
    out = Path(tempfile.mkdtemp()) / "study"
    return Path(zspace.study(["ae", "vae", "cvae"], epochs=1, out=out, quiet=True))


def seen(script: str, width: int, theme: str) -> Any:
    """What a script finds on the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        tab.goto(page().as_uri())
        tab.wait_for_timeout(500)
        return tab.evaluate(script)


def tables() -> str:
    return f"{seen(TABLES, 1024, 'light')} tables of results are cut at 1,024 px"


def text() -> str:
    smallest = 9.5 * 104 / 72 * seen(SCALE, 360, "light")
    return f"the smallest labels of a figure are {smallest:.0f} px high at 360 px"


def paper() -> str:
    return f"the paper of a figure has a brightness of {seen(PAPER, 1024, 'dark')} in dark mode"


def study() -> Study:
    return open_study(page().parent)


def notebook() -> str:
    names = ("reconstructions", "samples", "codes-pca", "posterior")
    shown = [hasattr(registry.draw(name, study()), "_repr_png_") for name in names]
    things = (study(), study().runs[0], study().data)
    others = sum(hasattr(thing, "_repr_html_") for thing in things)
    return f"{sum(shown)} of 4 figures and {others} of study, run and data show themselves"


def similarity() -> str:
    x, y = torch.rand(2, 1000, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    ssim(x, y)
    start = time.process_time()
    for _ in range(5):
        ssim(x, y)
    each = (time.process_time() - start) / 5
    return (
        f"SSIM of 1,000 digits takes {'less' if each < 0.03 else 'more'} than 0.03 s of CPU time"
    )


AUDITS = [
    ("width of the tables", "1 tables of results are cut at 1,024 px", tables),
    (
        "size of labels on a telephone",
        "the smallest labels of a figure are 6 px high at 360 px",
        text,
    ),
    ("figures in dark mode", "the paper of a figure has a brightness of 255 in dark mode", paper),
    (
        "pictures in a notebook",
        "0 of 4 figures and 0 of study, run and data show themselves",
        notebook,
    ),
    ("cost of SSIM", "SSIM of 1,000 digits takes more than 0.03 s of CPU time", similarity),
]

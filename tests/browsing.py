"""What tests do to a page in a browser, and what they read from it."""

from __future__ import annotations

import base64
import gzip
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from zspace.explorer.bundle import bundled
from zspace.explorer.export import sources

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

TURN = [2 * math.pi * t / 20 for t in range(22)]
RING = [(0.5 + 0.25 * math.sin(t) + 0.07 * math.cos(t), 0.5 - 0.33 * math.cos(t)) for t in TURN]
STROKES = {
    "0": RING,
    "1": [(0.5, 0.15), (0.5, 0.4), (0.5, 0.6), (0.49, 0.85)],
    "7": [(0.28, 0.2), (0.45, 0.2), (0.72, 0.2), (0.64, 0.45), (0.56, 0.65), (0.48, 0.88)],
}
"""Digits as a pen goes, in fractions of the square."""

CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.offsetParent || one.closest(".unseen, .hint")) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${one.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""The texts of the page whose contrast is below 4.5, WCAG 2.2's level AA."""


def pixels(page: Any, selector: str) -> np.ndarray:
    """What a canvas shows, (H, W, 4)."""
    height, width, data = page.evaluate(
        """selector => {
          const canvas = document.querySelector(selector);
          const { width, height } = canvas;
          const context = canvas.getContext("2d");
          return [height, width, Array.from(context.getImageData(0, 0, width, height).data)];
        }""",
        selector,
    )
    return np.array(data, np.uint8).reshape(height, width, 4)


def soon(test: Callable[[], Any], seconds: float = 6.0) -> Any:
    """What `test` answers, once that is true."""
    end = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.03)
    return found


def settled(page: Any, selector: str, seconds: float = 0.3) -> None:
    """Wait until the text of the first such element has not changed for a while."""
    last, since = None, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = page.locator(selector).first.inner_text()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    soon(still)


def changed(page: Any, selector: str, before: np.ndarray) -> np.ndarray:
    """What a canvas shows, once that is another picture."""
    soon(lambda: not np.array_equal(pixels(page, selector), before))
    return pixels(page, selector)


def at(page: Any, x: float, y: float, selector: str = ".map") -> tuple[float, float]:
    """A place of an element by fractions of its size, on the screen."""
    box = page.locator(selector).first.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page: Any, places: list[tuple[float, float]], selector: str = ".map", n: int = 3) -> None:
    page.mouse.move(*at(page, *places[0], selector))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place, selector), steps=n)
    page.mouse.up()


def link(page: Any) -> str:
    return page.evaluate("location.href")


def numbers(url: str, name: str) -> list[float]:
    """The numbers that the link of a page holds under a name; NaN while it holds none."""
    parts = dict(part.split("=", 1) for part in urlsplit(url).fragment.split("&"))
    return [float(value) for value in parts.get(name, "nan").split(",")]


def alike(one: Any, other: Any, selector: str) -> bool:
    """Whether a canvas shows the same on two pages, but for rounding."""
    a, b = (pixels(page, selector).astype(int) for page in (one, other))
    return a.shape == b.shape and bool(np.abs(a - b).max() <= 3)


def total(page: Any) -> int:
    """How many test images the lasso holds."""
    title = page.locator("#circled h2")
    soon(lambda: "test images" in title.inner_text())
    return int(title.inner_text().split()[0].replace(",", ""))


def foreign(url: str, own: str) -> bool:
    """Whether a request leaves the page's own host."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return url != own
    return parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(own).netloc


def opened(browser: Any, url: str, wrong: list[str], **options: Any) -> Any:
    """The page at a URL; what goes wrong there is noted."""
    look = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
    page = browser.new_context(**look).new_page()
    page.on(
        "console", lambda m: m.type == "error" and "400" not in m.text and wrong.append(m.text)
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: foreign(r.url, url) and wrong.append(f"asked {r.url}"))
    page.goto(url)
    page.wait_for_selector("body.ready")
    return page


def probe(module: str, *names: str, more: dict[str, str] | None = None) -> str:
    """A script for `page.evaluate`: names that a module exports, as members of `probe`."""
    listed = ", ".join(names)
    main = f'import {{ {listed} }} from "./{module}";\nglobalThis.probe = {{ {listed} }};\n'
    return bundled("probe.js", {**sources(), **(more or {}), "probe.js": main})


def inside(page: Path) -> dict[str, bytes]:
    """The data files that lie in an exported page, by name."""
    blocks = re.findall(r'data-files="([^"]+)">([^<]*)</script>', page.read_text())
    found = {names: gzip.decompress(base64.b64decode(packed)) for names, packed in blocks}
    return {name: content for names, content in found.items() for name in names.split()}

"""Draw the README's pictures from a cvae on digits: python scripts/draw_readme.py RUN [PLANAR]

Writes docs/images/decomposition.png, what an autoencoder is made of, with the run's own images and
numbers, and docs/images/samples.png, its samples. Of a second run with codes of two dimensions it
writes docs/images/explorer.png, its page in the explorer, which needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

import zspace
from zspace.analysis import reconstruction
from zspace.report.figures import style
from zspace.report.figures.style import COLOURS, INK, MUTED

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def text(axes: Axes, x: float, y: float, words: str, size: float = 10, **more: object) -> None:
    axes.text(x, y, words, ha="center", va="center", fontsize=size, **{"color": INK, **more})


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=11, color=MUTED, linewidth=1.2
        )
    )


def trapezium(axes: Axes, x: float, heights: tuple[float, float], name: str, colour: str) -> None:
    """A network between two heights, centred on y = 3.1."""
    (a, b), y, width = heights, 3.1, 1.5
    corners = [(x, y - a), (x, y + a), (x + width, y + b), (x + width, y - b)]
    axes.add_patch(Polygon(corners, facecolor=colour, alpha=0.22, edgecolor=colour, linewidth=1.4))
    text(axes, x + width / 2, y, name, fontweight="bold")


def box(
    axes: Axes, x: float, y: float, size: tuple[float, float], words: str, colour: str
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - size[0] / 2, y - size[1] / 2), *size,
            boxstyle="round,pad=0.02,rounding_size=0.12",
            facecolor=colour, alpha=0.22, edgecolor=colour, linewidth=1.4,
        )
    )  # fmt: skip
    text(axes, x, y, words, fontweight="bold")


def picture(fig: Figure, axes: Axes, x: float, y: float, image: np.ndarray, size: float) -> None:
    """An image (1, H, W) centred on (x, y) in the units of the axes."""
    axes.imshow(
        image[0], cmap="gray", vmin=0, vmax=1, zorder=3,
        extent=(x - size / 2, x + size / 2, y - size / 2, y + size / 2),
    )  # fmt: skip


def code_bars(axes: Axes, x: float, z: np.ndarray) -> None:
    """The code as a column of bars around y = 3.1."""
    axes.plot([x, x], [2.2, 4.0], color=MUTED, linewidth=0.8)
    for i, value in enumerate(0.42 * z / np.abs(z).max()):
        y = 3.1 + (len(z) / 2 - 0.5 - i) * 1.8 / len(z)
        axes.barh(
            y, value, left=x, height=1.3 / len(z), color=COLOURS[0 if value >= 0 else 1], zorder=3
        )


def decomposition(run: zspace.Run) -> Figure:
    """Encoder, bottleneck, decoder, likelihood, prior, objective, with one digit going through."""
    pairs = reconstruction.reconstructions(run, run.data(), 10)
    x, decoded, label = pairs.x[3], pairs.decoded[3], int(pairs.y[3])
    z = run.encode(x[None], label)[0]
    test = run.result["test"]
    fig = Figure(figsize=(10, 4.6), facecolor="white")
    axes = fig.add_axes((0, 0, 1, 1))
    picture(fig, axes, 1.1, 3.1, x, 1.3)
    trapezium(axes, 2.2, (0.9, 0.45), "encoder", COLOURS[0])
    box(axes, 4.75, 3.1, (1.4, 0.7), "bottleneck", COLOURS[4])
    code_bars(axes, 6.25, z)
    trapezium(axes, 7.0, (0.45, 0.9), "decoder", COLOURS[0])
    box(axes, 9.55, 3.1, (1.3, 0.7), "likelihood", COLOURS[1])
    picture(fig, axes, 11.2, 3.1, decoded, 1.3)
    for start, end in [(1.8, 2.15), (3.75, 4.0), (5.5, 5.75), (6.75, 6.97), (8.55, 8.85),
                       (10.25, 10.5)]:  # fmt: skip
        arrow(axes, (start, 3.1), (end, 3.1))
    text(axes, 1.1, 2.2, "x", 12, style="italic")
    text(axes, 6.25, 1.93, "z", 12, style="italic")
    text(axes, 11.2, 2.2, "mean of p(x|z)", 10, style="italic")
    box(axes, 6.25, 4.95, (1.9, 0.6), "prior  p(z)", COLOURS[4])
    text(axes, 8.75, 4.95, "says where codes should lie", 9, color=MUTED)
    arrow(axes, (6.25, 4.6), (6.25, 4.2))
    text(axes, 4.75, 2.5, "q(z|x)", 9, color=MUTED)
    box(axes, 6.15, 0.75, (10.6, 0.8), "", COLOURS[7])
    text(
        axes, 6.15, 0.75,
        f"objective  =  1 × mse ({test['mse']:.1f})  +  1 × kl ({test['kl']:.1f})"
        f"     a weighted sum of named terms, here on the test set of {run.data().name}",
        10,
    )  # fmt: skip
    axes.set(xlim=(0, 12.3), ylim=(0.1, 5.6))
    axes.set_aspect("equal")
    axes.set_axis_off()
    return fig


def page(run: zspace.Run, out: Path) -> Path:
    """The explorer's page as a visitor sees it who points at the map, in full colour."""
    from playwright.sync_api import sync_playwright

    command = [
        sys.executable,
        "-m",
        "zspace",
        "explore",
        str(run.path),
        "--no-open",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            size = {"width": 1200, "height": 720}
            shown = browser.new_page(viewport=size, reduced_motion="reduce")
            shown.goto(server.stdout.readline().strip())
            shown.wait_for_selector("body.ready")
            box = shown.locator(".map").bounding_box()
            assert box is not None
            shown.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.55 * box["height"])
            shown.wait_for_load_state("networkidle")
            shown.wait_for_timeout(1500)
            shown.screenshot(path=out)
            browser.close()
        server.terminate()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("planar", nargs="?")
    options = parser.parse_args()
    run = zspace.load(options.run)
    IMAGES.mkdir(parents=True, exist_ok=True)
    print(style.save(decomposition(run), IMAGES / "decomposition.png", dpi=130))
    rows, labels = reconstruction.sample_rows(run, 12)
    if options.planar is not None:
        print(page(zspace.load(options.planar), IMAGES / "explorer.png"))
    title = "A conditional VAE: a label a row, the same z down each column"
    print(style.save(style.image_grid(rows, labels, title), IMAGES / "samples.png", dpi=80))


if __name__ == "__main__":
    main()

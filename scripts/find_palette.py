"""Find ten colours of classes that everybody can tell apart: python scripts/find_palette.py [SEED]

Two colours are as far apart as their distance in CIE Lab (CIE76), the smallest of those in normal,
deuteranope and protanope sight (Machado, Oliveira, Fernandes. A physiologically-based model for
simulation of color vision deficiency. IEEE TVCG 15, 2009; matrices of severity 1, for linear RGB).
The search, simulated annealing, wants every pair of colours more than 30 apart, and each colour as
far from every grey that a decoding under the points of the explorer can have, in either theme.
Beyond that it favours hues that normal sight tells apart, and colours that are not near-black,
pale or glaring.

Prints the worst pair of the palette in use, `zspace.system.pixels.COLOURS`, its smallest distance
from a grey, and the same of what the search finds from SEED. The palette in use is what seed 35
found, in another order; of ten seeds it kept most hues.
"""

from __future__ import annotations

import re
import sys

import numpy as np

from zspace import explorer
from zspace.system.pixels import COLOURS

DEUTERANOPE = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
PROTANOPE = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
SIGHTS = np.stack([np.eye(3), DEUTERANOPE, PROTANOPE])
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""From linear sRGB (IEC 61966-2-1, D65)."""
STEPS = 45_000


def rgb(colours: list[str] | tuple[str, ...]) -> np.ndarray:
    """'#rrggbb', ... as (n, 3) in [0, 1]."""
    return np.array([list(bytes.fromhex(one[1:])) for one in colours]) / 255


def seen(colours: np.ndarray) -> np.ndarray:
    """sRGB (n, 3) in [0, 1] as CIE Lab (3, n, 3): in normal, deuteranope and protanope sight."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.einsum("sij,nj->sni", SIGHTS, linear), 0, 1)
    t = linear @ XYZ.T / XYZ.sum(1)
    root = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of Lab (3, n, 3) from (3, m, 3): (3, n, m)."""
    return np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)


def pairs(lab: np.ndarray) -> np.ndarray:
    """The distances (3, n (n - 1) / 2) of every pair of colours, Lab (3, n, 3)."""
    return distances(lab, lab)[:, ~np.tri(lab.shape[1], dtype=bool)]


def greys() -> np.ndarray:
    """The greys (n, 3) behind the points, from the page's own files: ink on a card, from none to
    as much as the map lets through under points, in the light theme and the dark one.
    """
    files = explorer.page_files()
    css, code = files["style.css"].read_text(), files["map.js"].read_text()
    cards, inks = (rgb(re.findall(rf"--{name}: (#\w{{6}})", css)) for name in ("card", "ink"))
    (most,) = re.findall(r"look\.points \? ([\d.]+)", code)
    t = np.linspace(0, float(most), 30)[:, None]
    return np.concatenate([(1 - t) * a + t * b for a, b in zip(cards, inks, strict=True)])


def search(seed: int, behind: np.ndarray) -> np.ndarray:
    """Ten colours (10, 3). behind: greys in Lab."""

    def worth(colours: np.ndarray) -> float:
        lab = seen(colours)
        apart, off = pairs(lab), distances(lab, behind).min((1, 2))
        light, chroma = lab[0, :, 0], np.hypot(lab[0, :, 1], lab[0, :, 2])
        hue = np.sort(np.degrees(np.arctan2(lab[0, :, 2], lab[0, :, 1])))
        gap = np.diff(np.append(hue, hue[0] + 360)).min()
        harsh = np.maximum(0, 30 - light) + np.maximum(0, light - 86)
        harsh += 0.5 * np.maximum(0, chroma - 90)
        clear = 12 * min(apart.min(), 31.2)
        clear += 10 * (min(off[0], 30.8) + min(off[1:].min(), 30.6))
        varied = min(apart[0].min(), 60) + 0.6 * min(gap, 16) + 0.1 * np.sort(apart[0])[:12].mean()
        return float(clear + varied - 1.2 * harsh.sum())

    draw = np.random.RandomState(seed)
    now = best = draw.rand(10, 3)
    held = most = worth(now)
    for step in range(STEPS):
        left = 1 - step / STEPS
        other, k = now.copy(), draw.randint(10)
        other[k] = np.clip(other[k] + (0.015 + 0.25 * left) * draw.randn(3), 0, 1)
        value = worth(other)
        if value > held or draw.rand() < np.exp((value - held) / max(8 * left**2, 1e-6)):
            now, held = other, value
        if held > most:
            best, most = now, held
    return best


def main() -> None:
    behind = seen(greys())
    found = [COLOURS]
    if len(sys.argv) > 1:
        colours = np.round(255 * search(int(sys.argv[1]), behind)).astype(np.uint8)
        found.append(tuple("#" + bytes(one.tolist()).hex() for one in colours))
    for colours in found:
        lab = seen(rgb(colours))
        print(*colours)
        worst, grey = pairs(lab).min(), distances(lab, behind).min()
        print(f"  worst pair {worst:.1f}, from a grey {grey:.1f}")


if __name__ == "__main__":
    main()

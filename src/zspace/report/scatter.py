"""The interactive scatter: points of codes, and one sprite of images and reconstructions.

What the script of the page reads:

    tile, columns, count   the sprite's tiles: width and height, how many in a row, test images;
                           tile i is image i, tile (f + 1) count + i what family f makes of it
    sprite                 a PNG as data URI
    classes, colours, y    names and colours of labels, the label of each point; empty without
    families               label, axes, x and y of each point, error of each point, the prior's
                           circle or null
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from zspace import explore
from zspace.explore.picks import subset
from zspace.figures import needs
from zspace.figures.codes import CIRCLE
from zspace.figures.house import class_colours
from zspace.images import tile
from zspace.report.facts import Facts
from zspace.report.families import Family
from zspace.report.pictures import uri

MOST = 2000
VALUES = 7_000_000
LARGEST = 32


def explorer(facts: Facts) -> dict[str, Any] | None:
    """All that the script needs; None where there are too few test images."""
    if needs.test_images(facts.study) is not None:
        return None
    x = facts.data.test.images(torch.arange(1)).numpy()
    each = thumbnails(x).size * (len(facts.families) + 1)
    few = subset(facts.data.test, max(10, min(MOST, VALUES // each)))
    x, y, c = few.images().numpy(), few.labels(), few.conditions()
    shown, clouds = [thumbnails(x)], []
    for family in facts.families:
        made = family.run.reconstruct(x, c if family.conditional else None)
        shown.append(thumbnails(made))
        clouds.append(cloud(facts, family, x, c, made))
    tiles = np.concatenate(shown)
    columns = max(1, 2000 // tiles.shape[-1])
    return {
        "tile": [tiles.shape[-1], tiles.shape[-2]],
        "columns": columns,
        "count": len(x),
        "sprite": uri(sprite(tiles, columns), "image/png"),
        "classes": list(facts.data.classes),
        "colours": colours(len(facts.data.classes)),
        "y": [] if y is None else y.tolist(),
        "families": clouds,
    }


def cloud(
    facts: Facts, family: Family, x: np.ndarray, c: torch.Tensor | None, made: np.ndarray
) -> dict[str, Any]:
    """Where a family puts the images, on the plane of its figure, and how well it keeps them."""
    z = family.run.encode(x, c if family.conditional else None).reshape(len(x), -1)
    plane = explore.plane(family.run, data=facts.data)
    if z.shape[1] == 1:
        z = np.c_[z, np.random.RandomState(0).uniform(-0.35, 0.35, len(z))]
    elif z.shape[1] > 2:
        z = explore.principal(explore.codes(family.run, facts.data).z, 2).project(z)
    error = np.square(x - made).reshape(len(x), -1).sum(1)
    return {
        "label": family.label,
        "size": family.chosen,
        "axes": plane.axes,
        "x": rounded(z[:, 0]),
        "y": rounded(z[:, 1]),
        "error": rounded(error, 1),
        "origin": [float(round(value, 3)) for value in plane.origin],
        "circle": CIRCLE,
    }


def rounded(values: np.ndarray, digits: int = 3) -> list[float]:
    """As short as JSON may hold them."""
    return [round(float(value), digits) for value in values]


def colours(n: int) -> list[str]:
    """A colour for each class, those of the figures."""
    if not n:
        return []
    rows = (class_colours(np.arange(n), n)[:, :3] * 255).round().astype(int)
    return ["#" + "".join(f"{value:02x}" for value in row) for row in rows]


def thumbnails(x: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) of one or three channels, at most 32 high and wide."""
    if x.shape[1] not in (1, 3):
        x = x.mean(1, keepdims=True)
    factor = -(-max(x.shape[-2:]) // LARGEST)
    if factor == 1:
        return x
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(x), factor, ceil_mode=True)
    return small.numpy()


def sprite(tiles: np.ndarray, columns: int) -> bytes:
    """Tiles (N, C, H, W) as one PNG of few colours, without gaps."""
    picture = np.asarray(tile(tiles, columns, 0))
    grey = picture.ndim == 2 or picture.shape[-1] == 1
    content = io.BytesIO()
    if grey:
        levels = (picture.reshape(picture.shape[:2]).astype(np.uint16) + 8) // 17
        image = Image.fromarray(levels.clip(0, 15).astype(np.uint8), "P")
        image.putpalette([17 * level for level in range(16) for _ in range(3)])
        image.save(content, "PNG", optimize=True, bits=4)
    else:
        image = Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE)
        image.save(content, "PNG", optimize=True)
    return content.getvalue()

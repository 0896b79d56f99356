"""Windows on a 2-D code space: one where codes are dense, one where there are hardly any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS = 14


@dataclass(frozen=True)
class Window:
    """A square part of the plane, from low (2,) to high (2,), with `count` codes in it."""

    low: tuple[float, float]
    high: tuple[float, float]
    count: int

    def ticks(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """n values across and n upwards, from edge to edge."""
        (x0, y0), (x1, y1) = self.low, self.high
        return np.linspace(x0, x1, n), np.linspace(y0, y1, n)


def windows(points: np.ndarray) -> tuple[Window, Window]:
    """The densest window of points (N, 2), and the emptiest one that lies among them.

    Candidates are squares that tile the box which holds 98% of each coordinate. The emptiest is
    looked for between the 5% and the 95% quantile of both coordinates; of several that are
    equally empty, the one nearest to the median: a hole, not the outside.
    """
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    side = max((high - low).max() / CELLS, 1e-6)
    cells = np.maximum(1, np.ceil((high - low) / side - 1e-9)).astype(int)
    edges = [a + side * np.arange(n + 1) for a, n in zip(low, cells, strict=True)]
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=edges)[0].astype(int)
    middles = np.stack(
        np.meshgrid(*[edge[:-1] + side / 2 for edge in edges], indexing="ij"), axis=-1
    )
    dense = np.unravel_index(counts.argmax(), counts.shape)
    return _window(edges, counts, dense), _window(edges, counts, _hole(points, counts, middles))


def _hole(points: np.ndarray, counts: np.ndarray, middles: np.ndarray) -> tuple[int, ...]:
    """The cell among the points with the fewest of them, nearest to their median."""
    inner, outer = np.quantile(points, [0.05, 0.95], axis=0)
    within = ((middles >= inner) & (middles <= outer)).all(-1)
    distance = np.linalg.norm(middles - np.median(points, axis=0), axis=-1)
    order = np.lexsort((distance.ravel(), counts.ravel(), ~within.ravel()))
    return tuple(int(i) for i in np.unravel_index(order[0], counts.shape))


def _window(edges: list[np.ndarray], counts: np.ndarray, cell: tuple) -> Window:
    low = (float(edges[0][cell[0]]), float(edges[1][cell[1]]))
    high = (float(edges[0][cell[0] + 1]), float(edges[1][cell[1] + 1]))
    return Window(low, high, int(counts[cell]))

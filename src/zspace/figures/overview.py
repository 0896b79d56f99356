"""The pictures that every training leaves in its run folder."""

from __future__ import annotations

from pathlib import Path

from zspace import explore
from zspace.figures.basic import curves, image_grid, scatter
from zspace.figures.house import save
from zspace.runs import Run


def overview(run: Run) -> list[Path]:
    """Draw a run's pictures into its folder: reconstructions, samples, codes, curves."""
    folder, name = run.path / "figures", run.job.name
    folder.mkdir(exist_ok=True)
    pairs, plane = explore.reconstructions(run, 12), explore.plane(run)
    titles = ["test image", "decoded"]
    rows, labels = explore.sample_rows(run, 12)
    drawn = {
        "reconstructions": image_grid([pairs.x, pairs.decoded], titles, f"{name}: unseen images"),
        "samples": image_grid(rows, labels, f"{name}: decoded draws of N(0, I)"),
        "codes": scatter(
            plane.points, plane.y, run.spec.classes, f"{name}: {plane.axes}, test set"
        ),
        "curves": curves(run.metrics, f"{name}: training"),
    }
    return [save(fig, folder / f"{key}.png") for key, fig in drawn.items()]

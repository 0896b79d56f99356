"""What is said beside each figure: what it shows, how to read it, and this study's numbers."""

from __future__ import annotations

from collections.abc import Callable

from zspace.report import about_codes, about_images
from zspace.report.facts import Facts

CAPTIONS: dict[str, Callable[[Facts], str]] = {
    "data": about_images.data,
    "data-tsne": about_images.data_tsne,
    "curves": about_images.curves,
    "quality": about_images.quality,
    "error-per-class": about_images.error_per_class,
    "reconstructions": about_images.reconstructions,
    "reconstructions-by-size": about_images.reconstructions_by_size,
    "surprises": about_images.surprises,
    "samples": about_images.samples,
    "codes-pca": about_codes.codes_pca,
    "codes-kde": about_codes.codes_kde,
    "codes-tsne": about_codes.codes_tsne,
    "plane": about_codes.plane,
    "plane-by-label": about_codes.plane_by_label,
    "plane-labels": about_codes.plane_labels,
    "holes": about_codes.holes,
    "interpolation": about_images.interpolation,
    "tweak": about_codes.tweak,
    "training": about_codes.training,
    "posterior": about_codes.posterior,
    "few-labels": about_codes.few_labels,
}
"""By the name of the figure."""

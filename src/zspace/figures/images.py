"""Figures of the data: what they look like, and a map of them."""

from __future__ import annotations

from matplotlib.figure import Figure

from zspace import explore
from zspace.figures.basic import bare, points
from zspace.figures.house import class_legend, figure, short
from zspace.figures.sheets import image_grid
from zspace.study import Study


def data(study: Study) -> Figure:
    """Images drawn at random from the training set, a row a class where there are labels."""
    classes = study.data.classes
    x, of_row = explore.class_rows(study.data.train, len(classes))
    names = [classes[k] if not i or of_row[i - 1] != k else "" for i, k in enumerate(of_row)] or [
        ""
    ] * len(x)
    more = len(classes) - len(set(of_row))
    note = f"{more} further classes are not shown" if more > 0 else ""
    return image_grid(list(x), names, f"{short(study.data.name)}: training images", note)


def data_tsne(study: Study) -> Figure:
    """The t-SNE map of up to 10,000 raw training images by label."""
    found = explore.data_map(study.data)
    title = f"{short(study.data.name)}: t-SNE of {len(found.points):,} raw training images"
    fig = figure(7.6, 6.2, title)
    axes = fig.subplots()
    points(axes, found.points, found.y, len(study.data.classes))
    bare(axes, found.points)
    if found.y is not None:
        class_legend(fig, study.data.classes)
    return fig

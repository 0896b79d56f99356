"""New data for a finished run: read as its own were, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zspace.data.dataset import Data
from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.image import by
from zspace.data.labels import MISSING
from zspace.data.loading import is_resized, load_new
from zspace.data.options import DataOptions
from zspace.data.spec import Spec
from zspace.system.errors import UserError


def read_new(
    source: Any,
    spec: Spec,
    options: DataOptions,
    *,
    encoding: Encoding | None,
    values: tuple[float, ...],
    data_dir: Path | None,
    quiet: bool,
) -> Data:
    """Data of any size that nobody splits, in the shape of a run's.

    Arguments:
        source: A path, a name, or what is held in Python.
        spec: What its model reads.
        options: Those under which its own data were read.
        encoding: What it learned of its samples; None for images.
        values: The raw values of its images that are 0 and 1; () for the usual ones.
        data_dir: Where files of named sets lie.
        quiet: Show no progress bars.

    Raises UserError for what cannot be read, and for colours where the model knows grey only.
    """
    alike: dict[str, Any] = {
        "classes": spec.classes,
        "missing": options.missing,
        "columns": options.columns,
        "weight": options.weight,
        "attributes": spec.attributes,
        "skip_bad": options.skip_bad,
        "quiet": quiet,
    }
    if encoding is not None:
        return load_new(
            source, encoding=encoding, labels=options.labels, stride=options.stride, **alike
        )
    channels, height, width = spec.shape
    resized = isinstance(source, str) and is_resized(source)
    data = load_new(
        source,
        data_dir=data_dir,
        size=(height, width) if resized else None,
        fit=options.fit,
        transparency=options.transparency,
        class_level=options.class_level,
        channels=3 if resized and channels == 3 else None,  # grey becomes colour, not back
        values=values,
        **alike,
    )
    if (data.spec.shape[0], channels) == (3, 1):
        unfit = f"data '{data.name}' has colour images, but the model was trained on grey"
        raise UserError(f"{unfit}: make the images grey, or train on colour images")
    return data


def checked(data: Data, spec: Spec, conditional: bool, partly: bool = False) -> Data:
    """These data, scaled as the run's own, where its model can read them.

    Arguments:
        data: What was read.
        spec: What the model reads.
        conditional: Whether it needs their labels or attributes.
        partly: Whether it takes samples that have none.

    Raises UserError for another shape, and for labels or attributes that are missing or unknown.
    """
    if spec.scales and data.attributes == spec.attributes:
        data = data.scaled(spec.scales)  # as in training, whatever these samples are
    if data.spec.shape != spec.shape:
        raise UserError(
            f"data '{data.name}' has images of {by(data.spec.shape)}, but this model reads "
            f"{by(spec.shape)} (channels × height × width): give images of that shape"
        )
    if conditional and spec.attributes:
        if data.attributes != spec.attributes:
            unfit = f"data '{data.name}' lacks attributes that this conditional model needs"
            raise UserError(f"{unfit}: give data with {', '.join(spec.attributes)}")
        lacking = sum(int(some.unlabelled().sum()) for some in data.splits.values())
        if lacking and not partly:
            unfit = f"{lacking:,} samples of '{data.name}' lack attributes that this conditional"
            raise UserError(f"{unfit} model needs: leave them out, or fill the attributes in")
    elif conditional and data.whole is not None:
        told = [samples.labels() for samples in data.splits.values()]
        strange = data.classes[len(spec.classes) :]
        if strange or any(y is None or bool((y == MISSING).any()) for y in told):
            raise UserError(
                f"data '{data.name}' has the labels {', '.join(strange) or '(none)'}, but "
                f"this conditional model needs labels among {', '.join(spec.classes)}"
            )
    return data

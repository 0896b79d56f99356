"""A class that training never sees, so that its images can serve as anomalies."""

from __future__ import annotations

from dataclasses import replace

from zspace.data.samples import Data, Samples
from zspace.errors import UserError, unknown


def without(data: Data, name: str) -> Data:
    """The data with no image of a class in training and validation; the test split keeps it.

    The labels 0, 1, ... and the names of the classes stay as they are. name: of the class; empty
    leaves the data alone.

    Raises UserError for a class that the data have not, and where too little would be left.
    """
    if not name:
        return data
    if not data.classes:
        raise UserError(f"class '{name}' cannot be held out: data '{data.name}' have no labels")
    if name not in data.classes:
        raise unknown("class to hold out", name, data.classes)
    label = data.classes.index(name)
    train, validation = _others(data.train, label), _others(data.validation, label)
    if not (len(train) and len(validation)):
        raise UserError(
            f"without class '{name}', data '{data.name}' have {len(train)} training and "
            f"{len(validation)} validation images: hold out another class"
        )
    return replace(data, train=train, validation=validation)


def _others(samples: Samples, label: int) -> Samples:
    """The samples of other labels."""
    y = samples.labels()
    assert y is not None
    return replace(samples, index=samples.index[y != label])

"""The images of many files: what they are brought to, and their pixels in memory.

Headers must agree before pixels are worth anything: on grey or colour, on the depth of values and,
without a size, on height and width. One pass reads both, as if all were like the first file; where
one is not, the rest of the pass reads headers alone, and the images are decoded in a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zspace.data.read_options import ReadOptions
from zspace.data.readers import images
from zspace.data.readers.cache import DEPTHS, Depth, Shape
from zspace.data.readers.images import Files, Source
from zspace.data.readers.parallel import each
from zspace.system.errors import UserError


class Agreed(NamedTuple):
    """What all images are brought to: (C, H, W), and how deep their values are."""

    shape: Shape
    depth: Depth

    @property
    def nbytes(self) -> int:
        """Of one image."""
        return math.prod(self.shape) * self.depth.itemsize


class Survey(NamedTuple):
    """What a pass over all files has found.

    Arguments:
        readable: The files of each split whose header could be read.
        agreed: What their images will be brought to.
        bad: The errors of the other files.
        clear: How many images may be transparent.
        images: Those of each split, in the order of the files, where they are decoded already.
    """

    readable: dict[str, Files]
    agreed: Agreed
    bad: list[str]
    clear: int
    images: dict[str, np.ndarray]


Looked = tuple[Source, images.Look]


def survey_of(splits: Mapping[str, Files], options: ReadOptions) -> Survey:
    """One pass over all files: their headers, and as long as these agree with the first one, the
    images themselves, if all fit the memory. Files are opened twice only where they do not.
    """
    kept, arrays = dict[str, Files](), dict[str, np.ndarray]()
    looks, bad = list[Looked](), list[str]()
    first = _first(splits, options)
    presumed = _agreed([first], options) if first else None
    if presumed and presumed.nbytes * sum(map(len, splits.values())) > options.memory:
        presumed = None
    alike = {first[1]} if first else set()
    for split, files in splits.items():

        def work(i: int, source: Source, split: str = split) -> images.Look:
            nonlocal presumed
            with _encoded(source, options) as image:
                look, form = image.look, presumed
                if form is not None and look not in alike:
                    assert first is not None
                    if _agrees(form, [first, (source, look)], options):
                        alike.add(look)
                    else:
                        form = presumed = None
                if form is not None:
                    arrays[split][i] = _decoded_image(image, form, options)
            return look

        if presumed:
            arrays[split] = np.empty((len(files), *presumed.shape), presumed.depth.stored)
        good, found, errors = each("Reading", files.paths, work, options)
        kept[split] = files.keep(good)
        looks += zip(kept[split].paths, found, strict=True)
        bad += errors
        if errors and presumed:
            arrays[split] = arrays[split][good]
    if not looks or not kept.get("train", looks):
        raise UserError(f"no image can be read; the first error: {bad[0]}")
    clear = sum(look.clear for _, look in looks)
    return Survey(kept, _agreed(looks, options), bad, clear, arrays if presumed else {})


def _first(splits: Mapping[str, Files], options: ReadOptions) -> Looked | None:
    """The first file with a header that can be read; None where there is none."""
    with images.strict():
        for source in (source for files in splits.values() for source in files.paths):
            try:
                with _encoded(source, options) as image:
                    return source, image.look
            except UserError:
                if not options.skip_bad:
                    raise
    return None


def _agrees(form: Agreed, looks: Sequence[Looked], options: ReadOptions) -> bool:
    try:
        return _agreed(looks, options) == form
    except UserError:  # it is raised again once all headers are known
        return False


def _agreed(looks: Sequence[Looked], options: ReadOptions) -> Agreed:
    """What images are brought to. Raises UserError where they are too different."""
    depth = _depth(looks, options)
    channels = options.channels or _channels(looks, options)
    if (to := images.sides(options.size)) is not None:
        return Agreed((channels, *to), depth)
    one, first = looks[0]
    for path, look in looks:
        if (look.height, look.width) != (first.height, first.width):
            raise UserError(
                f"images differ in size: '{one}' is {first.width} x {first.height}, '{path}' "
                f"is {look.width} x {look.height}; give --size to resize and crop them all"
            )
    return Agreed((channels, first.height, first.width), depth)


def _channels(looks: Sequence[Looked], options: ReadOptions) -> int:
    """How many channels all images will have."""
    of = {look.bands: source for source, look in reversed(looks)}
    if many := [n for n in of if n not in (0, 1, 3, 4)]:
        if len(of) > 1:
            told = " and ".join(f"'{s}' has {n or '1 to 4'}" for n, s in sorted(of.items()))
            raise UserError(f"images differ in their number of bands: {told}; give one number")
        return many[0]
    if options.transparency == "keep" and any(look.clear or look.bands == 4 for _, look in looks):
        return 4
    return 1 if all(look.grey for _, look in looks) else 3


def _depth(looks: Sequence[Looked], options: ReadOptions) -> Depth:
    """How deep the values of all images are, taken together."""
    of = {look.depth: source for source, look in reversed(looks)}
    depths = (set(of) & {"float32"} and len(of) > 1) or (options.values and len(of) > 1)
    if depths:
        told = " and ".join(f"'{source}' is {depth}" for depth, source in sorted(of.items()))
        raise UserError(
            f"images differ in the depth of their values: {told}; give images of one depth"
        )
    return DEPTHS["uint16" if "uint16" in of else next(iter(of))]


def decoded(
    survey: Survey, options: ReadOptions
) -> tuple[dict[str, tuple[Files, Tensor]], list[str]]:
    """The images in memory with the files that could be read, and the errors of the others."""
    stored: dict[str, tuple[Files, Tensor]] = {}
    bad = list(survey.bad)
    for split, files in survey.readable.items():
        if split in survey.images:
            stored[split] = files, torch.from_numpy(survey.images[split])
            continue
        array = np.empty((len(files), *survey.agreed.shape), survey.agreed.depth.stored)

        def work(i: int, source: Source, array: np.ndarray = array) -> None:
            array[i] = decoded_file(survey.agreed, options, source)

        good, _, errors = each("Decoding", files.paths, work, options)
        x = torch.from_numpy(array[good] if errors else array)
        stored[split] = files.keep(good), x
        bad += errors
    return stored, bad


def _encoded(source: Source, options: ReadOptions) -> AbstractContextManager[images.Encoded]:
    return images.encoded(source, None if options.crop else options.size, options.fit)


def decoded_file(agreed: Agreed, options: ReadOptions, source: Source) -> np.ndarray:
    """The image (C, H, W) of a file."""
    with _encoded(source, options) as image:
        return _decoded_image(image, agreed, options)


def _decoded_image(image: images.Encoded, agreed: Agreed, options: ReadOptions) -> np.ndarray:
    """The image (C, H, W), held to the shape that its header announced."""
    form = images.Form(
        agreed.shape[0],
        options.size,
        options.crop,
        agreed.depth.name,
        options.fit,
        options.transparency,
    )
    found = image.decoded(form)
    if found.shape != agreed.shape:
        _, height, width = agreed.shape
        raise UserError(
            f"image '{image.source}' is {found.shape[2]} x {found.shape[1]} instead of {width} x "
            f"{height}: it has changed, or is turned by data behind the image; give --size"
        )
    return found

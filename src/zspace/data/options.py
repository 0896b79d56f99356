"""What a user may choose about data; the command line makes its flags from this class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from zspace.data.augment import Augment
from zspace.data.batches import Binarize
from zspace.data.catalogue import KNOWN
from zspace.errors import UserError, unknown


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how they are prepared."""

    data: str = "mnist5k"
    """A known name (see `zspace data list`), hf:NAME, a folder of images, .npz or .npy file."""

    data_dir: Path | None = None
    """Folder with local copies of known sets; default: the environment's ZSPACE_DATA."""

    size: int | None = None
    """Resize and crop images in files (a folder, celeba, hf:NAME) to this many pixels square."""

    skip_bad: bool = False
    """Leave out unreadable images of a folder instead of stopping at the first."""

    augment: Augment = "none"
    """Change training images at random: flip left-right (suits natural images), move (crop)."""

    binarize: Binarize = "none"
    """Make pixels 0 or 1: one draw for good (static) or a fresh one each time (dynamic)."""

    hold_out_class: str = ""
    """Keep images of this class out of training and validation: they are the test's anomalies."""

    def check(self) -> DataOptions:
        """These options. Raises UserError where one makes no sense."""
        for name, known in (("augment", get_args(Augment)), ("binarize", get_args(Binarize))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        return self

    def refuse_inside(self, out: Path) -> None:
        """Raise UserError where results would be written into the folder of the data itself."""
        source = Path(self.data).resolve()
        if self.data not in KNOWN and source.is_dir() and source in (out := out.resolve()).parents:
            raise UserError(
                f"'{out}' lies inside the data folder '{source}', whose images would then include "
                "the results: choose another --out"
            )

"""What a user may choose about data: `DataOptions`, of which the command line makes its flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from zspace.data.attributes import parse_columns
from zspace.data.batches import Augment, Binarize
from zspace.data.kinds.image import parse_values
from zspace.data.loading import is_known, is_resized, parse_size
from zspace.data.read_options import Cut, Fit, Kind, Transparency
from zspace.data.sets.catalogue import KNOWN, where
from zspace.system.errors import UserError, unknown


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how they are prepared.

    >>> DataOptions("mnist5k", hold_out_class="7").check().binarize
    'none'
    """

    data: str = "mnist5k"
    """A known name (see `zspace data list`), hf:NAME, a folder of images, .npz, .npy, .csv, ..."""

    data_dir: Path | None = None
    """Folder with local copies of known sets; default: the environment variable ZSPACE_DATA."""

    size: str | None = None
    """Bring images in files to this many pixels square, or to WIDTHxHEIGHT, such as 128x32."""

    fit: Fit = "crop"
    """How: fill the size and crop the rest, pad with black, or stretch."""

    transparency: Transparency = "white"
    """Lay transparent pixels over white, drop the transparency, or keep it as a fourth channel."""

    skip_bad: bool = False
    """Leave out unreadable images of a folder, and empty lines of a file of texts."""

    augment: Augment = "none"
    """Change training images at random: mirror (flip, for natural images), move (crop)."""

    binarize: Binarize = "none"
    """Make pixels 0 or 1 at random: one draw for good (static), a new one each time (dynamic)."""

    hold_out_class: str = ""
    """Keep this class out of training and validation; all its images go to test, as anomalies."""

    val: str = ""
    """The validation set, where it lies apart: a path or a name, read as the data are."""

    test: str = ""
    """The test set, where it lies apart."""

    values: tuple[str, ...] = ()
    """The raw values that are black and white, such as 0 4095 or -1 1; auto takes those found."""

    labels: str = ""
    """Where labels are: FILE.csv, FILE.csv:COLUMN, an array, a column; age,sex are attributes."""

    class_level: int = 1
    """Which level of folders are the classes: 2 takes those within the folders of level 1."""

    labelled_only: bool = False
    """Leave out samples that have no label."""

    leave_out: tuple[str, ...] = ()
    """Names or patterns of arrays, folders, files or columns that are not to be read."""

    kind: Kind = "auto"
    """What samples are: images, rows of a table, series, tokens; auto: what the source shows."""

    columns: str = ""
    """Kinds of columns and labels, such as age=number,sex=category; the others are found."""

    missing: tuple[str, ...] = ()
    """Values that mean missing, such as ? or -200; empty fields and NaN always do."""

    weight: str = ""
    """An array or a column of weights: a sample of weight 2 counts twice."""

    balance: bool = False
    """Draw all classes equally often in training; validation and test stay as they are."""

    group: str = ""
    """A column of a table: all rows of a group, such as a patient, go to one split."""

    split_by: str = ""
    """A column of a table, such as a date, whose latest rows are test, those before validation."""

    window: int = 0
    """Cut a long series into windows of so many steps, each a sample."""

    stride: int = 0
    """Steps from one window to the next; 0: an eighth of a window."""

    tokens: Cut = "auto"
    """How texts are cut into tokens; auto: words where there are blanks, else characters."""

    vocabulary: int = 10_000
    """The most tokens that are told apart, the frequent ones; all others are one, <other>."""

    length: int = 0
    """Cut samples after so many tokens, the end of the text included; 0: keep all."""

    def check(self) -> DataOptions:
        """These options. Raises UserError for an unknown value of ``augment`` or ``binarize``."""
        offered = {
            "augment": Augment,
            "binarize": Binarize,
            "fit": Fit,
            "kind": Kind,
            "tokens": Cut,
        }
        for name, kind in {**offered, "transparency": Transparency}.items():
            known = get_args(kind)
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        parse_values(self.values)
        parse_size(self.size)
        parse_columns(self.columns)
        least = {"window": 0, "stride": 0, "length": 0, "vocabulary": 3}
        for name, fewest in least.items():
            if getattr(self, name) < fewest:
                raise UserError(f"{name} is {getattr(self, name)}: give {fewest} or more")
        if self.class_level < 1:
            raise UserError(f"class_level is {self.class_level}: give 1, 2 or more")
        return self

    def reading(self) -> dict[str, Any]:
        """What `zspace.data.load` takes: all but what is done to batches in training.

        >>> DataOptions("mnist5k").reading()["source"]
        'mnist5k'
        """
        options = asdict(self)
        for made_in_batches in ("augment", "binarize"):
            options.pop(made_in_batches)
        return {"source": options.pop("data"), **options}

    def refuse_inside(self, out: Path) -> None:
        """Raise UserError where results would be written into the folder of the data itself."""
        source = Path(self.data).resolve()
        if (
            not is_known(self.data)
            and source.is_dir()
            and source in (out := out.resolve()).parents
        ):
            raise UserError(
                f"'{out}' lies inside the data folder '{source}', whose images would then include "
                "the results: choose another --out"
            )


PLAIN = ("data", "data_dir", "augment", "binarize", "hold_out_class", "balance")
"""Options of `DataOptions` that name no file but a set of the catalogue, or are not used."""


def is_harmless(options: Mapping[str, Any], data_dir: Path | None = None) -> bool:
    """Whether options of data name a set on this machine, for which no network is needed.

    Arguments:
        options: Those of `DataOptions`, which may be anybody's; their data_dir is not looked at.
        data_dir: Where local copies may lie, as in `load`.

    >>> is_harmless({"data": "mnist5k"}), is_harmless({"data": "mnist5k", "val": "/etc"})
    (True, False)
    """
    name, usual = options.get("data"), asdict(DataOptions())
    if not isinstance(name, str) or name not in KNOWN or is_resized(name):
        return False
    others = [n for n in usual if n not in PLAIN]
    if any((options.get(n, usual[n]) or None) != (usual[n] or None) for n in others):
        return False
    return where(KNOWN[name], data_dir) is not None

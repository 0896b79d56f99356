"""What the files of a run hold: types, by which each is checked when it is read.

Whoever gets such a value may rely on it. A new value that is read anywhere needs its line here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from typing_extensions import NotRequired, TypedDict

from zspace.analysis.measure import Measure
from zspace.data.dataset import SPLITS
from zspace.data.spec import MOST_NUMBERS
from zspace.system.errors import UserError
from zspace.system.schema import LARGEST, Has, Pattern, Range, Unfit, check

T = TypeVar("T")
Count = Annotated[int, Range(0)]
Real = Annotated[float, Range(-LARGEST, LARGEST)]
Seconds = Annotated[float, Range(0, LARGEST)]
Name = Annotated[str, Range(0, 200)]
Hash = Annotated[str, Pattern("[0-9a-f]{64}")]
FileName = Annotated[str, Pattern(r"\w[\w.-]*")]
FolderName = Annotated[str, Pattern(r"(?!\.)[^/\\]{1,255}")]
Terms = Annotated[dict[Name, float], Has(("objective",)), Range(1, 10_000)]
if TYPE_CHECKING:
    Split: TypeAlias = str
else:
    Split = Literal[SPLITS]
Quality = dict[Split, dict[Name, float]]
"""By measure, or, of tables, by column."""


class Read(TypedDict):
    """How the data were read."""

    scale: NotRequired[tuple[float, float] | None]


AXES = {"image": 3, "table": 1, "series": 2, "tokens": 1}
"""Of one sample, by kind."""


class Facts(TypedDict):
    """What run.json says of the data."""

    name: Name
    kind: NotRequired[Literal["image", "table", "series", "tokens"]]
    shape: Annotated[list[Annotated[int, Range(1, MOST_NUMBERS)]], Range(1, 3)]
    classes: Annotated[list[Name], Range(0, 10_000)]
    attributes: Annotated[list[Name], Range(0, 10_000)]
    scales: NotRequired[list[tuple[Real, Annotated[float, Range(1e-300, LARGEST)], Real, Real]]]
    train: Count
    read: NotRequired[Read]
    provenance: str
    fingerprint: Name


def _shaped(facts: Facts) -> str | None:
    kind, shape = facts.get("kind", "image"), facts["shape"]
    if len(shape) != AXES[kind]:
        return f"has {len(shape)} axes in its shape, but one {kind} has {AXES[kind]}"
    if len(facts.get("scales", [])) not in (0, len(facts["attributes"])):
        return f"has {len(facts['scales'])} scales of {len(facts['attributes'])} attributes"
    if (numbers := math.prod(shape)) > MOST_NUMBERS:
        return f"asks for {numbers:,} numbers in one {kind}, but at most {MOST_NUMBERS:,} fit"
    return None


class Result(TypedDict):
    """What a training came to."""

    epochs: Annotated[int, Range(1)]
    best_epoch: Annotated[int, Range(1)]
    seconds: Seconds
    train: Terms
    validation: Terms
    test: Terms
    quality: NotRequired[Quality]
    bits_per_dimension: NotRequired[dict[Name, float]]
    estimated_in_batches_of: NotRequired[dict[Split, Count]]
    about: NotRequired[dict[Name, dict[Name, str]]]
    warnings: NotRequired[list[str]]


class Environment(TypedDict):
    """Versions and hardware; all of it is shown."""

    threads: NotRequired[Count]


class Output(TypedDict):
    """How a training writes: what resume and repeat keep."""

    save_every: Seconds
    track: NotRequired[Name]


class Configuration(TypedDict):
    """What decides a training; `Config.from_json` checks the values."""

    recipe: Name
    recipe_options: dict[Name, Any]
    network: dict[Name, Any]
    data: dict[Name, Any]
    training: dict[Name, Any]
    source: dict[Literal["module", "sha256"], Name] | None
    from_run: NotRequired[dict[Literal["path", "weights"], str] | None]


class Record(TypedDict):
    """run.json."""

    format: Annotated[int, Range(1)]
    zspace: Name
    status: Literal["running", "interrupted", "failed", "finished"]
    path: NotRequired[object]
    config: Configuration
    data: Annotated[Facts, _shaped]
    parameters: Count
    environment: Environment
    files: dict[FileName, Hash]
    output: NotRequired[Output]
    mark: NotRequired[Name]
    result: NotRequired[Result]


def _of_both(quality: Quality) -> str | None:
    missing = {"train", "validation"} - quality.keys()
    return f"has no {min(missing)}" if quality and missing else None


class Line(TypedDict):
    """A line of metrics.jsonl: one epoch."""

    number: Annotated[int, Range(1)]
    step: Annotated[int, Range(1)]
    lr: float
    seconds: Seconds
    samples_per_second: float
    train: dict[Name, float]
    validation: Terms
    quality: Annotated[Quality, _of_both]
    best: bool


class Section(TypedDict):
    """What a metric found."""

    seed: Count
    options: dict[Name, Any]
    seconds: NotRequired[Seconds]
    measures: NotRequired[dict[Name, Measure]]
    warnings: NotRequired[list[str]]
    not_measured: NotRequired[str]


class Measured(TypedDict):
    """The data that an evaluation is of."""

    fingerprint: Name
    name: Name
    images: Count


class Evaluation(TypedDict):
    """evaluation.json."""

    format: Annotated[int, Range(1)]
    model: Name
    data: Measured
    sections: dict[Name, Section]


class Entry(TypedDict):
    """A run of a study."""

    name: FolderName
    family: Name
    status: Literal["waiting", "finished", "failed"]
    reason: str


class Grid(TypedDict):
    """What a study trains."""

    recipes: list[Name]
    latent: list[int]
    seeds: Count
    fixed: dict[Name, Any]
    vary: dict[Name, list[Any]]


class StudyRecord(TypedDict):
    """study.json."""

    format: Annotated[int, Range(1)]
    grid: NotRequired[Grid]
    runs: list[Entry]
    files: NotRequired[dict[FileName, Hash]]


def refuse_unfit(value: Any, kind: type[T], path: Path, what: str, way: str) -> T:
    """The value, which is of the type. Raises UserError where it is not.

    what: a file of this type in words. way: what to do instead.
    """
    try:
        check(value, kind)
    except Unfit as error:
        raise UserError(f"{path} is not {what} ({error}): {way}") from None
    return value

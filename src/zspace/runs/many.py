"""A study: runs over a grid of recipes, code sizes, seeds and other choices, read together.

DIR/study.json     the grid, what became of each run, the chosen code size of each family
DIR/runs/<name>/   the run folders
DIR/table.csv      every term of every run on train, validation and test
DIR/report.html    all of it on one page

Runs that differ in code size and seed are a family; its size is chosen on validation, by a mean
over seeds (see `deciding`). `over_seeds` gives means and spreads, `write_table` the table,
`read_moments` the snapshots that a run kept of its training.
"""

from __future__ import annotations

import io
import math
import statistics
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zspace.analysis.numbers import error_text
from zspace.analysis.projections import principal
from zspace.analysis.trained import once
from zspace.data.dataset import SPLITS, Data, to_float
from zspace.data.kinds import image
from zspace.data.readers.shelves import Header, member_header, npz_members, read_member
from zspace.data.spec import Fact
from zspace.runs.formats import StudyRecord, refuse_unfit
from zspace.runs.record import RECORD, SNAPSHOTS, read_record
from zspace.runs.run import Run, load
from zspace.system import files, notebook
from zspace.system.errors import UserError

STUDY_FORMAT = 1
MOST_SNAPSHOTS = 1 << 28
"""Bytes of one array of snapshots."""


@dataclass(frozen=True)
class Failed:
    """A run of the grid that did not end well, and why."""

    name: str
    reason: str


class Study:
    """Finished runs side by side, in the order of the grid; a single run is a study of one.

    Arguments:
        path: The folder of the study, or of the run.
        runs: The finished runs; at least one.
        failed: The runs that failed, and why.
        names: The family of each run: its recipe, and the options that were varied apart from
            code size and seed. By default the recipe alone.

    Raises UserError if there is no finished run.

    >>> study = zspace.Study(run.path, [run])
    >>> study.chosen == {"vae": run.config.latent}
    True
    >>> study.best("vae") is run
    True
    """

    def __init__(
        self,
        path: Path,
        runs: Sequence[Run],
        failed: Sequence[Failed] = (),
        names: Sequence[str] = (),
    ) -> None:
        if not runs:
            raise UserError(
                f"study '{path}' has no finished run: train it first with zspace study"
            )
        self.path, self.runs, self.failed = path, tuple(runs), tuple(failed)
        self.names = tuple(names) or tuple(run.config.recipe.replace("_", "-") for run in runs)

    @cached_property
    def data(self) -> Data:
        """The data that all runs were trained on."""
        return self.runs[0].data()

    @cached_property
    def families(self) -> dict[str, dict[int, list[Run]]]:
        """Family -> code size -> its runs, one per seed."""
        families: dict[str, dict[int, list[Run]]] = {}
        for name, run in zip(self.names, self.runs, strict=True):
            sizes = families.setdefault(name, {})
            sizes.setdefault(run.config.latent or 0, []).append(run)
        return {name: dict(sorted(sizes.items())) for name, sizes in families.items()}

    @cached_property
    def chosen(self) -> dict[str, int]:
        """Family -> the code size with the lowest mean of `deciding` over seeds."""
        return {
            name: min(sizes, key=lambda latent: deciding(sizes[latent]).mean)
            for name, sizes in self.families.items()
        }

    def best(self, name: str) -> Run:
        """The run of a family at its chosen code size, first seed."""
        return self.families[name][self.chosen[name]][0]

    def _repr_html_(self) -> str:
        """What a notebook shows: the terms on test of each family and code size, over seeds."""
        terms = dict.fromkeys(name for run in self.runs for name in run.result["test"])
        several = any(len(sizes) > 1 for sizes in self.families.values())
        heads = ["family", "code size", "seeds", *(f"test {n}" for n in terms)]
        heads += [fact.title for fact in QUALITY.values()]
        lines = []
        for name, sizes in self.families.items():
            for size, runs in sizes.items():
                cells = [over_seeds(runs, "test", term) for term in terms]
                cells += [quality_cells(runs).get(measure) for measure in QUALITY]
                star = " ★" if several and size == self.chosen[name] else ""
                texts = ("–" if cell is None else str(cell) for cell in cells)
                lines.append([name, f"{size or 'own'}{star}", len(runs), *texts])
        failed = [[one.name, one.reason] for one in self.failed]
        shown = notebook.table(lines, heads, str(self.path))
        shown += "<p>★ lowest objective on validation</p>" if several else ""
        return shown + (notebook.table(failed, ["failed", "reason"]) if failed else "")


def open_study(path: str | Path, device: str = "auto", *, trust_data: bool = False) -> Study:
    """A study, or a run as a study of one. Raises UserError where the folder is neither.

    device, trust_data: as for `zspace.load`.
    """
    folder = Path(path)
    if (folder / "run.json").is_file():
        return Study(folder, [load(folder, device, trust_data=trust_data)])
    if not (folder / "study.json").is_file():
        raise UserError(
            f"'{path}' is neither a study nor a run: no study.json or run.json is there"
        )
    files.refuse_links(folder)
    record = joined(folder, read_study(folder))
    done = [entry for entry in record["runs"] if entry["status"] == "finished"]
    failed = [Failed(e["name"], e["reason"]) for e in record["runs"] if e["status"] == "failed"]
    try:
        names = [one["name"] for one in done]
        runs = [load(folder / "runs" / name, device, trust_data=trust_data) for name in names]
    except UserError as error:
        way = "delete the folder of that run and give the command of the study again"
        raise UserError(f"{error}; {way}") from None
    return Study(folder, runs, failed, [entry["family"] for entry in done])


def joined(folder: Path, record: StudyRecord) -> StudyRecord:
    """A study with what became of the runs that other processes trained since it was noted.

    Where several train a share each, none of them knows how the others ended: the folders do.
    """
    runs = []
    for entry in record["runs"]:
        place = folder / "runs" / entry["name"]
        if entry["status"] != "finished" and (place / RECORD).is_file():
            told = read_record(place)
            ended = ("finished", "failed") if entry["status"] == "waiting" else ("finished",)
            if told["status"] in ended:
                reason = str(told.get("reason", ""))
                entry = {**entry, "status": told["status"], "reason": reason}
        runs.append(entry)
    return {**record, "runs": runs}


def untrained(folder: Path) -> list[str]:
    """The names of the runs of a study that have not ended.

    >>> untrained(run.path)
    []
    """
    if not (folder / "study.json").is_file():
        return []
    record = joined(folder, read_study(folder))
    return [entry["name"] for entry in record["runs"] if entry["status"] == "waiting"]


def read_study(folder: Path) -> StudyRecord:
    """What the study.json in a folder holds. Raises UserError where it is none."""
    path = folder / "study.json"
    record = files.read_json(path)
    newest = isinstance(record, dict) and record.get("format")
    if isinstance(newest, int) and newest > STUDY_FORMAT:
        raise UserError(f"study '{folder}' was made by a newer zspace: upgrade zspace")
    way = "give the command of the study again"
    return refuse_unfit(record, StudyRecord, path, "that of a study", way)


QUALITY = {
    "mse_mean_code": Fact("squared error", role="reconstruction", code="mean"),
    **{name: fact for name, fact in image.QUALITY.items() if name != "mse"},
}
"""What test images' reconstructions are measured by, beside the terms: nothing is drawn."""


def rows(study: Study) -> list[dict[str, Any]]:
    """One dict per run: family, code size, seed, epochs, seconds, every term on every split, and
    on test, where they were measured, the squared error of mean codes, SSIM and PSNR.
    """
    return [
        {
            "family": family,
            "latent": latent,
            "seed": run.config.training.seed,
            "epochs": run.result["epochs"],
            "best_epoch": run.result["best_epoch"],
            "seconds": round(run.result["seconds"], 1),
            "parameters": run.record["parameters"],
            **{f"{s}_{name}": v for s in SPLITS for name, v in run.result[s].items()},
            **{f"test_{name}": v for name, v in test_quality(run).items()},
        }
        for family, sizes in study.families.items()
        for latent, runs in sizes.items()
        for run in runs
    ]


def write_table(study: Study, path: Path) -> Path:
    """Write the rows as CSV, the failed runs last with their reason."""
    table = rows(study)
    table += [{"family": failed.name, "failed": failed.reason} for failed in study.failed]
    files.write_csv(path, table)
    return path


def test_quality(run: Run) -> dict[str, float]:
    """What `QUALITY` names, of all test images; empty if it was not measured.

    The squared error is summed over an image, as the term is, so that the two compare.
    """
    found = dict(run.result.get("quality", {}).get("test", {}))
    error = found.pop("mse", None)
    summed = {} if error is None else {"mse_mean_code": error * math.prod(run.spec.shape)}
    return {**summed, **found}


@dataclass(frozen=True)
class Cell:
    """A number over seeds: its mean, and the sample standard deviation where there are several."""

    mean: float
    spread: float | None

    def __str__(self) -> str:
        return error_text(self.mean, self.spread)


def over_seeds(runs: Sequence[Run], split: str, name: str) -> Cell | None:
    """One term on one split, over runs that differ in their seed; None where they lack it."""
    return _cell([run.result[split].get(name) for run in runs])


def quality_cells(runs: Sequence[Run]) -> dict[str, Cell]:
    """What `QUALITY` names over seeds, those that all runs have."""
    cells = {name: _cell([test_quality(run).get(name) for run in runs]) for name in QUALITY}
    return {name: cell for name, cell in cells.items() if cell is not None}


def deciding(runs: Sequence[Run]) -> Cell:
    """What chooses a code size, the lowest: on validation, of runs that differ in their seed.

    It is the objective, or the sum of terms that may be compared between code sizes where the
    objective may not (see `Objective.comparable`).
    """
    values = [
        sum(run.result["validation"][name] for name in run.objective.comparable) for run in runs
    ]
    return Cell(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def _cell(values: Sequence[float | None]) -> Cell | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    spread = statistics.stdev(known) if len(known) > 1 else None
    return Cell(statistics.mean(known), spread)


@dataclass(frozen=True)
class Moments:
    """S moments of a training.

    epoch (S,); points (S, M, 2), codes of M test images on a plane that does not turn; labels y
    (M,) or None; images x (R, C, H, W) and their reconstructions (S, R, C, H, W), in [0, 1].
    """

    epoch: np.ndarray
    points: np.ndarray
    y: np.ndarray | None
    x: np.ndarray
    reconstructions: np.ndarray


@once
def read_moments(run: Run) -> Moments | None:
    """The snapshots of a run, or None where it kept none. Raises UserError for a damaged file."""
    if SNAPSHOTS not in run.place:
        return None
    path, content = run.place.named(SNAPSHOTS), run.place.read(SNAPSHOTS)
    try:
        with closing(zipfile.ZipFile(io.BytesIO(content))) as archive:
            members = npz_members(archive)
            heads = {name: member_header(archive, one) for name, one in members.items()}
            _refuse_unfit_moments(run, heads)
            arrays = {name: read_member(archive, one) for name, one in members.items()}
        codes, y = arrays["codes"].astype(np.float32), arrays.get("y")
        if not np.isfinite(codes).all() or (arrays["epoch"][:1] < 1).any():
            raise ValueError("its numbers are not finite")
        if (np.diff(arrays["epoch"]) <= 0).any():
            raise ValueError("its epochs are not in order")
        if y is not None and not (y.min() >= 0 and y.max() < len(run.spec.classes)):
            raise ValueError("its labels are not those of the run")
    except Exception as error:  # damaged archives make zipfile and numpy raise almost anything
        why = " ".join(str(error).split()) or type(error).__name__
        way = "train again with --snapshots"
        raise UserError(f"{path} is damaged ({why:.100}): {way}") from None
    return Moments(
        arrays["epoch"],
        flattened(codes),
        y,
        _images(arrays["x"]),
        _images(arrays["reconstructions"]),
    )


def _refuse_unfit_moments(run: Run, heads: Mapping[str, Header]) -> None:
    """Raise ValueError where arrays of these heads are no snapshots of the run."""
    shapes = {name: head.shape for name, head in heads.items()}
    moments, m = shapes["codes"][:2]
    shown = (*shapes["x"][:1], *run.spec.shape)
    wanted = {
        "epoch": ((moments,), "iu"),
        "codes": ((moments, m, *run.model.latent), "f"),
        "x": (shown, "u"),
        "reconstructions": ((moments, *shown), "u"),
        "y": ((m,), "iu"),
    }
    if missing := wanted.keys() - heads.keys() - {"y"}:
        raise ValueError(f"it has no {min(missing)}")
    for name, head in heads.items():
        shape, kind = wanted[name]
        one_byte = kind != "u" or head.dtype.itemsize == 1
        empty = 0 in shape and (kind != "u" or run.spec.kind == "image")
        if head.shape != shape or head.dtype.kind not in kind or not one_byte or empty:
            raise ValueError(f"{name} is {head.dtype} {head.shape}")
        if math.prod(shape) * head.dtype.itemsize > MOST_SNAPSHOTS:
            raise ValueError(f"{name} has too many values")


def _images(x: np.ndarray) -> np.ndarray:
    return to_float(torch.from_numpy(x)).numpy()


def flattened(codes: np.ndarray) -> np.ndarray:
    """Codes (S, M, *Z) of all moments on one plane: that of the last one's main components."""
    codes = codes.reshape(*codes.shape[:2], -1)
    if codes.shape[2] == 1:
        return np.concatenate([codes, np.zeros_like(codes)], axis=2)
    if codes.shape[2] == 2 or codes.shape[1] < 2:
        return codes[:, :, :2]
    last = principal(codes[-1], 2)
    return np.stack([last.project(now) for now in codes])

"""What lies in a run's folder of its measures, and tables of scores.

RUN/evaluation.json    format, zspace, model (SHA-256 of the weights), data (fingerprint, name,
                       images of the test split), sections: name -> seed, options, seconds, and
                       measures: name -> value, error, interval, unit, about, better (high, low
                       or neither); or not_measured: why; warnings

Each section is what one metric found; see `zspace.analysis.metric`.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from zspace._version import __version__
from zspace.analysis import METRICS, Measure, Scorer
from zspace.analysis.anomaly import inferred_labels
from zspace.analysis.numbers import print_sections
from zspace.analysis.pieces import rows_of
from zspace.data.account import of_samples
from zspace.data.dataset import Data, Samples, joined
from zspace.runs.formats import Evaluation, refuse_unfit
from zspace.runs.record import EVALUATION, WEIGHTS
from zspace.runs.run import Run, load
from zspace.system import files
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured, UserError, enough_memory, unknown

EVALUATION_FORMAT = 1


@enough_memory()
def evaluate(
    run: str | Path | Run,
    *,
    iw: int = 100,
    sections: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    data: Any = None,
    data_dir: Path | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> dict[str, Any]:
    """Measure a run on its test split, write RUN/evaluation.json, and return what it holds.

    Sections measured earlier stay in the file as long as the weights and the data are the same.
    The file is written after each section, so an interruption loses one section at most.

    Arguments:
        run: A run or its folder.
        iw: Draws per image for the importance-weighted bound on log p(x); published figures use
            5000, which takes 50 times as long as the default.
        sections: Names of metrics; by default all except those that must be asked for.
        options: Further keywords of sections, by the name of the section.
        data: New data, which stand in place of the test split; a name, a path or an object. Of a
            run that was trained on what was held in Python, the same data give its own splits.
        data_dir: The folder with files of named data sets.
        seed: Seed of all random draws.
        quiet: False prints a table, and what was not measured and why.

    Raises UserError for an unknown section, a folder that holds no run, and a wrong option.

    >>> record = zspace.evaluate(run.save("a-copy"), sections=["likelihood"], iw=10)
    >>> record["sections"]["likelihood"]["options"]
    {'samples': 10}
    """
    usual = [name for name in ordered() if not METRICS[name].asked_for]
    wanted = list(dict.fromkeys(sections)) or usual
    given = {name: dict(chosen) for name, chosen in (options or {}).items()}
    for name in (*wanted, *given):
        if name not in METRICS:
            raise unknown("section", name, ordered())
    given["likelihood"] = {"samples": iw, **given.get("likelihood", {})}
    run = run if isinstance(run, Run) else load(run)
    path = run.path / EVALUATION
    data = _measured_on(run, data, data_dir, quiet)
    record = _opened(run, data)
    against = given.get("anomaly", {}).get("against")
    if isinstance(against, str):
        given["anomaly"]["against"] = run.data(against, data_dir=data_dir, quiet=quiet)
    for name in wanted:
        with bar(f"measuring {name}", None, quiet):
            found = measured_section(name, run, data, given.get(name, {}), seed, quiet)
        record["sections"][name] = found
        files.write_json(path, record)
    if not quiet:
        shown = {**record, "sections": {name: record["sections"][name] for name in wanted}}
        n, name = record["data"]["images"], record["data"]["name"]
        print_sections(
            f"{run.path}, {of_samples(f'{n:,} test images', run.spec.kind)} of {name}",
            measures_of(shown),
            missing_of(shown),
            warnings_of(shown),
            Console(highlight=False),
        )
    return record


def _measured_on(run: Run, data: Any, data_dir: Path | None, quiet: bool) -> Data:
    """The run's own data, or with the test split replaced by new data."""
    new = None if data is None else run.data(data, data_dir=data_dir, quiet=quiet)
    if new is not None and new.whole is None:
        return new
    own = run.data(data_dir=data_dir, quiet=quiet)
    if new is None:
        return own
    test = joined(list(new.splits.values()))
    return replace(own, name=new.name, test=test, classes=new.classes, held_out="")


def ordered() -> list[str]:
    """The names of all metrics, in the order in which they are shown."""
    return sorted(METRICS, key=lambda name: METRICS[name].place)


def measured_section(
    name: str, run: Run, data: Data, options: Mapping[str, Any], seed: int, quiet: bool
) -> dict[str, Any]:
    """What the file keeps of one section."""
    start = time.perf_counter()
    chosen = {key: _plain(value) for key, value in options.items()}
    found: dict[str, Any] = {"seed": seed, "options": chosen}
    metric = METRICS[name]
    try:
        measures = metric.of(run, data, seed=seed, quiet=quiet, **options)
    except NotMeasured as reason:
        return {**found, "not_measured": of_samples(str(reason), run.spec.kind)}
    warning = of_samples(metric.warning(measures) if metric.warning else "", run.spec.kind)
    measures = {
        key: replace(value, about=of_samples(value.about, run.spec.kind))
        for key, value in measures.items()
    }
    return {
        **found,
        "seconds": round(time.perf_counter() - start, 2),
        "measures": {key: asdict(value) for key, value in measures.items()},
        "warnings": [warning] if warning else [],
    }


def _plain(value: Any) -> Any:
    """An option as JSON can hold it: a data set by its name, a path as text."""
    if isinstance(value, Data):
        return value.name
    return str(value) if isinstance(value, Path) else value


def _opened(run: Run, data: Data) -> dict[str, Any]:
    """The run's record to add to: the one there is where it is of this model and these data."""
    fresh = {
        "format": EVALUATION_FORMAT,
        "zspace": __version__,
        "model": run.record["files"][WEIGHTS],
        "data": {"fingerprint": data.fingerprint, "name": data.name, "images": len(data.test)},
        "sections": {},
    }
    old = read(run)
    if old is not None and old["data"]["fingerprint"] == data.fingerprint:
        fresh["sections"] = old["sections"]
    return fresh


def read(run: Run) -> dict[str, Any] | None:
    """What the run's evaluation.json holds; None where there is none of this model.

    Raises UserError where the file is damaged or of a newer version.
    """
    if EVALUATION not in run.place:
        return None
    path = run.place.named(EVALUATION)
    record = files.parsed(path, run.place.read(EVALUATION))
    newest = isinstance(record, dict) and record.get("format")
    if isinstance(newest, int) and newest > EVALUATION_FORMAT:
        raise UserError(f"{path} was made by a newer zspace: upgrade zspace")
    way = "delete it and use 'zspace evaluate' again"
    refuse_unfit(record, Evaluation, path, "an evaluation", way)
    return record if record["model"] == run.record["files"].get(WEIGHTS) else None


def measures_of(record: Mapping[str, Any]) -> dict[str, dict[str, Measure]]:
    """Section -> name -> measure, of what was measured."""
    return {
        name: {key: _measure(value) for key, value in one["measures"].items()}
        for name, one in _ordered(record)
        if "measures" in one
    }


def _measure(kept: Mapping[str, Any]) -> Measure:
    interval = kept["interval"]
    return Measure(**{**kept, "interval": interval and (interval[0], interval[1])})


def missing_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Section -> why it was not measured."""
    return {name: one["not_measured"] for name, one in _ordered(record) if "not_measured" in one}


def warnings_of(record: Mapping[str, Any]) -> list[str]:
    """Sentences of warning, of all sections."""
    return [text for _, one in _ordered(record) for text in one.get("warnings", [])]


def _ordered(record: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The sections in the order of `ordered`, those of unknown metrics last."""
    there = record["sections"]
    return [(name, there[name]) for name in dict.fromkeys((*ordered(), *there)) if name in there]


@dataclass(frozen=True)
class Scored:
    """What was written: how many images, the threshold of each score, how many lie above it, and
    from how many validation images the thresholds are."""

    path: Path
    images: int
    thresholds: dict[str, float]
    flagged: dict[str, int]
    validation: int


CODES = (".npz", ".csv", ".parquet")


@enough_memory()
def embed(
    run: Run, data: Any = None, *, out: Path, data_dir: Path | None = None, quiet: bool = True
) -> Path:
    """Write the code of every sample of a data set, with its id, split, row and label.

    An .npz holds z (N, *Z), ids, split, index, and y with the names in label where there are
    labels, or y (N, A) with the names in attributes; a table (.csv, .parquet) the same as columns,
    z0, z1, ..., and each attribute under its own name. What is missing is empty there. A
    conditional model needs no labels for it: where one is missing, the label of the highest bound
    is used, and ``label_inferred`` is true.

    Arguments:
        run: The run.
        data: A name, a path or an object; by default the run's own data.
        out: The file.
        data_dir: The folder with files of named data sets.
        quiet: Whether no progress bar is shown.

    Raises UserError for another suffix, and for data that the run cannot read.

    >>> embed(run, data, out=Path("codes.npz"))
    PosixPath('codes.npz')
    """
    if out.suffix.lower() not in CODES:
        raise UserError(f"cannot write '{out}': codes go into {', '.join(CODES)} (-o z.npz)")
    source = run.data(data, data_dir=data_dir, quiet=quiet, unlabelled=True)
    parts = [_embedded(run, split, samples, source) for split, samples in source.splits.items()]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if "y" in table and table["y"].ndim == 2:
        table["attributes"] = np.array(source.attributes)
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".npz":
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **table)
        files.write(out, content.getvalue())
    else:
        _write_table(out, table)
    return out


def _embedded(run: Run, split: str, samples: Samples, source: Data) -> dict[str, np.ndarray]:
    """What is written of one split: name -> (n, ...)."""
    told = samples.conditions()
    found = {
        "ids": np.array(samples.names(), dtype=str),
        "split": np.full(len(samples), split),
        "index": samples.index.numpy(),
    }
    if run.model.context and not run.spec.attributes:
        y = torch.full((len(samples),), -1) if samples.y is None else samples.labels()
        assert y is not None
        lacking = (y < 0) | (y >= run.model.context)
        if bool(lacking.any()):
            rows = replace(samples, index=samples.index[lacking])
            y = y.masked_scatter(lacking, torch.from_numpy(inferred_labels(run, rows)))
        told, found["label_inferred"] = y, lacking.numpy()
    elif run.model.context and (told is None or bool(samples.unlabelled().any())):
        inferred_labels(run, samples)  # says that attributes cannot be inferred
    if told is not None:
        found["y"] = told.numpy()
        if told.dim() == 1:
            names = np.array([*source.classes, ""])
            found["label"] = names[found["y"]]
    c = told if run.model.context else None
    codes = [run.encoded(samples.images(i), None if c is None else c[i]) for i in rows_of(samples)]
    return {"z": torch.cat(codes).numpy() if codes else np.empty((0, *run.model.latent)), **found}


def _write_table(out: Path, table: Mapping[str, np.ndarray]) -> None:
    """One row per sample; arrays of several columns are numbered."""
    import pandas  # slow to import

    columns: dict[str, np.ndarray] = {}
    rows = {name: values for name, values in table.items() if name != "attributes"}
    for name in sorted(rows, key=lambda name: name == "z"):
        flat = table[name].reshape(len(table[name]), -1)
        one = {"ids": "id"}.get(name, name)
        for k, column in enumerate(flat.T):
            if name == "y" and "attributes" in table:
                own = str(table["attributes"][k])
                columns[f"y_{own}" if own in columns or own[:1] == "z" else own] = column
                continue
            columns[one if table[name].ndim == 1 else f"{one}{k}"] = column
    frame = pandas.DataFrame(columns)
    if out.suffix.lower() == ".csv":
        files.write(out, frame.to_csv(index=False).encode())
        return
    content = io.BytesIO()
    try:
        frame.to_parquet(content, index=False)
    except ImportError:
        raise UserError(f"'{out}' needs pyarrow: pip install \"zspace[tables]\"") from None
    files.write(out, content.getvalue())


@enough_memory()
def score(
    run: Run,
    data: Any = None,
    *,
    out: Path,
    names: Sequence[str] = (),
    rate: float = 0.05,
    data_dir: Path | None = None,
    quiet: bool = True,
) -> Scored:
    """Write the scores of every image of a data set into a CSV file, one line per image.

    Its columns: split, index (the row within the data), id (a file name, where there is one),
    label where there is one, then each score and, as <score>_anomaly, 1 where it lies above its
    threshold. The threshold is the one that `rate` of the run's own validation images exceed;
    scores mean nothing across models.

    data: a name, a path or an object; by default the run's own data. names: of `SCORES`; by
    default all that the model has. Raises UserError for what does not fit, before anything is
    computed.
    """
    if out.suffix.lower() != ".csv":
        raise UserError(f"cannot write '{out}': scores go into a .csv file (-o scores.csv)")
    source = run.data(data, data_dir=data_dir, quiet=quiet)
    own = run.data(data_dir=data_dir, quiet=quiet)
    scorer = Scorer(run, own, names, quiet=quiet)
    limits = scorer.thresholds(rate)
    lines = [
        line
        for split, samples in source.splits.items()
        for line in _lines(split, samples, source.classes, scorer, limits)
    ]
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(out, lines)
    flagged = {name: sum(line[f"{name}_anomaly"] for line in lines) for name in scorer.names}
    return Scored(out, len(lines), limits, flagged, len(own.validation))


def _lines(
    split: str, samples: Samples, classes: Sequence[str], scorer: Scorer, limits: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """The lines of one split, column -> value."""
    found, y, ids = scorer(samples), samples.labels(), samples.names()
    for i, row in enumerate(samples.index.tolist()):
        yield {
            "split": split,
            "index": row,
            "id": ids[i],
            **({} if y is None else {"label": (*classes, "")[int(y[i])]}),
            **{name: f"{found[name][i]:.6g}" for name in scorer.names},
            **{f"{k}_anomaly": int(found[k][i] > limits[k]) for k in scorer.names},
        }

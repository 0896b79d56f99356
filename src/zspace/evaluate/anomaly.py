"""How well a model's scores tell images that it was not made for from those that it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zspace.data import Data, Samples
from zspace.errors import UserError
from zspace.evaluate.detection import Detection, detection
from zspace.evaluate.intervals import DRAWS
from zspace.evaluate.measure import Measure, NotMeasured
from zspace.evaluate.score import SCORES, Scorer
from zspace.explore.picks import open_data, subset
from zspace.runs import Run

MOST = 2_000
RATE = 0.05


@dataclass(frozen=True)
class Sides:
    """Test images that the model was made for, others, and what both are called."""

    ordinary: Samples
    anomalous: Samples
    about: str


def anomaly(
    run: Run,
    data: Data,
    *,
    against: str | Data | None = None,
    names: Sequence[str] = (),
    data_dir: str | Path | None = None,
    most: int = MOST,
    draws: int = DRAWS,
    seed: int = 0,
    quiet: bool = True,
) -> dict[str, Measure]:
    """Test images against anomalies, score by score: <score>_auroc, _auprc, _fpr95 and _alarms.

    The anomalies are the test images of `against`, or of the class that was held out of
    training. Intervals are bootstrapped over images; those of training are not in them.

    data: the run's own. against: a name, a path, or data that are loaded. names: of
    `zspace.evaluate.score.SCORES`; by default all that the model has. data_dir: where files of a
    named set lie. most: images of either side, drawn with the seed. draws: of the bootstrap.

    Raises NotMeasured where nothing says what an anomaly is, and for conditional models; UserError
    where the model cannot read `against`.
    """
    other = against if isinstance(against, Data) else None
    if isinstance(against, str):
        folder = None if data_dir is None else Path(data_dir)
        other = open_data(run, against, folder, quiet=quiet)
    both = sides(run, data, other)
    ordinary = subset(both.ordinary, most, seed)
    anomalous = subset(both.anomalous, most, seed)
    about = f"{both.about}, {len(anomalous):,} against {len(ordinary):,}"
    scorer = Scorer(run, data, names, quiet=quiet)
    usual, odd = scorer(ordinary), scorer(anomalous)
    rate = max(RATE, 1 / len(data.validation))
    limits = scorer.thresholds(rate)
    found: dict[str, Measure] = {}
    for name in scorer.names:
        told = detection(usual[name], odd[name], draws=draws, seed=seed)
        found |= _measures(name, told, about, len(anomalous) / (len(ordinary) + len(anomalous)))
        found[f"{name}_alarms"] = _alarms(usual[name] > limits[name], rate)
    return found


def sides(run: Run, data: Data, against: Data | None = None) -> Sides:
    """Whose scores are compared. Raises NotMeasured as `anomaly` does."""
    if run.model.context:
        raise NotMeasured(
            f"recipe '{run.job.recipe}' must be told the label of an image, which an anomaly has "
            "not: use a model without labels"
        )
    held = run.job.data.hold_out_class
    if against is None and not held:
        raise NotMeasured(
            "nothing says what an anomaly is: give --anomaly fashion-mnist, or train with "
            "--hold-out-class"
        )
    usual = data.test
    if held:
        usual, odd = _parted(data, data.classes.index(held))
        about = f"images of class '{held}' of {data.name} against those of its other classes"
    if against is not None:
        odd, about = against.test, f"images of {against.name} against images of {data.name}"
    if not (len(usual) and len(odd)):
        raise NotMeasured(f"there are no {about}: the test split lacks one of both")
    return Sides(usual, odd, about)


def _parted(data: Data, label: int) -> tuple[Samples, Samples]:
    """Test images of other labels, and of this one."""
    y = data.test.labels()
    if y is None:
        raise UserError(f"data '{data.name}' have no labels: give the data of the run")
    index = data.test.index
    return replace(data.test, index=index[y != label]), replace(data.test, index=index[y == label])


def _measures(name: str, told: Detection, about: str, share: float) -> dict[str, Measure]:
    what = f"by {SCORES[name].partition(',')[0]}: {about}"
    meaning = {
        "auroc": f"area under the ROC curve {what}; 0.5 is chance, less is the wrong way round",
        "auprc": f"average precision {what}; chance is {share:.3f}",
        "fpr95": f"share of ordinary images above the threshold that finds 95% of anomalies, "
        f"{what}",
    }
    return {
        f"{name}_{key}": Measure(getattr(told, key), text, interval=told.intervals[key])
        for key, text in meaning.items()
    }


def _alarms(above: np.ndarray, rate: float) -> Measure:
    """The share of ordinary test images that the threshold takes for anomalies."""
    p = float(above.mean())
    about = (
        f"share of ordinary test images above the threshold that {rate:.2g} of validation images "
        "exceed: near that where the threshold carries over"
    )
    return Measure(p, about, error=float(np.sqrt(p * (1 - p) / len(above))))

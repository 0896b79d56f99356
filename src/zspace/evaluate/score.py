"""One number an image that says how little the model expected it; anomalies should score high."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zspace import files
from zspace.data import Data, Samples
from zspace.data.progress import bar
from zspace.errors import UserError, unknown
from zspace.evaluate.regret import has_regret, regret
from zspace.explore.passes import over
from zspace.explore.picks import open_data, subset
from zspace.runs import Run
from zspace.terms import iwae, kl, nll
from zspace.types import Batch

SCORES = {
    "error": "squared error between the image and the decoded mean code, summed over pixels",
    "elbo": "negative ELBO, -log p(x|z) + KL, a mean over 16 draws, in nats (up to the constant "
    "that squared error lacks)",
    "iw": "negative importance-weighted bound of 16 draws, in nats (Burda, Grosse, Salakhutdinov "
    "2015, arXiv 1509.00519)",
    "typicality": "distance of the negative ELBO from its mean over validation images, in nats: "
    "too likely is suspicious too (Nalisnick et al. 2019, arXiv 1906.02994, for single images)",
    "regret": "how many nats the ELBO gains from a posterior optimised for the image (Xiao, Yan, "
    "Amit 2020, arXiv 2003.02977)",
    "mahalanobis": "Mahalanobis distance of the mean code to the codes of training images, their "
    "covariance shrunk by Ledoit and Wolf",
}
"""Every score by its name, with its definition."""

DRAWS, ROWS, MOST = 16, 32, 10_000


class Scorer:
    """Scores of images under a run's model, from what its own data say is ordinary.

    names: the scores that are made; by default all that the model has. A deterministic code has
    `error` and `mahalanobis` alone. validation: the scores of at most 10,000 validation images.

    Raises UserError for a name that is unknown, or that the model has not.
    """

    def __init__(
        self, run: Run, data: Data, names: Sequence[str] = (), *, quiet: bool = True
    ) -> None:
        self.run, self.quiet = run, quiet
        self.names = _chosen(run, names)
        self._ordinary = self._fit(data) if "mahalanobis" in self.names else None
        self._usual = 0.0
        found = self._measure(subset(data.validation, MOST))
        if "typicality" in self.names:
            self._usual = float(found["typicality"].mean())
            found["typicality"] = np.abs(found["typicality"] - self._usual)
        self.validation = found

    def __call__(self, samples: Samples) -> dict[str, np.ndarray]:
        """Name -> (N,), of samples that the model can read, in their order."""
        found = self._measure(samples)
        if "typicality" in found:
            found["typicality"] = np.abs(found["typicality"] - self._usual)
        return found

    def thresholds(self, rate: float) -> dict[str, float]:
        """The lowest score above which at most this share of validation images lies.

        Raises UserError for a rate outside (0, 1), and where too few validation images are there
        to tell: fewer than 1 / rate.
        """
        n = len(next(iter(self.validation.values())))
        if not 0 < rate < 1:
            raise UserError(f"the rate of false alarms is {rate}: give a share between 0 and 1")
        if rate * n < 1:
            raise UserError(
                f"a rate of false alarms of {rate:g} cannot be set from {n} validation images: "
                f"give at least {1 / n:.2g}"
            )
        allowed = int(rate * n + 1e-9)
        return {k: float(np.sort(v)[n - 1 - allowed]) for k, v in self.validation.items()}

    def _fit(self, data: Data) -> Any:
        from sklearn.covariance import LedoitWolf  # slow to import

        codes = over(self.run, subset(data.train, MOST), self._code)
        return LedoitWolf().fit(np.concatenate(codes))

    def _code(self, batch: Batch) -> np.ndarray:
        return self.run.model.encode(batch.x, batch.c).flatten(1).double().cpu().numpy()

    def _measure(self, samples: Samples) -> dict[str, np.ndarray]:
        """The scores; typicality is not yet a distance."""
        with bar("scoring images", len(samples), self.quiet) as made:

            def scored(batch: Batch) -> dict[str, np.ndarray]:
                found = self._batch(batch)
                made(len(batch.x))
                return found

            parts = over(self.run, samples, scored)
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}

    def _batch(self, batch: Batch) -> dict[str, np.ndarray]:
        found: dict[str, Any] = {}
        if self._ordinary is not None:
            found["mahalanobis"] = np.sqrt(self._ordinary.mahalanobis(self._code(batch)))
        if "error" in self.names:
            found["error"] = squared_error(self.run, batch).flatten(1).sum(1)
        if {"elbo", "iw", "typicality"} & set(self.names):
            found |= _bounds(self.run, batch)
            found["typicality"] = found["elbo"]
        if "regret" in self.names:
            found["regret"] = regret(self.run.model, batch)
        return {k: np.asarray(found[k].cpu() if isinstance(found[k], Tensor) else found[k],
                              np.float64) for k in self.names}  # fmt: skip


def squared_error(run: Run, batch: Batch) -> Tensor:
    """Where the model fails to see its input: (B, H, W), the squared error of each pixel.

    It is that of the decoded mean code, summed over channels; its sum is the score `error`.
    """
    z = run.model.encode(batch.x, batch.c)
    return (run.model.decode(z, batch.c).mean - batch.x).square().sum(1)


def _bounds(run: Run, batch: Batch) -> dict[str, Tensor]:
    """The negative ELBO and the importance-weighted bound (B,) of the same 16 draws."""
    parts: list[tuple[Tensor, Tensor]] = []
    c = [None] * len(batch.x) if batch.c is None else batch.c.split(ROWS)
    for x, some in zip(batch.x.split(ROWS), c, strict=False):  # all draws of some images at once
        p = run.model(x, some, DRAWS)
        parts.append((nll(p)["nll"] + kl(p)["kl"], iwae(p)["iwae"]))
    elbo, iw = (torch.cat(values) for values in zip(*parts, strict=True))
    return {"elbo": elbo, "iw": iw}


def available(run: Run) -> tuple[str, ...]:
    """The names of the scores that a run's model has."""
    c = torch.zeros(1, run.model.context, device=run.device) if run.model.context else None
    with torch.no_grad(), torch.random.fork_rng():
        levels = run.model(torch.zeros(1, *run.spec.shape, device=run.device), c).latents
    if any(level.q is None for level in levels):
        return ("error", "mahalanobis")
    return tuple(name for name in SCORES if name != "regret" or has_regret(levels))


def _chosen(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    offered = available(run)
    for name in names:
        if name not in SCORES:
            raise unknown("score", name, SCORES)
        if name not in offered:
            raise UserError(
                f"recipe '{run.job.recipe}' has no score '{name}', which needs q(z|x): choose "
                f"from {', '.join(offered)}"
            )
    return tuple(name for name in SCORES if name in (names or offered))


@dataclass(frozen=True)
class Scored:
    """What was written: how many images, the threshold of each score, how many lie above it."""

    path: Path
    images: int
    thresholds: dict[str, float]
    flagged: dict[str, int]


def score(
    run: Run,
    data: str | None = None,
    *,
    out: Path,
    names: Sequence[str] = (),
    rate: float = 0.05,
    data_dir: Path | None = None,
    quiet: bool = True,
) -> Scored:
    """Write the scores of every image of a data set into a CSV file, a line an image.

    Its columns: split, index (the row within the data), label where there is one, then each score
    and, as <score>_anomaly, 1 where it lies above its threshold. The threshold is the one that
    `rate` of the run's own validation images exceed; scores mean nothing across models.

    data: a name or a path; by default the run's own data. names: of `SCORES`; by default all that
    the model has. Raises UserError for what does not fit, before anything is computed.
    """
    if out.suffix.lower() != ".csv":
        raise UserError(f"cannot write '{out}': scores go into a .csv file (-o scores.csv)")
    source = open_data(run, data, data_dir, quiet=quiet)
    own = open_data(run, None, data_dir, quiet=quiet)
    scorer = Scorer(run, own, names, quiet=quiet)
    limits = scorer.thresholds(rate)
    lines: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        lines += _lines(split, getattr(source, split), source.classes, scorer, limits)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, text.getvalue().encode())
    flagged = {name: sum(line[f"{name}_anomaly"] for line in lines) for name in scorer.names}
    return Scored(out, len(lines), limits, flagged)


def _lines(
    split: str,
    samples: Samples,
    classes: Sequence[str],
    scorer: Scorer,
    limits: dict[str, float],
) -> list[dict[str, Any]]:
    """The lines of one split, column -> value."""
    found, y = scorer(samples), samples.labels()
    lines: list[dict[str, Any]] = []
    for i, row in enumerate(samples.index.tolist()):
        line: dict[str, Any] = {"split": split, "index": row}
        if y is not None:
            line["label"] = classes[int(y[i])]
        line |= {name: f"{found[name][i]:.6g}" for name in scorer.names}
        line |= {f"{k}_anomaly": int(found[k][i] > limits[k]) for k in scorer.names}
        lines.append(line)
    return lines

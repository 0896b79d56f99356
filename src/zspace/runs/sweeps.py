"""Runs that differ in the weight of the KL alone: how many nats of rate buy which distortion.

The ELBO has two parts, the rate ``R = E KL(q(z|x) || p(z))`` and the distortion
``D = -E log p(x|z)``. A weight beta, which is minimised as ``D + beta R``, chooses a point of the
curve of what a model can reach.

Reference: Alemi, Poole, Fischer, Dillon, Saurous, Murphy. Fixing a broken ELBO. 2018,
arXiv 1711.00464.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from zspace.data.spec import Fact
from zspace.runs.comparison import choices
from zspace.runs.run import Run
from zspace.system.errors import UserError

WEIGHT = "beta"
FEWEST, MOST = 3, 12
"""Two runs are shown beside each other; more are a sweep."""


@dataclass(frozen=True)
class Sweep:
    """Runs by their weight, the smallest first.

    Arguments:
        runs: The runs.
        weights: Of the KL, for each run.
        rates: Mean KL to the prior of test samples, in nats.
        distortions: Mean of the reconstruction term of test samples.
        distortion: What that term is.
    """

    runs: tuple[Run, ...]
    weights: tuple[float, ...]
    rates: tuple[float, ...]
    distortions: tuple[float, ...]
    distortion: Fact

    def told(self) -> dict[str, Any]:
        """It as a page gets it: rates in nats, and distortions in the unit of their term."""
        return {
            "option": WEIGHT,
            "weights": list(self.weights),
            "rates": list(self.rates),
            "distortions": list(self.distortions),
            "distortion": [self.distortion.title, self.distortion.unit],
        }


def sweep(runs: Sequence[Run]) -> Sweep:
    """Runs that differ in beta alone, in its order, with what their records say of test samples.

    Arguments:
        runs: Finished runs, 3 to 12, with as many different beta.

    Raises UserError for other numbers of runs, where something else than beta (and the seed)
    differs, where two runs have the same beta, and where no KL or no reconstruction was recorded.
    """
    names = [run.config.name for run in runs]
    if not FEWEST <= len(runs) <= MOST:
        raise UserError(
            f"{len(runs)} runs were given: give one, two to see beside each other, or {FEWEST} to "
            f"{MOST} that differ in {WEIGHT} alone"
        )
    every = [choices(run) for run in runs]
    differ = sorted(
        key
        for key in set().union(*every)
        if len({repr(one.get(key)) for one in every}) > 1 and key != WEIGHT
    )
    if differ or not all(WEIGHT in one for one in every):
        what = f"differ in {', '.join(differ)}" if differ else f"have no {WEIGHT}"
        raise UserError(
            f"{len(runs)} runs can be shown if they differ in {WEIGHT} alone, but these {what} "
            f"({', '.join(names)}): give one or two of them, or such runs"
        )
    order = sorted(range(len(runs)), key=lambda k: float(every[k][WEIGHT]))
    weights = [float(every[k][WEIGHT]) for k in order]
    for a, b in pairwise(weights):
        if a == b:
            raise UserError(f"two of the runs have {WEIGHT} {a:g}: give one of each {WEIGHT}")
    found = tuple(runs[k] for k in order)
    objective = found[0].objective
    rate, distortion = next(iter(objective.of_role("divergence")), None), objective.reconstruction
    tests = [run.result["test"] for run in found]
    if rate is None or distortion is None or not all({rate, distortion} <= set(t) for t in tests):
        raise UserError(
            "the runs have not recorded both a KL and a reconstruction error of test samples: "
            "train a recipe with both, such as beta-vae"
        )
    return Sweep(
        found,
        tuple(weights),
        tuple(float(test[rate]) for test in tests),
        tuple(float(test[distortion]) for test in tests),
        objective.facts[distortion],
    )

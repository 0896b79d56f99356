"""Whether single code dimensions stand for single factors of variation.

Four scores of codes z (N, Z) against known factors v (N, F), integers 0, 1, ..., each in [0, 1]:
the mutual information gap, the gap of predictability, the three numbers of DCI, and the score of
FactorVAE. They measure axes, not spaces: a code that was rotated holds as much, and scores less.
"""

from __future__ import annotations

import numpy as np

from zspace.analysis.latents import drawn, encoded
from zspace.analysis.measure import Measure, error_of_halves, halves, metric, within
from zspace.analysis.trained import TrainedModel, subset
from zspace.data.dataset import Data
from zspace.data.sets.shapes import factors_of
from zspace.system.bars import bar
from zspace.system.errors import NotMeasured

MOST = 10_000
BINS = 20
ACTIVE = 0.01
"""Of the variance of draws of q(z|x): the variance of their means in a dimension that votes."""
BATCH, VOTES = 64, 5000
DIVISIONS = 25
"""How many times the images are divided into halves; the scores take a second for all of them."""


@metric("disentanglement", place=70)
def factor_scores(
    trained: TrainedModel, data: Data, *, seed: int = 0, quiet: bool = True
) -> dict[str, Measure]:
    """MIG, SAP, DCI and the FactorVAE score of the codes of at most 10,000 test images.

    Each lies in [0, 1], and higher is better; its interval is over the choice of images. Factors
    that do not vary are left out. Raises NotMeasured for data whose factors are not known.
    References: `mig`, `sap`, `dci` and `factor_vae` in this module.

    Arguments:
        trained: The model, usually a run.
        data: Data with known factors, such as "shapes".
        seed: Of the images, the halves of them, the trees and the votes.
        quiet: Whether no progress bar is shown.

    >>> factor_scores(run, data)  # digits have no known factors
    Traceback (most recent call last):
    ...
    zspace.system.errors.NotMeasured: disentanglement needs data whose factors are known, ...
    """
    if not data.factors:
        raise NotMeasured(
            f"disentanglement needs data whose factors are known, but those of '{data.name}' are "
            "not: train on 'shapes'"
        )
    some = subset(data.test, MOST, seed)
    z, v = encoded(trained, some), factors_of(data, some)
    variance = drawn(trained, some).var(0)
    sets = [(np.arange(len(z)),), *halves(len(z), draws=DIVISIONS, seed=seed)]
    values = []
    with bar("scoring factors", len(sets), quiet) as did:
        for (rows,) in sets:
            values.append(scores(z[rows], v[rows], seed, variance))
            did(1)
    return {
        name: within(
            values[0][name],
            error_of_halves([one[name] for one in values[1:]]),
            about,
            better="high",
        )
        for name, about in ABOUT.items()
    }


def scores(
    z: np.ndarray, v: np.ndarray, seed: int = 0, drawn: np.ndarray | None = None
) -> dict[str, float]:
    """All scores of codes z (N, Z) against factors v (N, F), by name; of factors that vary."""
    v = v[:, np.ptp(v, axis=0) > 0]
    found = (mig(z, v), sap(z, v, seed), *dci(z, v, seed), factor_vae(z, v, seed, drawn))
    return dict(zip(ABOUT, found, strict=True))


def mig(z: np.ndarray, v: np.ndarray) -> float:
    """Mutual information gap: how much more the best dimension tells of a factor than the next.

    ``mean_f (I(z_1; v_f) - I(z_2; v_f)) / H(v_f)``, z_1 and z_2 the two dimensions that tell most
    of factor f, each z_j cut into 20 equal bins over its range.

    Reference: Chen, Li, Grosse, Duvenaud. Isolating sources of disentanglement in
    variational autoencoders. 2018, arXiv 1802.04942; the bins: Locatello et al. Challenging common
    assumptions in the unsupervised learning of disentangled representations. 2018, arXiv
    1811.12359.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> round(mig(v.astype(float), v), 6), round(mig(np.ones((4, 2)), v), 6)  # all, and nothing
    (1.0, 0.0)
    """
    from sklearn.metrics import mutual_info_score  # slow to import

    binned = [np.digitize(a, np.linspace(a.min(), a.max(), BINS + 1)[1:-1]) for a in z.T]
    gaps = []
    for factor in v.T:
        told = [mutual_info_score(factor, column) for column in binned]
        gaps.append(_gap(told) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


def sap(z: np.ndarray, v: np.ndarray, seed: int = 0) -> float:
    """Separated attribute predictability: how much better the best dimension predicts a factor
    than the next, a mean over factors.

    A prediction puts thresholds on one z_j, one less than the factor has values, on half of the
    samples; it is scored on the other half by balanced accuracy. Every factor counts as a
    category.

    Reference: Kumar, Sattigeri, Balakrishnan. Variational inference of disentangled
    latent concepts from unlabeled observations. 2017, arXiv 1711.00848.
    """
    from sklearn.metrics import recall_score  # slow to import
    from sklearn.tree import DecisionTreeClassifier

    first, second = _halves(len(z), seed)
    gaps = []
    for factor in v.T:
        scores, leaves = [], max(2, len(np.unique(factor)))
        tree = DecisionTreeClassifier(
            max_leaf_nodes=leaves, class_weight="balanced", random_state=seed
        )
        for column in z.T[:, :, None]:
            guess = tree.fit(column[first], factor[first]).predict(column[second])
            scores.append(recall_score(factor[second], guess, average="macro", zero_division=0))
        gaps.append(_gap(scores))
    return float(np.mean(gaps))


def dci(z: np.ndarray, v: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness, in this order.

    A forest of 20 trees predicts each factor from half of the samples; R (Z, F) is how much it
    uses each dimension. Disentanglement: 1 minus the entropy of a row of R, to base F, a mean
    weighted by rows' shares. Completeness: 1 minus the entropy of a column, to base Z, a mean
    over factors. Informativeness: accuracy on the other half, a mean over factors.

    Reference: Eastwood, Williams. A framework for the quantitative evaluation of disentangled
    representations. ICLR 2018.
    """
    from sklearn.ensemble import RandomForestClassifier  # slow to import

    first, second = _halves(len(z), seed)
    used, right = [], []
    for factor in v.T:
        # Every split may choose among all dimensions; else useless ones are given a share.
        forest = RandomForestClassifier(20, max_features=None, random_state=seed)
        forest.fit(z[first], factor[first])
        used.append(forest.feature_importances_)
        right.append(float((forest.predict(z[second]) == factor[second]).mean()))
    r = np.stack(used, axis=1)
    rows = r.sum(1) / max(r.sum(), 1e-12)
    return float(rows @ _certainty(r)), float(_certainty(r.T).mean()), float(np.mean(right))


def factor_vae(
    z: np.ndarray, v: np.ndarray, seed: int = 0, drawn: np.ndarray | None = None
) -> float:
    """The share of correct votes for which factor was held fixed.

    A vote: 64 samples that agree in one factor are drawn; the dimension whose variance, over that
    of all samples, is least votes for it. A majority table of 5,000 votes is scored on as many
    others. Chance is 1 / F.

    Dimensions that have collapsed have no vote: those in which the variance of z is below 0.01 of
    that of draws of q(z|x), or that do not vary at all. The scale of a code does not matter. The
    score is 0 without any vote.

    Reference: Kim, Mnih. Disentangling by factorising. 2018, arXiv 1802.05983.

    Arguments:
        z: Codes (N, Z).
        v: Factors (N, F).
        seed: Of the votes.
        drawn: The variances (Z,) of draws of q(z|x), whose means are z; None for a deterministic
            code.

    >>> v = np.random.RandomState(0).randint(0, 3, (500, 2))
    >>> factor_vae(v.astype(float), v)
    1.0
    """
    deviation = z.std(0)
    least = 1e-6 * np.abs(z).max(0) if drawn is None else np.sqrt(ACTIVE * drawn)
    active = deviation > least
    if not active.any():
        return 0.0
    z, random = z[:, active] / deviation[active], np.random.RandomState(seed)
    rows = [[np.flatnonzero(factor == k) for k in np.unique(factor)] for factor in v.T]
    table = np.zeros((2, z.shape[1], v.shape[1]), np.int64)
    for half in table:
        for f, votes in enumerate(random.multinomial(VOTES, np.full(len(rows), 1 / len(rows)))):
            of_values = random.multinomial(votes, np.full(len(rows[f]), 1 / len(rows[f])))
            for agreeing, count in zip(rows[f], of_values, strict=True):
                some = z[agreeing[random.randint(len(agreeing), size=(count, BATCH))]]
                half[:, f] += np.bincount(some.var(1).argmin(1), minlength=z.shape[1])
    learned, others = table
    return float(others[np.arange(len(others)), learned.argmax(1)].sum() / VOTES)


ABOUT = {
    "mig": "mutual information gap, means of q(z|x) in 20 bins",
    "sap": "gap in balanced accuracy between thresholds on the best dimension and on the next",
    "dci_disentanglement": "whether a dimension serves only one factor, by a forest's use of it",
    "dci_completeness": "whether only one dimension serves a factor, by a forest's use of it",
    "dci_informativeness": "mean accuracy of forests that predict the factors",
    "factor_vae": "share of correct votes for the factor held fixed",
}


def _gap(scores: list[float]) -> float:
    """The best less the next; the best itself where there is only one dimension."""
    best, *rest = sorted(scores, reverse=True)
    return best - (rest[0] if rest else 0.0)


def _halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.RandomState(seed).permutation(n)
    return order[: n // 2], order[n // 2 :]


def _certainty(r: np.ndarray) -> np.ndarray:
    """1 minus the entropy, to base n, of each row of r (m, n), normalised; 0 for a row of 0."""
    from scipy.stats import entropy  # slow to import

    if r.shape[1] < 2:
        return np.ones(len(r))
    r = np.where(r.sum(1, keepdims=True) > 0, r, 1)  # what is not used at all is of no one factor
    return 1 - entropy(r, base=r.shape[1], axis=1)

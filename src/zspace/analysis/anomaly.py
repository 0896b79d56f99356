"""Scores of single samples that tell what a model was not made for, and how well they do.

A score is one number per sample x, higher where the model expected x less:

    error         ``|x - E p(x|z)|^2`` at the mean code z
    elbo, iw      ``-log p(x|z) + KL(q(z|x) || p(z))``, and the importance-weighted bound
    typicality    ``|elbo(x) - mean elbo of validation|``
    regret        ``max_q ELBO(x; q) - ELBO(x; q(z|x))``, a maximum over diagonal Gaussians q
    mahalanobis   ``sqrt((z - m)^T C^-1 (z - m))``, m and C of the codes of training images

`Scorer` makes them, with thresholds from validation samples; `detection` says of scores (N,) of
ordinary samples and (M,) of anomalies how well they are told apart; `detection_scores` is both,
for `zspace evaluate`.

Reference for the regret: Xiao, Yan, Amit. Likelihood regret: an out-of-distribution detection
score for variational auto-encoder. 2020, arXiv 2003.02977. There the encoder is trained on for
each sample alone; here the mean and the variance of q are, for a batch at once, which is far
cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from zspace.analysis.latents import encoded
from zspace.analysis.measure import BOOTSTRAP_DRAWS, Measure, bootstrap, metric
from zspace.analysis.trained import TrainedModel, each, split, subset
from zspace.data.account import of_samples
from zspace.data.batches import Batches
from zspace.data.dataset import Data, Samples
from zspace.data.spec import Batch
from zspace.models.distributions import per_element
from zspace.models.draws import typical
from zspace.models.flow import Latent, Model
from zspace.models.terms import iwae, kl, nll
from zspace.system.bars import bar
from zspace.system.device import random_kept
from zspace.system.errors import NotMeasured, UserError, unknown

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
SCORE_DRAWS, SCORE_ROWS, SCORE_MOST = 16, 32, 10_000
"""Draws of z for the bounds; images whose draws are decoded at once; images of training and of
validation that say what is usual, at most.
"""
REGRET_STEPS, REGRET_RATE, REGRET_DRAWS = 40, 0.1, 16
"""Steps of Adam on each q, its first rate, and the draws that both bounds are means of."""
MOST, RATE = 2_000, 0.05
"""Images of either side in `detection_scores`; the share of false alarms that sets thresholds."""


def detection(
    ordinary: np.ndarray,
    anomalous: np.ndarray,
    *,
    what: str = "",
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> dict[str, Measure]:
    """How well a score tells anomalies from ordinary samples, each with its 95% interval.

    auroc: the area under the ROC curve, the chance that an anomaly scores above an ordinary
    sample, ties counting half. auprc: average precision, the mean precision over the recalls that
    are reached; chance gives the share of anomalies. fpr95: the share of ordinary samples at or
    above the highest threshold that finds at least 95% of the anomalies.

    Arguments:
        ordinary: Scores (N,) of ordinary samples.
        anomalous: Scores (M,) of anomalies, which should be the higher.
        what: Which score, of which images: ends each definition.
        draws: Of the bootstrap, which draws both groups anew, each on its own.
        seed: Of the bootstrap.

    >>> found = detection(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0]), draws=10)
    >>> round(found["auroc"].value, 3)  # one tie in six pairs
    0.917
    """
    n, m = len(ordinary), len(anomalous)
    numbers = _counted(np.asarray(ordinary), np.asarray(anomalous))
    values = numbers(np.ones(n), np.ones(m)).tolist()
    ends = bootstrap(numbers, n, m, draws=draws, seed=seed).T.tolist()
    area = f"area under the ROC curve {what}; 0.5 is chance; below it, anomalies score lower"
    precision = f"average precision {what}; chance is {m / (n + m):.3f}"
    rate = f"share of ordinary images above the threshold that finds 95% of anomalies, {what}"
    about = {"auroc": area, "auprc": precision, "fpr95": rate}  # in the order of the numbers
    return {
        k: Measure(x, about[k], interval=(low, high), better="low" if k == "fpr95" else "high")
        for k, x, (low, high) in zip(about, values, ends, strict=True)
    }


def _counted(
    ordinary: np.ndarray, anomalous: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From counts (N,) and (M,) of the samples to (auroc, auprc, fpr95); sorts only once."""
    thresholds, place = np.unique(np.concatenate([ordinary, anomalous]), return_inverse=True)
    first, second = np.split(len(thresholds) - 1 - place.reshape(-1), [len(ordinary)])

    def numbers(n: np.ndarray, m: np.ndarray) -> np.ndarray:
        false = np.cumsum(np.bincount(first, n, len(thresholds)))  # at or above each threshold
        true = np.cumsum(np.bincount(second, m, len(thresholds)))
        fpr, recall = false / false[-1], true / true[-1]
        precision = true / np.maximum(true + false, 1)
        gained = np.diff(recall, prepend=0)
        auroc = (np.diff(fpr, prepend=0) * (recall - gained / 2)).sum()
        fpr95 = fpr[np.argmax(100 * true >= 95 * true[-1])]
        return np.array([auroc, (gained * precision).sum(), fpr95])

    return numbers


def has_regret(levels: tuple[Latent, ...]) -> bool:
    """Whether q is one diagonal Gaussian, which can be moved, and p is one too."""
    both = (levels[0].q, levels[0].p)
    gaussian = [isinstance(d, Independent) and isinstance(d.base_dist, Normal) for d in both]
    return len(levels) == 1 and all(gaussian)


@torch.no_grad()
def regret(model: Model, batch: Batch, steps: int = REGRET_STEPS) -> Tensor:
    """``max_q ELBO(x; q) - ELBO(x; q(z|x))`` in nats, (B,), by `steps` of Adam on each q.

    Both bounds are means over the same 16 draws of noise, and the steps use others; so a gain
    smaller than the noise may come out negative. The model's weights and their gradients stay as
    they are. The reference is that of this module.

    >>> regret(run.model, Batch(data.test.images()[:4]), steps=2).shape
    torch.Size([4])
    """
    level = model(batch.x, batch.c).latents[0]
    assert level.q is not None
    normal = level.q.base_dist
    half = torch.randn(REGRET_DRAWS // 2, *normal.loc.shape, device=batch.x.device)
    noise = torch.cat([half, -half])  # in pairs: what is linear in the noise cancels
    mean, log_scale = normal.loc.detach().clone(), normal.scale.detach().log()
    before = _regret_bound(model, batch, level.p, mean, log_scale, noise)
    parts = [mean.requires_grad_(), log_scale.requires_grad_()]
    optimizer = torch.optim.Adam(parts, lr=REGRET_RATE)
    with torch.enable_grad():
        for step in range(steps):
            fresh = torch.randn(1, *mean.shape, device=mean.device)
            loss = -_regret_bound(model, batch, level.p, mean, log_scale, fresh).sum()
            gradients = torch.autograd.grad(loss, parts)  # not of the weights
            for part, gradient in zip(parts, gradients, strict=True):
                part.grad = gradient
            left = 1 - step / steps  # with a constant rate q keeps trembling
            optimizer.param_groups[0]["lr"] = REGRET_RATE * left
            optimizer.step()
    return _regret_bound(model, batch, level.p, mean, log_scale, noise) - before


def _regret_bound(
    model: Model, batch: Batch, p: Distribution, mean: Tensor, log_scale: Tensor, noise: Tensor
) -> Tensor:
    """The ELBO (B,) of x under q = N(mean, exp(log_scale)^2), with draws mean + scale noise."""
    q = Independent(Normal(mean, log_scale.exp(), validate_args=False), mean.dim() - 1)
    total = -kl_divergence(q, p)
    for draw in noise:
        px = model.decode(mean + log_scale.exp() * draw, batch.c)
        total = total + px.log_prob(batch.x) / len(noise)
    return total


class Scorer:
    """Scores of images under a model, high where they are unlike the data it was trained on.

    What is ordinary is learned from at most 10,000 training images (the codes, for `mahalanobis`)
    and as many validation images (the mean ELBO, for `typicality`, and the thresholds). Raises
    UserError for a name that is unknown, or that the model does not have.

    Arguments:
        trained: The model, usually a run.
        data: The data that it was trained on.
        names: Of `zspace.analysis.anomaly.SCORES`; by default all that the model has. A
            deterministic code has only `error` and `mahalanobis`, as the others need q(z|x).
        quiet: Whether no progress bar is shown.

    Attributes: `names`, the scores in a fixed order; `validation`, their values (N,) for the
    validation images.

    >>> scorer = Scorer(run, data, ["error"])
    >>> scorer(data.test)["error"].shape == (len(data.test),)
    True
    """

    def __init__(
        self, trained: TrainedModel, data: Data, names: Sequence[str] = (), *, quiet: bool = True
    ) -> None:
        self.trained, self.quiet = trained, quiet
        self.names = _chosen(trained, names)
        if "mahalanobis" in self.names:
            from sklearn.covariance import LedoitWolf  # slow to import

            z = encoded(trained, subset(data.train, SCORE_MOST))
            self._ordinary = LedoitWolf().fit(z.astype(np.float64))
        found = self._measure(subset(data.validation, SCORE_MOST))
        self._usual = float(found["typicality"].mean()) if "typicality" in found else 0.0
        self.validation = self._centred(found)

    def __call__(self, samples: Samples) -> dict[str, np.ndarray]:
        """Name -> scores (N,), of samples that the model can read, in their order."""
        return self._centred(self._measure(samples))

    def thresholds(self, rate: float) -> dict[str, float]:
        """Name -> the lowest score above which at most this share of validation images lies.

        Raises UserError for a rate outside (0, 1), and where there are too few validation images
        to tell: fewer than 1 / rate.

        >>> scorer = Scorer(run, data, ["error"])
        >>> limit = scorer.thresholds(0.2)["error"]
        >>> bool((scorer.validation["error"] > limit).mean() <= 0.2)
        True
        """
        n = len(next(iter(self.validation.values())))
        if not 0 < rate < 1:
            raise UserError(f"the rate of false alarms is {rate}: give a share between 0 and 1")
        if rate * n < 1:
            digits = 10 ** (2 + math.floor(math.log10(n)))
            least = f"{math.ceil(digits / n) / digits:g}"  # rounded up, so that it is enough
            way = f"use a rate of at least {least}" if n > 1 else "more of them are needed"
            said = of_samples(f"{n} validation image{'s' * (n > 1)}", self.trained.spec.kind)
            raise UserError(f"a rate of false alarms of {rate:g} cannot be set from {said}: {way}")
        allowed = int(rate * n + 1e-9)
        return {k: float(np.sort(v)[n - 1 - allowed]) for k, v in self.validation.items()}

    def _centred(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Scores whose typicality, measured as the negative ELBO, is its distance to the mean."""
        return {k: np.abs(v - self._usual) if k == "typicality" else v for k, v in found.items()}

    def _measure(self, samples: Samples) -> dict[str, np.ndarray]:
        """The scores; typicality is still the negative ELBO."""
        with bar("scoring images", len(samples), self.quiet) as made:

            def scored(batch: Batch) -> dict[str, Tensor]:
                found = self._batch(batch)
                made(len(batch.x))
                return {name: found[name] for name in self.names}

            parts = each(self.trained, samples, scored)
        return {name: values.astype(np.float64) for name, values in parts.items()}

    def _batch(self, batch: Batch) -> dict[str, Tensor]:
        model, found = self.trained.model, dict[str, Tensor]()
        if "mahalanobis" in self.names:
            z = model.encode(batch.x, batch.c).flatten(1).cpu().numpy().astype(np.float64)
            distance = np.sqrt(self._ordinary.mahalanobis(z)).astype(np.float32)
            found["mahalanobis"] = torch.from_numpy(distance)
        if "error" in self.names:
            found["error"] = squared_error(self.trained, batch).flatten(1).sum(1)
        if {"elbo", "iw", "typicality"} & set(self.names):
            found |= _bounds(model, batch)
        if "regret" in self.names:
            found["regret"] = regret(model, batch)
        return found


def squared_error(trained: TrainedModel, batch: Batch) -> Tensor:
    """Where the model fails to see its input: (B, H, W), the squared error of each pixel, or of
    each entry of a row (B, W), of each step of a series (B, T); 0 where that is missing.

    It is that of the decoded mean code, summed over channels. Of tokens it is 1 where the
    likeliest one is another (B, T). Its sum is the score `error`.
    """
    px = trained.model.decode(trained.model.encode(batch.x, batch.c), batch.c)
    if trained.spec.kind == "tokens":
        return ((typical(px) != batch.x) & (batch.x >= 0)).float()
    error = per_element(px, batch.x, lambda x: (px.mean - x).square())
    return error.sum(trained.spec.features) if error.dim() > 2 else error


def _bounds(model: Model, batch: Batch) -> dict[str, Tensor]:
    """The negative ELBO and the importance-weighted bound (B,) of the same 16 draws."""
    parts: list[tuple[Tensor, Tensor]] = []
    for x, c in split(batch.x, batch.c, SCORE_ROWS):  # all draws of some images at once
        p = model(x, c, SCORE_DRAWS)
        parts.append((nll(p)["nll"] + kl(p)["kl"], iwae(p)["iwae"]))
    elbo, iw = (torch.cat(values) for values in zip(*parts, strict=True))
    return {"elbo": elbo, "typicality": elbo, "iw": iw}


@torch.no_grad()
def inferred_labels(trained: TrainedModel, samples: Samples) -> np.ndarray:
    """The class (N,) under which a conditional model gives each sample the highest bound.

    The bound is the mean ELBO of 16 draws, the same for every class; where the code has no
    distribution, the class of the lowest squared error is taken. Raises UserError for a model that
    is told attributes, whose combinations are too many to try.
    """
    if trained.spec.attributes:
        raise UserError(
            f"recipe '{trained.name}' is told attributes, which are not inferred: give data with "
            f"{', '.join(trained.spec.attributes):.200}"
        )
    batches = Batches(
        samples,
        batch=trained.measured_at_once,
        device=trained.device,
        seed=0,
        binarize=trained.binarize,
        shuffle=False,
    )
    found = []
    for batch in batches.epoch(0):
        under = []
        for one_hot in torch.eye(trained.model.context, device=trained.device):
            told = Batch(batch.x, one_hot.expand(len(batch.x), -1))
            with random_kept(trained.device, seed=0):
                under.append(
                    _bounds(trained.model, told)["elbo"]
                    if trained.variational
                    else squared_error(trained, told).flatten(1).sum(1)
                )
        found.append(torch.stack(under).argmin(0).cpu())
    return torch.cat(found).numpy()


def available(trained: TrainedModel) -> tuple[str, ...]:
    """The names of the scores that a model has."""
    levels = trained.probe.latents
    if any(level.q is None for level in levels):
        return ("error", "mahalanobis")
    return tuple(name for name in SCORES if name != "regret" or has_regret(levels))


def _chosen(trained: TrainedModel, names: Sequence[str]) -> tuple[str, ...]:
    offered = available(trained)
    for name in names:
        if name not in SCORES:
            raise unknown("score", name, SCORES)
        if name not in offered:
            needs = "one diagonal Gaussian q(z|x)" if name == "regret" else "a q(z|x)"
            raise UserError(
                f"recipe '{trained.name}' has no score '{name}', which needs {needs}: choose "
                f"from {', '.join(offered)}"
            )
    return tuple(name for name in SCORES if name in (names or offered))


@dataclass(frozen=True)
class Sides:
    """Test images that the model was made for, others, and what both are called."""

    ordinary: Samples
    anomalous: Samples
    about: str


@metric("anomaly", place=80)
def detection_scores(
    trained: TrainedModel,
    data: Data,
    *,
    against: Data | None = None,
    names: Sequence[str] = (),
    most: int = MOST,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
    quiet: bool = True,
) -> dict[str, Measure]:
    """Test images against anomalies, score by score: <score>_auroc, _auprc, _fpr95 and _alarms.

    The anomalies are the test images of `against`, or of the class that was held out of
    training. Intervals are bootstrapped over images; what another training would change is not in
    them. _alarms is the share of ordinary test images above the threshold that 5% of the
    validation images exceed; it is near 5% where the threshold carries over. Raises NotMeasured
    where nothing says what an anomaly is, and for conditional models, which must be told a label.

    Arguments:
        trained: The model, usually a run.
        data: The data that it was trained on.
        against: Data whose test images are the anomalies.
        names: Of `zspace.analysis.anomaly.SCORES`; by default all that the model has.
        most: Images on either side, drawn with the seed. With 2,000, intervals of the AUROC are
            about 0.03 wide.
        draws: Of the bootstrap.
        seed: Of the images drawn and of the bootstrap.
        quiet: Whether no progress bar is shown.

    >>> found = detection_scores(run, data, against=data, names=["error"], draws=10)
    >>> found["error_auroc"].value  # the same images on both sides
    0.5
    """
    both = sides(trained, data, against)
    ordinary = subset(both.ordinary, most, seed)
    anomalous = subset(both.anomalous, most, seed)
    about = f"{both.about}, {len(anomalous):,} against {len(ordinary):,}"
    scorer = Scorer(trained, data, names, quiet=quiet)
    usual, odd = scorer(ordinary), scorer(anomalous)
    rate = max(RATE, 1 / len(data.validation))
    limits = scorer.thresholds(rate)
    found: dict[str, Measure] = {}
    for name in scorer.names:
        what = f"by {SCORES[name].partition(',')[0]}: {about}"
        told = detection(usual[name], odd[name], what=what, draws=draws, seed=seed)
        found |= {f"{name}_{key}": measure for key, measure in told.items()}
        found[f"{name}_alarms"] = _alarms(usual[name] > limits[name], rate)
    return found


def sides(trained: TrainedModel, data: Data, against: Data | None = None) -> Sides:
    """Whose scores are compared. Raises NotMeasured as `detection_scores` does."""
    if trained.model.context:
        raise NotMeasured(
            f"recipe '{trained.name}' must be told the label of an image, which an anomaly "
            "does not have: use an unconditional model"
        )
    usual, held = data.test, data.novel
    if held:
        usual, odd = _parted(data, [data.classes.index(name) for name in held])
        which = f"class{'es' * (len(held) > 1)} {', '.join(map(repr, held))}"
        about = f"images of {which} of {data.name} against those of its other classes"
    if against is not None:
        odd, about = against.test, f"images of {against.name} against images of {data.name}"
    elif not held:
        raise NotMeasured(
            "nothing says what an anomaly is: give other data, such as --anomaly fashion-mnist, "
            "train with --hold-out-class, or give a test set with a class that training lacks"
        )
    if not (len(usual) and len(odd)):
        raise NotMeasured(
            f"{about} cannot be compared: the test split has {len(odd)} of the former and "
            f"{len(usual)} of the latter; give data that have some of both"
        )
    return Sides(usual, odd, about)


def _parted(data: Data, labels: list[int]) -> tuple[Samples, Samples]:
    """Test images of other labels, and of these."""
    y = data.test.labels()
    if y is None:
        raise UserError(f"data '{data.name}' have no labels: give the data of the run")
    index, odd = data.test.index, torch.isin(y, torch.tensor(labels))
    return replace(data.test, index=index[~odd]), replace(data.test, index=index[odd])


def _alarms(above: np.ndarray, rate: float) -> Measure:
    """The share of ordinary test images that the threshold takes for anomalies."""
    p = float(above.mean())
    about = (
        f"share of ordinary test images above the threshold that {rate:.2g} of validation images "
        "exceed: near that where the threshold carries over"
    )
    return Measure(p, about, error=float(np.sqrt(p * (1 - p) / len(above))))

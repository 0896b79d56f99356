"""What is estimated, from what, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np

import zspace
from zspace.analysis import METRICS, disentanglement
from zspace.analysis.generation import frechet, manifold
from zspace.analysis.measure import error_of_halves, halves
from zspace.data.loading import load
from zspace.data.sets.shapes import factors_of


def same_images_twice() -> str:
    """The total correlation of tcvae, measured as that of training and as that of test images."""
    data = load("mnist5k", quiet=True)
    twice = replace(data, test=data.train)
    options = {"likelihood": "bernoulli", "beta": 2, "epochs": 10, "out": False, "quiet": True}
    with patch("zspace.training.build.load_data", lambda *_, **__: twice):
        run = zspace.train("tcvae", data="mnist5k", **options)
    found = (f"{run.result[split]['total_correlation']:.2f}" for split in ("train", "test"))
    return "{} as training images, {} as test images".format(*found)


def summary(name: str, values: list[float], errors: list[float]) -> str:
    """How far values of repeated experiments lie apart, what was said of it, and how often the
    95% interval held their mean.
    """
    value, error = np.array(values), np.array(errors)
    held = (abs(value - value.mean()) < 1.96 * error).mean()
    true = f"true {value.std(ddof=1):.4f}"
    return f"{name} {error.mean():.4f} ({true}, intervals hold {held:.0%})"


def errors_of_neighbours() -> str:
    """300 pairs of sets of 500 points in 16 dimensions, from the same Gaussian."""
    values: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for seed in range(300):
        real, made = np.random.default_rng(seed).normal(size=(2, 500, 16))
        parts = halves(500, 500, seed=seed)
        found = manifold(real, made, halves=parts)
        found["frechet"] = np.array([frechet(real[i], made[j]) for i, j in [(...,) * 2, *parts]])
        for name, (value, *of_halves) in found.items():
            values.setdefault(name, []).append(value)
            error = error_of_halves(of_halves, smooth=name == "frechet")
            errors.setdefault(name, []).append(error)
    return "; ".join(summary(name, values[name], errors[name]) for name in values)


def errors_of_factor_scores() -> str:
    """30 sets of 300 codes: two known factors, mixed, with noise."""
    values: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for seed in range(30):
        random = np.random.default_rng(seed)
        v = np.stack([random.integers(size, size=300) for size in (3, 4)], axis=1)
        z = v / np.sqrt((np.array([3, 4]) ** 2 - 1) / 12)
        z = z + 0.8 * z[:, ::-1] + 0.6 * random.normal(size=z.shape)
        of_halves = [
            disentanglement.scores(z[i], v[i]) for (i,) in halves(300, draws=12, seed=seed)
        ]
        for name, value in disentanglement.scores(z, v).items():
            values.setdefault(name, []).append(value)
            errors.setdefault(name, []).append(error_of_halves([one[name] for one in of_halves]))
    return "; ".join(summary(name, values[name], errors[name]) for name in values)


def images_of_disentanglement() -> str:
    """Which images codes are asked for."""
    data, asked = load("shapes", quiet=True), []

    def encoded(trained: object, samples: object) -> np.ndarray:
        asked.extend(
            name
            for name, some in data.splits.items()
            if some.x is samples.x and set(samples.index.tolist()) <= set(some.index.tolist())
        )
        return factors_of(data, samples).astype(float)

    with patch.multiple(disentanglement, encoded=encoded, drawn=encoded):
        disentanglement.factor_scores(None, data)
    return f"{' and '.join(dict.fromkeys(asked))} images"


def scaled_codes() -> str:
    """The FactorVAE score of the factors themselves, scaled."""
    data = load("shapes", quiet=True)
    v = factors_of(data, data.test)
    return f"{disentanglement.factor_vae(0.05 * v / v.std(0), v):.2f}"


def collapsed_code() -> str:
    """What is read from the codes of a beta-VAE whose KL weighs 20 times as much as usual."""
    options = {"beta": 20, "epochs": 8, "out": False, "quiet": True}
    run = zspace.train("beta-vae", data="mnist5k", **options)
    metric = METRICS["representation"]
    found = metric.of(run, run.data())
    told = ", ".join(
        f"{name} {found[name].value:.2f}" for name in ("probe", "probe_draws") if name in found
    )
    warned = "warned" if metric.warning and metric.warning(found) else "no warning"
    ended = "warned" if run.result.get("warnings") else "no warning"
    kl = run.result["test"]["kl"]
    return f"KL {kl:.4f} nats: {told}; {warned}; at the end of training: {ended}"


AUDITS: list[tuple[str, str, Callable[[], str]]] = [
    (
        "total correlation of tcvae on the same 4,050 images",
        "5.56 as training images, 3.61 as test images",
        same_images_twice,
    ),
    (
        "standard errors of samples: precision, recall, density, coverage, Frechet distance",
        "precision 0.0150 (true 0.0177, intervals hold 91%); "
        "recall 0.0149 (true 0.0179, intervals hold 89%); "
        "density 0.0460 (true 0.0711, intervals hold 80%); "
        "coverage 0.0077 (true 0.0105, intervals hold 88%); frechet: none given",
        errors_of_neighbours,
    ),
    (
        "standard errors of disentanglement scores",
        "none were given",
        errors_of_factor_scores,
    ),
    ("images that disentanglement is measured on", "train images", images_of_disentanglement),
    ("FactorVAE score of perfect codes scaled by 0.05", "0.00", scaled_codes),
    (
        "representation of a collapsed code",
        "KL 0.0004 nats: probe 0.65; no warning; at the end of training: no warning",
        collapsed_code,
    ),
]

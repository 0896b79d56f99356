"""Anomaly scores, how well they tell images apart, and classes held out of training."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import nn
from torch.distributions import MultivariateNormal

import zspace
from zspace.analysis.anomaly import (
    SCORES,
    Scorer,
    available,
    detection,
    detection_scores,
    regret,
    sides,
    squared_error,
)
from zspace.analysis.measure import bootstrap
from zspace.analysis.reconstruction import surprises
from zspace.analysis.trained import over
from zspace.data.dataset import Samples
from zspace.data.loading import load
from zspace.data.selection import without
from zspace.data.spec import Batch
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Gaussian as GaussianCode
from zspace.models.likelihoods import Gaussian
from zspace.models.priors import StandardNormal
from zspace.report.figures.pictures import write_heat
from zspace.runs.measured import score
from zspace.system.errors import NotMeasured, UserError

RANDOM = np.random.RandomState(0)


@pytest.fixture(scope="module")
def held(digits, tmp_path_factory) -> zspace.Run:
    """A run that has not seen a digit 0."""
    options = {"hidden": (32,), "latent": 3, "epochs": 2, "batch": 64, "precision": "fp32"}
    out = tmp_path_factory.mktemp("held") / "run"
    return zspace.train(
        "vae", data=str(digits), hold_out_class="0", out=out, quiet=True, **options
    )


@pytest.fixture(scope="module")
def noise(runs, tmp_path_factory) -> Path:
    """Images of black and white noise, of the digits' shape."""
    path = tmp_path_factory.mktemp("noise") / "noise.npz"
    x = np.random.RandomState(1).randint(0, 2, (60, *runs["vae"].spec.shape[1:]), np.uint8) * 255
    np.savez(path, x=x, allow_pickle=False)
    return path


# Detection


def _sklearn(ordinary: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float]:
    y = np.r_[np.zeros(len(ordinary)), np.ones(len(anomalous))]
    values = np.r_[ordinary, anomalous]
    fpr, tpr, _ = roc_curve(y, values, drop_intermediate=False)
    found = fpr[tpr >= 0.95][0]
    return roc_auc_score(y, values), average_precision_score(y, values), found


@pytest.mark.parametrize(
    ("ordinary", "anomalous"),
    [
        (RANDOM.randn(300), RANDOM.randn(200) + 1),
        (RANDOM.randn(50), RANDOM.randn(400) - 1),
        (RANDOM.randint(0, 5, 200), RANDOM.randint(2, 6, 100)),  # many ties
        (np.zeros(20), np.zeros(30)),
        (np.arange(20.0), np.arange(20.0) + 100),
        (np.arange(20.0) + 100, np.arange(20.0)),
        (np.array([0.5]), np.array([0.7])),
    ],
)
def test_detection_equals_sklearn(ordinary, anomalous):
    found = detection(ordinary, anomalous, draws=10)
    wanted = _sklearn(ordinary, anomalous)
    values = [found[name].value for name in ("auroc", "auprc", "fpr95")]
    np.testing.assert_allclose(values, wanted, atol=1e-12)


def test_detection_is_that_of_two_gaussians():
    """AUROC of N(0, 1) and N(d, 1) is Phi(d / sqrt(2)); FPR at 95% is 1 - Phi(d - 1.645)."""
    random, d = np.random.RandomState(3), 1.5
    found = detection(random.randn(40_000), random.randn(40_000) + d, draws=50)
    assert found["auroc"].value == pytest.approx(0.5 * (1 + math.erf(d / 2)), abs=0.005)
    wanted = 0.5 * (1 - math.erf((d - 1.64485) / math.sqrt(2)))
    assert found["fpr95"].value == pytest.approx(wanted, abs=0.01)


def test_intervals_of_detection_equal_scipys():
    """Both resample each group on its own; percentiles of 2,000 draws differ by their noise."""
    ordinary, anomalous = RANDOM.randn(150), RANDOM.randn(100) + 1
    found = detection(ordinary, anomalous, draws=2000)
    theirs = scipy_bootstrap(
        (ordinary, anomalous),
        lambda a, b: np.array(_sklearn(a, b)),
        vectorized=False,
        n_resamples=200,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    low, high = np.array([measure.interval for measure in found.values()]).T
    np.testing.assert_allclose(low, theirs.low, atol=0.03)
    np.testing.assert_allclose(high, theirs.high, atol=0.03)
    assert (high - low > 0.03).all()


def test_the_bootstrap_of_a_mean_is_its_standard_error():
    x = RANDOM.randn(400)
    low, high = bootstrap(lambda counts: np.array(counts @ x / len(x)), len(x), draws=4000)
    error = 1.96 * x.std() / math.sqrt(len(x))
    assert low == pytest.approx(x.mean() - error, abs=0.01)
    assert high == pytest.approx(x.mean() + error, abs=0.01)


def test_the_bootstrap_is_seeded_and_leaves_the_generators_alone():
    before = np.random.get_state()[1].copy()
    found = [detection(np.arange(9.0), np.arange(9.0) + 3, seed=s) for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert (np.random.get_state()[1] == before).all()


# Scores


def test_every_score_is_made_where_it_applies(runs):
    assert available(runs["vae"]) == tuple(SCORES)
    assert available(runs["ae"]) == ("error", "mahalanobis")


def test_scores_are_what_they_say(runs):
    run = runs["vae"]
    data = run.data()
    scorer = Scorer(run, data)
    found, x = scorer(data.test), data.test.images().numpy()
    assert set(found) == set(SCORES)
    assert all(values.shape == (len(data.test),) for values in found.values())
    error = np.square(run.reconstruct(x) - x).sum((1, 2, 3))
    np.testing.assert_allclose(found["error"], error, rtol=1e-4)
    np.testing.assert_allclose(found["elbo"].mean(), run.result["test"]["objective"], rtol=0.03)
    assert (found["iw"] <= found["elbo"] + 1e-3).mean() > 0.9  # the tighter bound
    usual = Scorer(run, data, ["elbo"]).validation["elbo"].mean()
    np.testing.assert_allclose(found["typicality"], np.abs(found["elbo"] - usual), atol=1e-6)


def test_mahalanobis_is_that_of_a_gaussian_of_training_codes(runs):
    run = runs["ae"]
    data = run.data()
    train, test = (run.encode(split.images().numpy()) for split in (data.train, data.test))
    found = Scorer(run, data, ["mahalanobis"])(data.test)["mahalanobis"]
    away = test - train.mean(0)
    plain = np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(train.T)), away))
    assert np.corrcoef(found, plain)[0, 1] > 0.999
    np.testing.assert_allclose(found, plain, rtol=0.1)  # but for the shrinkage


def test_the_map_sums_to_the_score(runs):
    run = runs["vae"]
    test = run.data().test
    maps = torch.cat(over(run, test, lambda batch: squared_error(run, batch)))
    assert maps.shape == (len(test), *run.spec.shape[1:])
    error = Scorer(run, run.data(), ["error"])(test)["error"]
    np.testing.assert_allclose(maps.flatten(1).sum(1), error, rtol=1e-5)


def test_scores_do_not_depend_on_the_global_state_nor_change_it(runs):
    run = runs["vae"]
    data = run.data()
    torch.manual_seed(5)
    first, state = Scorer(run, data)(data.test), torch.get_rng_state()
    torch.manual_seed(6)
    second = Scorer(run, data)(data.test)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())
    assert all(weight.grad is None for weight in run.model.parameters())


def test_thresholds_are_exceeded_by_the_share_asked_for(runs):
    run = runs["vae"]
    scorer = Scorer(run, run.data(), ["error", "elbo"])
    scorer.validation = {"error": np.arange(100.0), "elbo": RANDOM.randn(100)}
    for rate, above in ((0.05, 5), (0.1, 10), (0.29, 29), (0.01, 1)):
        limits = scorer.thresholds(rate)
        for name, values in scorer.validation.items():
            assert (values > limits[name]).sum() == above
    assert scorer.thresholds(0.05)["error"] == 94
    with pytest.raises(UserError, match=r"cannot be set from 100 validation images.*0\.01"):
        scorer.thresholds(0.001)
    with pytest.raises(UserError, match="between 0 and 1"):
        scorer.thresholds(1.0)


def test_wrong_names_are_told(runs):
    with pytest.raises(UserError, match="did you mean 'mahalanobis'"):
        Scorer(runs["vae"], runs["vae"].data(), ["mahalanobi"])
    with pytest.raises(UserError, match="needs one diagonal Gaussian"):
        Scorer(runs["ae"], runs["ae"].data(), ["regret"])


# Likelihood regret, where the best posterior is known


class Linear(nn.Module):
    """h = W x, for encoder and decoder alike, without a context."""

    def __init__(self, weight: torch.Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.shape = nn.Parameter(weight), shape

    def forward(self, x: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        return (x.flatten(1) @ self.weight.T).unflatten(1, self.shape)


class Plain(Gaussian):
    """A Gaussian whose mean is the decoder's output itself."""

    def forward(self, h, event):
        normal = torch.distributions.Normal(h, self.scale, validate_args=False)
        return torch.distributions.Independent(normal, event)


def test_regret_is_the_gap_to_the_exact_evidence(monkeypatch):
    """x = A z + noise: the best q is the true posterior where that is diagonal, and then the
    ELBO is log p(x), exact. The encoder says q = N(0, I) of everything.
    """
    a = torch.tensor(
        [[0.9, 0.0], [0.0, 0.6], [0.3, 0.0]]
    )  # orthogonal columns: diagonal posterior
    scale = 0.5
    model = Autoencoder(
        encoder=Linear(torch.zeros(4, 3), (4,)),
        bottleneck=GaussianCode(2),
        decoder=Linear(a, (3,)),
        likelihood=Plain(scale),
        prior=StandardNormal(2),
        latent=(2,),
    )
    torch.manual_seed(0)
    x = torch.randn(400, 3)
    evidence = MultivariateNormal(torch.zeros(3), a @ a.T + scale**2 * torch.eye(3)).log_prob(x)
    constant = 1.5 * math.log(2 * math.pi * scale**2)
    expected = ((x.square().sum(1) + a.square().sum()) / (2 * scale**2)) + constant
    gap = evidence + expected  # to the ELBO at q = p, whose KL is 0
    monkeypatch.setattr("zspace.analysis.anomaly.REGRET_DRAWS", 1000)
    found = regret(model, Batch(x), steps=200)
    assert (found - gap).mean().abs() < 0.02
    assert (found - gap).abs().max() < 0.5
    assert (found <= gap + 0.35).all()  # more than the gap cannot be won, but for the noise
    assert all(weight.grad is None for weight in model.parameters())


# A file of scores


def test_scores_of_all_images_are_written(runs, noise, tmp_path):
    run, out = runs["vae"], tmp_path / "deep" / "scores.csv"
    done = score(run, str(noise), out=out, names=["error", "elbo"], rate=0.1)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert done.path == out
    assert done.images == len(rows) == 60
    names = ["error", "elbo", "error_anomaly", "elbo_anomaly"]
    assert list(rows[0]) == ["split", "index", "id", *names]
    assert sorted(int(row["index"]) for row in rows) == list(range(60))
    for row in rows:
        assert int(row["error_anomaly"]) == (float(row["error"]) > done.thresholds["error"])
    assert done.flagged["error"] == 60  # noise is nothing like a digit


def test_own_data_have_labels_and_few_anomalies(runs, tmp_path):
    done = score(runs["cvae"], out=tmp_path / "s.csv", names=["error"], rate=0.1)
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert {row["label"] for row in rows} == set("0123456789")
    validation = [row for row in rows if row["split"] == "validation"]
    assert sum(int(row["error_anomaly"]) for row in validation) == int(0.1 * len(validation))
    assert done.flagged["error"] < 0.3 * done.images


def test_scores_go_into_csv_only(runs, tmp_path):
    with pytest.raises(UserError, match=r"scores.csv"):
        score(runs["ae"], out=tmp_path / "s.txt")


def test_images_of_another_shape_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="reads"):
        score(runs["ae"], "mnist5k", out=tmp_path / "s.csv")
    assert not list(tmp_path.iterdir())


# Anomalies


def test_noise_is_told_from_digits(runs, noise):
    run = runs["vae"]
    against = run.data(str(noise))
    found = detection_scores(run, run.data(), against=against, names=["error", "elbo"], draws=50)
    assert set(found) == {
        f"{a}_{b}" for a in ("error", "elbo") for b in ("auroc", "auprc", "fpr95", "alarms")
    }
    assert found["error_auroc"].value == pytest.approx(1)
    assert found["error_auroc"].interval == pytest.approx((1, 1))
    assert found["error_fpr95"].value == 0
    assert found["error_alarms"].value < 0.3  # of the ordinary images, not of the noise
    assert "squared error" in found["error_auroc"].about
    assert "60 against 30" in found["error_auroc"].about


def test_an_equal_set_is_not_told_apart(runs):
    run = runs["ae"]
    data = run.data()
    swapped = replace(data, test=data.train)
    found = detection_scores(run, data, against=swapped, names=["error"], draws=200)["error_auroc"]
    low, high = found.interval
    assert low < 0.5 < high


def test_what_is_no_anomaly_is_not_measured(runs):
    with pytest.raises(NotMeasured, match="--hold-out-class"):
        detection_scores(runs["vae"], runs["vae"].data())
    with pytest.raises(NotMeasured, match="label"):
        detection_scores(runs["cvae"], runs["cvae"].data(), against=runs["cvae"].data())


# A class held out


def test_a_held_out_class_is_in_the_test_split_alone(held):
    data = held.data()
    for split in (data.train, data.validation):
        assert 0 not in split.labels()
        assert set(split.labels().tolist()) <= set(range(1, 10))
    assert 0 in data.test.labels()
    assert data.classes == tuple("0123456789")
    assert held.record["data"]["train"] == len(data.train)


def test_a_loaded_run_has_the_same_data(held):
    again = zspace.load(held.path)
    assert again.config.data.hold_out_class == "0"
    assert again.data().fingerprint == held.data().fingerprint
    whole = load(held.config.data.data, quiet=True)
    assert again.data().fingerprint != whole.fingerprint
    assert set(whole.test.index.tolist()) < set(again.data().test.index.tolist())
    held_out = int((again.data().test.labels() == 0).sum())
    assert held_out == sum(int((s.labels() == 0).sum()) for s in whole.splits.values())


def test_the_held_out_class_is_the_anomaly(held):
    data = held.data()
    both = sides(held, data)
    assert set(both.anomalous.labels().tolist()) == {0}
    assert 0 not in both.ordinary.labels()
    assert len(both.anomalous) + len(both.ordinary) == len(data.test)
    found = detection_scores(held, data, names=["error"], draws=20)
    assert 0 <= found["error_auroc"].value <= 1
    assert "class '0'" in found["error_auroc"].about


def test_wrong_classes_to_hold_out_are_told(digits, noise):
    data = load(str(digits), quiet=True)
    with pytest.raises(UserError, match="class to hold out '10' is unknown"):
        without(data, "10")
    with pytest.raises(UserError, match="no labels"):
        load(str(noise), hold_out_class="1", quiet=True)
    first = Samples(data.train.x, data.train.y, data.train.index[data.train.labels() == 3])
    with pytest.raises(UserError, match="0 training"):
        without(replace(data, train=first), "3")
    assert without(data, "") is data


# Where


def test_surprises_are_the_worst_images(runs):
    run = runs["cvae"]
    test = run.data().test
    error = Scorer(run, run.data(), ["error"])(test)["error"]
    found = surprises(run, test, n=4)
    assert found.i.tolist() == np.argsort(-error)[:4].tolist()
    np.testing.assert_allclose(found.error, np.sort(error)[::-1][:4], rtol=1e-5)
    np.testing.assert_allclose(found.maps.sum((1, 2)), found.error, rtol=1e-4)
    np.testing.assert_allclose(found.x, test.images(torch.from_numpy(found.i)))
    assert found.usual == pytest.approx(error.mean(), rel=1e-5)


def test_surprises_of_several_splits(runs):
    run = runs["ae"]
    data = run.data()
    splits = data.train, data.validation, data.test
    found = surprises(run, *splits, n=len(data.train))
    scorer = Scorer(run, data, ["error"])
    error = np.concatenate([scorer(split)["error"] for split in splits])
    x = np.concatenate([split.images().numpy() for split in splits])
    np.testing.assert_allclose(found.error, np.sort(error)[::-1][: len(data.train)], rtol=1e-5)
    np.testing.assert_allclose(found.maps.sum((1, 2)), found.error, rtol=1e-4)
    np.testing.assert_allclose(found.x[:5], x[np.argsort(-error)[:5]])
    np.testing.assert_allclose(found.decoded, run.reconstruct(found.x), atol=1e-5)
    assert found.images == len(x)


def test_colour_images_whose_codes_are_maps(maps, tmp_path):
    run = maps["vae"]
    data = run.data()
    found = Scorer(run, data)(data.test)
    assert set(found) == set(SCORES)
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["regret"].mean() > 0
    path = write_heat(run, None, None, tmp_path / "deep" / "heat.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 200
    with pytest.raises(UserError, match=r"\.svg"):
        write_heat(run, None, None, tmp_path / "heat.gif")

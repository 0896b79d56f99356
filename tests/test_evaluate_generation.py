"""Generation and representation: closed forms, independent libraries, generators whose quality is
known.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torchmetrics.image.fid import _compute_fid

from zspace.analysis import generation, representation
from zspace.analysis.fid import inception_distance
from zspace.analysis.generation import (
    as_asked,
    between,
    frechet,
    half_way_novelty,
    made_images,
    manifold,
    nearest,
    novelty,
    prior_novelty,
    relative_distance,
    sample_quality,
    to_training,
    usual_distances,
)
from zspace.analysis.latents import codes, drawn, encoded
from zspace.analysis.measure import METRICS, error_of_halves, halves
from zspace.analysis.representation import (
    alike,
    balanced,
    clusters,
    label_probes,
    of_space,
    scaled,
)
from zspace.models.priors import BANDWIDTHS, DENSITIES, bandwidth
from zspace.runs.run import load
from zspace.system.errors import NotMeasured, UserError


def spread(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated Gaussian points (n, d)."""
    random = np.random.RandomState(seed)
    return random.randn(n, d) @ random.randn(d, d) + shift


# Frechet distance


def test_frechet_of_gaussians_equals_the_formula():
    """For diagonal covariances ``|m - n|^2 + sum_j (s_j - t_j)^2``."""
    m, n, s, t = np.random.RandomState(0).rand(4, 6) + 0.1
    want = np.square(m - n).sum() + np.square(s - t).sum()
    assert between(m, np.diag(s**2), n, np.diag(t**2)) == pytest.approx(want, rel=1e-12)


def test_frechet_equals_independent_computations():
    a, b = spread(300, 8, 0), spread(200, 8, 1, shift=0.5)
    parts = [(x.mean(0), np.cov(x.T)) for x in (a, b)]
    (m, A), (n, B) = parts
    want = np.square(m - n).sum() + np.trace(A + B - 2 * sqrtm(A @ B).real)
    assert frechet(a, b) == pytest.approx(want, rel=1e-9)
    tensors = [torch.from_numpy(np.asarray(part)) for pair in parts for part in pair]
    assert frechet(a, b) == pytest.approx(float(_compute_fid(*tensors)), rel=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)


def test_frechet_of_the_same_is_nothing_and_of_a_shift_its_square():
    a = spread(50, 20, 0)
    assert frechet(a, a) == pytest.approx(0, abs=1e-8)
    few = a[:10]  # fewer samples than dimensions: covariances have no full rank
    assert frechet(few, few + 2.0) == pytest.approx(20 * 4, rel=1e-6)
    with pytest.raises(UserError, match="at least 2"):
        frechet(a, a[:1])


# Precision, recall, density, coverage


@pytest.mark.parametrize(
    ("n", "m", "d", "k"), [(600, 550, 3, 5), (200, 700, 16, 3), (40, 9, 2, 1)]
)
def test_manifold_equals_the_prdc_package(n, m, d, k):
    real, made = spread(n, d, 0), 0.8 * spread(m, d, 0)[::-1] + 0.2
    found = manifold(real, made, k)
    want = compute_prdc(real, made, k)
    for name, value in want.items():
        assert found[name].mean() == pytest.approx(value, abs=1e-6)
    assert 0.05 < want["coverage"] < 0.999  # the case is not a trivial one


def test_manifold_of_halves_equals_the_prdc_package_on_them():
    real, made = spread(300, 6, 0), 0.8 * spread(201, 6, 1) + 0.2
    parts = halves(300, 201, draws=3)
    assert [sorted(np.r_[parts[i][1], parts[i + 1][1]]) for i in (0, 2, 4)] == [[*range(201)]] * 3
    found = manifold(real, made, 5, halves=parts)
    for at, (i, j) in enumerate(parts, 1):
        for name, value in compute_prdc(real[i], made[j], 5).items():
            assert found[name][at] == pytest.approx(value, abs=1e-9)


@pytest.mark.thorough
def test_errors_from_halves_are_those_of_repeated_experiments():
    """200 pairs of sets: what is reported against how far values lie apart, and 95% intervals."""
    values, errors = {}, {}
    for seed in range(200):
        random = np.random.default_rng(seed)
        real, made = random.normal(size=(150, 8)), 0.9 * random.normal(size=(150, 8)) + 0.1
        parts = halves(150, 150, draws=25, seed=seed)
        found = manifold(real, made, halves=parts)
        distances = [frechet(real[i], made[j]) for i, j in parts]
        found["frechet"] = np.array([frechet(real, made), *distances])
        for name, (value, *of_halves) in found.items():
            values.setdefault(name, []).append(value)
            error = error_of_halves(of_halves, smooth=name == "frechet")
            errors.setdefault(name, []).append(error)
    for name in ("recall", "density", "coverage", "frechet"):
        value, error = np.array(values[name]), np.array(errors[name])
        assert 0.9 <= (abs(value - value.mean()) < 1.96 * error).mean() <= 0.98, name
        assert error.mean() == pytest.approx(value.std(ddof=1), rel=0.2), name


def test_the_error_of_a_mean_and_of_its_square():
    """Of a mean, s / sqrt(N). Of |mean|^2 around 0 in D dimensions the second order alone counts:
    its variance is 2 D / N^2.
    """
    x = np.random.default_rng(1).normal(size=(400, 50))
    parts = halves(400, draws=400)
    found = error_of_halves([x[i, 0].mean() for (i,) in parts])
    assert found == pytest.approx(x[:, 0].std(ddof=1) / 20, rel=0.1)
    smooth, other = [], []
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(400, 50))
        squares = [np.square(x[i].mean(0)).sum() for (i,) in halves(400, draws=100)]
        smooth.append(error_of_halves(squares, smooth=True))
        other.append(error_of_halves(squares))
    assert np.mean(smooth) == pytest.approx(10 / 400, rel=0.12)
    assert np.mean(other) == pytest.approx(math.sqrt(2) * 10 / 400, rel=0.12)


# Densities of codes


def clumps(n: int = 600) -> np.ndarray:
    """Two clusters, a quarter at (1000, 3) and the rest at (0, -3), of unlike scales."""
    random = np.random.RandomState(0)
    at = (np.arange(n) % 4 == 0)[:, None]
    return np.where(at, [1000.0, 3.0], [0.0, -3.0]) + random.randn(n, 2) * [50.0, 0.2]


@pytest.fixture
def short_flows(monkeypatch):
    """Flows that are fitted in a second, and badly."""
    monkeypatch.setattr("zspace.models.priors.FLOW_STEPS", 20)
    monkeypatch.setattr("zspace.models.priors.FLOW_LOOKS", 2)


QUICK_AND_SLOW = ["kde", pytest.param("flow", marks=pytest.mark.thorough)]


@pytest.mark.parametrize("name", QUICK_AND_SLOW)
def test_densities_draw_what_they_were_fitted_to(name):
    made = DENSITIES[name](clumps(), 0)(800, 1)
    assert made.shape == (800, 2)
    assert made.dtype == np.float32
    first = made[:, 0] > 500
    assert first.mean() == pytest.approx(0.25, abs=0.06)
    assert first[:400].mean() == pytest.approx(0.25, abs=0.1)  # in no order
    between_clusters = np.abs(made[:, 1]) < 1.5
    assert between_clusters.mean() < 0.05
    for side in (first, ~first):
        assert made[side].std(0) == pytest.approx([50, 0.2], rel=0.5)


@pytest.mark.parametrize("name", DENSITIES)
def test_draws_are_a_function_of_the_seeds_alone(name, short_flows):
    z, state, other = clumps(), torch.get_rng_state(), np.random.get_state()[1].copy()
    draw = DENSITIES[name](z, 0)
    made = draw(80, 1)
    np.testing.assert_array_equal(made, draw(80, 1))
    np.testing.assert_array_equal(made, DENSITIES[name](z, 0)(80, 1))
    assert not np.array_equal(made, draw(80, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(other, np.random.get_state()[1])


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_of_odd_codes(name, short_flows):
    line = np.c_[np.linspace(-1, 1, 100), np.linspace(-1, 1, 100), np.full(100, 7.0)]
    made = DENSITIES[name](line, 0)(50, 0)
    assert np.isfinite(made).all()
    assert (made[:, 2] == 7).all()
    assert DENSITIES[name](line[:, :1], 0)(50, 0).shape == (50, 1)
    with pytest.raises(UserError, match="at least 20"):
        DENSITIES[name](line[:19], 0)


def test_bandwidth_is_narrow_for_clusters_and_wide_for_noise():
    random = np.random.RandomState(0)
    centres = random.randn(10, 3)
    tight = centres[random.randint(10, size=1000)] + 0.03 * random.randn(1000, 3)
    assert bandwidth(tight) < 0.1
    assert 0.1 < bandwidth(random.randn(1000, 3)) <= BANDWIDTHS[-1]


# Generation


@pytest.mark.parametrize("name", ["vae", "cvae", "ae"])
def test_generation_of_small_runs(runs, name):
    run, state = runs[name], torch.get_rng_state()
    data = run.data()
    found = sample_quality(run, data)
    assert torch.equal(state, torch.get_rng_state())
    shares = {"precision", "recall", "coverage", "class_distance", "judge_accuracy"}
    shares |= {"conditional_accuracy"} if name == "cvae" else set()
    assert set(found) == shares | {"frechet", "density", "frechet_of_training_images"}
    assert all(0 <= found[key].value <= 1 for key in shares)
    assert found["frechet"].value > found["frechet_of_training_images"].value
    assert ("mixture" if name == "ae" else "prior") in found["frechet"].about
    assert all(measure.about for measure in found.values())
    assert all(found[key].error >= 0 for key in ("precision", "recall", "density", "coverage"))
    low, high = found["frechet"].interval
    assert low < found["frechet"].value < high
    assert sample_quality(run, data) == found
    assert sample_quality(run, data, seed=1) != found


def test_generation_of_a_perfect_and_of_a_hopeless_model(runs, monkeypatch):
    run = runs["cvae"]
    data = run.data()
    real = data.test.images().numpy()
    monkeypatch.setattr(generation, "made_images", lambda *args, **kwargs: real)
    best = sample_quality(run, data)
    assert best["frechet"].value == pytest.approx(0, abs=1e-4)
    assert best["precision"].value == best["recall"].value == best["coverage"].value == 1
    assert best["conditional_accuracy"].value == best["judge_accuracy"].value
    noise = np.random.RandomState(0).rand(*real.shape).astype(np.float32)
    monkeypatch.setattr(generation, "made_images", lambda *args, **kwargs: noise)
    worst = sample_quality(run, data)
    assert worst["frechet"].value > 10 * worst["frechet_of_training_images"].value
    # Of 30 real images one may have a ball so large that noise lies in it.
    assert worst["precision"].value < 0.05
    assert worst["coverage"].value < 0.05
    assert worst["conditional_accuracy"].value < 0.4


def test_class_distance_counts_what_is_missing():
    y = np.repeat(np.arange(4), 25)
    assert generation._class_distance(np.repeat([0, 1], 50), y).value == pytest.approx(0.5)
    assert generation._class_distance(y, y).value == 0


@pytest.mark.parametrize("sampler", ["prior", "mixture", *DENSITIES])
@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_images_come_from_every_sampler(runs, name, sampler, short_flows):
    run = runs[name]
    data = run.data()
    asked = np.arange(12) % 10
    made = made_images(run, data, 12, asked, sampler=sampler, seed=0)
    assert made.shape == (12, 1, 14, 14)
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_array_equal(made, made_images(run, data, 12, asked, sampler=sampler, seed=0))


def test_images_of_codes_that_are_maps(maps):
    run = maps["vae"]
    made = made_images(run, run.data(), 5, None, sampler="mixture")
    assert made.shape == (5, *run.spec.shape)


def test_generation_needs_labels_and_a_size(maps, runs):
    with pytest.raises(NotMeasured, match="labelled data"):
        sample_quality(maps["vae"], maps["vae"].data())
    run = runs["vae"]
    data = run.data()
    with pytest.raises(UserError, match="did you mean 'prior'"):
        sample_quality(run, data, sampler="priro")
    few = replace(data, test=replace(data.test, index=data.test.index[:5]))
    with pytest.raises(NotMeasured, match="at least 6"):
        sample_quality(run, few)
    small = replace(run.spec, shape=(1, 4, 14))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "spec", small)
        with pytest.raises(NotMeasured, match="at least 8 x 8"):
            sample_quality(run, data)


def test_nearest_is_the_smallest_of_all_distances():
    x, y = spread(30, 5, 0), spread(80, 5, 1)
    found = nearest(x, iter(np.array_split(y, 3)), lambda n: None)
    np.testing.assert_allclose(found, cdist(x, y).min(1), rtol=1e-9)


def test_novelty_tells_copies_from_new_images(runs, maps, monkeypatch):
    run = runs["vae"]
    data = run.data()
    honest = novelty(run, data)
    assert honest["novelty"].value > 0
    assert honest["novelty"].value == prior_novelty(run, data)
    copies, test = data.train.images().numpy()[: len(data.test)], data.test.images().numpy()
    monkeypatch.setattr(generation, "made_images", lambda *args, **kwargs: copies)
    found = novelty(load(run.path), data)
    assert found["novelty"].value == pytest.approx(0, abs=1e-3)
    assert found["copies"].value == 1
    monkeypatch.setattr(generation, "made_images", lambda *args, **kwargs: test)
    assert novelty(load(run.path), data)["novelty"].value == 1
    monkeypatch.undo()
    assert set(novelty(maps["ae"], maps["ae"].data())) == {"novelty", "copies"}


def test_the_share_of_classes_asked_for_is_that_of_the_section(runs, maps):
    run = runs["cvae"]
    data = run.data()
    whole = sample_quality(run, data)
    names = ("conditional_accuracy", "judge_accuracy")
    assert as_asked(run, data) == {name: whole[name] for name in names}
    assert as_asked(runs["vae"], data) == {}  # is not told a class


def test_no_judge_no_share(runs, monkeypatch):
    run = load(runs["cvae"].path)
    data = run.data()
    assert as_asked(run, replace(data, train=replace(data.train, y=None))) == {}
    monkeypatch.setattr(generation, "SMALLEST", 15)
    assert as_asked(run, data) == {}


def test_distances_to_training_images(runs):
    data = runs["vae"].data()
    x = data.train.images().flatten(1).numpy()
    shape = (-1, *data.spec.shape)
    assert to_training(data, x[:20].reshape(shape)) == pytest.approx(0, abs=1e-3)
    dark = to_training(data, np.zeros_like(x[:1]).reshape(shape))
    assert dark == pytest.approx(np.linalg.norm(x, axis=1).min(), rel=1e-4)
    usual = cdist(data.test.images().flatten(1).numpy(), x).min(1)
    np.testing.assert_allclose(usual_distances(data), usual, rtol=1e-4)
    assert relative_distance(data, 3 * usual) == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_half_way_novelty_is_that_of_decoded_means_of_two_codes(runs, name):
    run = runs[name]
    data = run.data()
    x, y = data.test.images(), data.test.labels()
    z = run.encode(x, y if run.model.context else None)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(z)))
    c = (torch.eye(10)[y] + torch.eye(10)[y[order]]) / 2 if run.model.context else None
    with torch.no_grad():
        made = run.model.decode((z + z[order]) / 2, c).mean.numpy()
    want = relative_distance(data, to_training(data, made))
    assert half_way_novelty(run, data) == pytest.approx(want, rel=1e-5)


# Representation


def test_neighbours_of_the_same_class():
    x = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.2]])
    assert alike(x, np.array([0, 0, 1, 1, 2, 2])) == 1.0
    assert alike(x, np.array([0, 1, 0, 1, 0, 1])) == 0.0
    assert alike(np.zeros((4, 1)), np.array([0, 0, 0, 0])) == 1.0


def labelled(n: int = 400, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)
    y = random.randint(4, size=n)
    return np.eye(4)[y] + noise * random.randn(n, 4), y


def test_a_perfect_space_and_a_useless_one():
    x, y = labelled()
    found = of_space((x[:300], x[300:]), y[:300], y[300:])
    assert {key: measure.value for key, measure in found.items()} == pytest.approx(
        dict.fromkeys(found, 1.0)
    )
    assert set(found) == {"neighbours", "probe", "probe_10", "probe_100", "nmi", "ari"}
    noise = np.random.RandomState(1).randn(*x.shape)
    bad = of_space((noise[:300], noise[300:]), y[:300], y[300:])
    assert all(bad[key].value < 0.45 for key in bad)
    assert abs(bad["ari"].value) < 0.1


def test_accuracies_are_those_of_scikit_learn():
    x, y = labelled(noise=0.5)
    found = of_space((x[:300], x[300:]), y[:300], y[300:])
    a, b = scaled((x[:300], x[300:]))
    for key, model in {
        "neighbours": KNeighborsClassifier(5),
        "probe": LogisticRegression(max_iter=5000, tol=1e-8),
    }.items():
        want = model.fit(a, y[:300]).score(b, y[300:])
        assert found[key].value == pytest.approx(want, abs=0.0101)  # one image of 100
        assert found[key].error == pytest.approx(np.sqrt(want * (1 - want) / 99), rel=0.1)


def test_a_space_counts_by_its_shape_not_its_scale_or_place():
    x, y = labelled(noise=0.5)
    a = of_space((x[:300], x[300:]), y[:300], y[300:])
    b = of_space((1e4 * x[:300] + 5, 1e4 * x[300:] + 5), y[:300], y[300:])
    assert {k: m.value for k, m in a.items()} == pytest.approx({k: m.value for k, m in b.items()})


def test_few_labels_are_balanced():
    random = np.random.RandomState(0)
    y = np.sort(random.choice(3, p=[0.8, 0.15, 0.05], size=1000))
    for n in (3, 10, 90):
        rows = balanced(y, n, random)
        assert len(set(rows)) == n
        assert np.ptp(np.bincount(y[rows], minlength=3)) <= 1
    assert np.bincount(y[balanced(y, 1000, random)]).tolist() == np.bincount(y).tolist()


def test_clusters_of_one_point_are_no_error():
    found = clusters(np.zeros((20, 2)), np.arange(20) % 2)
    assert found["nmi"].value == 0


def test_representation_of_a_run_stands_beside_pixels_and_pca(runs):
    run, state = runs["vae"], torch.get_rng_state()
    data = run.data()
    found = label_probes(run, data)
    assert torch.equal(state, torch.get_rng_state())
    bases = ["neighbours", "probe", "probe_10", "probe_100", "nmi", "ari"]
    ends = ("", "_draws", "_pca", "_pixels")
    assert list(found) == [f"{base}{end}" for base in bases for end in ends]
    assert "error over test images" in found["probe"].about
    assert "error over those draws" in found["probe_100"].about
    assert found["probe_pixels"].value > 0.6  # digits, of 240 training images
    assert found["probe"].value > 0.15
    assert "principal components" in found["nmi_pca"].about
    assert label_probes(run, data) == found


def test_a_collapsed_code_scores_by_its_draws(runs, monkeypatch):
    """Means that differ by a thousandth are rescaled and read; draws say what the code holds."""
    run = runs["vae"]
    data = run.data()
    far = {len(split): np.eye(10)[split.labels()] for split in data.splits.values()}
    noise = np.random.RandomState(0)
    monkeypatch.setattr(representation, "encoded", lambda run, split: 1e-3 * far[len(split)])
    monkeypatch.setattr(representation, "drawn", lambda run, split: noise.randn(len(split), 10))
    found = label_probes(run, data)
    assert found["probe"].value == 1
    assert found["probe_draws"].value < 0.4
    assert "100% of the labels from means" in METRICS["representation"].warning(found)
    alike = {**found, "probe_draws": found["probe"]}
    assert METRICS["representation"].warning(alike) == ""
    assert "probe_draws" not in label_probes(runs["ae"], runs["ae"].data())


def test_representation_says_why_it_is_not_measured(runs, maps):
    with pytest.raises(NotMeasured, match="have none"):
        label_probes(maps["vae"], maps["vae"].data())
    with pytest.raises(NotMeasured, match="told the label"):
        label_probes(runs["cvae"], runs["cvae"].data())


def test_representation_of_the_smallest_data(runs):
    run = runs["vae"]
    data = run.data()
    y = data.train.y[data.train.index]
    few = torch.cat([data.train.index[y == 0][:2], data.train.index[y == 1][:2]])
    small = replace(data, train=replace(data.train, index=few))
    assert set(label_probes(run, small)) >= {"neighbours", "probe", "nmi"}
    with pytest.raises(NotMeasured, match="only one label"):
        label_probes(run, replace(data, train=replace(data.train, index=few[:2])))


def test_codes_of_a_split_are_those_of_the_explorer(runs):
    run = runs["vae"]
    data = run.data()
    np.testing.assert_array_equal(encoded(run, data.test), codes(run, data).z)
    assert drawn(run, data.test).shape == (len(data.test), 3)


# Inception


class Pixels(torch.nn.Module):
    """A network whose features are the mean of each quarter of the image."""

    num_features = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x[:, :1].double() / 255, 2).flatten(1)


def test_inception_distance_is_the_frechet_distance_of_its_features(runs):
    run = runs["vae"]
    data = run.data()
    found = inception_distance(run, data, network=Pixels())["fid"]
    made = made_images(run, data, len(data.test), None)
    parts = [
        Pixels()(torch.round(torch.as_tensor(x) * 255)).numpy() for x in (data.test.images(), made)
    ]
    assert found.value == pytest.approx(frechet(*parts), rel=1e-4)
    assert f"{len(made)} images" in found.about


def test_inception_says_what_is_missing(runs, maps, monkeypatch):
    monkeypatch.setattr("torchmetrics.image.fid._TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(NotMeasured, match=r"pip install 'zspace\[fid\]'"):
        inception_distance(runs["vae"], runs["vae"].data())


def test_inception_is_measured_only_when_it_is_named():
    assert [name for name in METRICS if METRICS[name].asked_for] == ["inception"]

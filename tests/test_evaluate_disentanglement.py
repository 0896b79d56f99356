"""Scores of codes whose disentanglement is known, and the KL in parts against closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch.distributions import Independent, MultivariateNormal, Normal

import zspace
from zspace.analysis.disentanglement import dci, factor_scores, factor_vae, mig, sap, scores
from zspace.analysis.latents import encoded
from zspace.analysis.measure import error_of_halves, halves
from zspace.data.loading import load
from zspace.data.sets.shapes import factors_of
from zspace.models.flow import Latent, Pass
from zspace.models.priors import StandardNormal
from zspace.models.terms import StratifiedKL, kl, split_kl
from zspace.system.errors import NotMeasured, UserError

N = 3000


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    """Factors (N, 4) of 3, 5, 8 and 12 values, independent."""
    random = np.random.RandomState(0)
    return np.stack([random.randint(size, size=N) for size in (3, 5, 8, 12)], axis=1)


@pytest.fixture(scope="module")
def perfect(factors) -> np.ndarray:
    """One dimension a factor, in another order and of another scale, and one of noise."""
    noise = np.random.RandomState(1).randn(N, 5)
    z = np.c_[factors[:, ::-1] * [-0.7, 3, 1, 1], np.zeros(N)] + 0.02 * noise
    z[:, 4] = noise[:, 4]
    return z


def test_a_perfect_code_scores_high(perfect, factors):
    assert mig(perfect, factors) > 0.9
    assert sap(perfect, factors) > 0.6
    disentangled, complete, informative = dci(perfect, factors)
    assert min(disentangled, complete, informative) > 0.97
    assert factor_vae(perfect, factors) == 1


def test_a_constant_code_scores_nothing(factors):
    z = np.full((N, 5), 2.0)
    assert mig(z, factors) < 0.05
    assert sap(z, factors) < 0.05
    disentangled, complete, informative = dci(z, factors)
    assert (disentangled, complete) == pytest.approx((0, 0), abs=1e-9)
    assert informative < 0.3
    assert factor_vae(z, factors) == 0
    assert factor_vae(z + 0.1, factors) == 0


def test_the_scale_of_a_code_does_not_matter(perfect, factors):
    usual = scores(perfect, factors)
    for scale in (0.05, 1e-4, 300.0):
        found = scores(scale * perfect, factors)
        assert found == pytest.approx(usual, abs=0.02)
        assert found["factor_vae"] == 1


def test_collapsed_dimensions_have_no_vote(factors):
    """Means that follow a factor, but a ten-thousandth of how far draws of the code spread."""
    z, v = factors[:, :2] * np.array([1.0, 1e-4]), factors[:, :2]
    assert factor_vae(z, v) == 1
    assert factor_vae(z, v, drawn=np.array([z[:, 0].var(), 1.0])) < 0.6
    assert factor_vae(z, v, drawn=np.ones(2) * 1e6) == 0


@pytest.mark.thorough
def test_intervals_of_scores_hold_what_other_samples_give():
    """Scores of 60 sets of codes: how far they lie apart, and what is said of each set alone."""
    values, errors = [], []
    for seed in range(60):
        random = np.random.RandomState(seed)
        v = np.stack([random.randint(k, size=300) for k in (3, 4)], axis=1)
        z = v + 0.5 * v[:, ::-1] + 0.5 * random.randn(300, 2)
        parts = halves(len(z), draws=10, seed=seed)
        values.append(mig(z, v))
        errors.append(error_of_halves([mig(z[i], v[i]) for (i,) in parts]))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.3)


def test_a_code_of_noise_scores_at_chance(factors):
    z = np.random.RandomState(2).randn(N, 5)
    assert mig(z, factors) < 0.05
    assert sap(z, factors) < 0.05
    assert dci(z, factors)[0] < 0.1
    assert factor_vae(z, factors) < 0.35  # chance is 1/4


def test_duplicated_dimensions_have_no_gap_but_are_disentangled(perfect, factors):
    z = np.repeat(perfect[:, :4], 2, axis=1)
    assert mig(z, factors) < 0.1
    assert sap(z, factors) < 0.1
    disentangled, complete, _ = dci(z, factors)
    assert disentangled > 0.97
    assert complete < 0.9
    assert factor_vae(z, factors) == 1


def test_a_rotated_code_is_entangled_but_informative(perfect, factors):
    z = (perfect[:, :4] - perfect[:, :4].mean(0)) / perfect[:, :4].std(0)
    turned = z @ hadamard(4) / 2  # every dimension the same part of every factor
    assert mig(turned, factors) < 0.5 * mig(z, factors)
    assert dci(turned, factors)[0] < 0.6 < dci(z, factors)[0]
    assert factor_vae(turned, factors) < 0.6


def test_scores_do_not_depend_on_order_or_scale(perfect, factors):
    other = perfect[:, [3, 0, 4, 2, 1]] * [2, -5, 1, 10, 3]
    assert mig(other, factors) == pytest.approx(mig(perfect, factors), abs=5e-3)
    assert sap(other, factors) == pytest.approx(sap(perfect, factors), abs=5e-3)
    assert factor_vae(other, factors) == 1


def test_mig_by_hand():
    """z_1 tells all of a factor of 4 values, z_2 one bit of it: (2 - 1) / 2 bits."""
    v = np.arange(400) % 4
    z = np.c_[v, v // 2, np.zeros(400)].astype(float)
    assert mig(z, v[:, None]) == pytest.approx(0.5)
    assert mig(z[:, 1:2], v[:, None]) == pytest.approx(0.5)  # one dimension: nothing beside it


def test_mig_equals_an_independent_computation(perfect, factors):
    """Mutual information from two-dimensional histograms."""
    z = perfect + 0.8 * perfect[:, ::-1]
    gaps = []
    for v in factors.T:
        values = np.arange(v.max() + 2) - 0.5
        told = []
        for column in z.T:
            p = np.histogram2d(column, v, (20, values))[0] / N
            outer = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
            told.append((p[p > 0] * np.log(p[p > 0] / outer[p > 0])).sum())
        h = np.bincount(v) / N
        best, second = np.sort(told)[::-1][:2]
        gaps.append((best - second) / -(h * np.log(h)).sum())
    assert mig(z, factors) == pytest.approx(np.mean(gaps), rel=1e-6)


@pytest.mark.slow
def test_every_score_is_a_measure_of_a_run(tmp_path: Path, runs):
    run = zspace.train(
        "tcvae", data="shapes", out=tmp_path / "run", latent=3, hidden=(16,), epochs=1,
        batch=512, quiet=True, precision="fp32",
    )  # fmt: skip
    data, state = run.data(), torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zspace.analysis.disentanglement.MOST", 1000)
        patch.setattr("zspace.analysis.disentanglement.DIVISIONS", 3)
        found = factor_scores(run, data)
        assert factor_scores(run, data) == found
    assert torch.equal(state, torch.get_rng_state())
    parts = {f"dci_{name}" for name in ("disentanglement", "completeness", "informativeness")}
    assert set(found) == {"mig", "sap", "factor_vae"} | parts
    assert all(0 <= measure.value <= 1 and measure.about for measure in found.values())
    for measure in found.values():
        assert measure.interval[0] <= measure.value <= measure.interval[1]
    z, v = encoded(run, data.test), factors_of(data, data.test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zspace.analysis.disentanglement.DIVISIONS", 2)
        assert factor_scores(run, data)["mig"].value == mig(z, v)
    with pytest.raises(NotMeasured, match="'shapes'"):
        factor_scores(runs["vae"], runs["vae"].data())


def test_the_true_factors_of_shapes_score_high():
    data = load("shapes")
    v = factors_of(data, data.test)
    assert mig(v.astype(float), v) > 0.9
    assert factor_vae(v.astype(float), v) == 1


# The term and the recipe


def passed(mu: torch.Tensor, sigma: torch.Tensor, samples: int = 1) -> Pass:
    """A pass of posteriors N(mu, sigma^2), both (B, Z)."""
    torch.manual_seed(0)
    q = Independent(Normal(mu, sigma.expand_as(mu)), 1)
    prior = StandardNormal(mu.shape[1]).to(mu.dtype)()
    return Pass(mu, q, (Latent(q.sample((samples,)), q, prior),))


def test_parts_of_the_kl_add_up_to_its_estimate():
    torch.manual_seed(1)
    p = passed(torch.randn(20, 3).double(), torch.rand(20, 3).double() + 0.1, samples=4)
    level, parts = p.latents[0], split_kl(p)
    total = sum(parts[name] for name in parts if name != "kl")
    want = (level.q.log_prob(level.z) - level.p.log_prob(level.z)).mean()
    torch.testing.assert_close(total, want)
    torch.testing.assert_close(parts["kl"], kl(p)["kl"])


def test_parts_equal_a_mixture_of_torchs_own():
    """q(z) and its marginals as mixtures over the batch, evaluated one by one."""
    torch.manual_seed(1)
    mu, sigma = torch.randn(7, 2).double(), torch.rand(7, 2).double() + 0.1
    p = passed(mu, sigma, samples=2)
    z, found = p.latents[0].z, split_kl(p)
    mix = torch.distributions.Categorical(torch.ones(7).double())
    joint = torch.distributions.MixtureSameFamily(mix, Independent(Normal(mu, sigma), 1))
    marginal = [
        torch.distributions.MixtureSameFamily(mix, Normal(mu[:, j], sigma[:, j])) for j in (0, 1)
    ]
    product = sum(marginal[j].log_prob(z[..., j]) for j in (0, 1))
    correlation = (joint.log_prob(z) - product).mean()
    torch.testing.assert_close(found["total_correlation"], correlation)
    apart = (product - p.latents[0].p.log_prob(z)).mean()
    torch.testing.assert_close(found["dimension_kl"], apart)


def test_parts_of_correlated_gaussians_have_closed_forms():
    """mu ~ N(0, S) and q(z|x) = N(mu, 0.25 I) make z ~ N(0, S + 0.25 I)."""
    torch.manual_seed(0)
    s = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    mu = MultivariateNormal(torch.zeros(2), s).sample((1500,)).double()
    found = split_kl(passed(mu, torch.tensor(0.5).double()))
    r = 0.8 / 1.25
    correlation = -0.5 * math.log(1 - r**2)
    information = 0.5 * math.log((1.25**2 - 0.8**2) / 0.25**2)
    assert found["total_correlation"].item() == pytest.approx(correlation, abs=0.05)
    assert found["index_code_mi"].item() == pytest.approx(information, abs=0.05)
    marginal = 2 * 0.5 * (1.25 - 1 - math.log(1.25))
    assert found["dimension_kl"].item() == pytest.approx(marginal, abs=0.05)


def test_parts_at_the_ends():
    """Equal posteriors tell nothing; far ones all that a batch holds; copies are correlated."""
    equal = split_kl(passed(torch.zeros(8, 3).double(), torch.tensor(1.0).double()))
    assert [equal[name].item() for name in equal if name != "kl"] == pytest.approx([0, 0, 0])
    far = torch.arange(8.0).double()[:, None].expand(8, 2)
    apart = split_kl(passed(far, torch.tensor(1e-3).double()))
    assert apart["index_code_mi"].item() == pytest.approx(math.log(8))
    assert apart["total_correlation"].item() == pytest.approx(math.log(8))


def test_parts_refuse_what_they_cannot_split():
    q = MultivariateNormal(torch.zeros(4, 2), torch.eye(2))
    full = Pass(q.mean, q, (Latent(q.sample((1,)), q, StandardNormal(2)()),))
    with pytest.raises(UserError, match="independent dimensions"):
        split_kl(full)
    with pytest.raises(UserError, match="deterministic"):
        split_kl(Pass(q.mean, q, (Latent(q.sample((1,)), None, StandardNormal(2)()),)))


def test_the_recipe_weighs_the_total_correlation():
    from zspace.data.spec import Spec
    from zspace.models.zoo.classic import tcvae

    made = tcvae(Spec((1, 8, 8)), latent=2, beta=7.0, hidden=(8,))
    weights = made.players[0].objective.final_weights()
    assert (weights["total_correlation"], weights["kl"]) == (7.0, 0.0)
    assert weights["index_code_mi"] == weights["dimension_kl"] == 1.0
    with pytest.raises(UserError, match="beta is -1"):
        tcvae(Spec((1, 8, 8)), beta=-1.0)


def test_the_stratified_estimate_has_the_mean_of_all_samples():
    """Over all batches of 4 of 6 samples, with a z of sample 0, its mean is q(z) exactly."""
    torch.manual_seed(3)
    mu, z = torch.randn(6, 2).double(), torch.randn(2).double()
    density = Normal(mu, 0.7).log_prob(z).exp().prod(1)
    weights = StratifiedKL(6).log_weights(torch.zeros(1, 4, 4, 2).double()).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(4).double())
    orders = itertools.permutations(range(1, 6), 3)
    means = [weights[0] @ density[torch.tensor((0, *order))] for order in orders]
    torch.testing.assert_close(torch.stack(means).mean(), density.mean())
    weighted = [
        density[torch.tensor((0, *o))].mean() for o in itertools.permutations(range(1, 6), 3)
    ]
    assert not torch.stack(weighted).mean().isclose(density.mean(), rtol=0.01)


def test_the_stratified_estimate_of_a_whole_set_is_that_of_its_mean():
    """A batch of all N samples gives each of them the weight 1 / N, as the weighted estimate."""
    torch.manual_seed(1)
    p = passed(torch.randn(9, 3).double(), torch.rand(9, 3).double() + 0.1, samples=2)
    torch.testing.assert_close(StratifiedKL(9)(p), split_kl(p))
    alone = passed(torch.randn(1, 3).double(), torch.ones(1, 3).double())
    assert StratifiedKL(9)(alone)["total_correlation"].isfinite()
    with pytest.raises(UserError, match="mean over 0 training samples"):
        StratifiedKL(0)


def test_the_recipe_offers_both_estimates():
    from zspace.data.spec import Spec
    from zspace.models.zoo.classic import tcvae

    made = tcvae(Spec((1, 8, 8), samples=70), latent=2, estimate="stratified", hidden=(8,))
    term = made.players[0].objective.terms[1]
    assert isinstance(term, StratifiedKL)
    assert term.samples == 70
    with pytest.raises(UserError, match="0 training samples"):
        tcvae(Spec((1, 8, 8)), estimate="stratified", hidden=(8,))


@pytest.fixture(scope="module")
def correlated(tmp_path_factory, digits):
    """A run of tcvae whose test images are its training images, in batches that leave a rest."""
    data = load(str(digits), quiet=True)
    twice = replace(data, test=data.train)
    with patch("zspace.training.build.load_data", lambda *_, **__: twice):
        return zspace.train(
            "tcvae", data=str(digits), latent=5, hidden=(32,), epochs=2, batch=50, quiet=True,
            estimate="stratified", out=tmp_path_factory.mktemp("runs") / "tcvae",
        )  # fmt: skip


def test_estimates_from_a_batch_are_the_same_on_the_same_images(correlated):
    result = correlated.result
    assert len(correlated.data().train) % 50
    assert result["test"] == result["train"]
    assert result["estimated_in_batches_of"]["test"] == 50
    assert result["estimated_in_batches_of"]["validation"] == len(correlated.data().validation)
    weights = correlated.objective.final_weights()
    total = sum(weights[name] * result["test"][name] for name in weights)
    assert result["test"]["objective"] == pytest.approx(total)


def test_code_sizes_are_not_chosen_by_an_estimate(correlated, runs):
    from zspace.runs.many import deciding

    found = correlated.result["validation"]
    assert correlated.objective.comparable == ("mse", "kl")
    assert correlated.objective.facts["objective"].per == "batch"
    assert runs["vae"].objective.facts["objective"].per == "sample"
    assert deciding([correlated]).mean == pytest.approx(found["mse"] + found["kl"])
    assert runs["vae"].objective.comparable == ("objective",)


def test_a_loaded_run_knows_how_many_images_it_was_trained_on(correlated):
    loaded = zspace.load(correlated.path)
    assert loaded.spec.samples == len(correlated.data().train)
    assert loaded.objective.terms[1].samples == loaded.spec.samples

"""Bounds on log p(x) of a model whose log p(x) is exact; measures of q(z) in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

import zspace
from zspace.analysis import latents, likelihood
from zspace.analysis.likelihood import bounds
from zspace.data.spec import Batch
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Gaussian
from zspace.models.flow import Latent, Pass
from zspace.models.likelihoods import LIKELIHOODS, Likelihood
from zspace.models.priors import StandardNormal
from zspace.system.errors import NotMeasured

D, Z, NOISE = 6, 2, 0.5


class Plain(Likelihood):
    """N(h, 0.25) an element."""

    params = 1

    def forward(self, h, event):
        return Independent(Normal(h, NOISE), event)


class Flat(nn.Module):
    """A linear map that ignores the context."""

    def __init__(self, weight, bias, shape):
        super().__init__()
        self.weight, self.bias, self.shape = weight, bias, shape

    def forward(self, x, c=None):
        return (x.flatten(1) @ self.weight.T + self.bias).reshape(-1, *self.shape)


def linear_gaussian(wide=1.3, shift=0.2):
    """Probabilistic PCA, its q(z|x) as wide as `wide` true posteriors' deviations, and off."""
    random = torch.Generator().manual_seed(3)
    W, b = torch.randn(D, Z, generator=random), torch.randn(D, generator=random)
    M = torch.eye(Z) + W.T @ W / NOISE**2
    to_mean = torch.linalg.solve(M, W.T) / NOISE**2
    deviation = wide * torch.linalg.inv(M).diagonal().sqrt()
    raw = 15 * torch.atanh(2 * deviation.log() / 15)
    encoder = Flat(
        torch.cat([to_mean, torch.zeros(Z, D)]),
        torch.cat([shift - to_mean @ b, raw]),
        (2 * Z,),
    )
    model = Autoencoder(
        encoder=encoder,
        bottleneck=Gaussian(Z),
        decoder=Flat(W, b, (1, 1, D)),
        likelihood=Plain(),
        prior=StandardNormal(Z),
        latent=(Z,),
    )
    x = torch.randn(40, Z, generator=random) @ W.T + b
    x = x + NOISE * torch.randn(40, D, generator=random)
    exact = multivariate_normal(b.numpy(), (W @ W.T + NOISE**2 * torch.eye(D)).numpy())
    return model.eval(), Batch(x.reshape(-1, 1, 1, D)), exact.logpdf(x.numpy())


def repeated(model, batch, K, times, seed=0):
    """(times, B)"""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return np.stack([bounds(model, batch, K) for _ in range(times)])


def test_the_bound_of_5000_draws_is_the_exact_log_probability():
    model, batch, exact = linear_gaussian()
    found = repeated(model, batch, 5000, 4)
    assert np.abs(found - exact).max() < 0.05
    over = (found - exact).mean(0)
    assert over.mean() < 3 * over.std(ddof=1) / math.sqrt(len(over))


@pytest.mark.parametrize("K", [1, 5, 50])
def test_the_weights_are_unbiased_and_the_bound_is_below(K):
    model, batch, exact = linear_gaussian()
    off = repeated(model, batch, K, 1000 // K + 100) - exact
    ratio = np.exp(off).mean(1)  # of independent passes: E p(x, z) / q(z|x) = p(x)
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / math.sqrt(len(ratio))
    assert off.mean() < 0


def test_the_bound_grows_with_draws():
    model, batch, exact = linear_gaussian()
    one, five, fifty = (repeated(model, batch, K, 60).mean() for K in (1, 5, 50))
    assert one < five - 0.1 < fifty - 0.15
    assert fifty < exact.mean()


def test_one_draw_is_the_elbo():
    model, batch, _ = linear_gaussian()
    found = repeated(model, batch, 1, 1000).mean(1)
    with torch.no_grad():
        q = model.posterior(batch.x)
        W, b, x = model.decoder.weight, model.decoder.bias, batch.x.flatten(1)
        far = (x - b - q.base_dist.loc @ W.T).square().sum(1)
        spread = (q.base_dist.variance * W.square().sum(0)).sum(1)
        fit = -(far + spread) / (2 * NOISE**2) - D / 2 * math.log(2 * math.pi * NOISE**2)
        elbo = (fit - kl_divergence(q, model.prior())).mean().item()
    assert abs(found.mean() - elbo) < 4 * found.std(ddof=1) / math.sqrt(len(found))


class Dealt(nn.Module):
    """A model that deals prepared draws out, and counts those of each chunk by its first x."""

    def __init__(self, model, noise):
        super().__init__()
        self.model, self.noise, self.asked = model, noise, {}

    def forward(self, x, c=None, samples=1):
        first = x.flatten()[0].item()
        start = self.asked.get(first, 0)
        self.asked[first] = start + samples
        q = self.model.posterior(x)
        p = self.model(x, c)
        z = q.base_dist.loc + q.base_dist.scale * self.noise[start : start + samples]
        level = replace(p.latents[0], z=z)
        px = self.model._distribution(self.model._write(z, None, lead=2), lead=2)
        return replace(p, px=px, latents=(level,))


@pytest.mark.parametrize("values", [D, 7 * D, 10_000 * D])
def test_chunks_give_exactly_the_draws_asked_for(values, monkeypatch):
    model, batch, _ = linear_gaussian()
    batch = Batch(batch.x[:12])
    noise, K = torch.randn(50, 1, Z, generator=torch.Generator().manual_seed(1)), 50
    whole = Dealt(model, noise)
    with torch.no_grad():
        p = whole(batch.x, None, K)
        weight = p.px.log_prob(p.x) + p.latents[0].p.log_prob(p.latents[0].z)
        weight = (weight - p.latents[0].q.log_prob(p.latents[0].z)).double()
        direct = weight.logsumexp(0) - math.log(K)
        monkeypatch.setattr("zspace.analysis.likelihood.VALUES", values)
        dealt, told = Dealt(model, noise), []
        found = bounds(dealt, batch, K, told.append)
    np.testing.assert_allclose(found, direct.numpy(), rtol=1e-6)
    assert len(dealt.asked) == -(-12 // max(1, values // D // K))
    assert set(dealt.asked.values()) == {K}
    assert sum(told) == 12


@pytest.fixture(scope="module")
def binary(tmp_path_factory, digits):
    """Runs of Bernoulli likelihoods on binarised digits, by how they were binarised."""
    folder = tmp_path_factory.mktemp("binary")
    options = {"data": str(digits), "likelihood": "bernoulli", "precision": "fp32", "quiet": True}
    options |= {"hidden": (32,), "latent": 3, "epochs": 2, "batch": 64}
    return {
        how: zspace.train("vae", binarize=how, out=folder / how, **options)
        for how in ("none", "static", "dynamic")
    }


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_the_elbo_is_that_of_the_runs_metrics(binary, how):
    run = binary[how]
    found = likelihood.likelihood_bounds(run, run.data(), samples=7)
    told = run.result["test"]
    assert found["elbo"].value == pytest.approx(-told["objective"], rel=1e-5)
    assert found["reconstruction"].value == pytest.approx(-told["bce"], rel=1e-5)
    assert found["kl"].value == pytest.approx(told["kl"], rel=1e-5)
    assert {"elbo", "iw_7", "elbo_bits", "iw_7_bits"} <= found.keys()
    assert f"{how}ally binarised" in found["iw_7"].about
    assert "K = 7 draws" in found["iw_7"].about
    bits = -found["iw_7"].value / math.log(2) / 196
    assert found["iw_7_bits"].value == pytest.approx(bits, rel=1e-9)


def test_the_bound_is_seeded_and_leaves_the_global_state(binary):
    run = binary["dynamic"]
    before = torch.get_rng_state()
    one, again, other = (
        likelihood.importance_weighted(run, run.data().test, 3, seed=s) for s in (0, 0, 1)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(one) == len(run.data().test)


def test_what_is_no_likelihood_is_not_measured(binary, runs):
    for run, why in (
        (binary["none"], "grey values is not a normalised likelihood"),
        (runs["vae"], "squared error is not a normalised likelihood"),
        (runs["ae"], "deterministic"),
    ):
        with pytest.raises(NotMeasured, match=why):
            likelihood.likelihood_bounds(run, run.data())
    with pytest.raises(zspace.UserError, match="at least 1"):
        likelihood.likelihood_bounds(binary["static"], binary["static"].data(), samples=0)


def test_images_that_are_binary_need_no_binarisation(binary, tmp_path):
    x = (np.random.RandomState(0).rand(40, 14, 14) > 0.5).astype(np.uint8) * 255
    np.savez(tmp_path / "x.npz", x=x, allow_pickle=False)
    found = likelihood.likelihood_bounds(binary["none"], binary["none"].data(tmp_path / "x.npz"))
    assert "already binary" in found["elbo"].about
    assert found["elbo_bits"].value > 0


class Levels(Likelihood):
    """x = k / 4, by the mass of a Gaussian around each level."""

    discrete = True

    def forward(self, h, event):
        return Independent(Rounded(torch.sigmoid(h)), event)


class Rounded(Normal):
    def __init__(self, mean):
        super().__init__(mean, 0.2, validate_args=False)

    def log_prob(self, x):
        below, above = (self.cdf(x + side / 8) for side in (-1, 1))
        return (above - below).clamp(min=1e-9).log()


@pytest.mark.usefixtures("own_parts")
def test_a_discrete_likelihood_of_ones_own_has_bits(digits, tmp_path):
    LIKELIHOODS["levels"] = Levels
    run = zspace.train(
        "vae", data=str(digits), likelihood="levels", latent=2, hidden=(16,), epochs=1, batch=64,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    found = likelihood.likelihood_bounds(run, run.data(), samples=3)
    assert "of finitely many values" in found["elbo"].about
    bits = run.result["bits_per_dimension"]["test"]
    assert found["elbo_bits"].value == pytest.approx(bits, rel=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "continuous-bernoulli", "logistic-mixture"])
def test_densities_have_no_bits(kind, digits, tmp_path):
    run = zspace.train(
        "cvae", data=str(digits), likelihood=kind, hidden=(8,), latent=2, epochs=1,
        out=tmp_path / "run", precision="fp32", quiet=True,
    )  # fmt: skip
    found = likelihood.likelihood_bounds(run, run.data(), samples=2)
    assert found["elbo"].value == pytest.approx(-run.result["test"]["objective"], rel=1e-5)
    assert ("elbo_bits" in found) == (kind == "logistic-mixture")
    assert "log p(x | context)" in found["elbo"].about


def gaussian_mmd(m, s2):
    """The squared MMD of N(m, s2 I) to N(0, I), by the Gaussian integral, l^2 = Z."""
    size = len(m)

    def expected(variance, far):
        return (size / (size + variance)) ** (size / 2) * math.exp(-far / 2 / (size + variance))

    far = float(m @ m)
    return expected(2 * s2, 0) - 2 * expected(1 + s2, far) + expected(2, 0)


@pytest.mark.parametrize(("m", "s2"), [((0.5, 0, 0), 1.0), ((0, 0, 0), 0.25), ((1, -1, 0), 2.0)])
def test_mmd_of_gaussians_is_its_closed_form(m, s2):
    m, random = np.array(m, float), np.random.RandomState(0)
    values = [latents.mmd(m + math.sqrt(s2) * random.randn(600, 3)) for _ in range(12)]
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - gaussian_mmd(m, s2)) < 4 * error


def test_mmd_equals_the_double_sum_and_keeps_its_null():
    random = np.random.RandomState(1)
    z = random.randn(7, 2)
    total = sum(math.exp(-((a - b) ** 2).sum() / 4) for a in z for b in z) - 7
    cross = np.mean([2 / 3 * math.exp(-(a @ a) / 6) for a in z])
    assert latents.mmd(z) == pytest.approx(total / 42 - 2 * cross + 2 / 4, abs=1e-12)
    values = [latents.mmd(random.randn(100, 4)) for _ in range(500)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(500)
    assert np.std(values) == pytest.approx(latents.null_deviation(100, 4), rel=0.15)


def test_the_mixture_is_scipys():
    random = np.random.RandomState(0)
    z, mu, sigma = random.randn(9, 3), random.randn(9, 3), np.exp(random.randn(9, 3))
    each = [multivariate_normal(m, np.diag(s**2)) for m, s in zip(mu, sigma, strict=True)]
    direct = [np.log(np.mean([q.pdf(one) for q in each])) for one in z]
    np.testing.assert_allclose(latents.log_mixture(z, mu, sigma), direct, rtol=1e-9)


def told_by(z, mu, sigma):
    """The information in draws z (N, Z) of Gaussians, with densities by scipy."""
    own, prior = norm.logpdf(z, mu, sigma).sum(1), norm.logpdf(z).sum(1)
    return latents.information(own, latents.log_mixture(z, mu, sigma), prior)


def test_mutual_information_of_a_gaussian_channel_and_its_ends():
    random = np.random.RandomState(0)
    n, s = 4000, 0.5
    mu = math.sqrt(1 - s * s) * random.randn(n, 1)
    sigma = np.full_like(mu, s)
    found = told_by(mu + s * random.randn(n, 1), mu, sigma)
    told = found["mutual_information"]
    assert abs(told.value - math.log(1 / s)) < 4 * told.error
    assert abs(found["marginal_kl"].value) < 0.01
    kl = 0.5 * (mu**2 + s * s - 1 - math.log(s * s)).mean()
    total = told.value + found["marginal_kl"].value
    assert total == pytest.approx(kl, abs=0.06)
    far = np.arange(50.0)[:, None] / 10
    apart = told_by(far, far, np.full_like(far, 0.01))
    assert apart["mutual_information"].value == pytest.approx(math.log(50), abs=1e-9)
    same = told_by(random.randn(50, 2), np.zeros((50, 2)), np.ones((50, 2)))
    assert same["mutual_information"].value == pytest.approx(0, abs=1e-12)
    assert same["marginal_kl"].value == pytest.approx(0, abs=1e-12)


def test_true_draws_of_the_prior_pass_for_such():
    found = latents.against_prior(np.random.RandomState(0).randn(3000, 4))
    assert found["mean_distance"].value < 3 * math.sqrt(4 / 3000)
    assert found["covariance_distance"].value < 2 * math.sqrt(4 * 5 / 3000)
    assert found["ks"].value < 2 * 0.8687 / math.sqrt(3000)
    off = latents.against_prior(np.random.RandomState(0).randn(3000, 4) * 1.5 + 1)
    assert off["mean_distance"].value == pytest.approx(2, abs=0.15)
    assert off["covariance_distance"].value == pytest.approx(math.sqrt(4) * 1.25, abs=0.25)


def test_latents_of_runs(runs, maps, binary):
    found = latents.code_statistics(runs["vae"], runs["vae"].data())
    kls = [found[f"kl_{j}"].value for j in range(3)]
    assert sum(kls) == pytest.approx(runs["vae"].result["test"]["kl"], rel=1e-3)
    assert found["active_units"].value <= 3
    assert found["mutual_information"].value > 0
    plain = latents.code_statistics(runs["ae"], runs["ae"].data())
    assert {"mmd", "ks"} <= plain.keys()
    assert not {"mutual_information", "active_kl", "kl_0"} & plain.keys()
    assert "kl_23" in latents.code_statistics(maps["vae"], maps["vae"].data())


def test_collapse_is_said():
    from zspace.analysis.measure import Measure

    def of(*kls):
        active = Measure(sum(kl > 0.01 for kl in kls), "")
        return {"active_kl": active, **{f"kl_{j}": Measure(kl, "") for j, kl in enumerate(kls)}}

    assert latents.collapse(of(1.0, 0.5)) == ""
    assert latents.collapse(of(1.0, 0.001, 0.002)).startswith("2 of 3 code dimensions have")
    assert latents.collapse(of(0.001, 0.002)).startswith("the whole code has collapsed")
    assert latents.collapse({}) == ""
    told = {"mutual_information": Measure(0.002, "")}  # of a prior that has no dimensions
    assert latents.collapse(told).startswith("the whole code has collapsed")
    assert latents.collapse({"mutual_information": Measure(2.0, "")}) == ""


class Collapsed(nn.Module):
    """q(z|x) = N(scale_j x, I): with a scale of 0, dimension j says nothing of x."""

    def __init__(self, *scales, q=lambda mu: Independent(Normal(mu, 1.0), 1)):
        super().__init__()
        self.scales, self.q = torch.tensor(scales), q

    def forward(self, x, c=None, samples=1):
        q = self.q(x * self.scales)
        p = self.q(torch.zeros(len(self.scales)))
        return Pass(x, p, (Latent(q.sample((samples,)), q, p),))


def test_collapse_is_found_in_one_pass():
    batches = [Batch(torch.randn(50, 1)) for _ in range(3)]
    state = torch.get_rng_state()
    assert latents.collapse_of(Collapsed(1.0, 2.0), batches) == ""
    assert latents.collapse_of(Collapsed(1.0, 0.0), batches).startswith("1 of 2 code dimensions")
    assert latents.collapse_of(Collapsed(0.0, 0.0), batches).startswith("the whole code")
    full = Collapsed(0.0, 0.0, q=lambda mu: MultivariateNormal(mu, torch.eye(2)))
    assert latents.collapse_of(full, batches).startswith("the whole code")
    assert torch.equal(state, torch.get_rng_state())


def test_latents_of_a_model_with_another_prior(tmp_path, digits):
    """Active units and I(x; z) need no N(0, I); distances to it are not given."""
    run = zspace.train(
        "vae", data=str(digits), prior="mixture", latent=3, hidden=(32,), epochs=2, batch=64,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    found = latents.code_statistics(run, run.data())
    assert {"active_units", "mutual_information", "marginal_kl"} <= found.keys()
    assert not {"mmd", "ks", "kl_0", "active_kl"} & found.keys()
    assert "KL(q(z) || p(z))" in found["marginal_kl"].about
    whole = found["mutual_information"].value + found["marginal_kl"].value
    assert whole == pytest.approx(run.result["test"]["kl"], abs=1e-3)


def test_information_of_any_posterior_is_that_of_the_same_gaussian(runs, monkeypatch):
    """The sum over pairs of any q against the product form of diagonal Gaussians."""
    run = runs["vae"]
    usual = latents.shared(run, run.data().test)
    monkeypatch.setattr(latents, "_base", lambda q: q)
    general = latents.shared(run, run.data().test)
    for name, measure in usual.items():
        assert general[name].value == pytest.approx(measure.value, abs=1e-4)

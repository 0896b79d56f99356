"""Distributions, likelihoods and bottlenecks against closed forms, quadrature and other libraries.

Nothing here is trained; every expected number comes from scipy, mpmath, torch or a formula.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.nn import functional as F

from zspace.models import likelihoods
from zspace.models.bottlenecks import LOG_VARIANCE_BOUND, Gaussian, Point, log_variance
from zspace.models.distributions import (
    ContinuousBernoulli,
    QuadraticEnergy,
    log_sinhc,
)
from zspace.models.flow import Pass
from zspace.models.priors import StandardNormal
from zspace.models.terms import bce
from zspace.system.errors import UserError

SIZES = (1e-8, 1e-4, 9.9e-4, 1.01e-3, 0.3, 0.599, 0.601, 1.0, 5.0, 30.0, 80.0)
LOGITS = [0.0, *SIZES, *(-size for size in SIZES)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def continuous(eta: float) -> ContinuousBernoulli:
    return ContinuousBernoulli(torch.tensor(eta, dtype=torch.float64))


def mean_under(eta: float, f=np.ones_like, upper: float = 1.0) -> float:
    """The integral of p(x) f(x) from 0 to `upper`, by Gauss-Legendre quadrature."""

    def integrand(x: np.ndarray) -> np.ndarray:
        return continuous(eta).log_prob(torch.from_numpy(x)).exp().numpy() * f(x)

    return integrate.fixed_quad(integrand, 0, upper, n=120)[0]


def quantile(u: float, eta: float) -> float:
    """The exact quantile of the continuous Bernoulli, in 50 digits; u itself at eta = 0."""
    with mpmath.workdps(50):
        e = mpmath.mpf(eta)
        return float(mpmath.log1p(u * mpmath.expm1(e)) / e) if eta else u


def test_quadratic_energy_is_a_gaussian_of_variance_one_half_without_its_constant() -> None:
    mean, x = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    energy = QuadraticEnergy(mean)
    normal = stats.norm(mean.numpy(), math.sqrt(0.5))
    assert np.allclose(energy.log_prob(x), normal.logpdf(x) + math.log(math.pi) / 2, atol=1e-12)
    assert np.allclose(energy.variance, normal.var())
    assert torch.equal(energy.mean, mean)


def test_quadratic_energy_draws_have_its_mean_and_variance() -> None:
    mean = torch.tensor([-1.0, 2.0], requires_grad=True)
    draws = QuadraticEnergy(mean).rsample((40_000,))
    for j in range(2):
        normal = stats.norm(mean[j].item(), math.sqrt(0.5))
        assert stats.kstest(draws[:, j].detach().numpy(), normal.cdf).pvalue > 1e-3
    draws.mean(0).sum().backward()
    assert torch.allclose(mean.grad, torch.ones(2))


@pytest.mark.parametrize("distribution", [QuadraticEnergy, ContinuousBernoulli])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_have_the_number_format_of_the_parameters(distribution, dtype) -> None:
    assert distribution(torch.zeros((), dtype=dtype)).sample((3,)).dtype == dtype


@pytest.mark.parametrize("distribution", [QuadraticEnergy, ContinuousBernoulli])
def test_expansion_keeps_the_density(distribution) -> None:
    p, x = distribution(torch.randn(4)), torch.rand(3, 4)
    wide = p.expand((3, 4))
    assert wide.batch_shape == (3, 4)
    assert torch.equal(wide.log_prob(x), p.log_prob(x))
    assert wide.sample((2,)).shape == (2, 3, 4)


@pytest.mark.parametrize("eta", LOGITS)
def test_continuous_bernoulli_is_normalised_and_its_moments_are_its_own(eta: float) -> None:
    p = continuous(eta)
    assert mean_under(eta) == pytest.approx(1, abs=1e-9)
    mean = mean_under(eta, lambda x: x)
    assert p.mean.item() == pytest.approx(mean, abs=1e-9)
    entropy = mean_under(eta, lambda x: -p.log_prob(torch.from_numpy(x)).numpy())
    assert p.entropy().item() == pytest.approx(entropy, abs=1e-8)


@pytest.mark.parametrize("eta", [0.0, 1e-4, 0.3, -0.599, 0.601, -5.0, 30.0])
def test_continuous_bernoulli_cumulants_are_the_derivatives_of_its_log_partition(
    eta: float,
) -> None:
    logits = torch.tensor(eta, dtype=torch.float64, requires_grad=True)
    p = ContinuousBernoulli(logits)
    (first,) = torch.autograd.grad(-p.log_prob(torch.zeros(())), logits)
    (second,) = torch.autograd.grad(p.mean, logits)
    assert first.item() == pytest.approx(p.mean.item(), abs=1e-9)
    variance = mean_under(eta, lambda x: (x - p.mean.item()) ** 2)
    assert second.item() == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("eta", [0.3, 0.61, 1.0, 5.0, 20.0, -0.3, -1.0, -5.0, -20.0])
def test_continuous_bernoulli_agrees_with_torch_away_from_one_half(eta: float) -> None:
    ours, x = continuous(eta), torch.linspace(0, 1, 11, dtype=torch.float64)
    theirs = TorchContinuousBernoulli(logits=torch.tensor(eta, dtype=torch.float64))
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-6, atol=1e-7)
    assert torch.allclose(ours.mean, theirs.mean, rtol=1e-6)
    assert torch.allclose(ours.entropy(), theirs.entropy(), rtol=1e-6, atol=1e-7)
    assert torch.allclose(ours.icdf(x), theirs.icdf(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "relative", "absolute"),
    [(torch.float64, 2e-9, 0), (torch.float32, 1e-6, 1e-7)],
)
def test_log_sinhc_matches_fifty_digits(dtype, relative: float, absolute: float) -> None:
    t = torch.cat([torch.logspace(-10, 2, 60), torch.linspace(0.29, 0.31, 21)]).to(dtype)
    with mpmath.workdps(50):
        exact = [float(mpmath.log(mpmath.sinh(v) / mpmath.mpf(v))) for v in t.tolist()]
    for sign in (1, -1):
        got = log_sinhc(sign * t).double().numpy()
        assert np.allclose(got, exact, rtol=relative, atol=absolute)
    assert log_sinhc(torch.zeros((), dtype=dtype)) == 0


def test_log_sinhc_is_smooth_where_its_two_forms_meet() -> None:
    t = torch.linspace(0.2999, 0.3001, 2001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_sinhc(t).sum(), t)
    coth = 1 / np.tanh(t.detach().numpy()) - 1 / t.detach().numpy()
    assert np.allclose(slope, coth, rtol=1e-7)
    assert (log_sinhc(t).diff() > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_gradient_is_x_minus_mean(dtype, x: float) -> None:
    values = (0.0, 1e-8, 1e-4, 1e-3, 0.3, 0.6, 1.0, 5.0, 100.0, 1e4, 1e6)
    logits = torch.tensor([*values, *(-v for v in values)], dtype=dtype, requires_grad=True)
    p = ContinuousBernoulli(logits)
    (gradient,) = torch.autograd.grad(p.log_prob(torch.tensor(x, dtype=dtype)).sum(), logits)
    with mpmath.workdps(50):
        means = [
            float(-1 / mpmath.expm1(-v) - 1 / mpmath.mpf(v)) if v else 0.5 for v in logits.tolist()
        ]
    assert np.allclose(gradient.double(), x - np.array(means), atol=1e-6)
    assert np.allclose(p.mean.detach().double(), means, atol=1e-6)


@pytest.mark.parametrize("eta", [1e8, -1e8])
def test_continuous_bernoulli_gradients_stay_finite_for_absurd_logits(eta: float) -> None:
    logits = torch.tensor(eta, requires_grad=True)
    p = ContinuousBernoulli(logits)
    for value in (p.log_prob(torch.tensor(0.3)), p.mean):
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.isfinite()


@pytest.mark.parametrize("eta", LOGITS)
def test_continuous_bernoulli_icdf_inverts_the_integral_of_its_density(eta: float) -> None:
    for u in (0.001, 0.1, 0.5, 0.9, 0.999):
        x = continuous(eta).icdf(torch.tensor(u, dtype=torch.float64)).item()
        assert mean_under(eta, upper=x) == pytest.approx(u, abs=1e-7)
        assert x == pytest.approx(quantile(u, eta), abs=1e-7)
    ends = continuous(eta).icdf(double(0.0, 1.0))
    assert torch.allclose(ends, double(0.0, 1.0), atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 5e-4, -5e-4, 0.3, -0.3, 5.0, -5.0])
def test_continuous_bernoulli_reparameterised_gradient(eta: float) -> None:
    logits = torch.tensor(eta, dtype=torch.float64, requires_grad=True)
    for u in (0.1, 0.5, 0.9):
        x = ContinuousBernoulli(logits).icdf(torch.tensor(u, dtype=torch.float64))
        (slope,) = torch.autograd.grad(x, logits)
        expected = (quantile(u, eta + 1e-4) - quantile(u, eta - 1e-4)) / 2e-4
        assert slope.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("eta", [20.0, -20.0, 80.0, -80.0])
def test_continuous_bernoulli_quantiles_at_the_ends_have_finite_gradients(eta: float) -> None:
    logits = torch.full((2,), eta, requires_grad=True)
    x = ContinuousBernoulli(logits).icdf(torch.tensor([0.0, 1.0]))
    (gradient,) = torch.autograd.grad(x.sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("eta", [0.0, 1e-4, -2.0, 7.0, 40.0])
def test_continuous_bernoulli_draws_follow_its_density(eta: float) -> None:
    logits = torch.full((20_000,), eta, dtype=torch.float64)
    draws = ContinuousBernoulli(logits).sample().numpy()
    assert draws.min() >= 0
    assert draws.max() <= 1
    cdf = (lambda x: np.expm1(eta * x) / np.expm1(eta)) if eta else (lambda x: x)
    assert stats.kstest(draws, cdf).pvalue > 1e-3
    error = 5 * draws.std() / math.sqrt(draws.size)
    assert draws.mean() == pytest.approx(continuous(eta).mean.item(), abs=error)


def test_cross_entropy_matches_scipy_and_broadcasts_over_draws() -> None:
    def entropy(logits: Tensor, x: Tensor) -> Tensor:
        p = Bernoulli(logits=logits, validate_args=False)
        return bce(Pass(x, p, ()))["bce"]

    logits = torch.randn(5, 3, 4, dtype=torch.float64)
    x = torch.randint(2, (3, 4)).double()
    expected = -stats.bernoulli(torch.sigmoid(logits).numpy()).logpmf(x.numpy())
    assert np.allclose(entropy(logits, x), expected.sum(2).mean(0))
    grey = torch.rand(3, 4, dtype=torch.float64)
    m = torch.sigmoid(logits)
    by_hand = grey * m.log() + (1 - grey) * (1 - m).log()
    assert torch.allclose(entropy(logits, grey), -by_hand.sum(2).mean(0))
    assert entropy(torch.full((1, 1, 1), -1000.0), torch.ones(1, 1)) == 1000


CHOICES = {
    "squared error": likelihoods.SquaredError,
    "Bernoulli": likelihoods.Bernoulli,
    "continuous Bernoulli": likelihoods.ContinuousBernoulli,
    "learned Gaussian": likelihoods.Gaussian,
    "fixed Gaussian": lambda: likelihoods.Gaussian(scale=0.1),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("event", [(6,), (3, 4, 5)])
def test_likelihoods_make_the_last_axes_one_event(name: str, event: tuple[int, ...]) -> None:
    h, x = torch.randn(2, 7, *event), torch.rand(7, *event)
    likelihood = CHOICES[name]()
    px = likelihood(h, len(event))
    assert (likelihood.params, px.batch_shape, px.event_shape) == (1, (2, 7), event)
    assert px.log_prob(x).shape == (2, 7)
    assert px.mean.shape == px.sample().shape == h.shape
    one = likelihood(h[1, 3], len(event))
    assert torch.allclose(one.log_prob(x[3]), px.log_prob(x)[1, 3], rtol=1e-5)


def test_likelihoods_agree_with_the_field() -> None:
    h, x = torch.randn(2, 5, 1, 4, 4, dtype=torch.float64), torch.rand(5, 1, 4, 4).double()
    m = torch.sigmoid(h)
    squares = (m - x).square().sum((2, 3, 4))
    assert torch.allclose(likelihoods.SquaredError()(h, 3).log_prob(x), -squares)
    entropy = F.binary_cross_entropy(m, x.expand_as(m), reduction="none").sum((2, 3, 4))
    assert torch.allclose(likelihoods.Bernoulli()(h, 3).log_prob(x), -entropy)
    assert torch.allclose(likelihoods.Bernoulli()(h, 3).mean, m)
    continuous = TorchContinuousBernoulli(logits=h, lims=(0.4999, 0.5001))
    ours = likelihoods.ContinuousBernoulli()(h, 3).log_prob(x)
    assert torch.allclose(ours, continuous.log_prob(x.expand_as(h)).sum((2, 3, 4)), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.003, 0.1, 1.0, 2.5, 399.0])
def test_fixed_gaussian_scale_equals_scipy(scale: float) -> None:
    likelihood = likelihoods.Gaussian(scale=scale).double()
    assert list(likelihood.parameters()) == []
    assert likelihood.scale.item() == pytest.approx(scale, rel=1e-5)
    h, x = torch.randn(2, 5, 3, 4, 6).double(), torch.rand(5, 3, 4, 6).double()  # colour
    expected = stats.norm(torch.sigmoid(h).numpy(), scale).logpdf(x.numpy()).sum((2, 3, 4))
    assert np.allclose(likelihood(h, 3).log_prob(x), expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-3, 400.0, math.inf, math.nan])
def test_impossible_gaussian_scales_are_refused(scale: float) -> None:
    with pytest.raises(UserError, match="Gaussian scale"):
        likelihoods.Gaussian(scale=scale)


@pytest.mark.parametrize("noise", [0.01, 0.2, 3.0])
def test_the_best_learned_scale_is_the_root_mean_square_error(noise: float) -> None:
    likelihood = likelihoods.Gaussian().double()
    assert likelihood.scale.item() == pytest.approx(0.5)
    h = torch.randn(1, 50, 20, dtype=torch.float64)
    x = torch.sigmoid(h[0]) + noise * torch.randn(50, 20, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(
        likelihood.parameters(), max_iter=60, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -likelihood(h, 1).log_prob(x).mean() / 20
        value.backward()
        return value

    optimiser.step(loss)
    error = (torch.sigmoid(h[0]) - x).square().mean().sqrt()
    assert likelihood.scale.item() == pytest.approx(error.item(), rel=1e-4)


@pytest.mark.parametrize("raw", [1e2, 1e10, 3e38, -1e2, -1e10, -3e38])
def test_the_variance_is_finite_and_not_zero_for_any_feature(raw: float) -> None:
    h = torch.tensor([[0.5, raw]], requires_grad=True)
    q = Gaussian(1).posterior(h)
    value = 2 * q.base_dist.scale.log().item()
    assert -LOG_VARIANCE_BOUND - 1e-4 <= value <= 2 + math.log(max(raw, 1))
    q.log_prob(torch.zeros(1, 1)).sum().backward()
    assert h.grad.isfinite().all()


def test_the_gaussian_code_is_reparameterised() -> None:
    h = double(0.7, -1.5, 0.4, -2.0)[None].requires_grad_()
    mu, raw = h.chunk(2, dim=1)
    sigma = (0.5 * 15 * torch.tanh(raw / 15)).exp()
    bottleneck = Gaussian(2)
    code = bottleneck(h, samples=40_000)
    assert code.z.shape == (40_000, 1, 2)
    assert (code.q.batch_shape, code.q.event_shape) == ((1,), (2,))
    eps = ((code.z - mu) / sigma).detach().numpy()
    for j in range(2):
        assert stats.kstest(eps[:, 0, j], stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(eps[:, 0].T)[0, 1]) < 5 / math.sqrt(40_000)
    (gradient,) = torch.autograd.grad(code.z[3].sum(), h)
    by_hand = 0.5 * (1 - torch.tanh(raw / 15) ** 2) * (code.z[3] - mu)
    assert torch.allclose(gradient, torch.cat([torch.ones_like(mu), by_hand], dim=1))


def test_small_log_variances_pass_almost_unchanged() -> None:
    raw = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    q = Gaussian(1).posterior(torch.cat([torch.zeros_like(raw), raw], dim=1))
    assert torch.allclose(2 * q.base_dist.scale.log(), raw, rtol=2e-3)


def test_a_wide_variance_continues_along_its_tangent() -> None:
    raw = double(2 - 1e-9, 2, 3, 12, 1e6).requires_grad_()
    variance = log_variance(raw).exp()
    (slope,) = torch.autograd.grad(variance.sum(), raw)
    start = math.exp(15 * math.tanh(2 / 15))
    tangent = start * (1 - math.tanh(2 / 15) ** 2)
    assert torch.allclose(variance.detach(), start + tangent * (raw.detach() - 2))
    assert torch.allclose(slope, torch.full_like(slope, tangent))


@pytest.mark.parametrize("space", [(), (4, 5)])
def test_bottlenecks_put_draws_first_and_their_means_are_fixed(space: tuple[int, ...]) -> None:
    for bottleneck in (Gaussian(3), Point(3)):
        h = torch.randn(6, bottleneck.features, *space)
        code = bottleneck(h, samples=2)
        assert code.z.shape == (2, 6, 3, *space)
        assert torch.equal(bottleneck.mean(h), bottleneck.mean(h))
        assert torch.equal(bottleneck.mean(h), h[:, :3])
    assert code.q is None
    assert torch.equal(code.z[0], h)
    assert torch.equal(code.z[1], h)
    q = Gaussian(3)(torch.randn(6, 6, *space)).q
    assert (q.batch_shape, q.event_shape) == ((6,), (3, *space))


@pytest.mark.parametrize("bottleneck", [Point, Gaussian])
def test_a_code_needs_a_dimension(bottleneck) -> None:
    with pytest.raises(UserError, match="latent is 0"):
        bottleneck(0)


def test_the_standard_normal_prior_equals_scipy() -> None:
    p = StandardNormal(2, 3).double()(None)
    assert isinstance(p, Independent)
    assert isinstance(p.base_dist, Normal)
    assert (p.batch_shape, p.event_shape) == ((), (2, 3))
    z = torch.randn(5, 4, 2, 3, dtype=torch.float64)
    assert np.allclose(p.log_prob(z), stats.norm.logpdf(z.numpy()).sum((-2, -1)))

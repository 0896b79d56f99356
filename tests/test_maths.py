"""Terms, objectives, schedules, learning rates and networks against closed forms and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import zuko
from scipy import integrate, stats
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)
from torch.nn import functional as F

from zspace.models.bottlenecks import Gaussian, Point
from zspace.models.distributions import ContinuousBernoulli, QuadraticEnergy
from zspace.models.flow import Latent, Pass
from zspace.models.networks.mlp import MLP
from zspace.models.objective import Objective
from zspace.models.priors import StandardNormal
from zspace.models.terms import FreeBits, bce, iwae, kl, kl_per_dimension, mse, nll
from zspace.runs.settings import Settings
from zspace.system.errors import UserError
from zspace.system.schedules import cyclical, warmup

F64 = torch.float64
PRIOR = StandardNormal(2).double()()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def normal(mu: Tensor, sigma: Tensor | float, event: int = 1) -> Independent:
    return Independent(Normal(mu, sigma), event)


def level(q: Distribution, p: Distribution = PRIOR, draws: int = 1) -> Latent:
    return Latent(q.rsample((draws,)), q, p)


def only(*levels: Latent) -> Pass:
    """A pass for terms that read codes alone; its likelihood is flat."""
    draws, b = levels[0].z.shape[:2]
    return Pass(torch.zeros(b, 1), QuadraticEnergy(torch.zeros(draws, b, 1)), levels)


def near(got: float, values: Tensor, expected: float) -> bool:
    """Whether a mean of draws is the expected number, within five standard errors."""
    error = values.std().item() / math.sqrt(values.numel())
    return abs(got - expected) < 5 * error


def gaussian_kl(mu: Tensor, sigma: Tensor) -> Tensor:
    return 0.5 * (mu**2 + sigma**2 - 1 - (sigma**2).log())


def test_reconstruction_terms_sum_over_the_sample_and_average_the_draws() -> None:
    h, x = torch.randn(3, 5, 1, 4, 4, dtype=F64), torch.rand(5, 1, 4, 4, dtype=F64)
    m = torch.sigmoid(h).numpy()
    squares = ((m - x.numpy()) ** 2).sum((2, 3, 4)).mean(0)
    entropy = -(x.numpy() * np.log(m) + (1 - x.numpy()) * np.log(1 - m)).sum((2, 3, 4)).mean(0)
    for base in (Bernoulli(logits=h, validate_args=False), Normal(torch.sigmoid(h), 0.3)):
        p = Pass(x, Independent(base, 3, validate_args=False), ())
        assert np.allclose(mse(p)["mse"], squares)
        assert np.allclose(bce(p)["bce"], entropy)
    density = stats.norm(m, 0.3).logpdf(x.numpy()).sum((2, 3, 4)).mean(0)
    assert np.allclose(nll(p)["nll"], -density)
    p = Pass(x, Independent(QuadraticEnergy(torch.sigmoid(h)), 3), ())
    assert np.allclose(nll(p)["nll"], squares)


def test_cross_entropy_of_a_continuous_bernoulli_is_that_of_its_mean() -> None:
    base, x = ContinuousBernoulli(3 * torch.randn(2, 5, 4)), torch.rand(5, 4)
    value = bce(Pass(x, Independent(base, 1), ()))["bce"]
    m = base.mean
    assert torch.allclose(value, -(x * m.log() + (1 - x) * (1 - m).log()).sum(2).mean(0))


def test_bernoulli_cross_entropy_survives_saturated_logits() -> None:
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    p = Pass(torch.tensor([[0.0, 1.0]]), Independent(Bernoulli(logits=logits), 1), ())
    bce(p)["bce"].sum().backward()
    assert bce(p)["bce"].item() == 400
    assert torch.equal(logits.grad, torch.tensor([[[1.0, -1.0]]]))


@pytest.mark.parametrize("event", [(2,), (2, 3, 4)])
def test_kl_to_the_standard_normal_is_the_textbook_formula(event: tuple[int, ...]) -> None:
    mu, sigma = torch.randn(4, *event), torch.rand(4, *event) + 0.1
    p = only(level(normal(mu, sigma, len(event)), StandardNormal(*event)(), draws=3))
    expected = gaussian_kl(mu, sigma)
    assert torch.allclose(kl(p)["kl"], expected.flatten(1).sum(1), rtol=1e-5)
    assert torch.allclose(kl_per_dimension(p.latents[0]), expected, atol=1e-6)


def test_kl_sums_over_levels_and_averages_a_prior_that_depends_on_draws() -> None:
    mu, sigma = torch.randn(4, 2, dtype=F64), torch.rand(4, 2, dtype=F64) + 0.1
    loc = torch.randn(3, 4, 2, dtype=F64)
    levels = level(normal(mu, sigma), normal(loc, 1.0), 3), level(normal(mu, sigma), draws=3)
    by_hand = gaussian_kl(mu - loc, sigma).sum(2).mean(0) + gaussian_kl(mu, sigma).sum(1)
    assert torch.allclose(kl(only(*levels))["kl"], by_hand)


def test_estimated_kl_to_a_flow_equals_the_closed_form_where_it_is_known() -> None:
    shift, log_scale = torch.tensor([0.5, -1.0]), torch.tensor([0.3, -0.2])
    flow = zuko.distributions.NormalizingFlow(
        zuko.transforms.DependentTransform(
            zuko.transforms.MonotonicAffineTransform(shift, log_scale), 1
        ),
        zuko.distributions.DiagNormal(torch.zeros(2), torch.ones(2)),
    )
    factor = (flow.transform(torch.ones(2)) - flow.transform(torch.zeros(2))).double()
    offset = flow.transform(torch.zeros(2)).double()  # the flow is N(-offset, 1) / factor
    mu, sigma = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 1.5]])
    one = level(normal(mu, sigma), flow, draws=50_000)
    expected = gaussian_kl(factor * mu + offset, factor * sigma).sum().item()
    draws = one.q.log_prob(one.z) - flow.log_prob(one.z)
    assert near(kl(only(one))["kl"].item(), draws, expected)


PRIORS_WITHOUT_CLOSED_FORM: dict[str, Callable[[], Distribution]] = {
    "mixture": lambda: MixtureSameFamily(
        Categorical(torch.tensor([0.3, 0.7])),
        Independent(Normal(torch.tensor([[-2.0], [1.0]]), torch.tensor([[0.5], [1.0]])), 1),
    ),
    "zuko flow": zuko.flows.NSF(features=1, bins=4, transforms=1, hidden_features=(4,)).forward,
}


@pytest.mark.parametrize("name", PRIORS_WITHOUT_CLOSED_FORM)
def test_estimated_kl_matches_quadrature(name: str) -> None:
    prior = PRIORS_WITHOUT_CLOSED_FORM[name]()
    q = normal(torch.tensor([[0.4], [-1.0]]), torch.tensor([[0.6], [1.2]]))
    one = level(q, prior, draws=40_000)
    values = (q.log_prob(one.z) - prior.log_prob(one.z)).detach()
    for i in range(2):
        n = stats.norm(q.base_dist.loc[i].item(), q.base_dist.scale[i].item())

        def integrand(z: np.ndarray, n=n) -> np.ndarray:
            log_p = prior.log_prob(torch.from_numpy(z).float()[:, None]).detach().double()
            return n.pdf(z) * (n.logpdf(z) - log_p.numpy())

        exact = integrate.fixed_quad(
            integrand, n.mean() - 7 * n.std(), n.mean() + 7 * n.std(), n=400
        )[0]
        assert near(kl(only(one))["kl"][i].item(), values[:, i], exact)


@pytest.mark.parametrize(("term", "name"), [(kl, "kl"), (iwae, "iwae"), (FreeBits(0.1), "kl")])
def test_a_deterministic_code_has_no_divergence(term, name: str) -> None:
    z = Point(2)(torch.randn(4, 2)).z
    with pytest.raises(UserError, match=f"'{name}.*deterministic.*Gaussian bottleneck"):
        term(only(Latent(z, None, PRIOR)))


def test_one_unusual_sample_does_not_decide_the_kl_of_its_batch() -> None:
    """127 images with log-variances near -4 and one far off, as a training on digits met them."""
    h = torch.tensor([0.1, 0.1, -4.1, -4.4]).repeat(128, 1)
    h[84] = torch.tensor([5.72, 6.63, 17.75, 15.38])
    h.requires_grad_()
    code = Gaussian(2)(h)
    value = kl(only(Latent(code.z, code.q, StandardNormal(2)())))["kl"]
    start, slope = 15 * math.tanh(2 / 15), 1 - math.tanh(2 / 15) ** 2  # of log sigma^2 at r = 2
    wide = [math.exp(start) * (1 + slope * (r - 2)) for r in (17.75, 15.38)]
    by_hand = sum(m**2 + v - 1 - math.log(v) for m, v in zip((5.72, 6.63), wide, strict=True)) / 2
    assert value[84].item() == pytest.approx(by_hand, rel=1e-5)
    assert value.mean().item() == pytest.approx((by_hand + 127 * value[0].item()) / 128, rel=1e-5)
    assert value.mean().item() < 2 * value[0].item()
    (gradient,) = torch.autograd.grad(value.sum(), h)
    assert gradient[84].abs().max() < 7  # that of the mean, which is the mean itself


def test_free_bits_by_hand() -> None:
    mu = torch.tensor([[0.2, 2.0, 0.0], [0.4, 0.0, 0.0]], dtype=F64, requires_grad=True)
    sigma = torch.ones(2, 3, dtype=F64)
    values = FreeBits(0.25)(only(level(normal(mu, sigma), StandardNormal(3).double()())))
    # half of mu^2: dimension means (0.02 + 0.08) / 2 = 0.05, (2 + 0) / 2 = 1 and 0
    assert values["kl_free_bits"].item() == pytest.approx(0.25 + 1 + 0.25)
    assert torch.allclose(values["kl"], torch.tensor([2.02, 0.08], dtype=F64))
    values["kl_free_bits"].backward()
    assert torch.equal(mu.grad, torch.tensor([[0.0, 1.0, 0.0], [0, 0, 0]], dtype=F64))


def test_no_free_bits_is_the_kl_also_when_the_prior_depends_on_draws() -> None:
    mu, sigma = torch.randn(4, 2, dtype=F64), torch.rand(4, 2, dtype=F64) + 0.1
    middle = normal(torch.randn(3, 4, 2, dtype=F64), 1.0)
    for prior in (PRIOR, middle):
        p = only(level(normal(mu, sigma), prior, 3))
        values = FreeBits(0.0)(p)
        assert torch.allclose(values["kl"], kl(p)["kl"])
        assert torch.allclose(values["kl_free_bits"], kl(p)["kl"].mean())


def test_free_bits_refuse_what_they_cannot_do() -> None:
    for bits in (-1.0, math.nan):
        with pytest.raises(UserError, match="free bits"):
            FreeBits(bits)
    full = MultivariateNormal(torch.zeros(4, 2), torch.eye(2))
    with pytest.raises(UserError, match="independent dimensions"):
        FreeBits(0.1)(only(level(full)))


class PPCA:
    """Probabilistic PCA, where everything is known: x = W z + b + s eps, z ~ N(0, I)."""

    def __init__(self, n: int = 3, s: float = 0.5) -> None:
        self.w, self.b, self.s = torch.randn(5, 2, dtype=F64), torch.randn(5, dtype=F64), s
        z = torch.randn(n, 2, dtype=F64)
        self.x = z @ self.w.T + self.b + s * torch.randn(n, 5, dtype=F64)
        marginal = stats.multivariate_normal(self.b, self.w @ self.w.T + s**2 * torch.eye(5))
        self.log_p = torch.from_numpy(np.atleast_1d(marginal.logpdf(self.x)))
        m = torch.linalg.inv(self.w.T @ self.w + s**2 * torch.eye(2, dtype=F64))
        self.posterior = MultivariateNormal((self.x - self.b) @ self.w @ m, s**2 * m)

    def forward(self, q: Distribution, samples: int) -> Pass:
        code = level(q, draws=samples)
        return Pass(self.x, normal(code.z @ self.w.T + self.b, self.s), (code,))


def test_iwae_with_one_draw_is_the_single_sample_elbo() -> None:
    model = PPCA()
    p = model.forward(normal(torch.randn(3, 2, dtype=F64), 0.7), 1)
    one, z = p.latents[0], p.latents[0].z
    elbo = p.px.log_prob(p.x) + one.p.log_prob(z) - one.q.log_prob(z)
    assert torch.allclose(iwae(p)["iwae"], -elbo[0], rtol=1e-12)
    twice = Pass(p.x, p.px, (one, level(one.q, one.q)))  # a level whose q is p adds nothing
    assert torch.allclose(iwae(twice)["iwae"], iwae(p)["iwae"])


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_iwae_averages_the_weights_of_the_draws(samples: int) -> None:
    p = PPCA().forward(normal(torch.randn(3, 2, dtype=F64), 0.7), samples)
    one = p.latents[0]
    weights = (p.px.log_prob(p.x) + one.p.log_prob(one.z) - one.q.log_prob(one.z)).exp()
    assert torch.allclose(iwae(p)["iwae"], -weights.mean(0).log())


@pytest.mark.parametrize("samples", [1, 2, 10])
def test_iwae_is_exact_for_every_draw_at_the_true_posterior(samples: int) -> None:
    model = PPCA()
    p = model.forward(model.posterior, samples)
    assert torch.allclose(-iwae(p)["iwae"], model.log_p)
    if samples > 1:
        return
    elbo = -(nll(p)["nll"] + kl(p)["kl"])  # torch has no closed form here: the same draw serves
    assert torch.allclose(elbo, model.log_p)


def test_iwae_grows_with_k_from_the_elbo_towards_the_evidence() -> None:
    model, repeats = PPCA(n=1), 4000
    model.x = model.x.expand(repeats, 5)
    post = model.posterior
    loc = post.loc[0] + torch.tensor([0.2, -0.1], dtype=F64)
    spread = 1.3 * post.covariance_matrix.reshape(2, 2).diag().sqrt()
    q = normal(loc.expand(repeats, 2), spread.expand(repeats, 2))
    log_p, means = model.log_p.item(), []
    for samples in (1, 2, 5, 20):
        bound = -iwae(model.forward(q, samples))["iwae"]
        means.append(bound.mean().item())
        evidence = (bound - log_p).exp()
        assert near(evidence.mean().item(), evidence, 1.0)  # the weights are unbiased for p(x)
        if samples == 1:
            full = MultivariateNormal(loc, spread.square().diag())
            true = MultivariateNormal(post.loc[0], post.covariance_matrix.reshape(2, 2))
            gap = torch.distributions.kl_divergence(full, true).item()
            assert near(means[0], bound, log_p - gap)
    assert means == sorted(means)
    assert log_p - 0.1 < means[-1] < log_p


def weighted(parameter: Tensor) -> Objective:
    return Objective(
        [lambda p: {"a": (parameter * p.x).sum(1)}, lambda p: {"b": parameter.square().sum()}],
        {"a": 2.0, "b": lambda progress: 3 * progress},
    )


def test_an_objective_is_the_weighted_sum_and_so_is_its_gradient() -> None:
    theta = torch.tensor([1.0, -2.0], requires_grad=True)
    p = Pass(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), QuadraticEnergy(torch.zeros(1)), ())
    for progress in (0.0, 0.5, 1.0):
        loss, report = weighted(theta)(p, progress)
        # a: the mean of 1 - 4 and 3 - 10; b: 1 + 4
        assert report.keys() == {"a", "b", "objective"}
        assert (report["a"].item(), report["b"].item()) == (-5, 5)
        assert loss.item() == report["objective"].item() == 2 * -5 + 3 * progress * 5
        assert not any(value.requires_grad for value in report.values())
        (gradient,) = torch.autograd.grad(loss, theta)
        by_hand = 2 * p.x.mean(0) + 3 * progress * 2 * theta
        assert torch.allclose(gradient, by_hand)
    assert weighted(theta)(p)[0].item() == 5
    assert torch.equal(weighted(theta).values(p)["a"], p.x @ theta)


@pytest.mark.parametrize("weights", [{"mse": 1.0}, {"mse": 1.0, "kl": 1.0, "tc": 1.0}, {}])
def test_each_term_needs_one_weight(weights: dict[str, float]) -> None:
    p = only(level(normal(torch.zeros(4, 2, dtype=F64), 1.0)))
    with pytest.raises(UserError, match=r"'kl', 'mse'.*one weight"):
        Objective([mse, kl], weights)(p)


def test_an_objective_needs_a_draw() -> None:
    with pytest.raises(UserError, match="samples is 0"):
        Objective([mse], {"mse": 1.0}, samples=0)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (warmup(), {0: 0, 0.1: 0.5, 0.2: 1, 0.7: 1, 1: 1}),
        (warmup(1.0, 4.0), {0: 0, 0.25: 1, 0.5: 2, 1: 4}),
        (cyclical(), {0: 0, 0.0625: 0.5, 0.125: 1, 0.2: 1, 0.25: 0, 0.3125: 0.5, 0.75: 0, 1: 1}),
        (cyclical(1, 1.0, 3.0), {0: 0, 0.5: 1.5, 0.75: 2.25, 1: 3}),
        (cyclical(2, 0.25, 2.0), {0.0625: 1, 0.125: 2, 0.4: 2, 0.5: 0, 0.5625: 1, 1: 2}),
    ],
)
def test_schedules_at_their_corners(schedule, values: dict[float, float]) -> None:
    assert {at: schedule(at) for at in values} == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("until", [0.0, -0.1, 1.1, math.nan])
def test_impossible_warm_ups_are_refused(until: float) -> None:
    with pytest.raises(UserError, match="warm-up"):
        warmup(until)


@pytest.mark.parametrize(("cycles", "ratio"), [(0, 0.5), (-1, 0.5), (4, 0.0), (4, 1.5)])
def test_impossible_cycles_are_refused(cycles: int, ratio: float) -> None:
    with pytest.raises(UserError, match="cycles"):
        cyclical(cycles, ratio)


@pytest.mark.parametrize(
    ("settings", "top", "ends"),
    [
        (Settings(schedule="cosine", warmup=0.1), 0.1, (0.0, 0.0)),
        (Settings(schedule="cosine", warmup=0.0), 0.0, (1.0, 0.0)),
        (Settings(schedule="one-cycle"), 0.3, (0.04, 0.0)),
        (Settings(schedule="constant", warmup=0.1), 0.1, (0.0, 1.0)),
        (Settings(schedule="constant", warmup=0.0), 0.0, (1.0, 1.0)),
    ],
)
def test_learning_rates_rise_to_their_peak_and_fall(settings, top: float, ends) -> None:
    assert settings.rate(top) == pytest.approx(settings.lr)
    assert (settings.rate(0) / settings.lr, settings.rate(1) / settings.lr) == pytest.approx(ends)
    rates = np.array([settings.rate(t) for t in np.linspace(0, 1, 1001)]) / settings.lr
    peak = round(1000 * top)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 1e-12).all()
    assert np.abs(np.diff(rates)).max() < 0.011
    assert rates.min() >= 0
    assert rates.max() <= 1 + 1e-12


def test_the_cosine_is_half_way_down_in_the_middle() -> None:
    assert Settings(lr=1.0, warmup=0.2).rate(0.6) == pytest.approx(0.5)
    assert Settings(lr=1.0, warmup=0.2).rate(0.1) == pytest.approx(0.5)
    assert Settings(lr=1.0, schedule="one-cycle").rate(0.15) == pytest.approx(0.52)


SIZES = [
    # samples, batch, epochs, patience
    (1, 16, 1500, 187),
    (50, 16, 375, 50),
    (100, 32, 375, 50),
    (255, 64, 375, 50),
    (256, 128, 750, 93),
    (500, 128, 375, 50),
    (2000, 128, 94, 50),
    (4050, 128, 60, 0),
    (10_833, 128, 60, 0),
    (20_000, 128, 32, 0),
    (54_000, 128, 12, 0),
    (10**6, 128, 12, 0),
]


@pytest.mark.parametrize(("samples", "batch", "epochs", "patience"), SIZES)
def test_batch_epochs_and_patience_follow_from_the_number_of_samples(
    samples: int, batch: int, epochs: int, patience: int
) -> None:
    found = Settings().decided(samples)
    assert (found.batch, found.epochs, found.patience) == (batch, epochs, patience)
    assert found.decided(7) == found
    asked = Settings(1500, batch=batch, patience=0, warmup=0.02)
    assert Settings(epochs=1500).decided(samples) == asked
    assert Settings(patience=3).decided(samples) == replace(found, patience=3)
    assert Settings(batch=8).decided(samples).batch == 8
    assert Settings(minutes=1.0).decided(samples).patience == 0
    assert epochs * -(-samples // batch) >= 1500


@pytest.mark.parametrize(
    ("samples", "epochs", "batch"),
    [(54_000, 3, 128), (54_000, 2, 64), (54_000, 1, 32), (4050, 5, 32), (256, 300, 64)],
)
def test_a_default_batch_is_halved_where_steps_would_be_few(
    samples: int, epochs: int, batch: int
) -> None:
    found = Settings(epochs=epochs).decided(samples)
    assert (found.batch, found.epochs) == (batch, epochs)
    assert found.decided(samples) == found
    assert Settings(epochs=epochs, batch=128).decided(samples).batch == 128


@pytest.mark.parametrize("hidden", [(), (7,), (7, 9)])
def test_an_mlp_keeps_shapes_and_ends_linearly(hidden: tuple[int, ...]) -> None:
    net, x = MLP((2, 3), (4, 5), hidden=hidden), torch.randn(8, 2, 3)
    before = x.clone()
    y = net(x)
    assert y.shape == (8, 4, 5)
    assert torch.equal(x, before)
    assert (y < 0).any()
    assert (y > 0).any()
    linear = [m for m in net.layers if isinstance(m, nn.Linear)]
    h = x.flatten(1)
    for layer in linear[:-1]:
        h = F.gelu(F.linear(h, layer.weight, layer.bias))
    assert torch.allclose(y.flatten(1), F.linear(h, linear[-1].weight, linear[-1].bias), atol=1e-6)
    assert [m.out_features for m in linear] == [*hidden, 20]


def test_mlp_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    layer = MLP((300,), (200,), hidden=()).layers[0]
    weight, bound = layer.weight.detach().flatten().numpy(), math.sqrt(6 / 500)
    assert stats.kstest(weight, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert not layer.bias.any()


def test_the_context_joins_the_input_of_an_mlp() -> None:
    net, x = MLP((3,), (2,), hidden=(16,), context=4), torch.randn(5, 3)
    one, two = torch.eye(4)[[0] * 5], torch.eye(4)[[1] * 5]
    assert not torch.allclose(net(x, one), net(x, two))
    assert torch.allclose(net(x, one), net.layers(torch.cat([x, one], dim=1)))
    assert net.layers[0].in_features == 7
    with pytest.raises(UserError, match="hidden"):
        MLP((3,), (2,), hidden=(16, 0))


def test_codes_of_an_encoder_may_be_negative_in_every_dimension() -> None:
    x = torch.rand(200, 1, 4, 4)
    for bottleneck in (Gaussian(6), Point(6)):
        codes = bottleneck.mean(MLP((1, 4, 4), (bottleneck.features,), hidden=(32,))(x - 0.5))
        assert (codes < 0).any(dim=0).all()
        assert (codes > 0).any(dim=0).all()

"""The logistic mixture against scipy and enumeration; what likelihoods say about colour images.

Nothing here reads data; every expected number comes from scipy, an enumeration of all images or a
formula.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from zspace.data.spec import Spec
from zspace.models import distributions, likelihoods
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Gaussian as GaussianCode
from zspace.models.likelihoods import LogisticMixture, bits_per_dimension
from zspace.models.networks.mlp import MLP
from zspace.models.priors import StandardNormal
from zspace.models.terms import iwae, nll
from zspace.system.errors import UserError

BYTES = torch.arange(256) / 255


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def decoded(likelihood: LogisticMixture, *shape: int, lead: tuple[int, ...] = ()) -> Tensor:
    """A random decoder output for x of this shape, in float64."""
    return torch.randn(*lead, *likelihood.outputs(Spec(tuple(shape))), dtype=torch.float64)


def every_image(channels: int, levels: int) -> Tensor:
    """(levels ** channels, channels, 1, 1): all images of one pixel."""
    values = itertools.product(range(levels), repeat=channels)
    return torch.tensor(list(values), dtype=torch.float64)[..., None, None] / (levels - 1)


def one(
    loc: float, log_scale: float, dtype: torch.dtype = torch.float32
) -> distributions.LogisticMixture:
    """One pixel, one channel, one component."""
    shape = (1, 1, 1)
    return distributions.LogisticMixture(
        torch.zeros(shape, dtype=dtype),
        torch.full((1, *shape), loc, dtype=dtype),
        torch.full((1, *shape), log_scale, dtype=dtype),
        torch.zeros((0, *shape), dtype=dtype),
    )


def by_scipy(h: np.ndarray, x: np.ndarray, components: int, levels: int) -> float:
    """log p of one image x (C, H, W) under h (numbers, H, W), from the definition."""
    channels, height, width = x.shape
    total = 0.0
    for i, j in itertools.product(range(height), range(width)):
        table = h[:, i, j].reshape(-1, components)
        y = 2 * x[:, i, j] - 1
        log_p = special.log_softmax(table[0])
        loc = table[1 : 1 + channels]
        scale = np.exp(-1.5 + 5.5 * np.tanh(table[1 + channels : 1 + 2 * channels] / 5.5))
        rows = iter(np.tanh(table[1 + 2 * channels :]))
        for c in range(channels):
            centre = loc[c] + sum(next(rows) * y[j] for j in range(c))
            low = -math.inf if y[c] == -1 else y[c] - 1 / (levels - 1)
            high = math.inf if y[c] == 1 else y[c] + 1 / (levels - 1)
            p = stats.logistic(centre, scale[c])
            upper, lower = p.sf(low) - p.sf(high), p.cdf(high) - p.cdf(low)
            log_p = log_p + np.log(np.where(y[c] > centre, upper, lower))  # the precise one
        total += special.logsumexp(log_p)
    return total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-7.0, -4.0, 0.0, 3.0, 7.0])
@pytest.mark.parametrize("loc", [0.0, 0.3, -1.0, 1.01, 50.0, -1e4])
def test_the_256_levels_of_a_grey_pixel_sum_to_one(loc: float, log_scale: float, dtype) -> None:
    p = one(loc, log_scale, dtype).expand((256,))
    log_p = p.log_prob(BYTES.to(dtype).view(256, 1, 1, 1))
    assert log_p.exp().sum().item() == pytest.approx(
        1, abs=2e-5 if dtype == torch.float32 else 1e-12
    )


@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (2, 16), (3, 12), (4, 5), (3, 2)])
def test_all_images_of_a_colour_pixel_sum_to_one(channels: int, levels: int) -> None:
    likelihood = LogisticMixture(components=4, levels=levels)
    px = likelihood(3 * decoded(likelihood, channels, 1, 1), 3)
    assert px.log_prob(every_image(channels, levels)).exp().sum().item() == pytest.approx(
        1, abs=1e-12
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("levels", [256, 7])
def test_log_prob_is_the_definition_in_scipy(channels: int, levels: int) -> None:
    likelihood = LogisticMixture(components=5, levels=levels)
    h = decoded(likelihood, channels, 3, 2, lead=(2, 4))
    x = torch.randint(levels, (4, channels, 3, 2)).double() / (levels - 1)
    x[0], x[1] = 0, 1
    got = likelihood(h, 3).log_prob(x)
    for k, b in itertools.product(range(2), range(4)):
        expected = by_scipy(h[k, b].numpy(), x[b].numpy(), 5, levels)
        assert got[k, b].item() == pytest.approx(expected, rel=1e-9)


def test_a_channel_follows_only_the_channels_before_it() -> None:
    likelihood = LogisticMixture(components=3, levels=8)
    px = likelihood(decoded(likelihood, 3, 1, 1), 3)
    p = px.log_prob(every_image(3, 8)).exp().reshape(8, 8, 8)
    green, blue = p.sum(2) / p.sum((1, 2))[:, None], p / p.sum(2, keepdim=True)
    assert (green[0] - green[7]).abs().sum() > 0.1  # red moves green
    assert (blue[0] - blue[7]).abs().sum() > 0.1
    assert (blue[:, 0] - blue[:, 7]).abs().sum() > 0.1
    h = decoded(likelihood, 3, 1, 1).unflatten(0, (10, 3)).requires_grad_()
    red = likelihood(h.flatten(0, 1), 3).log_prob(every_image(3, 8)).view(8, 64).logsumexp(1)
    (moved,) = torch.autograd.grad(red[2], h)
    felt = (moved.abs().amax((1, 2, 3)) > 1e-12).tolist()
    assert felt == [True, True, False, False, True, *[False] * 5]  # its weights, place and scale


def test_single_precision_is_close_to_double() -> None:
    likelihood = LogisticMixture()
    h, x = 3 * decoded(likelihood, 3, 8, 8, lead=(1, 4)), torch.randint(256, (4, 3, 8, 8)) / 255
    exact = likelihood(h, 3).log_prob(x.double())
    assert torch.allclose(likelihood(h.float(), 3).log_prob(x).double(), exact, rtol=1e-5)


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("x", [0.0, 128 / 255, 1.0])
def test_gradients_stay_finite_for_absurd_outputs(size: float, x: float) -> None:
    likelihood = LogisticMixture(components=4)
    h = (size * torch.randn(16, *likelihood.outputs(Spec((3, 4, 4))))).requires_grad_()
    px = likelihood(h, 3)
    for value in (px.log_prob(torch.full((3, 4, 4), x)).sum(), px.mean.sum()):
        (gradient,) = torch.autograd.grad(value, h, retain_graph=True)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_the_gradient_is_that_of_finite_differences() -> None:
    likelihood = LogisticMixture(components=2)
    h = decoded(likelihood, 3, 1, 3).requires_grad_()
    x = torch.tensor([0.0, 100.0, 255.0]).double().expand(3, 1, 3) / 255
    assert torch.autograd.gradcheck(lambda h: likelihood(h, 3).log_prob(x), h)
    assert torch.autograd.gradcheck(lambda h: likelihood(h, 3).mean, h)


@pytest.mark.parametrize("loc", [-3.0, -1.0, -0.997, -0.4, 0.003, 0.98, 2.0])
@pytest.mark.parametrize("log_scale", [-7.0, -5.5, -3.0, -1.0, 1.0, 6.0])
def test_the_mean_of_one_channel_is_that_of_its_256_levels(loc: float, log_scale: float) -> None:
    p, x = one(loc, log_scale, torch.float64), BYTES.double().view(256, 1, 1, 1)
    expected = (p.expand((256,)).log_prob(x).exp() * x.flatten()).sum()
    midpoint_rule = (2 / 255) ** 2 / 192 / math.exp(log_scale)  # Euler-Maclaurin, at an end
    narrow = log_scale == -7  # rounding moves the mean, by half a level at most
    tolerance = 0.5 / 255 if narrow else 1e-5 + midpoint_rule
    assert p.mean.item() == pytest.approx(expected.item(), abs=tolerance)


def far_from_the_ends(likelihood: LogisticMixture, *shape: int) -> distributions.LogisticMixture:
    """A mixture in which nothing is cut off: small locations and scales, any coupling."""
    h, c = decoded(likelihood, *shape).unflatten(0, (-1, likelihood.components)), shape[0]
    h[1 : 1 + c] *= 0.1
    h[1 + c : 1 + 2 * c] = -2.3 + 0.2 * h[1 + c : 1 + 2 * c]
    return likelihood(h.flatten(0, 1), len(shape))


@pytest.mark.parametrize(("channels", "levels"), [(2, 256), (3, 50)])
def test_the_mean_of_coupled_channels_is_that_of_all_images(channels: int, levels: int) -> None:
    px = far_from_the_ends(LogisticMixture(components=3, levels=levels), channels, 1, 1)
    x = every_image(channels, levels)
    expected = (px.log_prob(x).exp().view(-1, 1, 1, 1) * x).sum(0)
    assert torch.allclose(px.mean, expected, rtol=0, atol=1e-4)


def test_the_mean_is_within_four_standard_errors_of_draws() -> None:
    px = far_from_the_ends(LogisticMixture(components=5), 3, 4, 4)
    draws = px.sample((20_000,))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - px.mean).abs() / error).max() < 4


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_the_mean_of_coupled_channels_stays_near_draws_where_it_is_not_exact(
    spread: float,
) -> None:
    likelihood = LogisticMixture(components=5)
    px = likelihood(spread * decoded(likelihood, 3, 16, 16), 3)
    mean, draws = px.mean, px.sample((2_000,))
    assert torch.equal(mean, mean.clamp(0, 1))
    bias = (draws.mean(0) - mean).abs().mean((1, 2))
    assert bias[0] < 0.01
    assert bias.max() < 0.06


def test_draws_have_the_probabilities_of_log_prob() -> None:
    likelihood = LogisticMixture(components=3, levels=4)
    px = likelihood(decoded(likelihood, 3, 1, 1), 3)
    draws = (px.sample((50_000,)) * 3).round().long().flatten(1)
    counts = torch.bincount(draws @ torch.tensor([16, 4, 1]), minlength=64).numpy()
    p = px.log_prob(every_image(3, 4)).exp().numpy()
    assert stats.chisquare(counts, p / p.sum() * counts.sum()).pvalue > 1e-3


def test_draws_are_levels_of_the_batch_shape() -> None:
    likelihood = LogisticMixture(components=3)
    px = likelihood(decoded(likelihood, 3, 5, 4, lead=(2, 7)).float().requires_grad_(), 3)
    draws = px.sample((6,))
    assert (draws.shape, draws.dtype, draws.requires_grad) == (
        (6, 2, 7, 3, 5, 4),
        torch.float32,
        False,
    )
    assert torch.allclose(draws * 255, (draws * 255).round(), atol=1e-4)
    assert px.log_prob(draws).shape == (6, 2, 7)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (2, 6)])
def test_the_mixture_makes_the_last_axes_one_event(shape: tuple[int, ...]) -> None:
    likelihood = LogisticMixture(components=3)
    h, x = decoded(likelihood, *shape, lead=(2, 7)), torch.rand(7, *shape).double()
    px = likelihood(h, len(shape))
    assert (px.batch_shape, px.event_shape) == ((2, 7), shape)
    assert px.mean.shape == px.sample().shape == (2, 7, *shape)
    assert px.log_prob(x).shape == (2, 7)
    alone = likelihood(h[1, 3], len(shape))
    assert torch.allclose(alone.log_prob(x[3]), px.log_prob(x)[1, 3])
    assert torch.allclose(alone.mean, px.mean[1, 3])
    assert torch.equal(alone.expand((4,)).log_prob(x[:4]), alone.log_prob(x[:4]))


def test_x_counts_as_the_nearest_level() -> None:
    likelihood = LogisticMixture(components=3)
    px = likelihood(decoded(likelihood, 3, 8, 8), 3)
    level = torch.randint(1, 255, (3, 8, 8)).double()
    exact = px.log_prob(level / 255)
    assert torch.equal(px.log_prob((level + 0.49) / 255), exact)
    assert torch.equal(px.log_prob((level - 0.49) / 255), exact)
    ends = torch.tensor([-0.3, 1.3]).double().repeat(3, 8, 4)
    assert torch.equal(px.log_prob(ends), px.log_prob(ends.clamp(0, 1)))


def test_half_precision_regions_change_nothing() -> None:
    likelihood = LogisticMixture()
    h, x = decoded(likelihood, 3, 4, 4, lead=(1, 2)).float(), torch.rand(2, 3, 4, 4)
    px = likelihood(h, 3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = likelihood(h, 3)
        assert torch.equal(inside.log_prob(x), px.log_prob(x))
        assert torch.equal(inside.mean, px.mean)


@pytest.mark.parametrize(
    ("likelihood", "shape", "expected"),
    [
        (likelihoods.SquaredError(), (3, 4, 5), (3, 4, 5)),
        (likelihoods.Gaussian(), (7,), (7,)),
        (LogisticMixture(), (3, 32, 32), (100, 32, 32)),  # 100 in PixelCNN++
        (LogisticMixture(5), (1, 28, 28), (15, 28, 28)),
        (LogisticMixture(2), (4, 6, 6), (30, 6, 6)),
    ],
)
def test_likelihoods_say_what_the_decoder_must_give(likelihood, shape, expected) -> None:
    assert likelihood.outputs(Spec(tuple(shape))) == expected
    h = torch.randn(2, *expected)
    assert likelihood(h, len(shape)).event_shape == shape


def test_only_the_mixture_is_discrete_whatever_the_data() -> None:
    for name in ("SquaredError", "Bernoulli", "ContinuousBernoulli", "Gaussian"):
        assert not getattr(likelihoods, name).discrete
    assert LogisticMixture.discrete


def test_impossible_mixtures_are_refused() -> None:
    for arguments in ({"components": 0}, {"levels": 1}):
        with pytest.raises(UserError, match="at least 1 component and 2 levels"):
            LogisticMixture(**arguments)
    with pytest.raises(UserError, match=r"\(784,\): use the Gaussian"):
        LogisticMixture().outputs(Spec((784,)))
    for numbers in (3, 99, 101, 110):
        with pytest.raises(UserError, match=f"received {numbers} numbers per pixel"):
            LogisticMixture()(torch.zeros(2, numbers, 4, 4), 3)


def test_bits_per_dimension_are_nats_in_another_unit() -> None:
    assert bits_per_dimension(3072 * math.log(256), (3, 32, 32)) == pytest.approx(8)
    assert bits_per_dimension(-28 * math.log(2), (1, 28, 28)) == pytest.approx(-1 / 28)


def bits(px: distributions.LogisticMixture, x: Tensor) -> float:
    return bits_per_dimension(-px.log_prob(x).mean().item(), px.event_shape)


def test_noise_costs_eight_bits_and_never_less() -> None:
    noise = torch.stack([torch.randperm(256) for _ in range(3)]).view(3, 16, 16) / 255
    likelihood = LogisticMixture()
    untrained = likelihood(torch.zeros(likelihood.outputs(Spec((3, 16, 16)))), 3)
    edges = stats.logistic(0, math.exp(-1.5)).cdf(
        [-math.inf, *np.arange(-254, 255, 2) / 255, math.inf]
    )
    assert bits(untrained, noise) == pytest.approx(-np.log2(np.diff(edges)).mean(), rel=1e-5)
    for scale in (0.3, 1.0, 3.0):
        h = (scale * decoded(likelihood, 3, 1, 1)).expand(-1, 16, 16)
        assert bits(likelihood(h, 3), noise.double()) > 8
    h = torch.zeros(3, 10, 16, 16)  # grey: logistics side by side
    h[1] = torch.linspace(-0.9, 0.9, 10).view(10, 1, 1)
    h[2] = 5.5 * math.atanh((math.log(0.05) + 1.5) / 5.5)
    assert 8 < bits(likelihood(h.flatten(0, 1), 3), noise[:1]) < 8.1


def test_one_image_is_learned_to_far_below_eight_bits() -> None:
    ramp = torch.linspace(0, 1, 16)
    x = torch.stack([ramp.expand(16, 16), ramp.expand(16, 16).T, ramp.outer(ramp)])
    likelihood = LogisticMixture(components=3)
    h = (0.1 * torch.randn(likelihood.outputs(Spec(tuple(x.shape))))).requires_grad_()
    optimiser = torch.optim.Adam([h], lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        (-likelihood(h, 3).log_prob(x)).backward()
        optimiser.step()
    px = likelihood(h.detach(), 3)
    assert bits(px, x) < 2
    assert (px.mean - x).abs().max() < 0.02


def test_an_autoencoder_of_colour_has_bits_per_dimension() -> None:
    likelihood, shape = LogisticMixture(components=2), (3, 4, 4)
    model = Autoencoder(
        encoder=MLP(shape, (4,), hidden=(8,)),
        bottleneck=GaussianCode(2),
        decoder=MLP((2,), likelihood.outputs(Spec(tuple(shape))), hidden=(8,)),
        likelihood=likelihood,
        prior=StandardNormal(2),
        latent=(2,),
    )
    x = torch.randint(256, (5, *shape)) / 255
    p = model(x, samples=6)
    assert (p.px.batch_shape, p.px.event_shape) == ((6, 5), shape)
    assert nll(p)["nll"].shape == iwae(p)["iwae"].shape == (5,)
    nll(p)["nll"].mean().backward()
    assert all(weight.grad is not None for weight in model.decoder.parameters())
    assert model.sample(7).mean.shape == (7, *shape)

"""Missing values: NaN in x adds nothing to a likelihood, to any gradient or to an encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Normal,
    Uniform,
)

from zspace.data.spec import Spec
from zspace.models import Gaussian, Pass, StandardNormal, bce, mse, nll, vae
from zspace.models.adversarial import DiscriminatorLoss
from zspace.models.distributions import (
    ContinuousBernoulli,
    LogisticMixture,
    Observed,
    QuadraticEnergy,
)
from zspace.models.networks.mlp import MLP
from zspace.models.perceptual import Perceptual
from zspace.system.errors import UserError

NAN = math.nan


def one() -> Tensor:
    return torch.full((2, 3), 1.0)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (lambda a: Normal(a, 2 * one()), stats.norm(0.3, 2)),
        (lambda a: Laplace(a, 2 * one()), stats.laplace(0.3, 2)),
        (lambda a: LogNormal(a, one()), stats.lognorm(1, scale=math.exp(0.3))),
        (lambda a: Uniform(a - 5, a + 5), stats.uniform(-4.7, 10)),
    ],
)
def test_what_is_missing_is_left_out_of_densities(make, reference) -> None:
    """Also where 0 is no value of the support, and where the support depends on parameters."""
    a = torch.full((2, 3), 0.3, requires_grad=True)
    x = torch.tensor([[1.0, NAN, 2.0], [NAN, NAN, NAN]])
    found = Observed(Independent(make(a), 1)).log_prob(x)
    expected = [reference.logpdf([1, 2]).sum(), 0.0]
    assert np.allclose(found.detach().numpy(), expected, atol=1e-5)
    found.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert (a.grad[x.isnan()] == 0).all()


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (lambda a: Bernoulli(logits=a), stats.bernoulli(1 / (1 + math.exp(-0.3)))),
        (
            lambda a: NegativeBinomial(4 * one(), logits=a),
            stats.nbinom(4, 1 / (1 + math.exp(0.3))),
        ),
    ],
)
def test_what_is_missing_is_left_out_of_probabilities(make, reference) -> None:
    """These validate what they are given: the value that is filled in must be of the support."""
    a = torch.full((2, 3), 0.3, requires_grad=True)
    x = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])
    found = Observed(Independent(make(a), 1)).log_prob(x)
    assert np.allclose(found.detach().numpy(), [reference.logpmf([1, 0]).sum(), 0.0], atol=1e-6)
    found.sum().backward()
    assert a.grad is not None
    assert (a.grad[x.isnan()] == 0).all()


@pytest.mark.parametrize("of", [QuadraticEnergy, ContinuousBernoulli])
def test_all_but_the_density_passes_through(of) -> None:
    px = Independent(of(torch.randn(4, 2, 3)), 1)
    seen = Observed(px)
    assert torch.equal(seen.mean, px.mean)
    assert (seen.batch_shape, seen.event_shape) == (px.batch_shape, px.event_shape)
    assert seen.sample((5,)).shape == (5, 4, 2, 3)
    assert seen.expand((7, 4, 2)).mean.shape == (7, 4, 2, 3)
    x = torch.rand(2, 3)
    assert torch.allclose(seen.log_prob(x), px.log_prob(x))


def test_elements_that_depend_on_each_other_are_refused() -> None:
    loc = torch.zeros(1, 1, 1, 1)
    with pytest.raises(UserError, match="choose another likelihood"):
        Observed(LogisticMixture(loc[0], loc, loc, loc[:, :0], event=2))


class NanFree(MLP):
    """An encoder that fails where it is given NaN, as a norm or attention would in silence."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        assert x.isfinite().all()
        assert x.dtype == torch.float32
        return super().forward(x, c)


def model_of(**likelihood):
    made = vae(Spec((6,), missing=True), latent=2, hidden=(8,), **likelihood).model
    made.encoder = NanFree((12,), (4,), hidden=(8,))
    return made


def gradients(model, x: Tensor, filled: float, term) -> list[Tensor]:
    """Of all parameters, where whatever stands in a masked place is this number on the way."""
    torch.manual_seed(0)
    original = Observed.filled

    def other(self: Observed, value: Tensor) -> Tensor:
        return torch.where(value.isnan(), filled, original(self, value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Observed, "filled", other)
        (loss,) = term(model(x)).values()
    model.zero_grad()
    loss.sum().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("term", [nll, mse, bce])
@pytest.mark.parametrize("likelihood", ["squared-error", "bernoulli", "gaussian"])
def test_a_masked_value_has_no_influence_on_any_gradient(likelihood, term) -> None:
    """Bit for bit, whatever number is filled in: a `where` on the result alone would leave NaN."""
    torch.manual_seed(1)
    model = model_of(likelihood=likelihood)
    x = torch.rand(5, 6)
    x[torch.rand(5, 6) < 0.4] = NAN
    x[0] = NAN
    a, b = gradients(model, x, 0.0, term), gradients(model, x, 1.0, term)
    assert all(g.isfinite().all() for g in a)
    assert all(torch.equal(g, h) for g, h in zip(a, b, strict=True))
    assert any(g.abs().sum() > 0 for g in a)


def test_the_encoder_is_told_what_is_missing() -> None:
    """A 0 that was seen and a 0 that was filled in are not the same, also under autocast."""
    model = model_of()
    x = torch.zeros(2, 6)
    x[1, 2] = NAN
    with torch.autocast("cpu", torch.bfloat16):
        z = model.encode(x)
    assert z.isfinite().all()
    assert not torch.equal(z[0], z[1])


def test_readers_that_compare_whole_samples_refuse_missing_values() -> None:
    px: Distribution = Observed(Independent(Normal(torch.zeros(1, 2, 1, 8, 8), 1.0), 3))
    p = Pass(torch.zeros(2, 1, 8, 8), px, ())
    with pytest.raises(UserError, match="missing values"):
        DiscriminatorLoss(torch.nn.Identity())(p)
    with pytest.raises(UserError, match="missing values"):
        Perceptual(torch.nn.Identity())(p)  # type: ignore[arg-type]


def test_a_model_of_whole_samples_has_no_mask() -> None:
    model = vae(Spec((6,)), latent=2, hidden=(8,)).model
    assert not isinstance(model(torch.rand(2, 6)).px, Observed)
    assert isinstance(model.bottleneck, Gaussian)
    assert isinstance(model.prior, StandardNormal)

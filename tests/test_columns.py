"""The likelihood of tables: each kind of column against scipy and torch, and what takes what."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from zspace.data.kinds.table import fit
from zspace.data.readers.frames import columns_of
from zspace.data.spec import Column, Spec
from zspace.models import ae, assemble, cvae, iwae, vae, vaegan
from zspace.models.bottlenecks import Gaussian
from zspace.models.distributions import Observed
from zspace.models.likelihoods import LIKELIHOODS, USUAL, Columns, likelihood_for
from zspace.models.recipes import RECIPES
from zspace.system.errors import UserError

KNOTS = ((-1.0, 0.0), (0.5, 2.0), (1.0, 10.0), (3.0, 40.0))
COLUMNS = (
    Column("age", "number"),
    Column("sex", "category", 3),
    Column("ok", "boolean"),
    Column("visits", "count", 1, KNOTS),
    Column("born", "date"),
    Column("town", "category", 2),
)
SPEC = Spec((9,), kind="table", columns=COLUMNS)
COUNTS, ENTRIES = [row[1] for row in KNOTS], [row[0] for row in KNOTS]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def rows(n: int = 6) -> Tensor:
    """Rows that are some: one entry of each block is 1."""
    x = torch.randn(n, 9)
    x[:, 1:4] = torch.eye(3)[torch.randint(3, (n,))]
    x[:, 4] = torch.randint(2, (n,)).float()
    x[:, 5] = torch.from_numpy(np.interp(np.arange(n), COUNTS, ENTRIES)).float()
    x[:, 7:] = torch.eye(2)[torch.randint(2, (n,))]
    return x


def made(numbers: str = "gaussian", **more) -> Columns:
    likelihood = Columns(numbers, **more).of(SPEC)
    for parameter in likelihood.parameters():
        parameter.data.normal_()
    return likelihood


def bounded(raw: np.ndarray, bound: float) -> np.ndarray:
    return np.exp(bound * np.tanh(raw / bound))


def expected_rest(likelihood: Columns, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p of what is no number: h holds the count, the boolean and the five entries."""
    count = np.interp(x[:, 5], ENTRIES, COUNTS).round()
    m = np.exp(12 * np.tanh(h[:, 0] / 12))
    r = bounded(likelihood.raw_dispersion.detach().numpy(), 4)
    total = stats.nbinom.logpmf(count, r, r / (r + m))
    total = total + stats.bernoulli.logpmf(x[:, 4], 1 / (1 + np.exp(-h[:, 1])))
    for logits, block in ((h[:, 2:5], x[:, 1:4]), (h[:, 5:7], x[:, 7:9])):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        total = total + np.log(p[np.arange(len(x)), block.argmax(1)])
    return total


def test_gaussian_columns_against_scipy():
    likelihood, x = made(), rows()
    h = torch.randn(6, 9)
    found = likelihood(h, 1).log_prob(x).detach().numpy()
    a, b, v = h.numpy(), bounded(likelihood.raw_scale.detach().numpy(), 4), x.numpy()
    numbers = stats.norm.logpdf(v[:, [0, 6]], a[:, :2], b).sum(1)
    assert np.allclose(found, numbers + expected_rest(likelihood, a[:, 2:], v), atol=1e-4)


def test_student_columns_against_scipy():
    likelihood, x = made("student"), rows()
    h = torch.randn(6, 9)
    found = likelihood(h, 1).log_prob(x).detach().numpy()
    a, b, v = h.numpy(), bounded(likelihood.raw_scale.detach().numpy(), 4), x.numpy()
    freedom = 2.1 + 100 / (1 + np.exp(-likelihood.raw_freedom.detach().numpy()))
    numbers = stats.t.logpdf(v[:, [0, 6]], freedom, a[:, :2], b).sum(1)
    assert np.allclose(found, numbers + expected_rest(likelihood, a[:, 2:], v), atol=1e-4)


def test_mixture_columns_against_scipy():
    likelihood, x = made("mixture", components=3), rows()
    assert likelihood.outputs(SPEC) == (9 - 2 + 2 * 9,)
    h = torch.randn(6, 25)
    found = likelihood(h, 1).log_prob(x).detach().numpy()
    a, v = h.numpy(), x.numpy()
    numbers = np.zeros(6)
    for j, column in enumerate((0, 6)):
        logits, loc, raw = a[:, 9 * j : 9 * j + 9].reshape(6, 3, 3).transpose(1, 0, 2)
        weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        scale = bounded(raw + math.log(0.5), 4)
        density = stats.norm.pdf(v[:, [column]], loc, scale)
        numbers += np.log((weights * density).sum(1))
    assert np.allclose(found, numbers + expected_rest(likelihood, a[:, 18:], v), atol=1e-4)


def test_counts_are_probabilities_that_add_up_to_1():
    """Over all counts of a column whose map was learned of data; the map is undone exactly."""
    frame = pd.DataFrame({"visits": np.r_[0, 0, 0, np.random.RandomState(0).poisson(7, 300)]})
    table, made_by = columns_of(frame)
    encoding = fit([table], len(frame), made=made_by)
    assert encoding.entries[0].kind == "count"
    high = encoding.entries[0].high
    x = encoding.encode(pd.DataFrame({"visits": np.arange(high + 1)}))
    likelihood = Columns().of(encoding.spec())
    assert torch.equal(likelihood.layout.counted(x)[:, 0], torch.arange(high + 1.0))
    counts = torch.arange(high + 1.0)[:, None]
    assert torch.allclose(likelihood.layout.entries(counts), x, atol=1e-5)
    p = likelihood(torch.full((high + 1, 1), -1.0), 1).log_prob(x).exp()
    assert math.isclose(p.sum().item(), 1, abs_tol=1e-4)


def test_samples_are_rows_with_the_moments_of_the_distribution():
    likelihood = made("student")
    h = torch.randn(1, 9)
    px = likelihood(h, 1)
    draws = px.sample((20_000,))[:, 0]
    assert set(draws[:, 1:4].unique().tolist()) == {0.0, 1.0}
    assert (draws[:, 1:4].sum(1) == 1).all()
    assert (draws[:, 7:].sum(1) == 1).all()
    assert (draws[:, [3, 8]] == 0).all(), "any other value cannot be given back"
    mean, p = px.mean[0].detach(), draws.mean(0)
    assert torch.allclose(p[[1, 2, 3, 4, 7, 8]], mean[[1, 2, 3, 4, 7, 8]], atol=0.02)
    assert abs(float(draws[:, 0].median() - mean[0])) < 0.1 * float(
        px.variance[0, 0].detach() ** 0.5
    )
    counts = likelihood.layout.counted(draws[:, [5]])
    m = likelihood(h, 1).base_dist.log_mean.exp().item()
    assert math.isclose(float(counts.clamp(max=40).mean()), m, rel_tol=0.2, abs_tol=0.5)


def test_what_is_missing_is_left_out_over_whole_blocks():
    likelihood, x = made(), rows(3)
    h = torch.randn(3, 9, requires_grad=True)
    gone = x.clone()
    gone[:, 1:4] = math.nan
    gone[:, 5] = math.nan
    seen = Observed(likelihood(h, 1)).log_prob(gone)
    base = likelihood(h, 1).base_dist.log_prob(x)
    assert torch.allclose(seen, base[:, [0, 4, 6, 7, 8]].sum(1), atol=1e-5)
    seen.sum().backward()
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert (h.grad[:, [2, 4, 5, 6]] == 0).all()


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_gradients_are_finite(scale):
    for name in ("columns", "columns-student", "columns-mixture"):
        likelihood = likelihood_for(SPEC, name)
        h = (scale * torch.randn(8, *likelihood.outputs(SPEC))).requires_grad_()
        likelihood(h, 1).log_prob(rows(8)).sum().backward()
        assert h.grad is not None
        assert h.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in likelihood.parameters() if p.grad is not None)


@pytest.mark.parametrize("columns", [COLUMNS[:1], COLUMNS[1:2], COLUMNS[2:3], COLUMNS[3:4]])
@pytest.mark.parametrize("name", ["columns", "columns-student", "columns-mixture"])
def test_one_kind_of_column_alone(name, columns):
    spec = Spec((columns[0].width,), kind="table", columns=columns)
    likelihood = likelihood_for(spec, name)
    px = likelihood(torch.zeros(2, *likelihood.outputs(spec)), 1)
    assert px.mean.shape == px.sample().shape == px.variance.shape == (2, columns[0].width)
    assert px.log_prob(px.sample()).isfinite().all()
    assert px.expand((3, 2)).log_prob(px.sample()).shape == (3, 2)


@pytest.mark.parametrize("likelihood", ["columns", "columns-student", "columns-mixture"])
@pytest.mark.parametrize("recipe", [ae, vae, iwae])
def test_recipes_take_tables(recipe, likelihood):
    model = recipe(SPEC, latent=2, hidden=(8,), likelihood=likelihood).model
    assert model(rows(), samples=2).px.log_prob(rows()).shape == (2, 6)
    assert model.sample(5).sample().shape == (5, 9)


def test_the_usual_choices_depend_on_the_kind():
    table, image = vae(SPEC).model, vae(Spec((1, 8, 8))).model
    assert isinstance(table.likelihood, Columns)
    assert [m.out_features for m in table.encoder.layers[::2]] == [256, 256, 40]
    assert type(image.likelihood).__name__ == "SquaredError"
    assert [m.out_features for m in image.encoder.layers[::2]] == [784, 784, 40]
    assert set(USUAL.values()) <= set(LIKELIHOODS)


def test_a_likelihood_or_a_network_for_another_kind_is_refused():
    with pytest.raises(UserError, match=r"is for images, but these data are tables: use --likel"):
        vae(SPEC, likelihood="bernoulli")
    with pytest.raises(UserError, match=r"'columns' is for tables, but these data are images"):
        vae(Spec((1, 8, 8)), likelihood="columns")
    with pytest.raises(UserError, match=r"--net conv reads images, but these data are tables"):
        vae(SPEC, net="conv")
    with pytest.raises(UserError, match="discriminator reads images"):
        vaegan(SPEC, perceptual="none")
    with pytest.raises(UserError, match="distribution of numbers 'cauchy' is unknown"):
        Columns("cauchy")
    with pytest.raises(UserError, match="at least 1"):
        Columns("mixture", 0)
    with pytest.raises(UserError, match="knows no columns"):
        Columns()(torch.zeros(1, 9), 1)
    assert {"ae", "vae"} <= set(RECIPES)
    assert assemble(SPEC, Gaussian(2)).latent == (2,)
    with pytest.raises(UserError, match="needs a label"):
        cvae(SPEC)

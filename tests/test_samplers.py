"""Samplers: mixtures fitted to codes, when they are used, and how a run keeps them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.neighbors import NearestNeighbors

import zspace
from zspace.cli import main
from zspace.models import samplers
from zspace.models.samplers import CodeMixture, fit_mixture
from zspace.runs import record
from zspace.system.errors import NotMeasured, UserError

KEPT = ("fitted/mixture.json", "fitted/mixture.safetensors")


def clumps(n: int, seed: int) -> np.ndarray:
    """Codes (n, 3) in ten small groups, each axis with a scale of its own."""
    middles = np.random.default_rng(0).normal(size=(10, 3))
    random = np.random.default_rng(seed)
    z = middles[random.integers(10, size=n)] + 0.05 * random.normal(size=(n, 3))
    return (z * [1, 30, 0.01] + [0, 100, -3]).astype(np.float32)


@pytest.mark.parametrize("full", [128, 1])
def test_the_density_is_that_of_the_textbook(monkeypatch, full):
    monkeypatch.setattr(samplers, "FULL", full)
    fitted, z = fit_mixture(clumps(600, 1), clumps(200, 2)), clumps(50, 3)
    assert fitted.scale.dim() == (3 if full > 1 else 2)
    expected = np.zeros(len(z))
    for weight, mean, scale in zip(
        *(t.double().numpy() for t in (fitted.weight, fitted.mean, fitted.scale)), strict=True
    ):
        each = (
            multivariate_normal(mean, scale @ scale.T, allow_singular=True).pdf(z)
            if scale.ndim == 2
            else norm(mean, scale).pdf(z).prod(1)
        )
        expected += weight * each
    found = fitted().log_prob(torch.from_numpy(z)).exp()
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_other_codes_choose_how_many_components_there_are():
    grouped = fit_mixture(clumps(1000, 1), clumps(300, 2))
    assert len(grouped.weight) in (10, 20)
    z = np.random.default_rng(0).normal(size=(1200, 2))
    assert len(fit_mixture(z[:900], z[900:]).weight) == 1
    few = fit_mixture(clumps(90, 1), clumps(90, 2))
    assert len(few.weight) == 1  # five would have fewer than 20 codes each


def test_draws_have_the_moments_and_the_scales_of_the_codes():
    z = clumps(2000, 1)
    torch.manual_seed(0)
    made = fit_mixture(z, clumps(300, 2)).sample(4000).numpy()
    error = 4 * z.std(0) / np.sqrt(2000)
    assert (np.abs(made.mean(0) - z.mean(0)) < error).all()
    np.testing.assert_allclose(made.std(0), z.std(0), rtol=0.1)


def test_codes_that_are_maps_constant_or_too_few():
    maps = np.random.default_rng(0).normal(size=(100, 2, 3, 4)).astype(np.float32)
    maps[:, 1] = 7.0
    made = fit_mixture(maps[:80], maps[80:]).sample(5)
    assert made.shape == (5, 2, 3, 4)
    assert made.isfinite().all()
    np.testing.assert_allclose(made[:, 1], 7.0, rtol=1e-5)
    with pytest.raises(NotMeasured, match="fitted to 1 codes"):
        fit_mixture(maps[:1], maps)
    with pytest.raises(NotMeasured, match="not finite"):
        fit_mixture(maps * np.nan, maps)


def test_which_sampler_is_the_default_is_said_by_what_was_minimised(runs):
    assert {name for name, run in runs.items() if run.sampler == "mixture"} == {"ae"}


def test_a_model_without_a_prior_draws_from_its_mixture(runs):
    ae, data = runs["ae"], runs["ae"].data()
    auto, mixture, prior = (
        ae.sample(200, seed=3, sampler=name) for name in ("auto", "mixture", "prior")
    )
    assert np.array_equal(auto, mixture)
    assert not np.allclose(auto, prior)
    assert np.array_equal(auto, ae.sample(200, seed=3))
    codes = ae.encode(data.train.images()).numpy()
    near = NearestNeighbors(n_neighbors=1).fit(codes)
    torch.manual_seed(0)
    fitted, standard = ae.mixture().sample(300), torch.randn(300, *ae.model.latent)
    far = [np.median(near.kneighbors(z.numpy())[0]) for z in (fitted, standard)]
    assert far[0] < far[1]
    with pytest.raises(UserError, match=r"sampler 'gauss'.*auto, mixture, prior"):
        ae.sample(1, sampler="gauss")


@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_a_model_with_a_prior_has_a_mixture_when_it_is_asked_for(runs, name, tmp_path):
    copy = runs[name].save(tmp_path / "copy")
    shutil.rmtree(copy / "fitted", ignore_errors=True)  # another test may have measured the run
    run = zspace.load(copy)
    before = (run.path / "run.json").read_bytes()
    assert np.array_equal(run.sample(4, seed=1), run.sample(4, seed=1, sampler="prior"))
    assert not any(kept in run.place for kept in KEPT)
    made = run.sample(4, seed=1, sampler="mixture")
    assert made.shape == (4, 1, 14, 14)
    assert all(kept in run.place for kept in KEPT)
    assert (run.path / "run.json").read_bytes() == before


def test_a_run_keeps_its_mixture_and_needs_no_data_for_it(runs, tmp_path, monkeypatch):
    run = runs["ae"]
    told = json.loads((run.path / KEPT[0]).read_text())
    weights = hashlib.sha256((run.path / "model.safetensors").read_bytes()).hexdigest()
    tensors = hashlib.sha256((run.path / KEPT[1]).read_bytes()).hexdigest()
    assert (told["model"], told["tensors"]) == (weights, tensors)
    assert told["title"] == run.mixture().title
    monkeypatch.setattr(zspace.Run, "data", None)
    expected = run.sample(3, seed=0)
    for other in (zspace.load(run.path), zspace.Run.from_bytes(run.to_bytes())):
        assert np.array_equal(other.sample(3, seed=0), expected)


@pytest.mark.parametrize("harm", ["json", "safetensors", "other weights", "shape", "nan"])
def test_a_mixture_that_is_not_this_models_is_fitted_again(runs, tmp_path, harm):
    folder = Path(shutil.copytree(runs["ae"].path, tmp_path / "own"))
    expected = runs["ae"].sample(3, seed=0)
    if harm == "other weights":
        other = CodeMixture(torch.ones(1), torch.zeros(1, 3), torch.ones(1, 3), (3,))
        record.write_fitted(record.Place(folder), "mixture", "0" * 64, other.state_dict())
        assert np.array_equal(zspace.load(folder).sample(3, seed=0), expected)
        return
    if harm in ("shape", "nan"):
        mean = torch.zeros(1, 2) if harm == "shape" else torch.full((1, 3), torch.nan)
        parts = {"weight": torch.ones(1), "mean": mean, "scale": torch.ones(1, 3)}
        model = runs["ae"].record["files"]["model.safetensors"]
        record.write_fitted(record.Place(folder), "mixture", model, parts)
        with pytest.warns(UserWarning, match="give finite numbers that fit.*it is fitted again"):
            assert np.array_equal(zspace.load(folder).sample(3, seed=0), expected)
        return
    path = folder / f"fitted/mixture.{harm}"
    path.write_bytes(path.read_bytes().replace(b"Gauss", b"gauss").replace(b"mean", b"maen"))
    with pytest.warns(UserWarning, match="it is fitted again"):
        assert np.array_equal(zspace.load(folder).sample(3, seed=0), expected)
    assert np.array_equal(zspace.load(folder).sample(3, seed=0), expected)  # it is whole again


def test_training_in_memory_keeps_it_too(digits):
    options = {"latent": 2, "hidden": (8,), "epochs": 1, "quiet": True}
    run = zspace.train("ae", data=str(digits), out=False, **options)
    assert all(kept in run.place for kept in KEPT)


def test_the_command_says_where_samples_of_a_model_without_a_prior_come_from(
    runs, tmp_path, capsys
):
    def said(name: str, *more: str) -> str:
        out = str(tmp_path / "x.npz")
        assert main.run(["sample", str(runs[name].path), "-n", "3", "--out", out, *more]) == 0
        return capsys.readouterr().err

    told = said("ae")
    assert re.search(
        r"ae was told nothing .* N\(0, I\) are noise: these come from .* fitted", told
    )
    assert "--sampler mixture" in said("ae", "--sampler", "prior")
    assert said("ae", "--sampler", "mixture") == said("vae") == ""

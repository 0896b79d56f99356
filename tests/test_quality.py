"""Measures of images, against an independent library and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from assembled import tokens
from zspace.analysis.reconstruction import reconstruction_quality
from zspace.data.batches import Batches
from zspace.data.kinds.image import CAP, image_quality
from zspace.data.spec import Batch, Spec

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 11, 11), (3, 17, 40)]


def pair(shape: tuple[int, ...], noise: float = 0.2, n: int = 5) -> tuple[torch.Tensor, ...]:
    """Random images, smooth enough to have structure, and noisy copies."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=generator)
    x = (x + x.roll(1, -1) + x.roll(1, -2)) / 3
    return x, (x + noise * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_measures_are_those_of_an_independent_library(shape, noise):
    x, y = (images.double() for images in pair(shape, noise))
    found = image_quality(x, y)
    for i, (a, b) in enumerate(zip(x.numpy(), y.numpy(), strict=True)):
        ssim = structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=1.0, channel_axis=0,
        )  # fmt: skip
        assert found["ssim"][i] == pytest.approx(ssim, rel=1e-9)
        assert found["psnr"][i] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0))
        assert found["mse"][i] == pytest.approx(np.square(a - b).mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_single_precision_is_enough(shape):
    x, y = pair(shape)
    exact = image_quality(x.double(), y.double())
    for name, value in image_quality(x, y).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact[name], rtol=1e-5, atol=1e-5)


def test_autocast_is_no_matter():
    x, y = pair((1, 28, 28))
    plain = image_quality(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(image_quality(x, y), plain)


def test_flat_images_have_closed_forms():
    x, y = (torch.full((2, 1, 16, 16), value, dtype=torch.float64) for value in (0.25, 0.75))
    found = image_quality(x, y)
    assert found["mse"].tolist() == [0.25] * 2
    assert found["psnr"].tolist() == pytest.approx([10 * np.log10(4)] * 2)
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert found["ssim"].tolist() == pytest.approx([luminance] * 2, rel=1e-9)


def test_equal_images_have_a_finite_psnr():
    x, _ = pair((3, 12, 12))
    found = image_quality(x, x.clone())
    assert found["mse"].tolist() == [0] * 5
    assert found["psnr"].tolist() == pytest.approx([CAP] * 5)
    torch.testing.assert_close(found["ssim"], torch.ones(5))


@pytest.mark.parametrize("shape", [(1, 10, 28), (3, 28, 10), (1, 1, 1)])
def test_images_below_the_window_have_no_ssim(shape):
    assert list(image_quality(*pair(shape))) == ["mse", "psnr"]


def test_one_image_is_a_batch():
    x, y = pair((1, 28, 28), n=1)
    assert {name: value.shape for name, value in image_quality(x, y).items()} == dict.fromkeys(
        ("mse", "ssim", "psnr"), (1,)
    )


def batches(run, batch: int) -> Batches:
    return Batches(
        run.data().test, batch=batch, device=run.device, seed=0, classes=run.model.context,
        shuffle=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["ae", "cvae"])
@pytest.mark.parametrize("most", [7, 20, 10_000])
def test_a_model_is_measured_as_its_reconstructions_are(runs, name, most):
    run = runs[name]
    x, y = run.data().test.images()[:most], run.data().test.labels()[:most]
    wanted = image_quality(x, run.reconstruct(x, y if run.model.context else None))
    found = reconstruction_quality(run.model, batches(run, 8).epoch(0), most)
    assert list(found) == list(wanted)
    for term, value in found.items():
        assert value == pytest.approx(wanted[term].mean().item(), rel=1e-5)
    sums = found["mse"] * np.prod(run.spec.shape)
    if name == "ae" and most > len(
        run.data().test
    ):  # then the run's own squared error draws nothing
        assert sums == pytest.approx(run.result["test"]["mse"], rel=1e-5)


def test_measuring_leaves_model_and_generators_as_they_were(runs):
    model, state = runs["vae"].model, torch.get_rng_state()
    model.train()
    try:
        first = reconstruction_quality(model, batches(runs["vae"], 16).epoch(0))
        assert model.training
    finally:
        model.eval()
    assert first == reconstruction_quality(model, batches(runs["vae"], 16).epoch(0))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_what_is_no_image_has_no_measures():
    recipe = tokens(Spec((6,)))
    assert (
        reconstruction_quality(recipe.model, [Batch(torch.zeros(4, 6, dtype=torch.int64))]) == {}
    )

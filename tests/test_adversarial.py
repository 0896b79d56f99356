"""A critic beside the model: its losses, the adaptive weight, the game in the loop, and resume."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import zspace
from zspace.data.spec import Spec
from zspace.models import judge
from zspace.models.adversarial import (
    ADVERSARIAL,
    DiscriminatorLoss,
    GeneratorLoss,
    PatchDiscriminator,
)
from zspace.models.flow import Latent, Pass
from zspace.models.objective import Adaptive
from zspace.models.terms import mse
from zspace.models.zoo import gans
from zspace.runs.config import Config
from zspace.system.errors import UserError
from zspace.system.schedules import starts_at
from zspace.training.build import Build

OPTIONS = {
    "latent": 2, "net": "conv", "channels": (4, 6), "batch": 32, "epochs": 2, "device": "cpu",
    "precision": "fp32", "perceptual": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Options of a training on 320 images of 14 x 14: 8 steps an epoch."""
    x = np.random.RandomState(0).randint(0, 256, (320, 14, 14), np.uint8)
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, x=x, y=np.arange(320) % 3)
    return {"data": str(path), **OPTIONS}


def normal(mean):
    return Independent(Normal(mean, torch.ones_like(mean)), 3)


def passing(x, mean):
    return Pass(x, normal(mean), (), output=mean, likelihood=normal)


class Mean(nn.Module):
    """A critic of one number: its logits are the images' means times a weight."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.w * x.mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("loss", "tell", "fool"),
    [
        ("hinge", 0.5 * (max(0, 1 - 1.2) + (1 + 0.4)), -0.4),
        ("least-squares", 0.5 * ((1.2 - 1) ** 2 + 0.4**2), (0.4 - 1) ** 2),
    ],
)
def test_losses_of_critic_and_model_by_hand(loss, tell, fool):
    p = passing(torch.full((3, 1, 4, 4), 0.6), torch.full((2, 3, 1, 4, 4), 0.2))
    torch.testing.assert_close(
        DiscriminatorLoss(Mean(), loss)(p)["discriminator_loss"], torch.full((3,), tell)
    )
    torch.testing.assert_close(
        GeneratorLoss(Mean(), loss)(p)["generator_loss"], torch.full((3,), fool)
    )


def test_least_squares_is_half_the_squared_error_to_targets_one_and_zero():
    real, fake = torch.randn(50), torch.randn(50)
    tell, fool = ADVERSARIAL["least-squares"]
    want = 0.5 * nn.functional.mse_loss(real, torch.ones(50), reduction="none")
    want = want + 0.5 * nn.functional.mse_loss(fake, torch.zeros(50), reduction="none")
    torch.testing.assert_close(tell(real, fake), want)
    torch.testing.assert_close(fool(fake), (1 - fake) ** 2)


def test_the_critic_is_read_by_the_model_and_the_model_by_the_critic_without_gradients():
    discriminator, mean = Mean(), torch.rand(1, 3, 1, 4, 4, requires_grad=True)
    p = passing(torch.rand(3, 1, 4, 4), mean)
    GeneratorLoss(discriminator)(p)["generator_loss"].sum().backward()
    assert discriminator.w.grad is None
    assert mean.grad.any()
    mean.grad = None
    DiscriminatorLoss(discriminator)(p)["discriminator_loss"].sum().backward()
    assert discriminator.w.grad is not None
    assert mean.grad is None


def test_the_adaptive_weight_is_the_ratio_of_gradient_norms_by_hand():
    """mean = w everywhere (16 pixels), x = 1: d mse/dw = 2 * 16 (w - 1), d fool/dw = -2."""
    w = torch.tensor([0.25], requires_grad=True)
    p = passing(torch.ones(1, 1, 4, 4), w.expand(1, 1, 1, 4, 4))
    objective = Adaptive(
        [mse, GeneratorLoss(Mean())],
        {"mse": 3.0, "generator_loss": 0.5},
        adapted="generator_loss",
        last=w,
    )
    loss, report = objective(p)
    ratio = 3 * 2 * 16 * 0.75 / (2 + 1e-4)
    assert report["generator_loss_weight"].item() == pytest.approx(0.5 * ratio, rel=1e-6)
    want = 3 * 16 * 0.75**2 - 0.5 * ratio * 2 * 0.25
    assert loss.item() == pytest.approx(want, rel=1e-6)
    loss.backward()
    assert w.grad.item() == pytest.approx(-72 - 0.5 * ratio * 2, rel=1e-6)


def fooled(p):
    """Its gradients depend on image and code."""
    images = p.px.mean.square().mean((2, 3, 4)).sin()
    return {"fooled": (images * p.latents[0].z.square().sum(2)).mean(0)}


def pulled(p):
    """A term of codes, whose gradient does not pass the decoder."""
    return {"pulled": p.latents[0].z.square().mean((0, 2))}


def both(p):
    """A term of codes and of outputs."""
    return {"both": (p.px.mean.sum((2, 3, 4)) * p.latents[0].z.sum(2)).mean(0)}


@pytest.mark.parametrize(
    ("draws", "named", "scale"), [(1, True, 1.0), (3, True, 2.0**16), (3, False, 1.0)]
)
def test_the_adaptive_weight_and_every_gradient_are_those_of_the_plain_formula(
    draws, named, scale
):
    """Equation 7 of arXiv 2012.09841 with autograd alone, in float64."""
    encoder, decoder = nn.Linear(16, 3).double(), nn.Linear(3, 16).double()
    x, noise = torch.rand(5, 1, 4, 4).double(), torch.randn(draws, 5, 3).double()

    def likelihood(output):
        return normal(output.sigmoid())

    def passed():
        z = encoder(x.flatten(1)) + noise
        output = decoder(z).unflatten(2, (1, 4, 4))
        return Pass(x, likelihood(output), (Latent(z, None, None),), {}, output, likelihood)

    weights = {"mse": 0.7, "pulled": 2.0, "both": -0.3, "fooled": 0.5}
    terms, last = [mse, pulled, both, fooled], decoder.weight
    objective = Adaptive(terms, weights, adapted="fooled", last=last)
    objective.scaled = lambda loss: scale * loss
    parameters = [*encoder.parameters(), *decoder.parameters()]

    p = passed()
    parts = {name: value.mean() for term in terms for name, value in term(p).items()}
    rest = 0.7 * parts["mse"] + 2 * parts["pulled"] - 0.3 * parts["both"]
    norms = [
        torch.autograd.grad(part, last, retain_graph=True)[0].norm()
        for part in (rest, parts["fooled"])
    ]
    weight = 0.5 * norms[0] / (norms[1] + 1e-4)
    total = rest + weight * parts["fooled"]
    want = torch.autograd.grad(rest + weight.detach() * parts["fooled"], parameters)

    loss, report = objective(passed())
    loss.backward(inputs=parameters if named else None)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(report["fooled_weight"], weight, **close)
    torch.testing.assert_close(loss, total, **close)
    for parameter, wanted in zip(parameters, want, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, **close)


def test_an_adaptive_step_passes_everything_back_once():
    recipe = made()
    model, objective = recipe.model, recipe.players[0].objective
    counts = {"model": 0, "critic": 0}

    def counted(name, module):
        def note(*_):
            counts[name] += 1

        def hook(_, __, out):
            out.register_hook(note)

        module.register_forward_hook(hook)

    counted("model", model.encoder)
    counted("critic", recipe.players[1].module.body[-1])
    loss, report = objective(model(torch.rand(8, 1, 28, 28)), 0.9)
    loss.backward(inputs=list(model.parameters()))
    assert report["generator_loss_weight"] > 0
    assert counts == {"model": 1, "critic": 1}


def test_a_pass_without_the_output_of_its_decoder_has_no_adaptive_weight():
    w = torch.ones(1, requires_grad=True)
    objective = Adaptive([mse], {"mse": 1.0}, adapted="mse", last=w)
    with pytest.raises(UserError, match="this model's pass has none: give its Pass output"):
        objective(Pass(torch.ones(1, 1, 4, 4), normal(w.expand(1, 1, 1, 4, 4)), ()))


def test_without_gradients_or_before_its_start_the_adapted_term_is_only_reported():
    w = torch.tensor([0.25], requires_grad=True)
    p = passing(torch.ones(1, 1, 4, 4), w.expand(1, 1, 1, 4, 4))
    weights = {"mse": 3.0, "generator_loss": starts_at(0.5, 2.0)}
    objective = Adaptive([mse, GeneratorLoss(Mean())], weights, adapted="generator_loss", last=w)
    early, report = objective(p, 0.4)
    assert early.item() == 3 * 16 * 0.75**2
    assert (report["generator_loss"].item(), report["generator_loss_weight"].item()) == (-0.5, 0.0)
    with torch.no_grad():
        late, report = objective(p, 1.0)
    assert late.item() == 3 * 16 * 0.75**2
    assert "generator_loss_weight" not in report


def test_a_schedule_from_a_point_on():
    weight = starts_at(0.25, 3.0)
    assert [weight(t) for t in (0.0, 0.2499, 0.25, 1.0)] == [0.0, 0.0, 3.0, 3.0]
    with pytest.raises(UserError, match=r"starts at 1\.0"):
        starts_at(1.0)


@pytest.mark.parametrize(("side", "patches"), [(28, 5), (32, 6), (64, 6)])
def test_a_critic_gives_a_logit_a_patch(side, patches):
    discriminator = PatchDiscriminator((3, side, side), channels=4)
    x = torch.rand(2, 3, side, side)
    assert discriminator(x).shape == (2, 1, patches, patches)


@pytest.mark.parametrize(("layers", "width"), [(2, 34), (3, 70)])
def test_a_patch_is_as_wide_as_said(layers, width):
    discriminator = PatchDiscriminator((1, 128, 128), channels=2, layers=layers)
    discriminator.body = nn.Sequential(  # the norm sees the whole image
        *(nn.Identity() if isinstance(m, nn.GroupNorm) else m for m in discriminator.body)
    )
    x = torch.rand(1, 1, 128, 128, requires_grad=True)
    logits = discriminator(x)
    middle = logits.shape[-1] // 2
    (grad,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = grad[0, 0].any(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == width


@pytest.mark.parametrize("shape", [(1, 11, 28), (3, 8, 8)])
def test_a_critic_refuses_images_below_its_minimum(shape):
    with pytest.raises(
        UserError, match="too small for a discriminator of 2 layers, which needs 12 x 12"
    ):
        PatchDiscriminator(shape)
    PatchDiscriminator((1, 12, 12))(torch.rand(1, 1, 12, 12))


def made(**options):
    spec = Spec((1, 28, 28), tuple("0123456789"))
    choices = {"latent": 2, "net": "conv", "channels": (4, 6), "perceptual": "none", **options}
    return gans.vaegan(spec, **choices)


@pytest.mark.parametrize("loss", ["hinge", "least-squares"])
def test_every_parameter_of_model_and_critic_gets_a_gradient(loss):
    recipe = made(adversarial=loss, perceptual="none")
    model, discriminator = (player.module for player in recipe.players)
    with torch.no_grad():  # within the margins of the hinge the gradient of the last bias is 0
        discriminator.body[-1].weight.mul_(100)
    for step in range(2):  # residual branches begin at 0
        p = recipe.model(torch.rand(8, 1, 28, 28))
        for player in recipe.players:
            player.module.zero_grad()
            player.objective(p, 0.9)[0].backward()
            if step == 0:
                torch.optim.SGD(player.module.parameters(), lr=1e-3).step()
    for module in (model, discriminator):
        assert not [n for n, q in module.named_parameters() if q.grad is None or not q.grad.any()]


def trained(out, options, **more):
    return zspace.train("vaegan", out=out, quiet=True, **{**options, **more})


def test_the_kl_is_in_the_objective_and_its_weight_is_recorded(tmp_path, tiny):
    run = trained(tmp_path / "run", tiny, beta=0.25, epochs=1)
    first, second = run.record["objectives"]
    assert first == {"mse": 1.0, "kl": 0.25, "generator_loss": "0.5, adaptive"}
    assert second == {"discriminator_loss": 1.0}
    line = run.metrics[0]
    assert {
        "mse",
        "kl",
        "generator_loss",
        "generator_loss_weight",
        "discriminator_loss",
        "objective",
    } <= line["train"].keys()
    terms = line["validation"]
    assert terms["objective"] == pytest.approx(terms["mse"] + 0.25 * terms["kl"], rel=1e-5)


def test_players_start_when_they_are_told_to(tiny):
    config = Config.of("vaegan", {**tiny, "discriminator_start": 0.5, "adversarial_start": 0.75})
    fit = Build.prepare(config, quiet=True).trainer
    discriminator = fit.players[1].module
    before = {n: p.clone() for n, p in discriminator.named_parameters()}
    seen = []

    for epoch in range(fit.settings.epochs):
        for batch in fit.train.epoch(epoch):
            weight = fit.train_on(batch)["generator_loss_weight"].item()
            moved = any(not torch.equal(before[n], p) for n, p in discriminator.named_parameters())
            seen.append((moved, weight > 0))
    half, later = len(seen) // 2, len(seen) * 3 // 4
    assert seen[:half] == [(False, False)] * half
    assert seen[half:later] == [(True, False)] * (later - half)
    assert seen[later:] == [(True, True)] * (len(seen) - later)


def test_a_game_keeps_its_last_epoch_and_has_no_patience(tmp_path, tiny):
    fit = Build.prepare(
        Config.of("vaegan", {**tiny, "discriminator_start": 0.9}), quiet=True
    ).trainer
    epochs = fit.epochs()
    next(epochs)
    fit.best_objective = -1e9  # no later epoch is better than that
    assert next(epochs).best
    assert fit.best_epoch == 2
    with pytest.raises(UserError, match="patience is 3, but a game of 2 players"):
        trained(tmp_path / "other", tiny, patience=3)
    assert not (tmp_path / "other").exists()


KILLED = """
import os, signal, sys, zspace
from zspace.training.progress import Quiet

class Stop(Quiet):
    def step(self, fit):
        if fit.step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)

zspace.train("vaegan", out=sys.argv[1], reporter=Stop(), save_every=0.0, **{options!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", [6, 9], ids=["mid-epoch", "epoch"])
def test_a_killed_game_resumes_bit_for_bit(tmp_path, tiny, step):
    options = {**tiny, "adversarial_start": 0.3, "discriminator_start": 0.2}
    whole = trained(tmp_path / "whole", options)
    code = KILLED.format(step=step, options=options)
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed = zspace.training.api.resume(
        tmp_path / "run", reporter=zspace.training.progress.Quiet()
    )
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    timeless = ("seconds", "samples_per_second")
    lines = [[{k: v for k, v in line.items() if k not in timeless} for line in run.metrics]
             for run in (whole, resumed)]  # fmt: skip
    assert json.dumps(lines[0]) == json.dumps(lines[1])


def test_the_judge_is_said_aloud_and_kept_in_the_job(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("zspace.models.networks.vgg.find_weights", lambda: None)
    monkeypatch.setattr("zspace.models.judge.SAMPLES", dict.fromkeys(judge.SAMPLES, 1))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    with pytest.warns(UserWarning, match=r"weights of VGG16 are not on this machine.*classifier"):
        run = trained(tmp_path / "run", tiny, epochs=1, perceptual="auto")
    assert run.config.arguments["perceptual"] == "judge"
    assert run.record["objectives"][0]["perceptual"] == pytest.approx(0.1 * 14 * 14)
    assert run.result["test"]["perceptual"] > 0
    again = zspace.load(tmp_path / "run")  # without a judge: the model needs none
    assert np.array_equal(again.sample(3, seed=1), run.sample(3, seed=1))


def test_data_without_labels_have_no_judge():
    with pytest.raises(UserError, match=r"a judge learns from labels.*none"):
        gans.vaegan(Spec((1, 28, 28)), perceptual="judge")
    with pytest.raises(UserError, match="perceptual 'vgg' is unknown: did you mean 'vgg16'"):
        gans.vaegan(Spec((1, 28, 28)), perceptual="vgg")

"""Stacked trainings are those of each run by itself: weights, metrics, states, ends."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import assembled
import zspace
from zspace.models import recipes
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Gaussian
from zspace.models.flow import Code
from zspace.models.objective import Objective
from zspace.models.terms import mse
from zspace.runs.checkpoint import Checkpoints
from zspace.runs.config import Config
from zspace.system.errors import UserError
from zspace.training import stacked
from zspace.training.progress import Quiet
from zspace.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "hidden": (16,), "latent": 3, "epochs": 2, "batch": 64, "precision": "fp32", "device": "cpu"
}  # fmt: skip
CONV = {"net": "conv", "channels": (4, 4), "hidden": None}
UNET = {"net": "unet", "channels": (4, 8), "heads": 2, "hidden": None}
SEEDS = (0, 1, 2)


def jobs(
    data: Path, recipe: str = "ae", *, seeds: tuple[int, ...] = SEEDS, **more: Any
) -> list[Config]:
    return [Config.of(recipe, {**SMALL, "data": str(data), "seed": s, **more}) for s in seeds]


class At(Quiet):
    """A reporter that does something at one step."""

    def __init__(self, step: int, act: Callable[[Trainer], Any]) -> None:
        self.at_step, self.act = step, act

    def step(self, fit: Trainer) -> None:
        if fit.step == self.at_step:
            self.act(fit)


class PowerCut(Exception):
    """Stands for the machine going down: nothing in zspace catches it."""


def power_cut(fit: Trainer) -> None:
    raise PowerCut


def folder(out: Path, seed: int) -> Path:
    return out / f"stacked-{seed}"


def train(
    data: Path,
    out: Path,
    recipe: str = "ae",
    *,
    reporter: Quiet | None = None,
    save_every: float = 1e9,
    **more: Any,
) -> list[zspace.Run | UserError]:
    """Three runs together; the reporter is told of the second one."""
    wanted = jobs(data, recipe, **more)
    folders = [folder(out, config.training.seed) for config in wanted]
    reporters = [Quiet(), reporter or Quiet(), Quiet()][: len(wanted)]
    return stacked.start(wanted, folders, reporters, save_every)


def alone(data: Path, out: Path, recipe: str, seed: int, **more: Any) -> zspace.Run:
    options = {**SMALL, "data": str(data), "seed": seed, "quiet": True, **more}
    return zspace.train(recipe, out=out / f"alone-{seed}", **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same(one: Any, other: zspace.Run, tolerance: float = 1e-5) -> None:
    """Two runs have the same weights and the same metrics, but for rounding and the clock."""
    weights, others = one.model.state_dict(), other.model.state_dict()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], atol=tolerance, rtol=0)
    for a, b in zip(lines(one.path), lines(other.path), strict=True):
        assert (a["step"], a["lr"], a["best"]) == (b["step"], b["lr"], b["best"])
        for part in ("train", "validation"):
            assert a[part] == pytest.approx(b[part], rel=1e-4, abs=1e-3)
    assert one.record["result"]["test"] == pytest.approx(
        other.record["result"]["test"], rel=1e-4, abs=1e-3
    )


class PseudoInputs(nn.Module):
    """A prior that is q(z|u) of a learned input u; it shares the encoder with the model."""

    def __init__(self, model: Autoencoder, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.bottleneck = model.encoder, model.bottleneck
        self.u = nn.Parameter(torch.rand(1, *shape))

    def forward(self, c: torch.Tensor | None = None) -> torch.distributions.Distribution:
        q = self.bottleneck(self.encoder(self.u, c), 1).q.base_dist
        return torch.distributions.Independent(Normal(q.loc[0], q.scale[0]), 1)


def pseudo(data, latent: int = 3, hidden: tuple[int, ...] = (16,)) -> recipes.Recipe:
    made = recipes.RECIPES["vae"](data, latent=latent, hidden=hidden)
    made.model.prior = PseudoInputs(made.model, data.shape)
    return made


@pytest.fixture
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are made with the same noise everywhere and always."""

    def forward(self: Gaussian, h: torch.Tensor, samples: int = 1) -> Code:
        q = self.posterior(h)
        shape = (samples, *q.mean.shape)
        noise = torch.arange(math.prod(shape)).sin().view(shape)
        return Code(q.mean + q.stddev * noise, q)

    monkeypatch.setattr(Gaussian, "forward", forward)


def test_deterministic_models_are_those_trained_alone(digits, tmp_path):
    for seed, run in enumerate(train(digits, tmp_path)):
        same(run, alone(digits, tmp_path, "ae", seed))


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("vae", {"likelihood": "gaussian"}),  # with a parameter that is a scalar
        ("cvae", {"clip": 0.0}),
        ("beta_vae", {"free_bits": 0.1, "anneal": "warmup", "ema": 0.0}),
        ("tcvae", {}),
        ("iwae", {"likelihood": "continuous-bernoulli"}),
        ("vae", {"likelihood": "logistic-mixture"}),
        ("vae", CONV),
    ],
)
def test_models_with_the_same_draws_are_those_trained_alone(
    digits, tmp_path, no_draws, recipe, more
):
    more = {"epochs": 1, **more}
    for seed, run in enumerate(train(digits, tmp_path, recipe, seeds=(0, 1), **more)):
        same(run, alone(digits, tmp_path, recipe, seed, **more), 1e-4)


def test_buffers_that_a_model_replaces_are_those_of_each_run(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "following", assembled.following)
    for seed, run in enumerate(train(digits, tmp_path, "following")):
        same(run, alone(digits, tmp_path, "following", seed), 1e-4)
        assert run.model.bottleneck.steps == 8


def test_a_model_that_vmap_cannot_take_is_refused_before_anything_is_written(
    digits, tmp_path, monkeypatch
):
    """A prior that shares the encoder; torch's `functional_call` cannot swap one module twice."""
    monkeypatch.setitem(recipes.RECIPES, "pseudo", pseudo)
    with pytest.raises(stacked.CannotStack, match=r"cannot be stacked.*trained one by one"):
        train(digits, tmp_path, "pseudo")
    assert not list(tmp_path.iterdir())


def test_a_player_keeps_its_own_rate_moments_and_norm(digits, tmp_path, monkeypatch):
    def slow(data, latent: int = 3, hidden: tuple[int, ...] = (16,)) -> recipes.Recipe:
        made = recipes.RECIPES["ae"](data, latent=latent, hidden=hidden)
        own = {"lr": 1e-4, "betas": (0.5, 0.9), "clip": 0.5}
        return replace(made, players=(replace(made.players[0], **own),))

    monkeypatch.setitem(recipes.RECIPES, "slow", slow)
    for seed, run in enumerate(train(digits, tmp_path, "slow")):
        same(run, alone(digits, tmp_path, "slow", seed))
        assert run.record["players"][0]["lr"] == 1e-4


def test_a_term_that_reads_the_weights_of_one_model_is_refused(digits, tmp_path, monkeypatch):
    """Stacked, all models would be pulled by the weights of the first."""

    def decayed(data, latent: int = 3, hidden: tuple[int, ...] = (16,)) -> recipes.Recipe:
        model = recipes.RECIPES["ae"](data, latent=latent, hidden=hidden).model
        (weight, *_) = model.parameters()
        objective = Objective([mse, lambda p: {"decay": weight.square().sum()}], dict.fromkeys(
            ("mse", "decay"), 1.0))  # fmt: skip
        return recipes.Recipe(model, (recipes.Player(model, objective),))

    monkeypatch.setitem(recipes.RECIPES, "decayed", decayed)
    with pytest.raises(stacked.CannotStack, match="reads the weights of one model"):
        train(digits, tmp_path, "decayed")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_draws_of_each_model_are_its_own(digits, tmp_path, precision):
    """Two runs of one seed differ only by what they draw."""
    pair = jobs(digits, "vae", seeds=(0, 0), precision=precision)
    folders = [tmp_path / "a", tmp_path / "b"]
    a, b = stacked.start(pair, folders, [Quiet(), Quiet()])
    solo = alone(digits, tmp_path, "vae", 0, precision=precision).record["result"]["validation"]
    ends = [run.record["result"]["validation"] for run in (a, b)]
    assert ends[0]["objective"] != ends[1]["objective"]
    for end in ends:
        assert end["objective"] == pytest.approx(solo["objective"], rel=0.1)


def test_each_goes_on_alone_from_its_own_checkpoint(digits, tmp_path):
    with pytest.raises(PowerCut):
        train(digits, tmp_path, reporter=At(3, power_cut), save_every=0)
    for seed in SEEDS:
        run = zspace.resume(folder(tmp_path, seed), reporter=Quiet())
        same(run, alone(digits, tmp_path, "ae", seed))


def test_a_signal_stops_all_after_the_same_step(digits, tmp_path):
    told = At(5, lambda fit: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(zspace.system.signals.Interrupted, match="stopped at step 6 and saved"):
        train(digits, tmp_path, reporter=told)
    for seed in SEEDS:
        where = folder(tmp_path, seed)
        assert json.loads((where / "run.json").read_text())["status"] == "interrupted"
        state = Checkpoints(where / "state").load()
        assert state is not None
        assert state["counters"]["step"] == 6
    run = zspace.resume(folder(tmp_path, 2), reporter=Quiet())
    same(run, alone(digits, tmp_path, "ae", 2))


def test_a_run_that_is_not_finite_ends_and_the_others_go_on(digits, tmp_path):
    def spoil(fit: Trainer) -> None:
        next(fit.model.parameters()).data.fill_(float("nan"))

    first, second, third = train(digits, tmp_path, reporter=At(5, spoil))
    assert "not finite at step 6" in str(second)
    assert "the weights of epoch 1 are kept" in str(second)
    record = json.loads((folder(tmp_path, 1) / "run.json").read_text())
    assert record["status"] == "failed"
    same(first, alone(digits, tmp_path, "ae", 0))
    same(third, alone(digits, tmp_path, "ae", 2))


def test_the_order_of_each_run_is_its_own_and_a_last_smaller_batch_is_kept(digits):
    fits = [build.trainer for build in stacked.prepared(jobs(digits))]
    joint = stacked.Joint([fit.train for fit in fits])
    assert len(joint) == len(fits[0].train)
    solo = zip(*(fit.train.epoch(1) for fit in fits), strict=True)
    for batch, each in zip(joint.epoch(1), solo, strict=True):
        assert torch.equal(batch.x, torch.cat([b.x for b in each]))


@pytest.mark.parametrize(
    ("recipe", "more", "why"),
    [
        ("vaegan", {"perceptual": "none"}, "game"),
        ("vae", UNET, "unet"),
        ("vae", {"patience": 2}, "patience"),
        ("vae", {"compile": "auto"}, "compile"),
    ],
)
def test_what_cannot_go_together_says_so_and_writes_nothing(digits, tmp_path, recipe, more, why):
    with pytest.raises(stacked.CannotStack, match=why):
        train(digits, tmp_path, recipe, **more)
    assert not list(tmp_path.iterdir())


def test_only_seeds_may_differ(digits, tmp_path):
    one, other = jobs(digits, seeds=(0, 1))
    (wide,) = jobs(digits, seeds=(0,), batch=32)
    assert stacked.alike(one, other)
    assert not stacked.alike(one, wide)
    with pytest.raises(stacked.CannotStack, match="seed alone"):
        stacked.start([one, wide], [tmp_path / "a", tmp_path / "b"], [Quiet(), Quiet()])


def test_a_folder_that_exists_is_left_alone_and_the_others_are_not_made(digits, tmp_path):
    folder(tmp_path, 1).mkdir()
    (folder(tmp_path, 1) / "precious").touch()
    with pytest.raises(UserError, match="exists already"):
        train(digits, tmp_path)
    assert (folder(tmp_path, 1) / "precious").exists()
    assert not folder(tmp_path, 0).exists()

"""One contract over all recipes, and over models assembled in the tests from the same parts."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import assembled
from zspace.data.spec import Batch, Spec
from zspace.models.objective import Objective
from zspace.models.recipes import RECIPES, Player, Recipe, choices_of
from zspace.runs.settings import Settings
from zspace.system.errors import UserError
from zspace.training.optimizer import copied
from zspace.training.trainer import Trainer

N, STEPS = 96, 40
IMAGES = Spec((1, 6, 6), ("a", "b", "c"))
LARGER = Spec((1, 12, 12), ("a", "b", "c"))  # a critic has a minimum
WINDOWS = Spec((7, 3), ("a", "b", "c"), missing=True, kind="series")
TEXT = Spec((7,), ("a", "b", "c"), kind="tokens", vocabulary=7)


@dataclass(frozen=True)
class Case:
    build: Callable[[Spec], Recipe]
    spec: Spec
    x: Callable[[Spec], Tensor]


def images(spec: Spec) -> Tensor:
    """Images of rank three: something a small code can hold."""
    flat = torch.randn(N, 3) @ torch.randn(3, math.prod(spec.shape))
    return torch.sigmoid(3 * flat).reshape(N, *spec.shape)


def sequences(spec: Spec) -> Tensor:
    """Tokens that count up from a random start."""
    return (torch.randint(5, (N, 1)) + torch.arange(spec.shape[0])) % 5


def columns(spec: Spec) -> Tensor:
    """A table of rank two with a fifth of its cells missing."""
    x = torch.randn(N, 2) @ torch.randn(2, spec.shape[0])
    return torch.where(torch.rand_like(x) < 0.2, torch.nan, x)


def windows(spec: Spec) -> Tensor:
    """Series of rank three with a fifth of their elements missing."""
    x = torch.randn(N, 3) @ torch.randn(3, math.prod(spec.shape))
    return torch.where(torch.rand_like(x) < 0.2, torch.nan, x).reshape(N, *spec.shape)


def texts(spec: Spec) -> Tensor:
    """Tokens that count up from a random start, until an end at a random place."""
    x = 2 + (torch.randint(5, (N, 1)) + torch.arange(spec.shape[0])) % 5
    over = torch.arange(spec.shape[0]) - torch.randint(2, spec.shape[0] + 1, (N, 1))
    return x.masked_fill(over == 0, 0).masked_fill(over > 0, -1)


OWN = {"vaegan": {"perceptual": "none"}}
SMALL = {
    "auto": {"net": "mlp", "hidden": (32,)},
    "conv": {"channels": (16, 16)},
    "unet": {"channels": (16, 16), "heads": 1},
}


def narrow(name: str) -> Callable[[Spec], Recipe]:
    """The recipe with a small code and small networks of the kind that it declares."""
    net = choices_of(RECIPES[name]).network["net"].default
    return lambda spec: RECIPES[name](spec, latent=4, **SMALL[net], **OWN.get(name, {}))


CASES = {name: Case(narrow(name), IMAGES, images) for name in RECIPES}
CASES["vaegan"] = Case(narrow("vaegan"), LARGER, images)


def stepped(name: str, net: str, **more: Any) -> Callable[[Spec], Recipe]:
    """The recipe with a small code and a small network for series and tokens."""
    options = {"latent": 4, "net": net, "width": 16, "blocks": 2, **more}
    return lambda spec: RECIPES[name](spec, **options)


CASES["sentence_vae"] = Case(stepped("sentence_vae", "gru"), TEXT, texts)
CASES |= {
    "series, vae": Case(stepped("vae", "temporal"), WINDOWS, windows),
    "series, ae": Case(stepped("ae", "gru"), WINDOWS, windows),
    "series, cvae": Case(stepped("cvae", "transformer"), WINDOWS, windows),
    "series, iwae": Case(stepped("iwae", "gru", likelihood="channels-student"), WINDOWS, windows),
    "tokens, vae": Case(stepped("vae", "temporal"), TEXT, texts),
    "tokens, ae": Case(stepped("ae", "gru"), TEXT, texts),
    "tokens, cvae": Case(stepped("cvae", "transformer"), TEXT, texts),
    "tokens, iwae": Case(stepped("iwae", "temporal", decoder="parallel"), TEXT, texts),
    "tokens, sentence_vae": Case(stepped("sentence_vae", "transformer"), TEXT, texts),
}
CASES |= {
    "vq": Case(assembled.vq, IMAGES, images),
    "following": Case(assembled.following, IMAGES, images),
    "flow_prior": Case(assembled.flow_prior, IMAGES, images),
    "ladder": Case(assembled.ladder, IMAGES, images),
    "tokens": Case(assembled.tokens, Spec((7,)), sequences),
    "table": Case(assembled.table, Spec((6,)), columns),
}


@dataclass
class Fixed:
    """The same few batches every epoch."""

    x: Tensor
    c: Tensor | None

    def __len__(self) -> int:
        return 4

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for rows in torch.arange(N).chunk(4)[start:]:
            yield Batch(self.x[rows], None if self.c is None else self.c[rows])

    def at_random(self, batch: int) -> Fixed:
        return self


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Recipe, Tensor, Tensor | None]:
    chosen = CASES[request.param]
    torch.manual_seed(0)
    x, recipe = chosen.x(chosen.spec), chosen.build(chosen.spec)
    labels = torch.arange(N) % max(1, len(chosen.spec.classes))
    c = torch.eye(3)[labels] if recipe.model.context else None
    return recipe, x, c


def fit(recipe: Recipe, x: Tensor, c: Tensor | None) -> Trainer:
    plain = {"betas": (0.9, 0.95), "clip": 0.0, "ema": 0.0, "warmup": 0.05}
    settings = Settings(epochs=STEPS // 4, lr=5e-3, precision="fp32", device="cpu", **plain)
    return Trainer(recipe.model, recipe.players, Fixed(x, c), Fixed(x, c), settings)


def test_objective_falls_in_forty_steps(case):
    epochs = list(fit(*case).epochs())
    assert epochs[-1].step == STEPS
    first, last = epochs[0].train["objective"], epochs[-1].validation["objective"]
    assert last < first - 0.05 * abs(first)


def test_pass_has_the_documented_shapes(case):
    recipe, x, c = case
    for samples in (1, 3):
        p = recipe.model(x, c, samples)
        assert p.px.batch_shape == (samples, N)
        assert p.px.log_prob(x).shape == (samples, N)
        for level in p.latents:
            assert level.z.shape[:2] == (samples, N)
            assert level.q is None or level.q.batch_shape == (N,)


def test_terms_are_a_number_a_sample_or_one(case):
    recipe, x, c = case
    values = recipe.players[0].objective.values(recipe.model(x, c))
    assert all(value.shape in ((N,), ()) for value in values.values())
    assert all(value.isfinite().all() for value in values.values())


def test_gradient_reaches_every_parameter(case):
    recipe, x, c = case
    with torch.no_grad():
        for p in recipe.model.parameters():  # the last layer of a residual branch begins at 0
            p.add_(0.01 * torch.randn_like(p))
    for player in recipe.players:
        objective = player.objective
        loss, _ = objective(recipe.model(x, c, objective.samples))
        loss.backward()
    still = [
        name
        for name, p in recipe.model.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert still == []


def test_encode_is_deterministic_and_shaped(case):
    recipe, x, c = case
    a, b = recipe.model.encode(x, c), recipe.model.encode(x, c)
    assert torch.equal(a, b)
    assert a.shape == (N, *recipe.model.latent)


def test_decode_and_sample_have_the_shape_of_data(case):
    recipe, x, c = case
    z = recipe.model.encode(x, c)
    assert recipe.model.decode(z, c).sample().shape == x.shape
    assert recipe.model.sample(N, c).sample().shape == x.shape


@pytest.mark.parametrize("name", ["vq", "following"])
def test_discrete_codes_are_decoded_where_others_are_given(name):
    """What is between codes, a draw of N(0, I) say, is no code, and no model was trained on it."""
    model = CASES[name].build(IMAGES).model.eval()
    z = torch.randn(50, 4)
    near = model.bottleneck.nearest(z)
    assert not torch.equal(z, near)
    assert torch.equal(model.bottleneck.snap(near), near)
    assert torch.equal(model.decode(z).mean, model.decode(near).mean)
    seen = []
    model.decoder.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    model.sample(20)
    assert torch.equal(seen[0], model.bottleneck.nearest(seen[0]))


def test_weights_saved_and_loaded_encode_alike(case):
    recipe, x, c = case
    weights = {k: v.clone() for k, v in recipe.model.state_dict().items()}
    before = recipe.model.encode(x, c)
    with torch.no_grad():
        for p in recipe.model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    assert not torch.equal(recipe.model.encode(x, c), before)
    recipe.model.load_state_dict(weights)
    assert torch.equal(recipe.model.encode(x, c), before)


def test_training_put_on_hold_equals_one_without(case):
    recipe, x, c = case
    start = [copy.deepcopy(player.module.state_dict()) for player in recipe.players]
    straight = fit(recipe, x, c)
    torch.manual_seed(1)
    list(straight.epochs())
    whole = {k: v.clone() for k, v in recipe.model.state_dict().items()}

    for player, weights in zip(recipe.players, start, strict=True):
        player.module.load_state_dict(weights)
    first = fit(recipe, x, c)
    torch.manual_seed(1)
    next(first.epochs())
    state = copy.deepcopy(first.state())
    torch.manual_seed(99)
    second = fit(recipe, x, c)
    second.load_state(state)
    list(second.epochs())
    assert all(torch.equal(whole[k], v) for k, v in recipe.model.state_dict().items())


def game(**second: Any) -> tuple[Trainer, nn.Module]:
    """An autoencoder and a watcher that minimises (w - 1)^2 with a rate of its own."""
    torch.manual_seed(0)
    recipe, watcher = RECIPES["ae"](IMAGES, latent=4, hidden=(8,)), nn.Linear(1, 1, bias=False)
    watches = Objective([lambda p: {"away": (watcher.weight - 1).square().sum()}], {"away": 1.0})
    players = (*recipe.players, Player(watcher, watches, **second))
    batches = Fixed(images(IMAGES), None)
    settings = Settings(epochs=3, lr=1e-3, precision="fp32", device="cpu", schedule="constant")
    return Trainer(recipe.model, players, batches, batches, settings), watcher


def test_one_step_gives_every_term_and_is_counted(case):
    trainer = fit(*case)
    trainer.model.train()
    before = copied(trainer.model)
    terms = trainer.train_on(next(trainer.train.epoch(0)))
    assert terms.keys() >= {
        "objective",
        *(n for p in trainer.players for n in p.objective.weights),
    }
    assert all(value.shape == () for value in terms.values())
    assert (trainer.step, trainer.position) == (1, 1)
    assert any(not torch.equal(before[k], v) for k, v in trainer.model.state_dict().items())


def test_a_player_has_its_own_rate_moments_and_norm():
    trainer, watcher = game(lr=0.25, betas=(0.0, 0.0), clip=0.0)
    start = watcher.weight.item()
    batch = next(trainer.train.epoch(0))
    trainer.train_on(batch)
    rate = trainer.settings.rate(0.5 / 12) / trainer.settings.lr  # of its peak: warm-up is shared
    decayed = start * (1 - 0.25 * rate * trainer.settings.weight_decay)
    # Without memory of gradients AdamW takes the step of their sign.
    assert watcher.weight.item() == pytest.approx(decayed + 0.25 * rate, abs=1e-5)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 * rate)
    small, _ = game(clip=1e-3)
    small.train_on(batch)
    (moment,) = small.optimizers[1].state.values()
    assert moment["exp_avg"].abs().item() == pytest.approx(1e-3 * (1 - 0.8), rel=1e-2)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_player_takes_several_steps_per_step_of_the_model(steps):
    trainer, watcher = game(lr=0.1, betas=(0.0, 0.0), steps=steps, start=0.25)
    weight = watcher.weight.item()
    for _ in trainer.epochs():
        pass
    assert {int(s["step"]) for s in trainer.optimizers[0].state.values()} == {12}
    assert {int(s["step"]) for s in trainer.optimizers[1].state.values()} == {9 * steps}
    assert watcher.weight.item() != weight


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "a player's steps is 0: use a whole number >= 1"),
        ({"lr": -1.0}, "a player's lr is -1.0"),
        ({"betas": (0.5, 1.0)}, "a player's betas is"),
        ({"betas": (0.5,)}, "a player's betas is"),
        ({"start": 1.0}, "a player's start is 1.0"),
        ({"clip": -1.0}, "a player's clip is -1.0"),
    ],
)
def test_a_player_with_a_number_out_of_range_is_a_sentence(wrong, said):
    with pytest.raises(UserError, match=re.escape(said)):
        game(**wrong)


def test_a_game_may_name_the_term_that_chooses_its_best_epoch():
    last, named = game()[0], game()[0]
    first = (replace(named.players[0], steps=2), named.players[1])
    with pytest.raises(UserError, match="steps of the first player is 2"):
        Trainer(named.model, first, named.train, named.validation, named.settings)
    chosen = Trainer(
        named.model, named.players, named.train, named.validation,
        replace(named.settings, patience=1, lr=0.3), best="mse",
    )  # fmt: skip
    lines = list(chosen.epochs())
    values = [line.validation["mse"] for line in lines]
    assert chosen.best_epoch == 1 + values.index(min(values))
    assert [line.best for line in last.epochs()] == [True] * 3
    with pytest.raises(UserError, match=r"'mze'.* did you mean 'mse'.*mse, objective"):
        Trainer(named.model, named.players, named.train, named.validation, named.settings,
                best="mze")  # fmt: skip
    with pytest.raises(UserError, match="patience is 2, but a game of 2 players"):
        Trainer(named.model, named.players, named.train, named.validation,
                replace(named.settings, patience=2))  # fmt: skip

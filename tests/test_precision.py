"""Half precision is of the networks alone: codes, distributions and terms are float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

import zspace
from test_contract import CASES, N
from zspace.data.kinds import image
from zspace.data.spec import Spec
from zspace.models import judge, vaegan
from zspace.models.recipes import RECIPES, Recipe
from zspace.system.errors import UserError
from zspace.training.trainer import Trainer

LOSS, LENGTH, COSINE = 0.02, 0.1, 0.98
"""How far bf16 may be from fp32: relative, of losses and of the gradients' lengths, and the least
cosine of the gradients."""


@pytest.fixture(params=RECIPES)
def case(request: pytest.FixtureRequest) -> tuple[Recipe, Tensor, Tensor | None]:
    """A recipe, x and c."""
    chosen = CASES[request.param]
    torch.manual_seed(0)
    recipe = chosen.build(chosen.spec)
    return (
        recipe,
        chosen.x(chosen.spec),
        torch.eye(3)[torch.arange(N) % 3] if recipe.model.context else None,
    )


def step(
    recipe: Recipe, x: Tensor, c: Tensor | None, *, half: bool
) -> list[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Of each player: loss, gradients as one vector, terms; the pass alone is under autocast."""
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        p = recipe.model(x, c, recipe.players[0].objective.samples)
    found = []
    for player in recipe.players:
        loss, terms = player.objective(p, 0.5)
        own = [w for w in player.module.parameters() if w.requires_grad]
        gradients = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
        both = zip(gradients, own, strict=True)
        flat = parameters_to_vector([torch.zeros_like(w) if g is None else g for g, w in both])
        found.append((loss.detach(), flat, terms))
    return found


def test_bf16_gives_the_losses_and_gradients_of_fp32_within_bounds(case):
    for (loss, gradient, _), (near, other, terms) in zip(
        step(*case, half=False), step(*case, half=True), strict=True
    ):
        assert all(value.dtype == torch.float32 for value in terms.values())
        assert float((near - loss).abs()) <= LOSS * max(1.0, float(loss.abs()))
        assert float(other.norm() / gradient.norm()) == pytest.approx(1, abs=LENGTH)
        assert float(torch.cosine_similarity(gradient, other, dim=0)) >= COSINE


def test_codes_and_distributions_are_float32_under_autocast(case):
    recipe, x, c = case
    with torch.autocast("cpu", torch.bfloat16):
        p = recipe.model(x, c, 1)
        z = recipe.model.encode(x, c)
    assert p.dtype == torch.bfloat16
    assert {level.z.dtype for level in p.latents} | {z.dtype} == {torch.float32}
    assert p.px.log_prob(p.x).dtype == torch.float32
    assert recipe.model(x, c, 1).dtype is None


def test_the_networks_of_terms_compute_in_the_format_of_the_pass():
    seen: list[torch.dtype] = []
    spec = Spec((1, 16, 16), ("a", "b"))
    recipe = vaegan(spec, latent=2, net="mlp", hidden=(8,), perceptual="judge")
    features = judge.Judge(judge.Classifier(spec.shape, 2).fuse(), {})
    recipe.feature_networks[0].network = features

    def look(layer: Any, given: Any, out: Tensor) -> None:
        seen.append(out.dtype)

    rival = recipe.players[1].module
    for module in (*rival.modules(), *features.modules()):
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(look)
    for half, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        seen.clear()
        results = step(recipe, torch.rand(4, *spec.shape), None, half=half)
        assert set(seen) == {dtype}
        assert all(v.dtype == torch.float32 for _, _, terms in results for v in terms.values())


def test_tf32_is_refused_without_a_gpu(digits):
    with pytest.raises(UserError, match=r"^tf32 needs an NVIDIA GPU, but the device is cpu: use"):
        zspace.train("ae", data=str(digits), out=False, quiet=True, precision="tf32", device="cpu")


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_tf32_is_on_while_a_training_asks_for_it_and_off_in_its_measures(
    precision, digits, monkeypatch
):
    def is_on() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    seen: dict[str, set[tuple[bool, bool]]] = {"step": set(), "measure": set()}
    step, windows = Trainer.train_on, image._windows

    def noted_step(*args: Any) -> Any:
        seen["step"].add(is_on())
        return step(*args)

    def noted_windows(*args: Any) -> Any:
        seen["measure"].add(is_on())
        return windows(*args)

    torch.backends.cudnn.allow_tf32 = True  # torch's default
    monkeypatch.setattr("zspace.training.build.pick_precision", lambda name, device: name)
    monkeypatch.setattr(Trainer, "train_on", noted_step)
    monkeypatch.setattr(image, "_windows", noted_windows)
    zspace.train(
        "ae", data=str(digits), out=False, quiet=True, hidden=(8,), epochs=1, precision=precision
    )
    assert seen == {"step": {(precision == "tf32",) * 2}, "measure": {(False, False)}}
    assert is_on() == (False, False)

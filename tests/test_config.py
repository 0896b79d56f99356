"""Groups of options, recipes from elsewhere, priors as a choice, and what parts say of a model."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import zspace
from zspace.data import Spec
from zspace.models import (
    Gaussian,
    Objective,
    Pass,
    Player,
    Point,
    Recipe,
    cvae,
    iwae,
    recipes,
    vae,
)
from zspace.models.flow import Code
from zspace.models.likelihoods import LIKELIHOODS, Likelihood, SquaredError
from zspace.models.networks.choices import NETS
from zspace.models.networks.conv import ConvEncoder
from zspace.models.recipes import assemble, choices_of, one_player, traits
from zspace.models.terms import kl, mse
from zspace.runs.config import Config
from zspace.system.schedules import warmup as growing
from zspace.training.progress import Quiet

SPEC = Spec((1, 8, 8), classes=("a", "b"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Recipes, imported modules and the path of imports as they were, after the test."""
    monkeypatch.setattr(recipes, "RECIPES", dict(recipes.RECIPES))
    monkeypatch.setattr(recipes, "IMPORTED", list(recipes.IMPORTED))
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield recipes.RECIPES
    for name in set(sys.modules) - modules:
        if name.startswith("mine"):
            del sys.modules[name]


# Groups of options


def annealed(data: Spec, latent: int = 2, warmup: float = 0.3, size: int = 512) -> Recipe:
    """VAE whose KL grows over the first part of training."""
    model = assemble(data, Gaussian(latent), net={"hidden": (size // 64,)})
    return one_player(model, kl, weights={"kl": growing(until=warmup)}, title="annealed VAE")


def test_an_option_with_a_reserved_name_is_the_recipes_own(registry):
    zspace.recipe(annealed)
    config = Config.of("annealed", {"warmup": 0.5}, {"warmup": 0.25})
    assert config.recipe_options == {"latent": 2, "warmup": 0.25, "size": 512}
    assert config.training.warmup == 0.5
    assert config.data.size is None
    same = Config.of("annealed", {"warmup": 0.5, "recipe.warmup": 0.25})
    assert same == config
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_default_under_a_reserved_name_stays_its_own(registry):
    zspace.recipe(annealed)
    config = Config.of("annealed", {})
    assert (config.recipe_options["warmup"], config.training.warmup) == (0.3, None)


def test_clashing_options_survive_the_folder_and_are_told(digits, tmp_path, registry, capsys):
    zspace.recipe(annealed)
    run = zspace.train(
        "annealed", data=str(digits), epochs=1, out=tmp_path / "run", recipe_options={"size": 128}
    )
    told = capsys.readouterr().err
    assert "recipe.warmup" in told
    assert "recipe.size" in told
    for again in (zspace.load(run.path), zspace.repeat(run.path, out=tmp_path / "r",
                                                        reporter=Quiet())):  # fmt: skip
        assert again.config.recipe_options == {"latent": 2, "warmup": 0.3, "size": 128}
        assert again.objective.weight("kl", 0.15) == pytest.approx(0.5)


def test_unknown_options_of_either_group_name_the_nearest():
    with pytest.raises(zspace.UserError, match=r"option of recipe vae 'latnt'.*'latent'"):
        Config.of("vae", {"latnt": 3})
    with pytest.raises(zspace.UserError, match=r"'beta' is unknown: use .*beta-vae or tcvae"):
        Config.of("vae", {"beta": 2.0})
    with pytest.raises(zspace.UserError, match=r"option of recipe vae 'epochs' is unknown"):
        Config.of("vae", {}, {"epochs": 3})


def deep(data: Spec, latent: int = 2, net: str = "conv", blocks: int = 7, **more: Any) -> Recipe:
    """VAE with deep convolutions by default."""
    return vae(data, latent=latent, net=net, blocks=blocks, **more)


def test_a_recipe_has_defaults_of_its_own_for_networks(registry):
    zspace.recipe(deep)
    config = Config.of("deep", {"channels": (4, 8)})
    assert config.network["net"] == "conv"
    assert config.network["blocks"] == 7
    assert "heads" not in config.network
    model = recipes.find("deep")(SPEC, **config.arguments).model
    assert isinstance(model.encoder, ConvEncoder)
    full = Config.of("deep", {"net": "mlp", "hidden": (16,)})
    assert full.network == {"net": "mlp", "hidden": (16,), "activation": "gelu"}
    assert recipes.find("deep")(SPEC, **{**full.arguments, "blocks": None}).model.latent == (2,)


def test_what_is_left_open_of_a_network_is_decided_by_the_data_and_recorded():
    colours, digits = zspace.Spec((3, 32, 32)), zspace.Spec((1, 28, 28))
    taken = Config.of("vae", {}).on(colours)
    assert taken.network == {
        "net": "conv", "hidden": (), "channels": (16, 32), "blocks": 1, "stem": "strided",
        "up": "transposed", "code": "flat",
    }  # fmt: skip
    assert taken.on(digits) == taken
    grey = Config.of("vae", {"net": "conv", "up": "nearest"}).on(digits).network
    assert (grey["hidden"], grey["blocks"], grey["up"]) == ((512,), 1, "nearest")
    assert Config.of("vae", {}).on(digits).network["net"] == "mlp"
    full = Config.of("vae", {"net": "conv", "stem": "full"}).on(colours).network
    assert (full["channels"], full["up"], full["hidden"]) == ((32, 64, 128), "nearest", None)


def test_a_choice_that_the_net_does_not_read_is_refused(registry):
    config = Config.of("vae", {"blocks": 3})
    with pytest.raises(
        zspace.UserError, match=r"--net mlp has no such choice.*--net conv or unet"
    ):
        vae(SPEC, **config.arguments)


# Recipes from elsewhere


MINE = """
import zspace
from zspace.data import Spec
from zspace.models import vae


@zspace.recipe
def my_vae(data: Spec, latent: int = 4, size: int = 16) -> zspace.Recipe:
    \"\"\"Mine.\"\"\"
    return vae(data, latent=latent, hidden=(size,))
"""


@pytest.fixture
def elsewhere(tmp_path: Path, digits: Path) -> Path:
    (tmp_path / "mine_own.py").write_text(MINE)
    return tmp_path


def command(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "zspace", *map(str, args)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_a_recipe_of_ones_own_has_a_command_and_its_run_says_what_it_needs(elsewhere, digits):
    own = ("--import", "mine_own.py")
    small = ("--data", digits, "--epochs", 1, "--recipe.size", 8)
    done = command(elsewhere, "train", "my-vae", *own, *small, "--out", "run", "--quiet")
    assert done.returncode == 0, done.stderr
    config = json.loads((elsewhere / "run" / "run.json").read_text())["config"]
    assert config["recipe_options"] == {"latent": 4, "size": 8}
    content = (elsewhere / "mine_own.py").read_bytes()
    assert config["source"] == {
        "module": "mine_own",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert command(elsewhere, "sample", "run", *own).returncode == 0
    lost = command(elsewhere, "sample", "run")
    assert lost.returncode == 2
    assert "--import mine_own.py" in lost.stderr
    (elsewhere / "mine_own.py").write_text(MINE.replace("Mine.", "Still mine."))
    changed = command(elsewhere, "--import=mine_own", "sample", "run")
    assert changed.returncode == 0
    assert "has changed since the run was trained" in changed.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere.py", "is not a file"),
        ("no.such.module", "cannot be imported"),
        ("broken.py", "cannot be imported .*SyntaxError"),
    ],
)
def test_what_cannot_be_imported_is_a_sentence(tmp_path, registry, monkeypatch, target, words):
    (tmp_path / "broken.py").write_text("def (")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zspace.UserError, match=words):
        recipes.import_recipes(target)


def test_installed_packages_announce_recipes(tmp_path, registry, monkeypatch):
    (tmp_path / "mine_packaged.py").write_text(MINE.replace("my_vae", "packaged_vae"))
    facts = tmp_path / "mine-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "[zspace.recipes]\nmine = mine_packaged\n"
    (facts / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert recipes.find("packaged-vae")(SPEC).model.latent == (4,)


@pytest.mark.slow
def test_a_study_trains_recipes_of_ones_own_in_other_processes(elsewhere, digits):
    args = ("--data", digits, "--latent", 2, "--jobs", 2, "--seeds", 2, "--quiet")
    more = ("--set", "epochs=1", "recipe.size=8", "--out", "s", "--import", "mine_own.py")
    done = command(elsewhere, "study", "my-vae", *args, *more)
    assert done.returncode == 0, done.stderr
    study = json.loads((elsewhere / "s" / "study.json").read_text())
    assert [run["status"] for run in study["runs"]] == ["finished", "finished"]


# Priors


@pytest.mark.parametrize("prior", ["mixture", "flow"])
@pytest.mark.parametrize("build", [vae, cvae, iwae])
def test_every_recipe_with_a_q_takes_a_prior(build, prior):
    torch.manual_seed(0)
    recipe = build(SPEC, latent=3, hidden=(16,), prior=prior)
    x, c = torch.rand(6, 1, 8, 8), torch.eye(2)[torch.arange(6) % 2]
    told = c if recipe.model.context else None
    objective = recipe.players[0].objective
    loss, _ = objective(recipe.model(x, told, objective.samples))
    loss.backward()
    assert all(p.grad is not None for p in recipe.model.prior.parameters())
    assert recipe.model.sample(5, told[:5] if told is not None else None).mean.shape[0] == 5


def test_a_mixture_equals_its_density_by_hand():
    from scipy.stats import norm

    from zspace.models.priors import Mixture

    torch.manual_seed(1)
    prior, z = Mixture(2, components=3).double(), torch.randn(7, 2, dtype=torch.float64)
    parts = norm(prior.mean.detach().numpy(), prior.log_scale.exp().detach().numpy())
    density = parts.pdf(z[:, None].numpy()).prod(2).mean(1)
    torch.testing.assert_close(prior().log_prob(z).exp(), torch.from_numpy(density))


def test_wrong_priors_are_refused():
    with pytest.raises(zspace.UserError, match=r"prior 'mixtur' is unknown.*'mixture'"):
        vae(SPEC, prior="mixtur")
    with pytest.raises(zspace.UserError, match="a flow is a prior over flat codes"):
        vae(SPEC, net="conv", channels=(4, 8), code="spatial", prior="flow")


# What parts say


class Laplace(Likelihood):
    """Laplace elements of scale 1."""

    params = 1

    def forward(self, h: Tensor, event: int) -> torch.distributions.Independent:
        base = torch.distributions.Laplace(torch.sigmoid(h), torch.ones_like(h))
        return torch.distributions.Independent(base, event)


def test_a_new_likelihood_is_a_choice_at_once(monkeypatch):
    monkeypatch.setitem(LIKELIHOODS, "laplace", Laplace)
    assert "laplace" in choices_of(vae).own["likelihood"].annotation.__origin__.__args__
    recipe = vae(SPEC, likelihood="laplace", hidden=(8,))
    assert recipe.players[0].objective.reconstruction == "nll"


def test_a_new_network_is_a_choice_at_once(monkeypatch):
    monkeypatch.setitem(NETS, "plain", NETS["mlp"])
    assert "plain" in choices_of(vae).network["net"].annotation.__origin__.__args__
    assert vae(SPEC, net="plain", hidden=(8,)).model.latent == (20,)


def told(p: Pass) -> dict[str, Tensor]:
    return {"told": p.latents[0].z.square().mean(0).sum(1)}


def test_traits_come_from_the_parts():
    def of(recipe: Recipe) -> Any:
        return traits(recipe, recipe.model(torch.zeros(1, 1, 8, 8), _context(recipe)))

    plain = of(recipes.find("ae")(SPEC, hidden=(8,)))
    assert (plain.variational, plain.conditional, plain.placed) == (False, False, False)
    conditional = of(cvae(SPEC, hidden=(8,), prior="mixture"))
    assert conditional.variational
    assert conditional.conditional
    assert not conditional.standard
    assert conditional.prior == "a mixture of 10 Gaussians"
    model = assemble(SPEC, Point(2), net={"hidden": (8,)})
    placed = of(one_player(model, told, weights={"told": 1.0}, title="WAE"))
    assert placed.placed
    assert placed.standard
    assert not placed.variational


def _context(recipe: Recipe) -> Tensor | None:
    return torch.eye(2)[:1] if recipe.model.context else None


def test_a_discrete_code_says_so():
    class Rounded(Point):
        discrete = True

        def forward(self, h: Tensor, samples: int = 1) -> Code:
            return Code(h.round().expand(samples, *h.shape))

    model = assemble(SPEC, Rounded(2), likelihood=SquaredError(), net={"hidden": (8,)})
    recipe = Recipe(model, (Player(model, Objective([mse], {"mse": 1.0})),))
    assert traits(recipe, model(torch.zeros(1, 1, 8, 8))).discrete


def test_objectives_know_their_terms():
    objective = iwae(SPEC, hidden=(8,)).players[0].objective
    assert objective.reconstruction == "mse"
    assert objective.of_role("bound") == ["iwae"]
    assert objective.minimised() == {"iwae": 1.0}
    assert objective.bound({"mse": 9.0, "iwae": 5.0, "kl": 1.0}) == 5.0
    binary = vae(SPEC, likelihood="bernoulli", hidden=(8,)).players[0].objective
    assert binary.bound({"bce": 4.0, "kl": 1.5}) == 5.5
    assert vae(SPEC, hidden=(8,)).players[0].objective.bound({"mse": 4.0, "kl": 1.5}) is None
    own = Objective([mse, told], {"mse": 1.0, "told": 0.1})
    assert own.facts["told"].title == "told"
    assert own.facts["mse"].title == "squared error"


def test_titles_are_given():
    given = {name: recipes.RECIPES[name] for name in ("vae", "beta_vae", "tcvae", "iwae")}
    titles = [build(SPEC, hidden=(8,)).title for build in given.values()]
    assert titles == ["VAE", "beta-VAE", "beta-TCVAE", "IWAE"]


def test_code_in_docstrings_of_recipes_says_who_one_is():
    assert textwrap.dedent(recipes.about("vae")).startswith("Variational autoencoder")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"net": "conv", "channels": 16}, "channels is 16: give several numbers, for example (16"),
        ({"net": "conv", "channels": (16, "a")}, "channels is 'a': give a whole number"),
        ({"net": "mlp", "channels": 16}, "channels is 16: give several numbers"),
        ({"net": "conv", "blocks": "x"}, "blocks is 'x': give a whole number, for example 1"),
        ({"net": "gru", "width": 2.5}, "width is 2.5: give a whole number, for example 1"),
        ({"hidden": 5}, "hidden is 5: give several numbers, for example (256, 256)"),
        ({"word_dropout": "much"}, "word_dropout is 'much': give a number, for example 0.5"),
    ],
)
def test_a_choice_that_may_be_left_open_has_a_kind(options, said):
    with pytest.raises(zspace.UserError, match=re.escape(said)):
        Config.of("vae", options)
    assert Config.of("vae", {**dict.fromkeys(options), "net": "auto"})

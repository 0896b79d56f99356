"""Recipes: every named model, a choice of parts. A recipe's signature is its configuration.

A recipe is a function ``(data: Spec, **choices) -> Recipe``; the command line, run.json and the
docs are made from its signature and docstring. A new one is a function under `@recipe`:

    @recipe
    def my_vae(data: Spec, latent: int = 20, **net: Any) -> Recipe: ...

It is known by its function's name. A recipe that takes ``**net`` offers every choice of network;
those that it also declares (``net: str = "conv"``, ``blocks: int = 7``) have its defaults.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any, Literal, get_args, get_origin

import torch
from torch import nn
from torch.distributions import Independent, Normal
from typing_extensions import Doc

from zspace.data.spec import Spec
from zspace.models.autoencoder import Autoencoder
from zspace.models.bottlenecks import Bottleneck
from zspace.models.flow import Model, Pass, Term
from zspace.models.likelihoods import LIKELIHOODS, Likelihood, likelihood_for
from zspace.models.networks.choices import Choice, NetOptions, NetworkSpec, build_networks
from zspace.models.objective import Objective
from zspace.models.perceptual import FeatureNetwork
from zspace.models.priors import PRIORS, build_prior
from zspace.system.errors import UserError, unknown
from zspace.system.schedules import Schedule

Size = Annotated[int, Doc("Dimensions of the code.")]
LikelihoodName = Annotated[
    str,
    Choice(lambda: {"auto": None, **LIKELIHOODS}),
    Doc(
        "p(x|z): what reconstruction error means; auto: squared-error for images, columns for "
        "tables, channels for series, tokens for tokens."
    ),
]
PriorName = Annotated[str, Choice(lambda: PRIORS), Doc("p(z): where codes should lie.")]


@dataclass(frozen=True)
class Player:
    """Whose parameters move, and what they minimise. A VAE has one player, a GAN two.

    All players of a step read the same pass of the model. Only the first may send gradients into
    it; the others read it detached.

    Arguments:
        module: Whose parameters.
        objective: What they minimise.
        start: The progress in [0, 1) from which the parameters move; before, they stay.
        lr: The peak of its learning rate, which follows the schedule of the run. None, like None
            for the next two, takes the run's.
        betas: The decay rates of its moments.
        clip: Its largest gradient norm; 0 for no clipping.
        steps: How often it moves per step of the first player, whose own is 1. All but the last
            come before the other players read the pass.

    Raises UserError where a number is out of its range.

    >>> from zspace.models import MLP, mse
    >>> Player(MLP((4,), (2,)), Objective([mse], {"mse": 1.0}), lr=4e-4, steps=5).betas is None
    True
    """

    module: nn.Module
    objective: Objective
    start: float = 0.0
    lr: float | None = None
    betas: tuple[float, float] | None = None
    clip: float | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        betas = self.betas or (0.0, 0.0)
        ranges = {
            "start": (0 <= self.start < 1, "a number in [0, 1)"),
            "lr": (self.lr is None or 0 < self.lr < math.inf, "a finite number above 0"),
            "betas": (len(betas) == 2 and all(0 <= b < 1 for b in betas), "two numbers in [0, 1)"),
            "clip": (self.clip is None or self.clip >= 0, "a number >= 0"),
            "steps": (self.steps >= 1, "a whole number >= 1"),
        }
        for name, (fits, wanted) in ranges.items():
            if not fits:
                raise UserError(f"a player's {name} is {getattr(self, name)}: use {wanted}")


@dataclass(frozen=True)
class Recipe:
    """A model, its players, and what their terms use.

    Arguments:
        model: What is trained.
        players: Which parameters move, and what for. The first is the model's own.
        title: As papers write it: "beta-VAE"; by default the name of the recipe.
        feature_networks: Frozen networks that terms use, made ready before training.
        decided: Choices that were left to the recipe, as a run keeps them.
        best: The validation term whose lowest value chooses the best epoch. By default it is the
            objective of the only player; several players have none in common, and the last
            epoch is taken.

    >>> from zspace.models import Point, mse
    >>> model = assemble(Spec((1, 8, 8)), Point(2), net={"hidden": (16,)})
    >>> made = Recipe(model, (Player(model, Objective([mse], {"mse": 1.0})),), "AE")
    >>> made.to(torch.device("cpu")).model.training
    False
    """

    model: Model
    players: tuple[Player, ...]
    title: str = ""
    feature_networks: tuple[FeatureNetwork, ...] = ()
    decided: Mapping[str, Any] = field(default_factory=dict)
    best: str = ""

    def to(self, device: torch.device) -> Recipe:
        """The same, its model on the device and in eval mode."""
        self.model.to(device).eval()
        return self


@dataclass(frozen=True)
class Traits:
    """What a model is, as its parts say.

    Arguments:
        variational: Whether the code has a distribution q(z|x).
        conditional: Whether it is told a label, or attributes.
        discrete: Whether codes are of a finite set.
        standard: Whether the prior is N(0, I).
        prior: What the prior is, in words.
        placed: Whether a term that is minimised says where codes should lie.
    """

    variational: bool
    conditional: bool
    discrete: bool
    standard: bool
    prior: str
    placed: bool


def traits(recipe: Recipe, p: Pass) -> Traits:
    """The traits of a recipe's model, of which p is one pass, over any sample."""
    model, objective, level = recipe.model, recipe.players[0].objective, p.latents[-1]
    prior, error = getattr(model, "prior", None), objective.of_role("reconstruction")
    standard = is_standard(level.p)
    return Traits(
        variational=p.latents[0].q is not None,
        conditional=bool(model.context),
        discrete=bool(getattr(getattr(model, "bottleneck", None), "discrete", False)),
        standard=standard,
        prior="N(0, I)" if standard else getattr(prior, "title", "a learned prior"),
        placed=any(name not in error for name in objective.minimised()),
    )


def is_standard(p: object) -> bool:
    """Whether a distribution is N(0, I)."""
    base = p.base_dist if isinstance(p, Independent) else p
    return isinstance(base, Normal) and bool((base.loc == 0).all() and (base.scale == 1).all())


def assemble(
    spec: Spec,
    bottleneck: Bottleneck,
    *,
    prior: str | nn.Module = "standard",
    likelihood: str | Likelihood = "auto",
    net: Mapping[str, Any] | None = None,
    context: int = 0,
) -> Autoencoder:
    """The usual graph, put together: encoder, bottleneck, decoder, likelihood, prior.

    Arguments:
        spec: Of the data.
        bottleneck: What turns features into a code; the encoder gives as many as it wants.
        prior: A key of `PRIORS`, or a module (c) -> Distribution over codes.
        likelihood: A key of `LIKELIHOODS`, a `Likelihood`, or "auto": squared error for images,
            columns for tables, channels for series, tokens for tokens.
        net: Choices of `NetOptions`; those that are left out have its defaults.
        context: Columns of c that both networks read; 0 for none.

    Raises UserError for unknown names and for choices that do not suit each other or the data.

    >>> from zspace.models.bottlenecks import Gaussian
    >>> model = assemble(Spec((1, 8, 8)), Gaussian(3), prior="mixture", net={"hidden": (16,)})
    >>> model.latent
    (3,)
    """
    likelihood = likelihood_for(spec, likelihood)
    reads, at = list(spec.shape), spec.features - (spec.features > 0)  # shape has no batch axis
    reads[at] *= 1 + spec.missing
    sizes = bottleneck.features, bottleneck.latent, likelihood.outputs(spec)
    wanted = NetworkSpec(tuple(reads), *sizes, context, spec.kind, spec.vocabulary)
    options = NetOptions(**(net or {})).on(spec.kind, spec.shape)
    encoder, decoder, latent = build_networks(options, wanted)
    return Autoencoder(
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=decoder,
        likelihood=likelihood,
        prior=build_prior(prior, latent),
        latent=latent,
        context=context,
        missing=spec.missing,
        features=spec.features,
    )


def one_player(
    model: Autoencoder,
    *rest: Term,
    weights: Mapping[str, float | Schedule],
    title: str,
    reconstruction: float = 1.0,
    samples: int = 1,
) -> Recipe:
    """A recipe whose one player minimises the likelihood's reconstruction term and the rest.

    Arguments:
        model: Whose likelihood says which term that is.
        rest: Further terms.
        weights: Of the further terms, by name.
        title: Of the recipe.
        reconstruction: Weight of the likelihood's term; 0 reports it only.
        samples: K, draws of each code.

    >>> from zspace.models import Gaussian, kl
    >>> model = assemble(Spec((1, 8, 8)), Gaussian(2), net={"hidden": (16,)})
    >>> one_player(model, kl, weights={"kl": 2.0}, title="VAE").players[0].objective.weights
    {'mse': 1.0, 'kl': 2.0}
    """
    term = model.likelihood.term
    weights = {term.__name__: reconstruction, **weights}
    return Recipe(model, (Player(model, Objective([term, *rest], weights, samples)),), title)


class TooLarge(RuntimeError):
    """What is being built has more parameters than it may."""


@contextlib.contextmanager
def bounded(tensors: int, numbers: int) -> Iterator[None]:
    """Within, what is built has at most so many parameters and buffers, with so many numbers.

    Raises TooLarge as soon as it has more. On the meta device nothing was allocated until then.

    >>> from zspace.models import vae
    >>> with bounded(tensors=100, numbers=1000):
    ...     vae(Spec((1, 28, 28)))
    Traceback (most recent call last):
    ...
    zspace.models.recipes.TooLarge: more than 100 parameters, or 1,000 numbers in them
    """
    left = [tensors, numbers]

    def count(module: nn.Module, name: str, value: torch.Tensor | None) -> None:
        if value is not None:
            left[:] = left[0] - 1, left[1] - value.numel()
        if min(left) < 0:
            raise TooLarge(f"more than {tensors:,} parameters, or {numbers:,} numbers in them")

    hooks = (
        torch.nn.modules.module.register_module_parameter_registration_hook(count),
        torch.nn.modules.module.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


Function = Callable[..., Recipe]
RECIPES: dict[str, Function] = {}
IMPORTED: list[str] = []
"""Modules and files that `import_recipes` was given, for processes that are started later."""


def recipe(function: Function) -> Function:
    """Register a recipe under its function's name, so that runs made with it can be loaded.

    >>> from zspace.models import vae
    >>> @recipe
    ... def narrow_vae(data: Spec, latent: int = 2) -> Recipe:
    ...     \"\"\"VAE with one narrow layer on each side.\"\"\"
    ...     return vae(data, latent=latent, hidden=(16,))
    >>> find("narrow-vae") is narrow_vae
    True
    """
    RECIPES[function.__name__] = function
    return function


def find(name: str) -> Function:
    """The recipe of that name ('beta-vae' and 'beta_vae' are the same). Raises UserError."""
    key = name.replace("-", "_")
    if key not in RECIPES and key not in known():
        raise unknown("recipe", name, map(hyphenated, RECIPES))
    return RECIPES[key]


def known() -> dict[str, Function]:
    """Every recipe: ours, those that were imported, and those of installed packages.

    Packages announce a module of recipes by an entry point of the group 'zspace.recipes'.
    """
    for point in metadata.entry_points(group="zspace.recipes"):
        if point.value not in IMPORTED:
            IMPORTED.append(point.value)
            try:
                point.load()
            except Exception as error:  # another package's fault must not stop ours
                warnings.warn(
                    f"the recipes in '{point.value}' cannot be used: {error}", stacklevel=2
                )
    return RECIPES


def import_recipes(target: str) -> None:
    """Import a module by its name, or a file FILE.py; its recipes are then known.

    Raises UserError where there is no such file or module, or where it cannot be imported.
    """
    path = Path(target)
    try:
        if path.suffix != ".py":
            if str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            import_module(target)
        elif not path.is_file():
            raise UserError(
                f"--import '{target}' is not a file: give FILE.py, or the name of a module"
            )
        elif getattr(sys.modules.get(path.stem), "__file__", None) != str(path.resolve()):
            _import_file(path.resolve())
    except UserError:
        raise
    except Exception as error:  # a module of the user's may raise anything
        raise UserError(
            f"--import '{target}' cannot be imported ({type(error).__name__}: {error}): correct "
            "it, or give FILE.py or the name of a module"
        ) from error
    kept = str(path.resolve()) if path.suffix == ".py" else target
    if kept not in IMPORTED:
        IMPORTED.append(kept)


def _import_file(path: Path) -> None:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))  # modules beside it are found, too
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def source_of(function: Function) -> dict[str, str] | None:
    """The module of a recipe that is not zspace's own, and the SHA-256 of its source.

    A script is named by its file, since every script is called __main__.
    """
    if function.__module__.partition(".")[0] == "zspace":
        return None
    file = Path(inspect.getsourcefile(function) or "")
    try:
        content = file.read_bytes() if file.is_file() else inspect.getsource(function).encode()
    except (OSError, SyntaxError, TokenError):  # no source is kept, as in a console
        content = function.__code__.co_code
    module = function.__module__ if function.__module__ != "__main__" else file.stem or "__main__"
    return {"module": module, "sha256": hashlib.sha256(content).hexdigest()}


def offering(option: str) -> list[str]:
    """The recipes that have an option of their own of that name.

    >>> offering("beta")
    ['beta-vae', 'tcvae', 'vaegan', 'sentence-vae']
    """
    return [hyphenated(name) for name, f in known().items() if option in choices_of(f).own]


def hyphenated(name: str) -> str:
    """A recipe's name as people type it: with hyphens."""
    return name.replace("_", "-")


def about(name: str) -> str:
    """A recipe's sentence and reference: its docstring up to the example."""
    return (inspect.getdoc(find(name)) or "").partition("\n\n>>> ")[0]


@dataclass(frozen=True)
class Choices:
    """What a recipe offers, by name: options of its own, and options of its networks."""

    own: dict[str, inspect.Parameter]
    network: dict[str, inspect.Parameter]


def choices_of(function: Function) -> Choices:
    """The choices that a recipe offers, with resolved types.

    Of networks it offers those of `NetOptions` if it takes ``**net``, with the defaults that the
    recipe declares for some of them.
    """
    _, *declared = inspect.signature(function, eval_str=True).parameters.values()
    own = {p.name: p for p in declared if p.kind is not inspect.Parameter.VAR_KEYWORD}
    network: dict[str, inspect.Parameter] = {}
    if len(own) < len(declared):
        for name, offered in NETWORK.items():
            network[name] = offered.replace(default=own.pop(name, offered).default)
    return Choices(*({name: _resolved(p) for name, p in some.items()} for some in (own, network)))


def _resolved(parameter: inspect.Parameter) -> inspect.Parameter:
    """The same with its type, in which the names in a registry, as it is now, are a Literal."""
    hint = parameter.annotation
    if hint is inspect.Parameter.empty:
        hint = type(parameter.default)
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    for note in notes:
        if isinstance(note, Choice):
            rest = [other for other in notes if other is not note]
            hint = Annotated[(Literal[tuple(note.known())], *rest)]
    return parameter.replace(annotation=hint)


NETWORK = inspect.signature(NetOptions, eval_str=True).parameters

"""`zspace train RECIPE`: a command for every recipe, made from the recipe's signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc
from tyro.conf import arg, subcommand

from zspace.data.loading import DataOptions
from zspace.models import recipes
from zspace.report.figures import registry
from zspace.runs.config import OWN, RESERVED, Config
from zspace.runs.run import Run
from zspace.runs.settings import Settings
from zspace.system import distributed
from zspace.training import api, progress

OUTPUT = (
    (
        "out",
        Annotated[Path | None, Doc("A new folder for the run; by default runs/<name>.")],
        None,
    ),
    ("save_every", Annotated[float, Doc("Seconds between checkpoints.")], 30.0),
    ("json", Annotated[bool, Doc("One JSON object a line on standard output.")], False),
    ("quiet", Annotated[bool, Doc("Say nothing.")], False),
)


def train_command(args: Sequence[str]) -> Callable[..., None]:
    """The `train` command, with a subcommand for each recipe.

    Raises UserError for an unknown recipe.
    """
    if args and not args[0].startswith("-"):
        recipes.find(args[0])
    options = {name: _options(name, function) for name, function in recipes.known().items()}
    kinds = {kind: name for name, kind in options.items()}

    def train(recipe: Any) -> None:
        _train(kinds[type(recipe)], recipe)

    train.__doc__ = "Train a recipe on a data set: zspace train vae --data mnist5k."
    train.__annotations__["recipe"] = reduce(
        or_,
        (
            Annotated[kind, subcommand(name.replace("_", "-"), description=recipes.about(name))]
            for name, kind in options.items()
        ),
    )
    return train


def _options(name: str, function: Callable[..., recipes.Recipe]) -> type:
    """A dataclass of all that can be set: the recipe's own, network, data, training, output.

    An option of the recipe's own whose name is reserved becomes the flag --recipe.NAME.
    """
    choices = recipes.choices_of(function)
    own = [
        (f"own_{p.name}", Annotated[p.annotation, arg(name=_flag(p.name))], p.default)
        for p in choices.own.values()
    ]
    network = [(p.name, p.annotation, p.default) for p in choices.network.values()]
    groups = [
        ("data", DataOptions, field(default_factory=DataOptions)),
        ("training", Settings, field(default_factory=Settings)),
    ]
    return make_dataclass(name, [*own, *network, *OUTPUT, *groups])


def _flag(name: str) -> str:
    return f"{OWN}{name}" if name in RESERVED else name


def _train(name: str, options: Any) -> None:
    choices = recipes.choices_of(recipes.find(name))
    flat = {p: getattr(options, p) for p in choices.network}
    flat |= {**vars(options.data), **vars(options.training)}
    own = {p: getattr(options, f"own_{p}") for p in choices.own}
    config = Config.of(name, flat, own)
    reporter = progress.reporter(quiet=options.quiet, json_lines=options.json)
    run = api.start(config, options.out, reporter, options.save_every)
    show(run, silent=options.quiet or options.json)


def show(run: Run, *, silent: bool) -> None:
    """Draw a run's pictures into its folder and print their paths; of several ranks, the first."""
    if not distributed.first():
        return
    written = registry.overview(run)
    if not silent:
        print("\n".join(map(str, written)))

"""Train, continue a training, train again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg, subcommand

from zspace.cli import (
    AsJson,
    Quiet,
    RunPath,
    SaveEvery,
    SaveEveryOrAsBefore,
    TrustData,
    Workers,
)
from zspace.system.cores import reading

if TYPE_CHECKING:
    from zspace.runs.run import Run

Track = Annotated[
    Literal["none", "tensorboard", "wandb", "mlflow"],
    arg(help="Show the training there, too; offline, unless its own settings say otherwise."),
]


def train() -> None:
    """Train a recipe on a data set: zspace train vae --data mnist5k."""


def train_command(args: Sequence[str]) -> Callable[..., None]:
    """`train` with a subcommand for each recipe, made from the recipe's signature.

    An option of the recipe's own whose name is reserved becomes the flag --recipe.NAME.
    Raises UserError for an unknown recipe.
    """
    from zspace.data.options import DataOptions
    from zspace.models import recipes
    from zspace.runs.config import OWN, RESERVED, Config
    from zspace.runs.settings import Settings
    from zspace.training import api, callbacks, progress

    told = _without_example(DataOptions)
    output = [
        ("out", Annotated[Path | None, arg(help="A new folder; by default runs/<name>.")], None),
        ("save_every", SaveEvery, api.SAVE_SECONDS),
        ("json", AsJson, False),
        ("workers", Workers, 0),
        ("track", Track, "none"),
        ("quiet", Quiet, False),
        ("data", told, field(default_factory=told)),
        ("training", Settings, field(default_factory=Settings)),
    ]

    def options_of(name: str) -> type:
        """A dataclass of all that can be set: of the recipe, network, output, data, training."""
        choices = recipes.choices_of(recipes.find(name))
        own = [
            (
                f"own_{p.name}",
                Annotated[p.annotation, arg(name=OWN * (p.name in RESERVED) + p.name)],
                p.default,
            )
            for p in choices.own.values()
        ]
        network = [(p.name, p.annotation, p.default) for p in choices.network.values()]
        return make_dataclass(name, [*own, *network, *output])

    def train(recipe: Any) -> None:
        name = type(recipe).__name__
        choices = recipes.choices_of(recipes.find(name))
        flat = {p: getattr(recipe, p) for p in choices.network}
        flat |= {**vars(recipe.data), **vars(recipe.training)}
        config = Config.of(name, flat, {p: getattr(recipe, f"own_{p}") for p in choices.own})
        reporter = callbacks.telling(
            progress.reporter(quiet=recipe.quiet, json_lines=recipe.json), track=recipe.track
        )
        with reading(recipe.workers):
            run = api.start(config, recipe.out, reporter, recipe.save_every)
            _show(run, silent=recipe.quiet or recipe.json)

    if args and not args[0].startswith("-"):
        recipes.find(args[0])
    train.__doc__ = globals()["train"].__doc__
    train.__annotations__["recipe"] = reduce(
        or_,
        (
            Annotated[
                options_of(name),
                subcommand(recipes.hyphenated(name), description=recipes.about(name)),
            ]
            for name in recipes.known()
        ),
    )
    return train


def _without_example(options: type) -> type:
    """Options whose help is a sentence, without the example of their docstring."""
    sentence = (options.__doc__ or "").partition("\n\n")[0]
    return type(options.__name__, (options,), {"__doc__": sentence})


def resume(
    run: RunPath,
    *,
    save_every: SaveEveryOrAsBefore = None,
    workers: Workers = 0,
    device: str = "",
    trust_data: TrustData = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue an interrupted training, with the same result as if it had not been interrupted.

    Args:
        device: Where to continue (cpu, cuda, ...); by default the device it began on.
    """
    from zspace.training import api, progress

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    resumed = api.resume(
        run, reporter=reporter, save_every=save_every, device=device, trust_data=trust_data
    )
    _show(resumed, silent=quiet or json)


def repeat(
    run: RunPath,
    *,
    out: Path,
    save_every: SaveEveryOrAsBefore = None,
    workers: Workers = 0,
    device: str = "",
    trust_data: TrustData = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train again with the same options and data, into another folder.

    Args:
        out: The new folder.
        device: Where to train (cpu, cuda, ...); by default the device of the first training.
    """
    from zspace.training import api, progress

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    again = api.repeat(
        run,
        out=out,
        reporter=reporter,
        save_every=save_every,
        device=device,
        trust_data=trust_data,
    )
    _show(again, silent=quiet or json)


def _show(run: Run, *, silent: bool) -> None:
    """Draw a run's pictures into its folder and print their paths; of several ranks, the first."""
    from zspace.report.figures import registry
    from zspace.system import distributed
    from zspace.system.bars import lines

    if distributed.first():
        with lines("drawing pictures", quiet=silent):
            written = registry.overview(run)
        if not silent:
            print("\n".join(map(str, written)))

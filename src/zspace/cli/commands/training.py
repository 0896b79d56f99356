"""Train, continue a training, train again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tyro.conf import Suppress, arg, subcommand

from zspace.cli import (
    AsJson,
    Out,
    OutOrDefault,
    Quiet,
    RunPath,
    SaveEvery,
    SaveEveryOrAsBefore,
    TrustData,
    Workers,
)
from zspace.system.cores import reading
from zspace.system.errors import UserError

if TYPE_CHECKING:
    from zspace.runs.config import Config
    from zspace.runs.run import Run

HELP_ALL = "--help-all"
USUAL = (
    "out", "from_run", "config", "print_config", "quiet", "json", "data", "data_dir", "size",
    "val", "test", "epochs", "minutes", "batch", "lr", "device", "seed", "net",
)  # fmt: skip
"""Options that the short help shows, beside those of the recipe and of the chosen network."""
UNCHOSEN = ("hidden", "channels")
"""Of the networks, where none is chosen."""
WRITTEN = ("out", "from_run", "save_every", "json", "quiet", "workers")
"""Options of output that a configuration file may set."""
FROM = (
    "The folder of a finished run to go on from: its weights, recipe, network and encoding of x "
    "are taken over, into a new run."
)
CONFIG = "A TOML file of options, such as RUN/config.toml; flags go before it."
PRINT_CONFIG = "Print the options as such a file, and train nothing."

Track = Annotated[
    Literal["none", "tensorboard", "wandb", "mlflow"],
    arg(help="Show the training there, too; offline, unless its own settings say otherwise."),
]


def train() -> None:
    """Train a recipe on a data set: zspace train vae --data mnist5k."""


@dataclass
class Given:
    """What the command line begins with: a configuration file, a run to go on from, or nothing.

    Arguments:
        recipe: The recipe that is to be trained, where one is named.
        config: What it is by default; None takes the defaults of zspace.
        output: Options of output that a file sets.
    """

    recipe: str = ""
    config: Config | None = None
    output: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, args: Sequence[str]) -> Given:
        """What the arguments after `train` name. Raises UserError for what does not fit."""
        from zspace.runs.config import Config

        named = args[0] if args and not args[0].startswith("-") else ""
        path, run, data = (_value(args, flag) for flag in ("--config", "--from", "--data"))
        flat: dict[str, Any] = {}
        if path:
            from zspace.runs.toml_file import read_toml

            flat = read_toml(Path(path))
            named = named or str(flat.get("recipe", ""))
            flat.pop("recipe", None)
        own = dict(flat.pop("recipe_options", {}))
        output = {name: flat.pop(name) for name in WRITTEN if name in flat}
        if run := run or str(output.get("from_run", "")):
            from zspace.runs.run import load
            from zspace.training import continued

            first = load(run, "cpu")
            named = continued.named(first, named)
            taken, its = continued.inherited(first, data or flat.get("data"))
            flat, own = {**taken, **flat}, {**its, **own}
        if not named or not (path or run):
            return cls(named)
        try:
            config = Config.of(named, flat, own, {} if run else None)
        except UserError as error:
            raise UserError(f"{path}: {error}" if path else str(error)) from None
        return cls(named, config, output)

    def default(self, name: str, otherwise: Any) -> Any:
        """That of an option of output, of the recipe, or of a network."""
        if name in self.output:
            from zspace.runs.config import fitting

            return fitting(name, self.output[name], otherwise)
        network = self.config.network if self.config else {}
        return network.get(name, otherwise)

    def groups(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those of data and of training that are set."""
        if self.config is None:
            return {}, {}
        data = dict(vars(self.config.data))
        if isinstance(data["size"], int):
            data["size"] = str(data["size"])
        return data, dict(vars(self.config.training))

    def own(self, name: str, otherwise: Any) -> Any:
        """That of the recipe's own option."""
        return self.config.recipe_options.get(name, otherwise) if self.config else otherwise


def _value(args: Sequence[str], flag: str) -> str:
    """What follows a flag, or ""."""
    for i, word in enumerate(args):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag:
            return args[i + 1] if i + 1 < len(args) else ""
    return ""


def train_command(args: Sequence[str]) -> tuple[Callable[..., None], list[str]]:
    """`train` with a subcommand for each recipe, made from the recipe's signature.

    An option of the recipe's own whose name is reserved becomes the flag --recipe.NAME. Where a
    configuration file or a run to go on from is named, the defaults are those that it has.

    Returns it, and the arguments with the name of the recipe, where it is known, and without
    --help-all. Raises UserError for an unknown recipe.
    """
    from zspace.data.options import DataOptions
    from zspace.models import recipes
    from zspace.models.networks.choices import NETS
    from zspace.runs.config import OWN, RESERVED
    from zspace.runs.settings import Settings
    from zspace.runs.toml_file import to_toml
    from zspace.training import api, callbacks, progress

    args = list(args)
    if args and not args[0].startswith("-"):
        recipes.find(args[0])
    given = Given.of(args)
    if given.recipe and args[:1] != [given.recipe]:
        args = [given.recipe, *args]
    short = HELP_ALL not in args and bool({"-h", "--help"} & set(args))
    args = ["--help" if word == HELP_ALL else word for word in args]
    none = dict.fromkeys(("out", "from_run", "config"))
    output = [
        ("out", Annotated[OutOrDefault, arg(help="A new folder; by default runs/<name>.")]),
        ("from_run", Annotated[Path | None, arg(name="from", help=FROM)]),
        ("config", Annotated[Path | None, arg(help=CONFIG)]),
        ("print_config", Annotated[bool, arg(help=PRINT_CONFIG)]),
        ("save_every", SaveEvery),
        ("json", AsJson),
        ("workers", Workers),
        ("track", Track),
        ("quiet", Quiet),
    ]
    plain = {**none, "print_config": False, "save_every": api.SAVE_SECONDS, "json": False}
    plain |= {"workers": 0, "track": "none", "quiet": False}
    told: type = _without_example(DataOptions)
    settings: type = Settings
    if short:
        told, settings = _shortened(told), _shortened(settings)
    usually, chosen = (
        [
            ("data", told, field(default_factory=partial(told, **data))),
            ("training", settings, field(default_factory=partial(settings, **training))),
        ]
        for data, training in (({}, {}), given.groups())
    )

    def options_of(name: str) -> type:
        """A dataclass of all that can be set: of the recipe, network, output, data, training."""
        named = name == given.recipe.replace("-", "_")
        of, groups = (given, chosen) if named else (Given(), usually)
        choices = recipes.choices_of(recipes.find(name))
        own = [
            (
                f"own_{p.name}",
                Annotated[p.annotation, arg(name=OWN * (p.name in RESERVED) + p.name)],
                of.own(p.name, p.default),
            )
            for p in choices.own.values()
        ]
        network = [(p.name, p.annotation, of.default(p.name, p.default)) for p in
                   choices.network.values()]  # fmt: skip
        net = _value(args, "--net") or {n: v for n, _, v in network}.get("net", "")
        usual = (*USUAL, *(NETS[net].reads if net in NETS else UNCHOSEN))
        rest = [(n, hint, of.default(n, plain[n])) for n, hint in output]
        shown = [
            (n, hint if n in usual or not short else Annotated[hint, Suppress], value)
            for n, hint, value in (*network, *rest)
        ]
        return make_dataclass(name, [*own, *shown, *groups])

    def train(recipe: Any) -> None:
        name = type(recipe).__name__
        choices = recipes.choices_of(recipes.find(name))
        flat = {p: getattr(recipe, p) for p in choices.network}
        flat |= {**vars(recipe.data), **vars(recipe.training)}
        its = {p: getattr(recipe, f"own_{p}") for p in choices.own}
        if recipe.print_config:
            print(to_toml(api.configured(name, recipe.from_run, flat, its)[0]), end="")
            return
        reporter = callbacks.telling(
            progress.reporter(quiet=recipe.quiet, json_lines=recipe.json), track=recipe.track
        )
        with reading(recipe.workers):
            run = api.train(
                name,
                from_run=recipe.from_run,
                out=recipe.out,
                reporter=reporter,
                save_every=recipe.save_every,
                workers=recipe.workers,
                recipe_options=its,
                **flat,
            )
            _show(run, silent=recipe.quiet or recipe.json)

    more = f" {HELP_ALL} shows every option." * short
    train.__doc__ = globals()["train"].__doc__
    train.__annotations__["recipe"] = reduce(
        or_,
        (
            Annotated[
                options_of(name),
                subcommand(
                    recipes.hyphenated(name),
                    description=recipes.about(name)
                    + f"\n\nzspace train {recipes.hyphenated(name)}{more}" * short,
                ),
            ]
            for name in recipes.known()
        ),
    )
    return train, args


def _without_example(options: type) -> type:
    """Options whose help is a sentence, without the example of their docstring."""
    sentence = (options.__doc__ or "").partition("\n\n")[0]
    return type(options.__name__, (options,), {"__doc__": sentence})


def _shortened(options: type) -> type:
    """Options of which the help shows the usual ones."""
    hints = get_type_hints(options, include_extras=True)
    hidden = {f.name: f.default for f in fields(options) if f.name not in USUAL}
    notes = {name: Annotated[hints[name], Suppress] for name in hidden}
    made = type(
        options.__name__,
        (options,),
        {"__doc__": options.__doc__, "__annotations__": notes, **hidden},
    )
    return dataclass(frozen=True)(made)


def resume(
    run: RunPath,
    *,
    epochs: int | None = None,
    save_every: SaveEveryOrAsBefore = None,
    workers: Workers = 0,
    device: str = "",
    trust_data: TrustData = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continue an interrupted training, with the same result as if it had not been interrupted.

    Args:
        epochs: Train to so many epochs in all, also a finished run that kept its state
            (--keep-state).
        device: Where to continue (cpu, cuda, ...); by default the device it began on.
    """
    from zspace.training import api, progress

    reporter = progress.reporter(quiet=quiet, json_lines=json)
    resumed = api.resume(
        run,
        epochs=epochs,
        reporter=reporter,
        save_every=save_every,
        device=device,
        trust_data=trust_data,
    )
    _show(resumed, silent=quiet or json)


def repeat(
    run: RunPath,
    *,
    out: Out,
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
    from zspace.sharing import card
    from zspace.system import distributed
    from zspace.system.bars import lines

    if distributed.first():
        with lines("drawing pictures", quiet=silent):
            written = registry.overview(run)
            card.write(run)
        if not silent:
            print("\n".join(map(str, written)))

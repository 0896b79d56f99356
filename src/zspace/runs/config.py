"""A configuration: all that decides a training. Run folders keep it, `repeat` trains it again.

Options are in groups: those of the recipe, the network, the data and the training. A flat keyword
whose name is reserved means the data's or the training's option; an option of the recipe with such
a name is given as ``recipe_options={"size": 3}``, at the command line and in grids as
``recipe.size``.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np

from zspace.data.loading import lasting
from zspace.data.options import DataOptions
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.networks.choices import NETS, NetOptions
from zspace.runs.settings import Settings
from zspace.system import renamed
from zspace.system.errors import UserError, unknown

GROUPS: dict[str, dict[str, Any]] = {
    "data": {field.name: field.default for field in fields(DataOptions)},
    "training": {field.name: field.default for field in fields(Settings)},
}
OUTPUT = (
    "out", "from_run", "save_every", "json", "quiet", "reporter", "workers", "recipe_options",
    "config", "print_config", "track", "callbacks",
)  # fmt: skip
RESERVED = (*GROUPS["data"], *GROUPS["training"], *OUTPUT)
"""Names that mean the same for every recipe; a recipe may have options of its own under them."""
OWN = "recipe."
"""What stands before the name of such an option, where names are flat."""

OPTIONAL = {
    "epochs": 1,
    "batch": 128,
    "patience": 20,
    "size": 1,
    "data_dir": Path(),
    "hidden": (256, 256),
    "warmup": 0.02,
}
"""What may be None, but is a number or a path where it is given."""
DEFAULTS: dict[str, Any] = {**GROUPS["data"], **GROUPS["training"], **OPTIONAL}


def fitting(name: str, value: Any, default: Any) -> Any:
    """A value as JSON can hold it and of its default's kind. Raises UserError where it is not.

    Numpy's numbers and arrays become plain ones, whole floats ints, lists tuples.
    """
    if isinstance(value, np.generic | np.ndarray) and np.size(value) < 100:
        value = value.tolist()
    if default is None and value is not None:
        default = OPTIONAL.get(name)
    if name == "size" and isinstance(value, int | str | tuple | list) and value is not True:
        return tuple(value) if isinstance(value, list) else value
    if (
        default is None
        or default is inspect.Parameter.empty
        or (value is None and name in OPTIONAL)
    ):
        return value
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(fitting(name, v, default[0]) if default else v for v in value)
    if isinstance(default, str | Path) and isinstance(value, str | Path):
        return type(default)(value) if isinstance(default, str) else Path(value)
    if isinstance(default, bool) and isinstance(value, bool):
        return value
    if not isinstance(default, bool) and not isinstance(value, bool):
        if isinstance(default, int) and isinstance(value, int | float) and value % 1 == 0:
            return int(value)
        if isinstance(default, float) and isinstance(value, int | float) and abs(value) < 2**1023:
            return float(value)
    wanted = EXPECTED.get(type(default), "a path")
    large = isinstance(value, np.ndarray) and value.size >= 100
    shown = f"an array {value.shape}" if large else f"{value!r:.60}"
    raise UserError(f"{name} is {shown}: give {wanted}, for example {default!r}")


EXAMPLES: dict[Any, Any] = {int: 1, float: 0.5, str: "", tuple: (16, 32)}
EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a name or a path",
    tuple: "several numbers",
}


@dataclass(frozen=True)
class Config:
    """What decides a training, in groups.

    Arguments:
        recipe: Its name.
        recipe_options: Its own choices, all of them.
        network: The choices of network that the chosen net reads; empty where there is no choice.
        data: Which data, and how they are prepared.
        training: How to train.
        source: The module and the SHA-256 of a recipe that is not zspace's own.
        from_run: The finished run whose weights it begins with, where it goes on from one: its
            "path", and the SHA-256 of its "weights".
    """

    recipe: str
    recipe_options: dict[str, Any]
    network: dict[str, Any]
    data: DataOptions
    training: Settings
    source: dict[str, str] | None = None
    from_run: dict[str, str] | None = None

    def __post_init__(self) -> None:
        self.training.check()
        self.data.check()
        if self.training.freeze and self.from_run is None:
            raise UserError(
                f"freeze is {', '.join(self.training.freeze)}, which would stay as it is drawn: "
                "name the finished run to go on from (--from RUN, from_run=), or leave freeze out"
            )

    @classmethod
    def of(
        cls,
        recipe: str,
        options: Mapping[str, Any],
        recipe_options: Mapping[str, Any] | None = None,
        from_run: dict[str, str] | None = None,
    ) -> Config:
        """Sort keywords into groups; those named recipe.NAME are the recipe's own.

        Raises UserError for an unknown recipe or keyword, naming the nearest.
        """
        function = recipes.find(recipe)
        choices = recipes.choices_of(function)
        own, options = dict(recipe_options or {}), renamed.keywords(options)
        flat = {n: v for n, v in options.items() if not n.startswith(OWN)}
        own |= {n.removeprefix(OWN): options[n] for n in options.keys() - flat.keys()}
        for name in [name for name in flat if name in choices.own and name not in RESERVED]:
            own[name] = flat.pop(name)
        title = f"option of recipe {recipes.hyphenated(recipe)}"
        groups: dict[str, Mapping[str, Any]] = {**GROUPS, "network": choices.network}
        shared = set().union(*groups.values())
        for given, known in ((flat, shared), (own, set(choices.own))):
            for name in given:
                if name in known:
                    continue
                if others := recipes.offering(name):
                    raise UserError(f"{title} '{name}' is unknown: use {' or '.join(others)}")
                raise unknown(title, name, known | set(choices.own))
        chosen = {
            group: {n: fitting(n, flat[n], DEFAULTS[n]) for n in flat if n in GROUPS[group]}
            for group in GROUPS
        }
        training = Settings(**chosen["training"])
        if training.minutes and training.epochs is not None:
            raise UserError(
                f"minutes is {training.minutes:g} and epochs is {training.epochs}, but minutes "
                "chooses the epochs: give one of the two"
            )
        return cls(
            recipe.replace("-", "_"),
            _complete(choices.own, own),
            _network(_complete(choices.network, flat), choices.network),
            DataOptions(**chosen["data"]),
            training,
            recipes.source_of(function),
            from_run,
        )

    def on(self, spec: Spec) -> Config:
        """This configuration for such data, with what was left out of the network chosen."""
        choices = recipes.choices_of(recipes.find(self.recipe)).network
        if "net" not in choices:
            return self
        complete = _complete(choices, self.network)
        taken = asdict(NetOptions(**complete).on(spec.kind, spec.shape))
        network = _network({name: taken[name] for name in complete}, choices)
        return replace(self, network=network)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keywords with which the recipe is called."""
        return {**self.recipe_options, **self.network}

    @property
    def latent(self) -> int | None:
        """The code size, where the recipe has such a choice."""
        return self.recipe_options.get("latent")

    @property
    def name(self) -> str:
        """A short name for a folder: recipe, data and code size."""
        data = Path(self.data.data.removeprefix("hf:").removeprefix("memory:")).stem
        parts = [recipes.hyphenated(self.recipe), data, self.latent]
        return "-".join(str(part) for part in parts if part not in (None, ""))

    @property
    def folder_name(self) -> str:
        """The name of a new folder: that of the run, and what differs from the defaults."""
        choices = recipes.choices_of(recipes.find(self.recipe))
        usual = {n: p.default for n, p in {**choices.own, **choices.network}.items()}
        usual |= {**GROUPS["data"], **GROUPS["training"]}
        told = {**asdict(self.data), **asdict(self.training)}
        if self.from_run is None:  # what is taken over was decided, whatever was asked for
            told = {**self.arguments, **told}
        parts = [
            f"{name.replace('_', '-')}{_part(value)}"
            for name, value in told.items()
            if name not in UNNAMED and value != usual.get(name)
        ]
        whole = "-".join([self.name, *(["from"] if self.from_run else []), *parts])
        return whole if len(whole) <= LONGEST_NAME else whole[:LONGEST_NAME].rpartition("-")[0]

    def agrees(self, found: Mapping[str, Any]) -> bool:
        """Whether a run of that recorded configuration is what this one asks for.

        What was left to be decided may be anything.
        """
        plain, usual = json.loads(json.dumps([self.to_json(), GROUPS], default=str))
        same = (plain[n] == found.get(n) for n in ("recipe", "from_run"))
        return all(same) and all(
            value in (None, "auto")
            or found[part].get(name, usual.get(part, {}).get(name)) == value  # older: the default
            for part in ("recipe_options", "network", "data", "training")
            for name, value in plain[part].items()
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it. A path becomes absolute: it means the same from anywhere."""
        data = asdict(self.data)
        data |= {name: lasting(data[name]) for name in ("data", "val", "test") if data[name]}
        if self.data.data_dir is not None:
            data["data_dir"] = str(Path(self.data.data_dir).resolve())
        return {**asdict(self), "data": data}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Config:
        """The inverse of `to_json`. Warns where the source of the recipe has changed.

        Raises UserError where the record does not fit, and where the module of the recipe must be
        imported first.
        """
        try:
            data, source = dict(record["data"]), record["source"]
            data["data_dir"] = Path(data["data_dir"]) if data["data_dir"] else None
            name = str(record["recipe"])
            if source and name not in recipes.known():
                way = f"--import {source['module']}.py, or 'import {source['module']}'"
                raise UserError(f"recipe '{name}' is not part of zspace: import it first ({way})")
            training = dict(record["training"])
            minutes = fitting("minutes", training.pop("minutes", 0.0), 0.0)  # chose the epochs
            options = {**record["network"], **data, **training}
            config = cls.of(name, options, record["recipe_options"], record.get("from_run"))
            config = replace(config, training=replace(config.training, minutes=minutes))
            if source and config.source != source:
                warnings.warn(
                    f"the source of recipe '{name}' (module '{source['module']}') has changed "
                    "since the run was trained: what it builds may not be what was trained",
                    stacklevel=3,
                )
            return config
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"not complete ({type(error).__name__} {error})"
            raise UserError(f"the config in run.json is {why}: train again") from None


UNNAMED = ("latent", "data", "data_dir", "device", "graph", "compile", "keep_state", "snapshots")
"""Options that a folder's name tells otherwise, or that leave the weights alone."""
LONGEST_NAME = 100


def _part(value: Any) -> str:
    """A value as a part of a folder's name; a path is told by its last part."""
    if isinstance(value, bool):
        return "" if value else "-off"
    if isinstance(value, tuple | list):
        return "x".join(map(_part, value))
    if isinstance(value, float):
        return f"{value:g}"
    text = Path(value).stem if isinstance(value, str | Path) else str(value)
    return re.sub(r"[^\w.-]+", "_", f"-{text}" if isinstance(value, str) else text)


def _complete(
    choices: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Every choice: the value that was given, or the default."""
    return {
        name: parameter.default
        if given.get(name, parameter.default) is parameter.default
        else fitting(name, given[name], _example(parameter))
        for name, parameter in choices.items()
    }


def _example(parameter: inspect.Parameter) -> Any:
    """A value of its kind: its default, or of a choice that may be None what it is else."""
    hint = parameter.annotation
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if parameter.default is not None or len(kinds) != 1:
        return parameter.default
    return OPTIONAL.get(parameter.name, EXAMPLES.get(get_origin(kinds[0]) or kinds[0]))


def _network(
    chosen: Mapping[str, Any], choices: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    """What the chosen net reads, and whatever else was asked for, which it will refuse."""
    net = NETS.get(chosen.get("net", ""))
    reads = ("net", *(net.reads if net else ()))
    return {n: v for n, v in chosen.items() if n in reads or v != choices[n].default}

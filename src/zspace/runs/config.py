"""A job: all that decides a training. Run folders keep it, `repeat` trains it again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from zspace.data.loading import DataOptions, lasting
from zspace.models import recipes
from zspace.runs.settings import Settings
from zspace.system.errors import UserError, unknown

DEFAULTS: dict[str, Any] = {
    **{field.name: field.default for field in fields(DataOptions)},
    **{field.name: field.default for field in fields(Settings)},
    "epochs": 1,  # these three may be None, but are numbers or a path when they are given
    "size": 1,
    "data_dir": Path(),
}
OPTIONAL = ("epochs", "size", "data_dir")


def fitting(name: str, value: Any, default: Any) -> Any:
    """A value as JSON can hold it and of its default's kind. Raises UserError where it is not.

    Numpy's numbers and arrays become plain ones, whole floats ints, lists tuples.
    """
    if isinstance(value, np.generic | np.ndarray) and np.size(value) < 100:
        value = value.tolist()
    if (
        default is None
        or default is inspect.Parameter.empty
        or (value is None and name in OPTIONAL)
    ):
        return value
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(fitting(name, item, default[0]) for item in value)
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
    raise UserError(f"{name} is {shown}: give {wanted}, {default!r} for example")


EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a name or a path",
    tuple: "several numbers",
}


@dataclass(frozen=True)
class Config:
    """recipe: its name. arguments: its keywords. data: which and how. settings: how to train."""

    recipe: str
    arguments: dict[str, Any]
    data: DataOptions
    settings: Settings

    def __post_init__(self) -> None:
        self.settings.check()
        self.data.check()

    @classmethod
    def of(cls, recipe: str, options: Mapping[str, Any]) -> Config:
        """Sort keywords into those of the recipe, of the data and of the settings.

        Raises UserError for an unknown recipe or keyword, naming the nearest.
        """
        offered = recipes.arguments(recipes.find(recipe))
        names = {
            "recipe": set(offered),
            "data": {field.name for field in fields(DataOptions)},
            "settings": {field.name for field in fields(Settings)},
        }
        for name in options:
            if not any(name in group for group in names.values()):
                raise unknown(
                    f"option of recipe {recipes.hyphenated(recipe)}",
                    name,
                    set().union(*names.values()),
                )
        defaults = {name: parameter.default for name, parameter in offered.items()}
        usual = {**DEFAULTS, **defaults}
        chosen = {
            group: {n: fitting(n, options[n], usual[n]) for n in options if n in known}
            for group, known in names.items()
        }
        return cls(
            recipe.replace("-", "_"),
            {**defaults, **chosen["recipe"]},
            DataOptions(**chosen["data"]),
            Settings(**chosen["settings"]),
        )

    @property
    def name(self) -> str:
        """A short name for a folder: recipe, data and code size."""
        latent = self.arguments.get("latent")
        parts = [
            recipes.hyphenated(self.recipe),
            Path(self.data.data.removeprefix("hf:")).stem,
            latent,
        ]
        return "-".join(str(part) for part in parts if part not in (None, ""))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it. A path becomes absolute: it means the same from anywhere."""
        data = {**asdict(self.data), "data": lasting(self.data.data)}
        if self.data.data_dir is not None:
            data["data_dir"] = str(Path(self.data.data_dir).resolve())
        return {
            "recipe": self.recipe,
            "arguments": self.arguments,
            "data": data,
            "settings": asdict(self.settings),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Config:
        """The inverse of `to_json`. Raises UserError where the record does not fit."""
        try:
            data = dict(record["data"])
            data["data_dir"] = Path(data["data_dir"]) if data["data_dir"] else None
            arguments = {**_earlier(record), **record["arguments"]}
            options = {**arguments, **data, **record["settings"]}
            return cls.of(record["recipe"], options)
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"run.json is not complete: {type(error).__name__} {error}") from None


def _earlier(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record means that is older than a choice: MLPs had ReLU."""
    offered = recipes.arguments(recipes.find(record["recipe"]))
    full = record["arguments"].get("net", "mlp") == "mlp"
    return {"activation": "relu"} if full and "activation" in offered else {}

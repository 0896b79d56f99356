"""A job: all that decides a training. Run folders keep it, `repeat` trains it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zspace import recipes
from zspace.data import DataOptions
from zspace.errors import UserError, unknown
from zspace.settings import Settings


@dataclass(frozen=True)
class Job:
    """recipe: its name. arguments: its keywords. data: which and how. settings: how to train."""

    recipe: str
    arguments: dict[str, Any]
    data: DataOptions
    settings: Settings

    @classmethod
    def of(cls, recipe: str, options: Mapping[str, Any]) -> Job:
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
                raise unknown(f"option of recipe {recipe}", name, set().union(*names.values()))
        chosen = {
            group: {name: options[name] for name in options if name in known}
            for group, known in names.items()
        }
        defaults = {name: parameter.default for name, parameter in offered.items()}
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
        parts = [self.recipe.replace("_", "-"), Path(self.data.data).stem, latent]
        return "-".join(str(part) for part in parts if part not in (None, ""))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it. A path becomes absolute: it means the same from anywhere."""
        data = asdict(self.data)
        if Path(self.data.data).exists():
            data["data"] = str(Path(self.data.data).resolve())
        if self.data.data_dir is not None:
            data["data_dir"] = str(Path(self.data.data_dir).resolve())
        return {
            "recipe": self.recipe,
            "arguments": self.arguments,
            "data": data,
            "settings": asdict(self.settings),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Job:
        """The inverse of `to_json`. Raises UserError where the record does not fit."""
        try:
            data = dict(record["data"])
            data["data_dir"] = Path(data["data_dir"]) if data["data_dir"] else None
            options = {**record["arguments"], **data, **record["settings"]}
            return cls.of(record["recipe"], options)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"run.json is not complete: {type(error).__name__} {error}") from None

"""A configuration as a TOML file, for `zspace train --config` and for people.

Keys are the flat names that flags and keywords have; options of a recipe that share a reserved
name are in the table ``recipe_options``. What is left out has its default.

    recipe = "vae"
    latent = 20
    data = "mnist5k"
    epochs = 12

Python reads the same: ``zspace.train(**tomllib.load(file))``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomli_w

from zspace.models.recipes import hyphenated
from zspace.runs.config import RESERVED, Config
from zspace.system import files
from zspace.system.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_WRITTEN = ("minutes",)
"""Options that chose others, which are written."""


def to_toml(config: Config) -> str:
    """The text of a file that trains a configuration.

    >>> print(to_toml(run.config).partition("latent")[0].strip())
    # zspace train --config FILE
    recipe = "vae"
    """
    told = config.to_json()
    own = {k: v for k, v in told["recipe_options"].items() if k not in RESERVED}
    clash = {k: v for k, v in told["recipe_options"].items() if k in RESERVED}
    start = {"from_run": config.from_run["path"]} if config.from_run else {}
    training = {k: v for k, v in told["training"].items() if k not in NOT_WRITTEN}
    if config.training.epochs is None:
        training["minutes"] = told["training"]["minutes"]
    if training["graph"] == "on":  # it was recorded on a GPU; where there is none, it need not be
        training["graph"] = "auto"
    parts = {
        "": {"recipe": hyphenated(config.recipe), **start, **own},
        "# network\n": told["network"],
        "# data\n": told["data"],
        "# training\n": training,
    }
    text = "# zspace train --config FILE\n"
    if config.source:
        text = f"# zspace train --config FILE --import {config.source['module']}.py\n"
    text += "\n".join(head + tomli_w.dumps(_given(part)) for head, part in parts.items() if part)
    return text + ("\n" + tomli_w.dumps({"recipe_options": _given(clash)}) if clash else "")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Without what is left to be decided: TOML has no null."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items() if v is not None}


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a file. Raises UserError where it is no TOML."""
    try:
        return tomllib.loads(files.read(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no TOML file ({error}): correct it there") from None

"""What there is: data sets, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def data(
    action: Positional[Literal["list", "info"]] = "list",
    name: Positional[str] = "",
    *,
    data_dir: Path | None = None,
) -> None:
    """List the data sets known by name, or tell what one is.

    Args:
        action: list: all names. info NAME: sizes, classes, source, licence, files.
        name: A name from `zspace data list`.
        data_dir: Where files of named data sets lie.
    """
    from zspace import outputs

    if action == "list":
        outputs.list_data(data_dir)
    else:
        outputs.describe_data(name, data_dir)


def recipes() -> None:
    """List the recipes, each with its sentence and reference."""
    from zspace import outputs

    outputs.list_recipes()

"""The commands, one function each: its signature makes the flags, its docstring the help.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from zspace.cli.commands.comparing import figure, report, study
from zspace.cli.commands.exploring import explore, export, learn
from zspace.cli.commands.finding import remove, runs, show
from zspace.cli.commands.measuring import compare, evaluate, score
from zspace.cli.commands.training import repeat, resume, train
from zspace.cli.commands.using import (
    data,
    embed,
    impute,
    interpolate,
    recipes,
    reconstruct,
    sample,
)
from zspace.system.cores import reading


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """The command, within which as many threads read files as its option --workers says."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with reading(options.get("workers", 0)):
            command(*args, **options)

    return run


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__: _reading(command)
    for command in (
        *(train, resume, repeat, sample, reconstruct, interpolate, impute, embed),
        *(study, report, figure),
        *(evaluate, score, compare, explore, export, learn, runs, show, remove, data, recipes),
    )
}
for _command in COMMANDS.values():  # tyro would keep the line breaks within an argument's help
    _command.__doc__ = re.sub(r"\n {8,}", " ", inspect.cleandoc(_command.__doc__ or ""))

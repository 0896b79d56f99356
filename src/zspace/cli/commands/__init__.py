"""The commands, a function each: its signature makes the flags, its docstring the help.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zspace.cli.commands.comparing import figure, report, study
from zspace.cli.commands.exploring import explore, export
from zspace.cli.commands.measuring import compare, evaluate, score
from zspace.cli.commands.training import repeat, resume, train
from zspace.cli.commands.using import data, embed, recipes, reconstruct, sample

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "resume": resume,
    "repeat": repeat,
    "sample": sample,
    "reconstruct": reconstruct,
    "embed": embed,
    "study": study,
    "report": report,
    "figure": figure,
    "evaluate": evaluate,
    "score": score,
    "compare": compare,
    "explore": explore,
    "export": export,
    "data": data,
    "recipes": recipes,
}

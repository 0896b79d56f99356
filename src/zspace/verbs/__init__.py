"""The commands, a function each: its signature makes the flags, its docstring the help.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zspace.verbs.comparing import figure, report, study
from zspace.verbs.exploring import explore, export
from zspace.verbs.listing import data, recipes
from zspace.verbs.measuring import compare, evaluate, score
from zspace.verbs.training import repeat, resume, train
from zspace.verbs.using import embed, reconstruct, sample

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

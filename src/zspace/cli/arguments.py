"""Kinds of arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

Count = Annotated[int, arg(aliases=["-n"])]
Out = Annotated[Path, arg(aliases=["-o"])]
OutOrDefault = Annotated[Path | None, arg(aliases=["-o"])]
RunPath = Annotated[Positional[Path], arg(metavar="RUN")]

"""zspace: build, train, compare and explore autoencoders from parts.

An encoder reads x, a bottleneck turns what it read into a code z, and a decoder turns z into the
parameters of a likelihood p(x|z). A prior says where codes should lie. An objective, a weighted
sum of named terms, says what to minimise.

    run = zspace.train("cvae", data="mnist5k", latent=20)
    run.sample(16, label=7)

Names are imported when they are first used, so that ``import zspace`` is instant. The parts are in
`zspace.models`, data in `zspace.data`, metrics in `zspace.analysis`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zspace._version import __version__

if TYPE_CHECKING:
    from zspace.data.spec import Spec as Spec
    from zspace.explorer.framed import explore as explore
    from zspace.models.autoencoder import Autoencoder as Autoencoder
    from zspace.models.objective import Objective as Objective
    from zspace.models.recipes import Player as Player
    from zspace.models.recipes import Recipe as Recipe
    from zspace.models.recipes import recipe as recipe
    from zspace.runs.many import Study as Study
    from zspace.runs.measured import evaluate as evaluate
    from zspace.runs.run import Run as Run
    from zspace.runs.run import load as load
    from zspace.sharing.exporting import export as export
    from zspace.studies.launch import study as study
    from zspace.system.errors import UserError as UserError
    from zspace.system.signals import Interrupted as Interrupted
    from zspace.training.api import repeat as repeat
    from zspace.training.api import resume as resume
    from zspace.training.api import train as train
    from zspace.training.callbacks import Callback as Callback

_ROOMS = {
    "data": ("Spec",),
    "explorer.framed": ("explore",),
    "models": ("Autoencoder", "Objective", "Player", "Recipe", "recipe"),
    "runs.many": ("Study",),
    "runs.measured": ("evaluate",),
    "runs.run": ("Run", "load"),
    "sharing.exporting": ("export",),
    "studies.launch": ("study",),
    "system.errors": ("UserError",),
    "system.signals": ("Interrupted",),
    "training.api": ("repeat", "resume", "train"),
    "training.callbacks": ("Callback",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in ("data", "models", "analysis"):
        return import_module(f"zspace.{name}")
    if name in _HOMES:
        return getattr(import_module(f"zspace.{_HOMES[name]}"), name)
    now = import_module("zspace.system.renamed").name(name)
    if now != name:
        return __getattr__(now)
    raise AttributeError(f"module 'zspace' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)

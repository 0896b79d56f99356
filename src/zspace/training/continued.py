"""A training that goes on from a finished run: what it takes over, and what it may change.

Taken over: weights, which are averages over the run's last steps, the encoding of x, classes, and
all options of recipe, network and of how samples are prepared. New: the moments of AdamW, the
schedules, and the options of the training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from zspace.data.dataset import Data
from zspace.data.kinds.encoding import Encoding
from zspace.data.kinds.image import by
from zspace.data.loading import is_resized, lasting
from zspace.data.options import DataOptions, is_harmless
from zspace.data.readers.objects import PREFIX
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.flow import Model
from zspace.runs.config import OWN, Config
from zspace.runs.record import WEIGHTS, Place, Untrusted, is_own, read_encoding, read_spec
from zspace.runs.run import Run, load
from zspace.system.errors import UserError
from zspace.training.optimizer import copied

OF_THE_SOURCE = (
    "data", "data_dir", "val", "test", "labels", "columns", "labelled_only", "leave_out",
    "hold_out_class", "skip_bad", "weight", "balance", "group", "split_by",
)  # fmt: skip
"""Options of data that speak of one source, and mean nothing where other data are given."""
ALSO_OF_ROWS = ("labels", "columns")
"""Those of them that hold for other tables, series and texts: they name what all have."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a training begins with.

    Arguments:
        spec: What the model was told of its data.
        encoding: How raw samples become x; None for images.
        classes: Those that labels of new data are matched with by name.
        weights: By name; None where a checkpoint has newer ones.
        data: Those that the run was trained on, where they are held in Python.
        said: One line for the user.
    """

    spec: Spec
    encoding: Encoding | None
    classes: tuple[str, ...] = ()
    weights: Mapping[str, Tensor] | None = None
    data: Data | None = None
    said: str = ""

    @classmethod
    def of(cls, run: Run) -> Start:
        """That of a training that goes on from this run."""
        done, config = run.result, run.config
        what = (
            f"{recipes.hyphenated(config.recipe)}, epoch {done['best_epoch']} of {done['epochs']}"
        )
        said = (
            f"going on from '{run.place}' ({what}): its weights, averages over its last steps, "
            "with new moments and the learning rate warmed up again"
        )
        if len(run.recipe.players) > 1:
            said += "; other players, such as a discriminator, begin anew"
        held = run.held if config.data.data.startswith(PREFIX) else None
        classes = run.spec.classes if run.model.context else ()
        return cls(run.spec, run.encoding, classes, copied(run.model), held, said)

    @classmethod
    def kept(cls, place: Place, record: dict[str, Any]) -> Start:
        """That of a training that is resumed, whose checkpoints have newer weights.

        place: Of its own files; those of the run that it went on from need not be there.
        """
        encoding = read_encoding(place, record)
        spec = read_spec(record, encoding)
        return cls(spec, encoding, spec.classes)

    def fitted(self, data: Data, model: Model) -> Data:
        """The data as the model reads them. Raises UserError where it cannot."""
        if self.spec.scales and data.attributes == self.spec.attributes:
            data = data.scaled(self.spec.scales)
        new, old = data.spec, self.spec
        if new.kind != old.kind:
            raise UserError(
                f"data '{data.name}' are of kind {new.kind}, but the run to go on from reads "
                f"{old.kind}: give data of that kind"
            )
        if new.shape != old.shape:
            size = f", or --size {old.shape[2]}x{old.shape[1]}" * (old.kind == "image")
            raise UserError(
                f"data '{data.name}' have samples of {by(new.shape)}, but the run to go on from "
                f"reads {by(old.shape)}: give samples of that shape{size}"
            )
        if model.context and (new.classes, new.attributes) != (old.classes, old.attributes):
            have, want = (", ".join(s.classes or s.attributes) or "none" for s in (new, old))
            raise UserError(
                f"data '{data.name}' have the labels {have:.100}, but the run to go on from is "
                f"conditional and knows {want:.100}: give data with these"
            )
        return data


def onward(
    run: Run,
    recipe: str | None,
    options: Mapping[str, Any],
    recipe_options: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a training that goes on from a run.

    Arguments:
        run: Which has finished.
        recipe: Its own, or None.
        options: Keywords, as `Config.of` takes them; the others are those of the run.
        recipe_options: Likewise.

    Raises UserError for options with which its weights cannot be used.
    """
    name = named(run, recipe).replace("-", "_")
    flat, own = inherited(run, options.get("data"))
    note = {"path": str(run.place), "weights": run.record["files"][WEIGHTS]}
    if run.place.folder:
        note["path"] = str(run.place.folder.resolve())
    given = {k: v for k, v in options.items() if not k.startswith(OWN)}
    own |= {k.removeprefix(OWN): options[k] for k in options.keys() - given.keys()}
    own |= recipe_options or {}
    for key in [key for key in given if key in own and key not in flat]:
        own[key] = given.pop(key)
    config = Config.of(name, {**flat, **given}, own, note)
    _refuse_other(config, run)
    return config


def named(run: Run, recipe: str | None) -> str:
    """The recipe of a run that is to go on. Raises UserError where another one is asked for."""
    own = recipes.hyphenated(run.config.recipe)
    if recipe and recipes.hyphenated(recipe) != own:
        raise UserError(
            f"recipe is {recipe}, but run '{run.place}' was trained as {own}, whose weights fit "
            f"no other: use 'zspace train {own} --from {run.place}'"
        )
    return own


def inherited(run: Run, data: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that a training takes over from a run: of network and data, and the recipe's own.

    data: other data than those of the run, where they are given.
    """
    config, known = run.config, run.trust_data or is_own(run.record)
    own = {f.name: getattr(config.data, f.name) for f in fields(DataOptions)}
    if data is None and not known and not is_harmless(run.record["config"]["data"]):
        raise Untrusted(
            f"run '{run.place}' was not made by you on this machine, so its data, "
            f"{own['data']!r:.100}, are not opened: name the data to go on with (--data, data=)"
        )
    same = data is None or (isinstance(data, str) and lasting(data) == lasting(own["data"]))
    if not (same and (known or data is None)):
        gone = [n for n in OF_THE_SOURCE if run.encoding is None or n not in ALSO_OF_ROWS]
        own = {name: value for name, value in own.items() if name not in gone}
        if run.values:
            own["values"] = tuple(map(str, run.values))
        if own["size"] is None and run.encoding is None and is_resized(str(data)):
            own["size"] = f"{run.spec.shape[2]}x{run.spec.shape[1]}"
    return {**config.network, **own}, dict(config.recipe_options)


def _refuse_other(config: Config, run: Run) -> None:
    """Raise UserError where an option asks for another model than that of the run."""
    old = run.config
    fixed = {**old.network, **{n: v for n, v in old.recipe_options.items() if n == "latent"}}
    for name, value in {**config.network, **config.recipe_options}.items():
        had = {**old.network, **old.recipe_options}.get(name)
        if value == had:
            continue
        changed = replace(old, recipe_options={**old.recipe_options, name: value})
        parts = {**fixed, **config.network}
        if name in parts or _model(changed, run.spec) != _model(old, run.spec):
            flag = name.replace("_", "-")
            raise UserError(
                f"{name} is {_text(value)}, but run '{run.place}' was trained with {_text(had)}, "
                f"and its weights fit no other: leave --{flag} out, or train anew without --from"
            )


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _model(config: Config, spec: Spec) -> tuple[Any, ...]:
    """What a model is: its layers in words, and the shape of all that is trained."""
    build = recipes.find(config.recipe)
    with contextlib.suppress(NotImplementedError), torch.device("meta"):
        return _described(build(spec, **config.arguments).model)
    return _described(build(spec, **config.arguments).model)


def _described(model: Model) -> tuple[Any, ...]:
    return str(model), {name: tuple(value.shape) for name, value in model.state_dict().items()}


def origin(config: Config) -> Start | None:
    """What a configuration says that a training begins with; None for weights that are drawn.

    Raises UserError where that run is not there any more, or has other weights.
    """
    if config.from_run is None:
        return None
    path, weights = config.from_run["path"], config.from_run["weights"]
    gone = f"this training goes on from run '{path}', which"
    try:
        run = load(path, "cpu", trust_data=True)
    except UserError as error:
        raise UserError(f"{gone} cannot be used any more ({error}): put it back") from None
    if run.record["files"].get(WEIGHTS) != weights:
        raise UserError(f"{gone} has other weights by now: put back those that it had")
    return Start.of(run)

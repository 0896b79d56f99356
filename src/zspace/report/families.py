"""What the page says of a family: its names, its kind, its terms; and fair comparisons of two."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zspace import explore
from zspace.figures.house import title_of
from zspace.runs import Run
from zspace.study import Study


@dataclass(frozen=True)
class Family:
    """A family of a study.

    sizes: code size -> its runs, one a seed. chosen: the code size that validation chose.
    error: the name of the term that measures reconstruction. kl_weight: of the plain KL term in
    the objective at the end of training; 0 where it does not count. spatial: whether a code is a
    map (channels, height, width), whose channels are then its size.
    """

    name: str
    sizes: dict[int, list[Run]]
    chosen: int
    error: str
    kl_weight: float
    variational: bool
    conditional: bool
    spatial: bool

    @property
    def unit(self) -> str:
        """What its code sizes count."""
        return "channel" if self.spatial else "dimension"

    @property
    def label(self) -> str:
        """As papers write it: CVAE."""
        return title_of(self.name)

    @property
    def run(self) -> Run:
        """The run that stands for the family: at the chosen size, first seed."""
        return self.sizes[self.chosen][0]

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [run for runs in self.sizes.values() for run in runs]

    def mean(self, split: str, term: str, size: int | None = None) -> float:
        """A term on a split, a mean over seeds, at a size (by default the chosen one)."""
        return mean(self.sizes[self.chosen if size is None else size], split, term)

    def by_size(self, split: str, term: str) -> dict[int, float]:
        """The same for every size."""
        return {size: self.mean(split, term, size) for size in self.sizes}


def mean(runs: Sequence[Run], split: str, term: str) -> float:
    """A term on a split, a mean over runs."""
    return statistics.mean(run.result[split][term] for run in runs)


def families_of(study: Study) -> list[Family]:
    """The families of a study, in its order."""
    return [_family(study, name) for name in study.families]


def _family(study: Study, name: str) -> Family:
    run = study.best(name)
    objective = run.recipe.players[0].objective
    return Family(
        name=name,
        sizes=study.families[name],
        chosen=study.chosen[name],
        error=explore.error_name(run),
        kl_weight=objective.weight("kl", 1.0) if "kl" in objective.weights else 0.0,
        variational=explore.variational(run),
        conditional=bool(run.model.context),
        spatial=len(run.model.latent) > 1,
    )


@dataclass(frozen=True)
class Contrast:
    """Two families that differ in one thing, at a code size that both have."""

    before: Family
    after: Family
    size: int


def kl_contrast(families: Sequence[Family]) -> Contrast | None:
    """A deterministic family and one that adds a KL term, all else the same."""
    for before in families:
        for after in families:
            added = not before.variational and after.variational and after.kl_weight > 0
            if added and before.conditional == after.conditional and _else_alike(before, after):
                return _at_a_common_size(before, after)
    return None


def label_contrast(families: Sequence[Family]) -> Contrast | None:
    """A family and one that is told the label too, all else the same."""
    for before in families:
        for after in families:
            told = not before.conditional and after.conditional
            same = before.variational == after.variational and before.kl_weight == after.kl_weight
            if told and same and _else_alike(before, after):
                return _at_a_common_size(before, after)
    return None


def _else_alike(a: Family, b: Family) -> bool:
    """Same choices where both have them, same data and settings, same measure of error."""
    return a.error == b.error and _choices(a, b) == _choices(b, a)


def _choices(a: Family, b: Family) -> tuple[Any, ...]:
    mine, its = a.run.job, b.run.job
    arguments = {
        name: value
        for name, value in mine.arguments.items()
        if name in its.arguments and name != "latent"
    }
    return arguments, mine.data, mine.settings


def _at_a_common_size(before: Family, after: Family) -> Contrast | None:
    common = before.sizes.keys() & after.sizes.keys()
    if not common:
        return None
    size = after.chosen if after.chosen in common else max(common)
    return Contrast(before, after, size)

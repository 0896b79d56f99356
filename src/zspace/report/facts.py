"""A study as the page and its figures see it: families, fair contrasts of two, numbers as text.

What a family is called, and what its terms are, comes from its parts; nothing is guessed from a
name.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from zspace.analysis.generation import as_asked
from zspace.analysis.numbers import number, percent
from zspace.analysis.trained import once
from zspace.data.account import of_samples as of_samples
from zspace.data.dataset import Data
from zspace.data.spec import Fact
from zspace.models.recipes import Traits, hyphenated
from zspace.runs.many import QUALITY, Study, quality_cells
from zspace.runs.run import Run

DASH = "–"
Numbers = Mapping[str, str | Mapping[str, str]]
"""What a number is -> the number, or one for each family by its title."""


def joined(parts: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'; '' of none."""
    *first, last = list(parts) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def curly(text: str) -> str:
    """With an apostrophe as books print it, and N(0, I) never broken over two lines."""
    return re.sub(r"(?<=\w)'", "’", text).replace("N(0, ", "N(0,\N{NO-BREAK SPACE}")


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".:?!" else ".")


def short(name: str, most: int = 16) -> str:
    """A name that fits."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


@dataclass(frozen=True)
class Family:
    """A family of a study.

    title: of its recipe, with what was varied: "beta-VAE beta=4". sizes: code size -> its runs,
    one per seed; where a recipe has no option for it, the numbers in a code. chosen: the size that
    validation chose.
    """

    name: str
    title: str
    sizes: dict[int, list[Run]]
    chosen: int

    @property
    def run(self) -> Run:
        """The run that stands for the family: at the chosen size, first seed."""
        return self.sizes[self.chosen][0]

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [run for runs in self.sizes.values() for run in runs]

    @property
    def traits(self) -> Traits:
        """What the model is, as its parts say."""
        return self.run.traits

    @property
    def compared(self) -> bool:
        """Whether codes can be compared with N(0, I): it is the prior, and they are continuous."""
        return self.traits.standard and not self.traits.discrete

    @property
    def panel(self) -> str:
        """The title of its panel: the family, and the code that is shown."""
        return panel(self, self.run)

    @property
    def minimised(self) -> list[dict[str, float | str]]:
        """The terms that count for each player, with their weights at the end of training."""
        sums = [player.objective.final_weights() for player in self.run.recipe.players]
        return [{name: weight for name, weight in one.items() if weight} for one in sums]

    @property
    def kl_weight(self) -> float:
        """Of the KL to the prior, at the end of training; 0 where it does not count."""
        objective = self.run.objective
        return sum(objective.weight(name, 1.0) for name in objective.of_role("divergence"))

    def fact(self, name: str) -> Fact:
        """What one of its terms is."""
        facts = {k: v for p in self.run.recipe.players for k, v in p.objective.facts.items()}
        return facts.get(name, Fact(name.replace("_", " ")))

    def named(self, name: str) -> str:
        """What one of its terms is called, and with which code it is measured."""
        return self.fact(name).named(self.traits.variational)

    def mean(self, split: str, name: str, size: int | None = None) -> float | None:
        """A term on a split, a mean over seeds, at a size (by default the chosen one)."""
        runs = self.sizes[self.chosen if size is None else size]
        values = [run.result[split].get(name) for run in runs]
        return None if None in values else statistics.mean(values)


@once
def families(study: Study) -> list[Family]:
    """The families of a study, in its order; no two have one title."""
    found = [_family(study, name) for name in study.families]
    titles = [family.title for family in found]
    return [
        f if titles.count(f.title) == 1 else replace(f, title=f"{f.title} ({f.name})")
        for f in found
    ]


def _family(study: Study, name: str) -> Family:
    run, varied = study.best(name), name.partition(" ")[2]
    title = run.recipe.title or hyphenated(run.config.recipe)
    own = math.prod(run.model.latent)
    sizes = {size or own: runs for size, runs in study.families[name].items()}
    return Family(name, short(f"{title} {varied}", 30), sizes, study.chosen[name] or own)


def panel(family: Family, run: Run) -> str:
    """The title of a panel that shows one run of a family."""
    return f"{family.title}, {code_of(run.model.latent)}"


def code_of(latent: Sequence[int]) -> str:
    """The shape of a code in words: 'code size 20', or 'code 4×7×7' for a map of codes."""
    size = "×".join(map(str, latent))
    return f"code {size}" if len(latent) > 1 else f"code size {size}"


def shape(run: Run) -> str:
    """The shape of a run's code: '20', or '2 × 7 × 7'."""
    return " × ".join(map(str, run.model.latent))


def each(
    shown: Iterable[Family],
    measure: Callable[[Family], float | None],
    show: Callable[[float], str] = number,
) -> dict[str, str]:
    """A number of each family that has it, by the family's title."""
    found = {family.title: measure(family) for family in shown}
    return {title: show(value) for title, value in found.items() if value is not None}


def means(shown: Iterable[Family], split: str, name: str) -> dict[str, str]:
    """A term of each family that has it, on a split, at the chosen code size."""
    return each(shown, lambda family: family.mean(split, name))


def on_test(study: Study, pick: Callable[[Family], str | None]) -> dict[str, dict[str, str]]:
    """One term of each family, by its title: a row for each title that occurs."""
    found: dict[str, dict[str, str]] = {}
    for family in families(study):
        name = pick(family)
        if name:
            title = family.named(name)
            row = found.setdefault(title[:1].upper() + title[1:], {})
            row.update(means([family], "test", name))
    return found


def asked(
    told: Iterable[Family], data: Data, what: str = "conditional_accuracy"
) -> dict[str, str]:
    """How often a classifier reads samples as the class asked for, of families that are told one.

    Those are left out of whom that is not known.
    """
    found = {family.title: as_asked(family.run, data) for family in told}
    return {title: percent(one[what].value) for title, one in found.items() if one}


def errors(study: Study) -> dict[str, dict[str, str]]:
    """The reconstruction error of each family: the term that each has, which may be that of drawn
    codes, and the squared error of mean codes, in which all families compare.
    """
    found = on_test(study, lambda family: family.run.error)
    title = sentence(QUALITY["mse_mean_code"].named(True)).rstrip(".")
    without = each(families(study), mean_code_error)
    if without:
        found[title] = {**without, **found.get(title, {})}
    return found


def mean_code_error(family: Family, size: int | None = None) -> float | None:
    """The squared error of mean codes over seeds, at a size (by default the chosen one)."""
    cells = quality_cells(family.sizes[family.chosen if size is None else size])
    return cells["mse_mean_code"].mean if "mse_mean_code" in cells else None


def priors(shown: Iterable[Family]) -> Numbers:
    """The prior of each family, once where it is the same."""
    found = {family.title: family.traits.prior for family in shown}
    alike = len(set(found.values())) == 1
    return {"Prior": next(iter(found.values())) if alike else found}


@dataclass(frozen=True)
class Contrast:
    """Two families that differ in one thing, at a code size that both have."""

    before: Family
    after: Family
    size: int


def contrasts(study: Study) -> list[Contrast]:
    """For a KL term that is added, and for a label: the first two families that differ in it."""
    all_of, found = families(study), []
    for adds in (_adds_kl, _adds_label):
        pairs = ((a, b) for a in all_of for b in all_of if adds(a, b) and _else_alike(a, b))
        for before, after in list(pairs)[:1]:
            common = before.sizes.keys() & after.sizes.keys()
            size = after.chosen if after.chosen in common else max(common, default=None)
            found += [] if size is None else [Contrast(before, after, size)]
    return found


def only(study: Study, when: Callable[[Family], bool]) -> list[Family]:
    """The families of which something holds."""
    return [family for family in families(study) if when(family)]


def titles(shown: list[Family]) -> str:
    """'the AE and the VAE'."""
    return joined(f"the {family.title}" for family in shown)


def change(old: float, new: float) -> str:
    """'7.31 → 9.02'."""
    return f"{number(old)} → {number(new)}"


def contrast(study: Study, adds: str) -> Contrast | None:
    """The pair of families that differ in a KL term alone, or in a label alone."""
    for one in contrasts(study):
        label = one.after.traits.conditional and not one.before.traits.conditional
        if (adds == "label") == label:
            return one
    return None


def changed(pair: Contrast, what: str) -> str:
    """'AE → VAE: squared error, mean code, on test, code size 20'."""
    code = code_of(pair.after.sizes[pair.size][0].model.latent)
    return f"{pair.before.title} → {pair.after.title}: {what}, on test, {code}"


def _adds_kl(a: Family, b: Family) -> bool:
    """Whether b minimises what a does and a KL to the prior, and nothing else."""
    terms = a.minimised + [{}] * (len(b.minimised) - len(a.minimised))
    own = {"divergence"} == {b.fact(name).role for name in b.minimised[0].keys() - terms[0].keys()}
    rest = terms[1:] == b.minimised[1:] and terms[0].items() <= b.minimised[0].items()
    return own and rest and a.traits.conditional == b.traits.conditional


def _adds_label(a: Family, b: Family) -> bool:
    """Whether b is told a label that a is not."""
    return b.traits.conditional and not a.traits.conditional and a.minimised == b.minimised


def _else_alike(a: Family, b: Family) -> bool:
    """Same choices where both have them, same data and settings."""
    mine, its = (family.run.config for family in (a, b))
    shared = (mine.arguments.keys() & its.arguments.keys()) - {"latent"}
    same = all(mine.arguments[name] == its.arguments[name] for name in shared)
    return same and (mine.data, mine.training) == (its.data, its.training)

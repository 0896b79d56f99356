"""Numbers into sentences. What compares looks at the numbers first: no sentence knows its end.

What the page says of a family: its names, its kind, its terms; and fair comparisons of two.

A study as the sentences of the page see it.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zspace.analysis.numbers import count, fixed, number, number_text, percent
from zspace.data.dataset import Data
from zspace.report.figures.style import title_of
from zspace.runs.many import Study
from zspace.runs.run import Run

TERMS = {
    "mse": "squared error",
    "bce": "binary cross-entropy",
    "nll": "negative log-likelihood",
    "kl": "KL term",
    "kl_free_bits": "KL term with free bits",
    "mutual_information": "mutual information of x and z",
    "total_correlation": "total correlation",
    "dimension_kl": "KL of the single dimensions",
    "iwae": "importance-weighted bound",
    "perceptual": "perceptual distance",
    "generator_loss": "adversarial term",
    "discriminator_loss": "discriminator's loss",
    "objective": "objective",
}


def term(name: str) -> str:
    """A term's name as people say it."""
    return TERMS.get(name, name.replace("_", " "))


def curly(text: str) -> str:
    """With an apostrophe as books print it, and N(0, I) never broken over two lines."""
    return re.sub(r"(?<=\w)'", "’", text).replace("N(0, ", "N(0,\N{NO-BREAK SPACE}")


def joined(parts: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".:?!" else ".")


def each(values: Mapping[str, float], show: str = "number") -> str:
    """'12.5 for the AE and 29.9 for the VAE', in their order; the number alone where it is one."""
    shown = {name: SHOW[show](value) for name, value in values.items()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    return joined(f"{text} for the {name}" for name, text in shown.items())


SHOW = {"number": number, "percent": percent, "whole": lambda value: fixed(value, 0)}


def change(cause: str, quantity: str, before: float, after: float) -> str:
    """'The KL term raises the squared error from 5.38 to 17.3'; no claim under one per cent."""
    old, new = number(before), number(after)
    if old == new:
        return f"{cause} leaves the {quantity} at {new}"
    if abs(after - before) < 0.01 * abs(before):  # too little to make a claim of
        return f"{cause} hardly changes the {quantity}: {old} before, {new} after"
    return f"{cause} {'raises' if after > before else 'lowers'} the {quantity} from {old} to {new}"


def course(quantity: str, steps: Mapping[int, float], unit: str) -> str:
    """'its squared error falls from 36.8 at 2 dimensions to 12.5 at 20'; also says a turn."""
    (first, old), *_, (last, new) = steps.items()
    if number(old) == number(new):
        text = f"{quantity} is {number(new)} at {first} {unit} and at {last}"
    else:
        verb = "rises" if new > old else "falls"
        text = f"{quantity} {verb} from {number(old)} at {first} {unit} to {number(new)} at {last}"
    best = min(steps, key=lambda at: steps[at])
    if best in (first, last) or number(steps[best]) in (number(old), number(new)):
        return text
    return f"{text}, with its lowest value, {number(steps[best])}, at {best}"


def choice(
    name: str, scores: Mapping[int, float], spread: float | None = None, unit: str = "dimensions"
) -> str:
    """Why a code size was chosen: scores are mean validation objectives by size.

    spread: the largest sample standard deviation over seeds of the two best, where there is one.
    """
    best, *others = sorted(scores, key=lambda size: scores[size])
    if not others:
        return f"{name}: {best} is the only code size that was trained."
    lead = scores[others[0]] - scores[best]
    text = f"{name}: {best} {unit}. Its validation objective, {number(scores[best])}, is "
    if number(scores[best]) == number(scores[others[0]]):
        return text + f"to these digits that of {others[0]} too: not a clear win."
    text += f"the lowest, {number(lead)} below that of the next, {others[0]}"
    if spread is not None and lead < spread:
        return text + f": less than the spread over seeds, {number(spread)}, so not a clear win."
    return text + "."


def weighted(weights: Mapping[str, float | str]) -> str:
    """'squared error + 0.5 × KL term': an objective in words, without what it only reports.

    A weight that training sets itself comes as a sentence part and stays one.
    """
    parts = []
    for name, weight in weights.items():
        if isinstance(weight, str):
            parts.append(f"{term(name)} (weight {weight})")
        elif weight:
            parts.append(term(name) if weight == 1 else f"{number_text(weight)} × {term(name)}")
    return " + ".join(parts)


def extremes(errors: Mapping[str, float]) -> str:
    """'hardest 8 (41.2), easiest 1 (9.87)'; nothing to tell apart where they look equal."""
    hard, easy = (f(errors, key=lambda name: errors[name]) for f in (max, min))
    if number(errors[hard]) == number(errors[easy]):
        return f"all classes alike ({number(errors[easy])})"
    return f"hardest {hard} ({number(errors[hard])}), easiest {easy} ({number(errors[easy])})"


def gap(train: float, other: float, split: str) -> str:
    """How a split stands to train: '12.2 on validation against 9.1 on train, 3.06 more'."""
    text = f"{number(other)} on {split} against {number(train)} on train"
    if number(train) == number(other):
        return text
    more = "more" if other > train else "less"
    return f"{text}, {number(abs(other - train))} {more}"


def further(values: Mapping[str, float], reference: float) -> str:
    """Whose samples lie further from real images than other real images do, and whose do not."""
    far = [name for name, value in values.items() if value > reference]
    if len(values) == 1 or not far or len(far) == len(values):
        who = "they" if len(values) == 1 else "all" if far else "none"
        return f"{who} {'do not ' * (len(values) == 1 and not far)}lie further from real images"
    near = [name for name in values if name not in far]
    return (
        f"samples of the {joined(far)} lie further from real images than other real images do, "
        f"those of the {joined(near)} do not"
    )


def round_trip(dense: float, sparse: float) -> str:
    """How far codes of two windows, A dense and B sparse, come back, in widths of the window."""
    a, b = number(dense), number(sparse)
    text = (
        f"Decoded and encoded again, a code of A comes back {a} window widths from where it was, "
        f"one of B {b}"
    )
    if a == b:
        return f"{text}: no difference."
    return f"{text}: {'further' if sparse > dense else 'nearer'}."


def half_way(values: Mapping[int, float]) -> tuple[int, float] | None:
    """The first epoch at which half of the fall from the first to the best value is done.

    None where nothing fell.
    """
    start, best = next(iter(values.values())), min(values.values())
    if not best < start:
        return None
    return next((epoch, value) for epoch, value in values.items() if value <= (start + best) / 2)


def normality(distances: Mapping[str, float], critical: float) -> str:
    """Kolmogorov-Smirnov distances to N(0, 1), averaged over dimensions, and how to read them."""
    passing = [name for name, value in distances.items() if value < critical]
    text = (
        f"The Kolmogorov–Smirnov distance of a dimension to N(0, 1), a mean over dimensions, is "
        f"{each(distances)} (0 is a perfect fit; {number(critical)} is what 95% of true normal "
        "samples of this size stay below)"
    )
    if len(distances) == 1 or not passing or len(passing) == len(distances):
        return sentence(text)
    return sentence(f"{text}: only the {joined(passing)} {_pass(passing)} that test on average")


def _pass(names: Sequence[str]) -> str:
    return "passes" if len(names) == 1 else "pass"


def activity(active: int, of: int, total: float) -> str:
    """'13 of 20 dimensions carry more than 0.01 nats, 6.94 nats together'."""
    carry = "carries" if active == 1 else "carry"
    return (
        f"{active} of {count(of, 'dimension')} {carry} more than 0.01 nats; "
        f"all together carry {number(total)}"
    )


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
    objective = run.objective
    return Family(
        name=name,
        sizes=study.families[name],
        chosen=study.chosen[name],
        error=run.error,
        kl_weight=sum(objective.weight(name, 1.0) for name in objective.of_role("divergence")),
        variational=run.variational,
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
    mine, its = a.run.config, b.run.config
    arguments = {
        name: value
        for name, value in mine.arguments.items()
        if name in its.arguments and name != "latent"
    }
    return arguments, mine.data, mine.training


def _at_a_common_size(before: Family, after: Family) -> Contrast | None:
    common = before.sizes.keys() & after.sizes.keys()
    if not common:
        return None
    size = after.chosen if after.chosen in common else max(common)
    return Contrast(before, after, size)


@dataclass(frozen=True)
class Facts:
    """A study as the sentences see it."""

    study: Study
    data: Data
    families: list[Family]
    kl: Contrast | None
    label: Contrast | None

    @classmethod
    def of(cls, study: Study) -> Facts:
        families = families_of(study)
        return cls(study, study.data, families, kl_contrast(families), label_contrast(families))


def errors(families: Sequence[Family], split: str = "test") -> str:
    """'squared error 12.5 for the AE and 29.9 for the VAE', by the term that each family has."""
    parts = []
    for name in dict.fromkeys(family.error for family in families):
        of = {f.label: f.mean(split, name) for f in families if f.error == name}
        only = len(of) == 1 < len(families)
        parts.append(f"{term(name)} {each(of)}" + (f" for the {next(iter(of))}" if only else ""))
    return "; ".join(parts)


def sizes(families: Sequence[Family]) -> str:
    """The chosen sizes: '20 dimensions', or '2 for the AE and 20 for the VAE'."""
    texts = {family.label: size(family) for family in families}
    if len(set(texts.values())) == 1:
        return size(families[0])
    if any(family.spatial for family in families):
        return joined(f"{text} for the {label}" for label, text in texts.items())
    return each({family.label: family.chosen for family in families}, "whole")


def size(family: Family) -> str:
    """The chosen size of one family: '20 dimensions', or 'a map of 2 × 7 × 7 numbers'."""
    if family.spatial:
        return f"a map of {shape(family.run)} numbers"
    return count(family.chosen, "dimension")


def shape(run: Run) -> str:
    """The shape of a run's code: '20', or '2 × 7 × 7'."""
    return " × ".join(map(str, run.model.latent))

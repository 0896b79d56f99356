"""A study as the sentences of the page see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zspace.data import Data
from zspace.report import words
from zspace.report.families import Contrast, Family, families_of, kl_contrast, label_contrast
from zspace.report.words import count, each, joined
from zspace.runs import Run
from zspace.study import Study


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
        parts.append(
            f"{words.term(name)} {each(of)}" + (f" for the {next(iter(of))}" if only else "")
        )
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

"""A study as the sentences of the page see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zspace.data import Data
from zspace.report import words
from zspace.report.families import Contrast, Family, families_of, kl_contrast, label_contrast
from zspace.report.words import count, each
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
    if len({family.chosen for family in families}) == 1:
        return count(families[0].chosen, "dimension")
    return each({family.label: family.chosen for family in families}, "whole")

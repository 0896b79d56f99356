"""What the page says: fixed sentences under each question, with slots for a study's numbers.

An answer is one function, registered under a part of the page. Its docstring is what is said, with
{slots}; the function measures, and returns

    None                    nothing to say of this study
    numbers, None           numbers alone: the sentence is not true of them, or not known to be
    numbers, slots          numbers and, below them, the sentence with its slots filled

A sentence that gives a reason is thus said only where a condition on the numbers holds. One
without numbers introduces its part. Sentences speak of images; of other samples the page says what
they are called.

    @answer("copy")
    def identity(study):
        \"\"\"The network is no copy: it does {times} times as badly on shuffled pixels.\"\"\"
        ...
        return {"Error": {...}}, {"times": number(worst)} if worst > 3 else None
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zspace.report.facts import Numbers
from zspace.runs.many import Study

Slots = Mapping[str, str]
Found = tuple[Numbers, Slots | None] | None
Find = Callable[[Study], Found]
ALWAYS: Found = {}, {}
"""Said of every study."""


@dataclass(frozen=True)
class Answer:
    """A fixed text, and what finds its numbers and slots. kinds: of samples; () for every kind."""

    part: str
    text: str
    find: Find
    kinds: tuple[str, ...] = ()


ANSWERS: list[Answer] = []
"""In the order in which the page gives them."""


def answer(part: str, kinds: tuple[str, ...] = ()) -> Callable[[Find], Find]:
    """Register an answer under a part of the page; see this module."""

    def register(find: Find) -> Find:
        text = " ".join((inspect.getdoc(find) or "").split())
        ANSWERS.append(Answer(part, text, find, kinds))
        return find

    return register


@dataclass(frozen=True)
class Given:
    """An answer as this study has it: its numbers, and its sentence or ''."""

    numbers: Numbers
    text: str


def given(study: Study, part: str) -> list[Given]:
    """The answers of a part that have something to say of a study."""
    kind, said = study.data.spec.kind, []
    for one in ANSWERS:
        if one.part != part or (one.kinds and (kind not in one.kinds or study.data.spec.missing)):
            continue
        found = one.find(study)
        if found is not None:
            numbers, slots = found
            text = "" if slots is None else one.text.format(**slots)
            said.append(Given({name: of for name, of in numbers.items() if of}, text))
    return [one for one in said if one.text or one.numbers]

"""Several runs side by side: one column per group, one row per number.

Runs whose configurations are equal but for the seed (and the device and where files lie) are one
group. First come the numbers that training left in run.json, on test images; then those of
`zspace evaluate`, where there are some. Cells are means over seeds with their 95% t-intervals.

Some rows are tested: the headline rows, which terms and metrics name themselves (the objective,
the error, a bound, the Frechet distance, the probe), or those that are asked for. See
`zspace.analysis.compare` for the test, and for what a star says.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zspace.analysis.compare import FEWEST, Cell, Difference, best, difference, testable
from zspace.analysis.likelihood import UNITS
from zspace.analysis.measure import LEVEL, Measure
from zspace.analysis.numbers import count
from zspace.data.spec import Fact
from zspace.models.recipes import hyphenated
from zspace.runs import many
from zspace.runs.measured import measures_of, read
from zspace.runs.run import Run, load
from zspace.system import files
from zspace.system.errors import UserError, unknown

ELSEWHERE = {"seed", "device", "data_dir"}
"""Choices in which runs of one group may differ."""
RESULTS = "results"
"""The section of the numbers that training left."""
STAR, DASH = "★", "–"
NARROW = 12
"""Letters of a column, at least: of its head, which may be wrapped."""
Format = Literal["table", "markdown", "latex", "csv"]
SUFFIXES: dict[str, Format] = {".txt": "table", ".md": "markdown", ".tex": "latex", ".csv": "csv"}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, and what each measured: section -> name -> Measure."""

    name: str
    runs: tuple[Run, ...]
    measured: tuple[dict[str, dict[str, Measure]], ...]

    def cell(self, section: str, name: str) -> Cell | None:
        """One number of the group; None where one of its runs lacks it."""
        found = {
            run.config.training.seed: measured.get(section, {}).get(name)
            for run, measured in zip(self.runs, self.measured, strict=True)
        }
        known = {seed: one for seed, one in found.items() if one is not None}
        return Cell(known) if len(known) == len(self.runs) else None

    def means(self) -> dict[str, dict[str, Measure]]:
        """Section -> name -> its measure over the seeds, of what all runs of the group have."""
        found: dict[str, dict[str, Measure]] = {}
        for section, measures in self.measured[0].items():
            for name in measures:
                cell = self.cell(section, name)
                if cell is not None:
                    found.setdefault(section, {})[name] = cell.measure
        return found


@dataclass(frozen=True)
class Row:
    """One number of all groups.

    Arguments:
        section, name: Where it stands, and what it is called there.
        cells: Group -> its cell, of those that have it.
        tested: Whether it may get a star.
        best: The group that is better than every other, or None.
        p: Of the group with the best mean, corrected over the tested rows; None if not tested.
    """

    section: str
    name: str
    cells: dict[str, Cell]
    tested: bool = False
    best: str | None = None
    p: float | None = None

    @property
    def headline(self) -> bool:
        """Whether models are compared by it first."""
        return any(cell.measure.headline for cell in self.cells.values())

    @property
    def words(self) -> str:
        """What a result is, with the code that it is of."""
        abouts = [one.about for cell in self.cells.values() for one in cell.seeds.values()]
        return either(about.partition(";")[0] for about in abouts)


@dataclass(frozen=True)
class Comparison:
    """Groups of runs side by side.

    Arguments:
        groups: In the order in which they were given. Differences are to the first.
        rows: In order, the results first.
        lacking: Runs that were not evaluated.
    """

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    lacking: tuple[Run, ...]

    def row(self, name: str, section: str | None = None) -> Row:
        """The first row of that name."""
        return next(r for r in self.rows if r.name == name and section in (None, r.section))

    def differences(self, row: Row) -> dict[str, Difference]:
        """How much higher each other group is than the first, where both have the number."""
        first, *others = (group.name for group in self.groups)
        pairs = {name: row.cells[name] for name in others if {name, first} <= row.cells.keys()}
        return {
            name: difference(cell, row.cells[first])
            for name, cell in pairs.items()
            if cell.measure.about == row.cells[first].measure.about != ""
        }

    @property
    def notes(self) -> list[str]:
        """What the numbers are, what a star says or why there is none, and what is missing."""
        results = "; ".join(f"{r.name}: {r.words}" for r in self.rows if r.section == RESULTS)
        return [f"{results}.", _cells_note(self), _star_note(self), *_lacking_note(self)]

    def text(self, form: Format = "markdown", width: int = 200) -> str:
        """The comparison as a table of text, Markdown, LaTeX (booktabs) or CSV."""
        return FORMATS[form](self, width)


def either(named: Iterable[str]) -> str:
    """What a number is called, where models have it with several codes.

    >>> either(["squared error, drawn code", "squared error, mean code"])
    'squared error, drawn or mean code'
    """
    names = dict.fromkeys(named)
    parts = [name.removesuffix(" code").rpartition(", ") for name in names]
    if len(names) > 1 and len({title for title, _, _ in parts}) == 1:
        return f"{parts[0][0]}, {' or '.join(code for _, _, code in parts)} code"
    return " or ".join(names)


def compare(runs: Sequence[str | Path | Run], rows: Sequence[str] = ()) -> Comparison:
    """Put runs side by side, and mark what is better than in every other group.

    Arguments:
        runs: Runs, or folders of runs or studies; the first is what others are compared with.
        rows: Names of the rows to test, instead of the headline rows.

    Raises UserError for fewer than two runs, runs of different data, two runs of one seed in a
    group, and an unknown row.
    """
    groups, lacking = grouped(runs)
    cells = {
        (section, name): {g.name: c for g in groups if (c := g.cell(section, name)) is not None}
        for section, name in _names(groups)
    }
    for name in rows:
        if name not in {key[1] for key in cells}:
            raise unknown("row", name, {key[1] for key in cells})
    found = [Row(*key, of) for key, of in cells.items() if of]
    chosen = {
        (row.section, row.name): row.cells
        for row in found
        if (row.name in rows if rows else row.headline)
        and len(row.cells) == len(groups)
        and testable([*row.cells.values()])
    }
    leads = best(chosen)
    marked = []
    for row in found:
        group, p = leads.get((row.section, row.name), (None, None))
        clear = group if p is not None and p <= 1 - LEVEL else None
        marked.append(Row(row.section, row.name, row.cells, p is not None, clear, p))
    return Comparison(tuple(groups), tuple(marked), lacking)


def grouped(runs: Sequence[str | Path | Run]) -> tuple[list[Group], tuple[Run, ...]]:
    """The runs by configuration, in the order in which they were given; those not evaluated."""
    opened = [run for given in runs for run in _opened(given)]
    if len({run.place.folder.resolve() if run.place.folder else id(run) for run in opened}) < max(
        2, len(opened)
    ):
        raise UserError(f"got {count(len(opened), 'run')}: give two or more different ones")
    records = [read(run) for run in opened]
    sources: dict[str, Run] = {}
    for run, record in zip(opened, records, strict=True):
        sources.setdefault(run.record["data"]["fingerprint"], run)
        if record is not None:
            sources.setdefault(record["data"]["fingerprint"], run)
    if len(sources) > 1:
        one, other, *_ = sources.values()
        both = f"'{one.place}' and '{other.place}'"
        raise UserError(f"{both} were measured on different data: give runs of the same data")
    families: dict[str, list[int]] = {}
    for i, run in enumerate(opened):
        families.setdefault(json.dumps(choices(run), sort_keys=True), []).append(i)
    for members in families.values():
        _one_per_seed([opened[i] for i in members])
    names = _labels([opened[members[0]] for members in families.values()])
    measured = [measured_of(run) for run in opened]
    groups = [
        Group(name, tuple(opened[i] for i in members), tuple(measured[i] for i in members))
        for name, members in zip(names, families.values(), strict=True)
    ]
    lacking = [run for run, record in zip(opened, records, strict=True) if record is None]
    return groups, tuple(lacking)


def _opened(given: str | Path | Run) -> list[Run]:
    """A run, or those of a study."""
    if isinstance(given, Run):
        return [given]
    folder = Path(given)
    whole = (folder / "study.json").is_file() and not (folder / "run.json").is_file()
    return list(many.open_study(folder, "cpu").runs) if whole else [load(folder, "cpu")]


def _one_per_seed(runs: Sequence[Run]) -> None:
    """Raises UserError for two runs of one seed: they are one sample, not two."""
    first: dict[int, Run] = {}
    for run in runs:
        other = first.setdefault(run.config.training.seed, run)
        if other is not run:
            both = f"'{other.place}' and '{run.place}'"
            raise UserError(f"{both} have the same configuration and seed: give one of them")


def measured_of(run: Run) -> dict[str, dict[str, Measure]]:
    """Section -> name -> measure: what training left, then what was evaluated."""
    record = read(run)
    return {RESULTS: results(run), **(measures_of(record) if record else {})}


def results(run: Run) -> dict[str, Measure]:
    """What training left in run.json of test images: objective, terms, quality, bits.

    >>> results(run)["mse"].about
    'squared error, drawn code; x as it is'
    """
    values, found = dict(run.result["test"]), {}
    objective = values.pop("objective")
    if len(values) > 1:
        found["objective"] = _result(run, objective, run.objective.facts["objective"])
    for name, value in values.items():
        facts = [p.objective.facts[name] for p in run.recipe.players if name in p.objective.facts]
        found[name] = _result(run, value, facts[0] if facts else Fact(name, better="neither"))
    known = many.QUALITY if run.encoding is None else {**many.QUALITY, **run.encoding.facts}
    for name, value in many.test_quality(run).items():
        found[name] = _result(run, value, known.get(name, Fact(name, better="neither")))
    if bits := run.result.get("bits_per_dimension"):
        unit = f"bits per {UNITS.get(run.spec.kind, 'dimension')}"
        about = Fact(f"{unit} of the bound", unit, code="drawn")
        found["bits_per_dimension"] = _result(run, bits["test"], about)
    return found


def _result(run: Run, value: float, fact: Fact) -> Measure:
    """A number of run.json, with all that makes it comparable with another's in its definition."""
    binarize = run.config.data.binarize
    about = [fact.named(run.traits.variational)]
    about.append("x as it is" if binarize == "none" else f"{binarize} binarised x")
    weights = run.objective.final_weights()
    if fact.role == "objective":
        terms = [f"{w} {name}" for name, w in weights.items() if w]
        about.append(" + ".join(terms))
        if "objective" not in run.objective.comparable:
            about.append(f"code of {run.model.latent}")
    if fact.role in ("objective", "bound") or (fact.unit and fact.role == "reconstruction"):
        about.append(f"p(x|z) {run.config.arguments.get('likelihood', 'of the recipe')}")
    if fact.per == "batch":
        of = run.result.get("estimated_in_batches_of", {}).get("test", "")
        about.append(f"estimated in batches of {of}")
    if run.objective.samples > 1 and fact.code == "drawn":
        about.append(f"K = {run.objective.samples}")
    moves = fact.role == "objective" and any(isinstance(w, str) for w in weights.values())
    better = "neither" if moves else fact.better
    return Measure(value, "; ".join(about), fact.unit, better=better, headline=fact.headline)


def choices(run: Run) -> dict[str, Any]:
    """All that decides a training but its seed and where it was made, by name."""
    record = run.config.to_json()
    flat = {"recipe": hyphenated(record["recipe"])}
    for group in ("data", "recipe_options", "network", "training"):
        flat |= {key: value for key, value in record[group].items() if key not in ELSEWHERE}
    if flat.get("minutes"):  # they chose the epochs, by how fast the machine was
        del flat["epochs"]
    return flat


def _labels(runs: Sequence[Run]) -> list[str]:
    """A name for each: its recipe, and the choices in which these runs differ."""
    every = [choices(run) for run in runs]
    keys = dict.fromkeys(key for one in every for key in one if key != "recipe")
    differ = [key for key in keys if len({repr(one[key]) for one in every if key in one}) > 1]
    return [
        " ".join([one["recipe"], *(f"{key}={_text(one[key])}" for key in differ if key in one)])
        for one in every
    ]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _names(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Every (section, name) that some run has, in order, the objective first; single code
    dimensions left out.
    """
    pairs = dict.fromkeys(
        (section, name)
        for group in groups
        for measured in group.measured
        for section, measures in measured.items()
        for name in measures
        if not re.fullmatch(r"kl_\d+", name)
    )
    order = dict.fromkeys(section for section, _ in pairs)
    found = [pair for section in order for pair in pairs if pair[0] == section]
    return sorted(found, key=lambda pair: pair != (RESULTS, "objective"))


def _cells_note(found: Comparison) -> str:
    """What stands in a cell."""
    seeds = [len(group.runs) for group in found.groups]
    parts = []
    if max(seeds) > 1:
        parts.append(
            "[ ] is the 95% t-interval of a mean over seeds, or of a difference of means."
        )
    if min(seeds) == 1:
        parts.append(
            "Of one run, ± and [ ] are over samples: other seeds may give quite different numbers."
        )
    return " ".join(parts)


def _star_note(found: Comparison) -> str:
    """What a star says, in one sentence, or why there is none."""
    tested = [row for row in found.rows if row.tested]
    if not tested:
        few = min(len(group.runs) for group in found.groups) < FEWEST
        why = f"a test needs at least {FEWEST} seeds in each group" if few else "no row is tested"
        return f"No star: {why}."
    kinds = {one.paired for row in tested for one in found.differences(row).values()}
    test = {frozenset({True}): "paired by seed", frozenset({False}): "Welch's test"}
    how = test.get(frozenset(kinds), "paired where seeds are the same, else Welch's test")
    names = ", ".join(row.name for row in tested)
    return (
        f"{STAR} better than every other group: p ≤ {1 - LEVEL:.2g} ({how}; Holm's correction "
        f"over {count(len(tested), 'tested row')}: {names})."
    )


def _lacking_note(found: Comparison) -> list[str]:
    """Which runs have the results of their training only."""
    if not found.lacking:
        return []
    names = ", ".join(f"'{run.place}'" for run in found.lacking[:3])
    more = f" and {len(found.lacking) - 3} more" if len(found.lacking) > 3 else ""
    return [f"Not evaluated: {names}{more}; 'zspace evaluate RUN' adds what it measures."]


Lines = list[tuple[str, list[str]]]
"""A first column and the cells after it; the name of a section has no cells."""


def _main(found: Comparison) -> Lines:
    """The table of all numbers."""
    lines: Lines = []
    section = ""
    for row in found.rows:
        if row.section != section:
            section = row.section
            lines.append((section, []))
        cells = []
        for group in found.groups:
            cell = row.cells.get(group.name)
            mark = f" {STAR}" if group.name == row.best else ""
            cells.append(DASH if cell is None else cell.text + mark)
        lines.append((row.name, cells))
    return lines


def _of_differences(found: Comparison) -> Lines:
    """The table of differences to the first group, of tested and headline rows."""
    lines: Lines = []
    for row in found.rows:
        made = found.differences(row) if row.tested or row.headline else {}
        if any(one.interval for one in made.values()):
            texts = [made[g.name].text if g.name in made else DASH for g in found.groups[1:]]
            lines.append((row.name, texts))
    return lines


def _heads(found: Comparison) -> list[str]:
    return [f"{group.name}, {count(len(group.runs), 'seed')}" for group in found.groups]


def _tables(found: Comparison) -> list[tuple[list[str], Lines]]:
    """Every table with its heads."""
    first, *others = found.groups
    tables = [(["", *_heads(found)], _main(found))]
    if lines := _of_differences(found):
        names = [group.name for group in others]
        tables.append(([f"difference to {first.name}", *names], lines))
    return tables


def _as_table(found: Comparison, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    show(found, console)
    return console.export_text()


def show(found: Comparison, console: Console) -> None:
    """Print it, the best in bold with a star; groups that do not fit side by side below."""
    for heads, lines in _tables(found):
        for columns in _fitting(lines, len(heads) - 1, console.width):
            console.print(_table(heads, lines, columns), crop=False)
            console.print()
    for note in found.notes:
        console.print(note, style="dim", markup=False)


def _fitting(lines: Lines, n: int, width: int) -> list[list[int]]:
    """The columns 0 to n - 1 in parts, each of which fits beside the names of the rows."""
    left = width - 4 - max(len(name) for name, _ in lines)
    parts: list[list[int]] = []
    free = 0
    for i in range(n):
        need = 2 + _width(lines, i)
        if not parts or need > free:
            parts.append([])
            free = left
        parts[-1].append(i)
        free -= need
    return parts


def _width(lines: Lines, column: int) -> int:
    return max(NARROW, *(len(cells[column]) for _, cells in lines if cells))


def _table(heads: list[str], lines: Lines, columns: list[int]) -> Table:
    """Some columns of a table, and the names of its rows."""
    table = Table(box=None, pad_edge=False)
    widest = max(len(name) for name, _ in lines) + 2
    table.add_column("\n".join(wrap(escape(heads[0]), widest)), no_wrap=True)
    for i in columns:
        table.add_column("\n".join(wrap(escape(heads[i + 1]), _width(lines, i))), no_wrap=True)
    for name, cells in lines:
        if cells:
            texts = [escape(cells[i]) for i in columns]
            bold = [f"[bold]{text}[/]" if STAR in text else text for text in texts]
            table.add_row(f"  {escape(name)}", *bold)
        else:
            table.add_row(f"[bold]{escape(name)}[/]")
    return table


def _as_markdown(found: Comparison, width: int) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    parts = []
    for heads, lines in _tables(found):
        rule = line(["---", *("---:" for _ in heads[1:])])
        made = [
            line([n, *c]) if c else line([f"**{n}**", *[""] * len(heads[1:])]) for n, c in lines
        ]
        parts.append("\n".join([line(heads), rule, *made]))
    return "\n\n".join([*parts, *found.notes]) + "\n"


def _as_latex(found: Comparison, width: int) -> str:
    parts = []
    for heads, lines in _tables(found):
        made = [
            " & ".join(map(_tex, [n, *c])) if c else rf"\textbf{{{_tex(n)}}}" for n, c in lines
        ]
        head, rows = " & ".join(map(_tex, heads)), " \\\\\n".join(made)
        columns = "l" + "r" * (len(heads) - 1)
        parts.append(
            f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{rows} \\\\\n"
            "\\bottomrule\n\\end{tabular}"
        )
    notes = [f"% {note}" for note in found.notes]
    return "\n".join(["% \\usepackage{booktabs}", "\n\n".join(parts), *notes]) + "\n"


TEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "−": "$-$", "±": r"$\pm$", STAR: r"$\star$", DASH: "--",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "≤": r"$\leq$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}  # fmt: skip


def _tex(text: str) -> str:
    """Text as LaTeX takes it; a leading bracket would be an argument of the row's end."""
    escaped = "".join(TEX.get(c, c) for c in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def _as_csv(found: Comparison, width: int) -> str:
    """One line per number and group, with every digit."""
    lines = []
    for row in found.rows:
        differences = found.differences(row)
        for name, cell in row.cells.items():
            low, high = cell.measure.interval or ("", "")
            line: dict[str, Any] = {"section": row.section, "measure": row.name, "group": name}
            line |= {"seeds": len(cell.seeds), "mean": cell.measure.value}
            line |= {"low": low, "high": high, "deviation": cell.spread}
            if one := differences.get(name):
                ends = one.interval or ("", "")
                line |= {"difference": one.value, "difference_low": ends[0]}
                line |= {"difference_high": ends[1]}
            line |= {"tested": int(row.tested), "p": row.p, "best": int(name == row.best)}
            lines.append({**line, "unit": cell.measure.unit, "about": cell.measure.about})
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


FORMATS: dict[str, Callable[[Comparison, int], str]] = {
    "table": _as_table,
    "markdown": _as_markdown,
    "latex": _as_latex,
    "csv": _as_csv,
}
assert set(FORMATS) == set(get_args(Format))


def format_of(out: Path | None, form: Format | None) -> Format:
    """The form that is asked for, or that of the file's suffix. Raises UserError for another."""
    if form is not None:
        return form
    if out is None:
        return "table"
    if out.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UserError(f"cannot write '{out}': end it in one of {known}, or name a --format")
    return SUFFIXES[out.suffix.lower()]


def write(found: Comparison, out: Path, form: Format) -> Path:
    """Write it into a file."""
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    files.write(out, found.text(form).encode())
    return out

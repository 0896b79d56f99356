"""What the page tells in words and tables: findings, terms, results, settings, commands, measures.

A table is rows of text under heads; sentences stand in the templates.
"""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zspace.analysis import latents
from zspace.analysis.generation import prior_novelty
from zspace.analysis.numbers import count, duration, number, rows
from zspace.data.dataset import SPLITS
from zspace.models import recipes
from zspace.report import facts
from zspace.report.facts import DASH, Family, Numbers, families, shape
from zspace.report.figures import needs
from zspace.runs.comparison import Group, either
from zspace.runs.config import GROUPS, OWN, RESERVED, Config
from zspace.runs.many import (
    QUALITY,
    Study,
    deciding,
    over_seeds,
    quality_cells,
    read_study,
    test_quality,
)
from zspace.runs.measured import measures_of, missing_of, read, warnings_of


def title(study: Study) -> str:
    """'AE, VAE and CVAE on mnist5k'."""
    return f"{facts.joined(family.title for family in families(study))} on {study.data.name}"


def several_seeds(study: Study) -> bool:
    """Whether numbers are means over seeds."""
    return any(len(runs) > 1 for family in families(study) for runs in family.sizes.values())


def data_facts(study: Study) -> Numbers:
    """What the data are."""
    data, shape = study.data, study.data.spec.shape
    one = {"An image": _image(shape)}
    if data.encoding is not None:
        one = {facts.of_samples("An image", data.spec.kind): data.encoding.size}
    listed = data.classes if len(data.classes) <= 20 else ()
    told = data.attributes if len(data.attributes) <= 20 else ()
    many = [count(len(data.attributes), "attribute")] if data.attributes else []
    sizes = {split.capitalize(): f"{len(some):,}" for split, some in data.splits.items()}
    sizes = {"Training" if name == "Train" else name: n for name, n in sizes.items()}
    return {
        **{facts.of_samples(f"{name} images", data.spec.kind): n for name, n in sizes.items()},
        **one,
        "Labels": ", ".join(listed) or (f"{len(data.classes):,}" if data.classes else ""),
        "Attributes": ", ".join([*many, *told]),
        "Values as read": data.read.values,
        "Left out": "; ".join(data.read.left_out),
        "Said before training": "; ".join(data.read.notes),
    }


def _image(shape: tuple[int, ...]) -> str:
    kind = {1: "grey", 3: "colour"}.get(shape[0], f"{shape[0]}-channel")
    return f"{kind}, {shape[-2]} × {shape[-1]} pixels, values from 0 to 1" if shape[1:] else ""


def findings(study: Study) -> list[tuple[str, str, list[str]]]:
    """What came out, at the chosen code sizes: what, the part that shows it, a cell per family."""
    shown, data = families(study), study.data
    enough = needs.test_images(study) is None
    of = {f.title: latents.posterior_summary(f.run, data) for f in shown if f.compared and enough}
    kl = facts.on_test(study, lambda f: next(iter(f.run.objective.of_role("divergence")), None))
    told = [family for family in shown if family.traits.conditional]
    whole = [] if not data.spec.has_distances else shown
    far = facts.each(whole, lambda f: prior_novelty(f.run, data))
    asked = facts.asked(told, data)
    used = {t: f"{one.active} of {len(one.mean)}" for t, one in of.items() if one.kl is not None}
    away = {title: number(float(one.ks.mean())) for title, one in of.items()}
    rows: list[tuple[str, str, dict[str, str]]] = [
        ("Code size", "results", {family.title: shape(family.run) for family in shown}),
        *((title, "results", values) for title, values in {**facts.errors(study), **kl}.items()),
        ("Distance of samples to training images (test images: 1)", "invent", far),
        ("Samples read by a classifier as the class asked for", "invent", asked),
        ("Code dimensions in use", "why", used),
        ("Distance of a code dimension to N(0, 1), from 0 to 1", "why", away),
    ]
    return [
        (what, part, [values.get(family.title, DASH) for family in shown])
        for what, part, values in rows
        if values
    ]


def terms_of(study: Study) -> list[str]:
    """Every term that occurs, errors first and the objective last, if it is more than one term."""
    shown = families(study)
    results = [run.result[split] for family in shown for run in family.runs for split in SPLITS]
    names = dict.fromkeys(name for values in results for name in values if name != "objective")
    known = [family.run.error for family in shown if family.run.error in names]
    terms = list(dict.fromkeys([*known, *names]))
    return terms if len(terms) == 1 else [*terms, "objective"]


def quality_names(study: Study) -> list[str]:
    """Which measures of reconstructed images some run has."""
    if study.data.spec.kind != "image":
        return []
    return [name for name in QUALITY if any(name in test_quality(run) for run in study.runs)]


BETTER = {"low": "lower", "high": "higher", "neither": DASH}


def glossary(study: Study) -> list[tuple[str, ...]]:
    """Each column of the results: its name, what it is, its unit, what is better, and per what."""
    found = []
    for name in terms_of(study):
        of = [f.fact(name) for f in families(study) if name in f.run.result["train"]]
        fact = of[0] if of else families(study)[0].fact(name)
        having = [f for f in families(study) if name in f.run.result["train"]]
        named = either(f.named(name) for f in having) or fact.title
        minimised = named.replace("objective", "what is minimised")
        found.append((name, minimised if name == "objective" else named, fact))
    for name in quality_names(study):
        what = f"{QUALITY[name].title} of reconstructions, mean code"
        found.append((QUALITY[name].title, what, QUALITY[name]))
    per = {"sample": "mean over images", "batch": f"estimate from {_batches(study)}"}
    return [
        (name, what, fact.unit or DASH, BETTER[fact.better], per[fact.per])
        for name, what, fact in found
    ]


def _batches(study: Study) -> str:
    """'batches of 128 images': what terms were estimated from that are no means over images."""
    of_runs = [run.result.get("estimated_in_batches_of", {}).values() for run in study.runs]
    sizes = sorted({size for sizes in of_runs for size in sizes})
    return f"batches of {' or '.join(map(str, sizes))} images" if sizes else "a batch"


def quality_title(name: str) -> str:
    """'PSNR (dB)'; where terms have the same of a drawn code, 'squared error, mean code'."""
    fact = QUALITY[name]
    title = fact.named(variational=False)
    return f"{title} ({fact.unit})" if fact.unit else title


@dataclass(frozen=True)
class Row:
    """One line of the table of results: a family at one code size; a cell for each term of each
    split, and for each measure of quality.
    """

    size: str
    chosen: bool
    cells: list[str]
    measures: list[str]
    epochs: str
    seconds: str


def results(study: Study) -> dict[str, list[Row]]:
    """The table of results, family by family."""
    return {f.title: [_row(study, f, size) for size in f.sizes] for f in families(study)}


def _row(study: Study, family: Family, size: int) -> Row:
    runs, titled = family.sizes[size], quality_names(study)
    cells = [over_seeds(runs, split, name) for split in SPLITS for name in terms_of(study)]
    quality = quality_cells(runs)
    return Row(
        shape(runs[0]),
        size == family.chosen and len(family.sizes) > 1,
        [DASH if cell is None else with_minus(str(cell)) for cell in cells],
        [with_minus(str(quality.get(name, DASH))) for name in titled],
        ", ".join(f"{run.result['best_epoch']}/{run.result['epochs']}" for run in runs),
        f"{statistics.mean(run.result['seconds'] for run in runs):,.0f}",
    )


def with_minus(text: str) -> str:
    """With a true minus sign."""
    return text.replace("-", "−")


def choices(study: Study) -> list[list[str]]:
    """Families of several code sizes: the chosen one and the next, and the spread over seeds."""
    found = []
    for family in families(study):
        cells = [(deciding(runs), shape(runs[0])) for runs in family.sizes.values()]
        by = " + ".join(family.run.objective.comparable)
        best = sorted(cells, key=lambda pair: pair[0].mean)[:2]
        if len(best) == 2:
            (one, other), sizes = zip(*best, strict=True)
            spreads = [cell.spread for cell in (one, other) if cell.spread is not None]
            lead = number(other.mean - one.mean)
            row = [family.title, by, sizes[0], number(one.mean), sizes[1], lead]
            spread = [number(max(spreads)) if spreads else DASH]
            found.append(row + (spread if several_seeds(study) else []))
    return found


def every_run(study: Study) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each run by itself, with every term on every split."""
    names, titled = terms_of(study), quality_names(study)
    heads = ["family", "size", "seed", "parameters", "best epoch", "seconds"]
    heads += [f"{split} {name}" for split in SPLITS for name in names]
    heads += [f"test {quality_title(name)}" for name in titled]
    made = []
    for family, run in ((f, run) for f in families(study) for run in f.runs):
        values = [run.result[split].get(name) for split in SPLITS for name in names]
        values += [test_quality(run).get(name) for name in titled]
        first = [family.title, shape(run), str(run.config.training.seed)]
        first += [f"{run.record['parameters']:,}"]
        first += [f"{run.result['best_epoch']} of {run.result['epochs']}"]
        first += [f"{run.result['seconds']:,.1f}"]
        made.append(first + [DASH if v is None else with_minus(f"{v:.3f}") for v in values])
    return heads, made


def settings(study: Study) -> list[tuple[str, str]]:
    """What all runs share of their settings, and what differs from run to run."""
    jobs = [run.config.to_json() for run in study.runs]
    seconds = sum(run.result["seconds"] for run in study.runs)
    threads = {run.record["environment"].get("threads") for run in study.runs} - {None, 0}
    found = [
        ("time of all trainings", duration(seconds)),
        ("CPU threads of a run", ", ".join(map(str, sorted(threads)))),
    ]
    for group in ("data", "recipe_options", "network", "training"):
        for name in dict.fromkeys(name for config in jobs for name in config[group]):
            having = [config[group] for config in jobs if name in config[group]]
            values = dict.fromkeys(setting_text(choices[name]) for choices in having)
            found.append((name.replace("_", " "), "; ".join(values)))
    return [(name, text) for name, text in found if text]


def setting_text(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_text, value))
    return str(value)


def environment(study: Study) -> list[tuple[str, str]]:
    """Versions and machine, and the data by its fingerprint."""
    run = study.runs[0]
    found = {"zspace": run.record["zspace"], **run.record["environment"]}
    rows = [(name, text) for name, value in found.items() if (text := setting_text(value))]
    data = run.record["data"]
    if data["provenance"]:
        rows.append(("data from", data["provenance"]))
    return [*rows, ("data, SHA-256", data["fingerprint"])]


def commands(study: Study) -> list[tuple[str, str]]:
    """What to type to get it again: what for, and the command."""
    path = study.path
    if (path / "run.json").is_file():
        return [
            (
                "Train the same again, from this folder",
                f"zspace repeat {quoted(path)} --out again",
            ),
            ("Without the folder", train_command(study.runs[0].config)),
            ("This page", f"zspace report {quoted(path)}"),
        ]
    made = []
    if (path / "study.json").is_file():
        grid = read_study(path).get("grid")
        made += [("The whole study", study_command(grid, quoted(path)))] if grid else []
    config = families(study)[0].run.config
    made.append(("One of its runs", train_command(config)))
    return [*made, ("This page", f"zspace report {quoted(path)}")]


def explore_commands(study: Study) -> list[tuple[str, str]]:
    """What to type to explore the run of each family that the page shows."""
    return [
        (family.panel, f"zspace explore {quoted(family.run.place)}") for family in families(study)
    ]


def quoted(value: Any) -> str:
    """As a shell takes it."""
    return shlex.quote(str(value))


def study_command(grid: Mapping[str, Any], out: str) -> str:
    """The command that trains this grid, from the record that the study keeps of it."""
    fixed = dict(grid["fixed"])
    words = ["zspace study", *map(quoted, grid["recipes"])]
    words.append(f"--data {quoted(fixed.pop('data', 'mnist5k'))}")
    if fixed.pop("data_dir", None):
        words.append("--data-dir DIR")
    words.append(f"--latent {' '.join(map(str, grid['latent']))}")
    words.append(f"--seeds {grid['seeds']}")
    chosen = {**{name: [value] for name, value in fixed.items()}, **grid["vary"]}
    given = [
        quoted(f"{name}={','.join(compact(value) for value in values)}")
        for name, values in chosen.items()
        if (name, values) != ("snapshots", [24])
    ]
    if given:
        words.append(f"--set {' '.join(given)}")
    return " ".join([*words, f"--out {out}"])


def compact(value: Any) -> str:
    """A choice as --set reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def train_command(config: Config) -> str:
    """The command that trains one run, with every choice that is not the default."""
    choices, record = recipes.choices_of(recipes.find(config.recipe)), config.to_json()
    groups = {
        "recipe_options": {n: p.default for n, p in choices.own.items()},
        "network": {n: p.default for n, p in choices.network.items()},
        **GROUPS,
    }
    words = [
        f"zspace train {config.recipe.replace('_', '-')}",
        f"--data {quoted(config.data.data)}",
    ]
    for group, usual in groups.items():
        for name, value in record[group].items():
            own = group == "recipe_options"
            idle = not own and name in ("data", "device", "snapshots")
            if not idle and not same(value, usual.get(name)):
                flag = (OWN if own and name in RESERVED else "") + name.replace("_", "-")
                words.append(f"--{flag} {flag_value(name, value)}".rstrip())
    return " ".join(words)


def same(a: Any, b: Any) -> bool:
    """Equal, whether list or tuple."""
    return list(a) == list(b) if isinstance(a, list | tuple) and b is not None else a == b


def flag_value(name: str, value: Any) -> str:
    """What stands after a flag: nothing after a switch, several numbers apart."""
    if name == "data_dir":
        return "DIR"
    if isinstance(value, bool):
        return ""
    return " ".join(map(quoted, value)) if isinstance(value, list | tuple) else quoted(value)


FLOOR = "frechet_of_training_images"
SMOOTH = (
    "its samples have a lower Fréchet distance than training images. This does not make them "
    "better than real images: a decoded image is a mean, without the fine detail of a real one, "
    "and the distance compares only means and covariances of a classifier's features. These need "
    "not show blur, and the classifier was trained on the training images."
)


@dataclass(frozen=True)
class Evaluated:
    """All that was measured of the families at their chosen sizes.

    heads: those families. sections: by name, rows of a measure, a cell for each family, and what
    it is. notes: what was not measured and why, and warnings. several: whether cells are means
    over seeds.
    """

    heads: list[str]
    sections: dict[str, list[tuple[str, list[str], str]]]
    notes: list[str]
    several: bool


def evaluated(study: Study) -> Evaluated | None:
    """The part's content; None where none of the families' runs has an evaluation.

    Numbers are those that `zspace compare` gives of the same runs.
    """
    found = {
        family.title: [(run, one) for run in family.sizes[family.chosen] if (one := read(run))]
        for family in families(study)
    }
    columns = {title: records for title, records in found.items() if records}
    if not columns:
        return None
    told, heads, notes = [], [], []
    for title, records in columns.items():
        seeds = len(records)
        heads.append(title if seeds == 1 else f"{title}, {count(seeds, 'seed')}")
        runs, kept = zip(*records, strict=True)
        means = Group(title, runs, tuple(map(measures_of, kept))).means()
        told.append({name: rows(one) for name, one in means.items()})
        record = kept[0]
        for name, reason in missing_of(record).items():
            notes.append(f"{title}: {name} was not measured. {facts.sentence(reason)}")
        notes += [f"{title}: {facts.sentence(text)}" for text in warnings_of(record)]
        made = measures_of(record).get("generation", {})
        if {"frechet", FLOOR} <= made.keys() and made["frechet"].value < made[FLOOR].value:
            notes.append(f"{title}: {SMOOTH}")
    names = dict.fromkeys(name for sections in told for name in sections)
    sections = {name: _section([of.get(name, []) for of in told]) for name in names}
    return Evaluated(heads, sections, notes, any(len(one) > 1 for one in columns.values()))


def _section(
    columns: list[list[tuple[str, str, str, str]]],
) -> list[tuple[str, list[str], str]]:
    by_name = [{row[0]: row for row in column} for column in columns]
    found = []
    for name in dict.fromkeys(row[0] for column in columns for row in column):
        there = [column.get(name) for column in by_name]
        known = [row for row in there if row is not None]
        unit, definitions = known[0][2], dict.fromkeys(row[3] for row in known)
        title = name.replace("_", " ") + (f", {unit}" if unit else "")
        cells = [DASH if row is None else row[1] for row in there]
        found.append((title, cells, facts.sentence("; or ".join(definitions))))
    return found

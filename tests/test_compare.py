"""What `compare` puts side by side, when it gives a star, and how it is written."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import zspace
from zspace.analysis.compare import Cell, best, comparable, difference
from zspace.analysis.measure import Measure
from zspace.analysis.numbers import number
from zspace.cli.main import run as main
from zspace.report import reasons
from zspace.report.facts import families
from zspace.report.html import tables
from zspace.runs.comparison import RESULTS, compare, format_of
from zspace.runs.many import Study, over_seeds, quality_cells
from zspace.runs.measured import evaluate, measures_of, read

ROWS, SEEDS = 5, 5


def cell(values, seeds=None, **facts):
    facts = {"about": "accuracy", "better": "high", **facts}
    seeds = range(len(values)) if seeds is None else seeds
    return Cell({s: Measure(float(v), **facts) for s, v in zip(seeds, values, strict=True)})


def stars(random, groups, paired, apart, rows=ROWS):
    """Row -> the starred group, of one simulated table; the first group leads in the first row."""
    x = random.normal(size=(rows, groups, SEEDS))
    x[0, 0] += apart
    table = {
        i: {g: cell(x[i, g], range(SEEDS) if paired else range(9 * g, 9 * g + SEEDS))
            for g in range(groups)}
        for i in range(rows)
    }  # fmt: skip
    return {row: group for row, (group, p) in best(table).items() if p <= 0.05}


@pytest.mark.parametrize(("groups", "paired"), [(2, True), (2, False), (3, True), (3, False)])
@pytest.mark.thorough
def test_false_stars_are_rare(groups, paired):
    """Groups that do not differ: a star in at most 5% of tables, as far as 800 can tell."""
    random = np.random.default_rng(1)
    false = sum(bool(stars(random, groups, paired, 0.0)) for _ in range(800))
    assert stats.binomtest(false, 800, 0.05, "greater").pvalue > 0.01


@pytest.mark.parametrize("paired", [True, False])
def test_a_clear_lead_is_starred(paired):
    """Five standard deviations apart in one of five rows, with five seeds."""
    random = np.random.default_rng(2)
    found = [stars(random, 2, paired, 5.0) for _ in range(300)]
    assert np.mean([one.get(0) == 0 for one in found]) >= 0.9


def test_dependent_rows_have_no_more_false_stars():
    """Rows that are one number in other words: Holm's correction needs no independence."""
    random, false = np.random.default_rng(3), 0
    for _ in range(400):
        a, b = random.normal(size=(2, SEEDS))
        row = {"a": cell(a), "b": cell(b)}
        false += any(p <= 0.05 for _, p in best(dict.fromkeys(range(ROWS), row)).values())
    assert stats.binomtest(false, 400, 0.05, "greater").pvalue > 0.01


def test_intervals_and_tests_are_those_of_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(0.5, size=6), random.normal(size=6)
    low, high = cell(x).measure.interval
    assert (low, high) == pytest.approx(
        x.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, 5) * x.std(ddof=1) / np.sqrt(6)
    )
    paired = difference(cell(x), cell(y))
    assert paired.paired
    d = x - y
    t = d.mean() / (d.std(ddof=1) / np.sqrt(6))
    assert paired.p == pytest.approx(2 * stats.t.sf(abs(t), 5))
    welch = difference(cell(x), cell(y, range(10, 16)))
    assert not welch.paired
    assert welch.p == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)
    assert welch.interval[0] < welch.value < welch.interval[1]


def test_intervals_cover():
    """The interval of a difference of two or three seeds holds the truth in 95% of cases."""
    random = np.random.default_rng(4)
    for n in (2, 3):
        x = random.normal(size=(800, 2, n))
        ends = [difference(cell(a), cell(b)).interval for a, b in x]
        held = sum(low <= 0 <= high for low, high in ends)
        assert stats.binomtest(held, 800, 0.95).pvalue > 0.001


def test_p_values_are_corrected_as_holm_does():
    """Against the table of hand: p (m - i), never falling."""
    random = np.random.default_rng(5)
    table = {i: {"a": cell(random.normal(size=6) + i), "b": cell(random.normal(size=6))}
             for i in range(4)}  # fmt: skip
    raw = {i: difference(row["a"], row["b"]).p for i, row in table.items()}
    order, most = sorted(raw, key=raw.get), 0.0
    for k, i in enumerate(order):
        most = max(most, min(1, raw[i] * (4 - k)))
        assert best(table)[i][1] == pytest.approx(most)


def test_what_does_not_compare_is_not_tested():
    many = [1, 2, 3, 4, 5]
    good = {"a": cell(many), "b": cell(many)}
    assert best({0: good})
    for other in (
        cell(many, about="another"),
        cell(many, about=""),
        cell(many, unit="nats"),
        cell(many[:4]),
    ):
        assert not best({0: {**good, "b": other}})
    neither = {name: cell(many, better="neither") for name in "ab"}
    assert not comparable([*neither.values()])
    assert not best({0: neither, 1: {"a": good["a"]}})
    mixed = Cell({0: Measure(1, "one", better="high"), 1: Measure(2, "two", better="high")})
    assert mixed.measure.about == ""


def test_numbers_that_do_not_vary():
    still, also, higher = cell([2.0] * 5), cell([2.0] * 5), cell([3.0] * 5)
    assert difference(still, also).p == 1
    assert difference(higher, still).interval == (1, 1)
    assert still.measure.interval is None
    assert cell([1.0, float("nan")]).measure.interval is None
    assert difference(cell([1.0, float("inf")]), still).p == 1


def test_the_lead_must_be_over_every_other_group():
    a, b, c = cell([10, 11, 10, 12, 11]), cell([10, 11, 11, 11, 12]), cell([1, 2, 1, 2, 1])
    _, p = best({0: {"a": a, "b": b, "c": c}})[0]
    assert p > 0.05
    group, p = best({0: {"b": b, "c": c}})[0]
    assert (group, p < 0.05) == ("b", True)
    low = {k: cell([one.value for one in v.seeds.values()], better="low") for k, v in
           {"b": b, "c": c}.items()}  # fmt: skip
    assert best({0: low})[0][0] == "c"


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits):
    """Two seeds of a VAE at two code sizes and of an AE, none of them evaluated."""
    folder = tmp_path_factory.mktemp("made")
    options = {"data": str(digits), "hidden": (32,), "epochs": 1, "batch": 64, "quiet": True}
    kinds = {"a0": ("vae", 3, 0), "a1": ("vae", 3, 1), "b0": ("vae", 2, 0), "b1": ("vae", 2, 1)}
    kinds |= {"c0": ("ae", 3, 0), "c1": ("ae", 3, 1)}
    return {
        name: zspace.train(recipe, latent=latent, seed=seed, out=folder / name,
                           precision="fp32", **options)
        for name, (recipe, latent, seed) in kinds.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    runs = {
        k: zspace.load(shutil.copytree(made[k].path, folder / k)) for k in ("a0", "a1", "b0", "b1")
    }
    for run in runs.values():
        evaluate(run, sections=["latents"])
    return runs


def test_compare_needs_no_evaluation(made):
    found = compare([made["a0"], made["a1"], made["b0"]])
    assert {row.section for row in found.rows} == {RESULTS}
    assert [row.name for row in found.rows][:3] == ["objective", "mse", "kl"]
    assert [group.name for group in found.groups] == ["vae latent=3", "vae latent=2"]
    error = found.row("mse")
    assert error.words == "squared error, drawn code"
    both = [made[name].result["test"]["mse"] for name in ("a0", "a1")]
    assert error.cells["vae latent=3"].measure.value == pytest.approx(sum(both) / 2)
    assert error.cells["vae latent=2"].measure.value == made["b0"].result["test"]["mse"]
    assert error.headline
    assert not any(row.tested or row.best for row in found.rows)
    text = found.text("table")
    assert "Not evaluated: " in text
    assert "mse: squared error, drawn code; " in text
    assert "No star: a test needs at least 5 seeds in each group" in text


def test_an_ae_and_a_vae_compare_without_a_draw(made):
    found = compare([made[name] for name in ("c0", "c1", "a0", "a1")])
    drawn, mean = found.row("mse"), found.row("mse_mean_code")
    assert drawn.words == "squared error, mean or drawn code"
    assert not found.differences(drawn)
    assert mean.words == "squared error, mean code"
    assert [*found.differences(mean)] == [found.groups[1].name]
    ae = over_seeds([made["c0"], made["c1"]], "test", "mse").mean
    assert mean.cells["ae"].measure.value == pytest.approx(ae, rel=1e-5)


def test_many_groups_stand_below_each_other(made):
    found = compare([made[name] for name in ("a0", "a1", "b0", "b1", "c0", "c1")])
    narrow = found.text("table", 60)
    assert max(map(len, narrow.splitlines())) <= 60
    for group in found.groups:
        assert found.row("mse").cells[group.name].text in narrow


def test_what_was_evaluated_comes_after(evaluated):
    found = compare(list(evaluated.values()))
    assert [*dict.fromkeys(row.section for row in found.rows)] == [RESULTS, "latents"]
    assert not any(row.name.startswith("kl_") for row in found.rows)
    assert not found.lacking
    mmd = found.row("mmd").cells["vae latent=3"]
    values = [measures_of(read(evaluated[n]))["latents"]["mmd"].value for n in ("a0", "a1")]
    assert mmd.measure.value == pytest.approx(sum(values) / 2)


def test_five_seeds_are_starred(made, tmp_path):
    """Copies of runs with other seeds and results: the star, its sentence, and rows by name."""
    folders = []
    for group, base in (("a0", 30.0), ("b0", 10.0)):
        for seed in range(5):
            folder = shutil.copytree(made[group].path, tmp_path / f"{group}-{seed}")
            edit(folder, seed, base + seed % 2, 50 + 9 * np.sin(base + 7 * seed))
            folders.append(folder)
    found = compare(folders)
    tested = [row.name for row in found.rows if row.tested]
    assert tested == ["objective", "mse", "mse_mean_code"]
    assert found.row("mse").best == "vae latent=2"
    assert found.row("objective").best is None
    text = found.text("table")
    assert text.count("★") == 2  # in the cell and in the sentence
    assert "paired by seed; Holm's correction over 3 tested rows: objective, mse," in text
    one = compare(folders, rows=["kl", "mse"])
    assert [row.name for row in one.rows if row.tested] == ["mse"]  # of a KL neither is better
    assert one.row("mse").p == pytest.approx(found.row("mse").p / 3)
    with pytest.raises(zspace.UserError, match="row 'mze' is unknown: did you mean 'mse'"):
        compare(folders, rows=["mze"])


def edit(folder, seed, error, objective):
    """Give a copy of a run another seed and other results."""
    from zspace.system import files

    record = json.loads((folder / "run.json").read_text())
    record["config"]["training"]["seed"] = seed
    record["result"]["test"] |= {"mse": error, "objective": objective}
    record["result"]["quality"]["test"]["mse"] = 0.1 + 0.01 * np.cos(error + 7 * seed)
    record.pop("sha256", None)
    files.write(folder / "run.json", *files.sealed_json(record))


def test_refusals_are_sentences(made, evaluated, tmp_path):
    run = made["a0"]
    for runs in ([run], [run, run.path]):
        with pytest.raises(zspace.UserError, match="two or more different"):
            compare(runs)
    again = shutil.copytree(run.path, tmp_path / "again")
    with pytest.raises(zspace.UserError, match="same configuration and seed: give one"):
        compare([run, again])
    other = shutil.copytree(evaluated["b0"].path, tmp_path / "other")
    record = json.loads((other / "evaluation.json").read_text())
    record["data"]["fingerprint"] = "another"
    (other / "evaluation.json").write_text(json.dumps(record))
    with pytest.raises(zspace.UserError, match="different data"):
        compare([run, other])


def test_runs_of_the_same_minutes_are_one_group(made):
    """How many epochs fit into them is chance."""
    runs = [zspace.Run.from_bytes(made[name].to_bytes()) for name in ("a0", "a1", "b0")]
    for run, epochs in zip(runs, (3, 4, 3), strict=True):
        told = replace(run.config.training, minutes=1.0, epochs=epochs)
        run.config = replace(run.config, training=told)
    found = compare(runs)
    assert [len(group.runs) for group in found.groups] == [2, 1]


def test_a_number_that_one_seed_lacks_is_left_out(evaluated, made):
    found = compare([evaluated["a0"], made["a1"], evaluated["b0"]])
    assert set(found.row("mmd").cells) == {"vae latent=2"}
    assert [run.path for run in found.lacking] == [made["a1"].path]


def test_every_form_has_the_same_numbers(evaluated, tmp_path, capsys):
    found = compare(list(evaluated.values()))
    text = found.row("mse").cells["vae latent=3"].text
    assert text in found.text("table")
    assert f"| {text} |" in found.text("markdown")
    tex = found.text("latex")
    assert text.replace("−", "$-$") in tex
    assert text in found.text("markdown")
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 2
    assert r"mse\_mean\_code" in tex
    lines = list(csv.DictReader(io.StringIO(found.text("csv"))))
    line = next(x for x in lines if (x["measure"], x["group"]) == ("mse", "vae latent=3"))
    assert float(line["mean"]) == found.row("mse").cells["vae latent=3"].measure.value
    assert line["seeds"] == "2"
    paths = [str(run.path) for run in evaluated.values()]
    for suffix in ("txt", "md", "tex", "csv"):
        assert main(["compare", *paths, "-o", str(tmp_path / f"t.{suffix}")]) == 0
    assert (tmp_path / "t.md").read_text() == found.text("markdown")
    capsys.readouterr()
    main(["compare", *paths, "--format", "csv"])
    assert capsys.readouterr().out == found.text("csv")
    with pytest.raises(zspace.UserError, match=r"end it in one of \.txt, \.md"):
        format_of(tmp_path / "t.doc", None)


def test_report_compare_and_evaluate_agree(made, tmp_path):
    """A number of one name is the same number on the page, in the comparison and the files."""
    runs = [zspace.load(shutil.copytree(made[k].path, tmp_path / k)) for k in ("a0", "a1", "c0")]
    for run in runs:
        evaluate(
            run, sections=["latents", "anomaly"], options={"anomaly": {"against": run.data()}}
        )
    study = Study(tmp_path, runs)
    found, page = compare(runs), tables.evaluated(study)
    vae, ae = found.groups
    assert page.heads == ["VAE, 2 seeds", "AE"]
    for section, lines in page.sections.items():
        for title, texts, _ in lines:
            name = title.partition(",")[0].replace(" ", "_")
            if " to " in title:  # a series in one row, which a comparison leaves out
                continue
            row = found.row(name, section)
            for group, text in zip((vae, ae), texts, strict=True):
                assert text == (row.cells[group.name].text if group.name in row.cells else "–")
    record = measures_of(read(runs[2]))
    for section, measures in record.items():
        for name, measure in measures.items():
            if not name.startswith("kl_"):
                assert found.row(name, section).cells["ae"].measure == measure
    values = tables.findings(study)
    shown = {what: cells for what, _, cells in values}
    for what, name in (("drawn", "mse"), ("mean", "mse_mean_code")):
        cell = found.row(name, RESULTS).cells[vae.name].measure
        assert shown[f"Squared error, {what} code"][0] == number(cell.value)
    assert shown["Squared error, drawn code"][1] == "–"
    assert shown["Squared error, mean code"][1] == number(runs[2].result["test"]["mse"])
    family = families(study)[0]
    for name in ("mse", "kl", "objective"):
        cell = found.row(name, RESULTS).cells[vae.name].measure
        assert cell.value == pytest.approx(over_seeds(runs[:2], "test", name).mean)
        assert cell.about.partition(";")[0] == family.named(name)
    quality = quality_cells(runs[:2])
    for name, one in quality.items():
        assert found.row(name, RESULTS).cells[vae.name].measure.value == pytest.approx(one.mean)
    told = {name: what for name, what, *_ in tables.glossary(study)}
    assert told["mse"] == "squared error, drawn or mean code"
    told = reasons.given(Study(tmp_path, [runs[2], runs[0]]), "kl")
    contrast = {what for one in told for what in one.numbers}
    assert "AE → VAE: squared error, mean code, on test, code size 3" in contrast
    assert "AE → VAE: squared error, mean code → drawn code, on test, code size 3" in contrast

"""What `evaluate` keeps and prints, and what the page says of it."""

from __future__ import annotations

import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from rich.console import Console

import zspace
from zspace.analysis.anomaly import SCORES
from zspace.analysis.measure import METRICS, Measure, Metric, metric
from zspace.analysis.numbers import (
    count,
    duration,
    error_text,
    measure_text,
    number,
    percent,
    print_sections,
    rows,
    spelled,
    terms_text,
)
from zspace.analysis.trained import once
from zspace.cli.commands import measuring
from zspace.models import recipes
from zspace.report.figures import registry
from zspace.report.html.page import write_report
from zspace.runs.many import open_study
from zspace.runs.measured import (
    evaluate,
    measures_of,
    missing_of,
    ordered,
    read,
    warnings_of,
)
from zspace.system.errors import NotMeasured

OWN = ("likelihood", "latents")


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits):
    """Three small Bernoulli runs: two seeds, and another code size with one."""
    folder = tmp_path_factory.mktemp("made")
    options = {"data": str(digits), "likelihood": "bernoulli", "binarize": "static"}
    options |= {"hidden": (32,), "epochs": 2, "batch": 64, "precision": "fp32", "quiet": True}
    kinds = {"a0": (3, 0), "a1": (3, 1), "b0": (2, 0)}
    return {
        name: zspace.train("vae", latent=latent, seed=seed, out=folder / name, **options)
        for name, (latent, seed) in kinds.items()
    }


@pytest.fixture(scope="module")
def evaluated(made):
    for run in made.values():
        evaluate(run, iw=5, sections=OWN)
    return made


def test_the_file_holds_what_is_returned(made):
    run = made["a0"]
    record = evaluate(run.path, iw=5, sections=OWN)
    assert json.loads((run.path / "evaluation.json").read_text()) == record
    assert record["model"] == run.record["files"]["model.safetensors"]
    assert record["data"]["images"] == len(run.data().test)
    section = record["sections"]["likelihood"]
    assert section["options"] == {"samples": 5}
    assert set(section["measures"]["iw_5"]) == {field.name for field in fields(Measure)}
    found = measures_of(record)
    assert isinstance(found["likelihood"]["elbo"], Measure)
    assert found["likelihood"]["elbo"].unit == "nats"
    assert evaluate(run, iw=5, sections=OWN)["sections"].keys() == set(OWN)
    again = measures_of(evaluate(run, iw=5, sections=OWN))
    assert again == found


def test_other_sections_stay_as_long_as_the_model_is_the_same(made, tmp_path):
    run = zspace.load(shutil.copytree(made["a0"].path, tmp_path / "run"))
    (run.path / "evaluation.json").unlink(missing_ok=True)
    evaluate(run, iw=5, sections=["latents"])
    assert evaluate(run, iw=5, sections=["likelihood"])["sections"].keys() == set(OWN)
    record = json.loads((run.path / "evaluation.json").read_text())
    (run.path / "evaluation.json").write_text(json.dumps({**record, "model": "another"}))
    assert read(run) is None
    assert evaluate(run, iw=5, sections=["likelihood"])["sections"].keys() == {"likelihood"}


def test_what_does_not_apply_is_said_not_raised(runs, capsys):
    record = evaluate(runs["ae"], sections=OWN, quiet=False)
    assert "deterministic" in missing_of(record)["likelihood"]
    out = " ".join(capsys.readouterr().out.split())
    assert "likelihood was not measured: the code is deterministic" in out
    assert "mmd" in out


def test_bad_requests_are_sentences(runs, tmp_path):
    with pytest.raises(zspace.UserError, match="did you mean 'likelihood'"):
        evaluate(runs["vae"], sections=["likelyhood"])
    with pytest.raises(zspace.UserError, match="section 'gan' is unknown"):
        evaluate(runs["vae"], sections=["latents"], options={"gan": {}})
    with pytest.raises(zspace.UserError, match="does not exist"):
        evaluate(tmp_path / "none")


def test_a_stop_keeps_what_was_measured(made, tmp_path, monkeypatch):
    run = zspace.load(shutil.copytree(made["a0"].path, tmp_path / "run"))
    (run.path / "evaluation.json").unlink(missing_ok=True)

    def stopped(run, data, **options):
        raise KeyboardInterrupt

    monkeypatch.setitem(METRICS, "likelihood", Metric(stopped))
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, sections=["latents", "likelihood"])
    record = read(run)
    assert record is not None
    assert record["sections"].keys() == {"latents"}


def test_a_file_that_is_damaged_or_newer_is_refused(made, tmp_path):
    run = zspace.load(shutil.copytree(made["a0"].path, tmp_path / "run"))
    for text, why in (
        ("{", "not valid JSON"),
        ("[]", "is not an evaluation"),
        ('{"format": 99, "model": "", "data": {}, "sections": {}}', "upgrade zspace"),
    ):
        (run.path / "evaluation.json").write_text(text)
        with pytest.raises(zspace.UserError, match=why):
            read(run)


def test_collapse_is_warned_of(made, monkeypatch):
    dead = {"active_kl": Measure(1, ""), "kl_0": Measure(1.0, ""), "kl_1": Measure(0.0, "")}
    one = replace(METRICS["latents"], of=lambda run, data, **options: dead)
    monkeypatch.setitem(METRICS, "latents", one)
    record = evaluate(made["b0"], sections=["latents"])
    assert warnings_of(record)[0].startswith("1 of 2 code dimensions have collapsed")


def test_options_are_kept_as_json_can_hold_them(made, monkeypatch, tmp_path):
    monkeypatch.setitem(METRICS, "anomaly", Metric(lambda run, data, **options: {}))
    run = zspace.load(shutil.copytree(made["a0"].path, tmp_path / "run"))
    options = {"anomaly": {"against": run.data(), "place": tmp_path, "most": 3}}
    evaluate(run, sections=["anomaly"], options=options)
    record = read(run)
    assert record is not None
    kept = record["sections"]["anomaly"]["options"]
    assert kept == {"against": run.data().name, "place": str(tmp_path), "most": 3}


SPARSE = """from zspace.analysis import codes, mean, metric


@metric("sparsity")
def sparsity(trained, data, *, seed=0, quiet=True):
    return {"small": mean(abs(codes(trained, data).z).ravel() < 0.1, "near 0", better="high")}
"""


def test_a_metric_of_ones_own_is_a_section(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "IMPORTED", [])
    (tmp_path / "sparse.py").write_text(SPARSE)
    recipes.import_recipes(str(tmp_path / "sparse.py"))
    run = zspace.load(shutil.copytree(made["a0"].path, tmp_path / "run"))
    try:
        assert ordered()[-1] == "sparsity"
        record = evaluate(run, sections=["sparsity"], quiet=False)
    finally:
        del METRICS["sparsity"]
    assert measures_of(record)["sparsity"]["small"].better == "high"  # also where it is unknown
    small = record["sections"]["sparsity"]["measures"]["small"]
    assert 0 <= small["value"] <= 1
    assert small["better"] == "high"
    assert "sparsity" in capsys.readouterr().out
    with pytest.raises(ValueError, match="'latents' is there already"):
        metric("latents")(lambda trained, data, **options: {})


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(-89.534, "", error=0.213), "−89.53 ± 0.21"),
        (Measure(1234.5, "", error=12.0), "1,234 ± 12"),
        (Measure(0.97123, "", interval=(0.951, 0.984)), "0.971 [0.951, 0.984]"),
        (Measure(13, ""), "13"),
        (Measure(0.041871, ""), "0.04187"),
        (Measure(-0.0001, "", error=0.02), "0.000 ± 0.020"),
        (Measure(float("nan"), ""), "not finite"),
        (Measure(5.0, "", error=0.0), "5"),
    ],
)
def test_numbers_have_the_digits_of_their_error(measure, text):
    assert measure_text(measure) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.4, "1,234"), (12345678.0, "12,345,678"), (449.1, "449"), (39.46, "39.5"),
        (5.377, "5.38"), (0.314, "0.31"), (0.0468, "0.047"), (0.00123, "0.0012"), (0.0, "0"),
        (-3.14, "−3.14"), (1.5e-7, "1.5e−07"), (float("nan"), "not finite"),
        (float("inf"), "not finite"),
    ],
)  # fmt: skip
def test_numbers_have_about_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.5, "50%"), (0.994, "99.4%"), (0.9999, "99.9%"), (0.0042, "0.4%")],
)
def test_shares_are_rounded_to_all_only_where_it_is_all(share, text):
    assert percent(share) == text


def test_counts_and_times_in_words():
    assert count(1, "run") == "1 run"
    assert count(4050, "image") == "4,050 images"
    assert count(2, "class", "classes") == "2 classes"
    assert (spelled(3), spelled(18)) == ("three", "18")
    assert duration(34.2) == "34 seconds"
    assert duration(600) == "10 minutes"
    assert duration(9000) == "2.5 hours"


def test_every_number_has_a_true_minus_sign_and_its_thousands_apart():
    assert error_text(-1234.567, 1.9) == "−1,234.6 ± 1.9"
    assert error_text(-0.5, None) == "−0.5"
    assert error_text(float("inf"), 0.1) == "not finite"
    assert terms_text({"nll": -1234.5, "kl": 2, "objective": -1232.5}) == (
        "nll −1,234.50  kl 2.00  objective −1,232.50"
    )
    assert terms_text({"mse": 3.2, "objective": 3.2}) == "mse 3.20"


def test_series_are_one_row_and_labels_are_not():
    found = {f"kl_{j}": Measure(j / 10, "KL") for j in range(3)}
    found |= {f"probe_{n}": Measure(0.5, "") for n in (10, 100, 1000)} | {"iw_100": Measure(1, "")}
    titles = [row[0] for row in rows(found)]
    assert titles == ["kl_0 to kl_2", "probe_10", "probe_100", "probe_1000", "iw_100"]
    assert rows(found)[0][1] == "0 to 0.2"


def test_text_in_brackets_is_printed_as_it_is():
    console = Console(width=160, record=True, file=io.StringIO())
    measure = Measure(0.5, "a [b] c", interval=(0.4, 0.6))
    print_sections("T", {"s": {"auroc": measure}}, {}, [], console)
    text = console.export_text()
    assert "0.50 [0.40, 0.60]" in text
    assert "a [b] c" in text


HIGH = {
    "likelihood": "elbo iw_3 reconstruction",
    "representation": "neighbours probe probe_10 probe_100 nmi ari neighbours_draws probe_draws "
    "probe_10_draws probe_100_draws nmi_draws ari_draws",
    "generation": "precision recall coverage conditional_accuracy",
    "disentanglement": "mig sap factor_vae dci_disentanglement dci_completeness "
    "dci_informativeness",
    "anomaly": " ".join(f"{score}_auroc {score}_auprc" for score in SCORES),
}
LOW = {
    "likelihood": "elbo_bits iw_3_bits",
    "latents": "mean_distance covariance_distance ks mmd marginal_kl",
    "generation": "frechet class_distance",
    "novelty": "copies",
    "inception": "fid",
    "anomaly": " ".join(f"{score}_fpr95" for score in SCORES),
}


def test_every_measure_says_which_way_is_better(made, runs, monkeypatch, tmp_path):
    """Of all sections; what is in neither table has no better side: a KL, say, or the pixels'."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path)  # not the bad judge below
    monkeypatch.setattr("zspace.models.judge.MOST_EPOCHS", 2)
    monkeypatch.setattr("zspace.analysis.representation.MOST", 120)
    monkeypatch.setattr("zspace.analysis.representation.DRAWS", 1)
    rooms = "zspace.analysis.disentanglement"
    for name in ("mig", "sap", "factor_vae"):
        monkeypatch.setattr(f"{rooms}.{name}", lambda *args: 0.5)
    monkeypatch.setattr(f"{rooms}.dci", lambda *args: (0.5, 0.5, 0.5))
    monkeypatch.setattr(f"{rooms}.factors_of", lambda data, some: np.arange(len(some))[:, None])
    vae, data = made["a0"], made["a0"].data()
    options = {
        "likelihood": {"samples": 3},
        "inception": {"network": Features()},
        "anomaly": {"against": data, "draws": 2, "most": 10},
    }
    for name in dict.fromkeys((*HIGH, *LOW)):
        run = runs["cvae"] if name == "generation" else vae
        known = replace(data, factors=(("side", 2),))
        found = METRICS[name].of(run, known, **options.get(name, {}))
        for better, table in (("high", HIGH), ("low", LOW)):
            these = {key for key, measure in found.items() if measure.better == better}
            assert these == set(table.get(name, "").split()), (name, better)


class Features(torch.nn.Module):
    """The mean of each quarter of an image."""

    num_features = 4

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x[:, :1].double() / 255, 2).flatten(1)


def test_the_page_has_the_numbers_where_there_are_some(evaluated, tmp_path):
    from zspace.report.html import tables

    found = tables.evaluated(open_study(evaluated["a0"].path))
    assert found is not None
    assert list(found.sections) == list(OWN)
    name, cells, _ = next(iter(found.sections.values()))[0]
    assert name.startswith("elbo")
    assert "±" in cells[0]
    fresh = shutil.copytree(evaluated["a0"].path, tmp_path / "fresh")
    (fresh / "evaluation.json").unlink()
    assert tables.evaluated(open_study(fresh)) is None


def test_the_page_is_written_with_and_without_numbers(evaluated, tmp_path, monkeypatch):
    few = {name: registry.FIGURES[name] for name in ("reconstructions",)}
    monkeypatch.setattr(registry, "FIGURES", few)
    path = evaluated["a0"].path
    text = write_report(open_study(path), tmp_path / "with.html").read_text()
    assert 'id="evaluated"' in text
    assert "Importance-weighted lower bound" in text
    fresh = shutil.copytree(path, tmp_path / "fresh")
    (fresh / "evaluation.json").unlink()
    text = write_report(open_study(fresh), tmp_path / "without.html").read_text()
    assert 'id="evaluated"' not in text


def test_not_measured_is_a_users_error():
    assert issubclass(NotMeasured, zspace.UserError)


def test_the_command_measures(evaluated, capsys):
    measuring.evaluate(evaluated["b0"].path, iw=2, sections=("likelihood",))
    out = capsys.readouterr().out
    assert "iw_2" in out
    assert all(name in (measuring.evaluate.__doc__ or "") for name in (*HIGH, *LOW))


def test_of_two_threads_one_computes_and_the_other_waits(runs):
    calls = []

    @once
    def slow(run):
        calls.append(run)
        time.sleep(0.2)
        return object()

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(slow, [runs["ae"]] * 2)
    assert one is other
    assert len(calls) == 1

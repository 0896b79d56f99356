"""Runs of tables, from training to what comes back: rows of the sort that went in."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import zspace
from zspace.cli import main
from zspace.report.figures import registry
from zspace.runs.many import Study
from zspace.system.errors import UserError

SMALL = {"hidden": (16,), "latent": 2, "epochs": 2, "batch": 32, "precision": "fp32"}


def people(n: int = 200) -> pd.DataFrame:
    random = np.random.RandomState(0)
    age = random.randint(18, 90, n)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.where(random.rand(n) < 0.1, np.nan, np.round(age * 97.5, 2)),
            "sex": random.choice(["f", "m"], n),
            "visits": random.poisson(3, n),
            "born": pd.to_datetime("2020-01-01") - pd.to_timedelta(age * 365, unit="D"),
            "ill": random.rand(n) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    people().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    out = tmp_path_factory.mktemp("runs") / "vae"
    return zspace.train("vae", data=str(csv), out=out, quiet=True, **SMALL)


def test_a_run_alone_takes_rows_in_and_gives_rows_back(run, csv, tmp_path):
    """Its folder is all that is there: the data have gone."""
    alone = zspace.load(run.path)
    moved = tmp_path / "copy"
    alone.save(moved)
    alone = zspace.load(moved)
    assert {"encoding.json", "encoding.safetensors"} <= {p.name for p in moved.iterdir()}
    new = people(20).sample(frac=1, random_state=1, axis=1)
    z = alone.encode(new)
    assert z.shape == (20, 2)
    back, made = alone.reconstruct(new), alone.sample(7, seed=0)
    known = zspace.data.load(str(csv), quiet=True).encoding.decode(run.data().test.images())
    for rows in (back, made, alone.decode(np.zeros((3, 2), np.float32))):
        assert rows.dtypes.equals(known.dtypes)
        assert list(rows.columns) == list(people().columns)
        assert not rows.isna().any().any()
        assert rows["age"].between(18, 90).all()
        assert set(rows["sex"]) <= {"f", "m"}
        assert (rows["income"].round(2) == rows["income"]).all()
    assert made.equals(alone.sample(7, seed=0))
    assert zspace.Run.from_bytes(alone.to_bytes()).sample(7, seed=0).equals(made)
    with pytest.raises(UserError, match="the rows have no column 'age', which the model reads"):
        alone.encode(new.drop(columns="age"))


def test_frames_come_back_as_the_sort_that_went_in():
    frame = pl.from_pandas(people().dropna())
    run = zspace.train("ae", data=frame, out=False, quiet=True, **SMALL)
    assert run.reconstruct(frame).schema == frame.schema
    assert run.sample(4, seed=1).schema == frame.schema
    assert_frame_equal(run.sample(4, seed=1), run.sample(4, seed=1))
    rows = np.random.RandomState(0).normal(size=(80, 3)).astype(np.float32)
    found = zspace.train("vae", data=rows, out=False, quiet=True, **SMALL).reconstruct(rows)
    assert (found.shape, found.dtype) == (rows.shape, rows.dtype)


def test_what_the_record_says(run):
    record = json.loads((run.path / "run.json").read_text())
    assert record["data"]["kind"] == "table"
    assert "income" in " ".join(record["data"]["read"]["lines"])
    quality = record["result"]["quality"]["test"]
    assert set(quality) == set(people().columns)
    assert 0 <= quality["sex"] <= 1
    assert record["result"]["about"]["quality"]["age"] == "mean absolute error of age"
    assert all(set(line["quality"]["validation"]) == set(quality) for line in run.metrics)


def test_a_damaged_encoding_is_refused(run, tmp_path):
    path = run.save(tmp_path / "damaged")
    content = (path / "encoding.json").read_bytes()
    (path / "encoding.json").write_bytes(content.replace(b"income", b"outcom"))
    with pytest.raises(UserError, match=r"encoding\.json"):
        zspace.load(path)


def test_training_is_learning_something(csv):
    """Age, birth and income say the same: a code of two numbers keeps all three."""
    run = zspace.train(
        "vae", data=str(csv), out=False, quiet=True, **{**SMALL, "epochs": 60, "hidden": (64,)}
    )
    quality = run.result["quality"]["test"]
    age = people()["age"]
    assert quality["age"] < 0.4 * float((age - age.median()).abs().mean())
    first, last = run.metrics[0]["validation"]["nll"], run.metrics[-1]["validation"]["nll"]
    assert last < first - 0.5


@pytest.mark.slow
def test_a_training_resumes_bit_for_bit_after_a_kill_and_repeats(csv, tmp_path):
    options = ["--data", str(csv), "--hidden", "16", "--latent", "2", "--epochs", "40"]
    options += ["--batch", "32", "--precision", "fp32", "--json"]
    whole = tmp_path / "whole"
    command = [sys.executable, "-m", "zspace", "train", "vae", *options]
    done = subprocess.run([*command, "--out", whole], capture_output=True, text=True, check=True)
    assert "people: rows of 6 columns" in done.stdout + done.stderr
    cut = tmp_path / "cut"
    going = subprocess.Popen(
        [*command, "--save-every", "0", "--out", cut], stdout=subprocess.PIPE, text=True
    )
    assert going.stdout is not None
    for line in going.stdout:
        if '"number": 3' in line or '"epoch": 3' in line:
            break
    going.send_signal(signal.SIGKILL)
    going.wait()
    going.stdout.close()
    if json.loads((cut / "run.json").read_text())["status"] != "finished":
        zspace.resume(cut, reporter=None)
    a, b = (zspace.load(path).model.state_dict() for path in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (whole / "encoding.json").read_bytes() == (cut / "encoding.json").read_bytes()
    again = zspace.repeat(whole, out=tmp_path / "again").model.state_dict()
    assert all(torch.equal(a[name], again[name]) for name in a)


def test_a_run_on_a_frame_asks_for_the_same_frame(tmp_path):
    frame = people()
    run = zspace.train("vae", data=frame, out=tmp_path / "a", quiet=True, **SMALL)
    with pytest.raises(UserError, match="give the same"):
        zspace.repeat(run.path, out=False)
    again = zspace.repeat(run.path, out=False, data=frame)
    assert again.result["test"] == run.result["test"]
    with pytest.raises(UserError, match="not those of that run"):
        zspace.repeat(run.path, out=False, data=frame.iloc[::-1])


def test_rows_at_the_command_line(run, csv, tmp_path):
    for name in ("rows.csv", "rows.parquet"):
        assert main.run(["sample", str(run.path), "-n", "5", "--out", str(tmp_path / name)]) == 0
    assert pd.read_csv(tmp_path / "rows.csv").shape == (5, 6)
    assert str(pd.read_parquet(tmp_path / "rows.parquet")["born"].dtype).startswith("datetime64")
    both = tmp_path / "both.csv"
    assert main.run(["reconstruct", str(run.path), "-n", "3", "--out", str(both)]) == 0
    assert pd.read_csv(both)["which"].tolist() == ["data", "reconstruction"] * 3
    assert main.run(["sample", str(run.path), "--out", str(tmp_path / "a.xyz")]) == 2
    assert main.run(["sample", str(run.path), "-n", "3", "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_rows_are_called_by_the_column_that_identifies_them(tmp_path, capsys):
    """In scores, codes and filled rows; by their positions in data without that column."""
    frame = people(60)[["age", "income", "sex"]]
    frame.insert(1, "remark", [f"{i}: what was said by one them, {'x' * 60}" for i in range(60)])
    frame.insert(0, "customer_id", [f"C{7 * i}" for i in range(60)])
    frame["age"] = frame["age"].where(frame.index % 9 > 0)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.drop(columns="customer_id").to_csv(tmp_path / "nameless.csv", index=False)
    run = zspace.train(
        "vae", data=str(tmp_path / "rows.csv"), out=tmp_path / "run", quiet=True, **SMALL
    )
    told = (tmp_path / "run" / "run.json").read_text()
    assert re.search(r"customer_id \(\d+ different texts; it names the rows\)", told)
    wrote = {}
    for data in ("rows", "nameless"):
        for verb in ("score", "embed", "impute"):
            out = tmp_path / f"{data}-{verb}.csv"
            more = ["--rate", "0.5"] if verb == "score" else []
            given = ["--data", str(tmp_path / f"{data}.csv"), "-o", str(out), *more]
            assert main.run([verb, str(run.path), *given]) == 0, capsys.readouterr().err
            wrote[data, verb] = pd.read_csv(out, dtype=str, keep_default_na=False)
    for verb in ("score", "embed"):
        own = wrote["rows", verb]
        called = frame["customer_id"][own["index"].astype(int)]
        assert own["id"].tolist() == called.tolist()
        assert wrote["nameless", verb]["id"].tolist() == [str(i) for i in range(60)]
    filled = wrote["rows", "impute"]
    assert filled.columns.tolist() == ["customer_id", "age", "income", "sex"]
    assert filled["customer_id"].tolist() == frame["customer_id"].tolist()
    there = frame["age"].notna()
    assert filled["age"][there].tolist() == [str(int(age)) for age in frame["age"][there]]
    assert "customer_id" not in wrote["nameless", "impute"]


def test_names_of_rows_are_what_the_column_holds(tmp_path):
    """Whole numbers stay so where one is missing, and a missing one is no position."""
    frame = people(40)[["age", "income"]].assign(id=np.arange(40) * 3 + 101)
    run = zspace.train("vae", data=frame, out=tmp_path / "run", quiet=True, **SMALL)
    frame.head(4).to_csv(tmp_path / "whole.csv", index=False)
    assert run.data(str(tmp_path / "whole.csv")).test.names() == ["101", "104", "107", "110"]
    some = frame.head(4).assign(id=[1.0, np.nan, 3.0, 4.0])
    assert run.data(some).test.names() == ["1", "", "3", "4"]
    out = tmp_path / "filled.parquet"
    given = ["--data", str(tmp_path / "whole.csv"), "-o", str(out)]
    assert main.run(["impute", str(run.path), *given]) == 0
    filled = pd.read_parquet(out)
    assert filled["id"].dtype == np.int64
    assert filled.columns.tolist() == ["id", "age", "income"]


@pytest.mark.parametrize("n", [40, 120_000])
def test_a_column_names_rows_only_if_each_has_its_own(n):
    """Also where there are more values than are counted one by one."""
    values = np.arange(n)
    for ids, named in ((values // 2, ""), (values, "id")):
        frame = pd.DataFrame({"id": [f"c{i}" for i in ids], "v": values % 7 + 0.5})
        assert zspace.data.load(frame, quiet=True).encoding.identifier == named


def test_rows_of_an_array_keep_the_numbers_of_their_columns(tmp_path):
    random = np.random.RandomState(0)
    np.save(tmp_path / "a.npy", np.c_[random.rand(60), random.randint(0, 99, 60), random.rand(60)])
    given = {"data": str(tmp_path / "a.npy"), "columns": "0=id"}
    run = zspace.train("vae", **given, out=tmp_path / "run", quiet=True, **SMALL)
    out = tmp_path / "made.csv"
    assert main.run(["sample", str(run.path), "-n", "5", "-o", str(out)]) == 0
    made = pd.read_csv(out)
    assert made.columns.tolist() == ["1", "2"]
    assert (made["1"].dtype, made["2"].dtype) == (np.int64, np.float64)


def test_categories_that_were_never_seen_are_told(run, tmp_path, capsys):
    odd = people(6)
    odd["sex"] = ["f", "x", "m", "y", "z", "w"]
    with pytest.warns(UserWarning, match=r"'sex' holds 'x', 'y', 'z' and 1 more, which no"):
        run.encode(odd)
    odd.to_csv(tmp_path / "odd.csv", index=False)
    out = ["-o", str(tmp_path / "z.csv")]
    with pytest.warns(UserWarning, match="never learned"):
        main.run(["embed", str(run.path), "--data", str(tmp_path / "odd.csv"), *out])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.encode(people(6))


def test_an_index_of_a_frame_goes_before_a_column_that_identifies_rows():
    frame = people(40).assign(id=[f"row {i}" for i in range(40)])
    split = np.where(np.arange(40) % 10 == 9, "test", "train")
    own = zspace.data.load(frame.assign(split=split), quiet=True)
    assert own.test.names() == ["row 9", "row 19", "row 29", "row 39"]
    frame.index = pd.Index([f"i{i}" for i in range(40)])
    assert zspace.data.load(frame, quiet=True).train.names()[0].startswith("i")
    apart = frame.assign(c=list("aabc") * 10)
    held = {
        "labels": "c",
        "hold_out_class": "c",
        "test": frame.head(3).assign(c="a"),
        "quiet": True,
    }
    assert set(zspace.data.load(apart, **held).test.names()) >= {"i0", "i1", "i2", "i39"}
    held["test"] = held["test"].reset_index(drop=True)
    names = zspace.data.load(apart.reset_index(drop=True), **held).test.names()
    assert set(names) >= {"row 0", "row 1", "row 2", "row 39"}


@pytest.mark.parametrize("score", ["error", "elbo", "mahalanobis"])
def test_rows_are_scored(run, score):
    odd = people(20).assign(age=90, income=100.0)
    scored = zspace.analysis.anomaly.Scorer(run, run.data(), [score])
    found = scored(run.data(odd).splits["all"])[score]
    assert found.shape == (20,)
    assert np.isfinite(found).all()
    assert np.median(found) > np.median(scored.validation[score])


@pytest.mark.slow
def test_a_report_of_a_table_shows_rows_and_no_pictures(run, tmp_path):
    study = Study(run.path, [run])
    shown = registry.shown_of(study)
    assert {"rows", "sampled-rows", "curves", "columns"} <= set(shown)
    assert not {"quality", "reconstructions", "samples", "interpolation", "plane", "data"} & set(
        shown
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main.run(["report", str(run.path), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "Unseen rows, reconstructed" in page
    assert "it shows images" not in page
    said = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\bimages?\b", said, re.IGNORECASE)
    assert (run.path / "run.json").exists()
    with pytest.raises(UserError, match="it shows images, but these data are tables"):
        registry.draw("samples", study)


def test_every_column_is_drawn_over_training(run):
    """Errors in units of the median's, accuracies as they are, the usual answer dotted."""
    study = Study(run.path, [run])
    fig = registry.draw("columns", study)
    shown = {axes.get_title(loc="left"): axes for axes in fig.axes if axes.axison}
    assert list(shown) == [
        "age: error", "income: error", "sex: accuracy", "visits: error", "born: error",
        "ill: accuracy",
    ]  # fmt: skip
    usual = {entry.name: entry.usual for entry in run.encoding.entries}
    for title, axes in shown.items():
        name, _, sort = title.partition(": ")
        unit = usual[name] if sort == "error" else 1
        solid, dotted = axes.get_lines()[0], axes.get_lines()[1]
        wanted = [line["quality"]["validation"][name] / unit for line in run.metrics]
        assert solid.get_ydata() == pytest.approx(wanted)
        assert set(axes.get_lines()[2].get_ydata()) == {1 if sort == "error" else usual[name]}
        assert dotted.get_linestyle() == "--"
        low, high = axes.get_ylim()
        assert all(low < y < high for line in axes.get_lines() for y in line.get_ydata())
    told = registry.find("columns").numbers(study)
    assert any(title.startswith("Mean absolute error of born in days (the") for title in told)


def test_of_many_columns_the_worst_are_drawn(tmp_path):
    x = np.random.RandomState(0).normal(size=(120, 30))
    x[:, 3] = 7.0  # always right
    run = zspace.train("vae", data=x, out=tmp_path / "run", quiet=True, **SMALL)
    fig = registry.draw("columns", Study(run.path, [run]))
    assert len([axes for axes in fig.axes if axes.axison]) == 24
    assert "24 of 30 columns that are furthest from right" in fig.get_supxlabel()
    last = run.metrics[-1]["quality"]["validation"]
    left = {e.name: last[e.name] / e.usual for e in run.encoding.entries if e.usual}
    shown = [axes.get_title(loc="left").partition(":")[0] for axes in fig.axes if axes.axison]
    assert set(shown) == set(sorted(left, key=left.get)[-24:])


def test_evaluate_measures_what_it_can(run):
    found = zspace.evaluate(run.path, sections=["likelihood", "latents", "representation"])
    assert np.isfinite(found["sections"]["likelihood"]["measures"]["elbo"]["value"])
    assert found["sections"]["latents"]["measures"]


def test_what_is_said_of_a_table_speaks_of_rows(run, csv, tmp_path, capsys):
    copy = run.save(tmp_path / "copy")
    assert main.run(["evaluate", str(copy), "--iw", "2", "--sections", "latents", "novelty"]) == 0
    for command in (
        ["score", str(copy), "--scores", "error", "-o", str(tmp_path / "s.csv"), "--rate", "0.1"],
        ["score", str(copy), "--scores", "error", "-o", str(tmp_path / "s.csv"), "--rate", "0.01"],
        ["reconstruct", str(copy), "-n", "0", "-o", str(tmp_path / "r.csv")],
    ):
        main.run(command)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "20 test rows of people" in said
    assert "of 200 rows above" in said
    assert "cannot be set from 18 validation rows: use a rate of at least 0.056" in said
    assert "image" not in said
    shown = run.data(str(csv))._repr_html_()
    assert "train rows" in shown
    assert "visits" in shown


def test_what_is_there_stays_where_gaps_are_filled():
    frame = people()
    frame.loc[::7, "age"] = np.nan
    run = zspace.train("vae", data=frame, out=False, quiet=True, **SMALL)
    new = frame.iloc[:20].copy()
    new.loc[1, "age"] = 10 * frame["age"].max()  # beyond all rows of the training
    filled = run.impute(new)
    assert filled["age"].notna().all()
    there = new["age"].notna()
    assert (filled["age"][there] == new["age"][there]).all()


def test_a_figure_of_rows_speaks_of_rows(run):
    from zspace.report.figures import registry
    from zspace.runs.many import Study

    drawn = registry.draw("curves", Study(run.path, [run]))
    assert drawn.get_supxlabel().startswith("sum over a row, mean over rows")

"""The grid of a study, how it is trained, its table, and the command.

Trainings are real but tiny: 300 digits of 14 x 14, 16 hidden units, 2 epochs.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import zspace
from zspace.cli import main
from zspace.models import recipes
from zspace.runs.many import Cell, Failed, Study, open_study, over_seeds, rows, write_table
from zspace.runs.record import WEIGHTS
from zspace.runs.run import Run
from zspace.studies import grid, launch
from zspace.studies.executors import one_by_one
from zspace.studies.grid import Entry, Grid
from zspace.system import files, signals
from zspace.system.errors import UserError
from zspace.training import api
from zspace.training.progress import Quiet

TINY = {"hidden": [16], "epochs": 2, "batch": 64, "precision": "fp32"}
Conduct = Callable[..., list[Entry]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def conduct(digits: Path) -> Conduct:
    """Train a tiny grid on the digits, and return what became of each run."""

    def run(out: Path, *recipes: str, latent=(2,), seeds=1, vary=None, **fixed):
        given = Grid(
            recipes, latent, seeds, {"data": str(digits), **TINY, **fixed}, dict(vary or {})
        )
        return grid.conduct(given, out, reporter=lambda *_: Quiet(), told=lambda *_: None)

    return run


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has its own tests; drawing all its figures takes longer than a tiny study."""

    def write(study: Study, path: Path, console: Console | None = None) -> Path:
        files.write(path, b"<!doctype html>")
        return path

    monkeypatch.setattr(launch, "write_report", write)


def names(given: Grid) -> list[str]:
    return [entry.name for entry in given.entries()]


def runs_of(folder: Path) -> dict[str, dict[str, Any]]:
    record = json.loads((folder / "study.json").read_text())
    return {entry["name"]: entry for entry in record["runs"]}


# The grid


def test_a_grid_is_every_combination_family_by_family():
    given = Grid(("ae", "vae"), latent=(2, 5), seeds=2)
    assert names(given) == [
        "ae-2-s0", "ae-2-s1", "ae-5-s0", "ae-5-s1", "vae-2-s0", "vae-2-s1", "vae-5-s0", "vae-5-s1",
    ]  # fmt: skip
    config = given.entries()[-1].config
    assert (config.recipe, config.latent, config.training.seed) == ("vae", 5, 1)


def test_the_default_grid_is_the_quick_comparison():
    assert names(Grid()) == [f"{r}-{z}-s0" for r in ("ae", "vae", "cvae") for z in (2, 20)]
    assert grid.PRESETS["full"][0] == (2, 5, 10, 20, 50, 100)


def test_what_varies_names_the_family():
    given = Grid(("beta-vae",), (2,), vary={"beta": [0.5, 4]})
    assert [(e.name, e.family) for e in given.entries()] == [
        ("beta-vae-beta=0.5-2-s0", "beta-vae beta=0.5"),
        ("beta-vae-beta=4-2-s0", "beta-vae beta=4"),
    ]
    assert [e.config.arguments["beta"] for e in given.entries()] == [0.5, 4]


def test_underscores_and_dashes_name_the_same_family():
    assert names(Grid(("beta_vae",), (2,))) == ["beta-vae-2-s0"]


def test_a_recipe_without_the_varied_option_is_trained_once():
    given = Grid(("ae", "beta-vae"), (2,), vary={"beta": [0.5, 1, 4]})
    assert [e.family for e in given.entries()] == [
        "ae", "beta-vae beta=0.5", "beta-vae beta=1", "beta-vae beta=4",
    ]  # fmt: skip


def test_a_recipe_without_a_fixed_option_does_without():
    jobs = [e.config for e in Grid(("ae", "beta-vae"), (2,), fixed={"beta": 2.0}).entries()]
    assert "beta" not in jobs[0].arguments
    assert jobs[1].arguments["beta"] == 2.0


def test_settings_may_vary_for_all():
    given = Grid(("ae", "vae"), (2,), vary={"lr": [0.001, 0.002]})
    assert [e.config.training.lr for e in given.entries()] == [0.001, 0.002] * 2
    assert len(set(names(given))) == 4


@pytest.mark.parametrize(
    "given", [Grid(()), Grid(latent=()), Grid(seeds=0)], ids=["recipes", "sizes", "seeds"]
)
def test_a_grid_of_no_runs_says_so(given):
    with pytest.raises(UserError, match="this grid has no runs: give a recipe"):
        given.entries()


@pytest.mark.parametrize("options", [{"fixed": {"epocs": 3}}, {"vary": {"epocs": [3, 4]}}])
def test_an_unknown_option_gets_the_nearest(options):
    with pytest.raises(UserError, match=r"'epocs' is unknown: did you mean 'epochs'\?"):
        Grid(("ae",), (2,), **options).entries()


def test_an_unknown_recipe_gets_the_nearest():
    with pytest.raises(UserError, match=r"recipe 'cvea' is unknown: did you mean 'cvae'\?"):
        Grid(("cvea",), (2,)).entries()


# --set


@pytest.mark.parametrize(
    ("text", "fixed", "vary"),
    [
        ("epochs=5", {"epochs": 5}, {}),
        ("beta=0.5,1,4", {}, {"beta": [0.5, 1, 4]}),
        ("hidden=[16]", {"hidden": (16,)}, {}),
        ("hidden=[16,8]", {"hidden": (16, 8)}, {}),
        ("hidden=[16],[32,32]", {}, {"hidden": [(16,), (32, 32)]}),
        ("weight-decay=0", {"weight_decay": 0}, {}),
        ("lr=1e-3", {"lr": 0.001}, {}),
        ("likelihood=gaussian", {"likelihood": "gaussian"}, {}),
        ("anneal=none,warmup", {}, {"anneal": ["none", "warmup"]}),
        ('size="28"', {"size": "28"}, {}),
        ("hold_out_class=4", {"hold_out_class": "4"}, {}),
        ('hold-out-class="a, b"', {"hold_out_class": "a, b"}, {}),
    ],
)
def test_choices_are_read(text, fixed, vary):
    assert grid.divided(grid.parse_choices([text])) == (fixed, vary)


@pytest.mark.parametrize("text", ["beta", "=4", "beta=", ""])
def test_choices_that_are_none_are_explained(text):
    with pytest.raises(UserError, match="is not understood: use NAME=VALUE or NAME=V1,V2,V3"):
        grid.parse_choices([text])


# Training a grid


def test_a_study_trains_every_run_and_notes_it(conduct, tmp_path):
    outcomes = conduct(tmp_path, "ae", "vae", latent=(2, 3))
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    study = open_study(tmp_path)
    assert {name: list(sizes) for name, sizes in study.families.items()} == {
        "ae": [2, 3],
        "vae": [2, 3],
    }
    record = json.loads((tmp_path / "study.json").read_text())
    assert record["grid"]["recipes"] == ["ae", "vae"]
    assert record["environment"]["libraries"]["torch"] == torch.__version__


def test_what_is_done_is_not_done_again(conduct, tmp_path):
    conduct(tmp_path, "ae", "vae")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    outcomes = conduct(tmp_path, "ae", "vae", "cvae")
    assert [outcome.status for outcome in outcomes] == ["finished"] * 3
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_half_done_run_goes_on_to_the_same_end(conduct, digits, tmp_path):
    """Interrupted in its second epoch, it ends with the weights of an uninterrupted one."""
    config = Grid(("vae",), (2,), 1, {"data": str(digits), **TINY}).entries()[0].config

    class Stop(Quiet):
        def step(self, fit) -> None:
            if fit.step == 7:
                raise KeyboardInterrupt

    (tmp_path / "a/runs").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        api.start(config, tmp_path / "a/runs/vae-2-s0", Stop(), save_every=0.0)
    assert files.read_json(tmp_path / "a/runs/vae-2-s0/run.json")["status"] == "running"
    for out in ("a", "b"):
        assert [o.reason for o in conduct(tmp_path / out, "vae")] == [""]
    halves, whole = (zspace.load(tmp_path / out / "runs/vae-2-s0") for out in ("a", "b"))
    assert halves.record["files"][WEIGHTS] == whole.record["files"][WEIGHTS]
    assert halves.result["epochs"] == 2


def test_a_folder_without_a_record_is_cleaned(conduct, tmp_path):
    left = tmp_path / "runs/ae-2-s0"
    left.mkdir(parents=True)
    (left / ".run.json.abc").write_text("{")
    assert [o.status for o in conduct(tmp_path, "ae")] == ["finished"]
    assert not (left / ".run.json.abc").exists()


def test_a_failed_run_is_noted_and_the_rest_goes_on(conduct, tmp_path):
    told: list[str] = []
    outcomes = conduct(tmp_path, "ae", vary={"lr": [1e30, 0.002]})
    told += [outcome.status for outcome in outcomes]
    assert told == ["failed", "finished"]
    assert "not finite" in outcomes[0].reason
    study = open_study(tmp_path)
    assert [failed.name for failed in study.failed] == [outcomes[0].name]
    assert study.failed[0].reason == outcomes[0].reason
    assert list(study.families) == ["ae lr=0.002"]


def test_a_failed_run_is_tried_again(conduct, tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise RuntimeError("the machine is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(api, "start", refuse)
        assert [o.reason for o in conduct(tmp_path, "ae")] == ["the machine is on fire"]
    assert [o.status for o in conduct(tmp_path, "ae")] == ["finished"]


def test_an_interruption_stops_the_study(conduct, tmp_path, monkeypatch):
    def stop(*_: Any) -> None:
        raise signals.Interrupted("stopped at step 3")

    monkeypatch.setattr(api, "start", stop)
    with pytest.raises(signals.Interrupted):
        conduct(tmp_path, "ae", "vae")
    assert {e["status"] for e in runs_of(tmp_path).values()} == {"waiting"}


def test_other_settings_under_the_same_name_are_refused(conduct, tmp_path):
    conduct(tmp_path, "ae")
    before = (tmp_path / "runs/ae-2-s0/run.json").read_bytes()
    with pytest.raises(UserError, match="was trained with other options"):
        conduct(tmp_path, "ae", epochs=3)
    assert (tmp_path / "runs/ae-2-s0/run.json").read_bytes() == before


# Reading a study


def test_a_run_is_a_study_of_one(runs):
    study = open_study(runs["vae"].path)
    assert list(study.families) == ["vae"]
    assert study.chosen == {"vae": 3}
    assert study.best("vae").path == runs["vae"].path


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither a study nor a run: no study\.json"):
        open_study(tmp_path)


def test_a_study_of_a_newer_version_is_refused(tmp_path):
    files.write_json(tmp_path / "study.json", {"format": 99, "runs": []})
    with pytest.raises(UserError, match="newer zspace"):
        open_study(tmp_path)


def test_a_study_without_a_finished_run_is_refused(tmp_path):
    waiting = {"name": "ae-2-s0", "family": "ae", "status": "waiting", "reason": ""}
    files.write_json(tmp_path / "study.json", {"format": 1, "runs": [waiting]})
    with pytest.raises(UserError, match="no finished run"):
        open_study(tmp_path)


def made_up(recipe: str, latent: int, seed: int, **splits: float | dict[str, float]) -> Run:
    """Only what table and selection read of a run."""
    terms = {s: v if isinstance(v, dict) else {"objective": v} for s, v in splits.items()}
    run: Any = SimpleNamespace(
        config=SimpleNamespace(recipe=recipe, latent=latent, training=SimpleNamespace(seed=seed)),
        result={"epochs": 12, "best_epoch": 11, "seconds": 3.25, **terms},
        record={"parameters": 1234},
        objective=SimpleNamespace(comparable=("objective",)),
    )
    return run


def test_the_size_is_chosen_by_validation_alone():
    """Test and train would both choose 20; validation, a mean over seeds, says 5."""
    study = Study(
        Path("made-up"),
        [
            made_up("ae", 20, 0, train=1.0, validation=9.0, test=1.0),
            made_up("ae", 20, 1, train=1.0, validation=7.0, test=1.0),
            made_up("ae", 5, 0, train=5.0, validation=8.5, test=9.0),
            made_up("ae", 5, 1, train=5.0, validation=6.5, test=9.0),
            made_up("vae", 2, 0, train=2.0, validation=3.0, test=3.0),
        ],
    )
    assert study.chosen == {"ae": 5, "vae": 2}
    assert study.best("ae").config.training.seed == 0
    assert list(study.families["ae"]) == [5, 20]


def test_a_cell_is_mean_and_spread_over_seeds():
    runs = [made_up("ae", 2, seed, test={"mse": mse}) for seed, mse in enumerate((4.0, 6.0, 8.0))]
    assert over_seeds(runs, "test", "mse") == Cell(6.0, 2.0)
    assert str(over_seeds(runs, "test", "mse")) == "6.0 ± 2.0"
    assert str(over_seeds(runs[:1], "test", "mse")) == "4"
    assert over_seeds(runs, "test", "kl") is None


SPLIT = {"mse": 4.0, "objective": 4.0}


def test_the_table_has_every_term_of_every_run(tmp_path):
    with_kl = {"mse": 3.0, "kl": 2.0, "objective": 5.0}
    study = Study(
        Path("made-up"),
        [
            made_up("ae", 2, 0, train=SPLIT, validation=SPLIT, test=SPLIT),
            made_up("vae", 2, 0, train=with_kl, validation=with_kl, test={**with_kl, "kl": 2.5}),
        ],
        [Failed("cvae-2-s0", 'loss is "nan", at step 3')],
    )
    assert rows(study)[1]["test_kl"] == 2.5
    text = write_table(study, tmp_path / "table.csv").read_text()
    read = list(csv.DictReader(io.StringIO(text)))
    assert list(read[0]) == [
        "family", "latent", "seed", "epochs", "best_epoch", "seconds", "parameters",
        "train_mse", "train_objective", "validation_mse", "validation_objective",
        "test_mse", "test_objective", "train_kl", "validation_kl", "test_kl", "failed",
    ]  # fmt: skip
    assert [row["family"] for row in read] == ["ae", "vae", "cvae-2-s0"]
    assert (read[0]["test_kl"], read[1]["test_kl"]) == ("", "2.5")
    assert read[2]["failed"] == 'loss is "nan", at step 3'


# The command


def zs(*args: Any) -> int:
    return main.run([str(arg) for arg in args])


def study_args(digits: Path, out: Path, jobs: int = 1) -> list[Any]:
    """With jobs=0, the command's default, runs may be processes, which must import torch."""
    given = ["--data", digits, "--latent", 2, "--jobs", jobs]
    return [*given, "--set", "hidden=[16]", "epochs=2", "--out", out]


def table_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))


@pytest.mark.slow
def test_the_command_trains_writes_and_tells(no_report, digits, tmp_path, capsys):
    out = tmp_path / "study"
    assert zs("study", "ae", "vae", *study_args(digits, out, jobs=0), "--seeds", 2) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out / "report.html")
    assert "4 runs ->" in said.err
    assert "[4/4] vae-2-s1" in said.err
    assert said.err.count("digits: images of 1×14×14, uint8 values") == 1
    table = table_of(out)
    assert [(row["family"], row["seed"]) for row in table] == [
        ("ae", "0"), ("ae", "1"), ("vae", "0"), ("vae", "1"),
    ]  # fmt: skip
    assert (out / "runs/ae-2-s0/snapshots.npz").is_file()
    assert float(table[0]["test_mse"]) == pytest.approx(
        zspace.load(out / "runs/ae-2-s0").result["test"]["mse"]
    )


def test_the_command_is_quiet_when_asked(no_report, digits, tmp_path, capsys):
    assert zs("study", "ae", *study_args(digits, tmp_path / "s"), "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.strip().endswith("report.html")


def test_the_command_reports_a_failed_run_and_succeeds(no_report, digits, tmp_path, capsys):
    out = tmp_path / "s"
    args = [*study_args(digits, out)[:-2], "lr=1e30,0.002", "--out", out]
    assert zs("study", "ae", *args) == 0
    assert "failed: " in capsys.readouterr().err
    assert "not finite" in (out / "table.csv").read_text()


def test_the_command_fails_where_every_run_does(no_report, digits, tmp_path, capsys):
    args = [*study_args(digits, tmp_path / "s")[:-2], "lr=1e30", "--out", tmp_path / "s"]
    assert zs("study", "ae", *args) == 2
    assert "all 1 runs failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--seeds", 0], "this grid has no runs"),
        (["--set", "epochs"], "is not understood"),
        (["--set", "epocs=3"], "did you mean 'epochs'"),
        (["--set", "bta=3,4"], "'bta' is unknown"),
        (["--latent", 0], "latent is 0"),
        (["--set", "lr=-1"], "lr is -1"),
    ],
)
def test_bad_grids_are_a_sentence(no_report, digits, tmp_path, capsys, args, words):
    out = tmp_path / "s"
    assert zs("study", "ae", "--data", digits, "--out", out, *args) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("data", "preset", "options", "sizes", "epochs"),
    [
        ("mnist5k", None, {}, (2, 20), 40),
        ("mnist", None, {}, (2, 5, 10, 20, 50, 100), None),
        ("mnist", "quick", {}, (2, 20), 40),
        ("mnist5k", "full", {}, (2, 5, 10, 20, 50, 100), None),
        ("mnist5k", "quick", {"epochs": 7}, (2, 20), 7),
        ("mnist5k", "quick", {"epochs": [7, 9]}, (2, 20), None),
    ],
)
def test_presets_choose_sizes_and_epochs(
    no_report, tmp_path, monkeypatch, data, preset, options, sizes, epochs
):
    seen: list[Grid] = []

    def stop(given: Grid, *_: Any) -> None:
        seen.append(given)
        raise UserError("seen enough")

    monkeypatch.setattr(launch, "_train", stop)
    with pytest.raises(UserError, match="seen enough"):
        launch.study(("ae",), data=data, preset=preset, out=tmp_path, **options)
    assert seen[0].latent == sizes
    assert seen[0].fixed.get("epochs") == epochs
    assert seen[0].fixed["data"] == data


def test_sizes_of_ones_own_go_before_the_preset(no_report, tmp_path, monkeypatch):
    seen: list[Grid] = []
    monkeypatch.setattr(launch, "_train", lambda given, *_: seen.append(given))
    with pytest.raises(UserError, match="neither a study nor a run"):
        launch.study(("ae",), latent=(7,), out=tmp_path)
    assert seen[0].latent == (7,)


def test_the_second_command_goes_on_where_the_first_was(no_report, digits, tmp_path, capsys):
    out = tmp_path / "s"
    assert zs("study", "ae", *study_args(digits, out)) == 0
    noted = (out / "runs/ae-2-s0/run.json").stat().st_mtime_ns
    (out / "table.csv").unlink()
    shutil.rmtree(out / "runs/ae-2-s0/figures", ignore_errors=True)
    assert zs("study", "ae", "vae", *study_args(digits, out)) == 0
    assert (out / "runs/ae-2-s0/run.json").stat().st_mtime_ns == noted
    assert len(table_of(out)) == 2


# Snapshots


def test_snapshots_hold_the_training_in_pictures(conduct, tmp_path):
    conduct(tmp_path, "cvae", snapshots=5, epochs=4)
    with np.load(tmp_path / "runs/cvae-2-s0/snapshots.npz", allow_pickle=False) as kept:
        assert kept["epoch"].tolist() == [1, 2, 3, 4]
        assert kept["codes"].shape == (4, 30, 2)
        assert kept["reconstructions"].shape == (4, 10, 1, 14, 14)
        assert kept["x"].shape == (10, 1, 14, 14)
        run = zspace.load(tmp_path / "runs/cvae-2-s0")
        test = run.data().test
        assert kept["y"].tolist() == test.labels().tolist()
        if run.result["best_epoch"] == 4:
            z = run.encode(test.images(), test.labels()).numpy()
            np.testing.assert_allclose(kept["codes"][-1], z, atol=2e-3, rtol=2e-3)


def test_share_of_a_run_is_read_from_its_folder(tmp_path):
    from zspace.studies.launch import _share

    assert _share(tmp_path) == 0
    (tmp_path / "run.json").write_text('{"config": {"training": {"epochs": 4}}}')
    (tmp_path / "metrics.jsonl").write_text('{"number": 1}\n')
    assert _share(tmp_path) == 0.25


def test_equal_entries_are_trained_once():
    grid = Grid(recipes=("beta-vae", "beta_vae"), latent=(2, 2), vary={"beta": [4, 4.0]})
    assert [entry.name for entry in grid.entries()] == ["beta-vae-beta=4-2-s0"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("latent=2,3", "use --latent"),
        ("seed=1", "use --seeds"),
        ("data=mnist", "use --data"),
        ("binarize=none,dynamic", "study for each"),
        ("minutes=1", "use --minutes"),
    ],
)
def test_choices_that_have_a_flag_or_change_the_data_are_refused(text, sentence):
    with pytest.raises(UserError, match=sentence):
        grid.divided(grid.parse_choices([text]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 3}, "seed is 3: use seeds"),
        ({"beta": []}, "beta is an empty list"),
        ({"binarize": ["none", "dynamic"]}, "study for each"),
        ({"hidden": [16, 8]}, r"hidden is 16: give several numbers, for example \(256, 256\)"),
    ],
)
def test_options_that_make_no_grid_are_refused(options, sentence, digits, tmp_path):
    with pytest.raises(UserError, match=sentence):
        zspace.study(["ae", "beta_vae"], data=str(digits), out=tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)  # it draws two reports
def test_study_grows_and_forgets_no_run(digits, tmp_path):
    options = {"data": str(digits), "out": tmp_path / "s", "quiet": True}
    options |= {"epochs": 1, "hidden": (16,), "precision": "fp32"}
    launch.study(["ae"], latent=[2], **options)
    launch.study(["ae"], latent=[3], **options)
    assert list(open_study(tmp_path / "s").families["ae"]) == [2, 3]
    with pytest.raises(UserError, match="latent is 0"):
        launch.study(["ae"], latent=[0], **options)
    assert len(open_study(tmp_path / "s").runs) == 2


def test_report_goes_into_html_files_only(digits, tmp_path, runs):
    from zspace.report.html.page import write_report

    study, wrong = Study(tmp_path, [runs["ae"]]), runs["ae"].path / "run.json"
    with pytest.raises(UserError, match=r"end it in \.html"):
        write_report(study, wrong)


@pytest.mark.usefixtures("own_parts")
def test_a_file_of_recipes_is_remembered_once(tmp_path, monkeypatch):
    """Every run of a study imports the files again: else their number would double each time."""
    monkeypatch.setattr(recipes, "IMPORTED", [])
    path = tmp_path / "twice.py"
    path.write_text("")
    for _ in range(3):
        recipes.import_recipes(str(path))
    assert [str(path)] == recipes.IMPORTED


PAIR = (np.random.default_rng(0).random((60, 1, 8, 8)).astype(np.float32), np.arange(60) % 3)


def test_a_study_of_data_held_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "write_report", lambda study, path, console: path)
    given = {"latent": [2], "epochs": 1}
    report = zspace.study(["ae"], data=PAIR, jobs=0, **given)
    assert report == Path("studies/tuple/report.html")
    assert "tuple: images of 1×8×8" in capsys.readouterr().err
    with pytest.raises(UserError, match="was trained on other data than those given"):
        zspace.study(["ae"], data=(1 - PAIR[0], PAIR[1]), **given, quiet=True)
    for options in ({"jobs": 2}, {"threads": 1}):
        with pytest.raises(UserError, match=r"held in Python .tuple., where only this process"):
            zspace.study(["ae"], data=PAIR, **options, **given, out="never")


@pytest.mark.slow
def test_stacked_runs_of_data_held_in_python(tmp_path):
    given = {"latent": [2], "epochs": 1, "quiet": True, "seeds": 2}
    report = zspace.study(["cvae"], data=PAIR, executor="stacked", out=tmp_path / "s", **given)
    runs = sorted(path.name for path in (tmp_path / "s/runs").iterdir())
    assert runs == ["cvae-2-s0", "cvae-2-s1"]
    assert "cvae" in report.read_text()


def test_a_study_at_a_url_says_what_was_read(tmp_path, monkeypatch, capsys, digits):
    pytest.importorskip("fsspec")
    monkeypatch.setattr(launch, "_written", lambda folder, console, held: folder / "report.html")
    elsewhere = lambda tasks, reports: one_by_one(tasks, lambda *_: Quiet())  # noqa: E731
    monkeypatch.setattr(launch, "_executor", lambda *_: elsewhere)
    url = (tmp_path / "there").as_uri()
    zspace.study(["ae"], data=str(digits), latent=[2], epochs=1, out=url)
    said = capsys.readouterr().err
    assert said.count("images of 1×14×14") == 1
    assert "[1/1] ae-2-s0  done" in said

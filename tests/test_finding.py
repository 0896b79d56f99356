"""Runs are listed, shown and removed; each has a card; a second one of the same is told."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

import zspace
from conftest import SMALL
from test_cli import bad, undrawn, zs  # noqa: F401 # fixtures
from zspace.runs.config import Config
from zspace.runs.listing import chosen, listed


@pytest.fixture
def several(runs, tmp_path: Path) -> Path:
    """A folder with two runs, one within a study, and a damaged one."""
    shutil.copytree(runs["vae"].path, tmp_path / "own" / "vae")
    shutil.copytree(runs["ae"].path, tmp_path / "own" / "study" / "runs" / "ae-s0")
    shutil.copytree(runs["cvae"].path, tmp_path / "own" / "broken")
    (tmp_path / "own" / "broken" / "run.json").write_text("{")
    return tmp_path / "own"


def test_runs_are_listed_whatever_one_of_them_is(zs, several):  # noqa: F811
    done = zs("runs", several)
    assert done.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines()}
    assert rows["name"] == [
        "recipe", "network", "data", "epochs", "objective", "error", "date", "state"
    ]  # fmt: skip
    assert rows["broken"] == ["damaged"]
    assert rows["study/runs/ae-s0"][:4] == ["ae", "mlp-32", "digits", "2"]
    assert rows["vae"][-1] == "finished"
    (said,) = done.err.splitlines()
    assert str(several / "broken" / "run.json") in said


def test_runs_are_chosen_and_sorted(zs, several):  # noqa: F811
    def names(*args: str) -> list[str]:
        return [line.split()[0] for line in zs("runs", several, *args).out.splitlines()[1:]]

    assert names("--where", "recipe=vae") == ["vae"]
    assert names("--where", "latent=3", "state=finished") == ["study/runs/ae-s0", "vae"]
    by_error = [one.facts.get("error") for one in chosen(listed(several), sort="error")]
    assert by_error[:2] == sorted(by_error[:2])
    assert by_error[2] is None
    assert names("--sort", "recipe")[0] == "study/runs/ae-s0"
    assert "did you mean 'recipe'?" in bad(zs("runs", several, "--where", "recpe=vae"))
    assert "use NAME=VALUE" in bad(zs("runs", several, "--where", "vae"))
    assert "none of the 3 runs" in bad(zs("runs", several, "--where", "latent=77"))
    assert "does not exist" in bad(zs("runs", several / "none"))


def test_a_run_is_shown(zs, runs, tmp_path):  # noqa: F811
    out = zs("show", runs["vae"].path).out
    for part in ("vae trained on digits", "latent 3", "hidden 32", "243 train", "validation"):
        assert part in out
    assert "Squared error is no normalised likelihood" in " ".join(out.split())
    assert "is not a run" in bad(zs("show", tmp_path))


def test_only_runs_are_removed(zs, several, tmp_path):  # noqa: F811
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").write_text("{}")
    assert "is not that of a run, and is left alone" in bad(zs("remove", tmp_path / "mine"))
    assert "is not a run, and is left alone" in bad(zs("remove", several, "--yes"))
    assert "add --yes" in bad(zs("remove", several / "vae"))
    (several / "vae" / "state").mkdir()
    with open(several / "vae" / "state" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is being trained" in bad(zs("remove", several / "vae", "--yes"))
    assert (several / "vae" / "model.safetensors").exists()
    for name in ("vae", "broken"):
        done = zs("remove", several / name, "--yes")
        assert done.out.startswith(f"deleted '{several / name}': ")
        assert not (several / name).exists()


def test_each_run_has_a_card(zs, runs):  # noqa: F811
    folder = runs["vae"].path
    text = (folder / "README.md").read_text()
    for part in (
        "# vae trained on digits", "](card.png)", 'zspace.load("vae")', "## Numbers",
        "## Data", "digits: images of 1×14×14", "## Limits",
    ):  # fmt: skip
        assert part in text
    told = (runs["cvae"].path / "README.md").read_text()
    use = told.partition("```python\n")[2].partition("```")[0]
    made: dict = {}
    exec(use.replace('load("cvae")', f"load({str(runs['cvae'].path)!r})"), made)  # as it stands
    assert made["z"].shape == (16, 3)
    assert (folder / "card.png").stat().st_size > 500
    (folder / "README.md").unlink()
    assert zs("show", folder, "--card").out == f"{folder / 'README.md'}\n"
    assert (folder / "README.md").read_text() == text
    again = zspace.Run.from_bytes(zspace.load(folder).to_bytes())
    assert again.place.read("README.md").decode() == text


def test_a_report_is_written_once_and_opened(zs, runs, tmp_path, monkeypatch):  # noqa: F811
    """Of a run alone; what a report holds is tested elsewhere."""
    opened, wrote = [], []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def write_report(study, out, console) -> None:
        wrote.append([run.path for run in study.runs])
        out.write_text("<p>report</p>")

    monkeypatch.setattr("zspace.report.html.page.write_report", write_report)
    run = Path(shutil.copytree(runs["vae"].path, tmp_path / "run"))
    for _ in range(2):
        assert zs("show", run, "--open").out == f"{run / 'report.html'}\n"
    assert wrote == [[run]]
    assert opened == [(run / "report.html").as_uri()] * 2


def test_folders_are_called_by_what_differs():
    def name(recipe: str = "vae", **options: object) -> str:
        return Config.of(recipe, options).folder_name

    assert name() == "vae-mnist5k-20"
    assert name("beta-vae", latent=2, beta=8, lr=0.01, seed=3, device="cpu") == (
        "beta-vae-mnist5k-2-beta8-lr0.01-seed3"
    )
    assert name(hidden=(64, 32), likelihood="gaussian", binarize="static", data="a/b.npz") == (
        "vae-b-20-likelihood-gaussian-hidden64x32-binarize-static"
    )
    many = {"lr": 0.5, "ema": 0.5, "clip": 7.0, "warmup": 0.5, "weight_decay": 0.5, "batch": 9}
    assert (
        len(name(**many, schedule="constant", augment="flip-crop", leave_out=("c" * 90,))) <= 100
    )


def test_a_second_identical_training_is_told(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {**SMALL, "data": str(digits), "epochs": 1}
    first = zspace.train("ae", **options)
    assert "has the same options" not in capsys.readouterr().err
    second = zspace.train("ae", **options)
    assert f"run '{first.path}' has the same options already" in capsys.readouterr().err
    assert str(second.path) == f"{first.path}-2"
    zspace.train("ae", **{**options, "seed": 1})
    assert "has the same options" not in capsys.readouterr().err

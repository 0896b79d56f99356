"""The runs inside the package: they are small, load, and are those that were measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.applications import Starlette

import zspace
from visiting import serving_app
from zspace import UserError
from zspace.explorer import EXAMPLES, server, shelf
from zspace.explorer.rows import view_of
from zspace.runs.many import open_study
from zspace.runs.sweeps import sweep
from zspace.system import files

DIGITS = EXAMPLES / "digits"
KINDS = {"signals": "series", "wine": "table", "molecules": "tokens"}


@pytest.fixture(scope="module")
def study() -> zspace.Study:
    return open_study(DIGITS, "cpu")


def test_they_are_small():
    sizes = [path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(sizes) <= 3_000_000
    assert max(sizes) <= 1_500_000


def test_digits_are_a_study_with_a_sweep(study):
    assert len(study.runs) == 12
    assert {run.config.latent for run in study.runs} == {2, 20}
    found = sweep([run for run in study.runs if "beta" in run.config.recipe_options])
    assert found.weights == (0, 0.1, 0.5, 1, 4, 20)
    assert list(found.rates) == sorted(found.rates, reverse=True)
    assert list(found.distortions) == sorted(found.distortions)


def test_weights_are_kept_in_half_and_used_in_single_precision(study):
    for run in study.runs:
        path = run.path / "model.safetensors"
        kept = files.unpacked(path, path.read_bytes())
        assert {values.dtype for values in kept.values()} == {torch.float16}
        assert {p.dtype for p in run.model.parameters()} == {torch.float32}


def test_they_are_as_good_on_their_samples_as_their_records_say(study):
    """Of mean codes. The whole test set holds more ones, which are easy, than the samples do."""
    for run in study.runs:
        view = view_of(run)
        assert (len(view), np.bincount(view.labels).tolist()) == (1000, [100] * 10)
        told = run.result["quality"]["test"]["mse"] * 784
        assert view.errors.mean() == pytest.approx(told, rel=0.1)


def test_they_need_no_data(study, monkeypatch):
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("data were asked for")

    monkeypatch.setattr("zspace.runs.run.load_data", asked)
    run = zspace.load(DIGITS / "runs" / "vae-2", "cpu")
    assert len(run.shown().test) == 1000
    for name, kind in KINDS.items():
        view = view_of(zspace.load(EXAMPLES / name, "cpu"))
        assert view.run.spec.kind == kind
        assert len(view.shown(view.images(np.arange(3)))["samples"]) == 3
        assert np.isfinite(view.errors).all()


def test_samples_that_were_changed_are_refused(tmp_path):
    shutil.copytree(EXAMPLES / "wine", tmp_path / "wine")
    samples = tmp_path / "wine" / "samples.csv"
    samples.write_text(samples.read_text().replace("14.2", "15.2"))
    with pytest.raises(UserError, match=r"samples\.csv is damaged"):
        zspace.load(tmp_path / "wine", "cpu").shown()


def test_they_say_nothing_of_the_machine_that_trained_them():
    for path in EXAMPLES.rglob("*.json"):
        text = path.read_text()
        assert '"/' not in text
        assert "platform" not in text


def test_a_list_offers_runs_and_sweeps(tmp_path):
    found = shelf.offers([DIGITS, EXAMPLES / "wine"])
    assert found[0].title == "beta 0, 0.1, 0.5, 1, 4, 20: a slider"
    assert len(found[0].paths) == 6
    singles = {one.title: one for one in found[1:]}
    assert len(singles) == 13
    assert singles["cvae-20"].facts[:3] == ("cvae", "20", "mnist")
    assert singles["cvae-20"].facts[3].startswith("mse 21")
    assert singles["wine"].paths == (EXAMPLES / "wine",)
    assert shelf.offers([tmp_path]) == []


def test_every_file_of_others_is_named_with_its_licence():
    told = (EXAMPLES / "LICENSE-examples.txt").read_text()
    for path in EXAMPLES.rglob("samples.*"):
        assert path.relative_to(EXAMPLES).as_posix() in told
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert "src/zspace/explorer/examples/LICENSE-examples.txt" in project


def test_each_offer_opens_when_it_is_asked_for(monkeypatch):
    """The list at /, the explorer of an offer one folder below, and nothing else."""
    made: list[tuple[Path, ...]] = []
    door = server.Door(None, "cpu", False)

    def opened(self: server.Door, paths: tuple[Path, ...], *, listed: bool = False) -> Starlette:
        made.append(paths)
        return door_explorer(self, paths, listed=listed)

    door_explorer = server.Door.explorer
    monkeypatch.setattr(server.Door, "explorer", opened)
    found = door.list([DIGITS])
    with serving_app(door.shelf(found, [DIGITS])) as visitor:
        page = visitor.enter() and visitor.ask("GET", "/").body.decode()
        assert page.count("<a href=") == len(found) == 13
        assert "digits · zspace" in page
        assert made == []
        assert b"<!doctype html>" in visitor.ask("GET", "/0/").body
        assert visitor.ask("GET", "/0/static/main.js").status == 200
        assert made == []  # the page is there before its runs are
        told = visitor.ask("GET", "/0/api/info").json
        assert (told["listed"], told["film"]["weights"]) == (True, [0, 0.1, 0.5, 1, 4, 20])
        assert len(visitor.ask("GET", "/0/api/c/codes?i=3").numbers("<f4", 1, 2)) == 1
        assert visitor.ask("GET", "/0/api/info").status == 200
        assert made == [found[0].paths]
        assert visitor.ask("GET", "/13/").status == 404
        assert visitor.ask("GET", "/0/api/../../etc/passwd").status == 404
        assert visitor.ask("GET", "/static/shelf.css").headers["content-type"][:8] == "text/css"


def test_paths_that_are_runs_are_not_listed():
    door = server.Door(None, "cpu", False)
    assert door.list([DIGITS / "runs" / "vae-2"]) == []
    assert door.list([DIGITS, EXAMPLES / "wine"]) == []
    assert len(door.list([])) == 16
    with pytest.raises(UserError, match="is a study with 12 runs, not a run"):
        door.explorer([DIGITS, EXAMPLES / "wine"])

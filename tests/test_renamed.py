"""Renamed options and names: they work under both names, and the old one is said once."""

from __future__ import annotations

import warnings

import pytest

import zspace
from zspace.cli.main import run
from zspace.runs.config import Config
from zspace.system import renamed
from zspace.system.renamed import Renamed


@pytest.fixture(autouse=True)
def some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.OPTIONS, "rounds_of_all", Renamed("epochs", "0.3.0"))
    monkeypatch.setitem(renamed.NAMES, "fit", Renamed("train", "0.3.0"))
    renamed._told.cache_clear()


def test_option_is_taken_by_its_old_name_and_said_once():
    with pytest.warns(FutureWarning, match=r"rounds_of_all is now called epochs;.*zspace 0\.3\.0"):
        assert Config.of("vae", {"rounds_of_all": 3}).training.epochs == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Config.of("vae", {"rounds_of_all": 4}).training.epochs == 4


def test_flag_is_taken_by_its_old_name(capsys: pytest.CaptureFixture[str]):
    with pytest.warns(FutureWarning, match="--rounds-of-all is now called --epochs"):
        run(["train", "vae", "--rounds-of-all=3", "--print-config"])
    assert "epochs = 3" in capsys.readouterr().out


def test_name_of_the_package_is_found():
    with pytest.warns(FutureWarning, match=r"zspace\.fit is now called zspace\.train"):
        assert zspace.fit is zspace.train
    with pytest.raises(AttributeError, match="nothing"):
        zspace.nothing  # noqa: B018


def test_what_is_not_renamed_stays():
    assert renamed.flags(["train", "--epochs", "3"]) == ["train", "--epochs", "3"]
    assert renamed.keywords({"epochs": 3}) == {"epochs": 3}

"""Runs of every release load, encode, decode and sample as they did in it: see docs/promise.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import zspace
from zspace.runs.record import samples_of

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import make_formats  # noqa: E402

KEPT = sorted(path.parent for path in (HERE / "formats").glob("*/*/run.json"))


def test_every_kind_is_kept_for_this_release():
    names = {path.name for path in KEPT if path.parent.name == zspace.__version__}
    assert names == set(make_formats.kinds()), "run scripts/make_formats.py"


def test_they_are_small_and_say_nothing_of_a_machine():
    for folder in KEPT:
        found = [path for path in folder.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in found) < 60_000
        record = zspace.load(folder, "cpu").record
        assert not record["environment"]
        assert not {"path", "mark"} & record.keys()


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_run_gives_what_it_gave(folder: Path):
    x = make_formats.kinds()[folder.name][0]
    with np.load(folder / "expected.npz", allow_pickle=False) as expected:
        given = make_formats.given(zspace.load(folder, "cpu"), x)
        assert given.keys() == set(expected.files)
        for name, value in given.items():
            if value.dtype.kind == "U":
                np.testing.assert_array_equal(value, expected[name], err_msg=name)
            else:
                np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_run_is_named_from_the_folder_it_lies_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(KEPT[0].parent)
    run = zspace.load(KEPT[0].name, "cpu")
    assert samples_of(run.place, run.record) is None

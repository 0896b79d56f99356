"""A study in shares, as an array job trains it: each does its own, and the report joins them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from test_cli import bad, zs  # noqa: F401 # a fixture
from zspace.studies.grid import parse_part

SCRIPT = Path(__file__).parent.parent / "examples" / "study.slurm"


def test_shares_are_joined_by_the_report(zs, digits, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("zspace.report.html.page.write_report", lambda study, path, _: path)
    out = tmp_path / "study"

    def share(part: str) -> set[str]:
        args = ("study", "ae", "--data", digits, "--latent", 2, "--seeds", 3, "--jobs", 1)
        more = ("--set", "epochs=1", "hidden=[8]", "--quiet", "--out", out, "--part", part)
        assert zs(*args, *more).code == 0
        return {path.parent.name for path in out.glob("runs/*/run.json")}

    assert share("2/3") == {"ae-2-s1"}
    first = (out / "study.json").read_text()
    assert share("1/3") == {"ae-2-s1", "ae-2-s0"}
    (out / "study.json").write_text(first)  # as if both had begun at once
    done = zs("report", out)
    assert done.code == 0, done
    assert "one run is not trained yet, the first is ae-2-s2" in " ".join(done.err.split())
    assert len((out / "table.csv").read_text().splitlines()) == 1 + 2
    assert len(share("3/3")) == 3
    assert "not trained yet" not in zs("report", out).err
    assert len((out / "table.csv").read_text().splitlines()) == 1 + 3
    assert json.loads((out / "study.json").read_text())["runs"][0]["name"] == "ae-2-s0"


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "1/0"])
def test_what_is_no_share_is_a_sentence(zs, text):  # noqa: F811
    assert f"--part is '{text}': give K/N" in bad(zs("study", "--part", text))


def test_every_run_is_in_one_share():
    which = [parse_part(f"{k}/3") for k in (1, 2, 3)]
    assert sorted(i for k, n in which for i in range(7)[k - 1 :: n]) == list(range(7))


def test_the_script_for_slurm_is_a_script():
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0
    assert '--part "$SLURM_ARRAY_TASK_ID/20"' in SCRIPT.read_text()

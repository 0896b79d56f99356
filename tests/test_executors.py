"""Where runs are trained: processes side by side, a Ray cluster, folders on a storage.

A killed run must end as one that was not. Trainings are tiny: 300 digits of 14 x 14, one thread.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zspace
from zspace.cli import main
from zspace.runs.many import open_study
from zspace.runs.record import WEIGHTS, read_record
from zspace.studies import executors, grid, launch
from zspace.studies.executors import Executor, Task, attempt, on_stacks, one_by_one, side_by_side
from zspace.studies.grid import Entry, Grid
from zspace.studies.ray import on_ray
from zspace.system import files
from zspace.system.signals import Interrupted
from zspace.system.storage import Mirror, is_url, mirrored
from zspace.training import stacked
from zspace.training.progress import Quiet

TINY = {"hidden": [16], "epochs": 2, "batch": 64, "precision": "fp32"}
LONG = {**TINY, "epochs": 15, "schedule": "constant"}
WAIT_SECONDS = 300.0
CLOCKS = {"seconds", "samples_per_second"}
Given = Callable[..., Grid]


@pytest.fixture
def given(digits: Path) -> Given:
    """A grid on the digits."""

    def made(*recipes: str, vary=None, seeds=1, **fixed: Any) -> Grid:
        return Grid(recipes, (2,), seeds, {"data": str(digits), **TINY, **fixed}, vary or {})

    return made


def conducted(given: Grid, out: Path, executor: Executor, **more: Any) -> list[Entry]:
    return grid.conduct(
        given, out, executor=executor, reporter=lambda *_: Quiet(), told=lambda *_: None, **more
    )


def essence(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """What must be the same of two runs: the weights, and every epoch but for its clocks."""
    run = zspace.load(folder)
    lines = [{k: v for k, v in line.items() if k not in CLOCKS} for line in run.metrics]
    return run.record["files"][WEIGHTS], lines


def until(true: Callable[[], Any]) -> Any:
    """What becomes true within some time, as soon as it does."""
    end = time.monotonic() + WAIT_SECONDS
    while not (value := true()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return value


def trained(study: Path) -> int:
    """How many runs have an epoch behind them; one that is stopped before it began is removed."""
    return sum(path.stat().st_size > 0 for path in study.glob("runs/*/metrics.jsonl"))


def holders(ending: str) -> list[int]:
    """The processes that hold a file open whose path ends so (Linux)."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link).endswith(ending):
                found.append(int(link.parts[2]))
        except OSError:
            continue  # it has been closed, or is another user's
    return found


def no_reports(number: int, name: str) -> Quiet:
    return Quiet()


# One attempt


def task(given: Grid, folder: str | Path, **more: Any) -> Task:
    return Task(0, "run", given.entries()[0].config, str(folder), **more)


def test_a_run_that_is_done_is_left_alone(given, tmp_path):
    """A worker may be lost after the run has ended and before that was heard."""
    todo = task(given("ae"), tmp_path / "run")
    assert attempt(todo, Quiet()) == ("finished", "")
    before = (tmp_path / "run/run.json").stat().st_mtime_ns
    assert attempt(todo, Quiet()) == ("finished", "")
    assert (tmp_path / "run/run.json").stat().st_mtime_ns == before


def test_a_folder_in_which_nothing_began_is_begun_anew(given, tmp_path):
    (tmp_path / "run/state").mkdir(parents=True)
    assert attempt(task(given("ae"), tmp_path / "run"), Quiet()) == ("finished", "")


def test_a_run_that_failed_by_itself_says_why(given, tmp_path):
    for _ in range(2):  # what a failed one has left is no hindrance
        status, why = attempt(task(given("ae", lr=1e30), tmp_path / "run"), Quiet())
        assert (status, "not finite" in why) == ("failed", True)


# Side by side


@pytest.mark.slow
def test_processes_give_the_same_weights_and_note_failures(given, tmp_path, monkeypatch):
    """With as many threads each: two processes on two cores have one each, as this one has."""
    monkeypatch.setattr(executors, "usable_cores", lambda: 2)
    conducted(given("ae", lr=0.002), tmp_path / "one", one_by_one)
    two = partial(side_by_side, jobs=2)
    outcomes = conducted(given("ae", vary={"lr": [1e30, 0.002]}), tmp_path / "two", two)
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "not finite" in outcomes[0].reason
    name = outcomes[1].name
    assert essence(tmp_path / "one/runs/ae-2-s0") == essence(tmp_path / "two/runs" / name)


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_study_saves_and_goes_on(digits, tmp_path, number):
    out, where = tmp_path / "s", ["--data", str(digits), "--latent", "2", "--jobs", "2"]
    more = ["--threads", "1", "--seeds", "4", "--set", "hidden=[16]", "epochs=20000"]
    command = [sys.executable, "-m", "zspace", "study", "ae", *where, *more, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: trained(out) == 2)
        process.send_signal(number)
        said = process.communicate(timeout=WAIT_SECONDS)[1]
    finally:
        process.kill()
    if number == signal.SIGKILL:  # its processes hold the pipe open until they have ended
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert "the study is stopped and saved: give the same command again to continue it" in said
    records = [read_record(path.parent) for path in out.glob("runs/*/run.json")]
    assert [record["status"] for record in records] == ["interrupted"] * 2, "the others wait"


# Storage


@pytest.mark.parametrize(
    ("text", "url"),
    [("s3://bucket/x", True), ("file:///x", True), ("x/y", False), ("C:\\x", False)],
)
def test_a_url_is_told_from_a_path(text, url):
    assert is_url(text) == url


def test_a_mirror_sends_what_changed_and_deletes_what_it_knew(tmp_path):
    pytest.importorskip("fsspec")
    there = tmp_path / "there [1]"  # brackets stand in names of runs, and are no pattern
    with mirrored(there.as_uri().replace("%20", " ").replace("%5B", "[").replace("%5D", "]")) as m:
        m.fetch()
        (m.folder / "a=[1]").mkdir()
        for name in ("run.json", "a=[1]/x", "lock"):
            (m.folder / name).write_text(name)
        m.send()
        assert {p.name for p in there.rglob("*") if p.is_file()} == {"run.json", "x"}
        (there / "other").write_text("from elsewhere")
        (there / "run.json").write_text("changed there alone")
        (m.folder / "a=[1]/x").unlink()
        m.send()
        assert {p.name for p in there.rglob("*") if p.is_file()} == {"run.json", "other"}
        assert (there / "run.json").read_text() == "changed there alone"
        m.fetch(lambda name: name == "run.json")
        assert (m.folder / "run.json").read_text() == "changed there alone"
        assert not (m.folder / "other").exists()


def test_the_record_is_sent_after_what_it_names(tmp_path):
    pytest.importorskip("fsspec")
    order: list[str] = []
    with mirrored((tmp_path / "there").as_uri()) as mirror:
        mirror.fetch()
        (mirror.folder / "state").mkdir()
        names = ["run.json", "model.safetensors", "state/manifest.json", "state/2.safetensors"]
        for name in names:
            (mirror.folder / name).write_text("")
        mirror._put = lambda path, to: order.append(path.name)  # type: ignore[method-assign]
        mirror.send()
    assert order == ["model.safetensors", "2.safetensors", "manifest.json", "run.json"]


@pytest.mark.parametrize(
    ("url", "words"),
    [("nonsense://x/y", "cannot open"), ("file:///dev/null/x", "cannot")],
)
def test_a_storage_that_cannot_be_used_is_a_sentence(url, words, given, tmp_path, capsys):
    pytest.importorskip("fsspec")
    assert main.run(["study", "ae", "--out", url]) == 2
    assert words in capsys.readouterr().err


def test_without_fsspec_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert main.run(["study", "ae", "--out", "s3://bucket/x"]) == 2
    assert "pip install 'zspace[cluster]'" in capsys.readouterr().err


def test_a_run_on_a_storage_goes_on_from_its_last_copy(given, tmp_path):
    """Killed on another machine: of what it did there, only the copies are left."""
    pytest.importorskip("fsspec")
    todo = task(given("vae"), (tmp_path / "there").as_uri(), save_every=0.0)

    class Killed(Quiet):
        def step(self, fit) -> None:
            if fit.step == 7:
                raise MemoryError

    send = Mirror.send
    with pytest.MonkeyPatch.context() as patch:
        alive = lambda self: sys.exc_info()[0] or send(self)  # noqa: E731
        patch.setattr(Mirror, "send", alive)
        assert attempt(todo, Killed())[0] == "failed"
    record = read_record(tmp_path / "there")
    assert record["status"] == "running"
    assert attempt(todo, Quiet()) == ("finished", "")
    assert attempt(task(given("vae"), tmp_path / "whole"), Quiet()) == ("finished", "")
    assert essence(tmp_path / "there") == essence(tmp_path / "whole")
    assert not (tmp_path / "there/state/manifest.json").exists(), "done: no states are kept"


def test_a_copy_that_fails_on_the_way_does_not_stop_the_run(given, tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    put, failures = Mirror._put, [OSError("the network is away")]

    def flaky(self: Mirror, path: Path, to: str) -> None:
        if failures:
            raise failures.pop()
        put(self, path, to)

    monkeypatch.setattr(Mirror, "_put", flaky)
    todo = task(given("ae"), (tmp_path / "there").as_uri(), save_every=0.0)
    with pytest.warns(UserWarning, match=r"the network is away.*the training continues"):
        assert attempt(todo, Quiet()) == ("finished", "")
    assert zspace.load(tmp_path / "there").result["epochs"] == 2


def test_a_study_on_a_storage_is_one_to_load(digits, tmp_path, monkeypatch, capsys):
    pytest.importorskip("fsspec")

    def write(study: Any, path: Path, console: Any = None) -> Path:
        files.write(path, b"<!doctype html>")
        return path

    monkeypatch.setattr(launch, "write_report", write)
    url = (tmp_path / "there").as_uri()
    args = ["study", "ae", "--data", digits, "--latent", 2, "--set", "hidden=[16]", "epochs=2"]
    args = [str(arg) for arg in [*args, "--jobs", 1, "--out", url]]
    assert main.run(args) == 0
    assert capsys.readouterr().out.strip() == f"{url}/report.html"
    there = tmp_path / "there"
    study = open_study(there)
    assert list(study.families) == ["ae"]
    written = {"study.json", "table.csv", "report.html", "runs", "codes"}
    assert {p.name for p in there.iterdir()} == written
    noted = (there / "runs/ae-2-s0/run.json").stat().st_mtime_ns
    args[1:2] = ["ae", "vae"]
    assert main.run(args) == 0
    assert (there / "runs/ae-2-s0/run.json").stat().st_mtime_ns == noted, "it was done"
    assert list(open_study(there).families) == ["ae", "vae"]
    assert main.run([*args, "--set", "epochs=3"]) == 2
    assert "trained with other options" in capsys.readouterr().err


# Ray


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main.run(["study", "ae", "--executor", "ray", "--out", str(tmp_path / "s")]) == 2
    assert "--executor ray needs Ray" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_address_where_nobody_is_is_a_sentence(monkeypatch, tmp_path, capsys):
    pytest.importorskip("ray", reason="needs ray: pip install 'zspace[cluster]'")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main.run(["study", "ae", "--executor", "ray", "--out", str(tmp_path / "s")]) == 2
    assert "no Ray at 127.0.0.1:1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers on this machine, one CPU each."""
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'zspace[cluster]'")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # of Ray's own
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        try:
            ray.init(
                "local",
                num_cpus=2,
                logging_level="ERROR",
                log_to_driver=False,
                object_store_memory=80 * 2**20,
            )
        except Exception as error:  # its own limits of time are too short for a busy machine
            pytest.skip(f"no Ray could be started here: {error}")
        yield ray
        ray.shutdown()
        gc.collect()


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in Linux's /proc")
@pytest.mark.parametrize("shared", [True, False], ids=["shared folder", "storage"])
def test_a_killed_worker_changes_nothing(cluster, given, tmp_path, shared):
    """kill -9 while it trains: the run goes on from its checkpoint, in another process."""
    there = tmp_path / "s"
    options = LONG if shared else {**LONG, "epochs": 150}  # it must last until it is copied
    todo = task(
        given("vae", **options),
        there if shared else there.as_uri(),
        save_every=0.0 if shared else 0.2,
    )
    ends: list[Any] = []
    thread = threading.Thread(target=lambda: ends.extend(on_ray([todo], no_reports)))
    thread.start()
    manifest = there / "state/manifest.json"
    until(lambda: manifest.exists() and len((there / "metrics.jsonl").read_bytes()) > 0)
    lock = str(there / "state/lock") if shared else "/mirror/state/lock"
    (worker,) = holders(lock)
    os.kill(worker, signal.SIGKILL)
    thread.join(WAIT_SECONDS)
    assert ends == [(0, ("finished", ""))]
    assert attempt(task(given("vae", **options), tmp_path / "whole"), Quiet()) == ("finished", "")
    assert essence(there) == essence(tmp_path / "whole")


@pytest.mark.thorough
def test_a_study_on_ray_notes_failures_and_is_done_once(cluster, given, tmp_path, monkeypatch):
    """Relative paths mean the same to workers, whichever folder they are in."""
    monkeypatch.chdir(tmp_path)
    grids = given("ae", vary={"lr": [1e30, 0.002]})
    outcomes = conducted(grids, Path("s"), on_ray)
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "not finite" in outcomes[0].reason
    run = zspace.load(tmp_path / "s/runs" / outcomes[1].name)
    assert run.record["environment"]["threads"] == 1
    noted = (run.path / "run.json").stat().st_mtime_ns
    assert [o.status for o in conducted(grids, Path("s"), on_ray)] == ["failed", "finished"]
    assert (run.path / "run.json").stat().st_mtime_ns == noted


@pytest.mark.thorough
def test_ctrl_c_cancels_and_saves(cluster, given, tmp_path):
    """What runs ends its step and saves; what waits is never begun."""
    main = threading.main_thread().ident
    assert main is not None

    def stop() -> None:
        until(lambda: trained(tmp_path) == 2)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted, match="give the same command again"):
        conducted(given("ae", seeds=4, **{**LONG, "epochs": 20000}), tmp_path, on_ray)
    thread.join()
    records = [read_record(path.parent) for path in tmp_path.glob("runs/*/run.json")]
    assert [record["status"] for record in records] == ["interrupted"] * 2


@pytest.mark.slow
def test_seeds_of_a_model_are_stacked_and_those_of_a_game_are_not(given, tmp_path, monkeypatch):
    groups, whole = [], stacked.start

    def counted(jobs, *rest):
        runs = whole(jobs, *rest)
        groups.append(len(runs))
        return runs

    monkeypatch.setattr(stacked, "start", counted)
    wanted = given("ae", "vaegan", seeds=2, perceptual="none", epochs=1)
    with pytest.warns(UserWarning, match="its other seeds: .*a game.*one by one") as told:
        outcomes = conducted(wanted, tmp_path, on_stacks)
    assert len(told) == 1
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    assert groups == [2]
    alone = conducted(wanted, tmp_path / "alone", one_by_one)
    for one, other in zip(outcomes, alone, strict=True):
        objectives = [
            zspace.load(folder / "runs" / run.name).record["result"]["test"]["objective"]
            for folder, run in ((tmp_path, one), (tmp_path / "alone", other))
        ]
        assert objectives[0] == pytest.approx(objectives[1], rel=1e-4)

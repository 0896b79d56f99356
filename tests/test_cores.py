"""How many cores may be used, by faked files of control groups, and how many threads read."""

import inspect
import os
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

import zspace
from zspace.cli import main
from zspace.cli.commands import COMMANDS
from zspace.data.loading import load
from zspace.data.readers import images
from zspace.system import cores
from zspace.system.cores import MOST_READERS, readers, reading, usable_cores
from zspace.system.errors import UserError

SIXTY_FOUR = set(range(64))


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: SIXTY_FOUR, raising=False)


@pytest.fixture
def groups(tmp_path):
    """Write the files of control groups; the paths that `usable_cores` takes."""

    def write(own: str, **files: str) -> tuple[Path, Path]:
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return tmp_path / "cgroup", tmp_path / "own"

    return write


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 64),
        ("nonsense", 64),
        ("9900000 100000", 64),
        ("100000 0", 64),
    ],
)
def test_the_quota_of_version_2(groups, quota, wanted):
    assert usable_cores(*groups("0::/\n", cpu_dot_max=quota)) == wanted


def test_the_least_quota_of_the_groups_around_counts(groups):
    files = {"a__cpu_dot_max": "300000 100000", "a__b__cpu_dot_max": "max 100000"}
    assert usable_cores(*groups("0::/a/b\n", **files)) == 3
    assert usable_cores(*groups("0::/elsewhere\n", **files)) == 64


@pytest.mark.parametrize(("quota", "wanted"), [("250000", 3), ("-1", 64), ("", 64)])
@pytest.mark.parametrize("own", ["4:cpu,cpuacct:/job\n1:name=systemd:/x\n", "4:cpu:/other\n"])
def test_the_quota_of_version_1(groups, quota, wanted, own):
    """Within a container, the group may be named as the host sees it, but lies at the top."""
    at = "cpu__job__" if "job" in own else "cpu__"
    files = {f"{at}cpu_dot_cfs_quota_us": quota, f"{at}cpu_dot_cfs_period_us": "100000"}
    assert usable_cores(*groups(own, **files)) == wanted


def test_a_process_bound_to_some_cores_uses_no_more(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_cores(*groups("0::/\n", cpu_dot_max="800000 100000")) == 2


def test_without_control_groups_all_cores_count(tmp_path, monkeypatch):
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 64
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 1


def test_as_many_threads_read_as_there_are_cores_and_at_most_eight(monkeypatch):
    for there, wanted in ((3, 3), (64, MOST_READERS)):
        monkeypatch.setattr(cores, "usable_cores", lambda there=there: there)
        assert readers() == wanted
        with reading(20):
            assert readers() == 20
        assert readers() == wanted


@pytest.mark.parametrize("given", ["0", "-1", "many", "2.5"])
def test_a_variable_that_holds_no_number_is_named(monkeypatch, given):
    monkeypatch.setenv("ZSPACE_WORKERS", given)
    with pytest.raises(UserError, match=r"ZSPACE_WORKERS is '.*': give 1 or more"):
        readers()
    with pytest.raises(UserError, match="workers is -2: give 1 or more, or 0"):
        load("mnist5k", workers=-2)


def test_every_command_that_reads_files_takes_workers():
    without = {n for n, c in COMMANDS.items() if "workers" not in inspect.signature(c).parameters}
    read_none = {"compare", "recipes", "learn", "runs", "show", "remove"}
    assert without == {"train", *read_none}  # the flags of train come from recipes


@pytest.mark.parametrize(
    ("command", "called"),
    [
        (["data", "info", "cats"], "zspace.cli.output.describe_data"),
        (["train", "vae"], "zspace.training.api.start"),
        (["study", "vae"], "zspace.studies.launch.study"),
        (["resume", "run"], "zspace.training.api.resume"),
    ],
)
def test_a_command_reads_with_as_many_threads_as_asked(monkeypatch, capsys, command, called):
    def enough(*args, **options):
        raise UserError(f"{readers()} threads would read")

    monkeypatch.setattr(called, enough)
    assert main.run([*command, "--workers", "3"]) == 2
    assert "zspace: 3 threads would read" in capsys.readouterr().err
    assert "ZSPACE_WORKERS" not in os.environ


def test_a_training_in_python_reads_with_as_many_threads_as_asked(monkeypatch):
    monkeypatch.setattr("zspace.training.api.Build.prepare", lambda *_, **__: 1 / (readers() - 3))
    with pytest.raises(ZeroDivisionError):
        zspace.train("vae", out=False, quiet=True, workers=3)


def test_files_are_read_by_as_many_threads_as_asked(tmp_path, monkeypatch):
    names, real = set(), images.Encoded.decoded

    def noting(self, form):
        names.add(threading.current_thread().name)
        time.sleep(0.002)
        return real(self, form)

    monkeypatch.setattr(images.Encoded, "decoded", noting)
    for i in range(40):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i:02}.png")
    x = load(str(tmp_path), workers=3).train.x
    assert len(names) == 3
    assert x[:, 0, 0, 0].tolist() == list(range(40))

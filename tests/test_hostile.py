"""Hostile files: one typed error each, in little memory, and never a hang."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zspace
from hostility import DATA, X, Y
from hostility_pictures import PICTURES, pictures
from hostility_runs import METRICS, RUNS, STUDIES, UNFINISHED, example, record
from zspace.data.loading import load
from zspace.data.read_options import ReadOptions
from zspace.data.readers import images, parallel
from zspace.explorer.export import write_page
from zspace.explorer.server import views
from zspace.report.figures import registry as figures
from zspace.report.html.page import write_report
from zspace.runs.formats import Record
from zspace.runs.many import open_study, read_moments
from zspace.runs.measured import read as read_evaluation
from zspace.system import files
from zspace.system.errors import UserError
from zspace.system.schema import Unfit, check

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MOST = 512.0
CLEAR = Path("/proc/self/clear_refs")
pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason="needs the memory figures of Linux")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def peak() -> float:
    """The most memory of this process so far, in MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def bounded():
    """Raises where what is within takes longer than 20 s, or over 512 MB of memory."""

    def late(number, frame):
        pytest.fail("it hangs")  # no Exception, which could be taken for the file's fault

    before = signal.signal(signal.SIGALRM, late)
    limit, _ = signal.setitimer(signal.ITIMER_REAL, 20)
    CLEAR.write_text("5")  # the peak becomes what is in use now
    start = peak()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, limit)
    assert peak() - start < MOST


def refused(action, *given, **options) -> str:
    """What the user is told. What is said of checkpoints that are passed over is left out."""
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(UserError) as caught:
            action(*given, **options)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


@pytest.mark.parametrize("name", {**DATA, **PICTURES})
def test_hostile_data(name, tmp_path):
    make, message = {**DATA, **PICTURES}[name]
    made = make(tmp_path)
    what, options = made if isinstance(made, tuple) else (made, {})
    told = refused(load, str(what), quiet=True, **options)
    assert re.search(message, told)
    assert "\n" not in told


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return example(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", RUNS)
def test_hostile_runs(name, finished, tmp_path):
    change, message = RUNS[name]
    folder = shutil.copytree(finished, tmp_path / "run")
    change(folder)
    assert re.search(message, refused(zspace.load, folder))


@pytest.mark.parametrize("name", UNFINISHED)
def test_hostile_states(name, finished, tmp_path):
    change, message = UNFINISHED[name]
    folder = shutil.copytree(finished, tmp_path / "run")
    record("status", "running")(folder)
    (folder / "state").mkdir(exist_ok=True)
    change(folder)
    assert re.search(message, refused(zspace.resume, folder))


@pytest.mark.parametrize("name", STUDIES)
def test_hostile_studies(name, finished, tmp_path):
    change, message = STUDIES[name]
    shutil.copytree(finished, tmp_path / "runs" / "a")
    change(tmp_path)
    assert re.search(message, refused(open_study, tmp_path))


@pytest.mark.parametrize("name", METRICS)
def test_hostile_metrics_are_left_out(name, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "metrics.jsonl").write_bytes(METRICS[name])
    with pytest.warns(UserWarning, match=r"metrics\.jsonl"):
        assert zspace.load(folder).metrics == []
    told = refused(figures.write, "curves", open_study(folder), tmp_path / "curves.png")
    assert "metrics.jsonl" in told
    assert "holds no epoch" in told


SNAPSHOTS = {
    "codes of another size": {"codes": np.zeros((2, 3, 7), "f2")},
    "codes NaN": {"codes": np.full((2, 3, 2), np.nan, "f2")},
    "pictures of another size": {"x": np.zeros((1, 3, 9, 9), "u1")},
    "labels of no class": {"y": np.zeros(3, int)},
    "epochs backwards": {"epoch": np.array([2, 1])},
    "another array": {"more": np.zeros(3)},
    "objects": {"epoch": np.array([1, 2], object)},
    "a gigabyte": {"codes": np.zeros((1 << 9, 1 << 20, 2), "u1")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_hostile_snapshots(name, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    pictures = np.zeros((2, 1, 1, 4, 5), "u1")
    good = {"epoch": np.array([1, 2]), "codes": np.zeros((2, 3, 2), "f2"), "x": pictures[0]}
    good["reconstructions"] = pictures
    np.savez_compressed(folder / "snapshots.npz", **good)
    assert read_moments(zspace.load(folder)).points.shape == (2, 3, 2)
    np.savez_compressed(folder / "snapshots.npz", **{**good, **SNAPSHOTS[name]})
    assert "snapshots.npz is damaged" in refused(read_moments, zspace.load(folder))


@pytest.mark.parametrize("missing", ["epoch", "codes", "x", "reconstructions"])
def test_snapshots_are_whole(missing, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    pictures = np.zeros((2, 1, 1, 4, 5), "u1")
    good = {"epoch": np.array([1, 2]), "codes": np.zeros((2, 3, 2), "f2"), "x": pictures[0]}
    good["reconstructions"] = pictures
    del good[missing]
    np.savez_compressed(folder / "snapshots.npz", **good)
    assert "snapshots.npz is damaged" in refused(read_moments, zspace.load(folder))


@pytest.mark.parametrize("change", [
    lambda e: [], lambda e: {**e, "sections": [1]}, lambda e: {**e, "data": 1},
    lambda e: {**e, "sections": {"a": {"seed": 0, "options": {}, "measures": {"b": {}}}}},
    lambda e: {**e, "format": "1"},
])  # fmt: skip
def test_hostile_evaluations(change, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    good = zspace.evaluate(folder, sections=["latents"])
    assert read_evaluation(zspace.load(folder)) == json.loads(json.dumps(good))
    (folder / "evaluation.json").write_text(json.dumps(change(good)))
    assert "is not an evaluation" in refused(read_evaluation, zspace.load(folder))


@pytest.mark.parametrize("source", ["hf:somebody/something", "/etc", "fashion-mnist"])
def test_data_that_a_stranger_chose_are_not_opened(source, finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    record("config/data/data", source)(folder)
    record("config/data/data_dir", "/etc")(folder)
    opened = []
    monkeypatch.setattr("zspace.runs.run.load_data", lambda source, **_: opened.append(source))
    run = zspace.load(folder)
    assert run.sample(1).shape == (1, 1, 4, 5)
    assert figures.write("curves", open_study(folder), tmp_path / "curves.png").is_file()
    for use in (
        run.data,
        lambda: write_page(run, tmp_path / "page.html"),
        lambda: write_report(open_study(folder), tmp_path / "report.html"),
        lambda: figures.write("reconstructions", open_study(folder), tmp_path / "a.png"),
        lambda: views([folder]),
        lambda: zspace.evaluate(run),
    ):
        told = refused(use)
        assert source in told
        assert "not opened, but this needs them: if you trust them, add --trust-data" in told
    assert not opened
    for again in (zspace.resume, zspace.repeat):
        record("status", "interrupted")(folder)
        assert "--trust-data" in refused(again, folder)
    with contextlib.suppress(AttributeError):  # of what stands for data here
        zspace.load(folder, trust_data=True).data()
    assert opened == [source]


def test_data_of_my_own_runs_and_packaged_ones_are_opened(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    again = zspace.Run.from_bytes(zspace.load(folder).to_bytes())
    assert len(again.data().test) == 2
    record("config/data/data", "mnist5k")(folder)
    assert "images of 1×28×28" in refused(zspace.load(folder).data)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # as if another user had it
    assert "not made by you" in refused(zspace.load(finished).data)


@pytest.mark.parametrize(("kind", "shape", "why"), [
    ("image", [4, 1024, 1024], ""), ("table", [7], ""), ("series", [50, 3], ""),
    ("tokens", [9], ""), ("sound", [9], "not one of"),
    ("image", [4, 1024, 1025], "4,198,400 numbers"), ("table", [1, 7, 1], "3 axes"),
    ("image", [7], "1 axes"), ("table", [0], "below 1"),
])  # fmt: skip
def test_the_shape_of_a_sample_has_the_axes_of_its_kind(kind, shape, why, finished):
    found = files.read_sealed_json(finished / "run.json")
    found["data"] |= {"kind": kind, "shape": shape}
    if not why:
        check(found, Record)
        return
    with pytest.raises(Unfit, match=why):
        check(found, Record)


def test_samples_have_a_largest_size():
    assert zspace.Spec((4, 1024, 1024)).shape == (4, 1024, 1024)
    with pytest.raises(UserError, match=r"4,198,400 numbers.*--size"):
        zspace.Spec((4, 1024, 1025))


def test_a_network_that_fits_images_of_any_size_is_bounded(finished, tmp_path, monkeypatch):
    options = {"net": "conv", "code": "spatial", "channels": (100,), "latent": 1, "epochs": 1}
    options["stem"] = "full"
    data = str(finished.parent / "x.npz")
    run = zspace.train("ae", data=data, out=tmp_path / "run", quiet=True, **options)
    record("data/shape", [1, 1200, 600])(run.path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "makes 72,000,000 numbers of one sample" in refused(zspace.load, run.path)


def test_what_is_unusual_but_sound_is_read(tmp_path):
    """Fortran order, negative strides, big endian, palettes, CMYK, 16 bits, animations."""
    for x in (np.asfortranarray(X), X[:, ::-1], X[::-1]):
        np.save(tmp_path / "a.npy", x, allow_pickle=False)
        assert np.array_equal(load(str(tmp_path / "a.npy")).train.x[:, 0].numpy(), x)
        np.savez(tmp_path / "a.npz", x=x, y=(Y + 1).astype(">u2"), allow_pickle=False)
        data = load(str(tmp_path / "a.npz"))
        assert np.array_equal(data.train.x[:, 0].numpy(), x)
        assert [int(data.classes[k]) for k in data.train.y.tolist()] == (Y + 1).tolist()
    folder = pictures(tmp_path / "set", "a/{:02}.png")
    for mode, end in (("P", "png"), ("CMYK", "tif"), ("I;16", "png"), ("LA", "png"), ("1", "bmp")):
        Image.new(mode, (5, 4)).save(folder / "a" / f"{mode.replace(';', '')}.{end}")
    frames = [Image.new("L", (5, 4), grey) for grey in (1, 2)]
    frames[0].save(folder / "a" / "moving.gif", save_all=True, append_images=frames[1:])
    assert len(load(str(folder / "a")).train.x) == 16


def test_what_is_no_image_in_a_folder_is_passed_over(tmp_path):
    """Pipes and devices, which would never end, and links to nothing; any name will do."""
    folder = pictures(tmp_path / "set")
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "folder.png").mkdir()
    for name in (b"two\nlines.png", b"no\xff\xfetext.png"):
        shutil.copy(folder / "00.png", os.path.join(os.fsencode(folder), name))
    with bounded():
        whole, lazy = load(str(folder)), load(str(folder), memory=1)
    assert whole.train.x.shape == lazy.train.x.shape == (12, 1, 4, 5)
    assert whole.fingerprint == lazy.fingerprint


def test_few_large_images_wait_at_a_time(tmp_path, monkeypatch):
    """What is decoded ahead of the disk is bounded in bytes."""
    running, most = [], []

    def decode(number, source):
        running.append(number)
        return number

    got = parallel.stream("", [tmp_path] * 300, decode, ReadOptions(quiet=True), nbytes=1 << 25)
    for number in got:
        most.append(len(running) - number)
    assert max(most) <= 16


def test_threads_share_the_room_for_pixels():
    room, most, inside = images.Budget(10), [], []

    def work(units):
        with room.taken(units):
            inside.append(units)
            most.append(sum(inside))
            time.sleep(0.001)
            inside.remove(units)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 7, 10, 1] * 20))
    assert 10 >= max(most) > 0


WATCHED = """
import os, socket, sys
from pathlib import Path
import fuzz_runs
watch = fuzz_runs.Watch(Path("inside"))
os.chdir("inside")
def told(action):
    try:
        with watch.watching():
            action()
    except AssertionError as error:
        return "outside the folder" in str(error)
    return False
folder = os.open(".", os.O_RDONLY)
for action in (
    lambda: open("a"), lambda: open("b", "w").close(), lambda: os.open("a", 0, dir_fd=folder),
    lambda: os.listdir(), lambda: os.replace("b", "c"), lambda: open("/dev/null", "w"),
    lambda: open(os.__file__),
):
    print(told(action))
for action in (
    lambda: open("../secret"), lambda: open("link"), lambda: open("/etc/passwd"),
    lambda: open("../new", "w"), lambda: os.listdir(".."), lambda: os.replace("c", "../c"),
    lambda: os.mkdir("../d"), lambda: os.chdir(".."), lambda: open(os.__file__, "r+"),
    lambda: socket.create_connection(("127.0.0.1", 9), 0.1), lambda: os.system("true"),
):
    try:
        print(told(action))
    except OSError as error:
        print(error)
"""


def test_the_watch_over_edited_runs_sees_what_happens_outside(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a").touch()
    (tmp_path / "secret").touch()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "secret")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path[1:]])}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False"] * 7 + ["True"] * 11, done.stdout + done.stderr


@pytest.mark.thorough
def test_edited_runs_are_used_or_refused_in_a_sentence():
    flags = ["--executions", "12", "--only", "run folders"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "fuzz.py", *flags], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]


@pytest.mark.thorough
def test_a_short_fuzz_finds_no_crash():
    script = BENCHMARKS / "fuzz.py"
    names = ["idx", "npy", "npz", "npz, x", "npz, y", "images", "state", "model.safetensors"]
    flags = ["--executions", "1000", "--seed", "3", "--only", *names, "metrics.jsonl"]
    done = subprocess.run([sys.executable, script, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]
    assert re.search(r"(1,000|99\d) executions", done.stdout)  # shares are rounded

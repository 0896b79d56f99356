"""The command line: every command, what it writes and says, and every kind of bad input."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import zspace
from conftest import WRITTEN
from zspace.cli import commands, main
from zspace.data.sets.mnist import NAMES
from zspace.system import files

SMALL = [
    "--hidden", "16", "--latent", "3", "--epochs", "2", "--batch", "64", "--precision", "fp32"
]  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that a user's error is; the exit code is 2."""
        assert self.code == 2, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("zspace: ")
        assert self.out == ""
        return lines[0]


Command = Callable[..., Result]


@pytest.fixture
def zs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args: Any) -> Result:
        capsys.readouterr()
        try:
            code = main.run([str(arg) for arg in args])
        except SystemExit as done:  # usage errors and --help leave so
            code = done.code if isinstance(done.code, int) else 1
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, where a test is not about them: they take a second."""
    monkeypatch.setattr("zspace.report.figures.registry.overview", lambda run: [])


def process(*args: Any, **options: Any) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "zspace", *map(str, args)],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


def picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def bad(result: Result) -> str:
    return result.sentence


# The commands, each as a newcomer uses it


def test_train_leaves_a_run_and_pictures(zs, digits, tmp_path):
    result = zs("train", "cvae", "--data", digits, "--out", tmp_path / "run", *SMALL)
    assert result.code == 0
    pictures = [tmp_path / "run" / "figures" / f"{name}.png" for name in
                ("reconstructions", "samples", "codes", "curves")]  # fmt: skip
    assert result.out.split() == [str(path) for path in pictures]
    for path in pictures:
        assert min(picture(path).size) > 100
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {*WRITTEN, "figures"}
    assert zspace.load(tmp_path / "run").sample(2, label=3).shape == (2, 1, 14, 14)


def test_train_says_what_it_does_without_a_terminal(zs, undrawn, digits, tmp_path):
    result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL)
    data, splits, first, *epochs, last = result.err.splitlines()
    assert data.startswith("digits: images of 1×14×14, uint8 values, 0 to 255 as 0 to 1; classes")
    assert splits == "train 243, validation 27, test 30: cut from x by class"
    for part in ("vae", "parameters", "digits", "243 train", "27 validation", "cpu in fp32"):
        assert part in first
    assert str(tmp_path / "run") in first
    pace = epochs.pop(0)
    assert re.fullmatch(r"about \d+ s: 1 more epoch of 4 steps at \S+ ms", pace)
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    for line in epochs:
        assert all(part in line for part in ("validation", "mse ", "kl ", "samples/s"))
    assert last.startswith("best epoch ")
    assert "test mse" in last
    assert "\x1b" not in result.err + result.out


def test_progress_bar_fits_an_ordinary_terminal(zs, undrawn, digits, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL).code == 0
    shown = terminal.getvalue()
    assert "epoch 2/2" in shown
    for part in ("samples/s", "100%", "mse ", "kl "):
        assert part in shown
    assert "…" not in shown, "something was cut off"


def test_json_lines_are_machine_readable(zs, undrawn, digits, tmp_path):
    result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL, "--json")
    assert (result.code, result.err) == (0, "")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "pace", "epoch", "epoch", "end"]
    assert events[0]["data"]["train"] == 243
    assert events[0]["path"] == str(tmp_path / "run")
    assert 0 < events[1]["step"] < events[1]["seconds"]
    assert events[3]["validation"].keys() == {"mse", "kl", "objective"}
    assert events[4]["result"]["test"]["mse"] > 0


@pytest.mark.slow
def test_quiet_says_nothing(zs, digits, tmp_path):
    result = zs("train", "ae", "--data", digits, "--out", tmp_path / "run", *SMALL, "--quiet")
    assert result == Result(0, "", "")
    again = zs("repeat", tmp_path / "run", "--out", tmp_path / "again", "--quiet")
    assert again == Result(0, "", "")
    contents = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("run", "again")]
    assert contents[0] == contents[1]
    assert (tmp_path / "again" / "figures" / "curves.png").exists()


def test_quiet_is_quiet_on_a_terminal_too(zs, undrawn, pictures, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    zs("train", "ae", "--data", pictures, "--out", tmp_path / "run", *SMALL, "--quiet")
    assert terminal.getvalue() == ""


def test_repeat_and_train_tell_of_their_pictures_alike(zs, runs, tmp_path, monkeypatch):
    monkeypatch.setattr("zspace.report.figures.registry.overview", lambda run: [Path("one.png")])
    assert zs("repeat", runs["ae"].path, "--out", tmp_path / "again").out == "one.png\n"


def test_options_reach_the_training(zs, undrawn, digits, tmp_path):
    result = zs(
        "train", "beta-vae", "--data", digits, "--out", tmp_path / "run", *SMALL, "--quiet",
        "--hidden", "24", "12", "--likelihood", "bernoulli", "--binarize", "dynamic",
        "--beta", "2", "--anneal", "warmup", "--seed", "5", "--lr", "0.01", "--ema", "0.9",
        "--schedule", "one-cycle", "--clip", "1", "--patience", "7", "--betas", "0.8", "0.9",
    )  # fmt: skip
    assert result.code == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["recipe"] == "beta_vae"
    want = {"latent": 3, "hidden": [24, 12], "likelihood": "bernoulli", "beta": 2.0}
    want |= {"anneal": "warmup", "free_bits": 0.0, "net": "mlp"}
    chosen = {**config["recipe_options"], **config["network"]}
    assert {name: chosen[name] for name in want} == want
    assert config["data"]["binarize"] == "dynamic"
    want = {"seed": 5, "lr": 0.01, "ema": 0.9, "schedule": "one-cycle", "clip": 1.0}
    want |= {"patience": 7, "betas": [0.8, 0.9], "epochs": 2, "batch": 64}
    assert {name: config["training"][name] for name in want} == want


def test_resume_goes_on(zs, undrawn, digits, tmp_path):
    from zspace.training.progress import Quiet

    class Cut(Quiet):
        def step(self, fit) -> None:
            if fit.step == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zspace.train(
            "vae", data=str(digits), out=tmp_path / "run", hidden=(16,), latent=3, epochs=3,
            batch=64, precision="fp32", reporter=Cut(), save_every=0,
        )  # fmt: skip
    result = zs("resume", tmp_path / "run", "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "pace", "epoch", "epoch", "end"]
    assert [event["number"] for event in events[2:4]] == [2, 3]
    assert events[-1]["status"] == "finished"
    assert "finished" in bad(zs("resume", tmp_path / "run"))


def test_weights_of_a_training_that_has_not_ended_are_told(zs, undrawn, digits, tmp_path):
    from zspace.training.progress import Quiet

    class Cut(Quiet):
        def epoch(self, epoch, fit) -> None:
            if epoch.number == 2:
                raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        zspace.train(
            "vae", data=str(digits), out=run, hidden=(16,), latent=3, epochs=3, batch=64,
            precision="fp32", reporter=Cut(), save_every=0,
        )  # fmt: skip
    for args in (["sample", run], ["embed", run, "-o", tmp_path / "z.csv"]):
        result = zs(*args)
        assert result.code == 0
        assert f"run '{run}' has not finished (2 of 3 epochs): these are its best" in result.err
        assert f"'zspace resume {run}' goes on with it" in result.err


@pytest.mark.parametrize("recipe", ["vae", "cvae"])
def test_sample_writes_sheets_arrays_and_folders(zs, runs, tmp_path, recipe):
    run = runs[recipe].path
    for name in ("sheet.png", "arrays.npz", "folder", "new/deep/sheet.png"):
        result = zs("sample", run, "-n", "12", "--seed", "3", "-o", tmp_path / name)
        assert result == Result(0, f"{tmp_path / name}\n", "")
    with np.load(tmp_path / "arrays.npz") as arrays:
        x = arrays["x"]
        assert x.shape == (12, 1, 14, 14)
        if recipe == "cvae":
            assert arrays["y"].tolist() == [*range(10), 0, 1]
        np.testing.assert_array_equal(x, runs[recipe].sample(12, seed=3))
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names == [f"{i:05d}.png" for i in range(12)]
    one = np.asarray(picture(tmp_path / "folder" / "00003.png"))
    np.testing.assert_array_equal(one, np.round(x[3, 0] * 255).astype(np.uint8))
    assert picture(tmp_path / "sheet.png").width >= 600


def test_sample_of_a_label(zs, runs, tmp_path):
    out = tmp_path / "x.npz"
    zs("sample", runs["cvae"].path, "-n", "3", "--label", "7", "-o", out)
    with np.load(out) as arrays:
        assert arrays["y"].tolist() == [7, 7, 7]
        np.testing.assert_array_equal(arrays["x"], runs["cvae"].sample(3, label=7, seed=0))


def test_sample_and_reconstruct_have_a_default_place(zs, runs, tmp_path):
    run = Path(shutil.copytree(runs["vae"].path, tmp_path / "run"))
    assert zs("sample", run).out == f"{run / 'samples.png'}\n"
    assert zs("reconstruct", run).out == f"{run / 'reconstructions.png'}\n"
    assert (run / "samples.png").exists()
    assert (run / "reconstructions.png").exists()
    assert f"'{run / 'samples.png'}' was there and is replaced" in zs("sample", run).err
    assert zs("sample", run, "-o", tmp_path / "x.png") == Result(0, f"{tmp_path / 'x.png'}\n", "")


def test_what_lies_between_two_samples(zs, runs, digits, tmp_path):
    out, (vae, cvae) = tmp_path / "way.npz", (runs[name] for name in ("vae", "cvae"))
    assert zs("interpolate", vae.path, 3, 8, "-n", 5, "-o", out) == Result(0, f"{out}\n", "")
    x = vae.data().test.images(torch.tensor([3, 8])).numpy()
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["x"], vae.interpolate(*x, steps=5), atol=1e-6)
    y = cvae.data().test.labels()
    same = (y == y[0]).nonzero().flatten().tolist()[1]
    other = (y != y[0]).nonzero().flatten().tolist()[0]
    x = cvae.data().test.images(torch.tensor([0, same])).numpy()
    zs("interpolate", cvae.path, 0, same, "--way", "spherical", "-o", out)
    with np.load(out) as arrays:
        arc = cvae.interpolate(*x, steps=10, label=int(y[0]), path="spherical")
        np.testing.assert_allclose(arrays["x"], arc, atol=1e-6)
    assert "give --label" in bad(zs("interpolate", cvae.path, 0, other))
    assert zs("interpolate", cvae.path, 0, other, "--label", 3, "-o", out).code == 0
    for unfit in (("0", "x"), ("0", "100000"), ("-1", "2")):
        assert zs("interpolate", vae.path, *unfit).code == 2
    assert "'100000' is no sample: give a whole number from 0" in bad(
        zs("interpolate", vae.path, 0, 100000)
    )
    assert "steps is 1" in bad(zs("interpolate", vae.path, 0, 1, "-n", 1))
    assert not (vae.path / "interpolation.png").exists()
    assert "FILE.png or FILE.npz" in bad(zs("interpolate", vae.path, 0, 1, "-o", "x.gif"))


def test_data_says_what_a_file_is_without_further_words(zs, digits):
    assert zs("data", digits) == zs("data", "info", digits)
    assert zs("data", "mnist5k").code == 0


def test_reconstruct_takes_other_pictures(zs, runs, digits, tmp_path):
    shutil.copy(digits, tmp_path / "other.npz")
    for n in (1, 25):
        out = tmp_path / f"{n}.png"
        result = zs("reconstruct", runs["cvae"].path, "--data", tmp_path / "other.npz",
                    "-n", n, "-o", out)  # fmt: skip
        assert result == Result(0, f"{out}\n", "")
        assert picture(out).mode == "L"


@pytest.mark.parametrize("recipe", ["ae", "cvae"])
def test_embed_writes_codes_with_their_rows(zs, runs, digits, tmp_path, recipe):
    out = tmp_path / "z.npz"
    assert zs("embed", runs[recipe].path, "-o", out) == Result(0, f"{out}\n", "")
    with np.load(out) as codes, np.load(digits) as data:
        assert codes["z"].shape == (300, 3)
        assert sorted(codes["index"].tolist()) == list(range(300))
        np.testing.assert_array_equal(codes["y"], data["y"][codes["index"]])
        names, counts = np.unique(codes["split"], return_counts=True)
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
            "train": 243, "validation": 27, "test": 30
        }  # fmt: skip
        want = runs[recipe].encode(data["x"], data["y"] if recipe == "cvae" else None)
        np.testing.assert_allclose(codes["z"], want[codes["index"]], atol=1e-5)


def test_data_list_and_info(zs, tmp_path):
    listed = zs("data", "list")
    assert listed.code == 0
    assert zs("data").out == listed.out
    for name in ("mnist5k", "mnist", "fashion-mnist", "kmnist", "CC BY"):
        assert name in listed.out
    told = zs("data", "info", "mnist5k")
    assert told.code == 0
    assert "4050" in told.out.replace(",", "")


def test_data_list_looks_into_the_folder_given(zs, idx_folder):
    """Files that lie there make a set 'here'."""
    rows = zs("data", "list", "--data-dir", idx_folder.parent).out.splitlines()
    row = next(row for row in rows if row.split()[:1] == ["mnist"])
    assert row.split()[-1] == "yes"


def test_recipes_are_listed_with_sentence_and_reference(zs):
    listed = zs("recipes")
    assert listed.code == 0
    for part in ("ae ", "vae ", "cvae ", "beta-vae ", "iwae ", "Kingma", "Higgins", "Sohn"):
        assert part in listed.out


def test_version_and_help(zs):
    assert zs("--version") == Result(0, f"zspace {zspace.__version__}\n", "")
    for args in ((), ("--help",), ("train", "--help"), ("train", "vae", "--help"),
                 ("sample", "--help"), ("data", "-h")):  # fmt: skip
        result = zs(*args)
        assert result.code == 0
        assert result.out.startswith("usage: zspace")
        assert "tyro" not in result.out
    flags = zs("train", "vae", "--help").out
    assert ">>>" not in flags
    wanted = "latent hidden likelihood epochs batch lr seed out data-dir json quiet from config"
    for flag in [f"--{name}" for name in wanted.split()]:
        assert flag in flags


# Exit codes


def test_exit_codes_of_a_process(tmp_path):
    for args, code, stream in (
        (["--version"], 0, "stdout"),
        (["trian"], 2, "stderr"),
    ):
        done = process(*args)
        assert done.returncode == code
        assert getattr(done, stream).startswith("zspace")
        assert "Traceback" not in done.stderr
    broken = """
import sys, zspace.cli.main as cli
def recipes() -> None:
    raise RuntimeError("ours")
cli.COMMANDS["recipes"] = recipes
sys.exit(cli.main(["recipes"]))
"""
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_our_own_error_is_not_passed_off_as_the_users(zs, monkeypatch):
    def recipes() -> None:
        raise ValueError("ours")

    monkeypatch.setitem(commands.COMMANDS, "recipes", recipes)
    with pytest.raises(ValueError, match="ours"):
        zs("recipes")


def test_reader_that_stops_reading_is_no_error():
    """zspace recipes | head -1"""
    run = f"'{sys.executable}' -m zspace recipes"
    done = subprocess.run(
        ["bash", "-c", f"{run} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_interrupt_outside_of_a_training_is_no_traceback(zs, monkeypatch):
    def recipes() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.COMMANDS, "recipes", recipes)
    try:
        result = zs("recipes")
    except KeyboardInterrupt:
        pytest.fail("a traceback is what the user would see")
    assert result.code in (2, 130)
    assert "Traceback" not in result.err


# Bad input: a sentence, exit code 2, nothing left behind


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of thirty grey pictures of two classes."""
    folder = tmp_path / "pictures"
    for i in range(30):
        path = folder / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 8 * i, np.uint8)).save(path)
    return folder


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """A folder 'mnist' with twenty images and labels a split, as gzipped IDX files."""
    folder = tmp_path / "sets" / "mnist"
    folder.mkdir(parents=True)
    for name in NAMES:
        shape = (20, 28, 28) if "images" in name else (20,)
        header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        body = (np.arange(np.prod(shape)) % 10).astype(np.uint8).tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(header + body))
    return folder


def arrays(path: Path, **content: Any) -> Path:
    np.savez(path, **content)
    return path


def corrupt_picture(place: Path, pictures: Path) -> tuple[Path, str]:
    (pictures / "a" / "99.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return pictures, "99.png"


def truncated_picture(place: Path, pictures: Path) -> tuple[Path, str]:
    content = (pictures / "a" / "04.png").read_bytes()
    (pictures / "a" / "04.png").write_bytes(content[: len(content) // 2])
    return pictures, "04.png"


def empty_folder(place: Path, pictures: Path) -> tuple[Path, str]:
    (place / "empty").mkdir()
    return place / "empty", "no images"


def not_data(place: Path, pictures: Path) -> tuple[Path, str]:
    (place / "notes.xyz").write_text("hello")
    return place / "notes.xyz", "not a data set"


def no_zip(place: Path, pictures: Path) -> tuple[Path, str]:
    (place / "torn.npz").write_bytes(b"PK\x03\x04torn")
    return place / "torn.npz", "torn.npz"


X = np.zeros((20, 6, 6), np.float32)
BAD_DATA: dict[str, Callable[[Path, Path], tuple[Path, str]]] = {
    "missing folder": lambda p, _: (p / "none", "no such file"),
    "missing file": lambda p, _: (p / "none.npz", "no such file"),
    "empty folder": empty_folder,
    "corrupt picture": corrupt_picture,
    "truncated picture": truncated_picture,
    "no data": not_data,
    "torn archive": no_zip,
    "objects": lambda p, _: (arrays(p / "o.npz", x=np.array([None] * 20)), "o.npz"),
    "NaN": lambda p, _: (arrays(p / "n.npz", x=X + np.nan), "NaN"),
    "beyond one": lambda p, _: (arrays(p / "b.npz", x=X + 255), "--values 0 255"),
    "below zero": lambda p, _: (arrays(p / "z.npz", x=X - 1), r"[0, 1]"),
    "flat": lambda p, _: (arrays(p / "f.npz", x=X.reshape(720)), "shape"),
    "labels too few": lambda p, _: (arrays(p / "l.npz", x=X, y=np.zeros(3, int)), "label"),
    "too few images": lambda p, _: (arrays(p / "t.npz", x=X[:5]), "at least 10"),
    "no images": lambda p, _: (arrays(p / "e.npz", x=X[:0]), "empty"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_a_sentence(zs, pictures, tmp_path, case):
    data, words = BAD_DATA[case](tmp_path, pictures)
    assert words in bad(zs("train", "vae", "--data", data, "--out", tmp_path / "run", *SMALL))
    assert not (tmp_path / "run").exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def other_magic(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[2] = 0x0D
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize("spoil", [truncate, other_magic])
def test_spoilt_idx_files_are_named(zs, idx_folder, tmp_path, spoil):
    file = idx_folder / f"{NAMES[0]}.gz"
    spoil(file)
    for args in (("mnist", "--data-dir", idx_folder.parent), (idx_folder,)):
        result = zs("train", "vae", "--data", *args, "--out", tmp_path / "run", *SMALL)
        assert str(file) in bad(result)
    assert not (tmp_path / "run").exists()


def test_skip_bad_counts_and_goes_on(zs, undrawn, pictures, tmp_path):
    corrupt_picture(tmp_path, pictures)
    with pytest.warns(UserWarning, match=r"1 unreadable file.*99\.png"):
        result = zs(
            "train", "ae", "--data", pictures, "--out", tmp_path / "run", *SMALL, "--skip-bad"
        )
    assert result.code == 0
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert data["skipped"] == 1
    assert data["train"] + data["validation"] + data["test"] == 30


@pytest.mark.slow
def test_warnings_look_like_sentences_too(pictures, tmp_path):
    """A stranger should not see a path into the source with a line of code under it."""
    corrupt_picture(tmp_path, pictures)
    done = process(
        "train", "ae", "--data", pictures, "--out", tmp_path / "run", *SMALL, "--skip-bad"
    )
    assert done.returncode == 0
    assert "99.png" in done.stderr
    for part in ("UserWarning", ".py:", "return "):
        assert part not in done.stderr
    assert done.stderr.count("99.png") == 1, "the data were read, and complained of, again"


WRONG: dict[str, tuple[list[str], str]] = {
    "latent 0": (["--latent", "0"], "latent is 0"),
    "hidden 0": (["--hidden", "0"], "hidden is (0,)"),
    "epochs": (["--epochs", "-1"], "epochs is -1"),
    "batch": (["--batch", "0"], "batch is 0"),
    "learning rate": (["--lr", "-1"], "lr is -1"),
    "learning rate NaN": (["--lr", "nan"], "lr is nan"),
    "patience": (["--patience", "-1"], "patience is -1"),
    "clip": (["--clip", "nan"], "clip is nan"),
    "weight decay": (["--weight-decay", "nan"], "weight_decay is nan"),
    "seed": (["--seed", "-1"], "seed is -1"),
    "huge seed": (["--seed", str(2**70)], "seed"),
    "ema": (["--ema", "1"], "ema is 1"),
    "betas": (["--betas", "0.9", "1.5"], "betas"),
    "unknown device": (["--device", "gpu"], "device 'gpu' is unknown"),
    "absent device": (["--device", "meta"], "device 'meta'"),
    "fp16": (["--precision", "fp16", "--device", "cpu"], "fp16 needs a GPU"),
    "size": (["--size", "7"], "--size"),
    "save every": (["--save-every", "-1"], "save"),
}


@pytest.mark.parametrize("case", WRONG)
def test_unfit_numbers_are_a_sentence(zs, digits, tmp_path, case):
    args, words = WRONG[case]
    result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL, *args)
    assert words in bad(result)
    assert not (tmp_path / "run").exists()


def test_iwae_without_draws_and_free_bits_below_zero(zs, digits, tmp_path):
    common = ["--data", digits, "--out", tmp_path / "run", *SMALL]
    assert "samples is 0" in bad(zs("train", "iwae", *common, "--samples", "0"))
    assert "free bits" in bad(zs("train", "beta-vae", *common, "--free-bits", "-1"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian", "vae"], "did you mean 'train'"),
        (["train", "vea"], "did you mean 'vae'"),
        (["train", "VAE"], "did you mean 'vae'"),
        (["train", "cave"], "did you mean 'cvae'"),
        (["train", "beta-vea"], "did you mean 'beta-vae'"),
        (["train", "vae", "--data", "mnist5"], "did you mean 'mnist5k'"),
        (["data", "info", "kminst"], "did you mean 'kmnist'"),
        (["data", "info"], "name"),
    ],
)
def test_unknown_names_get_the_nearest(zs, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    assert words in bad(zs(*args))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "vae", "--epoch", "3"], "--epochs"),
        (["train", "vae", "--laten", "3"], "--latent"),
        (["train", "vae", "--likelihood", "bernouli"], "bernoulli"),
        (["train", "vae", "--epochs", "many"], "--epochs"),
        (["sample", "run", "--lable", "3"], "--label"),
        (["train"], "vae"),
        (["sample"], "RUN"),
        (["embed", "run"], "--out"),
    ],
)
def test_misused_flags_are_explained(zs, tmp_path, monkeypatch, args, words):
    """The parser's own box is allowed here: it names what was meant."""
    monkeypatch.chdir(tmp_path)
    result = zs(*args)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert "dummy" not in result.err, "the parser's insides show"
    assert list(tmp_path.iterdir()) == []


def test_labels_missing_for_a_conditional_model(zs, digits, tmp_path):
    with np.load(digits) as content:
        path = arrays(tmp_path / "plain.npz", x=content["x"])
    sentence = bad(zs("train", "cvae", "--data", path, "--out", tmp_path / "run", *SMALL))
    assert "label" in sentence
    assert not (tmp_path / "run").exists()


def test_labels_missing_for_a_trained_conditional_model(zs, runs, digits, tmp_path):
    with np.load(digits) as content:
        path = arrays(tmp_path / "plain.npz", x=content["x"])
    for command in ("reconstruct", "score"):
        out = tmp_path / ("x.png" if command == "reconstruct" else "x.csv")
        sentence = bad(zs(command, runs["cvae"].path, "--data", path, "-o", out))
        assert "label" in sentence
        assert not out.exists()
    assert zs("embed", runs["cvae"].path, "--data", path, "-o", tmp_path / "x.npz").code == 0
    with np.load(tmp_path / "x.npz") as found:
        assert found["label_inferred"].all()


@pytest.mark.parametrize(
    ("recipe", "label", "words"),
    [
        ("cvae", "10", "label 10 is out of range"),
        ("cvae", "-1", "label -1 is out of range"),
        ("cvae", "seven", "label 'seven' is unknown"),
        ("cvae", "1.5", "label '1.5' is unknown"),
        ("cvae", "--5", "label"),
        ("cvae", "²", "label '²' is unknown"),
        ("vae", "3", "takes no label"),
    ],
)
def test_labels_that_do_not_fit(zs, runs, tmp_path, recipe, label, words):
    out = tmp_path / "x.png"
    assert words in bad(zs("sample", runs[recipe].path, f"--label={label}", "-o", out))
    assert not out.exists()


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize("command", ["sample", "reconstruct"])
def test_no_images_asked_for(zs, runs, tmp_path, command, n):
    out = tmp_path / "x.png"
    assert "at least 1" in bad(zs(command, runs["vae"].path, "-n", n, "-o", out))
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("sample", "x.jpg"), ("sample", "file"), ("sample", "file/x.png"), ("sample", "dir.png"),
        ("reconstruct", "x.jpg"), ("reconstruct", "x.npz"), ("reconstruct", "dir"),
        ("reconstruct", "dir.png"), ("reconstruct", "file/x.png"),
        ("embed", "x.txt"), ("embed", "dir"), ("embed", "dir.npz"), ("embed", "file/x.npz"),
    ],
)  # fmt: skip
def test_places_that_cannot_be_written(zs, runs, tmp_path, command, name):
    (tmp_path / "file").write_text("precious")
    for folder in ("dir", "dir.png", "dir.npz"):
        (tmp_path / folder).mkdir()
    assert "cannot write" in bad(zs(command, runs["vae"].path, "-o", tmp_path / name))
    assert (tmp_path / "file").read_text() == "precious"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["dir", "dir.npz", "dir.png", "file"]


@pytest.mark.parametrize("command", ["sample", "reconstruct", "embed", "resume", "repeat"])
def test_folders_that_are_no_run(zs, runs, tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    newer = Path(shutil.copytree(runs["vae"].path, tmp_path / "newer"))
    record = files.read_sealed_json(newer / "run.json")
    files.write_sealed_json(newer / "run.json", {**record, "format": 3, "zspace": "7.0"})
    places = {"sample": ["-o", tmp_path / "x.png"], "embed": ["-o", tmp_path / "x.npz"]}
    places |= {"reconstruct": places["sample"], "repeat": ["--out", tmp_path / "again"]}
    for name, words in (
        ("none", "not exist"), ("empty", "not a run"), ("file", "folder"), ("newer", "upgrade")
    ):  # fmt: skip
        assert words in bad(zs(command, tmp_path / name, *places.get(command, [])))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "newer"]


def test_existing_folder_is_refused_before_the_data_are_read(zs, runs, tmp_path):
    run = runs["vae"].path
    for args in (("train", "vae", "--data", "none.npz"), ("repeat", run)):
        assert "exists already" in bad(zs(*args, "--out", run))


@pytest.mark.parametrize("name", ["file/run", "x" * 300], ids=["in a file", "too long"])
def test_folder_that_cannot_be_made(zs, digits, tmp_path, name):
    (tmp_path / "file").touch()
    bad(zs("train", "vae", "--data", digits, "--out", tmp_path / name, *SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_that_may_not_be_written_to(zs, digits, tmp_path, monkeypatch):
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL)
    assert "may not be written" in bad(result)


def full_after(writes: int) -> Callable[[int], None]:
    """An os.fsync of a disk that is full after so many."""
    left = writes

    def fsync(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


def test_no_space_for_a_new_run_leaves_nothing(zs, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_after(0))
    result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL, "--quiet")
    assert "no space is left on the device" in bad(result)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("writes", [12, 25, 40])
def test_no_space_amid_a_training_loses_nothing(zs, undrawn, digits, tmp_path, writes):
    run, whole = tmp_path / "run", tmp_path / "whole"
    args = ["--data", digits, *SMALL, "--epochs", "4", "--quiet"]
    zs("train", "vae", *args, "--out", whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full_after(writes))
        result = zs("train", "vae", *args, "--out", run, "--save-every", "0")
    assert "no space is left on the device" in bad(result)
    assert zs("resume", run, "--quiet").code == 0
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    left = {path.name for path in run.iterdir()}
    assert left == set(WRITTEN)


def test_no_space_amid_a_training_tells_how_to_go_on(zs, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_after(20))
    args = ["--data", digits, *SMALL, "--quiet", "--save-every", "0", "--out", tmp_path / "run"]
    assert f"zspace resume {tmp_path / 'run'}" in bad(zs("train", "vae", *args))


def test_no_space_for_samples_keeps_the_earlier_ones(zs, runs, tmp_path, monkeypatch):
    out = tmp_path / "x.npz"
    zs("sample", runs["vae"].path, "-n", "2", "-o", out)
    before = out.read_bytes()
    monkeypatch.setattr(os, "fsync", full_after(0))
    result = zs("sample", runs["vae"].path, "-n", "9", "-o", out)
    assert "no space is left on the device" in bad(result)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_limit_on_the_size_of_files(zs, digits, tmp_path):
    """The operating system itself refuses, for once, at the second half of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        result = zs("train", "vae", "--data", digits, "--out", tmp_path / "run", *SMALL, "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "model.safetensors: the file is larger than" in bad(result)
    assert not list((tmp_path / "run").glob(".*"))


# Small, odd, but valid data come through to the pictures


def test_ten_images_are_enough_for_all_commands(zs, digits, tmp_path):
    with np.load(digits) as content:
        path = arrays(tmp_path / "ten.npz", x=content["x"][:10], y=content["y"][:10])
    run = tmp_path / "run"
    result = zs("train", "vae", "--data", path, "--out", run, *SMALL, "--quiet")
    assert result.code == 0
    assert (run / "figures" / "codes.png").exists()


@pytest.mark.parametrize("latent", ["1", "2"])
def test_colour_pictures_and_small_codes(zs, pictures, tmp_path, latent):
    for path in pictures.rglob("*.png"):
        picture(path).convert("RGB").save(path)
    Image.new("RGB", (8, 8), (200, 30, 40)).save(pictures / "a" / "99.png")
    run, sheet = tmp_path / "run", tmp_path / "x.png"
    args = [*SMALL, "--latent", latent, "--quiet", "--size", "8"]
    assert zs("train", "cvae", "--data", pictures, "--out", run, *args).code == 0
    assert zs("sample", run, "--label", "b", "-n", "3", "-o", sheet).code == 0
    assert picture(sheet).mode == "RGB"


def test_rows_that_were_asked_to_be_of_a_class_say_so(zs, tmp_path):
    lines = [f"{i},{'ab'[i % 2]},{3 * (i % 2) + i / 60}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["n,sort,size", *lines]))
    run = tmp_path / "run"
    asked = ["--labels", "sort", "--leave-out", "n", "--out", run, *SMALL]
    zs("train", "cvae", "--data", tmp_path / "rows.csv", *asked)
    zs("sample", run, "-n", "4", "-o", tmp_path / "made.csv")
    made = pd.read_csv(tmp_path / "made.csv")
    assert made["sort"].tolist() == ["a", "b", "a", "b"]
    zs("sample", run, "-n", "3", "--label", "b", "-o", tmp_path / "made.npz")
    with np.load(tmp_path / "made.npz") as found:
        assert found["sort"].tolist() == ["b", "b", "b"]

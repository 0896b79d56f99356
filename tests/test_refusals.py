"""What the argument parser refuses is one sentence with the remedy; help fits any code page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from test_cli import bad, zs  # noqa: F401 # a fixture


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("sample a --tempreature 3", "did you mean '--temperature'? 'zspace sample --help' lists"),
        ("sample a -n x", "-n/--n is 'x': give a whole number"),
        ("sample", "'zspace sample' needs RUN: see 'zspace sample --help'"),
        ("sample a b", "'zspace sample' takes no 'b' there"),
        ("data lst", "is 'lst': did you mean 'list'? choose from: list, info"),
        ("train --lr 3", "'zspace train' needs a recipe: 'zspace recipes' lists them"),
        (
            "train vae --epohcs 3",
            "option '--epohcs' of 'zspace train vae' is unknown: did you mean",
        ),
        ("train vae --frm a", "did you mean '--from'?"),
        ("train beta-vae --bet 3", "did you mean '--beta'?"),
        ("train vae --beta 3", "is unknown: use beta-vae or tcvae or vaegan or sentence-vae"),
        ("train vae --net mpl", "--net is 'mpl': did you mean 'mlp'? choose from: auto, mlp"),
        ("train vae --epochs", "--epochs has no value: give a whole number"),
        ("train vae --lr fast", "--lr is 'fast': give a number"),
        ("train vae --hidden 3 x", "--hidden is '3 x': give [INT"),
        ("study vae --preset quik", "did you mean 'quick'?"),
        ("--vresion", "option '--vresion' of 'zspace' is unknown"),
    ],
)
def test_a_typo_is_one_sentence_with_the_remedy(zs, args, said):  # noqa: F811
    assert said in bad(zs(*args.split()))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_help_and_errors_fit_any_code_page(encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    for args, code, where in ((["--help"], 0, "stdout"), (["smaple"], 2, "stderr")):
        done = subprocess.run(
            [sys.executable, "-m", "zspace", *args], capture_output=True, env=env
        )
        assert done.returncode == code, done.stderr
        assert b"zspace" in getattr(done, where)
        assert b"Traceback" not in done.stderr


def test_the_short_help_shows_the_usual_options_of_the_chosen_network(zs):  # noqa: F811
    short = zs("train", "vae", "--help").out
    for flag in ("latent", "data", "epochs", "lr", "seed", "out", "from", "config", "net"):
        assert f"--{flag} " in short
    for flag in ("weight-decay", "vocabulary", "word-dropout", "save-every"):
        assert f"--{flag} " not in short
        assert f"--{flag} " in zs("train", "vae", "--help-all").out
    assert "zspace train vae --help-all" in " ".join(short.split())
    of_gru = zs("train", "vae", "--net", "gru", "--help").out
    assert "--word-dropout " in of_gru
    assert "--channels " not in of_gru

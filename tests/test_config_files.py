"""A configuration as a file: written by each run, trains it again, and yields to flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomllib

import zspace
from test_cli import SMALL, bad, undrawn, zs  # noqa: F401 # fixtures
from test_resume import train, weights
from zspace.runs.config import Config
from zspace.runs.toml_file import to_toml


def test_the_file_of_a_run_trains_it_again(zs, undrawn, digits, tmp_path):  # noqa: F811
    run = train(digits, tmp_path / "run", recipe="beta-vae", beta=2.0, augment="crop", epochs=1)
    file = run.path / "config.toml"
    assert zs("train", "--config", file, "--out", tmp_path / "again", "--quiet").code == 0
    assert weights(tmp_path / "again") == weights(run)
    told = tomllib.loads(file.read_text())
    python = zspace.train(**told, out=False, quiet=True)  # its keys are keywords, too
    assert python.config == run.config


def test_flags_go_before_the_file(zs, digits, tmp_path):  # noqa: F811
    file = tmp_path / "run.toml"
    file.write_text(f'recipe = "vae"\nlatent = 3\nlr = 0.01\nhidden = [16]\ndata = "{digits}"\n')
    shown = zs("train", "--config", file, "--lr", "0.5", "--print-config")
    told = tomllib.loads(shown.out)
    assert (shown.code, told["lr"], told["latent"], told["hidden"]) == (0, 0.5, 3, [16])
    assert "epochs" not in told  # which is to be decided
    file.write_text(shown.out)
    assert zs("train", "--config", file, "--print-config").out == shown.out
    assert "(default: 3)" in zs("train", "--config", file, "--help").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe = 'vae'\nlatnt = 3", "run.toml: option of recipe vae 'latnt' is unknown: did you "
         "mean 'latent'?"),
        ("recipe = 'vea'", "recipe 'vea' is unknown: did you mean 'vae'?"),
        ("recipe = 'vae'\nlatent = 'x'", "latent is 'x': give a whole number"),
        ("recipe = 'vae'\n[training]\nlr = 3", "'training' is unknown"),
        ("recipe = ", "run.toml' is no TOML file (Invalid value"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_a_sentence(zs, tmp_path, text, said):  # noqa: F811
    (tmp_path / "run.toml").write_text(text)
    assert said in bad(zs("train", "--config", tmp_path / "run.toml"))


def test_clashing_options_of_a_recipe_have_their_own_table(own_parts):
    from test_config import annealed

    zspace.recipe(annealed)
    config = Config.of("annealed", {"epochs": 3}, {"warmup": 0.25})
    told = tomllib.loads(to_toml(config))
    assert told.pop("recipe_options") == {"warmup": 0.25, "size": 512}
    again = Config.of(told.pop("recipe"), told, {"warmup": 0.25, "size": 512})
    assert json.dumps(again.to_json(), default=str) == json.dumps(config.to_json(), default=str)


def test_going_on_at_the_command_line(zs, undrawn, digits, tmp_path):  # noqa: F811
    zs("train", "vae", "--data", digits, "--out", tmp_path / "a", *SMALL, "--quiet")
    done = zs("train", "--from", tmp_path / "a", "--epochs", "1", "--lr", "1e-4", "--quiet",
              "--freeze", "encoder", "--out", tmp_path / "b")  # fmt: skip
    assert done.code == 0, done
    run = zspace.load(tmp_path / "b")
    assert (run.config.training.freeze, run.config.latent) == (("encoder",), 3)
    assert Path(run.config.from_run["path"]) == tmp_path / "a"
    said = bad(zs("train", "ae", "--from", tmp_path / "a"))
    assert f"use 'zspace train vae --from {tmp_path / 'a'}'" in said
    assert "latent is 9" in bad(zs("train", "--from", tmp_path / "a", "--latent", "9"))
    said = bad(zs("resume", tmp_path / "a", "--epochs", "4"))
    assert f"'zspace train vae --from {tmp_path / 'a'}' goes on from its weights" in said

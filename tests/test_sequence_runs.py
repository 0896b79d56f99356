"""Runs of series and of tokens, from training to what comes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zspace
from zspace.analysis import gaps
from zspace.analysis.likelihood import dimensions
from zspace.cli import main
from zspace.data.dataset import Samples
from zspace.data.kinds.series import fit
from zspace.report.figures import registry
from zspace.runs.many import Study
from zspace.system.errors import UserError

SMALL = {"latent": 2, "epochs": 2, "batch": 32, "precision": "fp32", "quiet": True}
WORDS = ("cat", "dog", "bird", "sees", "eats", "the", "a")


def waves(n: int = 150, steps: int = 12, channels: int = 3) -> np.ndarray:
    """Windows (N, T, D) of noisy sines, far from [0, 1]."""
    random = np.random.RandomState(0)
    t, phase = np.arange(steps), random.rand(n, 1, channels) * 6
    x = np.sin(t[None, :, None] / 2 + phase) + 0.05 * random.normal(size=(n, steps, channels))
    return 40 + 7 * x * np.arange(1, channels + 1)


def sentences(n: int = 200) -> list[str]:
    """Texts of two to five words."""
    random = np.random.RandomState(1)
    return [" ".join(random.choice(WORDS, random.randint(2, 6))) for _ in range(n)]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    folder = tmp_path_factory.mktemp("series")
    x = waves()
    x[:, 2, 1] = np.nan
    np.savez(folder / "waves.npz", x=x)
    options = {**SMALL, "hidden": (16,), "snapshots": 2}
    return zspace.train("vae", data=str(folder / "waves.npz"), out=folder / "run", **options)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "said.txt").write_text("\n".join(sentences()) + "\n")
    options = {**SMALL, "width": 16, "snapshots": 2}
    return zspace.train(
        "sentence-vae", data=str(folder / "said.txt"), out=folder / "run", **options
    )


@pytest.fixture(params=["series", "tokens"])
def run(request: pytest.FixtureRequest) -> zspace.Run:
    return request.getfixturevalue(request.param)


def test_a_run_goes_on_with_other_samples(run, tmp_path):
    """Read as the first ones were: its scales and its tokens are kept."""
    others = {"series": 100 + 2 * waves(60), "tokens": [*sentences(60)[::-1], "the zebra sees"]}
    x = others["series" if run.spec.kind == "series" else "tokens"]
    on = zspace.train(
        from_run=run, data=x, out=tmp_path / "on", epochs=1, lr=1e-12, weight_decay=0.0, quiet=True
    )
    torch.testing.assert_close(on.encoding.encode(x), run.encoding.encode(x), equal_nan=True)
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(on.model.state_dict()[name], value, atol=1e-6, rtol=0)
    again = zspace.train(from_run=run, out=False, epochs=1, quiet=True)  # with its own data
    assert again.record["data"]["fingerprint"] == run.record["data"]["fingerprint"]
    frozen = zspace.train(from_run=run, out=False, epochs=1, quiet=True, freeze=("encoder",))
    for name, value in run.model.encoder.state_dict().items():
        assert torch.equal(frozen.model.encoder.state_dict()[name], value), name


def test_a_run_alone_takes_windows_in_and_gives_windows_back(series, tmp_path):
    alone = zspace.load(series.save(tmp_path / "copy"))
    x = waves()[:5]
    z = alone.encode(x)
    assert z.shape == (5, 2)
    back = alone.reconstruct(x)
    assert back.shape == x.shape
    assert np.abs(back - x).mean() < x.std()  # in the data's own units, around 40
    assert alone.sample(4, seed=0).shape == (4, 12, 3)
    mean, drawn = (alone.sample(4, seed=0, temperature=t) for t in (0.0, 1.0))
    warm = alone.sample(4, seed=0, temperature=0.5)
    assert np.allclose(warm, mean + (drawn - mean) / 2)
    assert alone.interpolate(x[0], x[1], steps=5).shape == (5, 12, 3)
    with pytest.raises(UserError, match=r"top_p is .*, but samples are no tokens"):
        alone.sample(2, top_p=0.5)
    with pytest.raises(UserError, match="steps is 1"):
        alone.interpolate(x[0], x[1], steps=1)


def test_windows_that_are_shown_are_spread_over_the_split(series):
    test = series.data().test
    shown = zspace.analysis.trained.evenly(test, 4)
    assert shown.tolist() == [0, 5, 9, 14]
    assert len(test) == 15


def test_every_channel_that_is_drawn_is_named(series):
    fig = registry.draw("windows", Study(series.path, [series]))
    assert [axes.get_ylabel() for axes in fig.axes[::4]] == ["0", "1", "2"]


def test_gaps_in_a_window_are_filled(series):
    x = waves()[:3]
    x[0, 4:8, 0] = np.nan
    assert np.isfinite(series.reconstruct(x)).all()
    nothing = np.full((1, 12, 3), np.nan)
    assert np.isfinite(series.encode(nothing)).all()
    made, filled = series.reconstruct(x), series.impute(x)
    seen = ~np.isnan(x)
    assert np.allclose(filled[seen], x[seen], rtol=1e-5)
    t, ends = np.arange(1, 5) / 5, [3, 8]
    line, moved = (
        (1 - t) * a + t * b for a, b in (x[0, ends, 0], x[0, ends, 0] - made[0, ends, 0])
    )  # of the values, and of how far the curve is from them, on both sides of the gap
    h = float(series.halfway()[0])
    weight = 4 / (4 + h)
    wanted = (1 - weight) * line + weight * (made[0, 4:8, 0] + moved)
    assert np.allclose(filled[0, 4:8, 0], wanted, rtol=1e-4)
    assert np.allclose(series.impute(nothing), series.reconstruct(nothing), rtol=1e-4)


class Flat:
    """A model whose curve is wrong in one channel and right in the other."""

    def __init__(self, encoding: Any, right: torch.Tensor) -> None:
        self.encoding, self.right, self.model = encoding, right, SimpleNamespace(context=False)

    def reconstructed(self, x: torch.Tensor, label: Any) -> torch.Tensor:
        wrong = 5 * (torch.arange(x.shape[1]) % 2).view(1, -1)
        return torch.stack([self.right[..., 0], wrong.expand(len(x), -1)], -1)


def test_curves_are_trusted_in_channels_where_they_are_right():
    t = torch.arange(20.0)
    x = torch.stack([(t + torch.arange(40.0).view(-1, 1)) ** 2 / 100, t.expand(40, -1)], -1)
    samples = Samples(x, None, torch.arange(40))
    model = Flat(fit(x.double().numpy()), x.clone())
    assert gaps.halfway(model, samples).tolist() == [0.0, float("inf")]
    x[..., 1] = torch.nan  # teaches nothing: the length that was best on three sets stays
    assert gaps.halfway(model, samples).tolist() == [0.0, 2.0]


def test_what_is_trusted_goes_with_the_run(series, tmp_path):
    alone = zspace.load(series.save(tmp_path / "copy"))
    alone.data = lambda *_, **__: pytest.fail("the data were read")
    assert torch.equal(alone.halfway(), series.halfway())


def test_samples_without_gaps_teach_no_filling(tokens):
    with pytest.raises(UserError, match="without missing values, so it does not know"):
        tokens.impute(sentences()[:2])


def test_a_run_alone_takes_texts_in_and_gives_texts_back(tokens, tmp_path):
    alone = zspace.load(tokens.save(tmp_path / "copy"))
    assert alone.encode("the cat sees a dog").shape == (1, 2)
    assert alone.encode(sentences()[:4]).shape == (4, 2)
    back, made = alone.reconstruct(sentences()[:3]), alone.sample(6, seed=0)
    known = {*WORDS, "<other>"}  # of which an untrained model makes some
    assert all(set(text.split()) <= known for text in [*back, *made])
    assert made == alone.sample(6, seed=0)
    assert alone.sample(6, seed=0, temperature=0.0) == alone.sample(6, seed=0, temperature=0.0)
    assert len(alone.interpolate("the cat", "a dog eats the bird", steps=4)) == 4
    with pytest.raises(UserError, match="reads at most 5"):
        alone.encode("the " * 9)


def test_bits_per_token_count_tokens_and_ends(tokens):
    record = tokens.result
    test = tokens.data().test
    x = test.images()
    assert dimensions(tokens.spec, test) == pytest.approx(float((x >= 0).sum() / len(x)))
    nats = record["test"]["nll"] + record["test"]["kl"]
    bits = nats / np.log(2) / dimensions(tokens.spec, test)
    assert record["bits_per_dimension"]["test"] == pytest.approx(bits, rel=1e-6)
    found = zspace.evaluate(tokens.path, sections=["likelihood"], iw=3)["sections"]["likelihood"]
    measures = found["measures"]
    assert measures["elbo_bits"]["unit"] == "bits per token"
    per_token = -measures["iw_3"]["value"] / dimensions(tokens.spec, test)
    assert measures["perplexity"]["value"] == pytest.approx(np.exp(per_token))


@pytest.mark.thorough
def test_a_training_resumes_bit_for_bit_after_a_kill_and_repeats(run, tmp_path):
    options = ["--data", run.config.data.data, "--latent", "2", "--epochs", "30", "--batch", "32"]
    options += ["--precision", "fp32", "--json"]
    options += ["--width", "16"] if run.spec.kind == "tokens" else ["--hidden", "16"]
    command = [sys.executable, "-m", "zspace", "train", run.config.recipe, *options]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*command, "--out", whole], capture_output=True, text=True, check=True)
    going = subprocess.Popen(
        [*command, "--save-every", "0", "--out", cut], stdout=subprocess.PIPE, text=True
    )
    assert going.stdout is not None
    for line in going.stdout:
        if '"number": 3' in line or '"epoch": 3' in line:
            break
    going.send_signal(signal.SIGKILL)
    going.wait()
    going.stdout.close()
    if json.loads((cut / "run.json").read_text())["status"] != "finished":
        zspace.resume(cut, reporter=None)
    a, b = (zspace.load(path).model.state_dict() for path in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (whole / "encoding.json").read_bytes() == (cut / "encoding.json").read_bytes()
    again = zspace.repeat(whole, out=tmp_path / "again").model.state_dict()
    assert all(torch.equal(a[name], again[name]) for name in a)


def test_gaps_of_a_file_are_filled_at_the_command_line(series, tmp_path, capsys):
    x = waves()[:9]
    x[2:4, 5:7, 0] = np.nan
    np.savez(tmp_path / "x.npz", x=x)
    given = ["impute", str(series.path), "--data", str(tmp_path / "x.npz"), "--out"]
    assert main.run([*given, str(tmp_path / "full.npz")]) == 0
    assert "values filled in 2 of 9 windows" in capsys.readouterr().err
    with np.load(tmp_path / "full.npz") as archive:
        assert np.allclose(archive["x"], series.impute(x), rtol=1e-5)
    assert main.run([*given, str(tmp_path / "full.csv")]) == 0
    assert pd.read_csv(tmp_path / "full.csv").notna().to_numpy().all()


def test_pictures_and_complete_training_samples_are_refused_in_a_sentence(
    runs, tokens, tmp_path, capsys
):
    for run, said in ((runs["ae"], "is of images"), (tokens, "without missing values")):
        given = ["impute", str(run.path), "--data", run.config.data.data, "--out", "x.csv"]
        assert main.run(given) == 2
        assert said in capsys.readouterr().err


def test_files_of_windows_say_what_their_suffix_says(series, tmp_path):
    def made(command: str, name: str) -> Path:
        assert main.run([command, str(series.path), "-n", "3", "--out", str(tmp_path / name)]) == 0
        return tmp_path / name

    frame = pd.read_csv(made("sample", "s.csv"))
    assert list(frame) == ["window", "step", "0", "1", "2"]
    assert frame.shape == (36, 5)
    both = pd.read_parquet(made("reconstruct", "r.parquet"))
    assert set(both["which"]) == {"data", "reconstruction"}
    assert both["0"].notna().all()
    assert both.loc[both["which"] == "data", "1"].isna().any()  # gaps are gaps in the data
    with np.load(made("reconstruct", "r.npz")) as archive:
        assert archive["x"].shape == archive["x_data"].shape == (3, 12, 3)
    assert made("sample", "s.png").read_bytes().startswith(b"\x89PNG")
    assert main.run(["sample", str(series.path), "-n", "2"]) == 0
    assert (series.path / "samples.csv").is_file()
    assert main.run(["sample", str(series.path), "--out", str(tmp_path / "s.txt")]) == 2


def test_files_of_texts_say_what_their_suffix_says(tokens, tmp_path):
    def made(command: str, name: str, *more: str) -> Path:
        out = tmp_path / name
        assert main.run([command, str(tokens.path), "-n", "4", "--out", str(out), *more]) == 0
        return out

    greedy = made("sample", "a.txt", "--greedy").read_text().splitlines()
    assert len(greedy) == 4
    cold = made("sample", "c.txt", "--temperature", "0.7", "--top-p", "0.9").read_text()
    assert set(cold.split()) <= {*WORDS, "<other>"}
    assert len(made("reconstruct", "r.txt").read_text().splitlines()) == 8
    assert (
        pd.read_csv(made("reconstruct", "r.csv"))["which"].tolist()
        == [
            "data",
            "reconstruction",
        ]
        * 4
    )
    with np.load(made("sample", "s.npz")) as archive:
        assert archive["text"].shape == (4,)
    assert made("reconstruct", "r.png").read_bytes().startswith(b"\x89PNG")
    assert main.run(["sample", str(tokens.path), "--greedy", "--top-p", "0.5"]) == 2


def test_codes_and_scores_of_every_kind(run, tmp_path):
    out = tmp_path / "z.npz"
    assert main.run(["embed", str(run.path), "--out", str(out)]) == 0
    with np.load(out) as archive:
        assert archive["z"].shape[1] == 2
    for score in ("error", "elbo"):
        scored = zspace.analysis.anomaly.Scorer(run, run.data(), [score])
        found = scored(run.data().test)[score]
        assert np.isfinite(found).all()


def test_odd_samples_score_high(series, tokens):
    flat = np.full((4, 12, 3), 300.0)
    scored = zspace.analysis.anomaly.Scorer(series, series.data(), ["elbo"])
    found = scored(series.data(flat).splits["all"])["elbo"]
    assert (found > scored.validation["elbo"].max()).all()
    scored = zspace.analysis.anomaly.Scorer(tokens, tokens.data(), ["elbo"])
    odd = scored(tokens.data(["dog dog dog dog dog"] * 3).splits["all"])["elbo"]
    assert np.median(odd) > np.median(scored.validation["elbo"])


@pytest.mark.slow
def test_a_report_speaks_of_what_the_samples_are(run, tmp_path):
    study = Study(run.path, [run])
    shown = registry.shown_of(study)
    wanted = {
        "series": {"windows", "window-reconstructions", "sampled-windows", "window-interpolation"},
        "tokens": {"texts", "text-reconstructions", "sampled-texts", "text-interpolation"},
    }[run.spec.kind]
    assert wanted | {"curves"} <= set(shown)
    assert not {"data", "reconstructions", "samples", "rows", "plane"} & set(shown)
    assert {"channels", "accuracy"} & set(shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main.run(["report", str(run.path), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    said = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "Distance of samples" not in said  # of tokens, and of windows with gaps
    assert not re.search(r"\bimages?\b|\bpixels?\b", said, re.IGNORECASE)
    left = {path.name for path in registry.overview(run)}
    assert left >= {"reconstructions.png", "samples.png"}


def test_what_a_record_says(run):
    record = json.loads((run.path / "run.json").read_text())
    assert record["data"]["kind"] == run.spec.kind
    quality = record["result"]["quality"]["test"]
    if run.spec.kind == "tokens":
        assert set(quality) == {"accuracy", "exact"}
    else:
        assert {"0", "1", "2"} <= set(quality)


def test_a_plain_vae_that_ignores_its_code_says_so(tmp_path):
    made = zspace.train("vae", data=sentences(), out=tmp_path / "run", **{**SMALL, "epochs": 6},
                        width=16, word_dropout=0.0)  # fmt: skip
    if made.result["test"]["kl"] < 0.02:
        assert "code" in " ".join(made.result["warnings"])


@pytest.mark.parametrize("length", [1, 2, 300])
def test_samples_of_any_length(length):
    x = np.random.RandomState(0).normal(size=(40, length, 2)) * 9
    if length == 1:
        with pytest.raises(UserError, match="a single step of 2 channels"):
            zspace.data.load(x, kind="series", quiet=True)
        x = x.transpose(0, 2, 1)  # as it says
    run = zspace.train("vae", data=x, kind="series", out=False, epochs=1, latent=2, quiet=True)
    assert run.reconstruct(x[:2]).shape == (2, *x.shape[1:])
    texts = ["ab" * (length // 2) + "a" * (length % 2)] * 39 + [""]
    made = zspace.train("vae", data=texts, out=False, epochs=1, latent=2, width=8, quiet=True)
    assert len(made.reconstruct(["", "a"])) == 2


def test_a_constant_channel_and_a_window_without_values_train():
    x = waves(60)
    x[..., 2] = 5.0
    x[7] = np.nan
    run = zspace.train("ae", data=x, kind="series", out=False, **SMALL, hidden=(8,))
    assert np.isfinite(run.reconstruct(x[5:9])).all()


def test_labels_are_read_at_every_step(tmp_path):
    y = np.arange(120) % 2
    x = waves(120) + 30 * y[:, None, None]
    run = zspace.train("cvae", data=(x, y), kind="series", out=False, **SMALL, net="temporal")
    low, high = (run.sample(3, label=str(k), seed=0, temperature=0.0) for k in (0, 1))
    assert not np.allclose(low, high)

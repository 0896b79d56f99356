"""A finished run goes on: from its weights into a new run, or from its state in its own folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import zspace
from test_resume import SMALL, Cut, PowerCut, history, train, weights
from zspace.analysis.likelihood import likelihood_bounds
from zspace.system.errors import UserError
from zspace.training.progress import Quiet


@pytest.fixture(scope="module")
def first(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    return train(digits, tmp_path_factory.mktemp("first") / "run")


def state(run: zspace.Run) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


def same(a: zspace.Run, b: zspace.Run, part: str = "") -> bool:
    return all(torch.equal(v, state(b)[k]) for k, v in state(a).items() if k.startswith(part))


# From its weights


def test_training_goes_on_from_the_weights_of_a_run(first, digits, tmp_path, capsys):
    run = zspace.train(
        from_run=first.path, out=tmp_path / "on", epochs=1, lr=1e-12, weight_decay=0.0
    )
    said = capsys.readouterr().err
    assert f"going on from '{first.path}' (vae, epoch {first.result['best_epoch']} of 3)" in said
    assert run.config.recipe_options == first.config.recipe_options
    assert run.config.network == first.config.network
    for name, value in state(first).items():
        torch.testing.assert_close(state(run)[name], value, atol=1e-6, rtol=0)
    assert run.config.training.epochs == 1
    assert run.config.training.lr == 1e-12


def test_what_the_weights_allow_may_change(first, digits, tmp_path):
    run = zspace.train(
        "vae", from_run=first, out=False, quiet=True, data=str(digits), epochs=1, lr=1e-3, seed=4
    )
    assert (run.config.training.lr, run.config.training.seed) == (1e-3, 4)
    assert not same(run, first)
    options = {**SMALL, "recipe": "beta-vae", "epochs": 1}
    beta = zspace.train(data=str(digits), out=False, quiet=True, **options)
    more = zspace.train(from_run=beta, out=False, quiet=True, epochs=1, beta=0.5)
    assert more.config.recipe_options["beta"] == 0.5
    assert more.objective.weights["kl"] == 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recipe": "ae"}, "recipe is ae, but run .* was trained as vae"),
        ({"hidden": (64,)}, "hidden is 64, but run .* was trained with 16"),
        ({"latent": 5}, "latent is 5, but .* with 3"),
        ({"net": "conv"}, "net is conv, but .* with mlp"),
        ({"likelihood": "bernoulli"}, "likelihood is bernoulli, but"),
        ({"prior": "mixture"}, "prior is mixture, but .* leave --prior out"),
        ({"data": "mnist5k"}, "samples of 1×28×28, but the run to go on from reads 1×14×14"),
        ({"freeze": ("encodr",)}, "did you mean 'encoder'"),
        ({"hiden": (16,)}, "did you mean 'hidden'"),
    ],
)  # fmt: skip
def test_what_contradicts_the_run_is_refused(first, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        zspace.train(from_run=first, out=tmp_path / "on", quiet=True, **options)
    assert not (tmp_path / "on").exists()


def test_frozen_parts_stay_as_they_are(first, tmp_path):
    run = zspace.train(
        from_run=first, out=tmp_path / "on", quiet=True, epochs=1, freeze=("encoder",)
    )
    assert same(run, first, "encoder")
    assert not same(run, first, "decoder")
    with pytest.raises(UserError, match="freeze is encoder, which would stay as it is drawn"):
        zspace.train("vae", data="mnist5k", freeze=("encoder",), out=False)


def test_the_new_run_stands_by_itself(digits, tmp_path):
    """It is used, and resumed where it was cut at once, without the folder of the first one."""
    train(digits, tmp_path / "first")
    straight = zspace.train(
        from_run=tmp_path / "first", out=tmp_path / "straight", quiet=True, epochs=2
    )
    with pytest.raises(PowerCut):
        zspace.train(
            from_run=tmp_path / "first", out=tmp_path / "cut", reporter=Cut(1), epochs=2,
            save_every=1e6,
        )  # fmt: skip
    shutil.move(tmp_path / "first", tmp_path / "gone")
    run = zspace.resume(tmp_path / "cut", reporter=Quiet())
    assert weights(run) == weights(straight)
    assert zspace.load(tmp_path / "straight").sample(1).shape == (1, 1, 14, 14)
    with pytest.raises(UserError, match=r"goes on from run .* put it back"):
        zspace.repeat(tmp_path / "cut", out=False)
    shutil.move(tmp_path / "gone", tmp_path / "first")
    assert same(zspace.repeat(tmp_path / "cut", out=False, reporter=Quiet()), straight)


def test_rows_are_encoded_as_the_run_has_learned(tmp_path):
    random = np.random.RandomState(0)
    table = random.randn(60, 3)
    run = zspace.train("vae", data=table, hidden=(8,), latent=2, epochs=1, out=False, quiet=True)
    other = 5 + 3 * random.randn(60, 3)
    tuned = zspace.train(from_run=run, data=other, epochs=1, out=False, quiet=True)
    np.testing.assert_array_equal(run.encoding.encode(other), tuned.encoding.encode(other))
    again = zspace.train(from_run=run, epochs=1, out=False, quiet=True)  # of its own data
    assert again.record["data"]["fingerprint"] == run.record["data"]["fingerprint"]


def test_a_second_player_begins_anew(runs, tmp_path, capsys):
    """A run keeps its model alone: the discriminator of its training is gone."""
    first = runs["vaegan"]
    run = zspace.train(
        from_run=first.path, out=tmp_path / "on", epochs=1, lr=1e-12, weight_decay=0.0
    )
    assert "other players, such as a discriminator, begin anew" in capsys.readouterr().err
    for name, value in state(first).items():
        torch.testing.assert_close(state(run)[name], value, atol=1e-6, rtol=0)
    assert len(run.recipe.players) == 2


def test_classes_of_other_data_are_matched_by_name(runs, digits, tmp_path):
    """Data that lack classes, whose numbers are others than in the run."""
    with np.load(digits) as held:
        some = held["y"] >= 4
        np.savez(tmp_path / "some.npz", x=held["x"][some], y=held["y"][some], allow_pickle=False)
    run = runs["cvae"]
    tuned = zspace.train(
        from_run=run, data=str(tmp_path / "some.npz"), epochs=1, out=False, quiet=True
    )
    assert tuned.spec.classes == run.spec.classes
    assert int(tuned.data().train.labels().min()) == 4


# From its state


def test_more_epochs_are_as_if_they_had_been_given_at_first(digits, tmp_path, capsys):
    options = {"schedule": "constant", "ema": 0.9}
    straight = train(digits, tmp_path / "straight", epochs=4, **options)
    run = train(digits, tmp_path / "run", epochs=2, keep_state=True, **options)
    assert weights(run) != weights(straight)
    with pytest.raises(UserError, match=r"'zspace resume .*run --epochs 4' trains on"):
        zspace.resume(run.path)
    run = zspace.resume(run.path, epochs=4)
    assert "as if 4 epochs had been given at first" in capsys.readouterr().err
    assert weights(run) == weights(straight)
    assert history(run) == history(straight)
    assert run.result["test"] == straight.result["test"]
    with pytest.raises(UserError, match=r"epochs is 4, but run .* has 4 already"):
        zspace.resume(run.path, epochs=4)


def test_other_schedules_begin_anew(digits, tmp_path, capsys):
    """From the moments that were kept; a cut in between changes nothing."""
    run = train(digits, tmp_path / "run", epochs=2, keep_state=True)
    for name in ("straight", "cut"):
        shutil.copytree(run.path, tmp_path / name)
    capsys.readouterr()
    straight = zspace.resume(tmp_path / "straight", epochs=4)
    assert "with its moments, and the learning rate warmed up again" in capsys.readouterr().err
    rates = [line["lr"] for line in straight.metrics]
    assert rates[2] > rates[1]
    assert rates[3] < rates[2]
    with pytest.raises(PowerCut):
        zspace.resume(tmp_path / "cut", epochs=4, reporter=Cut(10), save_every=1e6)
    assert weights(zspace.resume(tmp_path / "cut", reporter=Quiet())) == weights(straight)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_interrupted_run_takes_more_epochs(digits, tmp_path, capsys, schedule):
    """With a constant rate as if they had been given at first; else along their schedule."""
    options = {"schedule": schedule, "ema": 0.9}
    straight = train(digits, tmp_path / "straight", epochs=4, **options)
    with pytest.raises(PowerCut):
        train(digits, tmp_path / "run", epochs=2, reporter=Cut(7), save_every=0, **options)
    kept = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.json*")}
    with pytest.raises(UserError, match="epochs is 0, but run"):
        zspace.resume(tmp_path / "run", epochs=0)
    assert kept == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.json*")}
    capsys.readouterr()
    run = zspace.resume(tmp_path / "run", epochs=4)
    assert run.config.training.epochs == len(run.metrics) == 4
    told = {"constant": "as if 4 epochs had been given", "cosine": "as those of 4 epochs"}
    assert told[schedule] in capsys.readouterr().err
    assert (weights(run) == weights(straight)) == (schedule == "constant")
    rates = [[line["lr"] for line in one.metrics] for one in (run, straight)]
    assert rates[0][2:] == rates[1][2:]


def test_other_options_are_for_a_new_run(first):
    with pytest.raises(UserError, match=r"lr is no option of resume.*from_run=.*, lr=\.\.\."):
        zspace.resume(first.path, lr=1e-4)


def test_without_a_state_the_way_on_is_named(first):
    for epochs in (None, 9):
        with pytest.raises(UserError, match=f"'zspace train vae --from {first.path}'"):
            zspace.resume(first.path, epochs=epochs)


# Used, and tuned elsewhere


def test_weights_tuned_elsewhere_are_saved(runs, tmp_path):
    run = zspace.load(runs["ae"].path)
    x = run.data().test.images()
    optimizer = torch.optim.SGD(run.model.parameters(), 0.1)
    run.model.decode(run.model.encode(x)).mean.square().sum().backward()
    optimizer.step()
    z = run.encode(x)
    assert not torch.equal(z, runs["ae"].encode(x))
    for again in (zspace.load(run.save(tmp_path / "own")), zspace.Run.from_bytes(run.to_bytes())):
        assert torch.equal(again.encode(x), z)
        assert again.result["test"] == run.result["test"]
        assert "the weights were changed after the training" in again.result["warnings"][-1]
    assert not (tmp_path / "own" / "fitted").exists()  # a mixture of other codes
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        run.save(tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_a_temperature_of_images_is_that_of_the_prior(runs):
    vae = runs["vae"]
    means = [vae.sample(50, seed=0, temperature=t) for t in (0.0, 0.5, 1.0)]
    assert [float(x.std(axis=0).mean()) for x in means] == sorted(
        x.std(axis=0).mean() for x in means
    )
    np.testing.assert_allclose(means[0][1:], means[0][:-1], atol=1e-6)
    np.testing.assert_array_equal(means[2], vae.sample(50, seed=0))
    noisy = vae.sample(50, seed=0, draw=True)
    assert np.abs(noisy - means[2]).mean() > 0.1
    assert noisy.min() >= 0
    with pytest.raises(UserError, match=r"drawn from a fitted mixture, and only those of N\(0, I"):
        runs["ae"].sample(2, temperature=0.5)


def test_one_code_is_decoded(runs):
    z = torch.zeros(3)
    assert torch.equal(runs["vae"].decode(z), runs["vae"].decode(z[None]))


def test_log_likelihood_of_given_images(digits):
    run = zspace.train(
        "cvae", data=str(digits), likelihood="gaussian", out=False, quiet=True,
        **{k: v for k, v in SMALL.items() if k != "recipe"},
    )  # fmt: skip
    test = run.data().test
    x, y = test.images(), test.labels()
    few, many = (run.log_likelihood(x, y, draws=K) for K in (1, 50))
    assert few.shape == (len(x),)
    assert few.mean() < many.mean()
    measured = likelihood_bounds(run, run.data(), samples=50)["iw_50"].value
    assert abs(float(many.mean()) - measured) < 2e-3 * abs(measured)
    one = run.log_likelihood(x[:2].numpy(), label=3, draws=5)
    assert isinstance(one, np.ndarray)


def test_a_run_goes_to_another_device(runs):
    assert runs["vae"].to("cpu").device.type == "cpu"
    with pytest.raises(UserError, match="cuda"):
        runs["vae"].to("cuda")

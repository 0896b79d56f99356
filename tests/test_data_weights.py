"""How often samples are drawn: weights, balanced classes; and splits in time."""

import numpy as np
import pandas as pd
import pytest
import torch

import zspace
from zspace.data.batches import Batches
from zspace.data.dataset import Samples
from zspace.data.loading import load
from zspace.data.selection import proportions, systematic
from zspace.models import zoo
from zspace.runs.config import Config
from zspace.system.errors import UserError
from zspace.training.build import Build
from zspace.training.trainer import evaluate

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
N = 60
X = RANDOM.random((N, 1, 8, 8)).astype(np.float32)
Y = np.where(np.arange(N) % 6 == 0, "rare", "common")
SMALL = {"hidden": (8,), "latent": 2, "epochs": 2, "batch": 16, "quiet": True}


def batches(samples, **options):
    return Batches(samples, **{"batch": 16, "device": CPU, "seed": 0, "weighted": True, **options})


def test_expected_counts_are_rounded_at_random():
    w = torch.from_numpy(RANDOM.exponential(size=50))
    expected = (50 * w / w.sum()).numpy()
    counts = np.stack([
        np.bincount(systematic(w, None, torch.Generator().manual_seed(s)), minlength=50)
        for s in range(2000)
    ])  # fmt: skip
    assert (counts.sum(1) == 50).all()
    assert (np.abs(counts - expected) < 1 + 1e-9).all()
    assert np.abs(counts.mean(0) - expected).max() < 0.06


def test_a_weight_of_2_counts_as_the_sample_twice():
    x = torch.from_numpy(X[:8])
    w = torch.tensor([3.0, 2, 1, 1, 1, 0, 0, 0], dtype=torch.float64)
    weighted = Samples(x, None, torch.arange(8), weights=w)
    twice = Samples(x, None, torch.tensor([0, 0, 0, 1, 1, 2, 3, 4]))
    recipe = zoo.classic.ae(zspace.Spec((1, 8, 8)), hidden=(8,), latent=2)
    objective = recipe.players[0].objective
    found = [
        evaluate(recipe.model, objective, some, batch=4)["mse"]
        for some in (batches(weighted, shuffle=False), batches(twice, shuffle=False))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    with torch.no_grad():
        error = (recipe.model.eval()(x).px.mean[0] - x).square().flatten(1).sum(1).double()
    assert found[0] == pytest.approx(float((error * w).sum() / w.sum()), rel=1e-5)
    assert batches(weighted).order(5).sort().values.tolist() == twice.index.tolist()


def test_balanced_classes_are_drawn_equally_often():
    data = load((X, Y), balance=True)
    assert "classes are drawn equally often in training" in data.read.notes[-1]
    some = batches(data.train)
    for epoch in range(5):
        y = data.train.y[some.order(epoch)]
        assert abs(int((y == 0).sum()) - len(y) / 2) <= 1
    common = data.train.y[data.train.index] == 0
    drawn = torch.bincount(some.order(0), minlength=N)[data.train.index][common]
    assert set(drawn.tolist()) <= {0, 1}
    assert batches(data.validation, shuffle=False).order(0).equal(data.validation.index)
    plain = load((X, Y))
    assert data.fingerprint == plain.fingerprint
    assert not torch.equal(batches(plain.train).order(0), some.order(0))


def test_weights_count_within_balanced_classes():
    y = torch.tensor([0, 0, 1])
    w = torch.tensor([1.0, 3.0, 7.0], dtype=torch.float64)
    some = Samples(torch.zeros(3, 1, 2, 2), y, torch.arange(3), weights=w, balance=True)
    assert proportions(some).tolist() == [0.25, 0.75, 1.0]


def test_the_order_is_a_function_of_seed_and_epoch():
    data = load((X, Y), balance=True)
    whole = batches(data.train)
    assert whole.order(1).equal(batches(data.train).order(1))
    assert not whole.order(1).equal(whole.order(2))
    late = torch.cat([b.x for b in whole.epoch(1, start=2)])
    assert late.equal(torch.cat([b.x for b in whole.epoch(1)])[32:])
    parts = [batches(data.train, part=(r, 2)) for r in range(2)]
    first = [next(part.epoch(0)).x for part in parts]
    assert torch.stack(first, 1).flatten(0, 1).equal(next(whole.epoch(0)).x)


def test_training_repeats_and_is_measured_by_weight(tmp_path):
    w = np.where(np.arange(N) % 4 == 0, 5.0, 1.0)
    np.savez(tmp_path / "a.npz", x=X, y=Y, w=w)
    options = {"data": str(tmp_path / "a.npz"), "balance": True, **SMALL}
    run = zspace.train("vae", out=tmp_path / "run", **options)
    again = zspace.repeat(tmp_path / "run", out=tmp_path / "again")
    assert run.result["validation"] == again.result["validation"]
    assert (
        "drawn in proportion to their weights, 1 to 5" in run.record["data"]["read"]["lines"][-1]
    )
    plain = zspace.train("vae", out=False, leave_out=("w",), **options)
    assert plain.result["train"] != run.result["train"]
    chosen = {"epochs": 1, "device": "cpu", "precision": "fp32"}
    build = Build.built(Config.of("ae", chosen), run.data())
    test = build.splits["test"]
    own, drawn = (w[rows.numpy()] for rows in (test.samples.index, test.order(0)))
    assert abs((drawn == 5).sum() - len(own) * own[own == 5].sum() / own.sum()) <= 1


def test_columns_and_arrays_of_weights():
    frame = pd.DataFrame({"a": RANDOM.normal(size=N), "b": RANDOM.normal(size=N), "u": np.ones(N)})
    data = load(frame, weight="u", quiet=True)
    assert [entry.name for entry in data.encoding.entries] == ["a", "b"]
    assert data.train.weights.tolist() == [1.0] * N
    split = frame.assign(split=["train"] * 40 + ["val"] * 10 + ["test"] * 10, u=np.arange(N) + 1.0)
    data = load(split, weight="u", quiet=True)
    assert data.test.weights.tolist() == list(range(51, 61))
    named = {"x_train": X[:40], "x_test": X[40:], "u_train": np.ones(40), "w_test": np.ones(20)}
    data = load({k.replace("u_", "w_"): v for k, v in named.items()})
    assert len(data.test.weights) == 20
    for source, options, message in (
        (frame, {"weight": "v"}, "column of weights of the data; column 'v' is unknown"),
        ((X, Y), {"weight": "v"}, "has no weights 'v'"),
        ({"x_train": X, "x_test": X, "w_train": np.ones(N)}, {}, "for some splits only: test has"),
        ({"x": X, "w": np.ones(N - 1)}, {}, "are not 60 numbers of at least 0"),
        ({"x": X, "w": -np.ones(N)}, {}, "are not 60 numbers"),
        ({"x": X, "w": np.zeros(N)}, {}, "no train sample of 'dict' has a weight above 0"),
        (frame.assign(u=["x"] * N), {"weight": "u"}, "are not 60 numbers"),
        ("mnist5k", {"weight": "w"}, "--weight w: weights are an array"),
        (X, {"balance": True}, "has none: leave it out"),
        ((X, ["a", "b", ""] * 20), {"balance": True}, "training samples of 'tuple' have no label"),
    ):
        with pytest.raises(UserError, match=message):
            load(source, quiet=True, **options)


def test_evaluation_counts_each_sample_once():
    data = load({"x": X, "y": Y, "w": np.arange(N) + 1.0})
    plain = Batches(data.test, batch=5, device=CPU, seed=0, shuffle=False)
    assert plain.order(0).equal(data.test.index)


DAYS = pd.date_range("2024-01-01", periods=20).repeat(5)
TIMES = pd.DataFrame({"when": DAYS, "v": RANDOM.normal(size=100), "n": np.arange(100) % 50})


def test_splits_in_time(tmp_path):
    mixed = TIMES.sample(frac=1, random_state=0).reset_index(drop=True)
    mixed.to_csv(tmp_path / "t.csv", index=False)
    for source in (mixed, str(tmp_path / "t.csv")):
        data = load(source, split_by="when", quiet=True)
        assert [len(samples) for samples in data.splits.values()] == [80, 10, 10]
        ends = [
            mixed["when"][[int(i) for i in samples.names()]] for samples in data.splits.values()
        ]
        assert ends[0].max() < ends[1].min()
        assert ends[1].max() < ends[2].min()
        said = "split by column 'when': validation from 2024-01-17, test from 2024-01-19"
        assert said in data.read.notes
    named = mixed.set_index("n", drop=False).rename(index="patient {}".format)
    names = [
        name for s in load(named, split_by="n", quiet=True).splits.values() for name in s.names()
    ]
    assert sorted(names) == sorted(f"patient {n}" for n in mixed["n"])
    data = load(mixed, split_by="n", quiet=True)
    assert [len(samples) for samples in data.splits.values()] == [80, 10, 10]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (TIMES.assign(when="x" + TIMES["when"].astype(str)), {}, "holds no dates or numbers"),
        (TIMES.assign(when=TIMES["n"] > 3), {}, "holds no dates or numbers"),
        (TIMES.assign(when=[np.nan] + [1.0, 2.0, 3.0] * 33), {}, "has 1 missing values"),
        (TIMES.assign(when=[1, 2] * 50), {}, "has 2 different values"),
        (TIMES.drop(columns="when"), {}, "to split the data by; column 'when' is unknown"),
        (TIMES, {"group": "n"}, "both say how rows are split"),
        ({"x_train": TIMES, "x_test": TIMES}, {}, "has splits of its own"),
        (X, {}, "--split-by is for rows of a table and texts, but"),
    ],
)
def test_what_has_no_order_is_refused(frame, options, message):
    with pytest.raises(UserError, match=message):
        load(frame, split_by="when", quiet=True, **options)

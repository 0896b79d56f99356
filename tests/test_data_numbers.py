"""Labels that are numbers, several columns of labels, and samples without a label."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import zspace
from zspace.analysis.representation import label_probes
from zspace.cli import main
from zspace.data.account import lines
from zspace.data.attributes import aligned, learned, standardised
from zspace.data.conditions import as_conditions, check_conditions, columns_of, named, turns
from zspace.data.labels import read_labels, read_splits
from zspace.data.loading import load
from zspace.data.spec import FLAG, Scale, Spec
from zspace.runs.measured import embed
from zspace.system.errors import NotMeasured, UserError

N = 60
RANDOM = np.random.default_rng(0)
X = RANDOM.random((N, 1, 8, 8)).astype(np.float32)
AGE = RANDOM.normal(50, 10, N)
SEX = np.array(["f", "m"])[np.arange(N) % 2]
TOLD = pd.DataFrame({"age": AGE, "sex": SEX, "smiles": np.arange(N) // 2 % 2})
SMALL = {"hidden": (8,), "latent": 2, "epochs": 1, "quiet": True}
MIXED = Spec((1, 8, 8), attributes=("age", "smiles"), scales=(Scale(50.0, 10.0, 20.0, 80.0), FLAG))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ages")
    np.savez(folder / "ages.npz", x=X, y=AGE)
    return zspace.train("cvae", data=str(folder / "ages.npz"), out=folder / "run", **SMALL)


def test_a_number_is_standardised_on_training_rows(run):
    data = load((X, AGE))
    train = AGE[data.train.index.numpy()]
    scale = Scale(train.mean(), train.std(), train.min(), train.max())
    assert np.allclose(data.spec.scales, [scale])
    assert run.spec.scales == zspace.load(run.path).spec.scales == data.spec.scales
    for samples in data.splits.values():
        own = AGE[samples.index.numpy()][:, None]
        assert np.array_equal(samples.conditions().numpy(), own)
        c = columns_of(samples, 1).numpy()
        assert np.allclose(c, (own - scale.mean) / scale.sd, atol=1e-6)
    assert json.loads((run.path / "run.json").read_text())["data"]["scales"] == [list(scale)]


def test_it_is_asked_for_in_its_own_unit(run, tmp_path):
    x = run.sample(4, label=33.5, seed=0)
    for same in ("33.5", "y=33.5", {"y": 33.5}, [33.5], np.full((4, 1), 33.5)):
        assert np.array_equal(run.sample(4, label=same, seed=0), x)
    assert not np.array_equal(run.sample(4, label=70, seed=0), x)
    out = str(tmp_path / "s.npz")
    assert main.run(["sample", str(run.path), "-n", "4", "--label", "33.5", "-o", out]) == 0
    with np.load(out) as arrays:
        assert arrays["y"].tolist() == [[33.5]] * 4
    assert np.array_equal(run.sample(4, seed=0), run.sample(4, label=turns(run.spec, 4), seed=0))


def test_new_data_are_read_by_the_scales_of_the_run(run, tmp_path):
    few = ([1, 2, 3], [1.5, 2.0, 3.0])
    for y in few:  # whole numbers of few samples would be classes
        data = run.data((X[:3], y))
        assert data.spec.scales == run.spec.scales
        assert np.allclose(run.encode((X[:3], y)), run.encode(X[:3], np.array(y)), atol=1e-6)
    table = pd.read_csv(embed(run, (X[:3], few[0]), out=tmp_path / "z.csv"))
    assert table["y"].tolist() == [1, 2, 3]
    for lacking in (X[:3], (X[:3], [1.5, None, 2.0])):
        with pytest.raises(UserError, match="is told attributes, which are not inferred"):
            embed(run, lacking, out=tmp_path / "z.csv")
    with pytest.raises(UserError, match="1 samples of 'tuple' lack attributes"):
        run.data((X[:3], [1.5, None, 2.0]))


def test_the_lines_say_the_range():
    low, high = load((X, AGE)).spec.scales[0][2:]
    assert f"label y {low:.4g} to {high:.4g} (mean " in lines(load((X, AGE)))[0]
    said = lines(load((X, TOLD)))[0]
    assert "4 attributes from y: age" in said
    assert "sex=f, sex=m, smiles" in said


def test_several_columns_keep_their_names(tmp_path):
    run = zspace.train("cvae", data=(X, TOLD), out=tmp_path / "run", **SMALL)
    assert run.spec.attributes == ("age", "sex=f", "sex=m", "smiles")
    by_text = run.sample(2, label="age=44, sex=f", seed=0)
    assert np.array_equal(run.sample(2, label={"age": 44, "sex=f": True}, seed=0), by_text)
    assert np.array_equal(run.sample(2, label=[44, 1, 0, 0], seed=0), by_text)
    few = pd.read_csv(embed(run, (X[:3], TOLD[:3]), out=tmp_path / "z.csv"))
    assert few["age"].tolist() == AGE[:3].tolist()
    assert few["sex=m"].tolist() == [0, 1, 0]
    with np.load(embed(run, (X, TOLD), out=tmp_path / "z.npz")) as arrays:
        assert arrays["attributes"].tolist() == list(run.spec.attributes)
    with pytest.raises(UserError, match="no value of age was given: give age"):
        run.sample(2, label="sex=f")
    as_dict = load((X, {name: TOLD[name].tolist() for name in TOLD}))
    assert as_dict.attributes == run.spec.attributes


def test_columns_of_a_table_and_of_a_list(tmp_path):
    from PIL import Image

    frame = pd.DataFrame({"a": RANDOM.normal(size=N), "b": RANDOM.normal(size=N)})
    pd.concat([frame, TOLD], axis=1).to_csv(tmp_path / "t.csv", index=False)
    data = load(str(tmp_path / "t.csv"), labels="age,sex", quiet=True)
    assert data.attributes == ("age", "sex=f", "sex=m")
    assert [entry.name for entry in data.encoding.entries] == ["a", "b", "smiles"]
    data = load(str(tmp_path / "t.csv"), labels="smiles", columns="smiles=number", quiet=True)
    assert data.attributes == ("smiles",)
    run = zspace.train(
        "cvae", data=str(tmp_path / "t.csv"), labels="age", out=tmp_path / "run", **SMALL
    )
    assert zspace.load(run.path).spec == run.spec
    assert list(run.sample(3, label=44.5)) == ["a", "b", "sex", "smiles"]
    (tmp_path / "pics").mkdir()
    for i in range(12):
        Image.fromarray((X[i, 0] * 255).astype(np.uint8)).save(tmp_path / f"pics/{i}.png")
    named_by = {"file": [f"{i}.png" for i in range(12)]}
    TOLD[:12].assign(**named_by).to_csv(tmp_path / "l.csv", index=False)
    listed = {
        "age": ((), ("age",)),
        "sex": (("f", "m"), ()),
        "age,smiles": ((), ("age", "smiles")),
    }
    for column, told in listed.items():
        data = load(tmp_path / "pics", labels=f"{tmp_path}/l.csv:{column}", quiet=True)
        assert (data.classes, data.attributes) == told


def test_kinds_of_labels_can_be_set():
    assert load((X, np.arange(N)), columns="y=number").attributes == ("y",)
    halves = load((X, np.arange(N) % 3 / 2), columns="y=category")
    assert halves.classes == ("0", "0.5", "1")
    assert load((X, np.where(AGE < 50, -1, AGE)), missing=("-1",)).spec.scales[0].low >= 50
    for options, message in (
        ({"columns": "z=number"}, "column 'z' is unknown"),
        ({"columns": "y=date"}, "labels are number or category"),
    ):
        with pytest.raises(UserError, match=message):
            load((X, AGE), **options)
    with pytest.raises(UserError, match="'y' of y of the data holds texts"):
        load((X, SEX), columns="y=number")
    with pytest.raises(UserError, match="--columns y=number"):
        load((X, np.arange(N)))


def test_small_splits_are_read_as_the_others():
    raw = {"train": (AGE, N, "y_train"), "test": ([1.0, 2.0], 2, "y_test")}
    assert read_splits(raw, "'a.npz'")["test"].attributes.tolist() == [[1.0], [2.0]]
    raw = {"train": (TOLD, N, "y_train"), "test": (TOLD[:1], 1, "y_test")}
    found = read_splits(raw, "'a.npz'")
    assert found["test"].names == ("age", "sex=f", "sex=m", "smiles")
    assert found["test"].attributes[0].tolist() == [AGE[0], 1, 0, 0]


def test_a_text_that_is_not_known_is_missing():
    found = read_labels(pd.DataFrame({"age": [1.5, 2], "sex": ["f", "x"]}), 2, "y", "t")
    held = aligned(found.names, found.attributes, ("sex=f", "sex=m", "age"))
    assert held[0].tolist() == [1, 0, 1.5]
    assert held[1, :2].isnan().all()
    assert aligned(("a", "b"), torch.zeros(1, 2), ("a", "c")) is None
    assert aligned(("y",), torch.ones(1, 1), ("price",)).tolist() == [[1]]


def test_scales():
    gaps = torch.tensor([[1.0, 0], [3.0, 1], [float("nan"), 1]], dtype=torch.float64)
    scales = learned(["v", "flag"], gaps)
    assert scales == (Scale(2.0, 1.0, 1.0, 3.0), FLAG)
    assert standardised(gaps, scales)[:2].tolist() == [[-1, 0], [1, 1]]
    assert learned(["same"], torch.full((3, 1), 7.0))[0].sd == 1
    with pytest.raises(UserError, match="no training sample has a value of 'v'"):
        learned(["v"], torch.full((3, 1), float("nan")))


def test_turns_go_through_the_distribution():
    told = turns(MIXED, 1000)
    assert abs(told[:, 0].mean() - 50) < 0.5
    assert abs(told[:, 0].std() - 10) < 0.5
    assert told[:, 1].min() == 1
    assert list(named(MIXED)) == ["age 60", "smiles"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("smiles", "no value of age was given: give age .20 to 80 in training., smiles"),
        ("age=x", "attribute 'age=x' cannot be read"),
        ("age=inf", "cannot be read"),
        ("age=30,smiles=2", "cannot be read"),
        ("age", "attribute 'age=...' is unknown"),
        (3.5, "attributes 3.5 cannot be read: give age"),
        ([30, 0.5], "cannot be read"),
        ([float("nan"), 1], "cannot be read"),
    ],
)
def test_what_is_no_condition_is_refused(wanted, message):
    with pytest.raises(UserError, match=message):
        as_conditions(wanted, MIXED)


def test_samples_without_a_label(tmp_path):
    gaps = np.where(np.arange(N) % 4 == 0, np.nan, AGE)
    for y, lacking in ((gaps, "every attribute"), (np.where(AGE < 50, "", SEX), "the label")):
        data = load((X, y))
        assert int(sum(s.unlabelled().sum() for s in data.splits.values())) > 0
        check_conditions(data, "vae", 0)
        check_conditions(data, "semi", 1, unlabelled=True)
        with pytest.raises(UserError, match=f"reads {lacking} of every .*--labelled-only"):
            check_conditions(data, "cvae", 1)
        check_conditions(data.labelled(), "cvae", 1)
    run = zspace.train("vae", data=(X, gaps), out=False, **SMALL)
    table = pd.read_csv(embed(run, (X[:5], gaps[:5]), out=tmp_path / "z.csv"))
    assert table["y"].isna().tolist() == [True, False, False, False, True]
    table = pd.read_csv(embed(run, (X[:3], ["f", None, "m"]), out=tmp_path / "z.csv"))
    assert table["label"].fillna("").tolist() == ["f", "", "m"]


def test_measures_by_label_say_what_they_leave_out():
    y = np.where(np.arange(N) % 5 == 0, "", SEX)
    run = zspace.train("vae", data=(X, y), out=False, **SMALL)
    data = load((X, y))
    assert "12 samples without a label were left out" in label_probes(run, data)["probe"].about
    numbers = load((X, AGE))
    with pytest.raises(NotMeasured, match="classes, but data 'tuple' have none"):
        label_probes(zspace.train("vae", data=numbers, out=False, **SMALL), numbers)

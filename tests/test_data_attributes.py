"""Several attributes at once as the condition of a model, from files to the report."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import zspace
from conftest import unpainted
from test_data_sets import faces
from zspace.cli import main
from zspace.data.batches import Batches
from zspace.data.conditions import as_conditions, columns, columns_of, turns
from zspace.data.dataset import Part, Samples, assemble
from zspace.data.loading import load
from zspace.data.spec import Spec
from zspace.system.errors import UserError

CPU = torch.device("cpu")
NAMES = ("Male", "Smiling", "Young")
SPEC = Spec((3, 8, 8), (), NAMES)
TRUTH = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=torch.uint8).repeat(10, 1)


def some():
    x = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1).expand(30, 3, 8, 8).contiguous()
    return assemble("faces", Part(x, None, TRUTH), attributes=NAMES)


def test_a_spec_has_as_many_columns_as_classes_or_attributes():
    assert (SPEC.context, Spec((1, 2, 2), ("a", "b")).context, Spec((1, 2, 2)).context) == (
        3,
        2,
        0,
    )
    assert some().spec == replace(SPEC, samples=len(some().train))


def test_conditions_are_labels_or_attributes():
    data, i = some(), torch.tensor([4, 0])
    assert data.train.conditions(i).equal(TRUTH[data.train.index[i]].float())
    labelled = Samples(torch.zeros(3, 1, 2, 2), torch.tensor([2, 0, 1]), torch.tensor([0, 2]))
    assert labelled.conditions().tolist() == [2, 1]
    assert Samples(torch.zeros(3, 1, 2, 2), None, torch.arange(3)).conditions() is None


def test_columns_are_one_hot_labels_or_the_attributes():
    assert columns(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert columns(TRUTH[:2], 3).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert columns(TRUTH, 3).dtype == torch.float32


def test_columns_of_samples_are_those_that_a_batch_carries():
    labelled = Samples(torch.zeros(3, 1, 2, 2), torch.tensor([2, 0, 1]), torch.tensor([2, 0]))
    for samples in (labelled, some().test):
        batch = next(
            Batches(samples, batch=99, device=CPU, seed=0, classes=3, shuffle=False).epoch(0)
        )
        assert columns_of(samples, 3).equal(batch.c)
        assert columns_of(samples, 3, torch.tensor([1])).equal(batch.c[1:2])
        assert columns_of(samples, 0) is None


def test_attributes_are_of_the_fingerprint():
    x = torch.zeros(12, 1, 2, 2)
    other = TRUTH[:12].clone()
    other[3, 0] = 1 - other[3, 0]
    parts = [Part(x), Part(x, None, TRUTH[:12]), Part(x, None, other)]
    assert len({assemble("a", part).fingerprint for part in parts}) == 3


def test_batches_carry_the_attributes_of_their_images():
    samples = some().train
    for batch in Batches(samples, batch=8, device=CPU, seed=0, classes=3).epoch(0):
        rows = (batch.x[:, 0, 0, 0] * 255).round().long()
        assert batch.c.equal(TRUTH[rows].float())
    assert next(Batches(samples, batch=8, device=CPU, seed=0).epoch(0)).c is None
    with pytest.raises(UserError, match="reads 4 attributes, but this data set has 3"):
        Batches(samples, batch=8, device=CPU, seed=0, classes=4)


@pytest.mark.parametrize(
    ("wanted", "row"),
    [
        ("Smiling", [0, 1, 0]),
        ("Smiling, Male", [1, 1, 0]),
        ("", [0, 0, 0]),
        (["Young", "Male"], [1, 0, 1]),
        (np.array([1, 0, 1]), [1, 0, 1]),
        (torch.tensor([True, False, False]), [1, 0, 0]),
        ([0.0, 1.0, 1.0], [0, 1, 1]),
    ],
)
def test_attributes_are_asked_for_by_name_or_by_numbers(wanted, row):
    assert as_conditions(wanted, SPEC).tolist() == [row]


def test_a_row_for_each_image():
    assert as_conditions(TRUTH, SPEC).equal(TRUTH.float())
    assert turns(SPEC, 4).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert turns(Spec((1, 2, 2), ("a", "b")), 3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Smilling", "attribute 'Smilling' is unknown: did you mean 'Smiling'"),
        (["Male", "x"], "attribute 'x' is unknown: choose from: Male, Smiling, Young"),
        (
            3,
            "attributes 3 cannot be read: give their names, for example 'Male,Smiling'",
        ),
        ([0, 1], "or 0 and 1 for each of the 3"),
        ([0, 1, 2], "cannot be read"),
        (np.zeros((2, 2, 3)), "cannot be read"),
    ],
)
def test_what_are_no_attributes_is_refused(wanted, message):
    with pytest.raises(UserError, match=message):
        as_conditions(wanted, SPEC)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    faces(folder / "celeba", n=80, held=12)
    options = {"hidden": (8,), "latent": 2, "epochs": 1, "batch": 16, "precision": "fp32"}
    return zspace.train(
        "cvae", data="celeba", data_dir=folder, size=8, snapshots=1, out=folder / "run",
        quiet=True, **options,
    )  # fmt: skip


def test_a_run_keeps_and_reads_attributes(run):
    same = zspace.load(run.path)
    assert same.spec == replace(SPEC, samples=same.spec.samples)
    assert same.model.context == 3
    test = same.data().test
    codes = same.encode(test.images(), test.conditions())
    assert codes.shape == (12, 2)
    by_name = same.decode(codes, "Smiling,Male")
    assert torch.equal(by_name, same.decode(codes, np.array([1, 1, 0])))
    assert not torch.equal(by_name, same.decode(codes, "Young"))
    assert same.reconstruct(test.images(), test.conditions()).shape == (12, 3, 8, 8)
    with pytest.raises(UserError, match="no label was given: give the attributes of each image"):
        same.encode(test.images())
    with pytest.raises(UserError, match="2 labels were given for 12 images"):
        same.encode(test.images(), np.zeros((2, 3)))


def test_samples_take_turns_with_the_attributes(run):
    x = run.sample(6, seed=0)
    assert np.array_equal(x, run.sample(6, label=turns(SPEC, 6), seed=0))


def test_other_data_need_the_same_attributes(run, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 8, 8, 3), np.uint8), y=np.arange(20) % 2)
    with pytest.raises(UserError, match="lacks attributes that this conditional model needs"):
        run.data(tmp_path / "x.npz")


def test_every_command_takes_a_run_with_attributes(run, tmp_path):
    folder = str(run.path)
    for command in (
        ["sample", folder, "-n", "5", "-o", str(tmp_path / "any.npz")],
        ["sample", folder, "-n", "5", "--label", "Smiling,Young", "-o", str(tmp_path / "s.npz")],
        ["sample", folder, "-n", "5"],
        ["reconstruct", folder, "-n", "3"],
        ["embed", folder, "-o", str(tmp_path / "z.npz")],
    ):
        assert main.run(command) == 0, command
    assert np.load(tmp_path / "any.npz")["y"].tolist() == turns(SPEC, 5).tolist()
    assert np.load(tmp_path / "s.npz")["y"].tolist() == [[0, 1, 1]] * 5
    embedded, data = np.load(tmp_path / "z.npz"), run.data()
    assert embedded["y"].shape == (80, 3)
    assert np.array_equal(embedded["y"][-12:], data.test.conditions().numpy())


@pytest.mark.slow
def test_the_report_speaks_of_attributes(run):
    with unpainted():
        assert main.run(["report", str(run.path)]) == 0
    page = (run.path / "report.html").read_text()
    assert "3 attributes" in page
    assert 'id="error-per-class"' not in page


def test_figures_of_labels_say_that_there_are_none(run, tmp_path):
    from zspace.report.figures import registry
    from zspace.runs.many import open_study

    study = open_study(run.path)
    for name in ("error-per-class", "plane-by-label", "plane-labels"):
        with pytest.raises(UserError, match="the data 'celeba' have no labels"):
            registry.write(
                name, study, tmp_path / "f.gif" if "labels" in name else tmp_path / "f.png"
            )
    for name in ("samples", "interpolation", "tweak", "training", "codes-pca"):
        registry.write(name, study, tmp_path / f"{name}.{'gif' if name == 'training' else 'png'}")


def test_the_split_of_the_lists_is_kept(run):
    data = load("celeba", data_dir=run.path.parent, size=8, quiet=True)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [56, 12, 12]

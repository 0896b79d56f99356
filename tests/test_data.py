"""Names, paths, splits and fingerprints: what `load`, `sources` and `describe` promise."""

import ast
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from zspace.data.dataset import SPLITS, Part, assemble, to_float
from zspace.data.loading import load
from zspace.data.options import DataOptions
from zspace.data.sets.catalogue import KNOWN, describe, sources
from zspace.data.spec import Spec
from zspace.system.errors import UserError
from zspace.system.pixels import to_uint8


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch, tmp_path):
    monkeypatch.delenv("ZSPACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def digits():
    return load("mnist5k", quiet=True)


def disjoint(data):
    """The rows of splits that share a storage."""
    return torch.cat([samples.index for samples in data.splits.values()])


def test_mnist5k_holds_the_digits_that_were_packed(digits):
    x, y = digits.train.x, digits.train.y
    assert (x.dtype, tuple(x.shape)) == (torch.uint8, (5000, 1, 28, 28))
    assert y.bincount().tolist() == [500] * 10
    content = hashlib.sha256(x.numpy().tobytes() + y.numpy().astype(np.uint8).tobytes())
    assert content.hexdigest() == (
        "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
    )


def test_mnist5k_is_small_and_its_licence_lies_beside_it():
    assets = Path(load.__code__.co_filename).parent / "assets"
    assert (assets / "mnist5k.npz").stat().st_size < 1_000_000
    assert "CC BY-SA 3.0" in (assets / "LICENSE-mnist5k.txt").read_text()


def test_splits_share_the_storage_and_no_sample(digits):
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [4050, 450, 500]
    assert digits.train.x is digits.validation.x is digits.test.x
    assert disjoint(digits).sort().values.equal(torch.arange(5000))
    assert digits.spec == Spec((1, 28, 28), tuple("0123456789"), samples=4050)


def test_splits_do_not_change_with_the_version():
    """A literal, so that a change of numpy's or of ours to the permutation is seen."""
    data = load("mnist5k")
    rows = data.validation.index.numpy().astype("<i8").tobytes()
    assert hashlib.sha256(rows).hexdigest()[:16] == "f7d928d49c9c7d2a"


def test_loading_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load("mnist5k")
    assert torch.get_rng_state().equal(before)


def test_samples_give_floats_and_labels_by_position(digits):
    at = torch.tensor([5, 2])
    images = digits.test.images(at)
    rows = digits.test.index[at]
    assert images.dtype == torch.float32
    assert torch.equal(images, digits.test.x[rows] / 255)
    assert torch.equal(digits.test.labels(at), digits.test.y[rows])
    assert digits.test.images().shape == (500, 1, 28, 28)
    assert digits.test.labels().shape == (500,)


def test_fingerprint_is_of_the_content():
    x, y = torch.arange(40, dtype=torch.uint8).view(10, 1, 2, 2), torch.arange(10)

    def of(x, y, test=None):
        return assemble("a", Part(x, y), test=test).fingerprint

    assert of(x, y) == of(x.clone(), y.clone())
    other = x.clone()
    other[3, 0, 0, 0] += 1
    prints = {of(x, y), of(other, y), of(x, y.flip(0)), of(x, None), of(x, y, Part(x, y))}
    assert len(prints) == 5


@pytest.mark.parametrize(("n", "sizes"), [(10, (8, 1, 1)), (100, (81, 9, 10)), (11, (9, 1, 1))])
def test_a_set_without_test_samples_gives_a_tenth(n, sizes):
    data = assemble("a", Part(torch.zeros(n, 1, 2, 2)))
    assert tuple(len(s) for s in (data.train, data.validation, data.test)) == sizes
    assert disjoint(data).sort().values.equal(torch.arange(n))


def test_given_splits_are_kept_whole():
    parts = [Part(torch.zeros(n, 1, 2, 2)) for n in (20, 5, 6)]
    data = assemble("a", parts[0], validation=parts[1], test=parts[2])
    assert [len(s) for s in (data.train, data.validation, data.test)] == [20, 5, 6]
    cut = assemble("a", parts[0], test=parts[2])
    assert [len(s) for s in (cut.train, cut.validation, cut.test)] == [18, 2, 6]


def test_too_few_samples_and_unequal_shapes_are_refused():
    with pytest.raises(UserError, match=r"9 samples.*at least 10"):
        assemble("a", Part(torch.zeros(9, 1, 2, 2)))
    with pytest.raises(UserError, match="21 samples, 1 for training"):
        assemble("a", Part(torch.zeros(1, 1, 2, 2)), test=Part(torch.zeros(20, 1, 2, 2)))
    with pytest.raises(UserError, match=r"20 samples, 20 for training.*each get one"):
        assemble("a", Part(torch.zeros(20, 1, 2, 2)), test=Part(torch.zeros(0, 1, 2, 2)))
    with pytest.raises(UserError, match=r"differ in shape.*\(1, 2, 2\) and \(1, 3, 3\)"):
        assemble("a", Part(torch.zeros(20, 1, 2, 2)), test=Part(torch.zeros(5, 1, 3, 3)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("Fashion-Mnist", "did you mean 'fashion-mnist'"),
        ("zzzz", "no such file or data set: 'zzzz'; give a folder"),
        ("./cats", r"'\./cats'; give a folder.*fashion-mnist, kmnist, mnist"),
        ("cats.npz", "no such file or data set: 'cats.npz'; give a folder"),
        ("missing.csv", "no such file or data set: 'missing.csv'; give a folder"),
        ("peple.csv", "did you mean 'people.csv'"),
        ("", "no such file or data set: ''"),
    ],
)
def test_what_does_not_exist_is_named_with_a_remedy(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").touch()
    with pytest.raises(UserError, match=message):
        load(name)


def test_archives_and_other_files_are_refused(tmp_path):
    for name, message in (("a.zip", "unpack it first"), ("a.xyz", "is not a data set")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=message):
            load(str(tmp_path / name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "--size is 0: give a side of 1 to 4,096"),
        ({"size": 32}, "--size 32 is for folders of images; 'mnist5k' is 28 x 28"),
        ({"channels": 2}, "channels is 2: give 1"),
        ({"channels": 3}, "'mnist5k' has 1 channels, but 3"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        load("mnist5k", **arguments)


def test_fitting_size_and_channels_are_accepted():
    assert load("mnist5k", size=28, channels=1).spec.shape == (1, 28, 28)


def test_sources_and_descriptions_need_no_network(tmp_path):
    table = {row.name: row for row in sources()}
    assert list(table) == list(KNOWN)
    assert [name for name, row in table.items() if row.local] == ["mnist5k", "shapes"]
    for name, row in table.items():
        facts = describe(name)
        assert facts["licence"] == row.licence
        assert f"{sum(facts['sizes'].values()):,} " in facts["provenance"]
        assert facts["local"] is None or row.local
        assert row.name in ("mnist5k", "shapes") or facts["mirrors"] or facts["by hand"]
        assert set(facts["sizes"]) == {"train", "validation", "test"}
    assert describe("kmnist")["cache"].startswith(str(tmp_path))
    with pytest.raises(UserError, match="did you mean 'mnist5k'"):
        describe("mnist5")


def test_described_sizes_are_the_loaded_ones(digits):
    loaded = {name: len(getattr(digits, name)) for name in ("train", "validation", "test")}
    assert describe("mnist5k")["sizes"] == loaded


def test_every_option_has_one_line_of_help():
    source = Path(DataOptions.check.__code__.co_filename).read_text()
    classes = (n for n in ast.parse(source).body if isinstance(n, ast.ClassDef))
    body = next(n for n in classes if n.name == "DataOptions").body
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(below, ast.Expr), ast.unparse(field)
            assert "\n" not in ast.literal_eval(below.value)
    assert DataOptions() == DataOptions(data="mnist5k", binarize="none")


def test_splits_by_name_are_the_three_in_order(digits):
    assert tuple(digits.splits) == SPLITS == ("train", "validation", "test")
    assert all(samples is getattr(digits, name) for name, samples in digits.splits.items())


def test_bytes_become_floats_and_the_same_bytes_again():
    every = torch.arange(256, dtype=torch.uint8)
    x = to_float(every)
    assert (x[0], x[255]) == (0, 1)
    assert to_uint8(x).equal(every)
    assert np.array_equal(to_uint8(x.numpy()), every.numpy())


def test_floats_become_the_nearest_byte_in_torch_and_numpy_alike():
    x = torch.linspace(-0.5, 1.5, 10_001, dtype=torch.float64)
    found = to_uint8(x)
    assert np.array_equal(found.numpy(), to_uint8(x.numpy()))
    assert (found.double() / 255 - x.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-12

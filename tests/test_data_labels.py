"""Labels as people keep them, the names of splits, and how a split is cut."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import LabelEncoder

from zspace.data.labels import alike, merged, read_labels, renumbered
from zspace.data.splits import cut, role, split_of
from zspace.system.errors import UserError

K = np.arange(12) % 3


@pytest.mark.parametrize(
    ("raw", "classes"),
    [
        (K, "0 1 2"),
        (K + 1, "1 2 3"),
        ((K + 1) * 10, "10 20 30"),
        (1993 + 10 * K, "1993 2003 2013"),
        (9 + K, "9 10 11"),
        (K - 2, "-2 -1 0"),
        (K[:, None].astype(np.float32), "0 1 2"),
        (K > 0, "False True"),
        (np.array(["eel", "cat", "dog"])[K], "cat dog eel"),
        (np.array([b"cat", b"dog", b"eel"])[K], "cat dog eel"),
        (np.array(["10", "9", " 9 "])[K], "10 9"),
        (np.array([-1, 1, 1])[K], "-1 1"),
        (torch.from_numpy(K), "0 1 2"),
        (["b", None, "a"] * 4, "a b"),
    ],
)
def test_classes_are_the_distinct_values(raw, classes):
    found = read_labels(raw, 12, "y", "'a.npz'")
    assert found.classes == tuple(classes.split())
    flat = [str(v).strip() for v in np.asarray(raw).reshape(-1)] if not hasattr(raw, "dim") else K
    told = [found.classes[i] if i >= 0 else None for i in found.y.tolist()]
    if raw is not None and isinstance(raw, np.ndarray) and raw.dtype.kind in "iU":
        assert told == flat
        assert len(
            set(zip(LabelEncoder().fit_transform(flat), found.y.tolist(), strict=True))
        ) == (len(found.classes))


@pytest.mark.parametrize(
    ("raw", "missing"),
    [
        (np.where(np.arange(12) < 5, -1, K), 5),
        (np.where(np.arange(12) < 5, -1, K + 1), 5),
        (np.where(np.arange(12) < 4, np.nan, K), 4),
        (["", "a", "b", "a"] * 3, 3),
        ([None, 1, 2, 1] * 3, 3),
        ([float("nan"), "a", "b", "a"] * 3, 3),
    ],
)
def test_missing_labels(raw, missing):
    found = read_labels(raw, 12, "y", "'a.npz'")
    assert int((found.y == -1).sum()) == missing
    assert "-1" not in found.classes
    assert len(found.classes) in (2, 3)


def test_columns_are_one_hot_labels_or_attributes():
    one_hot = read_labels(np.eye(3)[K], 12, "y", "'a.npz'")
    assert (one_hot.y.tolist(), one_hot.classes) == (K.tolist(), ("0", "1", "2"))
    several = np.random.RandomState(0).randint(0, 2, (12, 5))
    assert read_labels(several, 12, "y", "'a.npz'").attributes.equal(
        torch.from_numpy(several.astype(np.uint8))
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (K[:11], r"shape \(11,\), but there are 12 samples: .* --leave-out y"),
        (np.zeros((12, 2, 2)), r"shape \(12, 2, 2\)"),
        (np.arange(12), "12 different labels for 12 samples"),
        (["a\n"[: 1 + i % 2] + "\x00b" for i in range(12)], "cannot be shown"),
        (np.zeros(12, "M8[s]"), "type datetime64"),
        ([[1], [1, 2]] * 6, "unequal length"),
    ],
)
def test_labels_that_are_refused(raw, message):
    with pytest.raises(UserError, match=message):
        read_labels(raw, 12, "y", "'a.npz'")


def test_classes_of_parts_are_matched_by_name():
    classes = merged([("cat", "dog"), ("eel", "cat")], "pets")
    assert classes == ("cat", "dog", "eel")
    assert renumbered(torch.tensor([0, 1, -1]), ("eel", "cat"), classes).tolist() == [2, 0, -1]
    with pytest.raises(UserError, match="'Cat' and 'cat' of 'pets' differ only in case"):
        merged([("Cat",), ("cat",)], "pets")


def test_names_say_what_arrays_are():
    said = {
        "x train": "x X images data x_train trainX train_images X_training train x-train",
        "x validation": "x_val x_valid val_images X_dev validation",
        "x test": "x_test testing_data Xtest",
        "x unlabelled": "x_unlabeled unlabelled",
        "y train": "y labels target y_train trainLabels targets_train",
        "ids test": "test_ids filenames_test",
    }
    for told, names in said.items():
        for name in names.split():
            found = role(name)
            assert f"{found.what} {found.split or 'train'}" == told, name
    for name in ("weights", "latents_values", "arr_0", "latest", "contest", "retrain"):
        assert role(name) is None, name
    assert [split_of(n) for n in ("VAL", "Testing", "tests")] == ["validation", "test", None]


@pytest.mark.parametrize("sizes", [(600, 300, 100), (200, 3), (50, 50, 1), (7, 7, 7, 7)])
def test_each_class_gives_its_share(sizes):
    y = np.random.RandomState(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    test, validation, rest = cut(len(y), y, 2)
    assert sorted([*test, *validation, *rest]) == list(range(len(y)))
    assert len(test) == max(1, len(y) // 10)
    assert len(validation) == max(1, (len(y) - len(test)) // 10)
    for part in (test, validation):
        share = np.array(sizes) * len(part) / len(y)
        assert (np.abs(np.bincount(y[part], minlength=len(sizes)) - share) < 1.2).all()
    again = cut(len(y), y, 2)
    assert np.array_equal(test, again[0])
    assert np.array_equal(validation, again[1])


def test_samples_without_a_label_stay_in_training():
    y = np.where(np.arange(100) < 60, -1, np.arange(100) % 2)
    test, validation, rest = cut(100, y, 2)
    assert (len(test), len(validation)) == (4, 3)
    assert (y[test] >= 0).all()
    assert (y[rest] == -1).sum() == 60


def test_labels_that_are_all_missing_are_none():
    for raw in (np.full(12, np.nan), np.full(12, -1), [None] * 12, [""] * 12):
        assert read_labels(raw, 12, "y", "'a.npz'").y is None


def test_names_that_no_run_could_keep_are_refused():
    found = read_labels(["a" * 201, "b"] * 6, 12, "y", "'a.npz'")
    with pytest.raises(UserError, match="has a name of 201 characters"):
        merged([found.classes], "a")
    with pytest.raises(UserError, match="has 10,001 classes: give at most 10,000"):
        merged([tuple(map(str, range(10_001)))], "a")


def test_splits_that_hold_other_labels_are_refused():
    several = np.random.RandomState(0).randint(0, 2, (12, 3))
    read = [read_labels(y, 12, "y", "'a.npz'") for y in (several, np.eye(3)[K], several[:, :2], K)]
    both = alike({"train": read[0], "test": read[1]}, "'a.npz'")
    assert np.array_equal(both["test"].attributes, np.eye(3)[K])
    for other in read[2:]:
        with pytest.raises(UserError, match="differ from split to split: train, test hold"):
            alike({"train": read[0], "test": other}, "'a.npz'")

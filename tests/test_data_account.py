"""Nothing in silence: what was read is told, and what has no place is refused with its remedy."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import zspace
from conftest import unpainted
from zspace.cli.main import run as command
from zspace.data.account import facts, lines
from zspace.data.loading import load, load_new
from zspace.system.errors import UserError

R = np.random.RandomState(0)
X = R.randint(0, 256, (40, 6, 6), dtype=np.uint8)
Y = np.arange(40) % 2
SMALL = {
    "hidden": (4,),
    "latent": 2,
    "epochs": 1,
    "precision": "fp32",
    "quiet": True,
    "out": False,
}


def npz(folder, **arrays):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "a.npz", allow_pickle=True, **arrays)
    return str(folder / "a.npz")


def fill(folder, n=10, array=None):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        image = R.randint(0, 256, (6, 6), dtype=np.uint8) if array is None else array(i)
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def sizes(data):
    return [len(samples) for samples in data.splits.values()]


def told(data):
    return "\n".join(lines(data))


def test_own_validation_images_are_honoured(tmp_path):
    names = {
        "x_train": X,
        "y_train": Y,
        "x_val": X[:7] // 2,
        "y_val": Y[:7],
        "x_test": X[:9],
        "y_test": Y[:9],
    }
    data = load(npz(tmp_path, **names))
    assert sizes(data) == [40, 7, 9]
    assert data.validation.x[:, 0].equal(torch.from_numpy(X[:7] // 2))
    assert told(data).splitlines() == [
        "a: images of 1×6×6, uint8 values, 0 to 255 as 0 to 1; classes in training (y_train, "
        "y_val, y_test): 0 20, 1 20",
        "train 40 (x_train), validation 7 (x_val), test 9 (x_test)",
    ]


def test_run_json_and_the_lines_before_training_say_the_same(tmp_path, capsys):
    path = npz(tmp_path, x=X, y=(Y + 1) * 10)
    run = zspace.train("vae", data=path, **{**SMALL, "quiet": False})
    kept = json.loads(json.dumps(run.record["data"]["read"]))
    said = capsys.readouterr().err
    assert len(kept["lines"]) in (2, 3)
    assert all(line in said for line in kept["lines"])
    assert kept["splits"]["train"]["classes"] == {"10": 16, "20": 17}
    assert kept["splits"]["test"]["from"] == "cut from x by class"
    assert kept == json.loads(json.dumps(facts(load(path))))


def test_info_of_a_path(tmp_path, capsys):
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        fill(tmp_path / "pets" / name)
    (tmp_path / "pets" / "docs").mkdir()
    (tmp_path / "pets" / "notes.txt").write_text("x")
    command(["data", "info", str(tmp_path / "pets"), "--leave-out", "no*"])
    assert capsys.readouterr().out.splitlines() == [
        "pets: images of 1×6×6, uint8 values, 0 to 255 as 0 to 1; classes in training (folders): "
        "cat 9, dog 9",
        "train 18 (train/), validation 2 (cut from train/ by class), test 20 (test/)",
        "left out: docs/ (no images), notes.txt (as asked)",
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": X, "y": Y, "weights": np.ones(40)},
            "'weights' is: leave it out with --leave-out weights",
        ),
        ({"x": X, "images": X}, "x and images .* are both called images of the train split"),
        (
            {"x": X, "y": Y, "y_val": Y},
            "y_val .* belongs to images that are not there: add x_validation",
        ),
        ({"x": X, "y": Y, "x_test": X}, "labels for one split only: x_test has none"),
        ({"x_test": X, "x_val": X}, "holds x_test, x_val but no images to train on"),
        ({"x": X, "y": np.array([{}] * 40)}, "y of 'a.npz' holds Python objects.*--leave-out y"),
        (
            {"x": X, "ids": np.arange(3)},
            "ids of 'a.npz' has shape .* 40 samples: give one id each",
        ),
        ({"x": X, "x_test": X / 255}, "differ in type: x uint8, x_test float64"),
        ({"x": X, "y": Y, "classes": np.array(["cat"])}, "holds 1 names, but the labels are 0, 1"),
        ({"arr_0": X, "arr_1": X}, "holds 'arr_0', 'arr_1'"),
    ],
)
def test_arrays_without_a_place_are_refused(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        load(npz(tmp_path, **arrays))


def test_arrays_are_left_out_or_chosen_by_name(tmp_path):
    more = {
        "latents_values": R.rand(40, 6),
        "latents_classes": np.arange(40) % 4,
        "empty": np.empty(0),
    }
    path = npz(tmp_path, imgs=X, **more)
    data = load(path, leave_out=["latents_*"])
    assert (sizes(data), data.classes) == ([33, 3, 4], ())
    assert "left out: empty (empty), 2 of latents_* (as asked)" in told(data)
    chosen = load(path, labels="latents_classes", leave_out=["latents_values"])
    assert chosen.classes == ("0", "1", "2", "3")
    with pytest.raises(UserError, match="has no labels 'z': it holds imgs"):
        load(path, labels="z", leave_out=["latents_values"])


def test_names_of_classes_and_ids_may_lie_beside(tmp_path):
    names = np.array(["cat", "dog"])
    path = npz(tmp_path, x=X, y=Y, class_names=names, ids=[f"p{i}" for i in range(40)])
    data = load(path)
    assert data.classes == ("cat", "dog")
    assert data.test.names() == [f"p{i}" for i in data.test.index.tolist()]


def test_unlabelled_samples_are_for_training_alone(tmp_path):
    data = load(npz(tmp_path, x=X, y=Y, x_unlabeled=X[:30] // 2))
    assert sizes(data) == [63, 3, 4]
    assert int((data.train.labels() == -1).sum()) == 30
    assert "30 without a label" in told(data)
    with pytest.raises(UserError, match="'cvae' reads the label of every sample, but 30 of the"):
        zspace.train("cvae", data=npz(tmp_path, x=X, y=Y, x_unlabeled=X[:30]), **SMALL)


def test_folders_of_every_split(tmp_path):
    for name, n in (("training", 20), ("testing", 5), ("dev", 4)):
        fill(tmp_path / name / "a", n)
        fill(tmp_path / name / "b", n)
    fill(tmp_path / "unlabeled", 7)
    data = load(str(tmp_path))
    assert sizes(data) == [47, 8, 10]
    assert int((data.train.labels() == -1).sum()) == 7
    assert data.test.names()[0] == "testing/a/0.png"


def test_folders_without_a_place_are_refused(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    (tmp_path / "docs").mkdir()
    (tmp_path / ".cache").mkdir()
    assert sizes(load(str(tmp_path))) == [9, 1, 10]
    fill(tmp_path / "originals", 3)
    with pytest.raises(UserError, match=r"'originals' with 3 images stands beside .* --leave-out"):
        load(str(tmp_path))
    assert sizes(load(str(tmp_path), leave_out=["originals"])) == [9, 1, 10]
    Image.fromarray(X[0]).save(tmp_path / "loose.png")
    with pytest.raises(UserError, match=r"images \('loose.png'\) beside the folders of its spl"):
        load(str(tmp_path), leave_out=["originals"])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["test/a", "test/b"], r"holds the folder 'test' but no images in 'train'.*as --test"),
        (["val", "cat"], "holds the folder 'val' but no images in 'train'.*as --val"),
        (
            ["data/train", "data/test"],
            "holds one folder with images, 'data'.*give '.*data' itself",
        ),
        (["a/train", "a/test", "b"], r"class folder 'a' .* holds folders of splits \('test'\)"),
        (["train_images/a", "test_images", "extra"], "'extra' with 10 images stands beside"),
        (["images", "image_masks"], "'image_masks' in .* holds masks"),
        (["images"], "holds one folder with images, 'images', which would be its only class"),
        (["cat", "dog", "ground_truth"], "'ground_truth' in .* holds masks by its name"),
        (["cat/images", "cat/masks", "dog"], "'masks' in .* holds masks"),
        (["cat/train", "dog/train"], r"class folder 'cat' .* not splits into classes"),
        (["train/Cat", "test/cat"], "'cat' of .* differ only in case"),
    ],
)
def test_layouts_that_are_refused(tmp_path, folders, message):
    for folder in folders:
        fill(tmp_path / "top" / folder)
    with pytest.raises(UserError, match=message):
        load(str(tmp_path / "top"))


def test_mvtec_is_read_without_its_masks_and_its_defects_are_anomalies(tmp_path):
    for name in ("train/good", "test/good", "test/cut", "ground_truth/cut"):
        fill(tmp_path / "bolt" / name, 20)
    data = load(str(tmp_path / "bolt"))
    assert (sizes(data), data.classes, data.novel) == ([18, 2, 40], ("good", "cut"), ("cut",))
    assert "ground_truth/ (20 masks)" in told(data)
    assert "only elsewhere: cut" in told(data)
    run = zspace.train("ae", data=str(tmp_path / "bolt"), **SMALL)
    from zspace.analysis.anomaly import sides

    both = sides(run, data)
    assert (len(both.ordinary), len(both.anomalous)) == (20, 20)
    with pytest.raises(UserError, match="no training sample of class 'cut'"):
        zspace.train("cvae", data=str(tmp_path / "bolt"), **SMALL)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
def test_all_images_of_a_held_out_class_are_kept(tmp_path, memory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("train/a", "train/b", "test/a", "test/b"):
        fill(tmp_path / "x" / name, 20, lambda i: np.full((6, 6), 10 * i + 3, np.uint8))
    for source in (str(tmp_path / "x"), str(tmp_path / "x" / "train")):
        plain = load(source, memory=memory)
        data = load(source, hold_out_class="b", memory=memory)
        total = sum(int((s.labels() == 1).sum()) for s in plain.splits.values())
        assert total in (20, 40)
        assert [int((s.labels() == 1).sum()) for s in data.splits.values()] == [0, 0, total]
        assert sum(sizes(data)) == sum(sizes(plain))
        values = data.test.images()[data.test.labels() == 1][:, 0, 0, 0] * 255
        assert values.round().int().unique().tolist() == [10 * i + 3 for i in range(20)]
        assert f"{total - int((plain.test.labels() == 1).sum())} of its samples moved to test" in (
            told(data)
        )
        assert len(set(data.test.names())) == len(data.test)


def test_classes_of_new_data_are_matched_by_name(tmp_path):
    for name, colour in (("cat", 10), ("dog", 200)):
        fill(tmp_path / "pets" / name, 20, lambda i, c=colour: np.full((6, 6), c + i, np.uint8))
    run = zspace.train("cvae", data=str(tmp_path / "pets"), **SMALL)
    fill(tmp_path / "only" / "dog", 3)
    found = run.data(tmp_path / "only")
    assert [s.labels().tolist() for s in found.splits.values()] == [[1, 1, 1]]
    fill(tmp_path / "only" / "eel", 3)
    with pytest.raises(UserError, match="has the labels eel, but this conditional model needs"):
        run.data(tmp_path / "only")


def test_values_mean_what_they_say(tmp_path):
    binary = (X > 127).astype(np.uint8)
    for raw, given in (
        (binary, (0, 1)),
        (X.astype(np.float64), (0, 255)),
        (X / 127.5 - 1, (-1, 1)),
        (X.astype(np.uint16) * 16, (0, 4080)),
        (X.astype(np.int16), ("0", "255")),
        (X.astype(np.int64), ()),
        (X > 127, ()),
    ):
        found = load(npz(tmp_path, x=raw), values=given).train.x
        low, high = map(float, given or (0, 1 if raw.dtype == bool else 255))
        wanted = (raw.astype(np.float64) - low) / (high - low)
        share = found.double() / (255 if found.dtype == torch.uint8 else 1)
        assert np.abs(share[:, 0].numpy() - wanted).max() < 1e-6
    assert load(npz(tmp_path, x=binary), values=(0, 1)).train.x.dtype == torch.uint8


@pytest.mark.parametrize(
    ("raw", "given", "message"),
    [
        ((X > 127).astype(np.uint8), (), "only 0 and 1.*--values 0 1, or --values 0 255"),
        ((X > 127).astype(np.int64), (), "only 0 and 1"),
        (X / 127.5 - 1, (), r"floats must lie in \[0, 1\].*--values -1 1$"),
        (X.astype(np.float32), (), "--values 0 255$"),
        (X.astype(np.int32) * 10, (), "integers must lie in 0..255.*--values 0 4095"),
        ((X[:, None] - 128.0) / 60, (), "or with a range of your own"),
        (X, (0, 100), r"from \d to 255, outside --values 0 100"),
        (X, (3, 1), "values are '3 1': give the lowest and the highest"),
        (X, ("a", "b"), "values are 'a b'"),
        (X, (1,), "values are '1'"),
    ],
)
def test_values_that_are_refused(tmp_path, raw, given, message):
    path = npz(tmp_path, x=raw)
    with pytest.raises(UserError, match=message):
        load(path, values=given)
    if "only 0" not in message:
        np.save(tmp_path / "x.npy", raw)
        with pytest.raises(UserError, match=message):
            load(str(tmp_path / "x.npy"), values=given)


def test_auto_says_what_it_took(tmp_path):
    data = load(npz(tmp_path, x=X / 127.5 - 1), values=("auto",))
    assert data.read.scale == (-1, 1)
    assert "-1 to 1 as 0 to 1, taken by --values auto" in told(data)


def test_rounding_beyond_the_range_is_clipped_and_said(tmp_path):
    data = load(npz(tmp_path, x=X / 255 + 1e-7))
    assert data.train.x.max() == 1
    assert "up to 1e-07 beyond clipped" in told(data)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
@pytest.mark.parametrize("given", [(), (0, 4095)])
def test_sixteen_bits_keep_their_levels(tmp_path, given, memory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    raw = R.randint(0, 4096, (12, 6, 6)).astype(np.uint16)
    fill(tmp_path / "x", 12, lambda i: raw[i])
    data = load(str(tmp_path / "x"), values=given, memory=memory)
    at = [int(name.removesuffix(".png")) for name in data.train.names()]
    wanted = raw[at] / (given[1] if given else 65535)
    assert np.abs(data.train.images()[:, 0].numpy() - wanted).max() < 1e-6
    assert ("--values 0 4095 would use the whole range" in told(data)) is not bool(given)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["memory", "disk"])
def test_images_of_zero_and_one_need_a_word(tmp_path, memory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fill(tmp_path / "x", 12, lambda i: (X[i] > 127).astype(np.uint8))
    with pytest.raises(UserError, match=r"holds only 0 and 1.*--values 0 1"):
        load(str(tmp_path / "x"), memory=memory)
    data = load(str(tmp_path / "x"), values=(0, 1), memory=memory)
    assert data.train.images().unique().tolist() == [0, 1]


def test_a_run_takes_new_values_as_it_was_trained(tmp_path):
    raw = X.astype(np.uint16) * 16
    run = zspace.train("ae", data=npz(tmp_path, x=raw), values=(0, 4080), **SMALL)
    again = zspace.Run.from_bytes(run.to_bytes())
    for one in (run, again):
        assert np.allclose(one.encode(raw[:5]), one.encode((X[:5] / 255).astype("f4")), atol=1e-5)
    np.save(tmp_path / "new.npy", raw[:3])
    new = run.data(tmp_path / "new.npy")
    assert np.abs(new.test.images()[:, 0].numpy() - X[:3] / 255).max() < 1e-6


def test_advice_to_a_run_fits_the_case(runs):
    run = runs["ae"]
    x = np.zeros((2, 14, 14))
    assert np.array_equal(run.encode(x + 1e-7), run.encode(x + 1e-7))
    with pytest.raises(UserError, match=r"give \(x \+ 1\) / 2"):
        run.encode(x - 1)
    with pytest.raises(UserError, match="give x / 255"):
        run.encode(x + 200)


def test_a_folder_here_goes_before_a_known_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    assert load("shapes", quiet=True).spec.shape == (1, 32, 32)
    fill(tmp_path / "shapes", 12)
    data = load("shapes")
    assert sum(sizes(data)) == 12
    assert "'shapes' is the folder of this name here, not the known set" in told(data)


@pytest.mark.parametrize("n", [1, 9])
def test_new_data_are_one_set_of_any_size(tmp_path, n):
    fill(tmp_path / "x", n)
    data = load_new(str(tmp_path / "x"))
    assert {name: len(samples) for name, samples in data.splits.items()} == {"all": n}
    assert len(data.test) == n
    one = load_new(str(tmp_path / "x" / "0.png"))
    assert one.test.names() == ["0.png"]
    assert one.test.images().equal(data.test.images()[:1])
    with pytest.raises(UserError, match="is one image: give the folder"):
        load(str(tmp_path / "x" / "0.png"))


def test_nested_folders_are_classes_of_a_level(tmp_path):
    for name in ("bird/eagle", "bird/owl", "cat/tom", "dog"):
        fill(tmp_path / "zoo" / name, 10)
    data = load(str(tmp_path / "zoo"))
    assert data.classes == ("bird", "cat", "dog")
    assert "names of 3 folders within classes (--class-level 2 makes classes of bird/eagle" in (
        told(data)
    )
    assert load(str(tmp_path / "zoo"), class_level=2).classes == (
        "bird/eagle", "bird/owl", "cat/tom", "dog"
    )  # fmt: skip
    run = zspace.train("cvae", data=str(tmp_path / "zoo"), class_level=2, **SMALL)
    fill(tmp_path / "new" / "bird" / "owl", 3)
    assert run.data(tmp_path / "new").test.labels().tolist() == [1] * 3


def test_unlabelled_samples_are_left_out_where_that_is_asked(tmp_path):
    y = np.where(np.arange(40) < 15, -1, Y)
    run = zspace.train("cvae", data=npz(tmp_path, x=X, y=y), labelled_only=True, **SMALL)
    assert sum(sizes(run.data())) == 25
    assert "15 samples without a label" in told(run.data())


def test_a_partly_labelled_set_is_measured_and_reported(tmp_path):
    y = np.where(np.arange(40) < 15, -1, Y)
    run = zspace.train(
        "vae", data=npz(tmp_path, x=X, y=y, x_test=X, y_test=y), **{**SMALL, "out": tmp_path / "r"}
    )
    zspace.evaluate(run, iw=2)
    from zspace.report.html.page import write_report
    from zspace.runs.many import Study

    with unpainted():
        page = write_report(Study(run.path, [run]), tmp_path / "r.html").read_text()
    assert "uint8 values, 0 to 255 as 0 to 1" in page


def test_a_run_is_measured_on_new_data(runs, tmp_path):
    run = runs["vae"]
    x, y = run.data().test.images().numpy(), run.data().test.labels().numpy()
    names = np.array(run.data().classes)[y]
    records = [
        zspace.evaluate(run, sections=["latents"], data=data)
        for data in (None, (x, names), (1 - x, names))
    ]
    own, same, other = (
        {k: m["value"] for k, m in record["sections"]["latents"]["measures"].items()}
        for record in records
    )
    assert same == pytest.approx(own, rel=1e-4)
    assert other != pytest.approx(own, rel=1e-2)
    assert records[1]["data"]["images"] == len(x)
    assert len({record["data"]["fingerprint"] for record in records}) == 3


def test_masks_beside_their_images_are_refused(tmp_path):
    fill(tmp_path / "x", 12)
    for i in range(12):
        Image.fromarray(X[i]).save(tmp_path / "x" / f"{i}_mask.png")
    with pytest.raises(UserError, match=r"'0_mask\.png' .* is a mask of '0'.*'\*_mask\.\*'"):
        load(str(tmp_path / "x"))
    assert sum(sizes(load(str(tmp_path / "x"), leave_out=["*_mask.*"]))) == 12


@pytest.mark.parametrize("high", [9, 15, 100, 255])
def test_a_range_that_is_hardly_used_is_said(tmp_path, high):
    raw = R.randint(0, high + 1, (40, 6, 6)).astype(np.uint8)
    raw[0, 0, 0] = high
    said = told(load(npz(tmp_path, x=raw)))
    assert (f"they reach only {high}: --values 0 15 would use" in said) is (high < 64)


def test_options_that_do_nothing_are_refused(tmp_path):
    path = npz(tmp_path, x=X, y=Y)
    with pytest.raises(UserError, match="--leave-out weigths: nothing in 'a' is called so"):
        load(path, leave_out=["weigths"])
    with pytest.raises(UserError, match="--fit say how image files are read, but 'a' has none"):
        load(path, fit="pad")
    data = load(path)
    assert load(data) is data
    with pytest.raises(UserError, match="these are Data, which are read and split already"):
        load(data, values=(0, 1))
    fill(tmp_path / "x" / "cat", 12)
    fill(tmp_path / "x" / "dog", 12)
    with pytest.raises(UserError, match=r"--leave-out \*\.jpg: nothing in 'x' is called so"):
        load(str(tmp_path / "x"), leave_out=["*.jpg"])
    some = load(str(tmp_path / "x"), leave_out=["1*.png"])
    assert sum(sizes(some)) == 18
    assert "6 of 1*.png (as asked)" in told(some)


def test_a_missing_label_is_a_row_of_nothing():
    from zspace.data.conditions import columns, lookup
    from zspace.data.dataset import Samples

    y = torch.tensor([1, -1, 0])
    c = columns(y, 2)
    assert c[[0, 2]].tolist() == [[0, 1], [1, 0]]
    assert c[1].isnan().all()
    samples = Samples(torch.zeros(3, 1, 2, 2), y, torch.arange(3))
    assert lookup(samples, 2, torch.device("cpu"))(torch.arange(3)).isnan().any(1).tolist() == [
        False, True, False
    ]  # fmt: skip


def test_splits_by_longer_names(tmp_path):
    for name, n in (("train2017", 20), ("val_images", 5), ("Test-Set", 6)):
        fill(tmp_path / "x" / name, n)
    data = load(str(tmp_path / "x"))
    assert (sizes(data), data.classes) == ([20, 5, 6], ())
    assert "train 20 (train2017/), validation 5 (val_images/), test 6 (Test-Set/)" in told(data)
    fill(tmp_path / "masks" / "with_mask", 12)
    fill(tmp_path / "masks" / "without_mask", 12)
    assert load(str(tmp_path / "masks")).classes == ("with_mask", "without_mask")


def test_new_data_in_a_folder_called_test(tmp_path):
    fill(tmp_path / "x" / "test", 3)
    data = load_new(str(tmp_path / "x"))
    assert (data.classes, {k: len(v) for k, v in data.splits.items()}) == ((), {"all": 3})
    fill(tmp_path / "x" / "train", 4)
    both = load_new(str(tmp_path / "x"))
    assert {k: len(v) for k, v in both.splits.items()} == {"train": 4, "test": 3}


def test_floats_that_were_divided_twice_are_told(tmp_path):
    said = told(load(npz(tmp_path, x=X / 255**2)))
    assert "they reach only 0.003922: --values 0 0.003922 would use the whole range" in said

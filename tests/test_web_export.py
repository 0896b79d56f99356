"""The exported page: it holds what the model makes, in one file that needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

import zspace
from browsing import inside
from test_data_sets import faces
from zspace import UserError
from zspace.analysis import latents
from zspace.cli.main import run as main
from zspace.explorer import bundle, export
from zspace.explorer.view import RunView


@pytest.fixture(scope="module")
def pages(planar, maps, tmp_path_factory) -> dict[str, Path]:
    """The exports of a VAE, a conditional one and one with a convolutional decoder."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"vae": planar["vae"], "cvae": planar["cvae"], "conv": maps["vae"]}
    return {name: export.write_page(run, folder / f"{name}.html") for name, run in runs.items()}


@pytest.fixture(scope="module")
def written(pages, tmp_path_factory) -> dict[str, Path]:
    """Folders with the data files of the pages."""
    return {name: unfolded(page, tmp_path_factory.mktemp(name)) for name, page in pages.items()}


def unfolded(page: Path, folder: Path) -> Path:
    """The data files of a page as files of a folder: of its first run without its id."""
    for name, content in inside(page).items():
        (folder / name.removeprefix("a/")).write_bytes(content)
    return folder


def facts(folder: Path, name: str = "info.json"):
    return json.loads((folder / name).read_text())


def numbers(folder: Path, name: str, kind: str, *shape: int) -> np.ndarray:
    return np.frombuffer((folder / name).read_bytes(), kind).reshape(shape)


def page_network(folder: Path, name: str, weights: str) -> Callable[[np.ndarray], np.ndarray]:
    """A network computed from its two files alone, as the page does."""
    layers, flat = facts(folder, name)["layers"], numbers(folder, weights, "<f2", -1)
    ends = {
        "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "linear": lambda x: x,
    }

    def run(x: np.ndarray) -> np.ndarray:
        start = 0
        for layer in layers:
            inputs, outputs = layer["inputs"], layer["outputs"]
            weight = flat[start : start + inputs * outputs].reshape(outputs, inputs)
            start += inputs * outputs
            bias, start = flat[start : start + outputs], start + outputs
            x = ends[layer["activation"]](x @ weight.T.astype(np.float32) + bias)
        assert start == len(flat)
        return x

    return run


def test_info_says_that_it_is_static(written, planar):
    for name, decoder in (("vae", "net"), ("cvae", "net"), ("conv", "tiles")):
        (run,) = facts(written[name])["runs"]
        assert (run["id"], run["static"], run["decoder"]) == ("a", True, decoder)
        assert run["projections"] == ["dims", "pca"]
    served = RunView(planar["vae"]).facts("a")
    (run,) = facts(written["vae"])["runs"]
    assert {k: v for k, v in run.items() if served.get(k) != v} == {
        "static": True, "projections": ["dims", "pca"], "decoder": "net", "remakes": True,
        "labelled": True,
    }  # fmt: skip


def test_files_are_of_the_same_images(written, planar):
    folder, run = written["cvae"], planar["cvae"]
    test = run.data().test
    n = len(test)
    posterior = numbers(folder, "posterior.f32", "<f4", n, 5)
    np.testing.assert_allclose(posterior, RunView(run).posterior(np.arange(n)), atol=1e-5)
    z = numbers(folder, "codes.f32", "<f4", n, 2)
    np.testing.assert_array_equal(z, latents.codes(run, run.data()).z)
    np.testing.assert_array_equal(numbers(folder, "map-dims.f32", "<f4", n, 2), z)
    np.testing.assert_array_equal(numbers(folder, "labels.u8", "u1", n), test.labels())
    x = numbers(folder, "images.u8", "u1", n, 14, 14, 1)
    np.testing.assert_array_equal(
        x, np.round(255 * test.images().numpy()).transpose(0, 2, 3, 1).astype(np.uint8)
    )
    plane = facts(folder, "plane-pca.json")
    points = numbers(folder, "map-pca.f32", "<f4", n, 2)
    np.testing.assert_allclose(
        plane["origin"] + points @ np.array([plane["u"], plane["v"]]), z, atol=1e-5
    )
    made = run.reconstruct(test.images().numpy(), test.labels())
    assert facts(folder)["runs"][0]["remakes"]  # by its networks, so that none are written
    assert not (folder / "reconstructions.u8").exists()
    error = ((made - test.images().numpy()) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(numbers(folder, "errors.f32", "<f4", n), error, rtol=1e-4)


def test_moments_are_there_where_the_run_kept_some(written, runs, tmp_path):
    shape = facts(written["vae"], "moments.json")["shape"]
    assert numbers(written["vae"], "moments-pictures.u8", "u1", -1, *shape).shape[0] == 3
    assert numbers(written["vae"], "moments-points.f32", "<f4", 2, -1, 2).shape[1] == 30
    names = dict(export.arrays(RunView(runs["vae"])))
    assert not [name for name in names if name.startswith("moments")]


@pytest.mark.parametrize("label", [None, 0, 7])
def test_the_page_can_decode_to_a_thousandth(written, planar, label):
    name = "vae" if label is None else "cvae"
    z = np.random.RandomState(1).randn(200, 2).astype(np.float32) * 2
    told = np.zeros((200, 0)) if label is None else np.eye(10)[[label] * 200]
    decode = page_network(written[name], "net.json", "weights.f16")
    assert facts(written[name], "net.json")["context"] == told.shape[1]
    made = decode(np.concatenate([z, told.astype(np.float32)], axis=1))
    wanted = planar[name].decode(z, label).reshape(200, -1)
    np.testing.assert_allclose(made, wanted, atol=1e-3)


def test_the_page_can_encode(written, planar):
    test = planar["cvae"].data().test
    x, y = test.images().flatten(1).numpy(), test.labels()
    encode = page_network(written["cvae"], "encoder.json", "encoder.f16")
    made = encode(np.concatenate([x, np.eye(10, dtype=np.float32)[y]], axis=1))
    np.testing.assert_allclose(
        made[:, :2], latents.codes(planar["cvae"], planar["cvae"].data()).z, atol=5e-3
    )
    of = facts(written["cvae"], "encoder.json")["log_variance"]
    bounded = of["bound"] * np.tanh(np.minimum(made[:, 2:], of["wide"]) / of["bound"])
    above = np.log1p(of["slope"] * np.maximum(made[:, 2:] - of["wide"], 0))
    q = RunView(planar["cvae"]).posterior(np.arange(len(x)))
    np.testing.assert_allclose(np.exp((bounded + above) / 2), q[:, 2:4], rtol=5e-3)


def test_the_weights_of_a_large_network_are_bytes(planar, monkeypatch):
    plain = dict(export.networks(planar["cvae"]))
    monkeypatch.setattr(export, "LARGE", 0)
    files = dict(export.networks(planar["cvae"]))
    assert sorted(files) == [
        "encoder.f32", "encoder.i8", "encoder.json", "net.json", "weights.f32", "weights.i8"
    ]  # fmt: skip
    flat, start, row = plain["weights.f16"].astype(np.float64), 0, 0
    whole, exact = files["weights.i8"].astype(np.float64), files["weights.f32"]
    for layer in files["net.json"]["layers"]:
        outputs, size = layer["outputs"], layer["outputs"] * layer["inputs"]
        step, bias = exact[row : row + outputs].T
        kept, whole = whole[:size].reshape(outputs, -1), whole[size:]
        wanted = flat[start : start + size].reshape(outputs, -1)
        assert (np.abs(kept * step[:, None] - wanted) <= 0.51 * step[:, None] + 1e-3).all()
        np.testing.assert_allclose(bias, flat[start + size :][:outputs], atol=1e-3)
        start, row = start + size + outputs, row + outputs
    assert len(whole) == 0


def test_other_decoders_leave_tiles(written, maps):
    told = facts(written["conv"], "tiles.json")
    assert told["projection"] == "pca"
    assert told["shape"] == [1, 21, 21, 12, 16, 3]
    tiles = numbers(written["conv"], "tiles.u8", "u1", *told["shape"])
    assert told["ys"] == sorted(told["ys"], reverse=True)
    plane = facts(written["conv"], "plane-pca.json")
    for row, column in ((0, 0), (20, 3)):
        z = np.array(plane["origin"]) + told["xs"][column] * np.array(plane["u"])
        z += told["ys"][row] * np.array(plane["v"])
        wanted = maps["vae"].decode(z.astype(np.float32).reshape(1, 2, 3, 4))[0]
        assert np.abs(tiles[0, row, column].transpose(2, 0, 1) / 255 - wanted).max() <= 1.5 / 255
    assert not (written["conv"] / "labels.u8").exists()
    assert not (written["conv"] / "net.json").exists()


def test_a_conditional_model_has_a_sheet_a_condition(planar, monkeypatch):
    monkeypatch.setattr(export, "BYTES", 300_000)
    made = dict(export.tiles(RunView(planar["cvae"])))
    sheets, side, *_ = made["tiles.json"]["shape"]
    assert (sheets, side) == (10, 12)
    assert list(made["tiles.u8"].shape) == made["tiles.json"]["shape"]
    assert made["tiles.u8"].nbytes <= 300_000


def test_another_mean_than_a_sigmoid_is_not_decoded_in_the_page(digits, tmp_path):
    run = zspace.train(
        "vae", data=str(digits), likelihood="continuous-bernoulli", hidden=(8,), latent=1,
        epochs=1, precision="fp32", quiet=True, out=tmp_path / "run",
    )  # fmt: skip
    assert export.networks(run) == []
    made = {k: v for k, v in export.contents([RunView(run)]) if k.endswith(".json")}
    assert made["a/tiles.json"]["projection"] == "dims"  # a code of one number has one map
    assert made["info.json"]["runs"][0]["projections"] == ["dims"]


def test_attributes_are_conditions_one_at_a_time(tmp_path):
    faces(tmp_path / "celeba", n=80, held=12)
    run = zspace.train(
        "cvae", data="celeba", data_dir=tmp_path, size=8, hidden=(8,), latent=2, epochs=1,
        batch=16, precision="fp32", quiet=True, out=tmp_path / "run",
    )  # fmt: skip
    exhibit, z = RunView(run), np.ones((2, 2), np.float32)
    made = dict(export.arrays(exhibit))
    told = made["facts.json"]
    assert told["conditions"] == ["Male", "Smiling", "Young"]
    assert (told["classes"], told["context"], exhibit.labels) == ([], 3, None)
    shown = exhibit.decode(z, exhibit.contexts(1, 2)).transpose(0, 3, 1, 2) / 255
    assert np.abs(shown - run.decode(z, "Smiling")).max() <= 1.5 / 255
    test = run.data().test
    again = made["reconstructions.u8"].transpose(0, 3, 1, 2) / 255
    wanted = run.reconstruct(test.images().numpy(), test.conditions())
    assert np.abs(again - wanted).max() <= 1.5 / 255


def test_few_and_large_images_are_fewer_yet(planar, monkeypatch):
    exhibit = RunView(planar["vae"])
    monkeypatch.setattr(export, "BYTES", 14 * 14 * 7)
    rows = export.chosen(exhibit)
    assert len(rows) == len(set(rows.tolist())) == 7
    made = dict(export.arrays(exhibit))
    assert made["facts.json"]["n"] == 7
    np.testing.assert_array_equal(made["codes.f32"], exhibit.z[rows])
    np.testing.assert_array_equal(made["labels.u8"], exhibit.labels[rows])
    np.testing.assert_array_equal(made["errors.f32"], exhibit.errors[rows])


def test_a_page_asks_for_nothing(pages):
    html = pages["vae"].read_text()
    assert html.count('<meta name="zspace-mode"') == 1
    assert '<meta name="zspace-mode" content="static">' in html
    assert "default-src 'none'" in html
    assert "connect-src" not in html  # so that it is none
    assert not re.findall(r"""<(?:script|link|img)[^>]* (?:src|href)=["'](?!data:)""", html)
    assert len(html) < 6_000_000


def test_two_runs_share_what_they_have_in_common(planar, tmp_path):
    page = export.write_page([planar["vae"], planar["cvae"]], tmp_path / "two.html")
    (names,) = re.findall(r'data-files="([^"]*a/images.u8[^"]*)"', page.read_text())
    assert names.split() == ["a/images.u8", "b/images.u8"]
    told = json.loads(inside(page)["info.json"])["runs"]
    assert [run["id"] for run in told] == ["a", "b"]


def test_a_sweep_of_large_networks_becomes_tiles(swept, tmp_path, monkeypatch, capsys):
    runs = list(swept.values())
    told = json.loads(inside(export.write_page(runs, tmp_path / "net.html"))["info.json"])
    assert {run["decoder"] for run in told["runs"]} == {"net"}
    assert "one plane" not in capsys.readouterr().err
    monkeypatch.setattr(export, "SWEPT", 1000)
    monkeypatch.setattr(export, "MOST", 10)
    held = inside(export.write_page(runs, tmp_path / "tiles.html"))
    told = json.loads(held["info.json"])
    assert told["film"]["weights"] == list(swept)
    assert {(run["decoder"], run["n"]) for run in told["runs"]} == {("tiles", 30 // len(runs))}
    assert len(held["a/tiles.u8"]) == 21 * 21 * len(held["a/images.u8"]) // (30 // len(runs))
    assert "the page holds decodings of one plane" in capsys.readouterr().err


def test_modules_become_one_script():
    sources = {
        "a.js": 'import { b, c as d } from "./b.js";\nimport { e } from "./c.js";\nb(d, e);\n',
        "b.js": 'import { e } from "./c.js";\nexport function b() {}\nexport const c = e;\n',
        "c.js": "export class e {}\n",
    }
    made = bundle.bundled("a.js", sources)
    assert made.index('modules["c.js"] =') < made.index('modules["b.js"] =')
    assert 'const { b, c: d } = modules["b.js"];' in made
    assert "return { b, c };" in made
    assert not re.search("^(import|export)", made, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('import { a } from "./a.js";\n', "circle"),
        ("export default 3;\n", "cannot be inlined"),
        ('import * as all from "./b.js";\n', "cannot be inlined"),
    ],
)
def test_what_cannot_be_inlined_is_refused(line, message):
    sources = {"a.js": 'import { b } from "./b.js";\n', "b.js": line}
    with pytest.raises(ValueError, match=message):
        bundle.bundled("a.js", sources)


def test_the_command_prints_the_page(planar, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    assert main(["export", str(planar["vae"].path), "--to", "html", "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)


def test_a_file_in_use_is_left_alone(planar, tmp_path):
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(UserError, match="exists already: give a new file, for example"):
        export.write_page(planar["vae"], tmp_path / "mine.html")
    with pytest.raises(UserError, match="is a folder: give a new file"):
        export.write_page(planar["vae"], tmp_path)
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_nothing_half_written_stays(planar, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="no space is left"):
        export.write_page(planar["vae"], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []

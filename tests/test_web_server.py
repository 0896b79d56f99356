"""What the explorer's server answers, against the arrays that it should be."""

from __future__ import annotations

import asyncio
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

import zspace
from visiting import TOKEN, Visitor, serving
from zspace import explorer
from zspace.analysis import latents, planes
from zspace.cli.main import run as main
from zspace.explorer import app, server
from zspace.explorer.app import LazyResult, ModelThread
from zspace.explorer.view import Reading, RunView
from zspace.report.figures import style
from zspace.runs import many
from zspace.system.pixels import COLOURS

SCRIPT = Path(__file__).parent.parent / "scripts" / "find_palette.py"


@pytest.fixture(scope="module")
def visitor(planar: dict[str, zspace.Run]) -> Iterator[Visitor]:
    """In front of a VAE, 'a', and a conditional one, 'b', with codes of size 2."""
    with serving(planar["vae"], planar["cvae"]) as visitor:
        visitor.enter()
        yield visitor


@pytest.fixture(scope="module")
def vae(planar: dict[str, zspace.Run]) -> zspace.Run:
    return planar["vae"]


@pytest.fixture(scope="module")
def cvae(planar: dict[str, zspace.Run]) -> zspace.Run:
    return planar["cvae"]


def grey(x: np.ndarray) -> np.ndarray:
    """Images (n, C, H, W) in [0, 1] as whole numbers (n, H, W, C)."""
    return np.round(255 * x).astype(int).transpose(0, 2, 3, 1)


def draw(n: int, dims: int = 2) -> np.ndarray:
    return np.random.RandomState(n).randn(n, dims).astype(np.float32)


# facts and arrays


def test_everybody_can_tell_the_colours_of_classes_apart():
    """Also from the greys that lie behind the points; Lab is that of another library."""
    palette = runpy.run_path(str(SCRIPT))
    colours = palette["rgb"](COLOURS)
    lab, behind = palette["seen"](colours), palette["seen"](palette["greys"]())
    np.testing.assert_allclose(lab[0], rgb2lab(colours[None])[0], atol=0.02)
    np.testing.assert_allclose(palette["SIGHTS"].sum(2), 1, atol=1e-5)  # white stays white
    assert np.isfinite(behind).all()
    assert lab.shape == (3, 10, 3)
    assert palette["pairs"](lab).min() > 30
    assert palette["distances"](lab, behind).min() > 30
    assert style.COLOURS is COLOURS


def test_info_is_of_the_runs(visitor, vae, cvae):
    found = visitor.get("info").json
    assert found["version"] == zspace.__version__
    assert found["colours"] == list(COLOURS)
    a, b = found["runs"]
    assert (a["id"], a["recipe"], a["dims"], a["shape"]) == ("a", "vae", 2, [1, 14, 14])
    assert (b["id"], b["context"], b["conditions"]) == ("b", 10, list(cvae.spec.classes))
    assert (a["context"], a["conditions"], a["classes"]) == (0, [], list(vae.spec.classes))
    summary, z = latents.posterior_summary(vae, vae.data()), latents.codes(vae, vae.data()).z
    assert a["kl"] == summary.kl.tolist()
    assert a["order"] == np.argsort(-summary.kl).tolist()
    assert len(a["active"]) == summary.active
    np.testing.assert_allclose(a["mean"], z.mean(0), atol=1e-6)
    np.testing.assert_allclose(a["sd"], z.std(0), atol=1e-6)
    assert a["n"] == len(z) == len(vae.data().test)
    assert a["snapshots"] == many.read_moments(vae).epoch.tolist()
    assert a["data"] == b["data"]
    assert found["film"] is None
    assert (a["gaussian"], a["standard"], a["placed"]) == (True, True, True)
    assert a["reconstruction"] == ["squared error", ""]
    assert a["variational"]
    assert a["projections"] == ["dims", "pca", "tsne"]


def test_a_deterministic_code_is_ordered_by_its_variance(planar):
    facts = RunView(planar["ae"]).facts("a")
    assert facts["kl"] is None
    assert not facts["variational"]
    assert (
        facts["order"]
        == np.argsort(-latents.codes(planar["ae"], planar["ae"].data()).z.var(0)).tolist()
    )
    assert facts["active"] == [0, 1]


def test_maps_and_their_planes_agree(visitor, vae):
    z = latents.codes(vae, vae.data()).z
    for name in ("dims", "pca"):
        answer = visitor.get(f"a/map?projection={name}")
        points = answer.numbers("<f4", len(z), 2)
        assert answer.headers["x-count"] == str(len(z))
        plane = {key: np.array(value) for key, value in
                 visitor.get(f"a/plane?projection={name}").json.items()}  # fmt: skip
        back = plane["origin"] + points @ np.stack([plane["u"], plane["v"]])
        np.testing.assert_allclose(back, z, atol=1e-5)
    np.testing.assert_allclose(visitor.get("a/map").numbers("<f4", len(z), 2), z)


@pytest.mark.parametrize("recipe", ["vae", "ae"])
def test_the_plane_of_a_larger_code_is_a_section(runs, recipe):
    exhibit = RunView(runs[recipe])
    points = draw(7).astype(np.float64)
    for name in ("dims", "pca"):
        plane = exhibit.plane(name)
        z = np.array(plane["origin"]) + points @ np.array([plane["u"], plane["v"]])
        np.testing.assert_allclose(exhibit.flat(z, name), points, atol=1e-5)
    most = exhibit.order[:2].tolist()
    assert exhibit.plane("dims")["axes"] == [f"z[{j}]" for j in most]
    np.testing.assert_array_equal(exhibit.flat(exhibit.z, "dims"), exhibit.z[:, most])
    rest = np.setdiff1d(np.arange(3), most)
    np.testing.assert_allclose(
        np.array(exhibit.plane("dims")["origin"])[rest], exhibit.z.mean(0)[rest], atol=1e-6
    )


def test_tsne_comes_when_it_is_ready(visitor, vae):
    first = visitor.get("a/map?projection=tsne")
    assert first.status == 202
    assert 0 <= first.json["progress"] < 1
    deadline = time.monotonic() + 30
    while (answer := visitor.get("a/map?projection=tsne")).status == 202:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    points = answer.numbers("<f4", len(vae.data().test), 2)
    np.testing.assert_allclose(
        points, latents.codes_map(vae, vae.data(), 70_000).points, rtol=1e-5
    )


def test_labels_images_codes(visitor, vae):
    test, i = vae.data().test, [3, 0, 3, 29]
    answer = visitor.get("a/labels")
    assert answer.headers["x-type"] == "uint8"
    np.testing.assert_array_equal(answer.numbers("u1", len(test)), test.labels())
    query = ",".join(map(str, i))
    x = test.images(torch.tensor(i))
    shown = visitor.get(f"a/images?i={query}").numbers("u1", 4, 14, 14, 1)
    np.testing.assert_array_equal(shown, grey(x.numpy()))
    np.testing.assert_array_equal(
        visitor.get(f"a/codes?i={query}").numbers("<f4", 4, 2), latents.codes(vae, vae.data()).z[i]
    )
    made = visitor.get(f"a/reconstructions?i={query}").numbers("u1", 4, 14, 14, 1).astype(int)
    assert np.abs(made - grey(vae.reconstruct(x.numpy()))).max() <= 1


def test_a_conditional_model_reconstructs_under_each_images_own_label(visitor, cvae):
    test, i = cvae.data().test, torch.arange(10)
    made = visitor.get("b/reconstructions?i=0,1,2,3,4,5,6,7,8,9").numbers("u1", 10, 14, 14, 1)
    wanted = cvae.reconstruct(test.images(i).numpy(), test.labels(i))
    assert np.abs(made.astype(int) - grey(wanted)).max() <= 1


def test_errors_are_of_mean_codes(planar):
    """Of a deterministic code they are the squared errors that the run has measured."""
    with serving(planar["ae"]) as visitor:
        visitor.enter()
        errors = visitor.get("a/errors").numbers("<f4", len(planar["ae"].data().test))
    assert errors.mean() == pytest.approx(planar["ae"].result["test"]["mse"], rel=1e-5)


def test_spatial_codes_colours_and_no_labels(maps):
    with serving(maps["vae"]) as visitor:
        visitor.enter()
        facts = visitor.get("info").json["runs"][0]
        assert (facts["latent"], facts["dims"], facts["classes"]) == ([2, 3, 4], 24, [])
        assert visitor.get("a/labels").status == 204
        z = draw(3, 24)
        shown = visitor.post("a/decode", z).numbers("u1", 3, 12, 16, 3)
        wanted = grey(maps["vae"].decode(z.reshape(3, 2, 3, 4)))
        assert np.abs(shown.astype(int) - wanted).max() <= 1
        drawn = visitor.post("a/encode", visitor.get("a/images?i=2").numbers("u1", 12, 16, 3))
        assert len(drawn.json["z"]) == 24
        assert {one["label"] for one in drawn.json["neighbours"]} == {None}


# q(z|x)


def test_posteriors_are_those_of_the_model(visitor, vae):
    i = [3, 0, 29]
    x = vae.data().test.images(torch.tensor(i))
    q = vae.model.posterior(x)
    found = visitor.get("a/posterior?i=3,0,29").numbers("<f4", 3, 5)
    np.testing.assert_allclose(found[:, :2], q.mean.detach(), atol=1e-5)
    np.testing.assert_allclose(found[:, 2:4], q.stddev.detach(), rtol=1e-4)
    mu, sigma = found[:, :2], found[:, 2:4]
    kl = 0.5 * (mu**2 + sigma**2 - 1 - 2 * np.log(sigma)).sum(1)
    np.testing.assert_allclose(found[:, 4], kl, rtol=1e-4)
    drawn = visitor.post("a/encode", visitor.get("a/images?i=3").numbers("u1", 14, 14, 1)).json
    np.testing.assert_allclose(drawn["posterior"], found[0], rtol=1e-3, atol=1e-3)


def test_the_error_of_a_draw_is_of_that_code(visitor, vae, cvae):
    z, x = draw(1), vae.data().test.images(torch.tensor([4]))
    squared = ((vae.decode(z) - x.numpy()) ** 2).sum()
    told = visitor.post("a/error?i=4", z).json["error"]
    assert told == pytest.approx(squared, rel=1e-4)
    picture = visitor.get("a/images?i=4").body
    sent = visitor.ask("POST", "/api/a/error?label=none", z.tobytes() + picture).json["error"]
    assert sent == pytest.approx(told, rel=1e-3)
    label = int(cvae.data().test.labels(torch.tensor([4]))[0])
    own = visitor.post("b/error?i=4", z).json["error"]
    assert own == pytest.approx(((cvae.decode(z, label) - x.numpy()) ** 2).sum(), rel=1e-4)
    other = visitor.ask("POST", f"/api/b/error?label={(label + 1) % 10}", z.tobytes() + picture)
    assert abs(other.json["error"] - own) > 1e-3


@pytest.mark.parametrize(
    ("where", "size", "status"),
    [
        ("a/error?i=4,5", 8, 400), ("a/error?i=4", 4, 400), ("a/error?i=4", 16, 413),
        ("a/error?label=none", 8, 400), ("b/error?label=all", 204, 400), ("a/near", 12, 400),
    ],
)  # fmt: skip
def test_other_questions_are_refused(visitor, where, size, status):
    assert visitor.ask("POST", f"/api/{where}", bytes(size)).status == status


def test_a_run_without_a_gaussian_posterior_says_so(planar):
    with serving(planar["ae"]) as visitor:
        visitor.enter()
        facts = visitor.get("info").json["runs"][0]
        assert (facts["gaussian"], facts["standard"], facts["placed"]) == (False, True, False)
        answer = visitor.get("a/posterior?i=0")
        assert answer.status == 404
        assert "no Gaussian q(z|x)" in answer.json["error"]
        drawn = visitor.post("a/encode", np.zeros((14, 14), np.uint8)).json
        assert drawn["posterior"] is None


def test_the_nearest_codes_of_codes(visitor, vae):
    z, every = draw(3), latents.codes(vae, vae.data()).z
    found = visitor.post("a/near", z).json
    far = np.linalg.norm(every - z[:, None], axis=2)
    np.testing.assert_array_equal(found["i"], np.argsort(far, axis=1)[:, :8])
    np.testing.assert_allclose(found["distances"], far.min(1), rtol=1e-5)
    y = vae.data().test.labels().numpy()
    np.testing.assert_array_equal(found["labels"], y[np.array(found["i"])])


def test_a_sweep_is_told_in_its_order(swept):
    with serving(swept[20], swept[0], swept[1]) as visitor:
        visitor.enter()
        found = visitor.get("info").json
        film = found["film"]
        assert (film["option"], film["weights"]) == ("beta", [0, 1, 20])
        assert film["rates"] == [swept[beta].result["test"]["kl"] for beta in (0, 1, 20)]
        assert film["distortion"] == ["squared error", ""]
        assert [run["id"] for run in found["runs"]] == ["a", "b", "c"]
        z = latents.codes(swept[20], swept[20].data()).z
        np.testing.assert_allclose(visitor.get("c/map").numbers("<f4", len(z), 2), z)


# decoding


def test_decode_is_the_runs_decode(visitor, vae):
    z = draw(5)
    shown = visitor.post("a/decode?label=none", z).numbers("u1", 5, 14, 14, 1)
    assert np.abs(shown.astype(int) - grey(vae.decode(z))).max() <= 1


def test_decode_under_one_label_and_under_all(visitor, cvae):
    z = draw(3)
    every = visitor.post("b/decode?label=all", z).numbers("u1", 3, 10, 14, 14, 1).astype(int)
    for label in (0, 7):
        one = visitor.post(f"b/decode?label={label}", z).numbers("u1", 3, 14, 14, 1).astype(int)
        assert np.abs(one - grey(cvae.decode(z, label))).max() <= 1
        assert np.abs(one - every[:, label]).max() <= 1
    assert np.abs(every[:, 0] - every[:, 7]).max() > 5


def test_more_codes_than_a_chunk(visitor, vae):
    z = draw(1024)
    shown = visitor.post("a/decode", z).numbers("u1", 1024, 14, 14, 1)
    assert np.abs(shown.astype(int) - grey(vae.decode(z))).max() <= 1


def test_requests_that_wait_together_are_one_batch(cvae, monkeypatch):
    exhibit, batches = RunView(cvae), []
    decode = exhibit.decode
    monkeypatch.setattr(exhibit, "decode", lambda z, c: batches.append(len(z)) or decode(z, c))

    async def crowd() -> list[np.ndarray]:
        studio = ModelThread(exhibit)
        asked = [
            asyncio.create_task(studio.decode(draw(1 + k), exhibit.contexts(k % 10, 1 + k)))
            for k in range(12)
        ]
        gone = asyncio.create_task(studio.decode(draw(1), exhibit.contexts(0, 1)))
        await asyncio.sleep(0)  # now all of them wait
        gone.cancel()  # nothing is computed for somebody who hung up
        await asyncio.sleep(0)
        task = asyncio.create_task(studio.serve())
        answers = await asyncio.gather(*asked)
        task.cancel()
        studio.close()
        return answers

    answers = asyncio.run(crowd())
    assert batches == [sum(range(1, 13))]
    for k, answer in enumerate(answers):
        wanted = grey(cvae.decode(draw(1 + k), k % 10))
        assert np.abs(answer.astype(int) - wanted).max() <= 1


def test_a_failure_reaches_all_who_wait_and_the_next_is_served(vae):
    exhibit = RunView(vae)

    async def ask() -> tuple[list[Any], np.ndarray]:
        studio = ModelThread(exhibit)
        task = asyncio.create_task(studio.serve())
        wrong = [studio.decode(draw(1, 3), None) for _ in range(2)]  # three numbers a code
        failed = await asyncio.gather(*wrong, return_exceptions=True)
        answer = await studio.decode(draw(1), None)
        task.cancel()
        studio.close()
        return failed, answer

    failed, answer = asyncio.run(ask())
    assert all(isinstance(error, RuntimeError) for error in failed)
    assert answer.shape == (1, 14, 14, 1)


# drawings


def test_a_test_image_is_its_own_neighbour(visitor, vae):
    test, i = vae.data().test, 11
    x = visitor.get(f"a/images?i={i}").numbers("u1", 14, 14, 1)
    found = visitor.post("a/encode", x).json
    codes = latents.codes(vae, vae.data()).z
    np.testing.assert_allclose(found["z"], codes[i], atol=1e-5)
    np.testing.assert_allclose(found["points"]["dims"], codes[i], atol=1e-5)
    distances = np.linalg.norm(codes - codes[i], axis=1)
    nearest = np.argsort(distances, kind="stable")[:8]
    assert [one["i"] for one in found["neighbours"]] == nearest.tolist()
    assert [one["label"] for one in found["neighbours"]] == test.labels()[nearest].tolist()
    np.testing.assert_allclose(
        [one["distance"] for one in found["neighbours"]], distances[nearest], atol=1e-5
    )
    shown = vae.reconstruct(test.images(torch.tensor([i])).numpy())
    error = float(((shown - test.images(torch.tensor([i])).numpy()) ** 2).sum())
    assert found["error"] == pytest.approx(error, rel=1e-4)
    errors = visitor.get("a/errors").numbers("<f4", len(test))
    assert errors[i] == pytest.approx(error, rel=1e-4)
    assert found["percentile"] == pytest.approx(100 * (errors < found["error"]).mean())


def test_white_paper_is_less_like_a_digit_than_any_digit(visitor):
    paper = np.full((14, 14, 1), 255, np.uint8)
    assert visitor.post("a/encode", paper).json["percentile"] == 100


@pytest.mark.parametrize("taken", ["all", 0, 9])
def test_a_conditional_model_reads_a_picture_under_every_label(visitor, cvae, taken):
    x = visitor.get("b/images?i=4").numbers("u1", 14, 14, 1)
    shown = x[None, :, :, 0] / np.float32(255)
    errors = [
        float(((cvae.reconstruct(shown[:, None], k) - shown[:, None]) ** 2).sum())
        for k in range(10)
    ]
    order = np.argsort(errors)
    label = order[0] if taken == "all" else taken
    found = visitor.post(f"b/encode?label={taken}", x).json
    assert found["label"] == label
    assert [one["label"] for one in found["readings"]] == order.tolist()
    told = [one["error"] for one in found["readings"]]
    np.testing.assert_allclose(told, np.sort(errors), rtol=1e-4)
    np.testing.assert_allclose(found["z"], cvae.encode(shown, label)[0], atol=1e-5)
    assert found["error"] == pytest.approx(errors[label], rel=1e-4)
    usual = visitor.get("b/errors").numbers("<f4", -1)
    assert found["percentile"] == pytest.approx(100 * (usual < found["error"]).mean())


def test_a_label_must_be_one_of_the_model(visitor):
    x = visitor.get("b/images?i=4").numbers("u1", 14, 14, 1)
    refused = visitor.post("b/encode?label=none", x)
    assert (refused.status, refused.json) == (
        400, {"error": "this model is conditional: give label=0 to 9"}
    )  # fmt: skip
    plain = visitor.post("a/encode", x).json
    assert (plain["label"], plain["readings"]) == (None, [])


@pytest.mark.parametrize(("label", "last"), [(3, 9), (46, 46)])
def test_of_many_labels_ten_are_shown_and_the_one_that_was_taken(label, last):
    errors = np.arange(47.0)
    assert Reading(np.zeros(2), errors, label, torch.zeros(1)).shown == [*range(9), last]


# paths and moments


def test_a_way_between_two_labels_mixes_them(visitor, cvae):
    z = draw(5)
    shown = visitor.post("b/decode?label=3:7", z).numbers("u1", 5, 14, 14, 1).astype(int)
    assert np.abs(shown[:1] - grey(cvae.decode(z[:1], 3))).max() <= 1
    assert np.abs(shown[4:] - grey(cvae.decode(z[4:], 7))).max() <= 1
    half = (torch.eye(10)[[3]] + torch.eye(10)[[7]]) / 2
    middle = cvae.model.decode(torch.from_numpy(z[2:3]), half).mean.detach().numpy()
    assert np.abs(shown[2:3] - grey(middle)).max() <= 1
    told = {"from": [0, 0], "to": [1, 1], "steps": 5, "path": "straight", "label": [3, 7]}
    with Image.open(io.BytesIO(visitor.post("b/gif", told).body)) as film:
        assert film.n_frames == 8


@pytest.mark.parametrize("way", ["straight", "spherical"])
def test_a_path_is_a_gif_there_and_back(visitor, vae, way):
    a, b = draw(2)
    wanted = {"from": a.tolist(), "to": b.tolist(), "steps": 6, "path": way, "label": None}
    answer = visitor.post("a/gif", wanted)
    assert answer.headers["content-type"] == "image/gif"
    z = getattr(planes, way)(a, b, np.linspace(0, 1, 6, dtype=np.float32))
    shown = grey(vae.decode(z.astype(np.float32)))[:, :, :, 0]
    with Image.open(io.BytesIO(answer.body)) as gif:
        assert gif.size == (224, 224)
        assert gif.n_frames == 10
        for k in (0, 3, 5, 7):
            gif.seek(k)
            frame = np.asarray(gif.convert("L"))[::16, ::16].astype(int)
            assert np.abs(frame - shown[min(k, 10 - k)]).max() <= 1


def test_moments_are_the_runs_snapshots(visitor, vae):
    found, facts = many.read_moments(vae), visitor.get("a/moments").json
    assert facts["epochs"] == found.epoch.tolist()
    assert facts["labels"] == found.y.tolist()
    size = (len(found.epoch), facts["n"], 2)
    np.testing.assert_allclose(visitor.get("a/moments/points").numbers("<f4", *size), found.points)
    pictures = visitor.get("a/moments/pictures").numbers("u1", size[0] + 1, *facts["shape"])
    np.testing.assert_array_equal(pictures[0], grey(found.x))
    np.testing.assert_array_equal(pictures[1:][-1], grey(found.reconstructions[-1]))


def test_a_run_without_snapshots_says_so(runs):
    with serving(runs["vae"]) as visitor:
        visitor.enter()
        answer = visitor.get("a/moments")
        assert answer.status == 404
        assert "--snapshots" in answer.json["error"]
        assert visitor.get("info").json["runs"][0]["snapshots"] == []


# the page and the command


def test_the_page_is_served_from_its_folder(visitor):
    page = visitor.ask("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    names = explorer.page_files()
    assert "index.html" in names
    for name, path in names.items():
        answer = visitor.ask("GET", f"/static/{name}")
        assert answer.body == path.read_bytes()
        if name.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")


def test_two_runs_on_the_same_data_share_them(planar):
    paths = [planar[name].path for name in ("ae", "vae")]
    a, b = server.views(paths).values()
    assert a.run.data() is b.run.data()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_what_no_pointer_waits_for_comes_after_what_one_waits_for():
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert LazyResult(priority).start().result(5) == max(app.BEHIND, priority())
    assert ModelThread(None).thread.submit(priority).result(5) == priority()


def test_later_computes_once_and_tells_of_failure():
    calls = []
    later = LazyResult(lambda: calls.append(1) or 5)
    assert later.start().result(5) == later.start().result(5) == 5
    assert calls == [1]
    with pytest.raises(ZeroDivisionError):
        LazyResult(lambda: 1 / 0).start().result(5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--host", "192.0.2.1"), "choose a secret with --token"),
        (("--host", "0.0.0.0", "--token", TOKEN), "give the one that people will type"),
        (("--token", "short"), "use 16 to 200"),
        (("--port", "70000"), "below 65536"),
        (("--host", "192.0.2.1", "--token", TOKEN), "cannot listen on 192.0.2.1:8123"),
    ],
)
def test_bad_options_are_one_sentence(vae, capsys, monkeypatch, options, sentence):
    monkeypatch.setattr(server.uvicorn.Server, "run", lambda *_, **__: pytest.fail("it serves"))
    assert main(["explore", str(vae.path), "--no-open", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_answers_are_not_held_back_until_a_browser_has_acknowledged_a_part():
    with (
        server.listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_one_sentence(vae, capsys):
    with server.listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert main(["explore", str(vae.path), "--no-open", "--port", port]) == 2
    assert "--port 0" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(vae, capsys, monkeypatch):
    monkeypatch.setattr(explorer, "find_spec", lambda name: None)
    assert main(["explore", str(vae.path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'pip install "zspace[web]"' in line


@pytest.mark.parametrize("host", ["0", "0x0", "0.0", "00", "0.0.0.0", "::", "::ffff:0.0.0.0", ""])
def test_every_address_is_refused_however_it_is_written(vae, capsys, host):
    options = ["--no-open", "--port", "0", "--token", TOKEN]
    assert main(["explore", str(vae.path), "--host", host, *options]) == 2
    assert "means every address" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_needs_no_token(host):
    server.check_host(host, None)


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1", "3221225985"])
def test_other_addresses_need_a_token(host):
    with pytest.raises(zspace.UserError, match="choose a secret with --token"):
        server.check_host(host, None)
    server.check_host(host, TOKEN)


def test_addresses_are_as_browsers_write_them():
    assert server.address("127.0.0.1", 8123) == "127.0.0.1:8123"
    assert server.address("localhost", 80) == "localhost"
    assert server.address("::1", 8123) == "[::1]:8123"
    assert server.url("::1", 8123, "k") == "http://[::1]:8123/?token=k"


@pytest.mark.slow
@pytest.mark.parametrize("unfinished", [False, True])
def test_the_command_serves_until_it_is_stopped(vae, unfinished):
    """Also while the body of a POST is still on its way."""
    command = [sys.executable, "-m", "zspace", "explore", str(vae.path), "--no-open", "--port"]
    process = subprocess.Popen(
        [*command, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        host, _, token = url.removeprefix("http://").partition("/?token=")
        visitor = Visitor(None, host)  # type: ignore[arg-type] # its app is in another process
        assert visitor.enter(token).status == 303
        assert json.loads(visitor.get("info").body)["runs"][0]["id"] == "a"
        name, _, port = host.partition(":")
        with socket.create_connection((name, int(port))) as half:
            head = f"POST /api/a/decode HTTP/1.1\r\nHost: {host}\r\nContent-Length: 8\r\n"
            half.sendall(f"{head}Cookie: {visitor.cookie['Cookie']}\r\n\r\n123".encode())
            time.sleep(0.3)
            if not unfinished:
                half.sendall(b"45678")
                assert half.recv(100).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 15
    finally:
        process.kill()
    assert process.returncode == 0
    assert err == f"{vae.config.name}: encoding 30 test images\n"
    assert "for another browser: http://" in out

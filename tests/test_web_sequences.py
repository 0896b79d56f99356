"""The explorer of series and of tokens: what its server answers, its export, and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import zspace
from browsing import CHROMIUM, CONTRAST, at, drag, opened, soon
from visiting import TOKEN, Visitor, serving
from zspace.analysis import latents
from zspace.explorer import export
from zspace.explorer.encoded import MOST_CHANNELS, SeriesView, TokensView, typed
from zspace.explorer.rows import view_of

T, D, FLAT = 12, 7, 3
TINY: dict[str, Any] = {"latent": 2, "epochs": 2, "quiet": True}
TINY |= {"net": "temporal", "width": 8, "blocks": 1}


def windows(n: int = 120) -> np.ndarray:
    """Waves (n, T, D) in channels of very different units; one never varies, some are missing."""
    random = np.random.RandomState(0)
    phase = random.uniform(0, 6, (n, 1, D))
    found = np.sin(np.arange(T)[None, :, None] / 2 + phase)
    found = 1000.0 + found * np.array([1e-3, 1, 10, 0, 1, 1e3, 1])
    found[random.rand(n, T, D) < 0.02] = np.nan
    return found


def texts(n: int = 120) -> list[str]:
    random = np.random.RandomState(0)
    return ["".join(random.choice(list("abc "), random.randint(0, 8))) for _ in range(n)]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    out = tmp_path_factory.mktemp("series") / "run"
    return zspace.train("vae", data=windows(), kind="series", out=out, snapshots=2, **TINY)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    out = tmp_path_factory.mktemp("tokens") / "run"
    return zspace.train("vae", data=texts(), tokens="characters", out=out, snapshots=2, **TINY)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> zspace.Run:
    """A conditional one of one channel; the label is whether its values are low or high."""
    y = np.arange(90) % 2
    x = np.random.RandomState(0).randn(90, T, 1) + 5 * y[:, None, None]
    out = tmp_path_factory.mktemp("told") / "run"
    return zspace.train("cvae", data=(x, y), kind="series", out=out, **TINY)


@pytest.fixture(scope="module")
def visitor(series: zspace.Run, tokens: zspace.Run) -> Iterator[Visitor]:
    with serving(series, tokens) as visitor:
        visitor.enter()
        yield visitor


def x_of(run: zspace.Run, *which: int) -> torch.Tensor:
    return run.data().test.images(torch.tensor(which))


def test_info_says_which_channels_are_drawn(visitor, series):
    found = visitor.get("info").json["runs"][0]
    assert (found["kind"], found["missing"], found["error"]) == ("series", True, "nll")
    names = [channel["name"] for channel in found["channels"]]
    assert names == [str(j) for j in range(D) if j != FLAT][:MOST_CHANNELS]
    assert (found["left_out"], found["t"]) == (D - MOST_CHANNELS, list(range(T)))
    raw = series.encoding.decode(series.data().test.images())
    for channel in found["channels"]:
        low, high = channel["ends"]
        values = raw[:, :, int(channel["name"])]
        edge = 1e-3 * (high - low)  # by which ends may be rounded
        assert np.nanmin(values) - edge <= low < high <= np.nanmax(values) + edge
        inside = (values >= low) & (values <= high)
        assert inside.sum() > 0.97 * np.isfinite(values).sum()


def test_windows_go_out_in_the_units_that_were_read(visitor, series):
    found = visitor.get("a/images?i=4,0").json["samples"]
    raw = series.encoding.decode(x_of(series, 4, 0))
    names = [c["name"] for c in visitor.get("info").json["runs"][0]["channels"]]
    for window, wanted in zip(found, raw, strict=True):
        assert len(window["values"]) == len(names)
        for name, values in zip(names, window["values"], strict=True):
            own = wanted[:, int(name)]
            assert [v is None for v in values] == np.isnan(own).tolist()
            fine = 1e-3 * np.nanstd(raw[:, :, int(name)])  # 1000.0004 of 1000 ± 0.001 is kept
            known = np.array([np.nan if v is None else v for v in values])
            np.testing.assert_allclose(known, own, rtol=0, atol=fine)
    assert len(json.dumps(found[0])) < 12 * T * len(names)


def test_decoded_windows_are_the_mean(visitor, series):
    z = np.random.RandomState(0).randn(3, 2).astype("<f4")
    found = visitor.post("a/decode", z).json["samples"]
    wanted = series.encoding.decode(torch.from_numpy(series.decoded(z)))
    made = np.array([window["values"] for window in found])[:, 1]
    np.testing.assert_allclose(made, wanted[:, :, 1], atol=1e-3)
    again = visitor.get("a/reconstructions?i=0,1").json["samples"]
    z = latents.codes(series, series.data()).z[:2].astype("<f4")
    assert again == visitor.post("a/decode", z).json["samples"]


def test_texts_go_out_as_tokens(visitor, tokens):
    found = visitor.get("b/images?i=4,0,1").json["samples"]
    wanted = tokens.encoding.decode(x_of(tokens, 4, 0, 1))
    assert ["".join(one["tokens"]) for one in found] == wanted
    assert all(one["confidence"] is None for one in found)
    facts = visitor.get("info").json["runs"][1]
    assert (facts["cut"], facts["kind"], facts["error"]) == ("characters", "tokens", "nll")


def test_a_decoded_text_has_the_probability_of_each_token(visitor, tokens):
    z = np.random.RandomState(1).randn(4, 2).astype("<f4")
    found = visitor.post("b/decode", z).json["samples"]
    px = tokens.model.decode(torch.from_numpy(z), None)
    x = px.mode
    for k, one in enumerate(found):
        ids, n = x[k].tolist(), len(one["tokens"])
        assert one["tokens"] == tokens.encoding.show(x[k])["tokens"]
        chosen = [px.logits(x)[k, step].softmax(-1)[ids[step]].item() for step in range(n)]
        assert one["confidence"] == pytest.approx(chosen, abs=1e-3)


@pytest.mark.parametrize("key", ["a", "b"])
def test_errors_are_in_nats(visitor, series, tokens, key):
    run = {"a": series, "b": tokens}[key]
    x = run.data().test.images()
    with torch.no_grad():
        wanted = -run.model.decode(run.model.encode(x), None).log_prob(x)
    found = visitor.get(f"{key}/errors").numbers("<f4", len(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_a_drawn_curve_lies_where_the_same_window_does(visitor, series):
    raw = series.encoding.decode(x_of(series, 3)).astype(np.float64)
    raw[0, :, 1] = np.linspace(999, 1001, T)
    raw[0, 2, 1] = np.nan
    drawn = [None if np.isnan(v) else v for v in raw[0, :, 1]]
    found = visitor.post("a/encode", {"i": 3, "channels": {"1": drawn}}).json
    wanted = series.model.encode(series.encoding.encode(raw), None).flatten().tolist()
    assert found["z"] == pytest.approx(wanted, abs=1e-4)
    assert found["read"]["values"][1] == pytest.approx(drawn, abs=1e-3)
    assert len(found["neighbours"]) == 8
    same = visitor.post("a/encode", {"i": 3, "channels": {}}).json
    own = visitor.get("a/codes?i=3").numbers("<f4", 2)
    assert same["z"] == pytest.approx(own.tolist(), abs=1e-5)
    assert same["neighbours"][0]["i"] == 3


def test_a_written_text_lies_where_the_model_puts_it(visitor, tokens):
    found = visitor.post("b/encode", {"text": "abxa"}).json
    x = tokens.encoding.encode(["abxa"])
    assert found["z"] == pytest.approx(tokens.model.encode(x, None).flatten().tolist(), abs=1e-5)
    assert (found["unknown"], found["read"]["tokens"]) == (1, ["a", "b", "<other>", "a"])
    empty = visitor.post("b/encode", {"text": ""}).json
    assert (empty["unknown"], empty["read"]["tokens"]) == (0, [])


def test_a_curve_is_read_under_the_label_that_fits_best(told):
    with serving(told) as visitor:
        visitor.enter()
        found = visitor.post("a/encode?label=all", {"i": 2, "channels": {}}).json
        errors = [one["error"] for one in sorted(found["readings"], key=lambda one: one["label"])]
        own = int(told.data().test.labels()[2])
        wanted = visitor.get("a/errors").numbers("<f4", len(told.data().test))[2]
        assert errors[own] == pytest.approx(wanted, rel=1e-4)
        every = visitor.post("a/decode?label=all", np.zeros((2, 2), "<f4")).json["samples"]
        assert len(every) == 4
        assert every[:2] == every[2:]
        one = visitor.post("a/decode?label=1", np.zeros((1, 2), "<f4")).json["samples"]
        assert every[1] == one[0] != every[0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([1], "is not a JSON object"),
        ({"channels": {}}, "no whole number i"),
        ({"i": True, "channels": {}}, "no whole number i"),
        ({"i": 0, "channels": [1]}, "no object channels"),
        ({"i": 0, "channels": {"1": "1 2"}}, "channel '1' is no list of finite numbers"),
        ({"i": 0, "channels": {"1": ["1"] * T}}, "channel '1' is no list of finite numbers"),
        ({"i": 0, "channels": {"1": [float("nan")] * T}}, "is no list of finite numbers"),
        ({"i": 0, "channels": {"1": [1e999] * T}}, "is no list of finite numbers"),
        ({"i": 0, "channels": {"1": [10**400] * T}}, "is no list of finite numbers"),
        ({"i": 0, "channels": {"1": [1, 2]}}, "channel '1' has 2 numbers, but a window has 12"),
        ({"i": 0, "channels": {"pulse": [1] * T}}, "channel 'pulse' is unknown"),
        ({"i": 9999, "channels": {}}, "there is no test window 9999"),
        ({"i": -1, "channels": {}}, "there is no test window -1"),
        ({"i": 0, "channels": {"1": [1e200] * T}}, "too far from those of the training"),
    ],
)
def test_a_curve_that_is_none_is_refused_in_a_sentence(visitor, body, why):
    answer = visitor.post("a/encode", body)
    assert answer.status == 400
    assert why in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([1], "is not a JSON object"),
        ({}, "the body has no text"),
        ({"text": 3}, "the body has no text"),
        ({"text": "\ud800"}, "half of a character"),
        ({"text": "a" * 400}, "your sequence has 400 characters, but this model reads"),
    ],
)
def test_a_text_that_is_none_is_refused_in_a_sentence(visitor, body, why):
    answer = visitor.post("b/encode", body)
    assert answer.status == 400
    assert why in answer.json["error"]


def test_missing_values_are_refused_where_none_were_trained_on(told):
    with pytest.raises(zspace.UserError, match="trained on windows without any"):
        view_of(told).given((0, {"0": [None] * T}))


def test_integers_and_chords_are_written_as_numbers():
    assert typed("60 62,64", "integers") == [60, 62, 64]
    assert typed("60+64 62", "chords") == [[60, 64], [62]]
    assert typed("60 62", "words") == "60 62"
    assert typed("[] 60 <other>", "chords") == [[], [60], [-1]]
    for text, cut in [("60+62", "integers"), ("60 x", "chords"), ("6.5", "integers")]:
        with pytest.raises(zspace.UserError, match=f"holds more than {cut}"):
            typed(text, cut)


@pytest.mark.parametrize("chords", [False, True])
def test_what_an_integer_model_shows_can_be_written_back(chords):
    random = np.random.RandomState(0)
    tunes: list[Any] = [random.randint(60, 64, random.randint(0, 6)).tolist() for _ in range(60)]
    if chords:
        tunes = [[[note, note + 4] for note in tune] or [[]] for tune in tunes]
    run = zspace.train("vae", data=tunes, kind="tokens", out=False, vocabulary=5, **TINY)
    view = view_of(run)
    for x in run.data().test.images():
        tokens = view.shown(x.numpy()[None])["samples"][0]["tokens"]
        text = " ".join(token.replace(" ", "+") for token in tokens)  # as the page writes it
        assert torch.equal(view.given(text)[0], x)
    with pytest.raises(zspace.UserError, match="your sequence has 30 "):
        view.given("60 " * 30)


@pytest.mark.parametrize("key", ["a", "b"])
def test_there_is_no_gif_and_moments_hold_codes_alone(visitor, key):
    path = {"from": [0, 0], "to": [1, 1], "steps": 3, "path": "straight", "label": None}
    answer = visitor.post(f"{key}/gif", path)
    assert answer.status == 400
    assert "a GIF shows images, but this run was trained on" in answer.json["error"]
    facts = visitor.get(f"{key}/moments").json
    assert facts["epochs"] == [1, 2]
    assert visitor.get(f"{key}/moments/points").numbers("<f4", 2, facts["n"], 2).any()
    assert visitor.get(f"{key}/moments/pictures").body == b""


def test_an_exported_page_holds_curves_or_texts(series, tokens, tmp_path):
    for run, view in ((series, SeriesView(series)), (tokens, TokensView(tokens))):
        assert type(view_of(run)) is type(view)
        made = dict(export.arrays(view))
        facts = made["facts.json"]
        assert (facts["decoder"], facts["ids"], facts["kind"]) == ("tiles", [], run.spec.kind)
        x = run.data().test.images().numpy()
        assert made["images.json"] == view.shown(x)
        assert len(made["reconstructions.json"]["samples"]) == len(x)
        told, sheet = made["tiles.json"], made["decodings.json"]["samples"]
        plane = made[f"plane-{told['projection']}.json"]
        z = np.array(plane["origin"]) + told["xs"][3] * np.array(plane["u"])
        z = (z + told["ys"][1] * np.array(plane["v"])).astype(np.float32)
        assert sheet[len(told["xs"]) + 3] == view.shown(view.decode(z[None], None))["samples"][0]
        json.dumps(made["decodings.json"], allow_nan=False)


slow = pytest.mark.slow
chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def tab_names(page: Any) -> list[str]:
    return page.locator("#tabs button").all_inner_texts()


def follows(page: Any, selector: str, told: str = "d") -> None:
    """What the page decodes changes as the pointer moves, by an attribute or the text."""

    def shown() -> list[str]:
        found = page.locator(selector)
        return found.evaluate_all(
            f"all => all.map((one) => one.getAttribute('{told}') ?? one.textContent)"
        )

    page.mouse.move(*at(page, 0.2, 0.2))
    soon(lambda: all(shown()))
    before = shown()
    page.mouse.move(*at(page, 0.8, 0.8))
    soon(lambda: shown() != before)


@slow
@chromium
def test_what_a_visitor_does_with_series(browser, series):
    wrong: list[str] = []
    with serving(series) as visitor:
        page = opened(browser, f"http://{visitor.host}/?token={TOKEN}", wrong)
        assert tab_names(page) == ["Look", "Sliders", "Curve", "Path", "Training"]
        assert page.locator("#now .chart").count() == MOST_CHANNELS
        assert "1 more channel varies less" in page.locator("#now .note").inner_text()
        follows(page, "#now .chart path.made")
        told = page.locator("#now .chart svg").nth(1).get_attribute("aria-label")
        assert told.startswith("channel 1; Decoded here: first ")
        assert "; Test window " in told
        for part in ("least", "largest", "last"):
            assert told.count(f" {part} ") == 2
        page.locator(".map").first.focus()
        page.keyboard.press("Enter")  # a pick shows the window and its reconstruction
        soon(lambda: page.locator("#selected h2").inner_text().startswith("Test window "))
        soon(lambda: page.locator("#selected path.given").first.get_attribute("d"))
        soon(lambda: page.locator("#tab-look table.rows tbody tr").count() == 8)
        page.click("[data-tab='own']")  # the window that was picked, to draw over
        numbers = page.locator("#numbers")
        soon(lambda: len(numbers.input_value().split()) == T)
        page.select_option("#channel", label="channel 2")
        soon(lambda: "channel 2" in page.locator("label[for=numbers]").inner_text())
        sentence = page.locator("#typed .sentence")
        soon(lambda: "of the test windows" in sentence.inner_text())
        link, before = page.evaluate("location.href"), numbers.input_value()
        drag(page, [(0.1, 0.2), (0.9, 0.8)], "#curve-pad .chart:not([hidden]) .area", n=8)
        soon(lambda: numbers.input_value() != before)
        values = [float(one) for one in numbers.input_value().split() if one != "missing"]
        assert values[1] > values[5] > values[9]  # as it was drawn, from the top to the bottom
        soon(lambda: page.evaluate("location.href") != link)
        numbers.fill("1 2 3")
        soon(lambda: "3 numbers are written" in page.locator(".wrong").inner_text())
        numbers.fill(" ".join(["1000"] * (T - 1) + ["x"]))
        soon(lambda: "'x' is no number" in page.locator(".wrong").inner_text())
        numbers.fill(", ".join(["1000"] * (T - 1) + ["missing"]))
        soon(lambda: not page.locator(".wrong").is_visible())
        page.click("[data-tab='path']")
        soon(
            lambda: page.locator(".film .made").evaluate_all(
                "all => all.every((one) => one.getAttribute('d'))"
            )
        )
        before = page.locator("#now path.made").first.get_attribute("d")
        page.locator(".film button").last.click()
        soon(lambda: page.locator("#now path.made").first.get_attribute("d") != before)
        assert not page.locator("#gif").is_visible()
        page.click("[data-tab='training']")
        soon(lambda: "Epoch" in page.locator("#tab-training h2").inner_text())
    assert wrong == []


@slow
@chromium
def test_what_a_visitor_does_with_tokens(browser, tokens):
    wrong: list[str] = []
    with serving(tokens) as visitor:
        page = opened(browser, f"http://{visitor.host}/?token={TOKEN}", wrong)
        assert tab_names(page) == ["Look", "Sliders", "Text", "Path", "Training"]
        page.mouse.move(*at(page, 0.5, 0.5))
        now = page.locator("#now .text > [aria-hidden]")
        soon(lambda: all(now.all_inner_texts()))
        soon(lambda: ", decoded as " in page.locator("#told").text_content())
        page.locator(".map").first.focus()
        page.keyboard.press("Enter")
        title = page.locator("#selected h2")
        soon(lambda: title.inner_text().startswith("Test sequence "))
        i = int(title.inner_text().removeprefix("Test sequence "))
        at_ = tokens.data().test.names().index(str(i))
        (text,) = tokens.encoding.decode(x_of(tokens, at_))
        heard = page.locator("#selected .text .unseen").nth(1)
        soon(lambda: heard.text_content() == (text or "empty"))
        page.click("[data-tab='own']")
        field = page.locator("#text")
        soon(lambda: field.input_value() == text)
        sentence = page.locator("#typed .sentence")
        soon(lambda: "of the test sequences" in sentence.inner_text())
        read = page.locator("#tab-own .texts .text .unseen").nth(1)
        field.fill("ab xa")
        soon(lambda: read.text_content() == "ab <other>a")
        assert (
            page.locator("#unknown").inner_text()
            == "1 token is not in the vocabulary: read as <other>."
        )
        field.fill("<b>a")  # is text
        soon(lambda: "2 tokens are" in page.locator("#unknown").inner_text())
        assert not page.locator("#tab-own b").count()
        field.fill("a" * 50)
        soon(
            lambda: (
                "50 characters, but this model reads at most"
                in page.locator(".wrong").inner_text()
            )
        )
        field.fill("ab")
        soon(lambda: not page.locator(".wrong").is_visible())
        page.click("[data-tab='path']")
        soon(lambda: all(page.locator(".film .line").all_inner_texts()))
        assert page.locator(".film .line").count() == 9
    assert wrong == []


@slow
@chromium
@pytest.mark.parametrize(("kind", "scheme"), [("series", "light"), ("tokens", "dark")])
def test_pages_of_series_and_tokens_can_be_read(browser, request, kind, scheme):
    wrong: list[str] = []
    with serving(request.getfixturevalue(kind)) as visitor:
        for width in (360, 1024):
            size = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
            page = opened(browser, f"http://{visitor.host}/?token={TOKEN}", wrong, **size)
            for tab in ("look", "own", "path"):
                page.click(f"[data-tab='{tab}']")
                page.wait_for_load_state("networkidle")
                assert page.evaluate(CONTRAST) == []
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.context.close()
    assert wrong == []


@slow
@chromium
@pytest.mark.parametrize("kind", ["series", "tokens"])
def test_an_exported_page_shows_the_nearest_decoding(browser, request, kind, tmp_path):
    wrong: list[str] = []
    written = export.write_page(request.getfixturevalue(kind), tmp_path / "page.html")
    page = opened(browser, written.as_uri(), wrong)
    assert tab_names(page) == ["Look", "Training"]
    assert "the decoded" in page.locator("#tab-look .note").first.inner_text()
    if kind == "series":
        follows(page, "#now path.made")
    else:
        soon(lambda: all(page.locator("#now .text .unseen").all_text_contents()))
    assert wrong == []

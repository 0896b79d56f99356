"""The explorer of tables: what its server answers, its export, and the page in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zspace
from browsing import CHROMIUM, CONTRAST, at, inside, opened, soon
from test_table_runs import SMALL, people
from visiting import TOKEN, Visitor, serving
from zspace.analysis import latents
from zspace.explorer import export
from zspace.explorer.rows import RowView, view_of
from zspace.explorer.view import RunView

SHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return people(300).assign(income=lambda rows: rows["income"].round(2))


@pytest.fixture(scope="module")
def csv(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "people.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(csv: Path) -> zspace.Run:
    out = csv.parent / "run"
    return zspace.train("vae", data=str(csv), out=out, quiet=True, snapshots=2, **SMALL)


@pytest.fixture(scope="module")
def told(csv: Path) -> zspace.Run:
    """A conditional one, whose labels are the column sex."""
    options: dict[str, Any] = {"labels": "sex", "out": csv.parent / "told", "quiet": True}
    return zspace.train("cvae", data=str(csv), **options, **SMALL)


@pytest.fixture(scope="module")
def visitor(run: zspace.Run, told: zspace.Run) -> Iterator[Visitor]:
    with serving(run, told) as visitor:
        visitor.enter()
        yield visitor


def values(rows: list[list[dict[str, Any]]]) -> list[list[Any]]:
    return [[cell["formatted"] for cell in row] for row in rows]


def test_info_says_what_the_columns_are(visitor, run):
    found = visitor.get("info").json["runs"][0]
    assert (found["kind"], found["missing"], found["error"]) == ("table", True, "nll")
    columns = {column["name"]: column for column in found["columns"]}
    assert list(columns) == ["age", "income", "sex", "visits", "born", "ill"]
    assert columns["sex"]["values"] == [["f", "f", "f"], ["m", "m", "m"]]
    assert columns["ill"]["values"] == [["False", "False", False], ["True", "True", True]]
    assert columns["age"]["ends"] == list(run.encoding.entries[0].ends)
    assert found["ids"] == run.data().test.names()


def test_rows_go_out_as_cells(visitor, run):
    x = run.data().test.images(torch.tensor([4, 0]))
    found = visitor.get("a/images?i=4,0").json["samples"]
    assert values(found) == [[c["formatted"] for c in row] for row in run.encoding.cells(x)]
    age, _, sex, *_ = found[0]
    entry = run.encoding.entries[0]
    assert age["place"] == pytest.approx(
        (age["value"] - entry.low) / (entry.high - entry.low), abs=1e-4
    )
    assert sex["likely"] == [[sex["value"], 1.0]]


def test_a_decoded_row_has_the_probabilities_of_categories(visitor, run):
    z = np.random.RandomState(0).randn(3, 2).astype("<f4")
    found = visitor.post("a/decode", z).json["samples"]
    x = torch.from_numpy(run.decoded(z))
    assert found[1][0]["formatted"] == run.encoding.cells(x)[1][0]["formatted"]
    for row in found:
        assert sum(p for _, p in row[2]["likely"]) == pytest.approx(1, abs=0.01)
        assert row[2]["likely"][0][0] == row[2]["value"]
        assert row[5]["likely"][0][1] >= 0.5
    again = visitor.get("a/reconstructions?i=0,1").json["samples"]
    z = latents.codes(run, run.data()).z[:2].astype("<f4")
    assert again == visitor.post("a/decode", z).json["samples"]


def test_a_code_is_decoded_under_every_label(visitor):
    z = np.zeros((2, 2), "<f4")
    every = visitor.post("b/decode?label=all", z).json["samples"]
    assert len(every) == 4
    assert every[:2] == every[2:]
    assert every[1] == visitor.post("b/decode?label=1", z).json["samples"][0]


def test_a_typed_row_lies_where_the_same_row_of_a_frame_does(visitor, run, frame):
    row = frame.iloc[[7]]
    born = str(row["born"].item())[:10]
    typed = {
        "age": str(row["age"].item()), "income": "1,234.5", "sex": row["sex"].item(),
        "visits": "2", "born": born, "ill": str(row["ill"].item()),
    }  # fmt: skip
    found = visitor.post("a/encode", typed).json
    wanted = run.encode(row.assign(income=1234.5, visits=2))
    assert found["z"] == pytest.approx(wanted[0].tolist(), abs=1e-5)
    assert 0 <= found["percentile"] <= 100
    assert len(found["neighbours"]) == 8
    missing = visitor.post("a/encode", {**typed, "income": None}).json
    wanted = run.encode(row.assign(income=np.nan, visits=2))
    assert missing["z"] == pytest.approx(wanted[0].tolist(), abs=1e-5)
    del typed["income"]
    assert visitor.post("a/encode", typed).json == missing


def test_a_typed_row_is_read_under_the_label_that_fits_best(visitor, told):
    i = 3
    view, x = RowView(told), told.data().test.images(torch.tensor([i]))
    cells = told.encoding.cells(x)[0]
    typed = {cell["column"]: cell["formatted"].replace(",", "") for cell in cells}
    typed = {name: None if text == "missing" else text for name, text in typed.items()}
    found = visitor.post("b/encode?label=all", typed).json
    errors = [one["error"] for one in sorted(found["readings"], key=lambda one: one["label"])]
    assert found["label"] == int(np.argmin(errors))
    own = int(told.data().test.labels()[i])
    assert errors[own] == pytest.approx(view.errors[i], abs=0.05)  # income has other digits


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"age": "old"}, "'old' is no number, but column 'age' holds some"),
        ({"age": "nan"}, "'nan' is no number"),
        ({"sex": "x"}, "value of column 'sex' 'x' is unknown"),
        ({"born": "soon"}, "column 'born' holds texts that are no dates"),
        ({"size": "3"}, "column 'size' is unknown"),
        ({"age": 3}, "column 'age' holds no text"),
        ({"age": ""}, "column 'age' holds no text"),
        ({"age": "1" * 2000}, "column 'age' holds no text"),
        ([1], "is not a JSON object"),
    ],
)
def test_a_row_that_is_none_is_refused_in_a_sentence(visitor, body, why):
    answer = visitor.post("a/encode", body)
    assert answer.status == 400
    assert why in answer.json["error"]


def test_missing_values_are_refused_where_none_were_trained_on(frame, tmp_path):
    full = frame[["age", "sex"]]
    run = zspace.train("ae", data=full, out=False, quiet=True, **SMALL)
    with pytest.raises(zspace.UserError, match="trained on rows without any"):
        view_of(run).given({"age": "30", "sex": None})
    assert view_of(run).given({"age": "30", "sex": "f"}).shape == (1, run.spec.shape[0])


def test_durations_and_large_numbers_are_read_exactly():
    random = np.random.RandomState(0)
    spans = pd.to_timedelta(random.randint(1, 40, 80), unit="D")
    frame = pd.DataFrame({"wait": spans, "big": 2**60 + np.arange(80) ** 3, "x": random.rand(80)})
    run = zspace.train("ae", data=frame, out=False, quiet=True, **SMALL)
    view = view_of(run)
    typed = {"wait": "3 days", "big": str(2**60 + 27), "x": "−0.5"}
    row = pd.DataFrame({"wait": pd.to_timedelta([3], unit="D"), "big": [2**60 + 27], "x": [-0.5]})
    assert torch.equal(view.given(typed), run.encoding.encode(row))
    with pytest.raises(zspace.UserError, match="'long' is no duration"):
        view.given({**typed, "wait": "long"})


def test_errors_are_in_nats(visitor, run):
    x = run.data().test.images()
    with torch.no_grad():
        wanted = -run.model.decode(run.model.encode(x), None).log_prob(x)
    found = visitor.get("a/errors").numbers("<f4", len(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_there_is_no_gif_and_moments_hold_codes_alone(visitor, run):
    path = {"from": [0, 0], "to": [1, 1], "steps": 3, "path": "straight", "label": None}
    answer = visitor.post("a/gif", path)
    assert answer.status == 400
    assert "a GIF shows images" in answer.json["error"]
    facts = visitor.get("a/moments").json
    assert facts["epochs"] == [1, 2]
    assert visitor.get("a/moments/points").numbers("<f4", 2, facts["n"], 2).any()
    assert visitor.get("a/moments/pictures").body == b""


def test_a_view_is_of_its_kind(run, runs):
    assert type(view_of(runs["vae"])) is RunView
    assert type(view_of(run)) is RowView
    with pytest.raises(zspace.UserError, match="data of kind table, but this view shows image"):
        RunView(run)


def test_an_exported_page_holds_rows_and_a_sheet_of_them(run, tmp_path):
    made = dict(export.arrays(view_of(run)))
    facts = made["facts.json"]
    assert (facts["decoder"], facts["ids"], facts["kind"]) == ("tiles", [], "table")
    n = len(run.data().test)
    rows = made["images.json"]["samples"]
    assert values(rows) == values(run.encoding.cells(run.data().test.images()))
    assert len(made["reconstructions.json"]["samples"]) == n
    told, sheet = made["tiles.json"], made["decodings.json"]["samples"]
    assert len(sheet) == len(told["xs"]) * len(told["ys"])
    plane = made[f"plane-{told['projection']}.json"]
    z = np.array(plane["origin"]) + told["xs"][3] * np.array(plane["u"])
    z = (z + told["ys"][1] * np.array(plane["v"])).astype(np.float32)
    wanted = run.encoding.cells(torch.from_numpy(run.decoded(z[None])))[0]
    assert values([sheet[len(told["xs"]) + 3]]) == values([wanted])
    page = export.write_page(run, tmp_path / "page.html")
    assert json.loads(inside(page)["a/images.json"])["samples"] == rows


slow = pytest.mark.slow
chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def tab_names(page: Any) -> list[str]:
    return page.locator("#tabs button").all_inner_texts()


@slow
@chromium
def test_what_a_visitor_does_with_a_table(browser, run):
    wrong: list[str] = []
    with serving(run) as visitor:
        page = opened(browser, f"http://{visitor.host}/?token={TOKEN}", wrong)
        assert tab_names(page) == ["Look", "Sliders", "Row", "Training"]
        assert not page.locator("#tiles-switch, #panel canvas").locator("visible=true").count()
        now = page.locator("#now .value")
        page.mouse.move(*at(page, 0.2, 0.2))
        soon(lambda: all(now.all_inner_texts()))
        before = now.all_inner_texts()
        page.mouse.move(*at(page, 0.8, 0.8))  # the row follows the pointer
        soon(lambda: now.all_inner_texts() != before)
        page.locator(".map").first.focus()
        page.keyboard.press("Enter")  # a pick shows the row and its reconstruction
        title = page.locator("#selected h2")
        soon(lambda: title.inner_text().startswith("Test row "))
        name = title.inner_text().removeprefix("Test row ")
        i = run.data().test.names().index(name)
        cells = run.encoding.cells(run.data().test.images(torch.tensor([i])))[0]
        shown = page.locator("#selected td:last-child")
        soon(lambda: shown.all_inner_texts() == [cell["formatted"] for cell in cells])
        made = run.encoding.cells(
            torch.from_numpy(run.decoded(latents.codes(run, run.data()).z[[i]]))
        )
        assert page.locator("#selected .value").all_inner_texts() == values(made)[0]
        soon(lambda: page.locator("#tab-look table.rows tbody tr").count() == 8)  # nearest rows
        page.locator("#tab-look table.rows button").nth(2).click()
        soon(lambda: title.inner_text() != f"Test row {name}")
        page.click("[data-tab='sliders']")
        before = now.all_inner_texts()
        page.locator(".slider input").first.fill("2.5")
        soon(lambda: now.all_inner_texts() != before)
        page.click("[data-tab='own']")  # a form, prefilled by the row that was picked
        age, sex = page.get_by_label("age", exact=True), page.get_by_label("sex", exact=True)
        soon(lambda: age.input_value().isdigit())
        assert sex.input_value() in ("f", "m")
        sentence = page.locator("#typed .sentence")
        soon(lambda: "of the test rows" in sentence.inner_text())
        link = page.evaluate("location.href")
        age.fill("89")
        soon(lambda: page.evaluate("location.href") != link)
        age.fill("old")
        soon(lambda: "'old' is no number" in page.locator(".wrong").inner_text())
        age.fill("")  # missing
        soon(lambda: not page.locator(".wrong").is_visible())
        assert page.locator("#typed table.rows tbody tr").count() == 8
        page.click("[data-tab='training']")
        soon(lambda: "Epoch" in page.locator("#tab-training h2").inner_text())
    assert wrong == []


@slow
@chromium
@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (900, "dark"), (1400, "light")])
def test_the_page_of_a_table_can_be_read(browser, run, told, width, scheme):
    wrong: list[str] = []
    SHOTS.mkdir(exist_ok=True)
    with serving(told) as visitor:
        size = {"viewport": {"width": width, "height": 860}, "color_scheme": scheme}
        page = opened(browser, f"http://{visitor.host}/?token={TOKEN}", wrong, **size)
        for tab in ("look", "own"):
            page.click(f"[data-tab='{tab}']")
            page.mouse.move(*at(page, 0.5, 0.5))
            page.wait_for_load_state("networkidle")
            assert page.evaluate(CONTRAST) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SHOTS / f"rows-{tab}-{width}-{scheme}.png")
        page.click("[data-tab='look']")
        as_m = page.locator("#strip button[aria-label='m']")
        as_m.click()
        soon(lambda: page.locator("#now .code").inner_text().endswith("as m"))
    assert wrong == []


@slow
@chromium
def test_an_exported_table_shows_the_nearest_decoded_row(browser, run, tmp_path):
    wrong: list[str] = []
    page = opened(browser, export.write_page(run, tmp_path / "page.html").as_uri(), wrong)
    assert tab_names(page) == ["Look", "Training"]
    assert "ready-made decodings of one plane" in page.locator("#tab-look .note").inner_text()
    page.mouse.move(*at(page, 0.2, 0.2))
    soon(lambda: all(page.locator("#now .value").all_inner_texts()))
    before = page.locator("#now .value").all_inner_texts()
    page.mouse.move(*at(page, 0.8, 0.8))
    soon(lambda: page.locator("#now .value").all_inner_texts() != before)
    assert wrong == []

"""The report page: what it says, what it shows, and that it needs nothing from anywhere."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import assembled
import browsing
import zspace
from conftest import unpainted
from zspace.analysis import latents
from zspace.analysis.generation import novelty, sample_quality
from zspace.analysis.measure import Measure
from zspace.analysis.numbers import number, percent
from zspace.cli import main
from zspace.data.spec import Fact, Spec
from zspace.models.bottlenecks import Point
from zspace.models.flow import Pass
from zspace.models.objective import Objective
from zspace.models.recipes import RECIPES, Player, Recipe, assemble, one_player
from zspace.models.terms import gives
from zspace.report import facts as words
from zspace.report import reasons
from zspace.report.facts import contrasts, families
from zspace.report.figures import charts, pictures, registry, style
from zspace.report.figures.registry import FIGURES, PARTS
from zspace.report.html import page, tables, workings
from zspace.report.html.page import write_report
from zspace.runs.many import Study, open_study, write_table
from zspace.runs.measured import evaluate
from zspace.studies import grid
from zspace.studies.grid import Grid, divided, parse_choices
from zspace.system.errors import UserError
from zspace.training.progress import Quiet

pytestmark = pytest.mark.timeout(300)  # whoever comes first draws every figure of twelve runs
VOID = {"meta", "link", "img", "br", "source", "hr", "input"}


class Page(HTMLParser):
    """A page taken apart: its tags, its text, and whether it is balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html, self.open = html, list[str]()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.sources: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.sources:
            self.sources[tag].append("")

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] in self.sources:
            self.sources[self.open[-1]][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split()).replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> set[str]:
        return {a["id"] for _, a in self.tags if "id" in a}


@pytest.fixture(scope="module")
def folder(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three families and two sizes, with two seeds, and one run that failed."""
    fixed = {
        "data": str(digits), "hidden": [16], "epochs": 2, "batch": 64, "precision": "fp32",
        "snapshots": 3,
    }  # fmt: skip
    out = tmp_path_factory.mktemp("report") / "study"
    given = Grid(("ae", "vae", "cvae"), (2, 3), 2, fixed)
    grid.conduct(given, out, reporter=lambda *_: Quiet(), told=lambda *_: None)
    record = json.loads((out / "study.json").read_text())
    record["runs"][-1] |= {"status": "failed", "reason": "the loss at step 3 is <nan>"}
    (out / "study.json").write_text(json.dumps(record))
    shutil.rmtree(out / "runs" / record["runs"][-1]["name"])  # a finished one would count as such
    return out


@pytest.fixture(scope="module", autouse=True)
def coarse() -> Iterator[None]:
    """Fewer dots an inch: what the figures look like is not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "DPI", 50)
        yield


@pytest.fixture(scope="module")
def said() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


@pytest.fixture(scope="module")
def written(folder: Path, said: Console) -> Path:
    study = open_study(folder)
    evaluate(study.best("vae"), sections=["representation"])
    return write_report(study, folder / "report.html", said)


@pytest.fixture(scope="module")
def shown(written: Path) -> Page:
    return Page(written.read_text())


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return open_study(folder)


@pytest.fixture(scope="module")
def alone(runs, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of one plain autoencoder, without snapshots."""
    path = tmp_path_factory.mktemp("alone") / "report.html"
    with unpainted():
        return Page(write_report(open_study(runs["ae"].path), path).read_text())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page, by the command, of coloured pictures whose classes have the worst of names."""
    place = tmp_path_factory.mktemp("hostile")
    random = np.random.RandomState(0)
    for name in ("<script>alert(1)<", 'it\'s "quoted" & $5', "{{ 7 * 7 }}"):
        (place / "data" / name).mkdir(parents=True)
        for i in range(40):
            pixels = random.randint(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "data" / name / f"{i}.png")
    run = zspace.train(
        "cvae", data=str(place / "data"), latent=1, hidden=(8,), epochs=1, batch=8,
        precision="fp32", out=place / "run", quiet=True,
    )  # fmt: skip
    with unpainted():
        assert main.run(["report", str(run.path), "--out", str(place / "new" / "page.html")]) == 0
    return Page((place / "new" / "page.html").read_text())


# Words


def test_lists_in_words():
    assert words.joined(["a"]) == "a"
    assert words.joined(["a", "b"]) == "a and b"
    assert words.joined(["a", "b", "c"]) == "a, b and c"
    assert words.sentence("ends so") == "Ends so."
    assert words.sentence("Ends so.") == "Ends so."


def test_half_of_the_fall():
    assert charts.half_way({1: 50.0, 2: 32.0, 3: 29.0, 4: 10.0}) == 3
    assert charts.half_way({1: 10.0, 2: 12.0}) is None


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"mse": 1.0}, "squared error"),
        ({"mse": 1.0, "kl": 0.0039}, "squared error + 0.0039 × KL to the prior"),
        ({"mse": 1.0, "generator_loss": "0.5, adaptive"},
         "squared error + adversarial loss (weight 0.5, adaptive)"),
        ({"my_own_term": 12.345}, "12.3 × my own term"),
    ],
)  # fmt: skip
def test_an_objective_in_words(runs, weights, text):
    family = families(Study(Path("made-up"), [runs["vaegan"]]))[0]
    assert workings.weighed(family, weights) == text


def test_what_is_printed_is_typeset():
    assert (
        words.curly("the AE's, the codes' N(0, I)")
        == "the AE’s, the codes’ N(0,\N{NO-BREAK SPACE}I)"
    )


# Measures


def test_the_page_states_what_the_evaluation_measures(study, shown):
    family = families(study)[2]
    found = sample_quality(family.run, study.data)
    asked, right = (found[name].value for name in ("conditional_accuracy", "judge_accuracy"))
    told = pictures.sample_numbers(study)
    assert told["Read by a classifier as the class asked for"] == {"CVAE": percent(asked)}
    assert told["Test images that it reads correctly"] == {"CVAE": percent(right)}
    assert f"Read by a classifier as the class asked for CVAE {percent(asked)}" in shown.text
    far = next(value for name, value in told.items() if name.startswith("Median distance"))
    new = novelty(family.run, study.data)["novelty"].value
    assert far["CVAE"] == number(new)


# Families


def of(runs, *names: str) -> Study:
    return Study(Path("made-up"), [runs[name] for name in names])


def test_contrasts_are_fair(study):
    kl, label = contrasts(study)
    assert (kl.before.name, kl.after.name) == ("ae", "vae")
    assert (label.before.name, label.after.name) == ("vae", "cvae")
    assert kl.size in (2, 3)


def test_no_contrast_without_its_pair(runs):
    assert [one.after.name for one in contrasts(of(runs, "vae", "cvae"))] == ["cvae"]
    for names in (("ae", "cvae"), ("ae", "vaegan"), ("ae", "iwae"), ("vae",)):
        assert contrasts(of(runs, *names)) == []
    assert contrasts(of(runs, "ae", "beta_vae"))[0].after.kl_weight == 4.0


def test_no_contrast_between_other_settings(runs, digits, tmp_path):
    other = zspace.train(
        "vae", data=str(digits), latent=3, hidden=(32,), epochs=1, precision="fp32",
        out=tmp_path / "vae", quiet=True,
    )  # fmt: skip
    assert contrasts(Study(Path("made-up"), [runs["ae"], other])) == []


def numbers_of(study: Study, part: str) -> dict[str, Any]:
    return {what: of for one in reasons.given(study, part) for what, of in one.numbers.items()}


def texts_of(study: Study, part: str) -> str:
    return " ".join(one.text for one in reasons.given(study, part))


def test_changes_are_the_numbers_of_both(study):
    changes, kl = numbers_of(study, "kl"), contrasts(study)[0]
    old, new = (f.mean("test", "mse", kl.size) for f in (kl.before, kl.after))
    key = f"AE → VAE: squared error, mean code → drawn code, on test, code size {kl.size}"
    assert changes[key] == f"{number(old)} → {number(new)}"
    without = changes[f"AE → VAE: squared error, mean code, on test, code size {kl.size}"]
    assert without.startswith(f"{number(old)} → ")
    label = numbers_of(study, "label")
    assert any(key.startswith("VAE → CVAE: objective, drawn code") for key in label)


def test_findings_have_a_cell_for_each_family(study):
    found = {what: cells for what, _, cells in tables.findings(study)}
    assert all(len(cells) == 3 for cells in found.values())
    mse = [number(family.mean("test", "mse")) for family in families(study)]
    assert found["Squared error, drawn code"] == [words.DASH, *mse[1:]]
    assert found["Squared error, mean code"][0] == mse[0]
    assert words.DASH not in found["Squared error, mean code"]
    assert found["KL to the prior"][0] == words.DASH
    assert {part for _, part, _ in tables.findings(study)} < set(PARTS)


# Tables


def test_the_table_shows_spread_and_choice(study):
    table = tables.results(study)
    assert tables.terms_of(study) == ["mse", "kl", "objective"]
    assert list(table) == ["AE", "VAE", "CVAE"]
    assert all(sum(row.chosen for row in rows) == 1 for rows in table.values())
    assert all(len(row.cells) == 9 for rows in table.values() for row in rows)
    assert table["AE"][0].cells[1] == words.DASH  # an autoencoder has no KL
    assert "±" in table["AE"][0].cells[0]
    assert "±" not in table["CVAE"][-1].cells[0]  # its other seed failed


def test_a_choice_says_by_how_much(study, runs):
    for family, row in zip(families(study), tables.choices(study), strict=True):
        values = {size: family.mean("validation", "objective", size) for size in family.sizes}
        best, other = sorted(values, key=values.get)
        chosen = [family.title, "objective", str(best), number(values[best]), str(other)]
        assert row[:5] == chosen
        assert row[5] == number(values[other] - values[best])
    assert tables.choices(of(runs, "vae")) == []  # one size: nothing was chosen


def test_every_run_has_a_line(study):
    heads, rows = tables.every_run(study)
    assert len(rows) == 11
    assert all(len(row) == len(heads) for row in rows)
    assert {row[2] for row in rows} == {"0", "1"}


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (
            Grid(("ae", "vae"), (2, 20), 1, {"data": "mnist5k", "snapshots": 24}),
            "zspace study ae vae --data mnist5k --latent 2 20 --seeds 1 --out d",
        ),
        (
            Grid(("beta_vae",), (2,), 3, {"data": "a b", "hidden": [16, 8]}, {"beta": [0.5, 4]}),
            "zspace study beta_vae --data 'a b' --latent 2 --seeds 3 "
            "--set 'hidden=[16,8]' beta=0.5,4 --out d",
        ),
    ],
)  # fmt: skip
def test_the_command_of_a_study(given, command):
    record = json.loads(json.dumps({**vars(given), "fixed": dict(given.fixed)}))
    assert tables.study_command(record, "d") == command


def test_the_command_of_a_study_trains_the_same_grid(folder):
    record = json.loads((folder / "study.json").read_text())["grid"]
    command = tables.study_command(record, "d")
    sets = re.search(r"--set (.*) --out", command).group(1).replace("'", "").split(" ")
    fixed, vary = divided(parse_choices(sets))
    fixed = json.loads(json.dumps(fixed))
    assert vary == {}
    wanted = dict(record["fixed"])
    assert fixed == {name: wanted[name] for name in wanted if name != "data"}


def test_the_command_of_a_run_trains_the_same_job(runs, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("zspace.training.api.start", lambda config, *_, **__: seen.append(config))
    monkeypatch.setattr("zspace.report.figures.registry.overview", lambda run: [])
    monkeypatch.setattr("zspace.sharing.card.write", lambda run: None)
    config = runs["beta_vae"].config
    assert main.run(shlex.split(tables.train_command(config))[1:]) == 0
    same = replace(config.training, device="auto")
    assert seen == [replace(config, training=same)]


@pytest.fixture
def known(folder: Path) -> Study:
    """The study with made-up SSIM and PSNR, but for its last run, which is of an old version."""
    study = open_study(folder)
    for i, run in enumerate(study.runs):
        values = {"mse": 0.01, "ssim": 0.5 + i / 100, "psnr": 20.0 + i}
        run.record["result"]["quality"] = {"test": values}
    del study.runs[-1].record["result"]["quality"]
    return study


def test_the_table_has_quality_where_it_was_measured(known):
    table = tables.results(known)
    assert tables.quality_names(known) == ["mse_mean_code", "ssim", "psnr"]
    assert table["AE"][0].measures == ["1.96", "0.5050 ± 0.0071", "20.50 ± 0.71"]  # 0.01 x 14 x 14
    assert table["CVAE"][-1].measures == [words.DASH] * 3
    heads, rows = tables.every_run(known)
    assert heads[-3:] == [
        f"test {tables.quality_title(name)}" for name in tables.quality_names(known)
    ]
    assert rows[1][-3:] == ["1.960", "0.510", "21.000"]
    assert rows[-1][-3:] == [words.DASH] * 3
    better = {row[0]: row[3] for row in tables.glossary(known)}
    assert (better["SSIM"], better["PSNR"], better["mse"]) == ("higher", "higher", "lower")


def test_the_csv_has_quality_where_it_was_measured(known, tmp_path):
    lines = write_table(known, tmp_path / "table.csv").read_text().splitlines()
    heads, first, *_, last, _ = (line.split(",") for line in lines)
    assert first[heads.index("test_ssim")] == "0.5"
    assert first[heads.index("test_psnr")] == "20.0"
    assert last[heads.index("test_ssim")] == ""
    assert "test_mse" in heads


def test_the_numbers_of_quality_are_those_of_the_runs(known):
    told = FIGURES["quality"].numbers(known)
    chosen = families(known)[0]
    ssim = np.mean([run.result["quality"]["test"]["ssim"] for run in chosen.sizes[chosen.chosen]])
    assert told["SSIM of all test images"]["AE"] == number(ssim)


def test_runs_of_an_old_version_have_no_such_columns(folder):
    study = open_study(folder)
    for run in study.runs:
        run.record["result"].pop("quality", None)
        run.record.pop("objectives", None)
    assert tables.quality_names(study) == []
    assert tables.every_run(study)[0][-1] == "test objective"
    assert "SSIM" not in [row[0] for row in tables.glossary(study)]
    assert not any(FIGURES["quality"].numbers(study).values())


def test_a_page_says_what_is_minimised(shown, runs):
    assert "KL to N(0, I). Minimised: squared error + KL to the prior." in shown.text
    ((_, _, sums, _),) = workings.about(of(runs, "vaegan"))
    assert sums[0].startswith("squared error + KL to the prior + ")
    assert "adversarial loss (weight 0.5, adaptive)" in sums[0]
    assert sums[1] == "loss of the discriminator"


def test_codes_that_are_maps_are_called_so(maps):
    study = Study(Path("made-up"), list(maps.values()))
    told = workings.widths(study)
    assert told == {
        "Encoder, and the decoder in reverse": "conv 4 → 4",
        "Numbers in a code": "2 × 3 × 4",
    }
    assert [row.size for rows in tables.results(study).values() for row in rows] == [
        "2 × 3 × 4"
    ] * 2
    assert any("code 2×3×4" in key for key in numbers_of(study, "kl"))
    assert FIGURES["tweak"].numbers(study)["Directions"]["AE"].startswith("two principal")
    names = [name for name, _ in tables.settings(study)]
    assert "channels" in names
    assert not {"activation", "heads"} & set(names)  # options of other networks


def test_codes_of_two_kinds_are_told_apart(maps, runs):
    study = Study(Path("made-up"), [runs["ae"], maps["vae"]])
    assert workings.widths(study)["Numbers in a code"] == "3 and 2 × 3 × 4"


@pytest.mark.slow
def test_a_page_of_maps_without_labels(maps, tmp_path):
    study = Study(maps["vae"].path, list(maps.values()))
    with unpainted():
        made = Page(write_report(study, tmp_path / "maps.html").read_text())
    assert {"figure-quality", "figure-tweak", "figure-training"} <= made.ids()


# The page


def test_every_figure_says_what_it_shows():
    for drawing in FIGURES.values():
        assert drawing.part in PARTS
        assert drawing.part not in ("more", "models", "results", "made")
        for text in (drawing.alt, drawing.caption):
            assert len(text) > 20
            assert text.endswith(".")


IMAGES = {name: one for name, one in FIGURES.items() if one.kinds in ((), ("image",))}


def test_every_figure_is_on_the_page(shown, folder):
    can = {name: d for name, d in IMAGES.items() if name != "rate-distortion"}  # one weight
    for name, drawing in can.items():
        assert f'id="figure-{name}"' in shown.html
        assert words.curly(drawing.caption).replace("\N{NO-BREAK SPACE}", " ") in shown.text or (
            name == "codes-pca"  # in <noscript>, as text
        )
    numbers = [int(n) for n in re.findall(r"Figure (\d+)\.", shown.html)]
    assert numbers == list(range(1, len(can) + 1))


def test_progress_is_told(written, said):
    text = said.file.getvalue()
    assert f"figure 1/{len(IMAGES) - 1}  data" in text
    assert "posterior" in text


def test_nothing_is_fetched(shown, alone, hostile):
    for made in (shown, alone, hostile):
        for tag, attributes in made.tags:
            for name in ("src", "href", "srcset", "data", "action", "poster"):
                value = attributes.get(name, "data:")
                assert value.startswith(("data:", "#")), (tag, name, value[:60])
        for source in made.sources["style"]:
            assert "url(" not in source
            assert "@import" not in source
        assert not re.search(r"https?://", made.html)


def test_the_policy_allows_what_is_there_and_nothing_else(shown):
    metas = shown.all("meta")
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert page.digest(shown.sources["style"][0]) in policy
    scripts = shown.all("script")
    assert [s.get("type") for s in scripts] == ["application/json", None]
    assert page.digest(shown.sources["script"][1]) in policy
    for tag, attributes in shown.tags:
        wild = [name for name in attributes if name == "style" or name.startswith("on")]
        assert not wild, (tag, wild)


def test_images_are_embedded_and_described(shown, alone, hostile):
    for made in (shown, alone, hostile):
        images = made.all("img")
        assert images
        for image in images:
            assert len(image["alt"]) > 20
            kind, _, content = image["src"].partition(";base64,")
            opened = Image.open(io.BytesIO(base64.b64decode(content)))
            assert kind == f"data:image/{opened.format.lower()}"
            assert int(image["width"]) > 0


def test_every_picture_is_there_on_light_and_on_dark_paper(shown):
    pairs = list(zip(shown.all("source"), shown.all("img"), strict=True))
    figures = len(shown.all("figure"))
    assert len(pairs) == figures - 2 + 10 + 2  # animations have ten frames, and two
    for source, image in pairs:
        assert source["media"] == "screen and (prefers-color-scheme: dark)"
        day, night = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(text.partition("base64,")[2]))))
            for text in (image["src"], source["srcset"])
        )
        assert day.shape == night.shape
        np.testing.assert_allclose(day[0, 0], 255, atol=1)
        np.testing.assert_allclose(night[0, 0], 255 * style.DARK, atol=2)


def test_an_animation_shows_its_last_frame_until_it_is_played(shown):
    films = [a for a in shown.all("div") if a.get("class") == "film"]
    ranges = [int(a["max"]) for a in shown.all("input") if a["type"] == "range"]
    assert len(films) == len(ranges) == 2
    assert all("hidden" in film for film in films)  # it takes a script to play
    now = [a.get("class") == "now" for a in shown.all("picture")]
    assert sum(now) == len(shown.all("figure"))


CUT = """() => [
    ...document.querySelectorAll("#results > .scroll, #results div > .scroll")
  ].map((box) => [box.scrollWidth > box.clientWidth + 1, box.classList.contains("cut")])"""
SIZES = """() => [...document.querySelectorAll(".now img")].filter((image) => image.offsetParent)
  .map((image) => image.getBoundingClientRect().width / image.getAttribute("width"))"""
FRAME = """() => {
  const frames = [...document.querySelector("#figure-plane-labels .frames").children];
  return frames.findIndex((frame) => getComputedStyle(frame).visibility === "visible");
}"""


@pytest.mark.slow
@pytest.mark.skipif(browsing.CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser_the_page_fits_is_scrubbed_and_follows_the_theme(written):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browsing.CHROMIUM, args=["--no-sandbox"])
        for width, theme in ((1440, "light"), (1024, "dark"), (360, "dark"), (360, "light")):
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            faults: list[str] = []
            tab.on("console", lambda said, faults=faults: faults.append(said.text))
            tab.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
            tab.goto(written.as_uri())
            browsing.soon(lambda tab=tab: tab.locator(".film").first.is_visible())
            assert not faults
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            cuts = tab.evaluate(CUT)
            assert all(cut == said for cut, said in cuts)
            if width >= 1024:
                assert not any(cut for cut, _ in cuts)
            assert min(tab.evaluate(SIZES)) > 0.78  # text of 13 pixels stays above 10
            night = tab.locator("#figure-data source").get_attribute("srcset")
            seen = tab.locator("#figure-data img").evaluate("image => image.currentSrc")
            assert (seen == night) == (theme == "dark")
            assert not tab.evaluate(browsing.CONTRAST)
            if width == 1440:
                slider = tab.locator("#figure-plane-labels .film input")
                button = tab.locator("#figure-plane-labels .film button")
                assert tab.evaluate(FRAME) == 9
                slider.fill("4")
                assert tab.evaluate(FRAME) == 3
                button.click()
                browsing.soon(lambda tab=tab: tab.evaluate(FRAME) == 5)
                button.click()
                assert tab.evaluate(FRAME) == 5
                tab.wait_for_timeout(2 * FIGURES["plane-labels"].milliseconds)
                assert tab.evaluate(FRAME) == 5
                slider.fill("9")
                button.click()
                browsing.soon(lambda tab=tab: tab.evaluate(FRAME) == 9)
                assert button.inner_text() == "Play"  # it ends with the last frame
            tab.close()
        browser.close()


def test_no_flag_is_broken_over_two_lines():
    told = page.flags("zspace study a-b --out x/-y -o <z> --hold-out 3, not - or 2-3")
    assert str(told) == (
        'zspace study a-b <span class="flag">--out</span> x/-y <span class="flag">-o</span> '
        '&lt;z&gt; <span class="flag">--hold-out</span> 3, not - or 2-3'
    )


@pytest.mark.parametrize(
    ("near", "titles"),
    [({}, ""), ({"VAE": 0.9}, "of VAE lie"), ({"VAE": 0.9, "AE": 0.8}, "of AE and VAE lie")],
)
def test_samples_nearer_than_real_images_are_explained_only_where_they_are(
    study, monkeypatch, near, titles
):
    far = {id(family.run): near.get(family.title, 1.1) for family in families(study)}
    monkeypatch.setattr(reasons, "prior_novelty", lambda run, data: far[id(run)])
    found = reasons.smoother(study)
    assert (found is not None) == bool(titles)
    assert titles in texts_of(study, "invent")


@pytest.mark.parametrize(("floor", "said"), [(26.2, 1), (20.7, 0)])
def test_a_distance_below_that_of_training_images_is_explained(study, monkeypatch, floor, said):
    found = {"frechet": Measure(20.8, "of samples"), tables.FLOOR: Measure(floor, "the same")}
    record = {"made": "up"}
    monkeypatch.setattr(tables, "read", lambda run: record)
    monkeypatch.setattr(tables, "measures_of", lambda record: {"generation": found})
    monkeypatch.setattr(tables, "missing_of", lambda record: {})
    monkeypatch.setattr(tables, "warnings_of", lambda record: [])
    assert tables.evaluated(study).notes == [
        f"{title}: {tables.SMOOTH}" for title in ("AE", "VAE", "CVAE") * said
    ]


def test_links_lead_somewhere(shown, alone):
    for made in (shown, alone):
        for link in made.all("a"):
            assert link["href"][1:] in made.ids()


def test_without_scripts_there_is_the_still_figure(shown):
    assert "noscript" in {tag for tag, _ in shown.tags}
    inside = re.search(r"<noscript>(.*?)</noscript>", shown.html, re.DOTALL).group(1)
    assert 'id="figure-codes-pca"' in inside
    assert "data:image/webp" in inside
    assert 'id="explorer" hidden' in shown.html


def test_one_heading_and_a_language(shown):
    assert len(shown.all("h1")) == 1
    assert shown.all("html") == [{"lang": "en-GB"}]
    assert {"main", "nav"} <= {tag for tag, _ in shown.tags}


def test_the_maths_is_mathml(shown):
    assert len(shown.all("math")) == 9
    assert all(len(math["alttext"]) > 20 for math in shown.all("math"))


def test_failed_runs_are_shown(shown):
    assert "Runs that failed" in shown.text
    assert "cvae-3-s1" in shown.text
    assert "the loss at step 3 is <nan>" in shown.text


def test_settings_environment_and_commands_are_there(shown, folder):
    assert torch.__version__ in shown.text
    assert "zspace study ae vae cvae" in shown.text
    assert "seed 0; 1" in shown.text
    assert zspace.load(folder / "runs/ae-2-s0").record["data"]["fingerprint"] in shown.text


def test_this_studys_numbers_stand_beside_the_figures(shown, study):
    for family in families(study):
        assert f"{family.title} {number(family.mean('test', 'mse'))}" in shown.text
    counts = np.bincount(study.data.train.labels().numpy())
    assert f"Training images per class {counts.min()} to {counts.max()}" in shown.text


def test_the_size_is_modest(written):
    assert written.stat().st_size < 6_000_000


# One run


def test_one_run_has_its_page(alone, runs):
    assert alone.text.count("This page shows one model trained on") == 1
    assert "zspace repeat" in alone.text
    assert f"{runs['ae'].result['test']['mse']:.2f}" in alone.text
    assert "One seed: this page cannot tell" in alone.text


@pytest.mark.parametrize("absent", ["VAE", "CVAE", "conditional", "evidence lower bound", "KL"])
def test_absent_families_are_not_mentioned(alone, absent):
    text = alone.text[: alone.text.index("Figures that are not here")]
    assert not re.search(rf"\b{absent}\b", text), text[text.find(absent) - 80 :][:160]


def test_what_cannot_be_drawn_is_left_out_and_named(alone, runs):
    assert "figure-training" not in alone.ids()
    assert "Figures that are not here" in alone.text
    assert FIGURES["plane-by-label"].needs(open_study(runs["ae"].path)) in alone.text
    assert "figure-reconstructions-by-size" not in alone.ids()  # one size: shown already


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("ae", {"autoencoder", "squared"}),
        ("vae", {"elbo", "closed", "gaussian", "squared"}),
        ("cvae", {"elbo", "conditional", "closed", "gaussian", "squared"}),
        ("beta_vae", {"elbo", "weight", "closed", "gaussian", "squared"}),
        ("iwae", {"importance", "closed", "gaussian", "squared"}),
    ],
)
def test_the_maths_is_that_of_the_families(runs, recipe, wanted):
    assert workings.maths(open_study(runs[recipe].path)) == wanted


def test_other_weights_of_the_kl_are_named(runs):
    told = workings.kl_weights(open_study(runs["beta_vae"].path))
    assert told == {"Weight of the KL": {"beta-VAE": "4.00"}}


def test_a_place_that_cannot_be_written_is_a_sentence(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, FileExistsError, NotADirectoryError)):
        write_report(open_study(runs["ae"].path), tmp_path / "file" / "report.html")


# Hostile names


def test_names_cannot_break_out(hostile):
    assert len(hostile.all("script")) == 2
    assert "<script>alert(1)" not in hostile.html
    assert "<script>alert(1)<" in hostile.text
    assert "{{ 7 * 7 }}" in hostile.text
    assert not any("alert" in source for source in hostile.sources["script"][1:])


# The scatter


def read(made: Page) -> dict:
    return json.loads(made.sources["script"][0])


def test_the_scatter_has_every_test_image(shown, study):
    data = read(shown)
    n = len(study.data.test)
    assert data["count"] == n
    assert data["y"] == study.data.test.labels().tolist()
    assert [family["label"] for family in data["families"]] == ["AE", "VAE", "CVAE"]
    for family in data["families"]:
        assert len(family["x"]) == len(family["y"]) == len(family["error"]) == n
    assert len(data["colours"]) == len(set(data["colours"])) == 10


def test_the_scatter_lies_where_the_figure_lies(shown, study):
    for family, cloud in zip(families(study), read(shown)["families"], strict=True):
        at = latents.plane(family.run, data=study.data).points
        np.testing.assert_allclose(np.c_[cloud["x"], cloud["y"]], at, atol=2e-3)


def test_the_sprite_holds_images_and_reconstructions(shown, study):
    data = read(shown)
    sheet = Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition("base64,")[2])))
    width, height = data["tile"]

    def tile(i: int) -> np.ndarray:
        left, top = i % data["columns"] * width, i // data["columns"] * height
        cut = sheet.convert("L").crop((left, top, left + width, top + height))
        return np.asarray(cut) / 255

    x = study.data.test.images().numpy()
    np.testing.assert_allclose(tile(7), x[7, 0], atol=0.04)
    for f, family in enumerate(families(study)):
        y = study.data.test.labels() if family.traits.conditional else None
        made = family.run.reconstruct(x, y)
        np.testing.assert_allclose(tile((f + 1) * len(x) + 7), made[7, 0], atol=0.04)
        error = ((x[7] - made[7]) ** 2).sum()
        assert data["families"][f]["error"][7] == pytest.approx(error, abs=0.06)


def test_coloured_pictures_have_a_coloured_sprite(hostile):
    data = read(hostile)
    sheet = Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition("base64,")[2])))
    assert np.asarray(sheet.convert("RGB")).std(axis=2).max() > 10


def test_large_pictures_become_thumbnails():
    assert page.thumbnails(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 1, 28, 28)
    assert page.thumbnails(np.zeros((2, 3, 64, 64), np.float32)).shape == (2, 3, 32, 32)
    assert page.thumbnails(np.zeros((2, 2, 28, 28), np.float32)).shape == (2, 1, 28, 28)
    assert page.thumbnails(np.zeros((2, 1, 33, 50), np.float32)).shape == (2, 1, 17, 25)


# Models from anywhere: what the page says comes from their parts


@gives(mmd=Fact("MMD to the prior"))
def mmd(p: Pass) -> dict[str, torch.Tensor]:
    """The energy distance of codes to draws of the prior, a kernel MMD."""
    z = p.latents[0].z[0]
    prior = torch.randn_like(z)
    apart = [torch.cdist(a, b).mean() for a, b in ((z, prior), (z, z), (prior, prior))]
    return {"mmd": 2 * apart[0] - apart[1] - apart[2]}


def my_own(p: Pass) -> dict[str, torch.Tensor]:
    """An error without facts."""
    return {"my_own": (p.x - p.px.mean).abs().flatten(2).sum(2).mean(0)}


def toy_wae(data: Spec, latent: int = 2, **net: Any) -> Recipe:
    """Wasserstein autoencoder with a deterministic code."""
    model = assemble(data, Point(latent), net=net)
    return one_player(model, mmd, weights={"mmd": 10.0}, title="WAE-MMD")


def toy_vq(data: Spec) -> Recipe:
    """Vector-quantised autoencoder."""
    made = assembled.vq(data)
    made.model.bottleneck.discrete = True
    return made


def toy_flow(data: Spec) -> Recipe:
    """VAE whose prior is a flow."""
    return replace(assembled.flow_prior(data), title="Flow-VAE")


def toy_own(data: Spec, latent: int = 2, **net: Any) -> Recipe:
    """Autoencoder that minimises a term of its own."""
    model = assemble(data, Point(latent), net=net)
    return Recipe(model, (Player(model, Objective([my_own], {"my_own": 1.0})),))


STANDARD = ("N(0, I)", "N(0, 1)")
UNPLACED, BOUND = "No term says where codes should lie", "lower bound"
FALSE = {
    "toy_wae": (UNPLACED, "Nothing is said", BOUND, "KL", "a reconstruction error alone"),
    "toy_vq": (UNPLACED, BOUND, "KL", "Density of the codes", "Circle: 86%", "circle: 86%"),
    "toy_flow": (UNPLACED, "closed form", "Circle: 86%", "circle: 86%"),
    "toy_own": (UNPLACED, "Squared error alone", "What squared error means", BOUND, "KL"),
}
TITLES = {"toy_wae": "WAE-MMD", "toy_vq": "toy-vq", "toy_flow": "Flow-VAE", "toy_own": "toy-own"}


@pytest.fixture(scope="module", params=TITLES)
def toy(request, digits, tmp_path_factory) -> Iterator[tuple[str, Study, Page]]:
    """A model that zspace does not have, and its page."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, name, globals()[name])
        options = {"hidden": (16,)} if name in ("toy_wae", "toy_own") else {}
        run = zspace.train(
            name, data=str(digits), epochs=2, batch=64, precision="fp32", snapshots=2,
            out=folder / "run", quiet=True, **options,
        )  # fmt: skip
        study = open_study(run.path)
        with unpainted():
            made = Page(write_report(study, folder / "page.html").read_text())
        yield name, study, made


def test_a_page_says_nothing_false_of_a_model_from_elsewhere(toy):
    name, study, made = toy
    text = made.text
    assert f"{TITLES[name]} on digits" in text
    for false in FALSE[name]:
        assert false not in text[: text.index("Figures that are not here")], false
    if name == "toy_flow":
        captions = [d.caption for d in IMAGES.values() if d.needs(study) is None]
        rest = text[: text.index("Figures that are not here")]
        for caption in captions:
            rest = rest.replace(words.curly(caption).replace("\N{NO-BREAK SPACE}", " "), "")
        for noise in ("Draw noise ε from N(0, I)", "ε, N(0, I)", "ε N(0, I)"):
            assert noise in rest  # which is true of any Gaussian q(z|x)
            rest = rest.replace(noise, "")
        assert not any(standard in rest for standard in STANDARD)
        assert "prior p(z) a learned prior" in text
    if name == "toy_wae":
        assert "Minimised: squared error + 10 × MMD to the prior." in text


def test_every_figure_of_a_model_from_elsewhere_is_there_or_named_with_its_reason(toy):
    _, study, made = toy
    missing = made.text[made.text.index("Figures that are not here") :]
    for figure_name, drawing in IMAGES.items():
        reason = drawing.needs(study)
        assert (f'id="figure-{figure_name}"' in made.html) == (reason is None), figure_name
        assert reason is None or f"{figure_name} {words.curly(reason)}" in words.curly(missing)


def test_terms_that_validation_lacks_leave_a_dash(runs, tmp_path):
    run = zspace.load(runs["ae"].path)
    run.record["result"]["train"]["spread"] = 0.5
    study = Study(run.path, [run])
    assert tables.terms_of(study) == ["mse", "spread", "objective"]
    assert tables.results(study)["AE"][0].cells[4] == words.DASH
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FIGURES", {})
        assert "spread" in write_report(study, tmp_path / "page.html").read_text()


# A figure from elsewhere

MINE = '''
from matplotlib.figure import Figure
from zspace.report.figures.registry import figure

@figure("norms", "Norms of the codes"{part}, numbers=lambda study: {{"Answer": "42"}})
def norms(study):
    """A histogram of one bar.

    How far codes lie from 0.
    """
    fig = Figure()
    fig.subplots().bar([0], [1])
    return fig
'''


@pytest.mark.parametrize(("part", "home"), [("", "more"), (', "codes"', "codes")])
def test_a_figure_of_the_users_own_is_on_the_page_and_drawn(
    part, home, runs, tmp_path, monkeypatch
):
    (tmp_path / f"mine_{home}.py").write_text(MINE.format(part=part))
    few = {"codes-pca": FIGURES["codes-pca"]}
    monkeypatch.setattr(registry, "FIGURES", few)
    given = ["--import", str(tmp_path / f"mine_{home}.py"), "--out"]
    path = str(runs["ae"].path)
    assert main.run(["report", path, *given, str(tmp_path / "page.html")]) == 0
    assert main.run(["figure", "norms", path, *given, str(tmp_path / "norms.svg")]) == 0
    assert (tmp_path / "norms.svg").read_text().startswith("<?xml")
    html = (tmp_path / "page.html").read_text()
    section = html[html.index(f'<section id="{home}"') :].partition("</section>")[0]
    assert '<figure id="figure-norms">' in section
    assert 'alt="Norms of the codes. A histogram of one bar."' in section
    assert "How far codes lie from 0." in section
    assert "Answer" in section
    assert ('href="#more"' in html) == (home == "more")


def test_a_figure_for_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="part 'cods' is unknown: did you mean 'codes'"):
        registry.figure("x", "X", "cods")

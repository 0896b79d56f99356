"""The report page: what it says, what it shows, and that it needs nothing from anywhere."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import zspace
from zspace.analysis import latents
from zspace.cli import main
from zspace.report import closeness
from zspace.report import facts as sentences
from zspace.report.facts import Facts, families_of, kl_contrast, label_contrast, number, sizes
from zspace.report.figures.registry import FIGURES
from zspace.report.html import page, prose, tables
from zspace.report.html.captions import CAPTIONS
from zspace.report.html.page import write_report
from zspace.runs.many import Study, open_study, write_table
from zspace.runs.measured import evaluate
from zspace.studies import grid
from zspace.studies.grid import Grid, parse_choices
from zspace.system.errors import UserError
from zspace.training.progress import Quiet

pytestmark = pytest.mark.timeout(300)  # whoever comes first draws every figure of twelve runs
VOID = {"meta", "link", "img", "br", "source", "hr"}


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
def facts(folder: Path) -> Facts:
    return Facts.of(open_study(folder))


@pytest.fixture(scope="module")
def alone(runs, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of one plain autoencoder, without snapshots."""
    path = tmp_path_factory.mktemp("alone") / "report.html"
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
    assert main.run(["report", str(run.path), "--out", str(place / "new" / "page.html")]) == 0
    return Page((place / "new" / "page.html").read_text())


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.4, "1,234"), (12345678.0, "12,345,678"), (449.1, "449"), (39.46, "39.5"),
        (5.377, "5.38"), (0.314, "0.31"), (0.0468, "0.047"), (0.00123, "0.0012"), (0.0, "0"),
        (-3.14, "−3.14"), (float("nan"), "not finite"), (float("inf"), "not finite"),
    ],
)  # fmt: skip
def test_numbers_have_about_three_digits(value, text):
    assert sentences.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.5, "50%"), (0.994, "99.4%"), (0.9999, "99.9%"), (0.0042, "0.4%")],
)
def test_shares_are_rounded_to_all_only_where_it_is_all(share, text):
    assert sentences.percent(share) == text


def test_lists_in_words():
    assert sentences.joined(["a"]) == "a"
    assert sentences.joined(["a", "b"]) == "a and b"
    assert sentences.joined(["a", "b", "c"]) == "a, b and c"
    assert sentences.count(1, "run") == "1 run"
    assert sentences.count(4050, "image") == "4,050 images"
    assert sentences.count(2, "class", "classes") == "2 classes"
    assert (sentences.spelled(3), sentences.spelled(18)) == ("three", "18")
    assert sentences.duration(34.2) == "34 seconds"
    assert sentences.duration(600) == "10 minutes"
    assert sentences.duration(9000) == "2.5 hours"
    assert sentences.sentence("ends so") == "Ends so."
    assert sentences.sentence("Ends so.") == "Ends so."


def test_each_names_families_only_where_there_are_several():
    assert sentences.each({"AE": 5.38}) == "5.38"
    assert sentences.each({"AE": 5.38, "VAE": 17.3}) == "5.38 for the AE and 17.3 for the VAE"
    assert sentences.each({"AE": 0.5}, "percent") == "50%"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (5.38, 17.3, "The KL term raises the squared error from 5.38 to 17.3"),
        (17.3, 5.38, "The KL term lowers the squared error from 17.3 to 5.38"),
        (17.31, 17.33, "The KL term leaves the squared error at 17.3"),
    ],
)
def test_a_change_looks_at_its_sign(before, after, text):
    assert sentences.change("The KL term", "squared error", before, after) == text


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ({2: 36.8, 20: 12.5}, "its error falls from 36.8 at 2 dimensions to 12.5 at 20"),
        ({2: 12.5, 20: 36.8}, "its error rises from 12.5 at 2 dimensions to 36.8 at 20"),
        ({2: 12.5, 20: 12.51}, "its error is 12.5 at 2 dimensions and at 20"),
        (
            {2: 36.8, 10: 11.1, 20: 12.5},
            "its error falls from 36.8 at 2 dimensions to 12.5 at 20, with its lowest value, "
            "11.1, at 10",
        ),
    ],
)
def test_a_course_tells_rise_fall_and_turn(steps, text):
    assert sentences.course("its error", steps, "dimensions") == text


def test_a_choice_says_by_how_much():
    assert sentences.choice("VAE", {20: 28.0}) == "VAE: 20 is the only code size that was trained."
    assert sentences.choice("VAE", {2: 34.8, 20: 28.0, 50: 28.5}) == (
        "VAE: 20 dimensions. Its validation objective, 28.0, is the lowest, 0.50 below that of "
        "the next, 50."
    )
    assert sentences.choice("VAE", {2: 34.8, 20: 28.0, 50: 28.3}, spread=0.5).endswith(
        "0.30 below that of the next, 50: less than the spread over seeds, 0.50, so not a clear "
        "win."
    )
    assert "that of 50 too: not a clear win" in sentences.choice("VAE", {20: 28.0, 50: 28.01})


def test_a_choice_may_be_of_channels():
    told = sentences.choice("VAE", {2: 34.8, 4: 28.0}, unit="channels")
    assert told.startswith("VAE: 4 channels. Its validation objective, 28.0, is the lowest")


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"mse": 1.0}, "squared error"),
        ({"mse": 1.0, "kl": 0.0039}, "squared error + 0.0039 × KL term"),
        ({"mse": 0.0, "iwae": 1.0, "kl": 0.0}, "importance-weighted bound"),
        ({"mse": 1.0, "generator_loss": "0.5, adaptive"},
         "squared error + adversarial term (weight 0.5, adaptive)"),
        ({"total_correlation": 12.345}, "12.3 × total correlation"),
    ],
)  # fmt: skip
def test_an_objective_in_words(weights, text):
    assert sentences.weighted(weights) == text


def test_extremes_name_the_hardest_and_the_easiest():
    assert (
        sentences.extremes({"0": 5.0, "8": 9.0, "1": 2.0}) == "hardest 8 (9.00), easiest 1 (2.00)"
    )
    assert sentences.extremes({"0": 5.0, "1": 5.001}) == "all classes alike (5.00)"


def test_a_gap_may_go_either_way():
    assert sentences.gap(9.0, 12.0, "validation") == (
        "12.0 on validation against 9.00 on train, 3.00 more"
    )
    assert sentences.gap(12.0, 9.0, "validation").endswith("3.00 less")
    assert sentences.gap(9.0, 9.001, "validation") == "9.00 on validation against 9.00 on train"


def test_further_depends_on_the_reference():
    assert sentences.further({"AE": 35.7, "VAE": 23.2, "CVAE": 20.0}, 26.2) == (
        "samples of the AE lie further from real images than other real images do, those of the "
        "VAE and CVAE do not"
    )
    assert sentences.further({"AE": 20.0, "VAE": 35.0}, 26.2).startswith("samples of the VAE lie")
    assert sentences.further({"AE": 1.0, "VAE": 2.0}, 26.2) == "none lie further from real images"
    assert sentences.further({"AE": 30.0, "VAE": 40.0}, 26.2) == "all lie further from real images"
    assert sentences.further({"AE": 30.0}, 26.2) == "they lie further from real images"
    assert sentences.further({"AE": 20.0}, 26.2) == "they do not lie further from real images"


def test_a_round_trip_may_go_either_way():
    assert sentences.round_trip(0.17, 0.61) == (
        "Decoded and encoded again, a code of A comes back 0.17 window widths from where it was, "
        "one of B 0.61: further."
    )
    assert sentences.round_trip(0.61, 0.17).endswith("one of B 0.17: nearer.")
    assert sentences.round_trip(0.17, 0.171).endswith("one of B 0.17: no difference.")


def test_half_of_the_fall():
    assert sentences.half_way({1: 50.0, 2: 32.0, 3: 29.0, 4: 10.0}) == (3, 29.0)
    assert sentences.half_way({1: 10.0, 2: 12.0}) is None


def test_normality_claims_only_what_passes():
    one = sentences.normality({"AE": 0.42, "VAE": 0.047}, 0.061)
    assert "is 0.42 for the AE and 0.047 for the VAE" in one
    assert one.endswith("only the VAE passes that test on average.")
    assert "only the AE passes" in sentences.normality({"AE": 0.01, "VAE": 0.42}, 0.061)
    assert "only" not in sentences.normality({"AE": 0.42, "VAE": 0.2}, 0.061)
    assert "only" not in sentences.normality({"AE": 0.02, "VAE": 0.01}, 0.061)
    assert "VAE" not in sentences.normality({"AE": 0.42}, 0.061)


def test_activity_counts():
    assert sentences.activity(1, 20, 3.5) == (
        "1 of 20 dimensions carries more than 0.01 nats; all together carry 3.50"
    )
    assert sentences.activity(13, 20, 10.9).startswith("13 of 20 dimensions carry")


def test_what_is_printed_is_typeset():
    assert (
        sentences.curly("the AE's, the codes' N(0, I)")
        == "the AE’s, the codes’ N(0,\N{NO-BREAK SPACE}I)"
    )


# Measures


def test_distance_to_real_images(facts):
    train = facts.data.train.images().numpy()
    assert closeness.to_real(facts.data, train[:20]) == pytest.approx(0, abs=1e-3)
    moved = np.zeros_like(train[:1])
    flat = train.reshape(len(train), -1)
    assert closeness.to_real(facts.data, moved) == pytest.approx((flat**2).sum(1).min(), rel=1e-4)


def test_neighbours_of_the_same_class():
    x = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.2]])
    assert closeness.alike(x, np.array([0, 0, 1, 1, 2, 2])) == 1.0
    assert closeness.alike(x, np.array([0, 1, 0, 1, 0, 1])) == 0.0
    assert closeness.alike(np.zeros((4, 1)), np.array([0, 0, 0, 0])) == 1.0


def test_rank_correlation_is_of_the_shared_names():
    a, b = {"0": 1.0, "1": 2.0, "2": 3.0}, {"2": 30.0, "1": 20.0, "0": 10.0, "9": -1.0}
    assert closeness.rank_correlation(a, b) == pytest.approx(1.0)
    assert closeness.rank_correlation(a, {name: -b[name] for name in b}) == pytest.approx(-1.0)
    assert closeness.rank_correlation({"0": 1.0, "1": 1.0}, b) == 0.0


def test_class_errors_average_to_the_result(facts):
    family = facts.families[1]
    errors = closeness.class_errors(family.run, "mse", facts.data)
    y = facts.data.test.labels().numpy()
    counts = np.bincount(y, minlength=10)
    shares = [counts[facts.data.classes.index(name)] / len(y) for name in errors]
    assert np.dot(shares, list(errors.values())) == pytest.approx(family.run.result["test"]["mse"])


def test_the_judge_knows_real_digits(facts):
    found = closeness.judge(facts.data)
    assert found is not None
    assert found.right > 0.5
    assert 0 <= closeness.as_asked(facts.families[2].run, facts.data) <= 1


# Families


def test_contrasts_are_fair(facts):
    assert (facts.kl.before.name, facts.kl.after.name) == ("ae", "vae")
    assert (facts.label.before.name, facts.label.after.name) == ("vae", "cvae")
    assert facts.kl.size in (2, 3)


def test_no_contrast_without_its_pair(runs):
    def study(*names: str) -> list:
        return families_of(Study(Path("made-up"), [runs[name] for name in names]))

    assert kl_contrast(study("vae", "cvae")) is None
    assert kl_contrast(study("ae", "cvae")) is None
    assert label_contrast(study("ae", "cvae")) is None
    assert label_contrast(study("ae", "vae")) is None
    assert kl_contrast(study("ae", "beta_vae")).after.kl_weight == 4.0


def test_no_contrast_between_other_settings(runs, digits, tmp_path):
    other = zspace.train(
        "vae", data=str(digits), latent=3, hidden=(32,), epochs=1, precision="fp32",
        out=tmp_path / "vae", quiet=True,
    )  # fmt: skip
    assert kl_contrast(families_of(Study(Path("made-up"), [runs["ae"], other]))) is None


def test_findings_check_the_sign(facts):
    found = dict.fromkeys(text for _, text in prose.findings(facts))
    kl = next(text for text in found if text.startswith("The KL term"))
    size = facts.kl.size
    old, new = (f.mean("test", "mse", size) for f in (facts.kl.before, facts.kl.after))
    if number(old) == number(new):
        assert " leaves " in kl
    elif abs(new - old) < 0.01 * old:
        assert " hardly changes " in kl
    else:
        assert (" raises " in kl) == (new > old)
        assert f"from {number(old)} to {number(new)}" in kl


# Tables


def test_the_table_shows_spread_and_choice(facts):
    table = tables.results(facts)
    assert [name for name, _ in table.terms] == ["mse", "kl", "objective"]
    assert len(table.rows) == 6
    assert sum(row.chosen for row in table.rows) == 3
    assert all(len(row.cells) == 9 for row in table.rows)
    assert table.rows[0].cells[1] == tables.DASH  # an autoencoder has no KL
    assert "±" in table.rows[0].cells[0]
    assert "±" not in table.rows[-1].cells[0]  # its other seed failed


def test_every_run_has_a_line(facts):
    heads, rows = tables.every_run(facts)
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
    fixed, vary = parse_choices(sets)
    assert vary == {}
    wanted = dict(record["fixed"])
    assert fixed == {name: wanted[name] for name in wanted if name != "data"}


def test_the_command_of_a_run_trains_the_same_job(runs, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("zspace.training.api.start", lambda config, *_: seen.append(config))
    monkeypatch.setattr("zspace.report.figures.charts.overview", lambda run: [])
    config = runs["beta_vae"].config
    assert main.run(shlex.split(tables.train_command(config))[1:]) == 0
    same = replace(config.settings, device="auto")
    assert seen == [replace(config, settings=same)]


@pytest.fixture
def known(folder: Path) -> Facts:
    """The study with made-up SSIM and PSNR, but for its last run, which is of an old version."""
    study = open_study(folder)
    for i, run in enumerate(study.runs):
        values = {"mse": 0.01, "ssim": 0.5 + i / 100, "psnr": 20.0 + i}
        run.record["result"]["quality"] = {"test": values}
    del study.runs[-1].record["result"]["quality"]
    return Facts.of(study)


def test_the_table_has_quality_where_it_was_measured(known):
    table = tables.results(known)
    assert table.measures == ["SSIM", "PSNR (dB)"]
    assert table.rows[0].measures == ["0.505 ± 0.007", "20.50 ± 0.71"]
    assert table.rows[-1].measures == [tables.DASH, tables.DASH]
    heads, rows = tables.every_run(known)
    assert heads[-2:] == ["test SSIM", "test PSNR (dB)"]
    assert rows[1][-2:] == ["0.510", "21.000"]
    assert rows[-1][-2:] == [tables.DASH] * 2
    assert "Of SSIM and PSNR, explained below, more is better" in prose.intro("results", known)[0]


def test_the_csv_has_quality_where_it_was_measured(known, tmp_path):
    lines = write_table(known.study, tmp_path / "table.csv").read_text().splitlines()
    heads, first, *_, last, _ = (line.split(",") for line in lines)
    assert first[heads.index("test_ssim")] == "0.5"
    assert first[heads.index("test_psnr")] == "20.0"
    assert last[heads.index("test_ssim")] == ""
    assert "test_mse" in heads


def test_the_caption_of_quality_has_the_numbers(known):
    text = CAPTIONS["quality"](known)
    chosen = known.families[0]
    ssim = np.mean([run.result["quality"]["test"]["ssim"] for run in chosen.sizes[chosen.chosen]])
    assert f"SSIM {sentences.number(ssim)} for the AE" in text
    assert "11 × 11 pixels" in prose.intro("quality", known)[0]


def test_runs_of_an_old_version_have_no_such_columns(folder):
    study = open_study(folder)
    for run in study.runs:
        run.record["result"].pop("quality", None)
        run.record.pop("objectives", None)
    facts = Facts.of(study)
    assert tables.results(facts).measures == []
    assert tables.every_run(facts)[0][-1] == "train objective"
    assert "SSIM" not in prose.intro("results", facts)[0]
    assert prose.minimised(facts.families[0]) == ""
    assert CAPTIONS["quality"](facts).endswith("encoded to its mean code and decoded.")


def test_a_page_says_what_is_minimised(shown, runs):
    assert "reconstruction error plus KL to N(0, I). Minimised: squared error + KL term." in (
        shown.text
    )
    family = families_of(Study(Path("made-up"), [runs["vaegan"]]))[0]
    told = prose.minimised(family)
    assert told.startswith("Two players: the first minimises squared error + KL term + ")
    assert "adversarial term (weight 0.5, adaptive)" in told
    assert told.endswith("; the second minimises discriminator's loss.")


def test_codes_that_are_maps_are_called_so(maps):
    facts = Facts.of(Study(Path("made-up"), list(maps.values())))
    assert "with a code of 2 × 3 × 4 numbers" in prose.lede(facts)
    assert dict(prose.parts(facts))["encoder"] == "conv 4 → 4 → 4"
    assert dict(prose.parts(facts))["decoder"] == "conv 4 → 4 → 4"
    assert dict(prose.parts(facts))["code z"] == "2 × 3 × 4"
    assert [row.size for row in tables.results(facts).rows] == ["2 × 3 × 4"] * 2
    assert "code channels" in next(t for _, t in prose.findings(facts) if t.startswith("The KL"))
    assert "the two principal ones in the AE" in CAPTIONS["tweak"](facts)
    names = [name for name, _ in tables.settings(facts)]
    assert "channels" in names
    assert not {"hidden", "heads"} & set(names)  # options of other networks


def test_codes_of_two_kinds_are_told_apart(maps, runs):
    some = families_of(Study(Path("made-up"), [runs["ae"], maps["vae"]]))
    assert sizes(some) == "3 dimensions for the AE and a map of 2 × 3 × 4 numbers for the VAE"


@pytest.mark.slow
def test_a_page_of_maps_without_labels(maps, tmp_path):
    study = Study(maps["vae"].path, list(maps.values()))
    made = Page(write_report(study, tmp_path / "maps.html").read_text())
    assert {"figure-quality", "figure-tweak", "figure-training"} <= made.ids()


# The page


def test_every_figure_has_a_place_and_a_caption():
    placed = [name for part in page.PARTS for name in part.figures]
    assert sorted(placed) == sorted(FIGURES)
    assert set(CAPTIONS) == set(FIGURES)
    assert {part.name for part in page.PARTS} == set(prose.INTROS)


def test_every_figure_is_on_the_page(shown, folder):
    for name in FIGURES:
        assert f"figure-{name}" in shown.ids() or f'id="figure-{name}"' in shown.html
    numbers = [int(n) for n in re.findall(r"Figure (\d+)\.", shown.html)]
    assert numbers == list(range(1, len(FIGURES) + 1))


def test_progress_is_told(written, said):
    text = said.file.getvalue()
    assert f"figure 1/{len(FIGURES)}  data" in text
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


def test_animations_have_a_still(shown):
    stills = [a for a in shown.all("source") if a["srcset"].startswith("data:image/png")]
    assert len(stills) == 2
    assert all("prefers-reduced-motion" in still["media"] for still in stills)


def test_links_lead_somewhere(shown, alone):
    for made in (shown, alone):
        for link in made.all("a"):
            assert link["href"][1:] in made.ids()


def test_without_scripts_there_is_the_still_figure(shown):
    assert "noscript" in {tag for tag, _ in shown.tags}
    inside = re.search(r"<noscript>(.*?)</noscript>", shown.html, re.DOTALL).group(1)
    assert 'id="figure-codes-pca"' in inside
    assert "data:image/png" in inside
    assert 'id="explorer" hidden' in shown.html


def test_one_heading_and_a_language(shown):
    assert len(shown.all("h1")) == 1
    assert shown.all("html") == [{"lang": "en-GB"}]
    assert {"main", "nav"} <= {tag for tag, _ in shown.tags}


def test_the_maths_is_mathml(shown):
    assert len(shown.all("math")) == 6
    assert all(len(math["alttext"]) > 20 for math in shown.all("math"))


def test_failed_runs_are_shown(shown):
    assert "Runs that failed" in shown.text
    assert "cvae-3-s1" in shown.text
    assert "the loss at step 3 is <nan>" in shown.text


def test_settings_environment_and_commands_are_there(shown, folder):
    assert torch.__version__ in shown.text
    assert "zspace study ae vae cvae" in shown.text
    assert "Seeds 0 and 1" in shown.text
    assert zspace.load(folder / "runs/ae-2-s0").record["data"]["fingerprint"] in shown.text


def test_captions_state_this_studys_numbers(shown, facts):
    for family in facts.families:
        assert f"{number(family.mean('test', 'mse'))} for the {family.label}" in shown.text
    counts = np.bincount(facts.data.train.labels().numpy())
    assert f"have {counts.min()} to {counts.max()} training images each" in shown.text


def test_the_size_is_modest(written):
    assert written.stat().st_size < 6_000_000


# One run


def test_one_run_has_its_page(alone, runs):
    assert alone.text.count("One model was trained") == 1
    assert "zspace repeat" in alone.text
    assert f"{runs['ae'].result['test']['mse']:.2f}" in alone.text
    assert "One seed: how far another would be" in alone.text


@pytest.mark.parametrize("absent", ["VAE", "CVAE", "conditional", "evidence lower bound", "KL"])
def test_absent_families_are_not_mentioned(alone, absent):
    text = alone.text.replace("KL to the prior", "")
    assert not re.search(rf"\b{absent}\b", text), text[text.find(absent) - 80 :][:160]


def test_what_cannot_be_drawn_is_left_out_and_named(alone):
    assert "figure-training" not in alone.ids()
    assert "Figures that are not here" in alone.text
    assert "plane-by-label" in alone.text
    assert "figure-reconstructions-by-size" not in alone.ids()  # one size: shown already


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("ae", {"autoencoder", "squared"}),
        ("vae", {"elbo", "gaussian", "squared"}),
        ("cvae", {"elbo", "conditional", "gaussian", "squared"}),
        ("beta_vae", {"elbo", "weight", "gaussian", "squared"}),
        ("iwae", {"importance", "gaussian", "squared"}),
    ],
)
def test_the_maths_is_that_of_the_families(runs, recipe, wanted):
    assert prose.maths_wanted(Facts.of(open_study(runs[recipe].path))) == wanted


def test_other_weights_of_the_kl_are_named(runs):
    facts = Facts.of(open_study(runs["beta_vae"].path))
    assert "a weight, 4.00 in the beta-VAE" in prose.on_weight(facts)


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


def test_the_scatter_has_every_test_image(shown, facts):
    data = read(shown)
    n = len(facts.data.test)
    assert data["count"] == n
    assert data["y"] == facts.data.test.labels().tolist()
    assert [family["label"] for family in data["families"]] == ["AE", "VAE", "CVAE"]
    for family in data["families"]:
        assert len(family["x"]) == len(family["y"]) == len(family["error"]) == n
    assert len(data["colours"]) == len(set(data["colours"])) == 10


def test_the_scatter_lies_where_the_figure_lies(shown, facts):
    for family, cloud in zip(facts.families, read(shown)["families"], strict=True):
        at = latents.plane(family.run, data=facts.data).points
        np.testing.assert_allclose(np.c_[cloud["x"], cloud["y"]], at, atol=2e-3)


def test_the_sprite_holds_images_and_reconstructions(shown, facts):
    data = read(shown)
    sheet = Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition("base64,")[2])))
    width, height = data["tile"]

    def tile(i: int) -> np.ndarray:
        left, top = i % data["columns"] * width, i // data["columns"] * height
        cut = sheet.convert("L").crop((left, top, left + width, top + height))
        return np.asarray(cut) / 255

    x = facts.data.test.images().numpy()
    np.testing.assert_allclose(tile(7), x[7, 0], atol=0.04)
    for f, family in enumerate(facts.families):
        y = facts.data.test.labels() if family.conditional else None
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


def test_a_difference_of_under_a_percent_is_no_claim():
    text = sentences.change("The KL term", "squared error", 49.827, 49.856)
    assert text == "The KL term hardly changes the squared error: 49.8 before, 49.9 after"
    assert "raises" in sentences.change("The KL term", "squared error", 49.0, 50.0)

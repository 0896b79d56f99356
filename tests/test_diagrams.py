"""Diagrams of models: of every recipe, with all of its parts, whole and readable."""

from __future__ import annotations

import runpy
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import assembled
from zspace.cli import main
from zspace.data.spec import Spec
from zspace.models import recipes
from zspace.models.flow import Pass
from zspace.models.recipes import Recipe
from zspace.models.zoo import __all__ as ours
from zspace.report import diagrams
from zspace.report.diagrams import Diagram, diagram, example, words
from zspace.report.html.gallery import write_gallery
from zspace.system.errors import UserError

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
TOYS = {"vq": assembled.vq, "ladder": assembled.ladder, "flow": assembled.flow_prior}
SOUGHT = {  # what each of these has and others have not
    "ae": ("code z",),
    "cvae": ("label c", "prior p(z)"),
    "vaegan": ("patch discriminator", "feature network", "the model minimises:"),
    "sentence_vae": ("one sequence", "bag"),
    "vq": ("vector quantizer", "0.25 × commitment"),
    "ladder": ("z1 ~ q(z1|x)", "z2 ~ q(z2|x)", "p(z1|z2)"),
    "flow": ("a learned prior",),
}


def of_toy(name: str) -> tuple[Recipe, Spec, Pass]:
    spec = Spec((1, 8, 8))
    recipe = TOYS[name](spec)
    recipe.model.eval()
    with torch.no_grad():
        return recipe, spec, recipe.model(torch.zeros(1, 1, 8, 8))


EVERY = [*ours, *TOYS]


@pytest.fixture(scope="module")
def parts() -> dict[str, tuple[Recipe, Spec, Pass]]:
    """Of every recipe of the package, and of three that are assembled by hand."""
    return {name: of_toy(name) if name in TOYS else example(name) for name in EVERY}


@pytest.fixture(scope="module")
def made(parts) -> dict[str, Diagram]:
    return {name: diagram(*of, sizes=False, name=name) for name, of in parts.items()}


@pytest.mark.parametrize("name", EVERY)
def test_every_part_is_named(parts, made, name):
    root, (recipe, _, p) = ElementTree.fromstring(made[name].svg(name, alone=True)), parts[name]
    seen = " ".join(text.text for text in root.iter(f"{SVG}text"))
    wanted = ["x", "encoder", "decoder", "p(x|z)", *SOUGHT.get(name, ())]
    for player in recipe.players:
        wanted += [player.objective.facts[term].title for term in player.objective.minimised()]
        wanted += [player.objective.facts[term].title for term in player.objective.passing()]
    wanted += [words(type(player.module).__name__) for player in recipe.players[1:]]
    wanted += ["feature network" for _ in recipe.feature_networks]
    wanted += [f"z{k + 1}" for k in range(len(p.latents)) if len(p.latents) > 1]
    for part in wanted:
        assert part in seen, (part, seen)


@pytest.mark.parametrize("name", EVERY)
def test_boxes_lie_apart_and_hold_their_text(made, name):
    shown = made[name]
    for a, b in combinations(shown.boxes, 2):
        assert not a.overlaps(b), (a.lines, b.lines)
    for box in shown.boxes:
        assert box.x >= 0
        assert box.x + box.width <= diagrams.WIDTH
        room = box.width * (0.84 if box.shape in ("narrowing", "widening") else 1)
        assert max(map(len, box.lines)) * diagrams.LETTER <= room + 1, box.lines
        assert len(box.lines) * diagrams.LINE <= box.height
    assert all(y <= shown.height for corners, _ in shown.arrows for _, y in corners)


def test_boxes_that_overlap_are_found():
    box = diagrams.Box(("a",), "data", 0, 0, 10, 10)
    assert box.overlaps(diagrams.Box(("b",), "data", 9, 9, 10, 10))
    assert not box.overlaps(diagrams.Box(("b",), "data", 10, 0, 10, 10))


def test_an_autoencoder_has_no_noise_and_no_prior(made):
    assert not {"ε", "prior p(z)", "label c"} & set(made["ae"].parts)
    assert {"ε", "μ", "σ", "prior p(z)"} <= set(made["vae"].parts)
    assert "label c" not in made["vae"].parts


def test_terms_have_their_weights(made):
    assert {"squared error", "4 × KL to the prior"} <= set(made["beta_vae"].parts)
    assert "6 × total correlation" in made["tcvae"].parts


def test_a_file_by_itself_has_paper_that_follows_the_theme(made):
    alone = made["vae"].svg("vae", alone=True)
    ElementTree.fromstring(alone)
    assert "prefers-color-scheme: dark" in alone
    assert "<style>" not in made["vae"].svg("vae")  # a page's policy would refuse it
    assert "currentColor" in alone


def test_names_of_terms_cannot_break_out(made):
    box = diagrams.Box(("<script>", 'a & "b"'), "term", 0, 0, 90, 40)
    svg = Diagram("a < b", "c & d", [box]).svg('x"y', alone=True)
    root = ElementTree.fromstring(svg)
    assert [text.text for text in root.iter(f"{SVG}text")] == ["<script>", 'a & "b"']
    assert root.get("aria-labelledby") == "x-y-title x-y-says"


def test_the_docs_show_the_recipes_as_they_are():
    script = runpy.run_path(str(ROOT / "scripts" / "draw_models.py"))
    again = "run scripts/draw_models.py again"
    for name, content in script["pictures"]().items():
        assert (ROOT / "docs/images/models" / name).read_text() == content, again
    assert (ROOT / "docs/models.md").read_text() == script["page"](), again


class Ids(HTMLParser):
    """The ids of a page, and how often each occurs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.found += [value for name, value in attrs if name == "id"]


def test_all_recipes_are_on_one_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.run(["recipes", "--html"]) == 0
    html = (tmp_path / "recipes.html").read_text()
    assert capsys.readouterr().out.strip() == "recipes.html"
    assert html.count("<svg") == len(recipes.known())
    assert "arXiv 1312.6114" in html
    assert "zspace train sentence-vae" in html
    ids = Ids(html).found
    assert len(ids) == len(set(ids))


def test_a_page_of_recipes_has_a_name_that_opens(tmp_path):
    with pytest.raises(UserError, match=r"the page is an HTML file, so end it in \.html"):
        write_gallery(tmp_path / "a.txt")
    assert main.run(["recipes", "--html", "a.html", "b.html"]) != 0

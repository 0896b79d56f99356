"""What the report says under each question: only what its numbers bear out."""

from __future__ import annotations

import re
import string
from pathlib import Path

import numpy as np
import pytest
import torch

from zspace.analysis import copying, latents
from zspace.report import answers, reasons
from zspace.report.answers import ANSWERS
from zspace.report.figures.registry import PARTS
from zspace.report.html import workings
from zspace.runs.many import Study

pytestmark = pytest.mark.timeout(300)  # whoever comes first trains three runs


@pytest.fixture(scope="module")
def three(planar) -> Study:
    return Study(Path("study"), list(planar.values()))


def said(study: Study, part: str) -> str:
    return " ".join(one.text for one in reasons.given(study, part))


def test_every_answer_is_a_sentence_under_a_part_of_the_page():
    for one in ANSWERS:
        assert one.part in PARTS or one.part == "errors"
        assert re.search(r"[.]$", one.text), one.text
        names = [name for _, name, _, _ in string.Formatter().parse(one.text) if name]
        assert all(name.isidentifier() for name in names)


def test_slots_are_filled_and_numbers_alone_have_no_sentence(three, monkeypatch):
    monkeypatch.setattr(answers, "ANSWERS", [])

    @answers.answer("copy")
    def mine(study):
        """It is {much}."""
        return {"a": "1", "b": ""}, {"much": "5"}

    @answers.answer("copy")
    def alone(study):
        """Never said."""
        return {"a": "2"}, None

    @answers.answer("copy", ("table",))
    def of_tables(study):
        """Said of tables."""
        return answers.ALWAYS

    told = [(one.numbers, one.text) for one in answers.given(three, "copy")]
    assert told == [({"a": "1"}, "It is 5."), ({"a": "2"}, "")]


@pytest.mark.parametrize(("shuffled", "told"), [(40.0, True), (20.0, False)])
def test_a_copy_is_not_called_a_copy_of_nothing(three, monkeypatch, shuffled, told):
    monkeypatch.setattr(copying, "shuffled_errors", lambda run, data: (10.0, shuffled))
    assert ("merely the identity? No" in said(three, "copy")) == told


@pytest.mark.parametrize(("plane", "told"), [(1e9, True), (0.0, False)])
def test_networks_beat_components_only_where_they_do(three, monkeypatch, plane, told):
    monkeypatch.setattr(copying, "linear_error", lambda data, size: plane)
    beats = "Each of the AE, the VAE and the CVAE beats principal components of the same size"
    assert (beats in said(three, "copy")) == told


@pytest.mark.parametrize(("mixed", "hole"), [(0.1, True), (0.4, False)])
def test_a_hole_is_named_where_draws_fall_away_from_codes(three, monkeypatch, mixed, hole):
    monkeypatch.setattr(latents, "prior_mixing", lambda run, data: mixed)
    assert ("There is a hole, because the AE minimises" in said(three, "why")) == hole
    assert ("next to no hole in the codes of the VAE and the CVAE" in said(three, "why")) != hole


def test_there_is_no_hole_without_an_autoencoder(planar, monkeypatch):
    monkeypatch.setattr(latents, "prior_mixing", lambda run, data: 0.0)
    assert "There is a hole" not in said(Study(Path("one"), [planar["vae"]]), "why")


def test_what_does_not_apply_is_not_asked(planar):
    alone = Study(Path("one"), [planar["ae"]])
    assert not any(reasons.given(alone, part) for part in ("kl", "label", "size"))
    pair = Study(Path("two"), [planar["ae"], planar["vae"]])
    assert reasons.given(pair, "kl")
    assert not reasons.given(pair, "label")


def test_a_cost_is_named_only_where_the_error_rises(three, planar):
    assert "It costs error" in said(three, "kl") or planar["vae"].result["test"]["mse"] < 1e9
    better = {name: run.record["result"]["test"] for name, run in planar.items()}
    before = better["vae"]["mse"]
    better["vae"]["mse"] = better["ae"]["mse"] / 2
    try:
        assert "It costs error" not in said(three, "kl")
    finally:
        better["vae"]["mse"] = before


@pytest.mark.parametrize(("seven", "told"), [(0.3, True), (1.0, False)])
def test_a_class_that_is_left_is_style_against_class(three, monkeypatch, seven, told):
    def read(run, data, x):
        share = 1.0 if run.model.context else seven
        own = data.test.labels()[reasons.planes.ends(data)[1:]].item()
        return np.where(np.arange(len(x)) < share * len(x), own, (own + 2) % 10)

    monkeypatch.setattr(reasons, "read_as", read)
    assert ("the CVAE keeps the class and changes the style alone" in said(three, "label")) == told


def test_two_errors_are_those_of_torch_and_obey_pinsker(planar):
    run, data = planar["vae"], planar["vae"].data()
    x = data.test.images()
    made = torch.as_tensor(run.reconstructed(x.numpy())).double()
    kept, x = made.clamp(1 / 510, 1 - 1 / 510), x.double()
    squared, crossed, alike = copying.two_errors(run, data)
    assert squared == pytest.approx(float((x - made).square().flatten(1).sum(1).mean()))
    loss = torch.nn.functional.binary_cross_entropy
    own = loss(kept, x, reduction="none") - loss(x, x, reduction="none")
    assert crossed == pytest.approx(float(own.flatten(1).sum(1).mean()), rel=1e-6)
    assert crossed >= 2 * float((x - kept).square().flatten(1).sum(1).mean())
    assert 0 < alike <= 1


def test_the_errors_of_every_family_stand_side_by_side(three):
    (found,) = [one for one in reasons.given(three, "errors") if "cross-entropy" in one.text]
    sides = [each for each in found.numbers.values() if isinstance(each, dict)]
    assert [list(each) for each in sides] == [["AE", "VAE", "CVAE"]] * 3


def test_loops_are_seen_in_rings_alone():
    x = torch.zeros(20, 1, 9, 9)
    x[:10, 0, 2:7, 2:7] = 1
    x[:10, 0, 3:6, 3:6] = 0
    x[10:, 0, 2:7, 4] = 1

    class Of:
        def images(self):
            return x

    class Made:
        test = Of()
        spec = type("S", (), {"kind": "image", "shape": (1, 9, 9), "missing": False})()

    assert copying.looped(Made()).tolist() == [True] * 10 + [False] * 10


def test_draws_of_the_prior_mix_with_draws_of_the_prior(three, monkeypatch):
    run = three.runs[1]
    z = np.random.RandomState(1).randn(400, 2).astype(np.float32)

    def codes(of):
        return lambda *_: latents.Codes(of, None)

    monkeypatch.setattr(latents, "draws", codes(z))
    assert latents.prior_mixing.__wrapped__(run, three.data) == pytest.approx(0.5, abs=0.08)
    monkeypatch.setattr(latents, "draws", codes(9 * z + 20))
    assert latents.prior_mixing.__wrapped__(run, three.data) < 0.05


def test_steps_and_differences_are_those_of_the_parts(three):
    from zspace.report.facts import families

    ae, vae, cvae = families(three)
    assert not any("ε" in step for step in workings.steps(ae))
    assert any("mixture of Gaussians" in step for step in workings.steps(ae))
    assert any("z = μ + σ ε" in step for step in workings.steps(vae))
    assert any("choose a label" in step for step in workings.steps(cvae))
    heads, rows = workings.differences(three)
    assert [len(row) for row in rows] == [len(heads)] * 3
    assert rows[1][1:4] == ["a distribution q(z|x)", "squared error + KL to the prior",
                            "a draw of N(0, I)"]  # fmt: skip

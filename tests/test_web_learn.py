"""The course: every task can be done in each way, its small network learns as torch's would, and
it is one file that asks for nothing. In a real browser; skipped without Chromium.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zspace
from browsing import CHROMIUM, CONTRAST, inside, opened, probe
from zspace.cli.main import run as main
from zspace.explorer import EXAMPLES, LESSON, learn

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
TASKS = (
    "squeeze", "size", "between", "cloud", "price", "draw", "elbo", "label", "blur", "train",
    "beyond",
)  # fmt: skip
NAMELESS = """() => {
  const all = "[tabindex='0'], button, input, canvas[role=img], svg[role=img]";
  const name = (one) => one.getAttribute("aria-label") || one.textContent.trim();
  const found = [...document.querySelectorAll(all)].filter((one) => !name(one));
  return found.map((one) => one.outerHTML);
}"""
FOCUSED = "document.activeElement.className || document.activeElement.tagName"
CENTRE = "one => one.scrollIntoView({ block: 'center', behavior: 'instant' })"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn.write_lesson(tmp_path_factory.mktemp("learn") / "learn.html")


@pytest.fixture
def visit(browser: Any, written: Path) -> Iterator[Callable[..., Any]]:
    """Open the page from disk; nothing may go wrong there, and nothing be asked for."""
    wrong: list[str] = []
    pages: list[Any] = []

    def visited(**options: Any) -> Any:
        pages.append(opened(browser, written.as_uri(), wrong, **options))
        return pages[-1]

    yield visited
    for page in pages:
        page.context.close()
    assert wrong == []


class Hand:
    """One way of using the page: with a mouse, a finger, or keys."""

    def __init__(self, page: Any, way: str) -> None:
        self.page, self.way = page, way

    def done(self, task: str) -> bool:
        return bool(self.page.locator(f".task.done[data-task='{task}']").count())

    def piece(self, task: str) -> Any:
        self.page.locator(f"#{task}").evaluate(CENTRE)
        self.page.wait_for_selector(f"#piece-{task}.built")
        return self.page.locator(f"#piece-{task}")

    def press(self, button: Any) -> None:
        if self.way == "keys":
            button.focus()
            self.page.keyboard.press("Enter")
        elif self.way == "touch":
            button.tap()
        else:
            button.click()

    def slide(self, slider: Any, steps: int, share: float) -> None:
        """To `share` of a slider, which is so many steps from its least value."""
        if self.way == "keys":
            slider.focus()
            self.page.keyboard.press("Home")
            for _ in range(steps):
                self.page.keyboard.press("ArrowRight")
            return
        slider.evaluate(CENTRE)
        box = slider.bounding_box()
        at = box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2
        if self.way == "touch":
            self.page.touchscreen.tap(*at)
        else:
            self.page.mouse.click(*at)

    def sweep(self, chart: Any, task: str, rows: int = 9, *, press: bool = False) -> None:
        """Go over a map until the task is done."""
        chart.evaluate(CENTRE)
        box = chart.bounding_box()
        columns = round(rows * box["width"] / box["height"])
        if self.way == "keys":
            chart.focus()
            for key in ("ArrowLeft", "ArrowUp"):
                for _ in range(14):
                    self.page.keyboard.press(f"Shift+{key}")
        for row in range(rows):
            for column in range(columns):
                if self.way == "keys":
                    self.page.keyboard.press(
                        "Shift+ArrowRight" if row % 2 == 0 else "Shift+ArrowLeft"
                    )
                    if press:
                        self.page.keyboard.press("Enter")
                else:
                    x = box["x"] + (column + 0.5) / columns * box["width"]
                    y = box["y"] + (row + 0.5) / rows * box["height"]
                    if self.way == "touch":
                        self.page.touchscreen.tap(x, y)
                    elif press:
                        self.page.mouse.click(x, y)
                    else:
                        self.page.mouse.move(x, y)
                if self.done(task):
                    return
            if self.way == "keys":
                self.page.keyboard.press("Shift+ArrowDown")

    # the tasks

    def do_squeeze(self, piece: Any) -> None:
        self.sweep(piece.locator(".flat"), "squeeze")

    def do_size(self, piece: Any) -> None:
        for k in range(10):
            self.press(piece.locator(".card").nth(k))

    def do_between(self, piece: Any) -> None:
        self.sweep(piece.locator(".flat"), "between", 16, press=True)

    def do_cloud(self, piece: Any) -> None:
        self.sweep(piece.locator(".flat"), "cloud", press=True)

    def do_price(self, piece: Any) -> None:
        self.slide(piece.locator("input"), 4, 0.8)

    def do_draw(self, piece: Any) -> None:
        for _ in range(5):
            self.press(piece.locator("button.draw"))
        self.press(piece.get_by_role("button", name="ε held"))

    def do_elbo(self, piece: Any) -> None:
        self.press(piece.locator(".digit").nth(4))
        self.slide(piece.locator("input").first, 8, 8 / 9)

    def do_label(self, piece: Any) -> None:
        for k in range(5):
            self.press(piece.locator(".digit").nth(k))

    def do_blur(self, piece: Any) -> None:
        for k in range(1, 60):
            if self.done("blur"):
                return
            self.slide(piece.locator("input"), k, k / 59)

    def do_train(self, piece: Any) -> None:
        self.press(piece.get_by_role("button", name="Play"))

    def do_beyond(self, piece: Any) -> None:
        for k in range(3):
            chart = piece.locator(".flat").nth(k)
            chart.evaluate(CENTRE)
            if self.way == "keys":
                chart.focus()
                self.page.keyboard.press("ArrowRight")
            elif self.way == "touch":
                chart.tap()
            else:
                chart.hover()


@pytest.mark.parametrize("way", ["mouse", "keys", "touch"])
def test_every_task_can_be_done(visit, way):
    narrow = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = visit(**(narrow if way == "touch" else {}))
    hand = Hand(page, way)
    for task in TASKS:
        assert not hand.done(task), task
        getattr(hand, f"do_{task}")(hand.piece(task))
        end = time.monotonic() + 20
        while not hand.done(task):
            assert time.monotonic() < end, f"{task} was not done"
            time.sleep(0.05)
    assert "11 of 11 tasks done" in page.locator("#count").inner_text()
    assert page.locator("#count [role=status]").text_content().startswith("Task done: ")
    page.reload()
    page.wait_for_selector("body.ready")
    assert "11 of 11" in page.locator("#count").inner_text()
    hand.press(page.locator("#forget"))
    assert "0 of 11" in page.locator("#count").inner_text()


def test_it_is_one_file_with_the_runs_numbers(written):
    html = written.read_text()
    assert len(html) < 6_000_000
    assert not re.findall(r"""<(?:script|link|img)[^>]* (?:src|href)=["'](?!data:|#)""", html)
    assert "{{" not in html.split("<script>")[0]
    folder = EXAMPLES / "digits" / "runs"
    two, twenty = (zspace.load(folder / name).result["test"]["mse"] for name in ("ae-2", "ae-20"))
    assert f"falls from {two:.1f} to {twenty:.1f}" in html
    names = set(inside(written))
    assert {"images.u8", "vae-2/posterior.f32", "molecules/decodings.json"} <= names


def test_a_page_without_storage_works(browser, written):
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('none'); } })"
    )
    page.goto(written.as_uri())
    page.wait_for_selector("body.ready")
    hand = Hand(page, "mouse")
    hand.do_size(hand.piece("size"))
    assert hand.done("size")
    context.close()
    assert wrong == []


def test_its_own_gradients_are_those_of_torch(visit):
    page = visit()
    texts = {path.name: path.read_text() for path in LESSON.glob("*.js")}
    page.evaluate(probe("tiny.js", "begin", "gradients", more=texts))
    rng = np.random.default_rng(0)
    sizes, beta = [6, 5, 2], 0.7
    x, eps = rng.random((4, 6)), rng.standard_normal((4, 2))
    values, found = page.evaluate(
        """([sizes, x, eps, beta]) => {
          const values = probe.begin(sizes);
          const xs = x.map((row) => Float64Array.from(row));
          const found = probe.gradients(sizes, values, xs, eps, beta);
          return [Array.from(values), { ...found, gradient: Array.from(found.gradient) }];
        }""",
        [sizes, x.tolist(), eps.tolist(), beta],
    )
    flat = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    inputs, hidden, latent = sizes
    shapes = [(hidden, inputs), (hidden,), (2 * latent, hidden), (2 * latent,),
              (hidden, latent), (hidden,), (inputs, hidden), (inputs,)]  # fmt: skip
    parts = torch.split(flat, [int(np.prod(shape)) for shape in shapes])
    A, a, B, b, C, c, D, d = (p.reshape(s) for p, s in zip(parts, shapes, strict=True))
    linear = torch.nn.functional.linear
    xs = torch.from_numpy(x)
    mu, s = linear(linear(xs, A, a).tanh(), B, b).split(latent, 1)
    z = mu + s.exp() * torch.from_numpy(eps)
    y = linear(linear(z, C, c).tanh(), D, d).sigmoid()
    error = (y - xs).square().sum(1).mean()
    q = torch.distributions.Normal(mu, s.exp())
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    kl = torch.distributions.kl_divergence(q, p).sum(1).mean()
    (error + beta * kl).backward()
    assert found["error"] == pytest.approx(error.item(), rel=1e-12)
    assert found["kl"] == pytest.approx(kl.item(), rel=1e-12)
    np.testing.assert_allclose(found["gradient"], flat.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_it_decodes_and_bounds_as_the_run_does(visit):
    """The bar of chapter 7: -ELBO of its digit is that of the run, up to the draws."""
    page = visit()
    hand = Hand(page, "mouse")
    piece = hand.piece("elbo")
    hand.press(piece.locator(".digit").nth(7))
    hand.slide(piece.locator("input").first, 8, 8 / 9)
    piece.locator(".bars p").first.wait_for()
    deadline = time.monotonic() + 10
    while not piece.locator(".sentence").first.inner_text().startswith("500"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shown = float(re.findall(r"[\d.]+", piece.locator(".bars p").first.inner_text())[0])
    run = zspace.load(EXAMPLES / "digits" / "runs" / "vae-2", "cpu")
    test = run.shown().test
    i = int((test.labels() == 7).nonzero()[0])
    x = test.images(torch.tensor([i])).expand(4000, -1, -1, -1)
    torch.manual_seed(0)
    with torch.inference_mode():
        q = run.model(x).latents[0].q
        error = (run.model.decode(q.sample()).mean - x).square().flatten(1).sum(1)
        prior = torch.distributions.Normal(0.0, 1.0)
        kl = torch.distributions.kl_divergence(q.base_dist, prior.expand(q.mean.shape)).sum(1)
    wanted, spread = float((error + kl).mean()), float(error.std()) / 1000**0.5
    assert shown == pytest.approx(wanted, abs=5 * spread + 0.06)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_and_used_without_seeing_it(visit, scheme):
    page = visit(color_scheme=scheme)
    for task in TASKS:
        Hand(page, "mouse").piece(task)
    assert page.evaluate(CONTRAST) == []
    assert page.locator("h1").count() == 1
    nameless = page.evaluate(NAMELESS)
    assert nameless == []
    page, seen = visit(color_scheme=scheme), []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    assert seen[0] == "skip"
    assert seen[1:12] == ["A"] * 11
    assert seen[12:] == ["SUMMARY", "flat"]


@pytest.mark.parametrize("width", [360, 1024])
def test_nothing_hangs_over_the_edge(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    for task in TASKS:
        Hand(page, "mouse").piece(task)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_it_answers_soon(browser, written):
    """Lax: benchmarks/lesson.py measures."""
    began = time.monotonic()
    page = opened(browser, written.as_uri(), [])
    page.mouse.move(700, 600)
    page.mouse.move(720, 620)
    assert time.monotonic() - began < 8
    page.context.close()


def test_the_command_writes_it_where_it_is_told(written, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zspace.explorer.learn.course", lambda: "<p>course</p>")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    out = tmp_path / "deep" / "learn.html"
    assert main(["learn", "--to", str(out)]) == 0
    assert out.read_text() == "<p>course</p>"
    assert (capsys.readouterr().out.strip(), shown) == (str(out), [])
    assert main(["learn", "--to", str(out)]) == 2
    said = capsys.readouterr().err
    assert "exists already: give a new file, for example --to learn.html" in said
    assert main(["learn"]) == main(["learn"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second
    assert shown == [Path(first).as_uri()] * 2

"""What a visitor does in a real browser and what the page then shows; skipped without Chromium."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

import zspace
from browsing import (
    CHROMIUM,
    CONTRAST,
    STROKES,
    alike,
    at,
    changed,
    drag,
    foreign,
    link,
    numbers,
    pixels,
    probe,
    settled,
    soon,
    total,
)  # fmt: skip
from visiting import TOKEN, serving
from zspace.analysis import planes
from zspace.explorer import export
from zspace.explorer.export import write_page
from zspace.explorer.view import RunView
from zspace.models.likelihoods import Bernoulli, Gaussian, SquaredError

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
SHOTS = Path(__file__).parent / "screenshots"
OPTIONS: dict[str, Any] = {
    "data": "mnist5k", "hidden": (128,), "epochs": 5, "batch": 64,
    "snapshots": 3, "precision": "fp32", "quiet": True,
}  # fmt: skip
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zspace.Run]:
    """Runs that read real digits: a VAE with codes of size 6, a conditional one of size 2."""
    folder = tmp_path_factory.mktemp("page")
    sizes = {"vae": 6, "cvae": 2}
    return {
        name: zspace.train(name, out=folder / name, latent=size, **OPTIONS)
        for name, size in sizes.items()
    }


@pytest.fixture(scope="module")
def urls(trained: dict[str, zspace.Run]) -> Iterator[dict[str, str]]:
    """Where each run is served, and both beside one another."""
    vae, cvae = trained["vae"], trained["cvae"]
    with serving(vae) as one, serving(cvae) as told, serving(vae, cvae) as two:
        yield {
            name: f"http://{visitor.host}/?token={TOKEN}"
            for name, visitor in (("vae", one), ("cvae", told), ("two", two))
        }


@pytest.fixture
def visit(browser: Any, urls: dict[str, str]) -> Iterator[Open]:
    """Open the page of a run. At the end: no error was logged and no other host was asked."""
    SHOTS.mkdir(exist_ok=True)
    contexts, wrong = [], []

    def open_page(name: str, *, fragment: str = "", **options: Any) -> Any:
        url = urls.get(name, name)
        options = {
            "viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options
        }  # fmt: skip
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: foreign(r.url, url) and wrong.append(f"asked {r.url}"))
        page.goto(url)
        if fragment:
            page.goto("about:blank")
            page.goto(url.split("?")[0] + fragment)
        page.wait_for_selector("body.ready")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def test_the_picture_follows_the_pointer(visit: Open) -> None:
    page = visit("vae", reduced_motion="no-preference")
    before = soon(lambda: page.locator(".hero:not(.empty)").count()) and pixels(page, ".hero")
    before = changed(page, ".hero", before)  # it wanders by itself until the first move
    page.mouse.move(*at(page, 0.3, 0.7))
    first = changed(page, ".hero", before)
    drag(page, [(0.3, 0.7), (0.7, 0.3), (0.4, 0.4), (0.6, 0.7)], n=35)
    changed(page, ".hero", first)
    times = page.evaluate("performance.getEntriesByName('picture').map((one) => one.duration)")
    median, last = np.percentile(times, [50, 99])
    print(f"\npointer to picture: median {median:.1f} ms, p99 {last:.1f} ms of {len(times)}")
    assert len(times) > 30
    page.screenshot(path=SHOTS / "light.png")


def test_only_the_newest_place_is_asked_for(visit: Open, trained: dict[str, zspace.Run]) -> None:
    page = visit("vae")
    page.uncheck("#tiles")
    page.mouse.move(*at(page, 0.2, 0.2))
    page.wait_for_load_state("networkidle")
    bodies: list[bytes] = []

    def slow(route: Any) -> None:
        bodies.append(route.request.post_data_buffer)
        time.sleep(0.1)
        route.continue_()

    page.route("**/decode*", slow)
    page.mouse.move(*at(page, 0.8, 0.8), steps=40)
    soon(lambda: len(bodies) > 1)
    page.wait_for_timeout(500)
    assert len(bodies) < 20
    z = np.frombuffer(bodies[-1], np.float32)
    np.testing.assert_allclose(z, numbers(link(page), "z"), rtol=1e-3)
    expected = trained["vae"].decode(torch.tensor(z.copy())[None]).numpy()[0, 0]
    np.testing.assert_allclose(pixels(page, ".hero")[:, :, 0] / 255, expected, atol=0.005)


def test_the_same_code_as_every_class(visit: Open) -> None:
    page = visit("cvae", color_scheme="dark")
    page.mouse.move(*at(page, 0.55, 0.5))
    page.wait_for_load_state("networkidle")
    shown = [pixels(page, f"#strip button:nth-child({k + 1}) canvas") for k in range(10)]
    assert len({picture.tobytes() for picture in shown}) == 10
    page.click("#strip button[aria-label='7']")
    soon(lambda: np.array_equal(pixels(page, ".hero"), shown[7]))
    page.keyboard.press("ArrowRight")
    soon(lambda: np.array_equal(pixels(page, ".hero"), shown[8]))
    assert page.locator("#strip [aria-checked='true']").get_attribute("aria-label") == "8"
    page.screenshot(path=SHOTS / "dark.png")


def test_sliders_move_the_code(visit: Open) -> None:
    page = visit("vae")
    page.mouse.move(*at(page, 0.5, 0.5))
    page.click("[data-tab='sliders']")
    page.click("#randomise")
    before = pixels(page, ".hero")
    slider = page.locator(".slider input").first
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    changed(page, ".hero", before)
    page.click("#reset")
    soon(lambda: page.locator(".slider .number").all_inner_texts() == ["0.00"] * 6)
    page.screenshot(path=SHOTS / "sliders.png")


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_lies_among_its_like(visit: Open, digit: str) -> None:
    page = visit("vae")
    page.click("[data-tab='draw']")
    drag(page, STROKES[digit], "#pad")
    soon(lambda: all(page.locator("#drawn .thumbs span").all_inner_texts()))
    page.wait_for_load_state("networkidle")
    names = page.locator("#drawn .thumbs span").all_inner_texts()
    assert names.count(digit) > len(names) / 2, names
    seen = pixels(page, ".seen canvas")[:, :, 0].astype(float)
    rows, columns = np.nonzero(seen > 20)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1.5)
    centre = [np.average(np.arange(28) + 0.5, weights=seen.sum(axis)) for axis in (0, 1)]
    assert centre == pytest.approx([14, 14], abs=0.3)
    page.screenshot(path=SHOTS / f"draw-{digit}.png")


def test_a_conditional_model_reads_a_drawing_as_what_it_is(visit: Open) -> None:
    page = visit("cvae")
    page.click("[data-tab='draw']")
    drag(page, STROKES["0"], "#pad")
    best = page.locator("#readings li:first-child button")
    soon(lambda: best.count() and best.get_attribute("aria-pressed") == "true")
    soon(lambda: best.get_attribute("data-label") == "0")
    assert page.locator("#readings button").count() == 10
    soon(lambda: "as 0" in page.locator("#drawn .sentence").inner_text())
    before = pixels(page, ".mini:nth-child(2) canvas")
    page.click("#readings [data-label='7']")
    soon(lambda: "as 7" in page.locator("#drawn .sentence").inner_text())
    changed(page, ".mini:nth-child(2) canvas", before)
    soon(lambda: "as=7" in link(page))
    page.screenshot(path=SHOTS / "readings.png")
    page.click("#best")
    soon(lambda: "as 0" in page.locator("#drawn .sentence").inner_text())


def test_the_lasso_counts_and_makes_a_table(visit: Open, trained: dict[str, zspace.Run]) -> None:
    page = visit("vae")
    labels = trained["vae"].data().test
    page.click("[data-tool='lasso']")
    drag(page, [(0.1, 0.1), (0.5, 0.1), (0.5, 0.9), (0.1, 0.9)])
    some = total(page)
    assert 0 < some < len(labels)
    counts = [int(text) for text in page.locator(".bars .count").all_inner_texts()]
    assert sum(counts) == some
    with page.expect_download() as caught:
        page.click("#csv")
    lines = Path(caught.value.path()).read_text().splitlines()
    assert lines[0] == "index,id,label,pca_1,pca_2,error"
    assert len(lines) == some + 1
    i, _, label, *_ = lines[1].split(",")
    assert int(label) == int(labels.labels(torch.tensor([int(i)]))[0])
    page.screenshot(path=SHOTS / "lasso.png")


def test_everything_with_the_keyboard(visit: Open) -> None:
    page = visit("vae")
    page.wait_for_load_state("networkidle")
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.map')"):
            break
    assert page.evaluate("document.activeElement.matches('.map:focus-visible')")
    before = pixels(page, ".hero")
    for key in ("ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    changed(page, ".hero", before)
    page.keyboard.press("Enter")
    soon(lambda: "test=" in link(page))
    page.keyboard.press("+")
    soon(lambda: "view=" in link(page))
    page.focus("[role='tab'][aria-selected='true']")
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-sliders").is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "randomise"


@pytest.mark.parametrize("name", ["cvae", "two"])
def test_a_narrow_screen(visit: Open, name: str) -> None:
    size = {"width": 360, "height": 740}
    page = visit(name, viewport=size, has_touch=True, is_mobile=True, color_scheme="dark")
    page.wait_for_timeout(300)
    page.screenshot(path=SHOTS / f"phone-{name}.png")
    before = pixels(page, ".hero")
    page.touchscreen.tap(*at(page, 0.6, 0.6))
    changed(page, ".hero", before)
    for tab in page.locator("[role='tab']").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab.inner_text()


def test_two_models_mark_the_same_image(visit: Open) -> None:
    page = visit("two")
    page.mouse.move(*at(page, 0.5, 0.5))
    pair = soon(
        lambda: (
            (m := page.locator(".map[data-test]")).count() == 2
            and [one.get_attribute("data-test") for one in m.all()]
        )
    )
    assert pair[0] == pair[1]
    before = pixels(page, ".card:nth-child(2) .hero")
    page.mouse.move(*at(page, 0.4, 0.3), steps=8)
    changed(page, ".card:nth-child(2) .hero", before)
    page.click("[data-tab='draw']")
    drag(page, STROKES["0"], "#pad")
    soon(lambda: page.locator(".seen canvas.empty").count() == 0)
    page.screenshot(path=SHOTS / "two.png")


def test_a_link_opens_the_same_view(visit: Open) -> None:
    page = visit("vae")
    page.mouse.move(*at(page, 0.35, 0.6))
    page.keyboard.press("Tab")
    page.click("[data-tab='path']")
    soon(lambda: "a=" in link(page) and page.locator(".film canvas.empty").count() == 0)
    page.click("text=Spherical")
    page.uncheck("#tiles")
    page.wait_for_timeout(500)
    again = visit("vae", fragment="#" + urlsplit(link(page)).fragment)
    soon(lambda: alike(again, page, ".hero"))
    soon(lambda: alike(again, page, ".film canvas"))
    assert again.locator("[role='tab'][data-tab='path']").get_attribute("aria-selected") == "true"
    assert not again.locator("#tiles").is_checked()


def test_pictures_to_keep(visit: Open) -> None:
    page = visit("vae")
    page.mouse.move(*at(page, 0.5, 0.5))
    page.click("[data-tab='path']")
    soon(lambda: page.locator(".film canvas.empty").count() == 0)
    for button, magic in (("#png", b"\x89PNG"), ("#gif", b"GIF89a")):
        with page.expect_download() as caught:
            page.click(button)
        kept = Path(caught.value.path())
        assert kept.read_bytes().startswith(magic)
        if button == "#png":
            with Image.open(kept) as slide:
                assert slide.size == (1920, 1080)
                assert len(slide.crop((0, 920, 1920, 990)).getcolors(1 << 20)) > 100  # its legend
    page.screenshot(path=SHOTS / "path.png")


def test_the_time_of_the_training(visit: Open) -> None:
    page = visit("two", color_scheme="dark")
    page.click("[data-tab='training']")
    soon(lambda: "Epoch" in page.locator("#tab-training h2").first.inner_text())
    soon(lambda: page.locator(".pairs canvas").count() == 40)
    page.locator("#epoch").fill("0")
    before = pixels(page, ".pairs canvas:nth-child(6)")
    page.locator("#epoch").fill(page.locator("#epoch").get_attribute("max"))
    changed(page, ".pairs canvas:nth-child(6)", before)
    assert page.locator("#tab-training h2").first.inner_text() == "Epoch 5 of 5"
    page.screenshot(path=SHOTS / "training.png")


def test_an_image_and_its_reconstruction_change_together(visit: Open) -> None:
    page = visit("vae")
    page.mouse.move(*at(page, 0.2, 0.2))
    page.wait_for_load_state("networkidle")

    def slow(route: Any) -> None:
        time.sleep(0.15)
        route.continue_()

    page.route("**/reconstructions*", slow)
    page.evaluate("""() => {
      window.pairs = new Set();
      const look = () => {
        const pair = [...document.querySelectorAll(".companion canvas")];
        window.pairs.add(pair.map((one) => one.toDataURL()).join());
        requestAnimationFrame(look);
      };
      look();
    }""")
    drag(page, [(0.25, 0.3), (0.7, 0.3), (0.4, 0.6), (0.6, 0.7)], n=8)
    page.wait_for_timeout(800)
    shown = [pair.split(",data:") for pair in page.evaluate("[...window.pairs]")]
    images, backs = ({pair[k] for pair in shown} for k in (0, 1))
    assert len(images) > 2
    assert len(shown) == len(images) == len(backs)


def test_ends_of_a_path_keep_their_classes(visit: Open, trained: dict[str, zspace.Run]) -> None:
    page = visit("cvae")
    page.click("[data-tab='path']")
    soon(lambda: "ends=" in link(page) and page.locator(".film canvas.empty").count() == 0)
    ends = numbers(link(page), "ends")
    assert ends[0] != ends[1]
    page.click("#strip button:nth-child(5)")
    page.wait_for_timeout(300)
    for name, label, selector in (
        ("a", ends[0], ".slot canvas"),
        ("b", ends[1], ".slot:last-child canvas"),
    ):
        z = torch.tensor([numbers(link(page), name)])
        expected = trained["cvae"].decode(z, int(label))[0, 0]
        np.testing.assert_allclose(pixels(page, selector)[:, :, 0] / 255, expected, atol=0.01)
    page.locator("#along").fill("40")
    soon(lambda: page.locator(".code").inner_text().endswith(f" as {ends[1]:.0f}"))
    soon(
        lambda: (
            alike(page, page, ".hero")
            and np.array_equal(pixels(page, ".hero"), pixels(page, ".slot:last-child canvas"))
        )
    )
    again = visit("cvae", fragment="#" + urlsplit(link(page)).fragment)
    soon(lambda: again.locator(".film canvas.empty").count() == 0)
    soon(lambda: alike(again, page, ".slot:last-child canvas"))


def test_a_link_keeps_the_lasso(visit: Open) -> None:
    page = visit("vae")
    page.click("#legend button:nth-child(2)")  # what has faded is not held
    page.click("[data-tool='lasso']")
    drag(page, [(0.1, 0.1), (0.5, 0.1), (0.5, 0.9), (0.1, 0.9)], n=60)
    some = total(page)
    soon(lambda: "lasso=" in link(page))
    again = visit("vae", fragment="#" + urlsplit(link(page)).fragment)
    assert total(again) == some
    assert (
        again.locator(".bars li").all_inner_texts() == page.locator(".bars li").all_inner_texts()
    )


def test_decodings_are_off_where_none_are_drawn(visit: Open) -> None:
    page = visit("vae")
    tiles = page.locator("#tiles")
    assert tiles.is_enabled()
    assert tiles.is_checked()
    page.click("[data-tab='training']")
    assert tiles.is_disabled()
    assert not tiles.is_checked()
    page.click("[data-tab='look']")
    assert tiles.is_enabled()
    assert tiles.is_checked()


def test_sliders_say_whose_they_are(visit: Open, trained: dict[str, zspace.Run]) -> None:
    page = visit("two")
    page.mouse.move(*at(page, 0.5, 0.5))
    page.click("[data-tab='sliders']")
    title = page.locator("#tab-sliders h2")
    assert title.inner_text() == f"Sliders of {trained['vae'].config.name}"
    page.mouse.move(*at(page, 0.5, 0.5, ".map:nth-child(2)"))
    soon(lambda: title.inner_text() == f"Sliders of {trained['cvae'].config.name}")


def test_sliders_say_what_goes_with_them(visit: Open, trained: dict[str, zspace.Run]) -> None:
    found = RunView(trained["vae"]).directions
    assert any(name == "slant" for name, _, _ in found.values())
    page = visit("vae")
    page.click("[data-tab='sliders']")
    for j, (name, correlation, more) in found.items():
        slider = page.locator(f".slider:has(.name:text-is('z[{j}]'))")
        text = f"{name} {correlation:.2f}".replace("-", "−")
        assert slider.locator(".direction").inner_text() == text
        assert slider.locator("input").get_attribute("aria-label") == f"z[{j}], {text}"
        assert more in slider.get_attribute("title")
    assert page.locator(".direction").count() == len(found)


def short_path(view: RunView) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a 4 and a 9 that are near each other, and only 4s and 9s between them."""
    y = view.labels
    fours, nines = view.z[y == 4], view.z[y == 9]
    far = np.linalg.norm(fours[:, None] - nines, axis=2)
    for k in np.argsort(far, axis=None)[:4000]:
        a, b = fours[k // len(nines)], nines[k % len(nines)]
        line = planes.straight(a, b, np.linspace(0, 1, 9)).astype(np.float32)
        labels = np.array(view.near(line)["labels"])
        read = [np.bincount(row, minlength=10) for row in labels]
        sure = all(np.sort(row)[-1] > np.sort(row)[-2] for row in read)
        read = [row.argmax() for row in read]
        if sure and read[0] == 4 and read[-1] == 9 and set(read) == {4, 9}:
            return a, b
    raise AssertionError("no such path")


def text_of(z: np.ndarray) -> str:
    return ",".join(f"{value:.4g}" for value in z)


def test_a_dare_notices_a_short_path(visit: Open, trained: dict[str, zspace.Run]) -> None:
    view = RunView(trained["vae"])
    a, b = short_path(view)
    one, two = view.z[view.labels == 1][0], view.z[view.labels == 0][0]
    for ends, done in (((one, two), False), ((a, b), True)):
        where = f"#tab=path&map=pca&a={text_of(ends[0])}&b={text_of(ends[1])}"
        page = visit("vae", fragment=where)
        page.click("#dare-me")
        page.click("#dares [data-dare='path'] button")
        line = page.locator("#dare")
        soon(lambda line=line: "long" in line.inner_text())
        assert ("done" in (line.get_attribute("class") or "")) == done, line.inner_text()
        assert ("1/3" in page.locator("#dare-me").inner_text()) == done
        assert ("it passes" in line.inner_text()) != done
        if done:
            page.click("text=Spherical")
            soon(lambda line=line: "choose the straight path" in line.inner_text())
            page.click("#leave-dare")
            assert line.is_hidden()
    page.screenshot(path=SHOTS / "dare.png")


def test_a_dare_notices_a_place_that_is_no_digit(
    visit: Open, trained: dict[str, zspace.Run]
) -> None:
    view = RunView(trained["vae"])
    spread = np.linalg.norm(view.z.std(0))
    z = np.concatenate([view.z[:40], 8 * np.random.RandomState(0).randn(40, 6)]).astype("f4")
    back = trained["vae"].encode(trained["vae"].decode(z))
    missed = np.linalg.norm(back - z, axis=1) / spread
    counts = [np.bincount(row, minlength=10).max() for row in view.near(back)["labels"]]
    known = next(k for k in range(40) if missed[k] < 0.3 and counts[k] >= 5)
    lost = next(k for k in range(40, 80) if missed[k] > 1)
    page = visit("vae", fragment=f"#z={text_of(z[known])}")
    page.click("#dare-me")
    page.click("#dares [data-dare='place'] button")
    line = page.locator("#dare")
    soon(lambda: "misses by" in line.inner_text())
    assert f"({counts[known]} of 8 nearest codes)" in line.inner_text()
    assert f"by {missed[known]:.2f}" in line.inner_text()
    assert "done" not in (line.get_attribute("class") or "")
    page = visit("vae", fragment=f"#z={text_of(z[lost])}")
    page.click("#dare-me")
    page.click("#dares [data-dare='place'] button")
    soon(lambda: "done" in (page.locator("#dare").get_attribute("class") or ""))


def test_a_dare_notices_what_nobody_wrote(visit: Open) -> None:
    page = visit("vae")
    page.click("#dare-me")
    page.click("#dares [data-dare='own'] button")
    assert page.locator("#tab-draw").is_visible()
    drag(page, STROKES["1"], "#pad")
    line = page.locator("#dare")
    soon(lambda: "Worse than" in line.inner_text())
    assert "done" not in (line.get_attribute("class") or "")
    page.click("#clear")
    zigzag = [(0.1 + 0.8 * (k % 2), 0.1 + 0.1 * k) for k in range(9)]
    drag(page, zigzag, "#pad", n=12)
    drag(page, [(y, x) for x, y in zigzag], "#pad", n=12)
    soon(lambda: "done" in (line.get_attribute("class") or ""))
    assert "Done" in line.inner_text()


def test_a_drawing_has_its_own_ellipse_and_draws(visit: Open) -> None:
    page = visit("vae")
    page.click("[data-tab='draw']")
    drag(page, STROKES["0"], "#pad")
    section = page.locator("#drawn .q")
    soon(lambda: "of your drawing" in section.inner_text())
    page.wait_for_load_state("networkidle")  # a drawing that is read anew has no draws yet
    page.keyboard.press("d")
    soon(lambda: section.locator(".trail canvas:not(.empty)").count() == 1)
    soon(lambda: "squared error at z" in section.inner_text())
    page.click("#clear")
    soon(section.is_hidden)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(visit: Open, scheme: str) -> None:
    page = visit("cvae", color_scheme=scheme)
    for tab in page.locator("[role='tab']").all():
        tab.click()
        assert page.evaluate(CONTRAST) == []


@pytest.fixture(scope="module")
def exported(trained: dict[str, zspace.Run], tmp_path_factory: Any) -> str:
    """The URL of a page that lies on disk."""
    return write_page(trained["cvae"], tmp_path_factory.mktemp("web") / "page.html").as_uri()


def test_an_exported_page_decodes_by_itself(
    visit: Open, exported: str, trained: dict[str, zspace.Run]
) -> None:
    page = visit(exported)
    before = pixels(page, ".hero")
    page.mouse.move(*at(page, 0.3, 0.6), steps=4)
    changed(page, ".hero", before)
    settled(page, "#posterior h2")  # another sample under the pointer clears what was drawn
    page.click("#posterior .draw")
    soon(lambda: page.locator("#posterior .trail canvas:not(.empty)").count() == 1)
    terms = page.locator("#posterior dt")
    soon(lambda: terms.all_inner_texts()[1:] == ["squared error at μ", "squared error at z"])
    page.click("#rain")
    soon(lambda: page.locator(".drops canvas:not(.empty)").count() == 50)
    page.click("#dare-me")
    assert page.locator("#dares li").count() == 3
    page.keyboard.press("Escape")
    page.click("[data-tab='draw']")
    drag(page, STROKES["0"], "#pad")
    soon(lambda: "test images" in page.locator("#drawn .sentence").inner_text())
    assert page.locator("#readings li:first-child button").get_attribute("data-label") == "0"
    soon(lambda: "your drawing" in page.locator("#drawn .q h2").inner_text())
    page.screenshot(path=SHOTS / "export.png")
    test = trained["cvae"].data().test
    image = test.images()[17].mul(255).round().to(torch.uint8)
    page.evaluate(probe("static.js", "StaticSource"))
    told = page.evaluate(
        """async (bytes) => {
          const source = new probe.StaticSource();
          await source.info();
          const [sent, codes] = [Uint8Array.from(bytes), Float32Array.from([0.5, -1, 2, 0.3])];
          const of = (one) => source.errorOf("a", [0.5, -1], one);
          return {
            ...(await source.encode("a", sent, "all")), near: await source.near("a", codes),
            errors: [await of({ i: 17 }), await of({ sent, label: 4 })],
          };
        }""",
        image.flatten().tolist(),
    )
    view = RunView(trained["cvae"])
    picture = image.permute(1, 2, 0).numpy()
    served = view.drawing(view.encode(picture, "all"))
    np.testing.assert_allclose(told["posterior"], served["posterior"], rtol=0.02, atol=0.02)
    z = np.array([0.5, -1, 2, 0.3], np.float32).reshape(2, 2)
    near = view.near(z)
    assert (told["near"]["i"], told["near"]["labels"]) == (near["i"], near["labels"])
    np.testing.assert_allclose(told["near"]["distances"], near["distances"], rtol=1e-4)
    wanted = [view.test_error_of(z[0], 17), view.error_of(z[0], picture, 4)]
    np.testing.assert_allclose(told["errors"], wanted, rtol=1e-3)
    assert [one["label"] for one in told["readings"]] == [
        one["label"] for one in served["readings"]
    ]
    errors = [[one["error"] for one in answer["readings"]] for answer in (told, served)]
    np.testing.assert_allclose(*errors, rtol=0.02)
    np.testing.assert_allclose(told["z"], served["z"], atol=0.02)
    page.evaluate(probe("static.js", "nats"))
    x, h = torch.rand(1, 12), 3 * torch.randn(1, 12)
    for likelihood in (SquaredError(), Bernoulli(), Gaussian(0.3)):
        nats = page.evaluate("([x, h, of]) => probe.nats(x, h, of)", [
            x[0].tolist(), h[0].tolist(), export._likelihood(likelihood)
        ])  # fmt: skip
        assert nats == pytest.approx(-float(likelihood(h, 1).log_prob(x)), rel=1e-5)
    page.evaluate(probe("static.js", "StaticSource"))
    z = np.random.RandomState(0).randn(5, 2).astype(np.float32)
    floats = page.evaluate(
        """async (codes) => {
          const source = new probe.StaticSource();
          await source.info();
          const { decoder } = source.runs.get("a");
          return codes.map((z) => Array.from(decoder.run(z, 4)));
        }""",
        z.tolist(),
    )
    expected = trained["cvae"].decode(torch.from_numpy(z), torch.full((5,), 4)).numpy()
    np.testing.assert_allclose(np.array(floats), expected.reshape(5, -1), atol=1e-3)


def test_an_exported_page_decodes_weights_that_are_bytes(
    visit: Open, trained: dict[str, zspace.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGE", 0)
    page = visit(write_page(trained["cvae"], tmp_path / "page.html").as_uri())
    page.evaluate(probe("static.js", "StaticSource"))
    z = np.random.RandomState(0).randn(5, 2).astype(np.float32)
    x = trained["cvae"].data().test.images()[:5].flatten(1)
    decoded, encoded = page.evaluate(
        """async ([codes, images]) => {
          const source = new probe.StaticSource();
          await source.info();
          const { decoder, encoder } = source.runs.get("a");
          return [
            codes.map((z) => Array.from(decoder.run(z, 4))),
            images.map((x) => Array.from(encoder.run(x, 4)).slice(0, 2)),
          ];
        }""",
        [z.tolist(), x.tolist()],
    )
    labels = torch.full((5,), 4)
    wanted = trained["cvae"].decode(torch.from_numpy(z), labels).flatten(1).numpy()
    np.testing.assert_allclose(decoded, wanted, atol=0.03)
    assert np.abs(np.array(decoded) - wanted).mean() < 0.002
    codes = trained["cvae"].encode(x.view(5, 1, 28, 28), labels).numpy()
    np.testing.assert_allclose(encoded, codes, atol=0.05)

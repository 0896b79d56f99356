"""What the page teaches in a browser: q(z|x), the prior, a sweep of beta; its modules alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import zspace
from browsing import CHROMIUM, CONTRAST, at, changed, link, numbers, opened, pixels, soon
from visiting import TOKEN, serving
from zspace.explorer.view import RunView

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
SHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def urls(
    planar: dict[str, zspace.Run], swept: dict[float, zspace.Run]
) -> Iterator[dict[str, str]]:
    """Where a VAE, an AE beside it, and a sweep are served."""
    SHOTS.mkdir(exist_ok=True)
    with (
        serving(planar["vae"]) as one,
        serving(planar["ae"], planar["vae"]) as two,
        serving(*swept.values()) as film,
    ):
        visitors = {"vae": one, "two": two, "film": film}
        yield {name: f"http://{visitor.host}/?token={TOKEN}" for name, visitor in visitors.items()}


@pytest.fixture
def visit(browser: Any, urls: dict[str, str]) -> Iterator[Any]:
    """Open a page, at a view if one is given. At the end: nothing went wrong."""
    wrong: list[str] = []
    pages = []

    def open_page(name: str, view: str = "", **options: Any) -> Any:
        page = opened(browser, urls[name], wrong, **options)
        pages.append(page)
        if view:
            page.goto("about:blank")
            page.goto(urls[name].split("?")[0] + view)
            page.wait_for_selector("body.ready")
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert wrong == []


def told(page: Any, selector: str = "#posterior .number") -> list[float]:
    """Numbers that the page shows."""
    texts = page.locator(selector).all_inner_texts()
    return [float(text.replace("−", "-")) for text in texts]


def measures(page: Any, holder: str = "#posterior") -> dict[str, float]:
    """Those that have a value; a name may come before it."""
    rows = page.locator(f"{holder} .measures > div").all_inner_texts()
    told = [row.split("\n") for row in rows]
    return {
        name: float(text.split()[0]) for name, *texts in told for text in texts if text.strip()
    }


def test_epsilon_lands_is_decoded_and_leaves_a_trail(visit, planar):
    run, i = planar["vae"], 3
    page = visit("vae", f"#test={i}")
    soon(lambda: f"test image {i} " in page.locator("#posterior h2").inner_text())
    mu, sigma, kl = np.split(RunView(run).posterior(np.array([i]))[0], [2, 4])
    soon(lambda: "squared error at μ" in measures(page))
    assert measures(page)["KL to the prior"] == pytest.approx(kl[0], abs=0.006)
    page.click("#posterior .draw")
    soon(lambda: page.locator("#posterior .number").all_inner_texts()[0])
    lines = np.array(told(page)).reshape(2, 4)  # z = mu + sigma eps
    np.testing.assert_allclose(lines[:, 1:3].T, [mu, sigma], atol=0.006)
    np.testing.assert_allclose(
        lines[:, 0], mu + sigma * lines[:, 3], atol=0.011 + sigma.max() / 200
    )
    soon(lambda: "squared error at z" in measures(page))
    soon(lambda: np.allclose(numbers(link(page), "z"), lines[:, 0], atol=0.006))
    z = torch.tensor([numbers(link(page), "z")])
    x, made = run.data().test.images(torch.tensor([i]))[0], run.decode(z)[0]
    error = float((x - made).square().sum())
    assert measures(page)["squared error at z"] == pytest.approx(error, abs=0.1)
    first = "#posterior .trail canvas:nth-child(1)"
    np.testing.assert_allclose(pixels(page, first)[:, :, 0] / 255, made[0], atol=0.01)
    page.focus(".map")
    for n in range(2, 11):
        page.keyboard.press("d")
        kept = page.locator("#posterior .trail canvas:not(.empty)")
        soon(lambda n=n, kept=kept: kept.count() == min(n, 8))
    page.screenshot(path=SHOTS / "epsilon.png")
    page.click("#posterior .clear")
    assert page.locator("#posterior .trail canvas:visible").count() == 0


def test_an_autoencoder_has_no_ellipse_and_says_so(visit):
    page = visit("two", "#test=3")
    soon(lambda: page.locator("#posterior .q").count() == 2)
    soon(lambda: "has no q(z|x)" in page.locator("#posterior .q").first.inner_text())
    assert page.locator("#posterior .q").first.locator(".draw:visible").count() == 0
    assert page.locator("#posterior .q").last.locator(".draw:visible").count() == 1


def in_page(page: Any, body: str, *modules: str, **told: Any) -> Any:
    """What a function body returns of the page's modules and what it is told."""
    names = json.dumps([f"static/{name}.js" for name in modules])
    return page.evaluate(
        f"""async (told) => {{
          const urls = {names}.map((name) => new URL(name, location.href));
          const found = await Promise.all(urls.map((url) => import(url)));
          const modules = Object.assign({{}}, ...found);
          {body}
        }}""",
        told,
    )


def test_a_gaussian_of_many_dimensions_falls_onto_the_plane(visit):
    page, random = visit("vae"), np.random.RandomState(0)
    u, v = random.randn(2, 5)  # neither of length 1 nor at right angles
    origin, mu, sigma = random.randn(5), random.randn(5), random.uniform(0.1, 1, 5)
    found = in_page(
        page,
        """const made = modules.onPlane(told.plane, told.mu, told.sigma);
        const radii = [0.5, 0.95].map(modules.radiusOf);
        return { ...made, ...modules.ellipseOf(made.cov), radii };""",
        "gauss",
        plane={"origin": origin.tolist(), "u": u.tolist(), "v": v.tolist()},
        mu=mu.tolist(),
        sigma=sigma.tolist(),
    )
    to = np.linalg.pinv(np.stack([u, v], 1))
    np.testing.assert_allclose(found["centre"], to @ (mu - origin))
    cov = to @ np.diag(sigma**2) @ to.T
    np.testing.assert_allclose(found["cov"], cov[[0, 0, 1], [0, 1, 1]])
    values, axes = np.linalg.eigh(cov)
    np.testing.assert_allclose([found["short"], found["long"]], np.sqrt(values))
    along = np.array([np.cos(found["angle"]), np.sin(found["angle"])])
    assert abs(along @ axes[:, 1]) == pytest.approx(1)
    np.testing.assert_allclose(found["radii"], stats.chi(2).ppf([0.5, 0.95]))


def test_lines_of_density_hold_their_share(visit):
    """Of a Gaussian these are circles; smoothing makes them a little wider."""
    page, z = visit("vae"), np.random.RandomState(0).randn(20_000, 2).astype(np.float32)
    radii = in_page(
        page,
        """const points = Float32Array.from(told.points);
        const grid = modules.densityOf(points, modules.bounds(points));
        return modules.levelsOf(grid, [0.5, 0.95]).map((level) =>
          modules.lineOf(grid, level).map(([[x, y]]) => Math.hypot(x, y)));""",
        "contours",
        "spatial",
        points=z.flatten().tolist(),
    )
    for found, share in zip(radii, (0.5, 0.95), strict=True):
        assert np.median(found) == pytest.approx(stats.chi(2).ppf(share), rel=0.08)
        assert np.std(found) < 0.12


def test_a_map_with_ellipses_stands_alone(visit):
    """As another page uses it: nothing but an element and what is on the map."""
    page = visit("vae")
    found = in_page(
        page,
        """const element = document.createElement("figure");
        element.style.cssText = "position: fixed; inset: 0; width: 400px; height: 400px";
        document.body.append(element);
        const points = Float32Array.from({ length: 400 }, (_, k) => Math.sin(7 * k) * 2);
        const plane = { origin: [0, 0], u: [1, 0], v: [0, 1], axes: ["z[0]", "z[1]"] };
        const one = modules.codeMap(element, { points, plane, standard: true });
        one.ellipses([{ mu: [0.5, -0.5], sigma: [0.4, 0.1] }]);
        one.dots([[1, 1]]);
        await new Promise((go) => setTimeout(go, 200));
        const over = element.querySelector(".over");
        const context = over.getContext("2d");
        const alpha = (x, y) => {
          const [sx, sy] = one.map.toScreen(x, y).map((v) => Math.round(v * one.map.ratio));
          const { data } = context.getImageData(sx - 2, sy - 2, 5, 5);
          return Math.max(...data.filter((_, k) => k % 4 === 3));
        };
        const answer = {
          edge: alpha(0.9, -0.5), high: alpha(0.5, -0.4), inside: alpha(0.5, -0.5),
          outside: alpha(-1.5, 1.5), dot: alpha(1, 1),
        };
        element.remove();
        return answer;""",
        "codemap",
    )
    assert found["edge"] > 200
    assert found["high"] > 200
    assert 0 < found["inside"] < 200
    assert found["outside"] == 0
    assert found["dot"] > 200


def test_a_thrower_and_a_curve_stand_alone(visit):
    page = visit("vae")
    found = in_page(
        page,
        """const element = document.createElement("div");
        document.body.append(element);
        const landed = [];
        const options = { shape: [1, 2, 2], noise: () => 2, of: ["error", "nats"] };
        const one = modules.epsilonThrower(element, options);
        await one.set({
          posterior: async () => ({ mu: [1, -1], sigma: [0.5, 0.25], kl: 3 }),
          decode: async (z) => new Uint8Array(4).fill(100 * z[0]),
          error: async (z) => z[0] * 10,
          landed: (z) => landed.push(z),
        }, "a sample");
        await one.draw();
        const text = element.innerText;
        const context = element.querySelector("canvas").getContext("2d");
        const pixel = context.getImageData(0, 0, 1, 1).data[0];
        await one.set({ posterior: async () => null }, "none");
        const none = element.querySelector(".draw").offsetParent === null;
        const pressed = [];
        const points = [[0, 50, "a"], [9, 30, "b"], [99, 20, "c"]]
          .map(([rate, distortion, name]) => ({ rate, distortion, name }));
        const titles = { rate: "rate", distortion: "distortion" };
        const go = (k) => pressed.push(k);
        const curve = modules.rateDistortion(element, { points, titles, go });
        const of = (dot) => ["cx", "cy"].map((name) => Number(dot.getAttribute(name)));
        const here = () => of(element.querySelector(".here"));
        const marks = [...element.querySelectorAll(".at")].map(of);
        const places = [0, 1, 1.5, 2].map((k) => { curve.set(k); return here(); });
        element.querySelectorAll(".hit")[2].dispatchEvent(new MouseEvent("click"));
        element.remove();
        return { landed, text, pixel, none, marks, places, pressed };""",
        "throw",
        "rate",
    )
    assert found["landed"] == [[2, -0.5]]
    assert "10.0 nats" in found["text"]
    assert "20.0 nats" in found["text"]
    assert found["pixel"] == 200
    assert found["none"]
    marks = np.array(found["marks"])
    assert (np.diff(marks[:, 0]) > 0).all()  # a larger rate is further right,
    assert (np.diff(marks[:, 1]) > 0).all()  # a smaller distortion further down
    expected = [marks[0], marks[1], marks[1:].mean(0), marks[2]]
    np.testing.assert_allclose(found["places"], expected, atol=1e-3)
    assert found["pressed"] == [2]


def drawn(page: Any, layer: str) -> str:
    """What canvases of the first map show, as text that can be compared."""
    found = f"document.querySelector('.map').querySelectorAll('canvas{layer}')"
    return page.evaluate(f"[...{found}].map((canvas) => canvas.toDataURL()).join()")


def scales(page: Any) -> list[float]:
    return [float(one.get_attribute("data-scale")) for one in page.locator(".map").all()]


def test_two_models_have_one_scale_unless_each_shall_have_its_own(visit):
    page = visit("two")
    soon(lambda: len(set(scales(page))) == 1)
    page.click(".map:nth-child(2) [data-zoom='1.5']")
    soon(lambda: len(set(scales(page))) == 1 and "view=" in link(page))
    page.uncheck("#same")
    soon(lambda: len(set(scales(page))) == 2)
    soon(lambda: "scale=0" in link(page))
    again = visit("two", "#" + link(page).split("#")[1])
    assert not again.locator("#same").is_checked()
    soon(lambda: len(set(scales(again))) == 2)
    again.check("#same")
    soon(lambda: len(set(scales(again))) == 1)


def test_the_prior_rains_on_both_maps(visit):
    page = visit("two")
    before = drawn(page, ".over")
    page.click("#rain")
    soon(lambda: page.locator(".drops canvas:not(.empty)").count() == 100)
    soon(lambda: drawn(page, ".over") != before)
    sheets = [
        page.evaluate(
            "k => [...document.querySelectorAll('.drops')[k].children].map((c) => c.toDataURL())",
            k,
        )
        for k in (0, 1)
    ]
    assert len(set(sheets[1])) > 40
    assert "not asked" in page.locator(".drops-of").first.inner_text()
    assert "not asked" not in page.locator(".drops-of").last.inner_text()
    page.screenshot(path=SHOTS / "rain.png")
    page.click("#rain-sheet > button")
    assert page.locator("#rain-sheet").is_hidden()


def test_guides_and_density_can_be_switched(visit):
    page = visit("vae")
    page.mouse.move(*at(page, 0.5, 0.5))
    page.wait_for_timeout(400)
    for name in ("guides", "density"):
        before = drawn(page, ":not(.over)")
        page.locator(f"#{name}").click()
        soon(lambda before=before: drawn(page, ":not(.over)") != before)
    soon(lambda: "guides=0" in link(page) and "density=1" in link(page))
    again = visit("vae", "#" + link(page).split("#")[1])
    assert not again.locator("#guides").is_checked()
    assert again.locator("#density").is_checked()


def test_a_slider_goes_through_the_weights(visit, swept):
    page = visit("film", "#test=4&beta=0")
    assert page.locator("#beta-title").inner_text() == "β = 0"
    soon(lambda: page.locator("#posterior h2").count())
    page.wait_for_load_state("networkidle")
    first, points = pixels(page, ".hero"), page.locator(".rate .at")
    places = [[one.get_attribute(axis) for axis in ("cx", "cy")] for one in points.all()]
    here = page.locator(".rate .here")
    assert [here.get_attribute(axis) for axis in ("cx", "cy")] == places[0]
    page.focus("#beta")
    page.keyboard.press("End")
    soon(lambda: page.locator("#beta-title").inner_text() == "β = 20")
    assert [here.get_attribute(axis) for axis in ("cx", "cy")] == places[2]
    assert (
        f"KL {swept[20].result['test']['kl']:.1f} nats" in page.locator("#beta-told").inner_text()
    )
    changed(page, ".hero", first)
    view = RunView(swept[20])
    soon(lambda: np.allclose(numbers(link(page), "z"), view.z[4], atol=2e-3))  # the same sample
    soon(lambda: measures(page).get("KL to the prior") == pytest.approx(
        float(view.posterior(np.array([4]))[0, 4]), abs=0.006))  # fmt: skip
    expected = swept[20].decode(view.z[4:5])[0, 0]
    soon(lambda: np.allclose(pixels(page, ".hero")[:, :, 0] / 255, expected, atol=0.01))
    soon(lambda: "beta=2" in link(page))
    page.keyboard.press("ArrowLeft")
    soon(lambda: page.locator("#beta-title").inner_text() == "β = 1")
    page.screenshot(path=SHOTS / "beta.png")
    page.click(".map [data-zoom='1.5']")
    soon(lambda: "view=" in link(page))
    zoomed = scales(page)
    page.locator(".rate .hit").first.click()
    soon(lambda: page.locator("#beta-title").inner_text() == "β = 0")
    soon(lambda: np.array_equal(pixels(page, ".hero"), first))
    assert scales(page) == zoomed


def test_the_points_move_between_runs_where_motion_is_wanted(visit):
    page = visit("film", reduced_motion="no-preference")
    page.mouse.move(*at(page, 0.5, 0.5))
    page.evaluate("""() => {
      window.seen = new Set();
      const canvas = document.querySelector(".map .points");
      const look = () => {
        if (window.seen.size < 200) requestAnimationFrame(look);
        window.seen.add(document.querySelector(".map").dataset.scale);
      };
      look();
    }""")
    page.focus("#beta")
    page.keyboard.press("Home")
    soon(lambda: page.evaluate("window.seen.size") > 3)


def test_the_card_and_the_hint(visit):
    page = visit("vae")
    assert page.locator(".map-hint").is_visible()
    page.keyboard.press("?")
    card = page.locator("#help")
    soon(card.is_visible)
    for words in ("A dot", "What is grey", "The two ellipses", "50% and 95%", "draws ε again"):
        assert words in card.inner_text()
    page.keyboard.press("Escape")
    soon(card.is_hidden)
    page.click("#what")
    page.click("#help button")
    soon(card.is_hidden)
    page.focus(".map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    soon(lambda: page.locator(".map-hint").count() == 0)
    assert visit("vae", "#test=1").locator(".map-hint").count() == 0  # a link is no first visit


@pytest.mark.parametrize("name", ["vae", "two", "film"])
def test_a_narrow_screen_holds_it_all(visit, name):
    size = {"width": 360, "height": 740}
    page = visit(name, "#test=3", viewport=size, has_touch=True, is_mobile=True)
    page.locator("#posterior .draw:visible").first.click()
    if page.locator("#rain").is_visible():
        page.locator("#rain").click()
    page.wait_for_timeout(300)
    for opener, dialog in (("#what", "#help"), ("#dare-me", "#dares")):
        page.click(opener)
        box = page.locator(dialog).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
    for tab in page.locator("[role='tab']").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(visit, scheme):
    for name in ("film", "two"):
        page = visit(name, "#test=3", color_scheme=scheme)
        page.locator("#posterior .draw:visible").first.click()
        page.wait_for_timeout(300)
        assert page.evaluate(CONTRAST) == []
        for opener in ("#what", "#dare-me"):
            page.click(opener)
            assert page.evaluate(CONTRAST) == []
            page.keyboard.press("Escape")
        page.click("#dare-me")
        page.locator("#dares [data-dare='own'] button").click()
        assert page.evaluate(CONTRAST) == []

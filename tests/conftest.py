"""What the tests share: time limits, Ctrl-C, one thread, small data, and trained runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Small tensors are faster on one thread, and results do not depend on the machine. The variable is
# read when torch is imported, and by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

import zspace  # noqa: E402

SMALL = {"hidden": (32,), "latent": 3, "epochs": 2, "batch": 64, "precision": "fp32"}
WRITTEN = (
    "run.json",
    "config.toml",
    "metrics.jsonl",
    "model.safetensors",
    "README.md",
    "card.png",
)
"""The files of a run of images."""
OWN = {"vaegan": {"perceptual": "judge"}}
OF_TOKENS = ("sentence_vae",)
"""Recipes that refuse all but tokens."""
"""What a recipe needs beside that: 'auto' looks for files that this machine may have or not."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, in which a judge of the same data is trained once; and a secret
    of their own, by which they know the runs that they have made.
    """
    folder = tmp_path_factory.mktemp("cache")

    def place(name: str) -> Path:
        return Path(os.environ.get("XDG_CACHE_HOME", folder)) / name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.os_cache", place)
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests have ten minutes each; all others have the limit in pyproject.toml.

    Slow is also whatever needs the page of a whole study, the fixture `written` of test_report.py.
    """
    for item in items:
        if item.path.name == "test_report.py" and "written" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        long = item.get_closest_marker("slow") or item.get_closest_marker("thorough")
        if long and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session", autouse=True)
def heard() -> Iterator[None]:
    """Signals act as they do at a terminal, here and in the processes that tests start.

    A shell script starts what it puts into the background with SIGINT ignored, nohup with SIGHUP
    ignored, and children inherit that: the suite would not test what these signals do, and would
    wait for it for ever.
    """
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; what asks for it is skipped where one of them is missing."""
    from browsing import CHROMIUM

    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 300 real digits at 14 x 14, labels 0 to 9: real data, quick to train on."""
    from zspace.data.loading import load

    data = load("mnist5k", quiet=True)
    i = torch.arange(0, len(data.train), len(data.train) // 300)[:300]
    x = torch.nn.functional.avg_pool2d(data.train.images(i), 2)
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=(x * 255).round().to(torch.uint8).numpy(), y=data.train.labels(i).numpy())
    return path


@contextmanager
def unpainted() -> Iterator[None]:
    """Within, figures are made but not laid out or painted: only what a page says is looked at."""
    from PIL import Image

    from zspace.report.figures import registry
    from zspace.report.html import page

    blank = Image.new("RGB", (9, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "painted", lambda fig: (blank, blank))
        patch.setattr(registry, "tighten", lambda fig: fig)
        yield


@pytest.fixture
def own_parts() -> Iterator[None]:
    """Recipes, metrics and other parts that a test registers are gone after it."""
    from zspace.analysis import METRICS
    from zspace.models.likelihoods import LIKELIHOODS
    from zspace.models.networks.choices import NETS
    from zspace.models.priors import PRIORS
    from zspace.models.recipes import RECIPES
    from zspace.report.answers import ANSWERS
    from zspace.report.figures import registry

    answers = list(ANSWERS)
    registries: tuple[dict, ...] = (
        RECIPES, LIKELIHOODS, PRIORS, NETS, METRICS, registry.FIGURES
    )  # fmt: skip
    before = [(known, dict(known)) for known in registries]
    yield
    for known, content in before:
        known.clear()
        known.update(content)
    ANSWERS[:] = answers


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[str, zspace.Run]:
    """One small run per recipe that takes images, with networks of the kind that it declares."""
    from zspace.models.recipes import RECIPES, choices_of

    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for name, function in RECIPES.items():
        if name in OF_TOKENS:
            continue
        options = {**SMALL, **OWN.get(name, {})}
        if choices_of(function).network["net"].default not in ("auto", "mlp"):
            options["channels"] = (8, 8)
            del options["hidden"]
        found[name] = zspace.train(
            name, data=str(digits), out=folder / name, quiet=True, **options
        )
    return found


@pytest.fixture(scope="session")
def planar(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[str, zspace.Run]:
    """Runs with codes of size 2, which kept snapshots."""
    folder = tmp_path_factory.mktemp("planar")
    options = {**SMALL, "data": str(digits), "latent": 2, "snapshots": 2, "quiet": True}
    return {
        name: zspace.train(name, out=folder / name, **options) for name in ("ae", "vae", "cvae")
    }


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[float, zspace.Run]:
    """Runs with codes of size 2 that differ in beta alone, by it."""
    folder = tmp_path_factory.mktemp("swept")
    options = {**SMALL, "data": str(digits), "latent": 2, "quiet": True}
    return {
        beta: zspace.train("beta_vae", out=folder / f"{beta}", beta=beta, **options)
        for beta in (0.0, 1.0, 20.0)
    }


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zspace.Run]:
    """Runs on colour images without labels whose codes are maps (2, 3, 4)."""
    folder = tmp_path_factory.mktemp("maps")
    x = np.random.RandomState(0).randint(0, 256, (150, 3, 6, 8), np.uint8)
    x = x.repeat(2, axis=2).repeat(2, axis=3)
    np.savez(folder / "x.npz", x=x, allow_pickle=False)
    options = {"net": "conv", "code": "spatial", "channels": (4, 4), "latent": 2, "epochs": 2}
    options |= {"data": str(folder / "x.npz"), "precision": "fp32", "snapshots": 2, "quiet": True}
    return {name: zspace.train(name, out=folder / name, **options) for name in ("ae", "vae")}

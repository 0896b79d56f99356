"""`zspace learn`: a course on autoencoders as one page, with the runs inside the package.

The text is `lesson/learn.html`, a template of jinja2; every number in it is one that `facts` takes
from the runs. The page decodes by itself: it holds their decoders as float16 weights, 1,000 test
images and what q(z|x) is of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from zspace._version import __version__
from zspace.explorer import EXAMPLES, LESSON, STATIC
from zspace.explorer.bundle import single
from zspace.explorer.export import arrays, networks, sources
from zspace.explorer.rows import view_of
from zspace.explorer.view import RunView
from zspace.runs.run import Run, load
from zspace.system import files
from zspace.system.downloads import cache_folder
from zspace.system.errors import UserError
from zspace.system.pixels import COLOURS

PLAIN = ("ae-2", "ae-20", "vae-2", "cvae-2")
"""Digit runs whose decoders the page holds; of the others it shows numbers."""
NUMBERS = (*PLAIN, "vae-20", "cvae-20")
SERIES = tuple(f"vae-2-beta-{beta}" for beta in ("0", "0.1", "0.5", "1", "4", "20"))
OTHERS = ("signals", "wine", "molecules")
OTHER_FILES = ("facts.json", "codes.f32", "labels.u8", "plane-pca.json", "tiles.json")
OTHER_SAMPLES = ("decodings.json",)


def write_lesson(out: Path) -> Path:
    """Write the course into a new file and return its path.

    Raises UserError where the file exists or cannot be written.
    """
    if out.exists():
        what = "is a folder" if out.is_dir() else "exists already"
        raise UserError(f"'{out}' {what}: give a new file, for example --to learn.html")
    page = course()
    with files.explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        files.write(out, page.encode())
    return out


def kept_lesson() -> Path:
    """The course in the user's cache folder: written once for the files that it is made of."""
    made_of = [*LESSON.iterdir(), *STATIC.iterdir(), *EXAMPLES.rglob("*.json"), Path(__file__)]
    digest = sha256(__version__.encode())
    for path in sorted(made_of):
        digest.update(path.read_bytes())
    out = cache_folder() / "lessons" / f"learn-{digest.hexdigest()[:16]}.html"
    return out if out.is_file() else write_lesson(out)


def course() -> str:
    """The course as the text of one page."""
    runs = {name: load(EXAMPLES / "digits" / "runs" / name, "cpu") for name in (*NUMBERS, *SERIES)}
    views = {name: view_of(runs[name]) for name in (*PLAIN, *SERIES)}
    others = {name: view_of(load(EXAMPLES / name, "cpu")) for name in OTHERS}
    told = facts(runs, views, others)
    texts = sources() | {path.name: path.read_text("utf-8") for path in LESSON.iterdir()}
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = template.from_string(texts["learn.html"]).render(**told)
    return single(html, texts, contents(views, others, told))


def facts(
    runs: dict[str, Run], views: dict[str, RunView], others: dict[str, RunView]
) -> dict[str, Any]:
    """What the text and the pieces of the page say of the runs: means over MNIST's test images.

    runs: name -> title, latent, error (the squared error of a drawn code), kl in nats, parameters;
    series: the same of the runs whose KL is weighted, the smallest weight first.
    """

    def of(run: Run) -> dict[str, Any]:
        test = run.result["test"]
        return {
            "name": run.config.name,
            "latent": run.config.latent,
            "beta": run.config.recipe_options.get("beta", 1.0),
            "error": test["mse"],
            "kl": test.get("kl", 0.0),
            "parameters": run.record["parameters"],
            "epochs": run.result["epochs"],
        }

    every = {name: of(run) for name, run in runs.items()}
    first = runs["vae-2"]
    pixels = math.prod(first.spec.shape)
    return {
        "runs": every,
        "series": [every[name] | {"id": name} for name in SERIES],
        "others": {
            name: {
                "n": len(view),
                "train": view.run.record["data"]["train"],
                "columns": len(view.run.spec.columns),
                "shape": list(view.shape),
            }
            for name, view in others.items()
        },
        "pixels": pixels,
        "train": first.record["data"]["train"],
        "n": len(views["vae-2"]),
        "width": first.config.network["hidden"][0],
        "constant": pixels / 2 * math.log(math.pi),
        "classes": list(first.spec.classes),
        "shape": list(first.spec.shape),
        "colours": COLOURS,
    }


def contents(
    views: dict[str, RunView], others: dict[str, RunView], told: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The data files of the page."""
    yield "learn.json", told
    first = views["vae-2"]
    every = np.arange(len(first))
    yield "images.u8", first.images(every)
    yield "labels.u8", first.labels
    for name, view in views.items():
        for file, content in networks(view.run):
            if not file.startswith("encoder"):
                yield f"{name}/{file}", content
        yield f"{name}/codes.f32", view.z.astype("<f4")
        if view.run.variational:
            yield f"{name}/posterior.f32", view.posterior(every).astype("<f4")
    for name, view in others.items():
        for file, content in arrays(view):
            if file in (*OTHER_FILES, *OTHER_SAMPLES):
                yield f"{name}/{file}", content

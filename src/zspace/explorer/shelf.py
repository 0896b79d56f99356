"""Many runs behind one door: a page that lists them, and the explorer of each, opened when asked.

    /          the list
    /3/        the explorer of the fourth offer, as `app.explorer` makes it

An offer is one run, or a sweep of runs that differ in beta alone. The number in the address is a
place in a list that was made at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zspace.analysis.numbers import number_text
from zspace.explorer import STATIC
from zspace.explorer.app import explorer
from zspace.runs import record
from zspace.runs.sweeps import FEWEST, MOST, WEIGHT
from zspace.system.errors import UserError

PAGE = "shelf.html"
"""The list: a template of jinja2, no file of the page itself."""


@dataclass(frozen=True)
class Offer:
    """What can be opened, and what the list says of it.

    Arguments:
        paths: One run, or those of a sweep.
        title: The name of its folder, or which weights there are.
        facts: Recipe, code, data, and results on test samples.
    """

    paths: tuple[Path, ...]
    title: str
    facts: tuple[str, ...]


def offers(folders: Sequence[Path]) -> list[Offer]:
    """The finished runs in folders, which are runs or studies, sweeps among them first."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for folder in folders:
        inside = [folder] if (folder / record.RECORD).is_file() else record.runs_in(folder)
        read = [(path, record.read_record(path)) for path in inside]
        found += [(path, told) for path, told in read if told["status"] == "finished"]
    return [*_sweeps(found), *(_single(path, told) for path, told in found)]


def _single(path: Path, told: dict[str, Any]) -> Offer:
    config, test = told["config"], told["result"]["test"]
    code = config["recipe_options"].get("latent")
    results = ", ".join(f"{k} {number_text(v)}" for k, v in test.items() if k != "objective")
    recipe = config["recipe"].replace("_", "-")
    return Offer((path,), path.name, (recipe, f"{code or ''}", told["data"]["name"], results))


def _sweeps(found: Sequence[tuple[Path, dict[str, Any]]]) -> list[Offer]:
    """Runs that differ in beta alone, three of them and more."""
    groups: dict[str, dict[float, tuple[Path, dict[str, Any]]]] = {}
    for path, told in found:
        config = told["config"]
        options = dict(config["recipe_options"])
        if WEIGHT in options:
            weight = float(options.pop(WEIGHT))
            rest = [config["recipe"], options, config["network"], config["data"]]
            key = json.dumps([*rest, config["training"]], sort_keys=True)
            groups.setdefault(key, {})[weight] = (path, told)
    made = []
    for group in groups.values():
        if FEWEST <= len(group) <= MOST:
            weights = sorted(group)
            _, told = group[weights[0]]
            title = f"{WEIGHT} {', '.join(f'{w:g}' for w in weights)}: a slider"
            facts = _single(*group[weights[0]]).facts
            made.append(Offer(tuple(group[w][0] for w in weights), title, (*facts[:3], "")))
    return made


async def _wrong(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)


class Opened:
    """The explorer of an offer: its page is there at once, its runs when the page asks."""

    def __init__(self, make: Callable[[], Starlette]) -> None:
        self.make, self.lock = make, asyncio.Lock()
        self.page = explorer({})
        self.app: ASGIApp | None = None
        self.stack = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["path"].removeprefix(scope.get("root_path", ""))
        if not below.startswith("/api/"):
            await self.page(scope, receive, send)
            return
        async with self.lock:
            if self.app is None:
                app = await asyncio.to_thread(self.make)
                await self.stack.enter_async_context(app.router.lifespan_context(app))
                self.app = app
        await self.app(scope, receive, send)


def list_app(
    offered: Sequence[Offer], title: str, make: Callable[[Sequence[Path]], Starlette]
) -> Starlette:
    """The app of many offers. make: the explorer of runs in folders."""
    doors = [Opened(partial(make, one.paths)) for one in offered]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = (STATIC / PAGE).read_text("utf-8")
    page = template.from_string(text).render(offers=offered, title=title)
    css = (STATIC / "shelf.css").read_text("utf-8")

    async def listed(_: Request) -> Response:
        return HTMLResponse(page)

    async def styled(_: Request) -> Response:
        return Response(css, media_type="text/css")

    async def slashed(request: Request) -> Response:
        return RedirectResponse(f"{request.url.path}/", 303)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for door in doors:
            await door.stack.aclose()

    numbers = range(len(doors))
    app = Starlette(
        routes=[
            Route("/", listed),
            Route("/static/shelf.css", styled),
            *(Route(f"/{k}", slashed) for k in numbers),
            *(Mount(f"/{k}", doors[k]) for k in numbers),
        ],
        exception_handlers={UserError: _wrong},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app

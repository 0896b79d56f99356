"""Threads behind the server: one owns the model and decodes in batches, others prepare arrays.

The routes of the explorer: every answer is a page file, JSON or one block of numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from zspace._version import __version__
from zspace.explorer import access, page_files
from zspace.explorer.access import MOST_CODES, Refused
from zspace.explorer.view import RunView
from zspace.runs.sweeps import Sweep
from zspace.system.errors import UserError
from zspace.system.pixels import COLOURS

BEHIND = 10
"""The niceness of threads that nobody's pointer waits for."""
T = TypeVar("T")
Asked = tuple[np.ndarray, Tensor | None, "asyncio.Future[np.ndarray]"]


class LazyResult(Generic[T]):
    """A result that a thread of its own computes when it is first asked for.

    The thread does not keep the process alive: stopping the server stops it. Where the system can
    tell threads apart, those that decode for a pointer come before it.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self.function, self.future, self.since = function, Future[T](), 0.0

    def start(self) -> Future[T]:
        """Begin, unless it has begun; the future of the result."""
        if not self.since:
            self.since = time.monotonic()
            self.future.set_running_or_notify_cancel()  # who stops waiting does not cancel it
            threading.Thread(target=self._work, daemon=True).start()
        return self.future

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return time.monotonic() - self.since if self.since else 0.0

    def _work(self) -> None:
        if sys.platform == "linux":  # elsewhere a priority is that of the whole process
            least = max(BEHIND, os.getpriority(os.PRIO_PROCESS, 0))
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), least)
        try:
            self.future.set_result(self.function())
        except BaseException as error:  # whoever waits is told
            self.future.set_exception(error)


class ModelThread:
    """The one thread that runs a model. Requests that wait together are decoded as one batch."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.thread = ThreadPoolExecutor(1, "model")
        self.waiting: asyncio.Queue[Asked] = asyncio.Queue()

    async def do(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function of the model on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    async def decode(self, z: np.ndarray, c: Tensor | None) -> np.ndarray:
        """Codes (n, Z) with contexts (n, context) or None as uint8 images (n, H, W, C), or x."""
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((z, c, answer))
        return await answer

    async def serve(self) -> None:
        """Decode what waits, until cancelled. Nobody is kept waiting for company: while one batch
        is decoded, the next gathers.
        """
        while True:
            batch = [await self.waiting.get()]
            while not self.waiting.empty() and sum(len(z) for z, _, _ in batch) < MOST_CODES:
                batch.append(self.waiting.get_nowait())
            batch = [asked for asked in batch if not asked[2].done()]  # some have hung up
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[Asked]) -> None:
        contexts = [c for _, c, _ in batch if c is not None]
        z, c = np.concatenate([z for z, _, _ in batch]), torch.cat(contexts) if contexts else None
        try:
            x = await self.do(self.view.decode, z, c)
        except Exception as error:
            for _, _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        starts = np.cumsum([len(z) for z, _, _ in batch])[:-1]
        for (_, _, answer), part in zip(batch, np.split(x, starts), strict=True):
            if not answer.done():
                answer.set_result(part)

    def close(self) -> None:
        """Let go of the thread."""
        self.thread.shutdown(wait=False, cancel_futures=True)


PATIENCE = 10.0
"""Seconds in which a body must have come."""
LONGEST = 60.0
"""Seconds in which the model must have answered."""
TSNE_SECONDS = 0.003
"""Of a map for each image, about: what the shown progress goes by."""
MOST_JSON = 1 << 16


class RunState:
    """What the server keeps of one run: its view, the thread of its model, facts and maps."""

    def __init__(self, key: str, view: RunView) -> None:
        self.view, self.thread = view, ModelThread(view)
        self.facts = view.facts(key)
        self.maps = {n: view.flat(view.z, n).astype("<f4").tobytes() for n in view.flat_maps}
        self.tsne = LazyResult(lambda: view.tsne().astype("<f4").tobytes())
        self.prepared = LazyResult(view.prepare)
        self.moments = view.moments()


Answer = Callable[[Request, RunState], Awaitable[Any]]


def explorer(
    views: Mapping[str, RunView], swept: Sweep | None = None, *, listed: bool = False
) -> Starlette:
    """The explorer of runs.

    Arguments:
        views: Runs by the opaque ids under which they are served.
        swept: What these runs are together, if they are shown one at a time, in this order.
        listed: Whether a list of runs lies one folder up.
    """
    states = {key: RunState(key, view) for key, view in views.items()}
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name:path}", page),
            Route("/api/info", info),
            *(Route(f"/api/{{id}}/{name}", _of_run(answer)) for name, answer in READ.items()),
            *(
                Route(f"/api/{{id}}/{name}", _of_run(answer), methods=["POST"])
                for name, answer in ASKED.items()
            ),
        ],
        exception_handlers={HTTPException: _refused, UserError: _wrong, Exception: _failed},
        lifespan=_open,
    )
    app.router.redirect_slashes = False
    app.state.states, app.state.files = states, page_files()
    app.state.film = None if swept is None else swept.told()
    app.state.listed = listed
    return app


@contextlib.asynccontextmanager
async def _open(app: Starlette) -> AsyncIterator[None]:
    states = app.state.states.values()
    tasks = [asyncio.create_task(state.thread.serve()) for state in states]
    for state in states:
        state.prepared.start()
    yield
    for task in tasks:
        task.cancel()
    for state in states:
        state.thread.close()


async def _refused(_: Request, error: Any) -> Response:
    why = {"Not Found": "nothing is at this address", "Method Not Allowed": "use GET or POST"}
    return JSONResponse({"error": why.get(error.detail, error.detail)}, error.status_code)


async def _wrong(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the server failed: its terminal says why"}, 500)


def _of_run(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers of the run whose id is in the path: JSON of a dict, or numbers."""

    async def route(request: Request) -> Response:
        state = request.app.state.states.get(request.path_params["id"])
        if state is None:
            raise Refused(404, "no run has this id: use one of those in /api/info")
        found = await answer(request, state)
        if isinstance(found, np.ndarray):
            return _numbers(found)
        return JSONResponse(found) if isinstance(found, dict) else found

    return route


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, at most so many bytes. Raises Refused."""
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > most:
        raise Refused(413, f"the body is too large: at most {most} bytes are read")
    try:
        return await asyncio.wait_for(_read(request, most), PATIENCE)
    except (asyncio.TimeoutError, ClientDisconnect):
        raise Refused(408, f"no body came within {PATIENCE:.0f} seconds: try again") from None


async def _read(request: Request, most: int) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise Refused(413, f"the body is too large: at most {most} bytes are read")
    return bytes(content)


async def _soon(answer: Any) -> Any:
    """What a thread answers, if it does in time. Raises Refused."""
    try:
        return await asyncio.wait_for(answer, LONGEST)
    except asyncio.TimeoutError:
        raise Refused(503, "the model is too busy: try again") from None


def _numbers(values: np.ndarray | bytes, **headers: Any) -> Response:
    content = values if isinstance(values, bytes) else values.tobytes()
    told = {f"X-{name.title()}": str(value) for name, value in headers.items()}
    return Response(content, media_type="application/octet-stream", headers=told)


# what is read


async def page(request: Request) -> Response:
    """A file of the page, from a list made at the start: the name is a key, not a path."""
    name = request.path_params.get("name", "index.html")
    path = request.app.state.files.get(name)
    if path is None:
        raise Refused(404, "there is no file with this name")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kind = "text/javascript" if name.endswith((".js", ".mjs")) else kind
    return Response(path.read_bytes(), media_type=kind)


async def info(request: Request) -> Response:
    """What there is: the runs, the facts of each, the colours of classes, and the film."""
    runs = [state.facts for state in request.app.state.states.values()]
    told = {"version": __version__, "colours": COLOURS, "runs": runs}
    state = request.app.state
    return JSONResponse(told | {"film": state.film, "listed": state.listed})


async def points(request: Request, state: RunState) -> Response:
    """A map of the codes, float32 (N, 2); 202 while a t-SNE map is computed."""
    name = _projection(request, state.view.projections)
    if name != "tsne":
        return _numbers(state.maps[name], count=len(state.view))
    future = state.tsne.start()
    if future.done():
        return _numbers(future.result(), count=len(state.view))
    whole = 2 + TSNE_SECONDS * len(state.view)
    return JSONResponse({"progress": round(min(0.95, state.tsne.seconds / whole), 3)}, 202)


def _projection(request: Request, known: list[str]) -> str:
    name = request.query_params.get("projection", "dims")
    if name not in known:
        raise Refused(400, f"map {name[:20]!r} is unknown: use projection={' or '.join(known)}")
    return name


async def labels(_: Request, state: RunState) -> Response:
    """The labels (N,), in the type that X-Type names; 204 where there are none."""
    view = state.view
    if view.labels is None:
        return Response(status_code=204)
    return _numbers(view.labels, type=f"uint{8 * view.labels.itemsize}")


async def plane(request: Request, state: RunState) -> dict[str, Any]:
    """The codes that a map stands for: origin, u and v."""
    return state.view.plane(_projection(request, list(state.maps)))


def _indices(request: Request, view: RunView) -> np.ndarray:
    return access.indices(request.query_params.get("i", ""), len(view))


async def images(request: Request, state: RunState) -> Any:
    """Test images, uint8 (n, H, W, C), or samples as JSON."""
    i = _indices(request, state.view)
    x = await _soon(asyncio.to_thread(state.view.images, i))
    return await _shown(state, x)


async def _shown(state: RunState, x: np.ndarray) -> Any:
    """Samples as the page gets them: an array of images, or {"samples": what each is}."""
    if state.view.run.spec.kind == "image":
        return x  # as it is: the way through a thread costs more than the model does
    return await _soon(asyncio.to_thread(state.view.shown, x))


async def reconstructions(request: Request, state: RunState) -> Any:
    """What the model makes of test images, uint8 (n, H, W, C), or of other samples."""
    i = _indices(request, state.view)
    x = await _soon(state.thread.decode(state.view.z[i], state.view.contexts_of(i)))
    return await _shown(state, x)


async def codes(request: Request, state: RunState) -> np.ndarray:
    """Codes of test images, float32 (n, Z)."""
    return state.view.z[_indices(request, state.view)].astype("<f4")


async def posterior(request: Request, state: RunState) -> np.ndarray:
    """q(z|x) of test samples, float32 (n, 2 Z + 1): mu, sigma, and the KL to the prior in nats."""
    if not state.view.gaussian:
        raise Refused(404, "this run has no Gaussian q(z|x): use one with a Gaussian bottleneck")
    i = _indices(request, state.view)
    return (await _soon(state.thread.do(state.view.posterior, i))).astype("<f4")


async def errors(_: Request, state: RunState) -> np.ndarray:
    """The error of every test sample's reconstruction, float32 (N,)."""
    await _ready(state)
    return state.view.errors.astype("<f4")


async def _ready(state: RunState) -> None:
    await _soon(asyncio.shield(asyncio.wrap_future(state.prepared.start())))


def _moments(part: str) -> Answer:
    """A part of what `RunView.moments` returns: facts, points or pictures."""

    async def moments(_: Request, state: RunState) -> Any:
        if state.moments is None:
            raise Refused(404, "this run kept no snapshots: train with --snapshots 12")
        return state.moments[part]

    return moments


# what is asked of the model


def _label(request: Request, view: RunView) -> access.Label:
    return access.label(request.query_params.get("label", "none"), len(view.conditions))


async def decode(request: Request, state: RunState) -> Any:
    """Codes, float32 (n, Z), as images, uint8 (n, H, W, C), or JSON; of 'all' labels, n * K.

    With label=3:7 the first code is decoded under label 3, the last under 7, those between under
    mixtures.
    """
    view, label = state.view, _label(request, state.view)
    z = access.codes(await _body(request, 4 * view.dims * access.MOST_CODES), view.dims)
    c = view.contexts(label, len(z))
    if label == "all":
        z = z.repeat(len(view.conditions), axis=0)
        if len(z) > access.MOST_CODES:
            raise Refused(413, f"that makes {len(z)} images: ask for at most {access.MOST_CODES}")
    return await _shown(state, await _soon(state.thread.decode(z, c)))


async def encode(request: Request, state: RunState) -> dict[str, Any]:
    """A sample of the visitor's own, as `RECEIVED` says for its kind: its code, place on the maps,
    error and neighbours; of 'all' labels, under the one that fits best.
    """
    view, label = state.view, _label(request, state.view)
    kind = view.run.spec.kind
    body = await _body(request, view.bytes_each + (0 if kind == "image" else MOST_JSON))
    x = RECEIVED[kind](body, view.shape)
    if isinstance(label, tuple):
        raise Refused(400, "a sample is read under one label or all: give one number, or all")
    read = await _soon(state.thread.do(view.encode, x, label))
    await _ready(state)
    return await _soon(asyncio.to_thread(view.drawing, read))


async def error(request: Request, state: RunState) -> dict[str, Any]:
    """``-log p(x|z)`` in nats of a code, float32 (1, Z): of test sample i, or, without an i, of
    the sample that follows the code in the body, read under a label.
    """
    view, head = state.view, 4 * state.view.dims
    tested = "i" in request.query_params
    room = 0 if tested else view.bytes_each + (0 if view.run.spec.kind == "image" else MOST_JSON)
    body = await _body(request, head + room)
    z = access.codes(body[:head], view.dims)[0]
    if tested:
        i = _indices(request, view)
        if len(i) != 1:
            raise Refused(400, f"{len(i)} positions were given: give one, i=17")
        return {"error": await _soon(state.thread.do(view.test_error_of, z, int(i[0])))}
    label = _label(request, view)
    if label == "all" or isinstance(label, tuple):
        raise Refused(400, "the error is asked for under one label: give one number")
    x = RECEIVED[view.run.spec.kind](body[head:], view.shape)
    return {"error": await _soon(state.thread.do(view.error_of, z, x, label))}


async def near(request: Request, state: RunState) -> dict[str, Any]:
    """Which test samples have the codes nearest to codes, float32 (n, Z)."""
    z = access.codes(
        await _body(request, 4 * state.view.dims * access.MOST_CODES), state.view.dims
    )
    await _ready(state)
    return await _soon(asyncio.to_thread(state.view.near, z))


RECEIVED: dict[str, Callable[[bytes, tuple[int, ...]], Any]] = {
    "image": access.picture,
    "table": access.row,
    "series": access.window,
    "tokens": access.text,
}
"""Kind -> how the body of a sample is read."""


async def gif(request: Request, state: RunState) -> Response:
    """A path between two codes, there and back, as an animation."""
    view = state.view
    if view.run.spec.kind == "image" and view.shape[0] not in (1, 3):
        raise Refused(400, f"a GIF needs 1 or 3 channels, but images have {view.shape[0]}")
    body = await _body(request, MOST_JSON + 64 * view.dims)
    path = access.path(body, view.dims, len(view.conditions))
    return Response(await _soon(state.thread.do(view.gif, path)), media_type="image/gif")


READ: dict[str, Answer] = {
    "map": points,
    "labels": labels,
    "plane": plane,
    "images": images,
    "reconstructions": reconstructions,
    "codes": codes,
    "errors": errors,
    "posterior": posterior,
    "moments": _moments("facts"),
    "moments/points": _moments("points"),
    "moments/pictures": _moments("pictures"),
}
ASKED: dict[str, Answer] = {
    "decode": decode,
    "encode": encode,
    "error": error,
    "near": near,
    "gif": gif,
}

"""The routes of the explorer: every answer is a page file, JSON or one block of numbers."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zspace._version import __version__
from zspace.errors import UserError
from zspace.web import page_files, wire
from zspace.web.exhibit import Exhibit
from zspace.web.guard import Door, Guard
from zspace.web.wire import Refused
from zspace.web.workers import Later, Studio

PATIENCE = 10.0
"""Seconds in which a body must have come."""
LONGEST = 60.0
"""Seconds in which the model must have answered."""
TSNE_SECONDS = 0.003
"""Of a map for each image, about: what the shown progress goes by."""
MOST_JSON = 1 << 16


class Room:
    """What the server keeps of one run: its exhibit, the thread of its model, facts and maps."""

    def __init__(self, key: str, exhibit: Exhibit) -> None:
        self.exhibit, self.studio = exhibit, Studio(exhibit)
        self.facts = exhibit.facts(key)
        self.maps = {
            name: exhibit.flat(exhibit.z, name).astype("<f4").tobytes()
            for name in exhibit.projections
            if name != "tsne"
        }
        self.tsne = Later(lambda: exhibit.tsne().astype("<f4").tobytes())
        self.prepared = Later(exhibit.prepare)
        self.moments = exhibit.moments()


def create_app(exhibits: Mapping[str, Exhibit], door: Door) -> Guard:
    """The app, behind its guard. exhibits: runs by the opaque ids under which they are served."""
    rooms = {key: Room(key, exhibit) for key, exhibit in exhibits.items()}
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name:path}", page),
            Route("/api/info", info),
            *(Route(f"/api/{{id}}/{name}", route) for name, route in READ.items()),
            *(Route(f"/api/{{id}}/{n}", r, methods=["POST"]) for n, r in ASKED.items()),
        ],
        exception_handlers={
            Refused: _refused,
            UserError: _wrong,
            HTTPException: _unknown,
            Exception: _failed,
        },
        lifespan=_open,
    )
    app.router.redirect_slashes = False
    app.state.rooms, app.state.files = rooms, page_files()
    return Guard(app, door)


@contextlib.asynccontextmanager
async def _open(app: Starlette) -> AsyncIterator[None]:
    rooms = app.state.rooms.values()
    tasks = [asyncio.create_task(room.studio.serve()) for room in rooms]
    for room in rooms:
        room.prepared.start()
    yield
    for task in tasks:
        task.cancel()
    for room in rooms:
        room.studio.close()


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.sentence}, error.status)


async def _wrong(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _unknown(_: Request, error: Any) -> Response:
    what = {404: "there is nothing of that name", 405: "this method is not served here"}
    return JSONResponse({"error": what.get(error.status_code, error.detail)}, error.status_code)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the server failed: its terminal says why"}, 500)


def _room(request: Request) -> Room:
    room = request.app.state.rooms.get(request.path_params["id"])
    if room is None:
        raise Refused(404, "there is no run of that id")
    return room


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, at most so many bytes. Raises Refused."""
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > most:
        raise Refused(413, f"the body is too large: at most {most} bytes are read")
    try:
        return await asyncio.wait_for(_read(request, most), PATIENCE)
    except (asyncio.TimeoutError, ClientDisconnect):
        raise Refused(408, f"the body did not come within {PATIENCE:.0f} seconds") from None


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
    content = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    told = {f"X-{name.title()}": str(value) for name, value in headers.items()}
    return Response(content, media_type="application/octet-stream", headers=told)


# what is read


async def page(request: Request) -> Response:
    """A file of the page, from a list made at the start: the name is a key, not a path."""
    name = request.path_params.get("name", "index.html")
    path = request.app.state.files.get(name)
    if path is None:
        raise Refused(404, "there is no file of that name")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kind = "text/javascript" if name.endswith((".js", ".mjs")) else kind
    return Response(path.read_bytes(), media_type=kind)


async def info(request: Request) -> Response:
    """What there is: the runs and the facts of each."""
    runs = [room.facts for room in request.app.state.rooms.values()]
    return JSONResponse({"version": __version__, "runs": runs})


async def points(request: Request) -> Response:
    """A map of the codes, float32 (N, 2); 202 while a t-SNE map is computed."""
    room = _room(request)
    name = _projection(request, room.exhibit.projections)
    if name != "tsne":
        return _numbers(room.maps[name], count=len(room.exhibit))
    future = room.tsne.start()
    if future.done():
        return _numbers(future.result(), count=len(room.exhibit))
    whole = 2 + TSNE_SECONDS * len(room.exhibit)
    return JSONResponse({"progress": round(min(0.95, room.tsne.seconds / whole), 3)}, 202)


def _projection(request: Request, known: list[str]) -> str:
    name = request.query_params.get("projection", "dims")
    if name not in known:
        raise Refused(400, f"this map is unknown: use projection={' or '.join(known)}")
    return name


async def labels(request: Request) -> Response:
    """The labels (N,), in the type that X-Type names; 204 where there are none."""
    exhibit = _room(request).exhibit
    if exhibit.labels is None:
        return Response(status_code=204)
    kind = "uint8" if len(exhibit.run.spec.classes) <= 256 else "uint16"
    return _numbers(exhibit.labels.astype(np.dtype(kind).newbyteorder("<")), type=kind)


async def plane(request: Request) -> Response:
    """The codes that a map stands for: origin, u and v."""
    exhibit = _room(request).exhibit
    known = [name for name in exhibit.projections if name != "tsne"]
    return JSONResponse(exhibit.plane(_projection(request, known)))


def _indices(request: Request, exhibit: Exhibit) -> np.ndarray:
    return wire.indices(request.query_params.get("i", ""), len(exhibit))


async def images(request: Request) -> Response:
    """Test images, uint8 (n, H, W, C)."""
    exhibit = _room(request).exhibit
    i = _indices(request, exhibit)
    return _numbers(await _soon(asyncio.to_thread(exhibit.images, i)))


async def reconstructions(request: Request) -> Response:
    """What the model makes of test images, uint8 (n, H, W, C)."""
    room = _room(request)
    i = _indices(request, room.exhibit)
    return _numbers(
        await _soon(room.studio.decode(room.exhibit.z[i], room.exhibit.contexts_of(i)))
    )


async def codes(request: Request) -> Response:
    """Codes of test images, float32 (n, Z)."""
    exhibit = _room(request).exhibit
    return _numbers(exhibit.z[_indices(request, exhibit)].astype("<f4"))


async def errors(request: Request) -> Response:
    """The squared error of every test image's reconstruction, float32 (N,)."""
    room = _room(request)
    await _ready(room)
    return _numbers(room.exhibit.errors.astype("<f4"))


async def _ready(room: Room) -> None:
    await _soon(asyncio.shield(asyncio.wrap_future(room.prepared.start())))


def _moments(request: Request) -> dict[str, Any]:
    found = _room(request).moments
    if found is None:
        raise Refused(404, "this run kept no snapshots: train with --snapshots 12")
    return found


async def moments(request: Request) -> Response:
    """The moments of the training: epochs, labels and the shape of pictures."""
    return JSONResponse(_moments(request)["facts"])


async def moments_points(request: Request) -> Response:
    """Codes at each moment, float32 (S, M, 2)."""
    return _numbers(_moments(request)["points"])


async def moments_pictures(request: Request) -> Response:
    """Images, then their reconstructions at each moment, uint8 (S + 1, R, H, W, C)."""
    return _numbers(_moments(request)["pictures"])


# what is asked of the model


def _label(request: Request, exhibit: Exhibit) -> str | int:
    return wire.label(request.query_params.get("label", "none"), len(exhibit.conditions))


async def decode(request: Request) -> Response:
    """Codes, float32 (n, Z), as images, uint8 (n, H, W, C); of 'all' labels, (n * K, H, W, C)."""
    room = _room(request)
    exhibit, label = room.exhibit, _label(request, room.exhibit)
    z = wire.codes(await _body(request, 4 * exhibit.dims * wire.MOST_CODES), exhibit.dims)
    c = exhibit.contexts(label, len(z))
    if label == "all":
        z = z.repeat(len(exhibit.conditions), axis=0)
        if len(z) > wire.MOST_CODES:
            raise Refused(413, f"that makes {len(z)} images: ask for at most {wire.MOST_CODES}")
    return _numbers(await _soon(room.studio.decode(z, c)))


async def encode(request: Request) -> Response:
    """A picture, uint8 (H, W, C): its code, place on the maps, error and neighbours."""
    room = _room(request)
    exhibit, label = room.exhibit, _label(request, room.exhibit)
    if label == "all":
        raise Refused(400, "a picture is encoded under one label: give its number")
    x = wire.picture(await _body(request, int(np.prod(exhibit.shape))), exhibit.shape)
    z, error = await _soon(room.studio.do(exhibit.encode, x, label))
    await _ready(room)
    return JSONResponse(await _soon(asyncio.to_thread(exhibit.drawing, z, error)))


async def gif(request: Request) -> Response:
    """A path between two codes, there and back, as an animation."""
    room = _room(request)
    exhibit = room.exhibit
    if exhibit.shape[0] not in (1, 3):
        raise Refused(400, f"images of {exhibit.shape[0]} channels make no GIF")
    body = await _body(request, MOST_JSON + 64 * exhibit.dims)
    path = wire.path(body, exhibit.dims, len(exhibit.conditions))
    return Response(await _soon(room.studio.do(exhibit.gif, path)), media_type="image/gif")


READ = {
    "map": points,
    "labels": labels,
    "plane": plane,
    "images": images,
    "reconstructions": reconstructions,
    "codes": codes,
    "errors": errors,
    "moments": moments,
    "moments/points": moments_points,
    "moments/pictures": moments_pictures,
}
ASKED = {"decode": decode, "encode": encode, "gif": gif}

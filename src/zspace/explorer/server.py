"""`zspace explore`: a socket, a URL with a token, and the app on it until Ctrl-C.

Who has not shown the cookie is a stranger. Strangers share a few connections: when these are used
up, the oldest one of the address that holds most is closed. With the cookie there is always room.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
import webbrowser
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol

from zspace.explorer import BESIDE, EXAMPLES, IDS
from zspace.explorer.access import AccessPolicy, Guard
from zspace.explorer.app import explorer
from zspace.explorer.rows import view_of
from zspace.explorer.shelf import Offer, list_app, offers
from zspace.explorer.view import MOST, RunView
from zspace.runs.record import RECORD
from zspace.runs.run import Run, load
from zspace.runs.sweeps import sweep
from zspace.system.bars import lines
from zspace.system.errors import UserError

HEADER_SECONDS = 10.0
"""In which the headers of a request come, all of them."""
STRANGERS = 64
PACKAGED = [EXAMPLES / name for name in ("digits", "signals", "wine", "molecules")]


def serve(
    paths: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    show: bool = True,
    token: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    trust_data: bool = False,
) -> None:
    """Serve one run, two, a sweep or a list until Ctrl-C; print the URL, and open it in a browser.

    paths: for a folder that is no run, the runs in it are listed; without a path, those that come
    with the package.
    host: the address to listen on, and the name under which people call it. port: 0 takes a free
    one. token: a key that may be used repeatedly; needed where others can reach the host.
    device: as for `zspace.load`.
    Raises UserError where a run, its data, the address or the token do not serve, and for three
    runs or more that are no sweep (`zspace.runs.sweeps.sweep`).
    """
    check_host(host, token)
    with listen(host, port) as listener:
        port = listener.getsockname()[1]
        bound = listener.getsockname()[0]  # "127.1" is "127.0.0.1" in a browser
        names = {host.lower(), bound, *(["localhost"] if bound == "127.0.0.1" else [])}
        policy = AccessPolicy(
            hosts=tuple(address(name, port) for name in sorted(names)),
            token=token,
            cookie=f"zspace-{port}",
            announce=lambda key: print(f"for another browser: {url(host, port, key)}", flush=True),
        )
        with lines("opening the runs"):
            door = Door(data_dir, device, trust_data)
            offered = door.list(paths)
            app = Guard(door.shelf(offered, paths) if offered else door.explorer(paths), policy)
        entrance = url(host, port, policy.key)
        print(f"{entrance}\nstop with Ctrl-C", flush=True)
        if show:
            webbrowser.open(entrance)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(configuration(app)).run(sockets=[listener])


@dataclass(frozen=True)
class Door:
    """How runs are opened: with which data, and where."""

    data_dir: Path | None
    device: str
    trust_data: bool

    def list(self, paths: Sequence[Path]) -> list[Offer]:
        """What is offered instead of being opened: nothing where the paths are runs."""
        if not paths:
            return offers(PACKAGED)
        if len(paths) > 1 or (paths[0] / RECORD).is_file():
            return []
        return offers(paths)

    def shelf(self, offered: Sequence[Offer], paths: Sequence[Path]) -> Starlette:
        """The list of offers."""
        title = paths[0].resolve().name if paths else "Runs that come with zspace"
        return list_app(offered, title, lambda several: self.explorer(several, listed=True))

    def explorer(self, paths: Sequence[Path], *, listed: bool = False) -> Starlette:
        """The explorer of one run, of two, or of a sweep."""
        runs = [load(path, self.device, trust_data=self.trust_data) for path in paths]
        swept = sweep(runs) if len(runs) > BESIDE else None
        shown = views_of(swept.runs if swept else runs, self.data_dir)
        return explorer(shown, swept, listed=listed)


def configuration(app: object) -> uvicorn.Config:
    """The limits under which the app runs."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type] # its union of ASGI types does not name ours
        http=Connection,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=256,
        h11_max_incomplete_event_size=16_384,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )


class Connection(H11Protocol):
    """A socket: its headers come in time, it makes way for others until it shows the cookie, and
    a body that has not come does not hold up the end.
    """

    known, born = False, 0.0
    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.born = self.loop.time()
        self._await_headers()
        strangers = [one for one in self.connections if isinstance(one, Connection)]
        strangers = [one for one in strangers if not (one.known or one.transport.is_closing())]
        if len(strangers) > STRANGERS:
            ((most, _),) = Counter(one.address for one in strangers).most_common(1)
            crowd = (one for one in strangers if one.address == most)
            min(crowd, key=lambda one: one.born).transport.abort()

    @property
    def address(self) -> str:
        """Where it comes from."""
        return self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        if self.late is None and self.conn.their_state is h11.IDLE:  # the next request begins
            self._await_headers()
        before = self.scope
        super().data_received(data)
        if self.scope is not before:
            self._forget()
            policy = self.config.app.policy  # type: ignore[union-attr] # it is our Guard
            self.known |= policy.knows(Headers(raw=self.headers))

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _await_headers(self) -> None:
        self.late = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None


def views(
    paths: Sequence[Path],
    data_dir: Path | None = None,
    device: str = "auto",
    *,
    trust_data: bool = False,
) -> dict[str, RunView]:
    """`views_of` runs that are loaded from folders."""
    return views_of([load(path, device, trust_data=trust_data) for path in paths], data_dir)


def views_of(runs: Sequence[Run], data_dir: Path | None = None) -> dict[str, RunView]:
    """Runs by opaque ids, a, b and so on. Those that were trained on the same data share them."""
    for run in runs:
        data = run.shown(data_dir=data_dir)
        for other in runs:
            other.share_data(data)
        n = min(MOST, len(data.test))
        things = "images" if run.encoding is None else run.encoding.plural
        print(f"{run.config.name}: encoding {n:,} test {things}", file=sys.stderr, flush=True)
    return {key: view_of(run) for key, run in zip(IDS, runs, strict=False)}


def check_host(host: str, token: str | None) -> None:
    """Raise UserError for an address that others can reach where there is no token."""
    numbers = addresses(host)
    if not host or any(number.is_unspecified for number in numbers):
        told = host or "''"
        raise UserError(f"host {told} means every address: give the one that people will type")
    if token is None and not all(number.is_loopback for number in numbers):
        raise UserError(f"others can reach host {host}: choose a secret with --token")


def addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What a host stands for, whichever way it is written: 0, 0x0 and ::ffff:0.0.0.0 are 0.0.0.0.

    Empty where nobody knows it, which `listen` then says.
    """
    found = []
    with contextlib.suppress(OSError, UnicodeError):
        for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            number = ipaddress.ip_address(str(place[0]).partition("%")[0])
            found.append(getattr(number, "ipv4_mapped", None) or number)
    return found


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, whose connections send what they have at once.

    asyncio asks for that where it opens the socket itself. Without it the second part of an answer
    waits until the browser has acknowledged the first, which takes up to 40 ms.

    Raises UserError where the address is taken or not this machine's.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"port is {port}: use a number below 65536, or 0 for a free one")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(place, family=family, backlog=128)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        where = f"{address(host, port)} ({why})"
        raise UserError(f"cannot listen on {where}: use --port 0 for a free port") from None


def address(host: str, port: int) -> str:
    """What a browser puts into the Host header; it leaves port 80 out."""
    name = f"[{host}]" if ":" in host else host
    return name if port == 80 else f"{name}:{port}"


def url(host: str, port: int, key: str) -> str:
    """The entrance."""
    return f"http://{address(host, port)}/?token={key}"

"""`zspace explore`: a socket, a URL with a token, and the app on it until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from zspace.explorer.access import AccessPolicy
from zspace.explorer.app import create_app
from zspace.explorer.view import MOST, RunView
from zspace.runs.run import load
from zspace.system.errors import UserError

IDS = "ab"


def serve(
    paths: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    show: bool = True,
    token: str | None = None,
    data_dir: Path | None = None,
    trust_data: bool = False,
) -> None:
    """Serve one run or two until Ctrl-C; print the URL, and open it in a browser.

    host: the address to listen on, and the name under which people call it. port: 0 takes a free
    one. token: a key that may be used repeatedly; needed where others can reach the host.
    Raises UserError where a run, its data, the address or the token do not serve.
    """
    check_host(host, token)
    with listen(host, port) as listener:
        port = listener.getsockname()[1]
        names = ["127.0.0.1", "localhost"] if host in ("127.0.0.1", "localhost") else [host]
        policy = AccessPolicy(
            hosts=tuple(address(name.lower(), port) for name in names),
            token=token,
            cookie=f"zspace-{port}",
            announce=lambda key: print(f"for another browser: {url(host, port, key)}", flush=True),
        )
        app = create_app(views(paths, data_dir, trust_data=trust_data), policy)
        entrance = url(host, port, policy.key)
        print(f"{entrance}\nstop with Ctrl-C", flush=True)
        if show:
            webbrowser.open(entrance)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(configuration(app)).run(sockets=[listener])


def configuration(app: object) -> uvicorn.Config:
    """The limits under which the app runs."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type] # its union of ASGI types does not name ours
        http="h11",
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


def views(
    paths: Sequence[Path], data_dir: Path | None = None, *, trust_data: bool = False
) -> dict[str, RunView]:
    """Runs by opaque ids, a and b. Two that were trained on the same data share them."""
    opened = [load(path, trust_data=trust_data) for path in paths]
    for run in opened:
        data = run.data(data_dir=data_dir)
        for other in opened:
            other.share_data(data)
        n = min(MOST, len(data.test))
        print(f"{run.config.name}: encoding {n:,} test images", file=sys.stderr, flush=True)
    return {key: RunView(run) for key, run in zip(IDS, opened, strict=False)}


def check_host(host: str, token: str | None) -> None:
    """Raise UserError for an address that others can reach where there is no token."""
    local, everywhere = host == "localhost", False
    with contextlib.suppress(ValueError):  # a name is no number
        number = ipaddress.ip_address(host)
        local, everywhere = number.is_loopback, number.is_unspecified
    if everywhere:
        raise UserError(f"host {host} means every address: give the one that people will type")
    if not local and token is None:
        raise UserError(f"others can reach host {host}: choose a secret with --token")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UserError where the address is taken or not this machine's."""
    if not 0 <= port < 1 << 16:
        raise UserError(f"port is {port}: use a number below 65536, or 0 for a free one")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place, family=family, backlog=128)
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

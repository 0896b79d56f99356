"""What a visitor of the explorer sees, and what a stranger can do to it."""

from __future__ import annotations

import contextlib
import http.client
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from starlette.datastructures import Headers

import zspace
from zspace.explorer import server
from zspace.explorer.access import AccessPolicy
from zspace.explorer.view import RunView
from zspace.system.errors import UserError

TOKEN = "a-token-for-audits"
COOKIES = ('prefs={"a":1}', "theme=dark mode", "a b=c", "n\xe4me=x")


@contextlib.contextmanager
def explored(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`zspace explore` of a small model as a process, its address, and the cookie of a visitor."""
    with tempfile.TemporaryDirectory() as folder:
        run = zspace.train(
            "vae", data="mnist5k", epochs=1, hidden=(16,), out=Path(folder) / "run", quiet=True
        )
        command = [sys.executable, "-m", "zspace", "explore", str(run.path), "--no-open"]
        with subprocess.Popen(
            [*command, "--port", "0", "--token", TOKEN, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            host = process.stdout.readline().removeprefix("http://").partition("/?")[0]
            cookie = asked(host, f"/?token={TOKEN}")[1]["set-cookie"].partition(";")[0]
            yield process, host, cookie
            process.kill()


def asked(host: str, path: str, cookie: str = "") -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer."""
    with contextlib.closing(http.client.HTTPConnection(host, timeout=20)) as connection:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def drawings() -> str:
    """Test digits, taken for drawings: under which label does a conditional model read them?"""
    run = zspace.train("cvae", data="mnist5k", epochs=10, latent=2, out=False, quiet=True)
    view, test = RunView(run), run.data().test
    x, y = view.images(np.arange(200)), test.labels().numpy()[:200]
    if "Reading" not in dir(sys.modules[RunView.__module__]):
        read = [view.drawing(*view.encode(one, 3))["percentile"] for one in x]
        own = np.mean(y == 3)
    else:
        found = [view.drawing(view.encode(one, "all")) for one in x]
        read, own = (
            [one["percentile"] for one in found],
            np.mean([one["label"] for one in found] == y),
        )
    return f"{own:.0%} under their own label, worse than {np.median(read):.0f}% at the median"


def palette() -> str:
    """The worst pair of class colours, and the nearest grey behind the points, in CIE76."""
    of = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "find_palette.py"))
    lab = of["seen"](of["rgb"](of["COLOURS"]))
    grey = of["distances"](lab, of["seen"](of["greys"]())).min()
    return f"worst pair {of['pairs'](lab).min():.1f}, from a grey {grey:.1f}"


def cookies() -> str:
    """A good cookie beside one of another program."""
    policy = AccessPolicy(("127.0.0.1:1",))
    own = f"{policy.cookie}={policy.session}"
    known = [policy.knows(Headers({"cookie": f"{other}; {own}"})) for other in COOKIES]
    return f"{known.count(False)} of {len(COOKIES)} odd cookies lock the owner out"


def crowd() -> str:
    """300 sockets without a cookie whose headers never end."""
    with explored() as (_, host, cookie), contextlib.ExitStack() as stack:
        name, _, port = host.partition(":")
        for _ in range(300):
            one = stack.enter_context(socket.create_connection((name, int(port)), timeout=20))
            one.sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(0.5)
        began = time.perf_counter()
        status = {asked(host, where, cookie)[0] for where in ("/", "/api/info")}
        seconds = time.perf_counter() - began
    return f"the owner is answered {', '.join(map(str, sorted(status)))} within {seconds:.0f} s"


def interrupted() -> str:
    """Ctrl-C while the body of a POST is on its way."""
    with explored() as (process, host, cookie):
        name, _, port = host.partition(":")
        with socket.create_connection((name, int(port))) as half:
            head = f"POST /api/a/decode HTTP/1.1\r\nHost: {host}\r\nContent-Length: 8\r\n"
            half.sendall(f"{head}Cookie: {cookie}\r\n\r\n123".encode())
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=60)[1]
    return f"{len(err.splitlines()) - 1} lines besides the usual one"


def wildcards() -> str:
    """Ways to write every address."""
    passed = []
    for host in ("0.0.0.0", "::", "0", "0x0", "::ffff:0.0.0.0"):
        with contextlib.suppress(UserError):
            server.check_host(host, TOKEN)
            passed.append(host)
    return f"passed: {', '.join(passed) or 'none'}"


AUDITS = [
    (
        "a drawing on a conditional model",
        "21% under their own label, worse than 92% at the median",
        drawings,
    ),
    ("colours of classes", "worst pair 17.6, from a grey 0.6", palette),
    ("cookies of other programs", "4 of 4 odd cookies lock the owner out", cookies),
    ("300 idle sockets", "the owner is answered 503 within 0 s", crowd),
    ("Ctrl-C during a POST", "50 lines besides the usual one", interrupted),
    ("hosts that mean every address", "passed: 0, 0x0, ::ffff:0.0.0.0", wildcards),
]

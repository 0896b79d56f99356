"""Hostile requests: every one is refused with a status of 4xx, and the server lives on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.datastructures import Headers

import zspace
from browsing import soon
from visiting import TOKEN, Answer, Visitor, serving
from zspace import UserError
from zspace.explorer import app, page_files, server
from zspace.explorer.access import HEADERS, AccessPolicy, Refused, codes, indices, label, path

CODE = np.zeros((1, 2), "<f4")
JSON = {"from": [0, 0], "to": [1, 1], "steps": 5, "path": "straight", "label": None}


@pytest.fixture(scope="module")
def visitor(planar: dict[str, zspace.Run]) -> Iterator[Visitor]:
    with serving(planar["vae"], planar["cvae"]) as visitor:
        visitor.enter()
        yield visitor


@pytest.fixture(autouse=True)
def alive(visitor: Visitor) -> Iterator[None]:
    """After each test the server decodes as before."""
    yield
    answer = visitor.post("a/decode", CODE)
    assert answer.status == 200
    assert len(answer.body) == 14 * 14


def raw(visitor: Visitor, text: str, *, cookie: bool = True, host: bool = True) -> Answer:
    """A request as bytes, for what no client library would send."""
    start, _, rest = text.partition("\n")
    lines = [start]
    lines += [f"Host: {visitor.host}"] * host
    lines += [f"{name}: {value}" for name, value in visitor.cookie.items()] * cookie
    head, _, body = rest.partition("\n\n")
    lines += head.split("\n") if head else []
    address, _, port = visitor.host.partition(":")
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", body]).encode("latin-1"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())


def refused(answer: Answer) -> str:
    """The sentence of a refusal."""
    assert 400 <= answer.status < 500, answer
    sentence = answer.json["error"]
    assert "\n" not in sentence
    assert len(sentence) < 200
    return sentence


# who comes in


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": None},
        {"Cookie": "zspace=wrong"},
        {"Cookie": f"zspace={TOKEN}"},
        {"Cookie": "zspace="},
        {"Cookie": "=;;zspace"},
        {"Cookie": "zspace=\xe9\xff"},
    ],
)
@pytest.mark.parametrize("where", ["/", "/static/index.html", "/api/info", "/api/a/decode"])
def test_without_the_cookie_there_is_nothing(visitor, headers, where):
    method = "POST" if where.endswith("decode") else "GET"
    assert visitor.ask(method, where, b"", **headers).status == 401


@pytest.mark.parametrize(
    "other",
    [
        'prefs={"a":1}',
        "theme=dark mode",
        "a b=c",
        "n\xe4me=x",
        "=",
        "alone",
        "x=\x01\x7f",
        "zspace=of another program",
        'q="open',
    ],
)
@pytest.mark.parametrize("form", ["{other}; {own}", "{own}; {other}", "{other};{own};{other}"])
def test_cookies_of_other_programs_lock_nobody_out(visitor, other, form):
    own = visitor.cookie["Cookie"]
    assert own.startswith("zspace=")
    assert visitor.guard.policy.knows(Headers({"cookie": form.format(other=other, own=own)}))
    if "\x01" not in other:  # no client may send this one
        told = visitor.ask("GET", "/api/info", Cookie=form.format(other=other, own=own))
        assert told.status == 200
    assert not visitor.guard.policy.knows(Headers({"cookie": other}))


def test_who_is_refused_hears_what_helps(visitor):
    answer = visitor.ask("GET", "/", Cookie="zspace=old")
    assert "open the URL that zspace printed last" in refused(answer)
    assert "delete the cookies" in refused(answer)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "%00", "%C3%A9"])
def test_a_wrong_token_does_not_open(visitor, token):
    answer = visitor.ask("GET", f"/?token={token}", Cookie=None)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example",
        "{host}.evil.example",
        "{host}@evil.example",
        "user@{host}",
        "{host}, evil.example",
        "[::1]:80",
        "",
    ],
)
def test_a_foreign_host_is_refused(visitor, host):
    for method, where in (("GET", "/"), ("GET", "/api/info"), ("POST", "/api/a/decode")):
        answer = visitor.ask(method, where, CODE.tobytes(), Host=host.format(host=visitor.host))
        assert answer.status in (400, 403)
    answer = visitor.ask("GET", f"/?token={TOKEN}", Host=host.format(host=visitor.host))
    assert "set-cookie" not in answer.headers


def test_two_hosts_and_none_are_refused(visitor):
    two = raw(visitor, "GET /api/info HTTP/1.1\nHost: evil.example\n\n")
    assert 400 <= two.status < 500
    none = raw(visitor, "GET /api/info HTTP/1.0\n\n", host=False)
    assert 400 <= none.status < 500


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://{host}", "http://127.0.0.1", "http://{host}.x", ""],
)
@pytest.mark.parametrize("where", ["decode", "encode", "gif"])
def test_a_post_of_another_origin_is_refused(visitor, origin, where):
    origin = origin.format(host=visitor.host)
    answer = visitor.ask("POST", f"/api/a/{where}", CODE.tobytes(), Origin=origin)
    assert answer.status == 403
    assert "other sites" in refused(answer)


def test_other_methods_of_another_origin_are_refused(visitor):
    for method in ("PUT", "DELETE"):
        assert visitor.ask(method, "/api/info", Origin="http://evil.example").status == 403


def test_our_own_origin_is_let_in(visitor):
    answer = visitor.ask("POST", "/api/a/decode", CODE.tobytes(), Origin=f"http://{visitor.host}")
    assert answer.status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_fetches_is_refused(visitor, site):
    for where in ("/api/info", "/static/index.html"):
        assert visitor.ask("GET", where, Sec_Fetch_Site=site).status == 403
    assert visitor.ask("GET", "/", Sec_Fetch_Site=site).status == 200  # a link to the page


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "X"])
def test_other_methods_are_refused(visitor, method):
    assert visitor.ask(method, "/api/info").status == 405


def test_the_wrong_one_of_two_methods_is_refused(visitor):
    assert visitor.ask("GET", "/api/a/decode").status == 405
    assert visitor.ask("POST", "/api/info").status == 405
    assert visitor.ask("POST", f"/?token={TOKEN}").status == 405


def test_websockets_are_not_there(visitor):
    answer = raw(
        visitor,
        "GET /api/info HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Version: 13\n"
        "Sec-Fetch-Site: cross-site\n\n",
    )
    assert answer.status == 403


# what they ask for


@pytest.mark.parametrize(
    "where",
    [
        "/static/../app.py",
        "/static/../../../../../../etc/passwd",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/index.html%00.js",
        "/static/",
        "/static",
        "/../../etc/passwd",
        "//evil.example/static/index.html",
        "/api/../static/index.html",
        "/api/%2e%2e/info",
        "/api/a%2f../b/labels",
        "/api/c/labels",
        "/api//labels",
        "/api/a/moments/../../info",
        "/openapi.json",
        "/static/run.json",
    ],
)
def test_paths_lead_nowhere_else(visitor, where):
    answer = raw(visitor, f"GET {where} HTTP/1.1\nConnection: close\n\n")
    assert answer.status == 404
    refused(answer)


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("a/decode", b""),
        ("a/decode", b"1234567"),
        ("a/decode", np.zeros((1, 3), "<f4").tobytes()),
        ("a/decode", np.array([[np.nan, 0]], "<f4").tobytes()),
        ("a/decode", np.array([[0, np.inf]], "<f4").tobytes()),
        ("a/decode", np.array([[0, -1e4]], "<f4").tobytes()),
        ("a/decode?label=all", CODE.tobytes()),
        ("a/decode?label=3", CODE.tobytes()),
        ("b/decode", CODE.tobytes()),
        ("b/decode?label=10", CODE.tobytes()),
        ("b/decode?label=-1", CODE.tobytes()),
        ("b/decode?label=1e0", CODE.tobytes()),
        ("b/decode?label=%D9%A3", CODE.tobytes()),
        ("b/decode?label=" + "9" * 5000, CODE.tobytes()),
        ("a/encode?label=all", bytes(196)),
        ("b/encode", bytes(196)),
        ("b/encode?label=1:2", bytes(196)),
        ("b/decode?label=1:10", CODE.tobytes()),
        ("b/decode?label=1:2:3", CODE.tobytes()),
        ("b/decode?label=all:2", CODE.tobytes()),
        ("b/decode?label=1:", CODE.tobytes()),
        ("a/decode?label=1:2", CODE.tobytes()),
        ("b/gif", json.dumps({**JSON, "label": [1, 10]}).encode()),
        ("b/gif", json.dumps({**JSON, "label": [1, 2, 3]}).encode()),
        ("b/gif", json.dumps({**JSON, "label": [1, True]}).encode()),
        ("b/gif", json.dumps({**JSON, "label": []}).encode()),
        ("a/encode", bytes(195)),
        ("a/encode", b""),
        ("a/gif", b""),
        ("a/gif", b"\xff\xfe"),
        ("a/gif", b"[" * 60_000),
        ("a/gif", b"[]"),
        ("a/gif", b"5"),
        ("a/gif", json.dumps({**JSON, "steps": 10**9}).encode()),
        ("a/gif", json.dumps({**JSON, "steps": True}).encode()),
        ("a/gif", json.dumps({**JSON, "steps": 5.5}).encode()),
        ("a/gif", json.dumps({**JSON, "steps": "5"}).encode()),
        ("a/gif", json.dumps({**JSON, "steps": None}).encode()),
        ("a/gif", json.dumps({**JSON, "steps": 1}).encode()),
        ("a/gif", json.dumps({**JSON, "path": "/etc/passwd"}).encode()),
        ("a/gif", json.dumps({**JSON, "path": ["straight"]}).encode()),
        ("a/gif", json.dumps({**JSON, "label": 1}).encode()),
        ("a/gif", json.dumps({**JSON, "label": {}}).encode()),
        ("a/gif", json.dumps({**JSON, "from": [0]}).encode()),
        ("a/gif", json.dumps({**JSON, "from": "00"}).encode()),
        ("a/gif", json.dumps({**JSON, "to": [0, "1"]}).encode()),
        ("a/gif", json.dumps({**JSON, "to": [0, float("nan")]}).encode()),
        ("a/gif", json.dumps({**JSON, "to": [0, 1e300]}).encode()),
        ("a/gif", json.dumps({**JSON, "to": [0, 10**400]}).encode()),
        ("a/gif", b'{"steps": 1' + b"0" * 5000 + b"}"),
    ],
)
def test_nonsense_is_refused(visitor, where, body):
    answer = visitor.ask("POST", f"/api/{where}", body)
    assert answer.status == 400
    refused(answer)


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("a/decode", np.zeros((1025, 2), "<f4").tobytes()),
        ("b/decode?label=all", np.zeros((103, 2), "<f4").tobytes()),
        ("a/encode", bytes(197)),
        ("a/gif", b" " * 70_000),
    ],
)
def test_too_much_is_refused(visitor, where, body):
    assert visitor.ask("POST", f"/api/{where}", body).status == 413


@pytest.mark.parametrize(
    "where",
    ["i=", "", "i=-1", "i=1.5", "i=30", "i=99999999999999999999", "i=1,,2", "i=%D9%A3", "i=a",
     "i=" + ",".join("0" * 257), "i=0;1"],
)  # fmt: skip
@pytest.mark.parametrize("what", ["images", "reconstructions", "codes"])
def test_wrong_positions_are_refused(visitor, what, where):
    refused(visitor.get(f"a/{what}?{where}"))


def test_an_unknown_map_is_refused(visitor):
    assert "dims or pca or tsne" in refused(visitor.get("a/map?projection=../x"))
    assert "dims or pca" in refused(visitor.get("a/plane?projection=tsne"))


# bodies and headers that are too long, or lie


def test_a_body_that_says_it_is_huge_is_not_read(visitor):
    answer = raw(visitor, "POST /api/a/decode HTTP/1.1\nContent-Length: 99999999999\n\nx")
    assert answer.status == 413


def test_a_body_that_does_not_say_its_size_is_cut_off(visitor):
    part = "ffff\r\n" + "x" * 0xFFFF + "\r\n"
    answer = raw(visitor, f"POST /api/a/decode HTTP/1.1\nTransfer-Encoding: chunked\n\n{part}")
    assert answer.status == 413


def test_a_body_that_never_comes_is_not_waited_for(visitor, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.2)
    answer = raw(visitor, "POST /api/a/decode HTTP/1.1\nContent-Length: 8\n\nx")
    assert answer.status == 408


@pytest.mark.parametrize(
    "head",
    [
        "GET /api/info HTTP/1.1\nX: " + "x" * 200_000 + "\n\n",
        "GET /" + "x" * 200_000 + " HTTP/1.1\n\n",
        "\x16\x03\x01\n\n",
        "POST /api/a/decode HTTP/1.1\nContent-Length: -1\n\n",
        "POST /api/a/decode HTTP/1.1\nContent-Length: 8\nContent-Length: 9\n\n12345678",
        "POST /api/a/decode HTTP/1.1\nTransfer-Encoding: x\n\n12345678",
    ],
)
def test_what_is_no_request_is_refused(visitor, head):
    with contextlib.suppress(ConnectionError):  # it hangs up before it has read all of that
        assert 400 <= raw(visitor, head).status < 500


def test_two_lengths_do_not_smuggle_a_request(visitor):
    """Chunks end the first body; what follows is never taken for a request that was let in."""
    answer = raw(
        visitor,
        "POST /api/a/decode HTTP/1.1\nContent-Length: 60\nTransfer-Encoding: chunked\n\n"
        "0\r\n\r\nGET /api/info HTTP/1.1\r\n\r\n",
    )
    assert 400 <= answer.status < 500


# sockets


@contextlib.contextmanager
def crowd(visitor: Visitor, n: int, first: bytes, then: bytes) -> Iterator[list[socket.socket]]:
    """Sockets of somebody without a cookie, who sends a little more all the time."""
    address, _, port = visitor.host.partition(":")
    sockets: list[socket.socket] = []
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.1):
            for one in sockets:
                with contextlib.suppress(OSError):
                    one.send(then)

    with contextlib.ExitStack() as stack:
        for _ in range(n):
            one = stack.enter_context(socket.create_connection((address, int(port)), timeout=5))
            sockets.append(one)
            one.sendall(first)
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield sockets
        finally:
            over.set()
            thread.join()


def closed(one: socket.socket) -> bool:
    """Whether the server has hung up."""
    one.setblocking(False)
    try:
        while one.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


HALF = [
    (b"GET /api/info HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
    (b"POST /api/a/decode HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000\r\n\r\n", b"x"),
]


@pytest.mark.parametrize(("first", "then"), HALF)
def test_300_idle_sockets_do_not_keep_the_owner_out(visitor, first, then):
    held = http.client.HTTPConnection(visitor.host, timeout=10)
    held.request("GET", "/api/info", headers=visitor.cookie)
    assert held.getresponse().read()
    kept = held.sock
    owner = Visitor(visitor.guard, visitor.host)
    with crowd(visitor, 300, first.replace(b"{host}", visitor.host.encode()), then):
        began = time.monotonic()
        assert owner.enter().status == 303
        names = [f"static/{name}" for name in page_files()]
        asked = ["/", *(f"/{name}" for name in names), "/api/info", "/api/a/map?projection=pca"]
        assert {owner.ask("GET", where).status for where in asked} == {200}
        assert time.monotonic() - began < 2
        held.request("GET", "/api/info", headers=visitor.cookie)  # on its old socket
        assert held.getresponse().status == 200
        assert held.sock is kept
    held.close()


def test_headers_that_never_end_are_not_waited_for(visitor, monkeypatch):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    again = f"GET /api/info HTTP/1.1\r\nHost: {visitor.host}\r\n"
    cookie = f"Cookie: {visitor.cookie['Cookie']}\r\n\r\n"
    whole = (again + cookie).encode()
    for first in (b"", b"GET", whole + b"GET /", b"\r\n"):  # also those of a second request
        with crowd(visitor, 3, first, b"" if first == b"" else b"X") as sockets:
            soon(lambda sockets=sockets: all(map(closed, sockets)), 3)


# what is said in every answer


def test_every_answer_carries_the_policy_and_none_opens_it(visitor):
    answers = [
        visitor.ask("GET", "/"),
        visitor.get("info"),
        visitor.get("nothing"),
        visitor.post("a/decode", CODE),
        visitor.ask("GET", "/", Cookie=None),
        visitor.ask("GET", "/", Host="evil.example"),
        visitor.ask("OPTIONS", "/api/a/decode", Origin="http://evil.example"),
        visitor.enter(),
    ]
    for answer in answers:
        told = answer.headers
        assert {name: told[name.lower()] for name in HEADERS} == HEADERS
        assert not [name for name in told if name.startswith("access-control")]
        assert "server" not in told
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_cookie_is_strict_and_is_not_the_token(visitor):
    answer = visitor.enter()
    assert (answer.status, answer.headers["location"]) == (303, "./")
    name_value, *rest = answer.headers["set-cookie"].split("; ")
    assert {part.lower() for part in rest} == {"httponly", "path=/", "samesite=strict"}
    assert TOKEN not in name_value


def test_a_token_of_ours_opens_once_and_a_new_one_is_told(planar):
    told: list[str] = []
    with serving(planar["vae"], token=None) as visitor:
        door = visitor.guard.policy
        door.announce = told.append
        first = door.key
        assert visitor.enter(first).status == 303
        assert visitor.get("info").status == 200
        assert visitor.enter("whatever").status == 303  # who is in already stays in
        other = Visitor(visitor.guard, visitor.host)
        assert other.enter(first).status == 401
        assert told == [door.key]
        assert other.enter(door.key).status == 303
        assert len(told) == 2
        assert len({first, *told}) == 3


@pytest.mark.parametrize("token", ["", "short", "x" * 201, "with space in it 123", "é" * 20])
def test_a_poor_token_is_refused(token):
    with pytest.raises(UserError, match="use 16 to 200"):
        AccessPolicy(("127.0.0.1:1",), token=token)


def test_an_answer_of_the_model_that_takes_too_long_is_not_waited_for(visitor, monkeypatch):
    async def never() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(app, "LONGEST", 0.05)
    with pytest.raises(Refused, match="too busy"):
        asyncio.run(app._soon(never()))


def test_a_failure_of_ours_tells_nothing(visitor, monkeypatch, capsys):
    exhibit = visitor.guard.app.state.states["a"].view
    monkeypatch.setattr(exhibit, "images", lambda i: 1 / 0)
    answer = visitor.get("a/images?i=0")
    assert answer.status == 500
    assert answer.json == {"error": "the server failed: its terminal says why"}


def test_the_caps_hold_by_themselves():
    with pytest.raises(Refused, match="1025 codes were sent"):
        codes(bytes(8 * 1025), 2)
    assert codes(bytes(8 * 1024), 2).shape == (1024, 2)


def test_good_words_are_read():
    assert indices("3,0,17", 18).tolist() == [3, 0, 17]
    assert label("none", 0) == "none"
    assert (label("all", 4), label("3", 4)) == ("all", 3)
    found = path(json.dumps(JSON).encode(), 2, 0)
    assert (found.steps, found.spherical, found.label) == (5, False, "none")

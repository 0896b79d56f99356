"""What comes in over the network, read with suspicion: codes, labels, indices, paths.

Who may come in. The guard stands before the app and sees every request first.

1. The Host header is exactly one of the addresses of this server: a foreign name that a hostile
   page has made to point here (DNS rebinding) is refused.
2. A POST that names an Origin names ours; what another site fetches is refused.
3. Everything but the entrance asks for the cookie. The entrance is the URL that the server
   printed: its token lets one browser in, once, and becomes a cookie no script can read.
4. Answers carry a strict Content-Security-Policy and no CORS header.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zspace.explorer.view import Path
from zspace.system.errors import UserError

MOST_CODES = 1024
MOST_IMAGES = 256
MOST_STEPS = 60
LARGEST = 1e3
LONGEST_TEXT = 1000
LARGEST_VALUE = 1e300
LABELS = ("none", "all")


class Refused(HTTPException):
    """A request that is not answered: an HTTP status and a sentence for whoever sent it."""


def codes(body: bytes, dims: int) -> np.ndarray:
    """The float32 codes (n, dims) that a body holds, 1 <= n <= 1024. Raises Refused."""
    if not body or len(body) % (4 * dims):
        raise Refused(400, f"the body has {len(body)} bytes: send {4 * dims} for each code")
    z = np.frombuffer(body, "<f4").reshape(-1, dims)
    if len(z) > MOST_CODES:
        raise Refused(413, f"{len(z)} codes were sent: send at most {MOST_CODES}")
    return _sane(z)


def _sane(z: np.ndarray) -> np.ndarray:
    if not np.isfinite(z).all() or np.abs(z).max(initial=0) > LARGEST:
        raise Refused(400, f"a code holds NaN or a value beyond {LARGEST:g}: send finite codes")
    return z.astype(np.float32)


def indices(text: str, n: int) -> np.ndarray:
    """Positions like '3,17' among n images, at most 256. Raises Refused."""
    parts = text.split(",")
    if len(parts) > MOST_IMAGES:
        raise Refused(413, f"{len(parts)} images were asked for: ask for at most {MOST_IMAGES}")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise Refused(400, f"i is {text[:20]!r}, not a list of positions: use i=3,17")
    found = np.array(parts, dtype=np.int64)
    if found.max() >= n:
        raise Refused(400, f"position {found.max()} is out of range: use 0 to {n - 1}")
    return found


Label = str | int | tuple[int, int]


def label(text: str, conditions: int) -> Label:
    """'none', 'all', the number of a condition, or two for a way from one to another: '3:7'.

    Raises Refused where the model has no such.

    conditions: how many the model knows; 0 for an unconditional one, which takes 'none' only.
    """
    if text == "none" and conditions:
        raise Refused(400, f"this model is conditional: give label=0 to {conditions - 1}")
    if text == "all" and not conditions:
        raise Refused(400, "this model is not conditional, it has no labels: use label=none")
    if text in LABELS:
        return text
    ends = text.split(":")
    if all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends):
        numbers = [int(end) for end in ends]
        if len(ends) <= 2 and max(numbers) < conditions:
            return numbers[0] if len(ends) == 1 else (numbers[0], numbers[1])
    known = f"a number below {conditions}, or all" if conditions else "none"
    raise Refused(400, f"label {text[:20]!r} is unknown to this model: use {known}")


def path(body: bytes, dims: int, conditions: int) -> Path:
    """The path that a JSON body describes. Raises Refused."""
    wanted = _object(body, "send from, to, steps, path and label")
    steps, way, told = wanted.get("steps"), wanted.get("path"), wanted.get("label")
    if type(steps) is not int or not 2 <= steps <= MOST_STEPS:
        raise Refused(400, f"steps is not a whole number: use one from 2 to {MOST_STEPS}")
    if way not in ("straight", "spherical"):
        raise Refused(400, "path is neither straight nor spherical: use one of these")
    ends = told if isinstance(told, list) else [told]
    if told is not None and (len(ends) > 2 or not all(type(end) is int for end in ends)):
        raise Refused(400, "label is neither null nor one or two whole numbers: use one of these")
    one = label("none" if told is None else ":".join(map(str, ends)), conditions)
    start, end = (_code(wanted.get(name), name, dims) for name in ("from", "to"))
    return Path(start, end, steps, way == "spherical", one)


def _code(values: Any, name: str, dims: int) -> np.ndarray:
    numbers = isinstance(values, list) and len(values) == dims
    if not numbers or not all(type(v) in (int, float) for v in values):
        raise Refused(400, f"{name} is not a list of {dims} numbers: send one code")
    try:
        return _sane(np.array(values, dtype=np.float64))
    except OverflowError:
        raise Refused(400, f"{name} holds a value beyond {LARGEST:g}: send finite codes") from None


def picture(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 picture (H, W, C) that a body holds, for a model of shape (C, H, W)."""
    channels, height, width = shape
    if len(body) != channels * height * width:
        shown = f"{height}×{width}×{channels}"
        raise Refused(400, f"the body has {len(body)} bytes: send a picture of {shown}")
    return np.frombuffer(body, np.uint8).reshape(height, width, channels)


def row(body: bytes, _: tuple[int, ...]) -> dict[str, str | None]:
    """The row that a JSON body holds: column -> text, or None where it is missing. Raises Refused.

    Which columns there are, and what they hold, the view says.
    """
    told = _object(body, "send a text or null for each column")
    for name, text in told.items():
        if text is not None and not (isinstance(text, str) and 0 < len(text) <= LONGEST_TEXT):
            raise Refused(
                400,
                f"column '{name:.60}' holds no text of 1 to {LONGEST_TEXT} letters, nor null: "
                "use one of these",
            )
    return told


def window(body: bytes, _: tuple[int, ...]) -> tuple[int, dict[str, list[float | None]]]:
    """The window that a JSON body holds: the number of a test window, "i", and "channels" that
    have other values than it, name -> numbers, null where missing. Raises Refused.

    Which channels there are, and how many steps, the view says.
    """
    told = _object(body, "send i and channels")
    i, channels = told.get("i"), told.get("channels")
    if type(i) is not int or not isinstance(channels, dict):
        raise Refused(400, "the body has no whole number i, or no object channels: send both")
    for name, values in channels.items():
        if not (isinstance(values, list) and all(_is_number(v) for v in values)):
            raise Refused(
                400, f"channel '{name:.60}' is no list of finite numbers or nulls: send one"
            )
    return i, channels


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) <= LARGEST_VALUE)


def text(body: bytes, _: tuple[int, ...]) -> str:
    """The text that a JSON body holds under "text". Raises Refused."""
    found = _object(body, "send a text").get("text")
    if not isinstance(found, str):
        raise Refused(400, "the body has no text: send one")
    if not found.isascii() and any("\ud800" <= one <= "\udfff" for one in found):
        raise Refused(400, "the text holds half of a character: send whole ones")
    return found


def _object(body: bytes, remedy: str) -> dict[str, Any]:
    told = None
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(body)
    if not isinstance(told, dict):
        raise Refused(400, f"the body is not a JSON object: {remedy}")
    return told


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")


@dataclass
class AccessPolicy:
    """Addresses under which the server may be called, and the key.

    hosts: exact values of the Host header, with the port.
    token: a key that may be used again and again, chosen by the user; None makes keys that work
        once each.
    cookie: the name of the cookie; browsers do not tell ports apart, so it holds the port.
    announce: told the new key when one was used up.
    """

    hosts: tuple[str, ...]
    token: str | None = None
    cookie: str = "zspace"
    announce: Callable[[str], None] = field(default=lambda key: None)

    def __post_init__(self) -> None:
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise UserError("the token does not fit: use 16 to 200 characters of A-Z a-z 0-9 _ -")
        self.key = self.token or secrets.token_urlsafe(32)
        self.session = secrets.token_urlsafe(32)

    def knows(self, headers: Headers) -> bool:
        """Whether a request brings the cookie. Cookies know no ports: what other programs of
        this host set stands beside it, in any form, and may even have its name.
        """
        pairs = (pair for line in headers.getlist("cookie") for pair in line.split(";"))
        named = (pair.strip().partition("=") for pair in pairs)
        return any(same(v, self.session) for name, _, v in named if name == self.cookie)

    def opens(self, key: str) -> bool:
        """Whether a key fits; one that works once is used up by that."""
        if not same(key, self.key):
            return False
        if self.token is None:
            self.key = secrets.token_urlsafe(32)
            self.announce(self.key)
        return True


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(a.encode(errors="replace"), b.encode())


class Guard:
    """The app behind a door."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self.app, self.policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"'{scope['type']}' is not served")  # no websocket gets here
        else:
            try:
                answer: ASGIApp = self._checked(scope) or self.app
            except Refused as refused:
                told = {"error": refused.detail}
                answer = JSONResponse(told, refused.status_code, {"Connection": "close"})
            await answer(scope, receive, _with_headers(send))

    def _checked(self, scope: Scope) -> Response | None:
        """None lets the request pass. Raises Refused."""
        headers, method = Headers(scope=scope), scope["method"]
        host = ", ".join(headers.getlist("host"))  # two of them are none of ours
        if host.lower() not in self.policy.hosts:
            raise Refused(403, "this host is not served here: open the address that was printed")
        ours = {f"http://{host}" for host in self.policy.hosts}
        foreign = method not in ("GET", "HEAD") and not ours.issuperset(headers.getlist("origin"))
        inner = scope["path"] != "/"
        site = headers.get("sec-fetch-site", "none")
        if foreign or (inner and site not in ("same-origin", "none")):
            raise Refused(403, "requests from other sites are refused")
        known = self.policy.knows(headers)
        given = QueryParams(scope["query_string"]).get("token")
        if not inner and given is not None and method == "GET":
            if not (known or self.policy.opens(given)):
                raise Refused(401, "this token is wrong or used up: open the URL printed last")
            answer = RedirectResponse("./", 303)  # to the page, with the cookie
            answer.set_cookie(
                self.policy.cookie, self.policy.session, httponly=True, samesite="strict", path="/"
            )
            return answer
        if not known:
            raise Refused(
                401,
                "this browser has no valid cookie: open the URL that zspace printed last, and if "
                "that does not help, delete the cookies of this address first",
            )
        return None


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sent

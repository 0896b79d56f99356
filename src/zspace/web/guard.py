"""Who may come in. The guard stands before the app and sees every request first.

1. The Host header is exactly one of the addresses of this server: a foreign name that a hostile
   page has made to point here (DNS rebinding) is refused.
2. A POST that names an Origin names ours; what another site fetches is refused.
3. Everything but the entrance asks for the cookie. The entrance is the URL that the server
   printed: its token lets one browser in, once, and becomes a cookie no script can read.
4. Answers carry a strict Content-Security-Policy and no CORS header.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zspace.errors import UserError
from zspace.web.wire import Refused

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
READING = ("GET", "HEAD")
OURS = (None, "same-origin", "none")
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")


@dataclass
class Door:
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
            raise UserError(
                f"the token has {len(self.token)} characters: use 16 to 200 of A-Z a-z 0-9 _ -"
            )
        self.key = self.token or secrets.token_urlsafe(32)
        self.session = secrets.token_urlsafe(32)

    def knows(self, headers: Headers) -> bool:
        """Whether a request brings the cookie."""
        try:
            jar = SimpleCookie("; ".join(headers.getlist("cookie")))
        except CookieError:
            return False
        return self.cookie in jar and same(jar[self.cookie].value, self.session)

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

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"'{scope['type']}' is not served")  # no websocket gets here
        else:
            try:
                answer: ASGIApp = self._checked(scope) or self.app
            except Refused as refused:
                answer = JSONResponse({"error": refused.sentence}, refused.status)
            await answer(scope, receive, _with_headers(send))

    def _checked(self, scope: Scope) -> Response | None:
        """None lets the request pass. Raises Refused."""
        headers, method = Headers(scope=scope), scope["method"]
        host = ", ".join(headers.getlist("host"))  # two of them are none of ours
        if host.lower() not in self.door.hosts:
            raise Refused(403, "this host is not served here: open the address that was printed")
        ours = {f"http://{host}" for host in self.door.hosts}
        if method not in READING and not ours.issuperset(headers.getlist("origin")):
            raise Refused(403, "requests of other sites are refused")
        inner = scope["path"] != "/"
        if inner and headers.get("sec-fetch-site") not in OURS:
            raise Refused(403, "requests of other sites are refused")
        known = self.door.knows(headers)
        given = QueryParams(scope["query_string"]).get("token")
        if not inner and given is not None and method == "GET":
            if known or self.door.opens(given):
                return self._entrance()
            raise Refused(401, "this token is not valid, or used up: open the last printed URL")
        if not known:
            raise Refused(401, "there is no valid cookie: open the URL that was printed")
        return None

    def _entrance(self) -> Response:
        """To the page, with the cookie."""
        answer = RedirectResponse("./", 303)
        answer.set_cookie(
            self.door.cookie, self.door.session, httponly=True, samesite="strict", path="/"
        )
        return answer


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sent

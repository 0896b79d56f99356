"""A server of the explorer in a thread, and a visitor who talks to it as a browser does."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette

import zspace
from zspace.explorer import BESIDE, IDS, server
from zspace.explorer.access import AccessPolicy, Guard
from zspace.explorer.app import explorer
from zspace.explorer.rows import view_of
from zspace.runs.sweeps import sweep

TOKEN = "a-token-for-tests"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def numbers(self, kind: str, *shape: int) -> np.ndarray:
        assert self.status == 200, self.body
        return np.frombuffer(self.body, kind).reshape(shape)


@dataclass
class Visitor:
    """Somebody who came in with the token. guard, host: the app and the address it is at."""

    guard: Guard
    host: str
    cookie: dict[str, str] = field(default_factory=dict)

    def enter(self, token: str = TOKEN) -> Answer:
        answer = self.ask("GET", f"/?token={token}")
        if "set-cookie" in answer.headers:
            self.cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        return answer

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> Answer:
        """One request; a header given as None is left out."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {k: v for k, v in {**self.cookie, **told}.items() if v is not None}
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=20)) as connection:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())

    def get(self, path: str) -> Answer:
        return self.ask("GET", f"/api/{path}")

    def post(self, path: str, body: Any) -> Answer:
        """An array is sent as it lies in memory, anything else as JSON."""
        content = body.tobytes() if isinstance(body, np.ndarray) else json.dumps(body).encode()
        return self.ask("POST", f"/api/{path}", content)


@contextlib.contextmanager
def serving(*runs: zspace.Run, token: str | None = TOKEN) -> Iterator[Visitor]:
    """A server of these runs on a free port; the visitor has not come in yet. More than two runs
    are a sweep.
    """
    swept = sweep(runs) if len(runs) > BESIDE else None
    shown = swept.runs if swept else runs
    exhibits = {key: view_of(run) for key, run in zip(IDS, shown, strict=False)}
    with serving_app(explorer(exhibits, swept), token=token) as visitor:
        yield visitor


@contextlib.contextmanager
def serving_app(app: Starlette, *, token: str | None = TOKEN) -> Iterator[Visitor]:
    """The same of any app, behind a guard."""
    with server.listen("127.0.0.1", 0) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        guard = Guard(app, AccessPolicy((host,), token=token))
        running = uvicorn.Server(server.configuration(guard))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Visitor(guard, host)
        finally:
            running.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

"""Threads behind the server: one owns the model and decodes in batches, others prepare arrays."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from zspace.web.exhibit import Exhibit
from zspace.web.wire import MOST_CODES

T = TypeVar("T")
Asked = tuple[np.ndarray, Tensor | None, "asyncio.Future[np.ndarray]"]


class Later(Generic[T]):
    """A result that a thread of its own computes when it is first asked for.

    The thread does not keep the process alive: stopping the server stops it.
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
        try:
            self.future.set_result(self.function())
        except BaseException as error:  # whoever waits is told
            self.future.set_exception(error)


class Studio:
    """The one thread that runs a model. Requests that wait together are decoded as one batch."""

    def __init__(self, exhibit: Exhibit) -> None:
        self.exhibit = exhibit
        self.thread = ThreadPoolExecutor(1, "model")
        self.waiting: asyncio.Queue[Asked] = asyncio.Queue()

    async def do(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function of the model on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    async def decode(self, z: np.ndarray, c: Tensor | None) -> np.ndarray:
        """Codes (n, Z) with contexts (n, context) or None as uint8 images (n, H, W, C)."""
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
            x = await self.do(self.exhibit.decode, z, c)
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

"""The runs of a study as tasks of a Ray cluster.

Reference: Moritz et al. Ray: a distributed framework for emerging AI applications. 2018, arXiv
1712.05889.

A task whose worker or machine is lost is tried again, perhaps elsewhere, and continues from the
last checkpoint in its folder. A run that fails by itself is not tried again: it has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from zspace.runs.config import Config
from zspace.studies.executors import STOPPED, Ended, Ends, Reports, Task, alone
from zspace.system.errors import UserError
from zspace.system.signals import Interrupted, noted_in

RETRIES = 3
"""How often a run is tried again after its worker was lost."""

STOP_SECONDS = 60.0
"""How long a stopped study waits for its runs to save."""

LOOK_SECONDS = 0.5


def on_ray(tasks: Sequence[Task], reports: Reports, *, threads: int = 0) -> Ends:
    """On a Ray cluster: that of RAY_ADDRESS, one that runs here, or a new one of this machine.

    threads: of each run, and the CPUs that it asks for; 0 is 1. A run asks for a GPU where its
    device is cuda, or auto and the cluster has one.

    Raises UserError where Ray is not installed or the cluster cannot be reached.
    """
    ray = installed()
    signals: list[int] = []
    with _connected(ray), noted_in(signals):
        waiting = {_submitted(ray, task, threads or 1): task.number for task in tasks}
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), timeout=LOOK_SECONDS)
                if signals:
                    raise Interrupted(STOPPED, signals[0])
                for ref in done:
                    yield waiting.pop(ref), _ended(ray, ref)
        except BaseException:
            _cancel(ray, list(waiting))
            raise


def installed() -> ModuleType:
    """Ray itself. Raises UserError, before anything is made, where it is not installed."""
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'zspace[cluster]'") from None
    return ray


@contextlib.contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Within, there is a cluster; one that was connected to before stays so."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray tells its makers
    before = signal.getsignal(signal.SIGTERM)
    try:
        _refuse_silence(os.environ.get("RAY_ADDRESS", ""))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of changes in Ray's future that do not matter here
            ray.init(logging_level="ERROR", log_to_driver=False)
    except Exception as error:  # Ray raises plain ones, too
        where = os.environ.get("RAY_ADDRESS")
        way = "set RAY_ADDRESS to that of a cluster" if where else "'ray start --head' says more"
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"no Ray {f'at {where}' if where else 'here'}: {why}: {way}") from None
    try:
        yield
    finally:
        ray.shutdown()
        with contextlib.suppress(ValueError):  # not in the main thread: nothing was changed
            signal.signal(signal.SIGTERM, before)


def _refuse_silence(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray itself would end this process."""
    host, colon, port = address.rpartition(":")
    if colon and "/" not in host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _submitted(ray: Any, task: Task, threads: int) -> Any:
    """A reference to the task's end. Paths become absolute: a worker may be in any folder."""
    task = replace(task, config=Config.from_json(task.config.to_json()))
    device = task.config.training.device
    some = device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    needs = {"CPU": threads, "GPU": int(device.startswith("cuda") or some)}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(has.get(n, 0) >= much for n, much in needs.items()) for has in machines):
        warnings.warn(
            f"no machine of the Ray cluster has {threads} CPUs and {needs['GPU']} GPUs now: runs "
            "wait until one joins",
            stacklevel=2,
        )
    remote = ray.remote(
        num_cpus=threads, num_gpus=needs["GPU"], max_retries=RETRIES, retry_exceptions=[Stopped]
    )(_attempted)
    return remote.remote(task, threads)


class Stopped(Exception):
    """A run was told to stop and has saved: its machine was shut down in good order."""


def _attempted(task: Task, threads: int) -> Ended:
    """A task on a worker. Ray takes any KeyboardInterrupt for the end of a task it cancelled."""
    try:
        return alone(task, threads)
    except Interrupted as stop:
        raise Stopped(str(stop)) from None


def _ended(ray: Any, ref: Any) -> Ended:
    try:
        return ray.get(ref)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [""]
        why = lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]
        return "failed", f"lost by Ray, {type(error).__name__}: {why}"


def _cancel(ray: Any, refs: list[Any]) -> None:
    """Have runs end their step and save, as after Ctrl-C, and wait for them."""
    for ref in refs:
        ray.cancel(ref)
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=STOP_SECONDS)

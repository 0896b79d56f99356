"""Folders on shared storage, by URL: s3://bucket/study, gs://bucket/study, file:///mnt/study.

fsspec speaks to the storage. No file is worked on there: a folder is mirrored in a local one,
fetched from the storage and sent to it. A file is sent after those it speaks of, so that a folder
whose sending was cut off is as good as a training that was cut off.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zspace.system.errors import UserError

LAST = ("manifest.json", "run.json", "study.json")


class CannotReach(UserError):
    """The storage refused, or could not be reached; the message says why."""


def is_url(place: str | Path) -> bool:
    """Whether this names a folder on a storage, and not one of the file system."""
    return "://" in str(place)


class Mirror:
    """A folder on a storage, and a local one with its files.

    Raises UserError where fsspec, or what it needs for this kind of URL, is not installed.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url.rstrip("/"), folder
        self.storage, self.root = _opened(self.url)
        self.sent: dict[str, tuple[int, int]] = {}
        self.made: set[str] = set()

    def fetch(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Copy the files whose names, relative to the folder, are wanted. Raises CannotReach."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._explained("read"):
            self.storage.invalidate_cache()
            for found in self._found():
                name = str(found)[len(self.root) :].lstrip("/")
                if ".." in name.split("/"):
                    raise UserError(f"{self.url} holds a file outside itself, {name!r:.100}")
                if wanted(name):
                    path = self.folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self.storage.get_file(found, str(path))
                    self.sent[name] = _look(path)

    def _found(self) -> list[str]:
        try:
            return list(self.storage.find(self.root))
        except FileNotFoundError:
            return []  # nothing was ever written there

    def send(self) -> None:
        """Copy what is new or has changed here, and delete there what was deleted here.

        Only files that were fetched or sent before are deleted. Raises CannotReach.
        """
        here = {
            str(path.relative_to(self.folder).as_posix()): path
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != "lock" and not path.name.startswith(".")
        }
        with self._explained("write"):
            for name in sorted(here, key=lambda name: (_turn(name), name)):
                look = _look(here[name])
                if self.sent.get(name) != look:
                    self._put(here[name], f"{self.root}/{name}")
                    self.sent[name] = look
            for name in self.sent.keys() - here.keys():
                self.storage.rm_file(f"{self.root}/{name}")
                del self.sent[name]

    def _put(self, path: Path, to: str) -> None:
        parent = to.rpartition("/")[0]
        if parent not in self.made:
            self.storage.makedirs(parent, exist_ok=True)
            self.made.add(parent)
        self.storage.put_file(str(path), to)

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # every kind of storage has errors of its own
            why = (str(error) or type(error).__name__).splitlines()[0]
            check = f"check the URL, and that you may {doing} there"
            raise CannotReach(f"cannot {doing} {self.url}: {why}: {check}") from None


@contextlib.contextmanager
def mirrored(url: str) -> Iterator[Mirror]:
    """A mirror of the URL in a temporary folder of this machine, empty at first."""
    with tempfile.TemporaryDirectory(prefix="zspace-") as folder:
        yield Mirror(url, Path(folder) / "mirror")


def _turn(name: str) -> int:
    """States before their manifest, weights before the record that names them."""
    last = name.rpartition("/")[2]
    return 1 + LAST.index(last) if last in LAST else 0


def _look(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _opened(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{url} needs fsspec: pip install 'zspace[cluster]'") from None
    try:
        storage, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f"cannot open {url}: {error}: check the URL") from None
    return storage, root.rstrip("/")

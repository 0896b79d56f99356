"""Published files: a local copy if there is one, else a download checked by its checksum."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch

from zspace.system.bars import download_bar
from zspace.system.errors import UserError

ROUNDS = 2
PAUSE = 1.0
TIMEOUT = 30
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Remote:
    """A set as it is published.

    folders: what its folder is called on disk; the first is its name, the others habits.
    mirrors: addresses that end with a slash, the best first; none: it must be fetched by hand.
    md5: published checksums of its files, by name.
    find: its files in a folder, or None unless all are there.
    by_hand: what to fetch, and from where, if there are no mirrors.
    """

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: Mapping[str, str]
    find: Callable[[Path], Found | None]
    by_hand: str = ""

    @property
    def cache(self) -> Path:
        """Where downloads are kept."""
        return Path(pooch.os_cache("zspace")) / self.folders[0]


def data_root(data_dir: Path | None) -> Path | None:
    """``data_dir``, else the environment's ZSPACE_DATA, else None.

    Raises UserError where the one that is given does not exist.
    """
    given = data_dir or os.environ.get("ZSPACE_DATA")
    if not given:
        return None
    root = Path(given).expanduser()
    if not root.is_dir():
        origin = "--data-dir" if data_dir else "ZSPACE_DATA"
        raise UserError(f"{origin} '{root}' is not a folder; give the folder that holds the data")
    return root


def local(remote: Remote, data_dir: Path | None) -> Found | None:
    """The files below ``data_dir`` or ZSPACE_DATA, or None.

    A sub-folder of the set's name comes before the folder itself, whose files might be another
    set's: MNIST and its siblings all use the same file names.
    """
    root = data_root(data_dir)
    if root is None:
        return None
    folders = [*(root / folder for folder in remote.folders), root]
    return next((files for files in map(remote.find, folders) if files is not None), None)


def cached(remote: Remote) -> bool:
    """Whether all files have been downloaded before."""
    return remote.find(remote.cache) is not None


def download(remote: Remote, quiet: bool) -> Found:
    """The files in the cache folder, downloaded where missing or damaged.

    Raises UserError that names what was tried once every mirror has failed twice, and one that
    says what to fetch where nothing can be downloaded.
    """
    if not remote.mirrors and not cached(remote):
        name = remote.folders[0]
        raise UserError(
            f"data '{name}' cannot be downloaded without a person: get {remote.by_hand}, unpack "
            f"them into a folder DIR/{name} and give --data-dir DIR"
        )
    with _without_log():
        for name, md5 in remote.md5.items():
            _retrieve(remote, name, md5, quiet)
    found = remote.find(remote.cache)
    if found is None:
        raise UserError(f"'{remote.cache}' has changed while it was read; try again")
    return found


def _retrieve(remote: Remote, name: str, md5: str, quiet: bool) -> Path:
    failures: dict[str, str] = {}
    for again in range(ROUNDS):
        time.sleep(PAUSE * again)
        for mirror in remote.mirrors:
            try:
                return _try(mirror + name, f"md5:{md5}", remote.cache, quiet)
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                failures[mirror + name] = _short(error)
    tried = "; ".join(f"{url} ({why})" for url, why in failures.items())
    raise UserError(
        f"'{name}' of {remote.folders[0]} could not be fetched, tried {ROUNDS} times each: "
        f"{tried}; fetch the files by other means and give their folder with --data-dir, or use "
        "mnist5k, which needs no network"
    )


def _try(url: str, known_hash: str, folder: Path, quiet: bool) -> Path:
    name = url.rsplit("/", 1)[-1]
    with download_bar(name, quiet) as progress:
        downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK, timeout=TIMEOUT)
        path = pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader)
    return Path(path)


def _short(error: Exception) -> str:
    """The gist of an error whose text may run over many lines and nested causes."""
    return "wrong checksum" if "hash" in str(error) else f"{type(error).__name__}: {error}"[:160]


@contextmanager
def _without_log() -> Iterator[None]:
    """Pooch logs each download to stderr, which would break the progress bar."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


Found = tuple[Path, ...]
"""The files of a set: here train images, train labels, test images, test labels."""

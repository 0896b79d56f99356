"""Published files: a local copy if there is one, else a download checked by its checksum.

A set is looked for in --data-dir or ZSPACE_DATA, then in the user's cache folder; it is downloaded
only if it is in neither. Every mirror is tried twice, with a pause between the rounds.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zspace.system.bars import download_bar
from zspace.system.downloads import cache_folder, pooch
from zspace.system.errors import UserError

ROUNDS = 2
PAUSE = 1.0  # seconds
TIMEOUT = 30  # seconds
_CHUNK = 1 << 16

Found = tuple[Path, ...]
"""The files of a set, in an order that its reader knows."""


@dataclass(frozen=True)
class Remote:
    """A set as it is published.

    Arguments:
        folders: What its folder is called on disk: first its own name, then usual other names.
        mirrors: Addresses that end with a slash, the best first; none: a person must fetch it.
        md5: Published checksums of its files, by name.
        find: From a folder to the files of the set in it, or to None unless all are there.
        by_hand: What to fetch, and from where, if there are no mirrors.
    """

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: Mapping[str, str]
    find: Callable[[Path], Found | None]
    by_hand: str = ""

    @property
    def cache(self) -> Path:
        """The folder where downloads are kept."""
        return cache_folder() / self.folders[0]


def damaged(path: Path | str, why: str) -> UserError:
    """The error for a file that is not as it was published.

    >>> print(damaged("train.gz", "holds no pixels"))
    'train.gz' holds no pixels; fetch it again
    """
    return UserError(f"'{path}' {why}; fetch it again")


def together(folder: Path, names: Sequence[str]) -> Found | None:
    """The files of those names in a folder; None unless all are there, and none is a pipe."""
    paths = tuple(folder / name for name in names)
    return paths if all(path.is_file() for path in paths) else None


def data_root(data_dir: Path | None) -> Path | None:
    """``data_dir``, else the environment's ZSPACE_DATA, else None.

    Raises UserError where the one that is given is not a folder.
    """
    given = data_dir or os.environ.get("ZSPACE_DATA")
    if not given:
        return None
    root = Path(given).expanduser()
    if not root.is_dir():
        origin = "--data-dir" if data_dir else "ZSPACE_DATA"
        raise UserError(f"{origin} '{root}' is not a folder; give the folder that holds the data")
    return root.absolute()  # a worker, or a caller that changes folder, still finds the files


def local(remote: Remote, data_dir: Path | None) -> Found | None:
    """The files below ``data_dir`` or ZSPACE_DATA, or None.

    A sub-folder with the name of the set comes before the folder itself, whose files might belong
    to another set: MNIST and its siblings all use the same file names.

    Raises UserError as `data_root` does.
    """
    root = data_root(data_dir)
    if root is None:
        return None
    folders = [*(root / folder for folder in remote.folders), root]
    return next((files for files in map(remote.find, folders) if files is not None), None)


def download(remote: Remote, quiet: bool) -> Found:
    """The files in the cache folder, downloaded where missing or damaged.

    Raises UserError that names what was tried once every mirror has failed twice, and one that
    says what to fetch where nothing can be downloaded.
    """
    if not remote.mirrors and not remote.find(remote.cache):
        name = remote.folders[0]
        raise UserError(
            f"data set '{name}' must be fetched by hand: get {remote.by_hand}, unpack them into a "
            f"folder DIR/{name} and give --data-dir DIR"
        )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # a line for each download would break the progress bar
    try:
        for name, md5 in remote.md5.items():
            _retrieve(remote, name, md5, quiet)
    finally:
        logger.setLevel(level)
    found = remote.find(remote.cache)
    if found is None:
        raise UserError(f"the files in '{remote.cache}' changed while they were read; try again")
    return found


def _retrieve(remote: Remote, name: str, md5: str, quiet: bool) -> None:
    failures: dict[str, str] = {}
    for again in range(ROUNDS):
        time.sleep(PAUSE * again)
        for mirror in remote.mirrors:
            try:
                with download_bar(name, quiet) as progress:
                    get = pooch.HTTPDownloader(progress, chunk_size=_CHUNK, timeout=TIMEOUT)
                    pooch.retrieve(mirror + name, f"md5:{md5}", name, remote.cache, downloader=get)
                return
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                # The gist: the text may run over many lines and nested causes.
                checksum = "hash" in str(error)
                why = "wrong checksum" if checksum else f"{type(error).__name__}: {error}"[:160]
                failures[mirror + name] = why
    tried = "; ".join(f"{url} ({why})" for url, why in failures.items())
    raise UserError(
        f"'{name}' of {remote.folders[0]} could not be downloaded, tried {ROUNDS} times each: "
        f"{tried}; get the files in another way and give their folder with --data-dir, or use "
        "mnist5k, which needs no network"
    )

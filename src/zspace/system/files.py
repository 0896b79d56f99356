"""Durable files: written beside their place, flushed, fsynced, renamed; verified when read.

A folder may come from a stranger. So its files are opened without following links, must be plain
files, and are read up to a limit; a folder that holds links is refused as a whole.

Files carry their own SHA-256, a seal, so that each can be verified without any other. It is a
checksum against accidents, and no signature: who changes a file can compute the seal again.

The digest is that of the file with 64 zeros in the digest's place. It stands in the field "sha256"
of a JSON object: the file itself, or the note of a safetensors file.

A lock on a folder, which the system releases when its holder dies.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor
from typing_extensions import TypedDict

from zspace.system.errors import UserError
from zspace.system.memory import free
from zspace.system.schema import Range, Unfit, check


class CannotWrite(UserError):
    """The operating system refused to write; the message says why and what to do."""


REASONS = {
    errno.ENOSPC: "no space is left on the device: free some, or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another place",
    errno.EFBIG: "the file is larger than this system allows: choose another place",
    errno.EACCES: "the folder may not be written to: choose another place",
    errno.EPERM: "the folder may not be written to: choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another place",
    errno.EEXIST: "a file of that name stands in the way: choose another place",
    errno.EISDIR: "it is a folder: give the name of a file",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence for the user, `CannotWrite`."""
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, f"{error.strerror}: choose another place")
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:60]}..."
        raise CannotWrite(f"cannot write {shown}: {why}") from None


PART = ".part"
"""How the names of half-written files end; one that a crash has left may be deleted."""


def write(path: Path, *parts: bytes | memoryview) -> str:
    """Put the parts, one after the other, at path, whole or not at all; return their SHA-256.

    Raises UserError where the disk is full or the folder is not writable; what was there stays.
    """
    digest = hashlib.sha256()
    with explained(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    digest.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):  # it has its name already
                os.unlink(name)
            raise
        sync_folder(path.parent)
    return digest.hexdigest()


def remove_parts(*folders: Path) -> None:
    """Delete the half-written files that a crash has left in these folders."""
    for part in (part for folder in folders for part in folder.glob(f".*{PART}")):
        with explained(part):
            part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> str:
    """Like `write`, for a value that JSON can hold."""
    return write(path, (json.dumps(value, indent=2, allow_nan=True) + "\n").encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Like `write`, for a table: a dict per row. Its columns are all names that some row has."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue().encode())


def refuse_links(folder: Path) -> None:
    """Raise UserError where a folder, or a folder in it, holds a link.

    The folder itself may be reached through one.
    """
    with _reading(folder):
        inner = [one.path for one in os.scandir(folder) if one.is_dir(follow_symlinks=False)]
        for level in (str(folder), *inner):
            for entry in list(os.scandir(level)):
                if entry.is_symlink():
                    name = os.path.relpath(entry.path, folder)
                    raise UserError(
                        f"'{folder}' holds a link, {name!r:.100}, which may lead anywhere: "
                        "replace it by what it leads to, or delete it"
                    )


STEP = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
PLAIN = NO_LINK | sum(getattr(os, f"O_{name}", 0) for name in ("CLOEXEC", "NONBLOCK", "BINARY"))
BELOW = os.open in os.supports_dir_fd
"""Whether this system opens names relative to an open folder; Windows does not."""


def opened(path: Path, within: Path | None = None, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a plain file. No link is followed below the folder `within`, by default
    the file's own.

    Nothing that has no end is opened: a pipe, a device. Raises UserError where it is none, and
    where it lies outside the folder; OSError where the system does not give it.
    """
    folder = within or path.parent
    inner = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    if not inner or ".." in inner:
        raise UserError(f"cannot read {str(path)!r:.200}: it lies outside '{folder}'")
    if BELOW:
        at = os.open(folder, os.O_RDONLY | STEP)
        try:
            for name in inner[:-1]:
                above, at = at, os.open(name, os.O_RDONLY | STEP | NO_LINK, dir_fd=at)
                os.close(above)
            handle = os.open(inner[-1], flags | PLAIN, 0o644, dir_fd=at)
        finally:
            os.close(at)
    else:
        handle = os.open(path, flags | PLAIN, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"cannot read {path}: it is not a plain file")
    return handle


MOST = 1 << 26
"""Bytes of a file of text: 64 MiB."""


def read(
    path: Path, most: float = MOST, *, within: Path | None = None, first: int | None = None
) -> bytes:
    """The content of a file, or its first bytes; see `opened`.

    Raises UserError where the system does not give it, and where there are more bytes than `most`.
    """
    with _reading(path), open(opened(path, within), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if first is None and size > most:
            raise UserError(
                f"cannot read {path}: it has {size:,} bytes, but at most {most:,.0f} are read"
            )
        return file.read(size if first is None else first)


def size(path: Path, within: Path | None = None) -> int:
    """The length of a file in bytes. Raises UserError as `read` does."""
    with _reading(path):
        handle = opened(path, within)
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the system raises where it does not give a file into a sentence for the user."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # a zero in it, or half of a character
        raise UserError(f"cannot read {str(path)!r}: no file has such a name") from None
    except MemoryError:
        raise UserError(f"cannot read {path}: it takes more memory than there is") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises UserError where it is damaged."""
    return parsed(path, read(path))


DIGITS = 40
"""Of the longest whole number in a file; no program here writes a longer one."""


def parsed(path: Path, content: bytes | str) -> Any:
    """The value of the JSON text that was read from path. Raises UserError where it is none."""
    try:
        return json.loads(content, parse_int=_whole)
    except (ValueError, RecursionError, MemoryError):
        raise UserError(f"{path} is damaged: it is not valid JSON") from None


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: str = "") -> str:
    """Like `write`, for named tensors in the safetensors format, with a text beside them."""
    return write(path, packed(tensors, note))


def room() -> float:
    """Bytes that one thing may take: half of the memory that is free."""
    return free() / 2


LONGEST_HEAD = 1 << 25


class Head(TypedDict):
    """What the head of a safetensors file says of one tensor."""

    dtype: str
    shape: list[Annotated[int, Range(0)]]
    data_offsets: tuple[Annotated[int, Range(0)], Annotated[int, Range(0)]]


Heads = dict[str, tuple[str, tuple[int, ...]]]
"""What the head of a safetensors file says of its tensors: name -> type of numbers, shape."""


def heads(path: Path, first: Callable[[int], bytes], size: int) -> Heads:
    """The tensors in a safetensors file, from its head alone.

    first: gives that many bytes of its start. Raises UserError where the head is damaged, or the
    file has not the length that it says.
    """
    damaged = f"{path} is damaged or was changed by hand: its head does not fit its {size:,} bytes"
    start = 8 + int.from_bytes(first(8), "little")
    if not 8 < start <= min(size, LONGEST_HEAD):
        raise UserError(damaged)
    head = parsed(path, first(start)[8:])
    try:
        head.pop("__metadata__", None)
        check(head, dict[str, Head])
    except (AttributeError, Unfit):
        raise UserError(damaged) from None
    found = {name: (one["dtype"], tuple(one["shape"])) for name, one in head.items()}
    ends = [one["data_offsets"][1] for one in head.values()]
    if start + max(ends, default=0) != size:
        raise UserError(damaged)
    return found


def read_tensors(path: Path, sha256: str) -> tuple[dict[str, Tensor], str]:
    """Named tensors and their note. Raises UserError where the content is not what was written."""
    content = read(path, room())
    verify(path, content, sha256)
    return unpacked(path, content), note_of(path, content)


def verify(path: Path, content: bytes, sha256: str) -> None:
    """Raises UserError where the content is not the one of this SHA-256."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path} is damaged or was changed by hand: its SHA-256 does not match")


def packed(tensors: Mapping[str, Tensor], note: str = "") -> bytes:
    """Named tensors and a text as the content of a safetensors file."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return safetensors.torch.save(plain, {"note": note} if note else None)


def unpacked(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors in what was read from path. Raises UserError where it is no safetensors file."""
    with _reading(path):
        try:
            return safetensors.torch.load(content)
        except (SafetensorError, KeyError) as error:  # KeyError: numbers of an unusual type
            raise UserError(f"{path} is not a safetensors file: {error}") from None


def note_of(path: Path, content: bytes) -> str:
    """The text beside the tensors. Raises UserError where the file's head is damaged."""
    length = int.from_bytes(content[:8], "little")
    head = parsed(path, content[8 : 8 + length])
    beside = head.get("__metadata__", {}) if isinstance(head, dict) else {}
    return str(beside.get("note", "")) if isinstance(beside, dict) else ""


SEAL = "sha256"
BLANK_SEAL = "0" * 64


Parts = tuple[bytes | memoryview, ...]
"""The content of a file, in the pieces that `write` takes."""


def sealed_json(value: Mapping[str, Any]) -> Parts:
    """A JSON object with its seal."""
    text = json.dumps({SEAL: BLANK_SEAL, **value}, indent=2) + "\n"
    return _sealed(text.encode())


def sealed_tensors(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> Parts:
    """Named tensors and a note with their seal."""
    return _sealed(packed(tensors, json.dumps({SEAL: BLANK_SEAL, **note})))


def write_sealed_json(path: Path, value: Mapping[str, Any]) -> str:
    """Write a JSON object with its seal, durably; return the SHA-256 of the whole file."""
    return write(path, *sealed_json(value))


def write_sealed_tensors(
    path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]
) -> str:
    """Write named tensors and a note with their seal; return the SHA-256 of the whole file."""
    return write(path, *sealed_tensors(tensors, note))


def read_sealed_json(path: Path, within: Path | None = None) -> dict[str, Any]:
    """What `write_json` wrote. Raises UserError where a bit of the file is another one now."""
    content = read(path, within=within)
    return unsealed(path, content, parsed(path, content))


def read_sealed_tensors(
    path: Path, sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote. Raises UserError where a bit of the file is another one now.

    sha256: what `write_tensors` returned, where it is known; then the file must be that one.
    """
    heads(path, lambda n: read(path, first=n), size(path))
    content = read(path, room())
    if sha256 is not None:
        verify(path, content, sha256)
    note = unsealed(path, content, parsed(path, note_of(path, content)))
    return unpacked(path, content), note


def unsealed(path: Path, content: bytes, value: Any) -> dict[str, Any]:
    """The object without its seal, which stands in the content of the file and is verified.

    Raises UserError where it is none, has no seal, or the seal is not that of the content.
    """
    digest = str(value.get(SEAL)) if isinstance(value, dict) else ""
    if not digest or digest != _digest(content, digest.encode(errors="replace")):
        raise UserError(f"{path} is damaged or was changed by hand: its SHA-256 does not match")
    return {name: item for name, item in value.items() if name != SEAL}


def _sealed(content: bytes) -> Parts:
    """The parts of the file: its first 64 zeros, the place of the digest, are replaced."""
    at = content.index(BLANK_SEAL.encode())
    return (
        content[:at],
        _digest(content, BLANK_SEAL.encode()).encode(),
        memoryview(content)[at + 64 :],
    )


def _digest(content: bytes, found: bytes) -> str:
    """The SHA-256 with zeros where these 64 characters stand first; "" where they do not."""
    at = content.find(found) if len(found) == len(BLANK_SEAL) else -1
    if at < 0:
        return ""
    digest = hashlib.sha256(content[:at])
    digest.update(BLANK_SEAL.encode())
    digest.update(memoryview(content)[at + len(BLANK_SEAL) :])
    return digest.hexdigest()


try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(path: Path, refusal: str = "") -> Iterator[None]:
    """Within, nobody else holds the lock on this file, which is made where it is not there.

    Where somebody does, it raises UserError with the refusal; without one it waits. Nothing is
    locked where the system or the file system knows no locks.
    """
    with explained(path):
        path.parent.mkdir(exist_ok=True)
        handle = opened(path, path.parents[1], os.O_RDWR | os.O_CREAT) if fcntl else None
    if handle is None:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
            except BlockingIOError:
                raise UserError(refusal) from None
        yield
    finally:
        os.close(handle)


NETWORKED = ("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "fuse.sshfs", "fuse.glusterfs")
"""Linux's names of file systems whose locks may hold on one machine only."""
MOUNTS = Path("/proc/self/mounts")


def not_promised(folder: Path) -> str:
    """One sentence on what cannot be promised of the files in a folder; "" where nothing is known.

    Windows has no lock that ends with its process; on a network file system a lock, and a file
    that was renamed, may be seen late by other machines.
    """
    if fcntl is None:
        return (
            f"nothing is locked on this system: start no second training or resume in '{folder}' "
            "while this one runs"
        )
    if (kind := _file_system(folder.resolve())) in NETWORKED:
        return (
            f"'{folder}' is on a network file system ({kind}), where locks may not hold between "
            "machines: train into it from one machine at a time"
        )
    return ""


def _file_system(path: Path) -> str:
    """The kind of file system that a path is on, where Linux says so."""
    try:
        lines = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return ""
    here = [words for words in lines if path.is_relative_to(words[1].replace("\\040", " "))]
    return max(here, key=lambda words: len(words[1]))[2] if here else ""

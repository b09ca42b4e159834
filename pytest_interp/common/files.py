"""Writes files atomically, locks them between processes, marks cache folders, and hashes files and texts."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_interp.errors import UsageError

TAG = "CACHEDIR.TAG"
_OURS = re.compile(r"CACHEDIR\.TAG|\.gitignore|checkpoints|[0-9a-f]{2}|\..*\.(part|lock)")
LOCK_SECONDS = 60.0
"""How long a process waits for another that writes the same file."""


def write_whole(path: Path, text: str) -> None:
    """Writes a file atomically: to a temporary file beside it, which is then renamed.

    If two processes write at once, the file has the whole text of one of them. The target of a symbolic link is
    written, not the link. A device cannot be replaced and is written to directly. Temporary files that killed processes
    have left in the folder are deleted.

    Args:
        path: of the file; its folder must exist.
        text: written as UTF-8.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    _clear_parts(path.parent)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-{_writer()}-", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _writer() -> str:
    """The part of a temporary file's name that identifies this machine and process."""
    return f"{digest(socket.gethostname())[:8]}-{os.getpid()}"


def _clear_parts(folder: Path) -> None:
    """Deletes temporary files in a folder whose process ran on this machine and has ended."""
    left = re.compile(rf"\..*-{_writer().partition('-')[0]}-(\d+)-[^-]*\.part")
    for part in folder.iterdir():
        match = left.fullmatch(part.name)
        if match is not None and not _alive(int(match[1])):
            with suppress(OSError):
                part.unlink()


def _alive(process: int) -> bool:
    """Whether a process may be running; always True on Windows, where ``os.kill`` would end it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A context in which no other process holds the lock of a file; the folder is made if needed.

    The lock is the operating system's, so it is released when the process that holds it ends.

    Args:
        path: of the file that is to be read, changed and written.

    Raises:
        UsageError: another process has held the lock for a minute.
    """
    from filelock import FileLock, Timeout

    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"{path} is being written by another process, for {LOCK_SECONDS:g} s by now; wait for that run, or end it"
        ) from None
    try:
        yield
    finally:
        # The lock file is deleted while the lock is held: a waiting process sees that it is gone, and makes another.
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def check_writable(path: Path, flag: str) -> None:
    """Checks, before a run, that the file it writes at its end can be written; makes the file's folder.

    Args:
        path: of the file.
        flag: the option that names it, for the message.

    Raises:
        UsageError: the path is a folder or a pipe, or no file can be made there.
    """
    path = path.resolve()
    advice = f"; pass {flag} FILE, a file in a folder that can be written"
    if path.is_dir():
        raise UsageError(f"{flag} is {path}, which is a folder{advice}")
    if path.exists() and not (path.is_file() or path.is_char_device()):
        raise UsageError(f"{flag} is {path}, which is no ordinary file{advice}")
    try:
        if path.is_char_device():
            with path.open("w"):
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{flag} is {path}, which cannot be written ({error.strerror}){advice}") from None


def check_cache(folder: Path) -> list[str]:
    """Checks that a folder can be used as a cache.

    Returns:
        The names of its entries; an empty list if the folder does not exist.

    Raises:
        UsageError: the folder has content that is not a cache of this tool.
        OSError: the path is not a folder.
    """
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    others = [name for name in names if not _OURS.fullmatch(name)]
    unmarked = [name for name in names if name != TAG and not name.endswith((".part", ".lock"))]
    if others or (TAG not in names and unmarked):
        other = min(others or unmarked)
        raise UsageError(
            f"--interp-cache is {folder}, which has other content ({other}) and would be marked as a cache, which git "
            "ignores; pass a folder of its own, such as .interp-cache"
        )
    return names


def make_cache(folder: Path) -> None:
    """Makes a folder and marks it as a cache, so that backups and git ignore it.

    Raises:
        UsageError: the folder has content that is not a cache of this tool.
        OSError: the folder cannot be written.
    """
    names = check_cache(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((TAG, "Signature: 8a477f597d28d172789f06886806bc55\n"), (".gitignore", "*\n")):
        if name not in names:
            write_whole(folder / name, text)


def digest(text: str) -> str:
    """The SHA-256 of a text, as 64 hex digits.

    Example:
        >>> digest("9.9")[:12]
        '1b5c15d377f5'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Getting at the bytes of a config file without waiting for them: no pipe, no device, no file without end."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LARGEST: Final = 5 * 1024 * 1024
TOO_LARGE: Final = f"the file is larger than {LARGEST // 1024**2} MiB"
SPLIT: Final = "split it with `include:`"

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Unreadable(Exception):
    """Why there are no bytes, and what to do about it."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Opened:
    """The bytes of a regular file, and its permissions."""

    data: bytes
    mode: int


def file_name(path: Path) -> str:
    """A path that can be printed anywhere: bytes that are not UTF-8 and control characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def slurp(path: Path) -> Opened:
    """The whole of a regular file that is small enough, or Unreadable at once."""
    try:
        # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as failure:
        raise _why(path, failure) from failure
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"this is {_kind(status.st_mode)}, not a file", "name a regular file of YAML")
        data = _read(descriptor)
    except OSError as failure:
        raise _why(path, failure) from failure
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise Unreadable(TOO_LARGE, SPLIT)
    return Opened(data, stat.S_IMODE(status.st_mode))


def _read(descriptor: int) -> bytes:
    """Up to one byte more than is allowed: the size that the file system tells may be wrong."""
    parts: list[bytes] = []
    left = LARGEST + 1
    while left and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _kind(mode: int) -> str:
    return next((name for matches, name in _KINDS if matches(mode)), "something else")


def _why(path: Path, failure: OSError | ValueError) -> Unreadable:
    match failure:
        case FileNotFoundError() if path.is_symlink():
            return Unreadable("the file is a symbolic link that leads nowhere", "correct the link or its target")
        case FileNotFoundError():
            return Unreadable("no such file", _neighbours(path))
        case PermissionError():
            return Unreadable("the file may not be read by this user", "change its permissions or the user")
        case OSError(errno=errno.ENXIO):
            return Unreadable("this is a socket, not a file", "name a regular file of YAML")
        case OSError(errno=errno.ELOOP):
            return Unreadable("the symbolic link leads back to itself", "correct the link")
        case OSError(strerror=str(reason)):
            return Unreadable(f"the file cannot be read: {reason[:1].lower()}{reason[1:]}", "check the path")
        case _:
            return Unreadable("the path holds a character that no path may hold", "check the path")


def _neighbours(path: Path) -> str:
    """Other YAML files beside the missing one are the likely meaning of a slip."""
    try:
        with os.scandir(path.parent) as entries:
            near = sorted(entry.name for entry in entries if entry.name.endswith((".yaml", ".yml")))
    except OSError:
        return "its folder cannot be read either; check the path"
    if not near:
        return "check the path"
    return f"its folder has {', '.join(file_name(Path(name)) for name in near[:3])}; or write a new one: llmproxy init"

"""The port we listen on: opened before anything else runs, with a plain sentence when it cannot be.

`unix:PATH` stands for a socket in the file system, for programs of this machine that may open that file.
A port that is in use is an error and never another port. Each worker process has its own listening socket on Linux,
where the kernel then spreads new connections evenly; they are all opened, and kept, by the process that starts the
workers, so that none of them and no waiting connection is lost while a worker is replaced.
"""

import contextlib
import errno
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

_BACKLOG: Final = 2048
_LISTENING: Final = "0A"  # the state's number in /proc/net/tcp
_UNIX: Final = "unix:"
_LONGEST_UNIX: Final = 107  # bytes of a path, unix(7)
_FIRST_FREE_PORT: Final = 1024  # below it, systems want more rights

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class CannotListen(Exception):
    """The address cannot be listened on; the message is one sentence for people."""


def open_listeners(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """`count` listening sockets on one address; the same one again where the kernel cannot spread connections."""
    if (path := unix_path(host)) is not None:
        return [_listen_at(path)] * count
    address = _resolve(host, port)
    first = _listen(address, host, shared=False)
    if count == 1:
        return [first]
    if not sys.platform.startswith("linux"):
        return [first] * count
    # The first one was opened alone, which fails while anybody else listens; a shared one would just join in.
    first.close()
    return [_listen(address, host, shared=True) for _ in range(count)]


def check_address(host: str, port: int) -> None:
    """Raise CannotListen if the address cannot be listened on; nothing stays open."""
    if (path := unix_path(host)) is not None:
        _listen_at(path).close()
        path.unlink()
    else:
        _listen(_resolve(host, port), host, shared=False).close()


def unix_path(host: str) -> Path | None:
    """The file that a host of the form `unix:PATH` names; None for every other host."""
    return Path(host.removeprefix(_UNIX)) if host.startswith(_UNIX) else None


def _resolve(host: str, port: int) -> Address:
    plain = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as problem:
        raise CannotListen(f"host {host!r} is neither an address nor a known name; check --host") from problem
    # `localhost` stands for two addresses; what is written without a thought means the older one.
    found.sort(key=lambda row: row[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, cast("tuple[str, int]", address)


def _listen(address: Address, host: str, *, shared: bool) -> socket.socket:
    family, place = address
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and place[0] == "::":
            # Every address of the machine, as people expect who write "::".
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        raise CannotListen(_sentence(problem, host, place[1])) from problem
    return listener


def _listen_at(path: Path) -> socket.socket:
    """A socket at a path; who may open it is decided by the folder and the umask."""
    if not path.name or len(bytes(path)) > _LONGEST_UNIX:
        given = str(path) if path.name else ""  # no path at all is a dot by now
        raise CannotListen(f"--host unix:{given} needs the path of a file, of at most {_LONGEST_UNIX} bytes")
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        raise CannotListen(f"cannot listen on unix:{path}: {problem.strerror}") from problem
    return listener


def _remove_stale(path: Path) -> None:
    """Take away a socket that nobody listens on any more, and nothing else."""
    if not path.exists():
        return
    if not path.is_socket():
        raise CannotListen(f"{path} is there and is no socket; name another file with --host unix:PATH")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise CannotListen(f"cannot listen on unix:{path}: {problem.strerror}") from problem
        else:
            raise CannotListen(f"somebody listens on unix:{path} already; stop that program or name another file")


def _sentence(problem: OSError, host: str, port: int) -> str:
    match problem.errno:
        case errno.EADDRINUSE:
            return f"port {port} is in use{_by_whom(port)}; stop that program or choose another port with --port"
        case errno.EADDRNOTAVAIL:
            return f"host {host} is not an address of this machine; give 0.0.0.0, 127.0.0.1 or one of its own"
        case errno.EACCES if port < _FIRST_FREE_PORT:
            return f"port {port} needs rights that this user does not have; choose one from 1024 up with --port"
    return f"cannot listen on {host} port {port}: {problem.strerror}"


def _by_whom(port: int) -> str:
    holder = port_holder(port)
    return f" ({holder})" if holder else ""


def port_holder(port: int, proc: Path = Path("/proc")) -> str | None:
    """Who listens on a port, as `pid 123 python`; None where the system does not say."""
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return None
    for folder in proc.glob("[0-9]*"):
        # Processes end while we look, and those of other users keep their files to themselves.
        with contextlib.suppress(OSError):
            for link in (folder / "fd").iterdir():
                found = re.fullmatch(r"socket:\[(\d+)\]", _target(link))
                if found and found[1] in inodes:
                    return f"pid {folder.name} {(folder / 'comm').read_text().strip()}"
    return None


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    """The numbers of the sockets that listen on a port, from the kernel's own table."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]
